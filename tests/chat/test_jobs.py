"""Jobs: kept while their handlers work, back when a worker is lost, given up when they cannot be done."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from functions.adapters.sqlite import SqliteStore
from functions.chat.follow_ups import TONIGHT
from functions.chat.jobs import A_NIGHT_MS, ATTEMPTS, NIGHTS, Jobs
from functions.chat.messages import QueuedJob, RunJob, SummariseJob

JOB = SummariseJob(owner="me", chat_id="c")
HIDDEN_MS = 30


class Clock:
    ms = 1_000_000

    def __call__(self) -> int:
        return self.ms


class Watched(SqliteStore):
    """The real store; a test can wait for the next renewal, which comes by the clock of the machine."""

    def __init__(self, *args: Any) -> None:
        super().__init__(*args)
        self.renewed = asyncio.Semaphore(0)

    async def keep_job(self, queued: QueuedJob, *, until_ms: int) -> bool:
        kept = await super().keep_job(queued, until_ms=until_ms)
        self.renewed.release()
        return kept


class Workshop:
    """Handlers that a test steers: each call waits for what the test puts into `says`."""

    def __init__(self, store: Watched, clock: Clock) -> None:
        self.store, self.clock = store, clock
        self.says: asyncio.Queue[Any] = asyncio.Queue()
        self.began = asyncio.Semaphore(0)
        self.done: list[Any] = []
        self.given_up: list[Any] = []

    def worker(self) -> Jobs:
        handlers = {SummariseJob: self._handle, RunJob: self._run}
        return Jobs(self.store, self.clock, HIDDEN_MS, handlers, gave_up={SummariseJob: self._gave_up})

    async def _handle(self, job: SummariseJob) -> Any:
        self.began.release()
        said = await self.says.get()
        if isinstance(said, Exception):
            raise said
        self.done.append(job)
        return said

    async def _run(self, job: RunJob) -> None:
        self.done.append(job)

    async def _gave_up(self, job: SummariseJob) -> None:
        self.given_up.append(job)

    async def at_work(self) -> "asyncio.Task[bool]":
        task = asyncio.create_task(self.worker().take_one("work"))
        await self.began.acquire()
        return task

    async def fail(self, lane: Any = "work") -> None:
        self.says.put_nowait(RuntimeError("no"))
        assert await self.worker().take_one(lane)


@pytest.fixture
async def workshop(tmp_path: Path) -> AsyncIterator[Workshop]:
    store = await Watched.open(tmp_path / "jobs.db")
    await store.put_job("j", JOB, at_ms=0)
    yield Workshop(store, Clock())
    await store.close()


async def test_a_job_longer_than_its_lease_is_not_done_twice(workshop: Workshop) -> None:
    working = await workshop.at_work()
    workshop.clock.ms += HIDDEN_MS - 1
    while not workshop.store.renewed.locked():
        await workshop.store.renewed.acquire()
    for _ in range(2):  # the first may have begun before the clock moved
        await workshop.store.renewed.acquire()
    workshop.clock.ms += HIDDEN_MS - 1

    assert not await workshop.worker().take_one("work")

    workshop.says.put_nowait(None)
    assert await working
    assert workshop.done == [JOB]
    workshop.clock.ms += 10**9
    assert not await workshop.worker().take_one("work")


async def test_a_dead_workers_job_comes_back(workshop: Workshop) -> None:
    assert await workshop.worker().take("work")  # and nobody works on it
    workshop.says.put_nowait(None)

    assert not await workshop.worker().take_one("work")
    workshop.clock.ms += HIDDEN_MS

    assert await workshop.worker().take_one("work")
    assert workshop.done == [JOB]


async def test_a_job_that_somebody_else_has_by_now_is_left_to_them(workshop: Workshop) -> None:
    working = await workshop.at_work()

    await workshop.store.put_job("j", JOB, at_ms=0)  # replaced: as good as taken

    assert await working
    assert workshop.done == []
    assert asyncio.current_task().cancelling() == 0  # type: ignore[union-attr]
    workshop.says.put_nowait(None)
    assert await workshop.worker().take_one("work")
    assert workshop.done == [JOB]


async def test_a_shutdown_gives_the_job_back_at_once_and_counts_as_no_attempt(workshop: Workshop) -> None:
    working = await workshop.at_work()

    working.cancel()
    with pytest.raises(asyncio.CancelledError):
        await working

    again = await workshop.worker().take("work")
    assert again is not None
    assert again.attempts == 1


async def test_a_job_that_fails_comes_back_later_and_later(workshop: Workshop) -> None:
    pauses = []
    for _ in range(3):
        await workshop.fail()
        began = workshop.clock.ms
        while not await workshop.store._read(_is_due, workshop.clock.ms):
            workshop.clock.ms += 1000
        pauses.append((workshop.clock.ms - began) // 1000)

    assert pauses == [2, 4, 8]


async def test_a_job_that_always_fails_is_given_up_told_and_tried_for_some_nights(workshop: Workshop) -> None:
    tried = 0
    for _ in range(100):
        workshop.says.put_nowait(RuntimeError("no"))
        tried += await workshop.worker().take_one("work")
        workshop.clock.ms += 3600_000
    assert (tried, workshop.given_up) == (ATTEMPTS, [JOB])

    for _ in range(10):
        workshop.says.put_nowait(RuntimeError("no"))
        tried += await workshop.worker().take_one("failed")
        assert not await workshop.worker().take_one("failed"), "once a night"
        workshop.clock.ms += A_NIGHT_MS

    assert (tried, workshop.given_up) == (ATTEMPTS + NIGHTS, [JOB])
    assert await workshop.store._read(_is_due, 10**15) is None


async def test_what_went_well_once_has_all_its_attempts_again(workshop: Workshop) -> None:
    await workshop.fail()
    workshop.clock.ms += 10**6
    workshop.says.put_nowait(workshop.clock.ms + 1)
    assert await workshop.worker().take_one("work")
    workshop.clock.ms += 1

    queued = await workshop.worker().take("work")

    assert queued is not None
    assert queued.attempts == 1


async def test_what_would_wake_a_gpu_waits_for_the_night(workshop: Workshop) -> None:
    workshop.says.put_nowait(TONIGHT)
    assert await workshop.worker().take_one("work")
    assert not await workshop.worker().take_one("work")

    workshop.says.put_nowait(None)
    assert await workshop.worker().take_one("night")

    assert workshop.done == [JOB, JOB]


async def test_slow_work_does_not_keep_a_run_waiting(workshop: Workshop) -> None:
    working = await workshop.at_work()
    await workshop.store.put_job("r", RunJob(owner="me", run_id="r"), at_ms=0)

    assert await workshop.worker().take_one("runs")

    assert workshop.done == [RunJob(owner="me", run_id="r")]
    working.cancel()
    await asyncio.gather(working, return_exceptions=True)


def _is_due(db: Any, now_ms: int) -> Any:
    return db.execute("SELECT 1 FROM jobs WHERE due_ms <= ?", (now_ms,)).fetchone()
