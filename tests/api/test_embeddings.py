"""`POST /v1/embeddings`, driven by the official client."""

from collections.abc import AsyncIterator
from pathlib import Path

import openai
import pytest

from functions.api.embeddings import INPUTS_MAX
from functions.inference.lexical import lexical_vector
from functions.inference.nodes import Node, ServedModel
from tests.house import House, open_house
from tests.simulated import Scenario, SimulatedEngine


def chat_and_embed(engine: SimulatedEngine) -> list[Node]:
    embed = ServedModel(id="embed", task="embed", context_tokens=512)
    return [
        Node(engine.url, name="chat", models=[ServedModel(id="sim", context_tokens=4096)], kind="vllm"),
        Node(engine.url, name="embedder", models=[embed], kind="vllm", serverless=True, state="warm"),
    ]


@pytest.fixture
async def house(tmp_path: Path) -> AsyncIterator[House]:
    async with open_house(tmp_path, Scenario(), chat_and_embed) as house:
        yield house


@pytest.fixture
async def client(house: House) -> AsyncIterator[openai.AsyncOpenAI]:
    async with openai.AsyncOpenAI(base_url=f"{house.url}/v1", api_key="x", max_retries=0) as client:
        yield client


async def test_the_official_client_gets_a_vector_for_each_text(client: openai.AsyncOpenAI) -> None:
    answer = await client.embeddings.create(model="embed", input=["one", "two", "one"])

    vectors = [item.embedding for item in answer.data]
    assert [item.index for item in answer.data] == [0, 1, 2]
    assert vectors[0] == vectors[2] != vectors[1]
    assert answer.usage.prompt_tokens > 0
    assert answer.model == "embed"


async def test_floats_and_base64_say_the_same(client: openai.AsyncOpenAI) -> None:
    packed = await client.embeddings.create(model="embed", input="hello")
    plain = await client.embeddings.create(model="embed", input="hello", encoding_format="float")

    assert packed.data[0].embedding == pytest.approx(plain.data[0].embedding, rel=1e-6)


async def test_an_embedding_model_is_no_chat_model(house: House, client: openai.AsyncOpenAI) -> None:
    listed = {model.id async for model in client.models.list()}
    assert listed == {"sim"}
    with pytest.raises(openai.NotFoundError):
        await client.chat.completions.create(model="embed", messages=[{"role": "user", "content": "hi"}])


async def test_a_house_without_an_embedder_says_so(tmp_path: Path) -> None:
    async with open_house(tmp_path) as house:
        answer = await house.http.post("/v1/embeddings", json={"model": "embed", "input": "hello"})

    assert answer.status_code in (404, 502)
    assert "embed" in answer.json()["error"]["message"]


async def test_words_are_no_model_unless_they_are_asked_for_by_name(tmp_path: Path) -> None:
    async with open_house(tmp_path) as house:
        unnamed = await house.http.post("/v1/embeddings", json={"input": "hello"})
        named = await house.http.post("/v1/embeddings", json={"input": "hello", "model": "parley-lexical"})

    assert unnamed.status_code == 404
    assert named.json()["model"] == "parley-lexical"
    assert named.json()["data"][0]["embedding"] == list(lexical_vector("hello"))


@pytest.mark.parametrize(
    ("body", "param"),
    [
        ({}, "input"),
        ({"input": None}, "input"),
        ({"input": []}, "input"),
        ({"input": ["a"] * (INPUTS_MAX + 1)}, "input"),
        ({"input": ""}, "input.0"),
        ({"input": [1, 2]}, "input.0"),
        ({"input": ["a", "a\0"]}, "input.1"),
        ({"input": "x", "encoding_format": "hex"}, "encoding_format"),
        ({"input": "x", "dimensions": 8}, "dimensions"),
    ],
)
async def test_bad_input_is_refused_before_any_gpu_hears_of_it(
    house: House, body: dict[str, object], param: str
) -> None:
    answer = await house.http.post("/v1/embeddings", json={"model": "embed"} | body)

    assert answer.status_code == 400
    assert answer.json()["error"]["param"] == param
    assert "/v1/embeddings" not in house.engine.stats.paths


async def test_what_the_input_rails_redact_never_reaches_the_embedder(house: House) -> None:
    card = "4111 1111 1111 1111"
    answer = await house.http.post("/v1/embeddings", json={"model": "embed", "input": f"pay with {card}"})

    assert answer.status_code == 200
    assert card not in str(house.engine.stats.requests)


async def test_what_vectors_cost_is_on_their_owners_bill(house: House) -> None:
    await house.http.post("/v1/embeddings", json={"model": "embed", "input": ["one", "two"]})
    bill = (await house.http.get("/usage")).json()

    (line,) = bill["data"]
    assert (line["model"], line["chat_id"]) == ("embed", None)
    assert line["prompt_tokens"] > 0
    assert line["gpu_seconds"] > 0
