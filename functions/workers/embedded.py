"""Workers that take jobs from the store's queue: one beside the API (`working`), one woken by the clock (`sweep`).

Both do `chat/jobs.py`'s work; only the loop around it differs.
"""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress

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
    while await services.jobs.take_one():
        taken += 1
    with suppress(TimeoutError):
        async with asyncio.timeout(within_s):
            await services.runs.settle()
    return taken


async def _work(services: Services, idle_s: float) -> None:
    """Take due jobs until cancelled. A fault is logged and the job comes back."""
    while True:
        try:
            busy = await services.jobs.take_one()
        except Exception:  # the edge of the loop: one bad job or a store that is away must not end the worker
            log_fault("worker.fault")
            busy = False
        if not busy:
            await asyncio.sleep(idle_s)
