"""An engine that costs next to nothing, for benchmarks: OpenAI's wire, tokens in engine steps.

As vLLM does, it emits one token of every stream in the same step; a stream's first token comes when its prefill is
over, which takes `prefill_s` here. It lives in the load generator's own process and loop, so that a round is set up
by assignment (`upstream.plan = Plan(...)`) and the server under test has the other core to itself.

Every answer is the same prose, cut after `plan.tokens` tokens: `answer(n)` is what must have arrived at the reader.
It knows nothing of faults, models or prompts; `tests.simulated` does.
"""

import asyncio
import json
from dataclasses import dataclass
from functools import cache
from typing import cast

MODEL = "bench-model"
PROSE = (
    "the small town on the coast keeps its clock in the old tower , every morning the keeper climbs the stairs to wind "
    "it while the boats leave the harbour , the bakers open their doors and the first light falls on the square where "
    "people have met since 1869 to talk about the weather , the price of fish and the long winter that is behind them"
)
WORDS = PROSE.split()


def token(index: int) -> str:
    """Prose in pieces of a tokenizer's usual size, with sentences and now and then a paragraph."""
    if index % 90 == 89:
        return ".\n\n"
    if index % 15 == 14:
        return "."
    word = WORDS[index % len(WORDS)]
    starts = index % 15 == 0
    word = word.capitalize() if starts else word
    return word if word == "," or index == 0 or index % 90 == 0 else f" {word}"


@cache
def answer(tokens: int) -> str:
    return "".join(map(token, range(tokens)))


@dataclass(frozen=True)
class Plan:
    """How the streams that start from now on behave."""

    tokens: int = 1
    tps: float = 0.0  # of each stream; 0: all at once
    prefill_s: float = 0.0


_HEAD = {"id": "chatcmpl-" + 32 * "0", "object": "chat.completion.chunk", "created": 1700000000, "model": MODEL}


def _frame(**fields: object) -> bytes:
    return b"data: %s\n\n" % json.dumps(_HEAD | fields, separators=(",", ":")).encode()


def _delta(delta: dict[str, str], finish_reason: str | None = None) -> bytes:
    return _frame(choices=[{"index": 0, "delta": delta, "logprobs": None, "finish_reason": finish_reason}])


def _chunk(data: bytes) -> bytes:
    """One chunk of an HTTP/1.1 body, as servers make it of each event."""
    return b"%x\r\n%s\r\n" % (len(data), data)


@cache
def _token_chunk(index: int) -> bytes:
    return _chunk(_delta({"content": token(index)}))


@cache
def _last_chunks(tokens: int) -> bytes:
    usage = {"prompt_tokens": 100, "total_tokens": 100 + tokens, "completion_tokens": tokens}
    parts = (_delta({"content": ""}, "stop"), _frame(choices=[], usage=usage), b"data: [DONE]\n\n")
    return b"".join(map(_chunk, parts)) + b"0\r\n\r\n"


_ROLE = _chunk(_delta({"role": "assistant", "content": ""}))
_STREAM_HEAD = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n"
_CARD = {"id": MODEL, "object": "model", "created": 0, "owned_by": "vllm", "max_model_len": 32768}
_MODELS = json.dumps({"object": "list", "data": [_CARD]}).encode()
_MODELS_HEAD = b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: %d\r\n\r\n" % len(_MODELS)


class Upstream:
    """`async with Upstream() as upstream:`"""

    def __init__(self) -> None:
        self.plan = Plan()
        self.port = 0
        self.tokens = 0  # sent so far
        self.prompt_messages = 0  # of the last request
        self._server: asyncio.Server | None = None
        self._running: set[_Stream] = set()
        self._step: asyncio.TimerHandle | None = None
        self._step_at = 0.0

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/v1"

    async def __aenter__(self) -> "Upstream":
        loop = asyncio.get_running_loop()
        self._server = await loop.create_server(lambda: _Connection(self), "127.0.0.1", 0, backlog=1024)
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(self, *_: object) -> None:
        if self._step:
            self._step.cancel()
        assert self._server is not None
        self._server.close()

    def begin(self, stream: "_Stream") -> None:
        loop = asyncio.get_running_loop()
        if not stream.emit():
            return
        if not stream.plan.tps:
            while stream.emit():
                pass
            return
        self._running.add(stream)
        if self._step is None:
            self._step_at = loop.time() + 1 / stream.plan.tps
            self._step = loop.call_at(self._step_at, self._take_step, 1 / stream.plan.tps)

    def _take_step(self, period: float) -> None:
        self.tokens += len(self._running)
        self._running = {stream for stream in self._running if stream.emit()}
        if not self._running:
            self._step = None
            return
        loop = asyncio.get_running_loop()
        self._step_at = max(self._step_at + period, loop.time())  # late: slip, as an engine would
        self._step = loop.call_at(self._step_at, self._take_step, period)


class _Stream:
    """One answer on its way."""

    def __init__(self, transport: asyncio.Transport, plan: Plan) -> None:
        self.plan = plan
        self._transport = transport
        self._next = 0

    def emit(self) -> bool:
        """Write the next token; whether there are more."""
        if self._transport.is_closing():
            return False
        data = _token_chunk(self._next)
        if self._next == 0:
            data = _ROLE + data
        self._next += 1
        is_last = self._next == self.plan.tokens
        self._transport.write(data + _last_chunks(self.plan.tokens) if is_last else data)
        return not is_last


class _Connection(asyncio.Protocol):
    """HTTP/1.1 with keep-alive, one request at a time."""

    _transport: asyncio.Transport

    def __init__(self, upstream: Upstream) -> None:
        self._upstream = upstream
        self._received = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)  # uvloop's is none by class

    def data_received(self, data: bytes) -> None:
        self._received += data
        head, found, body = self._received.partition(b"\r\n\r\n")
        if not found or len(body) < _content_length(head):
            return
        self._received = b""
        if head.startswith(b"GET "):
            self._transport.write(_MODELS_HEAD + _MODELS)
            return
        upstream = self._upstream
        upstream.prompt_messages = body.count(b'"role"')
        self._transport.write(_STREAM_HEAD)
        stream = _Stream(self._transport, upstream.plan)
        asyncio.get_running_loop().call_later(upstream.plan.prefill_s, upstream.begin, stream)


def _content_length(head: bytes) -> int:
    for line in head.split(b"\r\n")[1:]:
        name, _, value = line.partition(b":")
        if name.lower() == b"content-length":
            return int(value)
    return 0
