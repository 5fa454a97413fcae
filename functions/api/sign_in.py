"""Signing in through an issuer: the authorization code comes here, not to a script (decision 0013).

Between the two requests of a login the browser keeps a signed cookie with what only we may know: `state` (that the
answer is for this browser), `nonce` (that the token is for this login), the PKCE verifier (that the code is), and where
to go in the end.
"""

import base64
import hashlib
import hmac
import re
import secrets
import time
from typing import Any

import msgspec
from fastapi import APIRouter, Request
from fastapi.responses import RedirectResponse, Response

from functions.api.auth import CurrentServices
from functions.api.callers import StrangersLimited
from functions.api.chats import as_json
from functions.api.cookies import is_tls
from functions.api.issuer import issuer_of, own_origin
from functions.api.sessions import open_session
from functions.errors import Forbidden, IssuerUnavailable, Unauthorized
from functions.services import Services
from functions.telemetry import log

LOGIN_SECONDS = 600  # to find one's password
CALLBACK = "/auth/callback"
CODE_CHARS = 4096
COOKIE = "parley_login"
_OWN_PAGE = re.compile(r"/(?:#/[A-Za-z0-9._~/?=&-]{0,300})?", re.ASCII)

router = APIRouter(tags=["me"])


class Login(msgspec.Struct, frozen=True, kw_only=True):
    """One that has begun. `ends_at`: Unix seconds."""

    state: str
    nonce: str
    verifier: str
    redirect_uri: str
    to: str
    ends_at: float


@router.get("/sign-in")
async def ways_in(services: CurrentServices) -> Response:
    """How people sign in here."""
    auth = services.settings.auth
    return as_json({"auth": auth, "login_url": "/auth/login" if auth == "oidc" else None})


@router.get("/auth/login", dependencies=[StrangersLimited], status_code=302)
async def begin(request: Request, services: CurrentServices, to: str = "/") -> Response:
    """To the issuer. `to`: a page of ours, to be shown afterwards; anything else is the first page."""
    issuer = issuer_of(request)
    login = Login(
        state=secrets.token_urlsafe(32),
        nonce=secrets.token_urlsafe(32),
        verifier=secrets.token_urlsafe(48),
        redirect_uri=own_origin(request) + CALLBACK,
        to=to if _OWN_PAGE.fullmatch(to) else "/",
        ends_at=time.time() + LOGIN_SECONDS,
    )
    challenge = base64.urlsafe_b64encode(hashlib.sha256(login.verifier.encode()).digest()).rstrip(b"=").decode()
    try:
        url = await issuer.login_url(
            redirect_uri=login.redirect_uri, state=login.state, nonce=login.nonce, challenge=challenge
        )
    except IssuerUnavailable:
        return refusal("failed")
    response = RedirectResponse(url, 302)
    sealed = _sealed(login, services.secret_key)
    response.set_cookie(_cookie(request), sealed, max_age=LOGIN_SECONDS, **_cookie_for(request))
    return response


@router.get(CALLBACK, dependencies=[StrangersLimited], status_code=302)
async def finish(
    request: Request, services: CurrentServices, code: str = "", state: str = "", iss: str | None = None
) -> Response:
    """From the issuer. Whoever is not let in lands on a page that says why."""
    issuer_of(request)  # 404 where there is none
    login = _opened(request.cookies.get(_cookie(request), ""), services.secret_key)
    if login is None or not hmac.compare_digest(state.encode(), login.state.encode()):
        response = refusal("failed")  # not this browser's login, or too late
    else:
        response = await _let_in(request, services, login, code, iss)
    response.delete_cookie(_cookie(request), **_cookie_for(request))  # used once, however it ended
    return response


async def _let_in(request: Request, services: Services, login: Login, code: str, iss: str | None) -> Response:
    issuer = issuer_of(request)
    try:
        if not 0 < len(code) <= CODE_CHARS or not await issuer.is_from_here(iss):
            return refusal("failed")
        token = await issuer.exchange(code, verifier=login.verifier, redirect_uri=login.redirect_uri)
        user = await services.accounts.sign_in(await issuer.sign_in(token, login.nonce))
    except Forbidden as refused:
        return refusal(refused.code)
    except (Unauthorized, IssuerUnavailable) as fault:
        log("sign_in.failed", why=fault.code)
        return refusal("failed")
    response = RedirectResponse(login.to, 302)
    await open_session(request, response, user)
    return response


def refusal(why: str) -> Response:
    return RedirectResponse(f"/#/refused?why={why if why in ('not_invited', 'suspended') else 'failed'}", 302)


# -- the cookie of a login -----------------------------------------------------------------------------------------


def _cookie(request: Request) -> str:
    return f"__Host-{COOKIE}" if is_tls(request) else COOKIE


def _cookie_for(request: Request) -> dict[str, Any]:  # Starlette's own words
    return {"path": "/", "httponly": True, "samesite": "lax", "secure": is_tls(request)}


def _sealed(login: Login, key: bytes) -> str:
    body = base64.urlsafe_b64encode(msgspec.json.encode(login)).decode()
    return f"{body}.{_signature(body, key)}"


def _opened(text: str, key: bytes) -> Login | None:
    body, _, signature = text.partition(".")
    if not hmac.compare_digest(signature.encode(), _signature(body, key).encode()):
        return None
    try:
        login = msgspec.json.decode(base64.urlsafe_b64decode(body), type=Login)
    except (ValueError, msgspec.DecodeError):
        return None
    return login if time.time() < login.ends_at else None


def _signature(body: str, key: bytes) -> str:
    return hmac.new(key, b"login:" + body.encode("utf-8", "surrogateescape"), hashlib.sha256).hexdigest()
