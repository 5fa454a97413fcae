"""The job queue: due jobs, one taker at a time, back again when nobody finished them."""

import pytest

from functions.chat.messages import Lane, QueuedJob, RunJob, SummariseJob
from tests.contracts.makers import NASTY, Store


def a_job(run_id: str = "r") -> RunJob:
    return RunJob(owner=NASTY, run_id=run_id)


async def take(store: Store, now_ms: int, hidden_ms: int = 100, lane: Lane = "runs") -> QueuedJob:
    queued = await store.take_job(now_ms=now_ms, hidden_ms=hidden_ms, lane=lane)
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


async def test_one_job_is_taken_by_its_name_when_it_is_due_and_free(store: Store) -> None:
    for job_id, at_ms in (("first", 100), ("wanted", 200)):
        await store.put_job(job_id, a_job(job_id), at_ms=at_ms)

    async def wanted(now_ms: int, lane: Lane = "runs", job_id: str = "wanted") -> QueuedJob | None:
        return await store.take_job(now_ms=now_ms, hidden_ms=100, lane=lane, job_id=job_id)

    assert await wanted(199) is None  # not yet
    assert await wanted(200, lane="work") is None  # not there
    assert await wanted(200, job_id="another") is None
    taken = await wanted(200)
    assert taken is not None
    assert (taken.id, taken.job, taken.attempts) == ("wanted", a_job("wanted"), 1)
    assert await wanted(299) is None  # somebody has it
    again = await wanted(300)
    assert again is not None
    assert again.attempts == 2
    assert (await take(store, 300)).id == "first"


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


async def test_slow_work_and_runs_do_not_stand_in_one_queue(store: Store) -> None:
    await store.put_job("slow", SummariseJob(owner=NASTY, chat_id="c"), at_ms=0)
    await store.put_job("run", a_job(), at_ms=1_000)

    assert (await take(store, 1_000)).id == "run"
    assert await store.take_job(now_ms=1_000, hidden_ms=100) is None
    queued = await take(store, 1_000, lane="work")

    assert (queued.id, queued.job) == ("slow", SummariseJob(owner=NASTY, chat_id="c"))


async def test_a_job_that_is_kept_stays_hidden_as_long_as_its_worker_says(store: Store) -> None:
    await store.put_job("j", a_job(), at_ms=0)
    queued = await take(store, 0, hidden_ms=100)

    assert await store.keep_job(queued, until_ms=500)

    assert await store.take_job(now_ms=499, hidden_ms=100) is None
    assert (await take(store, 500)).attempts == 2


@pytest.mark.parametrize("loss", ["taken", "dropped", "delayed", "replaced"])
async def test_a_job_that_was_lost_cannot_be_kept(store: Store, loss: str) -> None:
    await store.put_job("j", a_job(), at_ms=0)
    queued = await take(store, 0, hidden_ms=10)
    match loss:
        case "taken":
            await take(store, 10, hidden_ms=100)
        case "dropped":
            await store.drop_job(queued)
        case "delayed":
            await store.delay_job(queued, at_ms=50)
        case _:
            await store.put_job("j", a_job(), at_ms=50)

    assert not await store.keep_job(queued, until_ms=10**9)

    left = await store.take_job(now_ms=1_000, hidden_ms=100)
    assert (left is None) == (loss == "dropped")


async def test_a_delay_says_how_often_the_job_was_attempted(store: Store) -> None:
    await store.put_job("j", a_job(), at_ms=0)
    await store.delay_job(await take(store, 0), at_ms=10)
    await store.delay_job(await take(store, 10), at_ms=20, attempts=0)

    assert (await take(store, 20)).attempts == 1


async def test_a_delay_may_move_a_job_to_another_lane(store: Store) -> None:
    await store.put_job("j", a_job(), at_ms=0)
    await store.delay_job(await take(store, 0), at_ms=10, lane="night")

    assert await store.take_job(now_ms=10, hidden_ms=100) is None
    await store.delay_job(await take(store, 10, lane="night"), at_ms=20)

    assert (await take(store, 20, lane="night")).attempts == 3


async def test_a_job_put_again_comes_back_from_where_it_was_moved(store: Store) -> None:
    await store.put_job("j", a_job(), at_ms=0)
    await store.delay_job(await take(store, 0), at_ms=99_000, lane="night", attempts=0)

    await store.put_job("j", a_job(), at_ms=1_000, gently=True)

    assert (await take(store, 1_000)).attempts == 1


async def test_a_job_that_somebody_works_on_may_be_spared(store: Store) -> None:
    await store.put_job("j", a_job("old"), at_ms=0)
    held = await take(store, 1_000, hidden_ms=100)

    await store.put_job("j", a_job("new"), at_ms=1_099, gently=True)
    assert await store.keep_job(held, until_ms=1_100)
    await store.put_job("j", a_job("new"), at_ms=1_100, gently=True)  # its worker is dead

    assert not await store.keep_job(held, until_ms=9_000)
    assert (await take(store, 1_100)).job == a_job("new")


async def test_a_job_that_has_failed_keeps_its_pause_and_its_count(store: Store) -> None:
    await store.put_job("j", a_job(), at_ms=0)
    await store.delay_job(await take(store, 0), at_ms=2_000)

    await store.put_job("j", a_job("new"), at_ms=1_999, gently=True)
    assert await store.take_job(now_ms=1_999, hidden_ms=100) is None
    given_up = await take(store, 2_000)
    assert given_up.attempts == 2

    await store.delay_job(given_up, at_ms=0, lane="failed")
    await store.put_job("j", a_job("new"), at_ms=9_000, gently=True)
    assert (await take(store, 9_000, lane="failed")).job == a_job()
