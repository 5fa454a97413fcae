"""Who may come in, and as what: users, and the three things that they show at the door.

    session   of a browser, in a cookie; ends
    API key   of a program; has scopes, and perhaps origins
    identity  an issuer's word for somebody (api/oidc.py); an invitation, or the settings, say whether they are expected

Secrets are 256 random bits, shown once and stored as SHA-256: a hash is enough, because there is nothing to guess. What
was looked up is kept in the process for a moment, so that a request costs no read: suspending, revoking and signing out
hold at once here, and elsewhere after `KEPT_SECONDS`.

Knows no HTTP, no cookies and no issuers.
"""

import hashlib
import secrets
from collections import OrderedDict
from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec

from functions.chat.messages import Page, new_id
from functions.chat.principals import ApiKey, Identity, Invitation, Role, Scope, Session, User
from functions.errors import BadInput, Conflict, Forbidden, NotFound
from functions.ports import AccountStore
from functions.telemetry import log

KEPT_SECONDS = 5.0
KEPT_MAX = 10_000  # of what was looked up; the oldest goes
KEYS_MAX = 50  # of one user
SESSION_DAYS = 30  # at most,
SESSION_IDLE_DAYS = 7  # and sooner for who does not come
INVITATION_DAYS = 14
TOUCH = timedelta(minutes=1)  # when a key was used last is written no more often,
SEEN = timedelta(hours=1)  # nor when a session or a user was seen
KEY_PREFIX = "parley_sk_"
SECRET_MAX = 512  # characters; nobody's is longer
ALL_SCOPES: frozenset[Scope] = frozenset({"read", "chat", "admin"})


class Caller(msgspec.Struct, frozen=True, kw_only=True):
    """Who it is, and by what they were known, until `ends_at`. `origins`: foreign pages that may use this key."""

    user: User
    scopes: frozenset[Scope]
    key_id: str | None = None
    session_id: str | None = None
    origins: tuple[str, ...] = ()
    runs_per_minute: int = 0
    ends_at: datetime | None = None

    @property
    def is_bounded(self) -> bool:
        """A key with a rate, a last day or pages of its own: it must not become a session or a key without them."""
        return self.key_id is not None and bool(self.runs_per_minute or self.origins or self.ends_at)


class Accounts:
    """`admins`: names, or e-mail addresses, that are admins from the start."""

    def __init__(self, store: AccountStore, clock: Callable[[], int], *, admins: Sequence[str] = ()) -> None:
        self._store, self._clock = store, clock
        self._admins = frozenset(admin.strip().casefold() for admin in admins if admin.strip())
        self._kept: OrderedDict[str, tuple[int, Caller]] = OrderedDict()
        self._changes = 0  # who looked something up before a change must not keep it after it

    def now(self) -> datetime:
        return datetime.fromtimestamp(self._clock() / 1000, UTC)

    # -- at the door -------------------------------------------------------------------------------------------
    async def by_secret(self, secret: str) -> Caller | None:
        """Whose API key or session this is; None when it is nobody's, has ended, or its user is suspended."""
        if not 0 < len(secret) <= SECRET_MAX:
            return None
        digest, look_up = digest_of(secret), self._by_key if secret.startswith(KEY_PREFIX) else self._by_session
        changes = self._changes
        caller = self._recall(digest) or self._keep(digest, await look_up(digest), changes)
        return caller if caller and (caller.ends_at is None or self.now() < caller.ends_at) else None

    async def by_name(self, name: str) -> Caller | None:
        """A user that the settings name; their record is made when they are seen first. None: suspended."""
        if (caller := self._recall(f"={name}")) is not None:
            return caller
        now, changes = self.now(), self._changes
        user = await self._store.get_user(name)
        if user is None:
            user = User(id=name, name=name, role=self._first_role(name), created_at=now, last_seen_at=now)
            if not await self._store.add_user(user):  # lost to another process, which wrote the same
                user = await self._store.get_user(name) or user
        return self._keep(f"={name}", await self._admitted(user, ALL_SCOPES), changes)

    async def by_identity(self, identity: Identity, *, ends_at: datetime) -> Caller | None:
        """Whom an issuer's access token means, until it ends: somebody who has signed in before. None: nobody, or they
        are suspended."""
        known_by, changes = f"@{identity.issuer} {identity.subject}", self._changes
        caller = self._recall(known_by)
        if caller is None:
            owner = await self._store.find_identity(identity.issuer, identity.subject)
            user = await self._store.get_user(owner) if owner else None
            caller = self._keep(known_by, await self._admitted(user, ALL_SCOPES), changes) if user else None
        return msgspec.structs.replace(caller, ends_at=ends_at) if caller and self.now() < ends_at else None

    async def _by_key(self, digest: str) -> Caller | None:
        key = await self._store.find_key(digest)
        user = await self._store.get_user(key.owner) if key else None
        if key is None or user is None:
            return None
        if key.last_used_at is None or key.last_used_at + TOUCH < self.now():
            await self._store.touch_key(key.owner, key.id, at=self.now())
        caller = await self._admitted(user, frozenset(key.scopes))
        if caller is None:
            return None
        return msgspec.structs.replace(
            caller, key_id=key.id, origins=key.origins, runs_per_minute=key.runs_per_minute, ends_at=key.expires_at
        )

    async def _by_session(self, digest: str) -> Caller | None:
        session = await self._store.find_session(digest)
        user = await self._store.get_user(session.owner) if session else None
        if session is None or user is None:
            return None
        if session.key_id and not any(key.id == session.key_id for key in await self._store.list_keys(session.owner)):
            return None
        ends_at = min(session.expires_at, session.last_seen_at + timedelta(days=SESSION_IDLE_DAYS))
        if self.now() < ends_at and session.last_seen_at + SEEN < self.now():
            await self._store.touch_session(session.owner, session.id, at=self.now())
        caller = await self._admitted(user, ALL_SCOPES)
        return msgspec.structs.replace(caller, session_id=session.id, ends_at=ends_at) if caller else None

    async def _admitted(self, user: User, scopes: frozenset[Scope]) -> Caller | None:
        if user.status != "active":
            return None
        if user.last_seen_at is None or user.last_seen_at + SEEN < self.now():
            user = await self._store.change_user(user.id, {"last_seen_at": self.now()})
        return Caller(user=user, scopes=scopes if user.role == "admin" else scopes - {"admin"})

    def _recall(self, key: str) -> Caller | None:
        until_ms, caller = self._kept.get(key, (0, None))
        return caller if self._clock() < until_ms else None

    def _keep(self, key: str, caller: Caller | None, changes: int) -> Caller | None:
        """Strangers are not remembered: they could push out those who are known."""
        if caller is not None and changes == self._changes:
            self._kept[key] = (self._clock() + int(1000 * KEPT_SECONDS), caller)
            self._kept.move_to_end(key)
            if len(self._kept) > KEPT_MAX:
                self._kept.popitem(last=False)
        return caller

    def _forget(self, owner: str) -> None:
        self._changes += 1
        for key in [key for key, (_, caller) in self._kept.items() if caller.user.id == owner]:
            del self._kept[key]

    def _first_role(self, name: str | None) -> Role:
        return "admin" if name and name.casefold() in self._admins else "member"

    # -- coming in ---------------------------------------------------------------------------------------------
    async def sign_in(self, identity: Identity) -> User:
        """The user whom the issuer means. Whoever comes for the first time must be invited, or be named in `admins`, by
        an e-mail address that the issuer has verified. Raises Forbidden (`not_invited`, `suspended`)."""
        user = await self._known(identity) or await self._welcome(identity)
        user = user or await self._known(identity)  # a second tab of theirs was faster, and used up the invitation
        if user is None:
            raise Forbidden("You are not invited here; ask whoever runs this Parley.", code="not_invited")
        if user.status != "active":
            raise Forbidden("Your account is suspended; ask whoever runs this Parley.", code="suspended")
        said = {"email": identity.email, "name": identity.name or user.name}
        if {name: getattr(user, name) for name in said} != said:
            user = await self._store.change_user(user.id, said)
        return user

    async def _known(self, identity: Identity) -> User | None:
        owner = await self._store.find_identity(identity.issuer, identity.subject)
        return await self._store.get_user(owner) if owner else None

    async def _welcome(self, identity: Identity) -> User | None:
        if not identity.email or not identity.is_email_verified:
            return None
        email, now = identity.email.casefold(), self.now()
        user = User(id=new_id(), name=identity.name, email=identity.email, created_at=now, last_seen_at=now)
        invited = None
        if self._first_role(email) == "admin":
            user = msgspec.structs.replace(user, role="admin")
        else:
            invited = await self._invited(email)
            if invited is None:
                return None
            user = msgspec.structs.replace(user, role=invited.role, group=invited.group)
        if not await self._store.accept(user, invitation_id=invited.id if invited else None, identity=identity):
            return None
        log("user.joined", user=user.id, role=user.role)
        return user

    async def _invited(self, email: str) -> Invitation | None:
        waiting = [each for each in await self._store.list_invitations() if (each.email or "").casefold() == email]
        return next((each for each in waiting if self.now() < each.expires_at), None)

    async def open_session(self, owner: str, *, agent: str = "", key_id: str | None = None) -> tuple[str, Session]:
        """The secret for the cookie, and the session; it ends with the key that opened it."""
        secret, now = secrets.token_urlsafe(32), self.now()
        session = Session(
            id=new_id(),
            owner=owner,
            created_at=now,
            last_seen_at=now,
            expires_at=now + timedelta(days=SESSION_DAYS),
            agent=agent[:100],
            key_id=key_id,
        )
        await self._store.put_session(session, digest_of(secret))
        return secret, session

    async def list_sessions(self, owner: str) -> tuple[Session, ...]:
        """Those that have not ended, newest first."""
        now, idle = self.now(), self.now() - timedelta(days=SESSION_IDLE_DAYS)
        there = await self._store.list_sessions(owner)
        alive = [session for session in there if now < session.expires_at and idle < session.last_seen_at]
        return tuple(sorted(alive, key=lambda session: session.id, reverse=True))

    async def end_session(self, owner: str, session_id: str) -> None:
        """Raises NotFound."""
        if not await self._store.delete_session(owner, session_id):
            raise NotFound("There is no such session.")
        self._forget(owner)

    async def end_sessions(self, owner: str, *, but: str | None) -> int:
        """All but that one; how many."""
        others = [session for session in await self._store.list_sessions(owner) if session.id != but]
        for session in others:
            await self._store.delete_session(owner, session.id)
        self._forget(owner)
        return len(others)

    # -- keys --------------------------------------------------------------------------------------------------
    async def make_key(
        self,
        owner: str,
        name: str,
        *,
        scopes: Sequence[Scope] = ("chat",),
        origins: Sequence[str] = (),
        expires_days: int | None = None,
        runs_per_minute: int = 0,
    ) -> tuple[str, ApiKey]:
        """The key, which is not shown again, and what is known of it. Whoever may chat may read. Raises BadInput
        (`too_many`)."""
        if len(await self._store.list_keys(owner)) >= KEYS_MAX:
            raise BadInput(f"{KEYS_MAX} keys are the most; revoke one that is not used.", code="too_many")
        secret = KEY_PREFIX + secrets.token_urlsafe(32)
        granted: set[Scope] = set(scopes) | ({"read"} if "chat" in scopes else set())
        key = ApiKey(
            id=new_id(),
            owner=owner,
            name=name,
            scopes=tuple(sorted(granted)),
            hint=f"{secret[: len(KEY_PREFIX) + 4]}…",
            created_at=self.now(),
            origins=tuple(dict.fromkeys(origins)),
            runs_per_minute=runs_per_minute,
            expires_at=self.now() + timedelta(days=expires_days) if expires_days else None,
        )
        await self._store.put_key(key, digest_of(secret))
        return secret, key

    async def list_keys(self, owner: str) -> tuple[ApiKey, ...]:
        """Newest first; those that have expired too, so that it shows why they do not work."""
        return tuple(sorted(await self._store.list_keys(owner), key=lambda key: key.id, reverse=True))

    async def revoke_key(self, owner: str, key_id: str) -> None:
        """And end the sessions that it has opened. Raises NotFound."""
        if not await self._store.delete_key(owner, key_id):
            raise NotFound("There is no such key.")
        for session in await self._store.list_sessions(owner):
            if session.key_id == key_id:
                await self._store.delete_session(owner, session.id)
        self._forget(owner)

    async def is_expected(self, origin: str) -> bool:
        """Whether any key of the house may be used by a page of this origin."""
        return await self._store.is_origin_listed(origin)

    # -- the house ---------------------------------------------------------------------------------------------
    async def list_users(self, *, limit: int, after: str | None = None, query: str = "") -> Page[User]:
        """By id. `query`: a part of the name, the address or the group, in any case."""
        return await self._store.list_users(limit=limit, after=after, query=query)

    async def get_user(self, owner: str) -> User:
        """Raises NotFound."""
        user = await self._store.get_user(owner)
        if user is None:
            raise NotFound("There is no such user.")
        return user

    async def group_of(self, owner: str) -> str | None:
        """For work that goes on when its caller has gone."""
        user = await self._store.get_user(owner)
        return user.group if user else None

    async def change_user(self, owner: str, changes: dict[str, Any]) -> User:  # checked at the edge
        """Set role, status, group or name. Raises NotFound, and Conflict (`last_admin`) for what would leave the house
        without one."""
        user = await self._store.change_user(owner, changes)
        self._forget(owner)
        log("user.changed", user=owner, role=user.role, status=user.status)
        return user

    async def step_down(self, owner: str) -> None:
        """Before an erasure: an admin becomes a member, so that the store decides who may go when two go at once. What
        is cut off in between can be done again, by themselves too. Raises Conflict (`last_admin`)."""
        user = await self._store.get_user(owner)
        if user is not None and user.role == "admin":
            await self.change_user(owner, {"role": "member"})

    def forgotten(self, owner: str) -> None:
        """Everything of this owner has been erased."""
        self._forget(owner)

    async def invite(
        self, *, email: str | None, name: str | None, role: Role, group: str | None, days: int = INVITATION_DAYS
    ) -> tuple[str | None, Invitation]:
        """The link's secret, where it goes by a name, and the invitation. Raises Conflict when the name is taken, or
        they are invited already."""
        now = self.now()
        there = await self._store.list_invitations()
        wanted = (email or name or "").casefold()
        if any((each.email or each.name or "").casefold() == wanted and now < each.expires_at for each in there):
            raise Conflict("They are invited already; revoke that invitation first.", code="invited_already")
        if name is not None and await self._store.get_user(name) is not None:
            raise Conflict("There is a user of this name.", code="name_taken")
        invitation = Invitation(
            id=new_id(),
            email=email,
            name=name,
            role=role,
            group=group,
            created_at=now,
            expires_at=now + timedelta(days=days),
        )
        secret = secrets.token_urlsafe(32) if name is not None else None
        await self._store.put_invitation(invitation, digest_of(secret) if secret else None)
        return secret, invitation

    async def list_invitations(self) -> tuple[Invitation, ...]:
        """Those that wait, newest first."""
        waiting = [each for each in await self._store.list_invitations() if self.now() < each.expires_at]
        return tuple(sorted(waiting, key=lambda each: each.id, reverse=True))

    async def revoke_invitation(self, invitation_id: str) -> None:
        """Raises NotFound."""
        if not await self._store.delete_invitation(invitation_id):
            raise NotFound("There is no such invitation.")

    async def join(self, secret: str) -> User:
        """Whom the link was made for, now a user. Once: of any number who try, one. Raises NotFound."""
        gone = NotFound("This invitation has been used, revoked, or is over; ask for another.")
        invitation = await self._store.find_invitation(digest_of(secret)) if len(secret) <= SECRET_MAX else None
        if invitation is None or invitation.name is None or invitation.expires_at <= self.now():
            raise gone
        now = self.now()
        user = User(
            id=invitation.name,
            name=invitation.name,
            role=invitation.role,
            group=invitation.group,
            created_at=now,
            last_seen_at=now,
        )
        if not await self._store.accept(user, invitation_id=invitation.id, identity=None):
            raise gone
        log("user.joined", user=user.id, role=user.role)
        return user


def digest_of(secret: str) -> str:
    """As which a secret is stored and looked up."""
    return hashlib.sha256(secret.encode("utf-8", "surrogatepass")).hexdigest()
