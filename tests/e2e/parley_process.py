"""`parley dev` as a real process, to be killed."""

import os
import re
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


class ParleyProcess:
    """A running `parley dev`; `url` is what it printed."""

    def __init__(self, data: Path, **settings: str) -> None:
        environment = {name: value for name, value in os.environ.items() if not name.startswith("PARLEY_")}
        environment |= {"PARLEY_TITLES": "false"}  # a test counts the requests that it makes itself
        environment |= {f"PARLEY_{name.upper()}": value for name, value in settings.items()}
        command = [sys.executable, "-m", "functions.cli", "dev", "--port", "0", "--no-browser", "--data", str(data)]
        self.process = subprocess.Popen(command, env=environment, stderr=subprocess.PIPE, text=True)
        self.said: list[str] = []
        self._ready = threading.Event()
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()
        self.url = ""

    def _read(self) -> None:
        assert self.process.stderr
        for line in self.process.stderr:
            self.said.append(line)
            if found := re.search(r"Parley is ready: (http://\S+)", line):
                self.url = found[1]
                self._ready.set()
        self._ready.set()

    def ready(self) -> "ParleyProcess":
        assert self._ready.wait(60), "".join(self.said)
        assert self.url, "".join(self.said)
        return self

    def kill(self) -> None:
        """As the out-of-memory killer does it: no handler, no farewell."""
        os.kill(self.process.pid, signal.SIGKILL)
        self._end()

    def interrupt(self) -> int:
        """Ctrl-C."""
        self.process.send_signal(signal.SIGINT)
        self._end()
        return self.process.returncode

    def _end(self) -> None:
        self.process.wait(30)
        self._reader.join(10)
        assert self.process.stderr
        self.process.stderr.close()

    def close(self) -> None:
        if self.process.poll() is None:
            self.kill()
        elif self.process.stderr and not self.process.stderr.closed:
            self._end()


@contextmanager
def parley_dev(data: Path, **settings: str) -> Iterator[ParleyProcess]:
    parley = ParleyProcess(data, **settings)
    try:
        yield parley
    finally:
        parley.close()
