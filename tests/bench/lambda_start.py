"""What a cold start of each function of infra/template.yaml takes: `python -m tests.bench.lambda_start [--times 3]`.

CPU, because the machine may be busy and a function has a share of one: of the import, and from the start of the process
to its first answer (the API: /livez and then a chat's first page; the others: an event without records), under the
runtime client and emulator that AWS uses. The median of so many starts. On Lambda with 1,024 MB (0.58 of a CPU) divide
by 0.58; pulling the image comes on top and cannot be measured here.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import urllib.request
import uuid
from pathlib import Path

from tests.aws.lambdas import LambdaFunction, children_of, free_port
from tests.aws.stack import HANDLERS, KEYS, REGION
from tests.ministack import ministack

EVENTS = {"stream": {"Records": []}, "worker": {"Records": []}, "clock": {"do": "sweep"}}
MODULES = {"api": "functions.aws"} | {name: handler.rpartition(".")[0] for name, handler in HANDLERS.items()}
TICKS = os.sysconf("SC_CLK_TCK")


def cpu_ms(pid: int) -> float:
    """User and system time of a process and of the children that have ended."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return 1000 * sum(int(value) for value in fields[11:15]) / TICKS


def imported_ms(module: str) -> float:
    program = f"import time, {module}; print(1000 * time.process_time())"
    done = subprocess.run([sys.executable, "-W", "ignore", "-c", program], capture_output=True, text=True, check=True)
    return float(done.stdout)


def handler_ms(name: str, environment: dict[str, str], folder: Path) -> float:
    with LambdaFunction(HANDLERS[name], environment, folder) as function:
        function.start()
        status, answer = function.invoke(json.dumps(EVENTS[name]).encode())
        assert status == 200, answer
        (emulator,) = function._all
        return sum(cpu_ms(pid) for pid in children_of(emulator.pid))


def api_ms(environment: dict[str, str], folder: Path) -> float:
    port = free_port()
    command = [sys.executable, "-W", "ignore", "-m", "uvicorn", "--factory", "functions.aws:app", "--port", str(port)]
    with (folder / "api.log").open("ab") as log:
        process = subprocess.Popen(command, env=os.environ | environment, cwd=folder, stdout=log, stderr=log)
    try:
        for path in ("/livez", "/chats"):
            _asked(f"http://127.0.0.1:{port}{path}", process)
        return cpu_ms(process.pid)
    finally:
        process.terminate()
        process.wait(20)


def _asked(url: str, process: "subprocess.Popen[bytes]") -> None:
    while process.poll() is None:
        try:
            urllib.request.urlopen(url, timeout=30).close()
        except OSError:
            continue
        return
    raise RuntimeError("the API did not start")


def main(times: int) -> None:
    with tempfile.TemporaryDirectory() as name, ministack(Path(name), "") as url:
        folder, environment = Path(name), _prepared(url)

        say("function", "import", "first answer")
        for one, module in MODULES.items():
            imports = [imported_ms(module) for _ in range(times)]
            answers = [
                api_ms(environment, folder) if one == "api" else handler_ms(one, environment, folder)
                for _ in range(times)
            ]
            say(one, f"{statistics.median(imports):.0f}", f"{statistics.median(answers):.0f}")


def say(*columns: str) -> None:
    sys.stdout.write("".join(f"{column:>14}" for column in columns) + "\n")


def _prepared(url: str) -> dict[str, str]:
    """Tables that are there, as after a deploy."""
    store = f"dynamodb://start{uuid.uuid4().hex[:8]}?region={REGION}&endpoint={url}"
    environment = KEYS | {"AWS_REGION": REGION, "AWS_ENDPOINT_URL": url, "PARLEY_STORE_URL": store}
    subprocess.run([sys.executable, "-m", "functions.cli", "tables"], env=os.environ | environment, check=True)
    return environment


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--times", type=int, default=3)
    main(parser.parse_args().times)
