"""What one streamed token costs the gateway, in CPU of its process: read, cut, decode, hand over.

    python -m tests.inference.bench_gateway [--streams 64] [--tps 50]

The engine is another process that sends one frame a packet, as engines do. Figures are marginal: the CPU of long
answers less that of short ones, so that requests do not count; rounds alternate with a client that only reads the
bytes (aiohttp's floor), and with itself unpaced, where tokens arrive together.
"""

import argparse
import asyncio
import json
import statistics
import subprocess
import sys
import time
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager

import aiohttp
import uvloop

from functions.chat.messages import Sampling
from functions.inference.gateway import Gateway, Node
from tests.inference.conftest import HELLO

SHORT, LONG, ROUNDS = 10, 210, 6

Answer = Callable[[int], Awaitable[None]]  # to the end, with so many tokens


@contextmanager
def engine(scenario: str) -> Iterator[str]:
    command = [sys.executable, "-m", "tests.simulated", "--scenario", scenario]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        try:
            yield process.stdout.readline().strip()
        finally:
            process.terminate()


def through(gateway: Gateway) -> Answer:
    async def answer(tokens: int) -> None:
        async for _ in gateway.stream("sim", HELLO, Sampling(max_tokens=tokens), session_id=""):
            pass

    return answer


def bytes_only(session: aiohttp.ClientSession, url: str) -> Answer:
    async def answer(tokens: int) -> None:
        body = json.dumps({"model": "sim", "messages": HELLO, "stream": True, "max_tokens": tokens})
        async with session.post(f"{url}/chat/completions", data=body) as response:
            async for _ in response.content.iter_any():
                pass

    return answer


async def cpu_s(answer: Answer, streams: int, tokens: int) -> float:
    started = time.process_time()
    await asyncio.gather(*(answer(tokens) for _ in range(streams)))
    return time.process_time() - started


async def measure(name: str, url: str, streams: int) -> None:
    gateway = Gateway([Node(url)])
    await gateway.open()
    answers = {"gateway": through(gateway), "bytes only": bytes_only(gateway._session, url)}
    costs: dict[str, list[float]] = {which: [] for which in answers}
    for _ in range(ROUNDS):
        for which, answer in answers.items():
            short = await cpu_s(answer, streams, SHORT)
            long = await cpu_s(answer, streams, LONG)
            costs[which].append((long - short) / (streams * (LONG - SHORT)) * 1e6)
    await gateway.close()
    for which, us in costs.items():
        line = f"{name:>8}  {which:<10}  median {statistics.median(us[1:]):5.1f} µs/token, best {min(us[1:]):5.1f}"
        print(line)  # noqa: T201


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--streams", type=int, default=64)
    parser.add_argument("--tps", type=float, default=50.0)
    options = parser.parse_args()
    for name, tps in ((f"{options.tps:g}/s", options.tps), ("unpaced", 0.0)):
        with engine(f"tokens={LONG},tps={tps}") as url:
            uvloop.run(measure(name, url, options.streams))


if __name__ == "__main__":
    main()
