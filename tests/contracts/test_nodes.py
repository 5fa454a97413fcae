"""The registry of nodes: who has joined and until when, how each was last seen, how long starts took."""

import time

import msgspec
import pytest

from functions.adapters.rules import DAY_MS
from functions.chat.messages import JoinedNode, Sighting
from tests.contracts.inside import forget_nodes
from tests.contracts.makers import NASTY, Store, a_node, a_sighting, next_id

# Names that would meet if keys were made carelessly, and longer ones than a key may be.
ODD_NAMES = ("a", "a#b", "a%23b", "a%", "J#a", "S#a", "Ü 中文 🙂", NASTY, "n" * 5_000 + "1", "n" * 5_000 + "2")


@pytest.fixture(autouse=True)
async def _house_without_nodes(stores: tuple[Store, Store]) -> None:
    await forget_nodes(stores[0])


def now_ms() -> int:
    return time.time_ns() // 1_000_000


async def joined(store: Store, at_ms: int) -> tuple[JoinedNode, ...]:
    return await store.list_nodes(now_ms=at_ms)


# -- who has joined ---------------------------------------------------------------------------------------------
async def test_a_node_is_listed_as_it_described_itself(stores: tuple[Store, Store]) -> None:
    node = a_node(models=("tiny", NASTY), gpu="L4", usd_per_hour=0.8, slots=7)

    assert await joined(stores[1], 1_000) == ()
    await stores[0].put_node(node)

    assert await joined(stores[1], 1_000) == (node,)


async def test_heartbeats_keep_the_moment_of_joining(store: Store) -> None:
    for at_ms in (1_000, 11_000, 21_000):
        await store.put_node(a_node(joined_ms=at_ms, expires_ms=at_ms + 35_000))

    assert await joined(store, 50_000) == (a_node(joined_ms=1_000, expires_ms=56_000),)


async def test_a_heartbeat_may_change_what_the_node_says_of_itself(store: Store) -> None:
    await store.put_node(a_node(models=("old",), slots=4))
    changed = a_node(url="http://10.0.0.8:8000/v1", models=("new", "newer"), gpu="H200", expires_ms=46_000)

    await store.put_node(changed)

    assert await joined(store, 2_000) == (changed,)


async def test_a_silent_node_vanishes_and_who_comes_back_joins_anew(store: Store) -> None:
    await store.put_node(a_node(joined_ms=1_000, expires_ms=36_000))

    assert len(await joined(store, 35_999)) == 1
    assert await joined(store, 36_000) == ()
    again = a_node(joined_ms=36_000, expires_ms=71_000)
    await store.put_node(again)

    assert await joined(store, 36_000) == (again,)


async def test_a_node_that_leaves_is_gone_at_once_and_may_join_anew(store: Store) -> None:
    for name in ("stays", "leaves"):
        await store.put_node(a_node(name))

    await store.drop_node("leaves")
    await store.drop_node("leaves")
    await store.drop_node("never joined")

    assert [node.name for node in await joined(store, 2_000)] == ["stays"]
    await store.put_node(a_node("leaves", joined_ms=5_000))
    assert [node.joined_ms for node in await joined(store, 5_000)] == [5_000, 1_000]


async def test_nodes_with_odd_names_are_apart_and_come_by_name(store: Store) -> None:
    for n, name in enumerate(ODD_NAMES):
        await store.put_node(a_node(name, slots=n))
        await store.put_sighting(a_sighting(name, now_ms()))

    listed = await joined(store, 2_000)

    assert [node.name for node in listed] == sorted(ODD_NAMES)
    assert {node.name: node.slots for node in listed} == {name: n for n, name in enumerate(ODD_NAMES)}
    for name in ODD_NAMES[::2]:
        await store.drop_node(name)
    assert [node.name for node in await joined(store, 2_000)] == sorted(ODD_NAMES[1::2])


# -- how they were seen -----------------------------------------------------------------------------------------
async def test_the_latest_sighting_of_a_node_wins_whoever_comes_last(stores: tuple[Store, Store]) -> None:
    now = now_ms()
    seen = [a_sighting("a", now + n, state=state) for n, state in enumerate(("cold", "warming", "warm"))]

    for sighting, expected in ((seen[1], seen[1]), (seen[0], seen[1]), (seen[2], seen[2]), (seen[1], seen[2])):
        await stores[0].put_sighting(sighting)
        assert await stores[1].list_sightings() == (expected,)


async def test_of_two_sightings_in_one_millisecond_the_second_is_kept(store: Store) -> None:
    first = a_sighting("a", now_ms(), state="warming")
    second = msgspec.structs.replace(first, state="warm")

    await store.put_sighting(first)
    await store.put_sighting(second)

    assert await store.list_sightings() == (second,)


async def test_a_sighting_is_told_for_a_day(store: Store) -> None:
    minute = 60_000  # the store has a clock of its own
    old, recent = (a_sighting(name, now_ms() - DAY_MS + late) for name, late in (("old", -1), ("recent", minute)))

    await store.put_sighting(old)
    await store.put_sighting(recent)

    assert await store.list_sightings() == (recent,)


async def test_sightings_of_odd_names_are_apart_and_come_by_name(store: Store) -> None:
    sightings: list[Sighting] = [a_sighting(name, now_ms() + n) for n, name in enumerate(ODD_NAMES)]
    for sighting in sightings:
        await store.put_node(a_node(sighting.node))
        await store.put_sighting(sighting)

    assert await store.list_sightings() == tuple(sorted(sightings, key=lambda sighting: sighting.node))


# -- how long starts took ---------------------------------------------------------------------------------------
async def test_starts_are_read_newest_first_and_no_more_than_asked_for(stores: tuple[Store, Store]) -> None:
    node, now = next_id(), now_ms()
    for at_ms, took_ms in ((now - 20, 31_000), (now, 42_000), (now - 5_000, 0), (now - 10, 30_000)):
        await stores[0].record_wake(node, at_ms=at_ms, took_ms=took_ms)

    assert await stores[1].read_wakes(node, limit=100) == (42_000, 30_000, 31_000, 0)
    assert await stores[1].read_wakes(node, limit=2) == (42_000, 30_000)
    assert await stores[1].read_wakes(next_id(), limit=2) == ()


async def test_two_starts_that_end_in_one_millisecond_both_count(store: Store) -> None:
    node, now = next_id(), now_ms()

    for took_ms in (30_000, 30_000, 31_000):
        await store.record_wake(node, at_ms=now, took_ms=took_ms)

    assert sorted(await store.read_wakes(node, limit=9)) == [30_000, 30_000, 31_000]


async def test_a_start_of_89_days_ago_is_still_known(store: Store) -> None:
    node = next_id()

    await store.record_wake(node, at_ms=now_ms() - 89 * DAY_MS, took_ms=9)

    assert await store.read_wakes(node, limit=9) == (9,)


async def test_starts_of_odd_names_are_apart(store: Store) -> None:
    prefix, now = next_id(), now_ms()
    for n, name in enumerate(ODD_NAMES):
        await store.record_wake(prefix + name, at_ms=now, took_ms=n)

    assert [await store.read_wakes(prefix + name, limit=9) for name in ODD_NAMES] == [(n,) for n in range(10)]
