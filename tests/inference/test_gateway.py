"""The gateway over real sockets, against an engine that behaves as badly as we ask."""

import asyncio
import logging
from collections.abc import AsyncIterator
from contextlib import aclosing, suppress
from typing import Any

import msgspec
import pytest

from functions.chat.messages import Sampling, Usage
from functions.errors import ContextTooLong, NotFound, Overloaded, UpstreamError
from functions.inference.counting import estimate_tokens
from functions.inference.gateway import Limits, Node, Token
from functions.inference.nodes import DEFAULT_MODEL, ServedModel
from functions.inference.pool import _affinity
from functions.inference.session import READ_BUFFER_BYTES
from tests.inference.conftest import HELLO, PLAIN, QUICK, Heard, OpenGateway, listen, until
from tests.simulated import SECRET, Fault, Scenario, SimulatedEngine, answer_of

SIM = (ServedModel(id="sim", context_tokens=4096),)


@pytest.fixture
async def engine() -> AsyncIterator[SimulatedEngine]:
    async with SimulatedEngine() as started:
        yield started


def serverless(engine: SimulatedEngine, **options: Any) -> Node:
    return Node(engine.url, serverless=True, models=SIM, **options)


def limits(**changes: Any) -> Limits:
    return msgspec.structs.replace(QUICK, **changes)


# -- an answer -----------------------------------------------------------------------------------------------------


async def test_an_answer_is_tokens_and_an_end_with_the_nodes_own_count(
    engine: SimulatedEngine, open_gateway: OpenGateway
) -> None:
    gateway = await open_gateway(Node(engine.url))
    heard = await listen(gateway)

    assert heard.text == "".join(f"t{i} " for i in range(16))
    assert heard.count == 16
    assert heard.waits == []
    assert heard.end is not None
    assert (heard.end.finish_reason, heard.end.tool_calls) == ("stop", ())
    assert heard.end.usage == Usage(prompt_tokens=6, cached_tokens=3, completion_tokens=16)


async def test_the_node_hears_what_was_asked_and_who_asks(engine: SimulatedEngine, open_gateway: OpenGateway) -> None:
    engine.api_key = "k"
    gateway = await open_gateway(Node(engine.url, api_key="k", headers={"Modal-Key": "mk"}))
    extra = {"top_k": 5, "n": 3, "stream": False}
    sampling = Sampling(temperature=0.0, top_p=0.5, max_tokens=7, seed=1, stop=("END",), extra=extra)
    heard = await listen(gateway, sampling=sampling, session_id="chat-42")

    assert engine.stats.requests == [
        {
            "model": "sim",
            "messages": HELLO,
            "stream": True,
            "stream_options": {"include_usage": True},
            "temperature": 0.0,
            "top_p": 0.5,
            "max_tokens": 7,
            "seed": 1,
            "stop": ["END"],
            "top_k": 5,
        }
    ]
    assert engine.stats.headers[0]["modal-session-id"] == "chat-42"
    assert engine.stats.headers[0]["modal-key"] == "mk"
    assert (heard.count, heard.end and heard.end.finish_reason) == (7, "length")


async def test_what_was_not_asked_is_left_to_the_node(engine: SimulatedEngine, open_gateway: OpenGateway) -> None:
    await listen(await open_gateway(Node(engine.url)))

    assert set(engine.stats.requests[0]) == {"model", "messages", "stream", "stream_options"}


@pytest.mark.parametrize("split", [1, 2, 3, 7, 50])
@pytest.mark.parametrize("crlf", [False, True])
async def test_an_answer_is_the_same_however_the_packets_fall(
    split: int, crlf: bool, engine: SimulatedEngine, open_gateway: OpenGateway
) -> None:
    engine.scenario = Scenario(echo=True, split=split, crlf=crlf, comments=True, logprobs=True)
    heard = await listen(await open_gateway(Node(engine.url)))

    assert heard.text == answer_of(HELLO, 16)


async def test_deltas_of_one_packet_are_one_token(engine: SimulatedEngine, open_gateway: OpenGateway) -> None:
    engine.scenario = Scenario(tokens=6, pack=2, role_first=False, tps=200)
    heard = await listen(await open_gateway(Node(engine.url)))

    assert heard.count == 6
    assert heard.tokens[0] == Token("t0 t1 ", 2)


async def test_tool_calls_are_delivered_whole_at_the_end(engine: SimulatedEngine, open_gateway: OpenGateway) -> None:
    engine.scenario = Scenario(tokens=0, tool_calls=True)
    heard = await listen(await open_gateway(Node(engine.url)))

    assert heard.end is not None
    assert heard.end.finish_reason == "tool_calls"
    assert [call["function"] for call in heard.end.tool_calls] == [
        {"name": "get_weather", "arguments": '{"city": "Zürich"}'},
        {"name": "get_time", "arguments": '{"zone": "UTC"}'},
    ]


async def test_reasoning_is_not_shown(engine: SimulatedEngine, open_gateway: OpenGateway) -> None:
    engine.scenario = Scenario(tokens=2, reasoning=5)
    heard = await listen(await open_gateway(Node(engine.url)))

    assert heard.text == "t0 t1 "


async def test_answers_one_after_the_other_use_one_connection(
    engine: SimulatedEngine, open_gateway: OpenGateway
) -> None:
    gateway = await open_gateway(Node(engine.url))
    for _ in range(5):
        await listen(gateway)

    assert engine.stats.connections == 1


async def test_a_body_that_stays_open_after_its_end_does_not_hold_the_answer(
    engine: SimulatedEngine, open_gateway: OpenGateway
) -> None:
    engine.scenario = Scenario(tokens=2, fault="no_terminator")
    heard = await listen(await open_gateway(Node(engine.url)))

    assert heard.end is not None
    await engine.until(open=0, aborted=1)


async def test_a_token_costs_no_task(engine: SimulatedEngine, open_gateway: OpenGateway) -> None:
    gateway = await open_gateway(Node(engine.url))
    loop = asyncio.get_running_loop()
    created: list[str] = []

    def factory(loop: asyncio.AbstractEventLoop, work: Any, **options: Any) -> "asyncio.Task[Any]":
        created.append(work.__qualname__)
        return asyncio.Task(work, loop=loop, **options)

    async def tasks_for(tokens: int) -> list[str]:
        engine.scenario = Scenario(tokens=tokens, tps=2000)
        created.clear()
        await listen(gateway)
        return [name for name in created if not name.startswith("_Connection")]

    loop.set_task_factory(factory)
    try:
        assert len(await tasks_for(200)) == len(await tasks_for(2))
    finally:
        loop.set_task_factory(None)


# -- going on where another stopped --------------------------------------------------------------------------------


@pytest.mark.parametrize(("kind", "says_so"), [("vllm", True), ("llama.cpp", True), ("openai", False)])
async def test_a_half_written_answer_is_continued_in_the_nodes_own_way(
    kind: Any, says_so: bool, engine: SimulatedEngine, open_gateway: OpenGateway
) -> None:
    engine.scenario = Scenario(kind=kind)
    await listen(await open_gateway(Node(engine.url)), prefix="Once ")
    asked = engine.stats.requests[0]

    assert asked["messages"] == [*HELLO, {"role": "assistant", "content": "Once" if says_so else "Once "}]
    assert asked.get("continue_final_message", False) is says_so
    assert asked.get("add_generation_prompt", True) is not says_so


async def test_a_takeover_at_any_character_adds_exactly_the_rest(
    engine: SimulatedEngine, open_gateway: OpenGateway
) -> None:
    engine.scenario = Scenario(echo=True, tokens=6)
    gateway = await open_gateway(Node(engine.url))
    whole = answer_of(HELLO, 6)

    for cut in range(1, len(whole) + 1):
        heard = await listen(gateway, prefix=whole[:cut])
        assert whole[:cut] + heard.text == whole


# -- before the first token ----------------------------------------------------------------------------------------


async def test_a_model_that_is_being_loaded_is_said_to_load(engine: SimulatedEngine, open_gateway: OpenGateway) -> None:
    engine.scenario = Scenario(status=503, fail_times=2, problem="Loading model")
    heard = await listen(await open_gateway(Node(engine.url)))

    assert heard.phases == ["loading"]
    assert heard.count == 16


async def test_a_server_that_is_gone_is_tried_three_times(open_gateway: OpenGateway) -> None:
    heard = Heard()
    gateway = await open_gateway(Node("http://127.0.0.1:9/v1", models=SIM), limits=limits(notice_s=1e-4))
    with pytest.raises(UpstreamError) as caught:
        await listen(gateway, into=heard)

    assert caught.value.code == "model_unavailable"
    assert set(heard.phases) == {"retrying"}
    assert gateway.models()[0].state == "unreachable"


@pytest.mark.parametrize("status", [429, 500, 502, 504])
async def test_a_refusal_that_may_pass_is_tried_again(
    status: int, engine: SimulatedEngine, open_gateway: OpenGateway
) -> None:
    engine.scenario = Scenario(status=status, fail_times=2)
    heard = await listen(await open_gateway(Node(engine.url)))

    assert heard.phases == ["retrying"]
    assert heard.count == 16
    assert len(engine.stats.requests) == 3


@pytest.mark.parametrize(("status", "code", "attempts"), [(429, "overloaded", 4), (500, "model_unavailable", 3)])
async def test_a_refusal_that_does_not_pass_is_an_error_after_some_attempts(
    status: int, code: str, attempts: int, engine: SimulatedEngine, open_gateway: OpenGateway
) -> None:
    engine.scenario = Scenario(status=status)
    gateway = await open_gateway(Node(engine.url))
    with pytest.raises(UpstreamError) as caught:
        await listen(gateway)

    assert caught.value.code == code
    assert len(engine.stats.requests) == attempts


async def test_retry_after_is_honoured(engine: SimulatedEngine, open_gateway: OpenGateway) -> None:
    engine.scenario = Scenario(status=429, fail_times=1, retry_after_s=1)
    gateway = await open_gateway(Node(engine.url))
    loop = asyncio.get_running_loop()
    started = loop.time()
    await listen(gateway)

    assert loop.time() - started >= 1


async def test_a_retry_after_longer_than_anybody_waits_is_an_error_now(
    engine: SimulatedEngine, open_gateway: OpenGateway
) -> None:
    engine.scenario = Scenario(status=429, retry_after_s=3600)
    gateway = await open_gateway(Node(engine.url))
    with pytest.raises(Overloaded):
        await listen(gateway)

    assert len(engine.stats.requests) == 1


@pytest.mark.parametrize("status", [400, 401, 403, 404, 422])
async def test_a_refusal_that_will_not_pass_is_not_repeated(
    status: int, engine: SimulatedEngine, open_gateway: OpenGateway
) -> None:
    engine.scenario = Scenario(status=status)
    gateway = await open_gateway(Node(engine.url))
    with pytest.raises(UpstreamError) as caught:
        await listen(gateway)

    assert SECRET not in caught.value.message
    assert len(engine.stats.requests) == 1


@pytest.mark.parametrize("kind", ["vllm", "llama.cpp"])
async def test_a_conversation_that_is_too_long_is_named_so(
    kind: Any, engine: SimulatedEngine, open_gateway: OpenGateway
) -> None:
    engine.scenario = Scenario(kind=kind, context_tokens=2)
    gateway = await open_gateway(Node(engine.url))
    with pytest.raises(ContextTooLong) as caught:
        await listen(gateway)

    assert SECRET not in caught.value.message


@pytest.mark.parametrize("fault", ["cut_early", "cut_after_role"])
async def test_a_connection_lost_before_the_first_token_is_tried_again(
    fault: Fault, engine: SimulatedEngine, open_gateway: OpenGateway
) -> None:
    async with SimulatedEngine(Scenario(fault=fault)) as bad:
        nodes = [Node(bad.url, name="bad"), Node(engine.url)]
        gateway = await open_gateway(*nodes)
        heard = await listen(gateway, session_id=_session_preferring(*nodes))

    assert heard.count == 16
    assert heard.phases == ["retrying"]
    assert len(engine.stats.requests) == 1


async def test_a_kept_connection_that_was_closed_is_replaced_without_a_word(
    engine: SimulatedEngine, open_gateway: OpenGateway
) -> None:
    engine.scenario = Scenario(fault="cut_early", fail_times=1)
    heard = await listen(await open_gateway(Node(engine.url)))

    assert heard.count == 16
    assert heard.waits == []


async def test_another_node_answers_when_one_is_gone(engine: SimulatedEngine, open_gateway: OpenGateway) -> None:
    async with SimulatedEngine() as gone:
        nodes = [Node(gone.url), Node(engine.url)]
        gateway = await open_gateway(*nodes)
    heard = await listen(gateway, session_id=_session_preferring(*nodes))

    assert heard.count == 16
    assert nodes[0].state == "unreachable"


def _session_preferring(node: Node, *others: Node) -> str:
    sessions = (f"chat-{i}" for i in range(1000))
    return next(s for s in sessions if all(_affinity(s, node) > _affinity(s, other) for other in others))


# -- after the first token -----------------------------------------------------------------------------------------

BROKEN: list[Fault] = ["cut", "close", "error_frame", "malformed"]


@pytest.mark.parametrize("fault", BROKEN)
async def test_an_answer_that_breaks_is_a_named_error_and_never_a_second_answer(
    fault: Fault, engine: SimulatedEngine, open_gateway: OpenGateway, caplog: pytest.LogCaptureFixture
) -> None:
    engine.scenario = Scenario(fault=fault, fault_at=4)
    engine.gate.hold(4)
    gateway, heard = await open_gateway(Node(engine.url)), Heard()
    with caplog.at_level(logging.DEBUG, "functions"), pytest.raises(UpstreamError) as caught:
        async with asyncio.timeout(10):
            async for event in gateway.stream("sim", HELLO, PLAIN, session_id="s"):
                heard.add(event)
                if heard.count == 4:
                    engine.gate.release()

    assert caught.value.code == "model_error"
    assert heard.text == "t0 t1 t2 t3 "
    assert len(engine.stats.requests) == 1
    assert SECRET not in caught.value.message + heard.text + caplog.text
    await engine.until(open=0)


@pytest.mark.parametrize("fault", ["wrong_type", "error_frame", "malformed"])
async def test_an_answer_that_is_none_is_a_named_error(
    fault: Fault, engine: SimulatedEngine, open_gateway: OpenGateway
) -> None:
    engine.scenario = Scenario(fault=fault, fault_at=0)
    gateway = await open_gateway(Node(engine.url))
    with pytest.raises(UpstreamError) as caught:
        await listen(gateway)

    assert caught.value.code == "model_error"
    assert SECRET not in caught.value.message


@pytest.mark.parametrize("fault_at", [0, 3])
@pytest.mark.parametrize("fault", ["stall", "pings"])
async def test_a_node_that_falls_silent_is_left(
    fault: Fault, fault_at: int, engine: SimulatedEngine, open_gateway: OpenGateway
) -> None:
    engine.scenario = Scenario(fault=fault, fault_at=fault_at)
    gateway = await open_gateway(Node(engine.url), limits=limits(first_token_s=0.1, between_tokens_s=0.1))
    with pytest.raises(UpstreamError) as caught:
        await listen(gateway)

    assert caught.value.code == "model_timeout"
    await engine.until(aborted=1, open=0)


async def test_a_node_that_does_not_even_answer_is_left(engine: SimulatedEngine, open_gateway: OpenGateway) -> None:
    gateway = await open_gateway(Node(engine.url), limits=limits(first_token_s=0.1))
    engine.gate.hold(-1)
    with pytest.raises(UpstreamError) as caught:
        await listen(gateway)

    assert caught.value.code == "model_timeout"
    await engine.until(aborted=1, open=0)


async def test_a_reader_that_takes_its_time_is_not_the_nodes_fault(
    engine: SimulatedEngine, open_gateway: OpenGateway
) -> None:
    engine.scenario = Scenario(tokens=3, tps=1000)
    gateway = await open_gateway(Node(engine.url), limits=limits(between_tokens_s=0.03))
    heard = Heard()
    async for event in gateway.stream("sim", HELLO, PLAIN, session_id="s"):
        heard.add(event)
        await asyncio.sleep(0.1)  # the very thing under test: longer than a node may take

    assert heard.count == 3


# -- leaving -------------------------------------------------------------------------------------------------------


async def test_leaving_a_stream_frees_the_nodes_slot(engine: SimulatedEngine, open_gateway: OpenGateway) -> None:
    engine.scenario = Scenario(fault="never_ends")
    node = Node(engine.url)
    gateway = await open_gateway(node)
    async with aclosing(gateway.stream("sim", HELLO, PLAIN, session_id="s")) as stream:
        await anext(stream)
        assert node.outstanding == 1

    await engine.until(aborted=1, open=0)
    assert node.outstanding == 0


@pytest.mark.parametrize("held_before", [-1, 0, 3])
async def test_cancelling_a_stream_frees_the_nodes_slot(
    held_before: int, engine: SimulatedEngine, open_gateway: OpenGateway
) -> None:
    node = Node(engine.url)
    gateway = await open_gateway(node)
    engine.gate.hold(held_before)
    task = asyncio.create_task(listen(gateway))
    await engine.gate.reached()
    task.cancel()
    with suppress(asyncio.CancelledError):
        await task

    await engine.until(aborted=1, open=0)
    assert node.outstanding == 0


async def test_a_slow_reader_slows_the_node_and_fills_no_memory(
    engine: SimulatedEngine, open_gateway: OpenGateway
) -> None:
    engine.scenario = Scenario(fault="never_ends")
    gateway = await open_gateway(Node(engine.url))
    async with aclosing(gateway.stream("sim", HELLO, PLAIN, session_id="s")) as stream:
        await anext(stream)
        await engine.until_true(engine.is_blocked)
        sent = engine.stats.tokens
        for _ in range(100):
            await asyncio.sleep(0)

        assert engine.stats.tokens == sent
        token = await anext(stream)
        assert isinstance(token, Token)
        # What was ours to keep meanwhile: the rest is in the kernel's buffers
        assert token.count * 150 < 4 * READ_BUFFER_BYTES


# -- which node ----------------------------------------------------------------------------------------------------


async def test_a_warm_node_is_preferred_to_a_sleeping_one(engine: SimulatedEngine, open_gateway: OpenGateway) -> None:
    async with SimulatedEngine() as asleep:
        gateway = await open_gateway(serverless(asleep), Node(engine.url))
        for session in map(str, range(20)):
            await listen(gateway, session_id=session)

    assert asleep.stats.connections == 0


async def test_a_model_that_nobody_serves_is_not_found(engine: SimulatedEngine, open_gateway: OpenGateway) -> None:
    gateway = await open_gateway(Node(engine.url))
    with pytest.raises(NotFound) as caught:
        await listen(gateway, "another")

    assert (caught.value.code, caught.value.param) == ("model_not_found", "model")


async def test_each_model_goes_to_a_node_that_serves_it(open_gateway: OpenGateway) -> None:
    async with SimulatedEngine(models=("a", "both")) as one, SimulatedEngine(models=("b", "both")) as two:
        gateway = await open_gateway(Node(one.url), Node(two.url))
        await listen(gateway, "a")
        await listen(gateway, "b")

    assert [model.id for model in gateway.models()] == ["a", "both", "b"]
    assert [request["model"] for request in one.stats.requests] == ["a"]
    assert [request["model"] for request in two.stats.requests] == ["b"]


# -- what there is -------------------------------------------------------------------------------------------------


async def test_asking_what_there_is_wakes_nothing(engine: SimulatedEngine, open_gateway: OpenGateway) -> None:
    gateway = await open_gateway(serverless(engine))

    assert [(model.id, model.state) for model in gateway.models()] == [("sim", "cold")]
    assert gateway.context_tokens("sim") == 4096
    assert await gateway.count_tokens("sim", ["hello"]) == (estimate_tokens("hello"),)
    assert engine.stats.connections == 0


async def test_what_a_node_says_of_its_model_completes_what_was_declared(
    engine: SimulatedEngine, open_gateway: OpenGateway
) -> None:
    engine.scenario = Scenario(context_tokens=1234, kind="llama.cpp")
    declared = ServedModel(id="sim", name="The Model", demo=True, notice="A demo.")
    gateway = await open_gateway(Node(engine.url, models=[declared]))
    model = gateway.models()[0]

    assert (model.name, model.context_tokens, model.state) == ("The Model", 1234, "warm")
    assert (model.demo, model.notice) == (True, "A demo.")
    assert gateway.context_tokens("sim") == 1234


async def test_a_node_of_which_nothing_was_declared_serves_its_default_until_it_is_known(
    engine: SimulatedEngine, open_gateway: OpenGateway
) -> None:
    gateway = await open_gateway(Node(engine.url, serverless=True))
    assert [model.id for model in gateway.models()] == [DEFAULT_MODEL]

    await listen(gateway, DEFAULT_MODEL)
    assert [model.id for model in gateway.models()] == ["sim"]
    assert engine.stats.requests[0]["model"] == "sim"


async def test_an_always_on_node_is_noticed_when_it_comes_up(open_gateway: OpenGateway) -> None:
    engine = SimulatedEngine()
    await engine.start()
    await engine.stop()
    gateway = await open_gateway(Node(engine.url))
    assert gateway.models()[0].state == "unreachable"
    async with engine:
        await until(lambda: gateway.models()[0].state == "warm")


async def test_a_node_that_answers_is_known_to_be_up_before_it_is_probed_again(open_gateway: OpenGateway) -> None:
    engine = SimulatedEngine()
    await engine.start()
    await engine.stop()
    gateway = await open_gateway(Node(engine.url, models=SIM))
    assert gateway.models()[0].state == "unreachable"
    async with engine:
        await listen(gateway)

        assert gateway.models()[0].state == "warm"


# -- tokens --------------------------------------------------------------------------------------------------------


async def test_tokens_are_counted_by_the_node_and_each_text_once(
    engine: SimulatedEngine, open_gateway: OpenGateway
) -> None:
    gateway = await open_gateway(Node(engine.url))
    texts = ["hello", "", "你好", "hello", "x" * 3000]

    assert await gateway.count_tokens("sim", texts) == (2, 0, 2, 2, 1000)
    assert await gateway.count_tokens("sim", texts) == (2, 0, 2, 2, 1000)
    assert engine.stats.paths.count("/tokenize") == 3


async def test_a_node_that_cannot_count_gets_an_estimate_from_above(
    engine: SimulatedEngine, open_gateway: OpenGateway
) -> None:
    engine.scenario = Scenario(kind="openai")
    gateway = await open_gateway(Node(engine.url))
    texts = ["hello world", "你好，世界", "🙂" * 3, "Grüße", ""]

    assert await gateway.count_tokens("sim", texts) == tuple(map(estimate_tokens, texts))
    assert estimate_tokens("") == 0


async def test_a_node_that_fails_to_count_gets_an_estimate(engine: SimulatedEngine, open_gateway: OpenGateway) -> None:
    gateway = await open_gateway(Node(engine.url))
    await engine.stop()

    assert await gateway.count_tokens("sim", ["hello"]) == (estimate_tokens("hello"),)
