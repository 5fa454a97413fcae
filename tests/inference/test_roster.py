"""What processes tell each other of the nodes: who has joined, how each was seen, how long starts took.

Over the real SQLite store; a process is a gateway of its own.
"""

import asyncio
import logging
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import msgspec
import pytest

from functions.adapters.sqlite import SqliteStore
from functions.chat.messages import JoinedNode, Sighting
from functions.errors import BadInput, NotFound, StoreUnavailable
from functions.inference.gateway import Gateway, Limits, Node
from functions.inference.nodes import ServedModel, nodes_from
from functions.inference.roster import SIGHTING_SECONDS
from functions.settings import NodeSetting
from tests.inference.conftest import QUICK, Clock, OpenGateway, listen, until
from tests.simulated import Scenario, SimulatedEngine

SIM = (ServedModel(id="sim", context_tokens=4096),)
NOW_MS = 1_800_000_000_000
LIFE_MS = 35_000


@pytest.fixture
async def store(tmp_path: Path) -> AsyncIterator[SqliteStore]:
    opened = await SqliteStore.open(tmp_path / "parley.db")
    yield opened
    await opened.close()


@pytest.fixture
async def engine() -> AsyncIterator[SimulatedEngine]:
    async with SimulatedEngine() as started:
        yield started


class Clocks:
    """The wall clock and the monotonic one of all processes, moved together."""

    def __init__(self) -> None:
        self.now = Clock()

    def clock(self) -> int:
        return NOW_MS + round((self.now.now - 1000) * 1000)

    def options(self) -> dict[str, Any]:
        return {"now": self.now, "clock": self.clock}


@pytest.fixture
def clocks() -> Clocks:
    return Clocks()


def joined(engine: SimulatedEngine, name: str = "mine", **changes: Any) -> JoinedNode:
    node = JoinedNode(name=name, url=engine.url, joined_ms=NOW_MS, expires_ms=NOW_MS + LIFE_MS)
    return msgspec.structs.replace(node, **changes)


def limits(**changes: Any) -> Limits:
    return msgspec.structs.replace(QUICK, **changes)


def gpu(engine: SimulatedEngine, clocks: Clocks, **options: Any) -> Node:
    return Node(engine.url, name="gpu", serverless=True, models=SIM, idle_seconds=60, now=clocks.now, **options)


def names(gateway: Gateway) -> list[str]:
    return [node.name for node in gateway.nodes]


async def refreshed(gateway: Gateway, clocks: Clocks) -> None:
    """Until the roster has looked again, from now on."""
    roster: Any = gateway._roster
    await asyncio.sleep(0)  # its keeper has begun to count
    looked = asyncio.Event()
    look = roster._refresh

    async def refresh() -> None:
        await look()
        looked.set()

    roster._refresh = refresh
    clocks.now.now += 2 * QUICK.refresh_s
    async with asyncio.timeout(10):
        await looked.wait()
    roster._refresh = look


# -- nodes that register themselves --------------------------------------------------------------------------------


async def test_a_node_that_joins_is_called_with_the_key_and_answers(
    engine: SimulatedEngine, store: SqliteStore, clocks: Clocks, open_gateway: OpenGateway
) -> None:
    engine.api_key = "house-key"
    gateway = await open_gateway(registry=store, node_key="house-key", **clocks.options())
    with pytest.raises(NotFound):
        await listen(gateway)
    await store.put_node(joined(engine, gpu="L40S", usd_per_hour=3.6, slots=2))
    await refreshed(gateway, clocks)
    await until(gateway.models)

    model = gateway.models()[0]
    assert (model.id, model.state, model.gpu, model.usd_per_hour) == ("sim", "warm", "L40S", 3.6)
    assert gateway.nodes[0].slots == 2
    assert (await listen(gateway)).count == 16
    assert {h["authorization"] for h in engine.stats.headers} == {"Bearer house-key"}


async def test_a_node_that_had_joined_before_is_there_from_the_start(
    engine: SimulatedEngine, store: SqliteStore, clocks: Clocks, open_gateway: OpenGateway
) -> None:
    await store.put_node(joined(engine, models=("sim",)))
    gateway = await open_gateway(registry=store, **clocks.options())
    await until(lambda: gateway.nodes)

    assert (await listen(gateway)).count == 16


async def test_a_node_that_no_longer_reports_gets_no_new_request_and_keeps_its_streams(
    engine: SimulatedEngine, store: SqliteStore, clocks: Clocks, open_gateway: OpenGateway
) -> None:
    await store.put_node(joined(engine))
    gateway = await open_gateway(registry=store, **clocks.options())
    await until(lambda: gateway.nodes)
    engine.gate.hold(8)
    under_way = asyncio.create_task(listen(gateway))
    await engine.gate.reached()
    clocks.now.now += LIFE_MS / 1000
    await refreshed(gateway, clocks)
    assert names(gateway) == []
    with pytest.raises(NotFound):
        await listen(gateway)
    engine.gate.release()

    assert (await under_way).count == 16
    assert gateway.models() == ()


async def test_a_node_that_reports_again_is_the_same_node(
    engine: SimulatedEngine, store: SqliteStore, clocks: Clocks, open_gateway: OpenGateway
) -> None:
    await store.put_node(joined(engine))
    gateway = await open_gateway(registry=store, **clocks.options())
    await until(lambda: gateway.nodes)
    node = gateway.nodes[0]
    for beat in range(1, 4):
        clocks.now.now += 10
        await store.put_node(joined(engine, expires_ms=NOW_MS + beat * 10_000 + LIFE_MS))
        await refreshed(gateway, clocks)

    assert gateway.nodes == (node,)


async def test_a_node_that_has_moved_is_another_one(
    engine: SimulatedEngine, store: SqliteStore, clocks: Clocks, open_gateway: OpenGateway
) -> None:
    async with SimulatedEngine() as moved:
        await store.put_node(joined(engine))
        gateway = await open_gateway(registry=store, **clocks.options())
        await until(lambda: gateway.nodes)
        await store.put_node(joined(moved))
        await refreshed(gateway, clocks)
        await until(lambda: [node.url for node in gateway.nodes] == [moved.url])
        await listen(gateway)

    assert (len(engine.stats.requests), len(moved.stats.requests)) == (0, 1)


async def test_what_the_operator_named_is_not_doubled_by_what_registers(
    engine: SimulatedEngine, store: SqliteStore, clocks: Clocks, open_gateway: OpenGateway
) -> None:
    async with SimulatedEngine() as other:
        await store.put_node(joined(other, "mine"))  # the name of one of the settings
        await store.put_node(joined(engine, "alias", url=f"{engine.url}/"))  # the address of one of the settings
        await store.put_node(joined(other, "twin-1"))
        await store.put_node(joined(other, "twin-2"))  # one address under two names
        gateway = await open_gateway(Node(engine.url, name="mine"), registry=store, **clocks.options())
        await until(lambda: len(gateway.nodes) > 1)
        await refreshed(gateway, clocks)

    assert names(gateway) == ["mine", "twin-1"]
    assert gateway.nodes[0].url == engine.url
    assert gateway.models()[0].nodes == 2


async def test_a_node_that_has_joined_but_does_not_answer_is_offered_to_nobody(
    engine: SimulatedEngine, store: SqliteStore, clocks: Clocks, open_gateway: OpenGateway
) -> None:
    await engine.stop()
    await store.put_node(joined(engine))
    gateway = await open_gateway(registry=store, **clocks.options())
    assert gateway.models() == ()
    async with engine:
        await until(gateway.models)

    assert gateway.models()[0].id == "sim"


async def test_a_store_that_cannot_answer_leaves_the_pool_as_it_is(
    engine: SimulatedEngine,
    store: SqliteStore,
    clocks: Clocks,
    open_gateway: OpenGateway,
    caplog: pytest.LogCaptureFixture,
) -> None:
    class Sick:
        """The real store, with a fault that a test can switch on."""

        def __init__(self) -> None:
            self.is_sick = False
            self.asked = 0

        def __getattr__(self, name: str) -> Any:
            self.asked += 1
            if self.is_sick:
                raise StoreUnavailable("The database cannot answer.")
            return getattr(store, name)

    sick = Sick()
    await store.put_node(joined(engine))
    gateway = await open_gateway(registry=sick, **clocks.options())
    await until(lambda: gateway.nodes)
    await asyncio.sleep(0)  # the roster's keeper has begun to count
    sick.is_sick, asked = True, sick.asked
    caplog.clear()  # of the node's coming
    with caplog.at_level(logging.ERROR, "parley"):
        clocks.now.now += 2 * QUICK.refresh_s
        await until(lambda: caplog.records)

    assert sick.asked > asked
    assert {r.message for r in caplog.records} == {"gateway.registry_fault"}
    assert (await listen(gateway)).count == 16


# -- what was seen of a sleeping node ------------------------------------------------------------------------------


async def test_a_fresh_process_knows_that_another_uses_a_gpu_and_when_it_sleeps_again(
    engine: SimulatedEngine, store: SqliteStore, clocks: Clocks, open_gateway: OpenGateway
) -> None:
    one = await open_gateway(gpu(engine, clocks), registry=store, **clocks.options())
    await listen(one)
    await until_sighted(store, "warm")
    clocks.now.now += 20
    heard = engine.stats.connections
    two = await open_gateway(gpu(engine, clocks), registry=store, **clocks.options())
    model = two.models()[0]
    assert (model.state, model.since_ms) == ("warm", 20_000)
    clocks.now.now += 39
    assert two.models()[0].state == "warm"
    clocks.now.now += 2
    await refreshed(two, clocks)

    assert [g.models()[0].state for g in (one, two)] == ["cold", "cold"]
    assert two.models()[0].since_ms is not None
    assert engine.stats.connections == heard  # nobody asked it


async def test_a_process_that_has_been_there_sees_what_another_starts(
    engine: SimulatedEngine, store: SqliteStore, clocks: Clocks, open_gateway: OpenGateway
) -> None:
    engine.scenario = Scenario(cold_s=3600)
    one, two = [await open_gateway(gpu(engine, clocks), registry=store, **clocks.options()) for _ in range(2)]
    task = asyncio.create_task(listen(one))
    await until_sighted(store, "warming")
    await refreshed(two, clocks)
    assert two.models()[0].state == "warming"
    clocks.now.now += 1
    engine.wake()
    await task
    await until_sighted(store, "warm")
    await refreshed(two, clocks)

    assert two.models()[0].state == "warm"


async def test_a_gpu_in_use_is_reported_now_and_then_and_after_its_last_use(
    engine: SimulatedEngine, store: SqliteStore, clocks: Clocks, open_gateway: OpenGateway
) -> None:
    published: list[Sighting] = []

    class Watched:
        def __getattr__(self, name: str) -> Any:
            return getattr(store, name)

        async def put_sighting(self, sighting: Sighting) -> None:
            published.append(sighting)
            await store.put_sighting(sighting)

    gateway = await open_gateway(gpu(engine, clocks), registry=Watched(), **clocks.options())
    await listen(gateway)
    await until(lambda: published and published[-1].state == "warm")
    at_first = len(published)
    engine.gate.hold(4)
    task = asyncio.create_task(listen(gateway))
    await engine.gate.reached()
    for _ in range(9):  # 45 s of a long answer
        clocks.now.now += 5
        await refreshed(gateway, clocks)
    assert len(published) == at_first + 1
    engine.gate.release()
    await task
    clocks.now.now += SIGHTING_SECONDS
    await refreshed(gateway, clocks)

    assert len(published) == at_first + 2
    assert clocks.clock() - published[-1].seen_ms >= SIGHTING_SECONDS * 1000  # its last use, not this moment


async def test_what_one_sees_itself_counts_more_than_what_others_saw_before(
    engine: SimulatedEngine, store: SqliteStore, clocks: Clocks, open_gateway: OpenGateway
) -> None:
    gateway = await open_gateway(gpu(engine, clocks), registry=store, **clocks.options())
    clocks.now.now += 10
    await listen(gateway)
    old = clocks.clock() - 5000
    await store.put_sighting(Sighting(node="gpu", state="unreachable", since_ms=old, seen_ms=old))
    await refreshed(gateway, clocks)

    assert gateway.models()[0].state == "warm"


async def until_sighted(store: SqliteStore, state: str) -> None:
    async with asyncio.timeout(10):
        while state not in [sighting.state for sighting in await store.list_sightings()]:
            await asyncio.sleep(0.005)


# -- how long starts took ------------------------------------------------------------------------------------------


async def test_a_start_that_one_process_saw_is_an_estimate_for_the_next(
    engine: SimulatedEngine, store: SqliteStore, clocks: Clocks, open_gateway: OpenGateway
) -> None:
    engine.scenario = Scenario(cold_s=3600)
    one = await open_gateway(gpu(engine, clocks), registry=store, limits=limits(wake_s=900), **clocks.options())
    task = asyncio.create_task(listen(one))
    await engine.until_true(lambda: engine.stats.refused >= 2)
    clocks.now.now += 40
    engine.wake()
    await task
    async with asyncio.timeout(10):
        while not await store.read_wakes("gpu", limit=8):
            await asyncio.sleep(0.005)
    clocks.now.now += 61
    two = await open_gateway(gpu(engine, clocks), registry=store, **clocks.options())

    model = two.models()[0]
    assert (model.state, model.eta_p50_ms, model.eta_p90_ms) == ("cold", 40_000, 40_000)


async def test_estimates_of_a_store_that_was_slow_at_first_come_later(
    engine: SimulatedEngine, store: SqliteStore, clocks: Clocks, open_gateway: OpenGateway
) -> None:
    class Slow:
        """The real store, which fails its first reader."""

        has_failed = False

        def __getattr__(self, name: str) -> Any:
            return getattr(store, name)

        async def read_wakes(self, node: str, *, limit: int) -> tuple[int, ...]:
            if not self.has_failed:
                self.has_failed = True
                raise StoreUnavailable("The database cannot answer.")
            return await store.read_wakes(node, limit=limit)

    for took_ms in (30_000, 50_000):
        await store.record_wake("gpu", at_ms=NOW_MS, took_ms=took_ms)
    gateway = await open_gateway(gpu(engine, clocks), registry=Slow(), **clocks.options())
    assert gateway.models()[0].eta_p90_ms is None
    await refreshed(gateway, clocks)

    assert (gateway.models()[0].eta_p50_ms, gateway.models()[0].eta_p90_ms) == (30_000, 50_000)


# -- nodes of the settings -----------------------------------------------------------------------------------------


def test_the_nodes_of_the_settings_become_nodes() -> None:
    settings = [
        NodeSetting(url="https://me--llm.modal.run/v1", models=("Qwen/Qwen3-8B",), gpu="L40S", idle_seconds=120),
        NodeSetting(url="http://10.0.0.2:8000/v1", api_key="k", usd_per_hour=7.2, slots=5, name="rack"),
        NodeSetting(url="http://10.0.0.3:8000/v1", models=("emb",), task="embed", serverless=True),
    ]
    modal, rack, embedder = nodes_from(settings, {"L40S": 0.001}.__getitem__)

    assert (modal.name, modal.serverless, modal.usd_per_second, modal.idle_seconds) == (
        "me--llm.modal.run",
        True,
        0.001,
        120,
    )
    assert (modal.models[0].id, modal.models[0].name) == ("Qwen/Qwen3-8B", "Qwen3-8B")
    assert (rack.name, rack.usd_per_second, rack.slots, rack.is_known) == ("rack", 0.002, 5, False)
    assert rack.headers == {"Authorization": "Bearer k"}
    assert (embedder.serverless, embedder.models[0].task) == (True, "embed")


def test_two_nodes_of_one_name_are_refused() -> None:
    settings = [NodeSetting(url=f"http://10.0.0.{n}/v1", name="twin") for n in (1, 2)]
    with pytest.raises(BadInput) as caught:
        nodes_from(settings, lambda gpu: 0.0)

    assert "twin" in caught.value.message
