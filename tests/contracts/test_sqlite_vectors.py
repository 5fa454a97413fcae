"""How SQLite searches vectors: in memory when it may, in slices when it must, and with the same result."""

import random
import sqlite3
import time
from contextlib import closing
from pathlib import Path

import pytest

from functions.adapters import sqlite_vectors
from functions.adapters.matrices import Matrices
from functions.adapters.nearest import Stack
from functions.adapters.sqlite import SqliteStore
from functions.ports import Hit

LENGTH = 16


async def searched(store: SqliteStore, vector: list[float]) -> tuple[Hit, ...]:
    return await store.search_vectors("o", "c", vector, limit=7)


async def test_a_collection_too_large_for_memory_is_searched_in_slices(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sqlite_vectors, "SLICE", 64)
    chance = random.Random(3)
    vectors = [[chance.gauss(0, 1) for _ in range(LENGTH)] for _ in range(500)]
    store = await SqliteStore.open(tmp_path / "parley.db")
    try:
        await store.put_vectors("o", "c", [(f"v{n}", vector, {"n": n}) for n, vector in enumerate(vectors)])
        from_memory = await searched(store, vectors[3])
        assert 500 * LENGTH * 4 < store._matrices.bytes < 500 * LENGTH * 4 * 2

        store._matrices = Matrices(1000)
        assert await searched(store, vectors[3]) == from_memory
        assert store._matrices.bytes == 0
    finally:
        await store.close()


async def test_a_second_search_reads_no_vector_from_the_file(tmp_path: Path) -> None:
    path = tmp_path / "parley.db"
    store = await SqliteStore.open(path)
    try:
        await store.put_vectors("o", "c", [("a", [1.0, 0.0], {}), ("b", [0.0, 1.0], {})])
        await searched(store, [1.0, 0.0])
        with closing(sqlite3.connect(path)) as behind, behind:  # as no Parley does: without a new stamp
            behind.execute("UPDATE vectors SET vector = zeroblob(8)")
        assert [(hit.id, hit.score) for hit in await searched(store, [1.0, 0.0])] == [("a", 1.0), ("b", 0.0)]
        await store.put_vectors("o", "c", [("c", [1.0, 0.0], {})])

        assert [(hit.id, hit.score) for hit in await searched(store, [1.0, 0.0])] == [
            ("c", 1.0),
            ("a", 0.0),
            ("b", 0.0),
        ]
    finally:
        await store.close()


async def test_the_sweep_forgets_what_has_expired(tmp_path: Path) -> None:
    path = tmp_path / "parley.db"
    now_ms = time.time_ns() // 1_000_000
    store = await SqliteStore.open(path)
    await store.put_vectors("o", "c", [("gone", [1.0], {})], expires_ms=now_ms - 1)
    await store.put_vectors("o", "c", [("later", [1.0], {})], expires_ms=now_ms + 3_600_000)
    await store.put_vectors("o", "c", [("kept", [1.0], {})])
    await store.close()
    await (await SqliteStore.open(path)).close()

    with closing(sqlite3.connect(path)) as db:
        assert {item_id for (item_id,) in db.execute("SELECT id FROM vectors")} == {"later", "kept"}


def test_memory_keeps_the_collections_searched_last() -> None:
    stack = Stack.of([(1, bytes(4 * LENGTH), 0)], LENGTH)
    matrices = Matrices(2 * stack.bytes)
    matrices.put(1, 7, stack)
    matrices.put(2, 7, stack)
    assert matrices.get(1, 7) is stack
    matrices.put(3, 7, stack)

    assert [matrices.get(collection, 7) for collection in (1, 2, 3)] == [stack, None, stack]
    assert matrices.get(1, 8) is None  # written to since
    matrices.put(1, 8, stack)
    assert matrices.bytes == 2 * stack.bytes
