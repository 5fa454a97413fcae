"""Summaries as SQL: a row is first the marker of who makes it, then the summary. It goes with its chat."""

import sqlite3

import msgspec

from functions.adapters import rules
from functions.chat.messages import Summary

_encode = msgspec.json.Encoder().encode
_decode = msgspec.json.Decoder(Summary).decode
_OF_VERSION = """
    SELECT summaries.data FROM chats JOIN summaries ON chat = chats.n
    WHERE owner = ? AND chats.id = ? AND version = ? AND summaries.data IS NOT NULL ORDER BY upto"""
_FORGET = """
    DELETE FROM summaries WHERE chat = (SELECT n FROM chats WHERE owner = ? AND id = ?) AND version <> ?
    RETURNING data"""


def list_summaries(db: sqlite3.Connection, owner: str, chat_id: str, *, version: str) -> tuple[Summary, ...]:
    rows = db.execute(_OF_VERSION, (owner, chat_id, version))
    return tuple(_decode(data) for (data,) in rows)


def claim_fold(
    db: sqlite3.Connection,
    owner: str,
    chat_id: str,
    upto: str,
    *,
    version: str,
    token: str,
    now_ms: int,
    until_ms: int,
) -> bool:
    claimed = db.execute(
        "INSERT INTO summaries (chat, version, upto, token, until_ms) VALUES (:chat, :version, :upto, :token, :until) "
        "ON CONFLICT (chat, version, upto) DO UPDATE SET token = excluded.token, until_ms = excluded.until_ms "
        "WHERE summaries.data IS NULL AND (summaries.until_ms < :now OR summaries.token = :token)",
        {
            "chat": _row_of(db, owner, chat_id),
            "version": version,
            "upto": upto,
            "token": token,
            "until": until_ms,
            "now": now_ms,
        },
    )
    return claimed.rowcount == 1


def put_summary(db: sqlite3.Connection, owner: str, chat_id: str, summary: Summary) -> bool:
    put = db.execute(
        "INSERT INTO summaries (chat, version, upto, token, until_ms, data) VALUES (?, ?, ?, '', 0, ?) "
        "ON CONFLICT (chat, version, upto) DO UPDATE SET data = excluded.data WHERE summaries.data IS NULL",
        (_row_of(db, owner, chat_id), summary.version, summary.upto, _encode(summary)),
    )
    return put.rowcount == 1


def forget_summaries(db: sqlite3.Connection, owner: str, chat_id: str, *, version: str) -> int:
    return sum(data is not None for (data,) in db.execute(_FORGET, (owner, chat_id, version)).fetchall())


def _row_of(db: sqlite3.Connection, owner: str, chat_id: str) -> int:
    row = db.execute("SELECT n FROM chats WHERE owner = ? AND id = ?", (owner, chat_id)).fetchone()
    if row is None:
        raise rules.no_chat()
    return int(row[0])
