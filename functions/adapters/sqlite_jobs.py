"""The job queue as SQL. `due_ms` is both when a job may be taken and until when a taken one is hidden."""

import os
import sqlite3

import msgspec

from functions.chat.messages import Job, Lane, QueuedJob, lane_of

NEXT = "SELECT id FROM jobs WHERE lane = ? AND due_ms <= ? ORDER BY due_ms, id LIMIT 1"
_TAKE = "UPDATE jobs SET due_ms = ?, attempts = attempts + 1, receipt = ? WHERE id = ({}) RETURNING id, attempts, data"
_TAKE_NEXT = _TAKE.format(NEXT)
_TAKE_THIS = _TAKE.format("SELECT id FROM jobs WHERE lane = ? AND due_ms <= ? AND id = ?")
_encode = msgspec.json.Encoder().encode
_decode = msgspec.json.Decoder(Job).decode


def put_job(db: sqlite3.Connection, job_id: str, job: Job, *, at_ms: int, gently: bool = False) -> None:
    """A replaced job starts afresh; who holds the old one holds a stale receipt."""
    db.execute(
        "INSERT INTO jobs (id, due_ms, attempts, receipt, data, lane) VALUES (:id, :at, 0, NULL, :data, :lane) "
        "ON CONFLICT (id) DO UPDATE SET due_ms = excluded.due_ms, attempts = 0, receipt = NULL, data = excluded.data, "
        "lane = excluded.lane WHERE NOT :gently OR "
        "jobs.lane <> 'failed' AND (jobs.due_ms <= :at OR jobs.receipt IS NULL AND jobs.attempts = 0)",
        {"id": job_id, "at": at_ms, "data": _encode(job), "lane": lane_of(job), "gently": gently},
    )


def is_any_due(db: sqlite3.Connection, now_ms: int, lane: Lane) -> bool:
    found = db.execute("SELECT 1 FROM jobs WHERE lane = ? AND due_ms <= ? LIMIT 1", (lane, now_ms)).fetchone()
    return found is not None


def take_job(
    db: sqlite3.Connection, *, now_ms: int, hidden_ms: int, lane: Lane, job_id: str | None = None
) -> QueuedJob | None:
    receipt = os.urandom(16).hex()
    hide_until = (now_ms + hidden_ms, receipt)
    if job_id is None:
        row = db.execute(_TAKE_NEXT, (*hide_until, lane, now_ms)).fetchone()
    else:
        row = db.execute(_TAKE_THIS, (*hide_until, lane, now_ms, job_id)).fetchone()
    if row is None:
        return None
    return QueuedJob(id=row[0], job=_decode(row[2]), attempts=row[1], receipt=receipt)


def keep_job(db: sqlite3.Connection, queued: QueuedJob, *, until_ms: int) -> bool:
    kept = db.execute("UPDATE jobs SET due_ms = ? WHERE id = ? AND receipt = ?", (until_ms, queued.id, queued.receipt))
    return kept.rowcount == 1


def drop_job(db: sqlite3.Connection, queued: QueuedJob) -> None:
    db.execute("DELETE FROM jobs WHERE id = ? AND receipt = ?", (queued.id, queued.receipt))


def delay_job(
    db: sqlite3.Connection, queued: QueuedJob, *, at_ms: int, attempts: int | None, lane: Lane | None
) -> None:
    db.execute(
        "UPDATE jobs SET due_ms = ?, receipt = NULL, attempts = coalesce(?, attempts), lane = coalesce(?, lane) "
        "WHERE id = ? AND receipt = ?",
        (at_ms, attempts, lane, queued.id, queued.receipt),
    )
