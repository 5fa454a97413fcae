"""What somebody may do and has done of it, as values: limits, the meters they are read on, and the holds that reserve.

A meter is one count of one account in one window of time ("tokens:2026-11-21"). A hold takes room on several meters of
one account at once, before the work, and gives back at its end what was not used. Pure: no I/O, no clock.
"""

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Literal

import msgspec

from functions.chat.messages import Struct

HOUSE = "#house"  # the account of all owners together; no principal has this name
Budget = Literal["tokens_per_day", "gpu_seconds_per_day", "usd_per_day", "usd_per_month"]
BUDGETS: tuple[Budget, ...] = ("tokens_per_day", "gpu_seconds_per_day", "usd_per_day", "usd_per_month")
UNITS: dict[str, int] = {"runs": 1, "tokens": 1, "gpu_ms": 1000, "micro_usd": 1_000_000}  # of a meter, in a limit's
COUNTED: dict[str, str] = {
    "runs_at_once": "runs",
    "tokens_per_day": "tokens",
    "gpu_seconds_per_day": "gpu_ms",
    "usd_per_day": "micro_usd",
    "usd_per_month": "micro_usd",
}


class Limits(Struct, frozen=True, kw_only=True):
    """None: whatever holds otherwise; 0: no limit."""

    runs_per_minute: int | None = None
    runs_at_once: int | None = None
    tokens_per_day: int | None = None
    gpu_seconds_per_day: float | None = None
    usd_per_day: float | None = None
    usd_per_month: float | None = None

    @property
    def is_none(self) -> bool:
        """Nothing is limited here, if nothing else is asked."""
        return not any(getattr(self, name) for name in LIMITS)

    def over(self, other: "Limits") -> "Limits":
        """These, and where they say nothing, those."""
        said = {name: value for name in LIMITS if (value := getattr(self, name)) is not None}
        return msgspec.structs.replace(other, **said)


LIMITS: tuple[str, ...] = Limits.__struct_fields__


class HouseRules(Struct, frozen=True, kw_only=True):
    """What holds for everybody, in one record. `edition` grows with each change: of two at once, one is refused.
    `has_users`: some users have limits of their own."""

    edition: int = 0
    limits: Limits = Limits()
    groups: dict[str, Limits] = {}  # noqa: RUF012  # msgspec copies it
    has_users: bool = False
    paused_at: datetime | None = None
    reason: str | None = None


class Claim(Struct, frozen=True, kw_only=True):
    """Room on one meter, in its own unit. `expires_ms` (Unix): nobody asks for the meter after it; 0: never."""

    meter: str
    amount: int
    limit: int
    expires_ms: int = 0


class Hold(Struct, frozen=True, kw_only=True):
    """What one run, or another piece of work, has reserved. `is_run`: `id` is a run of `owner`, and tells whether
    somebody is still at work; without one it is over at `until_ms`."""

    id: str
    owner: str
    at_ms: int
    claims: tuple[Claim, ...]
    is_run: bool = True
    until_ms: int = 0


class Reading(Struct, frozen=True, kw_only=True):
    """`total` counts what is reserved as used."""

    total: int = 0
    reserved: int = 0


class Amounts(Struct, frozen=True, kw_only=True):
    """What some work needs, or has used."""

    tokens: int = 0
    gpu_ms: int = 0
    micro_usd: int = 0

    def of(self, meter: str) -> int:
        """As that meter counts it; a run that has ended counts as none."""
        return int(getattr(self, kind_of(meter), 0))


def kind_of(meter: str) -> str:
    """A name of UNITS."""
    return meter.partition(":")[0]


def meter_of(budget: str, now: datetime) -> tuple[str, datetime | None]:
    """The meter that this limit is read on at that time, and when the next one begins (None: never)."""
    kind = COUNTED[budget]
    if budget == "runs_at_once":
        return kind, None
    midnight = datetime(now.year, now.month, now.day, tzinfo=UTC) + timedelta(days=1)
    if budget == "usd_per_month":
        after = now.replace(day=1) + timedelta(days=32)
        return f"{kind}:{now:%Y-%m}", datetime(after.year, after.month, 1, tzinfo=UTC)
    return f"{kind}:{now:%F}", midnight


def claims_of(limits: Limits, wanted: Amounts, now: datetime, *, is_run: bool = True) -> tuple[Claim, ...]:
    """One for each limit there is. At least one unit each: what is used up stays used up for what costs nothing."""
    claims = []
    for name in COUNTED:
        limit = getattr(limits, name)
        if not limit or (name == "runs_at_once" and not is_run):
            continue
        meter, over = meter_of(name, now)
        claims.append(
            Claim(
                meter=meter,
                amount=max(1, wanted.of(meter)),
                limit=max(1, round(limit * UNITS[kind_of(meter)])),
                expires_ms=int(over.timestamp() * 1000) if over else 0,
            )
        )
    return tuple(claims)


def granted(claims: tuple[Claim, ...], totals: Mapping[str, int]) -> tuple[Claim, ...] | str:
    """The claims as far as there is room, or the meter that has none left: a small rest can be used up."""
    given = []
    for claim in claims:
        room = claim.limit - totals.get(claim.meter, 0)
        if room < 1:
            return claim.meter
        given.append(msgspec.structs.replace(claim, amount=min(claim.amount, room)))
    return tuple(given)
