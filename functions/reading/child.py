"""The process that parses one file: `python -m functions.reading.child KIND FILE MEMORY CPU PAGES CHARS`.

Promises: says what it read on stdout as lines of JSON, or why it could not (`{"trouble": code}`), and nothing on
stderr that came from the file; stays within its memory, CPU seconds, pages and characters, on systems that can hold it
to that. It gets no environment, writes no file, and asks nobody.
"""

import sys
from collections.abc import Iterator
from pathlib import Path

import msgspec

from functions.reading.blocks import Block, Trouble
from functions.reading.confined import confine
from functions.reading.docx import read_docx
from functions.reading.html import read_html
from functions.reading.markdown import read_markdown
from functions.reading.pdf import read_pdf
from functions.reading.plain import read_text

_encode = msgspec.json.Encoder().encode


def main(kind: str, path: str, memory_bytes: str, cpu_seconds: str, pages: str, chars: str) -> None:
    confine(int(memory_bytes), int(cpu_seconds))
    try:
        title, blocks = _parsed(kind, Path(path), int(pages))
        _say(title, blocks, int(chars))
    except Trouble as trouble:
        _line({"trouble": trouble.code})
    except MemoryError:
        _line({"trouble": "too_large"})
    except RecursionError:
        _line({"trouble": "damaged"})


def _parsed(kind: str, path: Path, pages: int) -> tuple[str | None, Iterator[Block]]:
    match kind:
        case "pdf":
            return read_pdf(path, pages)
        case "docx":
            return read_docx(path)
        case "html":
            return read_html(path.read_bytes())
        case "markdown":
            return read_markdown(path.read_bytes())
        case _:
            return read_text(path.read_bytes())


def _say(title: str | None, blocks: Iterator[Block], most_chars: int) -> None:
    chars = 0
    for block in blocks:
        chars += len(block.text)
        if chars > most_chars:
            raise Trouble("too_large")
        _line(block)
    if not chars:
        raise Trouble("no_text")
    _line({"title": title})


def _line(value: object) -> None:
    # Half a surrogate pair, as broken fonts give, is no text; and NUL is nothing that a message may have.
    data = _encode(_mended(value))
    sys.stdout.buffer.write(data + b"\n")


def _mended(value: object) -> object:
    if isinstance(value, Block):
        return msgspec.structs.replace(value, text=_clean(value.text))
    if isinstance(value, dict) and isinstance(value.get("title"), str):
        return {"title": _clean(value["title"])}
    return value


def _clean(text: str) -> str:
    return text.encode("utf-8", "replace").decode().replace("\0", "")


if __name__ == "__main__":
    main(*sys.argv[1:7])
