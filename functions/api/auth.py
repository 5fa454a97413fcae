"""Who is calling, and whether they may. Local mode: one user, and only from this machine. Token mode: an access token
or an API key as a bearer header (programs), or a session in a cookie that scripts cannot read (the web client).

Here is the one place that knows what a role and a scope may do: by the method and the path, so that a route that is
added later has nothing to remember. Tokens are compared in constant time, and never stored.
"""

import hashlib
import hmac
from dataclasses import dataclass, field
from typing import Annotated
from urllib.parse import urlsplit

from fastapi import Depends, Request

from functions.api.cookies import is_tls, secret_in
from functions.chat.accounts import ALL_SCOPES, KEY_PREFIX, Caller
from functions.chat.principals import Role, Scope
from functions.errors import Forbidden, Unauthorized
from functions.services import Services
from functions.settings import Settings

LOCAL_OWNER = "local"
LOOPBACK = ("127.0.0.1", "localhost", "::1", "[::1]")


ADMIN = "/admin"  # and every path under it
# What a viewer may change: how they are talked to, and where they are signed in.
ONES_OWN = {("PATCH", "/me"), ("DELETE", "/me"), ("DELETE", "/sessions"), ("DELETE", "/sessions/{session_id}")}


@dataclass(frozen=True, slots=True)
class Principal:
    """`owner` is the first key of everything this caller can reach."""

    owner: str
    role: Role = "admin"
    scopes: frozenset[Scope] = ALL_SCOPES
    group: str | None = None
    key_id: str | None = None
    key_runs_per_minute: int = 0
    is_bounded: bool = False  # by what their key may not pass on
    session_id: str | None = None
    name: str | None = field(default=None, repr=False)
    email: str | None = field(default=None, repr=False)


LOCAL = Principal(LOCAL_OWNER)


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
    """Raises Unauthorized, or Forbidden for what this caller may not do, or for a browser page of another site. A
    coroutine, to be run here and not in a thread."""
    services = services_of(request)
    if services.settings.auth == "local":
        refuse_foreign_pages(request)
        return LOCAL
    caller = await _caller(request, services)
    if caller is None or not _admits_page(caller, request):
        refuse_foreign_pages(request)
    if caller is None:
        raise Unauthorized("Sign in, or send an API key (header `Authorization: Bearer …`).")
    _refuse_beyond(caller, request)
    user = caller.user
    return Principal(
        owner=user.id,
        role=user.role,
        scopes=caller.scopes,
        group=user.group,
        key_id=caller.key_id,
        key_runs_per_minute=caller.runs_per_minute,
        is_bounded=caller.is_bounded,
        session_id=caller.session_id,
        name=user.name,
        email=user.email,
    )


async def _caller(request: Request, services: Services) -> Caller | None:
    """A header counts before a cookie; and a cookie that holds anything but a session is nothing."""
    scheme, _, bearer = request.headers.get("authorization", "").partition(" ")
    if scheme.lower() != "bearer":
        secret = secret_in(request)
        caller = await services.accounts.by_secret(secret) if secret else None
        return caller if caller and caller.session_id else None
    token = bearer.strip()
    if token.startswith(KEY_PREFIX):
        return await services.accounts.by_secret(token)
    if services.settings.auth == "token" and (name := owner_of_token(services.settings, token)):
        return await services.accounts.by_name(name)
    if services.settings.auth == "oidc":  # an access token of the issuer's
        bearer = await request.app.state.issuer.bearer(token)
        return await services.accounts.by_identity(bearer.identity, ends_at=bearer.ends_at)
    return None


def _admits_page(caller: Caller, request: Request) -> bool:
    """A page of another site that this API key is for, on the compatible API. The answer then says so (`Edge`)."""
    origin = request.headers.get("origin")
    if origin is None or origin not in caller.origins or not request.scope["path"].startswith("/v1/"):
        return False
    request.state.allowed_origin = origin
    return True


def _refuse_beyond(caller: Caller, request: Request) -> None:
    """Raises Forbidden."""
    path = request.scope["route"].path
    if (path == ADMIN or path.startswith(f"{ADMIN}/")) and "admin" not in caller.scopes:
        raise Forbidden("This is for admins, by a session or a key with the scope `admin`.")
    if request.method in ("GET", "HEAD"):
        if not caller.scopes & {"read", "chat"}:
            raise Forbidden("This key may not read; it lacks the scope `read`.")
        return
    if "chat" not in caller.scopes:
        raise Forbidden("This key may only read; it lacks the scope `chat`.")
    if caller.user.role == "viewer" and (request.method, path) not in ONES_OWN:
        raise Forbidden("You may read here, and not write; ask an admin to make you a member.")


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
    scheme, _, name = (origin or "").partition("://")
    if name in own and not (scheme == "http" and is_tls(request)):  # a page without TLS is anybody's on the way
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
