"""Vectors: nearest first, by cosine, within one owner's collection."""

import math
import random
import time

import pytest

from functions.errors import BadInput
from tests.contracts.makers import NASTY, Store


def utc_ms() -> int:
    return time.time_ns() // 1_000_000


async def ids(store: Store, owner: str, collection: str, vector: list[float], limit: int = 10) -> list[str]:
    return [hit.id for hit in await store.search_vectors(owner, collection, vector, limit=limit)]


async def test_the_nearest_come_first_with_their_cosine_and_data(store: Store, owner: str) -> None:
    items = [("east", [2.0, 0.0], {"n": 1}), ("north", [0.0, 0.5], {}), ("west", [-3.0, 0.0], {"text": NASTY})]
    await store.put_vectors(owner, "c", items)

    hits = await store.search_vectors(owner, "c", [1.0, 0.1], limit=10)

    assert [hit.id for hit in hits] == ["east", "north", "west"]
    assert [hit.data for hit in hits] == [{"n": 1}, {}, {"text": NASTY}]
    cosine = 1 / math.hypot(1, 0.1)
    assert [hit.score for hit in hits] == pytest.approx([cosine, 0.1 * cosine, -cosine], abs=1e-6)
    assert all(-1 <= hit.score <= 1 for hit in hits)


async def test_a_limit_keeps_the_best(store: Store, owner: str) -> None:
    chance = random.Random(7)
    vectors = {f"v{n}": [chance.gauss(0, 1) for _ in range(32)] for n in range(120)}
    await store.put_vectors(owner, "c", [(name, vector, {}) for name, vector in vectors.items()])
    wanted = [chance.gauss(0, 1) for _ in range(32)]

    def cosine(name: str) -> float:
        vector = vectors[name]
        return sum(a * b for a, b in zip(vector, wanted, strict=True)) / math.hypot(*vector) / math.hypot(*wanted)

    assert await ids(store, owner, "c", wanted, limit=5) == sorted(vectors, key=cosine, reverse=True)[:5]


async def test_a_vector_is_replaced_by_its_id(store: Store, owner: str) -> None:
    await store.put_vectors(owner, "c", [("a", [1.0, 0.0], {"v": 1})])
    await store.put_vectors(owner, "c", [("a", [0.0, 1.0], {"v": 2})])

    (hit,) = await store.search_vectors(owner, "c", [0.0, 1.0], limit=10)

    assert (hit.data, hit.score) == ({"v": 2}, pytest.approx(1.0))


async def test_owners_and_collections_are_apart(store: Store, owner: str) -> None:
    await store.put_vectors(owner, "c", [("mine", [1.0, 0.0], {})])
    await store.put_vectors(owner, "d", [("other", [1.0, 0.0, 0.0], {})])
    await store.put_vectors("somebody else", "c", [("theirs", [1.0, 0.0], {})])

    assert await ids(store, owner, "c", [1.0, 0.0]) == ["mine"]
    assert await ids(store, owner, "d", [1.0, 0.0, 0.0]) == ["other"]
    assert await ids(store, owner, "empty", [1.0]) == []

    await store.delete_vectors("somebody else", "c")
    await store.delete_vectors(owner, "d", ["mine"])

    assert await ids(store, owner, "c", [1.0, 0.0]) == ["mine"]


async def test_vectors_of_one_collection_have_one_length(store: Store, owner: str) -> None:
    with pytest.raises(BadInput):
        await store.put_vectors(owner, "c", [("a", [1.0, 0.0], {}), ("b", [1.0], {})])
    assert await ids(store, owner, "c", [1.0, 0.0]) == []
    await store.put_vectors(owner, "c", [("a", [1.0, 0.0], {})])

    with pytest.raises(BadInput):
        await store.put_vectors(owner, "c", [("b", [1.0, 0.0, 0.0], {})])
    with pytest.raises(BadInput):
        await store.search_vectors(owner, "c", [1.0, 0.0, 0.0], limit=1)
    await store.delete_vectors(owner, "c", ["a"])
    with pytest.raises(BadInput):
        await store.put_vectors(owner, "c", [("b", [1.0], {})])

    await store.delete_vectors(owner, "c")
    await store.put_vectors(owner, "c", [("b", [1.0], {})])
    assert await ids(store, owner, "c", [1.0]) == ["b"]


@pytest.mark.parametrize("vector", [[], [math.nan, 1.0], [math.inf, 1.0]])
async def test_what_is_no_vector_is_refused(store: Store, owner: str, vector: list[float]) -> None:
    with pytest.raises(BadInput):
        await store.put_vectors(owner, "c", [("a", vector, {})])
    with pytest.raises(BadInput):
        await store.search_vectors(owner, "c", vector, limit=1)


async def test_nothing_is_similar_to_a_zero_vector(store: Store, owner: str) -> None:
    await store.put_vectors(owner, "c", [("zero", [0.0, 0.0], {}), ("one", [1e-30, 0.0], {}), ("big", [1e30, 0.0], {})])

    scores = {hit.id: hit.score for hit in await store.search_vectors(owner, "c", [1.0, 0.0], limit=9)}

    assert scores == {"zero": 0.0, "one": pytest.approx(1.0), "big": pytest.approx(1.0)}


async def test_deleting_names_some_or_all_and_absent_ones_are_no_error(store: Store, owner: str) -> None:
    await store.put_vectors(owner, "c", [(f"v{n}", [1.0, float(n)], {}) for n in range(60)])

    await store.delete_vectors(owner, "c", [*(f"v{n}" for n in range(1, 60)), "absent"])
    assert await ids(store, owner, "c", [1.0, 0.0]) == ["v0"]
    await store.delete_vectors(owner, "c", [])
    await store.delete_vectors(owner, "c")
    await store.delete_vectors(owner, "c")

    assert await ids(store, owner, "c", [1.0, 0.0]) == []


async def test_putting_nothing_does_nothing(store: Store, owner: str) -> None:
    await store.put_vectors(owner, "c", [])

    assert await ids(store, owner, "c", [1.0]) == []


async def test_ids_may_be_any_text(store: Store, owner: str) -> None:
    await store.put_vectors(owner, "a#b", [("#", [1.0], {}), (NASTY, [1.0], {})])

    assert set(await ids(store, owner, "a#b", [1.0])) == {"#", NASTY}
    await store.delete_vectors(owner, "a#b", [NASTY])
    assert await ids(store, owner, "a#b", [1.0]) == ["#"]


async def test_of_equal_ones_the_ids_decide_who_is_left_out(store: Store, owner: str) -> None:
    await store.put_vectors(owner, "c", [(f"v{n:02}", [1.0, 1.0], {}) for n in reversed(range(20))])
    await store.put_vectors(owner, "c", [("best", [1.0, 0.0], {})])

    assert await ids(store, owner, "c", [1.0, 0.0], limit=4) == ["best", "v00", "v01", "v02"]


@pytest.mark.parametrize("limit", [0, 1, 7])
async def test_there_are_never_more_than_asked_for_nor_than_there_are(store: Store, owner: str, limit: int) -> None:
    await store.put_vectors(owner, "c", [(f"v{n}", [1.0, float(n)], {}) for n in range(3)])

    assert len(await ids(store, owner, "c", [1.0, 0.0], limit=limit)) == min(limit, 3)


async def test_what_has_expired_is_not_found(store: Store, owner: str) -> None:
    vector = [1.0, 0.0]
    await store.put_vectors(owner, "c", [("gone", vector, {})], expires_ms=utc_ms() - 1)
    await store.put_vectors(owner, "c", [("later", vector, {})], expires_ms=utc_ms() + 3_600_000)
    await store.put_vectors(owner, "c", [("kept", vector, {}), ("back", vector, {})])
    await store.put_vectors(owner, "c", [("back", vector, {})], expires_ms=1)

    assert await ids(store, owner, "c", vector) == ["kept", "later"]
    await store.put_vectors(owner, "c", [("gone", vector, {})])
    assert await ids(store, owner, "c", vector) == ["gone", "kept", "later"]


async def test_every_worker_sees_at_once_what_another_has_written(stores: tuple[Store, Store], owner: str) -> None:
    here, there = stores
    for n in range(4):
        await here.put_vectors(owner, "c", [(f"v{n}", [1.0, 0.0], {})])
        assert len(await ids(there, owner, "c", [1.0, 0.0])) == n + 1
    await here.delete_vectors(owner, "c", ["v0"])
    assert await ids(there, owner, "c", [1.0, 0.0]) == ["v1", "v2", "v3"]

    await here.delete_vectors(owner, "c")
    assert await ids(there, owner, "c", [1.0, 0.0]) == []
    await here.put_vectors(owner, "c", [("new", [1.0, 0.0, 0.0], {})])  # perhaps under the old one's number
    assert await ids(there, owner, "c", [1.0, 0.0, 0.0]) == ["new"]
