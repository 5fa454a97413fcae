"""A load generator that costs a few microseconds a token: raw sockets, and nothing is parsed while time is taken.

`fire` sends all requests at once over connections that stand already, and keeps what arrives with its time.
`Reply` then says when the first text came, and whether the whole answer did.
"""

import asyncio
import json
import re
import time
from bisect import bisect_right
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import accumulate
from typing import Any, cast

END_OF_BODY = b"0\r\n\r\n"
TIMEOUT_SECONDS = 30.0
Address = tuple[str, int]

# The first text that is not empty, on either wire.
FIRST_TEXT = re.compile(rb'"type": ?"delta", ?"text": ?"[^"]|"delta": ?\{"content": ?"[^"]')


class Broken(Exception):
    """An answer did not arrive whole. The figures of such a run say nothing."""


@dataclass(frozen=True)
class Reply:
    sent_at: float
    reads: Sequence[tuple[float, bytes]]

    @property
    def raw(self) -> bytes:
        return b"".join(data for _, data in self.reads)

    @property
    def ended_s(self) -> float:
        return self.reads[-1][0] - self.sent_at

    def first_text_s(self) -> float:
        """From the request to the first text."""
        raw = self.raw
        found = FIRST_TEXT.search(raw)
        if not found:
            raise Broken(f"no text in {raw[-300:]!r}")
        ends = list(accumulate(len(data) for _, data in self.reads))
        return self.reads[bisect_right(ends, found.end() - 1)][0] - self.sent_at

    def body(self) -> bytes:
        """Of a 200 in chunks."""
        head, _, rest = self.raw.partition(b"\r\n\r\n")
        if b" 200 " not in head.split(b"\r\n")[0] + b" ":
            raise Broken(f"{head[:100]!r} {rest[:300]!r}")
        parts: list[bytes] = []
        while True:
            size, _, rest = rest.partition(b"\r\n")
            if not (length := int(size or b"0", 16)):
                return b"".join(parts)
            parts.append(rest[:length])
            rest = rest[length + 2 :]


class _Exchange(asyncio.Protocol):
    """One request, one answer."""

    transport: asyncio.Transport

    def __init__(self) -> None:
        self.reads: list[tuple[float, bytes]] = []
        self.done: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._tail = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast("asyncio.Transport", transport)  # uvloop's is none by class

    def data_received(self, data: bytes) -> None:
        self.reads.append((time.perf_counter(), data))
        self._tail = (self._tail + data)[-5:] if len(data) < 5 else data[-5:]
        if self._tail == END_OF_BODY and not self.done.done():
            self.done.set_result(None)

    def connection_lost(self, exc: Exception | None) -> None:
        if not self.done.done():
            self.done.set_result(None)  # `Reply` finds out what is missing


async def fire(
    address: Address,
    requests: Sequence[bytes],
    *,
    before: Callable[[], None] | None = None,
    spread_s: float = 0.0,
) -> list[Reply]:
    """All requests together, or evenly over `spread_s`, each on its own connection. `before` is called when all of
    them stand."""
    loop = asyncio.get_running_loop()
    exchanges = [(await loop.create_connection(_Exchange, *address))[1] for _ in requests]
    await asyncio.sleep(0.03)  # the server has accepted them all
    if before:
        before()
    sent = []
    for exchange, request in zip(exchanges, requests, strict=True):
        sent.append(time.perf_counter())
        exchange.transport.write(request)
        if spread_s:
            await asyncio.sleep(spread_s / len(requests))
    try:
        async with asyncio.timeout(TIMEOUT_SECONDS):
            await asyncio.gather(*(exchange.done for exchange in exchanges))
    except TimeoutError:
        raise Broken(f"{sum(not e.done.done() for e in exchanges)} streams did not end in time") from None
    finally:
        for exchange in exchanges:
            exchange.transport.abort()
    return [Reply(at, exchange.reads) for at, exchange in zip(sent, exchanges, strict=True)]


def post(address: Address, path: str, body: Any) -> bytes:
    """The bytes of a request."""
    data = json.dumps(body).encode()
    head = f"POST {path} HTTP/1.1\r\nHost: {address[0]}:{address[1]}\r\nContent-Type: application/json\r\n"
    return f"{head}Accept: text/event-stream\r\nContent-Length: {len(data)}\r\n\r\n".encode() + data


# -- was it whole? -------------------------------------------------------------------------------------------------


def check_compatible(reply: Reply, wanted: str) -> None:
    """OpenAI's wire: the text, and the end."""
    events = reply.body().split(b"\n\n")
    chunks = [json.loads(event[6:]) for event in events if event.startswith(b"data: {")]
    deltas = [choice["delta"] for chunk in chunks for choice in chunk["choices"]]
    text = "".join(delta.get("content") or "" for delta in deltas)
    if text != wanted:
        raise Broken(f"{len(text)} of {len(wanted)} characters: …{text[-100:]!r}")
    if b"data: [DONE]" not in events:
        raise Broken("no [DONE]")


def check_native(reply: Reply, wanted: str) -> dict[str, Any]:
    """Our own wire: no event missing, the text, and the stored message at the end, which is returned."""
    events = [event.split(b"\n") for event in reply.body().split(b"\n\n") if event.startswith(b"id: ")]
    numbers = [int(lines[0][4:]) for lines in events]
    if numbers != list(range(1, len(events) + 1)):
        raise Broken(f"events {numbers}")
    logged = [json.loads(lines[2][6:]) for lines in events]
    text = "".join(event["text"] for event in logged if event["type"] == "delta")
    if text != wanted or logged[-1]["type"] != "done" or logged[-1]["message"]["content"] != wanted:
        raise Broken(f"{len(text)} of {len(wanted)} characters: …{text[-100:]!r}, ended with {str(logged[-1])[:500]}")
    message: dict[str, Any] = logged[-1]["message"]
    return message
