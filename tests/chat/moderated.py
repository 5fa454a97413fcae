"""The house with a guard model beside the answering one, and what its tests read."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx

from functions.inference.nodes import Node
from functions.settings import Settings
from tests.house import Event, House, Listener, Serving
from tests.scripted_guard import BAD, ScriptedGuard
from tests.simulated import Scenario, SimulatedEngine

BOTH = 'input = "block"\noutput = "block"\ntimeout_ms = 20000\n'
INPUT = 'input = "block"\ntimeout_ms = 20000\n'
OUTPUT = 'output = "block"\ntimeout_ms = 20000\n'
HOLD = OUTPUT + 'later_windows = "hold"\n'
REFUSAL = "This did not pass the safety check."
UNJUDGED = "The safety check could not be made. Try again in a moment."

FIRST = "Once there was a kettle. "
SECOND = f"In it was {BAD}, stirred. "
THIRD = "It boiled all night long."
BLOCKED = [("output", "blocked", "moderation.violence")]


@dataclass
class GuardedHouse(House):
    services: Any = None  # for the one test that must break something inside


@asynccontextmanager
async def moderated(
    folder: Path,
    guard: ScriptedGuard,
    text: str = "",
    rules: str = BOTH,
    *,
    scenario: Scenario | None = None,
    guard_node: dict[str, Any] | None = None,
    **settings: Any,
) -> AsyncIterator[GuardedHouse]:
    """`text` is what the model answers, a character a token; `rules` the policy's [moderation]. When it closes, no
    guard's task may be left in the house."""
    policy = folder / "policy.toml"
    policy.write_text(f"[moderation]\n{rules}")
    store = f"sqlite:///{folder / 'parley.db'}"
    configured = Settings(
        **{"store_url": store, "data": folder, "policy": policy, "lease_seconds": 0.5, "titles": False} | settings
    )
    async with SimulatedEngine(scenario or (Scenario(text=text) if text else Scenario(echo=True))) as engine:
        serving = Serving(configured, [Node(engine.url, name="sim"), guard.node(**(guard_node or {}))])
        url = await asyncio.to_thread(serving.__enter__)
        try:
            async with httpx.AsyncClient(base_url=url, timeout=20) as http:
                lost = serving.lose_leases
                yield GuardedHouse(url, engine, configured, http, lose_leases=lost, services=serving.services)
            assert await asyncio.to_thread(_guards_tasks, serving) == []
        finally:
            await asyncio.to_thread(serving.__exit__)


def _guards_tasks(serving: Serving) -> list[str]:
    async def names() -> list[str]:
        return [task.get_name() for task in asyncio.all_tasks() if task.get_name().startswith("guard")]

    return asyncio.run_coroutine_threadsafe(names(), serving._loop).result(10)


def verdicts(events: list[Event]) -> list[tuple[str, str, str]]:
    """Of the guard model, as a reader is told."""
    said = [event.data for event in events if event.name == "guardrail"]
    return [(data["stage"], data["action"], data["rail"]) for data in said if data["rail"].startswith("moderation")]


async def stored(house: House, chat_id: str) -> list[dict[str, Any]]:
    answer = await house.http.get(f"/chat/{chat_id}")
    return list(answer.json()["messages"])


def on(engine: SimulatedEngine, before_token: int) -> None:
    """The held streams go on, to there."""
    engine.gate.release()
    engine.gate.hold(before_token)


async def shown(listener: Listener, text: str) -> str:
    """Read until the answer has this in it."""
    so_far = ""
    while text not in so_far:
        so_far += (await listener.until("delta")).data["text"]
    return so_far
