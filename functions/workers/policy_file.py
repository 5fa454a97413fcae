"""Follows the policy's file for whoever is writing it: `parley dev` only. A saved change holds for the runs that begin
after it; those under way keep the rails they began with. A mistake is told with its line, and the old policy stays.
"""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

from functions.chat.rails import Guards, Rails
from functions.guardrails.document import PolicyError
from functions.guardrails.policy import Policy, PolicyFile
from functions.services import Services, rails_of
from functions.telemetry import log, log_fault

LOOK_SECONDS = 0.5  # between two looks at the file: sooner than the hand is back at the browser


@asynccontextmanager
async def following(services: Services, tell: Callable[[str], None]) -> AsyncIterator[None]:
    """The policy's file is followed while whatever is inside runs; `tell` hears a sentence about each change. Without a
    file of the operator's own there is nothing to follow."""
    if services.settings.policy is None:
        yield
        return
    watch = asyncio.create_task(_follow(services, tell), name="policy file")
    try:
        yield
    finally:
        watch.cancel()
        await asyncio.gather(watch, return_exceptions=True)


async def _follow(services: Services, tell: Callable[[str], None]) -> None:
    file: PolicyFile | None = None
    told = ""  # a mistake that is still there is told once
    while True:
        try:
            file = await asyncio.to_thread(_looked_at, services, file)
            if file.policy.version != services.turns.rails.policy.version:
                services.turns.rails = await asyncio.to_thread(_ready, services, file.policy)
                told = ""
                log("policy.changed", policy=file.policy.version)
                tell(f"The policy has changed; it is version {file.policy.version} for new messages.")
        except PolicyError as mistake:
            if mistake.message != told:
                told = mistake.message
                log("policy.mistake", what=mistake.message)
                tell(f"The policy stays as it was. {mistake.message}")
        except Exception:  # the edge of the loop
            log_fault("policy.fault")
        await asyncio.sleep(LOOK_SECONDS)


def _looked_at(services: Services, file: PolicyFile | None) -> PolicyFile:
    if file is None:  # also what was saved between the start and the first look
        return PolicyFile(services.settings.policy)
    file.reloaded()
    return file


def _ready(services: Services, policy: Policy) -> Rails:
    guards = Guards.of(policy, key=services.secret_key)
    return rails_of(services.settings, services.gateway, guards, services.secret_key)
