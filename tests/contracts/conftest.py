"""Both stores under one suite: SQLite on a fresh file for each test, DynamoDB on one ministack for all of them.

`store` and `stores` (two instances on one stored state) share DynamoDB's tables between tests: owners are unique, and
the job queue, which has no owner, is emptied first. `opener` opens instances of the test's own.
"""

import asyncio
import os
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any, cast, get_args

import pytest

from functions.adapters.dynamo import DynamoStore
from functions.adapters.sqlite import SqliteStore
from functions.chat.messages import Lane, new_id
from tests.contracts.makers import Store
from tests.valkey_server import program, valkey_server

Opener = Callable[[], Awaitable[Store]]


@pytest.fixture(scope="session")
def dynamo_url(ministack: str) -> str:
    return f"dynamodb://contract?region=eu-central-1&endpoint={ministack}"


@pytest.fixture(scope="session")
def dynamo_stores(dynamo_url: str) -> Iterator[tuple[Store, Store]]:
    """Opened once: they belong to no event loop, and a client costs 50 ms of CPU."""
    with ThreadPoolExecutor(1) as thread:  # a fixture may be set up inside a running loop

        def run(coroutine: Any) -> Any:
            return thread.submit(asyncio.run, coroutine).result()

        stores = run(DynamoStore.open(dynamo_url, create=True)), run(DynamoStore.open(dynamo_url))
        yield stores
        for store in stores:
            run(store.close())


@pytest.fixture(scope="session")
def valkey_url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Debian's Redis or Valkey. Where it must be there (.ci/run), its absence is a failure; elsewhere a skip that says
    so."""
    if program() is None and not os.environ.get("REQUIRE_VALKEY"):
        pytest.skip("no Valkey or Redis server here: apt install redis-server")
    with valkey_server(tmp_path_factory.mktemp("valkey")) as server:
        yield server.url


@pytest.fixture
def owner() -> str:
    return f"owner-{new_id()}"


@pytest.fixture(params=["sqlite", "dynamo"])
def adapter(request: pytest.FixtureRequest) -> str:
    return cast("str", request.param)


@pytest.fixture
async def opener(adapter: str, request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Opener]:
    """Opens one more instance on the same stored state; all are closed at the end."""
    async with AsyncExitStack() as stack:

        async def open_one() -> Store:
            store: Any
            if adapter == "sqlite":
                store = await SqliteStore.open(tmp_path / "parley.db")
            else:
                store = await DynamoStore.open(request.getfixturevalue("dynamo_url"), create=True)
            stack.push_async_callback(store.close)
            return cast("Store", store)

        yield open_one


@pytest.fixture
async def stores(adapter: str, opener: Opener, request: pytest.FixtureRequest) -> tuple[Store, Store]:
    """Two instances on the same stored state, as two workers have them."""
    if adapter == "sqlite":
        return await opener(), await opener()
    shared: tuple[Store, Store] = request.getfixturevalue("dynamo_stores")
    for lane in get_args(Lane):
        while queued := await shared[0].take_job(now_ms=10**16, hidden_ms=1, lane=lane):
            await shared[0].drop_job(queued)
    return shared


@pytest.fixture
def store(stores: tuple[Store, Store]) -> Store:
    return stores[0]
