"""Chats: stored, listed, searched, changed, deleted; another owner's are not there."""

import pytest

from functions.chat.messages import Profile, new_id
from functions.errors import BadInput, Conflict, NotFound, ParleyError
from tests.contracts.conftest import Opener
from tests.contracts.inside import leftovers
from tests.contracts.makers import (
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
    the_answer,
    the_end,
)


async def titles(store: Store, owner: str, **options: object) -> list[str | None]:
    return [chat.title for chat in (await store.list_chats(owner, limit=100, **options)).data]


async def found(store: Store, owner: str, query: str) -> list[str | None]:
    return [one.chat.title for one in (await store.search_chats(owner, query, limit=100)).data]


async def test_a_chat_comes_back_as_it_was_stored(store: Store, owner: str) -> None:
    chat = a_chat(title=NASTY, model="tiny", system_prompt=NASTY * 100, pinned=True, archived=True)

    await store.create_chat(owner, chat)

    assert await store.get_chat(owner, chat.id) == chat


async def test_a_chat_with_empty_texts_comes_back_with_empty_texts(store: Store, owner: str) -> None:
    chat = a_chat(title="", model="", system_prompt="")

    await store.create_chat(owner, chat)

    assert await store.get_chat(owner, chat.id) == chat


async def test_a_chat_id_is_used_once_per_owner(store: Store, owner: str) -> None:
    chat = a_chat(title="first")
    await store.create_chat(owner, chat)

    with pytest.raises(Conflict):
        await store.create_chat(owner, a_chat(id=chat.id, title="second"))
    await store.create_chat("somebody else", a_chat(id=chat.id, title="theirs"))

    assert (await store.get_chat(owner, chat.id)).title == "first"
    assert (await store.get_chat("somebody else", chat.id)).title == "theirs"


async def test_an_absent_chat_is_not_found_anywhere(store: Store, owner: str) -> None:
    absent = new_id()

    with pytest.raises(NotFound):
        await store.get_chat(owner, absent)
    with pytest.raises(NotFound):
        await store.update_chat(owner, absent, {"title": "x"})
    with pytest.raises(NotFound):
        await store.delete_chat(owner, absent)
    with pytest.raises(NotFound):
        await store.list_messages(owner, absent)


async def test_another_owners_chat_is_absent_in_every_way(store: Store, owner: str) -> None:
    chat, run = await finished_chat(store, owner)
    thief = "thief"

    with pytest.raises(NotFound):
        await store.get_chat(thief, chat.id)
    with pytest.raises(NotFound):
        await store.update_chat(thief, chat.id, {"title": "mine"})
    with pytest.raises(NotFound):
        await store.delete_chat(thief, chat.id)
    with pytest.raises(NotFound):
        await store.list_messages(thief, chat.id)
    with pytest.raises(NotFound):
        await store.get_message(thief, chat.id, run.assistant_message_id)
    with pytest.raises(NotFound):
        await store.read_path(thief, chat.id, run.assistant_message_id)
    with pytest.raises(NotFound):
        await store.begin_turn(thief, a_turn(thief, chat.id))
    assert await titles(store, thief) == []
    assert len((await store.list_messages(owner, chat.id)).data) == 2


async def test_owner_and_chat_ids_that_look_like_keys_do_not_collide(store: Store) -> None:
    # "a#C#b" with chat "c" must not be "a" with chat "b#C#c".
    await store.create_chat("a#C#b", a_chat(id="c", title="one"))
    await store.create_chat("a", a_chat(id="b#C#c", title="two"))
    await store.begin_turn("a#C#b", a_turn("a#C#b", "c"))

    assert (await store.list_messages("a", "b#C#c")).data == ()
    assert (await store.get_chat("a", "b#C#c")).title == "two"


async def test_chats_are_listed_newest_first_and_page_by_page(store: Store, owner: str) -> None:
    chats = [a_chat(title=str(n), updated_at=at(n)) for n in range(7)]
    for chat in chats:
        await store.create_chat(owner, chat)

    seen: list[str | None] = []
    page = await store.list_chats(owner, limit=3)
    while True:
        assert len(page.data) <= 3
        seen += [chat.title for chat in page.data]
        if page.next is None:
            break
        page = await store.list_chats(owner, limit=3, after=page.next)

    assert seen == ["6", "5", "4", "3", "2", "1", "0"]


async def test_a_page_that_fits_exactly_has_no_next(store: Store, owner: str) -> None:
    for n in range(3):
        await store.create_chat(owner, a_chat(updated_at=at(n)))

    page = await store.list_chats(owner, limit=3)

    assert len(page.data) == 3
    assert page.next is None


async def test_chats_of_the_same_moment_are_each_listed_once(store: Store, owner: str) -> None:
    ids = {chat.id for chat in [a_chat() for _ in range(5)]}
    for chat_id in ids:
        await store.create_chat(owner, a_chat(id=chat_id))

    first = await store.list_chats(owner, limit=2)
    second = await store.list_chats(owner, limit=2, after=first.next)
    third = await store.list_chats(owner, limit=2, after=second.next)

    assert sorted(chat.id for page in (first, second, third) for chat in page.data) == sorted(ids)


async def test_times_before_1970_and_after_2100_sort_as_times_do(store: Store, owner: str) -> None:
    for title, seconds in (("old", -3e9), ("now", 0), ("late", 3e9)):
        await store.create_chat(owner, a_chat(title=title, updated_at=at(seconds)))

    assert await titles(store, owner) == ["late", "now", "old"]


async def test_a_page_mark_that_is_not_ours_is_refused(store: Store, owner: str) -> None:
    with pytest.raises(BadInput):
        await store.list_chats(owner, limit=3, after="not a mark")


async def test_archived_chats_are_listed_apart(store: Store, owner: str) -> None:
    chat = a_chat(title="old")
    await store.create_chat(owner, chat)
    await store.create_chat(owner, a_chat(title="new"))

    await store.update_chat(owner, chat.id, {"archived": True})

    assert await titles(store, owner) == ["new"]
    assert await titles(store, owner, archived=True) == ["old"]

    await store.update_chat(owner, chat.id, {"archived": False})

    assert set(await titles(store, owner)) == {"new", "old"}
    assert await titles(store, owner, archived=True) == []


async def test_a_search_finds_titles_and_messages_whatever_their_case(store: Store, owner: str) -> None:
    in_title = a_chat(title="Über die BÄUME", updated_at=at(1))
    in_text = a_chat(title="Travel", updated_at=at(2))
    for chat in (in_title, in_text, a_chat(title="Other", updated_at=at(3))):
        await store.create_chat(owner, chat)
    turn = a_turn(owner, in_text.id, message=a_message(in_text.id, content="Viele bäume wachsen hier."))
    await store.begin_turn(owner, turn)

    assert set(await found(store, owner, "bäumE")) == {"Über die BÄUME", "Travel"}
    assert await found(store, owner, "wachsen HIER.") == ["Travel"]
    assert await found(store, owner, "no such words") == []
    assert await found(store, "somebody else", "bäume") == []


async def test_a_search_tells_the_newest_message_that_says_it_unless_the_title_does(store: Store, owner: str) -> None:
    chat, run = await finished_chat(store, owner, answer="An oak, and a beech.")
    newer = a_turn(
        owner, chat.id, message=a_message(chat.id, content="Which OAK is that?", parent_id=run.assistant_message_id)
    )
    await store.begin_turn(owner, newer)

    (by_text,) = (await store.search_chats(owner, "oak", limit=9)).data
    (by_older,) = (await store.search_chats(owner, "beech", limit=9)).data
    await store.update_chat(owner, chat.id, {"title": "Oaks"})
    (by_title,) = (await store.search_chats(owner, "oak", limit=9)).data

    assert by_text.message == newer.user_message
    assert by_older.message == await store.get_message(owner, chat.id, run.assistant_message_id)
    assert (by_title.chat.title, by_title.message) == ("Oaks", None)


async def test_a_search_is_literal(store: Store, owner: str) -> None:
    await store.create_chat(owner, a_chat(title="100% sure_thing"))
    await store.create_chat(owner, a_chat(title='a "quoted" \\ thing\0'))

    assert await found(store, owner, "%") == ["100% sure_thing"]
    assert await found(store, owner, "e_t") == ["100% sure_thing"]
    assert await found(store, owner, "1_0") == []
    assert await found(store, owner, '"QUOTED" \\') == ['a "quoted" \\ thing\0']
    assert await found(store, owner, "g\0") == ['a "quoted" \\ thing\0']
    assert await found(store, owner, "created_at") == []


async def test_a_search_pages_like_a_list(store: Store, owner: str) -> None:
    for n in range(5):
        await store.create_chat(owner, a_chat(title=f"tree {n}", updated_at=at(2 * n)))
        await store.create_chat(owner, a_chat(title=f"stone {n}", updated_at=at(2 * n + 1)))

    seen, after = [], None
    while True:
        page = await store.search_chats(owner, "TREE", limit=2, after=after)
        seen += [one.chat.title for one in page.data]
        if (after := page.next) is None:
            break

    assert seen == [f"tree {n}" for n in (4, 3, 2, 1, 0)]


async def test_only_the_named_fields_of_a_chat_change(store: Store, owner: str) -> None:
    chat, run = await finished_chat(store, owner)
    before = await store.get_chat(owner, chat.id)

    changes = {"title": NASTY, "model": "big", "system_prompt": "Be brief.", "pinned": True}
    after = await store.update_chat(owner, chat.id, changes)

    assert after == await store.get_chat(owner, chat.id)
    assert {name: getattr(after, name) for name in changes} == changes
    assert (after.updated_at, after.created_at, after.active_leaf) == (
        before.updated_at,
        before.created_at,
        run.assistant_message_id,
    )


async def test_a_field_of_a_chat_can_be_cleared(store: Store, owner: str) -> None:
    chat = a_chat(title="x", model="y", system_prompt="z")
    await store.create_chat(owner, chat)

    after = await store.update_chat(owner, chat.id, {"title": None, "model": None, "system_prompt": None})

    assert (after.title, after.model, after.system_prompt) == (None, None, None)
    assert await store.get_chat(owner, chat.id) == after


async def test_no_changes_change_nothing(store: Store, owner: str) -> None:
    chat = a_chat(title="x")
    await store.create_chat(owner, chat)

    assert await store.update_chat(owner, chat.id, {}) == chat


async def test_a_field_that_is_not_the_users_cannot_be_changed(store: Store, owner: str) -> None:
    chat = a_chat()
    await store.create_chat(owner, chat)

    for name in ("id", "active_run", "updated_at", "nonsense"):
        with pytest.raises(BadInput) as caught:
            await store.update_chat(owner, chat.id, {name: "x"})
        assert caught.value.param == name

    assert await store.get_chat(owner, chat.id) == chat


async def test_the_active_leaf_must_be_a_message_of_the_chat(store: Store, owner: str) -> None:
    chat, run = await finished_chat(store, owner)
    _, elsewhere = await finished_chat(store, owner)

    after = await store.update_chat(owner, chat.id, {"active_leaf": run.user_message_id})
    with pytest.raises(BadInput) as caught:
        await store.update_chat(owner, chat.id, {"active_leaf": elsewhere.user_message_id, "title": "no"})

    assert caught.value.param == "active_leaf"
    assert after.active_leaf == run.user_message_id
    assert await store.get_chat(owner, chat.id) == after


async def test_a_deleted_chat_takes_everything_with_it(store: Store, owner: str) -> None:
    chat, run = await begun_chat(store, owner)
    run = await claimed(store, owner, run)
    await store.append_events(owner, run.id, run.epoch, deltas(2, "one"), lease_until_ms=9)
    kept, _ = await finished_chat(store, owner)

    await store.delete_chat(owner, chat.id)

    with pytest.raises(NotFound):
        await store.get_chat(owner, chat.id)
    with pytest.raises(NotFound):
        await store.list_messages(owner, chat.id)
    with pytest.raises(NotFound):
        await store.get_message(owner, chat.id, run.user_message_id or "")
    with pytest.raises(NotFound):
        await store.get_run(owner, run.id)
    with pytest.raises(NotFound):
        await store.read_events(owner, run.id)
    with pytest.raises(NotFound):
        await store.request_stop(owner, run.id)
    assert await store.claim_run(owner, run.id, worker="two", now_ms=10**15, lease_until_ms=10**16) is None
    assert await store.take_job(now_ms=10**15, hidden_ms=1) is None
    assert [found.id for found in (await store.list_chats(owner, limit=9)).data] == [kept.id]


async def test_a_chat_is_deleted_once(store: Store, owner: str) -> None:
    chat, _ = await finished_chat(store, owner)
    await store.delete_chat(owner, chat.id)

    with pytest.raises(NotFound):
        await store.delete_chat(owner, chat.id)


async def test_a_deleted_chats_ids_and_keys_are_free_again(store: Store, owner: str) -> None:
    chat = a_chat()
    await store.create_chat(owner, chat)
    turn = a_turn(owner, chat.id)
    await store.begin_turn(owner, turn)
    await store.delete_chat(owner, chat.id)

    with pytest.raises(NotFound):
        await store.begin_turn(owner, turn)
    await store.create_chat(owner, chat)
    run, is_new = await store.begin_turn(owner, turn)

    assert is_new
    assert [event.seq for event in await store.read_events(owner, run.id)] == [1]
    assert len((await store.list_messages(owner, chat.id)).data) == 1


async def test_a_chat_with_a_hundred_messages_is_deleted_whole(store: Store, owner: str) -> None:
    chat = a_chat()
    await store.create_chat(owner, chat)
    runs = []
    for _ in range(50):
        run, _ = await store.begin_turn(owner, a_turn(owner, chat.id))
        run = await claimed(store, owner, run)
        await store.finish_run(owner, ended(run), [the_end(2)], the_answer(run))
        runs.append(run)

    await store.delete_chat(owner, chat.id)

    assert await leftovers(store, owner) == []
    for run in runs:
        with pytest.raises(NotFound):
            await store.get_run(owner, run.id)


async def test_a_profile_is_empty_until_it_is_stored(store: Store, owner: str) -> None:
    assert await store.get_profile(owner) == Profile()

    await store.put_profile(owner, Profile(custom_instructions="first"))
    await store.put_profile(owner, Profile(custom_instructions=NASTY))

    assert await store.get_profile(owner) == Profile(custom_instructions=NASTY)
    assert await store.get_profile("somebody else") == Profile()


async def test_an_open_store_is_ready(store: Store) -> None:
    await store.ready()


async def test_a_closed_store_says_so(opener: Opener, owner: str) -> None:
    store = await opener()
    await store.close()
    await store.close()

    with pytest.raises(ParleyError):
        await store.ready()
    with pytest.raises(ParleyError):
        await store.get_chat(owner, new_id())
