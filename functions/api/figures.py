"""What the operator reads of the whole house: metrics for a scraper, what guardrails did by day, and the model servers.
Nothing in here names a user or says what anybody wrote."""

import asyncio
import hmac
import time
from collections.abc import Mapping
from datetime import UTC, date, datetime, timedelta
from typing import Annotated, Any

from fastapi import APIRouter, Query, Request, Response

from functions import metering
from functions.api.auth import CurrentPrincipal, CurrentServices, current_principal
from functions.api.chats import as_json
from functions.errors import BadInput, Forbidden, NotFound
from functions.inference.billing import spent_by_node
from functions.inference.nodes import Node
from functions.inference.pricing import DAY_MS, Spent
from functions.services import Services
from functions.settings import Settings
from functions.telemetry import observe

router = APIRouter(tags=["admin"])
DAYS = 30  # when nothing is said
DAYS_MAX = 366


@router.get("/metrics", responses={200: {"content": {"text/plain": {}}}}, response_class=Response)
async def metrics(request: Request, services: CurrentServices) -> Response:
    """Prometheus' text format. For admins, and for whoever has the key of the setting `metrics_key`."""
    if not _has_key(services.settings, request.headers):
        principal = await current_principal(request)
        if "admin" not in principal.scopes:
            raise Forbidden("This is for admins, and for who has the key of the setting metrics_key.")
    held = metering.scraped() if services.settings.metrics == "prometheus" else None
    if held is None:
        raise NotFound("Metrics are not held here; PARLEY_METRICS says where they go.")
    _look_around(services)
    text, kind = await asyncio.to_thread(held.exposition)  # it looks at the process, too
    return Response(text, media_type=kind)


@router.get("/admin/verdicts")
async def verdicts(
    who: CurrentPrincipal,
    services: CurrentServices,
    from_: Annotated[str | None, Query(alias="from", max_length=64)] = None,
    to: Annotated[str | None, Query(max_length=64)] = None,
) -> Response:
    """How often each rail did what, by day (UTC), in the whole house. `from` and `to` are dates, both are meant;
    without them, the last 30 days."""
    last = _day(to, "to") if to else datetime.now(UTC).date()
    first = _day(from_, "from") if from_ else last - timedelta(days=min(DAYS - 1, (last - date.min).days))
    if first > last:
        raise BadInput("`from` must not be after `to`.", param="from")
    if last - first >= timedelta(days=DAYS_MAX):
        raise BadInput(f"Figures cover {DAYS_MAX} days at most; ask for a part of it.", param="from")
    counts = await services.figures.read(from_day=first.isoformat(), to_day=last.isoformat())
    return as_json({"data": counts, "total": sum(one.count for one in counts)})


@router.get("/admin/nodes")
async def nodes(who: CurrentPrincipal, services: CurrentServices) -> Response:
    """Every model server: what it serves, how awake it is, and what it has cost since midnight UTC. Wakes none."""
    now_ms = time.time_ns() // 1_000_000
    today_ms = now_ms // DAY_MS * DAY_MS
    spent = await spent_by_node(services.store, from_ms=today_ms, to_ms=now_ms, now_ms=now_ms)
    listed = [_as_row(node, spent.get(node.name, Spent())) for node in services.gateway.nodes]
    return as_json({"data": listed, "since": datetime.fromtimestamp(today_ms / 1000, UTC)})


def _as_row(node: Node, today: Spent) -> dict[str, Any]:
    p50_ms, p90_ms = node.eta_ms()
    return {
        "name": node.name,
        "models": [model.id for model in node.models],
        "state": node.state,
        "since_ms": node.since_ms,
        "eta_p50_ms": p50_ms,
        "eta_p90_ms": p90_ms,
        "serverless": node.serverless,
        "gpu": node.gpu,
        "usd_per_hour": round(node.usd_per_second * 3600, 6),
        "today": {name: getattr(today, name) for name in ("runs", "gpu_seconds", "cost_usd", "is_estimate")},
    }


def _has_key(settings: Settings, headers: Mapping[str, str]) -> bool:
    scheme, _, bearer = headers.get("authorization", "").partition(" ")
    given, key = bearer.strip().encode(), settings.metrics_key.encode()
    return bool(key) and scheme.lower() == "bearer" and hmac.compare_digest(given, key)


def _look_around(services: Services) -> None:
    """What is a state and no event is looked at when somebody asks."""
    observe("parley_live_runs", services.runs.live_count)
    states = [node.state for node in services.gateway.nodes]
    for state in ("cold", "warming", "warm", "unreachable"):
        observe("parley_nodes", states.count(state), state=state)


def _day(text: str, param: str) -> date:
    try:
        return date.fromisoformat(text)
    except ValueError:
        raise BadInput(f"`{param}` must be a date, e.g. 2026-11-01.", param=param) from None
