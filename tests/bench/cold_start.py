"""A cold start as people meet it: `python -m tests.bench.cold_start [--seconds 40]`.

The real app on a real socket over a simulated serverless GPU that takes so long to start, three times in a row. Prints
when the first event came, the longest silence, how far the estimate was off, and what the official OpenAI client and
somebody who stops while waiting lived through. Takes five times the seconds; not part of the suite.
"""

import argparse
import asyncio
import json
import tempfile
import time
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import httpx
import openai

from functions.chat.messages import new_id
from functions.inference.nodes import Node, ServedModel
from functions.settings import Settings
from tests.house import Serving
from tests.simulated import Scenario, SimulatedEngine

IDLE_SECONDS = 1.0  # then the node counts as asleep again


async def main(seconds: float) -> None:
    async with AsyncExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        engine = await stack.enter_async_context(SimulatedEngine(Scenario(echo=True, tokens=8, cold_s=seconds)))
        node = Node(
            engine.url,
            name="gpu",
            serverless=True,
            idle_seconds=IDLE_SECONDS,
            kind="vllm",
            models=[ServedModel(id="sim", context_tokens=4096)],
            gpu="L40S",
            usd_per_second=0.000542,
        )
        serving = Serving(Settings(store_url=f"sqlite:///{folder / 'parley.db'}", data=folder), [node])
        url = await asyncio.to_thread(serving.__enter__)
        stack.push_async_callback(asyncio.to_thread, serving.__exit__)
        http = await stack.enter_async_context(httpx.AsyncClient(base_url=url, timeout=seconds + 30))
        for number in range(1, 4):
            show(f"start {number}", await native(http, seconds))
            await sleep_again(engine)
        show("openai client", await official_client(url, seconds))
        await sleep_again(engine)
        show("stopped while waiting", await stopped(http, engine, serving))


async def sleep_again(engine: SimulatedEngine) -> None:
    """The provider takes the GPU away, and its node counts as cold."""
    await asyncio.sleep(IDLE_SECONDS + 0.5)
    engine.sleep()


async def native(http: httpx.AsyncClient, seconds: float) -> dict[str, Any]:
    """What one reader of the native stream sees."""
    chat = (await http.post("/chat", json={})).json()["id"]
    body = {"message": {"id": new_id(), "content": "Hello"}}
    asked = last = time.monotonic()
    first = silence = 0.0
    phases: list[str] = []
    eta = None
    ready = 0.0
    async with http.stream("POST", f"/chat/{chat}/completion", json=body) as response:
        async for line in response.aiter_lines():
            now = time.monotonic()
            first = first or now - asked
            silence, last = max(silence, now - last), now
            if line.startswith("data: ") and '"phase"' in line:
                data = json.loads(line[6:])
                if not phases or phases[-1] != data["phase"]:
                    phases.append(data["phase"])
                if data["phase"] == "waking" and eta is None and "eta_p50_ms" in data:
                    eta = data["eta_p50_ms"] / 1000
                if data["phase"] == "generating":
                    ready = now - asked
    off = None if eta is None else round(abs(eta - ready) / ready * 100)
    return {
        "first_event_s": round(first, 3),
        "longest_silence_s": round(silence, 2),
        "phases": phases,
        "eta_p50_s": eta,
        "took_s": round(ready, 1),
        "eta_off_percent": off,
    }


async def official_client(url: str, seconds: float) -> dict[str, Any]:
    asked = time.monotonic()
    async with openai.AsyncOpenAI(base_url=f"{url}/v1", api_key="x", timeout=seconds + 30, max_retries=0) as client:
        stream = await client.chat.completions.create(
            model="sim", messages=[{"role": "user", "content": "Hello"}], stream=True
        )
        text = "".join([c.choices[0].delta.content or "" async for c in stream if c.choices])
    return {"took_s": round(time.monotonic() - asked, 1), "characters": len(text)}


async def stopped(http: httpx.AsyncClient, engine: SimulatedEngine, serving: Serving) -> dict[str, Any]:
    """Stop before the first token: what the engine heard of it afterwards, and what the run cost."""
    chat = (await http.post("/chat", json={})).json()["id"]
    body = {"message": {"id": new_id(), "content": "Never mind"}, "mode": "async"}
    run = (await http.post(f"/chat/{chat}/completion", json=body)).json()["run_id"]
    async with asyncio.timeout(10):
        async with http.stream("GET", f"/runs/{run}/events") as response:
            async for line in response.aiter_lines():
                if '"waking"' in line:
                    break
    asked = time.monotonic()
    await http.delete(f"/runs/{run}")
    took = time.monotonic() - asked
    heard = len(engine.stats.requests)
    await asyncio.sleep(5)
    state = (await http.get(f"/runs/{run}")).json()
    return {
        "stop_took_s": round(took, 2),
        "status": state["status"],
        "prompts_sent_after": len(engine.stats.requests) - heard,
        "tokens": engine.stats.tokens and state["usage"]["completion_tokens"],
        "cost": state["cost"],
    }


def show(what: str, figures: dict[str, Any]) -> None:
    print(what, json.dumps(figures))  # noqa: T201


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=40.0)
    asyncio.run(main(parser.parse_args().seconds))
