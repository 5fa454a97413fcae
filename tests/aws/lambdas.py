"""Lambda functions under AWS's Runtime Interface Emulator and runtime client, as a container of theirs would run.

    with LambdaFunction("functions.workers.sqs.handler", environment, folder) as function:
        function.url     # takes an event, answers with what the handler returned
        function.kill()  # as an environment dies

Each of its environments takes one event at a time; like Lambda, a busy one does not get the next.
"""

import os
import queue
import signal
import socket
import subprocess
import sys
import threading
import time
import urllib.request
from collections.abc import Mapping
from contextlib import suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import TracebackType
from typing import Any, Self
from urllib.error import URLError

from tests.aws.tools import emulator

START_SECONDS = 60.0
INVOKE = "/2015-03-31/functions/function/invocations"


class LambdaFunction:
    """`environments`: how many there may be at once."""

    def __init__(
        self, handler: str, environment: Mapping[str, str], folder: Path, *, environments: int = 1, port: int = 0
    ) -> None:
        self.handler, self._environment, self._folder = handler, dict(environment), folder
        self._count = environments
        self._free: queue.Queue[tuple[int, subprocess.Popen[bytes]]] = queue.Queue()
        self._all: list[subprocess.Popen[bytes]] = []
        self._server = ThreadingHTTPServer(("127.0.0.1", port), _front(self))
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}/"
        self.invocations: list[bytes] = []

    def __enter__(self) -> Self:
        threading.Thread(target=self._server.serve_forever, daemon=True).start()
        return self

    def start(self, environment: Mapping[str, str] | None = None) -> None:
        self._environment |= dict(environment or {})
        for _ in range(self._count):
            self._free.put(self._launch())

    def _launch(self) -> tuple[int, "subprocess.Popen[bytes]"]:
        port, inner = free_port(), free_port()
        kept = {key: os.environ[key] for key in ("PATH", "HOME", "LANG") if key in os.environ}
        log = (self._folder / f"{self.handler}.{len(self._all)}.log").open("wb")
        command = [
            str(emulator()),
            "--runtime-interface-emulator-address",
            f"127.0.0.1:{port}",
            "--runtime-api-address",
            f"127.0.0.1:{inner}",
            sys.executable,
            "-W",
            "ignore",
            "-m",
            "awslambdaric",
            self.handler,
        ]
        timeout = {"AWS_LAMBDA_FUNCTION_TIMEOUT": self._environment.get("AWS_LAMBDA_FUNCTION_TIMEOUT", "60")}
        process = subprocess.Popen(
            command,
            env=kept | self._environment | timeout,
            cwd=self._folder,
            stdout=log,
            stderr=subprocess.STDOUT,
        )
        log.close()
        self._all.append(process)
        _await_port(port, process)
        return port, process

    def invoke(self, event: bytes) -> tuple[int, bytes]:
        """By the next environment that is free; one that has died is replaced."""
        self.invocations.append(event)
        port, process = self._free.get()
        if process.poll() is not None:
            port, process = self._launch()
        try:
            request = urllib.request.Request(f"http://127.0.0.1:{port}{INVOKE}", data=event, method="POST")
            with urllib.request.urlopen(request, timeout=900) as answer:
                return answer.status, answer.read()
        except (URLError, OSError) as error:
            return 500, str(error).encode()
        finally:
            self._free.put((port, process))

    def kill(self) -> None:
        """SIGKILL to every environment of now, at whatever it is."""
        for process in self._all:
            if process.poll() is None:
                for pid in (*children_of(process.pid), process.pid):  # the handler first: it is in a group of its own
                    with suppress(ProcessLookupError):
                        os.kill(pid, signal.SIGKILL)
                process.wait()

    def log(self) -> str:
        return "".join(path.read_text() for path in sorted(self._folder.glob(f"{self.handler}.*.log")))

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._server.shutdown()
        self._server.server_close()
        self.kill()


def _front(function: LambdaFunction) -> type[BaseHTTPRequestHandler]:
    class Front(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            status, body = function.invoke(self.rfile.read(int(self.headers["content-length"])))
            self.send_response(status)
            self.send_header("content-type", "application/json")
            self.send_header("content-length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: Any) -> None:
            """Not on the test's output."""

    return Front


def children_of(pid: int) -> list[int]:
    """Whichever of its threads began them."""
    lists = Path(f"/proc/{pid}/task").glob("*/children")
    return [int(child) for children in lists for child in children.read_text().split()]


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def _await_port(port: int, process: "subprocess.Popen[bytes]") -> None:
    deadline = time.monotonic() + START_SECONDS
    while process.poll() is None and time.monotonic() < deadline:
        try:
            socket.create_connection(("127.0.0.1", port), timeout=1).close()
        except OSError:
            time.sleep(0.02)  # a poll of another process, which has no other way to tell us
        else:
            return
    raise RuntimeError("the emulator did not start")
