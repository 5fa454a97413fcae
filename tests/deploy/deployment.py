"""A deployment of modal_app.py by the real `modal deploy`, run by Modal's real container entrypoint, on this machine.

The control plane is a local stand-in that not every checkout has beside it; tests say so and are skipped without it. A
GPU's container starts a simulated engine in place of the program `vllm`; web function, jobs, hooks, secrets, mounts,
proxy token and DynamoDB's API are what they are in life. Images are not built: the containers use this interpreter.
Snapshots are not taken: the hooks before and after one run in a row.
"""

import asyncio
import hashlib
import json
import os
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, ClassVar

import httpx
import pytest

import modal_app
from functions.inference.vllm import VllmModel
from functions.services import open_store
from tests.ministack import ministack

ROOT = Path(modal_app.__file__).parent
CONTROL_PLANE = ROOT.parent / "shared" / "tools" / "modal_offline.py"
TOKEN = "parley_test_token"
BEARER = {"Authorization": f"Bearer {TOKEN}"}
PROXY = {"Modal-Key": "wk-offline", "Modal-Secret": "ws-offline"}
AWS = {"AWS_ACCESS_KEY_ID": "test", "AWS_SECRET_ACCESS_KEY": "test"}
EACH = pytest.mark.parametrize("model", modal_app.MODELS, ids=lambda model: model.id)
NEEDS_CONTROL_PLANE = pytest.mark.skipif(
    not CONTROL_PLANE.is_file(), reason="no local stand-in for Modal's control plane beside this checkout"
)


@dataclass(frozen=True)
class Deployment:
    report: dict[str, Any]
    client_env: dict[str, str]  # for Modal's client: this control plane, no other
    source: Path
    store_url: str
    log: Path
    urls: dict[str, str]

    @property
    def web(self) -> str:
        return self.urls["web:"]

    def lines(self, container: str, word: str) -> list[str]:
        """What a container has said after `word`, line by line."""
        start = f"[{container}] {word} "
        return [line.removeprefix(start) for line in self.log.read_text().splitlines() if line.startswith(start)]

    def ask(self, server: str, method: str, path: str, **options: Any) -> httpx.Response:
        """A request to a model server by somebody with the proxy token, once it is up.

        In life nobody gets in before the hooks are over; this proxy lets them in as soon as the port is open.
        """
        url, until = self.urls[f"{server}:http"], time.monotonic() + 60
        while "/wake_up" not in self.lines(server, "HEARD") and time.monotonic() < until:
            httpx.get(f"{url}/health", headers=PROXY)  # the first one starts it
            time.sleep(0.05)
        return httpx.request(method, url + path, headers=PROXY, **options)

    def http(self, **headers: str) -> httpx.Client:
        return httpx.Client(base_url=self.web, headers=headers, timeout=30)

    def run(self, *arguments: str) -> "subprocess.CompletedProcess[str]":
        """Python with Modal's client, as somebody who deploys or calls."""
        return subprocess.run(
            [sys.executable, *arguments],
            cwd=self.source,
            env=self.client_env,
            check=False,
            capture_output=True,
            text=True,
            timeout=120,
        )


def class_of(model: VllmModel) -> str:
    server = modal_app.SERVERS[model.id]
    return next(name for name, value in vars(modal_app).items() if value is server)


@contextmanager
def deployed(folder: Path) -> Iterator[Deployment]:
    """The checkout, deployed and serving, beside DynamoDB's API and a model hub; all of it in `folder`."""
    source = make_checkout(folder / "checkout")
    # Containers hide /tmp; what stands for the image's programs must lie elsewhere.
    with (
        tempfile.TemporaryDirectory(dir="/var/tmp") as programs,
        ministack(folder) as dynamodb,
        FakeHub() as hub,
    ):
        install_fake_vllm(Path(programs))
        store_url = f"dynamodb://parley?region=us-east-1&endpoint={dynamodb}"
        make_tables(store_url)
        secret = AWS | {
            "PARLEY_STORE_URL": store_url,
            "PARLEY_ACCESS_TOKENS": f"alice={hashlib.sha256(TOKEN.encode()).hexdigest()}",
            "PARLEY_SECRET_KEY": "a secret key",
            "PARLEY_TITLES": "false",
            "PARLEY_MODEL_HEADERS": "{}",  # in full by --env: the option for secrets splits at commas
        }
        headers = json.dumps(PROXY)
        command = [sys.executable, str(CONTROL_PLANE), "modal_app.py", "--serve", "--list-files", "1000"]
        command += ["--secret", "parley:" + ",".join(f"{name}={value}" for name, value in secret.items())]
        kept = environment()
        command += ["--env", f"PARLEY_MODEL_HEADERS={headers}", "--env", f"PATH={programs}:{kept['PATH']}"]
        command += ["--env", f"HF_ENDPOINT={hub.url}"]
        log = folder / "modal.log"
        with log.open("wb") as stderr:
            process = subprocess.Popen(
                command, cwd=source, env=kept, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=stderr
            )
        assert process.stdin and process.stdout
        try:
            line = process.stdout.readline()
            assert line.startswith(b'{"ready"'), f"{line!r}{process.stdout.read()!r}\n{log.read_text()}"
            ready = json.loads(line)
            yield Deployment(
                ready["deploy"],
                kept
                | {"MODAL_SERVER_URL": ready["control_plane"], "MODAL_CONFIG_PATH": str(folder / "none.toml")}
                | dict(zip(("MODAL_TOKEN_ID", "MODAL_TOKEN_SECRET"), ready["token"], strict=True)),
                source,
                store_url,
                log,
                ready["urls"],
            )
        finally:
            process.stdin.close()  # it ends its containers, and itself
            try:
                process.wait(timeout=30)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
            process.stdout.close()


def environment() -> dict[str, str]:
    """This process's, without what would tell a deployment who we are."""
    return {name: value for name, value in os.environ.items() if not name.startswith(("PARLEY_", "AWS_", "MODAL_"))}


def deploy(source: Path, *arguments: str, programs: str = "") -> "tuple[int, dict[str, Any], str]":
    """Deploy a checkout, do what `arguments` say, and give status, report and log."""
    kept = environment()
    path = f"PATH={programs}:{kept['PATH']}"  # an image's own names its folders only, not this machine's
    command = [sys.executable, str(CONTROL_PLANE), "modal_app.py", "--env", path, *arguments]
    done = subprocess.run(command, cwd=source, env=kept, capture_output=True, text=True, timeout=120, check=False)
    return done.returncode, json.loads(done.stdout), done.stderr


def make_checkout(folder: Path) -> Path:
    """What `modal deploy` reads, with a stand-in for the client where that has not been built."""
    shutil.copytree(ROOT / "functions", folder / "functions", ignore=shutil.ignore_patterns("__pycache__", "*.gguf"))
    for name in ("modal_app.py", "pyproject.toml", "uv.lock"):
        shutil.copy(ROOT / name, folder / name)
    if (ROOT / "web/dist/index.html").is_file():
        shutil.copytree(ROOT / "web/dist", folder / "web/dist")
    else:
        (folder / "web/dist").mkdir(parents=True)
        (folder / "web/dist/index.html").write_text("<!doctype html><title>Parley</title>")
    return folder


def make_tables(store_url: str) -> None:
    """As `parley tables` does."""

    async def make() -> None:
        await (await open_store(store_url, create=True)).close()

    with pytest.MonkeyPatch.context() as patch:
        for name, value in AWS.items():
            patch.setenv(name, value)
        asyncio.run(make())


def install_fake_vllm(folder: Path) -> None:
    folder.chmod(0o755)
    for name in ("tests/simulated.py", "tests/deploy/fake_vllm.py"):
        shutil.copy(ROOT / name, folder)
    (folder / "vllm").write_text(f'#!/bin/sh\nexec {sys.executable} {folder}/fake_vllm.py "$@"\n')
    (folder / "vllm").chmod(0o755)


class FakeHub:
    """The model hub's wire, for one model; another's revision is unknown to it, and a third it refuses."""

    FILES: ClassVar = {"config.json": b"{}", "model.safetensors": bytes(3_000_000)}

    def __enter__(self) -> "FakeHub":
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), hub_handler(self.FILES))
        self.url = f"http://127.0.0.1:{self._server.server_port}"
        self._thread = threading.Thread(target=self._server.serve_forever, name="hub")
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


def hub_handler(files: dict[str, bytes]) -> type[BaseHTTPRequestHandler]:
    known, refused = modal_app.EVERYDAY, modal_app.EMBED

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            path = self.path.partition("?")[0]
            if path.startswith(f"/api/models/{refused.repo}/"):
                self.answer(b"", {}, status=403)
            elif path == f"/api/models/{known.repo}/tree/{known.revision}":
                tree = [
                    {"type": "file", "path": name, "size": len(data), "oid": hashlib.sha1(data).hexdigest()}
                    for name, data in files.items()
                ]
                self.answer(json.dumps(tree).encode(), {"Content-Type": "application/json"})
            elif path.startswith(f"/{known.repo}/resolve/{known.revision}/"):
                data = files[path.rpartition("/")[2]]
                headers = {"ETag": f'"{hashlib.sha256(data).hexdigest()}"', "X-Repo-Commit": known.revision}
                self.answer(data, headers)
            else:
                self.answer(b"", {"X-Error-Code": "RevisionNotFound"}, status=404)

        do_HEAD = do_GET

        def answer(self, body: bytes, headers: dict[str, str], status: int = 200) -> None:
            self.send_response(status)
            for name, value in {"Content-Length": str(len(body)), **headers}.items():
                self.send_header(name, value)
            self.end_headers()
            if self.command == "GET":
                self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            """Not into the test's output."""

    return Handler
