"""How our description of a server serves real vLLM: adapters, speculation, vectors, and the door before the rest."""

import asyncio
import json
from http.client import HTTPConnection
from typing import Any

import aiohttp
import pytest

from functions.errors import UpstreamError
from functions.inference.vllm import DOOR_HEADER
from tests.vllm.conftest import LONG, SEA, Fleet, OpenGateway, asking, greedy, say
from tests.vllm.servers import Server

LOOPING = asking(" the" * 500)  # answered with the same few words over and over


async def test_an_adapter_that_is_loaded_while_it_serves_is_asked_for_by_name(
    fleet: Fleet, chat: Server, open_gateway: OpenGateway
) -> None:
    before = (await say(await open_gateway(chat.node()), greedy())).text

    await asyncio.to_thread(chat.load_adapter, "tuned", str(fleet.folder / "adapter"))
    gateway = await open_gateway(chat.node())
    tuned = await say(gateway, greedy(), model="tuned")
    after = await say(gateway, greedy())

    assert [model.id for model in gateway.models()] == ["tiny", "tuned"]
    assert tuned.text != before
    assert after.text == before, "the model itself stays what it was"
    await asyncio.to_thread(chat.ask, "/v1/unload_lora_adapter", {"lora_name": "tuned"})
    with pytest.raises(UpstreamError):
        await say(gateway, greedy(), model="tuned")


async def test_speculation_changes_the_work_and_not_the_answer(
    chat: Server, guessing: Server, open_gateway: OpenGateway
) -> None:
    plain, guesses = await open_gateway(chat.node()), await open_gateway(guessing.node())
    accepted = guessing.metric("vllm:spec_decode_num_accepted_tokens_total")

    for question in (SEA, asking("Why do people read?"), LOOPING):
        expected = await say(plain, greedy(100), question)
        assert (await say(guesses, greedy(100), question)).text == expected.text

    assert guessing.metric("vllm:spec_decode_num_accepted_tokens_total") > accepted


async def test_vectors_come_from_a_server_of_their_own(embed: Server, open_gateway: OpenGateway) -> None:
    gateway = await open_gateway(embed.node())
    texts = ["the house by the water", "你好", "the house by the water"]

    embedded = await gateway.embed(texts)

    house, hello, again = embedded.vectors
    assert len(house) == len(hello) == 256
    assert house == again
    assert sum(x * y for x, y in zip(house, hello, strict=True)) < 0.99 < sum(x * x for x in house) < 1.01


# -- the door ------------------------------------------------------------------------------------------------------

CLOSED = [
    ("POST", "/v1/load_lora_adapter"),
    ("POST", "/v1/unload_lora_adapter"),
    ("POST", "/v1/responses"),
    ("POST", "/adapters"),
    ("DELETE", "/adapters/tuned"),
    ("POST", "/detokenize"),
    ("GET", "/openapi.json"),
    ("POST", "/collective_rpc"),
    ("POST", "/sleep"),
    ("POST", "/invocations"),
    ("GET", "/v1/models/"),  # the same thing under another spelling
    ("POST", "//v1/load_lora_adapter"),
    ("POST", "/health/../v1/load_lora_adapter"),
    ("POST", "/v1/models/%2e%2e/load_lora_adapter"),
]


def knock(server: Server, method: str, path: str, **headers: str) -> tuple[int, bytes]:
    """The path as it is, with nothing tidied on the way."""
    connection = HTTPConnection("127.0.0.1", server.port, timeout=10)
    body = b"{}" if method == "POST" else None
    connection.request(method, path, body, {"Content-Type": "application/json", **headers})
    answer = connection.getresponse()
    said = answer.status, answer.read()
    connection.close()
    return said


@pytest.mark.parametrize(("method", "path"), CLOSED)
def test_what_is_not_for_strangers_is_not_there(chat: Server, method: str, path: str) -> None:
    status, body = knock(chat, method, path)

    assert status == 404
    assert json.loads(body)["error"]["code"] == "not_found", "the door's own answer: vLLM has not heard of it"


def test_only_the_key_of_this_start_opens(chat: Server) -> None:
    wrong, _ = knock(chat, "POST", "/v1/load_lora_adapter", **{DOOR_HEADER: "0" * 64})
    empty, _ = knock(chat, "POST", "/v1/load_lora_adapter", **{DOOR_HEADER: ""})

    assert (wrong, empty) == (404, 404)
    with pytest.raises(RuntimeError, match="answered 400"):  # vLLM itself, which misses the adapter's name
        chat.ask("/v1/load_lora_adapter", {})


@pytest.mark.parametrize("path", ["/health", "/version", "/metrics", "/v1/models"])
def test_what_is_open_is_open(chat: Server, path: str) -> None:
    status, _ = knock(chat, "GET", path)

    assert status == 200


async def test_what_streams_through_the_door_comes_in_pieces(chat: Server) -> None:
    """Read from the wire: the first event is there while the answer is still being made."""
    body: dict[str, Any] = {"model": "tiny", "messages": SEA, "max_tokens": LONG, "temperature": 0, "stream": True}

    async with (
        aiohttp.ClientSession() as session,
        session.post(f"{chat.url}/v1/chat/completions", json=body) as answer,
    ):
        await answer.content.readuntil(b"\n\n")
        running = chat.metric("vllm:num_requests_running")
        rest = await answer.read()

    assert running == 1
    assert rest.rstrip().endswith(b"data: [DONE]")


def test_a_server_that_warms_up_has_answered_before_anybody_asks(chat: Server) -> None:
    before = chat.metric("vllm:request_success_total", finished_reason="length")

    chat.warm_up()

    assert chat.metric("vllm:request_success_total", finished_reason="length") == before + 3
