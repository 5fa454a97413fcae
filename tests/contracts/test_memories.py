"""Memories: an owner's own, changed only by who has seen what is there, and never of a chat that is gone."""

import asyncio

import msgspec
import pytest

from functions.errors import NotFound
from tests.contracts.makers import NASTY, Store, a_chat, a_memory, at


async def test_a_memory_comes_back_whole_and_the_oldest_first(store: Store, owner: str) -> None:
    one, two = a_memory(NASTY, kind="preference"), a_memory("two")

    assert await store.put_memory(owner, two)
    assert await store.put_memory(owner, one)

    assert await store.list_memories(owner) == (one, two)
    assert await store.get_memory(owner, one.id) == one


async def test_a_memory_of_another_is_not_there(store: Store, owner: str) -> None:
    memory = a_memory()
    await store.put_memory(owner, memory)
    other = f"{owner}#N"

    assert await store.list_memories(other) == ()
    with pytest.raises(NotFound):
        await store.get_memory(other, memory.id)
    assert not await store.delete_memory(other, memory.id)
    assert not await store.put_memory(other, memory, replaces=memory)
    assert await store.list_memories(owner) == (memory,)


async def test_an_id_is_taken_once(store: Store, owner: str) -> None:
    memory = a_memory()
    assert await store.put_memory(owner, memory)

    assert not await store.put_memory(owner, msgspec.structs.replace(memory, text="another"))

    assert await store.list_memories(owner) == (memory,)


async def test_of_racing_changes_one_is_made(stores: tuple[Store, Store], owner: str) -> None:
    first = a_memory()
    await stores[0].put_memory(owner, first)

    changed = await asyncio.gather(
        *(
            stores[i % 2].put_memory(
                owner, msgspec.structs.replace(first, text=f"{i}", updated_at=at(i + 1)), replaces=first
            )
            for i in range(6)
        )
    )

    assert sum(changed) == 1
    assert (await stores[0].get_memory(owner, first.id)).text == f"{changed.index(True)}"


async def test_what_was_deleted_is_not_changed_back(store: Store, owner: str) -> None:
    memory = a_memory()
    await store.put_memory(owner, memory)

    assert await store.delete_memory(owner, memory.id)
    assert not await store.delete_memory(owner, memory.id)
    assert not await store.put_memory(owner, msgspec.structs.replace(memory, text="late"), replaces=memory)

    assert await store.list_memories(owner) == ()


async def test_a_chat_that_is_gone_leaves_no_new_memories_but_the_old_ones_stay(store: Store, owner: str) -> None:
    chat = a_chat()
    await store.create_chat(owner, chat)
    early, late = a_memory(chat_id=chat.id), a_memory(chat_id=chat.id)
    assert await store.put_memory(owner, early)

    await store.delete_chat(owner, chat.id)

    assert not await store.put_memory(owner, late)
    changed = msgspec.structs.replace(early, text="edited", updated_at=at(1))
    assert await store.put_memory(owner, changed, replaces=early)
    assert await store.list_memories(owner) == (changed,)


async def test_how_far_a_chat_was_looked_through_never_goes_back(store: Store, owner: str) -> None:
    chat = a_chat()
    await store.create_chat(owner, chat)
    assert await store.remembered_until(owner, chat.id) == 0

    await store.set_remembered(owner, chat.id, 2_000)
    await store.set_remembered(owner, chat.id, 1_000)

    assert await store.remembered_until(owner, chat.id) == 2_000
    assert (await store.get_chat(owner, chat.id)) == chat


async def test_a_chat_that_is_gone_was_never_looked_through(store: Store, owner: str) -> None:
    await store.set_remembered(owner, "not there", 2_000)

    assert await store.remembered_until(owner, "not there") == 0
    with pytest.raises(NotFound):
        await store.get_chat(owner, "not there")
