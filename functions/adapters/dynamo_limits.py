"""Limits, holds and meters in DynamoDB's `counters` table: one transaction for a hold and all meters it takes room on.

A hold that is gone has been settled, so a repeat after a lost answer settles nothing twice. Synchronous: run on
`dynamo`'s threads.
"""

from collections.abc import Sequence

import msgspec
from pynamodb.expressions.update import Action

from functions.adapters import rules
from functions.adapters.dynamo_calls import ATTEMPTS, Refused, Writes, ask
from functions.adapters.dynamo_models import CounterItem, Tables, expires_after, owner_of, owner_pk, safe
from functions.chat.allowances import HOUSE, Amounts, Claim, Hold, HouseRules, Limits, Reading, granted

METER_KEPT_MS = 7 * 86_400_000  # beyond its window: a run that ends late is still counted where it began

_encode = msgspec.json.Encoder().encode
_decode_hold = msgspec.json.Decoder(Hold).decode
_decode_rules = msgspec.json.Decoder(HouseRules).decode
_decode_limits = msgspec.json.Decoder(Limits).decode


def hold(t: Tables, account: str, wanted: Hold) -> Hold | str:
    held = wanted
    for _ in range(ATTEMPTS):
        writes = Writes(t)
        item = t.counters(owner_pk(account), _hold_sk(held.id), data=_encode(held))
        writes.put("hold", item, t.counters.pk.does_not_exist())
        for claim in held.claims:
            fits = t.counters.total.does_not_exist() | (t.counters.total <= claim.limit - claim.amount)
            _update(t, writes, account, claim, claim.amount, claim.amount, fits)
        try:
            writes.commit()
        except Refused as refused:
            if "hold" in refused and (before := _find(t, account, held.id)) is not None:
                return before
        else:
            return held
        totals = {name: r.total for name, r in read_meters(t, account, [c.meter for c in wanted.claims]).items()}
        claims = granted(wanted.claims, totals)
        if isinstance(claims, str):
            return claims
        held = msgspec.structs.replace(wanted, claims=claims)
    raise rules.unavailable("the meters keep changing")


def settle(t: Tables, account: str, hold_id: str, used: Amounts, *, ends: bool) -> bool:
    held = _find(t, account, hold_id)
    if held is None:
        return False
    writes, pk, sk = Writes(t), owner_pk(account), _hold_sk(hold_id)
    if ends:
        writes.delete("hold", t.counters(pk, sk), t.counters.pk.exists())
    else:
        writes.check("hold", t.counters, pk, sk, t.counters.pk.exists())
    for claim in held.claims:
        reserved = claim.amount if ends else 0
        _update(t, writes, account, claim, used.of(claim.meter) - reserved, -reserved, None)
    try:
        writes.commit()
    except Refused:
        return False
    return True


def charge(t: Tables, account: str, claims: Sequence[Claim]) -> None:
    writes = Writes(t)
    for claim in claims:
        _update(t, writes, account, claim, claim.amount, 0, None)
    writes.commit()


def list_holds(t: Tables, account: str, *, before_ms: int) -> tuple[Hold, ...]:
    rows = ask(lambda: list(t.counters.query(owner_pk(account), t.counters.sk.startswith("H#"), consistent_read=True)))
    holds = (_decode_hold(row.data) for row in rows if row.data is not None)
    return tuple(sorted((h for h in holds if h.at_ms < before_ms), key=lambda h: (h.at_ms, h.id)))


def read_meters(t: Tables, account: str, meters: Sequence[str]) -> dict[str, Reading]:
    found = {meter: _get(t, owner_pk(account), f"M#{safe(meter)}") for meter in meters}
    return {
        meter: Reading(total=item.total or 0, reserved=item.reserved or 0) if item else Reading()
        for meter, item in found.items()
    }


def give_back(t: Tables, owner: str) -> None:
    """What the house holds for this owner, before the owner goes."""
    for held in list_holds(t, HOUSE, before_ms=2**62):
        if held.owner == owner:
            settle(t, HOUSE, held.id, Amounts(), ends=True)


def get_rules(t: Tables) -> HouseRules:
    item = _get(t, owner_pk(HOUSE), "R")
    return _decode_rules(item.data) if item and item.data is not None else HouseRules()


def put_rules(t: Tables, changed: HouseRules) -> bool:
    after = msgspec.structs.replace(changed, edition=changed.edition + 1)
    data, edition = t.counters.data.set(_encode(after)), t.counters.total.set(after.edition)
    was = t.counters.pk.does_not_exist() if changed.edition == 0 else t.counters.total == changed.edition
    try:
        ask(lambda: t.counters(owner_pk(HOUSE), "R").update([data, edition], was))
    except Refused:
        return get_rules(t) == after  # an answer that was lost
    return True


def get_limits(t: Tables, owner: str) -> Limits | None:
    item = _get(t, owner_pk(owner), "L")
    return _decode_limits(item.data) if item and item.data is not None else None


def put_limits(t: Tables, owner: str, limits: Limits | None) -> None:
    if limits is None:
        ask(t.counters(owner_pk(owner), "L").delete)
    else:
        ask(t.counters(owner_pk(owner), "L", data=_encode(limits)).save)


def list_limits(t: Tables) -> tuple[tuple[str, Limits], ...]:
    """Reads the whole table: for the operator, seldom."""
    rows = ask(lambda: list(t.counters.scan(t.counters.sk == "L", consistent_read=True)))
    return tuple(sorted((owner_of(row.pk), _decode_limits(row.data)) for row in rows if row.data is not None))


def _update(
    t: Tables,
    writes: Writes,
    account: str,
    claim: Claim,
    total: int,
    reserved: int,
    condition: object,
) -> None:
    actions: list[Action] = [t.counters.total.add(total), t.counters.reserved.add(reserved)]
    if claim.expires_ms:
        actions.append(t.counters.expires.set(expires_after(claim.expires_ms + METER_KEPT_MS)))
    meter = t.counters(owner_pk(account), f"M#{safe(claim.meter)}")
    writes.update(claim.meter, meter, actions, condition)  # type: ignore[arg-type]  # pynamodb's condition or None


def _find(t: Tables, account: str, hold_id: str) -> Hold | None:
    item = _get(t, owner_pk(account), _hold_sk(hold_id))
    return _decode_hold(item.data) if item and item.data is not None else None


def _get(t: Tables, pk: str, sk: str) -> CounterItem | None:
    try:
        return ask(lambda: t.counters.get(pk, sk, consistent_read=True))
    except t.counters.DoesNotExist:
        return None


def _hold_sk(hold_id: str) -> str:
    return f"H#{safe(hold_id)}"
