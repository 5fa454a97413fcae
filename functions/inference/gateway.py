"""The way to the models: one OpenAI-wire client over a pool of nodes.

Promises: a stream yields `Waiting`* `Token`* `End`, or raises a named error in our words, never the node's text.
Before the first token it waits for a node that wakes and tries again elsewhere; after it, it never does. Closing the
stream closes the connection to the node at once, so that the engine frees the slot. Asking what models there are
does no I/O and wakes nothing. A reader that is slow slows the node down (TCP), it does not fill our memory.

Does not know chats, runs, guardrails or prices. Does not queue: a full node is `Overloaded`. Does not show reasoning.

Cost matters here more than anywhere: per token there is no task, queue, timer or log line, only the read that woke
us and one typed parse of what came.
"""

import asyncio
import hashlib
import random
import string
import time
from collections import OrderedDict
from collections.abc import AsyncGenerator, Awaitable, Callable, Coroutine, Iterable, Sequence
from contextlib import suppress
from typing import Any

import aiohttp
import msgspec

from functions.chat.messages import NodeState, Phase, Sampling, Struct
from functions.errors import NotFound, Overloaded, ParleyError, UpstreamError
from functions.inference.nodes import (
    CONTEXT_TOKENS,
    ModelInfo,
    Node,
    ServedModel,
    keep_probing,
    probe,
    watch_wake,
)
from functions.inference.wire import End, Reply, Token, broken_answer, classify, context_too_long, cut_answer
from functions.settings import NODE_QUEUE

__all__ = ["End", "Gateway", "Limits", "ModelInfo", "Node", "ServedModel", "Token", "Waiting"]

AFFINITY_SLACK = 4  # a warm prefix cache is worth standing behind this many more requests
RANK: dict[NodeState, int] = {"warm": 0, "warming": 1, "cold": 2, "unreachable": 3}
TOKENIZE_TIMEOUT = aiohttp.ClientTimeout(total=2)  # an estimate is better than a late answer
COUNTS_KEPT = 20_000
COUNTS_AT_ONCE = 8
READ_BUFFER_BYTES = 64 * 1024  # aiohttp stops reading the socket at twice this
PROBLEM_BYTES = 64 * 1024
DRAIN_SECONDS = 0.05  # between [DONE] and the end of the body, so that the connection can be used again


Pace = Callable[[], Awaitable[None]]


class Waiting(Struct, frozen=True, kw_only=True):
    """Nothing to show yet, and why. The times count from now; None before this node's first observed start."""

    phase: Phase
    eta_p50_ms: int | None = None
    eta_p90_ms: int | None = None


class Limits(Struct, frozen=True, kw_only=True):
    """How long and how often. The defaults are the contract; tests shorten them."""

    connect_s: float = 5.0
    first_token_s: float = 120.0  # of a node that is awake: a long prompt's prefill
    between_tokens_s: float = 60.0
    wake_s: float = 15 * 60.0
    notice_s: float = 2.0  # a waiting reader hears from us at most this often
    backoff_s: float = 2.0
    first_backoff_s: float = 0.1
    retries: int = 3
    node_queue: int = NODE_QUEUE


class _Ask(Struct, frozen=True, kw_only=True):
    """What one stream asks, of whichever node."""

    model: str
    messages: Sequence[dict[str, Any]]  # OpenAI's wire
    sampling: Sampling
    session_id: str
    prefix: str


class _NotYet(Exception):
    """This attempt showed nothing; another may be made. `final` is what the caller hears when no more are left."""

    def __init__(self, phase: Phase, final: UpstreamError, after_s: float | None = None) -> None:
        super().__init__(phase)
        self.phase = phase
        self.final = final
        self.after_s = after_s


class Gateway:
    def __init__(
        self,
        nodes: Sequence[Node],
        *,
        session: aiohttp.ClientSession | None = None,
        limits: Limits | None = None,
        now: Callable[[], float] = time.monotonic,
    ) -> None:
        self.nodes = tuple(nodes)
        self._limits = limits or Limits()
        self._now = now
        self._own_session = session is None
        self._opened_session = session
        self._background: set[asyncio.Task[None]] = set()
        self._counts: OrderedDict[bytes, int] = OrderedDict()

    # -- life ------------------------------------------------------------------------------------------------

    async def open(self) -> None:
        """Connects nothing that sleeps. Always-on nodes get their first probe before this returns, for a second."""
        if self._opened_session is None:
            self._opened_session = _new_session(self._limits)
        awake = [node for node in self.nodes if not node.serverless]
        with suppress(TimeoutError):
            async with asyncio.timeout(1):
                await asyncio.gather(*(probe(node, self._session) for node in awake))
        for node in awake:
            self._in_background(keep_probing(node, self._session))

    async def close(self) -> None:
        for task in self._background:
            task.cancel()
        await asyncio.gather(*self._background, return_exceptions=True)
        if self._own_session and self._opened_session is not None:
            await self._opened_session.close()
            self._opened_session = None

    def _in_background(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.create_task(work)
        self._background.add(task)
        task.add_done_callback(self._background.discard)

    @property
    def _session(self) -> aiohttp.ClientSession:
        assert self._opened_session is not None, "the gateway is not open"
        return self._opened_session

    # -- what there is ---------------------------------------------------------------------------------------

    def models(self) -> tuple[ModelInfo, ...]:
        """Every model of every node, with the best state among the nodes that serve it. No I/O, wakes nothing."""
        ids = dict.fromkeys(served.id for node in self.nodes for served in node.models)
        return tuple(self._info(model) for model in ids)

    def _info(self, model: str) -> ModelInfo:
        best = min((node for node in self.nodes if node.model(model)), key=lambda node: RANK[node.state])
        served = best.model(model)
        assert served is not None
        p50, p90 = best.eta_ms() if best.state in ("cold", "warming") else (None, None)
        return ModelInfo(
            id=served.id,
            name=served.name or served.id,
            context_tokens=served.context_tokens or CONTEXT_TOKENS,
            state=best.state,
            demo=served.demo,
            notice=served.notice,
            eta_p50_ms=p50,
            eta_p90_ms=p90,
        )

    def context_tokens(self, model: str) -> int:
        """The smallest context among the nodes that serve the model: a takeover may land on any of them."""
        served = (node.model(model) for node in self.nodes)
        return min((s.context_tokens for s in served if s and s.context_tokens), default=CONTEXT_TOKENS)

    async def prewarm(self, model: str) -> None:
        """Knock at one sleeping node of this model and come back at once; its start is watched in the background."""
        serving = self._serving(model)
        sleeping = [node for node in serving if node.serverless and node.state in ("cold", "unreachable")]
        if sleeping and all(node in sleeping for node in serving):
            sleeping[0].mark("warming")
            self._in_background(watch_wake(sleeping[0], self._session))

    # -- the stream ------------------------------------------------------------------------------------------

    async def stream(
        self,
        model: str,
        messages: Sequence[dict[str, Any]],  # OpenAI's wire
        sampling: Sampling,
        *,
        session_id: str,
        prefix: str = "",
        pace: Pace | None = None,
    ) -> AsyncGenerator[Waiting | Token | End, None]:
        """One answer. With `prefix`, only what comes after it: the node continues the half-written message. After
        the first text `pace` is waited for before each read: whoever shows text in beats need not be woken for
        every token."""
        ask = _Ask(model=model, messages=messages, sampling=sampling, session_id=session_id, prefix=prefix)
        patience = _Patience(self._limits, self._now)
        tried: set[Node] = set()
        while True:
            node = self._choose(model, session_id, tried)
            try:
                with node.working():
                    async with _Answer(self._request(node, ask), self._limits, pace) as answer:
                        while not await answer.is_open():
                            # Some hosts hold a request while the node starts, instead of refusing it.
                            if node.state != "warm" and patience.is_notice_due("waking"):
                                node.mark("warming")
                                yield _waiting(node, "waking")
                        self._is_awake(node)
                        while (token := await answer.read()) is not None:
                            yield token
                        yield await answer.end()
                return
            except _NotYet as failure:
                tried.add(node)
                pause_s = patience.after(failure)
                if patience.is_notice_due(failure.phase):
                    yield _waiting(node, failure.phase)
            await asyncio.sleep(pause_s)

    def _is_awake(self, node: Node) -> None:
        node.mark("warm")
        if node.kind == "unknown":  # now it can be asked without waking it
            self._in_background(probe(node, self._session))

    async def _request(self, node: Node, ask: _Ask) -> aiohttp.ClientResponse:
        """The node's answer, when it is a stream. Raises _NotYet or UpstreamError for every other."""
        if ask.prefix and node.kind == "unknown":
            await probe(node, self._session)  # how to continue a message depends on the kind; we wake it anyway
        body = msgspec.json.encode(_body(node, ask))
        headers = {
            **node.headers,
            "Accept": "text/event-stream",
            "Content-Type": "application/json",
            "Modal-Session-ID": ask.session_id,
        }
        if node.kind == "llama.cpp":  # says keep-alive, and hangs up after every stream
            headers["Connection"] = "close"
        is_awake = node.state == "warm"
        try:
            async with asyncio.timeout(self._limits.first_token_s if is_awake else self._limits.wake_s):
                response = await self._post(f"{node.url}/chat/completions", body, headers)
        except aiohttp.ClientConnectionError as exc:  # refused, unreachable, connect timeout, closed under us
            raise _no_connection(node) from exc
        except TimeoutError as exc:
            raise (_too_slow() if is_awake else _unavailable()) from exc
        except aiohttp.ClientError as exc:
            raise broken_answer() from exc
        if response.status != 200:
            raise await _refusal(node, response)
        if response.content_type != "text/event-stream":
            response.close()
            raise broken_answer()
        return response

    async def _post(self, url: str, body: bytes, headers: dict[str, str], **options: Any) -> aiohttp.ClientResponse:
        """Once more, at once, if the other side hung up: it was a kept connection, closed while we took it."""
        try:
            return await self._session.post(url, data=body, headers=headers, **options)
        except aiohttp.ClientConnectorError:
            raise
        except (aiohttp.ServerDisconnectedError, aiohttp.ClientOSError):
            return await self._session.post(url, data=body, headers=headers, **options)

    # -- routing ---------------------------------------------------------------------------------------------

    def _serving(self, model: str) -> list[Node]:
        return [node for node in self.nodes if node.serves(model)]

    def _choose(self, model: str, session_id: str, tried: Iterable[Node]) -> Node:
        """The least busy of the healthiest nodes; among about equals, the one that this chat used before."""
        serving = self._serving(model)
        if not serving:
            raise NotFound("There is no such model. Choose one from the list.", code="model_not_found", param="model")
        free = [node for node in serving if node.outstanding < self._limits.node_queue]
        if not free:
            raise Overloaded("All models are busy. Try again in a moment.")
        fresh = [node for node in free if node not in set(tried)] or free
        healthiest = min(RANK[node.state] for node in fresh)
        equals = [node for node in fresh if RANK[node.state] == healthiest]
        least = min(node.outstanding for node in equals)
        near = [node for node in equals if node.outstanding <= least + AFFINITY_SLACK]
        return max(near, key=lambda node: _affinity(session_id, node))

    # -- tokens ----------------------------------------------------------------------------------------------

    async def count_tokens(self, model: str, texts: Sequence[str]) -> tuple[int, ...]:
        """Tokens of each text, by the node's own tokenizer; an estimate from above when no node is awake to say.

        Counts the bare texts: what the chat template adds around them is not in here.
        """
        keys = [_count_key(model, text) for text in texts]
        missing = {key: text for key, text in zip(keys, texts, strict=True) if key not in self._counts}
        guessed: dict[bytes, int] = {}
        if missing:
            guessed = await self._count_missing(model, missing)
        for key in keys:
            if key in self._counts:
                self._counts.move_to_end(key)
        counts = tuple(self._counts[key] if key in self._counts else guessed[key] for key in keys)
        while len(self._counts) > COUNTS_KEPT:
            self._counts.popitem(last=False)
        return counts

    async def _count_missing(self, model: str, missing: dict[bytes, str]) -> dict[bytes, int]:
        """Fills the cache with what the node says; gives back estimates for what it does not."""
        node = next((node for node in self._serving(model) if node.state == "warm" and _can_count(node)), None)
        if node is not None:
            todo = iter(missing.items())
            await asyncio.gather(*(self._count_some(node, model, todo) for _ in range(COUNTS_AT_ONCE)))
        return {key: estimate_tokens(text) for key, text in missing.items() if key not in self._counts}

    async def _count_some(self, node: Node, model: str, todo: Iterable[tuple[bytes, str]]) -> None:
        with suppress(aiohttp.ClientError, TimeoutError, msgspec.MsgspecError, OSError):
            for key, text in todo:
                count = await self._count_one(node, model, text) if text else 0
                if count is not None:
                    self._counts[key] = count

    async def _count_one(self, node: Node, model: str, text: str) -> int | None:
        """None for a text that the node refuses to count: some vLLM do when it alone exceeds the context."""
        question: dict[str, object] = {"content": text, "add_special": False}
        if node.kind == "vllm":
            question = {"model": node.wire_name(model), "prompt": text, "add_special_tokens": False}
        headers = {**node.headers, "Content-Type": "application/json"}
        body = msgspec.json.encode(question)
        async with await self._post(f"{node.root}/tokenize", body, headers, timeout=TOKENIZE_TIMEOUT) as response:
            if response.status != 200:
                return None
            return len(msgspec.json.decode(await response.read(), type=_Tokenized).tokens)


# -- one answer ----------------------------------------------------------------------------------------------------


class _Answer:
    """One request and its streamed answer. Leaving the `async with` closes the connection, unless it can be reused.

    Plain coroutines, not generators, and nothing set up per token: this is the loop that costs.
    """

    def __init__(self, request: Coroutine[Any, Any, aiohttp.ClientResponse], limits: Limits, pace: Pace | None) -> None:
        self._opening = asyncio.create_task(request)
        self._pace = pace
        self._limits = limits
        self._reply = Reply()
        self._shown = False
        self._response: aiohttp.ClientResponse
        self._watchdog: _Watchdog

    async def __aenter__(self) -> "_Answer":
        return self

    async def __aexit__(self, *_: object) -> None:
        """At once: the engine frees the slot when the connection goes."""
        if not self._opening.done():
            self._opening.cancel()
        elif not self._opening.cancelled() and self._opening.exception() is None:
            self._opening.result().close()  # does nothing to one that was read to its end
        if hasattr(self, "_watchdog"):
            self._watchdog.cancel()

    async def is_open(self) -> bool:
        """Waits `notice_s` at most. Raises what the request raised."""
        if not (await asyncio.wait({self._opening}, timeout=self._limits.notice_s))[0]:
            return False
        self._response = self._opening.result()
        self._watchdog = _Watchdog(self._response, self._limits.first_token_s)
        return True

    async def read(self) -> Token | None:
        """The next text; None when the answer is whole. Raises _NotYet if it broke before the first, else our error."""
        reply, watchdog = self._reply, self._watchdog
        if self._shown and self._pace and not reply.done:
            await self._pace()
        watchdog.since = watchdog.clock()
        while not reply.done:
            frames = reply.frames
            try:
                data = await self._response.content.readany()
            except (aiohttp.ClientError, OSError) as exc:
                raise self._lost() from exc
            if not data:
                if reply.finish_reason is None:
                    raise self._lost()
                break
            token = reply.feed(data)
            if token is not None:
                watchdog.since = None
                if not self._shown:
                    self._shown = True
                    watchdog.restart(self._limits.between_tokens_s)
                return token
            if reply.frames != frames:  # a comment is no sign of life: a proxy may send them for a dead node
                watchdog.since = watchdog.clock()
        watchdog.cancel()
        return None

    def _lost(self) -> Exception:
        if self._watchdog.fired:
            return _too_slow()
        return cut_answer() if self._shown else _NotYet("retrying", cut_answer())

    async def end(self) -> End:
        """What the answer came to. Reads the body's last bytes: a connection with a rest cannot be used again."""
        end = self._reply.end()
        if not self._response.content.is_eof():
            with suppress(TimeoutError, aiohttp.ClientError, OSError):
                async with asyncio.timeout(DRAIN_SECONDS):
                    await self._response.content.readany()
        return end


class _Watchdog:
    """Ends a read that waits too long: one timer per stream, looked at a few times, instead of one per token.

    Only our own waiting counts (`since`); a reader that takes its time over what it got is not the node's fault.
    """

    __slots__ = ("_handle", "_limit_s", "_loop", "_response", "clock", "fired", "since")

    def __init__(self, response: aiohttp.ClientResponse, limit_s: float) -> None:
        self._loop = asyncio.get_running_loop()
        self._response = response
        self.clock = self._loop.time
        self.since: float | None = None
        self.fired = False
        self._limit_s = limit_s
        self._handle = self._loop.call_later(limit_s, self._look)

    def restart(self, limit_s: float) -> None:
        self._handle.cancel()
        self._limit_s = limit_s
        self._handle = self._loop.call_later(limit_s, self._look)

    def _look(self) -> None:
        now = self.clock()
        since = now if self.since is None else self.since
        if now - since >= self._limit_s:
            self.fired = True
            self._response.close()
            return
        self._handle = self._loop.call_at(since + self._limit_s, self._look)

    def cancel(self) -> None:
        self._handle.cancel()


def _body(node: Node, ask: _Ask) -> dict[str, Any]:  # OpenAI's wire
    sampling, messages = ask.sampling, list(ask.messages)
    wanted = {
        "temperature": sampling.temperature,
        "top_p": sampling.top_p,
        "max_tokens": sampling.max_tokens,
        "seed": sampling.seed,
        "stop": sampling.stop,
    }
    body = {
        **sampling.extra,
        **{name: value for name, value in wanted.items() if value is not None},
        "messages": messages,
        "stream": True,
        "stream_options": {"include_usage": True},
    }
    body.pop("n", None)  # one run is one answer
    if (name := node.wire_name(ask.model)) is not None:
        body["model"] = name
    if ask.prefix:
        messages.append({"role": "assistant", "content": ask.prefix})
        if node.kind in ("vllm", "llama.cpp"):
            body |= {"continue_final_message": True, "add_generation_prompt": False}
    return body


# -- what went wrong, in our words ---------------------------------------------------------------------------------


def _unavailable() -> UpstreamError:
    return UpstreamError("The model cannot be reached right now. Try again in a moment.")


def _too_slow() -> UpstreamError:
    return UpstreamError("The model did not answer in time. Try again.", code="model_timeout")


def _no_connection(node: Node) -> _NotYet:
    """Nobody listens: a node that starts, or one that is gone."""
    if node.may_be_starting:
        node.mark("warming")
        return _NotYet("waking", _unavailable())
    node.mark("unreachable")
    return _NotYet("retrying", _unavailable())


async def _refusal(node: Node, response: aiohttp.ClientResponse) -> _NotYet | ParleyError:
    """What an answer other than 200 asks of us. Reads the node's words only to understand them."""
    with suppress(TimeoutError, aiohttp.ClientError):
        async with asyncio.timeout(2):
            body = await response.content.read(PROBLEM_BYTES)
    response.release()
    after_s = _retry_after_s(response)
    match classify(response.status, body):
        case "too_long":
            return context_too_long()
        case "loading":
            node.mark("warming")
            return _NotYet("loading", _unavailable(), after_s)
        case "busy":
            return _NotYet("retrying", Overloaded("All models are busy. Try again in a moment."), after_s)
        case "rejected":
            return UpstreamError("The model does not accept this request. Check its parameters.", code="model_rejected")
        case "unauthorized":
            return UpstreamError("The model server did not accept Parley's key. Tell the operator.")
        case "missing":
            node.mark("unreachable")
            return UpstreamError("The model server does not serve this model. Tell the operator.")
        case "down":
            return _down(node, response.status, after_s)


def _down(node: Node, status: int, after_s: float | None) -> _NotYet:
    if status == 503 or node.may_be_starting:  # 503 is what Modal answers until a container is ready
        node.mark("warming")
        return _NotYet("waking", _unavailable(), after_s)
    return _NotYet("retrying", _unavailable(), after_s)


def _retry_after_s(response: aiohttp.ClientResponse) -> float | None:
    value = response.headers.get("Retry-After", "")
    return float(value) if value.isdigit() else None  # a date is rare, and our own back-off does as well


class _Patience:
    """How much waiting one stream has left, and when its reader should hear of it."""

    def __init__(self, limits: Limits, now: Callable[[], float]) -> None:
        self._limits = limits
        self._now = now
        self._started = now()
        self._retries = 0
        self._pause_s = limits.first_backoff_s
        self._told: tuple[Phase, float] | None = None

    def after(self, failure: _NotYet) -> float:
        """Seconds until the next attempt. Raises what the caller should hear when there is none."""
        if failure.phase == "retrying":
            self._retries += 1
            if self._retries > self._limits.retries:
                raise failure.final from failure
        pause_s = self._next_pause_s(failure)
        if self._now() - self._started + pause_s > self._limits.wake_s:
            raise failure.final from failure
        return pause_s

    def _next_pause_s(self, failure: _NotYet) -> float:
        backoff_s = self._pause_s
        self._pause_s = min(2 * backoff_s, self._limits.backoff_s)
        if failure.after_s is not None:
            if failure.after_s > self._limits.between_tokens_s:
                raise failure.final from failure  # longer than anybody would look at a screen
            return failure.after_s
        return backoff_s * random.uniform(0.5, 1.0)  # so that waiters do not come back all at once

    def is_notice_due(self, phase: Phase) -> bool:
        now = self._now()
        if self._told is not None and self._told[0] == phase and now - self._told[1] < self._limits.notice_s:
            return False
        self._told = (phase, now)
        return True


def _waiting(node: Node, phase: Phase) -> Waiting:
    p50, p90 = node.eta_ms() if phase in ("waking", "loading") else (None, None)
    return Waiting(phase=phase, eta_p50_ms=p50, eta_p90_ms=p90)


# -- small things --------------------------------------------------------------------------------------------------


class _Tokenized(msgspec.Struct):
    tokens: list[int]


def _can_count(node: Node) -> bool:
    return node.kind in ("vllm", "llama.cpp")


def estimate_tokens(text: str) -> int:
    """More than usual tokenizers make of usual text: three letters a token, every digit and sign one of its own, and
    one and a half for any other character."""
    chars = len(text)
    if not text.isascii():
        text = text.encode("ascii", "ignore").decode()
    signs = len(text.translate(_NO_LETTERS))
    return -(-(len(text) - signs) // 3) + signs + -(-3 * (chars - len(text)) // 2)


_NO_LETTERS = str.maketrans("", "", f"{string.ascii_letters} ")


def _count_key(model: str, text: str) -> bytes:
    return hashlib.blake2b(text.encode("utf-8", "surrogatepass"), digest_size=16, person=_short(model)).digest()


def _short(name: str) -> bytes:
    return hashlib.blake2b(name.encode(), digest_size=16).digest()


def _affinity(session_id: str, node: Node) -> bytes:
    """Rendezvous hash: each chat prefers one node, and a node that leaves moves only its own chats."""
    return hashlib.blake2b(f"{session_id}\n{node.url}".encode(), digest_size=8).digest()


def _new_session(limits: Limits) -> aiohttp.ClientSession:
    return aiohttp.ClientSession(
        connector=aiohttp.TCPConnector(limit=0, keepalive_timeout=4),  # uvicorn closes at 5: be first
        cookie_jar=aiohttp.DummyCookieJar(),
        timeout=aiohttp.ClientTimeout(total=None, sock_connect=limits.connect_s),
        headers={"User-Agent": "parley", "Accept-Encoding": "identity"},  # a proxy that compresses also buffers
        read_bufsize=READ_BUFFER_BYTES,
    )
