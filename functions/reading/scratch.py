"""A file on disk for as long as it is needed, without the event loop ever touching the disk."""

import asyncio
import shutil
import tempfile
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path


class Scratch:
    """Written from the front to the back."""

    def __init__(self, folder: str) -> None:
        self.path = Path(folder) / "file"
        self.size = 0

    async def append(self, parts: Sequence[bytes]) -> None:
        self.size += sum(map(len, parts))
        await asyncio.to_thread(self._append, parts)

    def _append(self, parts: Sequence[bytes]) -> None:
        with self.path.open("ab") as file:
            file.writelines(parts)


@asynccontextmanager
async def scratch() -> AsyncIterator[Scratch]:
    """Only this user of the machine can read it; it goes in the end, whatever happens."""
    folder = await asyncio.to_thread(tempfile.mkdtemp, prefix="parley-")
    try:
        yield Scratch(folder)
    finally:
        await asyncio.shield(asyncio.to_thread(shutil.rmtree, folder, ignore_errors=True))
