"""kill -9 at each event of a run: what was acknowledged is there, what was seen is not repeated, the answer ends.

Two real processes on one store; the first is killed while the engine stands at a gate, the second takes over. The
engine's answers follow from the prompt alone and it continues a prefix to the letter, so the whole answer is known.
"""

import asyncio
import uuid
from collections.abc import AsyncIterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import httpx
import pytest

from functions.chat.messages import new_id
from functions.services import open_store
from tests.e2e.parley_process import ParleyProcess, parley_dev
from tests.house import Event, Listener, text_of
from tests.simulated import Scenario, SimulatedEngine

TOKENS = 6
LEASE = "1.0"


@pytest.fixture(params=["sqlite", "dynamodb"])
async def store_url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path / 'parley.db'}"
    endpoint: str = request.getfixturevalue("ministack")
    url = f"dynamodb://kill{uuid.uuid4().hex[:8]}?region=eu-central-1&endpoint={endpoint}"
    await (await open_store(url, create=True)).close()
    return url


@pytest.fixture
async def engine() -> AsyncIterator[SimulatedEngine]:
    async with SimulatedEngine(Scenario(echo=True, tokens=TOKENS)) as running:
        yield running


def settings_for(engine: SimulatedEngine, store_url: str) -> dict[str, str]:
    return {
        "model_url": engine.url,
        "store_url": store_url,
        "lease_seconds": LEASE,
        "checkpoint_ms": "0",
        "web": "/nonexistent",
    }


async def expected_answer(url: str) -> str:
    """The same question in a chat of its own, undisturbed."""
    async with httpx.AsyncClient(base_url=url, timeout=30) as http:
        chat_id = (await http.post("/chat", json={})).json()["id"]
        body = {"message": {"id": new_id(), "content": "tell me"}}
        async with http.stream("POST", f"/chat/{chat_id}/completion", json=body) as response:
            return text_of(await Listener(response).rest())


async def killed_at(token: int, doomed: ParleyProcess, engine: SimulatedEngine) -> tuple[str, str, list[Event]]:
    """Start an answer, let the reader see `token` tokens, kill the server. (chat, run, what the reader saw)."""
    engine.gate.hold(token)
    async with httpx.AsyncClient(base_url=doomed.url, timeout=30) as http:
        chat_id = (await http.post("/chat", json={})).json()["id"]
        body = {"message": {"id": new_id(), "content": "tell me"}}
        seen: list[Event] = []
        async with http.stream("POST", f"/chat/{chat_id}/completion", json=body) as response:
            listener = Listener(response)
            run_id = listener.run_id
            await engine.gate.reached()
            while not _has_seen(seen, token):
                seen.append(await listener.next())
            await asyncio.to_thread(doomed.kill)
    return chat_id, run_id, seen


def _has_seen(seen: list[Event], tokens: int) -> bool:
    """The filter may hold back the last token until the next one has come."""
    return bool(seen) and len(text_of(seen).split()) >= tokens - 1


async def read_on(url: str, run_id: str, seen: list[Event]) -> list[Event]:
    async with httpx.AsyncClient(base_url=url, timeout=30) as http:
        headers = {"last-event-id": str(seen[-1].id)}
        async with http.stream("GET", f"/runs/{run_id}/events", headers=headers) as response:
            assert response.status_code == 200
            return await Listener(response).rest()


async def stored(url: str, chat_id: str) -> dict[str, Any]:
    async with httpx.AsyncClient(base_url=url, timeout=30) as http:
        chat: dict[str, Any] = (await http.get(f"/chat/{chat_id}")).json()
        return chat


def assert_one_whole_answer(events: list[Event], chat: dict[str, Any], expected: str) -> None:
    assert [e.id for e in events] == list(range(1, len(events) + 1)), "no event lost, none repeated"
    assert [e.name for e in events if e.name in ("done", "stopped", "failed")] == ["done"]
    assert text_of(events) == expected
    assert [m["role"] for m in chat["messages"]] == ["user", "assistant"]
    assert chat["messages"][1]["content"] == expected
    assert chat["active_run"] is None


async def test_another_worker_completes_the_answer_wherever_the_first_was_killed(
    store_url: str, engine: SimulatedEngine, tmp_path: Path
) -> None:
    """0: before the first token; TOKENS: between the last token and the end."""
    settings = settings_for(engine, store_url)
    with ExitStack() as stack:
        survivor = stack.enter_context(parley_dev(tmp_path / "survivor", **settings)).ready()
        expected = await expected_answer(survivor.url)
        for token in range(TOKENS + 1):
            doomed = stack.enter_context(parley_dev(tmp_path / f"{token}", **settings)).ready()
            chat_id, run_id, seen = await killed_at(token, doomed, engine)
            engine.gate.release()

            rest = await read_on(survivor.url, run_id, seen)

            assert_one_whole_answer(seen + rest, await stored(survivor.url, chat_id), expected)


async def test_the_same_server_started_again_goes_on_where_it_was_killed(
    store_url: str, engine: SimulatedEngine, tmp_path: Path
) -> None:
    settings = settings_for(engine, store_url)
    with ExitStack() as stack:
        first = stack.enter_context(parley_dev(tmp_path, **settings)).ready()
        expected = await expected_answer(first.url)
        chat_id, run_id, seen = await killed_at(3, first, engine)
        engine.gate.release()
        again = stack.enter_context(parley_dev(tmp_path, **settings)).ready()

        rest = await read_on(again.url, run_id, seen)

        assert_one_whole_answer(seen + rest, await stored(again.url, chat_id), expected)


async def test_an_answer_is_completed_even_when_no_reader_comes_back(
    store_url: str, engine: SimulatedEngine, tmp_path: Path
) -> None:
    settings = settings_for(engine, store_url)
    with ExitStack() as stack:
        survivor = stack.enter_context(parley_dev(tmp_path / "b", **settings)).ready()
        doomed = stack.enter_context(parley_dev(tmp_path / "a", **settings)).ready()
        expected = await expected_answer(doomed.url)
        chat_id, _, _ = await killed_at(2, doomed, engine)
        engine.gate.release()

        await engine.until(finished=2, timeout=20)
        async with (
            httpx.AsyncClient(base_url=survivor.url, timeout=30) as http,
            http.stream("GET", f"/chat/{chat_id}/stream") as response,
        ):
            if response.status_code == 200:
                await Listener(response).rest()
        chat = await stored(survivor.url, chat_id)

        assert [m["content"] for m in chat["messages"]] == ["tell me", expected]


async def test_ctrl_c_in_mid_answer_is_quick_and_the_next_start_goes_on(
    store_url: str, engine: SimulatedEngine, tmp_path: Path
) -> None:
    settings = settings_for(engine, store_url)
    with ExitStack() as stack:
        first = stack.enter_context(parley_dev(tmp_path, **settings)).ready()
        expected = await expected_answer(first.url)
        engine.gate.hold(3)
        async with httpx.AsyncClient(base_url=first.url, timeout=30) as http:
            chat_id = (await http.post("/chat", json={})).json()["id"]
            body = {"message": {"id": new_id(), "content": "tell me"}}
            async with http.stream("POST", f"/chat/{chat_id}/completion", json=body) as response:
                listener = Listener(response)
                await engine.gate.reached()
                leaving = asyncio.create_task(asyncio.to_thread(first.interrupt))
                seen = await listener.rest()
                run_id, status = listener.run_id, await leaving
        engine.gate.release()
        again = stack.enter_context(parley_dev(tmp_path, **settings)).ready()

        rest = await read_on(again.url, run_id, seen)

        assert status == 0
        assert seen[-1].name != "done"
        assert_one_whole_answer(seen + rest, await stored(again.url, chat_id), expected)
