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
_FLOAT = array("f").itemsize

Prepared = list[tuple[str, "array[float]", bytes]]


def prepare(items: Sequence[tuple[str, Sequence[float], dict[str, Any]]]) -> Prepared:
    return [(item_id, rules.unit(vector), _encode(data)) for item_id, vector, data in items]


def _length(db: sqlite3.Connection, owner: str, collection: str) -> int | None:
    row = db.execute(
        "SELECT length(vector) FROM vectors WHERE owner = ? AND collection = ? LIMIT 1", (owner, collection)
    ).fetchone()
    return row[0] // _FLOAT if row else None


def put_vectors(db: sqlite3.Connection, owner: str, collection: str, items: Prepared) -> None:
    expected = _length(db, owner, collection)
    for _, vector, _ in items:
        expected = expected or len(vector)
        if len(vector) != expected:
            raise rules.wrong_length(len(vector), expected)
    db.executemany(
        "INSERT OR REPLACE INTO vectors (owner, collection, id, vector, data) VALUES (?, ?, ?, ?, ?)",
        [(owner, collection, item_id, vector.tobytes(), data) for item_id, vector, data in items],
    )


def search_vectors(
    db: sqlite3.Connection, owner: str, collection: str, vector: Sequence[float], *, limit: int
) -> tuple[Hit, ...]:
    wanted = rules.unit(vector)
    rows = db.execute("SELECT id, vector, data FROM vectors WHERE owner = ? AND collection = ?", (owner, collection))
    nearest = heapq.nsmallest(limit, ((-_similarity(wanted, stored), item_id, data) for item_id, stored, data in rows))
    return tuple(Hit(id=item_id, score=-negative, data=_decode.decode(data)) for negative, item_id, data in nearest)


def _similarity(wanted: "array[float]", stored: bytes) -> float:
    other = array("f")
    other.frombytes(stored)
    if len(other) != len(wanted):
        raise rules.wrong_length(len(wanted), len(other))
    return rules.cosine(wanted, other)


def delete_vectors(db: sqlite3.Connection, owner: str, collection: str, ids: Sequence[str] | None) -> None:
    if ids is None:
        db.execute("DELETE FROM vectors WHERE owner = ? AND collection = ?", (owner, collection))
        return
    db.executemany(
        "DELETE FROM vectors WHERE owner = ? AND collection = ? AND id = ?",
        [(owner, collection, item_id) for item_id in ids],
    )
