"""The queue for places, and which node a request goes to."""

import asyncio
import itertools
import logging
import random
import time
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import suppress
from typing import Any

import msgspec
import pytest

from functions.errors import ContextTooLong, NotFound, Overloaded, UpstreamError
from functions.inference.breaker import FAULTS, OPEN_SECONDS, OPEN_SECONDS_MAX, Breaker
from functions.inference.gateway import Gateway, Limits, Node
from functions.inference.nodes import ServedModel
from functions.inference.pool import HOME_SLACK, Pool, Ticket, _affinity
from functions.inference.probing import probe
from tests.inference.conftest import HELLO, QUICK, Clock, Heard, OpenGateway, listen, until
from tests.simulated import Scenario, SimulatedEngine

SIM = (ServedModel(id="sim", context_tokens=4096),)


@pytest.fixture
async def engine() -> AsyncIterator[SimulatedEngine]:
    async with SimulatedEngine() as started:
        yield started


def limits(**changes: Any) -> Limits:
    return msgspec.structs.replace(QUICK, **changes)


def node(name: str = "one", **options: Any) -> Node:
    return Node(f"http://{name}/v1", name=name, models=SIM, serverless=False, state="warm", **options)


def pool(*nodes: Node, now: Callable[[], float] | None = None, **changes: Any) -> Pool:
    return Pool(nodes, limits=limits(**changes), now=now or Clock(), clock=itertools.count().__next__)


def placed(tickets: Sequence[Ticket]) -> list[bool]:
    return [ticket.node is not None for ticket in tickets]


# -- the queue, on the wire ----------------------------------------------------------------------------------------


async def test_a_full_node_makes_the_next_wait_and_tells_them_their_places(
    engine: SimulatedEngine, open_gateway: OpenGateway
) -> None:
    gateway: Gateway = await open_gateway(Node(engine.url, slots=1), limits=limits(notice_s=0.01))
    engine.gate.hold()
    heard = [Heard() for _ in range(4)]
    tasks = []
    for number, one in enumerate(heard):
        tasks.append(asyncio.create_task(listen(gateway, session_id=str(number), into=one)))
        await until(lambda number=number, one=one: one.waits if number else engine.gate.waiting)
    assert gateway.models()[0].queued == 3
    assert [one.waits[0].position for one in heard[1:]] == [1, 2, 3]
    engine.gate.release()
    await asyncio.gather(*tasks)

    assert [one.count for one in heard] == [16] * 4
    for one in heard[1:]:
        assert set(one.phases) == {"queued"}
        positions = [wait.position for wait in one.waits]
        assert positions == sorted(positions, reverse=True)
        assert len(set(positions)) == len(positions)  # an old number is not said again


async def test_who_moves_up_hears_of_it(engine: SimulatedEngine, open_gateway: OpenGateway) -> None:
    gateway = await open_gateway(Node(engine.url, slots=1), limits=limits(notice_s=0.01))
    engine.gate.hold()
    tasks = [asyncio.create_task(listen(gateway, session_id=str(n))) for n in range(2)]
    await until(lambda: gateway.models()[0].queued == 1)
    last = Heard()
    tasks.append(asyncio.create_task(listen(gateway, into=last)))
    await until(lambda: last.waits)
    tasks[1].cancel()
    await until(lambda: len(last.waits) == 2)
    engine.gate.release()
    await asyncio.gather(*tasks, return_exceptions=True)

    assert [wait.position for wait in last.waits] == [2, 1]


async def test_a_reader_who_stays_where_he_is_hears_seldom(engine: SimulatedEngine, open_gateway: OpenGateway) -> None:
    gateway = await open_gateway(Node(engine.url, slots=1), limits=limits(notice_s=0.005, still_s=3600))
    engine.gate.hold()
    first, heard = asyncio.create_task(listen(gateway)), Heard()
    await engine.gate.reached()
    second = asyncio.create_task(listen(gateway, into=heard))
    await until(lambda: heard.waits)
    await asyncio.sleep(0.05)  # the very thing under test: ten notices that are none
    engine.gate.release()
    await asyncio.gather(first, second)

    assert [wait.position for wait in heard.waits] == [1]


async def test_those_who_wait_are_served_in_the_order_they_came(
    engine: SimulatedEngine, open_gateway: OpenGateway
) -> None:
    gateway = await open_gateway(Node(engine.url, slots=1))
    engine.gate.hold()
    tasks = []
    for number in range(6):
        messages = [{"role": "user", "content": str(number)}]
        tasks.append(asyncio.create_task(listen(gateway, messages=messages, session_id=str(number))))
        await until(lambda number=number: gateway.models()[0].queued == number if number else engine.gate.waiting)
    engine.gate.release()
    await asyncio.gather(*tasks)

    assert [request["messages"][0]["content"] for request in engine.stats.requests] == list("012345")
    assert gateway.nodes[0].outstanding == 0


async def test_who_has_to_ask_again_keeps_his_turn(engine: SimulatedEngine, open_gateway: OpenGateway) -> None:
    gateway = await open_gateway(Node(engine.url, slots=1))
    engine.gate.hold()
    tasks = []
    for number, name in enumerate("zabc"):
        messages = [{"role": "user", "content": name}]
        tasks.append(asyncio.create_task(listen(gateway, messages=messages, session_id=name)))
        await until(lambda number=number: gateway.models()[0].queued == number if number else engine.gate.waiting)
    engine.scenario = Scenario(status=500, fail_times=1)  # it is a's, who comes next
    engine.gate.release()
    await engine.until(finished=1)
    engine.gate.hold()
    await until(lambda: len(engine.stats.requests) == 3 and gateway.models()[0].queued == 2)
    engine.gate.release()
    await asyncio.gather(*tasks)

    assert [request["messages"][0]["content"] for request in engine.stats.requests] == list("zabac")


async def test_a_node_never_works_on_more_than_its_slots(engine: SimulatedEngine, open_gateway: OpenGateway) -> None:
    gateway = await open_gateway(Node(engine.url, slots=3))
    most = 0

    def count() -> bool:
        nonlocal most
        most = max(most, engine.stats.open)
        return engine.stats.finished == 30

    engine.gate.hold()
    watching = asyncio.create_task(engine.until_true(count))
    tasks = [asyncio.create_task(listen(gateway, session_id=str(n))) for n in range(30)]
    await until(lambda: gateway._pool.queued("sim") == 27 and engine.gate.waiting == 3)
    engine.gate.release()
    await asyncio.gather(*tasks)
    await watching

    assert most == 3


async def test_a_queue_that_is_full_is_overloaded_at_once(engine: SimulatedEngine, open_gateway: OpenGateway) -> None:
    gateway = await open_gateway(Node(engine.url, slots=1), limits=limits(node_queue=2))
    engine.gate.hold()
    tasks = [asyncio.create_task(listen(gateway, session_id=str(n))) for n in range(3)]
    await until(lambda: gateway.models()[0].queued == 2)
    with pytest.raises(Overloaded):
        await listen(gateway)
    engine.gate.release()
    await asyncio.gather(*tasks)

    assert len(engine.stats.requests) == 3


async def test_who_leaves_the_queue_leaves_no_hole(engine: SimulatedEngine, open_gateway: OpenGateway) -> None:
    gateway = await open_gateway(Node(engine.url, slots=1), limits=limits(node_queue=3))
    engine.gate.hold()
    tasks = [asyncio.create_task(listen(gateway, session_id=str(n))) for n in range(4)]
    await until(lambda: gateway.models()[0].queued == 3)
    tasks[2].cancel()
    with suppress(asyncio.CancelledError):
        await tasks[2]
    late = Heard()
    task = asyncio.create_task(listen(gateway, session_id="late", into=late))
    await until(lambda: late.waits)
    assert late.waits[0].position == 3
    engine.gate.release()
    await asyncio.gather(task, *tasks, return_exceptions=True)

    assert late.count == 16
    assert len(engine.stats.requests) == 4


async def test_when_the_last_node_leaves_those_who_wait_are_told(
    engine: SimulatedEngine, open_gateway: OpenGateway
) -> None:
    gateway = await open_gateway(Node(engine.url, slots=1))
    engine.gate.hold()
    first = asyncio.create_task(listen(gateway))
    await engine.gate.reached()
    second = asyncio.create_task(listen(gateway))
    await until(lambda: gateway.models()[0].queued == 1)
    gateway._pool.remove(gateway.nodes[0])
    with pytest.raises(UpstreamError):
        await second
    engine.gate.release()

    assert (await first).count == 16  # it was under way


# -- the queue, against time ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("seed", range(20))
async def test_however_they_come_stay_and_go_no_place_is_lost_and_nobody_is_overtaken(seed: int) -> None:
    """Cancelled before a place, in the moment it is handed over, with it; nodes that fall and come back meanwhile."""
    dice = random.Random(seed)
    nodes = [node("one", slots=2), node("two", slots=1)]
    places = pool(*nodes, node_queue=1000)
    order: list[int] = []

    async def visit() -> None:
        ticket = places.enter("sim", "")
        try:
            while ticket.node is None:
                await ticket.news(10)
            order.append(ticket.number)
            assert ticket.node.outstanding <= ticket.node.slots
            for _ in range(dice.randrange(4)):
                await asyncio.sleep(0)
        finally:
            places.leave(ticket, dice.choice(["answered", "none"]))

    async def disturb(tasks: list["asyncio.Task[None]"]) -> None:
        for _ in range(200):
            await asyncio.sleep(0)
            match dice.randrange(6):
                case 0:
                    dice.choice(tasks).cancel()
                case 1:
                    nodes[1].mark("warming")
                case 2:
                    nodes[1].mark("warm")
        nodes[1].mark("warm")

    async with asyncio.timeout(20):
        tasks = [asyncio.create_task(visit()) for _ in range(100)]
        await disturb(tasks)
        tasks += [asyncio.create_task(visit()) for _ in range(100)]
        results = await asyncio.gather(*tasks, return_exceptions=True)

    assert all(result is None or isinstance(result, asyncio.CancelledError) for result in results)
    assert [n.outstanding for n in nodes] == [0, 0]
    assert places.queued("sim") == 0
    assert order == sorted(order)
    assert len(order) >= 100


async def test_a_place_handed_to_somebody_who_is_just_leaving_goes_to_the_next() -> None:
    places = pool(node(slots=1))
    first, second, third = (places.enter("sim", "") for _ in range(3))
    places.leave(first)
    assert placed([second, third]) == [True, False]
    places.leave(second)  # cancelled before it could look

    assert placed([third]) == [True]


async def test_somebody_who_comes_again_keeps_his_turn() -> None:
    places = pool(node(slots=1))
    first, second, third = (places.enter("sim", "") for _ in range(3))
    places.leave(first)
    again = places.enter("sim", "", number=first.number)
    places.leave(second)

    assert placed([again, third]) == [True, False]


async def test_a_waiter_takes_whichever_node_of_its_model_frees_first() -> None:
    nodes = [node("one", slots=1), node("two", slots=1)]
    places = pool(*nodes)
    holders = [places.enter("sim", "") for _ in nodes]
    waiter = places.enter("sim", "")
    places.leave(holders[1])

    assert waiter.node is holders[1].node


async def test_a_queue_of_one_model_does_not_stop_another() -> None:
    other = (ServedModel(id="other"),)
    nodes = [node(slots=1), Node("http://o/v1", models=other, serverless=False, state="warm")]
    places = pool(*nodes)
    places.enter("sim", "")
    waiting = places.enter("sim", "")

    assert places.enter("other", "").node is nodes[1]
    assert waiting.node is None
    assert (places.queued("sim"), places.queued("other")) == (1, 0)


# -- which node ----------------------------------------------------------------------------------------------------


async def test_a_chat_that_was_never_here_goes_to_the_same_node_in_every_process() -> None:
    def first_choices() -> list[str]:
        places = pool(node("one"), node("two"), node("three"))
        chosen = []
        for number in range(200):
            ticket = places.enter("sim", f"chat-{number}")
            chosen.append(ticket.placed.name)
            places.leave(ticket)
        return chosen

    assert first_choices() == first_choices()
    assert {name: first_choices().count(name) > 40 for name in ("one", "two", "three")} == dict.fromkeys(
        ("one", "two", "three"), True
    )


async def test_a_chat_stays_where_it_was_unless_that_node_is_much_busier() -> None:
    nodes = [node("one"), node("two")]
    places = pool(*nodes)
    ticket = places.enter("sim", "chat")
    home = ticket.placed
    places.leave(ticket)
    other = nodes[1 - nodes.index(home)]
    for _ in range(HOME_SLACK):
        home.take_place()
    ticket = places.enter("sim", "chat")
    assert ticket.node is home
    ticket = places.enter("sim", "chat")

    assert ticket.node is other


async def test_the_least_busy_node_gets_the_next_chat() -> None:
    nodes = [node("one"), node("two"), node("three")]
    places = pool(*nodes)
    for number in range(60):
        places.enter("sim", f"chat-{number}")

    assert all(19 <= n.outstanding <= 21 for n in nodes)


async def test_a_node_that_has_not_said_what_it_serves_is_asked_only_when_nobody_else_is_known_to() -> None:
    known, unknown = node("known"), Node("http://unknown/v1", serverless=False)
    places = pool(known, unknown)

    assert places.serving("sim") == [known]
    assert places.serving("else") == [unknown]


async def test_vectors_and_text_are_asked_of_different_nodes() -> None:
    embedder = Node("http://e/v1", models=[ServedModel(id="emb", task="embed")], serverless=False, state="warm")
    places = pool(node(), embedder)

    assert places.serving("emb", embeds=True) == [embedder]
    for model in ("emb", "nonesuch"):
        with pytest.raises(NotFound):
            places.enter(model, "")


def test_the_hash_moves_only_the_chats_of_a_node_that_leaves() -> None:
    nodes = [node(name) for name in ("one", "two", "three")]
    sessions = [f"chat-{number}" for number in range(300)]
    before = {s: max(nodes, key=lambda n, s=s: _affinity(s, n)) for s in sessions}
    after = {s: max(nodes[:2], key=lambda n, s=s: _affinity(s, n)) for s in sessions}

    assert {s for s in sessions if before[s] is not after[s]} == {s for s in sessions if before[s] is nodes[2]}


# -- nodes that fail -----------------------------------------------------------------------------------------------


def test_three_faults_in_a_row_open_a_breaker_for_longer_each_time() -> None:
    clock = Clock()
    breaker = Breaker(clock)
    waits = []
    assert [breaker.fail(was_trial=False) for _ in range(FAULTS)] == [False, False, True]
    for _ in range(6):
        started = clock.now
        while breaker.is_open:
            clock.now += 0.5
        waits.append(clock.now - started)
        assert breaker.admit() is True
        assert breaker.is_open  # one tries, the others wait for what it finds
        breaker.end_trial()
        assert breaker.fail(was_trial=True)

    assert waits == [OPEN_SECONDS, 10, 20, 40, OPEN_SECONDS_MAX, OPEN_SECONDS_MAX]


def test_a_trial_that_succeeds_closes_a_breaker_and_one_that_is_left_does_not() -> None:
    clock = Clock()
    breaker = Breaker(clock)
    for _ in range(FAULTS):
        breaker.fail(was_trial=False)
    clock.now += OPEN_SECONDS
    breaker.admit()
    breaker.end_trial()  # the user stopped it
    assert not breaker.is_open
    assert breaker.admit() is True
    breaker.end_trial()
    breaker.succeed()

    assert (breaker.is_open, breaker.admit()) == (False, False)


def test_a_success_between_faults_starts_the_count_again() -> None:
    breaker = Breaker(Clock())
    for _ in range(3):
        for _ in range(FAULTS - 1):
            breaker.fail(was_trial=False)
        breaker.succeed()

    assert not breaker.is_open


async def test_a_node_that_fails_is_left_alone_and_tried_again_by_one(
    engine: SimulatedEngine, open_gateway: OpenGateway, caplog: pytest.LogCaptureFixture
) -> None:
    clock = Clock()
    engine.scenario = Scenario(status=500)
    gateway = await open_gateway(Node(engine.url, models=SIM), now=clock)
    with caplog.at_level(logging.INFO, "parley"), pytest.raises(UpstreamError):
        await listen(gateway)
    await probe(gateway.nodes[0], gateway._session)  # a list of models is no answer: it stays closed
    for _ in range(5):
        with pytest.raises(UpstreamError):
            await listen(gateway)
    assert len(engine.stats.requests) == FAULTS
    assert [r.message for r in caplog.records] == ["gateway.breaker"]
    clock.now += OPEN_SECONDS
    engine.scenario = Scenario()
    engine.gate.hold()
    trial = asyncio.create_task(listen(gateway))
    await engine.gate.reached()
    with pytest.raises(UpstreamError):
        await listen(gateway)
    engine.gate.release()
    await trial

    assert (await listen(gateway)).count == 16


async def test_nobody_waits_for_the_end_of_a_trial_that_is_being_answered(
    engine: SimulatedEngine, open_gateway: OpenGateway
) -> None:
    clock = Clock()
    engine.scenario = Scenario(status=500)
    gateway = await open_gateway(Node(engine.url, models=SIM), now=clock)
    with pytest.raises(UpstreamError):
        await listen(gateway)
    clock.now += OPEN_SECONDS
    engine.scenario = Scenario(fault="cut", fault_at=4)
    engine.gate.hold(4)
    heard = Heard()
    trial = asyncio.create_task(listen(gateway, into=heard))
    await until(lambda: heard.count == 4)
    engine.scenario = Scenario(tokens=2)
    assert (await listen(gateway)).count == 2

    engine.gate.release()
    with pytest.raises(UpstreamError):
        await trial
    assert (await listen(gateway)).count == 2  # an answer was whole meanwhile: one fault is one fault


def test_after_a_trial_one_fault_opens_a_breaker_again_and_for_longer() -> None:
    clock = Clock()
    breaker = Breaker(clock)
    for _ in range(FAULTS):
        breaker.fail(was_trial=False)
    clock.now += OPEN_SECONDS
    breaker.admit()
    breaker.hear()
    assert (breaker.is_open, breaker.admit()) == (False, False)
    assert breaker.fail(was_trial=False)
    clock.now += OPEN_SECONDS
    assert breaker.is_open
    clock.now += OPEN_SECONDS

    assert not breaker.is_open


async def test_a_users_bad_requests_do_not_close_a_node_to_others(
    engine: SimulatedEngine, open_gateway: OpenGateway
) -> None:
    gateway = await open_gateway(Node(engine.url))
    engine.scenario = Scenario(status=400)
    for _ in range(2 * FAULTS):
        with pytest.raises(UpstreamError):
            await listen(gateway)
    engine.scenario = Scenario(context_tokens=2)
    for _ in range(2 * FAULTS):
        with pytest.raises(ContextTooLong):
            await listen(gateway)
    engine.scenario = Scenario()

    assert (await listen(gateway)).count == 16


async def test_a_busy_node_does_not_draw_everybody_in(engine: SimulatedEngine, open_gateway: OpenGateway) -> None:
    async with SimulatedEngine(Scenario(status=429, retry_after_s=30)) as busy:
        gateway = await open_gateway(Node(busy.url, name="busy"), Node(engine.url, name="free"))
        heard = await asyncio.gather(*(listen(gateway, session_id=str(n)) for n in range(20)))
        later = [await listen(gateway, session_id=f"later-{n}") for n in range(20)]

    assert {h.count for h in [*heard, *later]} == {16}
    assert len(busy.stats.requests) <= 11  # half of the first wave, that nobody could know about
    assert all(h.waits == [] for h in later)


async def test_who_waits_for_a_node_that_rests_gets_his_place_when_it_has_rested() -> None:
    places = pool(node(), now=time.monotonic)
    places.leave(places.enter("sim", ""), "busy", after_s=0.02)
    ticket = places.enter("sim", "")
    assert ticket.node is None
    await ticket.news(5)

    assert ticket.node is not None


# -- another model -------------------------------------------------------------------------------------------------


def two_models(big: Node, small: SimulatedEngine) -> list[Node]:
    return [big, Node(small.url, name="small", models=[ServedModel(id="small")])]


async def test_the_fallback_answers_when_the_models_nodes_are_gone(
    engine: SimulatedEngine, open_gateway: OpenGateway, caplog: pytest.LogCaptureFixture
) -> None:
    gone = Node("http://127.0.0.1:9/v1", models=[ServedModel(id="big")])
    gateway = await open_gateway(*two_models(gone, engine), fallbacks={"big": "small"})
    uses: list[Any] = []
    with caplog.at_level(logging.INFO, "parley"):
        heard = await listen(gateway, "big", uses=uses)

    assert heard.count == 16
    assert engine.stats.requests[0]["model"] == "small"
    assert uses[-1].model == "small"
    counted = [r for r in caplog.records if r.message == "gateway.fallback"]
    assert [r.fields for r in counted] == [{"model": "big", "to": "small", "code": "model_unavailable"}]  # type: ignore[attr-defined]


@pytest.mark.parametrize("scenario", ["status=500", "status=429", "status=401", "fault=wrong_type", "fault=cut_early"])
async def test_the_fallback_answers_when_the_models_node_is_broken_or_busy(
    scenario: str, engine: SimulatedEngine, open_gateway: OpenGateway
) -> None:
    async with SimulatedEngine(scenario) as broken:
        big = Node(broken.url, name="big", models=[ServedModel(id="big")])
        gateway = await open_gateway(*two_models(big, engine), fallbacks={"big": "small"})

        assert (await listen(gateway, "big")).count == 16
        assert 1 <= len(broken.stats.requests) <= 8  # a kept connection that is cut is tried twice


async def test_the_fallback_answers_when_the_queue_is_full(engine: SimulatedEngine, open_gateway: OpenGateway) -> None:
    async with SimulatedEngine() as full:
        big = Node(full.url, name="big", models=[ServedModel(id="big")], slots=1)
        nodes = two_models(big, engine)
        gateway = await open_gateway(*nodes, fallbacks={"big": "small"}, limits=limits(node_queue=1))
        full.gate.hold()
        tasks = [asyncio.create_task(listen(gateway, "big", session_id=str(n))) for n in range(2)]
        await until(lambda: gateway._pool.queued("big") == 1)
        assert (await listen(gateway, "big")).count == 16
        full.gate.release()
        await asyncio.gather(*tasks)

    assert [request["model"] for request in engine.stats.requests] == ["small"]
    assert len(full.stats.requests) == 2


async def test_the_fallback_does_not_answer_for_a_model_that_merely_wakes(
    engine: SimulatedEngine, open_gateway: OpenGateway
) -> None:
    async with SimulatedEngine(Scenario(cold_s=3600)) as asleep:
        big = Node(asleep.url, name="big", models=[ServedModel(id="big")], serverless=True)
        gateway = await open_gateway(*two_models(big, engine), fallbacks={"big": "small"})
        task = asyncio.create_task(listen(gateway, "big"))
        await asleep.until_true(lambda: asleep.stats.refused >= 5)
        asleep.wake()
        assert (await task).count == 16

    assert engine.stats.requests == []


@pytest.mark.parametrize("scenario", ["status=400", "context_tokens=1"])
async def test_the_fallback_is_not_asked_what_the_user_got_wrong(
    scenario: str, engine: SimulatedEngine, open_gateway: OpenGateway
) -> None:
    async with SimulatedEngine(scenario) as strict:
        big = Node(strict.url, name="big", models=[ServedModel(id="big")])
        gateway = await open_gateway(*two_models(big, engine), fallbacks={"big": "small"})
        with pytest.raises(UpstreamError):
            await listen(gateway, "big")

    assert engine.stats.requests == []


async def test_the_fallback_never_goes_on_with_an_answer_that_has_begun(
    engine: SimulatedEngine, open_gateway: OpenGateway
) -> None:
    async with SimulatedEngine(Scenario(fault="cut", tps=200)) as dying:
        big = Node(dying.url, name="big", models=[ServedModel(id="big")])
        gateway, heard = await open_gateway(*two_models(big, engine), fallbacks={"big": "small"}), Heard()
        with pytest.raises(UpstreamError):
            await listen(gateway, "big", into=heard)

    assert heard.text
    assert engine.stats.requests == []


async def test_fallbacks_that_lead_in_a_circle_end(open_gateway: OpenGateway) -> None:
    nodes = [Node(f"http://127.0.0.1:9/{m}/v1", name=m, models=[ServedModel(id=m)]) for m in ("a", "b")]
    gateway = await open_gateway(*nodes, fallbacks={"a": "b", "b": "a"})
    with pytest.raises(UpstreamError) as caught:
        await listen(gateway, "a", messages=HELLO)

    assert caught.value.code == "model_unavailable"
