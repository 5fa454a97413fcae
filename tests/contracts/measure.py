"""What a store costs: CPU per checkpoint when 1, 16 and 64 runs write, and the latency of the steps of a turn.

python -m tests.contracts.measure             SQLite in a temporary folder
python -m tests.contracts.measure dynamodb    DynamoDB on ministack
"""

import asyncio
import statistics
import sys
import tempfile
import time
from collections.abc import Awaitable
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import uvloop

from functions.chat.messages import Run
from functions.services import open_store
from functions.settings import BEAT_SECONDS
from tests.contracts.makers import Store, a_chat, a_message, a_turn, claimed, deltas, ended, the_answer, the_end
from tests.ministack import ministack

OWNER = "local"
TURNS = 300


def quantiles(seconds: list[float]) -> str:
    ordered = sorted(seconds)
    return f"p50 {statistics.median(ordered) * 1e3:.2f} ms, p99 {ordered[int(len(ordered) * 0.99)] * 1e3:.2f} ms"


async def timed(latencies: list[float], call: Awaitable[Any]) -> Any:
    began = time.perf_counter()
    result = await call
    latencies.append(time.perf_counter() - began)
    return result


async def turns(store: Store) -> list[Run]:
    begin, claim, finish, path = [], [], [], []  # type: ignore[var-annotated]
    runs: list[Run] = []
    for n in range(TURNS):
        chat = a_chat()
        await store.create_chat(OWNER, chat)
        message = a_message(chat.id, content="hello " * 50)
        run, _ = await timed(begin, store.begin_turn(OWNER, a_turn(OWNER, chat.id, message=message)))
        run = await timed(claim, claimed(store, OWNER, run))
        await timed(path, store.read_path(OWNER, chat.id, message.id))
        if n < TURNS - 64:
            await timed(finish, store.finish_run(OWNER, ended(run), [the_end(2)], the_answer(run)))
        else:
            runs.append(run)
    for name, latencies in (("begin_turn", begin), ("claim_run", claim), ("read_path", path), ("finish_run", finish)):
        sys.stdout.write(f"{name:12} {quantiles(latencies)}\n")
    return runs


async def checkpoints(store: Store, runs: list[Run], each: int, pause_s: float, seqs: dict[str, int]) -> None:
    latencies: list[float] = []

    async def write(n: int, run: Run) -> None:
        await asyncio.sleep(pause_s * n / len(runs))  # as runs begin: not all in the same moment
        for _ in range(each):
            seqs[run.id] = seqs.get(run.id, 1) + 1
            events = deltas(seqs[run.id], " and so on")
            began = time.perf_counter()
            await timed(latencies, store.append_events(OWNER, run.id, run.epoch, events, lease_until_ms=10**13))
            if pause_s:
                await asyncio.sleep(max(0.0, pause_s - (time.perf_counter() - began)))

    cpu = time.process_time()
    await asyncio.gather(*(write(n, run) for n, run in enumerate(runs)))
    cpu = (time.process_time() - cpu) / (each * len(runs))
    how = f"every {pause_s * 1e3:.0f} ms" if pause_s else "at once"
    each_cost = f"{cpu * 1e6:6.1f} µs CPU each"
    sys.stdout.write(f"append_events, {len(runs):2} runs {how:12}: {each_cost}, {quantiles(latencies)}\n")


async def main(store_url: str) -> None:
    store: Any = await open_store(store_url, create=True)
    runs, seqs = await turns(store), {}  # type: ignore[var-annotated]
    for pause_s in (0.0, BEAT_SECONDS):
        for number, each in ((1, 400), (16, 100), (64, 50)):
            await checkpoints(store, runs[:number], each, pause_s, seqs)
    await store.close()


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as folder, ExitStack() as stack:
        url = f"sqlite:///{folder}/parley.db"
        if "dynamodb" in sys.argv:
            url = f"dynamodb://measure?region=eu-central-1&endpoint={stack.enter_context(ministack(Path(folder)))}"
        uvloop.run(main(url))
