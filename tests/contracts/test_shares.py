"""Share links: found by their secret alone, and gone with their chat."""

import pytest

from functions.errors import NotFound
from tests.contracts.makers import NASTY, Store, a_share, at, finished_chat


async def test_a_chat_is_shared_under_one_link_that_shows_what_was_shared_last(store: Store, owner: str) -> None:
    chat, run = await finished_chat(store, owner)
    chat = await store.get_chat(owner, chat.id)
    first = await store.put_share(owner, a_share(chat, title=NASTY))

    again = await store.put_share(owner, a_share(chat, leaf=run.user_message_id, updated_at=at(9), created_at=at(9)))

    assert (again.id, again.created_at) == (first.id, first.created_at)
    assert (again.leaf, again.title, again.updated_at) == (run.user_message_id, "Shared", at(9))
    assert await store.list_shares(owner) == (again,)
    assert await store.find_share(first.id) == (owner, again)


async def test_a_share_that_is_withdrawn_is_not_found_and_the_next_has_another_link(store: Store, owner: str) -> None:
    chat, _ = await finished_chat(store, owner)
    chat = await store.get_chat(owner, chat.id)
    first = await store.put_share(owner, a_share(chat))

    assert not await store.delete_share(f"{owner}#X", chat.id)
    assert await store.delete_share(owner, chat.id)
    assert not await store.delete_share(owner, chat.id)

    with pytest.raises(NotFound):
        await store.find_share(first.id)
    assert await store.list_shares(owner) == ()
    assert (await store.put_share(owner, a_share(chat))).id != first.id


@pytest.mark.parametrize("end", ["delete", "erase"])
async def test_a_share_ends_with_its_chat_and_with_its_owner(store: Store, owner: str, end: str) -> None:
    chat, _ = await finished_chat(store, owner)
    share = await store.put_share(owner, a_share(await store.get_chat(owner, chat.id)))

    if end == "delete":
        await store.delete_chat(owner, chat.id)
    else:
        assert (await store.erase_owner(owner, now_ms=1))["shares"] == 1

    with pytest.raises(NotFound):
        await store.find_share(share.id)
    assert await store.list_shares(owner) == ()


async def test_neither_a_chat_of_another_nor_a_message_that_is_not_in_it_can_be_shared(
    store: Store, owner: str
) -> None:
    chat, _ = await finished_chat(store, owner)
    other, _ = await finished_chat(store, owner)
    chat, other = await store.get_chat(owner, chat.id), await store.get_chat(owner, other.id)

    with pytest.raises(NotFound):
        await store.put_share(f"{owner}-too", a_share(chat))
    with pytest.raises(NotFound):
        await store.put_share(owner, a_share(chat, leaf=other.active_leaf))
    assert await store.list_shares(owner) == ()
