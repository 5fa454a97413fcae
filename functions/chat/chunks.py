"""Cutting a document into chunks, by its own structure. Pure: no I/O, no model.

    # Setup                      ┐ heading path "Setup › Docker", once for the chunk, not in its text
    ## Docker                    │
    Run the image …              │ one chunk: whole paragraphs, whole tables, whole blocks of code, up to TOKENS
    | port | 8000 |              ┘
    ## Compose                   a heading or a page begins a new one, unless the last is still a line or two (LEAST)

A paragraph that is too long by itself is cut at its sentences, a table at its rows (each part keeps the head), code at
its lines; only then does the next chunk repeat the last sentence (OVERLAP), because only then a thought was cut. Tokens
are estimated: a sign of Chinese, Japanese or Korean is one, four letters of anything else are one.
"""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from functions.chat.documents import Chunk
from functions.reading.blocks import Block

TOKENS = 220  # what a chunk aims at; with its last paragraph it may reach
MOST = 320
LEAST = 40  # less is joined with what follows
OVERLAP = 32
PATH_CHARS = 300  # of a heading path
_SIGN = re.compile(r"[\u2e80-\u9fff\uac00-\ud7af\uf900-\ufaff\uff00-\uffef\U00020000-\U0003ffff]")
_SENTENCE = re.compile(r"(?<=[.!?…])\s+|(?<=[。！？；])|\n")
_WORD = re.compile(r"\s+")
BETWEEN = " › "


def tokens_of(text: str) -> int:
    signs = len(_SIGN.findall(text))
    return signs + (len(text) - signs + 3) // 4


def cut(blocks: Sequence[Block]) -> list[Chunk]:
    """In the order of the document, numbered from 0."""
    cutter = _Cutter()
    for block in blocks:
        cutter.add(block)
    cutter.close()
    return cutter.chunks


@dataclass
class _Cutter:
    chunks: list[Chunk] = field(default_factory=list)
    _path: list[tuple[int, str]] = field(default_factory=list)
    _parts: list[str] = field(default_factory=list)
    _size: int = 0
    _heading: str | None = None  # of the chunk under way
    _page: int | None = None

    def add(self, block: Block) -> None:
        if block.kind == "heading":
            self._enter(block)
            return
        if block.page != self._page and self._size >= LEAST:
            self.close()  # so that the page a citation names is the one
        for number, piece in enumerate(_pieces(block)):
            size = tokens_of(piece)
            if self._parts and self._size + size > (MOST if self._size < TOKENS else TOKENS):
                last = self._parts[-1] if number else ""
                self.close()
                if last and block.kind == "text":
                    self._append(_tail(last), block.page)
            self._append(piece, block.page)

    def _enter(self, block: Block) -> None:
        self._path = [entry for entry in self._path if entry[0] < block.level]
        self._path.append((block.level, " ".join(block.text.split())))
        if self._size >= LEAST:
            self.close()
        elif self._parts:
            self._append(self._path[-1][1], block.page)  # goes on in the same chunk, and says where it is

    def _append(self, text: str, page: int | None) -> None:
        if not text:
            return
        if not self._parts:
            names = BETWEEN.join(name for _, name in self._path)
            self._heading, self._page = names[-PATH_CHARS:] or None, page
        self._parts.append(text)
        self._size += tokens_of(text)

    def close(self) -> None:
        if self._parts:
            text = "\n\n".join(self._parts)
            self.chunks.append(Chunk(number=len(self.chunks), text=text, heading=self._heading, page=self._page))
        self._parts, self._size = [], 0


def _pieces(block: Block) -> Iterator[str]:
    """The block whole, or in parts of no more than TOKENS."""
    if tokens_of(block.text) <= MOST:
        yield block.text
        return
    match block.kind:
        case "table":
            head, *rows = block.text.split("\n")
            if rows and not rows[0].strip(" |:-"):
                head = f"{head}\n{rows.pop(0)}"
            yield from _gathered(rows, "\n", head=head[: 2 * TOKENS])
        case "code":
            yield from _gathered(block.text.split("\n"), "\n")
        case _:
            yield from _gathered(_SENTENCE.split(block.text), " ")


def _gathered(units: Sequence[str], joint: str, head: str = "") -> Iterator[str]:
    """As many units as fit, each time; one that is too long by itself is cut where it must be."""
    start = [head] if head else []
    parts, size = list(start), tokens_of(head)
    for unit in _short(units):
        if len(parts) > len(start) and size + tokens_of(unit) > TOKENS:
            yield joint.join(parts)
            parts, size = list(start), tokens_of(head)
        parts.append(unit)
        size += tokens_of(unit)
    if len(parts) > len(start):
        yield joint.join(parts)


def _short(units: Sequence[str]) -> Iterator[str]:
    for unit in units:
        if tokens_of(unit) <= TOKENS:
            if unit.strip():
                yield unit.rstrip()
            continue
        words = _WORD.split(unit)
        if len(words) > 1:
            yield from _gathered(words, " ")
        else:
            yield from (unit[at : at + TOKENS] for at in range(0, len(unit), TOKENS))


def _tail(text: str) -> str:
    """The last sentence, or its end."""
    last = next((part for part in reversed(_SENTENCE.split(text)) if part.strip()), "")
    if tokens_of(last) <= OVERLAP:
        return last.strip()
    words = last.split(" ")
    return " ".join(words[-OVERLAP // 2 :]) if len(words) > OVERLAP // 2 else last[-OVERLAP:]
