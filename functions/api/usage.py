"""What the caller has used and what it cost, from the ledger. The caller's own lines only: whom they shared a GPU with
decides what they owe, and is nobody else's business."""

import re
import time
from datetime import UTC, date, datetime, timedelta
from typing import Annotated

import msgspec
from fastapi import APIRouter, Query, Response

from functions.api.auth import CurrentPrincipal, CurrentServices
from functions.api.chats import as_json
from functions.errors import BadInput
from functions.inference.billing import read_bill
from functions.inference.pricing import PRICES_AS_OF, Row, total

router = APIRouter(tags=["me"])
DAYS = 30  # when nothing is said
DAYS_MAX = 366
A_DAY = re.compile(r"\d{4}-\d\d-\d\d\Z", re.ASCII)


@router.get("/usage")
async def usage(
    who: CurrentPrincipal,
    services: CurrentServices,
    from_: Annotated[str | None, Query(alias="from", max_length=64)] = None,
    to: Annotated[str | None, Query(max_length=64)] = None,
) -> Response:
    """Tokens, seconds of a GPU and money by day (UTC), model and chat. `from` and `to` are dates (both days are meant)
    or times with an offset (`to` is not included); without them, the last 30 days."""
    now_ms = time.time_ns() // 1_000_000
    now = datetime.fromtimestamp(now_ms / 1000, UTC)
    end = now if to is None else _moment(to, "to", is_end=True)
    begin = end - timedelta(days=DAYS) if from_ is None else _moment(from_, "from")
    if begin >= end:
        raise BadInput("`from` must be before `to`.", param="from")
    if end - begin > timedelta(days=DAYS_MAX):
        raise BadInput(f"A bill covers {DAYS_MAX} days at most; ask for a part of it.", param="from")
    rows = await read_bill(services.store, from_ms=_ms(begin), to_ms=_ms(end), now_ms=now_ms, owner=who.owner)
    everything = total(row.spent for row in rows).rounded()
    return as_json(
        {
            "from": begin,
            "to": end,
            "data": [_line(row) for row in rows],
            "total": everything,
            "prices_as_of": PRICES_AS_OF,
        }
    )


def _moment(text: str, param: str, *, is_end: bool = False) -> datetime:
    """A day is meant as a whole: as an end, it is over at the next midnight."""
    try:
        if A_DAY.match(text):
            day = date.fromisoformat(text)
            moment = datetime(day.year, day.month, day.day, tzinfo=UTC) + timedelta(days=int(is_end))
        else:
            moment = datetime.fromisoformat(text)
        if moment.tzinfo is None:
            raise ValueError
        moment = moment.astimezone(UTC)
    except (ValueError, OverflowError):
        message = f"`{param}` must be a date (2026-11-01) or a time with its offset (2026-11-01T09:00:00Z)."
        raise BadInput(message, param=param) from None
    if not 1970 <= moment.year < 9999:
        raise BadInput(f"`{param}` is not a time that anything was used at.", param=param)
    return moment


def _ms(moment: datetime) -> int:
    return round(moment.timestamp() * 1000)


def _line(row: Row) -> dict[str, object]:
    return {"day": row.day, "model": row.model, "chat_id": row.chat_id} | msgspec.structs.asdict(row.spent.rounded())
