"""Vectors in DynamoDB: one item each, the collection read and compared in plain Python.

Not DynamoDB's native vector index: that fixes one length for all collections when the table is made, shows a vector
some time after it was written, and finds approximately. The port promises any length, reads after writes, and exact
order. A search reads the owner's collection (1.5 KB a vector of 384 numbers), which is right for the thousands of
vectors one user has and wrong for a million.
"""

import heapq
from array import array
from collections.abc import Sequence
from typing import Any

import msgspec

from functions.adapters import rules
from functions.adapters.dynamo_calls import PART_BYTES, Refused, ask, delete_all, put_all
from functions.adapters.dynamo_models import Tables, VectorItem, collection_pk, safe
from functions.errors import TooLarge
from functions.ports import Hit

_encode = msgspec.json.Encoder().encode
_decode: msgspec.json.Decoder[dict[str, Any]] = msgspec.json.Decoder(dict[str, Any])  # the caller's own data


def _sk(item_id: str) -> str:
    return f"V#{safe(item_id)}"


def put_vectors(
    t: Tables, owner: str, collection: str, items: Sequence[tuple[str, Sequence[float], dict[str, Any]]]
) -> None:
    if not items:
        return
    pk = collection_pk(owner, collection)
    rows = {item_id: _row(t, pk, item_id, vector, data) for item_id, vector, data in items}
    lengths = {len(vector) for _, vector, _ in items}
    _fix_length(t, pk, *sorted(lengths))
    put_all(t.vectors, list(rows.values()))


def _row(t: Tables, pk: str, item_id: str, vector: Sequence[float], data: dict[str, Any]) -> VectorItem:
    row = t.vectors(pk, _sk(item_id), vector_id=item_id, vector=rules.unit(vector).tobytes(), data=_encode(data))
    if len(row.vector) + len(row.data) > PART_BYTES:
        raise TooLarge("A vector and its data must fit into 290 KB.", param="data")
    return row


def _fix_length(t: Tables, pk: str, length: int, *others: int) -> None:
    """The first vector fixes the length of all, until the collection is deleted."""
    if others:
        raise rules.wrong_length(others[0], length)
    item = t.vectors(pk, "L")
    try:
        same = t.vectors.length.does_not_exist() | (t.vectors.length == length)
        ask(lambda: item.update([t.vectors.length.set(length)], same))
    except Refused as exc:
        raise rules.wrong_length(length, ask(lambda: t.vectors.get(pk, "L", consistent_read=True)).length) from exc


def search_vectors(t: Tables, owner: str, collection: str, vector: Sequence[float], *, limit: int) -> tuple[Hit, ...]:
    wanted = rules.unit(vector)
    rows = ask(lambda: list(t.vectors.query(collection_pk(owner, collection), consistent_read=True)))
    scored = ((-_similarity(wanted, row), row.vector_id, row.data) for row in rows if row.vector is not None)
    if rows and (expected := rows[0].length) is not None and expected != len(wanted):
        raise rules.wrong_length(len(wanted), expected)
    return tuple(
        Hit(id=item_id, score=-negative, data=_decode.decode(data))
        for negative, item_id, data in heapq.nsmallest(limit, scored)
    )


def _similarity(wanted: "array[float]", row: VectorItem) -> float:
    other = array("f")
    other.frombytes(row.vector)
    return rules.cosine(wanted, other)


def delete_vectors(t: Tables, owner: str, collection: str, ids: Sequence[str] | None) -> None:
    pk = collection_pk(owner, collection)
    if ids is not None:
        delete_all(t.vectors, [(pk, _sk(item_id)) for item_id in dict.fromkeys(ids)])
        return
    rows = ask(lambda: list(t.vectors.query(pk, consistent_read=True, attributes_to_get=["pk", "sk"])))
    # The length ("L") sorts first and goes last.
    delete_all(t.vectors, [(row.pk, row.sk) for row in reversed(rows)])
