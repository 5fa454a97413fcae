"""What answers cost on rented GPUs: the prices, and who owes which part of the time that a node was awake.

A use (`NodeUse`) says when somebody asked a node, when the answer began and when it ended. A batch is shared, a start
is waited for by several, and a GPU stays awake after the last answer; so what one use costs follows from all uses of
its node, of every owner. The rule, at each instant of a node:

  how many    With n requests in flight, ceil(n / streams) replicas are needed, at least one; while a request that woke
  are awake   the node waits and none is in flight, one, the one that starts. A replica that is needed no more stays
              awake for `idle_s`. Who is told that the node sleeps proves that no unused replica was left.
  who pays    Those in flight, in equal parts: needed replicas are `active`, the others `idle`.
              Nobody in flight: those who wait for the start, in equal parts: one replica is `cold_start`.
              Nobody at all: whoever ended last, for it kept the GPU awake: `idle`.

Every awake replica is somebody's at every instant, so the parts sum to the whole. What is whole is inferred, not read
from the provider's bill: a start counts from the first request that woke the node, and a start that all have given up
goes on for as long as the node's starts take (its rest is `idle`). `streams` is where the provider starts a further
replica; the node's slots must not be more than all its replicas' streams, or the rule counts replicas that there are
not. A request that waited in a queue and never got to the node costs nothing. A node that is not serverless has
`idle_s` 0: only the time in which it worked is shared out, what it costs in between is its owner's. A pre-warm shares
like a run; its part is its owner's and belongs to no chat.

Times are Unix milliseconds; clocks of several processes may disagree: a use that ends before it begins has no length.
Pure: no clock, no I/O.
"""

from bisect import bisect_right, insort
from collections import Counter, defaultdict, deque
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, date, datetime
from itertools import groupby
from math import ceil, inf
from statistics import median

import msgspec

from functions.chat.messages import Cost, NodeUse, Struct
from functions.errors import BadInput
from functions.settings import RUN_SECONDS

# -- prices --------------------------------------------------------------------------------------------------------

# USD per second of one GPU on Modal, in the region it chooses (a chosen region is 1.5 to 1.75 times that). Read from
# third-party copies of modal.com/pricing of September and October 2026, some of them given per hour; whoever has an
# account reads its own with `modal billing rates`, and names a price that differs as `usd_per_hour` of the node.
PRICES_AS_OF = date(2026, 10, 1)
PRICES = {
    "T4": 0.000164,
    "L4": 0.000222,
    "A10": 0.000306,
    "L40S": 0.000542,
    "A100-40GB": 0.000583,
    "A100-80GB": 0.000694,
    "RTX-PRO-6000": 0.000842,
    "H100": 0.001097,
    "H200": 0.001261,
    "B200": 0.001736,
}
SAME_GPU = {"A100": "A100-40GB", "A10G": "A10"}  # Modal's other names
CPU_CORE_USD_PER_SECOND = 0.0000131
MEMORY_GIB_USD_PER_SECOND = 0.00000222


def usd_per_second(gpu: str, *, cpu_cores: float = 0.0, memory_gib: float = 0.0) -> float:
    """The price of one replica awake: its GPUs by Modal's name ("L40S", "H100:2"; "!" and "+" change no price), and
    the cores and memory it has reserved. Raises BadInput for a GPU that the table does not know."""
    name, has_count, count = gpu.upper().partition(":")
    name = name.rstrip("!+")
    price = PRICES.get(SAME_GPU.get(name, name))
    number = 1 if not has_count else int(count) if count.isdecimal() and len(count) < 4 else 0
    if price is None or not number:
        raise BadInput(
            f"No price is known for the GPU {gpu[:64]!r}; give usd_per_hour, or one of {', '.join(PRICES)} "
            "(with :2 for two).",
            param="gpu",
        )
    cores, memory = cpu_cores * CPU_CORE_USD_PER_SECOND, memory_gib * MEMORY_GIB_USD_PER_SECOND
    return price * number + cores + memory


# -- who owes what -------------------------------------------------------------------------------------------------


@dataclass(slots=True)
class Share:
    """What one use owes of one interval, in milliseconds of one replica."""

    use: NodeUse
    at_ms: int  # where the interval begins
    active_ms: float = 0.0
    cold_start_ms: float = 0.0
    idle_ms: float = 0.0

    @property
    def gpu_ms(self) -> float:
        return self.active_ms + self.cold_start_ms + self.idle_ms

    @property
    def cost_usd(self) -> float:
        return self.gpu_ms / 1000 * self.use.usd_per_second


def attribute(uses: Iterable[NodeUse], cuts_ms: Sequence[int]) -> list[Share]:
    """Who owes how much of each interval between neighbouring cuts (ascending; at least two), by the module's rule.

    The uses must reach back before the first cut for as long as one can last and idle; their order does not matter.
    """
    by_node: defaultdict[str, list[NodeUse]] = defaultdict(list)
    for use in _once_each(uses):
        by_node[use.node].append(use)
    return [share for node in sorted(by_node) for share in _Sweep(by_node[node], cuts_ms).shares()]


def _once_each(uses: Iterable[NodeUse]) -> list[NodeUse]:
    """In an order that does not depend on how they came; one id counts once."""
    ordered = sorted(uses, key=lambda use: (use.ended_ms, use.asked_ms, use.id, msgspec.json.encode(use)))
    return list({use.id or number: use for number, use in enumerate(ordered)}.values())


@dataclass(slots=True, eq=False)
class _Stay:
    """A use during the sweep: when it waits and works, and what it owes so far."""

    use: NodeUse
    ended_ms: int
    begun: tuple[float, float] = (0.0, 0.0)  # the sums of its kind when it came, or at the last cut
    shares: dict[int, Share] = field(default_factory=dict)  # by the number of the interval

    @property
    def idle_ms(self) -> int:
        return round(self.use.idle_s * 1000)


_CUT, _WAITS, _WORKS, _LEAVES = range(4)  # what can happen at one instant, in this order


class _Sweep:
    """One node through time. Between two events all in flight owe alike, so a running sum of what *each* owes is kept,
    and a use owes the difference between the sums at its end and at its beginning: O(n log n) in all."""

    def __init__(self, uses: Sequence[NodeUse], cuts_ms: Sequence[int]) -> None:
        self._cuts = cuts_ms
        self._interval = -1
        self._working: dict[_Stay, None] = {}
        self._waiting: dict[_Stay, None] = {}
        self._streams: Counter[int] = Counter()  # of those in flight
        self._needed = 0
        self._unused: list[int] = []  # awake and not needed: until when, ascending
        self._last: _Stay | None = None  # to leave
        self._per_worker = (0.0, 0.0)  # active, idle
        self._per_waiter = (0.0, 0.0)  # cold start, idle
        self._start_takes_ms = _typical_start_ms(uses)
        self._up_ms = -inf  # when the start that is under way should be over
        self._stays: list[_Stay] = []
        self._events: list[tuple[int, int, int]] = [(cut, _CUT, 0) for cut in cuts_ms]
        for use in uses:
            self._enter(use)

    def _enter(self, use: NodeUse) -> None:
        began = None if use.began_ms is None else max(use.asked_ms, use.began_ms)
        if began is None and not use.was_cold:
            return  # it never got there
        ended = max(use.asked_ms if began is None else began, use.ended_ms)
        number = len(self._stays)
        self._stays.append(_Stay(use, ended))
        if use.was_cold:
            self._events.append((use.asked_ms, _WAITS, number))
        if began is not None and began < ended:
            self._events.append((began, _WORKS, number))
        self._events.append((ended, _LEAVES, number))

    def shares(self) -> list[Share]:
        self._events.sort()
        now = self._events[0][0]
        for at_ms, happened in groupby(self._events, key=lambda event: event[0]):
            if at_ms > self._cuts[-1]:
                break
            self._charge(now, at_ms)
            self._change(at_ms, [(kind, self._stays[number]) if kind else (kind, None) for _, kind, number in happened])
            now = at_ms
        return [stay.shares[interval] for stay in self._stays for interval in sorted(stay.shares)]

    def _charge(self, now: int, until: int) -> None:
        """Nobody comes or goes in this time; unused replicas fall asleep."""
        while now < until:
            del self._unused[: bisect_right(self._unused, now)]
            then = min(until, self._unused[0]) if self._unused else until
            idle_ms = len(self._unused) * (then - now)
            if self._working:
                self._per_worker = _grown(self._per_worker, self._needed * (then - now), idle_ms, len(self._working))
            elif self._waiting:
                self._per_waiter = _grown(self._per_waiter, then - now, idle_ms, len(self._waiting))
            elif self._last and idle_ms:
                self._owe(self._last, idle=idle_ms)
            now = then

    def _change(self, at_ms: int, happened: Sequence[tuple[int, _Stay | None]]) -> None:
        needed_before, was_asleep, left = self._needed, not (self._working or self._waiting), []
        for kind, stay in happened:
            if stay is None:
                self._cut()
                continue
            self._settle(stay)
            if kind == _WAITS:
                self._waiting[stay] = None
                stay.begun = self._per_waiter
            elif kind == _WORKS:
                self._working[stay] = None
                self._streams[stay.use.streams] += 1
                stay.begun = self._per_worker
                self._up_ms = at_ms
            else:
                left.append(stay)
        if was_asleep and self._waiting and not self._working:
            self._unused.clear()  # it was told that the node sleeps
            if at_ms >= self._up_ms:  # a new start, not one that others have given up on
                self._up_ms = at_ms + self._start_takes_ms
        self._needed = self._replicas_needed()
        self._wake_and_release(at_ms, needed_before, left)

    def _replicas_needed(self) -> int:
        if not self._working:
            return 1 if self._waiting else 0
        shares = sum(count / streams for streams, count in self._streams.items() if streams and count)
        return max(1, ceil(shares - 1e-9))

    def _wake_and_release(self, at_ms: int, needed_before: int, left: Sequence[_Stay]) -> None:
        """Replicas that are needed now are taken from the unused, the others stay awake for a while."""
        if left:
            self._last = left[-1]
        released = needed_before - self._needed
        if not needed_before and not self._needed and left:  # it was there for no time at all, and kept the node awake
            del self._unused[-1:]
            released = 1
        if released < 0:
            del self._unused[released:]
        for _ in range(released):
            sleeps_ms = at_ms + max(stay.idle_ms for stay in left)
            if all(stay.use.began_ms is None for stay in left):
                sleeps_ms += round(max(at_ms, self._up_ms)) - at_ms  # what is left of the start
            insort(self._unused, sleeps_ms)

    def _cut(self) -> None:
        for stay in (*self._working, *self._waiting):
            was_working = stay in self._working
            self._note(stay, was_working)
            stay.begun = self._per_worker if was_working else self._per_waiter
        self._interval += 1

    def _settle(self, stay: _Stay) -> None:
        """What it owes for what it did until now."""
        if stay in self._working:
            self._note(stay, was_working=True)
            del self._working[stay]
            self._streams[stay.use.streams] -= 1
        elif stay in self._waiting:
            self._note(stay, was_working=False)
            del self._waiting[stay]

    def _note(self, stay: _Stay, was_working: bool) -> None:
        now = self._per_worker if was_working else self._per_waiter
        used, idle = now[0] - stay.begun[0], now[1] - stay.begun[1]
        self._owe(stay, active=used if was_working else 0.0, cold_start=0.0 if was_working else used, idle=idle)

    def _owe(self, stay: _Stay, *, active: float = 0.0, cold_start: float = 0.0, idle: float = 0.0) -> None:
        if not 0 <= self._interval < len(self._cuts) - 1:
            return
        share = stay.shares.get(self._interval)
        if share is None:
            share = stay.shares[self._interval] = Share(stay.use, self._cuts[self._interval])
        share.active_ms += active
        share.cold_start_ms += cold_start
        share.idle_ms += idle


def _typical_start_ms(uses: Iterable[NodeUse]) -> int:
    """The median of the node's starts, each as the first who waited for it saw it; 0 when none was seen to the end."""
    took: list[int] = []
    until = -inf
    for use in sorted((use for use in uses if use.was_cold), key=lambda use: use.asked_ms):
        if use.asked_ms >= until and use.began_ms is not None:
            took.append(max(0, use.began_ms - use.asked_ms))
        until = max(until, use.ended_ms if use.began_ms is None else use.began_ms)
    return round(median(took)) if took else 0


def _grown(sums: tuple[float, float], used_ms: int, idle_ms: int, among: int) -> tuple[float, float]:
    return sums[0] + used_ms / among, sums[1] + idle_ms / among


# -- the bill ------------------------------------------------------------------------------------------------------

DAY_MS = 24 * 3600 * 1000
MARGIN_MS = 2 * 3600 * 1000  # a run lasts 15 minutes and a replica idles for an hour at most: older uses do not matter
LAST_TO_SHARE_MS = round(RUN_SECONDS * 1000)  # whoever was in flight with a use has written its own after so long


class Spent(Struct, frozen=True, kw_only=True):
    """Tokens, seconds of one replica, and money. `is_estimate`: runs that are not in the books yet may still share."""

    runs: int = 0
    prompt_tokens: int = 0
    cached_tokens: int = 0
    completion_tokens: int = 0
    active_seconds: float = 0.0
    cold_start_seconds: float = 0.0
    idle_seconds: float = 0.0
    gpu_seconds: float = 0.0
    cost_usd: float = 0.0
    is_estimate: bool = False

    def rounded(self) -> "Spent":
        """To milliseconds and millionths of a dollar, as people and programs are shown it."""
        seconds = {name: round(getattr(self, name), 3) for name in self.__struct_fields__ if name.endswith("_seconds")}
        return msgspec.structs.replace(self, **seconds, cost_usd=round(self.cost_usd, 6))


class Row(Struct, frozen=True, kw_only=True):
    """One line of the bill. A pre-warm has no chat; `day` is UTC."""

    day: str
    owner: str
    model: str
    chat_id: str | None
    spent: Spent


@dataclass(slots=True)
class _Line:
    """What a row is summed up from."""

    shares: list[Share] = field(default_factory=list)
    uses: list[NodeUse] = field(default_factory=list)
    runs: int = 0


def bill(uses: Iterable[NodeUse], *, from_ms: int, to_ms: int, now_ms: int) -> tuple[Row, ...]:
    """What was spent in [from_ms, to_ms), by day, owner, model and chat; nothing after `now_ms`.

    `uses` are those of all owners asked from MARGIN_MS before to MARGIN_MS after the period. Time counts on the day it
    was spent, tokens on the day they were asked for, and a run once: where its last use is. So the bills of two
    neighbouring periods add up to the bill of both.
    """
    listed = _once_each(uses)
    end_ms = max(from_ms, min(to_ms, now_ms))
    midnights = range((from_ms // DAY_MS + 1) * DAY_MS, end_ms, DAY_MS)
    lines: defaultdict[tuple[str, ...], _Line] = defaultdict(_Line)
    for share in attribute(listed, [from_ms, *midnights, end_ms]):
        lines[_line_of(share.use, share.at_ms)].shares.append(share)
    last_of_run = {use.run_id: number for number, use in enumerate(listed)}
    for number, use in enumerate(listed):
        if from_ms <= use.asked_ms < to_ms:
            line = lines[_line_of(use, use.asked_ms)]
            line.uses.append(use)
            line.runs += use.run_id is not None and last_of_run[use.run_id] == number
    return tuple(
        Row(day=day, owner=owner, model=model, chat_id=chat_id or None, spent=_sum(line, now_ms))
        for (day, owner, model, chat_id), line in sorted(lines.items(), key=lambda item: item[0])
    )


def _line_of(use: NodeUse, at_ms: int) -> tuple[str, ...]:
    return f"{datetime.fromtimestamp(at_ms / 1000, UTC):%F}", use.owner, use.model, use.chat_id or ""


def _sum(line: _Line, now_ms: int) -> Spent:
    concerned = [*line.uses, *(share.use for share in line.shares)]
    return Spent(
        runs=line.runs,
        prompt_tokens=sum(use.prompt_tokens for use in line.uses),
        cached_tokens=sum(use.cached_tokens for use in line.uses),
        completion_tokens=sum(use.completion_tokens for use in line.uses),
        active_seconds=sum(share.active_ms for share in line.shares) / 1000,
        cold_start_seconds=sum(share.cold_start_ms for share in line.shares) / 1000,
        idle_seconds=sum(share.idle_ms for share in line.shares) / 1000,
        gpu_seconds=sum(share.gpu_ms for share in line.shares) / 1000,
        cost_usd=sum(share.cost_usd for share in line.shares),
        is_estimate=any(use.ended_ms + use.idle_s * 1000 + LAST_TO_SHARE_MS > now_ms for use in concerned),
    )


def total(amounts: Iterable[Spent]) -> Spent:
    listed = list(amounts)
    *sums, estimates = (sum(getattr(one, name) for one in listed) for name in Spent.__struct_fields__)
    return Spent(**dict(zip(Spent.__struct_fields__, sums, strict=False)), is_estimate=bool(estimates))


# -- an answer's own estimate --------------------------------------------------------------------------------------

RECENT = 96  # uses of a node that the meter remembers: more than end during one answer, and few enough to sum each time


@dataclass(slots=True)
class _Seen:
    """What one process has seen of one node."""

    recent: deque[NodeUse] = field(default_factory=lambda: deque(maxlen=RECENT))
    last_ended_ms: int | None = None
    idle_ms: int = 0  # all pauses together
    pauses: int = 0


class Meter:
    """What an answer cost, told at its end by what this process has seen. An estimate: other processes may have shared
    the GPU, and how long it idles for this answer is only known when the next one comes. Nothing is kept on disk."""

    def __init__(self) -> None:
        self._nodes: defaultdict[str, _Seen] = defaultdict(_Seen)

    def saw(self, use: NodeUse) -> None:
        """A use that ended; those of `cost` need not be told."""
        node = self._nodes[use.node]
        if node.last_ended_ms is not None and use.asked_ms >= node.last_ended_ms:
            node.idle_ms += min(use.asked_ms - node.last_ended_ms, round(use.idle_s * 1000))
            node.pauses += 1
        node.last_ended_ms = max(use.ended_ms, node.last_ended_ms or use.ended_ms)
        node.recent.append(use)

    def cost(self, uses: Sequence[NodeUse], now_ms: int, in_flight: Mapping[str, int] | None = None) -> Cost:
        """Of the uses of one run, told once. `in_flight`: how many other requests each node works on now; they are held
        to have come evenly spread over this run's time, as runs of like length do."""
        for use in uses:
            self.saw(use)
        shares = [share for use in uses for share in self._shares(use, now_ms, (in_flight or {}).get(use.node, 0))]
        return Cost(
            gpu_seconds=round(sum(share.gpu_ms for share in shares) / 1000, 6),
            cost_usd=round(sum(share.cost_usd for share in shares), 9),
            active_seconds=round(sum(share.active_ms for share in shares) / 1000, 6),
            cold_start_seconds=round(sum(share.cold_start_ms for share in shares) / 1000, 6),
            idle_seconds=round(sum(share.idle_ms for share in shares) / 1000, 6),
            is_estimate=True,
        )

    def _shares(self, use: NodeUse, now_ms: int, others: int) -> list[Share]:
        node = self._nodes[use.node]
        pause_ms = node.idle_ms / node.pauses if node.pauses else use.idle_s * 1000
        until_ms = max(now_ms, use.ended_ms) + round(pause_ms)
        began_ms = use.asked_ms if use.began_ms is None else use.began_ms
        apart_ms = (use.ended_ms - began_ms) / (others + 1)
        guests = [
            msgspec.structs.replace(
                use,
                id=f"{number} of the others",
                began_ms=began_ms + round(number * apart_ms),
                ended_ms=until_ms,
                was_cold=False,
            )
            for number in range(1, others + 1)
        ]
        shares = attribute([*node.recent, *guests], [use.asked_ms, max(use.asked_ms, until_ms)])
        return [share for share in shares if share.use is use]
