"""Vectors over the wire: in order, in batches, from a node that may sleep; or an error in our words."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import msgspec
import pytest

from functions.errors import ContextTooLong, NotFound, UpstreamError
from functions.inference.embedding import BATCH_BYTES, BATCH_TEXTS, IN_FLIGHT, IN_THREAD_CHARS
from functions.inference.gateway import Limits, Node
from functions.inference.lexical import LEXICAL_MODEL, lexical_vector
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
    assert (embedded.model, embedded.is_lexical) == ("emb", False)
    assert embedded.prompt_tokens == 2 + 2 + 0  # the second hello is the first one's


async def test_many_texts_go_a_few_at_a_time(engine: SimulatedEngine, open_gateway: OpenGateway) -> None:
    gateway = await open_gateway(embedder(engine))
    texts = [f"text {n}" for n in range(2 * BATCH_TEXTS + 1)]
    embedded = await gateway.embed(texts)

    assert rounded(embedded.vectors) == [vector_of(text) for text in texts]
    assert engine.stats.paths.count("/v1/embeddings") == 3


async def test_long_texts_go_alone(engine: SimulatedEngine, open_gateway: OpenGateway) -> None:
    engine.scenario = Scenario(context_tokens=BATCH_BYTES)
    gateway = await open_gateway(embedder(engine))
    await gateway.embed([letter * (BATCH_BYTES // 2 + 1) for letter in "xyz"])

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


async def test_where_nobody_embeds_words_stand_in_and_say_so(open_gateway: OpenGateway) -> None:
    texts = ["When does it open?", "it opens when", "九点开门", "x" * IN_THREAD_CHARS]
    async with SimulatedEngine() as chat:
        gateway = await open_gateway(Node(chat.url))
        embedded = await gateway.embed(texts)

        assert (embedded.model, embedded.is_lexical, embedded.prompt_tokens) == (LEXICAL_MODEL, True, 0)
        assert embedded.vectors == tuple(map(lexical_vector, texts))
        assert "/v1/embeddings" not in chat.stats.paths
        assert gateway.embedders() == ()


async def test_who_wants_a_model_gets_no_words_instead(open_gateway: OpenGateway) -> None:
    async with SimulatedEngine() as chat:
        gateway = await open_gateway(Node(chat.url))
        with pytest.raises(NotFound) as caught:
            await gateway.embed(["x"], fresh=True)
        with pytest.raises(NotFound):
            await gateway.embed(["x"], model="emb")

    assert "operator" in caught.value.message


async def test_where_a_model_embeds_words_are_had_by_name_only(
    engine: SimulatedEngine, open_gateway: OpenGateway
) -> None:
    gateway = await open_gateway(embedder(engine))

    assert (await gateway.embed(["x"], model=LEXICAL_MODEL)).is_lexical
    assert not (await gateway.embed(["x"])).is_lexical


async def test_a_model_that_cannot_be_reached_is_not_replaced_by_words(
    engine: SimulatedEngine, open_gateway: OpenGateway
) -> None:
    engine.scenario = Scenario(status=500)
    gateway = await open_gateway(embedder(engine))
    with pytest.raises(UpstreamError):
        await gateway.embed(["x"])


async def test_a_text_is_embedded_once(engine: SimulatedEngine, open_gateway: OpenGateway) -> None:
    gateway = await open_gateway(embedder(engine))
    first = await gateway.embed(["one", "two"])
    asked, embedded = len(engine.stats.paths), engine.stats.embedded
    again = await gateway.embed(["two", "one"])

    assert again.vectors == first.vectors[::-1]
    assert again.prompt_tokens == 0
    assert (len(engine.stats.paths), engine.stats.embedded) == (asked, embedded)

    more = await gateway.embed(["one", "three"])
    assert more.vectors[0] == first.vectors[0]
    assert engine.stats.embedded == embedded + 1


async def test_who_asks_for_fresh_vectors_is_answered_by_the_node(
    engine: SimulatedEngine, open_gateway: OpenGateway
) -> None:
    """Whether a text was known would tell that somebody else has sent it."""
    gateway = await open_gateway(embedder(engine))
    await gateway.embed(["one"])
    before = engine.stats.embedded
    fresh = await gateway.embed(["one", "one"], fresh=True)

    assert engine.stats.embedded == before + 2
    assert fresh.prompt_tokens > 0


async def test_batches_go_together_but_not_all_at_once(engine: SimulatedEngine, open_gateway: OpenGateway) -> None:
    engine.scenario = Scenario(cold_s=3600, hold_cold=True)
    node = embedder(engine, serverless=True, state="warm")  # as far as we know
    gateway = await open_gateway(node)
    texts = [f"text {n}" for n in range(2 * IN_FLIGHT * BATCH_TEXTS)]
    task = asyncio.create_task(gateway.embed(texts))
    await engine.until(open=IN_FLIGHT)

    assert node.outstanding == IN_FLIGHT
    engine.wake()
    assert rounded((await task).vectors) == [vector_of(text) for text in texts]


async def test_what_embeds_is_known_without_asking(engine: SimulatedEngine, open_gateway: OpenGateway) -> None:
    node = embedder(engine, serverless=True)
    gateway = await open_gateway(node)
    assert (gateway.embedders(), gateway.embedders(awake=True)) == (("emb",), ())

    node.mark("warm")
    assert gateway.embedders(awake=True) == ("emb",)


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
    [
        b"<html>",
        b'{"data": []}',
        b"\xff",
        b'{"x": ' + b"[" * 100_000,
        b'{"data": [{"index": 1, "embedding": [1.0]}]}',
        b'{"data": [{"index": 0, "embedding": []}]}',
        b'{"data": [{"index": 0, "embedding": [1e39]}]}',
    ],
)
async def test_an_answer_that_is_no_vectors_is_an_error(
    answer: bytes, engine: SimulatedEngine, open_gateway: OpenGateway
) -> None:
    engine.embeddings = answer
    gateway = await open_gateway(embedder(engine))
    with pytest.raises(UpstreamError) as caught:
        await gateway.embed(["x"])

    assert caught.value.code == "model_error"
