"""A simulated engine: OpenAI's wire on a real socket, with every fault a test could want. Ours, small, no model.

    async with SimulatedEngine(Scenario(tokens=8)) as engine:      # in the test's own loop
        Node(engine.url) ...
    python -m tests.simulated --port 8123 --scenario tokens=256,tps=100    # as a process, for benchmarks

What an engine does is a `Scenario`. A request may bring its own in the model's name: `sim:tokens=8,fault=cut`.

    cold start of N s         cold_s=40: 503 to everything from the first call on; hold_cold: holds it instead
                              loading_s=5: then, or from the process's start, llama.cpp's "Loading model"
    slow                      ttft_ms=800 before the first token, tps=20 after it
    error                     status=500 (fail_times=2: only to the first two answers), fault=error_frame
    busy                      status=429, retry_after_s=1
    goes away                 fault=cut (in mid-token), cut_early, cut_after_role, close; engine.stop() for all at once
    says nothing more         fault=stall, pings; never_ends says always more
    malformed                 fault=malformed (a chunk that is not JSON), wrong_type (a web page)
    two deltas in one packet  pack=2
    a character in two        split=1 (bytes a packet), with echo=True, whose texts are not ASCII
    embeddings                POST /v1/embeddings: a vector that follows from the text

Everything it heard and did is in `engine.stats`; `await engine.until(aborted=1)` waits for it without sleeping.
`engine.gate.hold(3)` stops every stream before its third token (counted from 0) until `release()`. `engine.wake()`
ends a cold start now, `engine.sleep()` makes it cold again, and `now` may be a clock that a test moves.

`reads` is for what a prompt must contain: see `read_answer`.

Promises: the same request gives the same bytes. `echo` answers a text that follows from the messages alone, and
continues a half-written answer with exactly the rest of that text, so that a takeover can be checked to the letter.
Does not know sampling, and counts a token per frame.
"""

import argparse
import asyncio
import contextlib
import dataclasses
import json
import random
import re
import signal
import time
from collections.abc import AsyncIterator, Callable
from typing import Any, Literal, cast

Fault = Literal[
    "none",
    "cut",  # the connection goes, in the middle of a frame
    "cut_early",  # it goes before any answer
    "cut_after_role",  # it goes after the headers and a first frame without text
    "close",  # the body ends in good order, but the answer does not
    "error_frame",  # a data frame with an error
    "malformed",  # a frame that is not JSON
    "stall",  # it says nothing more, ever
    "pings",  # it says nothing more but comments, as a proxy does for a dead engine
    "never_ends",  # tokens without end
    "no_terminator",  # [DONE], and then the body stays open
    "wrong_type",  # 200 with a web page
]
WHOLE: tuple[Fault, ...] = ("none", "cut_early", "no_terminator", "never_ends")  # faults that spare the text
SECRET = "node-secret-7f3a"  # in every text of a node that no user may ever see
_WORDS = (
    "river stone light window paper morning garden silver letter harbour quiet seven bridge amber winter signal "
    "你好 世界 模型 回答 🙂 café naïve Zürich привет 東京"
)
WORDS = _WORDS.split()


@dataclasses.dataclass(frozen=True)
class Scenario:
    tokens: int = 16
    tps: float = 0.0  # tokens per second and stream; 0: as fast as it can
    ttft_ms: float = 0.0
    text: str = ""  # answer this, one character per token
    echo: bool = False
    mute: bool = False  # asked for notes it says nothing
    reads: bool = False  # answer from what it is shown alone: notes of the facts in it, or the fact that is asked for
    fault: Fault = "none"
    fault_at: int = 4  # before this token
    status: int = 0  # answer this instead …
    fail_times: int = 0  # … (or cut early) to the first so many requests; 0: to all of them
    retry_after_s: int = 0
    problem: str = ""  # the text of that refusal
    cold_s: float = 0.0  # 503 for so long after the first call, whatever it asks
    loading_s: float = 0.0  # llama.cpp's "Loading model" for so long after that, or after the process's start
    hold_cold: bool = False  # cold: hold the request instead of refusing it
    split: int = 0  # bytes per packet; 0: a frame per packet
    pack: int = 1  # frames per packet
    crlf: bool = False
    comments: bool = False  # a ping before every frame
    role_first: bool = True
    reasoning: int = 0  # reasoning deltas before the answer
    tool_calls: bool = False
    logprobs: bool = False
    context_tokens: int = 4096  # more prompt tokens than this are refused as the kind of engine does
    kind: Literal["vllm", "llama.cpp", "openai"] = "vllm"

    @classmethod
    def parse(cls, text: str) -> "Scenario":
        """`tokens=8,tps=100,fault=cut`; a bare name is true."""
        kinds = {field.name: type(field.default) for field in dataclasses.fields(cls)}
        pairs = (part.partition("=") for part in text.split(",") if part)
        return cls(**{name: _read(kinds[name], value) for name, _, value in pairs})


def _read(kind: type, value: str) -> Any:
    return value in ("", "1", "true") if kind is bool else kind(value)


@dataclasses.dataclass
class Stats:
    open: int = 0  # streams under way
    started: int = 0
    finished: int = 0
    aborted: int = 0  # the client went before the end
    refused: int = 0
    connections: int = 0
    tokens: int = 0
    embedded: int = 0  # texts
    requests: list[dict[str, Any]] = dataclasses.field(default_factory=list)  # for answers: bodies, as they came
    headers: list[dict[str, str]] = dataclasses.field(default_factory=list)
    paths: list[str] = dataclasses.field(default_factory=list)


class Gate:
    """Holds streams before a token until a test says so. `waiting` counts the held ones."""

    def __init__(self, engine: "SimulatedEngine") -> None:
        self._engine = engine
        self._at: int | None = None  # -1: before the headers
        self._open = asyncio.Event()
        self._open.set()
        self.waiting = 0

    def hold(self, before_token: int = 0) -> None:
        """-1 holds the headers as well."""
        self._at = before_token
        self._open.clear()

    def release(self) -> None:
        self._at = None
        self._open.set()

    async def reached(self, streams: int = 1, timeout: float = 10) -> None:
        """Until so many streams stand at the gate."""
        await self._engine.until_true(lambda: self.waiting >= streams, timeout)

    async def __call__(self, token: int) -> None:
        if self._at is None or token < self._at:
            return
        self.waiting += 1
        self._engine.changed()
        try:
            await self._open.wait()
        finally:
            self.waiting -= 1


class SimulatedEngine:
    def __init__(
        self,
        scenario: Scenario | str = Scenario(),
        *,
        models: tuple[str, ...] = ("sim",),
        api_key: str | None = None,
        host: str = "127.0.0.1",
        port: int = 0,
        now: Callable[[], float] = time.monotonic,
    ) -> None:
        self.scenario = Scenario.parse(scenario) if isinstance(scenario, str) else scenario
        self.models = models
        self.api_key = api_key
        self.stats = Stats()
        self.embeddings: bytes | None = None  # what to answer instead of vectors
        self.gate = Gate(self)
        self.port = port
        self._host = host
        self._server: asyncio.Server | None = None
        self._connections: set[_Connection] = set()
        self._changed: set[asyncio.Future[None]] = set()
        self._now = now
        self._born = now()
        self._called_at: float | None = None
        self._woken = asyncio.Event()
        self._failures = 0

    @property
    def url(self) -> str:
        return f"http://{self._host}:{self.port}/v1"

    async def start(self) -> "SimulatedEngine":
        """Also again after `stop()`, on the same port."""
        loop = asyncio.get_running_loop()
        self._born = self._now()
        self._server = await loop.create_server(lambda: _Connection(self), self._host, self.port, backlog=1024)
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    async def stop(self) -> None:
        """Like a process that dies: every connection is cut."""
        if self._server is not None:
            self._server.close()
        tasks = [task for connection in self._connections if (task := connection.abort()) is not None]
        await asyncio.gather(*tasks, return_exceptions=True)

    async def __aenter__(self) -> "SimulatedEngine":
        return await self.start()

    async def __aexit__(self, *_: object) -> None:
        await self.stop()

    # -- what a test can wait for ----------------------------------------------------------------------------

    async def until(self, timeout: float = 10, **counts: int) -> None:
        """`until(aborted=1, open=0)`: until every named count of `stats` is this."""
        await self.until_true(
            lambda: all(getattr(self.stats, name) == count for name, count in counts.items()), timeout
        )

    async def until_true(self, condition: Any, timeout: float = 10) -> None:
        async with asyncio.timeout(timeout):
            while not condition():
                future = asyncio.get_running_loop().create_future()
                self._changed.add(future)
                await future

    def changed(self) -> None:
        for future in self._changed:
            if not future.done():
                future.set_result(None)
        self._changed.clear()

    # -- cold and warm ---------------------------------------------------------------------------------------

    def wake(self) -> None:
        """The start is over, whatever the scenario says."""
        self._woken.set()

    def sleep(self) -> None:
        """Cold again: the next call begins a start."""
        self._called_at = None
        self._woken.clear()

    def cold_left_s(self) -> float:
        """Of the start that the first call begins, which this one may be."""
        now = self._now()
        if self._called_at is None:
            self._called_at = now
        return 0.0 if self._woken.is_set() else max(0.0, self._called_at + self.scenario.cold_s - now)

    async def until_awake(self) -> None:
        """As long as a host holds a call while the engine starts."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(self.cold_left_s()):
                await self._woken.wait()

    def is_loading(self) -> bool:
        since = self._born if self._called_at is None or not self.scenario.cold_s else self._called_at
        return not self._woken.is_set() and self._now() - since < self.scenario.cold_s + self.scenario.loading_s

    # -- what it answers -------------------------------------------------------------------------------------

    def scenario_of(self, model: str) -> Scenario:
        return Scenario.parse(model.partition(":")[2]) if ":" in model else self.scenario

    def absence(self) -> tuple[int, bytes] | None:
        """What anybody hears who asks for anything while it is not up."""
        if self.cold_left_s() > 0:
            return 503, f"modal-http: {SECRET}: no containers available".encode()
        return (503, _problem("Loading model", "unavailable_error", 503)) if self.is_loading() else None

    def refusal(self, scenario: Scenario, prompt_tokens: int) -> tuple[int, bytes] | None:
        """What to answer instead of a stream, if anything."""
        if scenario.status and self.fails(scenario):
            return scenario.status, _problem(scenario.problem or f"{SECRET}: refused", "error", scenario.status)
        if prompt_tokens > scenario.context_tokens:
            return 400, _too_long(scenario, prompt_tokens)
        return None

    def fails(self, scenario: Scenario) -> bool:
        """Is this one of the first `fail_times` requests, or do all fail?"""
        self._failures += 1
        return not scenario.fail_times or self._failures <= scenario.fail_times

    def is_blocked(self) -> bool:
        """A client has not read what was sent, and the socket takes no more."""
        return any(not connection.writable.is_set() for connection in self._connections)


def answer_of(messages: list[dict[str, Any]], tokens: int) -> str:
    """The echo scenario's whole answer: follows from the messages (but for an unfinished last answer) alone."""
    asked = [message for message in messages if message is not messages[-1] or message["role"] != "assistant"]
    dice = random.Random(json.dumps(asked, sort_keys=True, ensure_ascii=False))
    return "".join(f"{dice.choice(WORDS)} " for _ in range(tokens)).strip() + "."


FACT = re.compile(r"The code of [\w-]+ is [\w-]+\.")


def is_for_notes(messages: list[dict[str, Any]]) -> bool:
    return "You keep the notes of a conversation" in str(messages[0].get("content"))


def read_answer(messages: list[dict[str, Any]]) -> str:
    """The reading scenario's answer. Asked for notes: every fact that stands in the request, each once, in order.
    Asked for one fact ("What is the code of X?"): that fact, if any message shows it. A model that does its best, and
    can say nothing that it was not shown."""
    shown = "\n".join(str(message.get("content") or "") for message in messages)
    facts = list(dict.fromkeys(FACT.findall(shown)))
    if is_for_notes(messages):
        return "\n".join(f"- {fact}" for fact in facts) or "- Nothing to note."
    asked = re.search(r"What is the code of ([\w-]+)\?", messages[-1]["content"])
    known = [fact for fact in facts if asked and fact.startswith(f"The code of {asked[1]} is ")]
    return known[-1] if known else "I do not know."


class _Connection(asyncio.Protocol):
    """HTTP/1.1 with keep-alive, one request at a time; as little of it as an engine's client needs."""

    def __init__(self, engine: SimulatedEngine) -> None:
        self._engine = engine
        self._received = b""
        self._task: asyncio.Task[None] | None = None
        self._transport: asyncio.Transport
        self.writable = asyncio.Event()
        self.writable.set()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)  # uvloop's is no subclass
        self._engine._connections.add(self)
        self._engine.stats.connections += 1

    def connection_lost(self, exc: Exception | None) -> None:
        self._engine._connections.discard(self)
        if self._task is not None:
            self._task.cancel()
        self._engine.changed()

    def pause_writing(self) -> None:
        self.writable.clear()
        self._engine.changed()

    def resume_writing(self) -> None:
        self.writable.set()

    def abort(self) -> "asyncio.Task[None] | None":
        self._transport.abort()
        if self._task is not None:
            self._task.cancel()
        return self._task

    def data_received(self, data: bytes) -> None:
        self._received += data
        head, found, rest = self._received.partition(b"\r\n\r\n")
        if not found:
            return
        lines = head.decode("latin-1").split("\r\n")
        headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines[1:])}
        length = int(headers.get("content-length", 0))
        if len(rest) < length:
            return
        self._received = rest[length:]
        method, target, _ = lines[0].split(" ")
        self._route(method, target.partition("?")[0], headers, rest[:length])

    def _route(self, method: str, path: str, headers: dict[str, str], body: bytes) -> None:
        engine = self._engine
        engine.stats.paths.append(path)
        is_cold = path != "/stats" and engine.cold_left_s() > 0
        if is_cold and engine.scenario.hold_cold:
            self._task = asyncio.ensure_future(self._hold(method, path, headers, body))
        elif path != "/stats" and (absence := engine.absence()) is not None:
            engine.stats.refused += 1
            self._answer(*absence)
        elif engine.api_key and headers.get("authorization") != f"Bearer {engine.api_key}" and path != "/health":
            self._answer(401, _problem(f"{SECRET}: Invalid API key", "authentication_error", 401))
        else:
            self._serve(method, path, headers, body)
        engine.changed()

    async def _hold(self, method: str, path: str, headers: dict[str, str], body: bytes) -> None:
        engine = self._engine
        engine.stats.open += 1
        engine.changed()
        try:
            await engine.until_awake()
        except asyncio.CancelledError:
            engine.stats.aborted += 1
            raise
        finally:
            engine.stats.open -= 1
            self._task = None
            engine.changed()
        self._serve(method, path, headers, body)

    def _serve(self, method: str, path: str, headers: dict[str, str], body: bytes) -> None:
        match method, path:
            case "POST", "/v1/chat/completions":
                self._complete(headers, json.loads(body))
            case "POST", "/v1/embeddings":
                self._embed(json.loads(body))
            case "POST", "/tokenize":
                asked = json.loads(body)
                tokens = list(tokenize(asked.get("prompt", asked.get("content", ""))))
                self._answer(200, json.dumps({"tokens": tokens, "count": len(tokens)}).encode())
            case _ if path in (pages := self._pages()):
                self._answer(200, json.dumps(pages[path]).encode())
            case _:
                self._answer(404, _problem(f"{SECRET}: not found", "not_found_error", 404))

    def _embed(self, asked: dict[str, Any]) -> None:
        engine, texts = self._engine, asked["input"]
        refusal = engine.refusal(engine.scenario, max(len(tokenize(text)) for text in texts))
        if refusal is not None:
            engine.stats.refused += 1
            self._answer(*refusal)
            return
        engine.stats.embedded += len(texts)
        data = [{"object": "embedding", "index": i, "embedding": vector_of(text)} for i, text in enumerate(texts)]
        usage = {"prompt_tokens": sum(len(tokenize(text)) for text in texts)}
        body = json.dumps({"object": "list", "data": data[::-1], "usage": usage}).encode()
        self._answer(200, engine.embeddings or body)

    def _pages(self) -> dict[str, Any]:
        engine, scenario = self._engine, self._engine.scenario
        owner = {"vllm": "vllm", "llama.cpp": "llamacpp", "openai": "somebody"}[scenario.kind]
        card: dict[str, Any] = {"object": "model", "created": 0, "owned_by": owner}
        if scenario.kind == "vllm":
            card["max_model_len"] = scenario.context_tokens
        if scenario.kind == "llama.cpp":
            card["meta"] = {"n_ctx_train": 2 * scenario.context_tokens}
        pages: dict[str, Any] = {
            "/v1/models": {"object": "list", "data": [{"id": model, **card} for model in engine.models]},
            "/health": {"status": "ok"},
            "/stats": {
                name: getattr(engine.stats, name) for name in ("open", "started", "finished", "aborted", "tokens")
            }
            | {"requests": engine.stats.requests[-1000:]},
        }
        if scenario.kind == "vllm":
            pages["/version"] = {"version": "0.0-simulated"}
        if scenario.kind == "llama.cpp":
            pages["/props"] = {"default_generation_settings": {"n_ctx": scenario.context_tokens}, "total_slots": 4}
        return pages

    def _answer(self, status: int, body: bytes, kind: str = "application/json", *lines: str) -> None:
        head = [f"HTTP/1.1 {status} x", f"content-type: {kind}", f"content-length: {len(body)}", *lines, "", ""]
        self._transport.write("\r\n".join(head).encode() + body)

    def _complete(self, headers: dict[str, str], asked: dict[str, Any]) -> None:
        engine = self._engine
        scenario = engine.scenario_of(asked.get("model", ""))
        engine.stats.requests.append(asked)
        engine.stats.headers.append(headers)
        refusal = engine.refusal(scenario, _prompt_tokens(asked))
        if refusal is not None:
            engine.stats.refused += 1
            extra = [f"retry-after: {scenario.retry_after_s}"] if scenario.retry_after_s else []
            self._answer(*refusal, "application/json", *extra)
            engine.changed()
        elif scenario.fault == "wrong_type":
            self._answer(200, f"<html>{SECRET}</html>".encode(), "text/html")
        elif scenario.fault == "cut_early" and engine.fails(scenario):
            self._transport.abort()
        else:
            self._task = asyncio.ensure_future(self._generate(scenario, asked))

    async def _generate(self, scenario: Scenario, asked: dict[str, Any]) -> None:
        stats = self._engine.stats
        stats.open += 1
        stats.started += 1
        self._engine.changed()
        try:
            if await self._stream(scenario, asked):
                stats.finished += 1
        except asyncio.CancelledError:
            stats.aborted += 1
        finally:
            stats.open -= 1
            self._task = None
            self._engine.changed()

    async def _stream(self, scenario: Scenario, asked: dict[str, Any]) -> bool:
        """The whole answer on the wire; False when the scenario's fault ended it early."""
        if scenario.ttft_ms:
            await asyncio.sleep(scenario.ttft_ms / 1000)
        await self._engine.gate(-1)
        if not asked.get("stream"):
            return await self._whole(scenario, asked)
        self._transport.write(
            b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream; charset=utf-8\r\ntransfer-encoding: chunked\r\n\r\n"
        )
        out = _Packets(self._transport, scenario)
        if scenario.role_first:
            out.frame({"role": "assistant", "content": ""})
        if scenario.fault == "cut_after_role":
            return self._cut(out)
        for _ in range(scenario.reasoning):
            out.frame({"reasoning_content": f"{SECRET} thinks "})
        produced = 0
        texts = _texts(scenario, asked)
        started = time.monotonic()
        async for text in _paced(texts, scenario, started):
            await self._engine.gate(produced)
            if scenario.fault not in WHOLE and produced == scenario.fault_at:
                return await self._fail(out, scenario)
            out.token(text)
            produced += 1
            self._engine.stats.tokens += 1
            if not self.writable.is_set():
                await self.writable.wait()
        await self._engine.gate(produced)  # between the last token and the end
        self._finish(out, scenario, asked, produced)
        if scenario.fault == "no_terminator":
            await asyncio.Event().wait()
        self._transport.write(b"0\r\n\r\n")
        return True

    async def _fail(self, out: "_Packets", scenario: Scenario) -> bool:
        match scenario.fault:
            case "cut":
                return self._cut(out)
            case "stall":
                out.flush()
                await asyncio.Event().wait()
            case "pings":
                while True:
                    out.raw(b": ping\n\n")
                    await asyncio.sleep(0.005)
            case "error_frame":
                error = {"message": f"{SECRET}: CUDA out of memory", "type": "InternalServerError", "code": 500}
                out.data(json.dumps({"error": error}).encode())
            case "malformed":
                out.data(f'{{"choices": [{{"delta": {{"content": "{SECRET}'.encode())
        out.flush()
        self._transport.write(b"0\r\n\r\n")
        return False

    def _cut(self, out: "_Packets") -> bool:
        out.raw(b'data: {"choices":[{"delta":{"content":"' + SECRET.encode())
        out.flush()
        self._transport.close()
        return False

    def _finish(self, out: "_Packets", scenario: Scenario, asked: dict[str, Any], produced: int) -> None:
        reason = "length" if produced == asked.get("max_tokens") else "stop"
        if scenario.tool_calls:
            for delta in _tool_deltas():
                out.frame({"tool_calls": delta})
            reason = "tool_calls"
        out.frame({}, reason)
        if asked.get("stream_options", {}).get("include_usage"):
            out.usage(_prompt_tokens(asked), produced)
        out.data(b"[DONE]")
        out.flush()

    async def _whole(self, scenario: Scenario, asked: dict[str, Any]) -> bool:
        texts = list(_texts(scenario, asked))
        message = {"role": "assistant", "content": "".join(texts)}
        usage = {"prompt_tokens": _prompt_tokens(asked), "completion_tokens": len(texts)}
        choice = {"index": 0, "message": message, "finish_reason": "stop"}
        self._answer(200, json.dumps({"id": "sim", "choices": [choice], "usage": usage}).encode())
        return True


class _Packets:
    """Frames to packets: one each, several together, or cut anywhere. Each write is one chunk of the HTTP body."""

    def __init__(self, transport: asyncio.Transport, scenario: Scenario) -> None:
        self._transport = transport
        self._scenario = scenario
        self._end = b"\r\n\r\n" if scenario.crlf else b"\n\n"
        self._ping = b": ping" + self._end if scenario.comments else b""
        self._plain = not (scenario.split or scenario.crlf or scenario.comments or scenario.logprobs)
        self._held: list[bytes] = []

    def token(self, text: str) -> None:
        if self._plain:
            self.raw(_TOKEN_HEAD + json.dumps(text, ensure_ascii=False).encode() + _TOKEN_TAIL)
        else:
            self.frame({"content": text})

    def frame(self, delta: dict[str, Any], finish_reason: str | None = None) -> None:
        choice: dict[str, Any] = {"index": 0, "delta": delta, "logprobs": None, "finish_reason": finish_reason}
        if self._scenario.logprobs:
            choice["logprobs"] = {"content": [{"token": "x", "logprob": -0.1, "top_logprobs": []}]}
        self.data(json.dumps({**_CHUNK, "choices": [choice]}, ensure_ascii=False).encode())

    def usage(self, prompt_tokens: int, completion_tokens: int) -> None:
        usage: dict[str, Any] = {"prompt_tokens": prompt_tokens, "completion_tokens": completion_tokens}
        chunk: dict[str, Any] = {**_CHUNK, "choices": [], "usage": usage}
        if self._scenario.kind == "vllm":
            usage["prompt_tokens_details"] = {"cached_tokens": prompt_tokens // 2}
        if self._scenario.kind == "llama.cpp":
            chunk["timings"] = {"cache_n": prompt_tokens // 2, "prompt_n": prompt_tokens - prompt_tokens // 2}
        self.data(json.dumps(chunk).encode())

    def data(self, payload: bytes) -> None:
        self.raw(self._ping + b"data: " + payload + self._end)

    def raw(self, data: bytes) -> None:
        self._held.append(data)
        if len(self._held) >= self._scenario.pack:
            self.flush()

    def flush(self) -> None:
        if not self._held:
            return
        data = b"".join(self._held)
        self._held.clear()
        size = self._scenario.split or len(data)
        for start in range(0, len(data), size):
            part = data[start : start + size]
            self._transport.write(b"%x\r\n%s\r\n" % (len(part), part))


_CHUNK = {"id": "chatcmpl-simulated", "object": "chat.completion.chunk", "created": 1700000000, "model": "sim"}
_TOKEN_HEAD = b"data: " + json.dumps(_CHUNK).encode()[:-1] + b', "choices": [{"index": 0, "delta": {"content": '
_TOKEN_TAIL = b'}, "logprobs": null, "finish_reason": null}]}\n\n'


def _texts(scenario: Scenario, asked: dict[str, Any]) -> Any:
    """The tokens of the answer; of its rest, when a half-written one is to be continued."""
    limit = asked.get("max_tokens") or 1 << 60
    messages = asked["messages"]
    half = messages[-1].get("content") if messages[-1]["role"] == "assistant" else ""
    half = half if isinstance(half, str) else ""  # an assistant's tool calls come without a text
    if scenario.fault == "never_ends":
        return iter(lambda: "tick ", None)
    if scenario.reads:
        whole = "" if scenario.mute and is_for_notes(messages) else read_answer(messages)
        return (whole[i : i + 3] for i in range(0, min(len(whole), limit * 3), 3))  # a token is three bytes
    if scenario.text or scenario.echo:
        whole = scenario.text or answer_of(messages, scenario.tokens)
        # A prefix that is not ours shows in the text, so that the test that caused it fails where it can be read.
        rest = whole[len(half) :] if whole.startswith(half) else f"<<not my prefix: {half!r}>>"
        size = 1 if scenario.text else 4
        return (rest[i : i + size] for i in range(0, min(len(rest), limit * size), size))
    return (f"t{i} " for i in range(min(scenario.tokens, limit)))


def vector_of(text: str) -> list[float]:
    """Eight numbers that follow from the text alone."""
    dice = random.Random(text)
    return [round(dice.uniform(-1, 1), 6) for _ in range(8)]


async def _paced(texts: Any, scenario: Scenario, started: float) -> AsyncIterator[str]:
    """By the clock from the start, so that a late wake-up is made up for; unpaced, others get a turn now and then."""
    for index, text in enumerate(texts):
        yield text
        if scenario.tps:
            await asyncio.sleep(max(0.0, started + (index + 1) / scenario.tps - time.monotonic()))
        elif index % 16 == 15:
            await asyncio.sleep(0)


def tokenize(text: str) -> range:
    """A pretend tokenizer: a token per three bytes of UTF-8."""
    return range(-(-len(text.encode()) // 3))


def _prompt_tokens(asked: dict[str, Any]) -> int:
    return sum(len(tokenize(str(message.get("content") or ""))) + 4 for message in asked["messages"])


def _tool_deltas() -> list[list[dict[str, Any]]]:
    def call(index: int, arguments: str, **more: Any) -> dict[str, Any]:
        return {"index": index, **more, "function": {**more.pop("names", {}), "arguments": arguments}}

    return [
        [call(0, "", id="call_a", type="function", names={"name": "get_weather"})],
        [call(0, '{"city": ')],
        [call(0, '"Zürich"}')],
        [call(1, '{"zone": "UTC"}', id="call_b", type="function", names={"name": "get_time"})],
    ]


def _problem(message: str, kind: str, code: int) -> bytes:
    return json.dumps({"error": {"message": message, "type": kind, "param": None, "code": code}}).encode()


def _too_long(scenario: Scenario, tokens: int) -> bytes:
    """As vLLM and llama.cpp say it."""
    limit = scenario.context_tokens
    if scenario.kind == "llama.cpp":
        text = f"{SECRET}: request ({tokens} tokens) exceeds the available context size ({limit} tokens)"
        return _problem(text, "exceed_context_size_error", 400)
    text = f"{SECRET}: This model's maximum context length is {limit} tokens. However, you requested {tokens} tokens."
    return _problem(text, "BadRequestError", 400)


async def _serve(port: int, scenario: str) -> None:
    stopped = asyncio.Event()
    for sign in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(sign, stopped.set)
    async with SimulatedEngine(scenario, port=port) as engine:
        print(engine.url, flush=True)  # noqa: T201 (the parent reads it)
        await stopped.wait()


def main() -> None:
    parser = argparse.ArgumentParser(description="A simulated engine speaking OpenAI's wire; prints its URL.")
    parser.add_argument("--port", type=int, default=0)
    parser.add_argument("--scenario", default="")
    options = parser.parse_args()
    try:
        import uvloop
    except ImportError:
        asyncio.run(_serve(options.port, options.scenario))
    else:
        uvloop.run(_serve(options.port, options.scenario))


if __name__ == "__main__":
    main()
