"""The job queue as SQL. `due_ms` is both when a job may be taken and until when a taken one is hidden."""

import os
import sqlite3

import msgspec

from functions.chat.messages import Job, QueuedJob

_encode = msgspec.json.Encoder().encode
_decode = msgspec.json.Decoder(Job).decode


def put_job(db: sqlite3.Connection, job_id: str, job: Job, *, at_ms: int) -> None:
    """A replaced job starts afresh; who holds the old one holds a stale receipt."""
    db.execute(
        "INSERT OR REPLACE INTO jobs (id, due_ms, attempts, receipt, data) VALUES (?, ?, 0, NULL, ?)",
        (job_id, at_ms, _encode(job)),
    )


def is_any_due(db: sqlite3.Connection, now_ms: int) -> bool:
    return db.execute("SELECT 1 FROM jobs WHERE due_ms <= ? LIMIT 1", (now_ms,)).fetchone() is not None


def take_job(db: sqlite3.Connection, *, now_ms: int, hidden_ms: int) -> QueuedJob | None:
    receipt = os.urandom(16).hex()
    row = db.execute(
        "UPDATE jobs SET due_ms = ?, attempts = attempts + 1, receipt = ? "
        "WHERE id = (SELECT id FROM jobs WHERE due_ms <= ? ORDER BY due_ms, id LIMIT 1) RETURNING id, attempts, data",
        (now_ms + hidden_ms, receipt, now_ms),
    ).fetchone()
    if row is None:
        return None
    return QueuedJob(id=row[0], job=_decode(row[2]), attempts=row[1], receipt=receipt)


def drop_job(db: sqlite3.Connection, queued: QueuedJob) -> None:
    db.execute("DELETE FROM jobs WHERE id = ? AND receipt = ?", (queued.id, queued.receipt))


def delay_job(db: sqlite3.Connection, queued: QueuedJob, *, at_ms: int) -> None:
    db.execute(
        "UPDATE jobs SET due_ms = ?, receipt = NULL WHERE id = ? AND receipt = ?", (at_ms, queued.id, queued.receipt)
    )
