"""The knowledge base as SQL. A collection's rows go with it, and a document's chunks and parts with the document.

In `knowledge_members` the member is the row's owner: what others have let somebody into is found, and erased, as
theirs.
"""

import sqlite3
from collections.abc import Sequence

import msgspec

from functions.adapters import rules
from functions.chat.documents import Chunk, Collection, CollectionRole, Document, Member, PartKind

_encode = msgspec.json.Encoder().encode
_decode_collection = msgspec.json.Decoder(Collection).decode
_decode_document = msgspec.json.Decoder(Document).decode
_decode_chunk = msgspec.json.Decoder(Chunk).decode

_LISTED = """
    SELECT data, 'owner' FROM knowledge WHERE owner = :owner
    UNION ALL
    SELECT data, role FROM knowledge_members AS m JOIN knowledge AS k ON k.n = m.collection WHERE m.owner = :owner"""
_OF_DOCUMENT = "(SELECT n FROM documents WHERE owner = ? AND id = ?)"


# -- collections --------------------------------------------------------------------------------------------------
def create_collection(db: sqlite3.Connection, owner: str, collection: Collection) -> bool:
    put = db.execute(
        "INSERT INTO knowledge (owner, id, data) VALUES (?, ?, ?) ON CONFLICT (owner, id) DO NOTHING",
        (owner, collection.id, _encode(collection)),
    )
    return put.rowcount == 1


def list_collections(db: sqlite3.Connection, principal: str) -> tuple[Collection, ...]:
    found = [_seen(data, role) for data, role in db.execute(_LISTED, {"owner": principal})]
    return tuple(sorted(found, key=lambda one: one.id))


def rename_collection(db: sqlite3.Connection, owner: str, collection_id: str, name: str) -> None:
    n, data = _collection(db, owner, collection_id)
    db.execute(
        "UPDATE knowledge SET data = ? WHERE n = ?",
        (_encode(msgspec.structs.replace(_decode_collection(data), name=name)), n),
    )


def delete_collection(db: sqlite3.Connection, owner: str, collection_id: str) -> None:
    db.execute("DELETE FROM knowledge WHERE n = ?", (_collection(db, owner, collection_id)[0],))


def put_member(
    db: sqlite3.Connection, owner: str, collection_id: str, principal: str, role: CollectionRole | None
) -> None:
    n, _ = _collection(db, owner, collection_id)
    if role is None:
        db.execute("DELETE FROM knowledge_members WHERE collection = ? AND owner = ?", (n, principal))
        return
    db.execute(
        "INSERT OR REPLACE INTO knowledge_members (owner, collection, role) VALUES (?, ?, ?)", (principal, n, role)
    )


def list_members(db: sqlite3.Connection, owner: str, collection_id: str) -> tuple[Member, ...]:
    n, _ = _collection(db, owner, collection_id)
    rows = db.execute("SELECT owner, role FROM knowledge_members WHERE collection = ? ORDER BY owner", (n,))
    return tuple(Member(principal=principal, role=role) for principal, role in rows)


def _collection(db: sqlite3.Connection, owner: str, collection_id: str) -> tuple[int, bytes]:
    row = db.execute("SELECT n, data FROM knowledge WHERE owner = ? AND id = ?", (owner, collection_id)).fetchone()
    if row is None:
        raise rules.no_collection()
    return int(row[0]), row[1]


def _seen(data: bytes, role: CollectionRole) -> Collection:
    return msgspec.structs.replace(_decode_collection(data), role=role)


# -- documents ----------------------------------------------------------------------------------------------------
def add_document(db: sqlite3.Connection, owner: str, document: Document) -> None:
    n, _ = _collection(db, owner, document.collection_id)
    db.execute(
        "INSERT INTO documents (owner, id, collection, data) VALUES (?, ?, ?, ?)",
        (owner, document.id, n, _encode(document)),
    )


def list_documents(db: sqlite3.Connection, owner: str) -> tuple[Document, ...]:
    rows = db.execute("SELECT data FROM documents WHERE owner = ? ORDER BY id", (owner,))
    return tuple(_decode_document(data) for (data,) in rows)


def get_document(db: sqlite3.Connection, owner: str, document_id: str) -> Document:
    row = db.execute("SELECT data FROM documents WHERE owner = ? AND id = ?", (owner, document_id)).fetchone()
    if row is None:
        raise rules.no_document()
    return _decode_document(row[0])


def put_document(db: sqlite3.Connection, owner: str, document: Document) -> None:
    rules.keep_decided(get_document(db, owner, document.id), document)
    _put_document(db, owner, document)


def _put_document(db: sqlite3.Connection, owner: str, document: Document) -> None:
    put = db.execute(
        "UPDATE documents SET data = ? WHERE owner = ? AND id = ?", (_encode(document), owner, document.id)
    )
    if not put.rowcount:
        raise rules.no_document()


def finish_document(db: sqlite3.Connection, owner: str, document: Document) -> bool:
    _put_document(db, owner, document)
    namesakes = [
        one
        for one in list_documents(db, owner)
        if (one.collection_id, one.filename) == (document.collection_id, document.filename)
    ]
    newest = max(one.id for one in namesakes if one.status == "ready")
    older = [(owner, one.id) for one in namesakes if one.id < newest]
    db.executemany("DELETE FROM documents WHERE owner = ? AND id = ?", older)
    return newest == document.id


def delete_document(db: sqlite3.Connection, owner: str, document_id: str) -> None:
    """Its chunks and parts go by themselves."""
    if not db.execute("DELETE FROM documents WHERE owner = ? AND id = ?", (owner, document_id)).rowcount:
        raise rules.no_document()


# -- what a document is made of -----------------------------------------------------------------------------------
def put_part(db: sqlite3.Connection, owner: str, document_id: str, kind: PartKind, number: int, data: bytes) -> None:
    db.execute(
        "INSERT OR REPLACE INTO document_parts (document, kind, number, data) VALUES (?, ?, ?, ?)",
        (_row_of(db, owner, document_id), kind, number, data),
    )


def read_part(db: sqlite3.Connection, owner: str, document_id: str, kind: PartKind, number: int) -> bytes | None:
    row = db.execute(
        f"SELECT data FROM document_parts WHERE document = {_OF_DOCUMENT} AND kind = ? AND number = ?",  # noqa: S608
        (owner, document_id, kind, number),
    ).fetchone()
    return bytes(row[0]) if row is not None else None


def drop_parts(db: sqlite3.Connection, owner: str, document_id: str, kind: PartKind) -> None:
    db.execute(
        f"DELETE FROM document_parts WHERE document = {_OF_DOCUMENT} AND kind = ?",  # noqa: S608  # our own constant
        (owner, document_id, kind),
    )


def put_chunks(db: sqlite3.Connection, owner: str, document_id: str, chunks: Sequence[Chunk]) -> None:
    n = _row_of(db, owner, document_id)
    db.executemany(
        "INSERT OR REPLACE INTO chunks (document, number, data) VALUES (?, ?, ?)",
        [(n, chunk.number, _encode(chunk)) for chunk in chunks],
    )


def read_chunks(db: sqlite3.Connection, owner: str, document_id: str, numbers: Sequence[int]) -> tuple[Chunk, ...]:
    found = {}
    for number in numbers:
        row = db.execute(
            f"SELECT data FROM chunks WHERE document = {_OF_DOCUMENT} AND number = ?",  # noqa: S608  # as above
            (owner, document_id, number),
        ).fetchone()
        if row is not None:
            found[number] = _decode_chunk(row[0])
    return tuple(found[number] for number in sorted(found))


def purge_document(db: sqlite3.Connection, owner: str, document_id: str) -> None:
    """Nothing outlives its document here."""


def _row_of(db: sqlite3.Connection, owner: str, document_id: str) -> int:
    row = db.execute("SELECT n FROM documents WHERE owner = ? AND id = ?", (owner, document_id)).fetchone()
    if row is None:
        raise rules.no_document()
    return int(row[0])
