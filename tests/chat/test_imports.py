"""Bringing chats: whoever leaves ends it, two files of one owner do not mix, and nobody comes back after their end."""

import json
import time
from contextlib import aclosing
from pathlib import Path

import pytest

from functions.adapters.sqlite import SqliteStore
from functions.chat.imports import Brought, Imports
from functions.errors import BadInput, Conflict
from tests.importing.conversations import simple


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "conversations.json"
    path.write_text(json.dumps([simple(n) for n in range(30)]))
    return path


def now_ms() -> int:
    return time.time_ns() // 1_000_000


async def test_whoever_leaves_ends_it_and_the_same_file_goes_on_from_there(tmp_path: Path, file: Path) -> None:
    store = await SqliteStore.open(tmp_path / "parley.db")
    imports = Imports(store, None, now_ms)
    async with aclosing(imports.bring("ann", file)) as news:
        await anext(news)
        with pytest.raises(Conflict):
            await anext(imports.bring("ann", file))
    left = len((await store.list_chats("ann", limit=100)).data)
    assert 0 < left < 30

    told = [one async for one in imports.bring("ann", file)]

    assert isinstance(told[-1], Brought)
    assert (told[-1].chats, told[-1].skipped, told[-1].failures) == (30 - left, left, 0)
    await store.close()


async def test_whose_everything_was_deleted_meanwhile_gets_nothing_back(tmp_path: Path, file: Path) -> None:
    store = await SqliteStore.open(tmp_path / "parley.db")
    imports = Imports(store, None, now_ms)

    async def bring() -> None:
        async with aclosing(imports.bring("ann", file)) as news:
            async for _ in news:
                await store.erase_owner("ann", now_ms=now_ms())

    with pytest.raises(BadInput):
        await bring()
    assert (await store.list_chats("ann", limit=100)).data == ()
    imports.refuse_second("ann")
    await store.close()
