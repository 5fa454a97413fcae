"""`Quotas` over both stores, where the clock decides, and where the store is away."""

import asyncio
import sqlite3
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, ExitStack
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, cast

import msgspec
import pytest

from functions import telemetry
from functions.adapters.dynamo import DynamoStore
from functions.adapters.sqlite import SqliteStore
from functions.chat.allowances import Amounts, Limits
from functions.chat.house import House
from functions.chat.messages import new_id
from functions.chat.quotas import VANISHED_MS, Asker, Quotas
from functions.errors import Limited, OverBudget, Paused, StoreUnavailable
from functions.settings import LOOK_SECONDS
from tests.contracts.makers import Store, begun_chat
from tests.ministack import ministack

MILLISECOND = timedelta(milliseconds=1)


class Clock:
    def __init__(self) -> None:
        self.now = datetime(2030, 11, 15, 12, tzinfo=UTC)

    def __call__(self) -> int:
        return int(self.now.timestamp() * 1000)


@pytest.fixture
def clock() -> Clock:
    return Clock()


def quotas_of(store: Store, clock: Clock, **limits: Any) -> Quotas:
    house = House(store, clock)
    return Quotas(counter=store, meters=store, runs=store, house=house, clock=clock, defaults=Limits(**limits))


async def left(quotas: Quotas, owner: str) -> dict[str, tuple[float, float]]:
    """Used and reserved."""
    return {
        name: (round(at.used, 6), round(at.reserved, 6)) for name, at in (await quotas.standing(Asker(owner))).items()
    }


@pytest.mark.parametrize(
    ("midnight", "is_new_month"),
    [
        (datetime(2030, 11, 16, tzinfo=UTC), False),
        (datetime(2030, 12, 1, tzinfo=UTC), True),
        (datetime(2031, 1, 1, tzinfo=UTC), True),
        (datetime(2032, 2, 29, tzinfo=UTC), False),
        (datetime(2032, 3, 1, tzinfo=UTC), True),
    ],
)
async def test_budgets_renew_at_midnight_utc_and_what_began_before_is_paid_before(
    store: Store, owner: str, clock: Clock, midnight: datetime, is_new_month: bool
) -> None:
    quotas, who, runs = quotas_of(store, clock, tokens_per_day=100, usd_per_month=1), Asker(owner), [new_id(), new_id()]
    clock.now = midnight - MILLISECOND
    before = await quotas.reserve(who, runs[0], Amounts(tokens=100, micro_usd=400_000))
    with pytest.raises(OverBudget) as refused:
        await quotas.reserve(who, runs[1], Amounts(tokens=1))
    assert (refused.value.param, refused.value.retry_after_s) == ("tokens_per_day", pytest.approx(0.001))
    standing = (await quotas.standing(who))["tokens_per_day"]
    assert standing.resets_at == midnight

    clock.now = midnight
    after = await quotas.reserve(who, runs[1], Amounts(tokens=30, micro_usd=100_000))
    await quotas.settle(before, runs[0], Amounts(tokens=70, micro_usd=300_000))

    money = (0.0 if is_new_month else 0.3, 0.1)
    assert await left(quotas, owner) == {"tokens_per_day": (0, 30), "usd_per_month": money}
    await quotas.settle(after, runs[1], Amounts(tokens=10))
    clock.now = midnight - MILLISECOND
    assert (await left(quotas, owner))["tokens_per_day"] == (70, 0)


async def test_a_hold_whose_worker_died_before_its_run_was_stored_is_given_back(
    store: Store, owner: str, clock: Clock
) -> None:
    quotas, who = quotas_of(store, clock, runs_at_once=1, tokens_per_day=100), Asker(owner)
    await quotas.reserve(who, new_id(), Amounts(tokens=60))

    clock.now += timedelta(milliseconds=VANISHED_MS - 1)
    with pytest.raises(Limited) as refused:  # it may be about to be stored
        await quotas.reserve(who, new_id(), Amounts(tokens=60))
    assert (refused.value.code, refused.value.retry_after_s > 0) == ("too_many_runs", True)
    clock.now += MILLISECOND
    await quotas.reserve(who, new_id(), Amounts(tokens=60))

    assert await left(quotas, owner) == {"runs_at_once": (0, 1), "tokens_per_day": (0, 60)}


async def test_a_hold_stays_as_long_as_its_run_goes_on(store: Store, owner: str, clock: Clock) -> None:
    quotas, who = quotas_of(store, clock, runs_at_once=1), Asker(owner)
    chat, run = await begun_chat(store, owner)
    await quotas.reserve(who, run.id, Amounts())

    clock.now += timedelta(hours=1)
    with pytest.raises(Limited):
        await quotas.reserve(who, new_id(), Amounts())
    await store.delete_chat(owner, chat.id)
    await quotas.reserve(who, new_id(), Amounts())

    assert await left(quotas, owner) == {"runs_at_once": (0, 1)}


# -- a store that is away ------------------------------------------------------------------------------------------


class Counted:
    def __init__(self) -> None:
        self.names: list[str] = []

    def add(self, name: str, values: tuple[str, ...], n: float) -> None:
        self.names.append(name)

    def observe(self, name: str, values: tuple[str, ...], value: float) -> None:
        pass


@pytest.fixture
def counted(monkeypatch: pytest.MonkeyPatch) -> Counted:
    counted = Counted()
    monkeypatch.setattr(telemetry, "_sink", counted)
    return counted


@pytest.fixture
async def ending(
    adapter: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[tuple[Store, Callable[[], None]]]:
    """A store, and what makes it go away: its process ends, or another one keeps the file for itself."""
    async with AsyncExitStack() as stack:
        if adapter == "dynamo":
            way = stack.enter_context(ExitStack())
            url = way.enter_context(ministack(tmp_path))
            store = cast(
                "Store", await DynamoStore.open(f"dynamodb://ends?region=eu-central-1&endpoint={url}", create=True)
            )
            stack.push_async_callback(store.close)
            yield store, way.close
            return
        monkeypatch.setattr("functions.adapters.sqlite_schema.BUSY_MS", 10)
        store = cast("Store", await SqliteStore.open(tmp_path / "parley.db"))
        stack.push_async_callback(store.close)
        other = sqlite3.connect(tmp_path / "parley.db", isolation_level=None, check_same_thread=False)
        stack.callback(other.close)
        yield store, lambda: other.execute("BEGIN EXCLUSIVE").close()


async def test_when_the_store_is_away_rates_let_pass_budgets_do_not_and_a_pause_stays(
    ending: tuple[Store, Callable[[], None]], owner: str, clock: Clock, counted: Counted
) -> None:
    store, end = ending
    who, rated, paused = Asker(owner), quotas_of(store, clock, runs_per_minute=1), quotas_of(store, clock)
    budgets = [quotas_of(store, clock, tokens_per_day=100), quotas_of(store, clock, runs_at_once=5)]
    for quotas in budgets:
        await quotas.settle(await quotas.reserve(who, run := new_id(), Amounts(tokens=1)), run, Amounts())
    await rated.reserve(who, new_id(), Amounts())
    with pytest.raises(Limited):
        await rated.reserve(who, new_id(), Amounts())
    await paused.house.change(lambda rules: msgspec.structs.replace(rules, paused_at=clock.now, reason="a leak"))

    await asyncio.to_thread(end)

    assert await rated.reserve(who, new_id(), Amounts()) == ()
    assert counted.names == ["parley_limiter_faults_total"]
    for quotas in budgets:
        with pytest.raises(StoreUnavailable):
            await quotas.reserve(who, new_id(), Amounts(tokens=1))
    clock.now += timedelta(seconds=LOOK_SECONDS)
    with pytest.raises(Paused, match="a leak"):
        await paused.reserve(who, new_id(), Amounts())
