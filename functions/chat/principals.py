"""Who may come in, as values: users, their keys and sessions, invitations, and what an issuer says of somebody."""

from datetime import datetime
from typing import Literal

from functions.chat.messages import Struct

Role = Literal["admin", "member", "viewer"]
Scope = Literal["read", "chat", "admin"]


class User(Struct, frozen=True, kw_only=True):
    """`id` is the owner of all that is theirs. A viewer reads and writes nothing. `last_seen_at` goes by the hour."""

    id: str
    name: str | None = None
    email: str | None = None  # as the issuer said it last; how to show them, never how to know them
    role: Role = "member"
    status: Literal["active", "suspended"] = "active"
    group: str | None = None
    created_at: datetime
    last_seen_at: datetime | None = None


class ApiKey(Struct, frozen=True, kw_only=True):
    """`hint` is its beginning, to tell it from others. `origins`: pages of other sites that may use it in a browser.
    `runs_per_minute`: no faster than that, whatever its owner may; 0: no limit of its own."""

    id: str
    owner: str
    name: str
    scopes: tuple[Scope, ...]
    hint: str
    created_at: datetime
    origins: tuple[str, ...] = ()
    runs_per_minute: int = 0
    last_used_at: datetime | None = None
    expires_at: datetime | None = None


class Session(Struct, frozen=True, kw_only=True):
    """`agent`: browser and system, in a few words. `key_id`: the API key that opened it, and that it ends with."""

    id: str
    owner: str
    created_at: datetime
    last_seen_at: datetime
    expires_at: datetime
    agent: str = ""
    key_id: str | None = None


class Invitation(Struct, frozen=True, kw_only=True):
    """One of `email` (of whom an issuer must say that it is verified) and `name` (who gets a link)."""

    id: str
    role: Role
    created_at: datetime
    expires_at: datetime
    email: str | None = None
    name: str | None = None
    group: str | None = None


class Identity(Struct, frozen=True, kw_only=True):
    """What an issuer says. `issuer` and `subject` together are who it is; the rest may change."""

    issuer: str
    subject: str
    email: str | None = None
    is_email_verified: bool = False
    name: str | None = None
