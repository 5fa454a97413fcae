"""A PDF: the text of each page, with the headings of its outline where it has one.

A PDF knows letters and places, no paragraphs: lines are joined, words that a line's end has cut are mended, and what
stands at the top or the bottom of most pages is left out.
"""

import re
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from functions.reading.blocks import Block, Trouble
from functions.reading.plain import paragraphs

EDGE_LINES = 2  # at the top and at the bottom of a page, if it has more than three times as many
REPEATED = 0.5  # of the pages, and of no fewer than
REPEATED_PAGES = 4
OUTLINE_ENTRIES = 5_000
_CUT_WORD = re.compile(r"(?<=[^\W\d_])-\n(?=[a-zà-öø-ÿ])")
_LINE_END = re.compile(r"(?<![.!?:;。！？：；\n])\n(?![\n•\-–*\d])")
_CJK_BREAK = re.compile(r"(?<=[\u3000-\u9fff\uff00-\uffef]) (?=[\u3000-\u9fff\uff00-\uffef])")
_DIGITS = re.compile(r"\d+")


def read_pdf(path: Path, most_pages: int) -> tuple[str | None, Iterator[Block]]:
    import pypdf  # noqa: PLC0415 (only who reads such a file waits for it)
    from pypdf.errors import DependencyError, PyPdfError  # noqa: PLC0415

    try:
        reader = pypdf.PdfReader(path)
        # Many files only forbid printing: those open with an empty password.
        if reader.is_encrypted and not reader.decrypt(""):
            raise Trouble("encrypted")
        count = len(reader.pages)
        title = _title(reader)
    except DependencyError as exc:  # a cipher that needs the library `cryptography`
        raise Trouble("encrypted") from exc
    except (PyPdfError, ValueError, KeyError, TypeError, AttributeError, OSError, RecursionError) as exc:
        raise Trouble("damaged") from exc
    if count > most_pages:
        raise Trouble("too_large")
    if not count:
        raise Trouble("damaged")
    return title, _blocks(reader, _texts(reader, count))


def _title(reader: Any) -> str | None:  # pypdf's
    said = reader.metadata.title if reader.metadata is not None else None
    return " ".join(said.split()) or None if isinstance(said, str) else None


def _texts(reader: Any, count: int) -> list[str]:
    """A page that cannot be read is empty; when none can, the file is damaged."""
    texts, unreadable = [], 0
    for number in range(count):
        try:
            texts.append(reader.pages[number].extract_text() or "")
        except MemoryError:
            raise
        except Exception:  # whatever a page can break in a parser of three thousand special cases
            texts.append("")
            unreadable += 1
    if unreadable == count:
        raise Trouble("damaged")
    return texts


def _blocks(reader: Any, texts: list[str]) -> Iterator[Block]:
    headings = _outline(reader)
    repeated = _repeated(texts)
    for number, text in enumerate(texts, 1):
        for level, name in headings.get(number, ()):
            yield Block(kind="heading", text=name, level=level, page=number)
        kept = [line.rstrip() for line in text.split("\n") if _known(line) not in repeated]
        yield from paragraphs(_flowing("\n".join(kept)), page=number)


def _flowing(text: str) -> str:
    return _CJK_BREAK.sub("", _LINE_END.sub(" ", _CUT_WORD.sub("", text)))


def _repeated(texts: list[str]) -> frozenset[str]:
    """The running heads and feet, whatever number they carry."""
    seen: Counter[str] = Counter()
    for text in texts:
        lines = [line for line in text.split("\n") if line.strip()]
        if len(lines) > 3 * EDGE_LINES:
            seen.update({_known(line) for line in (*lines[:EDGE_LINES], *lines[-EDGE_LINES:])})
    least = max(REPEATED_PAGES, REPEATED * len(texts))
    return frozenset(line for line, times in seen.items() if times >= least and line)


def _known(line: str) -> str:
    return _DIGITS.sub("0", " ".join(line.split()))


def _outline(reader: Any) -> dict[int, list[tuple[int, str]]]:
    found: dict[int, list[tuple[int, str]]] = {}
    left = [OUTLINE_ENTRIES]

    def walk(entries: Any, level: int) -> None:  # pypdf's nested lists
        for entry in entries:
            if left[0] <= 0 or level > 6:
                return
            if isinstance(entry, list):
                walk(entry, level + 1)
                continue
            left[0] -= 1
            page = reader.get_destination_page_number(entry)
            if name := " ".join(str(entry.title).split()):
                found.setdefault((page if page is not None else -1) + 1, []).append((level, name))

    try:
        walk(reader.outline, 1)
    except MemoryError:
        raise
    except Exception:  # an outline is a convenience, and often broken
        return {}
    return found
