"""The money for waking GPUs while people type, where days and models change under it."""

import itertools
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from pathlib import Path

import pytest

from functions.chat.messages import Sampling
from functions.chat.prewarm import HOUSE, Prewarmer
from functions.inference.gateway import Gateway, Node
from functions.inference.nodes import DEFAULT_MODEL, ServedModel
from functions.services import Store, open_store
from tests.simulated import Scenario, SimulatedEngine

LATE_MS = round(datetime(2100, 1, 1, 23, 59, 59, tzinfo=UTC).timestamp() * 1000)
NEXT_DAY = "prewarm:2100-01-02"


@pytest.fixture
async def store(tmp_path: Path) -> AsyncIterator[Store]:
    opened = await open_store(f"sqlite:///{tmp_path / 'parley.db'}")
    yield opened
    await opened.close()


async def test_what_is_given_back_after_midnight_is_no_money_for_the_next_day(store: Store) -> None:
    async with SimulatedEngine(Scenario(cold_s=3600)) as engine:
        gateway = Gateway([Node(engine.url, models=[ServedModel(id="sim")], serverless=True)])
        await gateway.open()
        (cold,) = gateway.models()
        assert await gateway.prewarm("sim")
        clock = itertools.chain([LATE_MS, LATE_MS], itertools.repeat(LATE_MS + 1000))  # the rate, the money, midnight
        told = await Prewarmer(store, gateway, clock.__next__, usd_per_day=5).knock("ana", cold)
        await gateway.close()

    assert not told.started  # somebody else's knock came first
    assert await store.add(HOUSE, NEXT_DAY, 0) == 0


async def test_a_model_that_goes_by_another_name_meanwhile_is_no_fault(store: Store) -> None:
    async with SimulatedEngine() as engine:
        gateway = Gateway([Node(engine.url, serverless=True)])
        await gateway.open()
        (unnamed,) = gateway.models()
        async for _ in gateway.stream(DEFAULT_MODEL, [{"role": "user", "content": "hi"}], Sampling(), session_id="s"):
            pass
        assert [info.id for info in gateway.models()] == ["sim"]
        told = await Prewarmer(store, gateway, lambda: LATE_MS, usd_per_day=5).knock("ana", unnamed)
        await gateway.close()

    assert (told.model, told.started) == (DEFAULT_MODEL, False)
