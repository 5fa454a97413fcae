"""Waking a GPU while somebody still types: one knock, seldom, and never for more than the day's money.

Who opens a chat and types will send in ten or twenty seconds; a start that begins now is that much sooner over. But a
start costs money whether or not anything is sent, so it is bounded twice: per person and minute, and per day for all.
"""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta

from functions.chat.messages import NodeState, Struct
from functions.errors import Limited
from functions.inference.gateway import Gateway, ModelInfo
from functions.inference.pricing import PRICES
from functions.ports import Counter

EVERY_MS = 60_000  # one knock a person and minute,
BURST = 3  # but three models may be looked at in a row
UNKNOWN_START_S = 120.0  # what a start is held to cost before the first was seen
HOUSE = "#house"  # no principal has this name


class Prewarmed(Struct, frozen=True, kw_only=True):
    """`started`: this call woke a GPU. If not, `reason` says why, in words for a person."""

    model: str
    state: NodeState
    started: bool
    reason: str | None = None
    eta_p50_ms: int | None = None
    eta_p90_ms: int | None = None


class Prewarmer:
    def __init__(self, counter: Counter, gateway: Gateway, clock: Callable[[], int], *, usd_per_day: float) -> None:
        self._counter, self._gateway, self._clock = counter, gateway, clock
        self._usd_per_day = usd_per_day

    async def knock(self, owner: str, model: ModelInfo) -> Prewarmed:
        """Wake a node of this model, if it sleeps and the money lasts. Raises Limited when asked too often."""
        if model.state != "cold":
            return self._told(model, started=False)
        wait_ms = await self._counter.admit(owner, "prewarm", interval_ms=EVERY_MS, burst=BURST, now_ms=self._clock())
        if wait_ms:
            seconds = wait_ms / 1000
            raise Limited(f"A model was woken for you just now; try again in {seconds:.0f} s.", retry_after_s=seconds)
        price, today = self._price_micro_usd(model), datetime.fromtimestamp(self._clock() / 1000, UTC)
        if not await self._reserve(price, today):
            return self._told(model, started=False, reason="What may be spent on waking models today is used up.")
        node = await self._gateway.prewarm(model.id, owner=owner)
        if node is None:  # somebody else's knock came first
            await self._reserve(-price, today)
        return self._told(model, started=node is not None)

    def _price_micro_usd(self, model: ModelInfo) -> int:
        """A start and the idle time after it, if nobody comes. A GPU of unknown price counts as the dearest."""
        start_s = UNKNOWN_START_S if model.eta_p90_ms is None else model.eta_p90_ms / 1000
        usd_per_second = model.usd_per_hour / 3600 or max(PRICES.values())
        return round(usd_per_second * (start_s + model.idle_s) * 1_000_000)

    async def _reserve(self, micro_usd: int, now: datetime) -> bool:
        """Whether that day's money allows it, for the whole house. Exact, like any budget; fails closed."""
        midnight = datetime(now.year, now.month, now.day, tzinfo=UTC) + timedelta(days=1)
        if not self._usd_per_day:
            return False
        limit = round(self._usd_per_day * 1_000_000)
        return await self._counter.add(HOUSE, f"prewarm:{now:%F}", micro_usd, limit=limit, expires=midnight) is not None

    def _told(self, model: ModelInfo, *, started: bool, reason: str | None = None) -> Prewarmed:
        info = next((info for info in self._gateway.models() if info.id == model.id), model)  # it may have gone
        return Prewarmed(
            model=model.id,
            state=info.state,
            started=started,
            reason=reason,
            eta_p50_ms=info.eta_p50_ms,
            eta_p90_ms=info.eta_p90_ms,
        )
