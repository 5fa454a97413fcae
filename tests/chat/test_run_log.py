"""The run log alone, over the real SQLite store: what is shown is stored, and one worker writes at a time."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from pathlib import Path
from typing import Any

import msgspec
import pytest

from functions.adapters.sqlite import SqliteStore
from functions.chat.messages import (
    Chat,
    Delta,
    Done,
    LoggedEvent,
    Message,
    Run,
    RunStarted,
    Stopped,
    Timings,
    Usage,
    new_id,
    utc_now,
)
from functions.chat.messages import Cost as RunCost
from functions.chat.runs import RunLog, Runs
from functions.errors import BadInput, NotFound
from functions.ports import NewTurn

OWNER = "ana"


class Clock:
    """Milliseconds that only move when a test says so."""

    def __init__(self) -> None:
        self.now = 1_700_000_000_000

    def __call__(self) -> int:
        return self.now


@pytest.fixture
async def store(tmp_path: Path) -> AsyncIterator[SqliteStore]:
    opened = await SqliteStore.open(tmp_path / "parley.db")
    yield opened
    await opened.close()


@pytest.fixture
def clock() -> Clock:
    return Clock()


def runs_on(store: Any, clock: Clock, worker: str) -> Runs:
    return Runs(store, worker=worker, beat_s=0.0, lease_s=15.0, clock=clock)


async def begin(store: SqliteStore, runs: Runs) -> tuple[Run, tuple[LoggedEvent, ...]]:
    """A stored run that this process holds, with its first event."""
    chat_id = new_id()
    await store.create_chat(
        OWNER, Chat(id=chat_id, title=None, model=None, system_prompt=None, created_at=utc_now(), updated_at=utc_now())
    )
    run = Run(
        id=new_id(), owner=OWNER, chat_id=chat_id, user_message_id=new_id(), assistant_message_id=new_id(),
        model="m", created_at=utc_now(), status="running", epoch=1, worker=runs.worker,
        lease_until_ms=runs.lease_until_ms(), last_seq=1,
    )  # fmt: skip
    started = RunStarted(
        run_id=run.id, chat_id=chat_id, user_message_id=run.user_message_id,
        assistant_message_id=run.assistant_message_id, model="m", status="running",
    )  # fmt: skip
    events = (LoggedEvent.of(1, started),)
    assert run.user_message_id
    question = Message(
        id=run.user_message_id, chat_id=chat_id, parent_id=None, role="user", content="hi", created_at=utc_now()
    )
    await store.begin_turn(OWNER, NewTurn(key=new_id(), body_hash="x", run=run, events=events, user_message=question))
    return run, events


async def finish(log: RunLog) -> None:
    run = msgspec.structs.replace(log.run, status="completed", ended_at=utc_now())
    assert run.chat_id
    answer = Message(
        id=run.assistant_message_id, chat_id=run.chat_id, parent_id=run.user_message_id, role="assistant",
        content=log.written(), created_at=utc_now(),
    )  # fmt: skip
    done = Done(message=answer, usage=Usage(), timings=Timings(), cost=RunCost(), finish_reason="stop")
    await log.finish(run, [done], answer)


async def read_all(runs: Runs, run_id: str, after: int = 0) -> list[LoggedEvent]:
    return [logged async for batch in await runs.follow(OWNER, run_id, after) for logged in batch]


class HeldStore:
    """The real store, whose checkpoints wait until the test lets them through."""

    def __init__(self, store: SqliteStore) -> None:
        self._store = store
        self.asked, self.allowed = asyncio.Event(), asyncio.Event()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._store, name)

    async def append_events(self, *args: Any, **kwargs: Any) -> bool:
        self.asked.set()
        await self.allowed.wait()
        return await self._store.append_events(*args, **kwargs)


async def test_nothing_is_shown_before_it_is_stored(store: SqliteStore, clock: Clock) -> None:
    held = HeldStore(store)
    runs = runs_on(held, clock, "w")
    run, events = await begin(store, runs)
    over = asyncio.Event()

    async def work(log: RunLog) -> None:
        log.add_text("secret of the model", 1)
        await over.wait()
        await finish(log)

    log = runs.start(run, events, work)
    batches = await runs.follow(OWNER, run.id)
    assert [e.name for e in await anext(batches)] == ["run"]
    waiting = asyncio.create_task(anext(batches))  # type: ignore[arg-type]
    await held.asked.wait()
    assert not waiting.done(), "the checkpoint is under way: the reader must not see it yet"
    assert len(log.events) == 1

    held.allowed.set()
    shown: Sequence[LoggedEvent] = await waiting
    assert [e.event for e in shown] == [Delta(text="secret of the model")]
    over.set()
    assert [e.name async for batch in batches for e in batch] == ["done"]


async def test_a_worker_that_was_taken_over_stops_quietly_and_its_readers_follow_the_new_one(
    store: SqliteStore, clock: Clock
) -> None:
    slow, quick = runs_on(store, clock, "slow"), runs_on(store, clock, "quick")
    run, events = await begin(store, slow)
    first_shown, wake_up, over = asyncio.Event(), asyncio.Event(), asyncio.Event()

    async def slow_work(log: RunLog) -> None:
        log.add_text("one ", 1)
        await wake_up.wait()
        log.add_text("NEVER ", 1)
        await asyncio.Event().wait()

    async def quick_work(log: RunLog) -> None:
        assert log.written() == "one "
        log.add_text("two", 1)
        await over.wait()
        await finish(log)

    log = slow.start(run, events, slow_work)
    seen: list[LoggedEvent] = []

    async def read() -> None:
        async for batch in await slow.follow(OWNER, run.id):
            seen.extend(batch)
            if len(seen) >= 2:
                first_shown.set()

    reader = asyncio.create_task(read())
    await first_shown.wait()

    clock.now += 16_000
    claimed = await store.claim_run(
        OWNER, run.id, worker="quick", now_ms=clock.now, lease_until_ms=quick.lease_until_ms()
    )
    assert claimed and claimed.epoch == 2
    quick.start(claimed, await store.read_events(OWNER, run.id), quick_work)
    wake_up.set()
    assert log.task
    await asyncio.wait([log.task])
    over.set()
    await asyncio.wait_for(reader, 5)

    assert [e.seq for e in seen] == [1, 2, 3, 4]
    assert "".join(e.event.text for e in seen if isinstance(e.event, Delta)) == "one two"
    stored = await store.read_events(OWNER, run.id)
    assert [e.data for e in stored] == [e.data for e in seen]


async def test_a_silent_lease_is_renewed_while_the_work_waits(store: SqliteStore, clock: Clock) -> None:
    runs = Runs(store, worker="w", beat_s=0.0, lease_s=0.03, clock=clock)
    run, events = await begin(store, runs)
    over = asyncio.Event()

    async def work(log: RunLog) -> None:
        await over.wait()
        await finish(log)

    runs.start(run, events, work)
    clock.now += 1_000
    async with asyncio.timeout(10):
        while (await store.get_run(OWNER, run.id)).lease_until_ms == run.lease_until_ms:
            pass  # until the renewal, which nothing else announces
    over.set()

    assert [e.name for e in await read_all(runs, run.id)] == ["run", "done"]


async def test_closing_gives_the_lease_back_so_that_nobody_has_to_wait(store: SqliteStore, clock: Clock) -> None:
    first, second = runs_on(store, clock, "first"), runs_on(store, clock, "second")
    run, events = await begin(store, first)

    async def work(log: RunLog) -> None:
        log.add_text("kept", 1)
        await asyncio.Event().wait()

    first.start(run, events, work)
    await asyncio.sleep(0)
    await first.close()
    clock.now += 1
    claimed = await store.claim_run(
        OWNER, run.id, worker="second", now_ms=clock.now, lease_until_ms=second.lease_until_ms()
    )

    assert claimed is not None
    assert [e.event for e in await store.read_events(OWNER, run.id, after=1)] == [Delta(text="kept")]


async def test_a_stop_asked_elsewhere_reaches_the_worker_at_its_next_checkpoint(
    store: SqliteStore, clock: Clock
) -> None:
    here, elsewhere = runs_on(store, clock, "here"), runs_on(store, clock, "elsewhere")
    run, events = await begin(store, here)
    go_on = asyncio.Event()

    async def work(log: RunLog) -> None:
        try:
            await go_on.wait()
            log.add_text("a", 1)
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            assert log.stopping
            ended = msgspec.structs.replace(log.run, status="stopped", ended_at=utc_now())
            await log.finish(ended, [Stopped(message=None)], None)

    here.start(run, events, work)
    await elsewhere.stop(OWNER, run.id)
    go_on.set()

    assert [e.name for e in await read_all(elsewhere, run.id)] == ["run", "delta", "stopped"]


async def test_a_cursor_ahead_of_the_log_or_a_foreign_run_is_refused(store: SqliteStore, clock: Clock) -> None:
    runs = runs_on(store, clock, "w")
    run, _ = await begin(store, runs)

    with pytest.raises(BadInput):
        await runs.follow(OWNER, run.id, 2)
    with pytest.raises(NotFound):
        await runs.follow("bo", run.id)
