"""An answer that was taken back: once its run has ended, the log has none of its text, and every event its place."""

import asyncio
import random
from typing import Any

import pytest

from functions.chat.messages import GuardrailActed, LoggedEvent, ToolCalls
from functions.errors import Fenced, StoreUnavailable
from tests.contracts.inside import leftovers
from tests.contracts.makers import (
    LEASE_MS,
    Store,
    a_turn,
    begun_chat,
    claimed,
    deltas,
    ended,
    the_answer,
    the_end,
)

SECRET = "wolfsbane"
Stores = tuple[Store, Store]


def refused(seq: int) -> LoggedEvent:
    acted = GuardrailActed(stage="output", rail="moderation.violence", action="blocked", message="No.")
    return LoggedEvent.of(seq, acted)


async def written(store: Store, owner: str, run: Any, checkpoints: int, text: str = SECRET) -> int:
    """A run's log with so many checkpoints of text, and the verdict; its last seq."""
    for seq in range(2, checkpoints + 2):
        await store.append_events(owner, run.id, run.epoch, deltas(seq, text), lease_until_ms=9)
    await store.append_events(owner, run.id, run.epoch, [refused(checkpoints + 2)], lease_until_ms=9)
    return checkpoints + 2


async def test_a_withdrawn_run_keeps_its_events_and_none_of_their_text(store: Store, owner: str) -> None:
    chat, run = await begun_chat(store, owner)
    run = await claimed(store, owner, run)
    calls = LoggedEvent.of(2, ToolCalls(calls=({"function": {"arguments": SECRET}},)))
    await store.append_events(owner, run.id, run.epoch, [calls, *deltas(3, "Hi ", SECRET)], lease_until_ms=9)
    await store.append_events(owner, run.id, run.epoch, [refused(5)], lease_until_ms=9)
    answer = the_answer(run, "No.")

    await store.finish_run(owner, ended(run), [*deltas(6, SECRET), the_end(7)], answer, withdraw=True)

    log = await store.read_events(owner, run.id)
    assert [(event.seq, event.name) for event in log] == list(
        enumerate(["run", "tool_calls", "delta", "delta", "guardrail", "delta", "stopped"], 1)
    )
    assert log[4] == refused(5)
    assert SECRET not in repr(log)
    assert await store.read_events(owner, run.id, after=3) == log[3:]
    assert await store.get_message(owner, chat.id, answer.id) == answer
    assert (await store.get_run(owner, run.id)).last_seq == 7


async def test_an_end_that_withdraws_nothing_leaves_the_text(store: Store, owner: str) -> None:
    _, run = await begun_chat(store, owner)
    run = await claimed(store, owner, run)
    last = await written(store, owner, run, 2)

    await store.finish_run(owner, ended(run), [the_end(last + 1)], None)

    assert repr(await store.read_events(owner, run.id)).count(f"text='{SECRET}'") == 2


async def test_a_run_without_a_chat_is_withdrawn_too(store: Store, owner: str) -> None:
    turn = a_turn(owner, None, run={"user_message_id": None, "prompt": ({"role": "user", "content": "?"},)})
    run, _ = await store.begin_turn(owner, turn)
    run = await claimed(store, owner, run)
    last = await written(store, owner, run, 1)

    await store.finish_run(owner, ended(run), [the_end(last + 1)], None, withdraw=True)

    assert SECRET not in repr(await store.read_events(owner, run.id))
    assert (await store.get_run(owner, run.id)).prompt == run.prompt


async def test_a_log_longer_than_a_transaction_is_withdrawn_whole(store: Store, owner: str) -> None:
    chat, run = await begun_chat(store, owner)
    run = await claimed(store, owner, run)
    last = await written(store, owner, run, 120)

    await store.finish_run(owner, ended(run), [the_end(last + 1)], the_answer(run), withdraw=True)

    log = await store.read_events(owner, run.id)
    assert [event.seq for event in log] == list(range(1, last + 2))
    assert SECRET not in repr(log)
    await store.delete_chat(owner, chat.id)
    assert await leftovers(store, owner) == []


async def test_nothing_is_left_of_text_too_large_for_an_item(store: Store, owner: str) -> None:
    chat, run = await begun_chat(store, owner)
    run = await claimed(store, owner, run)
    noise = random.Random(7).randbytes(350_000).hex()
    await store.append_events(owner, run.id, run.epoch, deltas(2, noise, "x"), lease_until_ms=9)

    await store.finish_run(owner, ended(run), [the_end(4)], the_answer(run), withdraw=True)

    assert [event.name for event in await store.read_events(owner, run.id)] == ["run", "delta", "delta", "stopped"]
    assert noise not in repr(await store.read_events(owner, run.id))
    assert not [row for row in await leftovers(store, owner) if "Z#E#" in row], "the parts that held it"
    await store.delete_chat(owner, chat.id)
    assert await leftovers(store, owner) == []


async def test_a_fenced_worker_withdraws_nothing(store: Store, owner: str) -> None:
    _, run = await begun_chat(store, owner)
    old = await claimed(store, owner, run)
    last = await written(store, owner, old, 2)
    before = await store.read_events(owner, run.id)
    new = await store.claim_run(owner, run.id, worker="two", now_ms=LEASE_MS, lease_until_ms=2 * LEASE_MS)
    assert new is not None

    for loser, seq in ((old, last + 1), (new, last)):
        with pytest.raises(Fenced):
            await store.finish_run(owner, ended(loser), [the_end(seq)], None, withdraw=True)
    with pytest.raises(Fenced):
        await store.finish_run("thief", ended(new), [the_end(last + 1)], None, withdraw=True)

    assert await store.read_events(owner, run.id) == before


@pytest.mark.parametrize("_round", range(5))
async def test_a_reader_that_has_seen_the_end_never_reads_the_text(stores: Stores, owner: str, _round: int) -> None:
    """A reader that reads from the start, again and again, while a long log is withdrawn."""
    _, run = await begun_chat(stores[0], owner)
    run = await claimed(stores[0], owner, run)
    last = await written(stores[0], owner, run, 30)
    reads: list[tuple[bool, list[int], bool]] = []

    async def read() -> None:
        while not (reads and reads[-1][0]):
            is_over = (await stores[1].get_run(owner, run.id)).status == "completed"
            log = await stores[1].read_events(owner, run.id)
            reads.append((is_over, [event.seq for event in log], SECRET in repr(log)))
            assert not (log[-1].name == "stopped" and SECRET in repr(log))

    finishing = stores[0].finish_run(owner, ended(run), [the_end(last + 1)], None, withdraw=True)
    async with asyncio.timeout(20):
        await asyncio.gather(read(), finishing)

    assert reads[-1] == (True, list(range(1, last + 2)), False)
    assert all(seqs in (list(range(1, last + 1)), list(range(1, last + 2))) for _, seqs, _ in reads)


@pytest.mark.parametrize("_round", range(3))
async def test_a_chat_deleted_under_a_withdrawal_leaves_nothing_behind(stores: Stores, owner: str, _round: int) -> None:
    chat, run = await begun_chat(stores[0], owner)
    run = await claimed(stores[0], owner, run)
    last = await written(stores[0], owner, run, 40)

    async with asyncio.timeout(20):
        ending, deleting = await asyncio.gather(
            stores[0].finish_run(owner, ended(run), [the_end(last + 1)], the_answer(run), withdraw=True),
            stores[1].delete_chat(owner, chat.id),
            return_exceptions=True,
        )

    assert deleting is None
    assert ending is None or isinstance(ending, Fenced)
    assert await leftovers(stores[1], owner) == []


async def test_whoever_comes_after_a_worker_that_died_in_the_middle_withdraws_the_rest(
    store: Store, adapter: str, owner: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    last_step = {"dynamo": "dynamo_runs._write_end", "sqlite": "sqlite_runs.encode"}[adapter]
    _, run = await begun_chat(store, owner)
    run = await claimed(store, owner, run)
    last = await written(store, owner, run, 60)

    def dies(*_: Any, **__: Any) -> None:
        raise StoreUnavailable("the power is out")

    with monkeypatch.context() as patch:
        patch.setattr(f"functions.adapters.{last_step}", dies)
        with pytest.raises(StoreUnavailable):
            await store.finish_run(owner, ended(run), [the_end(last + 1)], None, withdraw=True)
    half = await store.read_events(owner, run.id)
    assert (await store.get_run(owner, run.id)).status == "running"
    assert half[-1] == refused(last), "so the next worker knows why the text is gone"
    next_one = await store.claim_run(owner, run.id, worker="two", now_ms=LEASE_MS, lease_until_ms=2 * LEASE_MS)
    assert next_one is not None

    await store.finish_run(owner, ended(next_one), [the_end(last + 1)], None, withdraw=True)

    assert SECRET not in repr(await store.read_events(owner, run.id))
