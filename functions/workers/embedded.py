"""Workers that take jobs from the store's queue: one beside the API (`working`), one woken by the clock (`sweep`).

Both call the same `run_job`; only the loop around it differs.
"""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress

from functions.chat.messages import QueuedJob, RunJob
from functions.errors import NotFound
from functions.services import Services
from functions.telemetry import log_fault

IDLE_SECONDS = 0.5  # how long a job may wait for a worker that has nothing to do


@asynccontextmanager
async def working(services: Services, *, idle_s: float = IDLE_SECONDS) -> AsyncIterator[None]:
    """A worker beside whatever runs inside."""
    worker = asyncio.create_task(_work(services, idle_s), name="worker")
    try:
        yield
    finally:
        worker.cancel()
        with suppress(asyncio.CancelledError):
            await worker


async def sweep(services: Services, *, within_s: float) -> int:
    """Take what is due now and bring it to its end; how many jobs that was. For hosts that wake a worker by the
    clock. Two at once do no harm: claims are conditional."""
    taken = 0
    while await _take_one(services):
        taken += 1
    with suppress(TimeoutError):
        async with asyncio.timeout(within_s):
            await services.runs.settle()
    return taken


async def _work(services: Services, idle_s: float) -> None:
    """Take due jobs until cancelled. A fault is logged and the job comes back."""
    while True:
        try:
            busy = await _take_one(services)
        except Exception:  # the edge of the loop: one bad job or a store that is away must not end the worker
            log_fault("worker.fault")
            busy = False
        if not busy:
            await asyncio.sleep(idle_s)


async def _take_one(services: Services) -> bool:
    hidden_ms = int(1000 * services.runs.lease_s)
    queued = await services.store.take_job(now_ms=services.runs.clock(), hidden_ms=hidden_ms)
    if queued is None:
        return False
    await run_job(services, queued)
    return True


async def run_job(services: Services, queued: QueuedJob) -> None:
    """Bring the job to its end, or say when to come back. Idempotent: delivery is at least once."""
    match queued.job:
        case RunJob(owner=owner, run_id=run_id):
            try:
                run = await services.store.get_run(owner, run_id)
            except NotFound:
                await services.store.drop_job(queued)
                return
            if run.status in ("completed", "stopped", "failed"):
                await services.store.drop_job(queued)
                return
            await services.turns.resume(owner, run_id)
            # Claimed here or held elsewhere: either way look again when that lease would run out.
            run = await services.store.get_run(owner, run_id)
            again = max(run.lease_until_ms, services.runs.clock()) + 100
            await services.store.delay_job(queued, at_ms=again)
