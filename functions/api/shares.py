"""Share links: made, listed and withdrawn by their owner; read by whoever has one."""

from typing import Annotated, Any

import msgspec
from fastapi import APIRouter, Path, Request, Response

from functions.api.auth import CurrentPrincipal, CurrentServices, refuse_foreign_pages
from functions.api.callers import address_of
from functions.api.chats import ChatId, as_json
from functions.chat.messages import Share
from functions.errors import NotFound

router = APIRouter(tags=["shares"])
ShareId = Annotated[str, Path(max_length=64, pattern=r"^[\w-]+$")]


def _as_share(share: Share) -> dict[str, Any]:
    names = ("id", "chat_id", "title", "leaf", "created_at", "updated_at")
    return {name: getattr(share, name) for name in names} | {"url": f"/#/shared/{share.id}"}


@router.post("/chat/{chat_id}/share", status_code=201)
async def share_chat(chat_id: ChatId, who: CurrentPrincipal, services: CurrentServices) -> Response:
    """The branch that is read now, as it is now. Again: its newest state, under the same link."""
    return as_json(_as_share(await services.sharing.share(who.owner, chat_id)), 201)


@router.delete("/chat/{chat_id}/share", status_code=204)
async def withdraw_share(chat_id: ChatId, who: CurrentPrincipal, services: CurrentServices) -> Response:
    if not await services.store.delete_share(who.owner, chat_id):
        raise NotFound("This chat is not shared.")
    return Response(status_code=204)


@router.get("/shares")
async def list_shares(who: CurrentPrincipal, services: CurrentServices) -> Response:
    """All of the caller's, the newest first."""
    shares = [_as_share(share) for share in reversed(await services.store.list_shares(who.owner))]
    return as_json({"object": "list", "data": shares, "has_more": False, "last_id": None})


@router.get("/shared/{share_id}")
async def read_shared(share_id: ShareId, request: Request, services: CurrentServices) -> Response:
    """What a visitor sees, without signing in: texts, and nothing of whose they are. A model by the name it goes by."""
    refuse_foreign_pages(request)
    services.sharing.admit(address_of(request, services.settings.trusted_proxies))
    shown = await services.sharing.read(share_id)
    named = next((info.name for info in services.gateway.models() if info.id == shown.model), shown.model)
    response = as_json(msgspec.structs.replace(shown, model=named))
    response.headers["x-robots-tag"] = "noindex, nofollow"
    response.headers["cache-control"] = "no-store"
    return response
