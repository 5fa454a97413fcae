"""How fast an owner's vectors are searched on SQLite: `python -m tests.bench.vectors [vectors] [numbers]`.

By default 100,000 vectors of 384 numbers, of ten owners; each query is one owner's, over their 10,000. `in memory`: the
collection was searched before and has not changed since. `after a write`: it is read from the file again, once.
Exit status 1 when the p95 in memory is above TARGET_MS.
"""

import asyncio
import resource
import sys
import tempfile
import time
from array import array
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from functions.adapters import rules
from functions.adapters.sqlite import SqliteStore

OWNERS = 10
QUERIES = 200
BATCH = 1000
TARGET_MS = 30.0


async def fill(store: SqliteStore, vectors: np.ndarray) -> None:
    for start in range(0, len(vectors), BATCH):
        owner = f"owner {start // BATCH % OWNERS}"
        items = [
            (f"{start + n}", vector, {"document": "d", "chunk": n})
            for n, vector in enumerate(vectors[start : start + BATCH].tolist())
        ]
        await store.put_vectors(owner, "c", items)


async def timed(store: SqliteStore, owner: str, wanted: Sequence[float]) -> float:
    began = time.perf_counter()
    hits = await store.search_vectors(owner, "c", wanted, limit=10)
    assert len(hits) == 10
    return (time.perf_counter() - began) * 1000


def say(line: str) -> None:
    sys.stdout.write(line + "\n")


def say_times(name: str, times: list[float]) -> float:
    times.sort()
    p95 = times[len(times) * 95 // 100]
    say(f"{name:16} p50 {times[len(times) // 2]:6.1f} ms   p95 {p95:6.1f} ms   n {len(times)}")
    return p95


def rss_mb() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def plain_ms(vectors: np.ndarray) -> float:
    """The same comparison without numpy, for scale."""
    one, *others = (array("f", vector.tobytes()) for vector in vectors[:501])
    began = time.perf_counter()
    for other in others:
        rules.cosine(one, other)
    return (time.perf_counter() - began) * 1000 / len(others)


async def measure(count: int, length: int) -> float:
    chance = np.random.default_rng(1)
    vectors = chance.normal(size=(count, length)).astype(np.float32)
    with tempfile.TemporaryDirectory() as folder:
        store = await SqliteStore.open(Path(folder) / "parley.db")
        try:
            await fill(store, vectors)
            before = rss_mb()
            wanted = chance.normal(size=(QUERIES, length)).tolist()
            cold = [await timed(store, f"owner {n}", wanted[n]) for n in range(OWNERS)]
            warm = []
            for n in range(QUERIES):  # three owners at a time fit into memory
                owner = f"owner {n % 3}"
                if n < 3:
                    await timed(store, owner, wanted[n])
                warm.append(await timed(store, owner, wanted[n]))
            written = []
            for n in range(QUERIES // 4):
                await store.put_vectors("owner 0", "c", [("new", wanted[n], {})])
                written.append(await timed(store, "owner 0", wanted[n]))
            say(f"{count} vectors of {length} numbers, {count // OWNERS} an owner")
            say_times("first search", cold)
            p95 = say_times("in memory", warm)
            say_times("after a write", written)
            say(f"plain Python     {plain_ms(vectors) * count / OWNERS:10.1f} ms a query (reckoned from 500 vectors)")
            kept = f"{store._matrices.bytes / 2**20:.0f} MiB of {store._matrices.limit_bytes / 2**20:.0f} at most"
            say(f"kept in memory   {kept}; the process grew by {rss_mb() - before:.0f} MB")
        finally:
            await store.close()
    return p95


def main(arguments: Sequence[str]) -> int:
    count, length = (int(arguments[0]) if arguments else 100_000), (int(arguments[1]) if len(arguments) > 1 else 384)
    return 0 if asyncio.run(measure(count, length)) <= TARGET_MS else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
