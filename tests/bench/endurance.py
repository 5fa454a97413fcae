"""Does anything grow, leak or get lost over time?

    python -m tests.bench.endurance [--minutes 10] [--people 16] [--tps 50]

So many people talk to the real app (SQLite, its worker beside it) over a simulated engine, one message after the other:
chats of four messages, which are then read back, and most of them deleted. Of eight messages one is sent twice, as by a
client that is not sure, and one loses its reader in mid-answer, who comes back for the rest.

Every minute prints: messages answered, the times to the first text, the server's memory, its open files and sockets. At
the end: whether each message has exactly one answer, whole, and was generated once. It fails (exit status 1) if not, or
if a file or socket stays open that was not when it began. CPU of others disturbs times, never the rest.
"""

import argparse
import asyncio
import os
import statistics
import sys
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx

from functions.chat.messages import new_id
from tests.bench.processes import Process, cores, serving
from tests.bench.upstream import Plan, Upstream, answer
from tests.house import parse_events, text_of

TOKENS = 60
MESSAGES = 4
WHOLE = answer(TOKENS)
SETTINGS = {"PARLEY_TITLES": "false", "PARLEY_MEMORY": "false", "PARLEY_SUMMARIES": "false"}


class Counting(Upstream):
    """How many answers the engine was asked for."""

    begun = 0

    def begin(self, stream: Any) -> None:
        self.begun += 1
        super().begin(stream)


@dataclass
class Seen:
    """`first_s` of this minute; the rest from the beginning."""

    sent: int = 0
    faults: list[str] = field(default_factory=list)
    first_s: list[float] = field(default_factory=list)


def open_files(process: Process) -> int:
    return sum(1 for pid in process._family() for _ in Path(f"/proc/{pid}/fd").iterdir())


async def talk(http: httpx.AsyncClient, seen: Seen, until: float) -> None:
    number = 0
    while time.monotonic() < until:
        chat_id = new_id()
        (await http.post("/chat", json={"id": chat_id})).raise_for_status()
        for _ in range(MESSAGES):
            number += 1
            await say(http, chat_id, seen, number)
        chat = (await http.get(f"/chat/{chat_id}")).json()
        said = [(each["role"], each["content"]) for each in chat["messages"]]
        if [role for role, _ in said] != ["user", "assistant"] * MESSAGES or any(
            text != WHOLE for role, text in said if role == "assistant"
        ):
            seen.faults.append(f"chat {chat_id}: {len(said)} messages")
        if number % (8 * MESSAGES):
            (await http.delete(f"/chat/{chat_id}")).raise_for_status()


async def say(http: httpx.AsyncClient, chat_id: str, seen: Seen, number: int) -> None:
    """One message, and its answer to the last letter."""
    body = {"message": {"id": new_id(), "content": f"Question {number}: what does the keeper do in the morning?"}}
    leaves, repeats = number % 8 == 3, number % 8 == 6
    seen.sent += 1
    began, raw, last = time.perf_counter(), "", ""
    async with http.stream("POST", f"/chat/{chat_id}/completion", json=body) as reply:
        if reply.status_code != 200:
            seen.faults.append(f"{reply.status_code} {(await reply.aread())[:200]!r}")
            return
        run_id, is_first = reply.headers["x-run-id"], True
        async for line in reply.aiter_lines():
            raw += line + "\n"
            if line == "event: delta" and is_first:
                seen.first_s.append(time.perf_counter() - began)
                is_first = False
            if line.startswith("id: "):
                last = line[4:]
            if leaves and not line and not is_first and int(last or 0) > 6:
                break
    if leaves:
        rest = await http.get(f"/runs/{run_id}/events", headers={"Last-Event-ID": last})
        raw += rest.text
    if repeats:
        again = await http.post(f"/chat/{chat_id}/completion", json=body)
        if again.headers.get("x-run-id") != run_id:
            seen.faults.append(f"sent again, it met {again.status_code} {again.text[:200]}")
    events = parse_events(raw)
    if text_of(events) != WHOLE or [event.id for event in events] != list(range(1, len(events) + 1)):
        seen.faults.append(f"run {run_id}: {len(text_of(events))} of {len(WHOLE)} characters, {len(events)} events")


async def endure(minutes: float, people: int, tps: float) -> bool:
    seen = Seen()
    async with Counting() as upstream:
        upstream.plan = Plan(tokens=TOKENS, tps=tps, prefill_s=0.02)
        server, rest = cores()
        with tempfile.TemporaryDirectory() as folder:
            environment = SETTINGS | {"UPSTREAM": upstream.url, "PARLEY_STORE_URL": f"sqlite:///{folder}/parley.db"}
            with serving("parley", environment, server) as process:
                os.sched_setaffinity(0, rest)
                limits = httpx.Limits(max_connections=people, max_keepalive_connections=people)
                url = "http://{}:{}".format(*process.address)
                async with httpx.AsyncClient(base_url=url, timeout=60, limits=limits) as http:
                    await say_hello(http)
                    await asyncio.sleep(6)  # what answers have left behind is closed
                    before, warmed = open_files(process), upstream.begun
                    say_line("minute", "messages", "first p50", "p99 ms", "RSS MB", "files", "CPU %", "faults")
                    until = time.monotonic() + 60 * minutes
                    talking = [asyncio.create_task(talk(http, seen, until)) for _ in range(people)]
                    await watch(process, seen, until)
                    await asyncio.gather(*talking)
                await asyncio.sleep(8)  # connections that nobody uses are closed after five
                after = open_files(process)
                asked = upstream.begun - warmed
                database = Path(folder, "parley.db").stat().st_size / 1e6
    say_line("sent", "generated", "faults", "files before", "after", "database MB")
    say_line(seen.sent, asked, len(seen.faults), before, after, f"{database:.0f}")
    for fault in seen.faults[:10]:
        say_line(fault)
    return not seen.faults and asked == seen.sent and after <= before


async def say_hello(http: httpx.AsyncClient) -> None:
    """So that what is opened once stands open."""
    warm, chats = Seen(), [new_id() for _ in range(16)]
    for chat_id in chats:
        (await http.post("/chat", json={"id": chat_id})).raise_for_status()
    await asyncio.gather(*(say(http, chat_id, warm, number) for number, chat_id in enumerate(chats)))


async def watch(process: Process, seen: Seen, until: float) -> None:
    minute, answered, cpu_s = 0, 0, process.cpu_s()
    while (left := until - time.monotonic()) > 1:
        began = time.monotonic()
        await asyncio.sleep(min(60.0, left))
        minute += 1
        first_ms = sorted(1000 * one for one in seen.first_s)
        used_s, took_s = process.cpu_s() - cpu_s, time.monotonic() - began
        say_line(
            minute,
            seen.sent - answered,
            f"{statistics.median(first_ms):.0f}",
            f"{first_ms[int(0.99 * len(first_ms))]:.0f}",
            f"{process.rss_mb():.0f}",
            open_files(process),
            f"{100 * used_s / took_s:.0f}",
            len(seen.faults),
        )
        answered, cpu_s = seen.sent, process.cpu_s()
        seen.first_s.clear()


def say_line(*columns: object) -> None:
    sys.stdout.write("".join(f"{column!s:>13}" for column in columns) + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--minutes", type=float, default=10)
    parser.add_argument("--people", type=int, default=16)
    parser.add_argument("--tps", type=float, default=50, help="tokens a second of one answer")
    given = parser.parse_args()
    sys.exit(not asyncio.run(endure(given.minutes, given.people, given.tps)))
