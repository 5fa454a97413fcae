"""The caller: who they are here, what they have set for themselves, and the end of it all."""

from typing import Any, Literal

import msgspec
from fastapi import APIRouter, Request, Response

from functions.api.auth import CurrentPrincipal, CurrentServices
from functions.api.chats import as_json
from functions.api.cookies import drop_secret
from functions.api.fields import Body, SystemPrompt
from functions.api.limits import limits_of, pause_of
from functions.chat.messages import utc_now
from functions.errors import BadInput

router = APIRouter(tags=["me"])


class ProfileChanges(Body):
    custom_instructions: SystemPrompt | None = None
    memory: bool | None = None


class Farewell(Body):
    confirm: Literal["delete everything"]


@router.get("/me")
async def get_me(who: CurrentPrincipal, services: CurrentServices) -> Response:
    profile, settings = await services.store.get_profile(who.owner), services.settings
    return as_json(
        {
            "id": who.owner,
            "name": who.name,
            "email": who.email,
            "role": who.role,
            "scopes": sorted(who.scopes),
            "group": who.group,
            "auth": settings.auth,
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
async def delete_me(body: Farewell, who: CurrentPrincipal, services: CurrentServices, request: Request) -> Response:
    """Everything of the caller, for good. The receipt says how much that was, by kind."""
    await services.accounts.step_down(who.owner)
    receipt = await services.retention.forget_owner(who.owner)
    services.accounts.forgotten(who.owner)
    response = as_json(receipt)
    drop_secret(request, response)
    return response
