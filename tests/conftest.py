"""What every test gets: a clean environment, no blocking inside the event loop, a house when it asks for one."""

import fcntl
import os
import shutil
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
from blockbuster import BlockBuster, blockbuster_ctx
from rich.console import Console

from functions import webbuild
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
    """The DynamoDB API on loopback: its address. One for all tests of a process."""
    with run_ministack(tmp_path_factory.mktemp("ministack")) as url:
        yield url


@pytest.fixture(scope="session")
def web_client(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The web client, built when it is stale: the folder to serve. Whoever comes first builds, the others wait."""
    with (tmp_path_factory.getbasetemp().parent / "web-client.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        built = webbuild.ready(Console(stderr=True))
    assert built, "the web client does not build; it needs Node 20 or newer (apt install nodejs npm)"
    return built


@pytest.fixture(scope="session")
def chromium() -> str:
    """Debian's Chromium. Where it must be there (.ci/run), its absence is a failure; elsewhere a skip that says so."""
    found = shutil.which("chromium") or shutil.which("chromium-browser")
    if found is None and not os.environ.get("REQUIRE_CHROMIUM"):
        pytest.skip("no Chromium here: apt install chromium")
    assert found, "no Chromium: apt install chromium"
    return found


@pytest.fixture
async def house(tmp_path: Path) -> AsyncIterator[House]:
    async with open_house(tmp_path) as opened:
        yield opened
