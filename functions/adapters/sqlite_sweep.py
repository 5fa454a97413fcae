"""What a file forgets: the logs of old runs, rates nobody asks for, nodes that have gone, and a ledger past its life.

SQLite has no time to live. A sweep is a write like any other; it is made when a file is opened and then, while it is
written to, now and again. It comes in slices of `SLICE` runs, so that no other write waits long behind it.

Does not delete what ends by its own rule when somebody writes beside it: totals, and the keys of turns.
"""

import sqlite3

from functions.adapters import rules
from functions.chat.messages import new_id
from functions.settings import RUN_LOG_SECONDS

SWEEP_MS = 3600 * 1000  # between two sweeps of one process
SLICE = 50  # runs; some 10,000 events

_AGES = (
    # An arrival in the past counts as now, so such a rate is as good as none. The day is for clocks that differ.
    ("DELETE FROM rates WHERE arrival_ms < ?", rules.DAY_MS),
    ("DELETE FROM nodes WHERE expires_ms < ?", rules.DAY_MS),
    ("DELETE FROM sightings WHERE seen_ms < ?", rules.SIGHTING_KEPT_MS),
    ("DELETE FROM wakes WHERE at_ms < ?", rules.WAKE_KEPT_MS),
    ("DELETE FROM vectors WHERE expires_ms > 0 AND expires_ms < ?", 0),
    ("DELETE FROM uses WHERE asked_ms < ?", rules.USE_KEPT_MS),
    ("DELETE FROM erasures WHERE at_ms < ?", rules.ERASURE_KEPT_MS),
    ("DELETE FROM verdict_counts WHERE day < date(? / 1000, 'unixepoch')", rules.USE_KEPT_MS),
)

# From log to log through the index: neither the runs that have lost theirs cost anything, nor the events of those that
# stay.
OLD_LOGS = """
    WITH RECURSIVE logs (run) AS (
        SELECT min(run) FROM events
        UNION ALL
        SELECT (SELECT min(run) FROM events WHERE run > logs.run) FROM logs WHERE run IS NOT NULL)
    SELECT n, chat FROM logs JOIN runs ON n = logs.run
    WHERE id < :old AND status NOT IN ('queued', 'running') LIMIT :most"""


def sweep(db: sqlite3.Connection, *, now_ms: int) -> bool:
    """One slice. Gives whether there is more to forget."""
    for statement, age_ms in _AGES:
        db.execute(statement, (now_ms - age_ms,))
    return _forget_logs(db, now_ms)


def _forget_logs(db: sqlite3.Connection, now_ms: int) -> bool:
    """Of runs that ended long ago the events go, and runs that belong to no chat go whole. A run's id is a UUIDv7: it
    begins with the time."""
    old = new_id(now_ms - int(1000 * RUN_LOG_SECONDS))
    found = db.execute(OLD_LOGS, {"old": old, "most": SLICE}).fetchall()
    db.executemany("DELETE FROM events WHERE run = ?", [(run,) for run, _ in found])
    db.executemany("DELETE FROM runs WHERE n = ?", [(run,) for run, chat in found if chat is None])
    return len(found) == SLICE
