"""The whole house over real vLLM: chats, the compatible API, rails, limits and store, and a GPU server at the end."""

import asyncio
import json
from collections.abc import AsyncIterator
from pathlib import Path

import openai
import pytest

from tests.house import House, open_house, text_of
from tests.vllm.conftest import Fleet, until
from tests.vllm.servers import Server
from tests.vllm.test_answers import RATE, SCHEMA
from tests.vllm.test_crowd import is_idle


@pytest.fixture
async def house(chat: Server, tmp_path: Path) -> AsyncIterator[House]:
    async with open_house(tmp_path, nodes=lambda _: [chat.node()]) as opened:
        yield opened


@pytest.fixture
async def client(house: House) -> AsyncIterator[openai.AsyncOpenAI]:
    async with openai.AsyncOpenAI(base_url=f"{house.url}/v1", api_key="local", max_retries=0) as opened:
        yield opened


async def test_the_second_question_of_a_chat_pays_only_for_what_is_new(house: House) -> None:
    chat_id = await house.open_chat(system_prompt="You know" + " the house by the water" * 40)

    first = await house.say(chat_id, "What is it?", temperature=0, max_tokens=40)
    second = await house.say(chat_id, "Why?", temperature=0, max_tokens=40)

    assert first[-1].name == second[-1].name == "done"
    assert len(text_of(first).split()) == 40
    usage = second[-1].data["usage"]
    assert usage["cached_tokens"] >= 128
    assert usage["cached_tokens"] < usage["prompt_tokens"]


async def test_stop_frees_the_gpu_and_keeps_the_text(house: House, chat: Server) -> None:
    chat_id = await house.open_chat()
    finished = chat.metric("vllm:request_success_total")
    async with house.saying(chat_id, "Say something long.") as listener:
        await listener.until("delta")

        stopped = await house.http.delete(f"/runs/{listener.run_id}")
        rest = await listener.rest()

    assert stopped.json()["status"] == "stopped"
    assert rest[-1].name == "stopped"
    assert rest[-1].data["message"]["content"]
    await until(lambda: is_idle(chat))
    assert chat.metric("vllm:request_success_total") == finished


async def test_openais_client_streams_a_forced_tool_call(client: openai.AsyncOpenAI) -> None:
    stream = await client.chat.completions.create(
        model="tiny",
        messages=[{"role": "user", "content": "Rate the sea."}],
        tools=[RATE],
        tool_choice="required",
        temperature=0,
        max_tokens=100,
        stream=True,
    )
    name = arguments = reason = ""
    async for chunk in stream:
        for choice in chunk.choices:
            reason = choice.finish_reason or reason
            for call in choice.delta.tool_calls or []:
                if call.function:
                    name += call.function.name or ""
                    arguments += call.function.arguments or ""

    assert (name, reason) == ("rate", "tool_calls")
    assert json.loads(arguments)["mood"] in ("good", "bad")


async def test_openais_client_gets_json_by_schema(client: openai.AsyncOpenAI) -> None:
    answer = await client.chat.completions.create(
        model="tiny",
        messages=[{"role": "user", "content": "Rate the sea."}],
        response_format={"type": "json_schema", "json_schema": {"name": "rating", "schema": SCHEMA}},
        max_tokens=60,
    )

    assert json.loads(answer.choices[0].message.content or "")["stars"] in range(1, 6)
    assert answer.usage and answer.usage.completion_tokens > 0


async def test_an_adapter_is_a_model_like_any_other(house: House, chat: Server, fleet: Fleet) -> None:
    """The house finds it by itself: it probes a server that is always on."""
    await asyncio.to_thread(chat.load_adapter, "in-house", str(fleet.folder / "adapter"))
    try:
        while "in-house" not in [model["id"] for model in (await house.http.get("/v1/models")).json()["data"]]:
            await asyncio.sleep(0.1)
        plain, tuned = [
            text_of(await house.say(await house.open_chat(model=model), "Say it.", temperature=0, max_tokens=20))
            for model in ("tiny", "in-house")
        ]
    finally:
        await asyncio.to_thread(chat.ask, "/v1/unload_lora_adapter", {"lora_name": "in-house"})

    assert plain and tuned and plain != tuned
