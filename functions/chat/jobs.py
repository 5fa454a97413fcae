"""Background work: small jobs that are done at least once, so each is idempotent.

    jobs = Jobs(queue, clock, hidden_ms, {RunJob: …, SummariseJob: …})
    await jobs.take_one("runs")      # False: nothing is due

    taken ─ hidden, and kept so while its handler works ─ done: dropped
      │        └ its worker dies: it comes back             └ later: delayed     └ tonight: to the lane of the night
      └ the handler fails: back after a pause, each longer ─ given up: `job.failed`, and tried again for some nights

A handler returns None when the job is done, the Unix milliseconds at which to look again, or TONIGHT when it would have
to wake a GPU. It may be cancelled at any await: by a shutdown (the job comes back at once), or because the job is
somebody else's by now.
"""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

from functions import tracing
from functions.chat.follow_ups import TONIGHT, Outcome
from functions.chat.messages import TERMINAL, Job, Lane, QueuedJob, RunJob
from functions.chat.quotas import Quotas
from functions.chat.runs import Runs
from functions.chat.turn import Turns
from functions.errors import NotFound, StoreUnavailable
from functions.ports import ChatStore, JobQueue
from functions.telemetry import count, log, log_fault

ATTEMPTS = 9  # by day: with the pauses between them some eight minutes
NIGHTS = 3  # and then one a night
FIRST_PAUSE_MS = 2_000  # doubled each time
A_NIGHT_MS = 12 * 3600 * 1000  # what this night could not do waits for the next

OVER_BUDGET_MS = 3600 * 1000  # what its owner cannot pay for is asked again

Handler = Callable[[Any], Awaitable[Outcome]]  # of its own kind of job
GaveUp = Callable[[Any], Awaitable[None]]


class Jobs:
    def __init__(
        self,
        queue: JobQueue,
        clock: Callable[[], int],
        hidden_ms: int,
        handlers: Mapping[type[Job], Handler],
        *,
        at_night: Mapping[type[Job], Handler] | None = None,
        gave_up: Mapping[type[Job], GaveUp] | None = None,
    ) -> None:
        """`hidden_ms`: how soon a dead worker's job comes back. `at_night`: handlers that may wake a GPU, for whoever
        takes from the lane of the night. `gave_up` is told, once, that a job will not be done by day."""
        self._queue, self._clock, self._hidden_ms = queue, clock, hidden_ms
        self._handlers, self._at_night, self._gave_up = handlers, {**handlers, **(at_night or {})}, gave_up or {}

    async def take(self, lane: Lane, job_id: str | None = None) -> QueuedJob | None:
        """The job of this lane that has been due longest, or this very one if it is due, to be given to `do`."""
        return await self._queue.take_job(now_ms=self._clock(), hidden_ms=self._hidden_ms, lane=lane, job_id=job_id)

    async def take_one(self, lane: Lane = "runs") -> bool:
        """Take the next job and do it; False when none is due."""
        queued = await self.take(lane)
        if queued is not None:
            await self.do(queued, lane)
        return queued is not None

    async def do(self, queued: QueuedJob, lane: Lane) -> None:
        """Do a job that was taken, and say so in the queue. Raises only what the queue itself raises."""
        handler = (self._at_night if lane in ("night", "failed") else self._handlers)[type(queued.job)]
        task = asyncio.current_task()
        assert task is not None
        keeping = asyncio.create_task(self._keep(queued, task))
        try:
            try:
                with tracing.span("job", kind_of_job=_kind(queued), attempts=queued.attempts):
                    outcome = await handler(queued.job)
            finally:
                keeping.cancel()
            await self._after(queued, lane, outcome)
        except asyncio.CancelledError:
            if keeping.done() and not keeping.cancelled() and not task.uncancel():  # it cancelled us, and nobody else
                count("parley_jobs_total", kind=_kind(queued), end="lost")
                log("job.lost", kind=_kind(queued), job=queued.id)
                return
            await asyncio.shield(self._give_back(queued))
            raise
        except Exception:  # the edge of a job: one bad one must not end the worker
            log_fault("job.fault", kind=_kind(queued), job=queued.id, attempts=queued.attempts)
            await self._after_failure(queued, lane)

    async def _keep(self, queued: QueuedJob, task: "asyncio.Task[Any]") -> None:
        """Renew what hides the job, for as long as its handler works. Ends only when it is lost, and cancels `task`."""
        until_ms = self._clock() + self._hidden_ms
        while True:
            await asyncio.sleep(self._hidden_ms / 3000)
            now_ms = self._clock()
            try:
                is_ours = await self._queue.keep_job(queued, until_ms=now_ms + self._hidden_ms)
                until_ms = now_ms + self._hidden_ms
            except StoreUnavailable:
                is_ours = now_ms < until_ms  # nobody else can have it yet
            if not is_ours:
                task.cancel()
                return

    async def _give_back(self, queued: QueuedJob) -> None:
        """A shutdown is no attempt, and the next worker need not wait."""
        try:
            await self._queue.delay_job(queued, at_ms=self._clock(), attempts=queued.attempts - 1)
        except StoreUnavailable:
            log_fault("job.not_given_back", kind=_kind(queued), job=queued.id)  # then it comes back by itself

    async def _after(self, queued: QueuedJob, lane: Lane, outcome: Outcome) -> None:
        end = "done" if outcome is None else "tonight" if outcome == TONIGHT else "later"
        count("parley_jobs_total", kind=_kind(queued), end=end)
        if outcome is None:
            await self._queue.drop_job(queued)
        elif outcome == TONIGHT:
            at_ms = self._clock() + (A_NIGHT_MS if lane == "night" else 0)
            await self._queue.delay_job(queued, at_ms=at_ms, attempts=0, lane="night")
        else:
            await self._queue.delay_job(queued, at_ms=outcome, attempts=0)

    async def _after_failure(self, queued: QueuedJob, lane: Lane) -> None:
        count("parley_jobs_total", kind=_kind(queued), end="failed")
        if queued.attempts < ATTEMPTS and lane != "failed":
            pause_ms = FIRST_PAUSE_MS << (queued.attempts - 1)
            await self._queue.delay_job(queued, at_ms=self._clock() + pause_ms)
            return
        if lane != "failed":
            count("parley_jobs_total", kind=_kind(queued), end="gave_up")
            log("job.failed", kind=_kind(queued), job=queued.id, attempts=queued.attempts)
            await self._tell(queued)
        if queued.attempts < ATTEMPTS + NIGHTS:
            at_ms = self._clock() + (A_NIGHT_MS if lane == "failed" else 0)
            await self._queue.delay_job(queued, at_ms=at_ms, lane="failed")
            return
        log("job.dropped", kind=_kind(queued), job=queued.id, attempts=queued.attempts)
        await self._queue.drop_job(queued)

    async def _tell(self, queued: QueuedJob) -> None:
        if (gave_up := self._gave_up.get(type(queued.job))) is None:
            return
        try:
            await gave_up(queued.job)
        except Exception:  # as above
            log_fault("job.fault", kind=_kind(queued), job=queued.id)


def _kind(queued: QueuedJob) -> str:
    return type(queued.job).__name__


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


def within_budget(quotas: Quotas, handler: Handler) -> Handler:
    """The handler, while its owner has something left to spend and nothing is paused; else it is asked again later."""

    async def handle(job: Any) -> Outcome:  # of the handler's kind
        if await quotas.may_begin(job.owner):
            return await handler(job)
        return quotas.clock() + OVER_BUDGET_MS

    return handle
