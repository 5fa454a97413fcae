"""A shared cache in Valkey or Redis: hashes of bytes that nobody relies on.

Promises: no call takes longer than its time, and none raises; a cache that is not there, is slow or talks nonsense is
left alone for a while (`Breaker`), and then costs nothing. What is written is written later, in the order it was asked
for, or not at all; it is gone `kept_seconds` after it was written last. Does not know what the bytes mean.

One server, or a replicated one behind one address; not a sharded cluster. Its client is imported only here.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Any, Self, TypeVar

import msgspec
from valkey.asyncio import Valkey

from functions.errors import BadInput
from functions.inference.breaker import Breaker
from functions.telemetry import log

CALL_SECONDS = 0.05  # a round trip takes one of them; the store answers in a few
CALLS = 16  # under way at once; a reader beyond that does without
WAITING = 256  # writes that wait; more are left out
KEPT_SECONDS = 3600
PLACE_BYTES = 1024 * 1024  # a hash that is larger would not come in time

T = TypeVar("T")


class Keep(msgspec.Struct, frozen=True):
    """Put these fields there; with `afresh`, and nothing else."""

    group: str
    place: str
    fields: dict[str, bytes]
    afresh: bool = False


class Forget(msgspec.Struct, frozen=True):
    """Delete the place, or without one the whole group."""

    group: str
    place: str | None = None
    done: asyncio.Future[None] | None = None


class SharedCache:
    """Made by `open`; belongs to the event loop that uses it first."""

    def __init__(self, client: Valkey, *, call_seconds: float, kept_seconds: int, now: Callable[[], float]) -> None:
        self._client: Any = client  # its types speak of answers that come at once, too
        self._call_seconds, self._kept_seconds = call_seconds, kept_seconds
        self._breaker = Breaker(now)
        self._calls = 0
        self._waiting: asyncio.Queue[Keep | Forget] = asyncio.Queue(WAITING)
        self._writer: asyncio.Task[None] | None = None

    @classmethod
    def open(
        cls,
        url: str,
        *,
        call_seconds: float | None = None,
        kept_seconds: int = KEPT_SECONDS,
        now: Callable[[], float] = time.monotonic,
    ) -> Self:
        """`valkey://`, `valkeys://` (TLS), `redis://`, `rediss://` or `unix://`. Connects when it is first used."""
        call_seconds = CALL_SECONDS if call_seconds is None else call_seconds
        # The client would introduce itself on each connection: two round trips.
        known: dict[str, Any] = {"lib_name": None, "lib_version": None}  # its own options
        if url.lower().startswith(("valkeys", "rediss")):
            known["ssl_check_hostname"] = True  # the client's default is not to
        try:
            client = Valkey.from_url(url, **known)
        except ValueError as exc:  # It says what it cannot read, but that may be the password.
            raise BadInput("PARLEY_VALKEY_URL: this address cannot be read.") from exc
        return cls(client, call_seconds=call_seconds, kept_seconds=kept_seconds, now=now)

    @property
    def is_left_alone(self) -> bool:
        """It has failed too often lately: nothing is asked of it."""
        return self._breaker.is_open

    async def close(self) -> None:
        """What waits is still written, if that takes no longer than a few calls."""
        with suppress(TimeoutError):
            async with asyncio.timeout(10 * self._call_seconds):
                await self._waiting.join()
        if self._writer is not None:
            self._writer.cancel()
            with suppress(asyncio.CancelledError):
                await self._writer
        with suppress(Exception):  # It may be gone, or talk nonsense to the last.
            async with asyncio.timeout(self._call_seconds):
                await self._client.aclose()

    async def read(self, group: str, place: str) -> dict[bytes, bytes]:
        """What is there; nothing when there is no answer, or none that can be used."""
        found: Any = await self._ask(lambda: self._client.execute_command("HGETALL", place))  # whatever it says
        if not isinstance(found, dict) or not all(isinstance(item, bytes) for pair in found.items() for item in pair):
            return {}
        if sum(map(len, found.values())) > 2 * PLACE_BYTES:
            self._put(Forget(group, place))
            return {}
        return found

    def keep(self, group: str, place: str, fields: dict[str, bytes], *, afresh: bool) -> None:
        """Later. A place that would become too large is not kept."""
        if sum(map(len, fields.values())) <= PLACE_BYTES:
            self._put(Keep(group, place, fields, afresh))

    async def forget(self, group: str, place: str | None = None) -> None:
        """When this returns it is done, or the cache does not answer: then it goes when its time is over."""
        done = asyncio.get_running_loop().create_future()
        if self._put(Forget(group, place, done)):
            with suppress(TimeoutError):
                async with asyncio.timeout(4 * self._call_seconds):  # others may wait before it
                    await done

    # -- writing ------------------------------------------------------------------------------------------------
    def _put(self, order: Keep | Forget) -> bool:
        try:
            self._waiting.put_nowait(order)
        except asyncio.QueueFull:
            return False
        self._writer = self._writer or asyncio.create_task(self._write())
        return True

    async def _write(self) -> None:
        while True:
            order = await self._waiting.get()
            try:
                if isinstance(order, Keep):
                    await self._ask(lambda: self._keep(order))  # noqa: B023  # called at once
                else:
                    await self._forget(order)
            finally:
                self._waiting.task_done()

    async def _keep(self, order: Keep) -> None:
        async with self._client.pipeline(transaction=True) as pipe:
            if order.afresh:
                pipe.unlink(order.place)
            pipe.hset(order.place, mapping=order.fields)
            pipe.expire(order.place, self._kept_seconds)
            pipe.sadd(order.group, order.place)
            pipe.expire(order.group, self._kept_seconds)
            await pipe.execute()

    async def _forget(self, order: Forget) -> None:
        try:
            places = [order.group, *await self._places(order.group)] if order.place is None else [order.place]
            await self._ask(lambda: self._client.unlink(*places))
        finally:
            if order.done is not None and not order.done.done():
                order.done.set_result(None)

    async def _places(self, group: str) -> list[bytes]:
        found: Any = await self._ask(lambda: self._client.execute_command("SMEMBERS", group))  # whatever it says
        return [place for place in found if isinstance(place, bytes)] if isinstance(found, set | list) else []

    # -- asking -------------------------------------------------------------------------------------------------
    async def _ask(self, call: Callable[[], Awaitable[T]]) -> T | None:
        """The answer, in time; None when there is none."""
        if self._breaker.is_open or self._calls >= CALLS:
            return None
        is_trial = self._breaker.admit()
        self._calls += 1
        try:
            async with asyncio.timeout(self._call_seconds):
                answer = await call()
        except Exception as exc:  # the edge to a server that may say anything, which its client takes as it can
            self._breaker.end_trial()
            if self._breaker.fail(was_trial=is_trial):
                log("hot.cache_left_alone", error=type(exc).__name__)
            return None
        finally:
            self._calls -= 1
            if is_trial:
                self._breaker.end_trial()
        if is_trial:
            log("hot.cache_is_back")
        self._breaker.succeed()
        return answer
