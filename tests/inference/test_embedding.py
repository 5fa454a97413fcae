"""Vectors over the wire: in order, in batches, from a node that may sleep; or an error in our words."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import msgspec
import pytest

from functions.errors import ContextTooLong, NotFound, UpstreamError
from functions.inference.embedding import BATCH_BYTES, BATCH_TEXTS
from functions.inference.gateway import Limits, Node
from functions.inference.nodes import ServedModel
from tests.inference.conftest import PLAIN, QUICK, OpenGateway
from tests.simulated import SECRET, Scenario, SimulatedEngine, vector_of

EMB = (ServedModel(id="emb", task="embed"),)


@pytest.fixture
async def engine() -> AsyncIterator[SimulatedEngine]:
    async with SimulatedEngine(models=("emb",)) as started:
        yield started


def embedder(engine: SimulatedEngine, **options: Any) -> Node:
    return Node(engine.url, models=EMB, **options)


def limits(**changes: Any) -> Limits:
    return msgspec.structs.replace(QUICK, **changes)


def rounded(vectors: Any) -> list[list[float]]:
    return [[round(x, 6) for x in vector] for vector in vectors]


async def test_each_text_has_its_vector_in_order(engine: SimulatedEngine, open_gateway: OpenGateway) -> None:
    gateway = await open_gateway(embedder(engine))
    texts = ["hello", "你好", "", "hello"]
    embedded = await gateway.embed(texts)

    assert rounded(embedded.vectors) == [vector_of(text) for text in texts]
    assert (embedded.model, embedded.prompt_tokens) == ("emb", 2 + 2 + 0 + 2)


async def test_many_texts_go_a_few_at_a_time(engine: SimulatedEngine, open_gateway: OpenGateway) -> None:
    gateway = await open_gateway(embedder(engine))
    texts = [f"text {n}" for n in range(2 * BATCH_TEXTS + 1)]
    embedded = await gateway.embed(texts)

    assert rounded(embedded.vectors) == [vector_of(text) for text in texts]
    assert engine.stats.paths.count("/v1/embeddings") == 3


async def test_long_texts_go_alone(engine: SimulatedEngine, open_gateway: OpenGateway) -> None:
    engine.scenario = Scenario(context_tokens=BATCH_BYTES)
    gateway = await open_gateway(embedder(engine))
    await gateway.embed(["x" * (BATCH_BYTES // 2 + 1)] * 3)

    assert engine.stats.paths.count("/v1/embeddings") == 3


async def test_no_texts_ask_nobody(engine: SimulatedEngine, open_gateway: OpenGateway) -> None:
    gateway = await open_gateway(embedder(engine))
    asked = len(engine.stats.paths)

    assert (await gateway.embed([])).vectors == ()
    assert len(engine.stats.paths) == asked


async def test_a_model_that_embeds_is_none_to_chat_with(engine: SimulatedEngine, open_gateway: OpenGateway) -> None:
    async with SimulatedEngine() as chat:
        gateway = await open_gateway(Node(chat.url), embedder(engine))

        assert [model.id for model in gateway.models()] == ["sim"]
        with pytest.raises(NotFound):
            await gateway.embed(["x"], model="sim")
        with pytest.raises(NotFound):
            await anext(gateway.stream("emb", [], PLAIN, session_id="s"))


async def test_where_nobody_embeds_that_is_said(open_gateway: OpenGateway) -> None:
    async with SimulatedEngine() as chat:
        gateway = await open_gateway(Node(chat.url))
        with pytest.raises(NotFound) as caught:
            await gateway.embed(["x"])

    assert "operator" in caught.value.message


async def test_a_sleeping_embedder_is_woken(engine: SimulatedEngine, open_gateway: OpenGateway) -> None:
    engine.scenario = Scenario(cold_s=3600)
    gateway = await open_gateway(embedder(engine, serverless=True))
    task = asyncio.create_task(gateway.embed(["x"]))
    await engine.until_true(lambda: engine.stats.refused >= 3)
    engine.wake()

    assert rounded((await task).vectors) == [vector_of("x")]


async def test_nobody_waits_for_long_for_a_vector(engine: SimulatedEngine, open_gateway: OpenGateway) -> None:
    engine.scenario = Scenario(cold_s=3600)
    gateway = await open_gateway(embedder(engine, serverless=True), limits=limits(embed_wake_s=0.05, notice_s=0.01))
    with pytest.raises(UpstreamError) as caught:
        await gateway.embed(["x"])

    assert caught.value.code == "model_unavailable"


async def test_leaving_frees_the_place_of_an_embedder(engine: SimulatedEngine, open_gateway: OpenGateway) -> None:
    engine.scenario = Scenario(cold_s=3600, hold_cold=True)
    node = embedder(engine, serverless=True, state="warm")  # as far as we know
    gateway = await open_gateway(node)
    task = asyncio.create_task(gateway.embed(["x"]))
    await engine.until(open=1)
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)

    await engine.until(aborted=1, open=0)
    assert node.outstanding == 0


async def test_another_node_embeds_when_one_is_gone(engine: SimulatedEngine, open_gateway: OpenGateway) -> None:
    gone = Node("http://127.0.0.1:9/v1", models=EMB, serverless=False, state="warm")
    gateway = await open_gateway(gone, embedder(engine))
    gone.mark("warm")

    assert rounded((await gateway.embed(["x"])).vectors) == [vector_of("x")]


@pytest.mark.parametrize(
    ("scenario", "error"),
    [
        (Scenario(status=500), UpstreamError),
        (Scenario(status=429), UpstreamError),
        (Scenario(status=401), UpstreamError),
        (Scenario(context_tokens=1), ContextTooLong),
    ],
)
async def test_a_refusal_is_an_error_in_our_words(
    scenario: Scenario, error: type[UpstreamError], engine: SimulatedEngine, open_gateway: OpenGateway
) -> None:
    engine.scenario = scenario
    node = embedder(engine)
    gateway = await open_gateway(node)
    with pytest.raises(error) as caught:
        await gateway.embed(["a text of several tokens"])

    assert SECRET not in caught.value.message
    assert node.outstanding == 0


@pytest.mark.parametrize(
    "answer",
    [b"<html>", b'{"data": []}', b"\xff", b'{"x": ' + b"[" * 100_000, b'{"data": [{"index": 1, "embedding": [1.0]}]}'],
)
async def test_an_answer_that_is_no_vectors_is_an_error(
    answer: bytes, engine: SimulatedEngine, open_gateway: OpenGateway
) -> None:
    engine.embeddings = answer
    gateway = await open_gateway(embedder(engine))
    with pytest.raises(UpstreamError) as caught:
        await gateway.embed(["x"])

    assert caught.value.code == "model_error"
