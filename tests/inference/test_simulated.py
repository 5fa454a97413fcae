"""The simulated engine itself: what other tests lean on must hold."""

import asyncio
import json
import subprocess
import sys
import urllib.request
from typing import Any

from openai import AsyncOpenAI

from functions.inference.gateway import Node
from tests.inference.conftest import HELLO, OpenGateway, listen
from tests.simulated import Scenario, SimulatedEngine, answer_of


async def test_the_official_client_understands_it() -> None:
    async with SimulatedEngine(Scenario(echo=True, comments=True)) as engine:
        client = AsyncOpenAI(base_url=engine.url, api_key="x", max_retries=0)
        create: Any = client.chat.completions.create  # its types are finer than our messages
        streamed = [
            c.choices[0].delta.content or "" async for c in await create(model="sim", messages=HELLO, stream=True)
        ]
        whole = await create(model="sim", messages=HELLO)
        await client.close()

    assert "".join(streamed) == answer_of(HELLO, 16)
    assert whole.choices[0].message.content == answer_of(HELLO, 16)


async def test_a_scenario_can_come_in_the_models_name(open_gateway: OpenGateway) -> None:
    async with SimulatedEngine(models=("sim", "sim:tokens=3,echo")) as engine:
        gateway = await open_gateway(Node(engine.url))

        assert (await listen(gateway)).count == 16
        assert (await listen(gateway, "sim:tokens=3,echo")).text == answer_of(HELLO, 3)


async def test_it_can_be_cold_and_it_can_be_loading(open_gateway: OpenGateway) -> None:
    async with SimulatedEngine(Scenario(cold_s=0.1)) as engine:
        cold = await listen(await open_gateway(Node(engine.url, serverless=True)))
    async with SimulatedEngine(Scenario(loading_s=0.5)) as engine:
        loading = await listen(await open_gateway(Node(engine.url)))

    assert cold.phases == ["waking"]
    assert loading.phases == ["loading"]


async def test_a_held_stream_stands_before_its_token(open_gateway: OpenGateway) -> None:
    async with SimulatedEngine() as engine:
        gateway = await open_gateway(Node(engine.url))
        engine.gate.hold(3)
        task = asyncio.create_task(listen(gateway))
        await engine.gate.reached()
        assert engine.stats.tokens == 3
        engine.gate.release()

        assert (await task).count == 16


async def test_a_stopped_engine_can_be_started_again_at_its_address(open_gateway: OpenGateway) -> None:
    async with SimulatedEngine() as engine:
        gateway = await open_gateway(Node(engine.url))
        await engine.stop()
        await engine.start()

        assert (await listen(gateway)).count == 16


def test_it_runs_as_a_process_and_tells_what_it_did() -> None:
    command = [sys.executable, "-m", "tests.simulated", "--scenario", "tokens=2"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        url = process.stdout.readline().strip()
        asked = json.dumps({"model": "sim", "messages": HELLO, "stream": True}).encode()
        with urllib.request.urlopen(f"{url}/chat/completions", data=asked, timeout=10) as answer:
            assert answer.read().endswith(b"data: [DONE]\n\n")
        with urllib.request.urlopen(url.replace("/v1", "/stats"), timeout=10) as answer:
            stats = json.load(answer)
        process.terminate()

        assert process.wait(10) == 0
        assert (stats["started"], stats["finished"], stats["tokens"]) == (1, 1, 2)
        assert stats["requests"][0]["messages"] == HELLO
