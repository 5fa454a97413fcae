"""A GPU that sleeps, as people meet it: phases and times on both wires, pre-warming, stopping while it starts."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import httpx
import openai
import pytest

from functions.inference.nodes import Node, ServedModel
from tests.house import House, open_house, text_of
from tests.simulated import Scenario, SimulatedEngine

COLD_S = 1.0


def gpu(engine: SimulatedEngine, **more: object) -> list[Node]:
    """A serverless node that sleeps."""
    model = ServedModel(id="sim", context_tokens=4096)
    price = {"gpu": "L40S", "usd_per_second": 0.001, "idle_seconds": 60.0} | more
    return [Node(engine.url, name="gpu", serverless=True, kind="vllm", models=[model], **price)]


@pytest.fixture
async def house(tmp_path: Path) -> AsyncIterator[House]:
    async with open_house(tmp_path, Scenario(echo=True, cold_s=COLD_S), gpu) as house:
        yield house


async def test_a_cold_start_is_told_before_the_first_token_and_then_remembered(house: House) -> None:
    chat = await house.open_chat()
    first = await house.say(chat, "Hello")

    phases = [e.data["phase"] for e in first if e.name == "status"]
    assert phases[0] == "waking"
    assert phases[-1] == "generating"
    assert first[-1].data["timings"]["wake_ms"] >= 0.8 * COLD_S * 1000

    model = (await house.http.get("/status")).json()["models"][0]
    assert model["state"] == "warm"
    assert model["usd_per_hour"] == pytest.approx(3.6)
    assert model["gpu"] == "L40S"


async def test_the_second_start_has_an_estimate_even_in_another_process(tmp_path: Path) -> None:
    async with open_house(tmp_path, Scenario(echo=True, cold_s=COLD_S), gpu) as house:
        await house.say(await house.open_chat(), "Hello")
    # Another process, on the same store: it has never seen this node start.
    async with open_house(tmp_path, Scenario(echo=True, cold_s=COLD_S), lambda e: gpu(e, idle_seconds=0.1)) as house:
        events = await house.say(await house.open_chat(), "Hello again")

    waking = next(e for e in events if e.name == "status" and e.data["phase"] == "waking")
    assert 0 < waking.data["eta_p50_ms"] <= waking.data["eta_p90_ms"] < 30_000


async def test_the_official_client_lives_through_a_cold_start(house: House) -> None:
    async with openai.AsyncOpenAI(base_url=f"{house.url}/v1", api_key="x", max_retries=0) as client:
        stream = await client.chat.completions.create(
            model="sim", messages=[{"role": "user", "content": "Hello"}], stream=True
        )
        text = "".join([c.choices[0].delta.content or "" async for c in stream if c.choices])

    assert text


async def test_the_compatible_stream_tells_of_waking_in_comments_only(house: House) -> None:
    body = {"model": "sim", "messages": [{"role": "user", "content": "Hello"}], "stream": True}
    lines = (await house.http.post("/v1/chat/completions", json=body)).text.splitlines()

    assert any(line.startswith(": status=waking") for line in lines)
    assert all(line == "" or line.startswith((":", "data: ")) for line in lines)


async def test_a_stop_while_the_gpu_starts_sends_it_no_prompt(tmp_path: Path) -> None:
    async with open_house(tmp_path, Scenario(echo=True, cold_s=3600), gpu) as house:
        chat = await house.open_chat()
        async with house.saying(chat, "Never mind") as listener:
            while (await listener.until("status")).data["phase"] != "waking":
                pass
            await house.http.delete(f"/runs/{listener.run_id}")
            last = (await listener.rest())[-1]
        assert last.name == "stopped"
        assert last.data["message"]["content"] == ""
        assert last.data["message"]["usage"]["completion_tokens"] == 0
        assert house.engine.stats.started == 0


async def test_reading_status_and_models_wakes_nothing(house: House) -> None:
    for path in ("/status", "/v1/models", "/readyz", "/livez"):
        assert (await house.http.get(path)).status_code == 200

    assert house.engine.stats.connections == 0


# -- pre-warming --------------------------------------------------------------------------------------------------


async def test_typing_wakes_the_gpu_once(house: House) -> None:
    first = (await house.http.post("/prewarm", json={})).json()
    second = (await house.http.post("/prewarm", json={"model": "sim"})).json()

    assert first["started"] is True
    assert first["state"] == "warming"
    assert second["started"] is False
    events = await house.say(await house.open_chat(), "Hello")
    assert text_of(events)


async def test_typing_wakes_nothing_that_is_awake(house: House) -> None:
    await house.say(await house.open_chat(), "Hello")
    heard = house.engine.stats.connections

    told = (await house.http.post("/prewarm", json={})).json()

    assert (told["started"], told["state"]) == (False, "warm")
    assert house.engine.stats.connections == heard


async def test_typing_stops_waking_when_the_days_money_is_used_up(tmp_path: Path) -> None:
    # A start and the idle time after it are 180 s at $3.60 an hour: 18 cents.
    async with open_house(tmp_path, Scenario(cold_s=3600), gpu, prewarm_usd_per_day=0.17) as house:
        answer = await house.http.post("/prewarm", json={})

        assert answer.status_code == 202
        assert answer.json()["started"] is False
        assert "used up" in answer.json()["reason"]
        assert house.engine.stats.connections == 0


async def test_typing_wakes_nothing_where_prewarming_is_off(tmp_path: Path) -> None:
    async with open_house(tmp_path, Scenario(cold_s=3600), gpu, prewarm_usd_per_day=0) as house:
        assert (await house.http.post("/prewarm", json={})).json()["started"] is False
        assert house.engine.stats.connections == 0


async def test_sixteen_tabs_that_type_at_once_start_one_gpu_and_then_wait(house: House) -> None:
    answers = await asyncio.gather(*(house.http.post("/prewarm", json={}) for _ in range(16)))

    assert sum(a.status_code == 202 and a.json()["started"] for a in answers) == 1
    for refused in (a for a in answers if a.status_code != 202):
        assert refused.status_code == 429
        assert float(refused.headers["retry-after"]) > 0


async def test_prewarming_an_unknown_model_is_a_clear_error(house: House) -> None:
    answer = await house.http.post("/prewarm", json={"model": "nonesuch"})

    assert answer.status_code == 404
    assert answer.json()["error"]["code"] == "model_not_found"


async def test_prewarming_needs_sign_in_where_the_house_does(tmp_path: Path) -> None:
    closed = {"auth": "token", "access_tokens": "alice=00"}
    async with open_house(tmp_path, Scenario(cold_s=3600), gpu, **closed) as house:
        async with httpx.AsyncClient(base_url=house.url) as stranger:
            assert (await stranger.post("/prewarm", json={})).status_code == 401
        assert house.engine.stats.connections == 0
