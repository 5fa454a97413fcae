"""What every test gets: a clean environment, no blocking inside the event loop, a house when it asks for one."""

import os
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
from blockbuster import BlockBuster, blockbuster_ctx

from tests.house import House, open_house
from tests.ministack import ministack as run_ministack


@pytest.fixture(autouse=True)
def _clean_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in os.environ if name.startswith(("PARLEY_", "AWS_", "OPENAI_", "MODAL_"))]:
        monkeypatch.delenv(name)


@pytest.fixture(autouse=True)
def _no_blocking_calls() -> Iterator[BlockBuster]:
    """A blocking call of ours inside an event loop, of whichever thread, fails the test."""
    with blockbuster_ctx("functions") as blockbuster:
        yield blockbuster


@pytest.fixture(scope="session")
def ministack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The DynamoDB API on loopback: its address. One process for the whole session."""
    with run_ministack(tmp_path_factory.mktemp("ministack")) as url:
        yield url


@pytest.fixture
async def house(tmp_path: Path) -> AsyncIterator[House]:
    async with open_house(tmp_path) as opened:
        yield opened
