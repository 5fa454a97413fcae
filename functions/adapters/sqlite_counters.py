"""Rates and totals as SQL: read, decide, write, under the writer's lock, so they are exact under any race."""

import sqlite3
import time
from datetime import datetime

from functions.adapters import rules


def admit(db: sqlite3.Connection, owner: str, key: str, *, interval_ms: int, burst: int, now_ms: int) -> int:
    row = db.execute("SELECT arrival_ms FROM rates WHERE owner = ? AND key = ?", (owner, key)).fetchone()
    wait, arrival = rules.gcra(row[0] if row else 0, interval_ms=interval_ms, burst=burst, now_ms=now_ms)
    if wait == 0:
        db.execute("INSERT OR REPLACE INTO rates (owner, key, arrival_ms) VALUES (?, ?, ?)", (owner, key, arrival))
    return wait


def add(
    db: sqlite3.Connection, owner: str, key: str, amount: int, *, limit: int | None, expires: datetime | None
) -> int | None:
    now_ms = time.time_ns() // 1_000_000
    db.execute("DELETE FROM totals WHERE expires_ms > 0 AND expires_ms <= ?", (now_ms,))
    row = db.execute("SELECT total, expires_ms FROM totals WHERE owner = ? AND key = ?", (owner, key)).fetchone()
    if row is None:
        row = (0, rules.milliseconds(expires) if expires else 0)
    total: int = row[0] + amount
    if amount > 0 and limit is not None and total > limit:
        return None
    db.execute(
        "INSERT OR REPLACE INTO totals (owner, key, total, expires_ms) VALUES (?, ?, ?, ?)", (owner, key, total, row[1])
    )
    return total


def look(db: sqlite3.Connection, owner: str, key: str) -> int:
    row = db.execute("SELECT arrival_ms FROM rates WHERE owner = ? AND key = ?", (owner, key)).fetchone()
    return row[0] if row else 0
