"""The threads that touch SQLite: one that writes, in groups, and a few that read.

Promises: nothing here blocks the event loop. A write is acknowledged after its COMMIT and not before. A caller that
is cancelled stops waiting, but a write that was queued is still made. Writes are made in the order they were queued.

Group commit: all writes that wait when the thread comes round share one transaction, each in a savepoint, so that
one's failure undoes only its own work; their results go back in one wake-up of the event loop.

    event loop   ──put──put──put───────────────┬─────────── one call_soon_threadsafe: all futures resolve
                    └────┴────┴──> writer: BEGIN a b c COMMIT

Each statement gives the GIL away and has to win it back from a busy event loop, so statements, not rows, are what a
batch costs. Operations that can share statements say so (`Mergeable`).

Does not know what is written or read.
"""

import asyncio
import sqlite3
import threading
from collections.abc import Callable, Hashable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from queue import Empty, SimpleQueue
from typing import Any, NamedTuple, Protocol, TypeVar, cast

from functions.adapters.rules import disk_full, unavailable
from functions.adapters.sqlite_schema import connect

T = TypeVar("T")
Operation = Callable[[sqlite3.Connection], T]

BATCH = 256  # operations in one transaction; more only wait for the next one
MERGED = 64  # operations that share statements
READERS = 4


class Mergeable(Protocol):
    """An operation that can be made together with others of its class, when their keys differ."""

    @property
    def key(self) -> Hashable: ...

    def __call__(self, db: sqlite3.Connection) -> Any: ...  # what the port's method returns

    @staticmethod
    def together(db: sqlite3.Connection, operations: Sequence[Any]) -> list[Any]:
        """The results in order. Raises CannotMerge when any of them must fail; each is then made by itself."""


class CannotMerge(Exception):
    """Not an error anybody sees: undo, and find out one by one who fails."""


class _Pending(NamedTuple):
    operation: Operation[Any]  # the type is the caller's again when the future resolves
    future: asyncio.Future[Any]


class _Outcome(NamedTuple):
    value: Any
    error: BaseException | None


class Writer:
    """One thread, one connection, one queue."""

    def __init__(self, db: sqlite3.Connection, loop: asyncio.AbstractEventLoop) -> None:
        self._db = db
        self._loop = loop
        self._gathered: list[_Pending] = []  # in this round of the event loop
        self._queue: SimpleQueue[list[_Pending] | None] = SimpleQueue()
        self._is_closed = False
        self._thread = threading.Thread(target=self._work, name="parley-sqlite-writer", daemon=True)
        self._thread.start()

    def write(self, operation: Operation[T]) -> asyncio.Future[T]:
        """Queue an operation. Only from the event loop the writer belongs to."""
        future: asyncio.Future[T] = self._loop.create_future()
        if self._is_closed:
            future.set_exception(unavailable("it is closed"))
            return future
        if not self._gathered:
            self._loop.call_soon(self._hand_over)
        self._gathered.append(_Pending(operation, future))
        return future

    def _hand_over(self) -> None:
        """What one round of the event loop has written goes to the thread together: it is woken once, and does not
        begin with the first alone while the others are on their way."""
        if self._gathered:
            self._queue.put(self._gathered)
            self._gathered = []

    def finish(self) -> None:
        """No more writes; those queued are still made."""
        if not self._is_closed:
            self._is_closed = True
            self._hand_over()
            self._queue.put(None)

    def join(self) -> None:
        """Blocks until the last write is made."""
        self._thread.join()
        self._db.close()

    def _work(self) -> None:
        for batch in self._batches():
            outcomes = self._commit([pending.operation for pending in batch])
            with suppress(RuntimeError):  # The loop ended first: the writes are made, nobody waits for them.
                self._loop.call_soon_threadsafe(_deliver, batch, outcomes)

    def _batches(self) -> Iterator[list[_Pending]]:
        while (batch := self._queue.get()) is not None:
            is_open = self._collect(batch)
            yield batch
            if not is_open:
                return

    def _collect(self, batch: list[_Pending]) -> bool:
        """Add what else waits; False when the last of all has come."""
        try:
            while len(batch) < BATCH:
                if (more := self._queue.get_nowait()) is None:
                    return False
                batch += more
        except Empty:
            pass
        return True

    def _commit(self, operations: list[Operation[Any]]) -> list[_Outcome]:
        try:
            try:
                return self._transaction(list(_groups(operations)))
            except CannotMerge:
                return self._transaction([[operation] for operation in operations])
        except Exception as exc:  # the edge of this thread: whoever waits must hear
            return [_Outcome(None, _translate(exc))] * len(operations)

    def _transaction(self, groups: list[list[Operation[Any]]]) -> list[_Outcome]:
        """Savepoints only where they are needed: not for one operation alone, or one group that merges."""
        db = self._db
        db.execute("BEGIN IMMEDIATE")
        try:
            if len(groups) == 1:
                outcomes = [_Outcome(value, None) for value in _make(db, groups[0])]
            else:
                outcomes = [outcome for group in groups for outcome in self._attempt(group)]
            db.execute("COMMIT")
        except BaseException:
            if db.in_transaction:
                db.execute("ROLLBACK")
            raise
        return outcomes

    def _attempt(self, group: list[Operation[Any]]) -> list[_Outcome]:
        db = self._db
        db.execute("SAVEPOINT attempt")
        try:
            outcomes = [_Outcome(value, None) for value in _make(db, group)]
        except Exception as exc:
            if not db.in_transaction:
                raise  # A full disk or the like has undone the whole transaction.
            db.execute("ROLLBACK TO attempt")
            db.execute("RELEASE attempt")
            if isinstance(exc, CannotMerge):
                return [outcome for operation in group for outcome in self._attempt([operation])]
            return [_Outcome(None, _translate(exc))] * len(group)
        db.execute("RELEASE attempt")
        return outcomes


def _make(db: sqlite3.Connection, group: list[Operation[Any]]) -> list[Any]:  # results of the operations' own types
    if len(group) == 1:
        return [group[0](db)]
    return cast("Mergeable", group[0]).together(db, group)  # only these come in groups


def _key(operation: Operation[Any]) -> Hashable | None:
    """Of an operation that can be merged."""
    key: Hashable | None = getattr(operation, "key", None)
    return key


def _groups(operations: list[Operation[Any]]) -> Iterator[list[Operation[Any]]]:
    """Neighbours of one class with different keys together, everything else alone; the order is kept."""
    group: list[Operation[Any]] = []
    keys: set[Hashable] = set()
    for operation in operations:
        key = _key(operation)
        fits = key is not None and key not in keys and len(group) < MERGED
        if group and not (fits and type(operation) is type(group[0])):
            yield group
            group, keys = [], set()
        group.append(operation)
        keys.add(key)
    if group:
        yield group


def _translate(error: Exception) -> Exception:
    if isinstance(error, sqlite3.Error):
        name = getattr(error, "sqlite_errorname", None) or type(error).__name__
        translated = disk_full() if name == "SQLITE_FULL" else unavailable(name)
        translated.__cause__ = error
        return translated
    return error


def _deliver(batch: list[_Pending], outcomes: list[_Outcome]) -> None:
    for pending, (value, error) in zip(batch, outcomes, strict=True):
        if pending.future.done():
            continue  # The caller was cancelled; the write was made all the same.
        if error is None:
            pending.future.set_result(value)
        else:
            pending.future.set_exception(error)


class Readers:
    """A few threads, each with its own connection. They see all that is committed when they start."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._pool = ThreadPoolExecutor(READERS, thread_name_prefix="parley-sqlite-reader")
        self._own = threading.local()
        self._open: list[sqlite3.Connection] = []
        self._is_closed = False

    async def read(self, operation: Operation[T]) -> T:
        if self._is_closed:
            raise unavailable("it is closed")
        return await asyncio.get_running_loop().run_in_executor(self._pool, self._run, operation)

    def _run(self, operation: Operation[T]) -> T:
        try:
            return operation(self._connection())
        except sqlite3.Error as exc:
            raise _translate(exc) from exc

    def _connection(self) -> sqlite3.Connection:
        db: sqlite3.Connection | None = getattr(self._own, "db", None)
        if db is None:
            db = self._own.db = connect(self._path, writes=False)
            self._open.append(db)
        return db

    def finish(self) -> None:
        """No more reads."""
        self._is_closed = True

    def join(self) -> None:
        """Blocks until the last read is done."""
        self._pool.shutdown()
        for db in self._open:
            db.close()
