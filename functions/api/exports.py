"""What a user takes along: one chat as JSON or Markdown, or all that is theirs as one JSON document."""

from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing
from typing import Annotated, Literal

import msgspec
from fastapi import APIRouter, Path, Response
from fastapi.responses import StreamingResponse

from functions.api.auth import CurrentPrincipal, CurrentServices
from functions.api.fields import Id
from functions.chat.exports import export_of, whole_chat
from functions.chat.messages import Chat, Message, utc_now

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
    body = msgspec.json.encode({"format": "parley.chat.v1", **await whole_chat(services.store, who.owner, chat)})
    return Response(body, media_type="application/json", headers=_as_file(f"parley-{chat_id}.json"))


@router.get("/export", response_model=None)
async def export_all(who: CurrentPrincipal, services: CurrentServices) -> Response:
    """Every chat with all its messages, archived ones too, and all else that is the caller's; `chat/exports.py`."""
    pieces = export_of(services.store, who.owner)
    first = await anext(pieces)  # a store that is away answers with a status, not with half a document
    return StreamingResponse(
        _after(first, pieces),
        media_type="application/json",
        headers=_as_file(f"parley-{utc_now():%Y-%m-%d}.json"),
    )


async def _after(first: bytes, rest: AsyncGenerator[bytes, None]) -> AsyncIterator[bytes]:
    async with aclosing(rest):
        yield first
        async for piece in rest:
            yield piece


def _markdown(chat: Chat, path: tuple[Message, ...]) -> str:
    said = (f"## {'You' if one.role == 'user' else one.model or 'Parley'}\n\n{one.content}\n" for one in path)
    return "\n".join([f"# {chat.title or 'Chat'}\n", *said])


def _as_file(name: str) -> dict[str, str]:
    return {"content-disposition": f'attachment; filename="{name}"'}
