"""The caller: profile, and signing in from the browser."""

import asyncio
from typing import Any, Literal

import msgspec
from fastapi import APIRouter, Request, Response

from functions.api.auth import (
    COOKIE,
    COOKIE_SECONDS,
    CurrentPrincipal,
    CurrentServices,
    owner_of_token,
    refuse_foreign_pages,
)
from functions.api.callers import StrangersLimited
from functions.api.chats import as_json
from functions.api.fields import Body, ShortText, SystemPrompt
from functions.api.limits import limits_of, pause_of
from functions.chat.messages import utc_now
from functions.errors import BadInput, Unauthorized

router = APIRouter(tags=["me"])


class ProfileChanges(Body):
    custom_instructions: SystemPrompt | None = None
    memory: bool | None = None


class Farewell(Body):
    confirm: Literal["delete everything"]


class SignIn(Body):
    token: ShortText


@router.get("/me")
async def get_me(who: CurrentPrincipal, services: CurrentServices) -> Response:
    profile, settings = await services.store.get_profile(who.owner), services.settings
    return as_json(
        {
            "id": who.owner,
            "custom_instructions": profile.custom_instructions,
            "memory": profile.memory and settings.memory,
            "limits": await limits_of(services, who),
            "paused": await pause_of(services),
        }
    )


@router.patch("/me")
async def change_me(body: ProfileChanges, who: CurrentPrincipal, services: CurrentServices) -> Response:
    if body.memory and not services.settings.memory:
        raise BadInput("Whoever runs this Parley has switched memory off.", param="memory")
    changes: dict[str, Any] = {} if body.memory is None else {"memory": body.memory}  # Profile's own fields
    if body.memory:
        changes["memory_since"] = utc_now()  # what was said while it was off stays unremembered
    if body.custom_instructions is not None:
        changes["custom_instructions"] = await services.turns.admit(body.custom_instructions, "custom_instructions")
    if changes:
        profile = await services.store.get_profile(who.owner)
        await services.store.put_profile(who.owner, msgspec.structs.replace(profile, **changes))
    return await get_me(who, services)


@router.delete("/me")
async def delete_me(body: Farewell, who: CurrentPrincipal, services: CurrentServices) -> Response:
    """Everything of the caller, for good. The receipt says how much that was, by kind."""
    response = as_json(await services.retention.forget_owner(who.owner))
    response.delete_cookie(COOKIE, httponly=True, samesite="strict")
    return response


@router.post("/session", dependencies=[StrangersLimited], status_code=204)
async def sign_in(body: SignIn, request: Request, services: CurrentServices) -> Response:
    """Keep the token in a cookie that no script can read."""
    refuse_foreign_pages(request)
    if owner_of_token(services.settings, body.token) is None:
        await asyncio.sleep(0.5)  # guessing must not be cheap
        raise Unauthorized("This access token is not known here.")
    response = Response(status_code=204)
    is_tls = request.url.scheme == "https" or request.headers.get("x-forwarded-proto") == "https"
    response.set_cookie(COOKIE, body.token, max_age=COOKIE_SECONDS, httponly=True, samesite="strict", secure=is_tls)
    return response


@router.delete("/session", status_code=204)
async def sign_out(request: Request) -> Response:
    refuse_foreign_pages(request)
    response = Response(status_code=204)
    response.delete_cookie(COOKIE, httponly=True, samesite="strict")
    return response
