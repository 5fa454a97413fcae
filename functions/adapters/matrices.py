"""The vectors that were searched last, kept in memory: to read 10,000 rows takes 30 times as long as to compare them.

Promises: bounded in bytes, the least recently used go first; never stale, because each is known by the stamp that the
collection had. Shared by threads.
"""

import threading
from collections import OrderedDict
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from functions.adapters.nearest import Stack

KEPT_BYTES = 64 * 1024 * 1024  # some 40,000 vectors of 384 numbers


class Matrices:
    """The collections that were searched last, each as it was under its stamp. Shared by threads."""

    def __init__(self, limit_bytes: int = KEPT_BYTES) -> None:
        self.limit_bytes, self.bytes = limit_bytes, 0
        self._kept: OrderedDict[int, tuple[int, Stack]] = OrderedDict()
        self._lock = threading.Lock()

    def get(self, collection: int, stamp: int) -> "Stack | None":
        with self._lock:
            kept = self._kept.get(collection)
            if kept is None or kept[0] != stamp:
                return None
            self._kept.move_to_end(collection)
            return kept[1]

    def put(self, collection: int, stamp: int, stack: "Stack") -> None:
        with self._lock:
            self._forget(collection)
            self._kept[collection] = stamp, stack
            self.bytes += stack.bytes
            while self.bytes > self.limit_bytes:
                self._forget(next(iter(self._kept)))

    def _forget(self, collection: int) -> None:
        if (gone := self._kept.pop(collection, None)) is not None:
            self.bytes -= gone[1].bytes
