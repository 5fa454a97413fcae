"""What ends by itself, and the end of everything of one user.

    retention.sweep()            temporary chats at their time; with `chats_days`, chats that nobody has touched so long
    retention.forget_owner(who)  everything of theirs, in every table; the receipt says how much that was

Pinned chats stay however old they are: somebody has said that they want to keep them. A chat that answers right now is
left for the next sweep. All of it can be cut off at any point and be done again, by any process.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from functions.chat.runs import Runs
from functions.chat.semantic_cache import SemanticCache
from functions.ports import ChatStore, RetentionStore
from functions.telemetry import log

SWEEP_MS = 10 * 60 * 1000  # between two of one process
A_DAY_MS = 24 * 3600 * 1000  # between two looks for old chats, which read the whole of an index on DynamoDB
PAGE = 50


class Store(ChatStore, RetentionStore, Protocol):
    """What retention needs of the store."""


@dataclass(slots=True)
class Retention:
    store: Store
    runs: Runs
    clock: Callable[[], int]  # Unix milliseconds
    chats_days: int = 0  # 0: chats are kept
    cache: SemanticCache | None = None
    _swept_ms: int = field(default=0, init=False)
    _looked_for_old_ms: int = field(default=0, init=False)

    async def sweep_if_due(self) -> int:
        """For a loop that comes by often: a sweep every SWEEP_MS. How many chats are gone."""
        now_ms = self.clock()
        if now_ms - self._swept_ms < SWEEP_MS:
            return 0
        self._swept_ms = now_ms
        is_due = now_ms - self._looked_for_old_ms >= A_DAY_MS
        if is_due:
            self._looked_for_old_ms = now_ms
        return await self.sweep(old=is_due)

    async def sweep(self, *, old: bool = True) -> int:
        """Delete what is overdue; without `old`, temporary chats only. How many chats that were."""
        now_ms = self.clock()
        since_ms = now_ms - self.chats_days * A_DAY_MS if old and self.chats_days else None
        gone, after = 0, None
        while True:
            page = await self.store.list_overdue(now_ms=now_ms, untouched_since_ms=since_ms, limit=PAGE, after=after)
            for owner, chat_id in page.data:
                if await self.store.expire_chat(owner, chat_id, now_ms=now_ms, untouched_since_ms=since_ms):
                    gone += 1
                    await self._forget_answers(owner, [chat_id])
            if (after := page.next) is None:
                break
        if gone:
            log("retention.swept", chats=gone)
        return gone

    async def forget_owner(self, owner: str) -> dict[str, int]:
        """Erase them. Their runs in this process are stopped first, and so are in order; those of others are fenced."""
        await self.runs.stop_all(owner)
        receipt = await self.store.erase_owner(owner, now_ms=self.clock())
        log("retention.erased", **receipt)
        return receipt

    async def _forget_answers(self, owner: str, chats: Sequence[str]) -> None:
        if self.cache is not None:
            await self.cache.forget(owner, chats)
