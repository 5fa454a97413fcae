"""The edition of a chat's messages, by which whoever keeps them knows whether they are still so."""

from collections.abc import Awaitable, Callable

import msgspec
import pytest

from functions.chat.messages import Feedback, Profile, expiry_of
from functions.errors import NotFound
from tests.contracts.makers import (
    T0,
    Store,
    a_chat,
    a_turn,
    at,
    begun_chat,
    claimed,
    ended,
    finished_chat,
    the_answer,
    the_end,
)

BAD = Feedback(rating=-1, comment="no", at=T0)


async def edition(store: Store, owner: str, chat_id: str) -> str:
    chat, found = await store.get_edition(owner, chat_id)
    assert chat == await store.get_chat(owner, chat_id)
    return found


async def test_what_is_added_leaves_the_edition_as_it_is(stores: tuple[Store, Store], owner: str) -> None:
    store, other = stores
    chat, run = await begun_chat(store, owner)
    first = await edition(store, owner, chat.id)

    run = await claimed(store, owner, run)
    await store.finish_run(owner, ended(run), [the_end(2)], the_answer(run))
    await store.update_chat(owner, chat.id, {"title": "Cats", "archived": True, "active_leaf": run.user_message_id})
    await store.retitle_chat(owner, chat.id, "Dogs", instead_of="Cats")
    await store.put_profile(owner, Profile(custom_instructions="Be brief."))
    run, _ = await store.begin_turn(owner, a_turn(owner, chat.id))
    run = await claimed(store, owner, run)
    await store.finish_run(owner, ended(run), [the_end(2)], None)

    assert first
    assert await edition(other, owner, chat.id) == first


async def test_each_change_of_a_message_is_another_edition(stores: tuple[Store, Store], owner: str) -> None:
    store, other = stores
    chat, first = await finished_chat(store, owner)
    answer = first.assistant_message_id

    async def say_again() -> None:
        run, _ = await store.begin_turn(owner, a_turn(owner, chat.id, run={"assistant_message_id": answer}))
        run = await claimed(store, owner, run)
        await store.finish_run(owner, ended(run), [the_end(2)], the_answer(run, "withdrawn"))

    changes: list[Callable[[], Awaitable[None]]] = [
        lambda: store.put_feedback(owner, chat.id, answer, BAD),
        lambda: store.put_feedback(owner, chat.id, answer, BAD),  # also when it says the same
        say_again,
        lambda: store.put_feedback(owner, chat.id, answer, None),
        say_again,
    ]
    seen = [await edition(store, owner, chat.id)]
    for change in changes:
        await change()
        seen.append(await edition(other, owner, chat.id))

    assert len(set(seen)) == len(changes) + 1
    assert (await store.get_message(owner, chat.id, answer)).content == "withdrawn"


async def test_a_chat_of_the_same_id_begins_with_another_edition(store: Store, owner: str) -> None:
    chat = a_chat()
    seen = set()
    for who in (owner, f"{owner} 2", owner, owner):
        await store.create_chat(who, chat)
        seen.add(await edition(store, who, chat.id))
        await store.delete_chat(who, chat.id)

    assert len(seen) == 4


async def test_who_knows_the_edition_is_spared_the_path(store: Store, owner: str) -> None:
    chat, run = await finished_chat(store, owner)
    leaf = run.assistant_message_id
    await store.put_profile(owner, Profile(custom_instructions="Be brief."))

    whole = await store.read_context_unless(owner, chat.id, leaf, edition="")
    known = await store.read_context_unless(owner, chat.id, leaf, edition=whole.edition)
    await store.put_feedback(owner, chat.id, leaf, BAD)
    stale = await store.read_context_unless(owner, chat.id, leaf, edition=whole.edition)

    assert whole.edition == known.edition != stale.edition
    assert whole.path is not None
    assert [message.feedback for message in whole.path] == [None, None]
    assert known == msgspec.structs.replace(whole, path=None)
    assert (stale.chat, stale.path, stale.profile) == tuple(await store.read_context(owner, chat.id, leaf))
    assert stale.path is not None
    assert stale.path[-1].feedback == BAD


async def test_what_is_not_there_has_no_edition(store: Store, owner: str) -> None:
    chat, run = await finished_chat(store, owner)
    leaf = run.assistant_message_id
    known = await edition(store, owner, chat.id)
    over = a_chat(temporary=True, updated_at=at(-(10**7)), expires_at=expiry_of(True, at(-(10**7))))
    await store.create_chat(owner, over)
    await store.delete_chat(owner, chat.id)

    for who, what in ((owner, chat.id), ("somebody else", chat.id), (owner, over.id)):
        for mark in (known, ""):
            with pytest.raises(NotFound):
                await store.read_context_unless(who, what, leaf, edition=mark)
        with pytest.raises(NotFound):
            await store.get_edition(who, what)


async def test_an_absent_message_has_no_path(store: Store, owner: str) -> None:
    chat, _ = await finished_chat(store, owner)

    with pytest.raises(NotFound):
        await store.read_context_unless(owner, chat.id, "absent", edition="")
