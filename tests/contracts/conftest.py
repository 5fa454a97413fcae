"""Both stores, opened fresh for each test; one ministack for all of them."""

from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import AsyncExitStack
from itertools import count
from pathlib import Path
from typing import Any

import pytest

from functions.adapters.sqlite import SqliteStore
from functions.chat.messages import new_id
from tests.contracts.makers import Store
from tests.ministack import ministack as run_ministack

_prefixes = count()
Opener = Callable[[], Awaitable[Store]]


@pytest.fixture(scope="session")
def ministack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with run_ministack(tmp_path_factory.mktemp("ministack")) as url:
        yield url


@pytest.fixture
def owner() -> str:
    return f"owner-{new_id()}"


@pytest.fixture(params=["sqlite", "dynamo"])
async def opener(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Opener]:
    """Opens one more instance on the same stored state; all are closed at the end."""
    if request.param == "sqlite":
        open_one: Callable[[], Any] = lambda: SqliteStore.open(tmp_path / "parley.db")  # noqa: E731
    else:
        open_one = _dynamo(request.getfixturevalue("ministack"))
    async with AsyncExitStack() as stack:

        async def open_another() -> Store:
            store: Store = await open_one()
            stack.push_async_callback(store.close)
            return store

        yield open_another


def _dynamo(endpoint: str) -> Callable[[], Any]:
    from functions.adapters.dynamo import DynamoStore

    url = f"dynamodb://test{next(_prefixes)}?region=eu-central-1&endpoint={endpoint}"
    return lambda: DynamoStore.open(url, create=True)


@pytest.fixture
async def store(opener: Opener) -> Store:
    return await opener()


@pytest.fixture
async def stores(opener: Opener) -> tuple[Store, Store]:
    """Two instances on the same stored state, as two workers have them."""
    return await opener(), await opener()
