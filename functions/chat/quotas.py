"""How fast and how much one owner may ask: a rate, and a budget of tokens a day (reserve, then settle).

Counts in the store, so that every process counts together. Knows no models and no HTTP.
"""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from functions.errors import Limited, OverBudget
from functions.ports import Counter

RESERVED_TOKENS = 1024  # for an answer whose length the caller left open


@dataclass(frozen=True, slots=True)
class Quotas:
    """0 is no limit."""

    counter: Counter
    clock: Callable[[], int]  # Unix milliseconds
    runs_per_minute: int = 0
    tokens_per_day: int = 0
    was_erased: Callable[..., Awaitable[bool]] | None = None  # RetentionStore's

    @property
    def has_any(self) -> bool:
        return bool(self.runs_per_minute or self.tokens_per_day)

    async def reserve(self, owner: str, max_tokens: int | None) -> int:
        """Rate first, then the day's tokens. Returns what was reserved, to be settled when the answer has ended.
        Raises Limited, OverBudget."""
        if self.runs_per_minute:
            await self._admit(owner)
        if not self.tokens_per_day:
            return 0
        now = datetime.fromtimestamp(self.clock() / 1000, UTC)
        key, midnight = _day_of(now)
        used = await self.counter.add(owner, key, 0, expires=midnight) or 0
        reserved = min(max_tokens or RESERVED_TOKENS, max(1, self.tokens_per_day - used))  # a small rest can be used up
        if await self.counter.add(owner, key, reserved, limit=self.tokens_per_day, expires=midnight) is None:
            raise OverBudget(
                "Your tokens for today are used up; they renew at midnight UTC.",
                retry_after_s=(midnight - now).total_seconds(),
            )
        return reserved

    async def settle(self, owner: str, reserved: int, used: int, reserved_at: datetime) -> None:
        """Give back what was reserved and not used, or add what was used beyond it; on the day of the reservation."""
        if reserved and used != reserved:
            since_ms = int(reserved_at.timestamp() * 1000)
            if self.was_erased is not None and await self.was_erased(owner, since_ms=since_ms):
                return  # the counter is gone with its owner, and this would begin it anew
            key, midnight = _day_of(reserved_at)
            await self.counter.add(owner, key, used - reserved, expires=midnight)

    async def _admit(self, owner: str) -> None:
        wait_ms = await self.counter.admit(
            owner, "runs", interval_ms=60_000 // self.runs_per_minute, burst=self.runs_per_minute, now_ms=self.clock()
        )
        if wait_ms:
            seconds = wait_ms / 1000
            raise Limited(f"Too many messages; try again in {seconds:.0f} s.", retry_after_s=seconds)


def _day_of(when: datetime) -> tuple[str, datetime]:
    """The counter of that day, and when it is over."""
    midnight = datetime(when.year, when.month, when.day, tzinfo=UTC) + timedelta(days=1)
    return f"tokens:{when:%F}", midnight
