"""Who is calling. Local mode: one user, and only from this machine. Token mode: an access token, as a bearer
header (programs) or in a cookie that scripts cannot read (the web client).

It knows names and hashes, never stores a token, and compares in constant time.
"""

import hashlib
import hmac
from dataclasses import dataclass
from typing import Annotated
from urllib.parse import urlsplit

from fastapi import Depends, Request

from functions.errors import Forbidden, Unauthorized
from functions.services import Services
from functions.settings import Settings

COOKIE = "parley_session"
COOKIE_SECONDS = 30 * 24 * 3600
LOCAL_OWNER = "local"
LOOPBACK = ("127.0.0.1", "localhost", "::1", "[::1]")


@dataclass(frozen=True, slots=True)
class Principal:
    """`owner` is the first key of everything this caller can reach."""

    owner: str


def services_of(request: Request) -> Services:
    services: Services = request.app.state.services
    return services


async def _services(request: Request) -> Services:  # a coroutine: FastAPI would run a function in a thread
    return services_of(request)


CurrentServices = Annotated[Services, Depends(_services)]


def owner_of_token(settings: Settings, token: str) -> str | None:
    """The name that this token belongs to."""
    digest = hashlib.sha256(token.encode()).hexdigest()
    found = None
    for entry in settings.access_tokens.split(","):
        name, _, wanted = entry.strip().partition("=")
        if name and wanted and hmac.compare_digest(digest, wanted.strip().lower()):
            found = name
    return found


async def current_principal(request: Request) -> Principal:
    """Raises Unauthorized, or Forbidden for a browser page of another site. A coroutine, to be run here and not in a
    thread."""
    refuse_foreign_pages(request)
    settings = services_of(request).settings
    if settings.auth == "local":
        return Principal(LOCAL_OWNER)
    scheme, _, bearer = request.headers.get("authorization", "").partition(" ")
    token = bearer.strip() if scheme.lower() == "bearer" else request.cookies.get(COOKIE, "")
    owner = owner_of_token(settings, token) if token else None
    if owner is None:
        raise Unauthorized("Sign in with an access token (header `Authorization: Bearer …`).")
    return Principal(owner)


def refuse_foreign_pages(request: Request) -> None:
    """A page of another site must not drive a user's Parley through their browser (CSRF), nor reach a local one
    through a name that it points at 127.0.0.1 (DNS rebinding)."""
    host = request.headers.get("host", "")
    services = services_of(request)
    if services.settings.auth == "local" and _name_of(host) not in LOOPBACK:
        raise Forbidden("Local mode answers only to this machine's own names; open it as http://127.0.0.1.")
    origin = request.headers.get("origin")
    # A proxy may have renamed us. No page of another site can send this header: we answer no CORS preflight.
    own = (host, request.headers.get("x-forwarded-host", host))
    if origin and origin.partition("://")[2] in own:
        return
    if origin or request.headers.get("sec-fetch-site", "none") not in ("none", "same-origin"):
        if request.method in ("GET", "HEAD") and not origin:
            return  # a link from elsewhere may open a page; it can change nothing and read nothing
        raise Forbidden("This request comes from a page of another site.")


def _name_of(host: str) -> str | None:
    try:
        return urlsplit(f"//{host}").hostname
    except ValueError:  # "[" and the like
        return None


CurrentPrincipal = Annotated[Principal, Depends(current_principal)]
