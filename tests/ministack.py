"""AWS's APIs as a real process on loopback, for tests: DynamoDB's alone, or all that a stack needs.

    with ministack(folder) as url:  # http://127.0.0.1:PORT

It keeps everything in memory, listens on 127.0.0.1 only, on a port that was free, and is ended by its pid.
"""

import os
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from urllib.error import URLError

START_SECONDS = 30.0  # imports take a second of CPU; a busy machine has been seen to take ten


@contextmanager
def ministack(folder: Path, services: str = "dynamodb", more: Mapping[str, str] | None = None) -> Iterator[str]:
    """Its files and its log go to `folder`; without `services` it has all it knows. `more`: of its environment."""
    port = _free_port()
    kept = {name: os.environ[name] for name in ("PATH", "HOME", "LANG") if name in os.environ}
    environment = kept | {
        "GATEWAY_PORT": str(port),
        "BIND_HOST": "127.0.0.1",
        "SERVICES": services,
        "LOG_LEVEL": "WARNING",
        "TMPDIR": str(folder),
        "S3_DATA_DIR": str(folder / "s3"),
        **(more or {}),
    }
    with (folder / "ministack.log").open("wb") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", "ministack"], env=environment, cwd=folder, stdout=log, stderr=subprocess.STDOUT
        )
    try:
        url = f"http://127.0.0.1:{port}"
        _await_health(process, f"{url}/_ministack/health", folder / "ministack.log")
        yield url
    finally:
        process.terminate()
        try:
            process.wait(timeout=10)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def _await_health(process: "subprocess.Popen[bytes]", url: str, log: Path) -> None:
    deadline = time.monotonic() + START_SECONDS
    while process.poll() is None and time.monotonic() < deadline:
        try:
            with urllib.request.urlopen(url, timeout=1):
                return
        except (URLError, OSError):
            time.sleep(0.05)  # a poll of another process, which has no other way to tell us
    raise RuntimeError(f"ministack did not start:\n{log.read_text()[-2000:]}")
