"""Vectors of one owner's collections, compared one by one in plain Python: about 15 µs per vector of 384 numbers.

Good for the thousands of vectors one user has, on a reader thread; not an index. Stored at length 1 in 32-bit floats,
so the cosine is a dot product.
"""

import heapq
import sqlite3
from array import array
from collections.abc import Sequence
from typing import Any

import msgspec

from functions.adapters import rules
from functions.ports import Hit

_encode = msgspec.json.Encoder().encode
_decode: msgspec.json.Decoder[dict[str, Any]] = msgspec.json.Decoder(dict[str, Any])  # the caller's own data
Prepared = list[tuple[str, "array[float]", bytes]]


def prepare(items: Sequence[tuple[str, Sequence[float], dict[str, Any]]]) -> Prepared:
    return [(item_id, rules.unit(vector), _encode(data)) for item_id, vector, data in items]


def put_vectors(db: sqlite3.Connection, owner: str, collection: str, items: Prepared) -> None:
    if not items:
        return
    db.execute(
        "INSERT OR IGNORE INTO collections (owner, name, length) VALUES (?, ?, ?)",
        (owner, collection, len(items[0][1])),
    )
    n, expected = _find(db, owner, collection)
    for _, vector, _ in items:
        if len(vector) != expected:
            raise rules.wrong_length(len(vector), expected)
    db.executemany(
        "INSERT OR REPLACE INTO vectors (collection, id, vector, data) VALUES (?, ?, ?, ?)",
        [(n, item_id, vector.tobytes(), data) for item_id, vector, data in items],
    )


def _find(db: sqlite3.Connection, owner: str, collection: str) -> tuple[int | None, int]:
    """The collection's row number and the length of its vectors; None when there is no such collection."""
    row = db.execute("SELECT n, length FROM collections WHERE owner = ? AND name = ?", (owner, collection)).fetchone()
    return row or (None, 0)


def search_vectors(
    db: sqlite3.Connection, owner: str, collection: str, vector: Sequence[float], *, limit: int
) -> tuple[Hit, ...]:
    wanted = rules.unit(vector)
    n, expected = _find(db, owner, collection)
    if n is not None and len(wanted) != expected:
        raise rules.wrong_length(len(wanted), expected)
    rows = db.execute("SELECT id, vector, data FROM vectors WHERE collection = ?", (n,))
    nearest = heapq.nsmallest(limit, ((-_similarity(wanted, stored), item_id, data) for item_id, stored, data in rows))
    return tuple(Hit(id=item_id, score=-negative, data=_decode.decode(data)) for negative, item_id, data in nearest)


def _similarity(wanted: "array[float]", stored: bytes) -> float:
    other = array("f")
    other.frombytes(stored)
    return rules.cosine(wanted, other)


def delete_vectors(db: sqlite3.Connection, owner: str, collection: str, ids: Sequence[str] | None) -> None:
    n, _ = _find(db, owner, collection)
    if ids is None:
        db.execute("DELETE FROM collections WHERE n = ?", (n,))
        return
    db.executemany("DELETE FROM vectors WHERE collection = ? AND id = ?", [(n, item_id) for item_id in ids])
