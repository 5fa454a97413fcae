"""`parley dev` follows its policy's file: what is saved holds for the next message, and a mistake for none."""

import asyncio
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import httpx
import pytest

from functions.chat.messages import new_id
from tests.e2e.parley_process import ParleyProcess, parley_dev
from tests.house import Event, Listener, parse_events, text_of
from tests.simulated import Scenario, SimulatedEngine

TEXT = "It is xyzzy, and xyzzy again."
REDACTED = "It is [redacted: banned_term], and [redacted: banned_term] again."
BANNED = '[input.banned_terms]\naction = "flag"\n\n[banned_terms]\nterms = ["xyzzy"]\n'


@pytest.fixture
async def engine() -> AsyncIterator[SimulatedEngine]:
    async with SimulatedEngine(Scenario(text=TEXT)) as running:
        yield running


async def until(condition: Callable[[], bool], http: httpx.AsyncClient) -> None:
    """The house is asked meanwhile: it must live while it reads a policy."""
    async with asyncio.timeout(15):
        while not condition():
            assert (await http.get("/livez")).status_code == 200


async def version(http: httpx.AsyncClient) -> str:
    return str((await http.get("/status")).json()["policy"])


async def say(http: httpx.AsyncClient) -> list[Event]:
    chat = (await http.post("/chat", json={})).json()["id"]
    body = {"message": {"id": new_id(), "content": "Say it."}}
    return parse_events((await http.post(f"/chat/{chat}/completion", json=body)).text)


def said(parley: ParleyProcess, words: str) -> list[str]:
    return [line for line in parley.said if words in line]


async def test_a_saved_policy_holds_for_the_next_message_and_a_mistake_for_none(
    engine: SimulatedEngine, tmp_path: Path
) -> None:
    policy = tmp_path / "policy.toml"
    policy.write_text("# as shipped\n")
    with parley_dev(tmp_path, model_url=engine.url, web="/nonexistent", policy=str(policy)) as parley:
        await asyncio.to_thread(parley.ready)
        async with httpx.AsyncClient(base_url=parley.url, timeout=20) as http:
            shipped, before = await version(http), text_of(await say(http))
            chat = (await http.post("/chat", json={})).json()["id"]
            engine.gate.hold(4)
            body = {"message": {"id": new_id(), "content": "Say it."}}
            async with http.stream("POST", f"/chat/{chat}/completion", json=body) as response:
                running = Listener(response)
                begun = (await running.until("delta")).data["text"]

                policy.write_text(BANNED)
                await until(lambda: bool(said(parley, "The policy has changed")), http)
                engine.gate.release()
                rest = text_of(await running.rest())
            changed, after = await version(http), text_of(await say(http))

            policy.write_text(BANNED.replace('"flag"', '"flags"'))
            await until(lambda: bool(said(parley, "The policy stays")), http)
            mistaken, still = await version(http), text_of(await say(http))

            policy.write_text("# as shipped, again\n")
            await until(lambda: len(said(parley, "The policy has changed")) == 2, http)
            mended, in_the_end = await version(http), text_of(await say(http))

    assert before == begun + rest == in_the_end == TEXT, "what had begun goes on under the policy it began with"
    assert after == still == REDACTED
    assert (shipped, changed) == (mended, mistaken)
    assert changed != shipped
    (mistake,) = said(parley, "The policy stays")
    assert f"{policy}, line 2: [input.banned_terms] action: 'flags'" in mistake
