"""What it costs to read what a prompt is made of, and when a cache pays: `python -m tests.bench.hot_cache`.

Chats of 10, 100 and 400 messages (400 characters each), on SQLite and on DynamoDB (ministack on loopback), read

    store      without a cache
    memory     from this process's memory: the usual case, the process that answers has answered before
    shared     from Valkey or Redis: another process has answered before
    none yet   nobody has it: what a miss costs, with both caches
    dead       nobody has it, and the shared cache does not answer any more

in turns, so that all meet the same machine. The ratios are of the same run: 0.5 is half the time of the store alone.
Loopback flatters what goes over a network: each way to DynamoDB or to Valkey is a fraction of a millisecond here.
"""

import argparse
import statistics
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable, Sequence
from contextlib import AsyncExitStack, ExitStack
from pathlib import Path
from typing import Any

import uvloop

from functions.adapters.hot import HotStore
from functions.adapters.recent import Recent
from functions.adapters.sealed import Seals
from functions.adapters.valkey import SharedCache
from functions.chat.messages import Chat
from functions.services import open_store
from tests.contracts.makers import Store, a_chat, a_message, a_turn
from tests.ministack import ministack
from tests.valkey_server import valkey_server

OWNER = "local"
SIZES = (10, 100, 400)
TEXT = "What a person says, or a model, in some four hundred characters. " * 6
ROUNDS = {10: 200, 100: 100, 400: 50}

Read = Callable[[str, str], Awaitable[Any]]  # chat, leaf


def say(line: str) -> None:
    sys.stdout.write(line + "\n")
    sys.stdout.flush()


async def fill(store: Store, messages: int) -> tuple[Chat, str]:
    """A chat of so many messages, and its last one."""
    chat, parent = a_chat(), None
    await store.create_chat(OWNER, chat)
    for _ in range(messages // 2):
        question = a_message(chat.id, parent, content=TEXT)
        answer = a_message(chat.id, question.id, role="assistant", content=TEXT, model="tiny")
        ended = {"status": "completed", "ended_at": chat.created_at}
        await store.begin_turn(OWNER, a_turn(OWNER, chat.id, message=question, answer=answer, run=ended, job=None))
        parent = answer.id
    assert parent is not None
    return chat, parent


class Ways:
    """The five ways to read, over one store."""

    def __init__(self, store: Any, url: str, dead: str, stack: AsyncExitStack) -> None:
        seals = Seals(b"bench", "bench")
        self.cache, gone = SharedCache.open(url, call_seconds=5), SharedCache.open(dead)
        stack.push_async_callback(self.cache.close)
        stack.push_async_callback(gone.close)
        self._memory, self._shared = HotStore(store), HotStore(store, shared=(self.cache, seals))
        self._empty, self._dead = HotStore(store, shared=(self.cache, seals)), HotStore(store, shared=(gone, seals))
        self._store, self._seals = store, seals

    async def prepare(self, way: str, chat: str, leaf: str) -> Read:
        match way:
            case "store":
                return self._read(self._store)
            case "memory":
                await self._memory.read_context(OWNER, chat, leaf)
                return self._read(self._memory)
            case "shared":
                await self._shared.read_context(OWNER, chat, leaf)
                await self.cache._waiting.join()
                self._shared._recent = Recent(2**25)
                return self._read(self._shared)
            case "none yet":
                await self.cache.forget(self._seals.group(OWNER))
                self._empty._recent = Recent(2**25)
                return self._read(self._empty)
            case _:
                self._dead._recent = Recent(2**25)
                return self._read(self._dead)

    def _read(self, store: Any) -> Read:
        return lambda chat, leaf: store.read_context(OWNER, chat, leaf)


WAYS = ("store", "memory", "shared", "none yet", "dead")


async def measure(store: Store, ways: Ways, messages: int) -> None:
    chat, leaf = await fill(store, messages)
    wall: dict[str, list[float]] = {way: [] for way in WAYS}
    cpu: dict[str, float] = dict.fromkeys(WAYS, 0.0)
    for number in range(ROUNDS[messages] + 5):
        for way in WAYS:
            read = await ways.prepare(way, chat.id, leaf)
            began, burnt = time.perf_counter(), time.process_time()
            _, path, _ = await read(chat.id, leaf)
            took, burnt = time.perf_counter() - began, time.process_time() - burnt
            assert len(path) == messages
            await ways.cache._waiting.join()
            if number >= 5:  # the first ones connect, prepare statements, and find out who is dead
                wall[way].append(took)
                cpu[way] += burnt
    alone = statistics.median(wall["store"])
    for way in WAYS:
        times = sorted(wall[way])
        p50, p95 = statistics.median(times), times[len(times) * 95 // 100]
        each = cpu[way] / len(times)
        say(
            f"  {messages:4} messages  {way:9} p50 {p50 * 1e3:6.2f} ms  p95 {p95 * 1e3:6.2f} ms  "
            f"ratio {p50 / alone:5.2f}  CPU {each * 1e3:5.2f} ms"
        )


async def weigh(store: Any) -> None:
    """How many chats fit into the memory that this process may use for them."""
    hot = HotStore(store)
    for size in SIZES:
        chat, leaf = await fill(store, size)
        before = hot._recent.bytes
        await hot.read_context(OWNER, chat.id, leaf)
        each = hot._recent.bytes - before
        say(f"  a chat of {size:3} messages weighs {each / 1024:5.0f} KiB: {hot._recent._limit_bytes // each} fit")


async def run(url: str, cache: str, dead: str, name: str) -> None:
    store: Any = await open_store(url, create=True)
    say(name)
    async with AsyncExitStack() as stack:
        stack.push_async_callback(store.close)
        for size in SIZES:
            await measure(store, Ways(store, cache, dead, stack), size)
        if "SQLite" in name:
            await weigh(store)


def main(arguments: Sequence[str]) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", choices=("sqlite", "dynamodb"))
    only = parser.parse_args(arguments).only
    with tempfile.TemporaryDirectory() as folder, ExitStack() as stack:
        cache = stack.enter_context(valkey_server(Path(folder)))
        with valkey_server(Path(folder)) as other:
            dead = other.url
        if only != "dynamodb":
            uvloop.run(run(f"sqlite:///{folder}/parley.db", cache.url, dead, "SQLite"))
        if only != "sqlite":
            endpoint = stack.enter_context(ministack(Path(folder)))
            url = f"dynamodb://bench?region=eu-central-1&endpoint={endpoint}"
            uvloop.run(run(url, cache.url, dead, "DynamoDB on ministack"))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
