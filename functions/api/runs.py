"""The native API for runs: state, events by cursor, stop."""

from typing import Annotated

from fastapi import APIRouter, Header, Path, Query, Response

from functions.api.auth import CurrentPrincipal, CurrentServices
from functions.api.chats import as_json
from functions.api.fields import Id
from functions.api.sse import EventStream
from functions.chat.messages import Run
from functions.errors import BadInput

router = APIRouter(tags=["runs"])
RunId = Annotated[Id, Path()]
PUBLIC_FIELDS = (
    "id", "chat_id", "user_message_id", "assistant_message_id", "model", "status", "created_at", "ended_at",
    "last_seq", "stop_requested", "finish_reason", "usage", "timings", "cost", "verdicts", "citations", "error",
)  # fmt: skip


def _public(run: Run) -> Response:
    """What its owner may know of a run; leases and workers are the house's business."""
    shown = {name: getattr(run, name) for name in PUBLIC_FIELDS}
    return as_json(shown | {"attempts": run.epoch})


@router.get("/runs/{run_id}")
async def get_run(run_id: RunId, who: CurrentPrincipal, services: CurrentServices) -> Response:
    return _public(await services.store.get_run(who.owner, run_id))


@router.get("/runs/{run_id}/events", response_model=None)
async def follow_run(
    run_id: RunId,
    who: CurrentPrincipal,
    services: CurrentServices,
    cursor: Annotated[str | None, Header(alias="Last-Event-ID", max_length=20)] = None,
    last_event_id: Annotated[str | None, Query(max_length=20)] = None,
) -> Response:
    """The events after the cursor (header first, then query), then live, then the end."""
    after = _cursor(cursor or last_event_id or "0")
    return EventStream(await services.runs.follow(who.owner, run_id, after), headers={"x-run-id": run_id})


def _cursor(text: str) -> int:
    if not (text.isascii() and text.isdigit()):
        raise BadInput(
            "The cursor must be the number of the last event you received.", code="bad_cursor", param="last_event_id"
        )
    return int(text)


@router.delete("/runs/{run_id}")
async def stop_run(run_id: RunId, who: CurrentPrincipal, services: CurrentServices) -> Response:
    """Stop; the partial answer is kept as `stopped`. A run that has ended is left as it is."""
    return _public(await services.runs.stop(who.owner, run_id))
