"""Chats, messages and profiles as SQL. Every function is synchronous and runs on a writer or a reader thread.

A chat or message is one JSON value beside the columns that are searched or sorted. Writers run inside the writer's
transaction; readers that ask twice do so inside one of their own.
"""

import sqlite3
import time
from collections.abc import Sequence
from typing import Any

import msgspec

from functions.adapters import rules
from functions.chat.messages import Chat, Feedback, Message, Page, Profile
from functions.errors import BadInput, Conflict
from functions.ports import ContextRead, FoundChat

encode = msgspec.json.Encoder().encode
decode_chat = msgspec.json.Decoder(Chat).decode
_decode_message = msgspec.json.Decoder(Message).decode
_decode_feedback = msgspec.json.Decoder(Feedback).decode
_decode_profile = msgspec.json.Decoder(Profile).decode


# -- chats ------------------------------------------------------------------------------------------------------
def create_chat(db: sqlite3.Connection, owner: str, chat: Chat) -> None:
    try:
        db.execute(
            "INSERT INTO chats (owner, id, updated_us, archived, expires_us, data, edition) "
            "VALUES (?, ?, ?, ?, ?, ?, random())",
            (owner, chat.id, rules.microseconds(chat.updated_at), chat.archived, _expires_us(chat), encode(chat)),
        )
    except sqlite3.IntegrityError as exc:
        raise Conflict("A chat with this id is already stored.") from exc


def import_chat(db: sqlite3.Connection, owner: str, chat: Chat, messages: Sequence[Message]) -> bool:
    try:
        create_chat(db, owner, chat)
    except Conflict:
        return False
    (n,) = db.execute("SELECT n FROM chats WHERE owner = ? AND id = ?", (owner, chat.id)).fetchone()
    db.execute("UPDATE chats SET remembered_ms = ? WHERE n = ?", (rules.milliseconds(chat.updated_at), n))
    db.executemany(
        "INSERT INTO messages (chat, id, parent_id, data, feedback) VALUES (?, ?, ?, ?, ?)",
        [
            (n, one.id, one.parent_id, encode(msgspec.structs.replace(one, feedback=None)), _feedback(one))
            for one in messages
        ],
    )
    return True


def _feedback(message: Message) -> bytes | None:
    return None if message.feedback is None else encode(message.feedback)


def _expires_us(chat: Chat) -> int:
    return rules.microseconds(chat.expires_at) if chat.expires_at else 0


# Whoever reads finds a temporary chat gone at its time, however late the sweep comes by.
_ALIVE = "(expires_us = 0 OR expires_us > ?)"


def _now_us() -> int:
    return time.time_ns() // 1_000


def find_chat(db: sqlite3.Connection, owner: str, chat_id: str) -> tuple[int, Chat]:
    """The chat and its row number."""
    row = db.execute(
        f"SELECT n, data FROM chats WHERE owner = ? AND id = ? AND {_ALIVE}",  # noqa: S608  # our own constant
        (owner, chat_id, _now_us()),
    ).fetchone()
    if row is None:
        raise rules.no_chat()
    return row[0], decode_chat(row[1])


def get_chat(db: sqlite3.Connection, owner: str, chat_id: str) -> Chat:
    return find_chat(db, owner, chat_id)[1]


def get_edition(db: sqlite3.Connection, owner: str, chat_id: str) -> tuple[Chat, str]:
    row = db.execute(
        f"SELECT data, edition FROM chats WHERE owner = ? AND id = ? AND {_ALIVE}",  # noqa: S608  # our own constant
        (owner, chat_id, _now_us()),
    ).fetchone()
    if row is None:
        raise rules.no_chat()
    return decode_chat(row[0]), str(row[1])


def _next_edition(db: sqlite3.Connection, chat: int) -> None:
    db.execute("UPDATE chats SET edition = random() WHERE n = ?", (chat,))


def store_chat(db: sqlite3.Connection, n: int, chat: Chat) -> None:
    db.execute(
        "UPDATE chats SET updated_us = ?, archived = ?, expires_us = ?, data = ? WHERE n = ?",
        (rules.microseconds(chat.updated_at), chat.archived, _expires_us(chat), encode(chat), n),
    )


_RECENT = """
    SELECT n, data FROM chats WHERE owner = ? AND archived = ? AND (updated_us, id) < (?, ?)
    AND expires_us = 0 {search}
    ORDER BY updated_us DESC, id DESC LIMIT ?"""
_FIRST = (2**63 - 1, "")  # before all chats
_ALL_RECENT = _RECENT.format(search="")
_SEARCHED_RECENT = _RECENT.format(
    search="AND (says(data, ?) OR EXISTS (SELECT 1 FROM messages WHERE chat = chats.n AND says(messages.data, ?)))"
)


def list_chats(db: sqlite3.Connection, owner: str, *, limit: int, after: str | None, archived: bool) -> Page[Chat]:
    mark = rules.read_page_mark(after) if after else _FIRST
    rows = db.execute(_ALL_RECENT, (owner, archived, *mark, limit + 1)).fetchall()
    chats = tuple(decode_chat(data) for _, data in rows[:limit])
    more = len(rows) > limit and bool(chats)
    return Page(data=chats, next=rules.page_mark(chats[-1]) if more else None)


def search_chats(
    db: sqlite3.Connection, owner: str, query: str, *, limit: int, after: str | None, archived: bool
) -> Page[FoundChat]:
    mark = rules.read_page_mark(after) if after else _FIRST
    folded = query.casefold()
    with db:
        db.execute("BEGIN")
        rows = db.execute(_SEARCHED_RECENT, (owner, archived, *mark, folded, folded, limit + 1)).fetchall()
        found = tuple(
            FoundChat(chat=decode_chat(data), message=None if rules.says(data, folded) else _saying(db, n, folded))
            for n, data in rows[:limit]
        )
    more = len(rows) > limit and bool(found)
    return Page(data=found, next=rules.page_mark(found[-1].chat) if more else None)


def _saying(db: sqlite3.Connection, chat: int, folded: str) -> Message | None:
    """The newest message of the chat that says it."""
    row = db.execute(
        "SELECT data, feedback FROM messages WHERE chat = ? AND says(data, ?) ORDER BY id DESC LIMIT 1", (chat, folded)
    ).fetchone()
    return _load_message(*row) if row else None


def update_chat(db: sqlite3.Connection, owner: str, chat_id: str, changes: dict[str, Any]) -> Chat:
    rules.check_changes(changes)
    n, chat = find_chat(db, owner, chat_id)
    leaf = changes.get("active_leaf")
    if leaf is not None and not has_message(db, n, leaf):
        raise BadInput("The active message must be one of the chat.", param="active_leaf")
    changed = msgspec.structs.replace(chat, **changes)
    store_chat(db, n, changed)
    return changed


def retitle_chat(db: sqlite3.Connection, owner: str, chat_id: str, title: str, *, instead_of: str) -> bool:
    row = db.execute("SELECT n, data FROM chats WHERE owner = ? AND id = ?", (owner, chat_id)).fetchone()
    if row is None or (chat := decode_chat(row[1])).title != instead_of:
        return False
    store_chat(db, row[0], msgspec.structs.replace(chat, title=title))
    return True


def delete_chat(db: sqlite3.Connection, owner: str, chat_id: str) -> None:
    """Messages, runs, events and turn keys go with the chat (ON DELETE CASCADE); a run's job has the run's id."""
    n, _ = find_chat(db, owner, chat_id)
    delete_row(db, n)


def delete_row(db: sqlite3.Connection, n: int) -> None:
    db.execute("DELETE FROM jobs WHERE id IN (SELECT id FROM runs WHERE chat = ?)", (n,))
    db.execute("DELETE FROM chats WHERE n = ?", (n,))


# -- messages ---------------------------------------------------------------------------------------------------
def has_message(db: sqlite3.Connection, chat: int, message_id: str) -> bool:
    found = db.execute("SELECT 1 FROM messages WHERE chat = ? AND id = ?", (chat, message_id)).fetchone()
    return found is not None


def _load_message(data: bytes, feedback: bytes | None) -> Message:
    """The feedback stands apart, so that whoever writes one of the two need not know the other."""
    return msgspec.structs.replace(
        _decode_message(data), feedback=None if feedback is None else _decode_feedback(feedback)
    )


def store_message(db: sqlite3.Connection, chat: int, message: Message) -> None:
    """Replaces what has its id: whoever may write it has been decided before. Its feedback stays."""
    if has_message(db, chat, message.id):
        _next_edition(db, chat)
    db.execute(
        "INSERT INTO messages (chat, id, parent_id, data) VALUES (?, ?, ?, ?) "
        "ON CONFLICT (chat, id) DO UPDATE SET parent_id = excluded.parent_id, data = excluded.data",
        (chat, message.id, message.parent_id, encode(msgspec.structs.replace(message, feedback=None))),
    )


def put_feedback(db: sqlite3.Connection, owner: str, chat_id: str, message_id: str, feedback: Feedback | None) -> None:
    stored = db.execute(
        "UPDATE messages SET feedback = ? WHERE id = ? AND chat = (SELECT n FROM chats WHERE owner = ? AND id = ?) "
        "RETURNING chat",
        (None if feedback is None else encode(feedback), message_id, owner, chat_id),
    ).fetchone()
    if stored is None:
        raise rules.no_message()
    _next_edition(db, stored[0])


_MESSAGE = f"""
    SELECT messages.data, feedback FROM chats JOIN messages ON chat = chats.n
    WHERE owner = ? AND chats.id = ? AND messages.id = ? AND {_ALIVE}"""  # noqa: S608  # our own constant


def get_message(db: sqlite3.Connection, owner: str, chat_id: str, message_id: str) -> Message:
    row = db.execute(_MESSAGE, (owner, chat_id, message_id, _now_us())).fetchone()
    if row is None:
        raise rules.no_message()
    return _load_message(*row)


def list_messages(
    db: sqlite3.Connection, owner: str, chat_id: str, *, limit: int | None, before: str | None
) -> Page[Message]:
    with db:
        db.execute("BEGIN")
        n, _ = find_chat(db, owner, chat_id)
        # -1 is SQLite's "no limit". One more than asked for tells whether there is an older page.
        rows = db.execute(
            "SELECT data, feedback FROM messages WHERE chat = ? AND (? IS NULL OR id < ?) ORDER BY id DESC LIMIT ?",
            (n, before, before, -1 if limit is None else limit + 1),
        ).fetchall()
    newest = tuple(_load_message(*row) for row in rows[:limit])
    more = limit is not None and len(rows) > limit and bool(newest)
    return Page(data=newest[::-1], next=newest[-1].id if more else None)


_PATH = """
    WITH RECURSIVE path (parent_id, data, feedback, depth) AS (
        SELECT messages.parent_id, messages.data, messages.feedback, 0 FROM chats JOIN messages ON chat = chats.n
        WHERE owner = :owner AND chats.id = :chat AND messages.id = :leaf
        UNION ALL
        SELECT messages.parent_id, messages.data, messages.feedback, depth + 1 FROM path
        JOIN chats ON owner = :owner AND chats.id = :chat
        JOIN messages ON chat = chats.n AND messages.id = path.parent_id)
    SELECT data, feedback FROM path ORDER BY depth DESC"""


def read_path(db: sqlite3.Connection, owner: str, chat_id: str, leaf: str) -> tuple[Message, ...]:
    rows = db.execute(_PATH, {"owner": owner, "chat": chat_id, "leaf": leaf}).fetchall()
    if not rows:
        raise rules.no_message()
    return tuple(_load_message(*row) for row in rows)


def read_context(
    db: sqlite3.Connection, owner: str, chat_id: str, leaf: str
) -> tuple[Chat, tuple[Message, ...], Profile]:
    return get_chat(db, owner, chat_id), read_path(db, owner, chat_id, leaf), get_profile(db, owner)


def read_context_unless(db: sqlite3.Connection, owner: str, chat_id: str, leaf: str, *, edition: str) -> ContextRead:
    chat, in_force = get_edition(db, owner, chat_id)  # before the path: what comes in between shows in the next one
    path = None if in_force == edition else read_path(db, owner, chat_id, leaf)
    return ContextRead(chat=chat, path=path, profile=get_profile(db, owner), edition=in_force)


# -- the owner --------------------------------------------------------------------------------------------------
def get_profile(db: sqlite3.Connection, owner: str) -> Profile:
    row = db.execute("SELECT data FROM profiles WHERE owner = ?", (owner,)).fetchone()
    return _decode_profile(row[0]) if row else Profile()


def put_profile(db: sqlite3.Connection, owner: str, profile: Profile) -> None:
    db.execute("INSERT OR REPLACE INTO profiles (owner, data) VALUES (?, ?)", (owner, encode(profile)))
