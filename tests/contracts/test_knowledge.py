"""The knowledge base as both stores keep it: whose it is, who may see it, what replaces what, and what goes with it."""

import asyncio
import sqlite3

import msgspec
import pytest

from functions.adapters.dynamo import DynamoStore
from functions.adapters.sqlite import SqliteStore
from functions.chat.documents import Collection, Document, Member
from functions.errors import Conflict, NotFound
from tests.contracts.makers import NASTY, Store, a_chunk, a_collection, a_document, next_id

ready = {"status": "ready", "chunks": 1, "chunks_done": 1}


@pytest.fixture
async def shelf(store: Store, owner: str) -> Collection:
    collection = a_collection(owner, name=NASTY)
    assert await store.create_collection(owner, collection)
    return collection


async def shelved(store: Store, owner: str, shelf: Collection, **changes: object) -> Document:
    document = a_document(shelf, **changes)
    await store.add_document(owner, document)
    return document


async def finish(store: Store, owner: str, document: Document) -> bool:
    return await store.finish_document(owner, msgspec.structs.replace(document, **ready))


async def kept(store: Store, owner: str) -> list[str]:
    """What is stored of documents and what they are made of. In SQLite of all owners: each test has its own file."""
    if isinstance(store, SqliteStore):

        def rows(db: sqlite3.Connection) -> list[str]:
            tables = ("knowledge_members", "documents", "chunks", "document_parts")
            return [f"{t} {row}" for t in tables for row in db.execute(f"SELECT * FROM {t}")]

        return await store._readers.read(rows)
    assert isinstance(store, DynamoStore)
    return await store._call(
        lambda t: [f"{r.pk} {r.sk}" for r in t.chat.scan(t.chat.pk.startswith(f"U#{owner}")) if r.sk[0] in "ADFGTB"]
    )


async def test_a_collection_is_made_once_and_found_by_its_owner(store: Store, owner: str, shelf: Collection) -> None:
    assert not await store.create_collection(owner, a_collection(owner, id=shelf.id, name="another"))
    assert await store.list_collections(owner) == (shelf,)
    assert await store.list_collections(f"not {owner}") == ()


async def test_a_member_finds_the_collection_with_their_own_role(store: Store, owner: str, shelf: Collection) -> None:
    friend, stranger = f"friend#of {owner}", f"friend#of {owner}%"
    await store.put_member(owner, shelf.id, friend, "reader")
    await store.put_member(owner, shelf.id, friend, "editor")

    assert await store.list_collections(friend) == (msgspec.structs.replace(shelf, role="editor"),)
    assert await store.list_members(owner, shelf.id) == (Member(principal=friend, role="editor"),)
    assert await store.list_collections(stranger) == ()

    await store.put_member(owner, shelf.id, friend, None)

    assert await store.list_collections(friend) == ()
    assert await store.list_members(owner, shelf.id) == ()


async def test_a_name_is_changed_for_everybody(store: Store, owner: str, shelf: Collection) -> None:
    await store.put_member(owner, shelf.id, "friend", "reader")

    await store.rename_collection(owner, shelf.id, "new name")

    assert [one.name for one in await store.list_collections("friend") if one.id == shelf.id] == ["new name"]
    await store.delete_collection(owner, shelf.id)


async def test_what_is_not_there_or_anothers_is_not_found(store: Store, owner: str, shelf: Collection) -> None:
    document = await shelved(store, owner, shelf)
    other = f"not {owner}"
    for call in (
        store.rename_collection(other, shelf.id, "mine"),
        store.delete_collection(other, shelf.id),
        store.put_member(other, shelf.id, other, "editor"),
        store.list_members(other, shelf.id),
        store.add_document(other, a_document(shelf)),
        store.get_document(other, document.id),
        store.put_document(other, document),
        store.finish_document(other, msgspec.structs.replace(document, **ready)),
        store.delete_document(other, document.id),
        store.put_part(other, document.id, "file", 0, b""),
        store.put_chunks(other, document.id, [a_chunk()]),
    ):
        with pytest.raises(NotFound):
            await call
    assert await store.read_chunks(other, document.id, [0]) == ()
    assert await store.list_documents(other) == ()
    assert await store.get_document(owner, document.id) == document


async def test_a_document_comes_back_whole_with_its_chunks_and_parts(
    store: Store, owner: str, shelf: Collection
) -> None:
    document = await shelved(store, owner, shelf, filename=NASTY, title=NASTY)
    chunks = [a_chunk(number, f"{number} {NASTY}") for number in range(120)]
    whole = bytes(range(256)) * 1024
    await store.put_chunks(owner, document.id, chunks)
    await store.put_chunks(owner, document.id, chunks[:3])
    await store.put_part(owner, document.id, "file", 0, whole)
    await store.put_part(owner, document.id, "words", 0, b"w")

    assert await store.list_documents(owner) == (document,)
    assert await store.read_chunks(owner, document.id, [119, 0, 7, 120, 7]) == (chunks[0], chunks[7], chunks[119])
    assert await store.read_part(owner, document.id, "file", 0) == whole
    assert await store.read_part(owner, document.id, "file", 1) is None

    await store.drop_parts(owner, document.id, "file")

    assert await store.read_part(owner, document.id, "file", 0) is None
    assert await store.read_part(owner, document.id, "words", 0) == b"w"


async def test_a_document_that_becomes_ready_takes_the_place_of_the_older_ones_of_its_name(
    store: Store, owner: str, shelf: Collection
) -> None:
    old = await shelved(store, owner, shelf)
    assert await finish(store, owner, old)
    stuck = await shelved(store, owner, shelf)
    other_name = await shelved(store, owner, shelf, filename="other.md")
    new = await shelved(store, owner, shelf)
    newer = await shelved(store, owner, shelf)

    assert await finish(store, owner, new)

    left = {document.id: document.status for document in await store.list_documents(owner)}
    assert left == {other_name.id: "queued", new.id: "ready", newer.id: "queued"}
    with pytest.raises(NotFound):
        await finish(store, owner, stuck)
    assert await finish(store, owner, new), "said again, it stays as it is"


async def test_what_was_decided_about_a_document_is_not_undone_by_a_worker_that_was_overtaken(
    store: Store, owner: str, shelf: Collection
) -> None:
    document = await shelved(store, owner, shelf)
    with_status = {one: msgspec.structs.replace(document, status=one) for one in ("queued", "indexing", "failed")}
    await store.put_document(owner, with_status["failed"])

    with pytest.raises(Conflict):
        await store.put_document(owner, with_status["indexing"])
    assert (await store.get_document(owner, document.id)).status == "failed"

    await store.put_document(owner, with_status["queued"])
    await store.put_document(owner, with_status["indexing"])
    assert await finish(store, owner, document)

    for late in with_status.values():
        with pytest.raises(Conflict):
            await store.put_document(owner, late)
    assert (await store.get_document(owner, document.id)).status == "ready"


async def test_one_that_is_ready_too_late_goes_itself(store: Store, owner: str, shelf: Collection) -> None:
    old = await shelved(store, owner, shelf)
    new = a_document(shelf)
    # Ready first, though made later; the older one is stored again, as by a worker that was slow.
    await store.delete_document(owner, old.id)
    await store.add_document(owner, new)
    assert await finish(store, owner, new)
    await store.add_document(owner, old)

    assert not await finish(store, owner, old)

    assert [document.id for document in await store.list_documents(owner)] == [new.id]


async def test_of_two_that_become_ready_at_once_the_newest_is_left(stores: tuple[Store, Store], owner: str) -> None:
    shelf = a_collection(owner)
    await stores[0].create_collection(owner, shelf)
    documents = [await shelved(stores[0], owner, shelf) for _ in range(4)]

    ended = await asyncio.gather(
        *(finish(stores[at % 2], owner, document) for at, document in enumerate(documents)), return_exceptions=True
    )

    assert [document.id for document in await stores[0].list_documents(owner)] == [documents[-1].id]
    assert ended[-1] is True
    assert all(one in (True, False) or isinstance(one, NotFound) for one in ended)


async def test_a_name_that_was_deleted_begins_anew(store: Store, owner: str, shelf: Collection) -> None:
    old, new = await shelved(store, owner, shelf), await shelved(store, owner, shelf)
    await finish(store, owner, new)
    await store.delete_document(owner, new.id)
    again = a_document(shelf, id=old.id)
    await store.add_document(owner, again)

    assert await finish(store, owner, again)


async def test_nothing_outlives_its_document_and_nothing_is_added_to_it_afterwards(
    store: Store, owner: str, shelf: Collection
) -> None:
    document = await shelved(store, owner, shelf)
    await store.put_chunks(owner, document.id, [a_chunk(number) for number in range(40)])
    await store.put_part(owner, document.id, "file", 0, b"x")
    await finish(store, owner, document)

    await store.delete_document(owner, document.id)

    for late in (
        store.put_chunks(owner, document.id, [a_chunk()]),
        store.put_part(owner, document.id, "words", 0, b"x"),
        store.put_document(owner, document),
        store.finish_document(owner, msgspec.structs.replace(document, **ready)),
        store.delete_document(owner, document.id),
    ):
        with pytest.raises(NotFound):
            await late
    await store.purge_document(owner, document.id)
    assert await kept(store, owner) == []


async def test_a_collection_takes_its_documents_and_members_along(store: Store, owner: str, shelf: Collection) -> None:
    document = await shelved(store, owner, shelf)
    await store.put_chunks(owner, document.id, [a_chunk()])
    await finish(store, owner, document)
    friend = f"{owner}'s friend"
    await store.put_member(owner, shelf.id, friend, "reader")

    await store.delete_collection(owner, shelf.id)

    assert await store.list_collections(friend) == ()
    with pytest.raises(NotFound):
        await store.add_document(owner, a_document(shelf))
    with pytest.raises(NotFound):
        await store.delete_collection(owner, shelf.id)
    assert await kept(store, owner) == []


async def test_who_is_erased_is_in_no_collection_of_others_and_nobody_in_theirs(
    store: Store, owner: str, shelf: Collection
) -> None:
    lender, friend = f"lender of {owner}", f"friend of {owner}"
    lent = a_collection(lender, id=next_id())
    await store.create_collection(lender, lent)
    await store.put_member(lender, lent.id, owner, "editor")
    await store.put_member(owner, shelf.id, friend, "reader")

    receipt = await store.erase_owner(owner, now_ms=1)

    assert await store.list_members(lender, lent.id) == ()
    assert await store.list_collections(friend) == ()
    assert await store.list_collections(owner) == ()
    assert receipt["knowledge"] == 1
