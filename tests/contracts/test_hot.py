"""What is kept at hand: that it is used, that it is never more than the store says, and that it goes."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from valkey.asyncio import Valkey

from functions.adapters.sqlite import SqliteStore
from functions.adapters.valkey import KEPT_SECONDS, PLACE_BYTES
from functions.chat.messages import Chat, Feedback, Message, Profile, Run
from functions.errors import NotFound
from tests.contracts.hot import Hot, hot
from tests.contracts.makers import (
    T0,
    Store,
    a_chat,
    a_message,
    a_turn,
    begun_chat,
    claimed,
    ended,
    finished_chat,
    the_answer,
    the_end,
)

BAD = Feedback(rating=-1, comment="no", at=T0)


async def turn(store: Hot, owner: str, chat: Chat, text: str = "And?") -> tuple[str, tuple[Message, ...], str]:
    """As the chat layer goes about it: (the question's id, what the prompt is made of, the answer's id)."""
    found = await store.get_chat(owner, chat.id)
    question = a_message(chat.id, found.active_leaf, content=text)
    run, _ = await store.begin_turn(owner, a_turn(owner, chat.id, message=question))
    _, path, _ = await store.read_context(owner, chat.id, question.id)
    run = await claimed(store, owner, run)  # type: ignore[arg-type]
    await store.finish_run(owner, ended(run), [the_end(2)], the_answer(run))
    return question.id, path, run.assistant_message_id


async def same(made: Hot, store: Store, owner: str, chat_id: str, leaf: str) -> tuple[Message, ...]:
    """What it reads, which must be what the store has."""
    found, truth = await made.read_context(owner, chat_id, leaf), await store.read_context(owner, chat_id, leaf)
    assert tuple(found) == tuple(truth)
    return found[1]


@pytest.fixture
async def two(stores: tuple[Store, Store], valkey_url: str) -> AsyncIterator[tuple[Hot, Hot]]:
    """Two processes on one store and one shared cache."""
    pair = hot(stores[0], valkey_url), hot(stores[1], valkey_url)
    yield pair
    for made in pair:
        assert made.cache is not None
        await made.cache.close()


@pytest.fixture
async def raw(valkey_url: str) -> AsyncIterator[Any]:
    """What the cache's own server has."""
    client = Valkey.from_url(valkey_url)
    yield client
    await client.aclose()


# -- it is used ---------------------------------------------------------------------------------------------------
async def test_a_path_is_read_once(store: Store, owner: str) -> None:
    made = hot(store)
    chat, run = await finished_chat(store, owner)

    first = await same(made, store, owner, chat.id, run.assistant_message_id)
    again = await same(made, store, owner, chat.id, run.assistant_message_id)
    question = await same(made, store, owner, chat.id, run.user_message_id or "")

    assert (made.watched.paths, made.watched.spared) == (1, 2)
    assert again == first
    assert question == first[:1]


async def test_a_turn_reads_no_message_that_this_process_has_seen(store: Store, owner: str) -> None:
    made = hot(store)
    chat = a_chat()
    await made.create_chat(owner, chat)

    for number in range(1, 4):
        question, path, _ = await turn(made, owner, chat)
        assert path == await store.read_path(owner, chat.id, question)
        assert len(path) == 2 * number - 1

    assert made.watched.paths == 0


async def test_what_one_process_has_seen_the_others_find_in_the_shared_cache(
    two: tuple[Hot, Hot], store: Store, owner: str
) -> None:
    chat = a_chat()
    await store.create_chat(owner, chat)

    for number in range(1, 7):  # each turn in the other process, whose own memory ends two messages ago
        made = two[number % 2]
        question, path, answer = await turn(made, owner, chat, f"question {number}")
        assert path == await store.read_path(owner, chat.id, question)
        await made.written()
    newcomer = two[0]
    newcomer.forget_all()
    await same(newcomer, store, owner, chat.id, answer)

    assert [made.watched.paths for made in two] == [0, 0]


# -- it is never more than the store says -------------------------------------------------------------------------
async def test_what_another_process_changes_is_seen_at_once(two: tuple[Hot, Hot], store: Store, owner: str) -> None:
    one, other = two
    chat, run = await finished_chat(store, owner)
    leaf = run.assistant_message_id
    await same(one, store, owner, chat.id, leaf)
    await one.written()
    await same(other, store, owner, chat.id, leaf)

    await other.put_feedback(owner, chat.id, leaf, BAD)
    path = await same(one, store, owner, chat.id, leaf)
    await store.put_profile(owner, Profile(custom_instructions="Be brief."))
    await store.update_chat(owner, chat.id, {"system_prompt": "Be kind."})
    await same(one, store, owner, chat.id, leaf)
    one.forget_all()

    assert path[-1].feedback == BAD
    assert (await same(one, store, owner, chat.id, leaf))[-1].feedback == BAD


async def test_an_answer_that_is_taken_back_is_read_no_more(two: tuple[Hot, Hot], store: Store, owner: str) -> None:
    chat, first = await finished_chat(store, owner, "a secret")
    leaf = first.assistant_message_id
    for made in two:
        await same(made, store, owner, chat.id, leaf)
        await made.written()
    await two[1].get_chat(owner, chat.id)
    run, _ = await two[1].begin_turn(owner, a_turn(owner, chat.id, run={"assistant_message_id": leaf}))
    run = await claimed(store, owner, run)

    await two[1].finish_run(owner, ended(run), [the_end(2)], the_answer(run, "withdrawn"))

    for made in two:
        assert (await same(made, store, owner, chat.id, leaf))[-1].content == "withdrawn"
        made.forget_all()
        assert (await same(made, store, owner, chat.id, leaf))[-1].content == "withdrawn"


async def test_a_deleted_chat_is_not_there_whoever_has_it_at_hand(two: tuple[Hot, Hot], owner: str) -> None:
    chat, run = await finished_chat(two[0], owner)  # type: ignore[arg-type]
    for made in two:
        await made.read_context(owner, chat.id, run.assistant_message_id)
        await made.written()

    await two[0].delete_chat(owner, chat.id)

    for made in two:
        with pytest.raises(NotFound):
            await made.read_context(owner, chat.id, run.assistant_message_id)
        with pytest.raises(NotFound):
            await made.get_chat(owner, chat.id)


async def test_a_chat_that_is_made_again_has_nothing_of_the_old_one(
    two: tuple[Hot, Hot], store: Store, owner: str
) -> None:
    chat = a_chat()
    message = a_message(chat.id, content="the old one")
    for text in ("the old one", "the new one"):
        await two[0].create_chat(owner, chat)
        await two[0].get_chat(owner, chat.id)
        again = a_message(chat.id, id=message.id, content=text)
        await two[0].begin_turn(owner, a_turn(owner, chat.id, message=again))
        for made in two:
            assert [m.content for m in await same(made, store, owner, chat.id, message.id)] == [text]
            await made.written()
        await store.delete_chat(owner, chat.id)  # by somebody who knows of no cache


async def test_what_was_refused_is_not_kept(two: tuple[Hot, Hot], store: Store, owner: str) -> None:
    made = two[0]
    chat, first = await begun_chat(store, owner)
    await made.get_chat(owner, chat.id)
    lost = a_message(chat.id, first.user_message_id)

    with pytest.raises(Exception, match="still answering"):
        await made.begin_turn(owner, a_turn(owner, chat.id, message=lost))

    with pytest.raises(NotFound):
        await made.read_context(owner, chat.id, lost.id)


class Paused:
    """A store whose turns are stored, and then say so only when they may."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self.is_stored, self.may_go_on = asyncio.Event(), asyncio.Event()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._store, name)

    async def begin_turn(self, owner: str, turn: Any) -> tuple[Run, bool]:
        result = await self._store.begin_turn(owner, turn)
        self.is_stored.set()
        await self.may_go_on.wait()
        return result


async def test_a_change_that_overtakes_the_news_of_a_write_is_not_lost(
    store: Store, owner: str, valkey_url: str
) -> None:
    # begin_turn is stored ── somebody rates it ── this process sees the new edition ── begin_turn returns
    paused: Any = Paused(store)
    made = hot(paused, valkey_url)
    chat = a_chat()
    await store.create_chat(owner, chat)
    await made.get_chat(owner, chat.id)
    message = a_message(chat.id)

    begun = asyncio.create_task(made.begin_turn(owner, a_turn(owner, chat.id, message=message)))
    await paused.is_stored.wait()
    await store.put_feedback(owner, chat.id, message.id, BAD)
    await made.get_chat(owner, chat.id)
    paused.may_go_on.set()
    await begun
    await made.written()

    assert (await same(made, store, owner, chat.id, message.id))[-1].feedback == BAD
    made.forget_all()
    assert (await same(made, store, owner, chat.id, message.id))[-1].feedback == BAD
    assert made.cache is not None
    await made.cache.close()


# -- it goes ------------------------------------------------------------------------------------------------------
async def test_what_is_shared_has_an_end_and_nobodys_name(two: tuple[Hot, Hot], raw: Any, owner: str) -> None:
    await raw.flushall()
    chat, run = await finished_chat(two[0], owner)  # type: ignore[arg-type]
    await two[0].read_context(owner, chat.id, run.assistant_message_id)
    await two[0].written()

    places = await raw.keys("*")
    ends = [await raw.ttl(place) for place in places]

    assert len(places) == 2
    assert all(KEPT_SECONDS - 60 < end <= KEPT_SECONDS for end in ends)
    assert not any(name.encode() in place for name in (owner, chat.id) for place in places)


async def test_what_is_deleted_leaves_the_shared_cache_with_it(two: tuple[Hot, Hot], raw: Any, owner: str) -> None:
    await raw.flushall()
    mine, others = f"{owner} A", f"{owner} B"
    chats = []
    for who in (mine, mine, mine, others):
        chat, run = await finished_chat(two[0], who)  # type: ignore[arg-type]
        await two[0].read_context(who, chat.id, run.assistant_message_id)
        chats.append(chat.id)
    await two[0].written()
    before = len(await raw.keys("*"))

    await two[1].delete_chat(mine, chats[0])
    after_delete = len(await raw.keys("*"))
    is_over = await two[1].expire_chat(mine, chats[1], now_ms=10**14, untouched_since_ms=10**14)
    after_expiry = len(await raw.keys("*"))
    await two[0].erase_owner(mine, now_ms=1)

    assert is_over
    assert (before, after_delete, after_expiry) == (6, 5, 4)  # four chats and two lists
    assert len(await raw.keys("*")) == 2
    assert two[0]._recent.edition(mine, chats[2]) is None
    assert two[0]._recent.edition(others, chats[3]) is not None


async def test_a_chat_too_large_to_come_in_time_is_not_shared(tmp_path: Path, raw: Any, valkey_url: str) -> None:
    await raw.flushall()
    store: Any = await SqliteStore.open(tmp_path / "parley.db")
    made = hot(store, valkey_url)
    chat, run = await finished_chat(store, "local", "x" * PLACE_BYTES)
    leaf = run.assistant_message_id

    await same(made, store, "local", chat.id, leaf)
    await made.written()
    assert await raw.keys("*") == []

    # Piece by piece it has become so: whoever finds it, drops it.
    assert made._shared is not None
    seals = made._shared[1]
    place = seals.place("local", chat.id)
    await raw.hset(place, mapping={f"{n}": b"x" * PLACE_BYTES for n in range(3)})
    made.forget_all()
    await same(made, store, "local", chat.id, leaf)
    await made.written()
    assert await raw.keys("*") == []
    await made.close()
