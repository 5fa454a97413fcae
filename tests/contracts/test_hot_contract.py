"""The contract once more, through hot stores over one SQLite file that share a real Valkey or Redis server.

The tests are those of the stores themselves: what passes there and fails here is the cache's fault.
"""

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from pathlib import Path

import pytest

from functions.adapters.sqlite import SqliteStore
from tests.contracts.conftest import Opener
from tests.contracts.hot import as_store, hot
from tests.contracts.makers import Store
from tests.contracts.test_chats import *  # noqa: F403
from tests.contracts.test_editions import *  # noqa: F403
from tests.contracts.test_find_turn import *  # noqa: F403
from tests.contracts.test_messages import *  # noqa: F403
from tests.contracts.test_retention import *  # noqa: F403
from tests.contracts.test_runs import *  # noqa: F403
from tests.contracts.test_withdrawal import *  # noqa: F403


@pytest.fixture(params=["sqlite"], ids=["hot"])
def adapter(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
async def opener(tmp_path: Path, valkey_url: str) -> AsyncIterator[Opener]:
    async with AsyncExitStack() as stack:

        async def open_one() -> Store:
            store = as_store(hot(await SqliteStore.open(tmp_path / "parley.db"), valkey_url))
            stack.push_async_callback(store.close)
            return store

        yield open_one
