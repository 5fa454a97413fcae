"""What both adapters decide alike: the pure half of the ports.

Promises: no I/O, no clock. Knows values and errors; does not know how or where anything is stored. A rule that lives
here cannot differ between SQLite and DynamoDB.
"""

import hashlib
import math
from array import array
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec

from functions.chat.documents import Document
from functions.chat.messages import TERMINAL, Chat, LoggedEvent, NodeUse, Run, Share
from functions.chat.principals import User
from functions.errors import BadInput, Conflict, Fenced, NotFound, StoreUnavailable
from functions.ports import NewTurn

SHARED = "="  # begins the name under which a house holds what all of its users share; no user's does
ERASURE_KEPT_MS = 24 * 3600 * 1000  # nothing that was under way then is still
CHANGEABLE = frozenset({"title", "model", "system_prompt", "pinned", "archived", "active_leaf"})
DAY_MS = 24 * 3600 * 1000
SIGHTING_KEPT_MS = DAY_MS
WAKE_KEPT_MS = 90 * DAY_MS
USE_KEPT_MS = 400 * DAY_MS  # a year, and the month in which somebody asks about it
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


# -- errors: one wording for both stores ------------------------------------------------------------------------
def no_chat() -> NotFound:
    return NotFound("There is no such chat.")


def no_message() -> NotFound:
    return NotFound("There is no such message in this chat.")


def no_share() -> NotFound:
    return NotFound("There is nothing shared here, or not any more.")


def by_share(share: Share) -> tuple[datetime, str]:
    return share.created_at, share.id


def no_memory() -> NotFound:
    return NotFound("There is no such memory.")


def no_collection() -> NotFound:
    return NotFound("There is no such collection.")


def no_document() -> NotFound:
    return NotFound("There is no such document.")


def keep_decided(was: Document, now: Document) -> None:
    """Raises Conflict: a worker that was overtaken must not undo what the other one came to."""
    if was.status == "ready" or (was.status == "failed" and now.status != "queued"):
        raise Conflict("This document has just been read by somebody else; look at it again.")


def no_run() -> NotFound:
    return NotFound("There is no such run.")


def fenced() -> Fenced:
    return Fenced("Another worker owns this run now, or the run has ended.")


def message_exists() -> Conflict:
    return Conflict("A message with this id is already stored with another text.", code="message_exists")


def run_exists() -> Conflict:
    return Conflict("A run with this id is already stored.")


def run_active() -> Conflict:
    return Conflict("This chat is still answering. Wait for the answer, or stop it first.", code="run_active")


def unavailable(what: str) -> StoreUnavailable:
    return StoreUnavailable(f"The store could not answer: {what}. Try again in a moment.")


def disk_full() -> StoreUnavailable:
    return StoreUnavailable("The disk that the store is on is full. Free some space on it, then try again.")


# -- chats ------------------------------------------------------------------------------------------------------
def check_changes(changes: dict[str, Any]) -> None:  # values are checked at the edge
    for name in changes:
        if name not in CHANGEABLE:
            raise BadInput(f"A chat's {name!r} cannot be changed.", param=name)


def microseconds(when: datetime) -> int:
    """Since 1970, exact: a datetime's own resolution, sortable as an integer."""
    return (when - _EPOCH) // timedelta(microseconds=1)


def milliseconds(when: datetime) -> int:
    return microseconds(when) // 1000


def page_mark(last: Chat) -> str:
    """Where a page of chats ended."""
    return f"{microseconds(last.updated_at)}:{last.id}"


def read_page_mark(mark: str) -> tuple[int, str]:
    updated, _, chat_id = mark.partition(":")
    if not (updated.isascii() and updated.removeprefix("-").isdigit()):
        raise BadInput("This page mark is not one of ours.", param="after")
    return int(updated), chat_id


class _Searched(msgspec.Struct):
    """As much of a stored chat or message as a search reads."""

    title: str | None = None
    content: str = ""


_searched = msgspec.json.Decoder(_Searched).decode


def says(data: bytes, folded: str) -> bool:
    """Whether the title or the text of this stored JSON contains `folded` (a case-folded literal)."""
    found = _searched(data)
    return folded in found.content.casefold() or folded in (found.title or "").casefold()


# -- runs -------------------------------------------------------------------------------------------------------
def check_sequence(events: Sequence[LoggedEvent], first: int) -> None:
    """A gap inside one batch is a bug of the caller, not a race."""
    for seq, event in enumerate(events, first):
        if event.seq != seq:
            raise ValueError(f"event {event.seq} stands where {seq} belongs")


def first_run(turn: NewTurn) -> Run:
    """The run as `turn` stores it: `last_seq` counts the first events."""
    check_sequence(turn.events, 1)
    return msgspec.structs.replace(turn.run, last_seq=len(turn.events))


def check_terminal(run: Run) -> None:
    if run.status not in TERMINAL:
        raise ValueError(f"a run does not end as {run.status!r}")


# -- counters ---------------------------------------------------------------------------------------------------
def gcra(arrival_ms: int, *, interval_ms: int, burst: int, now_ms: int) -> tuple[int, int]:
    """(milliseconds to wait, the next theoretical arrival). `arrival_ms` is the stored one, 0 when none is.

    time ──┬───────────now────────────────arrival──>     arrival - now <= (burst - 1) * interval: may pass
           └ an arrival in the past counts as now
    """
    arrival = max(arrival_ms, now_ms)
    wait = arrival - now_ms - (burst - 1) * interval_ms
    return (wait, arrival_ms) if wait > 0 else (0, arrival + interval_ms)


# -- the ledger -------------------------------------------------------------------------------------------------
def check_use(use: NodeUse) -> None:
    if not use.id:
        raise ValueError("a use without an id would be taken for every other one without")


def without_owner(use: NodeUse) -> NodeUse:
    """The use, when the person has gone: the money stays."""
    return msgspec.structs.replace(use, owner="", chat_id=None)


def pseudonym(owner: str) -> str:
    """By which an erasure is known, without the name."""
    return hashlib.sha256(f"erased\0{owner}".encode()).hexdigest()


# -- vectors ----------------------------------------------------------------------------------------------------
FLOAT_BYTES = 4  # of each number, as it is stored


def unit(vector: Sequence[float]) -> "array[float]":
    """The vector at length 1 in 32-bit floats; a zero vector stays zero, and is similar to nothing."""
    length = math.hypot(*vector)
    if not vector or not math.isfinite(length):
        raise BadInput("A vector needs at least one number, and only finite ones.", param="vector")
    return array("f", [value / length for value in vector] if length else vector)


def cosine(one: "array[float]", other: "array[float]") -> float:
    """Of two unit vectors."""
    return max(-1.0, min(1.0, sum(map(float.__mul__, one, other))))


def wrong_length(length: int, expected: int) -> BadInput:
    return BadInput(f"This collection's vectors have {expected} numbers, not {length}.", param="vector")


# -- users ------------------------------------------------------------------------------------------------------
def no_user() -> NotFound:
    return NotFound("There is no such user.")


def is_active_admin(user: User) -> bool:
    """Counts towards those of whom there must be one."""
    return user.role == "admin" and user.status == "active"


def is_meant(user: User, query: str) -> bool:
    """Whether a search for users finds this one."""
    wanted = query.casefold()
    return any(wanted in (text or "").casefold() for text in (user.id, user.name, user.email, user.group))
