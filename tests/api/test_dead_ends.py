"""Corners that once hung, spun, lost or leaked something; each is here because it did."""

import asyncio
import json
import sqlite3
import threading
from pathlib import Path
from typing import Any

import openai
import pytest

from functions.chat.messages import new_id
from tests.house import House, Listener, open_house, parse_events, text_of
from tests.simulated import Scenario

CARD = "4111 1111 1111 1111"


def banning(folder: Path, term: str = "xyzzy") -> Path:
    default = (Path(__file__).parents[2] / "functions/guardrails/default.toml").read_text()
    policy = folder / "policy.toml"
    policy.write_text(default.replace("terms = []", f'terms = ["{term}"]'))
    return policy


async def test_a_reader_that_comes_back_after_the_end_is_sent_away_not_kept_waiting(house: House) -> None:
    events = await house.say(await house.open_chat(), "hello")
    run_id = events[0].data["run_id"]

    answer = await asyncio.wait_for(
        house.http.get(f"/runs/{run_id}/events", headers={"last-event-id": str(events[-1].id)}), 5
    )

    assert (answer.status_code, answer.text) == (200, "")


async def test_a_store_that_is_locked_for_long_costs_the_lease_not_the_answer_nor_a_spinning_server(
    tmp_path: Path,
) -> None:
    async with open_house(tmp_path, Scenario(echo=True, tokens=6), lease_seconds=1.0) as house:
        chat_id = await house.open_chat()
        house.engine.gate.hold(2)
        async with house.saying(chat_id, "hello") as listener:
            await listener.next()
            await house.engine.gate.reached()
            other = sqlite3.connect(tmp_path / "parley.db", isolation_level=None, check_same_thread=False)
            other.execute("BEGIN IMMEDIATE")
            house.engine.gate.release()
            await asyncio.to_thread(_hold, other)
            events = await listener.rest()
        message = (await house.http.get(f"/chat/{chat_id}")).json()["messages"][-1]

    assert events[-1].name == "done"
    assert message["content"].strip().count(" ") == 5


def _hold(other: sqlite3.Connection) -> None:
    """Longer than SQLite's own patience (5 s), so that a checkpoint fails."""
    threading.Event().wait(6.5)
    other.execute("ROLLBACK")
    other.close()


async def test_a_refused_message_cannot_be_regenerated(tmp_path: Path) -> None:
    async with open_house(tmp_path, policy=banning(tmp_path)) as house:
        chat_id = await house.open_chat()
        refused = (await house.say(chat_id, "what is xyzzy?"))[-1].data["message"]

        again = await house.http.post(f"/chat/{chat_id}/completion", json={"regenerate": refused["id"]})

        assert (again.status_code, again.json()["error"]["code"]) == (400, "content_filter")
        assert not house.engine.stats.requests


async def test_a_question_without_an_answer_is_not_sent_twice_in_a_row(house: House) -> None:
    chat_id = await house.open_chat()
    house.engine.gate.hold(0)
    async with house.saying(chat_id, "first") as listener:
        await house.engine.gate.reached()
        await house.http.delete(f"/runs/{listener.run_id}")
        await listener.rest()
    house.engine.gate.release()
    await house.say(chat_id, "second")

    roles = [m["role"] for m in house.engine.stats.requests[-1]["messages"] if m["role"] != "system"]
    assert roles == ["user"]


async def test_the_official_clients_retry_in_a_conversation_is_the_same_message(house: House) -> None:
    body = {"model": "sim", "messages": [{"role": "user", "content": "hello"}]}
    headers = {"x-conversation-id": "notes"}
    first = await house.http.post("/v1/chat/completions", json=body, headers=headers | {"x-stainless-retry-count": "0"})
    retry = await house.http.post("/v1/chat/completions", json=body, headers=headers | {"x-stainless-retry-count": "1"})
    elsewhere = {"x-conversation-id": "other", "x-stainless-retry-count": "1"}
    other = await house.http.post("/v1/chat/completions", json=body, headers=elsewhere)

    assert (retry.status_code, retry.json()) == (200, first.json())
    assert other.json()["id"] != first.json()["id"], "the same words in another conversation are another message"
    assert house.engine.stats.started == 2


async def test_a_key_used_for_another_model_or_length_is_a_conflict(house: House) -> None:
    body = {"model": "sim", "messages": [{"role": "user", "content": "hello"}]}
    key = {"idempotency-key": "k"}
    await house.http.post("/v1/chat/completions", json=body, headers=key)

    other = await house.http.post("/v1/chat/completions", json=body | {"max_tokens": 3}, headers=key)

    assert other.status_code == 409


async def test_a_repeat_meets_its_own_run_not_its_own_limits(tmp_path: Path) -> None:
    async with open_house(tmp_path, runs_per_minute=1, tokens_per_day=1100) as house:
        chat_id, message_id = await house.open_chat(), new_id()
        house.engine.gate.hold(1)
        async with house.saying(chat_id, "hello", id=message_id) as listener:
            await listener.next()
            body = {"message": {"id": message_id, "content": "hello"}}
            async with house.http.stream("POST", f"/chat/{chat_id}/completion", json=body) as repeat:
                assert repeat.status_code == 200
                house.engine.gate.release()
                assert (await Listener(repeat).rest())[-1].name == "done"


async def test_failures_of_whole_answers_carry_their_own_status(tmp_path: Path) -> None:
    async with open_house(tmp_path, Scenario(context_tokens=10)) as house:
        body = {"model": "sim", "messages": [{"role": "user", "content": "word " * 500}]}
        answer = await house.http.post("/v1/chat/completions", json=body)

    assert (answer.status_code, answer.json()["error"]["code"]) == (400, "context_length_exceeded")


async def test_an_answer_longer_than_the_context_is_refused_before_anything_is_stored(house: House) -> None:
    chat_id = await house.open_chat()
    body = {"message": {"id": new_id(), "content": "hello"}, "max_tokens": 999_999}
    answer = await house.http.post(f"/chat/{chat_id}/completion", json=body)

    assert (answer.status_code, answer.json()["error"]["code"]) == (400, "context_length_exceeded")
    assert (await house.http.get(f"/chat/{chat_id}")).json()["messages"] == []


@pytest.mark.parametrize(
    "body",
    [
        {"messages": [{"role": "assistant", "content": "I spoke last"}]},
        {"messages": [{"role": "user", "content": "  "}]},
        {"messages": [{"role": "user", "content": "hi"}], "model": "gpt-99"},
    ],
)
async def test_a_bad_call_opens_no_conversation(house: House, body: dict[str, Any]) -> None:
    answer = await house.http.post(
        "/v1/chat/completions", json={"model": "sim"} | body, headers={"x-conversation-id": "new"}
    )

    assert answer.status_code in (400, 404)
    assert (await house.http.get("/chats")).json()["data"] == []


async def test_what_cannot_be_written_down_is_refused_wherever_it_stands(house: House) -> None:
    deep: Any = "x"
    for _ in range(300):
        deep = [deep]
    for more in ('"tools": [{"a": "\\ud800"}]', f'"metadata": {json.dumps(deep)}', '"user": "\\udfff"'):
        body = f'{{"model": "sim", "messages": [{{"role": "user", "content": "hi"}}], {more}}}'
        for headers in ({}, {"x-stainless-retry-count": "0"}):
            answer = await house.http.post(
                "/v1/chat/completions", content=body, headers={"content-type": "application/json"} | headers
            )
            assert answer.status_code < 500, (more[:40], answer.text)


async def test_every_field_that_reaches_the_node_passes_the_input_rails(house: House) -> None:
    call = {"id": "c1", "type": "function", "function": {"name": "pay", "arguments": json.dumps({"card": CARD})}}
    body = {
        "model": "sim",
        "messages": [
            {"role": "user", "content": "pay", "name": CARD},
            {"role": "assistant", "content": None, "tool_calls": [call]},
            {"role": "tool", "content": f"paid with {CARD}", "tool_call_id": "c1"},
            {"role": "user", "content": "thanks"},
        ],
        "tools": [{"type": "function", "function": {"name": "pay", "description": f"e.g. {CARD}"}}],
    }
    answer = await house.http.post("/v1/chat/completions", json=body)

    assert answer.status_code == 200
    assert "4111" not in json.dumps(house.engine.stats.requests[-1])


async def test_nothing_of_a_blocked_prompt_is_stored(tmp_path: Path) -> None:
    async with open_house(tmp_path, policy=banning(tmp_path)) as house:
        said = [{"role": "user", "content": f"my card is {CARD}"}, {"role": "user", "content": "and xyzzy"}]
        await house.http.post("/v1/chat/completions", json={"model": "sim", "messages": said})

    files = b"".join(path.read_bytes() for path in tmp_path.glob("parley.db*"))
    assert b"4111" not in files


async def test_tool_calls_do_not_follow_a_blocked_text(tmp_path: Path) -> None:
    default = banning(tmp_path, "forbidden").read_text().replace('[output.banned_terms]\naction = "redact"', "")
    (tmp_path / "policy.toml").write_text(default + '\n[output.banned_terms]\naction = "block"\n')
    scenario = Scenario(text="this is forbidden", tool_calls=True)
    async with open_house(tmp_path, scenario, policy=tmp_path / "policy.toml") as house:
        events = await house.say(await house.open_chat(), "hello")

    assert events[-1].data["finish_reason"] == "content_filter"
    assert not any(e.name == "tool_calls" for e in events)
    assert "forbidden" not in text_of(events)


async def test_a_compatible_stream_that_a_shutdown_cuts_says_so(tmp_path: Path) -> None:
    async with open_house(tmp_path) as house:
        house.engine.gate.hold(2)
        client = openai.AsyncOpenAI(base_url=f"{house.url}/v1", api_key="local", max_retries=0)
        stream = await client.chat.completions.create(
            model="sim", messages=[{"role": "user", "content": "hello"}], stream=True
        )
        await house.engine.gate.reached()
        assert house.shut_down
        house.shut_down()
        with pytest.raises(openai.APIError, match="restarting"):
            async for _ in stream:
                pass
        await client.close()


async def test_what_a_rail_did_before_a_takeover_is_still_told_after_it(tmp_path: Path) -> None:
    text = f"Your card {CARD} is good. And so on and on."
    async with open_house(tmp_path, Scenario(text=text), lease_seconds=0.5) as house:
        chat_id = await house.open_chat()
        house.engine.gate.hold(len(text) - 5)
        async with house.saying(chat_id, "hello") as listener:
            await listener.until("guardrail")
            assert house.lose_leases
            house.lose_leases()
            house.engine.gate.release()
            await listener.rest()
        events = parse_events((await house.http.get(f"/runs/{listener.run_id}/events")).text)

    verdicts = events[-1].data["message"]["verdicts"]
    assert [(v["rail"], v["action"]) for v in verdicts] == [("pii.card", "redacted")]
    assert verdicts[0]["digest"]
