"""The job queue: due jobs, one taker at a time, back again when nobody finished them."""

from functions.chat.messages import QueuedJob, RunJob
from tests.contracts.makers import NASTY, Store


def a_job(run_id: str = "r") -> RunJob:
    return RunJob(owner=NASTY, run_id=run_id)


async def take(store: Store, now_ms: int, hidden_ms: int = 100) -> QueuedJob:
    queued = await store.take_job(now_ms=now_ms, hidden_ms=hidden_ms)
    assert queued is not None
    return queued


async def test_an_empty_queue_gives_nothing(store: Store) -> None:
    assert await store.take_job(now_ms=10**15, hidden_ms=1) is None


async def test_a_job_is_delivered_not_before_its_time(store: Store) -> None:
    await store.put_job("j", a_job(), at_ms=1_000)

    assert await store.take_job(now_ms=999, hidden_ms=100) is None
    queued = await take(store, 1_000)

    assert (queued.id, queued.job, queued.attempts) == ("j", a_job(), 1)


async def test_the_job_due_longest_comes_first(store: Store) -> None:
    for job_id, at_ms in (("c", 300), ("a", 100), ("b", 200)):
        await store.put_job(job_id, a_job(), at_ms=at_ms)

    assert [(await take(store, 1_000)).id for _ in range(3)] == ["a", "b", "c"]
    assert await store.take_job(now_ms=1_000, hidden_ms=100) is None


async def test_a_job_that_is_not_finished_comes_back(store: Store) -> None:
    await store.put_job("j", a_job(), at_ms=0)

    first = await take(store, 1_000)
    assert await store.take_job(now_ms=1_099, hidden_ms=100) is None
    second = await take(store, 1_100)

    assert (second.attempts, second.receipt != first.receipt) == (2, True)


async def test_a_dropped_job_is_gone(store: Store) -> None:
    await store.put_job("j", a_job(), at_ms=0)
    queued = await take(store, 0)

    await store.drop_job(queued)
    await store.drop_job(queued)

    assert await store.take_job(now_ms=10**15, hidden_ms=1) is None


async def test_a_delayed_job_comes_at_its_new_time(store: Store) -> None:
    await store.put_job("j", a_job(), at_ms=0)
    queued = await take(store, 0, hidden_ms=100)

    await store.delay_job(queued, at_ms=5_000)

    assert await store.take_job(now_ms=4_999, hidden_ms=1) is None
    assert (await take(store, 5_000)).attempts == 2


async def test_a_delay_may_also_hurry(store: Store) -> None:
    await store.put_job("j", a_job(), at_ms=0)
    queued = await take(store, 0, hidden_ms=100_000)

    await store.delay_job(queued, at_ms=10)

    assert (await take(store, 10)).id == "j"


async def test_a_stale_receipt_changes_nothing(store: Store) -> None:
    await store.put_job("j", a_job(), at_ms=0)
    stale = await take(store, 0, hidden_ms=10)
    fresh = await take(store, 10, hidden_ms=10)

    await store.drop_job(stale)
    await store.delay_job(stale, at_ms=999_999)
    assert (await take(store, 20)).id == "j"

    await store.delay_job(fresh, at_ms=999_999)
    assert (await take(store, 10**9)).attempts == 4


async def test_a_receipt_is_used_up_by_a_delay(store: Store) -> None:
    await store.put_job("j", a_job(), at_ms=0)
    queued = await take(store, 0)
    await store.delay_job(queued, at_ms=50)

    await store.drop_job(queued)

    assert (await take(store, 50)).id == "j"


async def test_the_same_id_again_replaces_the_job(store: Store) -> None:
    await store.put_job("j", a_job("old"), at_ms=0)
    held = await take(store, 0)
    await store.put_job("j", a_job("new"), at_ms=500)

    await store.drop_job(held)
    assert await store.take_job(now_ms=499, hidden_ms=1) is None
    queued = await take(store, 500)

    assert (queued.job, queued.attempts) == (a_job("new"), 1)
