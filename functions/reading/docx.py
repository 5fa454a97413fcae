"""A Word document: headings by their styles, paragraphs, lists and tables. Hidden text is not read."""

import re
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from functions.reading.blocks import Block, Trouble

MEMBERS = 5_000
UNPACKED_BYTES = 200 * 1024 * 1024  # of the whole; a book with its pictures has been seen to have 60 MB
TEXT_BYTES = 64 * 1024 * 1024  # of the text itself, which is parsed into some ten times as much
_OLE = b"\xd0\xcf\x11\xe0"  # a document under a password is wrapped so; and so are those from before 2007
_HEADING = re.compile(r"^(?:heading|titre|überschrift|标题)\s*(\d)$", re.IGNORECASE)


def read_docx(path: Path) -> tuple[str | None, Iterator[Block]]:
    _check(path)
    import docx  # noqa: PLC0415 (only who reads such a file waits for it)
    from docx.opc.exceptions import PackageNotFoundError  # noqa: PLC0415

    try:
        document = docx.Document(str(path))
    except (PackageNotFoundError, KeyError, ValueError, zipfile.BadZipFile, SyntaxError) as exc:  # lxml's is the last
        raise Trouble("damaged") from exc
    title = " ".join((document.core_properties.title or "").split()) or None
    return title, _blocks(document)


def _check(path: Path) -> None:
    """What it would unpack to, before anything is unpacked. A member that lies about its size is cut there by
    `zipfile`, and fails."""
    with path.open("rb") as file:
        if file.read(4) == _OLE:
            raise Trouble("encrypted")
    try:
        with zipfile.ZipFile(path) as archive:
            members = archive.infolist()
    except (zipfile.BadZipFile, ValueError, OSError) as exc:
        raise Trouble("damaged") from exc
    texts = sum(member.file_size for member in members if member.filename.endswith((".xml", ".rels")))
    whole = sum(member.file_size for member in members)
    if len(members) > MEMBERS or texts > TEXT_BYTES or whole > UNPACKED_BYTES:
        raise Trouble("too_large")
    if not any(member.filename == "word/document.xml" for member in members):
        raise Trouble("unsupported")


def _blocks(document: Any) -> Iterator[Block]:  # python-docx's Document
    from docx.table import Table  # noqa: PLC0415

    listed: list[str] = []
    for item in document.iter_inner_content():
        if isinstance(item, Table):
            yield from _list(listed)
            rows = (_row(row) for row in item.rows)
            if text := "\n".join(row for row in rows if row.strip(" |")):
                yield Block(kind="table", text=text)
            continue
        text, style = _text(item), (item.style.name or "") if item.style is not None else ""
        if not text:
            continue
        if style.startswith("List"):
            listed.append(f"- {text}")
            continue
        yield from _list(listed)
        if level := 1 if style == "Title" else int(found[1]) if (found := _HEADING.match(style)) else 0:
            yield Block(kind="heading", text=text, level=level)
        else:
            yield Block(kind="text", text=text)
    yield from _list(listed)


def _list(listed: list[str]) -> Iterator[Block]:
    if listed:
        yield Block(kind="text", text="\n".join(listed))
        listed.clear()


def _text(paragraph: Any) -> str:  # python-docx's
    if not any(run.font.hidden for run in paragraph.runs):
        return str(paragraph.text).strip()
    return "".join(run.text for run in paragraph.runs if not run.font.hidden).strip()


def _row(row: Any) -> str:
    """Merged cells come once for each place they take."""
    cells: list[Any] = []
    for cell in row.cells:
        if not cells or cells[-1]._tc is not cell._tc:
            cells.append(cell)
    return " | ".join(" ".join(" ".join(_text(part) for part in cell.paragraphs).split()) for cell in cells)
