"""Summaries: made by one, written once, gone with their chat."""

import asyncio

import pytest

from functions.chat.messages import Chat
from functions.errors import NotFound
from tests.contracts.inside import leftovers
from tests.contracts.makers import NASTY, Store, a_chat, a_summary, next_id


@pytest.fixture
async def chat(store: Store, owner: str) -> Chat:
    chat = a_chat(title="cut")
    await store.create_chat(owner, chat)
    return chat


async def claim(
    store: Store, owner: str, chat: str, token: str, now_ms: int, *, upto: str = "m", hold_ms: int = 100
) -> bool:
    return await store.claim_fold(owner, chat, upto, version="1", token=token, now_ms=now_ms, until_ms=now_ms + hold_ms)


async def test_a_chat_has_no_summaries_at_first_and_a_chat_that_is_not_there_none_at_all(
    store: Store, owner: str, chat: Chat
) -> None:
    assert await store.list_summaries(owner, chat.id, version="1") == ()
    assert await store.list_summaries(owner, "not there", version="1") == ()


async def test_summaries_come_back_whole_in_the_order_of_their_messages(store: Store, owner: str, chat: Chat) -> None:
    early, late = a_summary(next_id()), a_summary(next_id(), text="", messages=9)

    assert await store.put_summary(owner, chat.id, late)
    assert await store.put_summary(owner, chat.id, early)

    assert await store.list_summaries(owner, chat.id, version="1") == (early, late)


async def test_a_summary_is_written_once(stores: tuple[Store, Store], owner: str, chat: Chat) -> None:
    upto = next_id()
    written = await asyncio.gather(
        *(stores[i % 2].put_summary(owner, chat.id, a_summary(upto, text=f"{i}")) for i in range(6))
    )

    assert sum(written) == 1
    (stored,) = await stores[0].list_summaries(owner, chat.id, version="1")
    assert stored.text == f"{written.index(True)}"


async def test_of_racing_claims_exactly_one_holds(stores: tuple[Store, Store], owner: str, chat: Chat) -> None:
    claims = await asyncio.gather(*(claim(stores[i % 2], owner, chat.id, f"{i}", 1_000) for i in range(6)))

    assert sum(claims) == 1


async def test_a_claim_can_be_renewed_and_runs_out(store: Store, owner: str, chat: Chat) -> None:
    assert await claim(store, owner, chat.id, "one", 1_000)
    assert not await claim(store, owner, chat.id, "two", 1_100)
    assert await claim(store, owner, chat.id, "one", 1_100)
    assert not await claim(store, owner, chat.id, "two", 1_200)

    assert await claim(store, owner, chat.id, "two", 1_201)
    assert not await claim(store, owner, chat.id, "one", 1_202)


async def test_a_claim_is_no_summary_and_what_is_written_cannot_be_claimed(
    store: Store, owner: str, chat: Chat
) -> None:
    upto = next_id()
    assert await claim(store, owner, chat.id, "one", 1_000, upto=upto)
    assert await store.list_summaries(owner, chat.id, version="1") == ()

    assert await store.put_summary(owner, chat.id, a_summary(upto))

    assert not await claim(store, owner, chat.id, "one", 1_001, upto=upto)
    assert not await claim(store, owner, chat.id, "two", 9_999, upto=upto)
    assert await claim(store, owner, chat.id, "two", 1_000, upto="another message")


async def test_versions_do_not_know_each_other_and_old_ones_are_forgotten(store: Store, owner: str, chat: Chat) -> None:
    upto = next_id()
    for version in ("1", "10", "2", "a#b"):
        assert await store.put_summary(owner, chat.id, a_summary(upto, version=version))
    await claim(store, owner, chat.id, "one", 1_000, upto="only claimed")

    assert await store.forget_summaries(owner, chat.id, version="10") == 3

    assert [s.version for s in await store.list_summaries(owner, chat.id, version="10")] == ["10"]
    assert await store.list_summaries(owner, chat.id, version="1") == ()
    assert await claim(store, owner, chat.id, "two", 1_001, upto="only claimed"), "the marker went too"


async def test_summaries_are_their_owners(store: Store, owner: str, chat: Chat) -> None:
    await store.put_summary(owner, chat.id, a_summary(next_id()))
    stranger = a_chat(id=chat.id)
    await store.create_chat(f"not {owner}", stranger)

    assert await store.list_summaries(f"not {owner}", chat.id, version="1") == ()
    assert await store.forget_summaries(f"not {owner}", chat.id, version="2") == 0
    assert len(await store.list_summaries(owner, chat.id, version="1")) == 1


async def test_summaries_go_with_their_chat_and_do_not_come_back(store: Store, owner: str, chat: Chat) -> None:
    await store.put_summary(owner, chat.id, a_summary(next_id()))
    await claim(store, owner, chat.id, "one", 1_000)
    await store.delete_chat(owner, chat.id)

    with pytest.raises(NotFound):
        await store.put_summary(owner, chat.id, a_summary(next_id()))
    with pytest.raises(NotFound):
        await claim(store, owner, chat.id, "one", 1_001)

    assert await leftovers(store, owner) == []


async def test_a_title_is_replaced_only_where_it_is_still_the_one_we_know(store: Store, owner: str, chat: Chat) -> None:
    assert await store.retitle_chat(owner, chat.id, NASTY, instead_of="cut")
    assert not await store.retitle_chat(owner, chat.id, "too late", instead_of="cut")
    assert not await store.retitle_chat(owner, "not there", "x", instead_of="cut")
    assert not await store.retitle_chat(f"not {owner}", chat.id, "x", instead_of=NASTY)

    found = await store.get_chat(owner, chat.id)

    assert (found.title, found.updated_at) == (NASTY, chat.updated_at)
