"""Limits: what is left for a caller, in headers and at `/me`; what an admin sets; and the pause."""

from typing import Annotated, Any

import msgspec
from fastapi import APIRouter, Path, Response
from pydantic import Field

from functions.api.auth import CurrentPrincipal, CurrentServices, Principal
from functions.api.callers import asker_of
from functions.api.chats import as_json
from functions.api.fields import Body
from functions.chat.allowances import BUDGETS, HOUSE, LIMITS, HouseRules, Limits
from functions.chat.messages import utc_now
from functions.chat.quotas import Standing
from functions.errors import BadInput
from functions.services import Services

router = APIRouter(tags=["limits"])
GROUPS_MAX = 200
Name = Annotated[str, Path(min_length=1, max_length=64)]
UserId = Annotated[str, Path(min_length=1, max_length=255)]
Count = Annotated[int, Field(ge=0, le=10**12)]
Amount = Annotated[float, Field(ge=0, le=10**9, allow_inf_nan=False)]


class LimitChanges(Body):
    """All of them at once: a field that is null, or not there, is inherited; 0 is no limit."""

    runs_per_minute: Annotated[int, Field(ge=0, le=60_000)] | None = None
    runs_at_once: Count | None = None
    tokens_per_day: Count | None = None
    gpu_seconds_per_day: Amount | None = None
    usd_per_day: Amount | None = None
    usd_per_month: Amount | None = None


class Pause(Body):
    reason: Annotated[str, Field(max_length=300)] | None = None


# -- what is left --------------------------------------------------------------------------------------------------


async def limits_of(services: Services, who: Principal) -> dict[str, Any]:
    """Every limit by its name; None where there is none."""
    asker = asker_of(who)
    rate, standing = await services.quotas.rate_of(asker), await services.quotas.standing(asker)
    found: dict[str, Any] = dict.fromkeys(LIMITS)
    found["runs_per_minute"] = rate
    if (runs := standing.get("runs_at_once")) is not None:
        found["runs_at_once"] = {"limit": runs.limit, "remaining": runs.remaining}
    return found | {name: _budget(standing[name]) for name in BUDGETS if name in standing}


def _budget(standing: Standing) -> dict[str, Any]:
    known = msgspec.structs.asdict(standing)
    return known | {"from": known.pop("source")}


async def pause_of(services: Services) -> dict[str, Any] | None:
    rules = await services.quotas.house.rules()
    return {"at": rules.paused_at, "reason": rules.reason} if rules.paused_at else None


# -- what an admin sets --------------------------------------------------------------------------------------------


@router.get("/admin/limits")
async def get_limits(who: CurrentPrincipal, services: CurrentServices) -> Response:
    """`used` is counted from when a limit was first set: what nobody limits nobody counts."""
    return as_json(await _overview(services))


@router.put("/admin/limits/house")
async def limit_house(body: LimitChanges, who: CurrentPrincipal, services: CurrentServices) -> Response:
    """What all users together may do."""
    limits = _limits(body)
    await services.quotas.house.change(lambda rules: msgspec.structs.replace(rules, limits=limits))
    return as_json(await _overview(services))


@router.put("/admin/limits/groups/{name}")
async def limit_group(name: Name, body: LimitChanges, who: CurrentPrincipal, services: CurrentServices) -> Response:
    """What each member of this group may do. All null: the group is forgotten."""
    limits = _limits(body)

    def change(rules: HouseRules) -> HouseRules:
        groups = {known: of for known, of in rules.groups.items() if known != name}
        if limits != Limits():
            groups[name] = limits
        if len(groups) > GROUPS_MAX:
            raise BadInput(f"There is room for {GROUPS_MAX} groups.", code="too_many")
        return msgspec.structs.replace(rules, groups=groups)

    await services.quotas.house.change(change)
    return as_json(await _overview(services))


@router.put("/admin/limits/users/{user_id}")
async def limit_user(user_id: UserId, body: LimitChanges, who: CurrentPrincipal, services: CurrentServices) -> Response:
    """What this user may do, whatever the group and the settings say."""
    limits = _limits(body)
    await services.quotas.house.set_own(user_id, limits if limits != Limits() else None)
    return as_json(await _overview(services))


async def _overview(services: Services) -> dict[str, Any]:
    quotas = services.quotas
    rules = await services.store.get_rules()
    users = [await _one_user(services, owner, limits) for owner, limits in await services.store.list_limits()]
    groups = [{"name": name, "limits": limits} for name, limits in sorted(rules.groups.items())]
    house = {"limits": rules.limits, "used": await _used(services, HOUSE, rules.limits)}
    return {"defaults": quotas.defaults, "house": house, "groups": groups, "users": users}


async def _one_user(services: Services, owner: str, limits: Limits) -> dict[str, Any]:
    """Limits may be set before their user is seen for the first time: then there is only the id."""
    user = await services.store.get_user(owner)
    known = {"id": owner, "name": user.name if user else None, "email": user.email if user else None}
    return known | {"limits": limits, "used": await _used(services, owner, limits)}


async def _used(services: Services, account: str, limits: Limits) -> dict[str, Any]:
    return {
        name: {"used": there.used, "reserved": there.reserved, "resets_at": there.resets_at}
        for name, there in (await services.quotas.used(account, limits)).items()
    }


def _limits(body: LimitChanges) -> Limits:
    return Limits(**body.model_dump())


# -- the pause -----------------------------------------------------------------------------------------------------


@router.get("/admin/pause")
async def get_pause(who: CurrentPrincipal, services: CurrentServices) -> Response:
    return as_json({"paused": await pause_of(services)})


@router.put("/admin/pause")
async def pause(body: Pause, who: CurrentPrincipal, services: CurrentServices) -> Response:
    """Nobody begins anything new; what goes on goes on. Other processes know within seconds."""
    reason, now = (body.reason or "").strip() or None, utc_now()
    await services.quotas.house.change(lambda rules: msgspec.structs.replace(rules, paused_at=now, reason=reason))
    return await get_pause(who, services)


@router.delete("/admin/pause")
async def resume(who: CurrentPrincipal, services: CurrentServices) -> Response:
    await services.quotas.house.change(lambda rules: msgspec.structs.replace(rules, paused_at=None, reason=None))
    return await get_pause(who, services)
