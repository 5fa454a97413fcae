"""Counters: rates by GCRA, and totals with a limit and an end."""

from datetime import UTC, datetime, timedelta

from tests.contracts.makers import Store

LONG_AGO = datetime(2020, 1, 1, tzinfo=UTC)


def soon() -> datetime:
    return datetime.now(UTC) + timedelta(hours=1)


async def test_a_burst_passes_at_once_and_then_one_per_interval(store: Store, owner: str) -> None:
    async def admit(now_ms: int) -> int:
        return await store.admit(owner, "runs", interval_ms=100, burst=3, now_ms=now_ms)

    assert [await admit(1_000) for _ in range(4)] == [0, 0, 0, 100]
    assert await admit(1_099) == 1
    assert await admit(1_100) == 0
    assert await admit(1_100) == 100
    assert [await admit(9_000) for _ in range(4)] == [0, 0, 0, 100]


async def test_a_refused_event_changes_nothing(store: Store, owner: str) -> None:
    await store.admit(owner, "k", interval_ms=1_000, burst=1, now_ms=0)

    assert [await store.admit(owner, "k", interval_ms=1_000, burst=1, now_ms=1) for _ in range(5)] == [999] * 5
    assert await store.admit(owner, "k", interval_ms=1_000, burst=1, now_ms=1_000) == 0


async def test_rates_of_owners_and_keys_are_apart(store: Store, owner: str) -> None:
    for who, key in ((owner, "a"), (owner, "b"), ("somebody else", "a"), (f"{owner}#a", "")):
        assert await store.admit(who, key, interval_ms=1_000, burst=1, now_ms=0) == 0


async def test_a_total_grows_to_its_limit_and_not_beyond(store: Store, owner: str) -> None:
    assert await store.add(owner, "k", 7, limit=10) == 7
    assert await store.add(owner, "k", 4, limit=10) is None
    assert await store.add(owner, "k", 3, limit=10) == 10
    assert await store.add(owner, "k", 1, limit=10) is None
    assert await store.add(owner, "k", 0, limit=10) == 10


async def test_giving_back_is_never_refused(store: Store, owner: str) -> None:
    await store.add(owner, "k", 50)

    assert await store.add(owner, "k", -5, limit=10) == 45
    assert await store.add(owner, "k", 1, limit=10) is None
    assert await store.add(owner, "k", -100) == -55
    assert await store.add(owner, "k", 2**50) == 2**50 - 55


async def test_a_refused_first_amount_stores_nothing(store: Store, owner: str) -> None:
    assert await store.add(owner, "k", 11, limit=10, expires=LONG_AGO) is None
    assert await store.add(owner, "k", 1) == 1
    assert await store.add(owner, "k", 1) == 2


async def test_a_total_starts_again_when_its_time_is_over(store: Store, owner: str) -> None:
    assert await store.add(owner, "k", 9, limit=10, expires=LONG_AGO) == 9
    assert await store.add(owner, "k", 8, limit=10, expires=soon()) == 8
    assert await store.add(owner, "k", 8, limit=10, expires=soon()) is None
    assert await store.add(owner, "k", 1) == 9


async def test_the_add_that_starts_a_total_sets_its_end(store: Store, owner: str) -> None:
    await store.add(owner, "k", 1, expires=soon())

    assert await store.add(owner, "k", 1, expires=LONG_AGO) == 2
    assert await store.add(owner, "k", 1) == 3


async def test_a_total_without_an_end_stays(store: Store, owner: str) -> None:
    await store.add(owner, "k", 1)

    assert await store.add(owner, "k", 1, expires=LONG_AGO) == 2
    assert await store.add(owner, "k", 1) == 3


async def test_totals_of_owners_and_keys_and_rates_are_apart(store: Store, owner: str) -> None:
    await store.admit(owner, "a", interval_ms=1, burst=1, now_ms=0)
    for who, key in ((owner, "a"), (owner, "b"), ("somebody else", "a"), (f"{owner}#a", "")):
        assert await store.add(who, key, 3) == 3
