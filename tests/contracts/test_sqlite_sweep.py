"""What a file forgets while a process works on it, by the store's own clock."""

import asyncio
import sqlite3
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from functions.adapters.rules import DAY_MS
from functions.adapters.sqlite import SqliteStore
from functions.adapters.sqlite_sweep import sweep
from functions.chat.messages import Chat, Run, new_id
from functions.errors import NotFound, StoreUnavailable
from tests.contracts.makers import (
    a_chat,
    a_node,
    a_sighting,
    a_turn,
    a_use,
    claimed,
    ended,
    the_answer,
    the_end,
)

HOUR_MS = 3600 * 1000


class Clock:
    def __init__(self) -> None:
        self.now_ms = 1_790_000_000_000

    def __call__(self) -> int:
        return self.now_ms


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
async def store(tmp_path: Path, clock: Clock) -> AsyncIterator[SqliteStore]:
    store = await SqliteStore.open(tmp_path / "parley.db", clock=clock)
    yield store
    await store.close()


async def answered(store: SqliteStore, owner: str, at_ms: int, chat: Chat | None = None) -> Run:
    """A run of that moment, ended; in a chat or in none."""
    turn = a_turn(owner, chat.id if chat else None, run={"id": new_id(at_ms)})
    await store.begin_turn(owner, turn)
    run = await claimed(store, owner, turn.run)
    await store.finish_run(owner, ended(run), [the_end(2)], the_answer(run) if chat else None)
    return run


async def log_of(store: SqliteStore, owner: str, run: Run) -> list[int]:
    return [event.seq for event in await store.read_events(owner, run.id)]


async def rows(store: SqliteStore, table: str) -> int:
    def count(db: sqlite3.Connection) -> int:
        (number,) = db.execute(f"SELECT count(*) FROM {table}").fetchone()
        return int(number)

    return await store._readers.read(count)


async def write(store: SqliteStore, times: int = 2) -> None:
    """Any write; the second is made after what the first has set off."""
    for _ in range(times):
        await store.drop_node("nobody")


async def test_a_process_that_lives_long_forgets_logs_of_long_ago(store: SqliteStore, owner: str, clock: Clock) -> None:
    chat = a_chat()
    await store.create_chat(owner, chat)
    old = await answered(store, owner, clock(), chat)
    lone = await answered(store, owner, clock())
    going_on, _ = await store.begin_turn(owner, a_turn(owner, None, run={"id": new_id(clock())}))
    clock.now_ms += 3 * DAY_MS
    young = await answered(store, owner, clock(), chat)
    await write(store)
    assert await log_of(store, owner, old) == [1, 2]

    clock.now_ms += 5 * DAY_MS
    await write(store)

    assert await log_of(store, owner, old) == []
    with pytest.raises(NotFound):
        await store.get_run(owner, lone.id)
    assert await log_of(store, owner, going_on) == [1]
    assert await log_of(store, owner, young) == [1, 2]
    assert (await store.get_run(owner, old.id)).status == "completed"
    assert (await store.get_message(owner, chat.id, old.assistant_message_id)).content == "Hi!"


async def test_it_looks_for_them_once_an_hour(store: SqliteStore, owner: str, clock: Clock) -> None:
    chat = a_chat()
    await store.create_chat(owner, chat)
    old = await answered(store, owner, clock() - 8 * DAY_MS, chat)

    clock.now_ms += HOUR_MS - 1
    await write(store)
    assert await log_of(store, owner, old) == [1, 2]
    clock.now_ms += 1
    await write(store)

    assert await log_of(store, owner, old) == []


async def test_many_logs_are_forgotten_in_slices(
    store: SqliteStore, owner: str, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("functions.adapters.sqlite_sweep.SLICE", 3)
    for n in range(8):
        await answered(store, owner, clock() + n)
    clock.now_ms += 8 * DAY_MS

    is_more = await store._writer.write(lambda db: sweep(db, now_ms=clock()))
    assert (is_more, await rows(store, "runs"), await rows(store, "events")) == (True, 5, 10)
    await write(store, 1)
    assert store._sweeping is not None
    await store._sweeping

    assert (await rows(store, "runs"), await rows(store, "events")) == (0, 0)


async def test_a_store_may_be_closed_while_it_forgets(
    tmp_path: Path, owner: str, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("functions.adapters.sqlite_sweep.SLICE", 1)
    store = await SqliteStore.open(tmp_path / "parley.db", clock=clock)
    for _ in range(9):
        await answered(store, owner, clock())
    clock.now_ms += 8 * DAY_MS

    await write(store, 2)
    await store.close()

    again = await SqliteStore.open(tmp_path / "parley.db", clock=clock)
    assert await rows(again, "runs") == 0  # an opened file is swept whole
    await again.close()


async def test_when_it_cannot_forget_now_it_does_so_an_hour_later(
    tmp_path: Path, owner: str, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("functions.adapters.sqlite_schema.BUSY_MS", 10)
    store = await SqliteStore.open(tmp_path / "parley.db", clock=clock)
    await answered(store, owner, clock())
    clock.now_ms += 8 * DAY_MS
    other = sqlite3.connect(tmp_path / "parley.db", isolation_level=None, check_same_thread=False)
    await asyncio.to_thread(other.execute, "BEGIN IMMEDIATE")
    for _ in range(2):
        with pytest.raises(StoreUnavailable):
            await write(store, 1)
    await asyncio.to_thread(other.execute, "ROLLBACK")
    other.close()

    await write(store)
    assert await rows(store, "runs") == 1
    clock.now_ms += HOUR_MS
    await write(store)

    assert await rows(store, "runs") == 0
    await store.close()


async def test_a_rate_that_nobody_asks_for_is_forgotten(store: SqliteStore, owner: str, clock: Clock) -> None:
    async def admit(key: str, now_ms: int) -> int:
        return await store.admit(owner, key, interval_ms=3 * HOUR_MS, burst=1, now_ms=now_ms)

    for key in ("old", "asked again"):
        await admit(key, clock())
    clock.now_ms += 2 * DAY_MS
    await admit("asked again", clock())
    clock.now_ms += HOUR_MS
    await write(store)

    assert await rows(store, "rates") == 1
    assert await admit("asked again", clock()) == 2 * HOUR_MS
    assert await admit("old", clock()) == 0


@pytest.mark.parametrize(("table", "days"), [("nodes", 1), ("sightings", 1), ("wakes", 90), ("uses", 400)])
async def test_what_has_outlived_its_time_goes(store: SqliteStore, clock: Clock, table: str, days: int) -> None:
    for late in (0, 2 * HOUR_MS):
        at_ms = clock() + late
        await store.put_node(a_node(str(late), joined_ms=at_ms, expires_ms=at_ms))
        await store.put_sighting(a_sighting(str(late), at_ms))
        await store.record_wake("a", at_ms=at_ms, took_ms=9)
        await store.record_use(a_use(at_ms))

    left = []
    for passed_ms in (days * DAY_MS, HOUR_MS, HOUR_MS, HOUR_MS):
        clock.now_ms += passed_ms
        await write(store)
        left.append(await rows(store, table))

    assert left == [2, 1, 1, 0]
