"""The warm schedule: when a GPU is kept awake, and that a day never costs more than its cap."""

from datetime import UTC, date, datetime, timedelta
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

import pytest
from hypothesis import given
from hypothesis import strategies as st

from functions.inference.schedule import WorkingHours, warm_replicas

BERLIN = ZoneInfo("Europe/Berlin")
OFFICE = WorkingHours(time_zone="Europe/Berlin", opens=8, closes=18)
NIGHT = WorkingHours(time_zone="Europe/Berlin", opens=1, closes=5, days=(0, 1, 2, 3, 4, 5, 6))
ALWAYS = WorkingHours(time_zone="UTC", opens=0, closes=24, days=(0, 1, 2, 3, 4, 5, 6))
PRICE = 0.0003  # USD a second
PERIOD_S, IDLE_S = 300.0, 300.0


def at(text: str, zone: ZoneInfo = BERLIN) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=zone)


def decide(hours: WorkingHours, now: datetime, usd_per_day: float = 1000.0, price: float = PRICE) -> int:
    return warm_replicas(hours, now, usd_per_day=usd_per_day, usd_per_second=price, period_s=PERIOD_S, idle_s=IDLE_S)


# -- hours and days -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("now", "wanted"),
    [
        ("2026-11-20T07:59:59", 0),
        ("2026-11-20T08:00:00", 1),
        ("2026-11-20T17:59:59", 1),
        ("2026-11-20T18:00:00", 0),
        ("2026-11-20T23:00:00", 0),
        ("2026-11-21T12:00:00", 0),  # Saturday
        ("2026-11-22T12:00:00", 0),
        ("2026-11-23T12:00:00", 1),
    ],
)
def test_a_replica_is_wanted_in_working_hours_only(now: str, wanted: int) -> None:
    assert decide(OFFICE, at(now)) == wanted


def test_the_day_is_the_places_own_whatever_the_clocks_zone() -> None:
    monday_8_in_tokyo = at("2026-11-23T08:00:00", ZoneInfo("Asia/Tokyo"))
    tokyo = WorkingHours(time_zone="Asia/Tokyo", opens=8, closes=18)

    assert monday_8_in_tokyo.astimezone(UTC).weekday() == 6  # still Sunday in UTC
    assert decide(tokyo, monday_8_in_tokyo.astimezone(UTC)) == 1
    assert decide(tokyo, monday_8_in_tokyo.astimezone(ZoneInfo("America/New_York"))) == 1
    assert decide(tokyo, monday_8_in_tokyo - timedelta(seconds=1)) == 0


def test_a_window_may_last_until_midnight_and_all_day() -> None:
    assert decide(WorkingHours(time_zone="Europe/Berlin", opens=20, closes=24), at("2026-11-20T23:59:59")) == 1
    assert decide(ALWAYS, at("2026-11-21T00:00:00", ZoneInfo("UTC"))) == 1


# -- summer time --------------------------------------------------------------------------------------------------


def test_working_hours_follow_the_wall_clock_over_a_change_of_time() -> None:
    friday, monday = at("2026-03-27T08:00:00"), at("2026-03-30T08:00:00")  # summer time began on the Sunday

    assert (monday.astimezone(UTC) - friday.astimezone(UTC)).total_seconds() == 3 * 86_400 - 3600
    assert [decide(OFFICE, start) for start in (friday, monday)] == [1, 1]
    assert [decide(OFFICE, start - timedelta(seconds=1)) for start in (friday, monday)] == [0, 0]


@pytest.mark.parametrize(("day", "hours"), [("2026-03-29", 3), ("2026-10-25", 5), ("2026-07-01", 4)])
def test_a_night_is_as_long_as_it_is_paid_for(day: str, hours: int) -> None:
    """1:00 to 5:00 has three hours in the night that loses one, and five in the one that gains one."""
    window = NIGHT.window(at(f"{day}T12:00:00"))

    assert window
    assert (window[1] - window[0]).total_seconds() == hours * 3600


def test_the_inserted_hour_counts_towards_the_cap() -> None:
    """Four hours of money: on the night with five, the replica is let go before the last."""
    cap = 4 * 3600 * PRICE
    four = at("2026-10-25T04:00:00")  # three hours by the clock, four in truth

    assert decide(NIGHT, four, cap) == 0
    assert decide(NIGHT, four - timedelta(days=1), cap) == 1


# -- money --------------------------------------------------------------------------------------------------------


def test_a_cap_of_nothing_is_off() -> None:
    assert decide(ALWAYS, datetime.now(UTC), 0.0) == 0
    assert decide(ALWAYS, datetime.now(UTC), -1.0) == 0


def test_a_free_gpu_is_kept_all_day() -> None:
    assert decide(OFFICE, at("2026-11-20T17:59:00"), 0.01, price=0.0) == 1


def test_the_replica_is_let_go_while_the_next_decision_and_the_idle_window_are_still_paid_for() -> None:
    cap = 2 * 3600 * PRICE  # two hours

    last = at("2026-11-20T10:00:00") - timedelta(seconds=PERIOD_S + IDLE_S)
    assert decide(OFFICE, last, cap) == 1
    assert decide(OFFICE, last + timedelta(seconds=1), cap) == 0


def test_a_cap_that_pays_for_less_than_a_decision_and_its_idle_window_keeps_nothing_awake() -> None:
    assert decide(OFFICE, at("2026-11-20T08:00:00"), (PERIOD_S + IDLE_S) * PRICE - 0.0001) == 0


@given(
    day=st.dates(date(2026, 1, 1), date(2027, 12, 31)),
    usd=st.floats(0, 40),
    price=st.floats(0.0001, 0.002),
    zone=st.sampled_from(["UTC", "Europe/Berlin", "America/New_York", "Asia/Kolkata", "Australia/Lord_Howe"]),
    opens=st.integers(0, 23),
    length=st.integers(1, 24),
    late_s=st.floats(0, 299),
)
def test_no_day_costs_more_than_its_cap(
    day: date, usd: float, price: float, zone: str, opens: int, length: int, late_s: float
) -> None:
    hours = WorkingHours(time_zone=zone, opens=opens, closes=min(24, opens + length), days=tuple(range(7)))
    midnight = datetime.fromisoformat(f"{day}T00:00:00").replace(tzinfo=ZoneInfo(zone))
    window = hours.window(midnight + timedelta(hours=12))
    assert window
    now, kept = window[0] + timedelta(seconds=late_s), 0.0
    while now < window[1]:
        if decide(hours, now, usd, price):
            kept += PERIOD_S
        now += timedelta(seconds=PERIOD_S)

    if kept:
        assert (kept + IDLE_S) * price <= usd + 1e-9
        assert kept <= (window[1] - window[0]).total_seconds() + PERIOD_S


# -- bad input ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("opens", "closes"), [(18, 8), (8, 8), (-1, 8), (8, 25)])
def test_hours_that_do_not_exist_are_refused(opens: int, closes: int) -> None:
    with pytest.raises(ValueError, match="do not exist"):
        WorkingHours(time_zone="UTC", opens=opens, closes=closes)


def test_days_that_do_not_exist_are_refused() -> None:
    with pytest.raises(ValueError, match="Monday"):
        WorkingHours(time_zone="UTC", opens=8, closes=18, days=(7,))


def test_an_unknown_place_is_refused_when_it_is_asked_for_the_time() -> None:
    nowhere = WorkingHours(time_zone="Europe/Atlantis", opens=8, closes=18)

    with pytest.raises(ZoneInfoNotFoundError):
        nowhere.window(datetime.now(UTC))
