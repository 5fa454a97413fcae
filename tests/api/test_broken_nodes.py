"""A model server dies in the middle of an answer; its reader gets the answer all the same."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import openai
import pytest

from functions.inference.nodes import Node, ServedModel
from tests.house import open_house, text_of
from tests.simulated import Fault, Scenario, SimulatedEngine, answer_of

WHOLE = Scenario(echo=True, tokens=40)
FAULTS: list[Fault] = ["cut", "close", "error_frame", "malformed"]


class Two:
    """Two nodes of one model. The first breaks off; the second sleeps until `wake`, so that all begin at the first."""

    def __init__(self, second: SimulatedEngine) -> None:
        self._second = second
        self.nodes: list[Node] = []

    def __call__(self, first: SimulatedEngine) -> list[Node]:
        model = [ServedModel(id="sim", context_tokens=4096)]
        urls = {"bad": first.url, "good": self._second.url}
        self.nodes = [Node(url, name=name, models=model, kind="vllm", serverless=True) for name, url in urls.items()]
        self.nodes[0].mark("warm")
        return self.nodes

    def wake(self) -> None:
        self.nodes[1].mark("warm")


@pytest.fixture
async def good() -> AsyncIterator[SimulatedEngine]:
    async with SimulatedEngine(WHOLE) as engine:
        yield engine


def expected(engine: SimulatedEngine) -> str:
    """What the model would have said, had nothing happened."""
    return answer_of(engine.stats.requests[0]["messages"], WHOLE.tokens)


@pytest.mark.parametrize("fault", FAULTS)
async def test_another_node_completes_to_the_letter_what_a_dying_one_began(
    fault: Fault, good: SimulatedEngine, tmp_path: Path
) -> None:
    dying = Scenario(echo=True, tokens=40, fault=fault, fault_at=12)
    async with open_house(tmp_path, dying, two := Two(good)) as house:
        house.engine.gate.hold(12)
        chat = await house.open_chat()
        async with house.saying(chat, "Tell me something long") as listener:
            first = await listener.until("delta")
            await house.engine.gate.reached()
            two.wake()
            house.engine.gate.release()
            events = [first, *await listener.rest()]
        whole = expected(house.engine)

    assert events[-1].name == "done"
    assert text_of(events) == whole == events[-1].data["message"]["content"]
    assert [e.id for e in events] == list(range(events[0].id or 0, (events[0].id or 0) + len(events)))
    assert "retrying" in [e.data["phase"] for e in events if e.name == "status"]
    assert events[-1].data["usage"]["completion_tokens"] >= 40


async def test_a_node_that_breaks_off_once_goes_on_itself_when_it_is_alone(tmp_path: Path) -> None:
    scenario = Scenario(echo=True, tokens=12, fault="cut", fault_at=9)
    async with open_house(tmp_path, scenario) as house:
        house.engine.gate.hold(9)
        chat = await house.open_chat()
        async with house.saying(chat, "hello") as listener:
            first = await listener.until("delta")
            await house.engine.gate.reached()
            house.engine.scenario = Scenario(echo=True, tokens=12)  # the next request finds it well
            house.engine.gate.release()
            events = [first, *await listener.rest()]
        whole = answer_of(house.engine.stats.requests[0]["messages"], 12)

    assert (events[-1].name, text_of(events)) == ("done", whole)


async def test_a_model_that_always_breaks_off_is_given_up_and_what_it_said_is_kept(tmp_path: Path) -> None:
    async with open_house(tmp_path, Scenario(echo=True, tokens=400, fault="cut", fault_at=12)) as house:
        chat = await house.open_chat()
        events = await house.say(chat, "hello")
        asked = len(house.engine.stats.requests)

    assert events[-1].name == "failed"
    assert events[-1].data["message"]["content"] == text_of(events) != ""
    assert asked == 3  # the first, and two that went on


async def test_a_stop_while_an_answer_is_continued_stops_it(good: SimulatedEngine, tmp_path: Path) -> None:
    good.gate.hold(-1)
    dying = Scenario(echo=True, tokens=40, fault="cut", fault_at=12)
    async with open_house(tmp_path, dying, two := Two(good)) as house:
        house.engine.gate.hold(12)
        chat = await house.open_chat()
        async with house.saying(chat, "Tell me something long") as listener:
            await listener.until("delta")
            two.wake()
            house.engine.gate.release()
            await good.gate.reached()
            async with asyncio.timeout(10):
                await house.http.delete(f"/runs/{listener.run_id}")
                last = (await listener.rest())[-1]

    assert last.name == "stopped"
    assert last.data["message"]["content"]


async def test_the_official_client_does_not_notice(good: SimulatedEngine, tmp_path: Path) -> None:
    dying = Scenario(echo=True, tokens=40, fault="cut", fault_at=12)
    async with open_house(tmp_path, dying, two := Two(good)) as house:
        house.engine.gate.hold(12)
        async with openai.AsyncOpenAI(base_url=f"{house.url}/v1", api_key="x", max_retries=0) as client:
            stream = await client.chat.completions.create(
                model="sim", messages=[{"role": "user", "content": "Tell me"}], stream=True
            )
            await house.engine.gate.reached()
            two.wake()
            house.engine.gate.release()
            text = "".join([c.choices[0].delta.content or "" async for c in stream if c.choices])
        whole = expected(house.engine)

    assert text == whole
