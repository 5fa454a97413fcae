"""Turns, runs and their events: what one caller after the other sees. Races are in test_races.py."""

import random

import msgspec
import pytest

from functions.chat.messages import (
    Cost,
    Delta,
    LoggedEvent,
    Problem,
    RunJob,
    Sampling,
    Timings,
    Titled,
    Usage,
    Verdict,
    new_id,
)
from functions.errors import Conflict, Fenced, NotFound
from tests.contracts.makers import (
    LEASE_MS,
    NASTY,
    Store,
    a_chat,
    a_message,
    a_turn,
    at,
    begun_chat,
    claimed,
    deltas,
    ended,
    finished_chat,
    started,
    the_answer,
    the_end,
)


# -- begin_turn ---------------------------------------------------------------------------------------------------
async def test_a_turn_stores_all_its_parts_at_once(store: Store, owner: str) -> None:
    chat = a_chat()
    await store.create_chat(owner, chat)
    turn = a_turn(owner, chat.id, title_if_none="A title")

    run, is_new = await store.begin_turn(owner, turn)

    assert is_new
    assert run == msgspec.structs.replace(turn.run, last_seq=1)
    assert await store.get_run(owner, run.id) == run
    assert await store.read_events(owner, run.id) == turn.events
    assert turn.user_message is not None
    assert await store.get_message(owner, chat.id, turn.user_message.id) == turn.user_message
    stored = await store.get_chat(owner, chat.id)
    assert (stored.active_run, stored.active_leaf, stored.title) == (run.id, turn.user_message.id, "A title")
    assert stored.updated_at == turn.run.created_at
    job = await store.take_job(now_ms=5_000, hidden_ms=1)
    assert job is not None
    assert job.job == RunJob(owner=owner, run_id=run.id)


async def test_every_field_of_a_run_comes_back(store: Store, owner: str) -> None:
    sampling = Sampling(temperature=0.5, stop=("a", NASTY), extra={"tools": [{"x": NASTY}], "n": 1.5})
    prompt = ({"role": "user", "content": NASTY}, {"role": "user", "content": [{"type": "text"}]})
    turn = a_turn(owner, None, run={"sampling": sampling, "prompt": prompt, "held": (owner,), "user_message_id": None})

    run, _ = await store.begin_turn(owner, turn)
    run = await claimed(store, owner, run)
    end = ended(
        run, status="failed", usage=Usage(prompt_tokens=5), timings=Timings(total_ms=9), cost=Cost(cost_usd=0.25),
        verdicts=(Verdict(stage="input", rail="r", action="flagged", message=NASTY, policy="p"),),
        error=Problem(code="c", message=NASTY), stop_requested=True,
    )  # fmt: skip
    await store.finish_run(owner, end, [the_end(2)], None)

    assert (run.sampling, run.prompt, run.held) == (sampling, prompt, (owner,))
    assert await store.get_run(owner, run.id) == msgspec.structs.replace(end, last_seq=2)


async def test_a_run_may_begin_claimed(store: Store, owner: str) -> None:
    chat = a_chat()
    await store.create_chat(owner, chat)
    held = {"status": "running", "epoch": 1, "worker": "one", "lease_until_ms": 9_000}

    run, _ = await store.begin_turn(owner, a_turn(owner, chat.id, run=held))

    assert await store.claim_run(owner, run.id, worker="two", now_ms=8_999, lease_until_ms=20_000) is None
    assert not await store.append_events(owner, run.id, 1, deltas(2, "text"), lease_until_ms=10_000)


async def test_the_same_turn_again_returns_the_stored_run(store: Store, owner: str) -> None:
    chat = a_chat()
    await store.create_chat(owner, chat)
    turn = a_turn(owner, chat.id)
    first, _ = await store.begin_turn(owner, turn)
    first = await claimed(store, owner, first)

    again = msgspec.structs.replace(turn, run=msgspec.structs.replace(turn.run, id=new_id()))
    run, is_new = await store.begin_turn(owner, again)

    assert (run, is_new) == (first, False)
    await store.finish_run(owner, ended(first), [the_end(2)], None)
    run, is_new = await store.begin_turn(owner, again)
    assert (run.id, run.status, is_new) == (first.id, "completed", False)


async def test_a_known_key_with_another_body_is_a_conflict(store: Store, owner: str) -> None:
    chat, run = await begun_chat(store, owner)
    known = f"message:{run.user_message_id}"

    with pytest.raises(Conflict) as caught:
        await store.begin_turn(owner, a_turn(owner, chat.id, key=known, body_hash="another"))

    assert caught.value.code == "message_exists"
    assert len((await store.list_messages(owner, chat.id)).data) == 1


async def test_keys_of_different_owners_do_not_meet(store: Store, owner: str) -> None:
    _, run = await begun_chat(store, owner)
    other = a_chat()
    await store.create_chat("somebody else", other)

    turn = a_turn("somebody else", other.id, key=f"message:{run.user_message_id}", body_hash="another")
    _, is_new = await store.begin_turn("somebody else", turn)

    assert is_new


async def test_a_known_message_id_under_another_key_is_a_conflict(store: Store, owner: str) -> None:
    chat, run = await finished_chat(store, owner)
    before = (await store.list_messages(owner, chat.id)).data
    copy = a_message(chat.id, id=run.user_message_id, content="another text")

    with pytest.raises(Conflict) as caught:
        await store.begin_turn(owner, a_turn(owner, chat.id, message=copy, key="another"))

    assert caught.value.code == "message_exists"
    assert (await store.list_messages(owner, chat.id)).data == before
    assert (await store.get_chat(owner, chat.id)).active_run is None


async def test_a_known_run_id_is_a_conflict_and_stores_nothing(store: Store, owner: str) -> None:
    _, run = await finished_chat(store, owner)
    chat = a_chat()
    await store.create_chat(owner, chat)

    with pytest.raises(Conflict) as caught:
        await store.begin_turn(owner, a_turn(owner, chat.id, run={"id": run.id}))

    assert caught.value.code == "conflict"
    assert (await store.list_messages(owner, chat.id)).data == ()
    assert await store.get_chat(owner, chat.id) == chat
    assert await store.get_run(owner, run.id) == run


async def test_a_chat_answers_one_message_at_a_time(store: Store, owner: str) -> None:
    chat, run = await begun_chat(store, owner)
    second = a_turn(owner, chat.id)

    with pytest.raises(Conflict) as caught:
        await store.begin_turn(owner, second)

    assert caught.value.code == "run_active"
    assert len((await store.list_messages(owner, chat.id)).data) == 1
    with pytest.raises(NotFound):
        await store.get_run(owner, second.run.id)
    assert (await store.get_chat(owner, chat.id)).active_run == run.id
    # The refused turn holds nothing: it begins when the chat is free.
    run = await claimed(store, owner, run)
    await store.finish_run(owner, ended(run), [the_end(2)], None)
    assert (await store.begin_turn(owner, second))[1]


async def test_a_turn_needs_its_chat_and_its_parent(store: Store, owner: str) -> None:
    chat = a_chat()
    await store.create_chat(owner, chat)
    _, other = await finished_chat(store, owner)

    with pytest.raises(NotFound):
        await store.begin_turn(owner, a_turn(owner, new_id()))
    for parent in (new_id(), other.assistant_message_id):
        message = a_message(chat.id, parent)
        with pytest.raises(NotFound):
            await store.begin_turn(owner, a_turn(owner, chat.id, message=message))
        again = {"user_message_id": parent}  # regenerate
        with pytest.raises(NotFound):
            await store.begin_turn(owner, a_turn(owner, chat.id, user_message=None, run=again))
    itself = new_id()
    with pytest.raises(NotFound):
        await store.begin_turn(owner, a_turn(owner, chat.id, message=a_message(chat.id, itself, id=itself)))

    assert (await store.list_messages(owner, chat.id)).data == ()
    assert (await store.get_chat(owner, chat.id)) == chat


async def test_an_answer_is_regenerated_beside_the_old_one(store: Store, owner: str) -> None:
    chat, first = await finished_chat(store, owner, "old")
    again = {"user_message_id": first.user_message_id}

    run, is_new = await store.begin_turn(owner, a_turn(owner, chat.id, user_message=None, run=again, key="again"))
    began = await store.get_chat(owner, chat.id)
    run = await claimed(store, owner, run)
    await store.finish_run(owner, ended(run), [the_end(2)], the_answer(run, "new"))

    assert is_new
    assert (began.active_leaf, began.active_run) == (first.assistant_message_id, run.id)
    assert [m.content for m in await store.read_path(owner, chat.id, run.assistant_message_id)] == ["Hello", "new"]
    assert len((await store.list_messages(owner, chat.id)).data) == 3


async def test_a_turn_can_end_in_its_first_transaction(store: Store, owner: str) -> None:
    chat = a_chat(title="kept")
    await store.create_chat(owner, chat)
    turn = a_turn(owner, chat.id, title_if_none="not used")
    refused = ended(turn.run, finish_reason="content_filter")
    refusal = the_answer(turn.run, "No.", status="blocked")

    blocked = msgspec.structs.replace(turn, run=refused, answer=refusal, events=(started(refused), the_end(2)))
    run, is_new = await store.begin_turn(owner, blocked)

    assert (run.status, is_new) == ("completed", True)
    stored = await store.get_chat(owner, chat.id)
    assert (stored.active_run, stored.active_leaf, stored.title) == (None, refusal.id, "kept")
    assert (await store.list_messages(owner, chat.id)).data == (turn.user_message, refusal)
    assert await store.take_job(now_ms=10**15, hidden_ms=1) is None
    assert (await store.begin_turn(owner, blocked))[1] is False
    assert (await store.begin_turn(owner, a_turn(owner, chat.id)))[1] is True


async def test_a_first_title_stays(store: Store, owner: str) -> None:
    chat, run = await begun_chat(store, owner, title="mine")
    run = await claimed(store, owner, run)
    await store.finish_run(owner, ended(run), [the_end(2)], None)

    await store.begin_turn(owner, a_turn(owner, chat.id, title_if_none="other"))

    assert (await store.get_chat(owner, chat.id)).title == "mine"


async def test_a_first_attempt_takes_the_key_and_a_retry_finds_it(store: Store, owner: str) -> None:
    # A client without keys of its own: the first attempt always begins; its retries attach to the newest run.
    def attempt(body: str, *, is_first: bool) -> object:
        return store.begin_turn(owner, a_turn(owner, None, key="derived", body_hash=body, replace_key=is_first))

    first, _ = await attempt("a", is_first=True)  # type: ignore[misc]
    second, is_new = await attempt("a", is_first=True)  # type: ignore[misc]
    retry, is_new_again = await attempt("a", is_first=False)  # type: ignore[misc]

    assert is_new
    assert second.id != first.id
    assert (retry.id, is_new_again) == (second.id, False)
    assert (await store.get_run(owner, first.id)).status == "queued"


async def test_a_key_is_forgotten_when_its_time_is_over(store: Store, owner: str) -> None:
    async def begin(**changes: object) -> tuple[str, bool]:
        run, is_new = await store.begin_turn(owner, a_turn(owner, None, key="k", **changes))
        return run.id, is_new

    first, _ = await begin(key_expires_ms=1)  # long ago
    second, is_new = await begin(key_expires_ms=10**14)  # long to come
    third, is_new_again = await begin()

    assert (first != second, is_new) == (True, True)
    assert (third, is_new_again) == (second, False)


async def test_a_run_without_a_chat_keeps_its_large_prompt(store: Store, owner: str) -> None:
    text = random.Random(1).randbytes(450_000).hex()  # 900 KB that do not compress below 450
    prompt = ({"role": "user", "content": text},)

    run, _ = await store.begin_turn(owner, a_turn(owner, None, run={"prompt": prompt}))
    run = await claimed(store, owner, run)
    await store.append_events(owner, run.id, 1, deltas(2, "x"), lease_until_ms=9)
    await store.finish_run(owner, ended(run), [the_end(3)], None)

    found = await store.get_run(owner, run.id)
    assert run.prompt == prompt
    assert (found.prompt, found.status, found.last_seq) == (prompt, "completed", 3)


async def test_events_that_do_not_count_from_one_are_a_bug(store: Store, owner: str) -> None:
    run = a_turn(owner, None).run

    for events in ((LoggedEvent.of(2, Delta(text="x")),), (started(run), LoggedEvent.of(3, Delta(text="x")))):
        with pytest.raises(ValueError, match="event"):
            await store.begin_turn(owner, a_turn(owner, None, events=events))


# -- claim_run ----------------------------------------------------------------------------------------------------
async def test_a_claim_gives_a_lease_and_a_new_epoch(store: Store, owner: str) -> None:
    _, run = await begun_chat(store, owner)

    first = await store.claim_run(owner, run.id, worker="one", now_ms=100, lease_until_ms=200)
    refused = await store.claim_run(owner, run.id, worker="two", now_ms=199, lease_until_ms=900)
    second = await store.claim_run(owner, run.id, worker="two", now_ms=200, lease_until_ms=900)

    assert first is not None
    assert second is not None
    assert refused is None
    assert (first.status, first.epoch, first.worker, first.lease_until_ms) == ("running", 1, "one", 200)
    assert (second.epoch, second.worker, second.lease_until_ms) == (2, "two", 900)
    assert await store.get_run(owner, run.id) == second


async def test_a_worker_may_claim_its_own_run_again(store: Store, owner: str) -> None:
    _, run = await begun_chat(store, owner)
    await store.claim_run(owner, run.id, worker="one", now_ms=100, lease_until_ms=200)

    again = await store.claim_run(owner, run.id, worker="one", now_ms=150, lease_until_ms=300)

    assert again is not None
    assert (again.epoch, again.lease_until_ms) == (2, 300)


async def test_a_run_that_has_ended_or_is_absent_is_not_claimed(store: Store, owner: str) -> None:
    _, run = await finished_chat(store, owner)

    assert await store.claim_run(owner, run.id, worker="one", now_ms=10**15, lease_until_ms=10**16) is None
    assert await store.claim_run(owner, new_id(), worker="one", now_ms=0, lease_until_ms=1) is None
    assert await store.claim_run("thief", run.id, worker="one", now_ms=0, lease_until_ms=1) is None


# -- append_events, read_events -----------------------------------------------------------------------------------
async def test_appended_events_are_read_back_byte_for_byte(store: Store, owner: str) -> None:
    _, run = await begun_chat(store, owner)
    run = await claimed(store, owner, run)
    events = [*deltas(2, NASTY, "", "🙂" * 5000), LoggedEvent.of(5, Titled(title=NASTY))]

    stop = await store.append_events(owner, run.id, run.epoch, events[:2], lease_until_ms=7_000)
    await store.append_events(owner, run.id, run.epoch, events[2:], lease_until_ms=8_000)

    found = await store.read_events(owner, run.id)
    assert stop is False
    assert found[1:] == tuple(events)
    assert [event.data for event in found[1:]] == [event.data for event in events]
    stored = await store.get_run(owner, run.id)
    assert (stored.last_seq, stored.lease_until_ms) == (5, 8_000)


async def test_a_checkpoint_without_events_renews_the_lease(store: Store, owner: str) -> None:
    _, run = await begun_chat(store, owner)
    run = await claimed(store, owner, run)

    stop = await store.append_events(owner, run.id, run.epoch, [], lease_until_ms=77_000)

    stored = await store.get_run(owner, run.id)
    assert (stop, stored.lease_until_ms, stored.last_seq) == (False, 77_000, 1)


async def test_reading_goes_on_after_what_was_seen(store: Store, owner: str) -> None:
    _, run = await begun_chat(store, owner)
    run = await claimed(store, owner, run)
    await store.append_events(owner, run.id, run.epoch, deltas(2, "b", "c", "d"), lease_until_ms=9)
    await store.append_events(owner, run.id, run.epoch, deltas(5, "e"), lease_until_ms=9)

    async def seqs(after: int) -> list[int]:
        return [event.seq for event in await store.read_events(owner, run.id, after=after)]

    assert await seqs(0) == [1, 2, 3, 4, 5]
    assert await seqs(2) == [3, 4, 5]
    assert await seqs(4) == [5]
    assert await seqs(5) == []
    assert await seqs(500) == []


async def test_a_thousand_checkpoints_are_read_in_order(store: Store, owner: str) -> None:
    _, run = await begun_chat(store, owner)
    run = await claimed(store, owner, run)
    for seq in range(2, 202):
        await store.append_events(owner, run.id, run.epoch, deltas(5 * seq - 8, *"abcde"), lease_until_ms=9)

    assert [event.seq for event in await store.read_events(owner, run.id)] == list(range(1, 1002))


async def test_large_events_are_read_back_whole(store: Store, owner: str) -> None:
    _, run = await begun_chat(store, owner)
    run = await claimed(store, owner, run)
    events = deltas(2, *(random.Random(n).randbytes(90_000).hex() for n in range(8)))

    await store.append_events(owner, run.id, run.epoch, events, lease_until_ms=9)
    await store.append_events(owner, run.id, run.epoch, deltas(10, "small"), lease_until_ms=9)

    assert (await store.read_events(owner, run.id, after=1))[:-1] == tuple(events)
    assert [event.seq for event in await store.read_events(owner, run.id, after=8)] == [9, 10]


async def test_only_the_owner_of_the_epoch_appends(store: Store, owner: str) -> None:
    _, run = await begun_chat(store, owner)
    old = await claimed(store, owner, run)
    new = await store.claim_run(owner, run.id, worker="two", now_ms=LEASE_MS, lease_until_ms=2 * LEASE_MS)
    assert new is not None

    for epoch in (old.epoch, new.epoch + 1, 0):
        with pytest.raises(Fenced):
            await store.append_events(owner, run.id, epoch, deltas(2, "late"), lease_until_ms=3 * LEASE_MS)
        with pytest.raises(Fenced):
            await store.append_events(owner, run.id, epoch, [], lease_until_ms=3 * LEASE_MS)
    with pytest.raises(Fenced):
        await store.append_events("thief", run.id, new.epoch, deltas(2, "late"), lease_until_ms=3 * LEASE_MS)

    assert await store.get_run(owner, run.id) == new
    assert len(await store.read_events(owner, run.id)) == 1


async def test_a_checkpoint_must_go_on_where_the_log_ends(store: Store, owner: str) -> None:
    _, run = await begun_chat(store, owner)
    run = await claimed(store, owner, run)

    for first in (1, 3):
        with pytest.raises(Fenced):
            await store.append_events(owner, run.id, run.epoch, deltas(first, "x"), lease_until_ms=9)

    assert len(await store.read_events(owner, run.id)) == 1


async def test_nothing_is_appended_to_a_run_that_has_ended_or_is_absent(store: Store, owner: str) -> None:
    _, run = await finished_chat(store, owner)

    with pytest.raises(Fenced):
        await store.append_events(owner, run.id, run.epoch, deltas(3, "x"), lease_until_ms=9)
    with pytest.raises(Fenced):
        await store.append_events(owner, run.id, run.epoch, [], lease_until_ms=9)
    with pytest.raises(Fenced):
        await store.append_events(owner, new_id(), 1, deltas(1, "x"), lease_until_ms=9)

    assert [event.seq for event in await store.read_events(owner, run.id)] == [1, 2]


async def test_an_absent_run_is_not_found(store: Store, owner: str) -> None:
    _, run = await begun_chat(store, owner)

    for who, run_id in ((owner, new_id()), ("thief", run.id)):
        with pytest.raises(NotFound):
            await store.get_run(who, run_id)
        with pytest.raises(NotFound):
            await store.read_events(who, run_id)
        with pytest.raises(NotFound):
            await store.request_stop(who, run_id)

    assert (await store.get_run(owner, run.id)).stop_requested is False


# -- request_stop -------------------------------------------------------------------------------------------------
async def test_the_worker_hears_of_a_stop_at_each_checkpoint(store: Store, owner: str) -> None:
    _, run = await begun_chat(store, owner)
    run = await claimed(store, owner, run)

    asked = await store.request_stop(owner, run.id)
    again = await store.request_stop(owner, run.id)

    assert asked.stop_requested
    assert again == asked
    assert await store.append_events(owner, run.id, run.epoch, deltas(2, "x"), lease_until_ms=9) is True
    assert await store.append_events(owner, run.id, run.epoch, deltas(3, "y"), lease_until_ms=9) is True
    assert await store.append_events(owner, run.id, run.epoch, [], lease_until_ms=9) is True
    assert (await store.get_run(owner, run.id)).last_seq == 3


async def test_a_queued_run_keeps_a_stop_for_its_worker(store: Store, owner: str) -> None:
    _, run = await begun_chat(store, owner)

    await store.request_stop(owner, run.id)

    assert (await claimed(store, owner, run)).stop_requested


async def test_a_run_that_has_ended_is_not_stopped(store: Store, owner: str) -> None:
    _, run = await finished_chat(store, owner)

    assert await store.request_stop(owner, run.id) == run
    assert (await store.get_run(owner, run.id)).stop_requested is False


async def test_all_of_an_owners_runs_are_stopped_at_once_and_nobody_elses(store: Store, owner: str) -> None:
    other = f"{owner}-2"
    going = await claimed(store, owner, (await begun_chat(store, owner))[1])
    _, waiting = await begun_chat(store, owner)
    without_chat, _ = await store.begin_turn(owner, a_turn(owner, None))
    _, over = await finished_chat(store, owner)
    _, others = await begun_chat(store, other)

    assert await store.stop_runs(owner) == 3

    asked = {run.id for run in (going, waiting, without_chat)}
    for who, run in ((owner, going), (owner, waiting), (owner, without_chat), (owner, over), (other, others)):
        assert (await store.get_run(who, run.id)).stop_requested is (run.id in asked)
    assert await store.stop_runs("nobody") == 0


# -- finish_run ---------------------------------------------------------------------------------------------------
async def test_the_end_stores_run_answer_chat_and_drops_the_job(store: Store, owner: str) -> None:
    chat, run = await begun_chat(store, owner)
    run = await claimed(store, owner, run)
    await store.append_events(owner, run.id, run.epoch, deltas(2, "Hi"), lease_until_ms=9)
    answer = the_answer(run)

    await store.finish_run(owner, ended(run), [*deltas(3, "!"), the_end(4)], answer)

    assert await store.get_run(owner, run.id) == msgspec.structs.replace(ended(run), last_seq=4)
    assert [event.seq for event in await store.read_events(owner, run.id)] == [1, 2, 3, 4]
    assert await store.get_message(owner, chat.id, answer.id) == answer
    stored = await store.get_chat(owner, chat.id)
    assert (stored.active_run, stored.active_leaf, stored.updated_at) == (None, answer.id, at(120))
    assert await store.take_job(now_ms=10**15, hidden_ms=1) is None


async def test_a_run_may_end_without_an_answer_and_without_events(store: Store, owner: str) -> None:
    chat, run = await begun_chat(store, owner)
    run = await claimed(store, owner, run)

    await store.finish_run(owner, ended(run, status="failed"), [], None)

    stored = await store.get_chat(owner, chat.id)
    assert (stored.active_run, stored.active_leaf) == (None, run.user_message_id)
    assert (await store.get_run(owner, run.id)).last_seq == 1


async def test_a_run_ends_once_and_under_its_epoch_only(store: Store, owner: str) -> None:
    chat, run = await begun_chat(store, owner)
    old = await claimed(store, owner, run)
    new = await store.claim_run(owner, run.id, worker="two", now_ms=LEASE_MS, lease_until_ms=2 * LEASE_MS)
    assert new is not None

    for loser, seq in ((old, 2), (new, 3), (new, 1)):
        with pytest.raises(Fenced):
            await store.finish_run(owner, ended(loser), [the_end(seq)], the_answer(loser, "lost"))
    with pytest.raises(Fenced):
        await store.finish_run("thief", ended(new), [the_end(2)], the_answer(new, "lost"))
    assert (await store.get_chat(owner, chat.id)).active_run == run.id
    await store.finish_run(owner, ended(new), [the_end(2)], the_answer(new, "won"))
    with pytest.raises(Fenced):
        await store.finish_run(owner, ended(new), [the_end(3)], the_answer(new, "twice"))

    assert [m.content for m in (await store.list_messages(owner, chat.id)).data] == ["Hello", "won"]


async def test_a_run_does_not_end_as_running(store: Store, owner: str) -> None:
    _, run = await begun_chat(store, owner)
    run = await claimed(store, owner, run)

    with pytest.raises(ValueError, match="running"):
        await store.finish_run(owner, run, [the_end(2)], None)


async def test_an_end_leaves_what_the_user_changed_meanwhile(store: Store, owner: str) -> None:
    chat, run = await begun_chat(store, owner)
    run = await claimed(store, owner, run)
    await store.update_chat(owner, chat.id, {"title": "renamed", "pinned": True})

    await store.finish_run(owner, ended(run), [the_end(2)], the_answer(run))

    stored = await store.get_chat(owner, chat.id)
    assert (stored.title, stored.pinned) == ("renamed", True)
