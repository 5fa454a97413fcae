"""What does Parley add to the model behind it? One command, against a simulated engine, next to what everybody writes.

    python -m tests.bench.chat_layer [--streams 1,32,64] [--rounds 5] [--tokens 150] [--tps 50] [--json FILE]
                                     [--against FOLDER]

Four ways to the same engine, in alternating rounds of one run, so that a noisy machine disturbs all of them alike:

    direct      the engine itself: the time that nobody can take away
    naive       FastAPI + httpx, line by line (tests/bench/naive.py): no guardrails, no history, nothing kept
    native      Parley's own API: guardrails and run log on, a chat with three turns of history in the store
    compatible  Parley's OpenAI API, with the same history in the request
    before      with --against: the native API of another checkout (`git worktree add FOLDER COMMIT`)

What is printed:

    first text   from the request to the first text, less the same of `direct` in the same round; all arrive together
    CPU/token    of the server process, user and system, all threads, in the middle of long answers
    +request     the CPU of long answers, with all that their requests cost, over their tokens
    of naive     the figure before as a share of the naive server's in the same round
    CPU/request  of an answer of two tokens; `early` is the part before the first, while the engine still thinks
    late         the last byte of a long answer, against the engine's own plan
    RSS          in the middle of a long round; `/stream` is what it grew by

Every stream's text is checked to the letter. Only the ratios mean something on another machine. The server has one
core, generator and engine another; each server is a process of its own and is ended with the run.
"""

import argparse
import asyncio
import gc
import json
import os
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Sequence
from contextlib import AsyncExitStack
from dataclasses import asdict, dataclass, field, replace
from itertools import chain
from pathlib import Path
from typing import Any

import httpx
import uvloop

from functions.chat.messages import new_id
from functions.settings import NODE_QUEUE
from tests.bench.load import Address, Broken, Reply, check_compatible, check_native, fire, post
from tests.bench.processes import ROOT, Process, cores, serving
from tests.bench.upstream import MODEL, Plan, Upstream, answer

PREFILL_SECONDS = 0.02
THINKS_SECONDS = 0.8  # how long the engine thinks while we look at what a request has cost so far
HISTORY_TOKENS = 40
QUESTIONS = (
    "What does the keeper of the clock do in the morning?",
    "And the bakers, when do they open?",
    "Tell me about the square, please.",
    "Now put all of it into one short story for a child, in plain words.",
)
SYSTEM = "You are Parley, a helpful assistant. Answer in the language of the question."
SINGLE_REPEATS = 5  # at one stream a round is this many requests, one after the other


# -- the ways to the engine ----------------------------------------------------------------------------------------


@dataclass
class Way:
    """One of the four, and what it has shown so far. Per number of streams."""

    name: str
    address: Address
    request: Callable[[int], bytes]  # of the k-th stream, made fresh for each round
    check: Callable[[Reply, str], Any]
    process: Process | None = None
    first_ms: dict[int, list[list[float]]] = field(default_factory=dict)  # of each round
    request_ms: dict[int, list[float]] = field(default_factory=dict)  # CPU of a request with two tokens
    token_us: dict[int, list[float]] = field(default_factory=dict)  # CPU of a token in the middle of a long answer
    answer_us: dict[int, list[float]] = field(default_factory=dict)  # CPU of a long answer, over its tokens
    late_ms: dict[int, list[float]] = field(default_factory=dict)  # the median end of long answers, against the plan
    early_ms: list[float] = field(default_factory=list)  # CPU of a request before its first token
    idle_mb: float = 0.0
    busy_mb: float = 0.0

    def cpu_s(self) -> float:
        return self.process.cpu_s() if self.process else 0.0


def _prompt() -> list[dict[str, str]]:
    """The same conversation that `native` has in its store."""
    messages = [{"role": "system", "content": SYSTEM}]
    for question in QUESTIONS[:-1]:
        messages += [
            {"role": "user", "content": question},
            {"role": "assistant", "content": answer(HISTORY_TOKENS)},
        ]
    return [*messages, {"role": "user", "content": QUESTIONS[-1]}]


def _compatible(name: str, address: Address, process: Process | None = None) -> Way:
    body = {"model": MODEL, "messages": _prompt(), "stream": True}
    request = post(address, "/v1/chat/completions", body)
    return Way(name, address, lambda _: request, check_compatible, process)


async def _native(process: Process, streams: int) -> Way:
    """A chat for each stream, with its history. Every round continues the same turn, so that the history stays."""
    chats = [new_id() for _ in range(streams)]
    leaves: list[str | None] = [None] * streams

    def say(k: int, question: str) -> bytes:
        message = {"id": new_id(), "content": question} | ({"parent_id": leaves[k]} if leaves[k] else {})
        return post(process.address, f"/chat/{chats[k]}/completion", {"message": message})

    async with httpx.AsyncClient(base_url="http://{}:{}".format(*process.address)) as http:
        for chat in chats:
            (await http.post("/chat", json={"id": chat, "system_prompt": SYSTEM})).raise_for_status()
    for question in QUESTIONS[:-1]:
        replies = await fire(process.address, [say(k, question) for k in range(streams)])
        leaves = [check_native(reply, answer(HISTORY_TOKENS))["id"] for reply in replies]
    return Way("native", process.address, lambda k: say(k, QUESTIONS[-1]), check_native, process)


# -- one round -----------------------------------------------------------------------------------------------------


async def _round(
    upstream: Upstream,
    way: Way,
    streams: int,
    plan: Plan,
    *,
    look: Callable[[float], None] = lambda _: None,
    look_at_s: Sequence[float] = (),
    spread_s: float = 0.0,
) -> tuple[list[Reply], float]:
    """The replies, checked, and the CPU seconds that the server used for all of them. On the way `look` is called
    at these times, with the CPU seconds so far."""
    upstream.plan = plan
    requests = [way.request(k) for k in range(streams)]
    began = 0.0

    def begin() -> None:
        nonlocal began
        began = way.cpu_s()
        for seconds in look_at_s:
            asyncio.get_running_loop().call_later(seconds, lambda: look(way.cpu_s() - began))

    gc.collect()
    gc.disable()
    try:
        replies = await fire(way.address, requests, before=begin, spread_s=spread_s)
    finally:
        gc.enable()
    await asyncio.sleep(0.03)  # the server sees that we have left
    used = way.cpu_s() - began
    if upstream.prompt_messages != len(_prompt()):
        raise Broken(f"{way.name}: the engine was asked with {upstream.prompt_messages} messages")
    for reply in replies:
        way.check(reply, answer(plan.tokens))
    return replies, used


async def _short_round(upstream: Upstream, way: Way, streams: int) -> None:
    """When the first text comes. The second, and the end, come late enough not to stand in the others' way."""
    first_ms, cpu_s = [], 0.0
    repeats, tps = (SINGLE_REPEATS, 50.0) if streams == 1 else (1, 10.0)
    for _ in range(repeats):
        replies, used = await _round(upstream, way, streams, Plan(tokens=2, tps=tps, prefill_s=PREFILL_SECONDS))
        first_ms += [1000 * reply.first_text_s() for reply in replies]
        cpu_s += used
    way.first_ms.setdefault(streams, []).append(first_ms)
    way.request_ms.setdefault(streams, []).append(1000 * cpu_s / (repeats * streams))


async def _long_round(upstream: Upstream, way: Way, streams: int, tokens: int, tps: float) -> None:
    plan = Plan(tokens=tokens, tps=tps, prefill_s=PREFILL_SECONDS)
    nominal_s = PREFILL_SECONDS + (tokens - 1) / tps
    spread_s = nominal_s / 10 if streams > 1 else 0.0  # as in life; arriving together is what the short rounds are for
    look_at_s = (nominal_s / 3, nominal_s * 0.9)
    seen: list[tuple[float, int]] = []

    def look(used: float) -> None:
        seen.append((used, upstream.tokens))
        if way.process:
            way.busy_mb = max(way.busy_mb, way.process.rss_mb())

    replies, used = await _round(upstream, way, streams, plan, look=look, look_at_s=look_at_s, spread_s=spread_s)
    (used_1, tokens_1), (used_2, tokens_2) = seen
    if tokens_1 == tokens_2:
        raise Broken("the engine said nothing in the middle of a long round: too few tokens, or too busy a machine")
    way.token_us.setdefault(streams, []).append(1e6 * (used_2 - used_1) / (tokens_2 - tokens_1))
    way.answer_us.setdefault(streams, []).append(1e6 * used / streams / tokens)
    way.late_ms.setdefault(streams, []).append(1000 * (statistics.median(r.ended_s for r in replies) - nominal_s))


async def _thinking_round(upstream: Upstream, way: Way, streams: int) -> None:
    """What the requests have cost when the engine has them all and has said nothing."""

    def look(used: float) -> None:
        way.early_ms.append(1000 * used / streams)

    plan = Plan(tokens=1, prefill_s=THINKS_SECONDS)
    await _round(upstream, way, streams, plan, look=look, look_at_s=(0.9 * THINKS_SECONDS,))


# -- the run -------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Options:
    streams: tuple[int, ...] = (1, 32, 64)
    rounds: int = 5
    tokens: int = 150
    tps: float = 50.0
    store: str = "sqlite"
    against: Path | None = None


async def measure(options: Options) -> list[Way]:
    """All rounds of all ways; what they have shown stands in them. Raises Broken when an answer was not whole."""
    server_core, own_core = cores()
    most = max(options.streams)
    async with AsyncExitStack() as stack:
        stack.callback(os.sched_setaffinity, 0, os.sched_getaffinity(0))
        os.sched_setaffinity(0, own_core)
        upstream = await stack.enter_async_context(Upstream())
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="parley-bench-")))
        store = f"sqlite:///{folder / 'parley.db'}" if options.store == "sqlite" else options.store
        environment = {
            "UPSTREAM": upstream.url,
            "PARLEY_STORE_URL": store,
            "PARLEY_DATA": str(folder),
            "PARLEY_TITLES": "false",
            "PARLEY_MEMORY": "false",  # what follows a turn would ask the same engine while it is measured
            "PARLEY_SYSTEM_PROMPT": SYSTEM,
        }
        naive = await _start(stack, "naive", environment, server_core)
        parley = await _start(stack, "parley", environment, server_core)
        upstream.plan = Plan(tokens=HISTORY_TOKENS)
        ways = [
            _compatible("direct", ("127.0.0.1", upstream.port)),
            _compatible("naive", naive.address, naive),
            await _native(parley, most),
            _compatible("compatible", parley.address, parley),
        ]
        if options.against:
            (theirs := folder / "before").mkdir()
            environment |= {"PARLEY_STORE_URL": f"sqlite:///{theirs / 'parley.db'}", "PARLEY_DATA": str(theirs)}
            before = await _start(stack, "parley", environment, server_core, options.against)
            ways.append(replace(await _native(before, most), name="before"))
        for streams in options.streams:
            for way in ways:  # code paths, connections and caches
                await _round(upstream, way, streams, Plan(tokens=20, tps=200))
                way.idle_mb = way.process.rss_mb() if way.process else 0.0
            await _rounds(upstream, ways, streams, options, is_most=streams == most)
    return ways


async def _rounds(upstream: Upstream, ways: Sequence[Way], streams: int, options: Options, *, is_most: bool) -> None:
    """At the highest number of streams everything; below, fewer of the long rounds, which take the time."""
    servers = [way for way in ways if way.process]
    for n in range(options.rounds):
        for way in _turned(ways, n):
            await _short_round(upstream, way, streams)
    for n in range((options.rounds + 1) // (2 if is_most else 4) or 1):
        for way in _turned(servers, n):
            await _long_round(upstream, way, streams, options.tokens, options.tps)
    for n in range((options.rounds + 1) // 2 if is_most else 0):
        for way in _turned(servers, n):
            await _thinking_round(upstream, way, streams)


def _turned(ways: Sequence[Way], n: int) -> Sequence[Way]:
    """Nobody is always first."""
    n %= len(ways)
    return [*ways[n:], *ways[:n]]


async def _start(
    stack: AsyncExitStack, what: str, environment: dict[str, str], core: set[int], root: Path = ROOT
) -> Process:
    """In a thread: the server asks the engine, which is in this loop, what it serves before it is up."""
    server = serving(what, environment, core, root=root)
    process = await asyncio.to_thread(server.__enter__)
    stack.push_async_exit(lambda *exc: asyncio.to_thread(server.__exit__, *exc))
    return process


# -- the figures ---------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Figures:
    """Of one way at one number of streams. None where it was not measured."""

    way: str
    streams: int
    added_p50_ms: float
    added_p99_ms: float
    token_us: float
    token_of_naive: float
    answer_us: float
    answer_of_naive: float
    early_ms: float | None
    request_ms: float
    late_ms: float
    rss_mb: float
    stream_kb: float | None


def figures(ways: Sequence[Way], options: Options) -> list[Figures]:
    direct, naive = ways[0], ways[1]
    return [
        _figures(way, direct, naive, streams, streams == max(options.streams))
        for streams in options.streams
        for way in ways
        if way.process
    ]


def _figures(way: Way, direct: Way, naive: Way, streams: int, is_most: bool) -> Figures:
    pairs = list(zip(way.first_ms[streams], direct.first_ms[streams], strict=True))
    return Figures(
        way=way.name,
        streams=streams,
        added_p50_ms=statistics.median(_percentile(a, 50) - _percentile(b, 50) for a, b in pairs),
        added_p99_ms=_percentile(list(chain(*(a for a, _ in pairs))), 99)
        - _percentile(list(chain(*(b for _, b in pairs))), 99),
        token_us=statistics.median(way.token_us[streams]),
        token_of_naive=_ratio(way.token_us[streams], naive.token_us[streams]),
        answer_us=statistics.median(way.answer_us[streams]),
        answer_of_naive=_ratio(way.answer_us[streams], naive.answer_us[streams]),
        early_ms=statistics.median(way.early_ms) if is_most else None,
        request_ms=statistics.median(way.request_ms[streams]),
        late_ms=statistics.median(way.late_ms[streams]),
        rss_mb=way.busy_mb,
        stream_kb=1024 * max(0.0, way.busy_mb - way.idle_mb) / streams if is_most else None,
    )


def _ratio(ours: Iterable[float], theirs: Iterable[float]) -> float:
    return statistics.median(a / b for a, b in zip(ours, theirs, strict=True))


def _percentile(values: Sequence[float], percent: int) -> float:
    return sorted(values)[min(len(values) - 1, len(values) * percent // 100)]


RAW = ("first_ms", "request_ms", "token_us", "answer_us", "late_ms", "early_ms")
COLUMNS = (
    ("streams", "{0.streams}"),
    ("server", "{0.way}"),
    ("first text p50", "{0.added_p50_ms:.1f} ms"),
    ("p99", "{0.added_p99_ms:.1f} ms"),
    ("CPU/token", "{0.token_us:.1f} µs"),
    ("of naive", "{0.token_of_naive:.2f}"),
    ("+request", "{0.answer_us:.1f} µs"),
    ("of naive", "{0.answer_of_naive:.2f}"),
    ("CPU/request", "{0.request_ms:.2f} ms"),
    ("early", "{0.early_ms:.2f} ms"),
    ("late", "{0.late_ms:.0f} ms"),
    ("RSS", "{0.rss_mb:.0f} MB"),
    ("/stream", "{0.stream_kb:.0f} kB"),
)


def table(rows: Sequence[Figures]) -> str:
    cells = [[name for name, _ in COLUMNS]]
    cells += [[_cell(shape, row) for _, shape in COLUMNS] for row in rows]
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    lines = ["  ".join(cell.rjust(width) for cell, width in zip(line, widths, strict=True)) for line in cells]
    return "\n".join(lines)


def _cell(shape: str, row: Figures) -> str:
    try:
        return shape.format(row)
    except TypeError:  # None: not measured here
        return "–"


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description="What Parley adds to the model behind it, next to a naive server.")
    parser.add_argument("--streams", default="1,32,64", help="numbers of concurrent streams (default: 1,32,64)")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--tokens", type=int, default=150)
    parser.add_argument("--tps", type=float, default=50.0, help="tokens per second of each stream")
    parser.add_argument("--store", default="sqlite", help="sqlite, or a dynamodb:// URL (its tables are created)")
    parser.add_argument("--against", type=Path, help="another checkout, measured in the same rounds (on SQLite)")
    parser.add_argument("--json", type=Path, help="write the figures here too")
    asked = parser.parse_args(arguments)
    streams = tuple(sorted({int(n) for n in asked.streams.split(",")}))
    if not 1 <= streams[0] <= streams[-1] <= NODE_QUEUE:
        parser.error(f"--streams: from 1 to {NODE_QUEUE}, the requests that one node takes at a time")
    if asked.tokens < 2 or asked.rounds < 1 or asked.tps <= 0:
        parser.error("--tokens must be 2 or more, --rounds 1 or more, --tps above 0")
    options = Options(streams, asked.rounds, asked.tokens, asked.tps, asked.store, asked.against)
    began = time.perf_counter()
    ways = uvloop.run(measure(options))
    rows = figures(ways, options)
    sys.stdout.write(f"{table(rows)}\n\nEvery stream arrived whole. {time.perf_counter() - began:.0f} s.\n")
    if asked.json:
        rounds = {way.name: {name: getattr(way, name) for name in RAW} for way in ways}
        asked.json.write_text(json.dumps({"figures": [asdict(row) for row in rows], "rounds": rounds}) + "\n")


if __name__ == "__main__":
    main()
