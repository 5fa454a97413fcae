"""Runs, their event logs and the turns that begin them, as SQL. Synchronous; the writer thread's business.

The row in `runs` is small and has all that a race is decided on; the rest of the run is JSON in `run_bodies`, written
twice in a run's life. What the row says wins over what the JSON says.
"""

import sqlite3
import time
from collections.abc import Sequence
from functools import cache
from typing import Any

import msgspec

from functions.adapters import rules
from functions.adapters.sqlite_chats import decode_chat, encode, find_chat, has_message, store_chat, store_message
from functions.adapters.sqlite_jobs import put_job
from functions.adapters.sqlite_writer import MERGED, CannotMerge
from functions.chat.messages import TERMINAL, Chat, LoggedEvent, Message, Run, expiry_of
from functions.ports import NewTurn

_decode_run = msgspec.json.Decoder(Run).decode

# -- runs -------------------------------------------------------------------------------------------------------
_RUN = """
    SELECT status, epoch, worker, lease_until_ms, last_seq, stop_requested, data
    FROM runs JOIN run_bodies ON run = n WHERE """


def _load(row: tuple[str, int, str | None, int, int, int, bytes]) -> Run:
    status, epoch, worker, lease_until_ms, last_seq, stop_requested, data = row
    return msgspec.structs.replace(
        _decode_run(data),
        status=status,
        epoch=epoch,
        worker=worker,
        lease_until_ms=lease_until_ms,
        last_seq=last_seq,
        stop_requested=bool(stop_requested),
    )


def get_run(db: sqlite3.Connection, owner: str, run_id: str) -> Run:
    row = db.execute(_RUN + "owner = ? AND id = ?", (owner, run_id)).fetchone()
    if row is None:
        raise rules.no_run()
    return _load(row)


def _insert_run(db: sqlite3.Connection, owner: str, chat: int | None, run: Run) -> int:
    try:
        n = db.execute(
            "INSERT INTO runs (owner, id, chat, status, epoch, worker, lease_until_ms, last_seq, stop_requested) "
            "VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)",
            (
                owner,
                run.id,
                chat,
                run.status,
                run.epoch,
                run.worker,
                run.lease_until_ms,
                run.last_seq,
                run.stop_requested,
            ),
        ).lastrowid
    except sqlite3.IntegrityError as exc:
        raise rules.run_exists() from exc
    assert n is not None
    db.execute("INSERT INTO run_bodies (run, data) VALUES (?, ?)", (n, encode(run)))
    return n


def claim_run(
    db: sqlite3.Connection, owner: str, run_id: str, *, worker: str, now_ms: int, lease_until_ms: int
) -> Run | None:
    claimed = db.execute(
        "UPDATE runs SET epoch = epoch + 1, status = 'running', worker = ?, lease_until_ms = ? "
        "WHERE owner = ? AND id = ? AND status IN ('queued', 'running') AND (lease_until_ms <= ? OR worker = ?)",
        (worker, lease_until_ms, owner, run_id, now_ms, worker),
    )
    return get_run(db, owner, run_id) if claimed.rowcount else None


def request_stop(db: sqlite3.Connection, owner: str, run_id: str) -> Run:
    db.execute(
        "UPDATE runs SET stop_requested = 1 WHERE owner = ? AND id = ? AND status IN ('queued', 'running')",
        (owner, run_id),
    )
    return get_run(db, owner, run_id)


def stop_runs(db: sqlite3.Connection, owner: str) -> int:
    stopped = db.execute(
        "UPDATE runs SET stop_requested = 1 WHERE owner = ? AND status IN ('queued', 'running')", (owner,)
    )
    return stopped.rowcount


# -- the beginning ----------------------------------------------------------------------------------------------
def begin_turn(db: sqlite3.Connection, owner: str, turn: NewTurn) -> tuple[Run, bool]:
    run = rules.first_run(turn)
    if (known := _known_turn(db, owner, turn)) is not None:
        return known, False
    chat = _begin_in_chat(db, owner, turn) if run.chat_id is not None else None
    n = _insert_run(db, owner, chat, run)
    _insert_events(db, n, turn.events)
    db.execute(
        "INSERT OR REPLACE INTO turn_keys (owner, key, body_hash, run, expires_ms) VALUES (?, ?, ?, ?, ?)",
        (owner, turn.key, turn.body_hash, n, turn.key_expires_ms),
    )
    if turn.job is not None and run.status not in TERMINAL:
        put_job(db, run.id, turn.job, at_ms=turn.job_at_ms)
    return run, True


def _known_turn(db: sqlite3.Connection, owner: str, turn: NewTurn) -> Run | None:
    """The run that holds the key, if this is its own turn again."""
    now_ms = time.time_ns() // 1_000_000
    db.execute("DELETE FROM turn_keys WHERE expires_ms > 0 AND expires_ms <= ?", (now_ms,))
    if turn.replace_key:
        return None
    return find_turn(db, owner, turn.key, turn.body_hash)


_IN_FORCE = "owner = ? AND key = ? AND (expires_ms = 0 OR expires_ms > ?)"


def find_turn(db: sqlite3.Connection, owner: str, key: str, body_hash: str) -> Run | None:
    now_ms = time.time_ns() // 1_000_000
    row = db.execute(
        _RUN + "n = (SELECT run FROM turn_keys WHERE " + _IN_FORCE + " AND body_hash = ?)",  # noqa: S608  # our own constants
        (owner, key, now_ms, body_hash),
    ).fetchone()
    if row is not None:
        return _load(row)
    is_held = "SELECT 1 FROM turn_keys WHERE " + _IN_FORCE  # noqa: S608
    if db.execute(is_held, (owner, key, now_ms)).fetchone():
        raise rules.message_exists()
    return None


def _begin_in_chat(db: sqlite3.Connection, owner: str, turn: NewTurn) -> int:
    """The chat's half of a turn: its messages and its own fields. Returns the chat's row number."""
    assert turn.run.chat_id is not None
    chat, stored = find_chat(db, owner, turn.run.chat_id)
    parent = turn.user_message.parent_id if turn.user_message else turn.run.user_message_id
    if parent is not None and not has_message(db, chat, parent):
        raise rules.no_message()
    new = [message for message in (turn.user_message, turn.answer) if message is not None]
    if any(has_message(db, chat, message.id) for message in new):
        raise rules.message_exists()
    if stored.active_run is not None:
        raise rules.run_active()
    for message in new:
        store_message(db, chat, message)
    store_chat(db, chat, _begun(stored, turn))
    return chat


def _begun(chat: Chat, turn: NewTurn) -> Chat:
    """The chat once `turn` has begun."""
    newest = turn.answer or turn.user_message
    return msgspec.structs.replace(
        chat,
        active_run=None if turn.answer else turn.run.id,
        active_leaf=newest.id if newest else chat.active_leaf,
        updated_at=turn.run.created_at,
        expires_at=expiry_of(chat.temporary, turn.run.created_at),
        title=turn.title_if_none if chat.title is None else chat.title,
    )


# -- the events -------------------------------------------------------------------------------------------------
def read_events(db: sqlite3.Connection, owner: str, run_id: str, *, after: int) -> tuple[LoggedEvent, ...]:
    # One statement, so one snapshot: the run's row without events is an empty log, no row is no run.
    rows = db.execute(
        "SELECT seq, data FROM runs LEFT JOIN events ON run = n AND seq > ? WHERE owner = ? AND id = ? ORDER BY seq",
        (after, owner, run_id),
    ).fetchall()
    if not rows:
        raise rules.no_run()
    return tuple(LoggedEvent.load(seq, data) for seq, data in rows if seq is not None)


class Append(msgspec.Struct, frozen=True):
    """One checkpoint. Many of them, of different runs, share three statements: this is the hot path."""

    owner: str
    run_id: str
    epoch: int
    events: Sequence[LoggedEvent]
    lease_until_ms: int

    @property
    def key(self) -> tuple[str, str]:
        return self.owner, self.run_id

    @property
    def first(self) -> int | None:
        """The `last_seq` it builds on; none to ask for when it only renews the lease."""
        return self.events[0].seq - 1 if self.events else None

    def __call__(self, db: sqlite3.Connection) -> bool:
        row = db.execute(
            "UPDATE runs SET last_seq = last_seq + ?, lease_until_ms = ? WHERE owner = ? AND id = ? AND epoch = ? "
            "AND last_seq = coalesce(?, last_seq) AND status IN ('queued', 'running') RETURNING n, stop_requested",
            (len(self.events), self.lease_until_ms, self.owner, self.run_id, self.epoch, self.first),
        ).fetchone()
        if row is None:
            # Lost the run: it was taken over, has ended, or went with its chat.
            raise rules.fenced()
        _insert_events(db, row[0], self.events)
        return bool(row[1])

    @staticmethod
    def together(db: sqlite3.Connection, operations: Sequence["Append"]) -> list[bool]:
        runs = [(a.owner, a.run_id, a.epoch, a.first, len(a.events), a.lease_until_ms) for a in operations]
        if db.execute(*_filled(_ADVANCE, 6, runs)).rowcount != len(runs):
            raise CannotMerge
        events = [(a.owner, a.run_id, event.seq, event.data) for a in operations for event in a.events]
        for start in range(0, len(events), MERGED):
            db.execute(*_filled(_INSERT, 4, events[start : start + MERGED]))
        stopped = set(db.execute(*_filled(_STOP_REQUESTED, 2, [a.key for a in operations])).fetchall())
        return [a.key in stopped for a in operations]


def _insert_events(db: sqlite3.Connection, run: int, events: Sequence[LoggedEvent]) -> None:
    db.executemany("INSERT INTO events VALUES (?, ?, ?)", [(run, event.seq, event.data) for event in events])


def _filled(template: str, width: int, rows: Sequence[tuple[Any, ...]]) -> tuple[str, list[Any]]:  # what SQLite binds
    """The statement over these rows, filled up with NULLs (which match nothing) to a power of two: so only a handful
    of lengths are ever prepared."""
    height = 1 << (len(rows) - 1).bit_length()
    values = [value for row in rows for value in row]
    values += [None] * (width * (height - len(rows)))
    return _over(template, width, height), values


@cache
def _over(template: str, width: int, height: int) -> str:
    row = f"({', '.join('?' * width)})"
    return template.format(given=f"(VALUES {', '.join([row] * height)})")


_ADVANCE = """
    UPDATE runs SET last_seq = last_seq + given.column5, lease_until_ms = given.column6 FROM {given} AS given
    WHERE owner = given.column1 AND id = given.column2 AND epoch = given.column3
    AND last_seq = coalesce(given.column4, last_seq) AND status IN ('queued', 'running')"""
# CROSS JOIN is SQLite's way to say: go through the given rows and look each run up, not the other way round.
_LOOKED_UP = "FROM {given} AS given CROSS JOIN runs ON owner = given.column1 AND id = given.column2"
_INSERT = f"INSERT INTO events SELECT n, given.column3, given.column4 {_LOOKED_UP}"
_STOP_REQUESTED = f"SELECT owner, id {_LOOKED_UP} WHERE stop_requested"


# -- the end ----------------------------------------------------------------------------------------------------
def finish_run(
    db: sqlite3.Connection,
    owner: str,
    run: Run,
    events: Sequence[LoggedEvent],
    answer: Message | None,
    *,
    withdraw: bool = False,
) -> None:
    rules.check_terminal(run)
    Append(owner, run.id, run.epoch, events, run.lease_until_ms)(db)
    n, chat = db.execute(
        "UPDATE runs SET status = ?, worker = ?, stop_requested = ? WHERE owner = ? AND id = ? RETURNING n, chat",
        (run.status, run.worker, run.stop_requested, owner, run.id),
    ).fetchone()
    if withdraw:
        _withdraw(db, n)
    db.execute("UPDATE run_bodies SET data = ? WHERE run = ?", (encode(run), n))
    db.execute("DELETE FROM jobs WHERE id = ?", (run.id,))
    if chat is None:
        return
    if answer is not None:
        store_message(db, chat, answer)
    (stored,) = db.execute("SELECT data FROM chats WHERE n = ?", (chat,)).fetchone()
    store_chat(db, chat, _ended(decode_chat(stored), run, answer))


def _withdraw(db: sqlite3.Connection, run: int) -> None:
    """Take the model's text out of the run's log."""
    logged = [LoggedEvent.load(*row) for row in db.execute("SELECT seq, data FROM events WHERE run = ?", (run,))]
    blank = [(event.without_text().data, run, event.seq) for event in logged if event.without_text() is not event]
    db.executemany("UPDATE events SET data = ? WHERE run = ? AND seq = ?", blank)


def _ended(chat: Chat, run: Run, answer: Message | None) -> Chat:
    """The chat once `run` has ended."""
    updated_at = run.ended_at or chat.updated_at
    return msgspec.structs.replace(
        chat,
        active_run=None if chat.active_run == run.id else chat.active_run,
        active_leaf=answer.id if answer else chat.active_leaf,
        updated_at=updated_at,
        expires_at=expiry_of(chat.temporary, updated_at),
    )
