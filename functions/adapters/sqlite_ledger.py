"""The ledger as SQL: what every answer used of a node, found by time."""

import sqlite3

import msgspec

from functions.adapters import rules
from functions.adapters.sqlite_retention import was_erased
from functions.chat.messages import NodeUse

_encode = msgspec.json.Encoder().encode
_decode = msgspec.json.Decoder(NodeUse).decode

READ_USES = "SELECT data FROM uses WHERE asked_ms >= ? AND asked_ms < ? ORDER BY asked_ms, id"


def record_use(db: sqlite3.Connection, use: NodeUse) -> None:
    rules.check_use(use)
    if was_erased(db, use.owner, since_ms=use.asked_ms):
        use = rules.without_owner(use)
    db.execute(
        "INSERT INTO uses (id, asked_ms, data) VALUES (?, ?, ?) ON CONFLICT (id) DO NOTHING",
        (use.id, use.asked_ms, _encode(use)),
    )


def read_uses(db: sqlite3.Connection, *, from_ms: int, to_ms: int) -> tuple[NodeUse, ...]:
    return tuple(_decode(data) for (data,) in db.execute(READ_USES, (from_ms, to_ms)))
