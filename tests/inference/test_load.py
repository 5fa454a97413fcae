"""Many chats at once over three nodes, all well or each with its own fault. With `-s` each test prints its figures."""

import asyncio
import dataclasses
import logging
import random
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from typing import Any

import msgspec
import pytest

from functions.errors import UpstreamError
from functions.inference.gateway import Gateway, Limits, Node
from functions.inference.nodes import ServedModel
from tests.inference.conftest import QUICK, Heard, OpenGateway, listen
from tests.simulated import Scenario, SimulatedEngine, answer_of

CHATS, TURNS, TOKENS = 64, 6, 12
SIM = (ServedModel(id="sim", context_tokens=100_000),)
ECHO = Scenario(echo=True, tokens=TOKENS, context_tokens=100_000)


@dataclasses.dataclass
class Chat:
    """One user: asks, reads the answer, asks again; goes on from what has come when an answer breaks."""

    name: str
    messages: list[dict[str, Any]] = dataclasses.field(default_factory=list)
    breaks: int = 0
    wrong: list[tuple[str, str]] = dataclasses.field(default_factory=list)
    uses: list[Any] = dataclasses.field(default_factory=list)

    async def run(self, gateway: Gateway, model: str, dice: random.Random) -> None:
        for turn in range(TURNS):
            self.messages.append({"role": "user", "content": f"{self.name}: question {turn}"})
            text = await self._answer(gateway, model)
            if text != (expected := answer_of(self.messages, TOKENS)):
                self.wrong.append((expected, text))
            self.messages.append({"role": "assistant", "content": text})
            for _ in range(dice.randrange(8)):  # reads it
                await asyncio.sleep(0)

    async def _answer(self, gateway: Gateway, model: str) -> str:
        text = ""
        for _ in range(8):
            heard = Heard()
            try:
                await listen(
                    gateway,
                    model,
                    messages=self.messages,
                    session_id=self.name,
                    prefix=text,
                    into=heard,
                    uses=self.uses,
                )
            except UpstreamError:
                if not heard.text:
                    raise
                self.breaks += 1
                text += heard.text
            else:
                return text + heard.text
        raise AssertionError("it never came to an end")


async def talk(gateway: Gateway, model: str = "sim") -> list[Chat]:
    """All chats to their end. The longest the queue ever was is noted on the way."""
    dice = random.Random(7)
    chats = [Chat(f"chat-{number}") for number in range(CHATS)]
    async with asyncio.timeout(120), asyncio.TaskGroup() as group:
        for chat in chats:
            group.create_task(chat.run(gateway, model, random.Random(dice.random())))
    return chats


def turns_by_node(chats: list[Chat]) -> Counter[str]:
    return Counter(use.node for chat in chats for use in chat.uses)


def loyalty(chats: list[Chat]) -> float:
    """Which part of the turns went to the node that its chat was mostly at."""
    mostly = sum(Counter(use.node for use in chat.uses).most_common(1)[0][1] for chat in chats)
    return mostly / sum(len(chat.uses) for chat in chats)


@pytest.fixture
async def engines() -> AsyncIterator[list[SimulatedEngine]]:
    async with AsyncExitStack() as stack:
        yield [await stack.enter_async_context(SimulatedEngine(ECHO)) for _ in range(3)]


def nodes_of(engines: list[SimulatedEngine], **options: Any) -> list[Node]:
    return [Node(e.url, name=f"node-{n}", models=SIM, **options) for n, e in enumerate(engines)]


def limits(**changes: Any) -> Limits:
    return msgspec.structs.replace(QUICK, **changes)


async def test_chats_are_spread_evenly_and_each_stays_at_its_node(
    engines: list[SimulatedEngine], open_gateway: OpenGateway
) -> None:
    gateway = await open_gateway(*nodes_of(engines))
    for engine in engines:
        engine.gate.hold()
    talking = asyncio.create_task(talk(gateway))
    await asyncio.gather(*(engine.gate.reached(20) for engine in engines))
    assert sum(engine.gate.waiting for engine in engines) == CHATS
    for engine in engines:
        engine.gate.release()
    chats = await talking

    counts = turns_by_node(chats)
    even = CHATS * TURNS / 3
    off = max(abs(count - even) / even for count in counts.values())
    print(f"\nturns per node {dict(counts)}: {off:.1%} off even; {loyalty(chats):.1%} of a chat's turns on one node")  # noqa: T201
    assert [chat.wrong for chat in chats] == [[]] * CHATS
    assert off <= 0.10
    assert loyalty(chats) >= 0.90


async def test_a_slow_node_gets_less(engines: list[SimulatedEngine], open_gateway: OpenGateway) -> None:
    engines[0].scenario = dataclasses.replace(ECHO, ttft_ms=40)
    gateway = await open_gateway(*nodes_of(engines))
    order = iter(range(10_000))

    async def ask_often(number: int) -> None:  # chats of one turn: nobody is bound to a node
        for _ in range(10):
            await listen(gateway, session_id=f"{number}-{next(order)}")

    await asyncio.gather(*(ask_often(number) for number in range(12)))

    served = [engine.stats.finished for engine in engines]
    print(f"\nanswers per node, the first one slow: {served}")  # noqa: T201
    assert sum(served) == 120
    assert served[0] < min(served[1:]) / 2


async def test_nothing_is_lost_or_doubled_when_one_dies_one_is_slow_and_one_is_busy(
    engines: list[SimulatedEngine], open_gateway: OpenGateway, caplog: pytest.LogCaptureFixture
) -> None:
    dying, slow, busy = engines
    slow.scenario = dataclasses.replace(ECHO, ttft_ms=5)
    busy.scenario = dataclasses.replace(ECHO, status=429, fail_times=60)
    nodes = nodes_of(engines, slots=12)
    # Who is refused sixty times by the busy one is rare, but possible: nobody gives up before that.
    gateway = await open_gateway(*nodes, limits=limits(retries=64, wake_s=60))
    longest = Longest(gateway)
    dying.gate.hold(3)
    with caplog.at_level(logging.INFO, "parley"):
        talking = asyncio.create_task(talk(gateway))
        await dying.gate.reached(10)
        await dying.stop()  # in the middle of ten answers or more
        chats = await talking
    longest.cancel()

    breaks = sum(chat.breaks for chat in chats)
    answers = sum(len(chat.messages) // 2 for chat in chats)
    print(  # noqa: T201
        f"\n{answers} answers to the letter; {breaks} broke and went on elsewhere; {busy.stats.refused} times busy; "
        f"stays per node {dict(turns_by_node(chats))}; the queue was {longest.length} long at most"
    )
    assert [chat.wrong for chat in chats] == [[]] * CHATS
    assert answers == CHATS * TURNS
    assert breaks >= 10
    assert busy.stats.refused >= 1
    assert longest.length <= CHATS
    assert all(engine.stats.open == 0 for engine in engines)
    assert [node.outstanding for node in nodes] == [0, 0, 0]


async def test_a_queue_that_is_too_short_sends_the_rest_to_the_fallback(
    engines: list[SimulatedEngine], open_gateway: OpenGateway, caplog: pytest.LogCaptureFixture
) -> None:
    nodes = nodes_of(engines[:2], slots=4)
    small = Node(engines[2].url, name="small", models=[ServedModel(id="small", context_tokens=100_000)])
    node_queue = 6
    gateway = await open_gateway(*nodes, small, fallbacks={"sim": "small"}, limits=limits(node_queue=node_queue))
    longest = Longest(gateway)
    with caplog.at_level(logging.INFO, "parley"):
        chats = await talk(gateway)
    longest.cancel()

    counted = sum(record.message == "gateway.fallback" for record in caplog.records)
    counts = turns_by_node(chats)
    print(f"\nturns per node {dict(counts)}; {counted} fallbacks counted; queue at most {longest.length}")  # noqa: T201
    assert [chat.wrong for chat in chats] == [[]] * CHATS
    assert longest.length <= node_queue * len(nodes)
    assert counted == counts["small"] >= 1
    assert {use.model for chat in chats for use in chat.uses if use.node == "small"} == {"small"}


class Longest:
    """The longest queue there was, looked at in every turn of the loop."""

    def __init__(self, gateway: Gateway) -> None:
        self.length = 0
        self._gateway = gateway
        self._handle = asyncio.get_running_loop().call_soon(self._look)

    def _look(self) -> None:
        self.length = max(self.length, self._gateway._pool.queued("sim"))
        self._handle = asyncio.get_running_loop().call_soon(self._look)

    def cancel(self) -> None:
        self._handle.cancel()
