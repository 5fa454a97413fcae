"""How the whole suite shares the machine: a pytest plugin, named in pyproject.toml.

A third of the suite's time is waiting, for sockets, leases and processes, so it runs in one process more than there are
cores. A room, a file or a test that is named runs in one process as ever, with `-s`, a debugger and no start to wait
for; `-n 3` shares that out too, and `-n 0` runs everything in one.
"""

import os
import sys
from pathlib import Path

import pytest
from xdist.remote import Producer
from xdist.scheduler import LoadScopeScheduling

# By the beginnings of their names. pytest-xdist's own mark for this has no effect under pytest 9.2.
TOGETHER = (
    "tests/aws/test_stack",  # one deployed stack for all
    "tests/deploy/test_modal_",  # each deployment takes the ports of modal_app.py
    "tests/e2e/test_browser",  # one `parley dev` for all
    "tests/vllm",  # three servers for all
)
LONGEST_FIRST = ("tests/web", "tests/deploy", "tests/aws", "tests/e2e")


class Sharing(LoadScopeScheduling):
    """Whoever is free gets the next test, but what belongs together goes to one process, in its order."""

    def _split_scope(self, nodeid: str) -> str:
        return next((group for group in TOGETHER if nodeid.startswith(group)), nodeid)


def pytest_xdist_make_scheduler(config: pytest.Config, log: Producer) -> Sharing:
    return Sharing(config, log)


@pytest.hookimpl(tryfirst=True)
def pytest_xdist_auto_num_workers(config: pytest.Config) -> int:
    whole = config.args_source is pytest.Config.ArgsSource.TESTPATHS and config.option.capture != "no"
    return len(os.sched_getaffinity(0)) + 1 if whole else 0


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """What takes longest begins first, or one process would be busy with it when all others are done."""
    items.sort(key=lambda item: not item.nodeid.startswith(LONGEST_FIRST))


def pytest_configure() -> None:
    """Where Python is told to keep no bytecode, each process that a test starts would compile a thousand modules again,
    a second and a half of CPU each: it is kept beside the installed packages instead of beside the sources."""
    if sys.dont_write_bytecode:
        os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
        os.environ["PYTHONPYCACHEPREFIX"] = sys.pycache_prefix = str(Path(sys.prefix) / "bytecode")
        sys.dont_write_bytecode = False
