"""The web client's own checks, run as part of the one test command: types, units, and its pages in Chromium."""

import subprocess
from pathlib import Path

import pytest

WEB = Path(__file__).parents[2] / "web"


def npm(*words: str, seconds: float) -> None:
    done = subprocess.run(
        ["npm", "--silent", *words], cwd=WEB, capture_output=True, text=True, timeout=seconds, check=False
    )
    # Playwright names each test as it begins; what is wrong is in the other lines.
    said = "\n".join(line for line in (done.stdout + done.stderr).splitlines() if not line.startswith("["))
    assert done.returncode == 0, f"npm {' '.join(words)}\n{said[-6000:]}"


@pytest.mark.usefixtures("web_client")
def test_its_types_hold() -> None:
    npm("run", "check", seconds=300)


@pytest.mark.usefixtures("web_client")
def test_its_units_hold() -> None:
    npm("test", seconds=300)


@pytest.mark.usefixtures("web_client", "chromium")
def test_its_pages_hold_in_a_browser() -> None:
    npm("run", "e2e", seconds=900)
