"""A web page: its text by headings, paragraphs, code and tables. What a reader does not see is not read, because that
is where orders to a model are hidden."""

import re
from collections.abc import Iterator
from typing import Any

from functions.reading.blocks import Block, Trouble

_SKIPPED = "script style noscript template head nav footer aside svg math iframe object button select textarea"
_BLOCKS = (
    "address article blockquote body center dd details div dl dt fieldset figcaption figure form header hr html li "
    "main ol p section summary ul"
)
SKIPPED, BLOCKS = frozenset(_SKIPPED.split()), frozenset(_BLOCKS.split())
HEADINGS = {f"h{level}": level for level in range(1, 7)}
_HIDDEN = re.compile(r"display\s*:\s*none|visibility\s*:\s*hidden|font-size\s*:\s*0|opacity\s*:\s*0(?:[;\s]|$)")
DEPTH = 250  # libxml2's own limit is 256


def read_html(data: bytes) -> tuple[str | None, Iterator[Block]]:
    from lxml import etree, html  # noqa: PLC0415 (only who reads a page waits for it)

    declared = re.search(rb"charset\s*=", data[:4096], re.IGNORECASE)
    parser = html.HTMLParser(encoding=None if declared else _encoding(data), huge_tree=False, no_network=True)
    try:
        root = html.document_fromstring(data, parser=parser)
    except (etree.LxmlError, ValueError) as exc:
        raise Trouble("no_text" if not data.strip() else "damaged") from exc
    title = " ".join((root.findtext(".//title") or "").split()) or None
    return title, _Page().read(root)


def _encoding(data: bytes) -> str:
    try:
        data.decode()
    except UnicodeDecodeError:
        return "cp1252"
    return "utf-8"


class _Page:
    """One walk through the tree. Text that stands in no block of its own is gathered into a paragraph."""

    def __init__(self) -> None:
        self._said: list[str] = []

    def read(self, root: Any) -> Iterator[Block]:  # lxml's element
        yield from self._walk(root, 0)
        yield from self._paragraph()

    def _paragraph(self, prefix: str = "") -> Iterator[Block]:
        text = " ".join("".join(self._said).split())
        self._said.clear()
        if text:
            yield Block(kind="text", text=prefix + text)

    def _walk(self, element: Any, depth: int) -> Iterator[Block]:
        tag = element.tag
        if not isinstance(tag, str) or tag in SKIPPED or _is_hidden(element) or depth > DEPTH:
            return
        if tag in HEADINGS or tag in ("pre", "table"):
            yield from self._paragraph()
            yield from _whole(element, tag)
            return
        is_block = tag in BLOCKS
        if is_block:
            yield from self._paragraph()
        elif tag in ("br", "td", "th"):
            self._said.append(" ")
        self._said.append(element.text or "")
        for child in element:
            yield from self._walk(child, depth + 1)
            self._said.append(child.tail or "")
        if is_block:
            yield from self._paragraph("- " if tag == "li" else "")


def _whole(element: Any, tag: str) -> Iterator[Block]:
    if tag == "table":
        rows = (" | ".join(_words(cell) for cell in row.iter("td", "th")) for row in element.iter("tr"))
        if text := "\n".join(row for row in rows if row.strip(" |")):
            yield Block(kind="table", text=text)
    elif tag == "pre":
        if text := _seen(element).strip("\n"):
            yield Block(kind="code", text=text)
    elif text := _words(element):
        yield Block(kind="heading", text=text, level=HEADINGS[tag])


def _words(element: Any) -> str:
    return " ".join(_seen(element).split())


def _seen(element: Any) -> str:
    if not isinstance(element.tag, str) or element.tag in SKIPPED or _is_hidden(element):
        return ""
    return (element.text or "") + "".join(_seen(child) + (child.tail or "") for child in element)


def _is_hidden(element: Any) -> bool:
    attributes = element.attrib
    if "hidden" in attributes or attributes.get("aria-hidden") == "true":
        return True
    return bool(_HIDDEN.search(attributes.get("style", "").lower()))
