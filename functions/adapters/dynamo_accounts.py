"""Users, keys, sessions and invitations in DynamoDB's chat table. Synchronous: run on `dynamo`'s threads.

    pk                sk                what
    H#A               user              user: one partition, good for some thousands
    H#A               #admins           how many of them are active admins
    U#owner           V#key             API key; `key` is its hash
    U#owner           W#session         session; `key` is its hash
    U#owner           D@…               which identity is theirs
    H#T#hash          T                 what has this hash; `key` is where it is
    H#J#hash          J                 whose this identity is
    H#O#origin        key               this key lists this origin
    H#I               invitation        invitation; `key` is its hash

What the house holds for an owner is found, and goes, through the item beside it in the owner's own partition.
"""

import hashlib
from contextlib import suppress
from datetime import datetime
from typing import Any

import msgspec

from functions.adapters.dynamo_calls import ATTEMPTS, Refused, Writes, ask
from functions.adapters.dynamo_chats import find_item
from functions.adapters.dynamo_models import ChatItem, Tables, owner_pk, safe
from functions.adapters.rules import is_active_admin, is_meant, no_user, unavailable
from functions.chat.messages import Page
from functions.chat.principals import ApiKey, Identity, Invitation, Session, User
from functions.ports import last_admin

USERS_PK = "H#A"
INVITATIONS_PK = "H#I"
ADMINS = "#admins"  # sorts before every escaped user

_encode = msgspec.json.Encoder().encode
_user = msgspec.json.Decoder(User).decode
_key = msgspec.json.Decoder(ApiKey).decode
_session = msgspec.json.Decoder(Session).decode
_invitation = msgspec.json.Decoder(Invitation).decode


def _secret_pk(digest: str) -> str:
    return f"H#T#{digest}"


def _identity_pk(issuer: str, subject: str) -> str:
    return f"H#J#{hashlib.sha256(msgspec.json.encode((issuer, subject))).hexdigest()}"


def _origin_pk(origin: str) -> str:
    return f"H#O#{safe(origin)}"


# -- users ------------------------------------------------------------------------------------------------------
def get_user(t: Tables, owner: str) -> User | None:
    item = find_item(t, USERS_PK, safe(owner))
    return _user(item.data) if item else None


def add_user(t: Tables, user: User) -> bool:
    return _committed(_adding(t, user))


def _adding(t: Tables, user: User) -> Writes:
    writes = Writes(t)
    writes.put("user", t.chat(USERS_PK, safe(user.id), data=_encode(user)), t.chat.pk.does_not_exist())
    if is_active_admin(user):
        writes.update("admins", t.chat(USERS_PK, ADMINS), [t.chat.epoch.add(1)], None)
    return writes


def _committed(writes: Writes) -> bool:
    try:
        writes.commit()
    except Refused:
        return False
    return True


def change_user(t: Tables, owner: str, changes: dict[str, Any]) -> User:
    for _ in range(ATTEMPTS):
        item = find_item(t, USERS_PK, safe(owner))
        if item is None:
            raise no_user()
        was = _user(item.data)
        user = msgspec.structs.replace(was, **changes)
        writes = Writes(t)
        writes.put("user", t.chat(USERS_PK, safe(owner), data=_encode(user)), t.chat.data == item.data)
        if is_active_admin(was) != is_active_admin(user):
            step = 1 if is_active_admin(user) else -1
            enough = None if step == 1 else t.chat.epoch > 1
            writes.update("admins", t.chat(USERS_PK, ADMINS), [t.chat.epoch.add(step)], enough)
        try:
            writes.commit()
        except Refused as refused:
            if "user" not in refused:  # as we read them; else somebody was faster, and we look again
                raise last_admin() from refused
        else:
            return user
    raise unavailable("somebody else is changing this user")


def list_users(t: Tables, *, limit: int, after: str | None, query: str) -> Page[User]:
    beyond = t.chat.sk > (safe(after) if after is not None else ADMINS)
    found: list[User] = []
    for item in ask(lambda: list(t.chat.query(USERS_PK, beyond, consistent_read=True))):
        user = _user(item.data)
        if is_meant(user, query):
            if len(found) == limit:
                return Page(data=tuple(found), next=found[-1].id)
            found.append(user)
    return Page(data=tuple(found), next=None)


def accept(t: Tables, user: User, *, invitation_id: str | None, identity: Identity | None) -> bool:
    writes = _adding(t, user)
    if identity is not None:
        pk = _identity_pk(identity.issuer, identity.subject)
        writes.put("identity", t.chat(pk, "J", key=user.id), t.chat.pk.does_not_exist())
        writes.put("theirs", t.chat(owner_pk(user.id), f"J#{pk}", key=pk))
    if invitation_id is not None:
        there = find_item(t, INVITATIONS_PK, safe(invitation_id))
        if there is None:
            return False
        writes.delete("invitation", there, t.chat.pk.exists())  # by one of all who try
        if there.key:
            writes.delete("link", t.chat(_secret_pk(there.key), "T"))
    return _committed(writes)


def find_identity(t: Tables, issuer: str, subject: str) -> str | None:
    item = find_item(t, _identity_pk(issuer, subject), "J")
    return item.key if item else None


# -- what leads to an owner --------------------------------------------------------------------------------------
def _put_secret(t: Tables, owner: str, sk: str, digest: str, data: bytes, expires: datetime | None) -> Writes:
    writes = Writes(t)
    writes.put("secret", t.chat(_secret_pk(digest), "T", key=f"{safe(owner)}#{sk}", expires=expires))
    writes.put("own", t.chat(owner_pk(owner), sk, key=digest, data=data, expires=expires))
    return writes


def _find_secret(t: Tables, digest: str) -> ChatItem | None:
    found = find_item(t, _secret_pk(digest), "T")
    if found is None:
        return None
    owner, _, sk = found.key.partition("#")
    item = find_item(t, f"U#{owner}", sk)
    return item if item is not None and item.key == digest else None


def _listed(t: Tables, owner: str, kind: str) -> list[ChatItem]:
    return ask(lambda: list(t.chat.query(owner_pk(owner), t.chat.sk.startswith(kind), consistent_read=True)))


def _replace(t: Tables, item: ChatItem, data: bytes) -> None:
    """Quietly nothing when it is gone."""
    with suppress(Refused):
        ask(lambda: item.update([t.chat.data.set(data)], t.chat.pk.exists()))


# -- keys -------------------------------------------------------------------------------------------------------
def put_key(t: Tables, key: ApiKey, digest: str) -> None:
    writes = _put_secret(t, key.owner, f"V#{key.id}", digest, _encode(key), None)
    for number, origin in enumerate(key.origins):
        writes.put(f"origin {number}", t.chat(_origin_pk(origin), f"O#{key.id}", key=safe(key.owner)))
    writes.commit()


def list_keys(t: Tables, owner: str) -> tuple[ApiKey, ...]:
    return tuple(_key(item.data) for item in _listed(t, owner, "V#"))


def find_key(t: Tables, digest: str) -> ApiKey | None:
    item = _find_secret(t, digest)
    return _key(item.data) if item is not None and item.sk.startswith("V#") else None


def touch_key(t: Tables, owner: str, key_id: str, *, at: datetime) -> None:
    item = find_item(t, owner_pk(owner), f"V#{key_id}")
    if item is not None:
        _replace(t, item, _encode(msgspec.structs.replace(_key(item.data), last_used_at=at)))


def delete_key(t: Tables, owner: str, key_id: str) -> bool:
    item = find_item(t, owner_pk(owner), f"V#{key_id}")
    return item is not None and _delete_with_leads(t, item)


def is_origin_listed(t: Tables, origin: str) -> bool:
    return bool(ask(lambda: list(t.chat.query(_origin_pk(origin), limit=1, consistent_read=True))))


# -- sessions ---------------------------------------------------------------------------------------------------
def put_session(t: Tables, session: Session, digest: str) -> None:
    _put_secret(t, session.owner, f"W#{session.id}", digest, _encode(session), session.expires_at).commit()


def list_sessions(t: Tables, owner: str) -> tuple[Session, ...]:
    return tuple(_session(item.data) for item in _listed(t, owner, "W#"))


def find_session(t: Tables, digest: str) -> Session | None:
    item = _find_secret(t, digest)
    return _session(item.data) if item is not None and item.sk.startswith("W#") else None


def touch_session(t: Tables, owner: str, session_id: str, *, at: datetime) -> None:
    item = find_item(t, owner_pk(owner), f"W#{session_id}")
    if item is not None:
        _replace(t, item, _encode(msgspec.structs.replace(_session(item.data), last_seen_at=at)))


def delete_session(t: Tables, owner: str, session_id: str) -> bool:
    item = find_item(t, owner_pk(owner), f"W#{session_id}")
    return item is not None and _delete_with_leads(t, item)


# -- the end ----------------------------------------------------------------------------------------------------
def leads_of(item: ChatItem) -> list[tuple[str, str]]:
    """(pk, sk) of what the house holds for this item of an owner: a hash, an identity, origins."""
    kind, _, own_id = item.sk.partition("#")
    match kind:
        case "V":
            origins = [(_origin_pk(origin), f"O#{own_id}") for origin in _key(item.data).origins]
            return [(_secret_pk(item.key), "T"), *origins]
        case "W":
            return [(_secret_pk(item.key), "T")]
        case "J":
            return [(item.key, "J")]
        case _:
            return []


def _delete_with_leads(t: Tables, item: ChatItem) -> bool:
    """What leads to it goes first: from then on nobody comes in by it."""
    for pk, sk in leads_of(item):
        ask(t.chat(pk, sk).delete)
    try:
        ask(lambda: item.delete(t.chat.pk.exists()))
    except Refused:
        return False
    return True


def delete_user(t: Tables, owner: str) -> bool:
    """Part of an erasure: the record itself, and the count of admins with it."""
    for _ in range(ATTEMPTS):
        item = find_item(t, USERS_PK, safe(owner))
        if item is None:
            return False
        writes = Writes(t)
        if is_active_admin(_user(item.data)):
            writes.update("admins", t.chat(USERS_PK, ADMINS), [t.chat.epoch.add(-1)], None)
        writes.delete("user", item, t.chat.data == item.data)  # as it was seen, or it would be counted wrongly
        if _committed(writes):
            return True
    raise unavailable("somebody else is changing this user")


# -- invitations ------------------------------------------------------------------------------------------------
def put_invitation(t: Tables, invitation: Invitation, digest: str | None) -> None:
    writes, expires = Writes(t), invitation.expires_at
    writes.put(
        "own", t.chat(INVITATIONS_PK, safe(invitation.id), data=_encode(invitation), key=digest, expires=expires)
    )
    if digest:
        writes.put("link", t.chat(_secret_pk(digest), "T", key=f"#{invitation.id}", expires=expires))
    writes.commit()


def list_invitations(t: Tables) -> tuple[Invitation, ...]:
    items = ask(lambda: list(t.chat.query(INVITATIONS_PK, consistent_read=True)))
    return tuple(_invitation(item.data) for item in items)


def find_invitation(t: Tables, digest: str) -> Invitation | None:
    found = find_item(t, _secret_pk(digest), "T")
    if found is None or not found.key.startswith("#"):
        return None
    item = find_item(t, INVITATIONS_PK, safe(found.key[1:]))
    return _invitation(item.data) if item is not None and item.key == digest else None


def delete_invitation(t: Tables, invitation_id: str) -> bool:
    item = find_item(t, INVITATIONS_PK, safe(invitation_id))
    if item is None:
        return False
    if item.key:
        ask(t.chat(_secret_pk(item.key), "T").delete)
    try:
        ask(lambda: item.delete(t.chat.pk.exists()))
    except Refused:
        return False
    return True
