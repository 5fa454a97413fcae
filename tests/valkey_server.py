"""A real Valkey or Redis server on loopback, for tests: Debian's own.

    with valkey_server(folder) as server:  # server.url: redis://127.0.0.1:PORT/0

It keeps everything in memory, listens on 127.0.0.1 only, on a port that was free, and is ended by its pid.
"""

import os
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

START_SECONDS = 20.0


def program() -> str | None:
    return shutil.which("valkey-server") or shutil.which("redis-server")


@dataclass
class ValkeyServer:
    port: int
    process: "subprocess.Popen[bytes]"

    @property
    def url(self) -> str:
        return f"redis://127.0.0.1:{self.port}/0"

    def hang(self) -> None:
        """It takes connections, and answers nothing any more."""
        self.process.send_signal(signal.SIGSTOP)

    def go_on(self) -> None:
        self.process.send_signal(signal.SIGCONT)

    def stop(self) -> None:
        self.process.kill()
        self.process.wait()


@contextmanager
def valkey_server(folder: Path, *options: str, port: int = 0) -> Iterator[ValkeyServer]:
    """Its log goes to `folder`; `options` are its own."""
    found = program()
    assert found, "no Valkey or Redis server: apt install redis-server"
    port = port or _free_port()
    kept = {name: os.environ[name] for name in ("PATH", "HOME", "LANG") if name in os.environ}
    quiet = ["--bind", "127.0.0.1", "--port", str(port), "--save", "", "--appendonly", "no", "--dir", str(folder)]
    with (folder / "valkey.log").open("wb") as log:
        command = [found, *quiet, *options]
        server = ValkeyServer(port, subprocess.Popen(command, env=kept, stdout=log, stderr=subprocess.STDOUT))
    try:
        _await_port(server, folder / "valkey.log")
        yield server
    finally:
        server.stop()


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def _await_port(server: ValkeyServer, log: Path) -> None:
    deadline = time.monotonic() + START_SECONDS
    while server.process.poll() is None and time.monotonic() < deadline:
        try:
            with socket.create_connection(("127.0.0.1", server.port), timeout=1):
                return
        except OSError:
            time.sleep(0.01)  # a poll of another process, which has no other way to tell us
    raise RuntimeError(f"the server did not start:\n{log.read_text()[-2000:]}")
