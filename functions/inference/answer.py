"""One request to one node, and the answer that it streams.

Promises: an `Answer` yields text, then its end, or raises: `NotYet` as long as nothing was shown and another attempt
may be made, one of our errors otherwise, and never the node's text. Leaving the `async with` closes the connection at
once, so that the engine frees the slot. A reader that is slow slows the node down (TCP), it does not fill our memory.

Does not know queues, chats or other nodes; marks what it sees of its own. Does not show reasoning.

Cost matters here more than anywhere: per token there is no task, queue, timer or log line, only the read that woke
us and one typed parse of what came.
"""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from typing import Any

import aiohttp
import msgspec

from functions import tracing
from functions.chat.messages import Phase, Sampling, Struct
from functions.errors import ContextTooLong, ParleyError, UpstreamError
from functions.inference.breaker import Outcome
from functions.inference.limits import Limits
from functions.inference.nodes import Node, NodeKind
from functions.inference.probing import probe
from functions.inference.session import NO_ANSWER, post
from functions.inference.wire import (
    End,
    Reply,
    Token,
    all_busy,
    broken_answer,
    classify,
    context_too_long,
    cut_answer,
    key_refused,
    not_served,
    rejected,
    too_slow,
    unavailable,
)

PROBLEM_BYTES = 64 * 1024
DRAIN_SECONDS = 0.05  # between [DONE] and the end of the body, so that the connection can be used again

CONTINUING: tuple[NodeKind, ...] = ("vllm", "llama.cpp")  # the others take half an answer for a whole one

Pace = Callable[[], Awaitable[None]]


class Ask(Struct, frozen=True, kw_only=False):
    """What one stream asks, of whichever node."""

    model: str
    messages: Sequence[dict[str, Any]]  # OpenAI's wire
    sampling: Sampling
    session_id: str
    prefix: str


class NotYet(Exception):
    """This attempt showed nothing; another may be made. `final` is what the caller hears when no more are left.

    `outcome` is what it says about the node; `was_reached`: somebody was there, and may have worked for us. With
    `elsewhere` another attempt makes sense only at another node.
    """

    def __init__(
        self,
        phase: Phase,
        final: UpstreamError,
        outcome: Outcome,
        *,
        after_s: float | None = None,
        was_reached: bool = True,
        elsewhere: bool = False,
    ) -> None:
        super().__init__(phase)
        self.phase = phase
        self.final = final
        self.outcome: Outcome = outcome
        self.after_s = after_s
        self.was_reached = was_reached
        self.elsewhere = elsewhere


def blame(failure: NotYet | ParleyError) -> Outcome:
    """What a failure says about the node: a request that no node would take is the user's fault, not its."""
    if isinstance(failure, NotYet):
        return failure.outcome
    is_users = not isinstance(failure, UpstreamError) or isinstance(failure, ContextTooLong)
    return "none" if is_users or failure.code == "model_rejected" else "fault"


def _elsewhere(error: UpstreamError) -> NotYet | UpstreamError:
    """Waiting will not help, another node may. Except where the request itself is to blame."""
    return NotYet("retrying", error, "fault", elsewhere=True) if blame(error) == "fault" else error


class Answer:
    """Plain coroutines, not generators, and nothing set up per token: this is the loop that costs."""

    def __init__(self, node: Node, ask: Ask, session: aiohttp.ClientSession, limits: Limits, pace: Pace | None) -> None:
        self._node, self._ask, self._session, self._limits, self._pace = node, ask, session, limits, pace
        self._reply = Reply()
        self.has_shown = False  # text: from now on there is no other attempt
        self._spaces = 0  # that the prefix ends with, and that the node is left to say again
        self._response: aiohttp.ClientResponse | None = None
        self._watchdog: _Watchdog

    async def __aenter__(self) -> "Answer":
        """The node's answer, when it is a stream. Raises NotYet or UpstreamError for every other."""
        response = self._response = await self._open()
        if self._node.state != "warm":
            self._node.mark("warm")
        self._watchdog = _Watchdog(response, self._limits.first_token_s)
        return self

    async def __aexit__(self, *_: object) -> None:
        """At once: the engine frees the slot when the connection goes."""
        if self._response is not None:
            self._response.close()  # does nothing to one that was read to its end
            self._watchdog.cancel()

    async def _open(self) -> aiohttp.ClientResponse:
        node = self._node
        if self._ask.prefix and node.kind == "unknown":
            await probe(node, self._session)  # how to continue a message depends on the kind
        if node.kind in CONTINUING:
            self._spaces = len(self._ask.prefix.rstrip("\ufffd")) - len(_continuable(self._ask.prefix))
        body = msgspec.json.encode(_body(node, self._ask))
        headers = {
            **node.headers,
            "Accept": "text/event-stream",
            "Content-Type": "application/json",
            "Modal-Session-ID": self._ask.session_id,
        }
        if (parent := tracing.traceparent()) is not None:
            headers["traceparent"] = parent
        if node.kind == "llama.cpp":  # says keep-alive, and hangs up after every stream
            headers["Connection"] = "close"
        try:
            async with asyncio.timeout(self._limits.first_token_s):  # before the headers; the watchdog goes on
                response = await post(self._session, f"{node.url}/chat/completions", body, headers)
        except NO_ANSWER as exc:
            raise no_answer(node, exc) from exc
        if response.status != 200:
            raise await refusal(node, response)
        if response.content_type != "text/event-stream":
            response.close()
            raise _elsewhere(broken_answer())
        return response

    async def read(self) -> Token | None:
        """The next text; None when the answer is whole. Raises NotYet if it broke before the first, else our error."""
        assert self._response is not None
        reply, watchdog, content = self._reply, self._watchdog, self._response.content
        if self.has_shown and self._pace and not reply.done:
            await self._pace()
        watchdog.since = watchdog.clock()
        while not reply.done:
            frames = reply.frames
            try:
                data = await content.readany()
            except (aiohttp.ClientError, OSError) as exc:
                raise self._lost() from exc
            if not data:
                if reply.finish_reason is None:
                    raise self._lost()
                break
            token = self._feed(data)
            if token is not None:
                watchdog.since = None
                if not self.has_shown:
                    self.has_shown = True
                    watchdog.restart(self._limits.between_tokens_s)
                return token
            if reply.frames != frames:  # a comment is no sign of life: a proxy may send them for a dead node
                watchdog.since = watchdog.clock()
        watchdog.cancel()
        return None

    def _feed(self, data: bytes) -> Token | None:
        try:
            token = self._reply.feed(data)
        except UpstreamError as error:
            if self.has_shown:
                raise
            raise _elsewhere(error) from error
        return self._without_spaces(token) if token is not None and self._spaces else token

    def _without_spaces(self, token: Token) -> Token | None:
        """Less the spaces that stand already. A model that goes on with something else owes none."""
        rest = token.text.lstrip(" ")
        said = min(self._spaces, len(token.text) - len(rest))
        self._spaces = 0 if rest else self._spaces - said
        text = token.text[said:]
        return Token(text, token.count) if text else None

    def _lost(self) -> Exception:
        if self._watchdog.fired:
            return too_slow() if self.has_shown else _elsewhere(too_slow())
        return cut_answer() if self.has_shown else NotYet("retrying", cut_answer(), "fault")

    async def end(self) -> End:
        """What the answer came to. Reads the body's last bytes: a connection with a rest cannot be used again."""
        assert self._response is not None
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


def _body(node: Node, ask: Ask) -> dict[str, Any]:  # OpenAI's wire
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
    prefix = _continuable(ask.prefix) if node.kind in CONTINUING else ask.prefix
    if prefix:
        messages.append({"role": "assistant", "content": prefix})
    if prefix and node.kind in CONTINUING:
        body |= {"continue_final_message": True, "add_generation_prompt": False}
    return body


def _continuable(prefix: str) -> str:
    """Without U+FFFD at its end: vLLM takes that for half a character, and says the whole prompt again. Without spaces
    at its end: to a model a space belongs to the word after it, and after a space alone it goes on with something else
    than it was about to say. The rails cut there, whenever they hold a word back."""
    return prefix.rstrip("\ufffd").rstrip(" ")


# -- what went wrong, and what it says about the node --------------------------------------------------------------


def no_answer(node: Node, exc: Exception) -> NotYet | UpstreamError:
    """No answer at all: refused, unreachable, closed under us, or too late."""
    if isinstance(exc, TimeoutError) and not isinstance(exc, aiohttp.ConnectionTimeoutError):
        return _elsewhere(too_slow())
    if not isinstance(exc, (aiohttp.ClientConnectionError, OSError)):
        return _elsewhere(broken_answer())
    was_reached = not isinstance(exc, aiohttp.ClientConnectorError | aiohttp.ConnectionTimeoutError)
    if node.may_be_starting:
        node.mark("warming")
        return NotYet("waking", unavailable(), "none", was_reached=was_reached)
    node.mark("unreachable")
    return NotYet("retrying", unavailable(), "fault", was_reached=was_reached)


async def refusal(node: Node, response: aiohttp.ClientResponse) -> NotYet | UpstreamError:
    """What an answer other than 200 asks of us. Reads the node's words only to understand them."""
    words = bytearray()
    try:
        with suppress(TimeoutError, aiohttp.ClientError):
            async with asyncio.timeout(2):
                while len(words) < PROBLEM_BYTES and (more := await response.content.readany()):
                    words += more
    finally:
        response.release()
    after_s = _retry_after_s(response)
    match classify(response.status, bytes(words)):
        case "too_long":
            return context_too_long()
        case "rejected":
            return rejected()
        case "unauthorized":
            return _elsewhere(key_refused())
        case "missing":
            return _elsewhere(not_served())
        case "busy":
            return NotYet("retrying", all_busy(), "busy", after_s=after_s)
        case "loading":
            node.mark("warming")
            node.is_loading = True
            return NotYet("loading", unavailable(), "none", after_s=after_s)
        case "down":
            return _down(node, response.status, after_s)


def _down(node: Node, status: int, after_s: float | None) -> NotYet:
    if status == 503 or node.may_be_starting:  # 503 is what Modal answers until a container is ready
        node.mark("warming")
        return NotYet("waking", unavailable(), "none", after_s=after_s, was_reached=False)
    return NotYet("retrying", unavailable(), "fault", after_s=after_s)


def _retry_after_s(response: aiohttp.ClientResponse) -> float | None:
    value = response.headers.get("Retry-After", "")
    is_number = value.isascii() and value.isdigit()
    return float(value) if is_number else None  # a date is rare, and our own back-off does as well
