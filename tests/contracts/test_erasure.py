"""The end of everything of one owner: nothing of theirs is left in any table, and nothing of others is missing."""

import asyncio
import time

import msgspec
import pytest

from functions.adapters.dynamo import DynamoStore
from functions.adapters.sqlite import SqliteStore
from functions.chat.allowances import Amounts, Limits
from functions.chat.house import House
from functions.chat.quotas import Asker, Quotas
from functions.errors import Fenced, NotFound
from tests.contracts.belongings import SQLITE_HOUSE, fill, more, rows, tables
from tests.contracts.makers import Store, a_turn, a_use, claimed, ended, the_answer, the_end

EVERYTHING = {"chats": 4, "messages": 3, "memories": 1, "templates": 1, "vectors": 1, "shared_vectors": 1, "ledger": 1}


def now_ms() -> int:
    return time.time_ns() // 1_000_000


async def test_nothing_is_left_of_who_is_erased_and_nothing_of_others_is_missing(store: Store, owner: str) -> None:
    other = f"{owner}-too"  # begins alike
    await fill(store, owner)
    await fill(store, other)
    before = await tables(store, other)

    receipt = await store.erase_owner(owner, now_ms=now_ms())

    left = {table: n - before[table] for table, n in (await tables(store, owner)).items()}
    assert not any(left.values()), left  # the other's name contains the owner's
    assert await tables(store, other) == before
    assert {name: receipt[name] for name in EVERYTHING} == EVERYTHING
    assert receipt["runs"] == 3


async def test_whoever_comes_back_begins_anew(store: Store, owner: str) -> None:
    await fill(store, owner)
    first = await store.erase_owner(owner, now_ms=now_ms())

    await fill(store, owner)
    again = await store.erase_owner(owner, now_ms=now_ms())

    assert again == first
    assert not any((await tables(store, owner)).values())


@pytest.mark.parametrize("adapter", ["sqlite"])  # DynamoDB has no list of its kinds of items
async def test_every_table_has_a_row_in_this_test(store: Store, owner: str) -> None:
    await fill(store, owner)

    empty = {table for table, n in (await rows(store)).items() if not n}

    assert empty == SQLITE_HOUSE, "write one of these in tests/contracts/belongings.py, or say that it is the house's"


async def test_an_erasure_that_was_cut_off_is_finished_by_the_next(store: Store, owner: str) -> None:
    await fill(store, owner)
    # As far as the first steps go, whichever process dies after them.
    if isinstance(store, SqliteStore):
        from functions.adapters import sqlite_retention

        await store._write(sqlite_retention.begin_erasure, owner, now_ms=now_ms())
        await store._write(sqlite_retention.erase_chats, owner)
    else:
        from functions.adapters import dynamo_retention

        assert isinstance(store, DynamoStore)
        await store._call(dynamo_retention._erase_chats, owner)
    assert any((await tables(store, owner)).values())

    receipt = await store.erase_owner(owner, now_ms=now_ms())

    assert receipt["vectors"] == 1
    assert not any((await tables(store, owner)).values())
    assert not any(await _erased_again(store, owner))


async def _erased_again(store: Store, owner: str) -> list[int]:
    return list((await store.erase_owner(owner, now_ms=now_ms())).values())


async def test_a_run_that_is_being_written_is_fenced(stores: tuple[Store, Store], owner: str) -> None:
    one, two = stores
    run = await claimed(one, owner, await fill(one, owner))

    await two.erase_owner(owner, now_ms=now_ms())

    with pytest.raises(Fenced):
        await one.append_events(owner, run.id, run.epoch, more(run), lease_until_ms=1)
    with pytest.raises(Fenced):
        await one.finish_run(owner, ended(run), [the_end(run.last_seq + 1)], the_answer(run))
    with pytest.raises(NotFound):
        await one.begin_turn(owner, a_turn(owner, run.chat_id))
    assert await one.claim_run(owner, run.id, worker="two", now_ms=10**15, lease_until_ms=10**15) is None
    assert not any((await tables(one, owner)).values())


async def test_a_worker_that_writes_all_the_while_leaves_nothing(stores: tuple[Store, Store], owner: str) -> None:
    one, two = stores
    run = await claimed(one, owner, await fill(one, owner))

    async def write() -> None:
        last = run
        while True:
            await one.append_events(owner, run.id, run.epoch, more(last), lease_until_ms=10**15)
            last = msgspec.structs.replace(last, last_seq=last.last_seq + 1)

    writing = asyncio.create_task(write())
    await two.erase_owner(owner, now_ms=now_ms())

    with pytest.raises(Fenced):
        await writing
    assert not any((await tables(one, owner)).values())


async def test_what_is_recorded_late_has_no_name_and_what_comes_after_has(store: Store, owner: str) -> None:
    erased_ms = now_ms()
    await store.erase_owner(owner, now_ms=erased_ms)
    late, later = a_use(erased_ms - 5, owner=owner, chat_id="c"), a_use(erased_ms + 5, owner=owner, chat_id="c")

    for use in (late, late, later):
        await store.record_use(use)

    uses = {use.id: use for use in await store.read_uses(from_ms=erased_ms - 5, to_ms=erased_ms + 6)}
    assert (uses[late.id].owner, uses[late.id].chat_id, uses[late.id].ended_ms) == ("", None, late.ended_ms)
    assert uses[later.id] == later


async def test_an_erasure_is_known_to_those_who_began_before_it(store: Store, owner: str) -> None:
    erased_ms = now_ms()
    assert not await store.was_erased(owner, since_ms=0)

    await store.erase_owner(owner, now_ms=erased_ms)

    assert await store.was_erased(owner, since_ms=erased_ms)
    assert not await store.was_erased(owner, since_ms=erased_ms + 1)
    assert not await store.was_erased(f"{owner}x", since_ms=0)


async def test_what_is_settled_late_begins_no_counter_anew(store: Store, owner: str) -> None:
    house = House(store, now_ms)
    quotas = Quotas(store, store, store, house, now_ms, defaults=Limits(tokens_per_day=1_000))
    held = await quotas.reserve(Asker(owner), "work", Amounts(tokens=100))
    await store.erase_owner(owner, now_ms=now_ms())

    await quotas.settle(held, "work", Amounts(tokens=40))

    assert not any((await tables(store, owner)).values())
