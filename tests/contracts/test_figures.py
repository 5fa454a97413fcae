"""The house's daily figures: counts by day and rail, of everybody together."""

import asyncio
from datetime import UTC, datetime, timedelta

from functions.chat.messages import VerdictCount
from tests.contracts.makers import Store

TODAY = datetime.now(UTC).date()


def a_count(days_ago: int, rail: str, count: int, **changes: str) -> VerdictCount:
    day = (TODAY - timedelta(days=days_ago)).isoformat()
    fields = {"stage": "input", "action": "blocked"} | changes
    return VerdictCount(day=day, rail=rail, count=count, **fields)  # type: ignore[arg-type]


async def test_counts_of_a_day_add_up_from_everywhere_and_days_are_read_from_one_to_the_other(
    store: Store, owner: str
) -> None:
    rail = f"{owner}#odd rail"  # tests of one session share the tables
    other = f"{owner}.pii"
    await asyncio.gather(*(store.count_verdicts([a_count(0, rail, 2), a_count(40, other, 1)]) for _ in range(8)))
    await store.count_verdicts([a_count(0, rail, 1, action="flagged"), a_count(0, rail, 1, stage="output")])
    await store.count_verdicts([])

    async def read(first: int, last: int) -> list[VerdictCount]:
        days = [(TODAY - timedelta(days=ago)).isoformat() for ago in (first, last)]
        found = await store.read_verdicts(from_day=days[0], to_day=days[1])
        return [one for one in found if one.rail.startswith(owner)]

    of_today = [
        a_count(0, rail, 16),
        a_count(0, rail, 1, action="flagged"),
        a_count(0, rail, 1, stage="output"),
    ]
    assert await read(0, 0) == of_today
    assert await read(40, 0) == [a_count(40, other, 8), *of_today]
    assert await read(40, 1) == [a_count(40, other, 8)]
    assert await read(39, 1) == []
