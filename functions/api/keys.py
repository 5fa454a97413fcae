"""API keys: made, listed and revoked by their owner. A key is shown once; the store has its hash."""

from typing import Annotated, Any
from urllib.parse import urlsplit

from fastapi import APIRouter, Path, Response
from pydantic import AfterValidator, Field

from functions.api.auth import CurrentPrincipal, CurrentServices
from functions.api.chats import as_json
from functions.api.fields import Body, Id, KeyName
from functions.chat.principals import ApiKey, Scope
from functions.errors import Forbidden

ORIGIN_CHARS = 300
ORIGINS_MAX = 20
EXPIRES_DAYS_MAX = 3650

router = APIRouter(tags=["keys"])


def _an_origin(text: str) -> str:
    """As browsers send it: no path, no default port, lower case."""
    try:
        parts = urlsplit(text)
        port = f":{parts.port}" if parts.port and parts.port != {"http": 80, "https": 443}.get(parts.scheme) else ""
        host = parts.hostname or ""
    except ValueError:  # "https://[", a port of 99999
        host = port = ""
    rest = host and (parts.path not in ("", "/") or parts.query or parts.fragment or parts.username is not None)
    if not host or rest or parts.scheme not in ("http", "https") or not text.isascii() or not text.isprintable():
        raise ValueError("must be the origin of a page, e.g. https://app.example.org")
    if "*" in host or " " in text:
        raise ValueError("must name one origin; there are no wildcards")
    return f"{parts.scheme}://{f'[{host}]' if ':' in host else host}{port}"


Origin = Annotated[str, Field(max_length=ORIGIN_CHARS), AfterValidator(_an_origin)]
KeyId = Annotated[Id, Path()]


class NewKey(Body):
    """`scopes`: `read` may read, `chat` do everything of the user's, `admin` run the house. `origins`: web pages that
    may use the key from a browser."""

    name: KeyName
    scopes: Annotated[tuple[Scope, ...], Field(min_length=1, max_length=3)] = ("chat",)
    origins: Annotated[tuple[Origin, ...], Field(max_length=ORIGINS_MAX)] = ()
    expires_days: Annotated[int, Field(ge=1, le=EXPIRES_DAYS_MAX)] | None = None
    runs_per_minute: Annotated[int, Field(ge=0, le=60_000)] = 0


def as_key(key: ApiKey) -> dict[str, Any]:
    names = ("id", "name", "scopes", "origins", "runs_per_minute", "hint", "created_at", "last_used_at", "expires_at")
    return {name: getattr(key, name) for name in names}


@router.get("/keys")
async def list_keys(who: CurrentPrincipal, services: CurrentServices) -> Response:
    """The caller's, newest first."""
    return as_json([as_key(key) for key in await services.accounts.list_keys(who.owner)])


@router.post("/keys", status_code=201)
async def make_key(body: NewKey, who: CurrentPrincipal, services: CurrentServices) -> Response:
    """`key` is in this answer only. Nobody gives out more than they have themselves."""
    if who.is_bounded:
        raise Forbidden("This key has a last day, a rate or pages of its own, and makes no keys without; sign in.")
    beyond = set(body.scopes) - who.scopes
    if beyond:
        raise Forbidden(f"You cannot give out the scope `{min(beyond)}`: you do not have it yourself.")
    secret, key = await services.accounts.make_key(
        who.owner,
        body.name,
        scopes=body.scopes,
        origins=body.origins,
        expires_days=body.expires_days,
        runs_per_minute=body.runs_per_minute,
    )
    return as_json(as_key(key) | {"key": secret}, 201)


@router.delete("/keys/{key_id}", status_code=204)
async def revoke_key(key_id: KeyId, who: CurrentPrincipal, services: CurrentServices) -> Response:
    """Holds at once in this process, and within seconds in the others."""
    await services.accounts.revoke_key(who.owner, key_id)
    return Response(status_code=204)
