"""The nearest of many vectors, compared all: exact, a millisecond for 10,000 of 384 numbers. Blocks; for threads.

    matrix = stacked([b"…", b"…"], 384)         # unit vectors in 32-bit floats, a row each
    nearest(matrix, rules.unit(wanted), 5)      # [(cosine, row), …] of the nearest 5 and what ties with them

numpy takes 150 ms to import, so adapters import this module when the first vector is looked for.
"""

from array import array
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from functions.adapters import rules

Matrix = NDArray[np.float32]
ROUNDING = 1e-5  # of a sum of 32-bit products; who is this close to the last place is compared again, exactly
LEAST = -2.0  # below every cosine, above the rows that do not count
KEY_BYTES = 40  # what Python needs for one, about


def stacked(vectors: Sequence[bytes], length: int) -> Matrix:
    return np.frombuffer(b"".join(vectors), dtype=np.float32).reshape(-1, length)


def nearest(
    matrix: Matrix, wanted: "array[float]", limit: int, alive: NDArray[np.bool_] | None = None
) -> list[tuple[float, int]]:
    """(cosine, row) of the `limit` nearest, and of those as near as the last of them; in no order. Of `alive`, when
    given, only the rows that are."""
    if limit <= 0 or not len(matrix):
        return []
    # Not `@`: for so little work its threads cost more than they save, and on a busy machine twenty times as much.
    rough = np.vecdot(matrix, np.frombuffer(wanted, dtype=np.float32))
    if alive is not None:
        rough = np.where(alive, rough, -np.inf)
    last = max(np.partition(rough, -limit)[-limit], LEAST) if limit < len(rough) else LEAST
    rows = np.flatnonzero(rough >= last - ROUNDING)
    return [(rules.cosine(wanted, array("f", matrix[row].tobytes())), int(row)) for row in rows]


@dataclass(frozen=True, slots=True)
class Stack:
    """Vectors of one collection: `keys` and `expires_ms` (0: never) go with the rows of the matrix."""

    matrix: Matrix
    keys: tuple[int, ...]
    expires_ms: NDArray[np.int64]

    @classmethod
    def of(cls, rows: Sequence[tuple[int, bytes, int]], length: int) -> "Stack":
        """Rows of (key, vector, expires_ms)."""
        keys, vectors, expires_ms = zip(*rows, strict=True) if rows else ((), (), ())
        return cls(stacked(vectors, length), keys, np.array(expires_ms, np.int64))

    @classmethod
    def joined(cls, stacks: "Sequence[Stack]", length: int) -> "Stack":
        if not stacks:
            return cls.of((), length)
        return cls(
            np.concatenate([stack.matrix for stack in stacks]),
            tuple(key for stack in stacks for key in stack.keys),
            np.concatenate([stack.expires_ms for stack in stacks]),
        )

    @property
    def bytes(self) -> int:
        return self.matrix.nbytes + self.expires_ms.nbytes + KEY_BYTES * len(self.keys)

    def nearest(self, wanted: "array[float]", limit: int, now_ms: int) -> list[tuple[float, int]]:
        """(cosine, key)."""
        alive = (self.expires_ms == 0) | (self.expires_ms > now_ms)
        return [(score, self.keys[row]) for score, row in nearest(self.matrix, wanted, limit, alive)]
