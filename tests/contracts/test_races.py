"""Races proved by races: two instances on one stored state, many callers at once, repeated."""

import asyncio
import random
import time
from collections.abc import Awaitable, Iterable, Sequence
from itertools import repeat
from typing import Any

import pytest

from functions.chat.messages import Feedback, Run, RunJob, new_id
from functions.errors import Conflict, Fenced, NotFound
from tests.contracts.conftest import Opener
from tests.contracts.inside import forget_nodes, leftovers
from tests.contracts.makers import (
    LEASE_MS,
    T0,
    Store,
    a_chat,
    a_message,
    a_node,
    a_sighting,
    a_turn,
    a_use,
    begun_chat,
    claimed,
    deltas,
    ended,
    finished_chat,
    the_answer,
    the_end,
)

ROUNDS = range(5)
Stores = tuple[Store, Store]


async def race(calls: Sequence[Awaitable[Any]]) -> list[Any]:
    """All at once; the results, errors among them, in the order of the calls."""
    async with asyncio.timeout(30):  # a loser that does not notice must not go on for ever
        return await asyncio.gather(*calls, return_exceptions=True)


def is_fenced(result: object) -> bool:
    return isinstance(result, Fenced)


def surprises(results: list[Any], *expected: type[Exception]) -> list[Any]:
    return [result for result in results if isinstance(result, BaseException) and not isinstance(result, expected)]


@pytest.mark.parametrize("_round", ROUNDS)
async def test_of_sixteen_equal_turns_exactly_one_begins(stores: Stores, owner: str, _round: int) -> None:
    chat = a_chat()
    await stores[0].create_chat(owner, chat)
    message = a_message(chat.id)
    turns = [a_turn(owner, chat.id, message=message) for _ in range(16)]

    results = await race([stores[n % 2].begin_turn(owner, turn) for n, turn in enumerate(turns)])

    assert surprises(results) == []
    assert sum(is_new for _, is_new in results) == 1
    assert len({run.id for run, _ in results}) == 1
    assert (await stores[0].list_messages(owner, chat.id)).data == (message,)
    assert (await stores[1].get_chat(owner, chat.id)).active_run == results[0][0].id
    # The losers left nothing: there is one run and one job.
    stored = await leftovers(stores[0], owner)
    assert [turn.run.id for turn in turns if any(turn.run.id in row for row in stored)] == [results[0][0].id]
    assert sum(row.startswith("job") for row in stored) == 1


@pytest.mark.parametrize("_round", ROUNDS)
async def test_of_equal_turns_with_different_bodies_one_begins_and_the_others_conflict(
    stores: Stores, owner: str, _round: int
) -> None:
    chat = a_chat()
    await stores[0].create_chat(owner, chat)
    message = a_message(chat.id)

    results = await race([
        stores[n % 2].begin_turn(owner, a_turn(owner, chat.id, message=message, body_hash=str(n))) for n in range(8)
    ])  # fmt: skip

    assert surprises(results, Conflict) == []
    assert [result.code for result in results if isinstance(result, Conflict)] == ["message_exists"] * 7


@pytest.mark.parametrize("_round", ROUNDS)
async def test_of_two_turns_in_one_chat_one_begins_and_the_other_waits(stores: Stores, owner: str, _round: int) -> None:
    chat = a_chat()
    await stores[0].create_chat(owner, chat)

    results = await race([store.begin_turn(owner, a_turn(owner, chat.id)) for store in stores])

    assert surprises(results, Conflict) == []
    (conflict,) = [result for result in results if isinstance(result, Conflict)]
    assert conflict.code == "run_active"
    assert len((await stores[0].list_messages(owner, chat.id)).data) == 1


@pytest.mark.parametrize("racers", [2, 8])
@pytest.mark.parametrize("_round", ROUNDS)
async def test_of_racing_claims_exactly_one_wins(stores: Stores, owner: str, racers: int, _round: int) -> None:
    _, run = await begun_chat(stores[0], owner)

    async def claim(n: int, now_ms: int) -> Run | None:
        return await stores[n % 2].claim_run(
            owner, run.id, worker=f"w{n}", now_ms=now_ms, lease_until_ms=now_ms + LEASE_MS
        )

    first = await race([claim(n, 0) for n in range(racers)])
    takeover = await race([claim(n, LEASE_MS) for n in range(racers)])

    for results, epoch in ((first, 1), (takeover, 2)):
        assert surprises(results) == []
        (winner,) = [result for result in results if result is not None]
        assert winner.epoch == epoch
    assert await stores[1].get_run(owner, run.id) == next(result for result in takeover if result is not None)


@pytest.mark.parametrize("_round", ROUNDS)
async def test_the_fenced_worker_writes_nothing_after_a_takeover(stores: Stores, owner: str, _round: int) -> None:
    # old:  append append append append …      every one of them before the takeover counts, none after it
    # new:        claim ──> appends from the last_seq it was given
    _, run = await begun_chat(stores[0], owner)
    old = await claimed(stores[0], owner, run)

    async def go_on(store: Store, worker: Run, texts: Iterable[str]) -> None:
        for seq, text in enumerate(texts, worker.last_seq + 1):
            await store.append_events(owner, worker.id, worker.epoch, deltas(seq, text), lease_until_ms=0)

    async def take_over() -> int:
        for _ in range(3):  # let the other one get going
            await stores[1].get_run(owner, run.id)
        new = await stores[1].claim_run(owner, run.id, worker="two", now_ms=2 * LEASE_MS, lease_until_ms=LEASE_MS)
        assert new is not None
        await go_on(stores[1], new, "NEW")
        return new.last_seq

    lost, kept = await race([go_on(stores[0], old, repeat("o")), take_over()])

    assert is_fenced(lost)
    text = "".join(event.event.text for event in (await stores[0].read_events(owner, run.id))[1:])  # type: ignore[union-attr]
    assert text == "o" * (kept - 1) + "NEW"
    found = await stores[0].get_run(owner, run.id)
    assert (found.last_seq, found.epoch) == (kept + 3, 2)


@pytest.mark.parametrize("_round", ROUNDS)
async def test_of_an_append_and_an_end_at_the_same_place_one_is_stored(stores: Stores, owner: str, _round: int) -> None:
    chat, run = await begun_chat(stores[0], owner)
    run = await claimed(stores[0], owner, run)

    appended, finished = await race([
        stores[0].append_events(owner, run.id, run.epoch, deltas(2, "x"), lease_until_ms=9),
        stores[1].finish_run(owner, ended(run), [the_end(2)], the_answer(run)),
    ])  # fmt: skip

    assert surprises([appended, finished], Fenced) == []
    assert is_fenced(appended) != is_fenced(finished)
    events = await stores[0].read_events(owner, run.id)
    assert [event.name for event in events] == ["run", "delta" if is_fenced(finished) else "stopped"]
    assert len((await stores[0].list_messages(owner, chat.id)).data) == (1 if is_fenced(finished) else 2)
    assert (await stores[1].get_run(owner, run.id)).last_seq == 2


@pytest.mark.parametrize("_round", ROUNDS)
async def test_a_run_is_finished_once(stores: Stores, owner: str, _round: int) -> None:
    chat, run = await begun_chat(stores[0], owner)
    run = await claimed(stores[0], owner, run)

    results = await race([
        stores[n % 2].finish_run(owner, ended(run), [the_end(2)], the_answer(run, str(n))) for n in range(6)
    ])  # fmt: skip

    assert surprises(results, Fenced) == []
    (winner,) = [n for n, result in enumerate(results) if result is None]
    messages = (await stores[0].list_messages(owner, chat.id)).data
    assert [message.content for message in messages] == ["Hello", str(winner)]


@pytest.mark.parametrize("_round", ROUNDS)
async def test_a_chat_deleted_under_its_worker_leaves_nothing_behind(stores: Stores, owner: str, _round: int) -> None:
    chat, run = await begun_chat(stores[0], owner)
    run = await claimed(stores[0], owner, run)

    async def work(end: bool) -> None:
        for seq in range(2, 300):
            await stores[0].append_events(owner, run.id, run.epoch, deltas(seq, "x"), lease_until_ms=9)
            if end and seq == 4:
                await stores[0].finish_run(owner, ended(run), [the_end(seq + 1)], the_answer(run))
                return

    async def delete() -> None:
        await stores[1].get_chat(owner, chat.id)
        await stores[1].delete_chat(owner, chat.id)

    worked, deleted = await race([work(end=_round % 2 == 1), delete()])

    assert deleted is None
    assert worked is None or is_fenced(worked)
    with pytest.raises(Fenced):
        await stores[0].finish_run(owner, ended(run), [the_end(99)], the_answer(run))
    await assert_gone(stores[0], owner, chat.id, [run.id])
    assert await leftovers(stores[1], owner) == []


@pytest.mark.parametrize("_round", ROUNDS)
async def test_of_many_opinions_one_stays_whole(stores: Stores, owner: str, _round: int) -> None:
    chat, run = await finished_chat(stores[0], owner)
    opinions = [Feedback(rating=-1, reason="other", comment=str(n), at=T0) for n in range(8)]
    answer = run.assistant_message_id

    results = await race([
        stores[n % 2].put_feedback(owner, chat.id, answer, opinion) for n, opinion in enumerate(opinions)
    ])  # fmt: skip

    assert surprises(results) == []
    assert (await stores[0].get_message(owner, chat.id, answer)).feedback in opinions
    await stores[1].put_feedback(owner, chat.id, answer, opinions[0])
    assert (await stores[0].get_message(owner, chat.id, answer)).feedback == opinions[0]


@pytest.mark.parametrize("_round", ROUNDS)
async def test_an_opinion_on_a_chat_that_is_being_deleted_leaves_nothing(
    stores: Stores, owner: str, _round: int
) -> None:
    chat, run = await finished_chat(stores[0], owner)
    told = Feedback(rating=1, at=T0)

    said, deleted = await race([
        stores[0].put_feedback(owner, chat.id, run.assistant_message_id, told),
        stores[1].delete_chat(owner, chat.id),
    ])  # fmt: skip

    assert deleted is None
    assert said is None or isinstance(said, NotFound)
    assert await leftovers(stores[1], owner) == []


async def assert_gone(store: Store, owner: str, chat_id: str, run_ids: list[str]) -> None:
    with pytest.raises(NotFound):
        await store.get_chat(owner, chat_id)
    for run_id in run_ids:
        with pytest.raises(NotFound):
            await store.get_run(owner, run_id)
        with pytest.raises(NotFound):
            await store.read_events(owner, run_id)
    assert await store.take_job(now_ms=10**14, hidden_ms=1) is None
    assert (await store.list_chats(owner, limit=9)).data == ()


@pytest.mark.parametrize("_round", ROUNDS)
async def test_a_chat_deleted_while_a_turn_begins_keeps_no_part_of_it(stores: Stores, owner: str, _round: int) -> None:
    chat = a_chat()
    await stores[0].create_chat(owner, chat)
    turn = a_turn(owner, chat.id)

    began, deleted = await race([stores[0].begin_turn(owner, turn), stores[1].delete_chat(owner, chat.id)])

    assert deleted is None
    assert isinstance(began, NotFound | tuple)
    await assert_gone(stores[0], owner, chat.id, [turn.run.id])
    assert await leftovers(stores[1], owner) == []


async def test_every_rename_under_a_working_run_is_kept(stores: Stores, owner: str) -> None:
    # begin, finish and update write the same chat: none may undo the other's fields.
    chat = a_chat()
    await stores[0].create_chat(owner, chat)

    async def talk() -> None:
        for _ in range(5):
            run, _ = await stores[0].begin_turn(owner, a_turn(owner, chat.id))
            run = await claimed(stores[0], owner, run)
            await stores[0].finish_run(owner, ended(run), [the_end(2)], the_answer(run))

    async def rename() -> None:
        for n in range(20):
            await stores[1].update_chat(owner, chat.id, {"title": str(n)})
            assert (await stores[1].get_chat(owner, chat.id)).title == str(n)

    results = await race([talk(), rename()])

    assert surprises(results) == []
    assert (await stores[0].get_chat(owner, chat.id)).active_run is None


@pytest.mark.parametrize("_round", ROUNDS)
async def test_each_job_is_taken_by_one_taker(stores: Stores, _round: int) -> None:
    job = RunJob(owner="o", run_id="r")
    for n in range(5):
        await stores[0].put_job(f"j{n}", job, at_ms=n)

    results = await race([stores[n % 2].take_job(now_ms=100, hidden_ms=1_000) for n in range(16)])

    assert surprises(results) == []
    assert sorted(result.id for result in results if result) == [f"j{n}" for n in range(5)]


@pytest.mark.parametrize("_round", ROUNDS)
async def test_a_rate_is_exact_under_a_race(stores: Stores, owner: str, _round: int) -> None:
    results = await race([
        stores[n % 2].admit(owner, "k", interval_ms=1_000, burst=5, now_ms=10_000) for n in range(16)
    ])  # fmt: skip

    assert surprises(results) == []
    assert sorted(results) == [0] * 5 + [1_000] * 11


@pytest.mark.parametrize("_round", ROUNDS)
async def test_a_total_is_exact_under_a_race(stores: Stores, owner: str, _round: int) -> None:
    results = await race([stores[n % 2].add(owner, "k", 3, limit=30) for n in range(16)])

    assert surprises(results) == []
    assert sorted(result for result in results if result is not None) == list(range(3, 31, 3))
    assert await stores[0].add(owner, "k", 0) == 30


@pytest.mark.parametrize("_round", ROUNDS)
async def test_the_latest_sighting_wins_in_any_order(stores: Stores, _round: int) -> None:
    await forget_nodes(stores[0])
    now_ms = time.time_ns() // 1_000_000
    sightings = [a_sighting("a", now_ms - n, since_ms=n) for n in range(16)]
    random.Random(_round).shuffle(sightings)

    results = await race([stores[n % 2].put_sighting(sighting) for n, sighting in enumerate(sightings)])

    assert surprises(results) == []
    assert await stores[0].list_sightings() == (a_sighting("a", now_ms, since_ms=0),)


@pytest.mark.parametrize("has_expired", [False, True])
@pytest.mark.parametrize("_round", ROUNDS)
async def test_a_node_joins_once_however_many_processes_say_so(stores: Stores, has_expired: bool, _round: int) -> None:
    # Each heartbeat brings its own moment. Whichever of them is the first, nobody ever sees another.
    await forget_nodes(stores[0])
    if has_expired:
        await stores[0].put_node(a_node(joined_ms=1_000, expires_ms=36_000))

    async def beat(n: int) -> set[int]:
        await stores[n % 2].put_node(a_node(joined_ms=50_000 + n, expires_ms=85_000 + n))
        return {node.joined_ms for node in await stores[n % 2].list_nodes(now_ms=60_000)}

    results = await race([beat(n) for n in range(12)])

    assert surprises(results) == []
    (seen,) = set[int]().union(*results)
    assert seen >= 50_000
    assert [node.joined_ms for node in await stores[0].list_nodes(now_ms=60_000)] == [seen]


@pytest.mark.parametrize("_round", ROUNDS)
async def test_a_use_recorded_by_many_counts_once(stores: Stores, _round: int) -> None:
    use_id, day_ms = new_id(), 24 * 3600 * 1000
    noon = (time.time_ns() // 1_000_000 // day_ms - 3) * day_ms + day_ms // 2
    uses = [a_use(noon - n * (day_ms // 10), id=use_id) for n in range(10)]  # of two days

    results = await race([stores[n % 2].record_use(use) for n, use in enumerate(uses)])

    stored = await stores[0].read_uses(from_ms=noon - 2 * day_ms, to_ms=noon + 1)
    assert surprises(results) == []
    assert len([use for use in stored if use.id == use_id]) == 1


async def test_a_total_starts_again_exactly_once(stores: Stores, owner: str) -> None:
    from datetime import UTC, datetime

    await stores[0].add(owner, "k", 1_000, expires=datetime(2020, 1, 1, tzinfo=UTC))

    results = await race([stores[n % 2].add(owner, "k", 1) for n in range(16)])

    assert sorted(results) == list(range(1, 17))


async def test_a_read_after_an_awaited_write_sees_it_in_the_other_instance(stores: Stores, owner: str) -> None:
    for n in range(20):
        chat, run = await finished_chat(stores[n % 2], owner, f"answer {n}")

        other = stores[(n + 1) % 2]

        assert (await other.get_run(owner, run.id)).status == "completed"
        assert (await other.get_message(owner, chat.id, run.assistant_message_id)).content == f"answer {n}"


async def test_sixty_four_runs_write_at_once_and_each_log_is_its_own(stores: Stores, owner: str) -> None:
    runs = []
    for _ in range(64):
        run, _ = await stores[0].begin_turn(owner, a_turn(owner, None))
        runs.append(await claimed(stores[0], owner, run))

    async def work(n: int, run: Run) -> None:
        for seq in range(2, 7):
            events = deltas(seq, f"{n}.{seq}")
            if n == 13 and seq == 5:  # one that fails must not hurt its neighbours
                for epoch, lost in ((99, events), (run.epoch, deltas(seq + 1, "gap"))):
                    with pytest.raises(Fenced):
                        await stores[n % 2].append_events(owner, run.id, epoch, lost, lease_until_ms=9)
            await stores[n % 2].append_events(owner, run.id, run.epoch, events, lease_until_ms=9)

    results = await race([work(n, run) for n, run in enumerate(runs)])

    assert surprises(results) == []
    for n, run in enumerate(runs):
        texts = [event.event.text for event in (await stores[0].read_events(owner, run.id))[1:]]  # type: ignore[union-attr]
        assert texts == [f"{n}.{seq}" for seq in range(2, 7)]


async def test_a_cancelled_caller_does_not_undo_its_write(opener: Opener, owner: str) -> None:
    stores = await opener(), await opener()
    run, _ = await stores[0].begin_turn(owner, a_turn(owner, None))
    run = await claimed(stores[0], owner, run)

    task = asyncio.ensure_future(
        stores[0].append_events(owner, run.id, run.epoch, deltas(2, "said"), lease_until_ms=9)
    )  # fmt: skip
    await asyncio.sleep(0)  # it has queued its write, and waits
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    await stores[0].close()  # waits for what is queued

    assert len(await stores[1].read_events(owner, run.id)) == 2
    assert (await stores[1].get_run(owner, run.id)).last_seq == 2


async def test_an_unknown_run_raises_in_a_crowd_too(stores: Stores, owner: str) -> None:
    results = await race([stores[0].append_events(owner, new_id(), 1, [], lease_until_ms=9) for _ in range(5)])

    assert all(is_fenced(result) for result in results)
