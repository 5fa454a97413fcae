"""Vectors that were made before, by the hash of their text: a document that is uploaded again costs no GPU.

Promises: bounded in bytes, the least recently used go first; keeps hashes, never texts. In this process only: a cache
in the store would be one more thing that remembers what a user has deleted, and what is worth keeping stands there
already, beside its chunk.

Belongs to one event loop; does no I/O.
"""

import hashlib
from array import array
from collections import OrderedDict
from collections.abc import Sequence

CACHE_BYTES = 32 * 1024 * 1024  # some 20,000 vectors of 384 numbers
ENTRY_BYTES = 200  # what Python needs beside the numbers, about


class VectorCache:
    def __init__(self, limit_bytes: int = CACHE_BYTES) -> None:
        self._limit_bytes, self.bytes = limit_bytes, 0
        self._kept: OrderedDict[bytes, array[float]] = OrderedDict()

    def __len__(self) -> int:
        return len(self._kept)

    def get(self, model: str, text: str) -> tuple[float, ...] | None:
        """In 32-bit floats."""
        key = _key(model, text)
        if (found := self._kept.get(key)) is None:
            return None
        self._kept.move_to_end(key)
        return tuple(found)

    def put(self, model: str, text: str, vector: Sequence[float]) -> tuple[float, ...]:
        """Keep it; the vector as `get` will give it."""
        kept = array("f", vector)
        key = _key(model, text)
        self._forget(key)
        self._kept[key] = kept
        self.bytes += _size(kept)
        while self.bytes > self._limit_bytes:
            self._forget(next(iter(self._kept)))
        return tuple(kept)

    def _forget(self, key: bytes) -> None:
        if (gone := self._kept.pop(key, None)) is not None:
            self.bytes -= _size(gone)


def _key(model: str, text: str) -> bytes:
    return hashlib.sha256(f"{model}\0{text}".encode(errors="surrogatepass")).digest()


def _size(vector: "array[float]") -> int:
    return ENTRY_BYTES + vector.itemsize * len(vector)
