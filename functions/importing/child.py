"""The process that reads one file of chats: `python -m functions.importing.child FILE SALT MEMORY CPU`.

Promises: one line of JSON on stdout for each chat as soon as it is read (values.py), then one that says how it ended;
nothing on stderr that came from the file. One conversation at a time is in memory; it stays within its memory and
processor seconds. It gets no environment, writes no file, and asks nobody.
"""

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, cast

import ijson
import msgspec
from ijson.common import IncompleteJSONError, JSONError, ObjectBuilder

from functions.importing.chatgpt import read_conversation
from functions.importing.parley import FORMATS, read_chat, read_head
from functions.importing.source import Bounded, Budget, Source, Trouble, sources
from functions.importing.values import Code, FoundChat, Line, NotFoundOut, Over, Reason, Unusable, Whole, clean
from functions.reading.confined import confine

BUFFER_BYTES = 64 * 1024

_encode = msgspec.json.Encoder().encode


def main(path: str, salt: str, memory_bytes: str, cpu_seconds: str) -> None:
    confine(int(memory_bytes), int(cpu_seconds))
    trouble: Code | None = None
    try:
        for line in lines(Path(path), salt):
            _say(line)
    except Trouble as error:
        trouble = error.code
    except MemoryError:
        trouble = "too_large"
    except (JSONError, IncompleteJSONError, UnicodeError, RecursionError):
        trouble = "damaged"
    _say(Over(part=1.0, trouble=trouble))


def _say(line: Line) -> None:
    sys.stdout.buffer.write(_encode(line) + b"\n")
    sys.stdout.buffer.flush()


def lines(path: Path, salt: str) -> Iterator[Line]:
    """Raises Trouble, or what the parser raises."""
    found = sources(path)
    # One of ours is read twice: once as far as its chats, for what stands before them.
    budget = Budget(sum(source.size for source in found))
    is_known = False
    for source in found:
        for line in _document(source, salt, budget):
            is_known = True
            yield msgspec.structs.replace(line, part=budget.part)
    if not is_known:
        raise Trouble("unsupported")


def _document(source: Source, salt: str, budget: Budget) -> Iterator[Line]:
    with source.open() as file:
        first = Bounded(file, Budget(1)).peek()  # costs no budget: it is read again
    if first == b"[":
        yield from (_line(value, salt) for value in _items(source, "item", budget))
    elif first == b"{":
        yield from _object(source, salt, budget)


def _object(source: Source, salt: str, budget: Budget) -> Iterator[Line]:
    head = _until_chats(source)
    if head.get("format") == FORMATS[0]:
        yield read_head(head)
        yield from (_line(value, None) for value in _items(source, "chats.item", budget))
    elif head.get("format") == FORMATS[1]:
        yield _line(head, None)
    elif "mapping" in head:  # a single conversation of theirs
        yield _line(head, salt)


def _items(source: Source, prefix: str, budget: Budget) -> Iterator[Any]:  # of a file, so of any type
    with source.open() as file:
        yield from ijson.items(Bounded(file, budget), prefix, use_float=True, buf_size=BUFFER_BYTES)


def _until_chats(source: Source) -> dict[str, Any]:
    """The object, as far as its member `chats`."""
    builder = ObjectBuilder()
    with source.open() as file:
        for prefix, event, value in ijson.parse(Bounded(file, Budget(1)), use_float=True, buf_size=BUFFER_BYTES):
            if (prefix, event, value) == ("", "map_key", "chats"):
                break
            builder.event(event, value)
    return cast("dict[str, Any]", builder.value)


def _line(value: Any, salt: str | None) -> Line:  # of a file, so of any type
    """`salt`: it is ChatGPT's, and ids are to be made."""
    try:
        whole: Whole = read_chat(value) if salt is None else read_conversation(value, salt)
    except Unusable as error:
        return NotFoundOut(title=_title(value), reason=error.reason)
    except RecursionError:
        reason: Reason = "damaged"
        return NotFoundOut(title=_title(value), reason=reason)
    return FoundChat(chat=whole.chat, messages=whole.messages)


def _title(value: Any) -> str:  # of a file, so of any type
    inner = value.get("chat") if isinstance(value, dict) and isinstance(value.get("chat"), dict) else value
    return clean(inner.get("title"), 200) if isinstance(inner, dict) else ""


if __name__ == "__main__":
    main(*sys.argv[1:5])
