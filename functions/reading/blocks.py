"""What reading a file gives: its text in the order of the document, cut where its author cut it.

Values only, and cheap to import: the process that parses files is started for each of them.
"""

from typing import Literal

import msgspec

BlockKind = Literal["heading", "text", "code", "table"]
FileKind = Literal["pdf", "docx", "html", "markdown", "text"]


class Block(msgspec.Struct, frozen=True, kw_only=True):
    """A heading, a paragraph or list, a block of code, or a table (a row a line, the first its head).

    `level` is a heading's, from 1. `page` counts from 1; None where the format has no pages.
    """

    kind: BlockKind
    text: str
    level: int = 0
    page: int | None = None


class Reading(msgspec.Struct, frozen=True, kw_only=True):
    """A whole file. `title` is what it calls itself; None when it does not say."""

    title: str | None
    blocks: tuple[Block, ...]


class Trouble(Exception):
    """Why a file cannot be read. `code`: damaged, encrypted, no_text, too_large, too_slow or unsupported."""

    def __init__(self, code: str) -> None:
        super().__init__(code)
        self.code = code
