"""Vectors in DynamoDB: one item each. A small collection is read and compared whole (`nearest`); a large one is
searched by DynamoDB's native vector index (`SearchVectors`), where the table has one for vectors of this length.

    dynamodb://PREFIX?vectors=384     `parley tables` makes the index, once, for all collections of this length

The index is approximate and shows a vector some time after it was written, and it takes no other length. So it only
chooses: what it names is read again, consistently, and compared exactly. What is gone or out of date is not found, and
scores are the same either way. A collection that was begun before there was an index stays outside of it until it is
deleted and made again.

Reading whole costs a round trip and 128 read units for each megabyte: 600 vectors of 384 numbers.
"""

import heapq
import time
from array import array
from collections.abc import Iterator, Sequence
from contextlib import suppress
from typing import Any

import botocore.exceptions
import msgspec
from pynamodb.constants import PAY_PER_REQUEST_BILLING_MODE
from pynamodb.exceptions import DoesNotExist
from pynamodb.pagination import PageIterator

from functions.adapters import rules
from functions.adapters.dynamo_calls import PART_BYTES, Refused, ask, delete_all, put_all
from functions.adapters.dynamo_models import NumberList, Tables, VectorItem, collection_pk, expires_after, safe
from functions.errors import BadInput, TooLarge
from functions.ports import Hit

_encode = msgspec.json.Encoder().encode
_decode: msgspec.json.Decoder[dict[str, Any]] = msgspec.json.Decoder(dict[str, Any])  # the caller's own data
INDEX = "nearest"
LONGEST = 4096  # numbers in a vector of the index
TOP_MOST = 100  # answers of the index
SPARE = 8  # asked for beyond the limit: of what the index names some may be gone
READ = ("sk", "length", "is_indexed", "vector_id", "vector", "data", "until_ms")  # without the second copy


def _sk(item_id: str) -> str:
    return f"V#{safe(item_id)}"


# -- writing ----------------------------------------------------------------------------------------------------
def put_vectors(
    t: Tables,
    owner: str,
    collection: str,
    items: Sequence[tuple[str, Sequence[float], dict[str, Any]]],
    *,
    expires_ms: int,
) -> None:
    if not items:
        return
    pk = collection_pk(owner, collection)
    rows = {item_id: _row(t, pk, item_id, vector, data, expires_ms) for item_id, vector, data in items}
    lengths = sorted({len(vector) for _, vector, _ in items})
    if len(lengths) > 1:
        raise rules.wrong_length(lengths[1], lengths[0])
    if _begun(t, pk, lengths[0]).is_indexed:
        for item_id, vector, _ in items:
            rows[item_id].embedding = rules.unit(vector)
    put_all(t.vectors, list(rows.values()))


def _row(
    t: Tables, pk: str, item_id: str, vector: Sequence[float], data: dict[str, Any], expires_ms: int
) -> VectorItem:
    row = t.vectors(pk, _sk(item_id), vector_id=item_id, vector=rules.unit(vector).tobytes(), data=_encode(data))
    if len(row.vector) + len(row.data) > PART_BYTES:
        raise TooLarge("A vector and its data must fit into 290 KB.", param="data")
    if expires_ms:
        row.until_ms, row.expires = expires_ms, expires_after(expires_ms)
    return row


def _begun(t: Tables, pk: str, length: int) -> VectorItem:
    """The collection's first item, made by its first vector: it fixes the length of all, and whether they are in the
    index, until the collection is deleted."""
    first = t.vectors(pk, "L", length=length, is_indexed=length == t.vector_length)
    with suppress(DoesNotExist):
        first = ask(lambda: t.vectors.get(pk, "L", consistent_read=True))
        if first.length != length:
            raise rules.wrong_length(length, first.length or 0)
        return first
    try:
        ask(lambda: first.save(condition=t.vectors.pk.does_not_exist()))
    except Refused:
        return _begun(t, pk, length)  # somebody was faster, or an answer of ours was lost
    return first


# -- searching --------------------------------------------------------------------------------------------------
def search_vectors(t: Tables, owner: str, collection: str, vector: Sequence[float], *, limit: int) -> tuple[Hit, ...]:
    wanted, pk = rules.unit(vector), collection_pk(owner, collection)
    pages = t.vectors.query(pk, consistent_read=True, attributes_to_get=list(READ)).page_iter
    rows = _next_page(t, pages)
    if rows and rows[0].length is not None and rows[0].length != len(wanted):
        raise rules.wrong_length(len(wanted), rows[0].length)
    if pages.last_evaluated_key is not None:
        named = _ask_index(t, pk, wanted, limit + SPARE) if rows[0].is_indexed else None
        rows = _read_named(t, pk, named) if named is not None else [*rows, *_rest(t, pages)]
    return _nearest(rows, wanted, limit)


def _next_page(t: Tables, pages: PageIterator[Any]) -> list[VectorItem]:
    return [t.vectors.from_raw_data(item) for item in ask(lambda: next(pages))["Items"]]


def _rest(t: Tables, pages: PageIterator[Any]) -> Iterator[VectorItem]:
    while pages.last_evaluated_key is not None:
        yield from _next_page(t, pages)


def _ask_index(t: Tables, pk: str, wanted: Sequence[float], most: int) -> list[str] | None:
    """The sort keys of the nearest, about; None when the index does not answer such a question, e.g. because it is
    still being filled."""
    if most > TOP_MOST:
        return None

    def search() -> dict[str, Any] | None:  # DynamoDB's wire
        try:
            return t.connection.client.search_vectors(  # type: ignore[no-any-return]
                TableName=t.vectors.Meta.table_name,
                IndexName=INDEX,
                SearchVector=NumberList().serialize(wanted),
                TopK=most,
                SearchConditionExpression="pk = :pk",
                ExpressionAttributeValues={":pk": {"S": pk}},
                ProjectionExpression="sk",
            )
        except botocore.exceptions.ClientError as exc:
            if exc.response["Error"]["Code"] == "ValidationException":
                return None
            raise

    answer = ask(search)
    return None if answer is None else [found["Item"]["sk"]["S"] for found in answer.get("SearchResults", ())]


def _read_named(t: Tables, pk: str, sks: Sequence[str]) -> list[VectorItem]:
    keys = [(pk, sk) for sk in sks]
    return ask(lambda: list(t.vectors.batch_get(keys, consistent_read=True, attributes_to_get=list(READ))))


def _nearest(rows: Sequence[VectorItem], wanted: "array[float]", limit: int) -> tuple[Hit, ...]:
    from functions.adapters.nearest import nearest, stacked  # noqa: PLC0415 (imports numpy)

    now_ms = time.time_ns() // 1_000_000
    alive = [row for row in rows if row.vector is not None and not 0 < (row.until_ms or 0) <= now_ms]
    near = nearest(stacked([row.vector for row in alive], len(wanted)), wanted, limit)
    best = heapq.nsmallest(limit, ((-score, alive[at].vector_id, alive[at].data) for score, at in near))
    return tuple(Hit(id=item_id, score=-negative, data=_decode.decode(data)) for negative, item_id, data in best)


# -- deleting ---------------------------------------------------------------------------------------------------
def delete_vectors(t: Tables, owner: str, collection: str, ids: Sequence[str] | None) -> None:
    pk = collection_pk(owner, collection)
    if ids is not None:
        delete_all(t.vectors, [(pk, _sk(item_id)) for item_id in dict.fromkeys(ids)])
        return
    rows = ask(lambda: list(t.vectors.query(pk, consistent_read=True, attributes_to_get=["pk", "sk"])))
    # The length ("L") sorts first and goes last.
    delete_all(t.vectors, [(row.pk, row.sk) for row in reversed(rows)])


# -- the index --------------------------------------------------------------------------------------------------
def index_length(t: Tables) -> int:
    """How long the vectors of the table's index are; 0 when it has none."""
    described = ask(lambda: t.connection.client.describe_table(TableName=t.vectors.Meta.table_name))["Table"]
    lengths = [index["Dimensions"] for index in described.get("VectorIndexes", ()) if index["IndexName"] == INDEX]
    return int(lengths[0]) if lengths else 0


def create_with_index(t: Tables, length: int) -> None:
    """The table and its index at once. Where the table is there already the index is added to it, which takes a while;
    it is for collections that are begun after that."""
    index = {
        "IndexName": INDEX,
        "VectorAttribute": {"AttributeName": "embedding"},
        "SearchSchema": [{"AttributeName": "pk", "SearchSchemaElementType": "HASH"}],
        "Projection": {"ProjectionType": "KEYS_ONLY"},
        "Dimensions": length,
        "DistanceFunction": "COSINE",
    }
    client, name = t.connection.client, t.vectors.Meta.table_name
    keys = [{"AttributeName": "pk", "AttributeType": "S"}, {"AttributeName": "sk", "AttributeType": "S"}]
    if not ask(t.vectors.exists):
        schema = [{"AttributeName": "pk", "KeyType": "HASH"}, {"AttributeName": "sk", "KeyType": "RANGE"}]
        ask(
            lambda: client.create_table(
                TableName=name,
                AttributeDefinitions=keys,
                KeySchema=schema,
                BillingMode=PAY_PER_REQUEST_BILLING_MODE,
                VectorIndexes=[index],
            )
        )
    elif not (there := index_length(t)):
        updates = [{"Create": index}]
        ask(lambda: client.update_table(TableName=name, AttributeDefinitions=keys, VectorIndexUpdates=updates))
    elif there != length:
        raise BadInput(f"The table's vector index is for {there} numbers, not {length}.", param="store_url")
