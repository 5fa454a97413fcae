"""What ends by itself: temporary chats at their time, chats that nobody has touched for as long as the house keeps
them."""

from datetime import UTC, datetime, timedelta

import pytest

from functions.chat.messages import Chat, expiry_of, utc_now
from functions.errors import Conflict, NotFound
from tests.contracts.inside import leftovers
from tests.contracts.makers import (
    Store,
    a_chat,
    a_turn,
    begun_chat,
    claimed,
    ended,
    finished_chat,
    the_answer,
    the_end,
)

NOW = utc_now()
DAY = timedelta(days=1)


def ms(when: datetime) -> int:
    return int(when.timestamp() * 1000)


def a_temporary_chat(updated_at: datetime = NOW) -> Chat:
    return a_chat(temporary=True, updated_at=updated_at, expires_at=expiry_of(True, updated_at))


async def overdue(store: Store, owner: str, *, now: datetime = NOW, since: datetime | None = None) -> set[str]:
    """The owner's chats that are, found in small pages."""
    found, after = set(), None
    while True:
        page = await store.list_overdue(now_ms=ms(now), untouched_since_ms=since and ms(since), limit=2, after=after)
        found |= {chat for whose, chat in page.data if whose == owner}
        if (after := page.next) is None:
            return found


async def expire(store: Store, owner: str, chat: Chat, *, now: datetime = NOW, since: datetime | None = None) -> bool:
    return await store.expire_chat(owner, chat.id, now_ms=ms(now), untouched_since_ms=since and ms(since))


async def test_a_temporary_chat_is_there_but_not_listed(store: Store, owner: str) -> None:
    chat = a_temporary_chat()
    await store.create_chat(owner, chat)

    assert await store.get_chat(owner, chat.id) == chat
    for archived in (False, True):
        assert (await store.list_chats(owner, limit=9, archived=archived)).data == ()
    assert await overdue(store, owner, since=NOW + DAY) == set()


async def test_each_message_gives_a_temporary_chat_another_day(store: Store, owner: str) -> None:
    chat = a_temporary_chat(NOW - DAY / 2)
    await store.create_chat(owner, chat)
    turn = a_turn(owner, chat.id, run={"created_at": NOW})

    run, _ = await store.begin_turn(owner, turn)
    begun = await store.get_chat(owner, chat.id)
    run = await claimed(store, owner, run)
    end = NOW + timedelta(minutes=1)
    await store.finish_run(owner, ended(run, ended_at=end), [the_end(2)], the_answer(run))

    assert begun.expires_at == NOW + DAY
    assert (await store.get_chat(owner, chat.id)).expires_at == end + DAY


async def test_an_expired_chat_is_gone_before_any_sweep(store: Store, owner: str) -> None:
    chat = a_temporary_chat(NOW - DAY)
    await store.create_chat(owner, chat)

    with pytest.raises(NotFound):
        await store.get_chat(owner, chat.id)
    with pytest.raises(NotFound):
        await store.list_messages(owner, chat.id)
    with pytest.raises(NotFound):
        await store.begin_turn(owner, a_turn(owner, chat.id))
    assert await overdue(store, owner, now=NOW + timedelta(seconds=1)) == {chat.id}


async def test_an_expired_chat_leaves_nothing_behind(store: Store, owner: str) -> None:
    chat = a_temporary_chat()
    await store.create_chat(owner, chat)
    run, _ = await store.begin_turn(owner, a_turn(owner, chat.id, run={"created_at": NOW}))
    run = await claimed(store, owner, run)
    await store.finish_run(owner, ended(run, ended_at=NOW), [the_end(2)], the_answer(run))
    tomorrow = NOW + DAY + timedelta(seconds=1)

    assert not await expire(store, owner, chat)
    assert await overdue(store, owner, now=tomorrow) == {chat.id}
    assert await expire(store, owner, chat, now=tomorrow)

    assert await leftovers(store, owner) == []
    assert not await expire(store, owner, chat, now=tomorrow)
    assert await overdue(store, owner, now=tomorrow) == set()


async def test_old_chats_are_overdue_but_not_pinned_ones_nor_any_when_chats_are_kept(store: Store, owner: str) -> None:
    since = datetime(2020, 1, 1, tzinfo=UTC)
    old = [a_chat(updated_at=since - DAY, archived=i == 1) for i in range(5)]
    pinned, young = a_chat(updated_at=since - DAY, pinned=True), a_chat(updated_at=since + DAY)
    for chat in (*old, pinned, young):
        await store.create_chat(owner, chat)

    assert await overdue(store, owner) == set()
    assert await overdue(store, owner, since=since) == {chat.id for chat in old}
    assert [await expire(store, owner, chat) for chat in old] == [False] * 5
    assert [await expire(store, owner, chat, since=since) for chat in (*old, pinned, young)] == [
        *[True] * 5,
        False,
        False,
    ]

    assert {chat.id for chat in (await store.list_chats(owner, limit=9)).data} == {pinned.id, young.id}


async def test_a_chat_that_is_touched_in_the_meantime_stays(store: Store, owner: str) -> None:
    since = datetime(2020, 1, 1, tzinfo=UTC)
    pinned, written, answering = (a_chat(updated_at=since - DAY) for _ in range(3))
    for chat in (pinned, written, answering):
        await store.create_chat(owner, chat)
    assert len(await overdue(store, owner, since=since)) == 3

    await store.update_chat(owner, pinned.id, {"pinned": True})
    run, _ = await store.begin_turn(owner, a_turn(owner, written.id, run={"created_at": NOW}))
    run = await claimed(store, owner, run)
    await store.finish_run(owner, ended(run, ended_at=NOW), [the_end(2)], the_answer(run))
    await store.begin_turn(owner, a_turn(owner, answering.id, run={"created_at": since - DAY}))

    assert [await expire(store, owner, chat, since=since) for chat in (pinned, written, answering)] == [False] * 3
    with pytest.raises(Conflict):
        await store.begin_turn(owner, a_turn(owner, answering.id))


async def test_a_chat_of_another_is_not_expired_by_its_id(store: Store, owner: str) -> None:
    chat, _ = await begun_chat(store, owner)

    assert not await expire(store, f"{owner}x", chat, since=NOW + DAY)

    assert (await store.get_chat(owner, chat.id)).id == chat.id


async def test_a_delete_that_was_cut_off_is_finished_by_the_sweep(
    store: Store, owner: str, adapter: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    chat, _ = await finished_chat(store, owner)

    class Killed(Exception):
        pass

    def die(*_: object) -> None:
        raise Killed

    with monkeypatch.context() as patched:
        patched.setattr("functions.adapters.dynamo_chats._keys", die)
        patched.setattr("functions.adapters.sqlite_chats.delete_row", die)
        with pytest.raises(Killed):
            await store.delete_chat(owner, chat.id)
    if adapter == "sqlite":  # nothing of it was done
        assert await overdue(store, owner) == set()
        await store.delete_chat(owner, chat.id)
    else:
        assert await overdue(store, owner) == {chat.id}
        assert await expire(store, owner, chat)

    assert await leftovers(store, owner) == []
