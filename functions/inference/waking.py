"""Waking nodes: one knock per node, whoever and however many wait for it.

Promises: a start is asked for once and followed by one task, which asks the node for its models until it answers; no
prompt is sent to a node that sleeps. A knock for which nobody waits any more is dropped at once. A host that holds
the question while it starts (Modal's web functions) is waited for just as one that refuses it (Modal's servers).

Does not know requests or queues: `on_news` tells whoever does.
"""

import asyncio
from collections.abc import Callable

import aiohttp

from functions.errors import UpstreamError
from functions.inference.limits import Limits
from functions.inference.nodes import Node
from functions.inference.probing import Sight, ask
from functions.inference.wire import key_refused, unavailable
from functions.telemetry import observe

HELD_TIMEOUT = aiohttp.ClientTimeout(total=160)  # Modal redirects a held request after 150 s


class Knock:
    """One start of one node. `is_real` as soon as the node has shown that it slept."""

    __slots__ = ("askers", "failure", "is_kept", "is_real", "node", "over", "task")

    def __init__(self, node: Node) -> None:
        self.node = node
        self.askers = 0
        self.is_kept = False  # wanted even when nobody waits for it
        self.is_real = False
        self.failure: UpstreamError | None = None
        self.over: asyncio.Future[bool] = asyncio.get_running_loop().create_future()  # did it come up?
        self.task: asyncio.Task[None]

    @property
    def was_start(self) -> bool:
        """Was a GPU started for it, as far as one can know? A node that answered at once was awake all the time."""
        return self.is_real or not self.over.done()


class Knocks:
    """Those under way."""

    def __init__(
        self,
        session: Callable[[], aiohttp.ClientSession],
        limits: Limits,
        now: Callable[[], float],
        on_news: Callable[[], None],
    ) -> None:
        self._session, self._limits, self._now, self._on_news = session, limits, now, on_news
        self._by_node: dict[Node, Knock] = {}

    def find(self, node: Node) -> Knock | None:
        return self._by_node.get(node)

    def at(self, node: Node) -> Knock:
        """The knock under way at this node, or a new one."""
        knock = self._by_node.get(node)
        if knock is None:
            knock = self._by_node[node] = Knock(node)
            node.is_knocked = True
            knock.task = asyncio.create_task(self._follow(knock))
            node.mark("warming")  # the pool hears of it, and may drop the knock again
        return knock

    def leave(self, knock: Knock) -> None:
        """Somebody does not wait any more. Nobody follows a start for nobody: the next to ask goes on from here."""
        knock.askers -= 1
        if not knock.askers and not knock.is_kept:
            self._drop(knock)

    def _drop(self, knock: Knock) -> None:
        if not knock.over.done():
            knock.task.cancel()
            self._finish(knock, is_up=False)

    def _finish(self, knock: Knock, *, is_up: bool) -> None:
        del self._by_node[knock.node]
        knock.node.is_knocked = False
        knock.over.set_result(is_up)

    async def close(self) -> None:
        knocks = tuple(self._by_node.values())
        for knock in knocks:
            self._drop(knock)
        await asyncio.gather(*(knock.task for knock in knocks), return_exceptions=True)

    async def _follow(self, knock: Knock) -> None:
        node = knock.node
        begun = self._now()
        holding = asyncio.get_running_loop().call_later(self._limits.awake_s, self._show, knock)
        try:
            is_up = await self._until_over(knock)
        finally:
            holding.cancel()
        if knock.is_real:
            observe("parley_wake_seconds", self._now() - begun, end="up" if is_up else "failed")
        self._finish(knock, is_up=is_up)
        if is_up and not knock.is_real:
            node.forget_start()
        node.mark("warm" if is_up else "unreachable")
        self._on_news()

    def _show(self, knock: Knock) -> None:
        """It really sleeps: those who wait can be told."""
        if not knock.is_real:
            knock.is_real = True
            self._on_news()

    async def _until_over(self, knock: Knock) -> bool:
        node, begun = knock.node, self._now()
        while node.state == "warming":  # or somebody else has seen it up
            sight = await ask(node, self._session(), HELD_TIMEOUT)
            if sight == "awake":
                return True
            knock.failure = _failure(node, sight)
            if knock.failure is not None:
                return False
            if self._now() - begun > self._limits.wake_s:
                knock.failure = unavailable()
                return False
            node.mark("warming")
            if node.is_loading is not (sight == "loading"):
                node.is_loading = not node.is_loading
                self._on_news()
            self._show(knock)
            await asyncio.sleep(self._limits.knock_s)
        return node.state == "warm"


def _failure(node: Node, sight: Sight) -> UpstreamError | None:
    """What makes it useless to go on asking, if anything."""
    if sight == "refused":
        return key_refused()
    is_gone = sight in ("silent", "failing") and not (node.serverless or node.is_kept)
    return unavailable() if is_gone else None
