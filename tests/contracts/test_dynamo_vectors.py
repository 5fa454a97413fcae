"""DynamoDB's native vector index, as ministack has it: large collections are searched through it, and nothing that is
gone is found by it."""

import random
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest

from functions.adapters.dynamo import DynamoStore
from functions.errors import BadInput
from functions.ports import Hit

LENGTH = 8
LARGE = {"text": "x" * 30_000}  # forty of these are more than DynamoDB reads at once
chance = random.Random(5)
VECTORS = {f"v{n:02}": [chance.gauss(0, 1) for _ in range(LENGTH)] for n in range(40)}
WANTED = [chance.gauss(0, 1) for _ in range(LENGTH)]


@asynccontextmanager
async def opened(
    ministack: str, prefix: str, options: str = f"vectors={LENGTH}", **how: Any
) -> AsyncIterator[DynamoStore]:
    store = await DynamoStore.open(f"dynamodb://{prefix}?region=eu-central-1&endpoint={ministack}&{options}", **how)
    try:
        yield store
    finally:
        await store.close()


@pytest.fixture
async def store(ministack: str) -> AsyncIterator[DynamoStore]:
    async with opened(ministack, "indexed", create=True) as store:
        yield store


def searches_of(store: DynamoStore) -> list[Any]:
    """Every SearchVectors that the store sends from now on."""
    sent: list[Any] = []
    events = store._tables.connection.client.meta.events
    events.register("before-call.dynamodb.SearchVectors", lambda params, **_: sent.append(params))
    return sent


async def searched(store: DynamoStore, owner: str, limit: int = 5) -> tuple[Hit, ...]:
    return await store.search_vectors(owner, "c", WANTED, limit=limit)


async def put_all(store: DynamoStore, owner: str, data: dict[str, Any]) -> None:
    await store.put_vectors(owner, "c", [(name, vector, data) for name, vector in VECTORS.items()])


async def test_a_large_collection_is_searched_by_the_index_with_the_same_result(store: DynamoStore, owner: str) -> None:
    sent = searches_of(store)
    await put_all(store, owner, {})
    exact = await searched(store, owner)
    assert sent == []  # it was read whole
    await put_all(store, owner, LARGE)
    await put_all(store, "somebody else", LARGE)
    named = await searched(store, owner)

    assert len(sent) == 1
    assert [(hit.id, hit.score) for hit in named] == [(hit.id, hit.score) for hit in exact]
    assert {hit.data["text"] for hit in named} == {LARGE["text"]}


async def test_what_was_deleted_replaced_or_expired_is_not_found_by_the_index(store: DynamoStore, owner: str) -> None:
    await put_all(store, owner, LARGE)
    first, second, third, *_ = await searched(store, owner)
    await store.delete_vectors(owner, "c", [first.id])
    await store.put_vectors(owner, "c", [(second.id, [-x for x in VECTORS[second.id]], LARGE)])
    await store.put_vectors(owner, "c", [(third.id, VECTORS[third.id], LARGE)], expires_ms=1)
    sent = searches_of(store)
    found = {hit.id: hit.score for hit in await searched(store, owner, 40)}

    assert len(sent) == 1
    assert not found.keys() & {first.id, third.id}
    assert found[second.id] == pytest.approx(-second.score, abs=1e-6)


async def test_vectors_of_another_length_are_kept_beside_the_index(store: DynamoStore, owner: str) -> None:
    sent = searches_of(store)
    await store.put_vectors(owner, "c", [(name, vector[:3], LARGE) for name, vector in VECTORS.items()])

    assert len(await store.search_vectors(owner, "c", WANTED[:3], limit=5)) == 5
    assert sent == []


async def test_more_than_the_index_names_at_once_are_read_whole(store: DynamoStore, owner: str) -> None:
    await put_all(store, owner, LARGE)
    sent = searches_of(store)

    assert len(await searched(store, owner, 100)) == len(VECTORS)
    assert sent == []


async def test_a_table_without_an_index_gets_one_for_what_is_stored_from_then_on(ministack: str, owner: str) -> None:
    async with opened(ministack, "late", "", create=True) as store:
        await put_all(store, owner, LARGE)
        before = await searched(store, owner)
    async with opened(ministack, "late", create=True) as store:
        sent = searches_of(store)
        await store.put_vectors(owner, "c", [("new", WANTED, {})])
        assert [hit.id for hit in await searched(store, owner)] == ["new", *(hit.id for hit in before[:4])]
        assert sent == []  # begun without the index

        await put_all(store, "another", LARGE)
        assert await searched(store, "another") == before  # the index is still being made
        assert len(sent) == 1


async def test_an_index_has_one_length(store: DynamoStore, ministack: str) -> None:
    with pytest.raises(BadInput):
        async with opened(ministack, "indexed", "vectors=9", create=True):
            pass


@pytest.mark.parametrize("length", ["-1", "x", "4097", "1.5"])
async def test_a_length_that_cannot_be_is_refused(ministack: str, length: str) -> None:
    with pytest.raises(BadInput):
        async with opened(ministack, "none", f"vectors={length}"):
            pass
