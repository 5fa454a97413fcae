"""kill -9 in the middle of a fold: run again it comes to the same, and each fold is there once."""

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
from tests.chat.test_summary import FILLER, SMALL, SMALL_READER, fact
from tests.e2e.parley_process import parley_dev
from tests.house import Listener
from tests.simulated import SimulatedEngine, is_for_notes

ANSWER_TOKENS = 5  # "I do not know."
IN_THE_NOTES = 9  # a token that only notes have


@pytest.fixture(params=["sqlite", "dynamodb"])
async def store_url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path / 'parley.db'}"
    endpoint: str = request.getfixturevalue("ministack")
    url = f"dynamodb://fold{uuid.uuid4().hex[:8]}?region=eu-central-1&endpoint={endpoint}"
    await (await open_store(url, create=True)).close()
    return url


@pytest.fixture
async def engine() -> AsyncIterator[SimulatedEngine]:
    async with SimulatedEngine(SMALL_READER) as running:
        yield running


async def say(http: httpx.AsyncClient, chat_id: str, text: str) -> dict[str, Any]:
    body = {"message": {"id": new_id(), "content": text}}
    async with http.stream("POST", f"/chat/{chat_id}/completion", json=body) as response:
        message: dict[str, Any] = (await Listener(response).rest())[-1].data["message"]
        return message


async def fill(http: httpx.AsyncClient) -> tuple[str, int]:
    """A chat up to the turn after which a fold is due, and how many turns that took."""
    chat_id = (await http.post("/chat", json={})).json()["id"]
    used, turns = 0, 0
    while used <= SMALL * 3 / 4 * 0.62:
        usage = (await say(http, chat_id, f"{FILLER * 3}{fact(turns)} {FILLER}"))["usage"]
        used, turns = usage["prompt_tokens"] + usage["completion_tokens"], turns + 1
    return chat_id, turns


async def summary_of(http: httpx.AsyncClient, chat_id: str) -> dict[str, Any]:
    """Once it is there."""
    async with asyncio.timeout(30):
        while (summary := (await http.get(f"/chat/{chat_id}")).json()["summary"]) is None:
            pass
    found: dict[str, Any] = summary
    return found


async def test_a_fold_whose_worker_was_killed_is_made_by_another_and_comes_to_the_same(
    store_url: str, engine: SimulatedEngine, tmp_path: Path
) -> None:
    settings = {"model_url": engine.url, "store_url": store_url, "lease_seconds": "1.0", "web": "/nonexistent"}
    with ExitStack() as stack:
        doomed = stack.enter_context(parley_dev(tmp_path / "a", **settings)).ready()
        async with httpx.AsyncClient(base_url=doomed.url, timeout=30) as http:
            undisturbed, turns = await fill(http)
            expected = await summary_of(http, undisturbed)
            engine.gate.hold(IN_THE_NOTES)
            chat_id, _ = await fill(http)
            await engine.gate.reached()
            assert is_for_notes(engine.stats.requests[-1]["messages"])
            await asyncio.to_thread(doomed.kill)
        made = sum(is_for_notes(r["messages"]) for r in engine.stats.requests)
        engine.gate.release()
        survivor = stack.enter_context(parley_dev(tmp_path / "b", **settings)).ready()
        async with httpx.AsyncClient(base_url=survivor.url, timeout=30) as http:
            again = await summary_of(http, chat_id)
            asked = await say(http, chat_id, f"{FILLER * 12} What is the code of place-0?")
            chat = (await http.get(f"/chat/{chat_id}")).json()
        after = sum(is_for_notes(r["messages"]) for r in engine.stats.requests)

    assert (again["text"], again["tokens"]) == (expected["text"], expected["tokens"])
    assert fact(0) in again["text"]
    assert asked["content"] == fact(0)
    assert len(chat["messages"]) == 2 * turns + 2
    assert after == made + 1
