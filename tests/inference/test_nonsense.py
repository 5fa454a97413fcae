"""Servers that answer what no model server should: nothing of it may stop Parley, or whoever waits."""

import asyncio
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import AsyncExitStack, suppress
from typing import Any

import msgspec
import pytest

from functions.errors import ContextTooLong, UpstreamError
from functions.inference.gateway import Node
from functions.inference.nodes import ServedModel
from tests.inference.conftest import QUICK, OpenGateway, listen, until
from tests.simulated import SimulatedEngine

SIM = (ServedModel(id="sim", context_tokens=4096),)
LONG_LABEL = "a" * 70 + ".example"  # no host name: a label has 63 letters at most
Serve = Callable[..., Coroutine[Any, Any, str]]


def answer(body: bytes = b"", status: str = "200 OK", head: str = "") -> bytes:
    lines = f"HTTP/1.1 {status}\r\nContent-Type: application/json\r\nContent-Length: {len(body)}\r\n{head}\r\n"
    return lines.encode() + body


NONSENSE = [
    pytest.param(answer(b'{"data": [{"id": "\xff"}]}'), id="not UTF-8"),
    pytest.param(answer(b'{"data": [{"id": "x", "more": ' + b"[" * 100_000), id="very deep"),
    pytest.param(answer(status="302 Found", head=f"Location: http://{LONG_LABEL}/v1\r\n"), id="leads to no host"),
]


@pytest.fixture
async def serve() -> AsyncIterator[Serve]:
    """`await serve(reply)`: the address of a server that says this to every request, a packet each, and hangs up."""
    async with AsyncExitStack() as stack:

        async def start(*reply: bytes) -> str:
            calls = set[asyncio.Task[Any] | None]()

            async def respond(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
                calls.add(asyncio.current_task())
                with suppress(OSError, asyncio.IncompleteReadError):
                    await reader.readuntil(b"\r\n\r\n")
                    for packet in reply:
                        writer.write(packet)
                        await writer.drain()
                        await asyncio.sleep(0.01)  # or the kernel makes one packet of two
                writer.close()

            server = await asyncio.start_server(respond, "127.0.0.1", 0)
            stack.push_async_callback(lambda: asyncio.gather(*filter(None, calls)))
            stack.callback(server.close)
            return f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/v1"

        yield start


@pytest.mark.parametrize("reply", NONSENSE)
async def test_one_server_that_talks_nonsense_keeps_parley_from_nothing(
    reply: bytes, serve: Serve, open_gateway: OpenGateway
) -> None:
    async with SimulatedEngine() as good:
        mad = Node(await serve(reply), name="mad", models=SIM)
        gateway = await open_gateway(mad, Node(good.url, name="good", models=SIM))

        assert (await listen(gateway)).count == 16
        assert mad.state == "unreachable"


@pytest.mark.parametrize("reply", NONSENSE)
async def test_a_start_at_a_server_that_talks_nonsense_comes_to_an_end(
    reply: bytes, serve: Serve, open_gateway: OpenGateway
) -> None:
    node = Node(await serve(reply), models=SIM, serverless=True)
    gateway = await open_gateway(node, limits=msgspec.structs.replace(QUICK, wake_s=0.05))
    assert await gateway.prewarm("sim") is node
    await until(lambda: not node.is_knocked)

    assert gateway.models()[0].state == "unreachable"


@pytest.mark.parametrize("url", [f"http://{LONG_LABEL}/v1", "http://../v1"])
async def test_an_address_that_is_none_is_a_node_that_cannot_be_reached(url: str, open_gateway: OpenGateway) -> None:
    gateway = await open_gateway(Node(url, models=SIM))
    with pytest.raises(UpstreamError):
        await listen(gateway)

    assert gateway.models()[0].state == "unreachable"


async def test_a_retry_after_that_only_looks_like_a_number_is_none(serve: Serve, open_gateway: OpenGateway) -> None:
    reply = answer(b"{}", "429 Too Many Requests", "Retry-After: \u00b2\r\n")
    with pytest.raises(UpstreamError):
        await listen(await open_gateway(Node(await serve(reply), models=SIM)))


async def test_a_refusal_is_understood_also_when_it_comes_in_two_packets(
    serve: Serve, open_gateway: OpenGateway
) -> None:
    reply = answer(b'{"error": {"message": "This model\'s maximum context length is 10 tokens"}}', "400 Bad Request")
    gateway = await open_gateway(Node(await serve(reply[:-30], reply[-30:]), models=SIM))
    with pytest.raises(ContextTooLong):
        await listen(gateway)
