"""A guard model behind the compatible API: whoever speaks OpenAI's wire hears what it decided in OpenAI's words."""

from pathlib import Path
from typing import Any

import openai

from tests.chat.moderated import BOTH, FIRST, HOLD, REFUSAL, SECOND, THIRD, moderated
from tests.scripted_guard import BAD, ScriptedGuard


def asking(house: Any) -> tuple[openai.AsyncOpenAI, dict[str, Any]]:
    client = openai.AsyncOpenAI(base_url=f"{house.url}/v1", api_key="local", max_retries=0)
    return client, {"model": "sim", "messages": [{"role": "user", "content": "Tell me a story."}]}


async def test_a_compatible_answer_that_is_refused_is_a_refusal(guard: ScriptedGuard, tmp_path: Path) -> None:
    async with moderated(tmp_path, guard, FIRST + SECOND + THIRD, BOTH) as house:
        client, body = asking(house)
        async with client:
            answer = await client.chat.completions.create(**body)

    assert answer.choices[0].message.content == REFUSAL
    assert answer.choices[0].finish_reason == "content_filter"


async def test_a_compatible_stream_says_content_filter_when_the_first_window_is_refused(
    guard: ScriptedGuard, tmp_path: Path
) -> None:
    async with moderated(tmp_path, guard, SECOND + THIRD, BOTH) as house:
        client, body = asking(house)
        async with client:
            chunks = [chunk async for chunk in await client.chat.completions.create(**body, stream=True)]

    assert "".join(c.choices[0].delta.content or "" for c in chunks) == REFUSAL
    assert chunks[-1].choices[0].finish_reason == "content_filter"


async def test_a_compatible_stream_that_is_taken_back_ends_with_content_filter_and_no_more_text(
    guard: ScriptedGuard, tmp_path: Path
) -> None:
    async with moderated(tmp_path, guard, FIRST + SECOND + THIRD, HOLD) as house:
        client, body = asking(house)
        house.engine.gate.hold(len(FIRST))
        async with client:
            stream = await client.chat.completions.create(**body, stream=True)
            text, reason = "", None
            async for chunk in stream:
                text += chunk.choices[0].delta.content or ""
                reason = chunk.choices[0].finish_reason
                if text:
                    house.engine.gate.release()

    assert (text, reason) == (FIRST, "content_filter")


async def test_everything_that_a_compatible_caller_wrote_is_judged(guard: ScriptedGuard, tmp_path: Path) -> None:
    places: list[dict[str, Any]] = [
        {"messages": [{"role": "system", "content": BAD}, {"role": "user", "content": "hello"}]},
        {"messages": [{"role": "user", "content": BAD}, {"role": "assistant", "content": "no"}, _user("hello")]},
        {"messages": [_user("hello")], "tools": [_tool(BAD)]},
        {"messages": [_user("hello"), {"role": "tool", "content": BAD, "tool_call_id": "call_1"}]},
    ]
    async with moderated(tmp_path, guard, "It is four.", BOTH) as house:
        for place in places:
            answer = await house.http.post("/v1/chat/completions", json={"model": "sim", **place})
            assert answer.json()["choices"][0]["finish_reason"] == "content_filter", place
        fine = await house.http.post("/v1/chat/completions", json={"model": "sim", "messages": [_user("hello")]})

    assert fine.json()["choices"][0]["message"]["content"] == "It is four."


def _user(text: str) -> dict[str, str]:
    return {"role": "user", "content": text}


def _tool(description: str) -> dict[str, Any]:
    function = {"name": "brew", "description": description, "parameters": {"type": "object", "properties": {}}}
    return {"type": "function", "function": function}


async def test_an_operators_chat_never_goes_to_the_guard(guard: ScriptedGuard, tmp_path: Path) -> None:
    async with moderated(tmp_path, guard, "It is four.", BOTH) as house:
        models = [model["id"] for model in (await house.http.get("/v1/models")).json()["data"]]
        refused = await house.http.post("/v1/chat/completions", json={"model": "guard", "messages": [_user("hello")]})

    assert models == ["sim"]
    assert refused.status_code == 404
    assert guard.asked == []
