"""One of everything that an owner can have, and a look into every table for what is theirs.

Whoever adds a table or a kind of item writes a row of it in `fill`: tests/contracts/test_erasure.py fails until then.
"""

import sqlite3
from datetime import timedelta
from typing import Any

import msgspec

from functions.adapters.dynamo import DynamoStore
from functions.adapters.sqlite import SqliteStore
from functions.chat.allowances import HOUSE, Limits
from functions.chat.messages import Feedback, LoggedEvent, Profile, RememberJob, Run, expiry_of, utc_now
from functions.chat.principals import ApiKey, Identity, Session, User
from tests.contracts.makers import (
    Store,
    a_chat,
    a_chunk,
    a_collection,
    a_document,
    a_hold,
    a_memory,
    a_share,
    a_summary,
    a_template,
    a_turn,
    a_use,
    at,
    begun_chat,
    deltas,
    finished_chat,
    next_id,
)

SQLITE_HOUSE = {
    "verdict_counts",
    "rules",
    "invitations",
    "nodes",
    "sightings",
    "wakes",
    "erasures",
}  # tables of the house, where nobody's name stands


async def fill(store: Store, owner: str) -> Run:
    """One of everything, each with the owner's name in it wherever there is a text. Returns a run that goes on."""
    secret = f"said by {owner}"
    chat, run = await finished_chat(store, owner, answer=secret)
    await store.put_feedback(owner, chat.id, run.assistant_message_id, Feedback(rating=1, comment=secret, at=at(0)))
    await store.put_summary(owner, chat.id, a_summary(run.assistant_message_id, text=secret))
    await store.set_remembered(owner, chat.id, 1_000)
    await store.put_share(owner, a_share(await store.get_chat(owner, chat.id), title=secret))
    await store.create_chat(owner, a_chat(archived=True, title=secret, system_prompt=secret))
    now = utc_now()
    await store.create_chat(owner, a_chat(temporary=True, updated_at=now, expires_at=expiry_of(True, now)))
    compatible = a_turn(owner, None, run={"prompt": ({"role": "user", "content": secret},)}, replace_key=True)
    await store.begin_turn(owner, compatible)
    await store.put_job(f"remember {owner}", RememberJob(owner=owner, chat_id=chat.id, run_id=run.id), at_ms=10**15)
    await store.put_profile(owner, Profile(custom_instructions=secret))
    await store.put_memory(owner, a_memory(secret, chat_id=chat.id))
    await store.put_template(owner, a_template(text=secret))
    await store.put_vectors(owner, "memory", [("one", [1.0, 2.0], {"text": secret})])
    held = {"owner": owner, "chat": chat.id}  # as an answer that a house shares
    await store.put_vectors("=house", "answers", [(next_id(), [1.0, 2.0], held)])
    await store.admit(owner, "runs", interval_ms=1, burst=1, now_ms=1)
    await store.add(owner, "tokens", 5, expires=now + timedelta(days=1))
    identity = Identity(issuer="https://issuer.example", subject=secret)
    theirs = User(id=owner, name=secret, created_at=now)
    await store.accept(theirs, invitation_id=None, identity=identity)
    key = ApiKey(id=next_id(), owner=owner, name=secret, scopes=("chat",), hint="…", created_at=now, origins=("o",))
    await store.put_key(key, f"key of {key.id}")
    session = Session(id=next_id(), owner=owner, created_at=now, last_seen_at=now, expires_at=now + timedelta(days=1))
    await store.put_session(session, f"session {session.id}")
    work = a_hold(owner, tokens=5)
    for account in (owner, HOUSE):
        await store.hold(account, work)
    await store.put_limits(owner, Limits(runs_at_once=3))
    await store.record_use(a_use(int(now.timestamp() * 1000), owner=owner, chat_id=chat.id))
    shelf = a_collection(owner, name=secret)
    await store.create_collection(owner, shelf)
    book = a_document(shelf, title=secret)
    await store.add_document(owner, book)
    await store.put_chunks(owner, book.id, [a_chunk(0, secret)])
    await store.put_part(owner, book.id, "file", 0, secret.encode())
    await store.finish_document(owner, msgspec.structs.replace(book, status="ready", chunks=1))
    await store.put_member(owner, shelf.id, f"somebody let in by {owner}", "reader")
    lent = a_collection("a lender")
    await store.create_collection("a lender", lent)
    await store.put_member("a lender", lent.id, owner, "editor")
    _, going_on = await begun_chat(store, owner, title=secret)
    return going_on


async def tables(store: Store, owner: str) -> dict[str, int]:
    """Every table, with the number of its rows in which the owner's name stands, anywhere."""
    if isinstance(store, SqliteStore):
        return await store._readers.read(lambda db: _in_sqlite(db, owner))
    assert isinstance(store, DynamoStore)
    return await store._call(lambda t: {model.Meta.table_name: _in_table(model, owner) for model in t.all})


def _in_sqlite(db: sqlite3.Connection, owner: str) -> dict[str, int]:
    names = [name for (name,) in db.execute("SELECT name FROM sqlite_master WHERE type = 'table'")]
    return {name: sum(_names(list(row), owner) for row in db.execute(f"SELECT * FROM {name}")) for name in names}


def _in_table(model: Any, owner: str) -> int:
    return sum(_names(item.serialize(), owner) for item in model.scan(consistent_read=True))


def _names(value: Any, owner: str) -> bool:
    match value:
        case bytes():
            return owner.encode() in value
        case str():
            return owner in value
        case dict():
            return any(_names(item, owner) for pair in value.items() for item in pair)
        case list() | tuple():
            return any(_names(item, owner) for item in value)
        case _:
            return False


async def rows(store: Store) -> dict[str, int]:
    """Every table of SQLite with the number of its rows."""
    assert isinstance(store, SqliteStore)

    def count(db: sqlite3.Connection) -> dict[str, int]:
        names = [name for (name,) in db.execute("SELECT name FROM sqlite_master WHERE type = 'table'")]
        return {name: db.execute(f"SELECT count(*) FROM {name}").fetchone()[0] for name in names}

    return await store._readers.read(count)


def more(run: Run) -> list[LoggedEvent]:
    """What the worker of this run would write next."""
    return deltas(run.last_seq + 1, "late")
