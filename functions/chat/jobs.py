"""Background work: small jobs that are done at least once, so each is idempotent.

    jobs = Jobs(queue, clock, {RunJob: …, SummariseJob: …})
    await jobs.take_one()      # False: nothing is due

A handler returns None when the job is done, or the Unix milliseconds at which to look again. When it raises, or its
worker dies, the job comes back.
"""

from collections.abc import Awaitable, Callable, Mapping
from typing import Any

from functions.chat.messages import TERMINAL, Job, RunJob
from functions.chat.runs import Runs
from functions.chat.turn import Turns
from functions.errors import NotFound
from functions.ports import ChatStore, JobQueue

Handler = Callable[[Any], Awaitable[int | None]]  # of its own kind of job


class Jobs:
    def __init__(
        self, queue: JobQueue, clock: Callable[[], int], hidden_ms: int, handlers: Mapping[type[Job], Handler]
    ) -> None:
        """A job that is taken stays hidden from other workers for `hidden_ms`."""
        self._queue, self._clock, self._hidden_ms, self._handlers = queue, clock, hidden_ms, handlers

    async def take_one(self) -> bool:
        """Take the job that has been due longest and do it. Raises what its handler raises."""
        queued = await self._queue.take_job(now_ms=self._clock(), hidden_ms=self._hidden_ms)
        if queued is None:
            return False
        again_ms = await self._handlers[type(queued.job)](queued.job)
        if again_ms is None:
            await self._queue.drop_job(queued)
        else:
            await self._queue.delay_job(queued, at_ms=again_ms)
        return True


def bring_to_its_end(store: ChatStore, runs: Runs, turns: Turns) -> Handler:
    """The handler of RunJob: the run is resumed here, or somebody else holds it."""

    async def handle(job: RunJob) -> int | None:
        try:
            run = await store.get_run(job.owner, job.run_id)
        except NotFound:
            return None
        if run.status in TERMINAL:
            return None
        await turns.resume(job.owner, job.run_id)
        # Claimed here or held elsewhere: either way look again when that lease would run out.
        run = await store.get_run(job.owner, job.run_id)
        return max(run.lease_until_ms, runs.clock()) + 100

    return handle
