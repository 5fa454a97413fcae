"""The job queue in DynamoDB: an index by time finds the next job, a conditional update takes it."""

import os
import random
import time
from contextlib import suppress

import msgspec
from pynamodb.exceptions import DoesNotExist
from pynamodb.expressions.update import Action

from functions.adapters.dynamo_calls import Refused, ask
from functions.adapters.dynamo_models import JobItem, Tables
from functions.chat.messages import Job, Lane, QueuedJob, lane_of

# What the index calls a lane. Runs keep the name they had when there was one queue.
QUEUES: dict[Lane, str] = {"runs": "all", "work": "work", "night": "night", "failed": "failed"}
CANDIDATES = 10
ROUNDS = 5

_encode = msgspec.json.Encoder().encode
_decode = msgspec.json.Decoder(Job).decode


def job_item(t: Tables, job_id: str, job: Job, at_ms: int) -> JobItem:
    """A replaced job starts afresh; who holds the old one holds a stale receipt."""
    return t.jobs(job_id, queue=QUEUES[lane_of(job)], due_ms=at_ms, data=_encode(job))


def put_job(t: Tables, job_id: str, job: Job, *, at_ms: int, gently: bool = False) -> None:
    item = job_item(t, job_id, job, at_ms)
    is_fresh = t.jobs.receipt.does_not_exist() & (t.jobs.attempts == 0)
    is_free = (t.jobs.queue != QUEUES["failed"]) & (is_fresh | (t.jobs.due_ms <= at_ms))
    with suppress(Refused):
        ask(lambda: item.save(t.jobs.id.does_not_exist() | is_free if gently else None))


def take_job(t: Tables, *, now_ms: int, hidden_ms: int, lane: Lane, job_id: str | None = None) -> QueuedJob | None:
    """Racing takers see the same candidates; each job goes to the first, and the others try the next."""
    for _ in range(ROUNDS):
        due = _due(t, lane, now_ms) if job_id is None else _this_one(t, job_id, lane, now_ms)
        if not due:
            return None
        for candidate in due:
            if taken := _take(t, candidate, now_ms + hidden_ms):
                return taken
        # Lost them all; the index, too, may still show what others have taken.
        time.sleep(random.uniform(0, 0.02))
    return None


def jobs_of(t: Tables, owner: str) -> list[Job]:
    """All of this owner's; it reads the whole table."""
    every = ask(lambda: [_decode(item.data) for item in t.jobs.scan(consistent_read=True)])
    return [job for job in every if job.owner == owner]


def _due(t: Tables, lane: Lane, now_ms: int) -> list[JobItem]:
    return ask(lambda: list(t.jobs.by_due.query(QUEUES[lane], t.jobs.due_ms <= now_ms, limit=CANDIDATES)))


def _this_one(t: Tables, job_id: str, lane: Lane, now_ms: int) -> list[JobItem]:
    try:
        job = ask(lambda: t.jobs.get(job_id, consistent_read=True))
    except DoesNotExist:
        return []
    return [job] if job.queue == QUEUES[lane] and job.due_ms <= now_ms else []


def _take(t: Tables, candidate: JobItem, until_ms: int) -> QueuedJob | None:
    receipt = os.urandom(16).hex()
    as_seen = t.jobs.due_ms == candidate.due_ms
    as_seen &= t.jobs.receipt == candidate.receipt if candidate.receipt else t.jobs.receipt.does_not_exist()
    job = t.jobs(candidate.id)
    actions: list[Action] = [
        t.jobs.due_ms.set(until_ms),
        t.jobs.attempts.set(t.jobs.attempts + 1),
        t.jobs.receipt.set(receipt),
    ]
    try:
        ask(lambda: job.update(actions, as_seen))
    except Refused:
        return None
    return QueuedJob(id=job.id, job=_decode(job.data), attempts=job.attempts, receipt=receipt)


def keep_job(t: Tables, queued: QueuedJob, *, until_ms: int) -> bool:
    job = t.jobs(queued.id)
    try:
        ask(lambda: job.update([t.jobs.due_ms.set(until_ms)], t.jobs.receipt == queued.receipt))
    except Refused:
        return False
    return True


def drop_job(t: Tables, queued: QueuedJob) -> None:
    job = t.jobs(queued.id)
    with suppress(Refused):  # Stale: somebody else has it, or it is gone.
        ask(lambda: job.delete(t.jobs.receipt == queued.receipt))


def delay_job(t: Tables, queued: QueuedJob, *, at_ms: int, attempts: int | None, lane: Lane | None) -> None:
    job = t.jobs(queued.id)
    actions: list[Action] = [t.jobs.due_ms.set(at_ms), t.jobs.receipt.remove()]
    if attempts is not None:
        actions.append(t.jobs.attempts.set(attempts))
    if lane is not None:
        actions.append(t.jobs.queue.set(QUEUES[lane]))
    with suppress(Refused):  # Stale: somebody else has it, or it is gone.
        ask(lambda: job.update(actions, t.jobs.receipt == queued.receipt))
