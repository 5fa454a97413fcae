"""Prices, and who owes which part of the time that a GPU was awake."""

from collections.abc import Sequence
from datetime import UTC, datetime
from math import ceil
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from functions.chat.messages import NodeUse
from functions.errors import BadInput
from functions.inference.pricing import (
    DAY_MS,
    LAST_TO_SHARE_MS,
    MARGIN_MS,
    PRICES,
    Meter,
    Row,
    attribute,
    bill,
    total,
    usd_per_second,
)
from tests.inference.autoscaler import simulate_an_hour

NOON = round(datetime(2026, 11, 20, 12, tzinfo=UTC).timestamp() * 1000)
PRICE = 0.0005


def a_use(owner: str, asked: float, began: float | None, ended: float, **more: Any) -> NodeUse:
    """Seconds after noon."""
    values: dict[str, Any] = {
        "id": f"{owner} {asked} {ended}",
        "run_id": f"run of {owner} at {asked}",
        "chat_id": f"chat of {owner}",
        "node": "gpu",
        "model": "big",
        "gpu": "L40S",
        "usd_per_second": PRICE,
        "idle_s": 300.0,
        "streams": 2,
    } | more
    began_ms = None if began is None else NOON + round(began * 1000)
    return NodeUse(
        owner=owner,
        asked_ms=NOON + round(asked * 1000),
        began_ms=began_ms,
        ended_ms=NOON + round(ended * 1000),
        **values,
    )


def parts(uses: Sequence[NodeUse], from_s: float = -3600, to_s: float = 7200) -> dict[str, tuple[float, float, float]]:
    """Active, cold-start and idle seconds by owner."""
    owed: dict[str, tuple[float, float, float]] = {}
    for share in attribute(uses, [NOON + round(from_s * 1000), NOON + round(to_s * 1000)]):
        before = owed.get(share.use.owner, (0.0, 0.0, 0.0))
        new = (share.active_ms / 1000, share.cold_start_ms / 1000, share.idle_ms / 1000)
        owed[share.use.owner] = tuple(round(a + b, 6) for a, b in zip(before, new, strict=True))  # type: ignore[assignment]
    return owed


# -- prices --------------------------------------------------------------------------------------------------------


def test_a_price_is_found_by_modals_names() -> None:
    assert usd_per_second("L40S") == PRICES["L40S"] == usd_per_second("l40s")
    assert usd_per_second("H100:2") == 2 * PRICES["H100"]
    assert usd_per_second("H100!") == PRICES["H100"]
    assert usd_per_second("B200+:8") == 8 * PRICES["B200"]
    assert usd_per_second("A100") == PRICES["A100-40GB"]


def test_cores_and_memory_are_paid_as_well() -> None:
    assert usd_per_second("L4", cpu_cores=4, memory_gib=32) == pytest.approx(0.000222 + 4 * 0.0000131 + 32 * 0.00000222)


@pytest.mark.parametrize("name", ["", "RTX 4090", "H100:", "H100:0", "H100:two", "H100:-1", "H100:²", ":", "any"])
def test_a_gpu_without_a_price_is_an_error_that_names_those_with_one(name: str) -> None:
    with pytest.raises(BadInput, match=r"L40S.*H200") as refused:
        usd_per_second(name)

    assert refused.value.param == "gpu"


# -- the rule, case by case ----------------------------------------------------------------------------------------


def test_one_alone_pays_the_start_the_work_and_the_idle_time_after_it() -> None:
    assert parts([a_use("ana", 0, 40, 50, was_cold=True)]) == {"ana": (10, 40, 300)}


def test_a_batch_is_shared_in_equal_parts_at_each_instant() -> None:
    uses = [a_use("ana", 0, 0, 10), a_use("ben", 5, 5, 15)]

    assert parts(uses) == {"ana": (7.5, 0, 0), "ben": (7.5, 0, 300)}


def test_a_start_is_shared_by_those_who_wait_for_it_and_counts_once() -> None:
    uses = [a_use("ana", 0, 40, 50, was_cold=True), a_use("ben", 20, 40, 50, was_cold=True)]

    assert parts(uses, to_s=50) == {"ana": (5, 30, 0), "ben": (5, 10, 0)}


def test_who_hears_a_little_later_that_the_node_is_up_starts_no_second_replica() -> None:
    uses = [a_use("ana", 0, 40, 50, was_cold=True), a_use("ben", 20, 40.5, 50, was_cold=True)]

    assert sum(map(sum, parts(uses, to_s=50).values())) == pytest.approx(50)


def test_more_than_a_replica_works_on_is_a_second_replica_and_it_idles_as_long_as_the_first() -> None:
    uses = [a_use("ana", 0, 0, 100), a_use("ben", 0, 0, 100), a_use("cy", 0, 0, 10)]

    # Ten seconds of two replicas for three; then one works for two, and the other is kept awake by them.
    assert parts(uses, to_s=100) == {"ana": (51.666667, 0, 45), "ben": (51.666667, 0, 45), "cy": (6.666667, 0, 0)}
    assert sum(map(sum, parts(uses).values())) == pytest.approx(20 + 90 + 90 + 300 + 210, abs=1e-4)


def test_a_node_without_streams_has_one_replica_however_many_there_are() -> None:
    uses = [a_use(f"user {number}", 0, 0, 10, streams=0) for number in range(50)]

    assert sum(map(sum, parts(uses, to_s=10).values())) == pytest.approx(10)


def test_whoever_is_in_flight_takes_the_idle_time_over() -> None:
    uses = [a_use("ana", 0, 0, 10), a_use("ben", 110, 110, 120)]

    assert parts(uses) == {"ana": (10, 0, 100), "ben": (10, 0, 300)}


def test_a_start_that_was_given_up_is_paid_by_who_asked_for_it_to_its_usual_end() -> None:
    uses = [a_use("ana", 0, 40, 50, was_cold=True), a_use("ben", 1000, None, 1010, was_cold=True)]

    assert parts(uses, from_s=900) == {"ben": (0, 10, 30 + 300)}


def test_who_asks_again_waits_for_the_same_start() -> None:
    uses = [
        a_use("ana", 0, 40, 50, was_cold=True),
        a_use("ben", 1000, None, 1010, was_cold=True),
        a_use("ben", 1020, None, 1030, was_cold=True),
    ]

    assert parts(uses, from_s=900) == {"ben": (0, 20, 10 + 10 + 300)}


def test_who_waits_in_a_queue_in_vain_owes_nothing() -> None:
    uses = [a_use("ana", 0, 0, 10), a_use("ben", 5, None, 20)]

    assert parts(uses) == {"ana": (10, 0, 300)}


def test_who_is_told_that_the_node_sleeps_proves_that_nothing_was_left_awake() -> None:
    uses = [a_use("ana", 0, 0, 10), a_use("ben", 100, 140, 150, was_cold=True)]

    assert parts(uses) == {"ana": (10, 0, 90), "ben": (10, 40, 300)}


def test_a_prewarm_pays_the_start_until_the_message_comes_and_the_idle_time_if_none_does() -> None:
    prewarm = a_use("ana", 0, 40, 40, was_cold=True, run_id=None, chat_id=None)

    assert parts([prewarm]) == {"ana": (0, 40, 300)}
    assert parts([prewarm, a_use("ben", 30, 40, 50, was_cold=True)], to_s=50) == {"ana": (0, 35, 0), "ben": (10, 5, 0)}


def test_of_a_node_that_does_not_sleep_only_the_work_is_shared_out() -> None:
    assert parts([a_use("ana", 0, 1, 10, idle_s=0.0), a_use("ben", 50, 50, 60, idle_s=0.0)]) == {
        "ana": (9, 0, 0),
        "ben": (10, 0, 0),
    }


def test_each_pays_the_price_of_its_own_day() -> None:
    uses = [a_use("ana", 0, 0, 10), a_use("ben", 0, 0, 10, usd_per_second=2 * PRICE)]
    rows = bill(uses, from_ms=NOON, to_ms=NOON + 10_000, now_ms=NOON + DAY_MS)

    assert [row.spent.cost_usd for row in rows] == pytest.approx([5 * PRICE, 10 * PRICE])


def test_nodes_do_not_share() -> None:
    assert parts([a_use("ana", 0, 0, 10), a_use("ben", 0, 0, 10, node="other")], to_s=10) == {
        "ana": (10, 0, 0),
        "ben": (10, 0, 0),
    }


def test_a_clock_that_steps_back_costs_nothing_and_breaks_nothing() -> None:
    uses = [
        a_use("ana", 100, 90, 80, was_cold=True),
        a_use("ben", 100, None, 50, was_cold=True),
        a_use("cy", 100, 120, 60),
    ]

    assert all(part >= 0 for owed in parts(uses).values() for part in owed)
    assert sum(map(sum, parts(uses).values())) == pytest.approx(320, abs=1e-3)  # it was seen awake from 100 to 120


# -- the rule, for any uses ----------------------------------------------------------------------------------------

moments = st.integers(0, 120)
some_uses = st.lists(
    st.builds(
        lambda owner, asked, wait, work, cold, vain, idle, streams, node: NodeUse(
            owner=owner,
            run_id=f"{owner}{asked}",
            chat_id=owner,
            node=node,
            model="m",
            asked_ms=asked,
            began_ms=None if vain else asked + wait,
            ended_ms=asked + wait + work,
            was_cold=cold,
            usd_per_second=1000.0,  # a dollar a millisecond
            idle_s=idle / 1000,
            streams=streams,
            prompt_tokens=asked,
        ),
        owner=st.sampled_from("abc"),
        asked=moments,
        wait=st.integers(-3, 20),
        work=st.integers(-3, 40),
        cold=st.booleans(),
        vain=st.booleans(),
        idle=st.just(25),
        streams=st.just(2),
        node=st.sampled_from(("n1", "n2")),
    ),
    max_size=9,
)


def awake_ms(uses: Sequence[NodeUse], until: int, idle_ms: int = 25, streams: int = 2) -> int:
    """How long replicas of one node were awake, found by looking at every millisecond: the rule written once more, in
    the other way. Each replica has a number; the lowest are used first."""
    sleeps_at: dict[int, int] = {}  # replica → when it will
    begins = {use: use.asked_ms if use.began_ms is None else max(use.asked_ms, use.began_ms) for use in uses}
    ends = {use: max(begins[use], use.ended_ms) for use in uses}
    came = [use for use in uses if use.began_ms is not None or use.was_cold]

    def waits_at(use: NodeUse) -> bool:
        end = ends[use] if use.began_ms is None else begins[use]
        return use.was_cold and use.asked_ms <= now < end

    starts, free_at = [], -1
    for use in sorted((use for use in came if use.was_cold), key=lambda use: use.asked_ms):
        if use.asked_ms >= free_at and use.began_ms is not None:
            starts.append(begins[use] - use.asked_ms)
        free_at = max(free_at, ends[use] if use.began_ms is None else begins[use])
    starts.sort()
    middle = (starts[(len(starts) - 1) // 2] + starts[len(starts) // 2]) / 2 if starts else 0
    typical, up_at, used, spent = round(middle), -1, 0, 0
    for now in range(until):
        working = [use for use in came if use.began_ms is not None and begins[use] <= now < ends[use]]
        waiting = [use for use in came if waits_at(use)]
        leaving = [use for use in came if ends[use] == now]
        if any(begins[use] == now for use in working):
            up_at = now
        needed = max(1, ceil(len(working) / streams)) if working else int(bool(waiting))
        if waiting and not working and not used:
            sleeps_at.clear()
            up_at = now + typical if now >= up_at else up_at
        rest = max(0, up_at - now) if all(use.began_ms is None for use in leaving) else 0
        if leaving and not used and not needed:
            awake = sorted(number for number, at in sleeps_at.items() if at > now)
            sleeps_at[awake[0] if awake else 1] = now + idle_ms + rest
        for number in range(needed + 1, used + 1):
            sleeps_at[number] = now + idle_ms + rest
        for number in range(1, needed + 1):
            sleeps_at.pop(number, None)
        used = needed
        spent += needed + sum(at > now for at in sleeps_at.values())
    return spent


@given(some_uses)
@settings(max_examples=300, deadline=None, derandomize=True, database=None)
def test_the_parts_sum_to_the_whole_and_none_is_negative(uses: list[NodeUse]) -> None:
    shares = attribute(uses, [0, 400])

    assert all(min(share.active_ms, share.cold_start_ms, share.idle_ms) >= 0 for share in shares)
    for node in ("n1", "n2"):
        whole = awake_ms([use for use in uses if use.node == node], 400)
        assert sum(share.gpu_ms for share in shares if share.use.node == node) == pytest.approx(whole, abs=1e-6)


@given(some_uses, st.randoms(use_true_random=False))
@settings(max_examples=100, deadline=None, derandomize=True, database=None)
def test_the_order_in_which_uses_come_changes_nothing(uses: list[NodeUse], dice: Any) -> None:
    shuffled = dice.sample(uses, len(uses))

    assert bill(shuffled, from_ms=0, to_ms=300, now_ms=200) == bill(uses, from_ms=0, to_ms=300, now_ms=200)


def by_line(rows: Sequence[Row]) -> dict[tuple[str | None, ...], float]:
    """The amounts that are not nothing; a row of zeros is as good as none."""
    amounts: dict[tuple[str | None, ...], float] = {}
    for row in rows:
        for name in ("runs", "prompt_tokens", "active_seconds", "cold_start_seconds", "idle_seconds"):
            key = (row.day, row.owner, row.model, row.chat_id, name)
            amounts[key] = amounts.get(key, 0) + getattr(row.spent, name)
    return {key: amount for key, amount in amounts.items() if amount > 1e-9}


@given(some_uses, st.integers(0, 200))
@settings(max_examples=100, deadline=None, derandomize=True, database=None)
def test_the_bills_of_two_periods_add_up_to_the_bill_of_both(uses: list[NodeUse], middle: int) -> None:
    midnight = DAY_MS - 60  # so that a day ends among them
    moved = [move(use, midnight) for use in uses]
    both = bill(moved, from_ms=midnight, to_ms=midnight + 200, now_ms=2 * DAY_MS)
    first = bill(moved, from_ms=midnight, to_ms=midnight + middle, now_ms=2 * DAY_MS)
    second = bill(moved, from_ms=midnight + middle, to_ms=midnight + 200, now_ms=2 * DAY_MS)

    assert by_line([*first, *second]) == pytest.approx(by_line(both))


def move(use: NodeUse, by_ms: int) -> NodeUse:
    began = None if use.began_ms is None else use.began_ms + by_ms
    return msgspec.structs.replace(use, asked_ms=use.asked_ms + by_ms, began_ms=began, ended_ms=use.ended_ms + by_ms)


# -- the bill ------------------------------------------------------------------------------------------------------


def test_time_counts_on_its_day_tokens_and_the_run_on_the_day_they_were_asked_for() -> None:
    late = a_use("ana", 43_190, 43_190, 43_220, prompt_tokens=100, cached_tokens=60, completion_tokens=7)
    rows = bill([late], from_ms=NOON, to_ms=NOON + 2 * DAY_MS, now_ms=NOON + 3 * DAY_MS)

    assert [(row.day, row.owner, row.model, row.chat_id) for row in rows] == [
        ("2026-11-20", "ana", "big", "chat of ana"),
        ("2026-11-21", "ana", "big", "chat of ana"),
    ]
    first, second = (row.spent for row in rows)
    assert (first.runs, first.prompt_tokens, first.cached_tokens, first.completion_tokens) == (1, 100, 60, 7)
    assert (first.active_seconds, first.idle_seconds) == (10, 0)
    assert (second.runs, second.prompt_tokens, second.active_seconds, second.idle_seconds) == (0, 0, 20, 300)
    assert second.cost_usd == pytest.approx(320 * PRICE)


def test_a_run_that_was_tried_elsewhere_counts_once_where_it_was_answered() -> None:
    uses = [
        a_use("ana", 0, 0, 5, run_id="r", model="big", node="a"),
        a_use("ana", 5, 5, 9, run_id="r", model="small", node="b", completion_tokens=3),
        a_use("ana", 20, 60, 60, run_id=None, chat_id=None, was_cold=True, node="c"),
    ]
    rows = bill(uses, from_ms=NOON, to_ms=NOON + DAY_MS, now_ms=NOON + DAY_MS)

    assert {(row.model, row.chat_id): row.spent.runs for row in rows} == {
        ("big", None): 0,
        ("big", "chat of ana"): 0,
        ("small", "chat of ana"): 1,
    }


def test_the_same_use_recorded_twice_counts_once() -> None:
    use = a_use("ana", 0, 0, 10, prompt_tokens=5)
    (row,) = bill([use, use], from_ms=NOON, to_ms=NOON + DAY_MS, now_ms=NOON + DAY_MS)

    assert (row.spent.runs, row.spent.prompt_tokens, row.spent.active_seconds) == (1, 5, 10)


def test_what_may_still_be_shared_is_an_estimate_and_nothing_is_counted_before_it_happens() -> None:
    use = a_use("ana", 0, 0, 10)
    settled_ms = NOON + 10_000 + 300_000 + LAST_TO_SHARE_MS

    def at(now_ms: int) -> Row:
        (row,) = bill([use], from_ms=NOON, to_ms=NOON + DAY_MS, now_ms=now_ms)
        return row

    assert (at(NOON + 60_000).spent.idle_seconds, at(NOON + 60_000).spent.is_estimate) == (50, True)
    assert (at(settled_ms - 1).spent.idle_seconds, at(settled_ms - 1).spent.is_estimate) == (300, True)
    assert (at(settled_ms).spent.idle_seconds, at(settled_ms).spent.is_estimate) == (300, False)


def test_a_bill_of_a_time_to_come_or_of_nobody_is_empty() -> None:
    assert bill([], from_ms=NOON, to_ms=NOON + DAY_MS, now_ms=NOON) == ()
    late = bill([a_use("ana", 0, 0, 10)], from_ms=NOON + DAY_MS, to_ms=NOON + 2 * DAY_MS, now_ms=NOON + 20_000)
    assert late == ()


def test_a_margin_of_uses_before_the_period_is_enough() -> None:
    """As long as a run lasts at most its 15 minutes, and a replica idles for no more than an hour."""
    uses = [a_use(f"user {n}", 97 * n, 97 * n + 3, 97 * n + 900, idle_s=3600.0) for n in range(200)]
    from_ms = NOON + 12_000_000
    near = [use for use in uses if use.asked_ms >= from_ms - MARGIN_MS]

    assert len(near) < len(uses)
    period = {"from_ms": from_ms, "to_ms": NOON + DAY_MS, "now_ms": NOON + 2 * DAY_MS}
    assert by_line(bill(near, **period)) == pytest.approx(by_line(bill(uses, **period)))


def test_totals_add_everything_and_one_estimate_makes_an_estimate() -> None:
    rows = bill(
        [a_use("ana", 0, 0, 10, prompt_tokens=1), a_use("ben", DAY_MS / 1000, DAY_MS / 1000, DAY_MS / 1000 + 10)],
        from_ms=NOON,
        to_ms=NOON + 2 * DAY_MS,
        now_ms=NOON + DAY_MS + 20_000,
    )

    everything = total(row.spent for row in rows)
    assert (everything.runs, everything.prompt_tokens, everything.is_estimate) == (2, 1, True)
    assert everything.gpu_seconds == pytest.approx(10 + 300 + 10 + 10)
    assert total([]).cost_usd == 0


# -- the estimate on a message -------------------------------------------------------------------------------------


def test_an_answer_of_a_woken_gpu_is_told_its_start_and_all_of_the_idle_time() -> None:
    use = a_use("ana", 0, 40, 50, was_cold=True)
    cost = Meter().cost([use], use.ended_ms)

    assert (cost.active_seconds, cost.cold_start_seconds, cost.idle_seconds) == (10, 40, 300)
    assert (cost.gpu_seconds, cost.cost_usd, cost.is_estimate) == (350, pytest.approx(350 * PRICE), True)


def test_the_idle_time_is_estimated_by_the_pauses_there_were() -> None:
    meter = Meter()
    for number in range(3):  # ten seconds of work, twenty of rest
        use = a_use("ana", 30 * number, 30 * number, 30 * number + 10)
        cost = meter.cost([use], use.ended_ms)

    assert (cost.active_seconds, cost.idle_seconds) == (10, 20)


def test_while_others_are_in_flight_nothing_idles_and_they_share() -> None:
    use = a_use("ana", 0, 0, 10)
    cost = Meter().cost([use], use.ended_ms, {"gpu": 1})

    assert (cost.active_seconds, cost.idle_seconds) == (7.5, 0)  # the other is held to have come in the middle


def test_those_who_ended_meanwhile_share_too() -> None:
    meter = Meter()
    meter.saw(a_use("ben", 0, 0, 10))

    assert meter.cost([a_use("ana", 0, 0, 20)], NOON + 20_000).active_seconds == 15


def test_a_run_that_was_tried_at_two_nodes_pays_for_both_and_one_without_a_node_for_nothing() -> None:
    failed = a_use("ana", 0, None, 5, was_cold=True, node="a")
    answered = a_use("ana", 5, 5, 15, node="b", idle_s=0.0)

    assert Meter().cost([failed, answered], NOON + 15_000).gpu_seconds == 5 + 300 + 10
    assert Meter().cost([], NOON).gpu_seconds == 0


# -- an hour of an autoscaler --------------------------------------------------------------------------------------


@pytest.mark.parametrize("seed", range(5))
def test_the_ledger_of_an_hour_sums_to_the_bill_within_one_percent(seed: int) -> None:
    hour = simulate_an_hour(seed)
    rows = bill(hour.uses, from_ms=0, to_ms=hour.ends_ms, now_ms=hour.ends_ms)
    everything = total(row.spent for row in rows)
    print(  # noqa: T201  # for people, with -s
        f"\nseed {seed}: {len(hour.uses)} uses, {hour.most_replicas} replicas at most, {hour.starts} starts, "
        f"{hour.prewarms} pre-warms, {hour.cancelled} cancelled; billed {hour.billed_s:.1f} s, "
        f"ledger {everything.gpu_seconds:.1f} s ({everything.gpu_seconds / hour.billed_s - 1:+.2%}): "
        f"active {everything.active_seconds:.1f}, cold start {everything.cold_start_seconds:.1f}, "
        f"idle {everything.idle_seconds:.1f}"
    )

    assert hour.most_replicas >= 3
    assert hour.starts > hour.most_replicas
    assert hour.prewarms
    assert hour.cancelled
    assert everything.gpu_seconds == pytest.approx(hour.billed_s, rel=0.01)
    assert everything.cost_usd == pytest.approx(hour.billed_s * PRICE, rel=0.01)
