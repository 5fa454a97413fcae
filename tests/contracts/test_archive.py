"""Whole chats in: as they are given, once, and never over one that is there."""

import asyncio

import msgspec
import pytest

from functions.chat.messages import Chat, Feedback, Message
from functions.errors import NotFound
from tests.contracts.makers import NASTY, Store, a_chat, a_message, at


def whole(**changes: object) -> tuple[Chat, tuple[Message, ...]]:
    chat = a_chat(title=NASTY, **changes)
    question = a_message(chat.id, content=NASTY)
    answer = a_message(
        chat.id,
        question.id,
        role="assistant",
        content="x" * 700_000,
        feedback=Feedback(rating=-1, comment=NASTY, at=at(3)),
    )
    other = a_message(chat.id, question.id, role="assistant", content="another branch")
    return msgspec.structs.replace(chat, active_leaf=answer.id), (question, answer, other)


@pytest.mark.parametrize("archived", [False, True])
async def test_a_chat_is_stored_whole_with_its_branches_and_feedback(store: Store, owner: str, archived: bool) -> None:
    chat, messages = whole(archived=archived, pinned=True, system_prompt=NASTY)

    assert await store.import_chat(owner, chat, messages)

    assert await store.get_chat(owner, chat.id) == chat
    assert (await store.list_messages(owner, chat.id)).data == messages
    assert [m.id for m in await store.read_path(owner, chat.id, messages[1].id)] == [messages[0].id, messages[1].id]
    assert (await store.list_chats(owner, limit=5, archived=archived)).data == (chat,)
    assert await store.remembered_until(owner, chat.id) > 0
    await store.delete_chat(owner, chat.id)
    with pytest.raises(NotFound):
        await store.get_chat(owner, chat.id)


async def test_a_chat_that_is_there_stays_as_it_is(store: Store, owner: str) -> None:
    chat, messages = whole()
    assert await store.import_chat(owner, chat, messages)
    changed = tuple(msgspec.structs.replace(message, content="changed") for message in messages)

    assert not await store.import_chat(owner, msgspec.structs.replace(chat, title="changed"), changed)
    assert await store.import_chat(f"{owner}-too", chat, changed)  # ids are an owner's own

    assert await store.get_chat(owner, chat.id) == chat
    assert (await store.list_messages(owner, chat.id)).data == messages


async def test_of_racing_imports_of_one_chat_one_stores_it(stores: tuple[Store, Store], owner: str) -> None:
    chat, messages = whole()

    stored = await asyncio.gather(*(stores[n % 2].import_chat(owner, chat, messages) for n in range(4)))

    assert sorted(stored) == [False, False, False, True]
    assert (await stores[0].list_messages(owner, chat.id)).data == messages


async def test_everybody_who_has_something_is_listed_once(store: Store, owner: str) -> None:
    await store.import_chat(owner, *whole())
    await store.import_chat(owner, *whole())
    await store.import_chat(f"{owner}%#", a_chat(), ())

    owners = await store.list_owners()

    assert [one for one in owners if one.startswith(owner)] == [owner, f"{owner}%#"]
