"""The ledger: every use of a node, once, by the time it was asked for.

The ledger has no owner, and DynamoDB's is shared between tests: each test has days of its own.
"""

import asyncio
import random
import time
from itertools import count

import msgspec
import pytest

from functions.adapters.rules import DAY_MS
from functions.chat.messages import NodeUse
from tests.contracts.makers import NASTY, Store, a_use

_days_ago = count(4, 4)  # three of its own, and one between


@pytest.fixture
def midnight() -> int:
    """The first millisecond of a day, in Unix milliseconds. The days before and after it are free as well."""
    return (time.time_ns() // 1_000_000 // DAY_MS - next(_days_ago)) * DAY_MS


async def record(store: Store, *uses: NodeUse) -> None:
    await asyncio.gather(*(store.record_use(use) for use in uses))


async def test_a_use_is_read_as_it_was_recorded(stores: tuple[Store, Store], midnight: int) -> None:
    whole = a_use(
        midnight,
        chat_id="a chat",
        was_cold=True,
        gpu="L4",
        usd_per_second=0.000222,
        idle_s=60.5,
        streams=8,
        prompt_tokens=2**40,
        cached_tokens=7,
        completion_tokens=9,
        node=NASTY,
    )
    in_vain = a_use(midnight + 1, run_id=None, began_ms=None)

    await record(stores[0], whole, in_vain)

    assert await stores[1].read_uses(from_ms=midnight, to_ms=midnight + 2) == (whole, in_vain)


async def test_the_first_millisecond_is_read_and_the_last_is_not(store: Store, midnight: int) -> None:
    uses = [a_use(midnight + n) for n in range(-2, 3)]
    await record(store, *uses)

    async def read(first: int, last: int) -> tuple[NodeUse, ...]:
        return await store.read_uses(from_ms=midnight + first, to_ms=midnight + last)

    assert await read(-2, 3) == tuple(uses)
    assert await read(-1, 2) == tuple(uses[1:4])
    assert await read(-2, 0) == tuple(uses[:2])
    assert await read(0, 1) == (uses[2],)


async def test_a_time_without_uses_has_none(store: Store, midnight: int) -> None:
    await record(store, a_use(midnight))

    for first, last in ((1, 9), (-9, 0), (0, 0), (5, 1), (DAY_MS, -DAY_MS), (1, DAY_MS), (-(10**15), -DAY_MS * 400)):
        assert await store.read_uses(from_ms=midnight + first, to_ms=midnight + last) == ()


async def test_who_asks_for_all_of_time_gets_what_is_kept(store: Store, midnight: int) -> None:
    oldest, newest = a_use(midnight - 1), a_use(midnight)
    await record(store, newest, oldest)

    for first, last in ((0, 2**53), (-(2**53), 10**13)):
        everything = await store.read_uses(from_ms=first, to_ms=last)

        assert [use for use in everything if use in (oldest, newest)] == [oldest, newest]


async def test_uses_come_by_time_and_then_by_id(store: Store, midnight: int) -> None:
    prefix = a_use(0).id
    ids = ("", "#", "$", "%", "%23", "&", "a", "é", "中", NASTY, "n" * 5_000 + "1", "n" * 5_000 + "2")
    uses = [a_use(midnight + late, id=f"{prefix}{late}{name}") for late in (0, 1) for name in ids]
    await record(store, *random.Random(7).sample(uses, len(uses)))

    stored = await store.read_uses(from_ms=midnight, to_ms=midnight + DAY_MS)

    assert [(use.asked_ms, use.id) for use in stored] == sorted((use.asked_ms, use.id) for use in uses)


async def test_the_same_use_again_changes_nothing(stores: tuple[Store, Store], midnight: int) -> None:
    use = a_use(midnight)
    await stores[0].record_use(use)

    for changes in ({}, {"owner": "another"}, {"asked_ms": midnight + 5}, {"asked_ms": midnight - 5}):
        await stores[1].record_use(msgspec.structs.replace(use, **changes))

    assert await stores[0].read_uses(from_ms=midnight - DAY_MS, to_ms=midnight + DAY_MS) == (use,)


async def test_a_use_without_an_id_is_a_mistake(store: Store, midnight: int) -> None:
    with pytest.raises(ValueError, match="without an id"):
        await store.record_use(a_use(midnight, id=""))

    assert await store.read_uses(from_ms=midnight, to_ms=midnight + 1) == ()


async def test_a_thousand_uses_over_a_midnight_are_read_whole(store: Store, midnight: int) -> None:
    # 1.3 MB on either side of it: DynamoDB answers 1 MB at a time.
    uses = [a_use(midnight + (n - 500) * 1_000, model="m" * 2_300, completion_tokens=n) for n in range(1_010)]
    await record(store, *random.Random(7).sample(uses, len(uses)))

    both = await store.read_uses(from_ms=midnight - DAY_MS, to_ms=midnight + DAY_MS)
    part = await store.read_uses(from_ms=midnight - 1_000, to_ms=midnight + 1_000)

    assert both == tuple(uses)
    assert part == tuple(uses[499:501])
