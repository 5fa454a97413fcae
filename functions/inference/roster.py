"""The roster: what all processes together know of the nodes, and this one's part in it.

Promises: a node that registers itself is in the pool within a refresh, probed first, and leaves it a refresh after its
last heartbeat has run out; what the operator's settings name wins over what registers under that name or address.
What one process sees of a sleeping GPU is told to the others, so that none of them has to ask it: at once when its
state changes, and now and then while it is in use. A store that cannot answer changes nothing here, and is asked again.
"""

import asyncio
from collections.abc import Callable, Coroutine
from contextlib import suppress
from typing import Any

import aiohttp

from functions.chat.messages import JoinedNode, NodeState, Sighting, Struct
from functions.inference.limits import Limits
from functions.inference.nodes import WAKES_KEPT, Node, ServedModel, short_name
from functions.inference.pool import Pool
from functions.inference.probing import PROBE_SOON_SECONDS, keep_probing, probe
from functions.ports import NodeRegistry
from functions.telemetry import log, log_fault

SIGHTING_SECONDS = 30.0  # between two sightings of a node in use that stays as it is
NEWER_MS = 100  # clocks are read twice: only what was seen so much later is somebody else's news
FIRST_LOOK_SECONDS = 1.0


class _Told(Struct, frozen=True, kw_only=True):
    """What was last published of a node."""

    state: NodeState
    seen_ms: int
    at: float  # monotonic


class Roster:
    """Of one gateway. `clock` is Unix milliseconds, `now` monotonic seconds."""

    def __init__(
        self,
        registry: NodeRegistry,
        pool: Pool,
        *,
        session: Callable[[], aiohttp.ClientSession],
        node_key: str,
        limits: Limits,
        now: Callable[[], float],
        clock: Callable[[], int],
    ) -> None:
        self._registry, self._pool, self._session = registry, pool, session
        self._node_key, self._limits, self._now, self._clock = node_key, limits, now, clock
        self._fixed = tuple(pool.nodes)  # the operator's
        self._joined: dict[str, tuple[JoinedNode, Node, asyncio.Task[None]]] = {}
        self._unread = [node for node in self._fixed if node.serverless]  # whose past starts are not known yet
        self._told: dict[Node, _Told] = {}
        self._changed = asyncio.Event()
        self._keeper: asyncio.Task[None] | None = None

    async def open(self) -> None:
        """What the others know, before this returns, if the store is quick."""
        for node in self._fixed:
            if node.serverless:
                node.watchers.append(self._note_change)
        with suppress(TimeoutError):
            async with asyncio.timeout(FIRST_LOOK_SECONDS):
                await self._guarded(self._refresh())
        self._keeper = asyncio.create_task(self._keep())

    async def close(self) -> None:
        for node in self._fixed:
            if node.serverless:
                node.watchers.remove(self._note_change)
        tasks = [task for _, _, task in self._joined.values()]
        tasks += [self._keeper] if self._keeper is not None else []
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await self._guarded(self._publish())  # the last use of a GPU is news to the others

    def _note_change(self, node: Node, before: NodeState) -> None:
        if node.state != before:
            self._changed.set()

    async def _keep(self) -> None:
        """Until cancelled: publish what changes, look at what others have published."""
        look_at = self._now() + self._limits.refresh_s
        while True:
            with suppress(TimeoutError):
                async with asyncio.timeout(self._limits.refresh_s):
                    await self._changed.wait()
            self._changed.clear()
            await self._guarded(self._publish())
            if self._now() >= look_at:
                look_at = self._now() + self._limits.refresh_s
                await self._guarded(self._refresh())

    async def _guarded(self, work: Coroutine[Any, Any, None]) -> None:
        try:
            await work
        except Exception:  # the edge of a background task: the pool goes on with what it knows
            log_fault("gateway.registry_fault")

    # -- what the others know --------------------------------------------------------------------------------

    async def _recall_wakes(self) -> None:
        while self._unread:
            node = self._unread[-1]
            node.recall_wakes(await self._registry.read_wakes(node.name, limit=WAKES_KEPT))
            self._unread.pop()

    async def _refresh(self) -> None:
        await self._recall_wakes()
        self._meet(await self._registry.list_nodes(now_ms=self._clock()))
        by_name = {sighting.node: sighting for sighting in await self._registry.list_sightings()}
        for node in self._fixed:
            if node.serverless and (sighting := by_name.get(node.name)) is not None:
                self._believe(node, sighting)

    def _believe(self, node: Node, sighting: Sighting) -> None:
        """Unless this process knows better, or is about to."""
        now_ms = self._clock()
        ago_ms = max(0, now_ms - sighting.seen_ms)
        if node.outstanding or node.is_knocked or ago_ms + NEWER_MS >= node.seen_ms_ago:
            return
        node.adopt(sighting.state, since_ms_ago=max(0, now_ms - sighting.since_ms), seen_ms_ago=ago_ms)
        self._told[node] = _Told(state=sighting.state, seen_ms=sighting.seen_ms, at=self._now())

    def _meet(self, listed: tuple[JoinedNode, ...]) -> None:
        """Take in who has joined, let go who has left. One that has moved, or serves something else, is a new one."""
        taken = {node.name for node in self._fixed} | {node.url for node in self._fixed}
        wanted: dict[str, JoinedNode] = {}
        for joined in listed:
            url = joined.url.rstrip("/")
            if joined.name not in taken and url not in taken:
                taken |= {joined.name, url}
                wanted[joined.name] = joined
        for name, (known, _, _) in tuple(self._joined.items()):
            if name not in wanted or _is_another(known, wanted[name]):
                self._part(name)
        for name, joined in wanted.items():
            if name not in self._joined:
                self._welcome(joined)

    def _welcome(self, joined: JoinedNode) -> None:
        node = Node(
            joined.url,
            name=joined.name,
            api_key=self._node_key,
            models=[ServedModel(id=model, name=short_name(model)) for model in joined.models],
            serverless=False,
            gpu=joined.gpu,
            usd_per_second=joined.usd_per_hour / 3600,
            slots=joined.slots,
        )
        self._joined[joined.name] = (joined, node, asyncio.create_task(self._follow(node)))
        log("gateway.node_joined", node=node.name)

    async def _follow(self, node: Node) -> None:
        """A node is offered to nobody before it has been asked how it is, and what it serves if it has not said so."""
        await probe(node, self._session())
        while not node.is_known:
            await asyncio.sleep(PROBE_SOON_SECONDS)
            await probe(node, self._session())
        self._pool.add(node)
        await keep_probing(node, self._session())

    def _part(self, name: str) -> None:
        _, node, task = self._joined.pop(name)
        task.cancel()
        if node in self._pool.nodes:
            self._pool.remove(node)
        log("gateway.node_left", node=name)

    # -- what this process knows -----------------------------------------------------------------------------

    async def _publish(self) -> None:
        for node in self._fixed:
            if node.serverless:
                await self._publish_wakes(node)
                await self._publish_sighting(node)

    async def _publish_wakes(self, node: Node) -> None:
        while node.new_wakes:
            took_ms = node.new_wakes[0]
            await self._registry.record_wake(node.name, at_ms=self._clock(), took_ms=took_ms)
            node.new_wakes.popleft()

    async def _publish_sighting(self, node: Node) -> None:
        """Every change at once; of a node that stays as it is, only that it has been used since, and that seldom."""
        if node.seen_ms_ago == float("inf"):
            return
        state, told, now_ms = node.state, self._told.get(node), self._clock()
        seen_ms = now_ms - round(node.seen_ms_ago)
        if told is not None and state == told.state:
            is_used = seen_ms > told.seen_ms + NEWER_MS
            if not is_used or self._now() - told.at < SIGHTING_SECONDS:
                return
        if state == "cold":
            return  # nobody sees a node fall asleep: the others count from its last use themselves
        if told is not None:
            seen_ms = max(seen_ms, told.seen_ms + 1)  # the latest wins
        since_ms = now_ms - (node.since_ms or 0)
        await self._registry.put_sighting(Sighting(node=node.name, state=state, since_ms=since_ms, seen_ms=seen_ms))
        self._told[node] = _Told(state=state, seen_ms=seen_ms, at=self._now())


def _is_another(known: JoinedNode, now: JoinedNode) -> bool:
    return (known.url, known.models, known.gpu, known.usd_per_hour, known.slots) != (
        now.url,
        now.models,
        now.gpu,
        now.usd_per_hour,
        now.slots,
    )
