"""What a stream used: one entry per stay at a node, however the stream ends. From these every cost is derived."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import aclosing
from pathlib import Path
from typing import Any

import msgspec
import pytest

from functions.adapters.sqlite import SqliteStore
from functions.chat.messages import NodeUse
from functions.errors import UpstreamError
from functions.inference.gateway import Gateway, Limits, Node, Token
from functions.inference.nodes import ServedModel
from tests.inference.conftest import HELLO, PLAIN, QUICK, Clock, OpenGateway, listen, until
from tests.inference.test_gateway import _session_preferring
from tests.simulated import Scenario, SimulatedEngine

SIM = (ServedModel(id="sim", context_tokens=4096),)
T0 = 1_800_000_000_000


@pytest.fixture
async def engine() -> AsyncIterator[SimulatedEngine]:
    async with SimulatedEngine() as started:
        yield started


@pytest.fixture
def now() -> Clock:
    return Clock()


@pytest.fixture
async def open_timed(open_gateway: OpenGateway, now: Clock) -> Any:
    """A gateway whose clocks stand still until a test moves them."""

    async def open_one(*nodes: Node, **options: Any) -> Gateway:
        gateway: Gateway = await open_gateway(
            *nodes, now=now, clock=lambda: T0 + round((now.now - 1000) * 1000), **options
        )
        return gateway

    return open_one


def gpu(engine: SimulatedEngine, now: Clock, **options: Any) -> Node:
    price = {"gpu": "L40S", "usd_per_second": 0.000542, "idle_seconds": 300.0, "streams": 32} | options
    return Node(engine.url, **{"name": "gpu", "serverless": True, "models": SIM, "now": now} | price)


def limits(**changes: Any) -> Limits:
    return msgspec.structs.replace(QUICK, wake_s=900, **changes)


def use(**changes: Any) -> NodeUse:
    """Of `gpu`, warm, from T0 on."""
    whole: dict[str, Any] = {
        "node": "gpu",
        "model": "sim",
        "asked_ms": T0,
        "began_ms": T0,
        "ended_ms": T0,
        "gpu": "L40S",
        "usd_per_second": 0.000542,
        "idle_s": 300.0,
        "streams": 32,
    }
    return NodeUse(**whole | changes)


async def test_an_answer_of_a_warm_node_is_one_use(engine: SimulatedEngine, now: Clock, open_timed: Any) -> None:
    gateway = await open_timed(gpu(engine, now, state="warm"))
    engine.gate.hold(8)
    uses: list[NodeUse] = []
    task = asyncio.create_task(listen(gateway, uses=uses))
    await engine.gate.reached()
    now.now += 3
    engine.gate.release()
    await task

    assert uses == [use(ended_ms=T0 + 3000)]


async def test_a_start_that_was_waited_for_is_part_of_the_use(
    engine: SimulatedEngine, now: Clock, open_timed: Any
) -> None:
    engine.scenario = Scenario(cold_s=3600)
    gateway = await open_timed(gpu(engine, now), limits=limits())
    uses: list[NodeUse] = []
    task = asyncio.create_task(listen(gateway, uses=uses))
    await engine.until_true(lambda: engine.stats.refused >= 2)
    now.now += 40
    engine.gate.hold(8)
    engine.wake()
    await engine.gate.reached()
    now.now += 5
    engine.gate.release()
    await task

    assert uses == [use(began_ms=T0 + 40_000, ended_ms=T0 + 45_000, was_cold=True)]


async def test_a_node_that_was_awake_after_all_was_not_started(
    engine: SimulatedEngine, now: Clock, open_timed: Any
) -> None:
    uses: list[NodeUse] = []
    await listen(await open_timed(gpu(engine, now)), uses=uses)

    assert uses == [use()]


async def test_who_joins_a_start_has_waited_since_he_came(engine: SimulatedEngine, now: Clock, open_timed: Any) -> None:
    engine.scenario = Scenario(cold_s=3600)
    gateway = await open_timed(gpu(engine, now), limits=limits())
    first: list[NodeUse] = []
    second: list[NodeUse] = []
    tasks = [asyncio.create_task(listen(gateway, uses=first))]
    await engine.until_true(lambda: engine.stats.refused >= 2)
    now.now += 30
    tasks.append(asyncio.create_task(listen(gateway, uses=second)))
    await until(lambda: gateway.models()[0].queued == 2)
    now.now += 10
    engine.wake()
    await asyncio.gather(*tasks)

    cold = {"began_ms": T0 + 40_000, "ended_ms": T0 + 40_000, "was_cold": True}
    assert [*first, *second] == [use(**cold), use(asked_ms=T0 + 30_000, **cold)]


async def test_a_start_that_was_not_waited_for_to_its_end_was_used_in_vain(
    engine: SimulatedEngine, now: Clock, open_timed: Any
) -> None:
    engine.scenario = Scenario(cold_s=3600)
    gateway = await open_timed(gpu(engine, now), limits=limits())
    uses: list[NodeUse] = []
    task = asyncio.create_task(listen(gateway, uses=uses))
    await engine.until_true(lambda: engine.stats.refused >= 2)
    now.now += 12
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)

    assert uses == [use(began_ms=None, ended_ms=T0 + 12_000, was_cold=True)]


async def test_of_two_starts_the_one_that_came_second_was_used_in_vain(
    engine: SimulatedEngine, now: Clock, open_timed: Any
) -> None:
    engine.scenario = Scenario(cold_s=3600)
    async with SimulatedEngine(Scenario(cold_s=3600)) as second:
        nodes = [gpu(engine, now), gpu(second, now, name="second")]
        gateway = await open_timed(*nodes, limits=limits(notice_s=0.01))
        uses: list[NodeUse] = []
        task = asyncio.create_task(listen(gateway, uses=uses))
        await engine.until_true(lambda: engine.stats.refused >= 2)
        now.now += 31
        await second.until_true(lambda: second.stats.refused >= 2)
        now.now += 9
        second.gate.hold(8)
        second.wake()
        await second.gate.reached()
        await engine.until(open=0)  # nobody follows the first one any more
        assert not nodes[0].is_knocked
        now.now += 5
        second.gate.release()
        await task

    at_40 = T0 + 40_000
    assert uses == [
        use(began_ms=None, ended_ms=at_40, was_cold=True),
        use(node="second", asked_ms=T0 + 31_000, began_ms=at_40, ended_ms=at_40 + 5000, was_cold=True),
    ]


async def test_a_stop_in_mid_answer_ends_the_use(engine: SimulatedEngine, now: Clock, open_timed: Any) -> None:
    engine.scenario = Scenario(fault="never_ends")
    gateway = await open_timed(gpu(engine, now, state="warm"))
    uses: list[NodeUse] = []
    async with aclosing(gateway.stream("sim", HELLO, PLAIN, session_id="s", uses=uses)) as stream:
        assert isinstance(await anext(stream), Token)
        assert uses == []
        now.now += 2

    assert uses == [use(ended_ms=T0 + 2000)]


@pytest.mark.parametrize("held_before", [-1, 0, 8])
async def test_a_cancelled_stream_leaves_its_use(
    held_before: int, engine: SimulatedEngine, now: Clock, open_timed: Any
) -> None:
    gateway = await open_timed(gpu(engine, now, state="warm"))
    engine.gate.hold(held_before)
    uses: list[NodeUse] = []
    task = asyncio.create_task(listen(gateway, uses=uses))
    await engine.gate.reached()
    now.now += 1
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)

    assert uses == [use(ended_ms=T0 + 1000)]


async def test_an_answer_that_breaks_has_used_the_node(engine: SimulatedEngine, now: Clock, open_timed: Any) -> None:
    engine.scenario = Scenario(fault="cut")
    gateway = await open_timed(gpu(engine, now, state="warm"))
    uses: list[NodeUse] = []
    with pytest.raises(UpstreamError):
        await listen(gateway, uses=uses)

    assert uses == [use()]


async def test_a_failure_and_an_answer_elsewhere_are_two_uses(
    engine: SimulatedEngine, now: Clock, open_timed: Any
) -> None:
    async with SimulatedEngine(Scenario(fault="cut_after_role")) as bad:
        nodes = [gpu(bad, now, name="bad", state="warm"), gpu(engine, now, state="warm")]
        gateway = await open_timed(*nodes)
        uses: list[NodeUse] = []
        await listen(gateway, session_id=_session_preferring(*nodes), uses=uses)

    assert uses == [use(node="bad"), use()]


async def test_a_node_that_nobody_reached_did_not_begin(engine: SimulatedEngine, now: Clock, open_timed: Any) -> None:
    gone = Node("http://127.0.0.1:9/v1", name="gone", models=SIM, serverless=False, state="warm", now=now)
    nodes = [gone, gpu(engine, now, state="warm")]
    gateway = await open_timed(*nodes)
    gone.mark("warm")  # as far as we know
    uses: list[NodeUse] = []
    await listen(gateway, session_id=_session_preferring(*nodes), uses=uses)

    assert [(u.node, u.began_ms) for u in uses] == [("gone", None), ("gpu", T0)]
    assert (uses[0].usd_per_second, uses[0].idle_s) == (0.0, 0.0)


async def test_waiting_in_a_queue_costs_nothing(engine: SimulatedEngine, now: Clock, open_timed: Any) -> None:
    gateway = await open_timed(gpu(engine, now, state="warm", slots=1))
    engine.gate.hold()
    first = asyncio.create_task(listen(gateway))
    await engine.gate.reached()
    served: list[NodeUse] = []
    left: list[NodeUse] = []
    tasks = [asyncio.create_task(listen(gateway, uses=uses)) for uses in (served, left)]
    await until(lambda: gateway.models()[0].queued == 2)
    now.now += 7
    tasks[1].cancel()
    await asyncio.gather(tasks[1], return_exceptions=True)
    engine.gate.release()
    await asyncio.gather(first, tasks[0])

    at_7 = T0 + 7000
    assert left == []
    assert served == [use(asked_ms=at_7, began_ms=at_7, ended_ms=at_7)]


async def test_a_node_that_slept_when_it_was_asked_is_one_use_from_then_on(
    engine: SimulatedEngine, now: Clock, open_timed: Any
) -> None:
    gateway = await open_timed(gpu(engine, now, state="warm"), limits=limits())
    engine.scenario = Scenario(cold_s=3600)  # sooner than we thought
    uses: list[NodeUse] = []
    task = asyncio.create_task(listen(gateway, uses=uses))
    await engine.until_true(lambda: engine.stats.refused >= 3)
    now.now += 20
    engine.wake()
    await task

    assert uses == [use(began_ms=T0 + 20_000, ended_ms=T0 + 20_000, was_cold=True)]


# -- what typing asked for -----------------------------------------------------------------------------------------


@pytest.fixture
async def store(tmp_path: Path) -> AsyncIterator[SqliteStore]:
    opened = await SqliteStore.open(tmp_path / "parley.db")
    yield opened
    await opened.close()


async def ledger(store: SqliteStore) -> list[NodeUse]:
    return list(await store.read_uses(from_ms=0, to_ms=2 * T0))


async def test_a_prewarm_is_on_the_account_of_who_typed(
    engine: SimulatedEngine, now: Clock, open_timed: Any, store: SqliteStore
) -> None:
    engine.scenario = Scenario(cold_s=3600)
    gateway = await open_timed(gpu(engine, now), ledger=store, limits=limits())
    await gateway.prewarm("sim", owner="alice")
    await engine.until_true(lambda: engine.stats.refused >= 2)
    now.now += 40
    engine.wake()
    await until(lambda: gateway.models()[0].state == "warm")
    await gateway.close()

    [entry] = await ledger(store)
    assert entry.id
    at_40 = T0 + 40_000
    assert entry == use(id=entry.id, owner="alice", began_ms=at_40, ended_ms=at_40, was_cold=True)


async def test_a_prewarm_that_the_end_of_the_process_cuts_off_is_entered_too(
    engine: SimulatedEngine, now: Clock, open_timed: Any, store: SqliteStore
) -> None:
    engine.scenario = Scenario(cold_s=3600)
    gateway = await open_timed(gpu(engine, now), ledger=store, limits=limits())
    await gateway.prewarm("sim", owner="alice")
    await engine.until_true(lambda: engine.stats.refused >= 2)
    now.now += 10
    await gateway.close()

    [entry] = await ledger(store)
    assert (entry.owner, entry.began_ms, entry.ended_ms) == ("alice", None, T0 + 10_000)


async def test_a_prewarm_of_a_node_that_was_awake_costs_nothing(
    engine: SimulatedEngine, now: Clock, open_timed: Any, store: SqliteStore
) -> None:
    gateway = await open_timed(gpu(engine, now), ledger=store)
    await gateway.prewarm("sim", owner="alice")
    await until(lambda: gateway.models()[0].state == "warm")
    await gateway.close()

    assert await ledger(store) == []
