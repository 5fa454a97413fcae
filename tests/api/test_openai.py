"""OpenAI's wire, driven by OpenAI's own client, with every trap of that client as a named test."""

import asyncio
import json
from hashlib import sha256
from pathlib import Path
from typing import Any

import openai
import pytest

from functions.api import openai as openai_wire
from tests.house import House, open_house
from tests.simulated import Scenario

HELLO: Any = [{"role": "user", "content": "hello"}]


def client_of(house: House, **options: Any) -> openai.AsyncOpenAI:
    return openai.AsyncOpenAI(base_url=f"{house.url}/v1", api_key="local", **options)


async def raw_stream(house: House, **body: Any) -> str:
    request = {"model": house_model(house), "messages": HELLO, "stream": True} | body
    return (await house.http.post("/v1/chat/completions", json=request)).text


def house_model(house: House) -> str:
    return house.engine.models[0]


async def test_models_are_listed_without_waking_anything(house: House) -> None:
    paths = len(house.engine.stats.requests)

    async with client_of(house) as client:
        models = [m.id async for m in client.models.list()]

    assert models == [house_model(house)]
    assert len(house.engine.stats.requests) == paths


async def test_a_whole_answer_comes_with_usage(house: House) -> None:
    async with client_of(house) as client:
        answer = await client.chat.completions.create(model=house_model(house), messages=HELLO)

    assert answer.choices[0].message.content
    assert answer.choices[0].finish_reason == "stop"
    assert answer.usage and answer.usage.completion_tokens > 0


async def test_a_stream_gives_the_same_text_as_the_whole_answer(house: House) -> None:
    async with client_of(house) as client:
        whole = await client.chat.completions.create(model=house_model(house), messages=HELLO)
        stream = await client.chat.completions.create(model=house_model(house), messages=HELLO, stream=True)
        chunks = [chunk async for chunk in stream]

    text = "".join(c.choices[0].delta.content or "" for c in chunks if c.choices)
    assert text == whole.choices[0].message.content
    assert chunks[0].choices[0].delta.role == "assistant"
    assert [c.choices[0].finish_reason for c in chunks if c.choices][-1] == "stop"
    assert len({c.id for c in chunks}) == 1


async def test_usage_is_the_last_chunk_when_it_was_asked_for(house: House) -> None:
    async with client_of(house) as client:
        stream = await client.chat.completions.create(
            model=house_model(house), messages=HELLO, stream=True, stream_options={"include_usage": True}
        )
        chunks = [chunk async for chunk in stream]

    assert chunks[-1].choices == []
    assert chunks[-1].usage and chunks[-1].usage.total_tokens > 0
    assert all(c.usage is None for c in chunks[:-1])


async def test_the_stream_has_no_ids_no_retry_and_no_named_events(house: House) -> None:
    text = await raw_stream(house)

    lines = [line for line in text.splitlines() if line]
    assert all(line.startswith(("data: ", ": ")) for line in lines)
    assert lines[-1] == "data: [DONE]"


async def test_a_fault_after_the_first_byte_is_a_clean_api_error(tmp_path: Path) -> None:
    async with open_house(tmp_path, Scenario(tokens=8, fault="error_frame")) as house, client_of(house) as client:
        stream = await client.chat.completions.create(model=house_model(house), messages=HELLO, stream=True)
        with pytest.raises(openai.APIError) as raised:
            async for _ in stream:
                pass

    assert "node-secret" not in str(raised.value)


async def test_an_unknown_model_is_404_and_says_so(house: House) -> None:
    async with client_of(house) as client:
        with pytest.raises(openai.NotFoundError) as raised:
            await client.chat.completions.create(model="no-such-model", messages=HELLO)

    assert raised.value.code == "model_not_found"
    assert not house.engine.stats.requests


async def test_the_clients_own_retry_is_the_same_run(house: House) -> None:
    """It sends no key, only how often it has retried; the second try of one body must not generate twice."""
    body = {"model": house_model(house), "messages": HELLO}
    first = await house.http.post("/v1/chat/completions", json=body, headers={"x-stainless-retry-count": "0"})
    retry = await house.http.post("/v1/chat/completions", json=body, headers={"x-stainless-retry-count": "1"})
    anew = await house.http.post("/v1/chat/completions", json=body, headers={"x-stainless-retry-count": "0"})

    assert retry.json() == first.json()
    assert anew.json()["id"] != first.json()["id"], "a new call with the same body is a new answer"
    assert house.engine.stats.started == 2


async def test_an_idempotency_key_makes_one_run_and_refuses_another_body(house: House) -> None:
    key = {"idempotency-key": "order-66"}
    body = {"model": house_model(house), "messages": HELLO}
    answers = await asyncio.gather(*(house.http.post("/v1/chat/completions", json=body, headers=key) for _ in range(8)))
    other = await house.http.post(
        "/v1/chat/completions", json=body | {"messages": [{"role": "user", "content": "bye"}]}, headers=key
    )

    assert len({a.json()["id"] for a in answers}) == 1
    assert house.engine.stats.started == 1
    assert (other.status_code, other.headers["x-should-retry"]) == (409, "false")


async def test_too_fast_is_429_with_retry_after(tmp_path: Path) -> None:
    async with open_house(tmp_path, runs_per_minute=1) as house, client_of(house, max_retries=0) as client:
        await client.chat.completions.create(model=house_model(house), messages=HELLO)
        with pytest.raises(openai.RateLimitError) as raised:
            await client.chat.completions.create(model=house_model(house), messages=HELLO)

    assert raised.value.code == "rate_limited"
    assert int(raised.value.response.headers["retry-after"]) > 0


async def test_over_budget_is_insufficient_quota_and_the_client_does_not_retry(tmp_path: Path) -> None:
    async with open_house(tmp_path, tokens_per_day=10) as house, client_of(house) as client:
        await client.chat.completions.create(model=house_model(house), messages=HELLO)
        with pytest.raises(openai.RateLimitError) as raised:
            await client.chat.completions.create(model=house_model(house), messages=HELLO)

    assert raised.value.code == "insufficient_quota"
    assert raised.value.response.headers["x-should-retry"] == "false"


async def test_a_blocked_request_is_a_normal_answer_with_content_filter(tmp_path: Path) -> None:
    default = (Path(__file__).parents[2] / "functions/guardrails/default.toml").read_text()
    policy = tmp_path / "policy.toml"
    policy.write_text(default.replace("terms = []", 'terms = ["xyzzy"]'))
    async with open_house(tmp_path, policy=policy) as house, client_of(house) as client:
        banned: Any = [{"role": "user", "content": "what about xyzzy?"}]
        whole = await client.chat.completions.create(model=house_model(house), messages=banned)
        stream = await client.chat.completions.create(model=house_model(house), messages=banned, stream=True)
        chunks = [c async for c in stream]

    assert whole.choices[0].finish_reason == "content_filter"
    assert whole.choices[0].message.content
    assert chunks[-1].choices[0].finish_reason == "content_filter"
    assert not house.engine.stats.requests


async def test_a_conversation_id_keeps_the_chat_and_supplies_its_history(house: House) -> None:
    headers = {"X-Conversation-Id": "my-notebook"}
    async with client_of(house) as client:
        for text in ("first", "second"):
            await client.chat.completions.create(
                model=house_model(house), messages=[{"role": "user", "content": text}], extra_headers=headers
            )
    chats = (await house.http.get("/chats")).json()["data"]
    chat = (await house.http.get(f"/chat/{chats[0]['id']}")).json()

    assert len(chats) == 1
    assert [m["role"] for m in chat["messages"]] == ["user", "assistant"] * 2
    sent = [m["content"] for m in house.engine.stats.requests[-1]["messages"] if m["role"] == "user"]
    assert sent == ["first", "second"]


async def test_a_call_without_a_conversation_keeps_no_chat(house: House) -> None:
    await raw_stream(house)

    assert (await house.http.get("/chats")).json()["data"] == []


async def test_the_whole_conversation_that_the_client_brings_reaches_the_model(house: House) -> None:
    messages = [
        {"role": "developer", "content": "be brief"},
        {"role": "user", "content": [{"type": "text", "text": "a"}, {"type": "text", "text": "b"}]},
        {"role": "assistant", "content": "c"},
        {"role": "user", "content": "d"},
    ]
    await house.http.post("/v1/chat/completions", json={"model": house_model(house), "messages": messages})

    sent = house.engine.stats.requests[-1]["messages"]
    assert [(m["role"], m["content"]) for m in sent] == [
        ("system", "be brief"), ("user", "ab"), ("assistant", "c"), ("user", "d"),
    ]  # fmt: skip


async def test_sampling_and_structured_output_pass_through_to_the_node(house: House) -> None:
    form: Any = {"type": "json_object"}
    async with client_of(house) as client:
        await client.chat.completions.create(
            model=house_model(house), messages=HELLO, temperature=0.3, top_p=0.9, seed=7, stop=["END"],
            max_tokens=50, response_format=form, presence_penalty=0.5,
        )  # fmt: skip

    sent = house.engine.stats.requests[-1]
    wanted = {"temperature": 0.3, "top_p": 0.9, "seed": 7, "stop": ["END"], "max_tokens": 50, "response_format": form}
    assert {name: sent.get(name) for name in wanted} == wanted
    assert sent["presence_penalty"] == 0.5


async def test_tool_calls_come_through_whole(tmp_path: Path) -> None:
    tool: Any = {"type": "function", "function": {"name": "get_weather", "parameters": {"type": "object"}}}
    async with open_house(tmp_path, Scenario(tool_calls=True)) as house, client_of(house) as client:
        whole = await client.chat.completions.create(model=house_model(house), messages=HELLO, tools=[tool])
        stream = await client.chat.completions.create(
            model=house_model(house), messages=HELLO, tools=[tool], stream=True
        )
        chunks = [c async for c in stream]

    call = (whole.choices[0].message.tool_calls or [])[0]
    assert whole.choices[0].finish_reason == "tool_calls"
    assert call.type == "function"
    json.loads(call.function.arguments)
    streamed = [c.choices[0].delta.tool_calls for c in chunks if c.choices and c.choices[0].delta.tool_calls]
    assert streamed and streamed[0][0].function and streamed[0][0].function.arguments == call.function.arguments
    assert chunks[-1].choices[0].finish_reason == "tool_calls"


@pytest.mark.parametrize(("name", "value"), [("n", 2), ("logprobs", True)])
async def test_what_cannot_be_guarded_is_refused_with_a_reason(house: House, name: str, value: Any) -> None:
    body = {"model": house_model(house), "messages": HELLO, name: value}
    answer = await house.http.post("/v1/chat/completions", json=body)

    assert (answer.status_code, answer.json()["error"]["param"]) == (400, name)


async def test_a_bearer_token_is_asked_for_and_understood(tmp_path: Path) -> None:
    hashes = f"ana={sha256(b'secret').hexdigest()}"
    async with open_house(tmp_path, auth="token", access_tokens=hashes) as house:
        async with client_of(house) as stranger:
            with pytest.raises(openai.AuthenticationError):
                await stranger.models.list()
        async with openai.AsyncOpenAI(base_url=f"{house.url}/v1", api_key="secret") as ana:
            assert [m.id async for m in ana.models.list()]


async def test_a_client_that_closes_its_stream_frees_the_engine(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(openai_wire, "ORPHAN_SECONDS", 0.2)  # ten in life
    async with open_house(tmp_path, Scenario(fault="never_ends", tps=50)) as house, client_of(house) as client:
        stream = await client.chat.completions.create(model=house_model(house), messages=HELLO, stream=True)
        async for _ in stream:
            break
        await stream.close()

        await house.engine.until(aborted=1, timeout=15)


async def test_a_blocked_call_costs_nothing_of_the_days_tokens(tmp_path: Path) -> None:
    default = (Path(__file__).parents[2] / "functions/guardrails/default.toml").read_text()
    policy = tmp_path / "policy.toml"
    policy.write_text(default.replace("terms = []", 'terms = ["xyzzy"]'))
    async with open_house(tmp_path, policy=policy, tokens_per_day=1500) as house, client_of(house) as client:
        banned: Any = [{"role": "user", "content": "what about xyzzy?"}]
        for _ in range(3):  # each reserves 1,024 for a moment
            blocked = await client.chat.completions.create(model=house_model(house), messages=banned)
            assert blocked.choices[0].finish_reason == "content_filter"
        answered = await client.chat.completions.create(model=house_model(house), messages=HELLO)

    assert answered.choices[0].finish_reason == "stop"
