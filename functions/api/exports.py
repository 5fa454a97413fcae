"""What a user takes along: one chat as JSON or Markdown, or all that is theirs as one JSON document."""

from collections.abc import AsyncIterator
from contextlib import suppress
from typing import Annotated, Any, Literal

import msgspec
from fastapi import APIRouter, Path, Response
from fastapi.responses import StreamingResponse

from functions.api.auth import CurrentPrincipal, CurrentServices
from functions.api.fields import Id
from functions.chat.messages import Chat, Message, utc_now
from functions.errors import NotFound
from functions.ports import ChatStore
from functions.settings import PAGE_MAX

router = APIRouter(tags=["export"])


@router.get("/chat/{chat_id}/export")
async def export_chat(
    chat_id: Annotated[Id, Path()],
    who: CurrentPrincipal,
    services: CurrentServices,
    format: Literal["json", "markdown"] = "json",
) -> Response:
    """JSON is the whole tree of messages; Markdown is the branch that was read last."""
    chat = await services.store.get_chat(who.owner, chat_id)
    if format == "markdown":
        path = await services.store.read_path(who.owner, chat_id, chat.active_leaf) if chat.active_leaf else ()
        return Response(_markdown(chat, path), media_type="text/markdown", headers=_as_file(f"parley-{chat_id}.md"))
    body = msgspec.json.encode({"format": "parley.chat.v1", **await _whole(services.store, who.owner, chat)})
    return Response(body, media_type="application/json", headers=_as_file(f"parley-{chat_id}.json"))


@router.get("/export", response_model=None)
async def export_all(who: CurrentPrincipal, services: CurrentServices) -> Response:
    """Every chat with all its messages, archived ones too, the profile, what is remembered, and the templates; one
    chat at a time is read into the process."""
    # Asked before the first byte: a store that is away answers with a status, not with half a document.
    profile = await services.store.get_profile(who.owner)
    memories = await services.store.list_memories(who.owner)
    templates = await services.store.list_templates(who.owner)
    head = {
        "format": "parley.export.v1",
        "exported_at": utc_now(),
        "profile": profile,
        "memories": memories,
        "templates": templates,
    }
    return StreamingResponse(
        _document(services.store, who.owner, head),
        media_type="application/json",
        headers=_as_file(f"parley-{utc_now():%Y-%m-%d}.json"),
    )


async def _document(store: ChatStore, owner: str, head: dict[str, Any]) -> AsyncIterator[bytes]:
    yield msgspec.json.encode(head)[:-1] + b',"chats":['
    separator = b""
    async for chat in _chats(store, owner):
        with suppress(NotFound):  # deleted while the chats before it were read
            yield separator + msgspec.json.encode(await _whole(store, owner, chat))
            separator = b","
    yield b"]}"


async def _chats(store: ChatStore, owner: str) -> AsyncIterator[Chat]:
    for archived in (False, True):
        after: str | None = None
        while True:
            page = await store.list_chats(owner, limit=PAGE_MAX, after=after, archived=archived)
            for chat in page.data:
                yield chat
            if (after := page.next) is None:
                break


async def _whole(store: ChatStore, owner: str, chat: Chat) -> dict[str, Any]:
    messages: tuple[Message, ...] = (await store.list_messages(owner, chat.id)).data
    return {"chat": chat, "messages": messages}


def _markdown(chat: Chat, path: tuple[Message, ...]) -> str:
    said = (f"## {'You' if one.role == 'user' else one.model or 'Parley'}\n\n{one.content}\n" for one in path)
    return "\n".join([f"# {chat.title or 'Chat'}\n", *said])


def _as_file(name: str) -> dict[str, str]:
    return {"content-disposition": f'attachment; filename="{name}"'}
