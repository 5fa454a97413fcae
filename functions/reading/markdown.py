"""Markdown: cut where its own grammar cuts it. What stands between two headings is kept as it was written."""

import re
from collections.abc import Iterator

from functions.reading.blocks import Block, BlockKind
from functions.reading.plain import decoded

_FRONT_MATTER = re.compile(r"\A---\n.*?\n(?:---|\.\.\.)\n", re.DOTALL)
_KINDS: dict[str, BlockKind] = {"fence": "code", "code_block": "code", "table_open": "table"}
_DECORATION = re.compile(r"\[([^\]]*)\]\([^)]*\)|[*_`]{1,3}(?=\S)|(?<=\S)[*_`]{1,3}")


def read_markdown(data: bytes) -> tuple[str | None, Iterator[Block]]:
    blocks = list(_blocks(_FRONT_MATTER.sub("", decoded(data), count=1)))
    title = next((block.text for block in blocks if block.kind == "heading" and block.level == 1), None)
    return title, iter(blocks)


def _blocks(text: str) -> Iterator[Block]:
    from markdown_it import MarkdownIt  # noqa: PLC0415 (only who reads Markdown waits for it)

    lines = text.split("\n")
    tokens = MarkdownIt("commonmark").enable("table").parse(text)
    for at, token in enumerate(tokens):
        if token.level or token.map is None or token.nesting < 0:
            continue
        if token.type == "heading_open":
            name = _plain(tokens[at + 1].content)
            if name:
                yield Block(kind="heading", text=name, level=int(token.tag[1:]))
            continue
        source = "\n".join(lines[token.map[0] : token.map[1]]).strip("\n")
        if source.strip() and token.type not in ("hr", "definition") and not source.lstrip().startswith("<!--"):
            yield Block(kind=_KINDS.get(token.type, "text"), text=source)


def _plain(heading: str) -> str:
    """Without links and marks of emphasis."""
    return " ".join(_DECORATION.sub(lambda found: found[1] or "", heading).split())
