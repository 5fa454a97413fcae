"""Vectors of one owner's collections, all compared (`nearest`): exact, and fast enough for what one user has.

A collection that was searched lies in memory as one matrix, under the stamp that each change of the collection renews;
so any process sees any other's write. One that is too large for that is read in slices, at every search.

Not sqlite-vec: many Pythons are built without loadable extensions, so it could only be a second way beside this one,
and comparing is a thirtieth of the time; reading the rows is the rest, with it as without.
"""

import sqlite3
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

import msgspec

from functions.adapters import rules
from functions.ports import Hit

if TYPE_CHECKING:
    from functions.adapters.matrices import Matrices
    from functions.adapters.nearest import Stack

_encode = msgspec.json.Encoder().encode
_decode: msgspec.json.Decoder[dict[str, Any]] = msgspec.json.Decoder(dict[str, Any])  # the caller's own data
Prepared = list[tuple[str, bytes, bytes]]
SLICE = 4096  # rows read at once
ASKED = 500  # ids in one statement


def prepare(items: Sequence[tuple[str, Sequence[float], dict[str, Any]]]) -> Prepared:
    return [(item_id, rules.unit(vector).tobytes(), _encode(data)) for item_id, vector, data in items]


def put_vectors(db: sqlite3.Connection, owner: str, collection: str, items: Prepared, *, expires_ms: int) -> None:
    if not items:
        return
    db.execute(
        "INSERT OR IGNORE INTO collections (owner, name, length) VALUES (?, ?, ?)",
        (owner, collection, len(items[0][1]) // rules.FLOAT_BYTES),
    )
    n, expected, _ = _find(db, owner, collection)
    for _, vector, _ in items:
        if len(vector) != expected * rules.FLOAT_BYTES:
            raise rules.wrong_length(len(vector) // rules.FLOAT_BYTES, expected)
    db.executemany(
        "INSERT OR REPLACE INTO vectors (collection, id, vector, data, expires_ms) VALUES (?, ?, ?, ?, ?)",
        [(n, item_id, vector, data, expires_ms) for item_id, vector, data in items],
    )
    renew_stamp(db, n)


def renew_stamp(db: sqlite3.Connection, n: int | None) -> None:
    """By chance and not by counting: a collection made after another was deleted may have its number."""
    db.execute("UPDATE collections SET stamp = random() WHERE n = ?", (n,))


def _find(db: sqlite3.Connection, owner: str, collection: str) -> tuple[int | None, int, int]:
    """The collection's row number, the length of its vectors and its stamp; None when there is no such collection."""
    row = db.execute(
        "SELECT n, length, stamp FROM collections WHERE owner = ? AND name = ?", (owner, collection)
    ).fetchone()
    return row or (None, 0, 0)


def search_vectors(
    db: sqlite3.Connection,
    owner: str,
    collection: str,
    vector: Sequence[float],
    *,
    limit: int,
    now_ms: int,
    matrices: "Matrices",
) -> tuple[Hit, ...]:
    wanted = rules.unit(vector)
    n, expected, stamp = _find(db, owner, collection)
    if n is None:
        return ()
    if len(wanted) != expected:
        raise rules.wrong_length(len(wanted), expected)
    found: list[tuple[float, int]] = []
    for stack in _stacks(db, n, expected, stamp, matrices):
        found += stack.nearest(wanted, limit, now_ms)
    found.sort(reverse=True)
    # Further than the last place are only those that tie with it; of these the ids decide.
    scores = {key: score for score, key in found if score >= found[min(limit, len(found)) - 1][0]}
    hits = [
        Hit(id=item_id, score=scores[key], data=_decode.decode(data)) for key, item_id, data in _rows(db, list(scores))
    ]
    return tuple(sorted(hits, key=lambda hit: (-hit.score, hit.id))[:limit])


def _stacks(db: sqlite3.Connection, n: int, length: int, stamp: int, matrices: "Matrices") -> "Iterator[Stack]":
    """The whole collection: from memory, or slice by slice from the file. What is written meanwhile is newer than the
    stamp, and only makes the next search read again."""
    from functions.adapters.nearest import Stack  # noqa: PLC0415 (imports numpy)

    if (kept := matrices.get(n, stamp)) is not None:
        yield kept
        return
    read: list[Stack] = []
    is_small = True
    rows = db.execute("SELECT n, vector, expires_ms FROM vectors WHERE collection = ?", (n,))
    while sliced := rows.fetchmany(SLICE):
        stack = Stack.of(sliced, length)
        yield stack
        read.append(stack)
        if is_small := is_small and sum(one.bytes for one in read) <= matrices.limit_bytes:
            continue
        read.clear()
    if is_small:
        matrices.put(n, stamp, Stack.joined(read, length))


def _rows(db: sqlite3.Connection, keys: list[int]) -> Iterator[tuple[int, str, bytes]]:
    for start in range(0, len(keys), ASKED):
        some = keys[start : start + ASKED]
        marks = ",".join("?" * len(some))
        yield from db.execute(f"SELECT n, id, data FROM vectors WHERE n IN ({marks})", some)  # noqa: S608 (marks only)


def delete_vectors(db: sqlite3.Connection, owner: str, collection: str, ids: Sequence[str] | None) -> None:
    n, _, _ = _find(db, owner, collection)
    if ids is None:
        db.execute("DELETE FROM collections WHERE n = ?", (n,))
        return
    db.executemany("DELETE FROM vectors WHERE collection = ? AND id = ?", [(n, item_id) for item_id in ids])
    renew_stamp(db, n)
