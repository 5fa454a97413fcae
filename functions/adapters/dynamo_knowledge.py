"""The knowledge base in DynamoDB. Synchronous, as its neighbours.

A member is written down twice: beside the collection, and in the member's own partition, where the collection is found
from. What belongs to a document is written in transactions with a look at it, so nothing is added to one that is gone;
what it had may outlive it until `purge_document` has looked.
"""

from collections.abc import Sequence
from contextlib import suppress

import msgspec

from functions.adapters import rules
from functions.adapters.dynamo_calls import Refused, Writes, ask, delete_all
from functions.adapters.dynamo_chats import find_item
from functions.adapters.dynamo_models import (
    ChatItem,
    Tables,
    chunk_sk,
    collection_sk,
    document_pk,
    document_sk,
    filename_sk,
    grant_sk,
    knowledge_pk,
    member_sk,
    owner_pk,
    part_sk,
)
from functions.chat.documents import Chunk, Collection, CollectionRole, Document, Member, PartKind

WRITES = 90  # of the hundred that a transaction may have
WRITTEN_BYTES = 3 * 1024 * 1024  # of the four megabytes

_encode = msgspec.json.Encoder().encode
_decode_collection = msgspec.json.Decoder(Collection).decode
_decode_document = msgspec.json.Decoder(Document).decode
_decode_chunk = msgspec.json.Decoder(Chunk).decode


# -- collections --------------------------------------------------------------------------------------------------
def create_collection(t: Tables, owner: str, collection: Collection) -> bool:
    item = t.chat(owner_pk(owner), collection_sk(collection.id), data=_encode(collection))
    try:
        ask(lambda: item.save(t.chat.pk.does_not_exist()))
    except Refused:
        return False
    return True


def list_collections(t: Tables, principal: str) -> tuple[Collection, ...]:
    own = _rows(t, owner_pk(principal), "K#")
    found = [_decode_collection(row.data) for row in own]
    for grant in map(_read_grant, _rows(t, owner_pk(principal), "G#")):
        item = find_item(t, owner_pk(grant.owner), collection_sk(grant.collection_id))
        if item is not None:
            found.append(msgspec.structs.replace(_decode_collection(item.data), role=grant.role))
    return tuple(sorted(found, key=lambda one: one.id))


def rename_collection(t: Tables, owner: str, collection_id: str, name: str) -> None:
    item = find_item(t, owner_pk(owner), collection_sk(collection_id))
    if item is None:
        raise rules.no_collection()
    renamed = msgspec.structs.replace(_decode_collection(item.data), name=name)
    try:
        ask(lambda: item.update([t.chat.data.set(_encode(renamed))], t.chat.pk.exists()))
    except Refused as refused:
        raise rules.no_collection() from refused


def delete_collection(t: Tables, owner: str, collection_id: str) -> None:
    """Itself first: from then on nobody finds anything of it, and nothing is added."""
    item = t.chat(owner_pk(owner), collection_sk(collection_id))
    try:
        ask(lambda: item.delete(t.chat.pk.exists()))
    except Refused:
        is_new = False
    else:
        is_new = True
    _forget_members(t, owner, collection_id)
    for document in list_documents(t, owner):
        if document.collection_id == collection_id:
            delete_all(t.chat, [(owner_pk(owner), document_sk(document.id))])
            purge_document(t, owner, document.id)
    delete_all(t.chat, [(row.pk, row.sk) for row in _rows(t, owner_pk(owner), filename_sk(collection_id))])
    if not is_new:
        raise rules.no_collection()


def put_member(t: Tables, owner: str, collection_id: str, principal: str, role: CollectionRole | None) -> None:
    member = t.chat(knowledge_pk(owner, collection_id), member_sk(principal))
    grant = t.chat(owner_pk(principal), grant_sk(collection_id))
    writes = Writes(t)
    writes.check("collection", t.chat, owner_pk(owner), collection_sk(collection_id), t.chat.pk.exists())
    if role is None:
        writes.delete("member", member)
        writes.delete("grant", grant)
    else:
        member.data = _encode(Member(principal=principal, role=role))
        grant.data = _encode(_Grant(owner=owner, collection_id=collection_id, role=role))
        writes.put("member", member)
        writes.put("grant", grant)
    try:
        writes.commit()
    except Refused as refused:
        raise rules.no_collection() from refused


def list_members(t: Tables, owner: str, collection_id: str) -> tuple[Member, ...]:
    if find_item(t, owner_pk(owner), collection_sk(collection_id)) is None:
        raise rules.no_collection()
    return tuple(_decode_member(row.data) for row in _rows(t, knowledge_pk(owner, collection_id), "A#"))


def leave_all(t: Tables, owner: str) -> None:
    """Whatever of this owner stands in others' partitions: whom they let in, and who let them in."""
    for row in _rows(t, owner_pk(owner), "K#"):
        _forget_members(t, owner, _decode_collection(row.data).id)
    for grant in map(_read_grant, _rows(t, owner_pk(owner), "G#")):
        delete_all(t.chat, [(knowledge_pk(grant.owner, grant.collection_id), member_sk(owner))])


class _Grant(msgspec.Struct, frozen=True, kw_only=True):
    owner: str
    collection_id: str
    role: CollectionRole


_decode_grant = msgspec.json.Decoder(_Grant).decode
_decode_member = msgspec.json.Decoder(Member).decode


def _read_grant(row: ChatItem) -> _Grant:
    return _decode_grant(row.data)


def _forget_members(t: Tables, owner: str, collection_id: str) -> None:
    rows = _rows(t, knowledge_pk(owner, collection_id), "A#")
    delete_all(t.chat, [(owner_pk(_decode_member(row.data).principal), grant_sk(collection_id)) for row in rows])
    delete_all(t.chat, [(row.pk, row.sk) for row in rows])


def _rows(t: Tables, pk: str, beginning: str) -> list[ChatItem]:
    return ask(lambda: list(t.chat.query(pk, t.chat.sk.startswith(beginning), consistent_read=True)))


# -- documents ----------------------------------------------------------------------------------------------------
def add_document(t: Tables, owner: str, document: Document) -> None:
    writes = Writes(t)
    writes.check("collection", t.chat, owner_pk(owner), collection_sk(document.collection_id), t.chat.pk.exists())
    item = t.chat(owner_pk(owner), document_sk(document.id), data=_encode(document))
    writes.put("document", item, t.chat.pk.does_not_exist())
    try:
        writes.commit()
    except Refused as refused:
        raise rules.no_collection() from refused


def list_documents(t: Tables, owner: str) -> tuple[Document, ...]:
    return tuple(_decode_document(row.data) for row in _rows(t, owner_pk(owner), "D#"))


def get_document(t: Tables, owner: str, document_id: str) -> Document:
    item = find_item(t, owner_pk(owner), document_sk(document_id))
    if item is None:
        raise rules.no_document()
    return _decode_document(item.data)


def put_document(t: Tables, owner: str, document: Document) -> None:
    while True:
        item = find_item(t, owner_pk(owner), document_sk(document.id))
        if item is None:
            raise rules.no_document()
        was = item.data
        rules.keep_decided(_decode_document(was), document)
        with suppress(Refused):  # somebody else has just stored it: look again at what
            ask(lambda: item.update([t.chat.data.set(_encode(document))], t.chat.data == was))  # noqa: B023  # called at once
            return


def finish_document(t: Tables, owner: str, document: Document) -> bool:
    """The name's pointer decides between two that end at once."""
    pk, name_sk = owner_pk(owner), filename_sk(document.collection_id, document.filename)
    while True:
        namesakes = [
            one
            for one in list_documents(t, owner)
            if (one.collection_id, one.filename) == (document.collection_id, document.filename)
        ]
        if any(one.id > document.id and one.status == "ready" for one in namesakes):
            delete_document(t, owner, document.id)
            return False
        pointer = find_item(t, pk, name_sk)
        is_as_seen = t.chat.pk.does_not_exist() if pointer is None else t.chat.key == pointer.key
        writes = Writes(t)
        writes.put("name", t.chat(pk, name_sk, key=document.id), is_as_seen)
        item = t.chat(pk, document_sk(document.id))
        writes.update("document", item, [t.chat.data.set(_encode(document))], t.chat.pk.exists())
        for one in [one for one in namesakes if one.id < document.id][:WRITES]:
            writes.delete(one.id, t.chat(pk, document_sk(one.id)))
        try:
            writes.commit()
        except Refused as refused:
            if "document" in refused:
                raise rules.no_document() from refused
            continue  # another of this name has just become ready
        return True


def delete_document(t: Tables, owner: str, document_id: str) -> None:
    """The document at once, then what belongs to it."""
    document = get_document(t, owner, document_id)
    pk = owner_pk(owner)
    item = t.chat(pk, document_sk(document_id))
    try:
        ask(lambda: item.delete(t.chat.pk.exists()))
    except Refused as refused:
        raise rules.no_document() from refused
    pointer = t.chat(pk, filename_sk(document.collection_id, document.filename))
    with suppress(Refused):
        ask(lambda: pointer.delete(t.chat.key == document_id))
    purge_document(t, owner, document_id)


# -- what a document is made of -----------------------------------------------------------------------------------
def put_part(t: Tables, owner: str, document_id: str, kind: PartKind, number: int, data: bytes) -> None:
    _put(t, owner, document_id, [t.chat(document_pk(owner, document_id), part_sk(kind, number), data=data)])


def read_part(t: Tables, owner: str, document_id: str, kind: PartKind, number: int) -> bytes | None:
    item = find_item(t, document_pk(owner, document_id), part_sk(kind, number))
    return item.data if item is not None else None


def drop_parts(t: Tables, owner: str, document_id: str, kind: PartKind) -> None:
    pk = document_pk(owner, document_id)
    is_of_kind = t.chat.sk.startswith(part_sk(kind))
    rows = ask(lambda: list(t.chat.query(pk, is_of_kind, consistent_read=True, attributes_to_get=["pk", "sk"])))
    delete_all(t.chat, [(row.pk, row.sk) for row in rows])


def put_chunks(t: Tables, owner: str, document_id: str, chunks: Sequence[Chunk]) -> None:
    pk = document_pk(owner, document_id)
    items = [t.chat(pk, chunk_sk(chunk.number), data=_encode(chunk)) for chunk in chunks]
    batch: list[ChatItem] = []
    size = 0
    for item in items:
        if batch and (len(batch) == WRITES or size + len(item.data) > WRITTEN_BYTES):
            _put(t, owner, document_id, batch)
            batch, size = [], 0
        batch.append(item)
        size += len(item.data)
    if batch:
        _put(t, owner, document_id, batch)


def read_chunks(t: Tables, owner: str, document_id: str, numbers: Sequence[int]) -> tuple[Chunk, ...]:
    pk = document_pk(owner, document_id)
    keys = [(pk, chunk_sk(number)) for number in dict.fromkeys(numbers)]
    rows = ask(lambda: list(t.chat.batch_get(keys, consistent_read=True))) if keys else []
    return tuple(sorted((_decode_chunk(row.data) for row in rows), key=lambda chunk: chunk.number))


def purge_document(t: Tables, owner: str, document_id: str) -> None:
    pk = document_pk(owner, document_id)
    rows = ask(lambda: list(t.chat.query(pk, consistent_read=True, attributes_to_get=["pk", "sk"])))
    delete_all(t.chat, [(row.pk, row.sk) for row in rows])


def _put(t: Tables, owner: str, document_id: str, items: Sequence[ChatItem]) -> None:
    """With a look at the document: nothing is added to one that is gone."""
    writes = Writes(t)
    writes.check("document", t.chat, owner_pk(owner), document_sk(document_id), t.chat.pk.exists())
    for item in items:
        writes.put(item.sk, item)
    try:
        writes.commit()
    except Refused as refused:
        raise rules.no_document() from refused
