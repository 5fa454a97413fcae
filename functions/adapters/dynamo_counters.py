"""Rates and totals in DynamoDB: conditional updates, no read before a write in the usual case."""

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
    arrival, kept = t.counters.arrival_ms, t.counters.expires.set(datetime.now(UTC) + KEPT)
    item = t.counters(owner_pk(owner), f"A#{safe(key)}")
    if _updated(item, [arrival.set(now_ms + interval_ms), kept], arrival.does_not_exist() | (arrival <= now_ms)):
        return 0
    latest = now_ms + (burst - 1) * interval_ms
    if latest > now_ms and _updated(item, [arrival.set(arrival + interval_ms), kept], arrival <= latest):
        return 0
    seen = _find(t, item)
    wait, _ = rules.gcra(seen.arrival_ms if seen else 0, interval_ms=interval_ms, burst=burst, now_ms=now_ms)
    return max(wait, 1)


def add(t: Tables, owner: str, key: str, amount: int, *, limit: int | None, expires: datetime | None) -> int | None:
    """Add to a total that is alive, else start one; each on the condition that it is so, until one of them holds.

    `last_call` tells a repeat after a lost answer that its first attempt has been counted.
    """
    now_ms = time.time_ns() // 1_000_000
    total, until_ms = t.counters.total, t.counters.until_ms
    call = str(uuid4())
    is_limited = limit is not None and amount > 0
    is_over = until_ms <= now_ms
    alive = total.exists() & (until_ms.does_not_exist() | (until_ms > now_ms))
    for _ in range(ATTEMPTS):
        item = t.counters(owner_pk(owner), f"T#{safe(key)}")
        fits = alive & (total <= limit - amount) if is_limited and limit is not None else alive
        if _updated(item, [total.set(total + amount), t.counters.last_call.set(call)], fits):
            return item.total
        seen = _find(t, item)
        if seen is not None and seen.last_call == call:
            return seen.total
        is_alive = seen is not None and (seen.until_ms is None or seen.until_ms > now_ms)
        if is_limited and limit is not None and (seen.total if is_alive and seen else 0) + amount > limit:
            return None
        if not is_alive and _updated(item, _start(t, amount, call, expires), total.does_not_exist() | is_over):
            return item.total
    raise rules.unavailable("the total keeps changing")


def _start(t: Tables, amount: int, call: str, expires: datetime | None) -> list[Action]:
    actions: list[Action] = [t.counters.total.set(amount), t.counters.last_call.set(call)]
    if expires is None:
        return [*actions, t.counters.until_ms.remove(), t.counters.expires.remove()]
    # DynamoDB deletes some time after `expires`, which counts in seconds; `until_ms` is exact.
    deleted_at = datetime.fromtimestamp(expires.timestamp() + 1, UTC)
    return [*actions, t.counters.until_ms.set(rules.milliseconds(expires)), t.counters.expires.set(deleted_at)]
