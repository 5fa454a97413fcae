"""The servers under test as processes: started on their own core, measured by pid, ended by pid."""

import os
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

ROOT = Path(__file__).parent.parent.parent
Cores = tuple[set[int], set[int]]  # the server's, and the load generator's with the upstream


def cores() -> Cores:
    """One core for the server, another for everything else; on a machine with one, they share it."""
    allowed = sorted(os.sched_getaffinity(0))
    return {allowed[0]}, {allowed[-1]}


class Process:
    """What a running server has used. Linux only."""

    def __init__(self, pid: int, port: int) -> None:
        self.pid = pid
        self.address = ("127.0.0.1", port)

    def cpu_s(self) -> float:
        """User and system time of the process, its threads (also those that have ended) and its children."""
        return sum(time.clock_gettime((~pid << 3) | 2) for pid in self._family())  # clock_getcpuclockid(3)

    def rss_mb(self) -> float:
        return sum(_resident_kb(pid) for pid in self._family()) / 1024

    def _family(self) -> list[int]:
        family = [self.pid]
        for pid in family:  # grows while we walk it
            for path in Path(f"/proc/{pid}/task").glob("*/children"):
                family += map(int, path.read_text().split())
        return family


def _resident_kb(pid: int) -> int:
    status = Path(f"/proc/{pid}/status").read_text()
    return int(status.partition("VmRSS:")[2].split()[0])


@contextmanager
def serving(
    what: str, environment: Mapping[str, str], core: set[int], command: Sequence[str] = (), root: Path = ROOT
) -> Iterator[Process]:
    """`tests.bench.serve WHAT` on this core, until the block ends. `command` is put before the interpreter; `root` is
    the checkout that is served."""
    own = os.sched_getaffinity(0)
    os.sched_setaffinity(0, core)  # inherited, also by the threads it will start
    try:
        process = subprocess.Popen(
            [*command, sys.executable, "-m", "tests.bench.serve", what],
            cwd=root,
            env={**os.environ, **environment},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        )
    finally:
        os.sched_setaffinity(0, own)
    try:
        assert process.stdout is not None
        line = process.stdout.readline()
        if not line:
            raise RuntimeError(f"the {what} server did not start")
        yield Process(process.pid, int(line))
    finally:
        for pipe in (process.stdin, process.stdout):
            assert pipe is not None
            pipe.close()
        try:
            process.wait(5)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
