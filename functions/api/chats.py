"""The native API for chats, and the way in for a message (`completion`)."""

from collections.abc import Sequence
from typing import Annotated, Any, Literal

import msgspec
from fastapi import APIRouter, Header, Path, Query, Response
from fastapi.responses import JSONResponse
from pydantic import Field, model_validator

from functions.api import cursors
from functions.api.auth import CurrentPrincipal, CurrentServices
from functions.api.callers import asker_of, headers_of
from functions.api.fields import Body, Comment, Id, MessageText, ShortText, StopText, SystemPrompt, Title
from functions.api.sse import EventStream
from functions.chat.finding import mark, snippet
from functions.chat.messages import Chat, Feedback, Reason, Sampling, expiry_of, new_id, utc_now
from functions.chat.opening import TurnRequest, message_key
from functions.errors import BadInput
from functions.ports import FoundChat
from functions.settings import PAGE_MAX

router = APIRouter(tags=["chats"])
ChatId = Annotated[Id, Path()]
MessageId = Annotated[Id, Path()]
Limit = Annotated[int, Query(ge=1, le=PAGE_MAX)]


class Prewarm(Body):
    model: ShortText | None = None


class OpenChat(Body):
    id: Id | None = None
    model: ShortText | None = None
    title: Title | None = None
    system_prompt: SystemPrompt | None = None
    temporary: bool = False


class ChatChanges(Body):
    title: Title | None = None
    model: ShortText | None = None
    system_prompt: SystemPrompt | None = None
    pinned: bool | None = None
    archived: bool | None = None
    active_leaf: Id | None = None


class NewMessage(Body):
    id: Id
    content: MessageText
    parent_id: Id | None = None


class Completion(Body):
    """Exactly one of `message` and `regenerate`."""

    message: NewMessage | None = None
    regenerate: Id | None = None
    model: ShortText | None = None
    temperature: Annotated[float, Field(ge=0, le=2)] | None = None
    top_p: Annotated[float, Field(gt=0, le=1)] | None = None
    max_tokens: Annotated[int, Field(ge=1, le=1_000_000)] | None = None
    seed: Annotated[int, Field(ge=-(2**63), lt=2**63)] | None = None
    stop: Annotated[list[StopText], Field(max_length=4)] | None = None
    mode: Literal["stream", "async"] = "stream"
    cache: bool = True
    knowledge: bool = False

    @model_validator(mode="after")
    def _one_of_two(self) -> "Completion":
        if (self.message is None) == (self.regenerate is None):
            raise ValueError("give either `message` or `regenerate`")
        return self


class Opinion(Body):
    rating: Literal[1, -1]
    reason: Reason | None = None
    comment: Comment | None = None

    @model_validator(mode="after")
    def _reasons_are_for_complaints(self) -> "Opinion":
        if self.reason is not None and self.rating == 1:
            raise ValueError("a `reason` says what was wrong, so it needs the `rating` -1")
        return self


def as_json(value: Any, status: int = 200) -> Response:  # any msgspec value
    return Response(msgspec.json.encode(value), status, media_type="application/json")


@router.post("/chat/{chat_id}/completion", response_model=None)
async def complete(
    chat_id: ChatId,
    body: Completion,
    who: CurrentPrincipal,
    services: CurrentServices,
    idempotency_key: Annotated[str | None, Header(max_length=255)] = None,
) -> Response:
    """Continue the chat. `stream` answers with the run's events; `async` with 202 once the job is queued."""
    request = _turn_request(chat_id, body, idempotency_key)
    run = await services.turns.start(who.owner, request, asker_of(who))
    headers = {"x-run-id": run.id} | await headers_of(services, who)
    if body.mode == "async":
        return JSONResponse({"run_id": run.id, "status": run.status}, 202, headers)
    return EventStream(await services.runs.follow(who.owner, run.id), headers=headers)


def _turn_request(chat_id: str, body: Completion, key: str | None) -> TurnRequest:
    message = body.message
    sent_parent = message is not None and "parent_id" in message.model_fields_set
    return TurnRequest(
        # A message is its own key: the client made its id. A regenerate has none unless the client sends one.
        key=message_key(message.id) if message else f"header:{key or new_id()}",
        chat_id=chat_id,
        model=body.model,
        message_id=message.id if message else None,
        content=message.content if message else None,
        parent_id=message.parent_id if message and sent_parent else "leaf",
        regenerate=body.regenerate,
        sampling=Sampling(
            temperature=body.temperature,
            top_p=body.top_p,
            max_tokens=body.max_tokens,
            seed=body.seed,
            stop=tuple(body.stop) if body.stop else None,
        ),
        mode=body.mode,
        cache=body.cache,
        knowledge=body.knowledge,
    )


@router.post("/chat", status_code=201)
async def open_chat(body: OpenChat, who: CurrentPrincipal, services: CurrentServices) -> Response:
    if body.model:
        services.turns.model(body.model)
    system_prompt = await services.turns.admit(body.system_prompt, "system_prompt") if body.system_prompt else None
    now = utc_now()
    chat = Chat(
        id=body.id or new_id(),
        title=body.title,
        model=body.model,
        system_prompt=system_prompt,
        created_at=now,
        updated_at=now,
        temporary=body.temporary,
        expires_at=expiry_of(body.temporary, now),
    )
    await services.store.create_chat(who.owner, chat)
    return as_json(chat, 201)


@router.get("/chats")
async def list_chats(
    who: CurrentPrincipal,
    services: CurrentServices,
    limit: Limit = 50,
    after: Annotated[str | None, Query(max_length=2048)] = None,
    q: Annotated[str | None, Query(max_length=200)] = None,
    archived: bool = False,
) -> Response:
    cursor = cursors.unseal(services.secret_key, who.owner, after)
    if q:
        found = await services.store.search_chats(who.owner, q, limit=limit, after=cursor, archived=archived)
        data: Sequence[Any] = [_found(one, q) for one in found.data]
        after_it = found.next
    else:
        page = await services.store.list_chats(who.owner, limit=limit, after=cursor, archived=archived)
        data, after_it = page.data, page.next
    last_id = cursors.seal(services.secret_key, who.owner, after_it)
    return as_json({"object": "list", "data": data, "has_more": last_id is not None, "last_id": last_id})


def _found(one: FoundChat, query: str) -> dict[str, Any]:
    """The chat, and where the words stand in its title or in a message; see `finding` for how that is told."""
    message = one.message
    match = {
        "title": mark(one.chat.title or "", query),
        "message_id": message and message.id,
        "snippet": message and snippet(message.content, query),
    }
    return {**msgspec.to_builtins(one.chat), "match": match}


@router.get("/chat/{chat_id}")
async def get_chat(
    chat_id: ChatId,
    who: CurrentPrincipal,
    services: CurrentServices,
    limit: Annotated[int, Query(ge=1, le=1000)] = 200,
    before: Annotated[Id | None, Query()] = None,
) -> Response:
    chat = await services.store.get_chat(who.owner, chat_id)
    page = await services.store.list_messages(who.owner, chat_id, limit=limit, before=before)
    summary = await services.summaries.of_branch(who.owner, chat)
    shown = summary and {name: getattr(summary, name) for name in ("upto", "text", "created_at", "tokens")}
    more = {"messages": page.data, "has_more": page.next is not None, "first_id": page.next, "summary": shown}
    return as_json(msgspec.to_builtins(chat) | more)


@router.patch("/chat/{chat_id}")
async def change_chat(chat_id: ChatId, body: ChatChanges, who: CurrentPrincipal, services: CurrentServices) -> Response:
    changes = body.model_dump(exclude_unset=True)
    for name in ("pinned", "archived", "active_leaf", "title"):
        if name in changes and changes[name] is None:
            raise BadInput(f"`{name}` cannot be null; leave it out to keep it.", param=name)
    if (body.pinned or body.archived) and (await services.store.get_chat(who.owner, chat_id)).temporary:
        raise BadInput("A temporary chat is in no list, so it cannot be pinned or archived.", param="pinned")
    if body.model:
        services.turns.model(body.model)
    if body.system_prompt:
        changes["system_prompt"] = await services.turns.admit(body.system_prompt, "system_prompt")
    return as_json(await services.store.update_chat(who.owner, chat_id, changes))


@router.delete("/chat/{chat_id}", status_code=204)
async def delete_chat(chat_id: ChatId, who: CurrentPrincipal, services: CurrentServices) -> Response:
    chat = await services.store.get_chat(who.owner, chat_id)
    if chat.active_run:
        await services.runs.stop(who.owner, chat.active_run)
    await services.store.delete_chat(who.owner, chat_id)
    if services.cache is not None:
        await services.cache.forget(who.owner, [chat_id])
    return Response(status_code=204)


@router.get("/chat/{chat_id}/stream", response_model=None)
async def attach(chat_id: ChatId, who: CurrentPrincipal, services: CurrentServices) -> Response:
    """The active run from its start, or 204 when the chat is idle."""
    chat = await services.store.get_chat(who.owner, chat_id)
    if chat.active_run is None:
        return Response(status_code=204)
    return EventStream(await services.runs.follow(who.owner, chat.active_run), headers={"x-run-id": chat.active_run})


@router.put("/chat/{chat_id}/messages/{message_id}/feedback")
async def put_feedback(
    chat_id: ChatId, message_id: MessageId, body: Opinion, who: CurrentPrincipal, services: CurrentServices
) -> Response:
    """What the owner thinks of an answer, or that a rail was wrong about a message of theirs. Put again, it replaces
    what was there. Returns it as it is stored: the comment has been through the input rails."""
    message = await services.store.get_message(who.owner, chat_id, message_id)
    if body.reason == "guardrail_wrong" and not message.verdicts:
        raise BadInput("No guardrail acted on this message; choose another reason.", param="reason")
    if message.role == "user" and body.reason != "guardrail_wrong":
        raise BadInput("Only answers are rated; of a message of yours, say `guardrail_wrong`.", param="reason")
    said = (body.comment or "").strip()
    comment = await services.turns.admit(said, "comment") if said else None
    feedback = Feedback(rating=body.rating, reason=body.reason, comment=comment, at=utc_now())
    await services.store.put_feedback(who.owner, chat_id, message_id, feedback)
    return as_json(feedback)


@router.delete("/chat/{chat_id}/messages/{message_id}/feedback", status_code=204)
async def withdraw_feedback(
    chat_id: ChatId, message_id: MessageId, who: CurrentPrincipal, services: CurrentServices
) -> Response:
    await services.store.put_feedback(who.owner, chat_id, message_id, None)
    return Response(status_code=204)


@router.post("/prewarm")
async def prewarm(body: Prewarm, who: CurrentPrincipal, services: CurrentServices) -> Response:
    """Somebody types: wake the model's GPU now, so that the answer need not wait for all of its start. 202 always;
    `started` says whether this call woke one, `reason` why it must not."""
    return as_json(await services.prewarmer.knock(who.owner, services.turns.model(body.model)), 202)
