"""The JSON in an uploaded file: the file itself, or what stands in a zip. Never unpacked to disk, so no name in a zip
can reach anything; never more read of it than `IMPORT_UNPACKED_BYTES`, whatever the zip says of itself."""

import re
import zipfile
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from functions.importing.values import Code
from functions.settings import IMPORT_UNPACKED_BYTES

MEMBERS = 200  # JSON files of one zip that are looked into
_CONVERSATIONS = re.compile(r"(?:^|/)conversations(?:[-_]\d{1,6})?\.json$")
_BOM = b"\xef\xbb\xbf"


class Trouble(Exception):
    def __init__(self, code: Code) -> None:
        super().__init__(code)
        self.code: Code = code


class Budget:
    """How much may still be read, and how far we are."""

    def __init__(self, expected: int, most: int = IMPORT_UNPACKED_BYTES) -> None:
        self._expected, self._most = max(1, expected), most
        self.read = 0

    def take(self, size: int) -> None:
        self.read += size
        if self.read > self._most:
            raise Trouble("too_large")

    @property
    def part(self) -> float:
        return round(min(1.0, self.read / self._expected), 3)


class Bounded:
    """Reads no more than its budget, and says of a broken file that it is broken."""

    def __init__(self, file: IO[bytes], budget: Budget) -> None:
        self._file, self._budget = file, budget
        self._first = self.fetch(len(_BOM))
        if self._first == _BOM:
            self._first = b""

    def fetch(self, size: int) -> bytes:
        try:
            data = self._file.read(size)
        except (zipfile.BadZipFile, zlib.error, EOFError, OSError, RuntimeError):
            raise Trouble("damaged") from None
        self._budget.take(len(data))
        return data

    def read(self, size: int = -1) -> bytes:
        """As parsers ask: a piece of that size, or less; nothing at the end."""
        if not size:  # only asks whether this is bytes or text
            return b""
        if self._first:
            first, self._first = self._first, b""
            return first
        return self.fetch(64 * 1024 if size < 0 else size)

    def peek(self) -> bytes:
        """The first byte that is no white space, of those that any sane file has it in."""
        return (self._first + self.fetch(4096)).lstrip()[:1]


@dataclass(frozen=True, slots=True)
class Source:
    """One JSON document; it can be opened several times."""

    open: Callable[[], IO[bytes]]
    size: int


def sources(path: Path) -> list[Source]:
    """Raises Trouble."""
    with path.open("rb") as file:
        head = file.read(4)
    if not head.startswith(b"PK"):
        return [Source(lambda: path.open("rb"), path.stat().st_size)]
    try:
        archive = zipfile.ZipFile(path)
    except (zipfile.BadZipFile, OSError, ValueError, NotImplementedError):
        raise Trouble("damaged") from None
    files = [one for one in archive.infolist() if one.filename.lower().endswith(".json") and not one.is_dir()]
    chosen = [one for one in files if _CONVERSATIONS.search(one.filename.lower())] or files
    if len(chosen) > MEMBERS:
        raise Trouble("too_large")
    if any(one.flag_bits & 1 for one in chosen):
        raise Trouble("encrypted")
    return [Source(_opener(archive, one), one.file_size) for one in sorted(chosen, key=lambda one: one.filename)]


def _opener(archive: zipfile.ZipFile, member: zipfile.ZipInfo) -> Callable[[], IO[bytes]]:
    def open_member() -> IO[bytes]:
        try:
            return archive.open(member)
        except (zipfile.BadZipFile, NotImplementedError, RuntimeError, OSError, ValueError):
            raise Trouble("damaged") from None

    return open_member
