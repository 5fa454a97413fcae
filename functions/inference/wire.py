"""OpenAI's streaming wire, read without any I/O: bytes go in as they come, text comes out.

Promises: every cut of the bytes gives the same text (a cut inside a frame, a line ending or a character); frames
that arrive together come out as one `Token`; nothing a node writes in an error ever becomes part of our message.

Does not know sockets, nodes, retries or timeouts. Drops reasoning (`reasoning_content`): Parley shows answers only.
Reads the first choice only: one run is one message.
"""

from typing import Any, Literal

import msgspec

from functions.chat.messages import Usage
from functions.errors import ContextTooLong, Overloaded, UpstreamError

FRAME_BYTES = 4 * 1024 * 1024  # one event; a node that sends more without an end is broken
BOM = b"\xef\xbb\xbf"
MOST_TOKENS = 2**31 - 1  # of one answer


class Token(msgspec.Struct, frozen=True, gc=False):
    """New text: the deltas that arrived together in one read. `count` is how many there were."""

    text: str
    count: int


class End(msgspec.Struct, frozen=True):
    """The answer is whole. Tool calls are in OpenAI's form, assembled from their deltas."""

    finish_reason: str
    usage: Usage | None = None
    tool_calls: tuple[dict[str, Any], ...] = ()  # the node's wire, not ours


class EventStream:
    """Cuts server-sent events out of bytes, per the WHATWG grammar; gives back the data of each whole event."""

    __slots__ = ("_held",)

    def __init__(self) -> None:
        self._held = b""

    def feed(self, data: bytes) -> list[bytes]:
        if self._held:
            data = self._held + data
        if b"\r" in data:
            data = _unify_line_ends(data)
        end = data.rfind(b"\n\n")
        if end < 0:
            self._hold(data)
            return []
        self._hold(data[end + 2 :])
        return [payload for event in data[:end].split(b"\n\n") if (payload := _payload(event))]

    def _hold(self, rest: bytes) -> None:
        if len(rest) > FRAME_BYTES:
            raise broken_answer()
        self._held = rest


def _unify_line_ends(data: bytes) -> bytes:
    """CR LF and CR become LF. A CR at the very end stays: its LF may still be under way."""
    body, last = (data[:-1], b"\r") if data.endswith(b"\r") else (data, b"")
    return body.replace(b"\r\n", b"\n").replace(b"\r", b"\n") + last


def _payload(event: bytes) -> bytes:
    if event.startswith(b"data: ") and b"\n" not in event:  # all that real engines send
        return event[6:]
    lines = (line.removeprefix(BOM) for line in event.split(b"\n"))
    values = (line[5:] for line in lines if line.startswith(b"data:"))
    return b"\n".join(value.removeprefix(b" ") for value in values)


class _Function(msgspec.Struct, gc=False):
    name: str | None = None
    arguments: str | None = None


class _ToolDelta(msgspec.Struct, gc=False):
    index: int = 0
    id: str | None = None
    function: _Function | None = None


class _Delta(msgspec.Struct, gc=False):
    content: str | None = None
    tool_calls: list[_ToolDelta] | None = None


class _Choice(msgspec.Struct, gc=False):
    index: int = 0
    delta: _Delta | None = None
    finish_reason: str | None = None


class _PromptDetails(msgspec.Struct, gc=False):
    cached_tokens: int | None = None


class _Usage(msgspec.Struct, gc=False):
    prompt_tokens: int = 0
    completion_tokens: int = 0
    prompt_tokens_details: _PromptDetails | None = None


class _Timings(msgspec.Struct, gc=False):
    cache_n: int = 0


class _Frame(msgspec.Struct, gc=False):
    choices: list[_Choice] | None = None
    usage: _Usage | None = None
    timings: _Timings | None = None  # llama.cpp
    error: msgspec.Raw = msgspec.Raw()  # of any shape


_decode = msgspec.json.Decoder(_Frame).decode


class Reply:
    """One streamed answer as it grows. Feed it bytes; ask `end()` when `done`, or when the bytes stop."""

    __slots__ = ("_events", "_failure", "_timings", "_tools", "_usage", "done", "finish_reason", "frames")

    def __init__(self) -> None:
        self._events = EventStream()
        self._tools: dict[int, dict[str, Any]] = {}  # assembled in OpenAI's form
        self._usage: _Usage | None = None
        self._timings: _Timings | None = None
        self._failure: UpstreamError | None = None
        self.finish_reason: str | None = None
        self.done = False
        self.frames = 0  # data frames so far, of any kind: a node that sends some is alive

    def feed(self, data: bytes) -> Token | None:
        """The new text in these bytes, if any. Raises UpstreamError for broken wire and for the node's own error.

        Text that came before the error is not lost: it comes out first, and `end()` raises.
        """
        text, count = "", 0
        try:
            for payload in self._events.feed(data):
                if payload == b"[DONE]":
                    self.done = True
                    break
                self.frames += 1
                piece = self._read(payload)
                if piece:
                    text += piece
                    count += 1
        except UpstreamError as failure:
            if not count:
                raise
            self._failure = failure
            self.done = True
        return Token(text, count) if count else None

    def end(self) -> End:
        """Raises UpstreamError when the node stopped in the middle."""
        if self._failure is not None:
            raise self._failure
        if self.finish_reason is None and not self.done:
            raise cut_answer()
        calls = tuple(call for _, call in sorted(self._tools.items()))
        reason = self.finish_reason or "stop"
        return End("tool_calls" if calls and reason == "stop" else reason, self._whole_usage(), calls)

    def _read(self, payload: bytes) -> str | None:
        try:
            frame = _decode(payload)
        except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as exc:
            raise broken_answer() from exc
        if (error := bytes(frame.error)) and error != b"null":
            raise stream_error(error)
        if frame.usage is not None:
            self._usage = frame.usage
        if frame.timings is not None:
            self._timings = frame.timings
        if not frame.choices or frame.choices[0].index:
            return None
        choice = frame.choices[0]
        if choice.finish_reason is not None:
            self.finish_reason = choice.finish_reason
        if choice.delta is None:
            return None
        if choice.delta.tool_calls:
            self._assemble(choice.delta.tool_calls)
        return choice.delta.content

    def _assemble(self, deltas: list[_ToolDelta]) -> None:
        for delta in deltas:
            call = self._tools.setdefault(
                delta.index, {"id": "", "type": "function", "function": {"name": "", "arguments": ""}}
            )
            call["id"] = call["id"] or delta.id or ""
            if delta.function is not None:
                call["function"]["name"] += delta.function.name or ""
                call["function"]["arguments"] += delta.function.arguments or ""

    def _whole_usage(self) -> Usage | None:
        if self._usage is None:
            return None
        details = self._usage.prompt_tokens_details
        cached = details.cached_tokens if details is not None else None
        if cached is None:
            cached = self._timings.cache_n if self._timings is not None else 0
        return Usage(
            prompt_tokens=believable(self._usage.prompt_tokens),
            cached_tokens=believable(cached),
            completion_tokens=believable(self._usage.completion_tokens),
        )


def believable(tokens: int) -> int:
    """What a node may say it has counted: a budget is neither paid back nor burst by a node that counts wrongly."""
    return min(max(tokens, 0), MOST_TOKENS)


# -- what a node's refusal means ------------------------------------------------------------------------------------

# vLLM says it in English only, llama.cpp by type, OpenAI by code; matched, never repeated.
_TOO_LONG = (
    b"exceed_context_size",
    b"context_length_exceeded",
    b"maximum context length",
    b"maximum model length",
    b"max_model_len",
    b"exceeds the available context size",
)

Refusal = Literal["too_long", "loading", "rejected", "unauthorized", "missing", "busy", "down"]


def classify(status: int, body: bytes) -> Refusal:
    """What an answer other than 200 means."""
    if status in (400, 413, 422, 500) and any(sign in body for sign in _TOO_LONG):
        return "too_long"
    if status == 503 and b"oading model" in body:  # llama.cpp: {"error":{"message":"Loading model",…}}
        return "loading"
    if status in (401, 403):
        return "unauthorized"
    if status in (404, 405, 410):
        return "missing"
    if status == 429:
        return "busy"
    return "down" if status >= 500 or status < 300 else "rejected"


def context_too_long() -> ContextTooLong:
    return ContextTooLong("The conversation is too long for this model. Start a new chat or shorten the message.")


def broken_answer() -> UpstreamError:
    return UpstreamError("The model sent an answer that could not be read. Try again.", code="model_error")


def cut_answer() -> UpstreamError:
    return UpstreamError("The model stopped in the middle of its answer. Try again.", code="model_error")


def stream_error(error: bytes) -> UpstreamError:
    if any(sign in error for sign in _TOO_LONG):
        return context_too_long()
    return UpstreamError("The model reported an error while it answered. Try again.", code="model_error")


def unavailable() -> UpstreamError:
    return UpstreamError("The model cannot be reached right now. Try again in a moment.")


def too_slow() -> UpstreamError:
    return UpstreamError("The model did not answer in time. Try again.", code="model_timeout")


def key_refused() -> UpstreamError:
    return UpstreamError("The model server did not accept Parley's key. Tell the operator.")


def not_served() -> UpstreamError:
    return UpstreamError("The model server does not serve this model. Tell the operator.")


def rejected() -> UpstreamError:
    return UpstreamError("The model does not accept this request. Check its parameters.", code="model_rejected")


def all_busy() -> Overloaded:
    return Overloaded("All models are busy. Try again in a moment.")
