"""Reading a file of chats that somebody has brought, in a process of its own, because parsers are where bad files bite.

    async for line in read_chats(path, salt): …

Promises: the event loop and this process are safe from whatever the file is; lines come one by one, and the process
waits while nobody takes them; leaving the loop ends it. The last line is `Over`.
"""

import asyncio
import subprocess
import sys
from collections.abc import AsyncGenerator
from pathlib import Path

import msgspec

import functions
from functions.importing.values import FoundChat, FoundHead, NotFoundOut, Over
from functions.settings import IMPORT_SECONDS, READING_MEMORY_BYTES

Lines = FoundHead | FoundChat | NotFoundOut | Over

_ROOT = str(Path(functions.__file__).parent.parent)
_decode = msgspec.json.Decoder(Lines).decode


async def read_chats(path: Path, salt: str) -> AsyncGenerator[Lines, None]:
    """`salt` is the owner's: ids that are made for them are no one else's."""
    # -P: nothing is imported from wherever this process happens to stand.
    limits = (str(READING_MEMORY_BYTES), str(IMPORT_SECONDS))
    command = [sys.executable, "-P", "-m", "functions.importing.child", str(path), salt, *limits]
    child = await asyncio.to_thread(_start, command)
    try:
        assert child.stdout is not None
        while True:
            said = await asyncio.to_thread(child.stdout.readline)
            if not said.endswith(b"\n"):  # the system has ended it: for its seconds (SIGXCPU), or for memory
                status = await asyncio.to_thread(child.wait)
                yield Over(trouble="too_slow" if status == -24 else "too_large" if status < 0 else "damaged")
                return
            line = await asyncio.to_thread(_decode, said)
            yield line
            if isinstance(line, Over):
                return
    finally:
        child.kill()
        await asyncio.shield(asyncio.to_thread(_end, child))


def _start(command: list[str]) -> "subprocess.Popen[bytes]":
    return subprocess.Popen(  # noqa: S603  # our own interpreter and module; the path is of our own making
        command,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,  # parsers say there what the file says
        env={"PYTHONPATH": _ROOT, "PYTHONDONTWRITEBYTECODE": "1"},
        start_new_session=True,  # Ctrl-C is the parent's
    )


def _end(child: "subprocess.Popen[bytes]") -> None:
    with child:  # closes the pipe and waits
        pass
