"""Plain text: decoded, and cut at its blank lines."""

import codecs
import re
from collections.abc import Iterator

from functions.reading.blocks import Block, Trouble

_BOMS = {codecs.BOM_UTF8: "utf-8-sig", codecs.BOM_UTF16_LE: "utf-16", codecs.BOM_UTF16_BE: "utf-16"}
_CONTROL = re.compile(r"[\x00-\x08\x0e-\x1f]")
_BLANK = re.compile(r"\n[ \t]*(?:\n[ \t]*)+")


def decoded(data: bytes) -> str:
    """UTF-8, what a byte order mark says, or China's national encoding; whatever is left is Western. Raises Trouble for
    what is no text at all."""
    for bom, name in _BOMS.items():
        if data.startswith(bom):
            text = data.decode(name, "replace")
            break
    else:
        text = _guessed(data)
    if _CONTROL.search(text[:100_000]):
        raise Trouble("unsupported")
    return text.replace("\r\n", "\n").replace("\r", "\n")


def _guessed(data: bytes) -> str:
    for name in ("utf-8", "gb18030"):
        try:
            text = data.decode(name)
        except UnicodeDecodeError:
            continue
        # Nearly every sequence of Western letters is something in GB 18030 as well: believe it where it is Chinese.
        if name == "utf-8" or sum("\u4e00" <= char <= "\u9fff" for char in text) > len(text) // 3:
            return text
    return data.decode("cp1252", "replace")


def paragraphs(text: str, page: int | None = None) -> Iterator[Block]:
    for part in _BLANK.split(text):
        if part.strip():
            yield Block(kind="text", text=part.strip("\n").rstrip(), page=page)


def read_text(data: bytes) -> tuple[str | None, Iterator[Block]]:
    return None, paragraphs(decoded(data))
