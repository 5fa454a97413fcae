"""What ends by itself, and the end of everything of one owner, as SQL.

What an owner has is found in the schema and not in a list that somebody must remember to add to: every table with a
column `owner`, and every table that refers to one of those, however far. Only the queue and the ledger keep the name
inside a value.
"""

import sqlite3
from collections.abc import Iterator

import msgspec

from functions.adapters import rules
from functions.adapters.sqlite_chats import decode_chat, delete_row
from functions.adapters.sqlite_limits import give_back
from functions.adapters.sqlite_vectors import renew_stamp
from functions.chat.messages import NodeUse, Page

SLICE = 20  # chats in one transaction: nobody's write waits long behind it
USES = 2_000  # entries of the ledger that one transaction looks at

_encode = msgspec.json.Encoder().encode
_decode_use = msgspec.json.Decoder(NodeUse).decode

# Few chats are overdue, so they are found by their age, and not along the row numbers.
_OVERDUE = """
    SELECT n, owner, id FROM chats INDEXED BY chats_expire WHERE expires_us > 0 AND expires_us <= :now_us AND n > :after
    UNION ALL
    SELECT n, owner, id FROM chats INDEXED BY chats_by_age WHERE updated_us < :since_us AND expires_us = 0 AND
        n > :after AND NOT coalesce(json_extract(CAST(data AS TEXT), '$.pinned'), 0)
    ORDER BY n LIMIT :limit"""


def list_overdue(
    db: sqlite3.Connection, *, now_ms: int, untouched_since_ms: int | None, limit: int, after: str | None
) -> Page[tuple[str, str]]:
    since_us = -(2**63) if untouched_since_ms is None else 1000 * untouched_since_ms
    known = {"now_us": 1000 * now_ms, "since_us": since_us, "after": int(after or 0), "limit": limit}
    rows = db.execute(_OVERDUE, known).fetchall()
    more = str(rows[-1][0]) if len(rows) == limit else None
    return Page(data=tuple((owner, chat_id) for _, owner, chat_id in rows), next=more)


def expire_chat(
    db: sqlite3.Connection, owner: str, chat_id: str, *, now_ms: int, untouched_since_ms: int | None
) -> bool:
    row = db.execute(
        "SELECT n, updated_us, expires_us, data FROM chats WHERE owner = ? AND id = ?", (owner, chat_id)
    ).fetchone()
    if row is None:
        return False
    n, updated_us, expires_us, data = row
    chat = decode_chat(data)
    has_expired = 0 < expires_us <= 1000 * now_ms
    is_old = untouched_since_ms is not None and not expires_us and updated_us < 1000 * untouched_since_ms
    if chat.active_run is not None or not (has_expired or (is_old and not chat.pinned)):
        return False
    delete_row(db, n)
    return True


# -- one owner ----------------------------------------------------------------------------------------------------
def begin_erasure(db: sqlite3.Connection, owner: str, *, now_ms: int) -> dict[str, int]:
    """From here on no late writer brings the name back. How much there is, by table."""
    db.execute("INSERT OR REPLACE INTO erasures (who, at_ms) VALUES (?, ?)", (rules.pseudonym(owner), now_ms))
    found = {table: _count(db, table, where, owner) for table, where in _belongings(db).items()}
    found["jobs"] = _count(db, "jobs", _NAMED, owner)
    found["shared_vectors"] = _count(db, "vectors", f"{_SHARED} AND {_NAMED}", owner)
    return found


def erase_chats(db: sqlite3.Connection, owner: str) -> bool:
    """A slice of the chats, with all that hangs on them. Gives whether there are more."""
    rows = db.execute("SELECT n FROM chats WHERE owner = ? LIMIT ?", (owner, SLICE)).fetchall()
    for (n,) in rows:
        delete_row(db, n)
    return len(rows) == SLICE


def erase_from_ledger(db: sqlite3.Connection, owner: str, after: int) -> tuple[int, int | None]:
    """A slice of the ledger, from the row after `after`: (how many entries lost the name, where to go on)."""
    rows = db.execute("SELECT n, data FROM uses WHERE n > ? ORDER BY n LIMIT ?", (after, USES)).fetchall()
    theirs = [(n, use) for n, data in rows if (use := _decode_use(data)).owner == owner]
    nameless = [(_encode(rules.without_owner(use)), n) for n, use in theirs]
    db.executemany("UPDATE uses SET data = ? WHERE n = ?", nameless)
    return len(theirs), rows[-1][0] if len(rows) == USES else None


def erase_rest(db: sqlite3.Connection, owner: str) -> None:
    """All at once what is left in any table, so that nothing was added in between."""
    give_back(db, owner)
    db.execute(f"DELETE FROM jobs WHERE {_NAMED}", {"owner": owner})  # noqa: S608  # our own constants
    touched = db.execute(f"DELETE FROM vectors WHERE {_SHARED} AND {_NAMED} RETURNING collection", {"owner": owner})  # noqa: S608
    for collection in {row[0] for row in touched.fetchall()}:
        renew_stamp(db, collection)
    for table in _owned(db):
        db.execute(f"DELETE FROM {table} WHERE owner = :owner", {"owner": owner})  # noqa: S608  # names of our own schema


def was_erased(db: sqlite3.Connection, owner: str, *, since_ms: int) -> bool:
    row = db.execute(
        "SELECT 1 FROM erasures WHERE who = ? AND at_ms >= ?", (rules.pseudonym(owner), since_ms)
    ).fetchone()
    return row is not None


_NAMED = "json_extract(CAST(data AS TEXT), '$.owner') = :owner"
# What a house holds for all of its users stands under a name that no user can have, and says whose it is.
_SHARED = f"collection IN (SELECT n FROM collections WHERE substr(owner, 1, 1) = '{rules.SHARED}')"  # noqa: S608


def _count(db: sqlite3.Connection, table: str, where: str, owner: str) -> int:
    (number,) = db.execute(f"SELECT count(*) FROM {table} WHERE {where}", {"owner": owner}).fetchone()  # noqa: S608
    return int(number)


def _tables(db: sqlite3.Connection) -> list[str]:
    # What SQLite keeps for itself, and the shadow tables of a virtual one, are nobody's.
    return [name for _, name, kind, *_ in db.execute("PRAGMA table_list") if kind == "table" and name[:7] != "sqlite_"]


def _owned(db: sqlite3.Connection) -> list[str]:
    return [t for t in _tables(db) if any(row[1] == "owner" for row in db.execute(f"PRAGMA table_info({t})"))]


def _belongings(db: sqlite3.Connection) -> dict[str, str]:
    """Every table that has rows of owners, with the condition that finds one owner's."""
    found = dict.fromkeys(_owned(db), "owner = :owner")
    left = [table for table in _tables(db) if table not in found]
    while found_now := {t: " OR ".join(w) for t in left if (w := list(_through(db, t, found)))}:
        found |= found_now
        left = [table for table in left if table not in found]
    return found


def _through(db: sqlite3.Connection, table: str, found: dict[str, str]) -> Iterator[str]:
    """By which references the rows of this table belong to rows of those."""
    for _, _, parent, column, referred, *_ in db.execute(f"PRAGMA foreign_key_list({table})"):
        if parent in found:
            yield f"{column} IN (SELECT {referred} FROM {parent} WHERE {found[parent]})"  # noqa: S608  # as above
