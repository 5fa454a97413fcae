"""Memories as SQL: one row each, in the order of their ids."""

import sqlite3

import msgspec

from functions.adapters import rules
from functions.chat.messages import Memory

_encode = msgspec.json.Encoder().encode
_decode = msgspec.json.Decoder(Memory).decode


def list_memories(db: sqlite3.Connection, owner: str) -> tuple[Memory, ...]:
    rows = db.execute("SELECT data FROM memories WHERE owner = ? ORDER BY id", (owner,))
    return tuple(_decode(data) for (data,) in rows)


def get_memory(db: sqlite3.Connection, owner: str, memory_id: str) -> Memory:
    row = db.execute("SELECT data FROM memories WHERE owner = ? AND id = ?", (owner, memory_id)).fetchone()
    if row is None:
        raise rules.no_memory()
    return _decode(row[0])


def put_memory(db: sqlite3.Connection, owner: str, memory: Memory, *, replaces: Memory | None) -> bool:
    if replaces is not None:
        row = db.execute("SELECT data FROM memories WHERE owner = ? AND id = ?", (owner, replaces.id)).fetchone()
        if row is None or _decode(row[0]).updated_at != replaces.updated_at:
            return False
        db.execute("UPDATE memories SET data = ? WHERE owner = ? AND id = ?", (_encode(memory), owner, memory.id))
        return True
    stored = db.execute(
        "INSERT INTO memories (owner, id, data) SELECT :owner, :id, :data "
        "WHERE :chat IS NULL OR EXISTS (SELECT 1 FROM chats WHERE owner = :owner AND id = :chat) "
        "ON CONFLICT (owner, id) DO NOTHING",
        {"owner": owner, "id": memory.id, "data": _encode(memory), "chat": memory.chat_id},
    )
    return bool(stored.rowcount)


def delete_memory(db: sqlite3.Connection, owner: str, memory_id: str) -> bool:
    return bool(db.execute("DELETE FROM memories WHERE owner = ? AND id = ?", (owner, memory_id)).rowcount)


def remembered_until(db: sqlite3.Connection, owner: str, chat_id: str) -> int:
    row = db.execute("SELECT remembered_ms FROM chats WHERE owner = ? AND id = ?", (owner, chat_id)).fetchone()
    return int(row[0]) if row else 0


def set_remembered(db: sqlite3.Connection, owner: str, chat_id: str, until_ms: int) -> None:
    db.execute(
        "UPDATE chats SET remembered_ms = max(remembered_ms, ?) WHERE owner = ? AND id = ?", (until_ms, owner, chat_id)
    )
