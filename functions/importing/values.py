"""What the process that reads a file of chats says, line by line."""

import hashlib
from datetime import UTC, datetime
from typing import Any, Literal
from uuid import UUID

import msgspec

from functions.chat.messages import Chat, Memory, Message, Profile, Struct, Template
from functions.settings import IMPORT_MESSAGE_BYTES

Reason = Literal["empty", "damaged", "circular", "too_large"]
Code = Literal["unsupported", "damaged", "encrypted", "too_large", "too_slow"]
SECONDS_MAX = 253_402_300_799  # the year 9999


class Line(msgspec.Struct, frozen=True, kw_only=True, tag_field="kind"):
    """The base of the union. `part`: how much of the file has been read, from 0 to 1."""

    part: float = 0.0


class FoundHead(Line, frozen=True, kw_only=True, tag="head"):
    """What one of our own exports says besides chats."""

    profile: Profile | None = None
    memories: tuple[Memory, ...] = ()
    templates: tuple[Template, ...] = ()


class FoundChat(Line, frozen=True, kw_only=True, tag="chat"):
    chat: Chat
    messages: tuple[Message, ...]


class NotFoundOut(Line, frozen=True, kw_only=True, tag="failed"):
    """A chat that cannot be had, and why."""

    title: str
    reason: Reason


class Over(Line, frozen=True, kw_only=True, tag="over"):
    """The end; with `trouble`, the file could not be read, or not to its end."""

    trouble: Code | None = None


class Unusable(Exception):
    """This one chat cannot be had."""

    def __init__(self, reason: Reason) -> None:
        super().__init__(reason)
        self.reason = reason


class Whole(Struct, frozen=True, kw_only=True):
    chat: Chat
    messages: tuple[Message, ...]


def clean(value: Any, most_bytes: int | None = None) -> str:  # of a file, so of any type
    """Text that can be stored: no half surrogate pairs, no NUL, and no more than so many bytes of UTF-8."""
    if not isinstance(value, str):
        return ""
    data = value.encode("utf-16", "surrogatepass").decode("utf-16", "replace").replace("\0", "\ufffd").encode()
    if most_bytes is None or len(data) <= most_bytes:
        return data.decode()
    return data[:most_bytes].decode(errors="ignore")


def bounded(text: str) -> str:
    """A message's text, cut with a note where it is too long for one."""
    whole = clean(text)
    if (size := len(whole.encode())) <= IMPORT_MESSAGE_BYTES:
        return whole
    return f"{clean(whole, IMPORT_MESSAGE_BYTES - 100)}\n\n[… cut at import: it had {size} bytes]"


def seconds(value: Any) -> float | None:  # of a file, so of any type
    """A time as seconds since 1970, if it is one."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    return float(value) if 0 <= value <= SECONDS_MAX else None  # a NaN is in no order


def moment(at: float) -> datetime:
    return datetime.fromtimestamp(at, UTC)


def id_of(salt: str, source: str, at_ms: int) -> str:
    """A UUIDv7 that is the same each time, for the same owner (`salt`) and source."""
    said = f"{salt}\0{source}".encode("utf-8", "surrogatepass")
    bits = int.from_bytes(hashlib.blake2b(said, digest_size=10).digest())
    value = (at_ms & (2**48 - 1)) << 80 | 0x7 << 76 | (bits >> 62 & 0xFFF) << 64 | 0b10 << 62 | bits & (2**62 - 1)
    return str(UUID(int=value))
