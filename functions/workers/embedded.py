"""Workers that take jobs from the store's queue: one beside the API (`working`), one woken by the clock (`sweep`).

Both do `chat/jobs.py`'s work; only the loop around it differs.
"""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress

from functions.chat.messages import Lane
from functions.services import Services
from functions.telemetry import log_fault

IDLE_SECONDS = 0.5  # how long a job may wait for a worker that has nothing to do
# Done at once in one process. Work may be slow (a document of a thousand pages), so the second is for what is not.
# Runs never wait for it: their lane has a loop of its own, and its jobs only set runs going.
AT_ONCE: dict[Lane, int] = {"runs": 1, "work": 2}


@asynccontextmanager
async def working(services: Services, *, idle_s: float = IDLE_SECONDS) -> AsyncIterator[None]:
    """A worker beside whatever runs inside."""
    workers = [
        asyncio.create_task(_work(services, lane, idle_s), name=f"worker of {lane} {number}")
        for lane, at_once in AT_ONCE.items()
        for number in range(at_once)
    ]
    try:
        yield
    finally:
        for worker in workers:
            worker.cancel()
        await asyncio.gather(*workers, return_exceptions=True)


async def sweep(services: Services, *, within_s: float) -> int:
    """Take what is due now and bring it to its end; how many jobs that was. For hosts that wake a worker by the
    clock. Two at once do no harm: claims are conditional."""
    taken = 0
    while await services.jobs.take_one("runs"):
        taken += 1
    with suppress(TimeoutError):
        async with asyncio.timeout(within_s):
            while await services.jobs.take_one("work"):
                taken += 1
            await services.retention.sweep_if_due()
            await services.runs.settle()
    return taken


async def _work(services: Services, lane: Lane, idle_s: float) -> None:
    """Take due jobs until cancelled. A store that is away is logged and asked again."""
    while True:
        try:
            if lane == "work":
                await services.retention.sweep_if_due()
            busy = await services.jobs.take_one(lane)
        except Exception:  # the edge of the loop
            log_fault("worker.fault", lane=lane)
            busy = False
        if not busy:
            await asyncio.sleep(idle_s)
