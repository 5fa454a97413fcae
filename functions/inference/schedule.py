"""When to keep a GPU awake with nobody there, and when the day's money for that is used up. Pure: time in, answer out.

Promises: a day never costs more than its cap, as long as the decision is asked for every `period_s`. That needs no
memory of what was spent: a replica is counted as awake from the moment the window opens, and is let go early enough
that the next decision and the idle window after it are still paid for. Using the GPU in those hours costs no more on
top: it is the same replica. Replicas beyond the first belong to the people who need them, not to this.

Knows Python's standard library only; money is in USD, prices come as arguments.
"""

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkingHours:
    """Wall-clock hours of a place, `opens` included and `closes` not. Days count from Monday = 0; hours from 0 to 24.

    Raises ValueError where no such time exists. An unknown time zone is found out by `window`, with
    zoneinfo.ZoneInfoNotFoundError: where these hours are merely named, there may be no time-zone database.
    """

    time_zone: str
    opens: int
    closes: int
    days: tuple[int, ...] = (0, 1, 2, 3, 4)

    def __post_init__(self) -> None:
        if not 0 <= self.opens < self.closes <= 24:
            raise ValueError(f"Working hours from {self.opens} to {self.closes} do not exist: 0 ≤ opens < closes ≤ 24.")
        if not set(self.days) <= set(range(7)):
            raise ValueError(f"Days are 0 (Monday) to 6 (Sunday), not {self.days}.")

    def window(self, now: datetime) -> tuple[datetime, datetime] | None:
        """Opening and closing of the place's own today, in UTC; None on a day off."""
        zone = ZoneInfo(self.time_zone)
        midnight = now.astimezone(zone).replace(hour=0, minute=0, second=0, microsecond=0, tzinfo=None)
        if midnight.weekday() not in self.days:
            return None
        # Wall-clock arithmetic first, then UTC: an hour that summer time inserts or drops is counted as it is paid.
        opening, closing = (midnight + timedelta(hours=hour) for hour in (self.opens, self.closes))
        return opening.replace(tzinfo=zone).astimezone(UTC), closing.replace(tzinfo=zone).astimezone(UTC)


def warm_replicas(
    hours: WorkingHours,
    now: datetime,
    *,
    usd_per_day: float,
    usd_per_second: float,
    period_s: float,
    idle_s: float,
) -> int:
    """1 to keep a replica awake until the next decision in `period_s`, 0 to let go.

    `now` must know its time zone. `idle_s` is how long the host keeps a replica that was let go. A cap of 0 is off.
    """
    if usd_per_day <= 0 or (window := hours.window(now)) is None:
        return 0
    opening, closing = window
    paid_for_s = usd_per_day / usd_per_second if usd_per_second > 0 else float("inf")
    awake_until_s = (now - opening).total_seconds() + period_s + idle_s  # if it is kept this once more
    return int(opening <= now < closing and awake_until_s <= paid_for_s)
