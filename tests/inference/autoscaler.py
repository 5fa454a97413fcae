"""An hour of a GPU that scales itself, and of two gateways that use it: what the provider bills, what they write down.

Modal as far as one can read about it: replicas are counted once a second by how many requests are under way; one starts
in 35 to 50 seconds, during which the first request is refused and asks again; one that was not needed for a while takes
nothing new, ends what it has and goes. Billed is every replica from its start to its end. Shares no code with the rule
in `functions/inference/pricing.py`: it knows replicas, the rule infers them.
"""

import random
from dataclasses import dataclass, field

from functions.chat.messages import NodeUse

TICK_MS = 100
HOUR_MS = 3_600_000
IDLE_MS = 120_000
STREAMS = 4  # requests that a replica should work on
MAX_REPLICAS = 3
POLL_MS = 500  # of a gateway whose node sleeps
PRICE = 0.0005


@dataclass(eq=False)
class Replica:
    started_ms: int
    ready_ms: int
    in_flight: int = 0
    unneeded_since_ms: int | None = None
    is_leaving: bool = False


@dataclass(eq=False)
class Request:
    """One message, or a pre-warm (`work_ms` of 0), as its gateway lives it."""

    number: int
    owner: str
    asked_ms: int
    work_ms: int
    gives_up_ms: int | None  # after so long, whatever happens
    is_prewarm: bool = False
    began_ms: int | None = None
    was_cold: bool = False
    replica: Replica | None = None

    def use(self, ended_ms: int) -> NodeUse:
        return NodeUse(
            id=str(self.number),
            owner=self.owner,
            run_id=None if self.is_prewarm else f"run {self.number}",
            chat_id=None if self.is_prewarm else f"chat of {self.owner}",
            node="gpu",
            model="m",
            asked_ms=self.asked_ms,
            began_ms=self.began_ms,
            ended_ms=ended_ms,
            was_cold=self.was_cold,
            gpu="L40S",
            usd_per_second=PRICE,
            idle_s=IDLE_MS / 1000,
            streams=STREAMS,
        )


@dataclass
class Hour:
    uses: list[NodeUse] = field(default_factory=list)
    ends_ms: int = HOUR_MS
    billed_s: float = 0.0
    starts: int = 0
    most_replicas: int = 0
    prewarms: int = 0
    cancelled: int = 0


def simulate_an_hour(seed: int) -> Hour:
    """People come one by one, then as a crowd, then not at all, and so on; some give up."""
    dice = random.Random(seed)
    hour, replicas, under_way, knocked_ms = Hour(), list[Replica](), list[Request](), -HOUR_MS
    to_come = _demand(dice)
    for now in range(0, HOUR_MS, TICK_MS):
        while to_come and to_come[0].asked_ms <= now:
            under_way.append(to_come.pop(0))
        for request in list(under_way):
            ended = _advance(request, now, replicas)
            if request.replica is None and request.was_cold and not ended:
                knocked_ms = now
            if ended:
                under_way.remove(request)
                hour.cancelled += request.gives_up_ms is not None
                if not request.is_prewarm or request.was_cold:  # one that found it awake did nothing
                    hour.prewarms += request.is_prewarm
                    hour.uses.append(request.use(now))
        if now % 1000 == 0:
            _scale(now, replicas, is_wanted=now - knocked_ms < 2000, dice=dice, hour=hour)
    hour.billed_s += sum(HOUR_MS - replica.started_ms for replica in replicas) / 1000
    dice.shuffle(hour.uses)  # two processes wrote them, nobody knows in which order
    return hour


def _demand(dice: random.Random) -> list[Request]:
    coming: list[Request] = []

    def come(at_s: float, work_s: float, *, gives_up: float = 0.1, is_prewarm: bool = False) -> None:
        patience_ms = round(1000 * dice.uniform(1, 30)) if dice.random() < gives_up else None
        owner = dice.choice(("ana", "ben", "cy", "dee"))
        work_ms = 0 if is_prewarm else round(1000 * work_s)
        coming.append(Request(len(coming), owner, round(1000 * at_s), work_ms, patience_ms, is_prewarm))

    for phase_s in range(0, 3500, 500):  # a conversation, a crowd, a conversation, nobody
        if dice.random() < 0.5:
            come(phase_s + 10, 0, gives_up=0, is_prewarm=True)
        for turn in range(dice.randint(2, 6)):
            come(phase_s + 25 + 20 * turn + dice.uniform(0, 10), dice.uniform(2, 25))
    for crowd_s in (600, 2100):
        for _ in range(60):
            come(crowd_s + dice.uniform(0, 150), dice.uniform(15, 40))
    come(1500, 20, gives_up=1)  # whom nobody joins
    return sorted(coming, key=lambda request: request.asked_ms)


def _advance(request: Request, now: int, replicas: list[Replica]) -> bool:
    """Whether it is over now, for good or because somebody gave up."""
    if request.replica is None and (now - request.asked_ms) % POLL_MS < TICK_MS:
        ready = [replica for replica in replicas if replica.ready_ms <= now and not replica.is_leaving]
        has_place = sum(replica.in_flight for replica in replicas) < MAX_REPLICAS * STREAMS  # else it queues
        if ready and has_place:
            request.replica = min(ready, key=lambda replica: replica.in_flight)
            request.began_ms = now
            if not request.is_prewarm:
                request.replica.in_flight += 1
        elif not ready:
            request.was_cold = True
    has_given_up = request.gives_up_ms is not None and now - request.asked_ms >= request.gives_up_ms
    is_answered = request.began_ms is not None and now - request.began_ms >= request.work_ms
    if (has_given_up or is_answered) and request.replica is not None and not request.is_prewarm:
        request.replica.in_flight -= 1
    return has_given_up or is_answered


def _scale(now: int, replicas: list[Replica], *, is_wanted: bool, dice: random.Random, hour: Hour) -> None:
    load = sum(replica.in_flight for replica in replicas)
    desired = min(MAX_REPLICAS, max(-(-load // STREAMS), int(is_wanted)))
    staying = [replica for replica in replicas if not replica.is_leaving]
    for _ in range(desired - len(staying)):
        replicas.append(Replica(now, now + dice.randint(35_000, 50_000)))
        hour.starts += 1
    for rank, replica in enumerate(staying, 1):
        if rank <= desired or replica.ready_ms > now:
            replica.unneeded_since_ms = None
        elif replica.unneeded_since_ms is None:
            replica.unneeded_since_ms = now
        elif now - replica.unneeded_since_ms >= IDLE_MS:
            replica.is_leaving = True
    for replica in [replica for replica in replicas if replica.is_leaving and not replica.in_flight]:
        replicas.remove(replica)
        hour.billed_s += (now - replica.started_ms) / 1000
    hour.most_replicas = max(hour.most_replicas, len(replicas))
