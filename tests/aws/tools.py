"""AWS's own tools, in an environment of their own: `uv venv .aws && uv pip install --python .aws -r infra/tools.txt`.

Where they are not there, what needs them is skipped; with REQUIRE_SAM it fails instead.
"""

import os
import subprocess
from collections.abc import Mapping
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
TEMPLATE = ROOT / "infra" / "template.yaml"
HOME = ROOT / ".aws"


def tool(name: str) -> Path:
    """The program, e.g. "sam"."""
    path = HOME / "bin" / name
    if not path.exists():
        if os.environ.get("REQUIRE_SAM"):
            raise FileNotFoundError(f"{path}: see {__file__}")
        pytest.skip("AWS's tools are not installed (.aws/, infra/tools.txt)")
    return path


def emulator() -> Path:
    """AWS's Runtime Interface Emulator; it comes with SAM."""
    tool("sam")
    (path,) = HOME.glob("lib/python*/site-packages/samcli/local/rapid/aws-lambda-rie-x86_64")
    path.chmod(0o755)
    return path


def call(name: str, *arguments: str, environment: Mapping[str, str] | None = None, within_s: float = 180) -> str:
    """What the program says. Its failure is the test's."""
    kept = {key: os.environ[key] for key in ("PATH", "HOME", "LANG") if key in os.environ}
    done = subprocess.run(
        [tool(name), *arguments],
        env=kept | {"SAM_CLI_TELEMETRY": "0"} | dict(environment or {}),
        cwd=TEMPLATE.parent,
        capture_output=True,
        text=True,
        check=False,
        timeout=within_s,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout
