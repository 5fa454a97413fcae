"""How vLLM is asked to serve a model, what its door lets in, and the life of its process: all on real sockets."""

import asyncio
import json
import os
import select
import socket
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import httpx
import pytest
import uvicorn

from functions.inference import vllm
from functions.inference.vllm import DOOR_HEADER, DOOR_KEY, Door, VllmDied, VllmModel, VllmServer, serve_command

ROOT = Path(vllm.__file__).parents[2]
MODEL = VllmModel(
    repo="someone/model",
    revision="0" * 40,
    id="model",
    name="A model",
    licence="Apache-2.0",
    gpu="L4",
    weights_gb=5.2,
    kv_bytes_per_token=144 * 1024,
    context_tokens=4096,
    max_num_seqs=24,
)


def value(command: list[str], flag: str) -> str:
    assert command.count(flag) == 1, f"{flag} in {command}"
    return command[command.index(flag) + 1]


# -- the file, where nothing of ours is installed -----------------------------------------------------------------


@pytest.mark.parametrize("module", ["functions.inference.vllm", "functions.inference.schedule"])
def test_what_the_gpus_image_takes_needs_nothing_but_pythons_own_library(module: str) -> None:
    """Without site-packages nothing else can be imported; what matters is that nothing else of ours is."""
    program = f"import sys; sys.path.insert(0, {str(ROOT)!r}); import {module}; print(*sys.modules)"
    bare = [sys.executable, "-I", "-S", "-W", "error", "-c", program]

    loaded = subprocess.run(bare, check=True, capture_output=True, text=True, timeout=60).stdout.split()

    assert {name for name in loaded if name.startswith("functions")} == {"functions", "functions.inference", module}


# -- the command line ---------------------------------------------------------------------------------------------


def test_a_pinned_model_is_served_under_our_name_behind_the_door() -> None:
    command = serve_command(MODEL, 8890)

    assert command[:3] == ["vllm", "serve", "someone/model"]
    assert value(command, "--revision") == "0" * 40
    assert value(command, "--served-model-name") == "model"
    assert (value(command, "--host"), value(command, "--port")) == ("0.0.0.0", "8890")
    assert value(command, "--middleware") == "functions.inference.vllm.Door"


def test_the_batch_is_bounded_and_no_graph_is_captured_beyond_it() -> None:
    command = serve_command(MODEL, 8890)

    assert value(command, "--max-num-seqs") == value(command, "--max-cudagraph-capture-size") == "24"
    assert value(command, "--max-model-len") == "4096"
    assert {"--enable-prefix-caching", "--enable-chunked-prefill", "--enable-prompt-tokens-details"} <= set(command)


def test_a_prompt_is_never_logged_and_no_code_of_a_model_is_run() -> None:
    switches = {"--enable-log-requests", "--enable-log-outputs", "--trust-remote-code"}

    assert not switches & set(serve_command(replace(MODEL, tool_parser="hermes", lora_rank=8), 8890))


def test_each_feature_is_a_flag_that_is_absent_without_it() -> None:
    plain = serve_command(MODEL, 8890)
    everything = serve_command(
        replace(
            MODEL,
            quantization="fp8_per_tensor",
            kv_cache_dtype="fp8",
            speculation={"method": "ngram", "num_speculative_tokens": 4},
            lora_rank=16,
            tool_parser="hermes",
            reasoning_parser="qwen3",
            can_sleep=True,
            extra=("--seed", "7"),
        ),
        8890,
    )

    assert value(everything, "--quantization") == "fp8_per_tensor"
    assert (value(everything, "--kv-cache-dtype"), value(plain, "--kv-cache-dtype")) == ("fp8", "auto")
    assert json.loads(value(everything, "--speculative-config")) == {"method": "ngram", "num_speculative_tokens": 4}
    assert value(everything, "--max-lora-rank") == "16"
    assert value(everything, "--tool-call-parser") == "hermes"
    assert value(everything, "--reasoning-parser") == "qwen3"
    assert everything[-2:] == ["--seed", "7"]
    gone = {"--quantization", "--speculative-config", "--enable-lora", "--tool-call-parser", "--reasoning-parser"}
    assert not (gone | {"--enable-auto-tool-choice", "--enable-sleep-mode"}) & set(plain)
    assert {"--enable-sleep-mode", "--enable-auto-tool-choice", "--enable-lora"} <= set(everything)


def test_structured_output_names_its_backend_and_allows_no_endless_white_space() -> None:
    config = json.loads(value(serve_command(MODEL, 8890), "--structured-outputs-config"))

    assert config == {"backend": "xgrammar", "disable_any_whitespace": True}


def test_a_fast_boot_compiles_nothing() -> None:
    command = serve_command(replace(MODEL, fast_boot=True), 8890)

    assert "--enforce-eager" in command
    assert "--max-cudagraph-capture-size" not in command


def test_an_embedder_pools_and_generates_nothing() -> None:
    command = serve_command(replace(MODEL, task="embed"), 8890)

    assert (value(command, "--runner"), value(command, "--convert")) == ("pooling", "embed")
    assert not {"--structured-outputs-config", "--enable-prompt-tokens-details"} & set(command)


def test_a_folder_has_no_revision_and_no_flag_is_empty() -> None:
    command = serve_command(replace(MODEL, repo="/models/tiny", revision=""), 8890, program="/venv/bin/vllm")

    assert command[:3] == ["/venv/bin/vllm", "serve", "/models/tiny"]
    assert "--revision" not in command
    assert all(command)


def test_what_fits_beside_the_weights_is_counted_in_tokens() -> None:
    # 22.5 GiB × 0.9 − 5.2 GB − 2.5 GiB = 12.9 GiB, at 144 KiB
    assert vllm.kv_tokens(MODEL) == pytest.approx(94_000, rel=0.01)
    assert vllm.kv_tokens(replace(MODEL, weights_gb=31.2)) < 0


# -- the door -----------------------------------------------------------------------------------------------------


@asynccontextmanager
async def behind_door(key: str | None, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[tuple[httpx.AsyncClient, Any]]:
    """A server that answers every path, behind the door; and an event without which it does not stream on."""
    go_on = asyncio.Event()

    async def app(scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] == "lifespan":
            for _ in range(2):
                kind = (await receive())["type"]
                await send({"type": f"{kind}.complete"})
            return
        await send({"type": "http.response.start", "status": 200, "headers": [(b"content-type", b"text/event-stream")]})
        await send({"type": "http.response.body", "body": b"data: 1\n\n", "more_body": True})
        if scope["path"] == "/v1/chat/completions":
            await go_on.wait()
        await send({"type": "http.response.body", "body": b"data: 2\n\n"})

    if key is not None:
        monkeypatch.setenv(DOOR_KEY, key)
    server = uvicorn.Server(uvicorn.Config(Door(app), port=0, log_config=None, lifespan="on"))
    task = asyncio.create_task(server.serve())
    while not server.started:
        await asyncio.sleep(0.005)
    port = server.servers[0].sockets[0].getsockname()[1]
    async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}") as http:
        yield http, go_on
    server.should_exit = True
    await task


async def test_strangers_get_the_open_paths_and_nothing_else(monkeypatch: pytest.MonkeyPatch) -> None:
    shut = [
        "/sleep",
        "/wake_up",
        "/collective_rpc",
        "/update_weights",
        "/v1/load_lora_adapter",
        "/invocations",
        "/docs",
    ]
    shut += ["//sleep", "/v1/models/../../sleep", "/v1/chat/completions/", "/V1/models", "/v1/models%2f", "/", "/v1"]
    async with behind_door("the key", monkeypatch) as (http, go_on):
        go_on.set()
        for path in sorted(vllm.OPEN_PATHS):
            assert (await http.get(path)).status_code == 200, path
            assert (await http.post(f"{path}?a=b")).status_code == 200, path
        for path in shut:
            for headers in ({}, {DOOR_HEADER: "wrong"}, {DOOR_HEADER: ""}, {"X-Forwarded-For": "127.0.0.1"}):
                response = await http.post(path, headers=headers)
                assert response.status_code == 404, path
                assert response.json()["error"]["code"] == "not_found"


async def test_the_key_opens_everything_and_only_once(monkeypatch: pytest.MonkeyPatch) -> None:
    async with behind_door("the key", monkeypatch) as (http, _):
        assert (await http.post("/sleep", headers={DOOR_HEADER: "the key"})).status_code == 200
        twice = [(DOOR_HEADER, "wrong"), (DOOR_HEADER, "the key")]
        assert (await http.post("/sleep", headers=twice)).status_code == 404


async def test_without_a_key_of_its_own_the_door_opens_to_no_key(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(DOOR_KEY, raising=False)
    async with behind_door(None, monkeypatch) as (http, _):
        assert (await http.post("/sleep", headers={DOOR_HEADER: ""})).status_code == 404
        assert (await http.get("/health")).status_code == 200


async def test_a_stream_goes_through_the_door_as_it_comes(monkeypatch: pytest.MonkeyPatch) -> None:
    async with (
        behind_door("the key", monkeypatch) as (http, go_on),
        http.stream("POST", "/v1/chat/completions", json={}) as response,
    ):
        chunks = response.aiter_raw()
        assert await asyncio.wait_for(anext(chunks), 10) == b"data: 1\n\n"  # the server has not said the second yet
        go_on.set()
        assert b"".join([chunk async for chunk in chunks]) == b"data: 2\n\n"


async def test_a_websocket_is_refused() -> None:
    said: list[Any] = []

    async def send(message: Any) -> None:
        said.append(message)

    await Door(pytest.fail)({"type": "websocket", "path": "/v1/realtime", "headers": []}, pytest.fail, send)

    assert said == [{"type": "websocket.close", "code": 1008}]


# -- the process --------------------------------------------------------------------------------------------------

Start = Callable[..., VllmServer]


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Start]:
    """Starts the stand-in program as vLLM; what it says is in `vllm.log`."""
    started: list[VllmServer] = []
    program = tmp_path / "vllm"
    log = tmp_path / "vllm.log"
    run = f"cd {ROOT} && exec {sys.executable} -m tests.deploy.fake_vllm"
    program.write_text(f'#!/bin/sh\nexec > {log} 2>&1\n{run} "$@"\n')
    program.chmod(0o755)

    def start(model: VllmModel = MODEL, **options: Any) -> VllmServer:
        server = VllmServer(model, free_port(), program=str(program), host="127.0.0.1", **options)
        started.append(server)
        server.start()
        return server

    yield start
    for server in started:
        server.stop()


def heard(folder: Path) -> list[str]:
    lines = (folder / "vllm.log").read_text().splitlines()
    return [line.removeprefix("HEARD ").strip() for line in lines if line.startswith("HEARD ")]


def test_a_server_starts_answers_sleeps_wakes_and_stops(start: Start, tmp_path: Path) -> None:
    server = start(replace(MODEL, can_sleep=True))
    server.wait_until_healthy(60)
    server.warm_up()
    server.sleep()
    assert httpx.post(f"{server.url}/v1/chat/completions", json={}).status_code == 503  # it does sleep
    server.wake_up()

    body = {"model": "model", "messages": [{"role": "user", "content": "Hi"}]}
    assert httpx.post(f"{server.url}/v1/chat/completions", json=body).status_code == 200
    assert httpx.post(f"{server.url}/sleep").status_code == 404  # who is not inside cannot put it to sleep
    chat = "/v1/chat/completions"
    assert heard(tmp_path) == [chat, chat, chat, "/sleep level=1", chat, "/wake_up", chat]
    assert server.is_running
    server.stop()
    assert not server.is_running
    with pytest.raises(httpx.ConnectError):
        httpx.get(f"{server.url}/health")
    server.stop()  # again is nothing


def test_an_embedder_is_warmed_up_with_embeddings(start: Start, tmp_path: Path) -> None:
    server = start(replace(MODEL, task="embed"))
    server.wait_until_healthy(60)
    server.warm_up()

    assert heard(tmp_path) == ["/v1/embeddings"] * 3


def test_switches_that_open_doors_are_off_unless_asked_for(
    start: Start, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("VLLM_SERVER_DEV_MODE", "1")  # somebody's shell

    start().wait_until_healthy(60)

    said = next(line for line in (tmp_path / "vllm.log").read_text().splitlines() if line.startswith("SWITCHES"))
    assert json.loads(said.removeprefix("SWITCHES")) == {
        "VLLM_SERVER_DEV_MODE": "0",
        "VLLM_ALLOW_RUNTIME_LORA_UPDATING": "0",
        "TORCHINDUCTOR_COMPILE_THREADS": None,
    }


def test_an_adapter_is_loaded_through_the_door_only(start: Start, tmp_path: Path) -> None:
    server = start(replace(MODEL, lora_rank=8))
    server.wait_until_healthy(60)

    with pytest.raises(RuntimeError, match="404 to /v1/load_lora_adapter"):  # heard, and not known there
        server.load_adapter("mine", "/adapters/mine")
    assert httpx.post(f"{server.url}/v1/load_lora_adapter", json={}).status_code == 404

    assert heard(tmp_path) == ["/v1/load_lora_adapter"]  # ours reached it, the other did not


def test_a_process_that_dies_fails_the_start_at_once_and_says_how(tmp_path: Path) -> None:
    dying = tmp_path / "vllm"
    dying.write_text("#!/bin/sh\nexit 3\n")
    dying.chmod(0o755)
    server = VllmServer(MODEL, free_port(), program=str(dying))
    server.start()

    started = time.monotonic()
    with pytest.raises(VllmDied, match="model ended with status 3"):
        server.wait_until_healthy(600)

    assert time.monotonic() - started < 60  # of the ten minutes that it might have waited
    assert not server.is_running
    server.stop()


def test_a_start_that_takes_too_long_is_given_up(tmp_path: Path) -> None:
    slow = tmp_path / "vllm"
    slow.write_text("#!/bin/sh\nexec sleep 600\n")
    slow.chmod(0o755)
    server = VllmServer(MODEL, free_port(), program=str(slow))
    server.start()
    try:
        with pytest.raises(TimeoutError, match="not ready within 0 s"):
            server.wait_until_healthy(0)
    finally:
        server.stop()


def test_its_workers_end_with_it(tmp_path: Path) -> None:
    parent = tmp_path / "vllm"
    whole = f"echo $! > {tmp_path}/new && mv {tmp_path}/new {tmp_path}/worker"
    parent.write_text(f"#!/bin/sh\nsleep 600 &\n{whole}\nwait\n")
    parent.chmod(0o755)
    server = VllmServer(MODEL, free_port(), program=str(parent))
    server.start()
    while not (tmp_path / "worker").exists():
        time.sleep(0.005)
    worker = os.pidfd_open(int((tmp_path / "worker").read_text()))

    server.stop()

    ended, _, _ = select.select([worker], [], [], 30)
    os.close(worker)
    assert ended


def test_a_refusal_does_not_quote_what_was_said(start: Start) -> None:
    server = start()
    server.wait_until_healthy(60)

    with pytest.raises(RuntimeError) as refused:
        server.ask("/no/such/path", {"prompt": "a secret prompt"})

    assert str(refused.value) == "vLLM answered 404 to /no/such/path."
    assert refused.value.__cause__ is None


def test_nothing_is_asked_of_a_server_that_was_not_started() -> None:
    server = VllmServer(MODEL, 1)

    with pytest.raises(RuntimeError, match="not been started"):
        server.wake_up()
    server.stop()
