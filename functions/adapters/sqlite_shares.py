"""Share links as SQL: one row for a chat at most; it goes with the chat."""

import sqlite3

import msgspec

from functions.adapters import rules
from functions.adapters.sqlite_chats import find_chat, has_message
from functions.chat.messages import Share

_encode = msgspec.json.Encoder().encode
_decode = msgspec.json.Decoder(Share).decode


def put_share(db: sqlite3.Connection, owner: str, share: Share) -> Share:
    n, _ = find_chat(db, owner, share.chat_id)
    if not has_message(db, n, share.leaf):
        raise rules.no_message()
    row = db.execute("SELECT data FROM shares WHERE chat = ?", (n,)).fetchone()
    if row is not None:
        was = _decode(row[0])
        share = msgspec.structs.replace(share, id=was.id, created_at=was.created_at)
    db.execute(
        "INSERT INTO shares (id, owner, chat, data) VALUES (?, ?, ?, ?) "
        "ON CONFLICT (chat) DO UPDATE SET data = excluded.data",
        (share.id, owner, n, _encode(share)),
    )
    return share


def list_shares(db: sqlite3.Connection, owner: str) -> tuple[Share, ...]:
    shares = [_decode(data) for (data,) in db.execute("SELECT data FROM shares WHERE owner = ?", (owner,))]
    return tuple(sorted(shares, key=rules.by_share))


def delete_share(db: sqlite3.Connection, owner: str, chat_id: str) -> bool:
    gone = db.execute(
        "DELETE FROM shares WHERE chat = (SELECT n FROM chats WHERE owner = ? AND id = ?)", (owner, chat_id)
    )
    return bool(gone.rowcount)


def find_share(db: sqlite3.Connection, share_id: str) -> tuple[str, Share]:
    row = db.execute("SELECT owner, data FROM shares WHERE id = ?", (share_id,)).fetchone()
    if row is None:
        raise rules.no_share()
    return row[0], _decode(row[1])


def list_owners(db: sqlite3.Connection) -> tuple[str, ...]:
    tables = ("chats", "profiles", "memories", "templates", "knowledge")
    every = " UNION ".join(f"SELECT owner FROM {table}" for table in tables)  # noqa: S608  # our own names
    return tuple(owner for (owner,) in db.execute(f"{every} ORDER BY owner"))
