"""What ends by itself, and the end of everything of one owner, in DynamoDB. Synchronous, as its neighbours.

Chats are not left to DynamoDB's own expiry: it deletes item by item at moments of its own, and a chat is many items. So
temporary chats, and chats whose delete was cut off, each have a partition of the index `recent`, where a sweep finds
them by age.

An owner is erased by looking at every item of every table that may be theirs: their keys begin with their name. That
reads the whole of two tables, which is slow and dear and seldom; in return nothing is missed that somebody has added a
kind of item for since, and what late writers leave behind is found by looking again until nothing is left.
"""

import json
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from typing import Any

import msgspec

from functions.adapters import dynamo_accounts as accounts
from functions.adapters import rules
from functions.adapters.dynamo_calls import ATTEMPTS, Refused, ask, delete_all
from functions.adapters.dynamo_chats import delete_chat, find_item
from functions.adapters.dynamo_knowledge import leave_all
from functions.adapters.dynamo_limits import give_back
from functions.adapters.dynamo_models import (
    DELETED,
    TEMPORARY,
    ChatItem,
    Tables,
    VectorItem,
    erasure_pk,
    expires_after,
    moment,
    outlived_us,
    owner_of,
    owner_pk,
)
from functions.chat.messages import Job, NodeUse, Page
from functions.errors import NotFound

SEGMENTS = 4  # of a table, read at once

_encode = msgspec.json.Encoder().encode
_decode_use = msgspec.json.Decoder(NodeUse).decode


class _Held(msgspec.Struct):
    """As much of a shared vector's data as says whose it is."""

    owner: str = ""


_decode_held = msgspec.json.Decoder(_Held).decode
_decode_job = msgspec.json.Decoder(Job).decode


# -- what ends by itself ------------------------------------------------------------------------------------------
def list_overdue(
    t: Tables, *, now_ms: int, untouched_since_ms: int | None, limit: int, after: str | None
) -> Page[tuple[str, str]]:
    """In turn: cut-off deletes, temporary chats, old ones. `after` is the kind, and where the page before ended."""
    kind, _, mark = (after or "deleted:").partition(":")
    if kind == "deleted":
        return _page(t, DELETED, "~", mark, limit, "deleted", "temporary:")
    if kind == "temporary":
        then = None if untouched_since_ms is None else "old:"
        return _page(t, TEMPORARY, moment(outlived_us(now_ms), ""), mark, limit, "temporary", then)
    assert untouched_since_ms is not None
    is_old = t.chat.recent.startswith("U#") & (t.chat.moment < moment(1000 * untouched_since_ms, ""))
    is_old &= t.chat.pinned != True  # noqa: E712  # a condition of DynamoDB's

    def read() -> tuple[list[ChatItem], Any]:  # DynamoDB's key
        found = t.chat.by_moment.scan(is_old, limit=limit, last_evaluated_key=json.loads(mark) if mark else None)
        return list(found), found.last_evaluated_key

    items, last = ask(read)
    chats = tuple((owner_of(item.pk), item.chat_id) for item in items)
    return Page(data=chats, next=f"old:{json.dumps(last)}" if last else None)


def _page(
    t: Tables, key: str, before: str, mark: str, limit: int, kind: str, then: str | None
) -> Page[tuple[str, str]]:
    """From one partition of the index, oldest first; `then` is where to go on when it ends."""
    place = t.chat.moment.between(f"{mark}!" if mark else "0", before)
    items = ask(lambda: list(t.chat.by_moment.query(key, place, limit=limit)))
    chats = tuple((owner_of(item.pk), item.chat_id) for item in items)
    return Page(data=chats, next=f"{kind}:{items[-1].moment}" if len(items) == limit else then)


def expire_chat(t: Tables, owner: str, chat_id: str, *, now_ms: int, untouched_since_ms: int | None) -> bool:
    has_expired = t.chat.temporary.exists() & (t.chat.updated_us <= outlived_us(now_ms))
    is_over = has_expired
    if untouched_since_ms is not None:
        is_old = t.chat.temporary.does_not_exist() & (t.chat.updated_us < 1000 * untouched_since_ms)
        is_over = has_expired | (is_old & (t.chat.pinned == False))  # noqa: E712  # a condition of DynamoDB's
    is_over &= t.chat.active_run.does_not_exist()
    try:
        delete_chat(t, owner, chat_id, t.chat.is_deleted.exists() | is_over)
    except NotFound:
        return False
    return True


# -- one owner ----------------------------------------------------------------------------------------------------
def erase_owner(t: Tables, owner: str, *, now_ms: int) -> dict[str, int]:
    """The mark first, for late writers; then all there is, again and again, until a look finds nothing."""
    expires = expires_after(now_ms + rules.ERASURE_KEPT_MS)
    ask(t.chat(erasure_pk(rules.pseudonym(owner)), "E", seen_ms=now_ms, expires=expires).save)
    found: Counter[str] = Counter(dict.fromkeys(("chats", "messages", "runs", "memories", "vectors", "ledger"), 0))
    for _ in range(ATTEMPTS):
        erased = _erase_user(t, owner) + _erase_chats(t, owner) + _erase_jobs(t, owner)
        erased += _erase_vectors(t, owner)
        give_back(t, owner)
        counted = ask(lambda: list(t.counters.query(owner_pk(owner), consistent_read=True)))
        erased += _erase_rows(t.counters, counted, lambda item: _COUNTED.get(item.sk[0], "totals"))
        if not erased:
            return dict(found)
        found.update(erased)
    raise rules.unavailable("somebody keeps writing for this owner")


def was_erased(t: Tables, owner: str, *, since_ms: int) -> bool:
    item = find_item(t, erasure_pk(rules.pseudonym(owner)), "E")
    return item is not None and item.seen_ms >= since_ms


def _erase_user(t: Tables, owner: str) -> Counter[str]:
    return Counter({"users": 1}) if accounts.delete_user(t, owner) else Counter()


def _erase_chats(t: Tables, owner: str) -> Counter[str]:
    """First what fences: chats are marked, and runs lose the item that every checkpoint is conditional on. What was
    written in between is found by the next look."""
    leave_all(t, owner)  # what stands in others' partitions is found through their own, so it goes first
    in_ledger = t.chat.pk.startswith("H#L#")
    rows = _scan(t.chat, _is_theirs(t.chat, owner) | in_ledger, ["pk", "sk", "data", "parts", "key"])
    nameless = [(row, use) for row in rows if row.pk.startswith("H#") and (use := _decode_use(row.data)).owner == owner]
    theirs = [row for row in rows if not row.pk.startswith("H#")]
    chats = [row for row in theirs if _kind(row) == "chats"]
    runs = [row for row in theirs if _kind(row) == "runs"]
    for chat in chats:
        with suppress(Refused):
            ask(lambda: chat.update([t.chat.is_deleted.set(True)], t.chat.pk.exists()))  # noqa: B023  # called at once
    delete_all(t.chat, _keys(runs))
    leads = [(row.key, "X") for row in theirs if _kind(row) == "shares"]
    delete_all(t.chat, leads + [lead for row in theirs for lead in accounts.leads_of(row)])  # before what they lead to
    rest = [row for row in theirs if _kind(row) not in ("chats", "runs")]
    delete_all(t.chat, _keys(rest))
    delete_all(t.chat, _keys(chats))
    for row, use in nameless:
        with suppress(Refused):  # It has just come of age.
            data = _encode(rules.without_owner(use))
            ask(lambda: row.update([t.chat.data.set(data)], t.chat.pk.exists()))  # noqa: B023
    return Counter(map(_kind, theirs)) + Counter({"ledger": len(nameless)})


def _erase_jobs(t: Tables, owner: str) -> Counter[str]:
    theirs = [job for job in _scan(t.jobs, None, None) if _decode_job(job.data).owner == owner]
    for job in theirs:
        ask(job.delete)
    return Counter({"jobs": len(theirs)}) if theirs else Counter()


def _erase_rows(model: Any, rows: Sequence[Any], kind: Callable[[Any], str]) -> Counter[str]:  # of one table
    delete_all(model, _keys(rows))
    return Counter(map(kind, rows))


def _erase_vectors(t: Tables, owner: str) -> Counter[str]:
    """Their own, and those that a house holds for all of its users and that say that they are theirs."""
    is_shared = t.vectors.pk.startswith(f"U#{rules.SHARED}")
    rows: list[VectorItem] = _scan(t.vectors, _is_theirs(t.vectors, owner) | is_shared, ["pk", "sk", "data"])
    shared = [row for row in rows if row.pk.startswith(f"U#{rules.SHARED}")]
    held = [row for row in shared if row.data is not None and _decode_held(row.data).owner == owner]
    delete_all(t.vectors, _keys(held))
    own = [row for row in rows if not row.pk.startswith(f"U#{rules.SHARED}")]
    return _erase_rows(t.vectors, own, _vector_kind) + Counter({"shared_vectors": len(held)})


def _is_theirs(model: type[ChatItem] | type[VectorItem], owner: str) -> Any:  # pynamodb's condition
    return (model.pk == owner_pk(owner)) | model.pk.startswith(f"{owner_pk(owner)}#")


def _scan(model: Any, condition: Any, names: list[str] | None) -> list[Any]:  # items of the model
    """The whole table, a few segments at once."""

    def read(segment: int) -> list[Any]:
        known = {"segment": segment, "total_segments": SEGMENTS, "consistent_read": True, "attributes_to_get": names}
        return ask(lambda: list(model.scan(condition, **known)))

    with ThreadPoolExecutor(SEGMENTS) as pool:
        return [row for rows in pool.map(read, range(SEGMENTS)) for row in rows]


def _keys(rows: Iterable[Any]) -> list[tuple[str, str]]:
    return [(row.pk, row.sk) for row in rows]


_COUNTED = {"A": "rates", "T": "totals", "M": "meters", "H": "holds", "L": "limits"}
_KINDS = {
    "C": "chats",
    "M": "messages",
    "N": "memories",
    "J": "identities",
    "V": "api_keys",
    "W": "sessions",
    "Y": "templates",
    "X": "shares",
    "E": "events",
    "I": "turn_keys",
    "P": "profiles",
    "S": "summaries",
    "K": "knowledge",
    "A": "knowledge_members",
    "D": "documents",
    "T": "chunks",
    "B": "document_parts",
}


def _kind(row: ChatItem) -> str:
    """What an item is, in the words of the receipt."""
    if row.sk == "R":
        return "runs"
    return _KINDS.get(row.sk.partition("#")[0], "other")


def _vector_kind(row: VectorItem) -> str:
    return "collections" if row.sk == "L" else "vectors"
