"""A turn's key can be looked up before anything is reserved for it; logs of long ago are forgotten."""

import time
from pathlib import Path

import pytest

from functions.adapters.sqlite import SqliteStore
from functions.chat.messages import new_id
from functions.errors import Conflict, NotFound
from tests.contracts.makers import Store, a_turn, begun_chat, claimed, deltas, ended, the_answer, the_end

TEN_DAYS_MS = 10 * 24 * 3600 * 1000


async def test_a_key_leads_to_its_run_and_refuses_another_body(store: Store, owner: str) -> None:
    chat, _ = await begun_chat(store, owner)
    turn = a_turn(owner, None, key="k", body_hash="one")
    await store.begin_turn(owner, turn)

    found = await store.find_turn(owner, "k", "one")

    assert found is not None
    assert found.id == turn.run.id
    assert await store.find_turn(owner, "other", "one") is None
    assert await store.find_turn(f"not {owner}", "k", "one") is None
    with pytest.raises(Conflict) as raised:
        await store.find_turn(owner, "k", "two")
    assert raised.value.code == "message_exists"
    assert chat


async def test_an_expired_key_leads_nowhere(store: Store, owner: str) -> None:
    await store.begin_turn(owner, a_turn(owner, None, key="k", body_hash="one", key_expires_ms=1))

    assert await store.find_turn(owner, "k", "one") is None


async def test_sqlite_forgets_old_logs_at_its_next_start_and_keeps_the_answers(tmp_path: Path) -> None:
    path, long_ago = tmp_path / "parley.db", time.time_ns() // 1_000_000 - TEN_DAYS_MS
    store = await SqliteStore.open(path)
    chat, young = await begun_chat(store, "ana")
    stateless = a_turn("ana", None, run={"id": new_id(long_ago)})
    await store.begin_turn("ana", stateless)
    lone = await claimed(store, "ana", stateless.run)
    await store.finish_run("ana", ended(lone), [the_end(2)], None)
    old_chat, _ = await begun_chat(store, "ana")
    await store.finish_run("ana", ended(await claimed(store, "ana", young)), [*deltas(2, "x"), the_end(3)], None)
    turn = a_turn("ana", chat.id, run={"id": new_id(long_ago)})
    await store.begin_turn("ana", turn)
    old = await claimed(store, "ana", turn.run)
    await store.finish_run("ana", ended(old), [the_end(2)], the_answer(old))
    await store.close()

    again = await SqliteStore.open(path)

    with pytest.raises(NotFound):
        await again.get_run("ana", lone.id)
    assert await again.read_events("ana", old.id) == ()
    assert (await again.get_run("ana", old.id)).status == "completed"
    assert len(await again.read_events("ana", young.id)) == 3
    assert (await again.get_message("ana", chat.id, old.assistant_message_id)).content == "Hi!"
    assert await again.get_chat("ana", old_chat.id)
    await again.close()
