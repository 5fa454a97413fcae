"""The ledger in DynamoDB: a partition for each day, and beside each use the proof that it is recorded.

The proof is for a use that comes twice with another time, which would stand elsewhere in the ledger.
"""

import time
from contextlib import suppress

import msgspec

from functions.adapters import rules
from functions.adapters.dynamo_calls import Refused, Writes, ask
from functions.adapters.dynamo_models import Tables, day_pk, erasure_pk, expires_after, moment_sk, use_pk
from functions.chat.messages import NodeUse

_encode = msgspec.json.Encoder().encode
_decode = msgspec.json.Decoder(NodeUse).decode


def record_use(t: Tables, use: NodeUse) -> None:
    rules.check_use(use)
    try:
        _record(t, use)
    except Refused as refused:
        if "owner" in refused and "proof" not in refused:
            with suppress(Refused):  # It is recorded.
                _record(t, rules.without_owner(use))


def _record(t: Tables, use: NodeUse) -> None:
    """Raises Refused when it is recorded ("proof"), or when its owner has been erased since ("owner")."""
    expires = expires_after(use.asked_ms + rules.USE_KEPT_MS)
    writes = Writes(t)
    writes.put("proof", t.chat(use_pk(use.id), "L", expires=expires), t.chat.pk.does_not_exist())
    if use.owner:
        was_before = t.chat.seen_ms.does_not_exist() | (t.chat.seen_ms < use.asked_ms)
        writes.check("owner", t.chat, erasure_pk(rules.pseudonym(use.owner)), "E", was_before)
    pk, sk = day_pk(use.asked_ms // rules.DAY_MS), moment_sk(use.asked_ms, use.id)
    writes.put("use", t.chat(pk, sk, data=_encode(use), expires=expires))
    writes.commit()


def days(*, from_ms: int, to_ms: int) -> range:
    """The days to ask for. Whoever asks for all there ever was gets those that are kept, and a day for clocks that
    run ahead."""
    if from_ms >= to_ms:
        return range(0)
    today = time.time_ns() // 1_000_000 // rules.DAY_MS
    first = max(from_ms // rules.DAY_MS, today - rules.USE_KEPT_MS // rules.DAY_MS - 1)
    last = min((to_ms - 1) // rules.DAY_MS, today + 1)
    return range(first, last + 1)


def read_day(t: Tables, day: int, *, from_ms: int, to_ms: int) -> tuple[NodeUse, ...]:
    asked = t.chat.sk.between(moment_sk(max(from_ms, 0)), moment_sk(to_ms))
    rows = ask(lambda: list(t.chat.query(day_pk(day), asked, consistent_read=True)))
    return tuple(sorted((_decode(row.data) for row in rows), key=lambda use: (use.asked_ms, use.id)))
