"""The house's daily figures in DynamoDB: a partition for a month, an item for a day and what was counted.

An addition that was made and whose answer was lost is made twice: these are figures, not a budget.
"""

from collections.abc import Sequence
from datetime import UTC, date, datetime, timedelta

from functions.adapters import rules
from functions.adapters.dynamo_calls import ask
from functions.adapters.dynamo_models import Tables
from functions.chat.messages import VerdictCount


def _month_pk(month: str) -> str:
    return f"V#{month}"


def count_verdicts(t: Tables, counts: Sequence[VerdictCount]) -> None:
    for one in counts:
        # The rail comes last: its name is the operator's, and may have any sign in it.
        item = t.counters(_month_pk(one.day[:7]), "#".join((one.day, one.stage, one.action, one.rail)))
        ends = datetime.fromisoformat(one.day).replace(tzinfo=UTC) + timedelta(milliseconds=rules.USE_KEPT_MS)
        actions = [t.counters.total.add(one.count), t.counters.expires.set(ends)]
        ask(lambda item=item, actions=actions: item.update(actions))  # type: ignore[misc]


def months(from_day: str, to_day: str) -> list[str]:
    """Those that the days from one to the other, both meant, are in."""
    day, last = date.fromisoformat(from_day).replace(day=1), date.fromisoformat(to_day)
    found = []
    while day <= last:
        found.append(day.isoformat()[:7])
        day = (day + timedelta(days=32)).replace(day=1)
    return found


def read_month(t: Tables, month: str, *, from_day: str, to_day: str) -> list[VerdictCount]:
    asked = t.counters.sk.between(from_day, f"{to_day}$")  # "$" comes after "#"
    rows = ask(lambda: list(t.counters.query(_month_pk(month), asked, consistent_read=True)))
    return [_read(row.sk, row.total or 0) for row in rows]


def _read(sk: str, total: int) -> VerdictCount:
    day, stage, action, rail = sk.split("#", 3)
    return VerdictCount(day=day, stage=stage, rail=rail, action=action, count=total)  # type: ignore[arg-type]  # ours


def by_day(one: VerdictCount) -> tuple[str, str, str, str]:
    return one.day, one.stage, one.rail, one.action
