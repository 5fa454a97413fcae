"""modal_app.py deployed by the real `modal deploy` and run by Modal's real container entrypoint, on this machine.

The control plane is a local stand-in that not every checkout has beside it; without it these tests are skipped. The
GPU's container starts a simulated engine in place of the program `vllm`; web function, sweeper, secrets, mounts,
proxy token and DynamoDB's API are what they are in life. Images are not built: the containers use this interpreter.
"""

import asyncio
import hashlib
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest
from fastapi.testclient import TestClient

import modal_app
from functions.app import create_app
from functions.chat.messages import new_id
from functions.inference.nodes import Node, ServedModel
from functions.services import open_services, open_store
from functions.settings import Settings
from tests.house import parse_events, text_of
from tests.ministack import ministack

ROOT = Path(modal_app.__file__).parent
CONTROL_PLANE = ROOT.parent / "shared" / "tools" / "modal_offline.py"
TOKEN = "parley_test_token"
BEARER = {"Authorization": f"Bearer {TOKEN}"}
AWS = {"AWS_ACCESS_KEY_ID": "test", "AWS_SECRET_ACCESS_KEY": "test"}

pytestmark = pytest.mark.skipif(
    not CONTROL_PLANE.is_file(), reason="no local stand-in for Modal's control plane beside this checkout"
)

# What stands where the GPU image has `vllm`: it takes vLLM's own command line, and says so in the container's log.
FAKE_VLLM = """#!{python}
import asyncio, json, sys
from simulated import Scenario, SimulatedEngine

print("ARGV", json.dumps(sys.argv[1:]), flush=True)
flag = lambda name: sys.argv[sys.argv.index(name) + 1]

async def serve():
    scenario = Scenario(echo=True, tps=200)
    async with SimulatedEngine(scenario, models=(flag("--served-model-name"),), port=int(flag("--port"))):
        await asyncio.Event().wait()

asyncio.run(serve())
"""


@dataclass(frozen=True)
class Deployment:
    report: dict[str, Any]
    client_env: dict[str, str]  # for Modal's client: this control plane, no other
    source: Path
    store_url: str
    log: Path
    web: str
    llm: str

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
    with tempfile.TemporaryDirectory(dir="/var/tmp") as programs, ministack(folder) as dynamodb:
        install_fake_vllm(Path(programs))
        store_url = f"dynamodb://parley?region=us-east-1&endpoint={dynamodb}"
        make_tables(store_url)
        secret = AWS | {
            "PARLEY_STORE_URL": store_url,
            "PARLEY_ACCESS_TOKENS": f"alice={hashlib.sha256(TOKEN.encode()).hexdigest()}",
            "PARLEY_SECRET_KEY": "a secret key",
            "PARLEY_MODEL_HEADERS": "{}",  # in full by --env: the option for secrets splits at commas
        }
        headers = json.dumps({"Modal-Key": "wk-offline", "Modal-Secret": "ws-offline"})
        command = [sys.executable, str(CONTROL_PLANE), "modal_app.py", "--serve", "--list-files", "1000"]
        command += ["--secret", "parley:" + ",".join(f"{name}={value}" for name, value in secret.items())]
        kept = {name: value for name, value in os.environ.items() if not name.startswith(("PARLEY_", "AWS_", "MODAL_"))}
        command += ["--env", f"PARLEY_MODEL_HEADERS={headers}", "--env", f"PATH={programs}:{kept['PATH']}"]
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
                ready["urls"]["web:"],
                ready["urls"]["LLM:http"],
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
    shutil.copy(ROOT / "tests/simulated.py", folder / "simulated.py")
    (folder / "vllm").write_text(FAKE_VLLM.format(python=sys.executable))
    (folder / "vllm").chmod(0o755)


# -- what was registered ------------------------------------------------------------------------------------------


def test_the_gpu_is_one_that_sleeps_behind_a_proxy_token(deployment: Deployment) -> None:
    llm = deployment.report["functions"]["LLM"]

    assert (llm["kind"], llm["gpu"]) == ("server", ["L40S"])
    assert llm["server"]["proxy_auth"] is True
    assert llm["autoscaler"] == {"max_containers": 3, "scaledown_window": 300, "target_concurrency_float": 24.0}
    assert llm["concurrency"]["max"] == 32
    assert llm["startup_timeout"] == 15 * 60
    assert {path: mount["volume"] for path, mount in llm["volumes"].items()} == {
        "/root/.cache/huggingface": "parley-huggingface-cache",
        "/root/.cache/vllm": "parley-vllm-cache",
    }
    assert llm["secrets"] == []  # the model server knows none of ours


def test_the_sweeper_costs_little_and_the_web_function_takes_many(deployment: Deployment) -> None:
    functions = deployment.report["functions"]

    assert functions["sweep"]["schedule"] == {"period": {"minutes": 5}}
    assert functions["sweep"]["autoscaler"] == {"scaledown_window": 2}
    assert functions["web"]["concurrency"] == {"max": 100, "target": 80}
    assert functions["web"]["secrets"] == functions["sweep"]["secrets"] == ["parley"]
    assert not any("min_containers" in function["autoscaler"] for function in functions.values())
    assert deployment.report["warnings"] == []


def test_the_images_are_pinned(deployment: Deployment) -> None:
    images, functions = deployment.report["images"], deployment.report["functions"]
    gpu = images[functions["LLM"]["image"]]["dockerfile"]
    web = images[functions["web"]["image"]]["dockerfile"]

    assert any("vllm==0.32.0" in line for line in gpu)
    assert "ENTRYPOINT []" in gpu
    assert any("uv sync" in line and "--frozen" in line and "--no-dev" in line for line in web)
    assert "ENV PARLEY_AUTH=token" in web
    assert not any(":latest" in line for line in (*gpu, *web))


def test_every_data_file_of_the_package_is_in_the_web_image(deployment: Deployment) -> None:
    """Only the embedded model stays out: nobody runs it there."""
    wanted = {
        f"/root/functions/{path.relative_to(ROOT / 'functions')}"
        for path in (ROOT / "functions").rglob("*")
        if path.is_file() and path.suffix not in (".py", ".pyc") and "tiny" not in path.parts
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
    node = Node("http://127.0.0.1:9/v1", models=[ServedModel(id=modal_app.MODEL_ID)], serverless=True)
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


def test_a_chat_goes_through_web_function_proxy_and_model_server(deployment: Deployment) -> None:
    with deployment.http() as stranger:
        assert stranger.get("/livez").json() == {"status": "ok"}
        assert stranger.post("/chat", json={}).status_code == 401
        assert stranger.get("/status").status_code == 401
        assert "Parley" in stranger.get("/").text
    with deployment.http(**BEARER) as http:
        assert http.get("/readyz").status_code == 200
        chat_id = http.post("/chat", json={}).json()["id"]
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


def test_the_model_server_got_our_command_line_and_lets_no_stranger_in(deployment: Deployment) -> None:
    assert httpx.get(f"{deployment.llm}/v1/models").status_code == 401

    lines = [line for line in deployment.log.read_text().splitlines() if line.startswith("[LLM] ARGV")]
    assert lines
    assert json.loads(lines[0].split("ARGV ")[1]) == modal_app.VLLM[1:]


def test_the_smoke_test_passes_and_fails_by_its_status(deployment: Deployment) -> None:
    smoke = ("-m", "modal", "run", "--quiet", "modal_app.py", "--url", deployment.web, "--token")

    good = deployment.run(*smoke, TOKEN)
    bad = deployment.run(*smoke, "wrong")

    assert good.returncode == 0, good.stdout + good.stderr
    assert "first token" in good.stdout
    assert bad.returncode == 1
    assert "401" in bad.stdout + bad.stderr
