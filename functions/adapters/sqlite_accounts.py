"""Users, keys, sessions and invitations as SQL. Secrets are columns of hashes, found by an index."""

import sqlite3
from datetime import datetime
from typing import Any

import msgspec

from functions.adapters.rules import is_active_admin, is_meant, no_user
from functions.chat.messages import Page
from functions.chat.principals import ApiKey, Identity, Invitation, Session, User
from functions.ports import last_admin

_encode = msgspec.json.Encoder().encode
_user = msgspec.json.Decoder(User).decode
_key = msgspec.json.Decoder(ApiKey).decode
_session = msgspec.json.Decoder(Session).decode
_invitation = msgspec.json.Decoder(Invitation).decode


# -- users ------------------------------------------------------------------------------------------------------
def get_user(db: sqlite3.Connection, owner: str) -> User | None:
    row = db.execute("SELECT data FROM users WHERE owner = ?", (owner,)).fetchone()
    return _user(row[0]) if row else None


def add_user(db: sqlite3.Connection, user: User) -> bool:
    added = db.execute(
        "INSERT INTO users (owner, is_admin, data) VALUES (?, ?, ?) ON CONFLICT DO NOTHING",
        (user.id, is_active_admin(user), _encode(user)),
    )
    return bool(added.rowcount)


def change_user(db: sqlite3.Connection, owner: str, changes: dict[str, Any]) -> User:
    was = get_user(db, owner)
    if was is None:
        raise no_user()
    user = msgspec.structs.replace(was, **changes)
    if is_active_admin(was) and not is_active_admin(user):
        (admins,) = db.execute("SELECT count(*) FROM users WHERE is_admin").fetchone()
        if admins == 1:
            raise last_admin()
    db.execute("UPDATE users SET is_admin = ?, data = ? WHERE owner = ?", (is_active_admin(user), _encode(user), owner))
    return user


def list_users(db: sqlite3.Connection, *, limit: int, after: str | None, query: str) -> Page[User]:
    rows = db.execute("SELECT data FROM users WHERE owner > ? ORDER BY owner", (after or "",))
    found: list[User] = []
    for (data,) in rows:
        user = _user(data)
        if is_meant(user, query):
            if len(found) == limit:
                return Page(data=tuple(found), next=found[-1].id)
            found.append(user)
    return Page(data=tuple(found), next=None)


def accept(db: sqlite3.Connection, user: User, *, invitation_id: str | None, identity: Identity | None) -> bool:
    """Looks first and writes then: within the one writer's transaction nothing comes between."""
    if get_user(db, user.id) is not None:
        return False
    if identity is not None and find_identity(db, identity.issuer, identity.subject) is not None:
        return False
    if invitation_id is not None and not delete_invitation(db, invitation_id):
        return False
    add_user(db, user)
    if identity is not None:
        row = (identity.issuer, identity.subject, user.id)
        db.execute("INSERT INTO identities (issuer, subject, owner) VALUES (?, ?, ?)", row)
    return True


def find_identity(db: sqlite3.Connection, issuer: str, subject: str) -> str | None:
    row = db.execute("SELECT owner FROM identities WHERE issuer = ? AND subject = ?", (issuer, subject)).fetchone()
    return row[0] if row else None


# -- keys -------------------------------------------------------------------------------------------------------
def put_key(db: sqlite3.Connection, key: ApiKey, digest: str) -> None:
    row = (key.owner, key.id, digest, _encode(key))
    db.execute("INSERT INTO api_keys (owner, id, digest, data) VALUES (?, ?, ?, ?)", row)
    origins = [(key.owner, key.id, origin) for origin in key.origins]
    db.executemany("INSERT INTO key_origins (owner, key_id, origin) VALUES (?, ?, ?)", origins)


def list_keys(db: sqlite3.Connection, owner: str) -> tuple[ApiKey, ...]:
    return tuple(_key(data) for (data,) in db.execute("SELECT data FROM api_keys WHERE owner = ?", (owner,)))


def find_key(db: sqlite3.Connection, digest: str) -> ApiKey | None:
    row = db.execute("SELECT data FROM api_keys WHERE digest = ?", (digest,)).fetchone()
    return _key(row[0]) if row else None


def touch_key(db: sqlite3.Connection, owner: str, key_id: str, *, at: datetime) -> None:
    row = db.execute("SELECT data FROM api_keys WHERE owner = ? AND id = ?", (owner, key_id)).fetchone()
    if row:
        data = _encode(msgspec.structs.replace(_key(row[0]), last_used_at=at))
        db.execute("UPDATE api_keys SET data = ? WHERE owner = ? AND id = ?", (data, owner, key_id))


def delete_key(db: sqlite3.Connection, owner: str, key_id: str) -> bool:
    db.execute("DELETE FROM key_origins WHERE owner = ? AND key_id = ?", (owner, key_id))
    return bool(db.execute("DELETE FROM api_keys WHERE owner = ? AND id = ?", (owner, key_id)).rowcount)


def is_origin_listed(db: sqlite3.Connection, origin: str) -> bool:
    return db.execute("SELECT 1 FROM key_origins WHERE origin = ? LIMIT 1", (origin,)).fetchone() is not None


# -- sessions ---------------------------------------------------------------------------------------------------
def put_session(db: sqlite3.Connection, session: Session, digest: str) -> None:
    """Those that have ended make room."""
    now = session.created_at.timestamp()
    db.execute("DELETE FROM sessions WHERE expires_s < ?", (now,))
    row = (session.owner, session.id, digest, session.expires_at.timestamp(), _encode(session))
    db.execute("INSERT INTO sessions (owner, id, digest, expires_s, data) VALUES (?, ?, ?, ?, ?)", row)


def list_sessions(db: sqlite3.Connection, owner: str) -> tuple[Session, ...]:
    return tuple(_session(data) for (data,) in db.execute("SELECT data FROM sessions WHERE owner = ?", (owner,)))


def find_session(db: sqlite3.Connection, digest: str) -> Session | None:
    row = db.execute("SELECT data FROM sessions WHERE digest = ?", (digest,)).fetchone()
    return _session(row[0]) if row else None


def touch_session(db: sqlite3.Connection, owner: str, session_id: str, *, at: datetime) -> None:
    row = db.execute("SELECT data FROM sessions WHERE owner = ? AND id = ?", (owner, session_id)).fetchone()
    if row:
        data = _encode(msgspec.structs.replace(_session(row[0]), last_seen_at=at))
        db.execute("UPDATE sessions SET data = ? WHERE owner = ? AND id = ?", (data, owner, session_id))


def delete_session(db: sqlite3.Connection, owner: str, session_id: str) -> bool:
    return bool(db.execute("DELETE FROM sessions WHERE owner = ? AND id = ?", (owner, session_id)).rowcount)


# -- invitations ------------------------------------------------------------------------------------------------
def put_invitation(db: sqlite3.Connection, invitation: Invitation, digest: str | None) -> None:
    """Those that are over make room."""
    db.execute("DELETE FROM invitations WHERE expires_s < ?", (invitation.created_at.timestamp(),))
    row = (invitation.id, digest, invitation.expires_at.timestamp(), _encode(invitation))
    db.execute("INSERT INTO invitations (id, digest, expires_s, data) VALUES (?, ?, ?, ?)", row)


def list_invitations(db: sqlite3.Connection) -> tuple[Invitation, ...]:
    return tuple(_invitation(data) for (data,) in db.execute("SELECT data FROM invitations"))


def find_invitation(db: sqlite3.Connection, digest: str) -> Invitation | None:
    row = db.execute("SELECT data FROM invitations WHERE digest = ?", (digest,)).fetchone()
    return _invitation(row[0]) if row else None


def delete_invitation(db: sqlite3.Connection, invitation_id: str) -> bool:
    return bool(db.execute("DELETE FROM invitations WHERE id = ?", (invitation_id,)).rowcount)
