"""The house's daily figures as SQL: one row for a day and what was counted."""

import sqlite3
from collections.abc import Sequence

from functions.chat.messages import VerdictCount


def count_verdicts(db: sqlite3.Connection, counts: Sequence[VerdictCount]) -> None:
    db.executemany(
        "INSERT INTO verdict_counts (day, stage, rail, action, count) VALUES (?, ?, ?, ?, ?) "
        "ON CONFLICT (day, stage, rail, action) DO UPDATE SET count = count + excluded.count",
        [(one.day, one.stage, one.rail, one.action, one.count) for one in counts],
    )


def read_verdicts(db: sqlite3.Connection, *, from_day: str, to_day: str) -> tuple[VerdictCount, ...]:
    rows = db.execute(
        "SELECT day, stage, rail, action, count FROM verdict_counts WHERE day BETWEEN ? AND ? "
        "ORDER BY day, stage, rail, action",
        (from_day, to_day),
    )
    return tuple(VerdictCount(day=d, stage=s, rail=r, action=a, count=n) for d, s, r, a, n in rows)
