"""Every node's queue is full: whoever keeps a chat waits for room, and everybody else is told at once."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from functions import services
from functions.chat import answering
from functions.chat.messages import new_id
from functions.inference.gateway import Gateway, Limits
from functions.inference.nodes import Node
from tests.house import Event, House, Listener, open_house, text_of
from tests.simulated import SimulatedEngine

ENDS = ("done", "stopped", "failed")
COMPATIBLE = {"model": "sim", "messages": [{"role": "user", "content": "hello"}]}


@pytest.fixture(autouse=True)
def _short_pauses_and_no_queue(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(answering, "FULL_SECONDS", (0.02, 0.05))
    monkeypatch.setattr(services, "Gateway", partial(Gateway, limits=Limits(node_queue=0)))


def one_place(engine: SimulatedEngine) -> list[Node]:
    return [Node(engine.url, name="sim", slots=1)]


@asynccontextmanager
async def a_full_house(folder: Path, **settings: Any) -> AsyncIterator[tuple[House, Listener]]:
    """Its one place is taken until the gate is released."""
    async with open_house(folder, nodes=one_place, **settings) as house:
        house.engine.gate.hold(1)
        async with house.saying(await house.open_chat(), "first") as first:
            await first.until("delta")
            yield house, first


@asynccontextmanager
async def asking(house: House, chat: str, mode: str = "stream") -> AsyncIterator[Listener]:
    body = {"message": {"id": new_id(), "content": "second"}, "mode": mode}
    if mode == "stream":
        async with house.http.stream("POST", f"/chat/{chat}/completion", json=body) as response:
            yield Listener(response)
        return
    run = (await house.http.post(f"/chat/{chat}/completion", json=body)).json()["run_id"]
    async with house.http.stream("GET", f"/runs/{run}/events") as response:
        yield Listener(response)


async def until_it_waits(listener: Listener) -> list[Event]:
    """Twice, so that it has asked again."""
    seen: list[Event] = []
    while sum(event.name == "status" and event.data["phase"] == "queued" for event in seen) < 2:
        seen.append(await listener.next())
        assert seen[-1].name not in ENDS, seen[-1]
    return seen


@pytest.mark.parametrize("mode", ["stream", "async"])
async def test_a_message_waits_until_there_is_room_and_is_answered_once(tmp_path: Path, mode: str) -> None:
    async with a_full_house(tmp_path) as (house, first), asyncio.timeout(10):
        chat = await house.open_chat()
        async with asking(house, chat, mode) as listener:
            seen = await until_it_waits(listener)
            assert len(house.engine.stats.requests) == 1
            house.engine.gate.release()
            seen += await listener.rest()
        await first.rest()
        messages = (await house.http.get(f"/chat/{chat}")).json()["messages"]

    assert [event.name for event in seen if event.name in ENDS] == ["done"]
    assert [message["content"] for message in messages] == ["second", text_of(seen)]
    assert seen[-1].data["timings"]["wake_ms"] > 0
    assert len(house.engine.stats.requests) == 2


async def test_whoever_waits_for_room_is_stopped_at_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async with a_full_house(tmp_path) as (house, _), asking(house, await house.open_chat()) as listener:
        await until_it_waits(listener)
        monkeypatch.setattr(answering, "FULL_SECONDS", (600.0, 600.0))
        async with asking(house, await house.open_chat()) as patient, asyncio.timeout(10):
            await patient.until("status")
            for waiting in (listener, patient):
                stopped = await house.http.delete(f"/runs/{waiting.run_id}")
                assert stopped.json()["status"] == "stopped"
                assert [event.name for event in await waiting.rest()][-1] == "stopped"

        assert len(house.engine.stats.requests) == 1
        house.engine.gate.release()


async def test_a_run_whose_time_is_over_says_that_there_was_no_room(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with a_full_house(tmp_path) as (house, _):
        monkeypatch.setattr(answering, "RUN_SECONDS", 0.3)
        async with asking(house, await house.open_chat()) as listener, asyncio.timeout(10):
            seen = await until_it_waits(listener) + await listener.rest()

        assert (seen[-1].name, seen[-1].data["error"]["code"]) == ("failed", "overloaded")
        assert len(house.engine.stats.requests) == 1
        house.engine.gate.release()


async def test_no_more_wait_in_a_process_than_it_can_hold(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(answering, "WAITING_RUNS", 1)
    monkeypatch.setattr(answering, "FULL_SECONDS", (600.0, 600.0))
    async with a_full_house(tmp_path) as (house, _), asking(house, await house.open_chat()) as waiting:
        await waiting.until("status")
        async with asyncio.timeout(10):
            one_too_many = await house.say(await house.open_chat(), "third")

        assert (one_too_many[-1].name, one_too_many[-1].data["error"]["code"]) == ("failed", "overloaded")
        house.engine.gate.release()


async def test_whoever_waits_for_room_is_taken_over_like_any_other(tmp_path: Path) -> None:
    async with a_full_house(tmp_path, lease_seconds=0.3) as (house, _), asyncio.timeout(15):
        async with asking(house, await house.open_chat()) as listener:
            seen = await until_it_waits(listener)
            assert house.lose_leases is not None
            await asyncio.to_thread(house.lose_leases)
            house.engine.gate.release()
            seen += await listener.rest()

        assert [event.name for event in seen if event.name in ENDS] == ["done"]
        assert [event.id for event in seen] == list(range(1, len(seen) + 1))


async def test_the_compatible_api_says_it_at_once_unless_it_keeps_a_chat(tmp_path: Path) -> None:
    async with a_full_house(tmp_path) as (house, first), asyncio.timeout(10):
        at_once = await house.http.post("/v1/chat/completions", json=COMPATIBLE)
        headers = {"x-conversation-id": "mine"}
        waits = {"url": "/v1/chat/completions", "json": COMPATIBLE | {"stream": True}, "headers": headers}
        async with house.http.stream("POST", **waits) as kept:
            lines = kept.aiter_lines()
            while (await anext(lines)) != ": status=queued":
                pass
            house.engine.gate.release()
            said = [line async for line in lines if line]
        await first.rest()

    assert (at_once.status_code, at_once.json()["error"]["code"]) == (503, "overloaded")
    assert "x-should-retry" not in at_once.headers
    assert said[-1] == "data: [DONE]"
