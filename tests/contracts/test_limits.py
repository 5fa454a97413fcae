"""Limits: holds on meters, settled once; rules of the house; limits of one owner."""

import asyncio
import time

import msgspec

from functions.chat.allowances import HOUSE, Amounts, Claim, Hold, HouseRules, Limits, Reading
from tests.contracts.makers import Store, a_hold

MANY = 16


async def total(store: Store, account: str, meter: str = "tokens") -> Reading:
    return (await store.read_meters(account, [meter]))[meter]


def house_of(owner: str) -> str:
    """An account that several owners share, of this test alone."""
    return f"#{owner}"


async def test_a_hold_takes_room_and_its_end_gives_back_what_was_not_used(store: Store, owner: str) -> None:
    held = await store.hold(owner, a_hold(owner, tokens=60, runs=1))
    assert isinstance(held, Hold)
    assert (await total(store, owner), await total(store, owner, "runs")) == (
        Reading(total=60, reserved=60),
        Reading(total=1, reserved=1),
    )

    assert await store.settle(owner, held.id, Amounts(tokens=25))

    assert (await total(store, owner), await total(store, owner, "runs")) == (Reading(total=25), Reading())
    assert await store.list_holds(owner, before_ms=2**50) == ()


async def test_a_hold_is_settled_once(store: Store, owner: str) -> None:
    held = a_hold(owner, tokens=60)
    await store.hold(owner, held)

    settled = await asyncio.gather(*(store.settle(owner, held.id, Amounts(tokens=7)) for _ in range(MANY)))

    assert (sum(settled), await total(store, owner)) == (1, Reading(total=7))


async def test_a_part_of_the_work_is_counted_and_the_rest_stays_reserved(store: Store, owner: str) -> None:
    held = a_hold(owner, tokens=60)
    await store.hold(owner, held)

    assert await store.settle(owner, held.id, Amounts(tokens=5), ends=False)
    assert await total(store, owner) == Reading(total=65, reserved=60)
    assert await store.settle(owner, held.id, Amounts(tokens=30))
    assert await total(store, owner) == Reading(total=35)
    assert not await store.settle(owner, held.id, Amounts(tokens=5), ends=False)


async def test_a_small_rest_can_be_used_up_and_then_nothing_is_held(store: Store, owner: str) -> None:
    await store.hold(owner, a_hold(owner, tokens=90, runs=1))
    rest = await store.hold(owner, a_hold(owner, tokens=60, runs=1))
    assert isinstance(rest, Hold)
    assert rest.claims[0].amount == 10

    assert await store.hold(owner, a_hold(owner, runs=1, tokens=60)) == "tokens"
    assert await total(store, owner, "runs") == Reading(total=2, reserved=2)


async def test_a_hold_again_is_the_same(store: Store, owner: str) -> None:
    wanted = a_hold(owner, tokens=60)

    assert await store.hold(owner, wanted) == await store.hold(owner, wanted) == wanted
    assert await total(store, owner) == Reading(total=60, reserved=60)


async def test_of_sixteen_at_once_no_two_get_the_same_room(stores: tuple[Store, Store], owner: str) -> None:
    wanted = [a_hold(f"{owner}{n}", tokens=30, runs=1) for n in range(MANY)]
    got = await asyncio.gather(*(stores[n % 2].hold(house_of(owner), hold) for n, hold in enumerate(wanted)))

    given = [hold.claims[0].amount for hold in got if isinstance(hold, Hold)]
    assert (sum(given), sorted(given)[1:]) == (100, [30, 30, 30])
    assert [hold for hold in got if not isinstance(hold, Hold)] == ["tokens"] * 12
    assert await total(stores[0], house_of(owner), "runs") == Reading(total=4, reserved=4)


async def test_of_sixteen_at_once_exactly_as_many_run_as_may(stores: tuple[Store, Store], owner: str) -> None:
    wanted = [a_hold(owner, limit=3, runs=1) for _ in range(MANY)]
    got = await asyncio.gather(*(stores[n % 2].hold(owner, hold) for n, hold in enumerate(wanted)))
    held = [hold for hold in got if isinstance(hold, Hold)]
    assert len(held) == 3

    await asyncio.gather(*(stores[n % 2].settle(owner, hold.id, Amounts()) for n, hold in enumerate(held)))

    assert await total(stores[1], owner, "runs") == Reading()


async def test_what_is_used_without_a_hold_counts_all_the_same(store: Store, owner: str) -> None:
    await store.charge(owner, [Claim(meter="tokens", amount=130, limit=100)])

    assert await total(store, owner) == Reading(total=130)
    assert await store.hold(owner, a_hold(owner, tokens=1)) == "tokens"


async def test_holds_are_listed_by_age_and_by_account(store: Store, owner: str) -> None:
    old, new = a_hold(owner, tokens=1), msgspec.structs.replace(a_hold(owner, tokens=1), at_ms=2_000)
    for hold in (new, old):
        await store.hold(owner, hold)

    assert await store.list_holds(owner, before_ms=2_000) == (old,)
    assert await store.list_holds(owner, before_ms=2_001) == (old, new)
    assert await store.list_holds(house_of(owner), before_ms=2**50) == ()


async def test_what_an_erased_owner_had_reserved_of_the_house_comes_back(store: Store, owner: str) -> None:
    before = await total(store, HOUSE, owner)
    await store.hold(HOUSE, a_hold(owner, **{owner: 40}))
    await store.hold(owner, a_hold(owner, tokens=40))

    await store.erase_owner(owner, now_ms=time.time_ns() // 1_000_000)

    assert await total(store, HOUSE, owner) == before
    assert await total(store, owner) == Reading()
    assert not [hold for hold in await store.list_holds(HOUSE, before_ms=2**50) if hold.owner == owner]


async def test_rules_change_one_after_the_other(stores: tuple[Store, Store]) -> None:
    was = await stores[0].get_rules()
    rules = [HouseRules(edition=was.edition, groups={str(n): Limits(usd_per_day=0.5)}) for n in range(MANY)]

    won = await asyncio.gather(*(stores[n % 2].put_rules(rule) for n, rule in enumerate(rules)))

    now = await stores[1].get_rules()
    assert (sum(won), now.edition) == (1, was.edition + 1)
    assert now.groups == rules[won.index(True)].groups


async def test_limits_of_an_owner_are_kept_and_taken_back(store: Store, owner: str) -> None:
    own = Limits(usd_per_month=12.5, runs_at_once=0)
    assert await store.get_limits(owner) is None
    await store.put_limits(owner, own)

    assert await store.get_limits(owner) == own
    assert (owner, own) in await store.list_limits()
    for _ in range(2):
        await store.put_limits(owner, None)
    assert await store.get_limits(owner) is None
    assert owner not in dict(await store.list_limits())


async def test_a_look_at_a_rate_changes_nothing(store: Store, owner: str) -> None:
    assert await store.look(owner, "runs") == 0
    await store.admit(owner, "runs", interval_ms=500, burst=2, now_ms=10_000)

    assert [await store.look(owner, "runs") for _ in range(2)] == [10_500] * 2
