"""Limits, holds and meters as SQL: read, decide, write, under the writer's lock, so they are exact under any race."""

import sqlite3
import time
from collections.abc import Sequence

import msgspec

from functions.chat.allowances import HOUSE, Amounts, Claim, Hold, HouseRules, Limits, Reading, granted

_encode = msgspec.json.Encoder().encode
_decode_hold = msgspec.json.Decoder(Hold).decode
_decode_rules = msgspec.json.Decoder(HouseRules).decode
_decode_limits = msgspec.json.Decoder(Limits).decode


def hold(db: sqlite3.Connection, account: str, wanted: Hold) -> Hold | str:
    if (before := _find(db, account, wanted.id)) is not None:
        return before
    now_ms = time.time_ns() // 1_000_000
    db.execute("DELETE FROM meters WHERE expires_ms > 0 AND expires_ms <= ?", (now_ms - 7 * 86_400_000,))
    totals = {claim.meter: _read(db, account, claim.meter).total for claim in wanted.claims}
    claims = granted(wanted.claims, totals)
    if isinstance(claims, str):
        return claims
    held = msgspec.structs.replace(wanted, claims=claims)
    for claim in claims:
        _add(db, account, claim, claim.amount, claim.amount)
    db.execute(
        "INSERT INTO holds (account, id, owner, at_ms, data) VALUES (?, ?, ?, ?, ?)",
        (account, held.id, held.owner, held.at_ms, _encode(held)),
    )
    return held


def settle(db: sqlite3.Connection, account: str, hold_id: str, used: Amounts, *, ends: bool) -> bool:
    held = _find(db, account, hold_id)
    if held is None:
        return False
    for claim in held.claims:
        reserved = claim.amount if ends else 0
        _add(db, account, claim, used.of(claim.meter) - reserved, -reserved)
    if ends:
        db.execute("DELETE FROM holds WHERE account = ? AND id = ?", (account, hold_id))
    return True


def charge(db: sqlite3.Connection, account: str, claims: Sequence[Claim]) -> None:
    for claim in claims:
        _add(db, account, claim, claim.amount, 0)


def list_holds(db: sqlite3.Connection, account: str, *, before_ms: int) -> tuple[Hold, ...]:
    rows = db.execute("SELECT data FROM holds WHERE account = ? AND at_ms < ? ORDER BY at_ms, id", (account, before_ms))
    return tuple(_decode_hold(data) for (data,) in rows)


def read_meters(db: sqlite3.Connection, account: str, meters: Sequence[str]) -> dict[str, Reading]:
    return {meter: _read(db, account, meter) for meter in meters}


def give_back(db: sqlite3.Connection, owner: str) -> None:
    """What the house holds for this owner, before the owner goes."""
    rows = db.execute("SELECT id FROM holds WHERE account = ? AND owner = ?", (HOUSE, owner)).fetchall()
    for (hold_id,) in rows:
        settle(db, HOUSE, hold_id, Amounts(), ends=True)


def get_rules(db: sqlite3.Connection) -> HouseRules:
    row = db.execute("SELECT data FROM rules").fetchone()
    return _decode_rules(row[0]) if row else HouseRules()


def put_rules(db: sqlite3.Connection, rules: HouseRules) -> bool:
    if get_rules(db).edition != rules.edition:
        return False
    after = msgspec.structs.replace(rules, edition=rules.edition + 1)
    db.execute("INSERT OR REPLACE INTO rules (n, data) VALUES (1, ?)", (_encode(after),))
    return True


def get_limits(db: sqlite3.Connection, owner: str) -> Limits | None:
    row = db.execute("SELECT data FROM limits WHERE owner = ?", (owner,)).fetchone()
    return _decode_limits(row[0]) if row else None


def put_limits(db: sqlite3.Connection, owner: str, limits: Limits | None) -> None:
    db.execute("DELETE FROM limits WHERE owner = ?", (owner,))
    if limits is not None:
        db.execute("INSERT INTO limits (owner, data) VALUES (?, ?)", (owner, _encode(limits)))


def list_limits(db: sqlite3.Connection) -> tuple[tuple[str, Limits], ...]:
    rows = db.execute("SELECT owner, data FROM limits ORDER BY owner")
    return tuple((owner, _decode_limits(data)) for owner, data in rows)


def _find(db: sqlite3.Connection, account: str, hold_id: str) -> Hold | None:
    row = db.execute("SELECT data FROM holds WHERE account = ? AND id = ?", (account, hold_id)).fetchone()
    return _decode_hold(row[0]) if row else None


def _read(db: sqlite3.Connection, account: str, meter: str) -> Reading:
    row = db.execute("SELECT total, reserved FROM meters WHERE owner = ? AND meter = ?", (account, meter)).fetchone()
    return Reading(total=row[0], reserved=row[1]) if row else Reading()


def _add(db: sqlite3.Connection, account: str, claim: Claim, total: int, reserved: int) -> None:
    db.execute(
        "INSERT INTO meters (owner, meter, total, reserved, expires_ms) VALUES (?, ?, ?, ?, ?) "
        "ON CONFLICT (owner, meter) DO UPDATE SET total = total + excluded.total, "
        "reserved = reserved + excluded.reserved",
        (account, claim.meter, total, reserved, claim.expires_ms),
    )
