"""Sleeping nodes: who waits is told, a node is knocked at once, and leaving leaves nothing behind."""

import asyncio
import logging
from collections.abc import AsyncIterator
from contextlib import aclosing, suppress
from typing import Any

import msgspec
import pytest

from functions.errors import UpstreamError
from functions.inference.gateway import Limits, Node, Waiting
from functions.inference.nodes import FORGOTTEN_SECONDS, ServedModel
from tests.inference.conftest import HELLO, PLAIN, QUICK, Clock, Heard, OpenGateway, listen, until
from tests.simulated import SECRET, Scenario, SimulatedEngine

SIM = (ServedModel(id="sim", context_tokens=4096),)
ASLEEP = Scenario(cold_s=3600)


@pytest.fixture
async def engine() -> AsyncIterator[SimulatedEngine]:
    async with SimulatedEngine(ASLEEP) as started:
        yield started


def serverless(engine: SimulatedEngine, **options: Any) -> Node:
    return Node(engine.url, serverless=True, models=SIM, **options)


def limits(**changes: Any) -> Limits:
    return msgspec.structs.replace(QUICK, **changes)


async def knocks(engine: SimulatedEngine, count: int) -> None:
    """Until the engine has been asked so often, in vain."""
    await engine.until_true(lambda: engine.stats.refused >= count)


# -- waiting -------------------------------------------------------------------------------------------------------


async def test_a_cold_start_is_waited_for_and_its_length_is_remembered(
    engine: SimulatedEngine, open_gateway: OpenGateway
) -> None:
    node = serverless(engine)
    gateway = await open_gateway(node)
    task = asyncio.create_task(listen(gateway))
    await knocks(engine, 3)
    assert gateway.models()[0].state == "warming"
    engine.wake()
    heard = await task

    assert heard.phases == ["waking"]
    assert heard.waits[0].eta_p50_ms is None
    assert heard.count == 16
    assert len(engine.stats.requests) == 1
    assert node.eta_ms()[0] is not None
    assert gateway.models()[0].state == "warm"


async def test_a_sleeping_node_is_asked_by_one_however_many_wait(
    engine: SimulatedEngine, open_gateway: OpenGateway
) -> None:
    gateway = await open_gateway(serverless(engine), limits=limits(knock_s=0.02))
    heard = [Heard() for _ in range(40)]
    tasks = [asyncio.create_task(listen(gateway, session_id=f"s{i}", into=h)) for i, h in enumerate(heard)]
    await until(lambda: all(h.phases == ["waking"] for h in heard))
    most_at_once = engine.stats.connections
    engine.wake()
    await asyncio.gather(*tasks)

    assert most_at_once == 1
    assert len(engine.stats.requests) == 40  # each prompt went out once, when somebody was there to read it
    assert [h.count for h in heard] == [16] * 40


async def test_a_waiting_reader_hears_of_it_at_once_and_then_seldom(
    engine: SimulatedEngine, open_gateway: OpenGateway
) -> None:
    gateway = await open_gateway(serverless(engine), limits=limits(notice_s=60.0))
    task = asyncio.create_task(listen(gateway))
    await knocks(engine, 20)
    engine.wake()

    assert (await task).phases == ["waking"]


async def test_a_reader_hears_again_while_it_waits(engine: SimulatedEngine, open_gateway: OpenGateway) -> None:
    gateway = await open_gateway(serverless(engine), limits=limits(notice_s=0.01))
    stream = gateway.stream("sim", HELLO, PLAIN, session_id="s")
    async with aclosing(stream):
        phases = [(await anext(stream)).phase for _ in range(4)]

    assert phases == ["waking"] * 4


async def test_the_phases_are_told_apart_where_the_host_does(
    engine: SimulatedEngine, open_gateway: OpenGateway
) -> None:
    clock = Clock()
    engine = SimulatedEngine(Scenario(cold_s=10, loading_s=10), now=clock)
    async with engine:
        heard = Heard()
        task = asyncio.create_task(listen(await open_gateway(serverless(engine)), into=heard))
        await until(lambda: heard.phases == ["waking"])
        clock.now += 11
        await until(lambda: heard.phases == ["waking", "loading"])
        clock.now += 11
        await task

    assert heard.count == 16


async def test_a_host_that_holds_what_it_is_asked_while_it_starts_is_waking_too(open_gateway: OpenGateway) -> None:
    async with SimulatedEngine(Scenario(cold_s=3600, hold_cold=True)) as engine:
        node = serverless(engine)
        gateway = await open_gateway(node, limits=limits(awake_s=0.02, notice_s=0.01))
        stream = gateway.stream("sim", HELLO, PLAIN, session_id="s")
        first = await anext(stream)
        engine.wake()
        heard = Heard()
        async for event in stream:
            heard.add(event)

    assert first.phase == "waking"
    assert heard.count == 16
    assert node.eta_ms()[0] is not None


async def test_a_node_that_was_awake_after_all_makes_nobody_wait(open_gateway: OpenGateway) -> None:
    async with SimulatedEngine() as engine:
        node = serverless(engine)
        heard = await listen(await open_gateway(node))

    assert heard.waits == []
    assert node.eta_ms() == (None, None)  # it was no start, and teaches nothing about one


async def test_a_sleeping_nodes_kind_is_known_before_it_continues_a_message(open_gateway: OpenGateway) -> None:
    async with SimulatedEngine() as engine:
        await listen(await open_gateway(serverless(engine)), prefix="Once ")

    assert engine.stats.paths[0] == "/v1/models"
    assert engine.stats.requests[0]["continue_final_message"] is True


async def test_a_node_that_has_gone_back_to_sleep_is_woken_by_the_request_it_refuses(
    engine: SimulatedEngine, open_gateway: OpenGateway
) -> None:
    engine.wake()
    gateway = await open_gateway(serverless(engine))
    await listen(gateway)
    engine.sleep()  # sooner than we thought
    task = asyncio.create_task(listen(gateway))
    await knocks(engine, 3)
    engine.wake()
    heard = await task

    assert heard.phases == ["waking"]
    assert heard.count == 16


# -- in vain -------------------------------------------------------------------------------------------------------


async def test_a_node_that_never_wakes_is_given_up(engine: SimulatedEngine, open_gateway: OpenGateway) -> None:
    gateway = await open_gateway(serverless(engine), limits=limits(wake_s=0.05))
    with pytest.raises(UpstreamError) as caught:
        await listen(gateway)

    assert caught.value.code == "model_unavailable"


async def test_a_sleeping_server_that_refuses_connections_is_waking(open_gateway: OpenGateway) -> None:
    heard = Heard()
    node = Node("http://127.0.0.1:9/v1", serverless=True, models=SIM)
    with pytest.raises(UpstreamError):
        await listen(await open_gateway(node, limits=limits(wake_s=0.05)), into=heard)

    assert heard.phases == ["waking"]


async def test_a_sleeping_server_that_does_not_take_our_key_is_an_error_at_once(open_gateway: OpenGateway) -> None:
    async with SimulatedEngine(api_key="right") as engine:
        gateway = await open_gateway(serverless(engine, api_key="wrong"))
        with pytest.raises(UpstreamError) as caught:
            await listen(gateway)

    assert "key" in caught.value.message
    assert SECRET not in caught.value.message
    assert engine.stats.paths == ["/v1/models"]


@pytest.mark.parametrize("hold_cold", [False, True])
async def test_stopping_while_it_starts_ends_everything_at_once(hold_cold: bool, open_gateway: OpenGateway) -> None:
    async with SimulatedEngine(Scenario(cold_s=3600, hold_cold=hold_cold)) as engine:
        node = serverless(engine)
        gateway = await open_gateway(node, limits=limits(awake_s=0.02))
        heard = Heard()
        task = asyncio.create_task(listen(gateway, into=heard))
        await until(lambda: heard.phases == ["waking"])
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task
        asked = len(engine.stats.paths)
        await engine.until(open=0)
        await asyncio.sleep(4 * QUICK.knock_s)  # the very thing under test: nobody asks any more

        assert len(engine.stats.paths) <= asked + 1  # one may have been on its way
        assert gateway.models()[0].queued == 0
        assert engine.stats.requests == []


async def test_a_start_goes_on_as_long_as_one_of_those_who_wait_is_left(
    engine: SimulatedEngine, open_gateway: OpenGateway
) -> None:
    gateway = await open_gateway(serverless(engine))
    first, second = (asyncio.create_task(listen(gateway, session_id=s)) for s in "ab")
    await knocks(engine, 2)
    first.cancel()
    with suppress(asyncio.CancelledError):
        await first
    await knocks(engine, engine.stats.refused + 2)
    engine.wake()

    assert (await second).count == 16
    assert len(engine.stats.requests) == 1


async def test_who_comes_back_soon_goes_on_with_the_start_that_was_left(
    engine: SimulatedEngine, open_gateway: OpenGateway
) -> None:
    clock = Clock()
    node = serverless(engine, now=clock)
    gateway = await open_gateway(node, now=clock)
    first = asyncio.create_task(listen(gateway))
    await knocks(engine, 2)
    first.cancel()
    await asyncio.gather(first, return_exceptions=True)
    clock.now += 30
    assert node.state == "warming"
    second = asyncio.create_task(listen(gateway))
    await knocks(engine, engine.stats.refused + 2)
    clock.now += 10
    engine.wake()
    await second

    assert node.eta_ms() == (40_000, 40_000)


async def test_a_start_that_nobody_follows_is_forgotten(engine: SimulatedEngine, open_gateway: OpenGateway) -> None:
    clock = Clock()
    node = serverless(engine, now=clock)
    gateway = await open_gateway(node, now=clock)
    task = asyncio.create_task(listen(gateway))
    await knocks(engine, 2)
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    clock.now += FORGOTTEN_SECONDS + 1

    assert gateway.models()[0].state == "cold"


# -- how long it will take -----------------------------------------------------------------------------------------


async def test_the_third_cold_start_of_forty_seconds_is_told_within_a_quarter(open_gateway: OpenGateway) -> None:
    clock = Clock()
    takes = (38.0, 43.0, 40.0)
    engine = SimulatedEngine(now=clock)
    async with engine:
        node = serverless(engine, now=clock, idle_seconds=60)
        gateway = await open_gateway(node, now=clock, limits=limits(wake_s=900, hedge_s=900))
        told: list[Waiting] = []
        for cold_s in takes:
            engine.scenario = Scenario(cold_s=cold_s)
            engine.sleep()
            heard = Heard()
            task = asyncio.create_task(listen(gateway, into=heard))
            while not task.done():
                asked = len(engine.stats.paths)
                await until(lambda asked=asked, task=task: task.done() or len(engine.stats.paths) > asked)
                clock.now += 0.5
            await task
            told.append(heard.waits[0])
            clock.now += 61

    assert told[0].eta_p50_ms is None
    for wait, took_s in zip(told[1:], takes[1:], strict=True):
        assert wait.eta_p50_ms is not None
        assert wait.eta_p90_ms is not None
        assert abs(wait.eta_p50_ms / 1000 - took_s) <= 0.25 * took_s
        assert wait.eta_p50_ms <= wait.eta_p90_ms


async def test_what_is_left_of_a_start_gets_less_while_it_is_waited_for(
    engine: SimulatedEngine, open_gateway: OpenGateway
) -> None:
    clock = Clock()
    node = serverless(engine, now=clock)
    for ms in (9_000, 10_000, 60_000):
        node.observe_wake(ms)
    gateway = await open_gateway(node, now=clock, limits=limits(notice_s=0.01))
    heard = Heard()
    task = asyncio.create_task(listen(gateway, into=heard))
    await until(lambda: heard.waits)
    clock.now += 4
    await until(lambda: len(heard.waits) > 1)
    engine.wake()
    await task

    assert [(w.eta_p50_ms, w.eta_p90_ms) for w in heard.waits[:2]] == [(10_000, 60_000), (6_000, 56_000)]


# -- a second knock ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("history_ms", "late_s"), [((), 31.0), ((5_000, 8_000), 9.0)])
async def test_a_start_that_takes_too_long_makes_a_second_node_start_and_the_first_to_be_ready_serves(
    history_ms: tuple[int, ...], late_s: float, engine: SimulatedEngine, open_gateway: OpenGateway
) -> None:
    clock = Clock()
    async with SimulatedEngine(ASLEEP) as second, SimulatedEngine(ASLEEP) as third:
        nodes = [serverless(e, now=clock) for e in (engine, second, third)]
        for ms in history_ms:
            nodes[0].observe_wake(ms)
        gateway = await open_gateway(*nodes, now=clock, limits=limits(notice_s=0.01, wake_s=900))
        task = asyncio.create_task(listen(gateway))
        await knocks(engine, 5)
        assert second.stats.connections == 0
        clock.now += late_s
        await knocks(second, 3)
        await knocks(engine, engine.stats.refused + 2)  # the first is still followed
        second.wake()
        heard = await task

        assert heard.count == 16
        assert len(second.stats.requests) == 1
        assert third.stats.connections == 0  # once
        await engine.until(open=0)


async def test_a_queue_that_stands_still_wakes_a_node_that_sleeps(
    engine: SimulatedEngine, open_gateway: OpenGateway, caplog: pytest.LogCaptureFixture
) -> None:
    clock = Clock()
    async with SimulatedEngine() as busy:
        nodes = [Node(busy.url, models=SIM, slots=1), serverless(engine, now=clock)]
        gateway = await open_gateway(*nodes, now=clock, limits=limits(notice_s=0.01))
        busy.gate.hold()
        first = asyncio.create_task(listen(gateway))
        await busy.gate.reached()
        heard = Heard()
        second = asyncio.create_task(listen(gateway, into=heard))
        await until(lambda: heard.phases == ["queued"])
        assert engine.stats.connections == 0
        clock.now += 6
        with caplog.at_level(logging.INFO, "parley"):
            await knocks(engine, 1)
        engine.wake()
        await second
        busy.gate.release()
        await first

    assert len(engine.stats.requests) == 1
    assert [r.message for r in caplog.records] == ["gateway.second_wake"]


@pytest.mark.parametrize(("scenario", "is_woken"), [("status=500,fail_times=1", False), ("fault=wrong_type", True)])
async def test_a_sleeping_node_is_woken_for_a_fault_only_when_the_one_that_is_awake_would_repeat_it(
    scenario: str, is_woken: bool, engine: SimulatedEngine, open_gateway: OpenGateway
) -> None:
    engine.wake()
    async with SimulatedEngine(scenario) as faulty:
        gateway = await open_gateway(Node(faulty.url, models=SIM), serverless(engine))
        heard = await listen(gateway)

    assert heard.count == 16
    assert bool(engine.stats.requests) is is_woken


# -- waking ahead --------------------------------------------------------------------------------------------------


async def test_prewarm_knocks_once_and_the_start_is_followed(
    engine: SimulatedEngine, open_gateway: OpenGateway
) -> None:
    node = serverless(engine)
    gateway = await open_gateway(node)
    assert await gateway.prewarm("sim") is node
    assert gateway.models()[0].state == "warming"
    assert await gateway.prewarm("sim") is None
    await knocks(engine, 2)
    engine.wake()
    await until(lambda: gateway.models()[0].state == "warm")

    assert engine.stats.connections == 1
    assert node.eta_ms()[0] is not None
    assert await gateway.prewarm("sim") is None


async def test_who_asks_while_a_node_is_prewarmed_joins_that_start(
    engine: SimulatedEngine, open_gateway: OpenGateway
) -> None:
    gateway = await open_gateway(serverless(engine))
    await gateway.prewarm("sim")
    await knocks(engine, 2)
    heard = Heard()
    task = asyncio.create_task(listen(gateway, into=heard))
    await until(lambda: heard.phases == ["waking"])
    engine.wake()

    assert (await task).count == 16
    assert engine.stats.connections <= 2


async def test_nothing_is_prewarmed_where_another_node_of_the_model_is_awake(
    engine: SimulatedEngine, open_gateway: OpenGateway
) -> None:
    async with SimulatedEngine() as awake:
        gateway = await open_gateway(serverless(engine), Node(awake.url))

        assert await gateway.prewarm("sim") is None
        assert await gateway.prewarm("nonesuch") is None
    assert engine.stats.connections == 0
