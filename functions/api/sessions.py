"""Signing in from a browser, and out again: by a token, by an invitation's link; and where else one is signed in.

A session is opened here for whoever has shown who they are; `open_session` is also where an issuer's sign-in ends.
"""

import asyncio
import re
from typing import Annotated, Any

from fastapi import APIRouter, Path, Request, Response

from functions.api.auth import CurrentPrincipal, CurrentServices, owner_of_token, refuse_foreign_pages, services_of
from functions.api.callers import StrangersLimited
from functions.api.chats import as_json
from functions.api.cookies import drop_secret, keep_secret, secret_in
from functions.api.fields import Body, Id, ShortText
from functions.api.issuer import logout_url
from functions.chat.accounts import ALL_SCOPES, KEY_PREFIX, Caller
from functions.chat.principals import Session, User
from functions.errors import Unauthorized
from functions.services import Services

GUESS_SECONDS = 0.5  # guessing must not be cheap
_BROWSERS = ("Edg", "OPR", "Firefox", "Chrome", "Safari")  # the first that is named: each also says the later ones
_SYSTEMS = (("iPhone", "iPhone"), ("iPad", "iPad"), ("Android", "Android"), ("Windows", "Windows"))
_OTHERS = (("Mac OS", "macOS"), ("CrOS", "ChromeOS"), ("Linux", "Linux"))
_SHOWN = {"Edg": "Edge", "OPR": "Opera"}

router = APIRouter(tags=["me"])


class Secret(Body):
    token: ShortText


def agent_of(user_agent: str) -> str:
    """Browser and system, in our own few words: "Firefox, Linux"."""
    browser = next((name for name in _BROWSERS if re.search(rf"\b{name}\w*/", user_agent)), "")
    system = next((shown for name, shown in (*_SYSTEMS, *_OTHERS) if name in user_agent), "")
    return ", ".join(filter(None, (_SHOWN.get(browser, browser), system))) or "another program"


async def open_session(request: Request, response: Response, user: User, *, key_id: str | None = None) -> None:
    """Sign this browser in: the session into the store, its secret into the response's cookie. `key_id`: by which."""
    agent = agent_of(request.headers.get("user-agent", ""))
    secret, _ = await services_of(request).accounts.open_session(user.id, agent=agent, key_id=key_id)
    keep_secret(request, response, secret)


@router.post("/session", dependencies=[StrangersLimited], status_code=204)
async def sign_in(body: Secret, request: Request, services: CurrentServices) -> Response:
    """With an access token, or an API key that may do all that its user may, without bounds of its own: a session
    can. It ends with that key."""
    refuse_foreign_pages(request)
    caller = await _caller_by(services, body.token)
    if caller is None:
        await asyncio.sleep(GUESS_SECONDS)
        raise Unauthorized("This does not open anything here.")
    response = Response(status_code=204)
    await open_session(request, response, caller.user, key_id=caller.key_id)
    return response


async def _caller_by(services: Services, token: str) -> Caller | None:
    if services.settings.auth != "token":
        return None
    if not token.startswith(KEY_PREFIX):
        name = owner_of_token(services.settings, token)
        return await services.accounts.by_name(name) if name else None
    caller = await services.accounts.by_secret(token)
    if caller is None or caller.is_bounded:
        return None
    whole = ALL_SCOPES if caller.user.role == "admin" else ALL_SCOPES - {"admin"}
    return caller if caller.scopes >= whole else None


@router.post("/join", dependencies=[StrangersLimited])
async def join(body: Secret, request: Request, services: CurrentServices) -> Response:
    """The link of an invitation becomes a user, once, signed in here. `key` signs them in elsewhere; it is in this
    answer only."""
    refuse_foreign_pages(request)
    user = await services.accounts.join(body.token)
    scopes = ALL_SCOPES if user.role == "admin" else ALL_SCOPES - {"admin"}
    key, _ = await services.accounts.make_key(user.id, "Sign-in", scopes=sorted(scopes))
    response = as_json({"id": user.id, "key": key})
    await open_session(request, response, user)
    return response


@router.delete("/session", status_code=204)
async def sign_out(request: Request, services: CurrentServices) -> Response:
    """Ends the session in the store too: a copy of the cookie opens nothing any more. `logout_url`: where the
    browser ends the issuer's own session, where people sign in through one."""
    refuse_foreign_pages(request)
    secret = secret_in(request)
    caller = await services.accounts.by_secret(secret) if secret else None
    if caller is not None and caller.session_id is not None:
        await services.accounts.end_session(caller.user.id, caller.session_id)
    is_oidc = services.settings.auth == "oidc"
    response = as_json({"logout_url": await logout_url(request)}) if is_oidc else Response(status_code=204)
    drop_secret(request, response)
    return response


def _as_session(session: Session, current: str | None) -> dict[str, Any]:
    names = ("id", "created_at", "last_seen_at", "expires_at", "agent")
    return {name: getattr(session, name) for name in names} | {"current": session.id == current}


@router.get("/sessions")
async def list_sessions(who: CurrentPrincipal, services: CurrentServices) -> Response:
    """Where the caller is signed in, the newest first."""
    sessions = await services.accounts.list_sessions(who.owner)
    return as_json([_as_session(session, who.session_id) for session in sessions])


@router.delete("/sessions")
async def end_other_sessions(who: CurrentPrincipal, services: CurrentServices) -> Response:
    """All but the one that asks."""
    return as_json({"ended": await services.accounts.end_sessions(who.owner, but=who.session_id)})


@router.delete("/sessions/{session_id}", status_code=204)
async def end_session(session_id: Annotated[Id, Path()], who: CurrentPrincipal, services: CurrentServices) -> Response:
    await services.accounts.end_session(who.owner, session_id)
    return Response(status_code=204)
