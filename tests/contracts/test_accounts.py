"""Users, keys, sessions and invitations: found by what leads to them, used up once, gone with their owner."""

import asyncio
from datetime import timedelta
from typing import Any

import pytest

from functions.chat.accounts import digest_of
from functions.chat.principals import ApiKey, Identity, Invitation, Session, User
from functions.errors import Conflict, NotFound
from tests.contracts.makers import NASTY, Store, at, next_id


@pytest.fixture(autouse=True)
async def _nobody_is_there_yet(store: Store) -> None:
    """The house is one for all tests of a store."""
    for user in (await store.list_users(limit=99, after=None, query="")).data:
        await store.erase_owner(user.id, now_ms=0)
    for invitation in await store.list_invitations():
        await store.delete_invitation(invitation.id)


def a_user(owner: str = NASTY, **changes: Any) -> User:
    return User(**({"id": owner, "name": "Ada", "created_at": at(0)} | changes))


def a_key(owner: str = NASTY, **changes: Any) -> ApiKey:
    values = {"id": next_id(), "owner": owner, "name": "laptop", "scopes": ("chat", "read"), "hint": "parley_sk_ab…"}
    return ApiKey(**(values | {"created_at": at(0)} | changes))


def a_session(owner: str = NASTY, **changes: Any) -> Session:
    values = {"id": next_id(), "owner": owner, "created_at": at(0), "last_seen_at": at(0), "expires_at": at(9**9)}
    return Session(**(values | changes))


def an_invitation(**changes: Any) -> Invitation:
    values = {"id": next_id(), "role": "member", "created_at": at(0), "expires_at": at(9**9), "name": "bob"}
    return Invitation(**(values | changes))


async def test_a_user_is_added_once_and_changed_in_part(store: Store) -> None:
    assert await store.get_user(NASTY) is None
    assert await store.add_user(a_user())
    assert not await store.add_user(a_user(name="another"))

    changed = await store.change_user(NASTY, {"group": "ops", "last_seen_at": at(5)})

    assert changed == a_user(group="ops", last_seen_at=at(5))
    assert await store.get_user(NASTY) == changed
    with pytest.raises(NotFound):
        await store.change_user("nobody", {"name": "x"})


async def test_users_are_listed_by_id_in_pages_and_found_by_a_part_of_what_is_shown(store: Store) -> None:
    for number in range(5):
        await store.add_user(a_user(f"u{number}", name=f"Name {number}", email=f"U{number}@EXAMPLE.org"))

    first = await store.list_users(limit=2, after=None, query="")
    second = await store.list_users(limit=5, after=first.next, query="")
    found = await store.list_users(limit=5, after=None, query="u3@example")

    assert [user.id for user in (*first.data, *second.data)] == ["u0", "u1", "u2", "u3", "u4"]
    assert (first.next, second.next) == ("u1", None)
    assert [user.id for user in found.data] == ["u3"]


async def test_the_last_admin_stays_one_however_many_try_at_once(store: Store) -> None:
    for name in ("a", "b"):
        await store.add_user(a_user(name, role="admin"))

    tries = [
        store.change_user(name, change)
        for name in ("a", "b")
        for change in ({"role": "member"}, {"status": "suspended"})
    ]
    ended = await asyncio.gather(*tries, return_exceptions=True)

    users = (await store.list_users(limit=9, after=None, query="")).data
    assert len([user for user in users if user.role == "admin" and user.status == "active"]) == 1
    refused = [each for each in ended if isinstance(each, Conflict)]
    assert refused
    assert {each.code for each in refused} == {"last_admin"}
    assert all(isinstance(each, User | Conflict) for each in ended)


async def test_an_admin_who_is_made_one_again_counts_again(store: Store) -> None:
    await store.add_user(a_user("a", role="admin"))
    await store.add_user(a_user("b"))
    await store.change_user("b", {"role": "admin"})
    await store.change_user("a", {"role": "viewer"})

    with pytest.raises(Conflict):
        await store.change_user("b", {"status": "suspended"})
    await store.change_user("a", {"role": "admin"})
    await store.change_user("b", {"status": "suspended"})


async def test_an_invitation_lets_one_of_sixteen_in(store: Store) -> None:
    invitation = an_invitation()
    await store.put_invitation(invitation, digest_of("link"))
    assert await store.find_invitation(digest_of("link")) == invitation
    assert await store.list_invitations() == (invitation,)

    came_in = await asyncio.gather(
        *(store.accept(a_user(f"u{n}"), invitation_id=invitation.id, identity=None) for n in range(16))
    )

    assert sum(came_in) == 1
    assert len((await store.list_users(limit=99, after=None, query="")).data) == 1
    assert await store.find_invitation(digest_of("link")) is None
    assert await store.list_invitations() == ()


async def test_an_identity_becomes_one_user_of_sixteen(store: Store) -> None:
    identity = Identity(issuer="https://issuer#a", subject=NASTY)

    came_in = await asyncio.gather(
        *(store.accept(a_user(f"u{n}"), invitation_id=None, identity=identity) for n in range(16))
    )

    assert sum(came_in) == 1
    users = (await store.list_users(limit=99, after=None, query="")).data
    assert await store.find_identity("https://issuer#a", NASTY) == users[0].id
    assert await store.find_identity("https://issuer", f"a{NASTY}") is None


async def test_who_is_a_user_already_does_not_use_up_an_invitation(store: Store) -> None:
    invitation = an_invitation()
    await store.put_invitation(invitation, None)
    await store.add_user(a_user())

    assert not await store.accept(a_user(), invitation_id=invitation.id, identity=None)

    assert await store.list_invitations() == (invitation,)
    assert await store.delete_invitation(invitation.id)
    assert not await store.delete_invitation(invitation.id)
    assert not await store.accept(a_user("late"), invitation_id=invitation.id, identity=None)


async def test_a_key_is_found_by_its_hash_until_it_is_revoked(store: Store) -> None:
    key = a_key(origins=("https://app.example",))
    await store.put_key(key, digest_of("secret"))

    assert await store.find_key(digest_of("secret")) == key
    assert await store.find_key(digest_of("another")) is None
    assert await store.find_session(digest_of("secret")) is None
    assert await store.list_keys(NASTY) == (key,)
    assert await store.list_keys("other") == ()
    assert [await store.is_origin_listed(origin) for origin in (*key.origins, "https://evil.example")] == [True, False]
    await store.touch_key(NASTY, key.id, at=at(60))
    touched = await store.find_key(digest_of("secret"))
    assert touched is not None
    assert touched.last_used_at == at(60)
    assert not await store.delete_key("other", key.id)
    assert await store.delete_key(NASTY, key.id)
    assert not await store.delete_key(NASTY, key.id)
    assert await store.find_key(digest_of("secret")) is None
    assert not await store.is_origin_listed(key.origins[0])
    await store.touch_key(NASTY, key.id, at=at(61))
    assert await store.list_keys(NASTY) == ()


async def test_a_session_is_found_by_its_hash_until_it_ends(store: Store) -> None:
    session = a_session(created_at=at(0), expires_at=at(0) + timedelta(days=36_500))
    await store.put_session(session, digest_of("cookie"))

    assert await store.find_session(digest_of("cookie")) == session
    assert await store.find_key(digest_of("cookie")) is None
    await store.touch_session(NASTY, session.id, at=at(3600))
    assert [each.last_seen_at for each in await store.list_sessions(NASTY)] == [at(3600)]
    assert not await store.delete_session("other", session.id)
    assert await store.delete_session(NASTY, session.id)
    assert await store.find_session(digest_of("cookie")) is None
    await store.touch_session(NASTY, session.id, at=at(3601))
    assert await store.list_sessions(NASTY) == ()


async def test_nobody_comes_in_by_what_an_erased_user_had(store: Store) -> None:
    identity = Identity(issuer="i", subject="s")
    assert await store.accept(a_user(role="admin"), invitation_id=None, identity=identity)
    await store.add_user(a_user("other", role="admin"))
    await store.put_key(a_key(origins=("https://app.example",)), digest_of("key"))
    await store.put_session(a_session(expires_at=at(0) + timedelta(days=36_500)), digest_of("cookie"))

    receipt = await store.erase_owner(NASTY, now_ms=1)

    assert {name: receipt[name] for name in ("users", "api_keys", "sessions", "identities")} == {
        "users": 1,
        "api_keys": 1,
        "sessions": 1,
        "identities": 1,
    }
    assert await store.get_user(NASTY) is None
    assert await store.find_key(digest_of("key")) is None
    assert await store.find_session(digest_of("cookie")) is None
    assert await store.find_identity("i", "s") is None
    assert not await store.is_origin_listed("https://app.example")
    with pytest.raises(Conflict):  # and the other one knows that they are the last
        await store.change_user("other", {"role": "member"})
