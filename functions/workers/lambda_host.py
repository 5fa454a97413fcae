"""What a Lambda function finds around it: its settings, its services, and what it keeps between two calls.

    warm = Warm()                                  # once in a module
    warm.run(lambda services: work(services))      # in each call

Lambda freezes the process between calls, so nothing may be under way when one returns; what is open stays open.
"""

import asyncio
import json
import tempfile
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any, TypeVar

from aws_lambda_powertools.utilities import parameters

from functions import metering
from functions.inference.nodes import Node, nodes_from
from functions.inference.pricing import usd_per_second
from functions.services import Services, open_services
from functions.settings import LambdaSettings, Settings
from functions.telemetry import hush_libraries

SPARE_SECONDS = 15.0  # to give back what is under way, before Lambda ends the process

T = TypeVar("T")


def settings_here() -> Settings:
    """Those of the environment, and over them what stands in Parameter Store: what only the finished stack knows, what
    must not stand in an environment, and the guardrail policy. Raises what Powertools raises when one is missing."""
    host = LambdaSettings()
    given: dict[str, Any] = {}
    for name in filter(None, (host.settings_parameter, host.secret_parameter)):
        given |= json.loads(parameters.get_parameter(name, decrypt=True))
    if host.policy_parameter:
        path = Path(tempfile.mkdtemp()) / "policy.toml"
        path.write_text(parameters.get_parameter(host.policy_parameter, decrypt=True))
        given["policy"] = path
    return Settings(**given)


def nodes_of(settings: Settings) -> list[Node]:
    """The model servers that the settings name."""
    nodes = nodes_from(settings.nodes, usd_per_second)
    if settings.model_url:
        nodes.insert(0, Node(settings.model_url, api_key=settings.model_api_key, headers=settings.model_headers))
    return nodes


class Warm:
    """The event loop and the services on it, opened by the first call and kept for the next ones."""

    def __init__(self) -> None:
        self._runner: asyncio.Runner | None = None
        self._stack = AsyncExitStack()
        self._services: Services | None = None

    def run(self, work: Callable[[Services], Awaitable[T]]) -> T:
        """Do this, and wait for it. Raises what it raises, and what opening the services raises."""
        self._runner = self._runner or asyncio.Runner()
        return self._runner.run(self._run(work))

    async def _run(self, work: Callable[[Services], Awaitable[T]]) -> T:
        if self._services is None:
            hush_libraries()
            settings = settings_here()
            opening = open_services(settings, nodes_of(settings), guards_later=True)  # most jobs check no input
            self._services = await self._stack.enter_async_context(opening)
        try:
            return await work(self._services)
        finally:  # what is not written when a call returns may never be: nobody says when the next one comes
            await self._services.figures.flush()
            metering.flush()

    def close(self) -> None:
        """Give back all that is held; the next call opens anew."""
        if self._runner is not None:
            self._services = None
            self._runner.run(self._stack.aclose())
