"""Rates and totals in DynamoDB: conditional updates, no read before a write in the usual case.

`last_call` names the call that wrote last. So a repeat after a lost answer finds its own name, and counts once.
"""

import time
from datetime import UTC, datetime, timedelta
from uuid import uuid4

from pynamodb.expressions.condition import Condition
from pynamodb.expressions.update import Action

from functions.adapters import rules
from functions.adapters.dynamo_calls import ATTEMPTS, Refused, ask
from functions.adapters.dynamo_models import CounterItem, Tables, owner_pk, safe

KEPT = timedelta(days=1)  # how long DynamoDB keeps a rate that nobody asks for, at least


def _find(t: Tables, item: CounterItem) -> CounterItem | None:
    try:
        return ask(lambda: t.counters.get(item.pk, item.sk, consistent_read=True))
    except t.counters.DoesNotExist:
        return None


def _updated(item: CounterItem, actions: list[Action], condition: Condition) -> bool:
    try:
        ask(lambda: item.update(actions, condition))
    except Refused:
        return False
    return True


def admit(t: Tables, owner: str, key: str, *, interval_ms: int, burst: int, now_ms: int) -> int:
    """`rules.gcra` in two conditions, one for an arrival in the past and one for a later one that may still pass.

    The arrival only grows, so what the first has refused stays refused, and the second decides.
    """
    arrival, last_call, name = t.counters.arrival_ms, t.counters.last_call, str(uuid4())
    signed = [last_call.set(name), t.counters.expires.set(datetime.now(UTC) + KEPT)]
    item = t.counters(owner_pk(owner), f"A#{safe(key)}")
    idle = arrival.does_not_exist() | (arrival <= now_ms)
    if _updated(item, [arrival.set(now_ms + interval_ms), *signed], idle):
        return 0
    in_burst = (arrival <= now_ms + (burst - 1) * interval_ms) & (last_call != name)
    if _updated(item, [arrival.set(arrival + interval_ms), *signed], in_burst):
        return 0
    seen = _find(t, item)
    if seen is None or seen.last_call == name:
        return 0
    return max(1, rules.gcra(seen.arrival_ms, interval_ms=interval_ms, burst=burst, now_ms=now_ms)[0])


def add(t: Tables, owner: str, key: str, amount: int, *, limit: int | None, expires: datetime | None) -> int | None:
    """Add to a total that is alive, else start one; each on the condition that it is so, until one of them holds."""
    now_ms = time.time_ns() // 1_000_000
    total, until_ms, last_call, name = t.counters.total, t.counters.until_ms, t.counters.last_call, str(uuid4())
    most = limit - amount if limit is not None and amount > 0 else None  # the total that amount may still be added to
    fits = total.exists() & (until_ms.does_not_exist() | (until_ms > now_ms)) & (last_call != name)
    if most is not None:
        fits &= total <= most
    for _ in range(ATTEMPTS):
        item = t.counters(owner_pk(owner), f"T#{safe(key)}")
        if _updated(item, [total.set(total + amount), last_call.set(name)], fits):
            return item.total
        seen = _find(t, item)
        if seen is not None and seen.last_call == name:
            return seen.total
        current = seen.total if seen and (seen.until_ms is None or seen.until_ms > now_ms) else None
        if most is not None and (current or 0) > most:
            return None
        start = total.does_not_exist() | (until_ms <= now_ms)
        if current is None and _updated(item, _start(t, amount, name, expires), start):
            return item.total
    raise rules.unavailable("the total keeps changing")


def _start(t: Tables, amount: int, name: str, expires: datetime | None) -> list[Action]:
    actions: list[Action] = [t.counters.total.set(amount), t.counters.last_call.set(name)]
    if expires is None:
        return [*actions, t.counters.until_ms.remove(), t.counters.expires.remove()]
    # DynamoDB deletes some time after `expires`, which counts in seconds; `until_ms` is exact.
    deleted_at = datetime.fromtimestamp(expires.timestamp() + 1, UTC)
    return [*actions, t.counters.until_ms.set(rules.milliseconds(expires)), t.counters.expires.set(deleted_at)]


def look(t: Tables, owner: str, key: str) -> int:
    seen = _find(t, t.counters(owner_pk(owner), f"A#{safe(key)}"))
    return (seen.arrival_ms or 0) if seen else 0
