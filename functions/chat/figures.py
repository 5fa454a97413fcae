"""What guardrails did, counted by day for the house: never a text, never a user.

    figures.note(verdicts) ─> gathered for GATHER_SECONDS ─> store.count_verdicts()

A process that dies loses what it has not stored yet: figures, not a budget.
"""

import asyncio
from collections import Counter
from collections.abc import Callable, Iterable
from datetime import UTC, datetime

from functions.chat.messages import Verdict, VerdictCount
from functions.errors import StoreUnavailable
from functions.ports import FigureStore
from functions.telemetry import log_fault

GATHER_SECONDS = 1.0


class Figures:
    def __init__(self, store: FigureStore, clock: Callable[[], int]) -> None:
        self._store, self._clock = store, clock
        self._gathered: Counter[tuple[str, str, str, str]] = Counter()
        self._storing: asyncio.Task[None] | None = None

    def note(self, verdicts: Iterable[Verdict]) -> None:
        """Count them to today; stored a moment later."""
        day = datetime.fromtimestamp(self._clock() / 1000, UTC).date().isoformat()
        for verdict in verdicts:
            self._gathered[day, verdict.stage, verdict.rail, verdict.action] += 1
        if self._gathered and (self._storing is None or self._storing.done()):
            self._storing = asyncio.create_task(self._store_soon(), name="figures")

    async def read(self, *, from_day: str, to_day: str) -> tuple[VerdictCount, ...]:
        """Of the whole house, what this process has just counted included."""
        await self.flush()
        return await self._store.read_verdicts(from_day=from_day, to_day=to_day)

    async def _store_soon(self) -> None:
        while self._gathered:
            await asyncio.sleep(GATHER_SECONDS)
            await self.flush()

    async def flush(self) -> None:
        gathered, self._gathered = self._gathered, Counter()
        if not gathered:
            return
        counts = [
            VerdictCount(day=day, stage=stage, rail=rail, action=action, count=count)  # type: ignore[arg-type]  # ours
            for (day, stage, rail, action), count in gathered.items()
        ]
        try:
            await self._store.count_verdicts(counts)
        except StoreUnavailable:
            log_fault("figures.fault", counts=len(counts))
            self._gathered.update(gathered)

    async def close(self) -> None:
        if self._storing is not None:
            self._storing.cancel()
            await asyncio.gather(self._storing, return_exceptions=True)
        await self.flush()
