"""modal_app.py deployed by the real `modal deploy` and run by Modal's real container entrypoint, on this machine.

The control plane is a local stand-in that not every checkout has beside it; without it these tests are skipped. A
GPU's container starts a simulated engine in place of the program `vllm`; web function, jobs, hooks, secrets, mounts,
proxy token and DynamoDB's API are what they are in life. Images are not built: the containers use this interpreter.
Snapshots are not taken: the hooks before and after one run in a row.
"""

import asyncio
import hashlib
import json
import os
import re
import shutil
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from importlib.util import find_spec
from pathlib import Path
from typing import Any, ClassVar

import httpx
import pytest
from fastapi.testclient import TestClient

import modal_app
from functions.app import create_app
from functions.chat.messages import new_id
from functions.inference.nodes import Node, ServedModel
from functions.inference.vllm import VllmModel, serve_command
from functions.services import open_services, open_store
from functions.settings import Settings
from tests.house import parse_events, text_of
from tests.ministack import ministack

ROOT = Path(modal_app.__file__).parent
CONTROL_PLANE = ROOT.parent / "shared" / "tools" / "modal_offline.py"
TOKEN = "parley_test_token"
BEARER = {"Authorization": f"Bearer {TOKEN}"}
PROXY = {"Modal-Key": "wk-offline", "Modal-Secret": "ws-offline"}
AWS = {"AWS_ACCESS_KEY_ID": "test", "AWS_SECRET_ACCESS_KEY": "test"}

pytestmark = pytest.mark.skipif(
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


@pytest.fixture(scope="module")
def deployment(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Deployment]:
    folder = tmp_path_factory.mktemp("modal")
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
            "PARLEY_MODEL_HEADERS": "{}",  # in full by --env: the option for secrets splits at commas
        }
        headers = json.dumps(PROXY)
        command = [sys.executable, str(CONTROL_PLANE), "modal_app.py", "--serve", "--list-files", "1000"]
        command += ["--secret", "parley:" + ",".join(f"{name}={value}" for name, value in secret.items())]
        kept = {name: value for name, value in os.environ.items() if not name.startswith(("PARLEY_", "AWS_", "MODAL_"))}
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


# -- what was registered ------------------------------------------------------------------------------------------


EACH = pytest.mark.parametrize("model", modal_app.MODELS, ids=lambda model: model.id)


def class_of(model: VllmModel) -> str:
    server = modal_app.SERVERS[model.id]
    return next(name for name, value in vars(modal_app).items() if value is server)


@EACH
def test_a_model_has_a_gpu_that_sleeps_behind_a_proxy_token(deployment: Deployment, model: VllmModel) -> None:
    server, scaling = deployment.report["functions"][class_of(model)], modal_app.SCALING[model.id]

    assert (server["kind"], server["gpu"]) == ("server", [model.gpu])
    assert server["server"]["proxy_auth"] is True
    assert server["server"]["port"] == modal_app.PORTS[model.id]
    assert server["autoscaler"] == {
        "min_containers": 0,
        "buffer_containers": 0,
        "max_containers": scaling.max,
        "scaledown_window": scaling.idle_s,
        "target_concurrency_float": float(scaling.target),
    }
    assert server["concurrency"]["max"] == model.max_num_seqs  # Modal refuses exactly where vLLM's batch is full
    assert server["startup_timeout"] == 15 * 60
    assert server["memory_mb"] > model.weights_gb * 1000  # which lie there while it sleeps for its snapshot
    assert (server["memory_snapshot"], server["experimental_options"]) == (True, {"enable_gpu_snapshot": "True"})
    assert {path: mount["volume"] for path, mount in server["volumes"].items()} == {
        "/root/.cache/huggingface": "parley-huggingface-cache",
        "/root/.cache/vllm": "parley-vllm-cache",
    }
    assert server["secrets"] == []  # a model server knows none of ours
    assert {name for name in server["mounted"] if name != "/root/modal_app.py"} == {
        f"/root/functions/{name}" for name in modal_app.WHAT_RUNS_THERE
    }


def test_the_download_needs_no_gpu_and_no_secret(deployment: Deployment) -> None:
    download = deployment.report["functions"]["download"]

    assert (download["gpu"], download["secrets"], download["timeout"]) == ([], [], 2 * 60 * 60)
    assert list(download["volumes"]) == ["/root/.cache/huggingface"]


def test_the_warm_schedule_is_registered_and_off(deployment: Deployment) -> None:
    assert deployment.report["functions"]["keep_warm"]["schedule"] is None
    program = "import modal; print(modal.Function.from_name('parley', 'keep_warm').remote())"

    assert deployment.run("-c", program).stdout == "0\n", deployment.log.read_text()


def test_the_sweeper_costs_little_and_the_web_function_takes_many(deployment: Deployment) -> None:
    functions = deployment.report["functions"]

    assert functions["sweep"]["schedule"] == {"period": {"minutes": 5}}
    assert functions["sweep"]["autoscaler"] == {"scaledown_window": 2}
    assert functions["web"]["concurrency"] == {"max": 100, "target": 80}
    assert functions["web"]["secrets"] == functions["sweep"]["secrets"] == ["parley"]
    assert not any(function["autoscaler"].get("min_containers") for function in functions.values())
    assert deployment.report["warnings"] == []


def test_the_images_are_pinned(deployment: Deployment) -> None:
    images, functions = deployment.report["images"], deployment.report["functions"]
    gpu = images[functions["Everyday"]["image"]]["dockerfile"]
    hub = images[functions["download"]["image"]]["dockerfile"]
    web = images[functions["web"]["image"]]["dockerfile"]

    assert any("vllm==0.32.0" in line for line in gpu)
    assert any("huggingface-hub==2.4.0" in line for line in hub)
    assert "ENTRYPOINT []" in gpu
    assert any("uv sync" in line and "--frozen" in line and "--no-dev" in line for line in web)
    assert "ENV PARLEY_AUTH=token" in web
    assert not any(":latest" in line for line in (*gpu, *hub, *web))


def test_every_data_file_of_the_package_is_in_the_web_image(deployment: Deployment) -> None:
    """Only the embedded model stays out: nobody runs it there."""
    wanted = {
        f"/root/functions/{path.relative_to(ROOT / 'functions')}"
        for path in (ROOT / "functions").rglob("*")
        if path.is_file() and path.suffix not in (".pyc", ".gguf")
    }
    mounted = set(deployment.report["functions"]["web"]["mounted"])

    assert wanted <= mounted
    assert "/assets/index.html" in mounted


# -- what it does -------------------------------------------------------------------------------------------------


def test_the_sweeper_ends_a_run_whose_container_died(deployment: Deployment, monkeypatch: pytest.MonkeyPatch) -> None:
    """Before any request has started a web container: its own worker would be quicker."""
    for name, value in AWS.items():
        monkeypatch.setenv(name, value)
    hashed = hashlib.sha256(TOKEN.encode()).hexdigest()
    settings = Settings(store_url=deployment.store_url, auth="token", access_tokens=f"alice={hashed}", secret_key="k")
    node = Node("http://127.0.0.1:9/v1", models=[ServedModel(id=modal_app.EVERYDAY.id)], serverless=True)
    with TestClient(create_app(lambda: open_services(settings, [node])), headers=BEARER) as dying:
        chat_id = dying.post("/chat", json={}).json()["id"]
        body = {"message": {"id": new_id(), "content": "Is anybody there?"}, "mode": "async"}
        assert dying.post(f"/chat/{chat_id}/completion", json=body).status_code == 202

    program = "import modal; print(modal.Function.from_name('parley', 'sweep').remote())"
    swept = deployment.run("-c", program)

    assert swept.stdout == "1\n", swept.stderr + deployment.log.read_text()
    with deployment.http(**BEARER) as http:
        question, answer = http.get(f"/chat/{chat_id}").json()["messages"]
    assert question["content"] == "Is anybody there?"
    assert answer["status"] == "complete"


def test_a_stranger_gets_the_page_and_nothing_else(deployment: Deployment) -> None:
    with deployment.http() as stranger:
        assert stranger.get("/livez").json() == {"status": "ok"}
        assert stranger.post("/chat", json={}).status_code == 401
        assert stranger.get("/status").status_code == 401
        assert "Parley" in stranger.get("/").text


@pytest.mark.parametrize("model", [modal_app.EVERYDAY, modal_app.CAPABLE], ids=lambda model: model.id)
def test_a_chat_goes_through_web_function_proxy_and_the_model_it_names(
    deployment: Deployment, model: VllmModel
) -> None:
    with deployment.http(**BEARER) as http:
        assert http.get("/readyz").status_code == 200
        chat_id = http.post("/chat", json={"model": model.id}).json()["id"]
        body = {"message": {"id": new_id(), "content": "Who is there?"}}
        arrivals: list[float] = []
        text = ""
        with http.stream("POST", f"/chat/{chat_id}/completion", json=body) as stream:
            for chunk in stream.iter_text():
                arrivals.append(time.monotonic())
                text += chunk

        events = parse_events(text)
        assert [events[0].name, events[-1].name] == ["run", "done"]
        assert len(arrivals) > 1  # it streamed
        answer = text_of(events)
        assert answer
        stored = http.get(f"/chat/{chat_id}").json()
        assert [(message["role"], message["content"]) for message in stored["messages"]] == [
            ("user", "Who is there?"),
            ("assistant", answer),
        ]
    (started,) = deployment.lines(class_of(model), "ARGV")
    assert json.loads(started) == serve_command(model, modal_app.PORTS[model.id])[1:]


def test_people_choose_among_the_models_that_chat(deployment: Deployment) -> None:
    with deployment.http(**BEARER) as http:
        listed = http.get("/v1/models").json()["data"]

    assert [model["id"] for model in listed] == ["qwen3-4b-instruct", "qwen3-30b-a3b-instruct"]


def test_a_server_is_warmed_up_put_to_sleep_and_woken_before_anybody_is_let_in(deployment: Deployment) -> None:
    question = {"model": modal_app.MODERATE.id, "messages": [{"role": "user", "content": "Is this safe?"}]}

    answer = deployment.ask("Moderator", "POST", "/v1/chat/completions", json=question)

    assert answer.json()["choices"][0]["message"]["content"]
    chat = "/v1/chat/completions"
    assert deployment.lines("Moderator", "HEARD") == [chat, chat, chat, "/sleep level=1", "/wake_up", chat]
    (switches,) = deployment.lines("Moderator", "SWITCHES")
    assert json.loads(switches)["VLLM_SERVER_DEV_MODE"] == "1"


def test_an_embedder_answers_with_vectors_and_was_warmed_up_with_them(deployment: Deployment) -> None:
    answer = deployment.ask(
        "Embedder", "POST", "/v1/embeddings", json={"model": modal_app.EMBED.id, "input": ["a", "b"]}
    )

    assert sorted(row["index"] for row in answer.json()["data"]) == [0, 1]
    assert deployment.lines("Embedder", "HEARD")[:5] == [*["/v1/embeddings"] * 3, "/sleep level=1", "/wake_up"]


@EACH
def test_a_model_server_lets_no_stranger_in_and_nobody_behind_the_door(
    deployment: Deployment, model: VllmModel
) -> None:
    name = class_of(model)
    assert httpx.get(deployment.urls[f"{name}:http"] + "/v1/models").status_code == 401

    assert deployment.ask(name, "GET", "/v1/models").json()["data"][0]["id"] == model.id
    for path in ("/sleep", "/collective_rpc", "/v1/load_lora_adapter"):  # the proxy comes from 127.0.0.1
        assert deployment.ask(name, "POST", path).status_code == 404


# -- download -----------------------------------------------------------------------------------------------------

has_hub = pytest.mark.skipif(find_spec("huggingface_hub") is None, reason="huggingface_hub is not installed here")


def download(deployment: Deployment, model: str) -> "subprocess.CompletedProcess[str]":
    program = f"import modal; print(modal.Function.from_name('parley', 'download').remote({model!r}))"
    return deployment.run("-c", program)


def test_a_download_of_a_model_that_is_not_ours_says_which_are(deployment: Deployment) -> None:
    failed = download(deployment, "gpt")

    assert failed.returncode == 1
    assert "No model is called 'gpt'. There are: qwen3-4b-instruct, qwen3-30b-a3b-instruct" in failed.stderr


@has_hub
def test_a_download_fetches_each_file_once_and_says_so(deployment: Deployment) -> None:
    first = download(deployment, modal_app.EVERYDAY.id)
    again = download(deployment, modal_app.EVERYDAY.id)

    assert (first.stdout, again.stdout) == ("2\n", "0\n"), first.stderr + again.stderr
    said = [line for line in deployment.log.read_text().splitlines() if line.startswith("[download]")]
    what = f"{modal_app.EVERYDAY.repo} at {modal_app.EVERYDAY.revision}"
    assert f"[download] {what}: 2 of 2 files to fetch, 3.0 MB" in said
    assert f"[download] {what}: 0 of 2 files to fetch, 0.0 MB" in said
    assert any(line.startswith("[download]   2/2 model.safetensors: 3.0 MB, ") for line in said)


@has_hub
def test_a_revision_that_does_not_exist_is_named(deployment: Deployment) -> None:
    failed = download(deployment, modal_app.CAPABLE.id)

    assert failed.returncode == 1
    what = f"{modal_app.CAPABLE.repo} at {modal_app.CAPABLE.revision}"
    assert f"The hub does not have {what}: check the models in modal_app.py." in failed.stderr


@has_hub
def test_a_download_that_is_cut_says_that_it_goes_on(deployment: Deployment) -> None:
    failed = download(deployment, modal_app.EMBED.id)

    assert failed.returncode == 1
    assert f"{modal_app.EMBED.repo} at {modal_app.EMBED.revision} could not be fetched" in failed.stderr
    assert "Run it again: it goes on there." in failed.stderr


# -- last: `modal run` takes the deployed functions' place at this control plane -----------------------------------


def test_the_smoke_test_passes_and_fails_by_its_status(deployment: Deployment) -> None:
    smoke = ("-m", "modal", "run", "--quiet", "modal_app.py", "--url", deployment.web, "--token")

    good = deployment.run(*smoke, TOKEN)
    bad = deployment.run(*smoke, "wrong")

    assert good.returncode == 0, good.stdout + good.stderr
    assert "first token" in good.stdout
    assert bad.returncode == 1
    assert "401" in bad.stdout + bad.stderr


class FakeHub:
    """The model hub's wire, for one model; another's revision is unknown, and a third's connection is cut."""

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
    known, cut = modal_app.EVERYDAY, modal_app.EMBED

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            path = self.path.partition("?")[0]
            if path.startswith(f"/api/models/{cut.repo}/"):
                self.close_connection = True
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
                self.send_response(404)
                self.send_header("X-Error-Code", "RevisionNotFound")
                self.send_header("Content-Length", "0")
                self.end_headers()

        do_HEAD = do_GET

        def answer(self, body: bytes, headers: dict[str, str]) -> None:
            self.send_response(200)
            for name, value in {"Content-Length": str(len(body)), **headers}.items():
                self.send_header(name, value)
            self.end_headers()
            if self.command == "GET":
                self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            """Not into the test's output."""

    return Handler


# -- deployments that differ --------------------------------------------------------------------------------------


def deploy(source: Path, *arguments: str, programs: str = "") -> "tuple[int, dict[str, Any], str]":
    """Deploy a checkout, do what `arguments` say, and give status, report and log."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("PARLEY_", "AWS_", "MODAL_"))}
    path = f"PATH={programs}:{kept['PATH']}"  # an image's own names its folders only, not this machine's
    command = [sys.executable, str(CONTROL_PLANE), "modal_app.py", "--env", path, *arguments]
    done = subprocess.run(command, cwd=source, env=kept, capture_output=True, text=True, timeout=120, check=False)
    return done.returncode, json.loads(done.stdout), done.stderr


def test_the_warm_schedule_keeps_a_replica_awake_when_there_is_money_for_it(tmp_path: Path) -> None:
    source = make_checkout(tmp_path / "checkout")
    text = (source / "modal_app.py").read_text()
    hours = 'WorkingHours(time_zone="UTC", opens=0, closes=24, days=(0, 1, 2, 3, 4, 5, 6))'
    text, switched = re.subn(r"^WARM_USD_PER_DAY = .*$", "WARM_USD_PER_DAY = 1000.0", text, flags=re.M)
    text, opened = re.subn(r"^WARM_HOURS = .*$", f"WARM_HOURS = {hours}", text, flags=re.M)
    (source / "modal_app.py").write_text(text)
    assert (switched, opened) == (1, 1)

    status, report, log = deploy(source, "--call", "keep_warm")

    assert status == 0, log
    assert report["functions"]["keep_warm"]["schedule"] == {"cron": {"cron_string": "*/5 * * * *", "timezone": "UTC"}}
    assert report["calls"][0]["result"] == 1  # what Modal's autoscaler has answered


def test_a_module_that_an_image_leaves_out_fails_in_its_container(tmp_path: Path) -> None:
    """Or the tests above would prove nothing: a container has only what the app uploaded."""
    source = make_checkout(tmp_path / "checkout")
    text = (source / "modal_app.py").read_text()
    whole = 'ignore=["**/*.gguf"]'
    assert text.count(whole) == 1
    without = 'ignore=["**/*.gguf", "**/pricing.py"]'
    (source / "modal_app.py").write_text(text.replace(whole, without))

    status, report, _ = deploy(source, "--call", "keep_warm")

    assert status == 2
    assert "functions.inference.pricing" in "".join(report["calls"][0]["error"])


def test_without_snapshots_a_server_starts_plainly_and_cannot_sleep(tmp_path: Path) -> None:
    source = make_checkout(tmp_path / "checkout")
    text = (source / "modal_app.py").read_text()
    text, switched = re.subn(r"^SNAPSHOTS = True$", "SNAPSHOTS = False", text, flags=re.M)
    with socket.socket() as probe:  # containers here share the network, and the port may be in use
        probe.bind(("127.0.0.1", 0))
        text, moved = re.subn(r"MODERATE\.id: \d+", f"MODERATE.id: {probe.getsockname()[1]}", text)
    (source / "modal_app.py").write_text(text)
    assert (switched, moved) == (1, 1)
    with tempfile.TemporaryDirectory(dir="/var/tmp") as programs:
        install_fake_vllm(Path(programs))
        request = ("--request", "Moderator", "GET", "/v1/models")

        status, report, log = deploy(source, *request, programs=programs)

    assert status == 0, log
    assert report["requests"][0]["status"] == 200
    moderator = report["functions"]["Moderator"]
    assert (moderator["memory_snapshot"], moderator["experimental_options"]) == (False, {})
    assert "--enable-sleep-mode" not in log
    assert '"VLLM_SERVER_DEV_MODE": "0"' in log
