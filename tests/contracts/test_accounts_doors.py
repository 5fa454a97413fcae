"""`Accounts` over both stores, two processes of it: who comes in, by what, until when, and where a race decides."""

import asyncio
from datetime import timedelta

import msgspec
import pytest

from functions.chat.accounts import Accounts
from functions.chat.messages import new_id
from functions.chat.principals import Identity, User
from functions.errors import NotFound, ParleyError
from tests.contracts.makers import T0, Store

RACERS = 16
ISSUER = "https://issuer.example"


class Clock:
    now = T0

    def __call__(self) -> int:
        return int(self.now.timestamp() * 1000)


async def test_one_link_that_sixteen_follow_at_once_makes_one_user(stores: tuple[Store, Store]) -> None:
    doors, name = [Accounts(store, Clock()) for store in stores], f"new-{new_id()}"
    secret, invitation = await doors[0].invite(email=None, name=name, role="member", group="staff")
    assert secret is not None

    outcomes = await asyncio.gather(*(doors[n % 2].join(secret) for n in range(RACERS)), return_exceptions=True)

    joined = [outcome for outcome in outcomes if isinstance(outcome, User)]
    assert [(user.id, user.group) for user in joined] == [(name, "staff")]
    assert {type(outcome) for outcome in outcomes} == {User, NotFound}
    assert invitation not in await stores[1].list_invitations()


async def test_one_person_who_signs_in_sixteen_times_at_once_is_one_user(stores: tuple[Store, Store]) -> None:
    doors, email = [Accounts(store, Clock()) for store in stores], f"{new_id()}@example.org"
    await doors[0].invite(email=email.upper(), name=None, role="viewer", group=None)
    identity = Identity(issuer=ISSUER, subject=new_id(), email=email, is_email_verified=True)

    users = await asyncio.gather(*(doors[n % 2].sign_in(identity) for n in range(RACERS)))

    assert len({user.id for user in users}) == 1
    assert users[0].role == "viewer"
    # The address is how they were found, and never who they are.
    with pytest.raises(ParleyError) as refused:
        await doors[1].sign_in(msgspec.structs.replace(identity, subject=f"{identity.subject} "))
    assert refused.value.code == "not_invited"


async def test_an_address_that_nobody_has_verified_opens_nothing(store: Store) -> None:
    email = f"{new_id()}@example.org"
    accounts = Accounts(store, Clock(), admins=[email])
    claimed = Identity(issuer=ISSUER, subject=new_id(), email=email)

    with pytest.raises(ParleyError) as refused:
        await accounts.sign_in(claimed)
    proved = await accounts.sign_in(msgspec.structs.replace(claimed, is_email_verified=True))

    assert (refused.value.code, proved.role) == ("not_invited", "admin")


async def test_what_has_ended_opens_nothing_even_where_it_still_stands(store: Store) -> None:
    clock = Clock()
    accounts = Accounts(store, clock)
    user = User(id=f"user-{new_id()}", created_at=T0)
    await store.add_user(user)
    key, _ = await accounts.make_key(user.id, "k", expires_days=1)
    forever, _ = await accounts.make_key(user.id, "forever")
    cookie, session = await accounts.open_session(user.id)
    secret, _ = await accounts.invite(email=None, name=f"late-{new_id()}", role="member", group=None, days=1)

    async def opens() -> list[bool]:
        return [await accounts.by_secret(each) is not None for each in (key, forever, cookie)]

    assert await opens() == [True, True, True]
    clock.now = T0 + timedelta(days=1, seconds=1)
    assert await opens() == [False, True, True]
    with pytest.raises(NotFound):
        await accounts.join(str(secret))
    for day in range(2, 30, 6):  # whoever comes every few days stays signed in
        clock.now = T0 + timedelta(days=day)
        assert await opens() == [False, True, True], day
    clock.now = T0 + timedelta(days=30, seconds=1)
    assert await opens() == [False, True, False]
    assert session not in await accounts.list_sessions(user.id)
    idle, _ = await accounts.open_session(user.id)
    clock.now += timedelta(days=7, seconds=1)
    assert await accounts.by_secret(idle) is None
    assert await accounts.list_sessions(user.id) == ()


async def test_a_suspension_holds_here_at_once_and_elsewhere_soon(stores: tuple[Store, Store]) -> None:
    clock = Clock()
    here, there = (Accounts(store, clock) for store in stores)
    user = User(id=f"user-{new_id()}", created_at=T0)
    await stores[0].add_user(user)
    secrets = (await here.make_key(user.id, "k"))[0], (await here.open_session(user.id))[0]
    for accounts in (here, there):
        for secret in secrets:
            assert await accounts.by_secret(secret)

    await here.change_user(user.id, {"status": "suspended"})

    assert [await here.by_secret(secret) for secret in secrets] == [None, None]
    assert await here.by_name(user.id) is None
    clock.now += timedelta(seconds=10)
    assert [await there.by_secret(secret) for secret in secrets] == [None, None]
    await here.change_user(user.id, {"status": "active"})
    assert await here.by_secret(secrets[0])


async def test_what_is_known_costs_no_read_for_a_moment(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    accounts = Accounts(store, Clock())
    user = User(id=f"user-{new_id()}", created_at=T0, last_seen_at=T0)
    await store.add_user(user)
    secrets = (await accounts.make_key(user.id, "k"))[0], (await accounts.open_session(user.id))[0]
    for secret in secrets:
        await accounts.by_secret(secret)
    await accounts.by_name(user.id)
    monkeypatch.setattr(accounts, "_store", None)  # whoever asks it now falls

    known = [await accounts.by_secret(secret) for secret in secrets] + [await accounts.by_name(user.id)]

    assert [caller.user.id for caller in known if caller] == 3 * [user.id]


async def test_an_origin_is_expected_as_long_as_one_key_lists_it(store: Store) -> None:
    accounts, ann, origin = Accounts(store, Clock()), f"ann-{new_id()}", f"https://{new_id()}.example"
    keys = [(await accounts.make_key(ann, "k", origins=[origin, origin, "https://also.example"]))[1] for _ in range(2)]

    assert not await accounts.is_expected(origin + "0")
    await accounts.revoke_key(ann, keys[0].id)
    assert await accounts.is_expected(origin)
    with pytest.raises(NotFound):
        await accounts.revoke_key("bob", keys[1].id)
    await accounts.revoke_key(ann, keys[1].id)
    assert not await accounts.is_expected(origin)


async def only_admins(store: Store, *names: str) -> None:
    """Of all that there are: DynamoDB's tables are shared between tests."""
    for name in names:
        await store.add_user(User(id=name, role="admin", created_at=T0))
    for user in (await store.list_users(limit=1000, after=None, query="")).data:
        if user.id not in names:
            await store.change_user(user.id, {"role": "member"})


async def test_of_two_admins_who_leave_at_once_one_stays(stores: tuple[Store, Store]) -> None:
    doors, names = [Accounts(store, Clock()) for store in stores], [f"leaver-{new_id()}" for _ in range(2)]
    await only_admins(stores[0], *names)

    leaving = [door.step_down(name) for door, name in zip(doors, names, strict=True)]
    ended = await asyncio.gather(*leaving, return_exceptions=True)

    users = [await stores[1].get_user(name) for name in names]
    assert sorted(user.role for user in users if user) == ["admin", "member"]
    assert [each.code for each in ended if isinstance(each, ParleyError)] == ["last_admin"]


async def test_who_is_changed_twice_at_once_is_not_called_the_last_admin(stores: tuple[Store, Store]) -> None:
    """The slower one finds another record and one admin less, and neither says that it must not be."""
    busy, other = (f"busy-{new_id()}" for _ in range(2))
    await only_admins(stores[0], busy, other)

    changes: list[dict[str, str]] = [{"role": "member"}, {"status": "suspended"}]
    await asyncio.gather(*(stores[n % 2].change_user(busy, changes[n % 2]) for n in range(6)))

    changed = await stores[0].get_user(busy)
    assert changed is not None
    assert (changed.role, changed.status) == ("member", "suspended")
