"""Reading a file that somebody has uploaded: in a process of its own, because parsers are where bad files bite.

    reading = await read_file(path, "pdf")      # or BadInput, with a code and a sentence that say what is wrong

Promises: the event loop and this process are safe from whatever the file is; it takes `READING_SECONDS` and
`READING_MEMORY_BYTES` at most, and cancelling ends the process. The process is given the file and no environment: no
key of ours is in its reach.
"""

import asyncio
import subprocess
import sys
from pathlib import Path
from threading import Timer

import msgspec

import functions
from functions.errors import BadInput
from functions.reading.blocks import Block, FileKind, Reading
from functions.settings import DOCUMENT_CHARS, DOCUMENT_PAGES, READING_MEMORY_BYTES, READING_SECONDS

TROUBLES = {
    "damaged": "The file is damaged, or not what its name says. Save it again and upload that.",
    "encrypted": "The file is locked with a password. Save it without one and upload that.",
    "no_text": "There is no text in the file. If it was scanned, run a text recognition (OCR) over it first.",
    "too_large": "The file holds more than can be taken in one piece. Split it and upload the parts.",
    "too_slow": "Reading the file took too long. Split it, or save it in a simpler format.",
    "unsupported": "This kind of file cannot be read; PDF, DOCX, HTML, Markdown and plain text can.",
}
MEDIA_TYPES: dict[str, FileKind] = {
    "application/pdf": "pdf",
    "application/vnd.openxmlformats-officedocument.wordprocessingml.document": "docx",
    "text/html": "html",
    "application/xhtml+xml": "html",
    "text/markdown": "markdown",
    "text/x-markdown": "markdown",
    "text/plain": "text",
}
ENDINGS: dict[str, FileKind] = {
    ".pdf": "pdf",
    ".docx": "docx",
    ".html": "html",
    ".htm": "html",
    ".xhtml": "html",
    ".md": "markdown",
    ".markdown": "markdown",
    ".txt": "text",
    ".text": "text",
}
_UNSAID = ("", "application/octet-stream", "binary/octet-stream")
_ROOT = str(Path(functions.__file__).parent.parent)


class _Line(msgspec.Struct):
    """Any line of the child's: a block, the end, or what was wrong."""

    trouble: str | None = None
    title: str | None = None
    kind: str | None = None


_decode_line = msgspec.json.Decoder(_Line).decode
_decode_block = msgspec.json.Decoder(Block).decode


def unreadable(code: str) -> BadInput:
    return BadInput(TROUBLES[code], code=code)


def kind_of(media_type: str, filename: str, head: bytes) -> FileKind:
    """What a file is: by what was said of it, by its name where that says nothing or only "text", and never against
    its first bytes. Raises BadInput for what cannot be read."""
    said = media_type.partition(";")[0].strip().lower()
    named = ENDINGS.get(Path(filename.lower()).suffix)
    kind = named if said in _UNSAID else MEDIA_TYPES.get(said)
    if kind == "text" and named in ("markdown", "html"):
        kind = named
    # Programs put a few bytes before the mark, and readers accept that.
    is_pdf, is_zip = b"%PDF-" in head[:1024], head.startswith((b"PK\x03\x04", b"PK\x05\x06", b"\xd0\xcf\x11\xe0"))
    if kind is None or (kind == "pdf") != is_pdf or (kind == "docx") != is_zip:
        raise unreadable("unsupported")
    return kind


async def read_file(path: Path, kind: FileKind, *, within_s: float = READING_SECONDS) -> Reading:
    """Raises BadInput: `code` is one of TROUBLES."""
    limits = (READING_MEMORY_BYTES, int(within_s) + 1, DOCUMENT_PAGES, DOCUMENT_CHARS)
    # -P: nothing is imported from wherever this process happens to stand.
    command = [sys.executable, "-P", "-m", "functions.reading.child", kind, str(path), *map(str, limits)]
    running = _Running(command)
    try:
        return await asyncio.to_thread(running.result, within_s)
    finally:
        running.end()


class _Running:
    """The child, as a thread waits for it; `end` may come from another one, at any moment."""

    def __init__(self, command: list[str]) -> None:
        self._command = command
        self._child: subprocess.Popen[bytes] | None = None
        self._is_over = self._is_late = False

    def end(self) -> None:
        self._is_over = True
        if self._child is not None and self._child.poll() is None:
            self._child.kill()

    def _late(self) -> None:
        self._is_late = True
        self.end()

    def result(self, within_s: float) -> Reading:
        with subprocess.Popen(  # noqa: S603  # our own interpreter and module; the path is of our own making
            self._command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,  # parsers say there what the file says
            env={"PYTHONPATH": _ROOT, "PYTHONDONTWRITEBYTECODE": "1"},
            start_new_session=True,  # Ctrl-C is the parent's
        ) as child:
            self._child = child
            if self._is_over:
                child.kill()
            clock = Timer(within_s, self._late)
            clock.start()
            try:
                assert child.stdout is not None
                said = child.stdout.read()
            finally:
                clock.cancel()
        if self._is_late:
            raise unreadable("too_slow")
        return _reading(said, child.returncode)


def _reading(said: bytes, status: int) -> Reading:
    lines = said.splitlines()
    last = _decode_line(lines[-1]) if lines and said.endswith(b"\n") else _Line(kind="cut off")
    if last.trouble in TROUBLES:
        raise unreadable(last.trouble)
    if status or last.kind is not None:
        # The system has ended it: for its CPU seconds (SIGXCPU), or for memory.
        raise unreadable("too_slow" if status == -24 else "too_large" if status < 0 else "damaged")
    return Reading(title=last.title, blocks=tuple(map(_decode_block, lines[:-1])))
