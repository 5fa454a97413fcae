"""OpenAI's wire over the same turn: same guardrails, same limits, same durable runs.

What the official clients taught us (each is a named test): on this stream no `id:`, no `retry:`, no named
events; a fault after the first byte is one `data: {"error": …}` and then the end; heartbeats and cold-start
progress are comments.

A call without `X-Conversation-Id` keeps no chat: its run ends when its reader leaves for good. With it, the
chat's stored messages are the context and only the last user message of the body is added.
"""

import asyncio
import hashlib
import json
from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing, suppress
from typing import Annotated, Any, Literal
from uuid import NAMESPACE_URL, UUID, uuid5

import msgspec
from fastapi import APIRouter, Header, Request, Response
from pydantic import AfterValidator, BaseModel, ConfigDict, Field, model_validator
from pydantic_core import PydanticSerializationError

from functions.api.auth import CurrentPrincipal, CurrentServices
from functions.api.callers import asker_of, headers_of
from functions.api.chats import as_json
from functions.api.fields import MessageText, ShortText, StopText, SystemPrompt
from functions.api.sse import PING, EventStream, until_disconnect
from functions.chat.messages import (
    Chat,
    Delta,
    Done,
    Failed,
    LoggedEvent,
    Message,
    Problem,
    Run,
    Sampling,
    StatusChanged,
    Stopped,
    ToolCalls,
    new_id,
    utc_now,
)
from functions.chat.opening import TurnRequest
from functions.errors import BadInput, Conflict, ContextTooLong, NotFound, Overloaded, UpstreamError
from functions.services import Services

router = APIRouter(prefix="/v1", tags=["OpenAI-compatible"])
ORPHAN_SECONDS = 10.0  # the official client re-sends within half a second to eight; then the run is stopped


class TextPart(BaseModel):
    type: Literal["text"]
    text: str


def _no_nul(value: str | list[TextPart] | None) -> str | None:
    text = "".join(part.text for part in value) if isinstance(value, list) else value
    if text and "\0" in text:
        raise ValueError("must not contain NUL characters")
    return text


class PromptMessage(BaseModel):
    """One message of the conversation, in OpenAI's form; parts are joined, only text is understood."""

    model_config = ConfigDict(extra="ignore")
    role: Literal["system", "developer", "user", "assistant", "tool"]
    content: Annotated[str | list[TextPart] | None, AfterValidator(_no_nul)] = None
    name: ShortText | None = None
    tool_calls: list[dict[str, Any]] | None = None  # OpenAI's wire, passed to the node
    tool_call_id: ShortText | None = None


class StreamOptions(BaseModel):
    include_usage: bool = False


class ChatCompletion(BaseModel):
    """What we read ourselves; PASSED_THROUGH goes to the node as it came; the rest is ignored, as OpenAI does."""

    model_config = ConfigDict(extra="allow")
    model: ShortText
    messages: Annotated[list[PromptMessage], Field(min_length=1, max_length=2000)]
    stream: bool = False
    stream_options: StreamOptions | None = None
    temperature: Annotated[float, Field(ge=0, le=2)] | None = None
    top_p: Annotated[float, Field(gt=0, le=1)] | None = None
    max_tokens: Annotated[int, Field(ge=1, le=1_000_000)] | None = None
    max_completion_tokens: Annotated[int, Field(ge=1, le=1_000_000)] | None = None
    seed: Annotated[int, Field(ge=-(2**63), lt=2**63)] | None = None
    stop: StopText | Annotated[list[StopText], Field(max_length=4)] | None = None
    n: int | None = None
    logprobs: bool | None = None

    @model_validator(mode="after")
    def _storable(self) -> "ChatCompletion":
        """Fields that we only pass on may hold anything; what cannot be written down cannot be a run."""
        try:
            self.model_dump_json()
        except (PydanticSerializationError, ValueError, RecursionError):
            raise ValueError("must be valid Unicode and not nested so deeply") from None
        return self


FAILURES: dict[str, type[UpstreamError]] = {"context_length_exceeded": ContextTooLong, "overloaded": Overloaded}
PASSED_THROUGH = (
    "response_format", "tools", "tool_choice", "parallel_tool_calls",
    "frequency_penalty", "presence_penalty", "logit_bias",
)  # fmt: skip


@router.get("/models")
async def list_models(who: CurrentPrincipal, services: CurrentServices) -> Response:
    """Never wakes a GPU: clients call it to see whether we are alive."""
    data = [
        {"id": m.id, "object": "model", "created": 0, "owned_by": "parley", "state": m.state}
        for m in services.gateway.models()
    ]
    return as_json({"object": "list", "data": data})


@router.post("/chat/completions", response_model=None)
async def chat_completions(
    body: ChatCompletion,
    request: Request,
    who: CurrentPrincipal,
    services: CurrentServices,
    idempotency_key: Annotated[str | None, Header(max_length=255)] = None,
    retry_count: Annotated[str | None, Header(alias="x-stainless-retry-count", max_length=10)] = None,
    conversation: Annotated[str | None, Header(alias="X-Conversation-Id", max_length=255)] = None,
) -> Response:
    _refuse_what_we_cannot_guard(body)
    services.turns.model(body.model)
    if conversation:
        _question(body)
    chat_id = await _conversation(services, who.owner, conversation, body) if conversation else None
    key, is_first = _key(body, chat_id, idempotency_key, retry_count)
    run = await services.turns.start(who.owner, _turn_request(body, chat_id, key, is_first), asker_of(who))
    if run.status == "stopped" and retry_count not in (None, "0"):
        # Its first reader was gone for too long, and we stopped it: this retry is owed a whole answer.
        run = await services.turns.start(who.owner, _turn_request(body, chat_id, key, True), asker_of(who))
    headers = {"x-run-id": run.id} | ({"x-conversation-id": chat_id} if chat_id else {})
    headers |= await headers_of(services, who)
    events = await services.runs.follow(who.owner, run.id)

    def reader_left() -> None:
        if not (chat_id or idempotency_key):
            services.runs.abandon(run.id, ORPHAN_SECONDS)

    if body.stream:
        include_usage = bool(body.stream_options and body.stream_options.include_usage)
        chunks = Chunks(run, include_usage)
        return EventStream(events, chunks, headers=headers, on_disconnect=reader_left, at_end=chunks.at_end)
    gathering = asyncio.ensure_future(_gather(events))
    leaving = asyncio.ensure_future(until_disconnect(request.receive))
    await asyncio.wait((gathering, leaving), return_when=asyncio.FIRST_COMPLETED)
    leaving.cancel()
    if not gathering.done():
        gathering.cancel()
        reader_left()
        return Response(status_code=499)  # nobody is left to read it
    return _whole(run, await gathering, headers)


def _refuse_what_we_cannot_guard(body: ChatCompletion) -> None:
    if body.n not in (None, 1):
        raise BadInput("`n` must be 1: send the request again for another answer.", code="unsupported", param="n")
    if body.logprobs:
        raise BadInput(
            "`logprobs` is not available: it would show tokens before the guardrails have seen them.",
            code="unsupported",
            param="logprobs",
        )


def _key(
    body: ChatCompletion, chat_id: str | None, idempotency_key: str | None, retry_count: str | None
) -> tuple[str, bool]:
    """The official client sends no key, only how often it has retried: then the same body is the same request."""
    if idempotency_key:
        return f"header:{idempotency_key}", False
    if retry_count is None:
        return f"call:{new_id()}", False
    digest = hashlib.sha256(f"{chat_id} {body.model_dump_json()}".encode()).hexdigest()
    return f"retry:{digest}", retry_count == "0"


async def _conversation(services: Services, owner: str, name: str, body: ChatCompletion) -> str:
    """The chat that this conversation id names; opened at the first call."""
    try:
        chat_id = str(UUID(name))
    except ValueError:
        chat_id = str(uuid5(NAMESPACE_URL, f"parley:{owner}:{name}"))
    try:
        await services.store.get_chat(owner, chat_id)
    except NotFound:
        said = next((m.content for m in body.messages if m.role in ("system", "developer")), None) or ""
        system = await services.turns.admit(_System(content=str(said)).content, "messages")
        now = utc_now()
        chat = Chat(
            id=chat_id, title=None, model=body.model, system_prompt=system or None,
            created_at=now, updated_at=now,
        )  # fmt: skip
        with suppress(Conflict):  # a racing call opened it first
            await services.store.create_chat(owner, chat)
    return chat_id


def _for_the_node(message: PromptMessage) -> dict[str, Any]:
    """`developer` is OpenAI's newer word for `system`; the chat templates of open models do not know it."""
    said = message.model_dump(exclude_none=True)
    return said | {"role": "system"} if message.role == "developer" else said


def _question(body: ChatCompletion) -> str:
    """The one message of the body that a stored conversation gains."""
    if body.messages[-1].role != "user":
        raise BadInput("The last message of a stored conversation must be the user's.", param="messages")
    return _LastMessage.model_validate({"content": body.messages[-1].content}).content


class _System(BaseModel):
    content: SystemPrompt


class _LastMessage(BaseModel):
    content: MessageText


def _turn_request(body: ChatCompletion, chat_id: str | None, key: str, is_first: bool) -> TurnRequest:
    extras = body.model_extra or {}
    sampling = Sampling(
        temperature=body.temperature,
        top_p=body.top_p,
        max_tokens=body.max_completion_tokens or body.max_tokens,
        seed=body.seed,
        stop=(body.stop,) if isinstance(body.stop, str) else tuple(body.stop) if body.stop else None,
        extra={name: extras[name] for name in PASSED_THROUGH if extras.get(name) is not None},
    )
    if chat_id is None:
        prompt = tuple(_for_the_node(m) for m in body.messages)
        return TurnRequest(key=key, model=body.model, prompt=prompt, sampling=sampling, replace_key=is_first)
    return TurnRequest(
        key=key, chat_id=chat_id, model=body.model, message_id=new_id(), content=_question(body),
        sampling=sampling, replace_key=is_first,
    )  # fmt: skip


async def _gather(events: AsyncGenerator[Sequence[LoggedEvent], None]) -> list[LoggedEvent]:
    async with aclosing(events) as batches:
        return [logged async for batch in batches for logged in batch]


def _reason(message: Message, has_tools: bool) -> str:
    if has_tools and message.finish_reason not in ("length", "content_filter"):
        return "tool_calls"
    known = ("stop", "length", "content_filter", "tool_calls")
    return message.finish_reason if message.finish_reason in known else "stop"


def _usage(message: Message) -> dict[str, Any]:
    usage = message.usage
    prompt, completion = (usage.prompt_tokens, usage.completion_tokens) if usage else (0, 0)
    return {
        "prompt_tokens": prompt,
        "completion_tokens": completion,
        "total_tokens": prompt + completion,
        "prompt_tokens_details": {"cached_tokens": usage.cached_tokens if usage else 0},
        "x_cost": msgspec.to_builtins(message.cost),  # beside OpenAI's fields: clients ignore what they do not know
    }


def _whole(run: Run, events: Sequence[LoggedEvent], headers: dict[str, str]) -> Response:
    """The answer in one piece."""
    calls = next((e.event.calls for e in events if isinstance(e.event, ToolCalls)), ())
    last = events[-1].event if events else None
    if isinstance(last, Failed):
        raise FAILURES.get(last.error.code, UpstreamError)(last.error.message, code=last.error.code)
    if not isinstance(last, Done | Stopped) or last.message is None:
        raise UpstreamError("The run ended without an answer; please send the message again.")
    message = last.message
    said: dict[str, Any] = {"role": "assistant", "content": message.content or (None if calls else ""), "refusal": None}
    choice = {
        "index": 0,
        "message": said | ({"tool_calls": calls} if calls else {}),
        "finish_reason": _reason(message, bool(calls)),
        "logprobs": None,
    }
    body = {
        "id": f"chatcmpl-{run.id}",
        "object": "chat.completion",
        "created": int(run.created_at.timestamp()),
        "model": run.model,
        "choices": [choice],
        "usage": _usage(message),
    }
    return Response(msgspec.json.encode(body), media_type="application/json", headers=headers)


class Chunks:
    """Renders the run's events as OpenAI's chunks. One instance a stream."""

    def __init__(self, run: Run, include_usage: bool) -> None:
        head = {
            "id": f"chatcmpl-{run.id}",
            "object": "chat.completion.chunk",
            "created": int(run.created_at.timestamp()),
            "model": run.model,
        }
        self._head = json.dumps(head)[:-1]
        self._include_usage = include_usage
        self._has_tools = False
        self._has_ended = False
        # The part of a text chunk around the text: built once, a token costs one encode of its text.
        self._before = (self._head + ', "choices": [{"index": 0, "delta": {"content": ').encode()
        self._after = b'}, "logprobs": null, "finish_reason": null}]' + self._no_usage().encode() + b"}\n\n"

    def _no_usage(self) -> str:
        return ', "usage": null' if self._include_usage else ""

    def __call__(self, batch: Sequence[LoggedEvent]) -> bytes:
        return b"".join(self._render(logged) for logged in batch)

    def _render(self, logged: LoggedEvent) -> bytes:
        match logged.event:
            case Delta(text=text):
                return b"data: " + self._before + msgspec.json.encode(text) + self._after
            case StatusChanged() as status:
                eta = f" eta_s={status.eta_p50_ms / 1000:.0f}" if status.eta_p50_ms is not None else ""
                place = f" position={status.position}" if status.position is not None else ""
                return f": status={status.phase}{eta}{place}\n\n".encode()
            case ToolCalls(calls=calls):
                self._has_tools = True
                return self._chunk({"tool_calls": [{"index": i} | call for i, call in enumerate(calls)]}, None)
            case Done(message=message) | Stopped(message=Message() as message):
                return self._end(message)
            case Failed(error=error):
                self._has_ended = True
                return _error_frame(error)
            case _ if logged.seq == 1:
                return self._chunk({"role": "assistant", "content": ""}, None)
            case _:
                return PING  # titles and verdicts have no place on this wire

    def at_end(self) -> bytes:
        """A stream that stops short (this process shuts down) must not look like an answer."""
        if self._has_ended:
            return b""
        return _error_frame(Problem(code="restarting", message="Parley is restarting; send the message again."))

    def _chunk(self, delta: dict[str, Any], finish_reason: str | None) -> bytes:
        choices = [{"index": 0, "delta": delta, "logprobs": None, "finish_reason": finish_reason}]
        return f'data: {self._head}, "choices": {json.dumps(choices)}{self._no_usage()}}}\n\n'.encode()

    def _end(self, message: Message) -> bytes:
        self._has_ended = True
        frames = self._chunk({}, _reason(message, self._has_tools))
        if self._include_usage:
            frames += f'data: {self._head}, "choices": [], "usage": {json.dumps(_usage(message))}}}\n\n'.encode()
        return frames + b"data: [DONE]\n\n"


def _error_frame(problem: Problem) -> bytes:
    error = {"message": problem.message, "type": "server_error", "code": problem.code, "param": None}
    return b"data: " + msgspec.json.encode({"error": error}) + b"\n\n"
