"""What modal_app.py says, checked without any control plane: numbers that must agree, doors that must be shut."""

import ast
import re
import subprocess
import sys
from pathlib import Path

import pytest
from fastapi import FastAPI

import modal_app
from functions.errors import BadInput
from functions.settings import RUN_SECONDS, Settings

ROOT = Path(modal_app.__file__).parent
GOOD = {
    "PARLEY_AUTH": "token",
    "PARLEY_ACCESS_TOKENS": "alice=00",
    "PARLEY_SECRET_KEY": "a secret key",
    "PARLEY_STORE_URL": "dynamodb://parley?region=us-east-1",
    "PARLEY_MODEL_URL": "http://127.0.0.1:9/v1",  # so that nobody asks Modal for the GPU's address
}


def flag(name: str) -> str:
    """The value that follows a flag in vLLM's command line."""
    return modal_app.VLLM[modal_app.VLLM.index(name) + 1]


# -- vLLM's command line ------------------------------------------------------------------------------------------


def test_vllm_serves_exactly_one_pinned_revision_under_our_name() -> None:
    assert modal_app.VLLM[:3] == ["vllm", "serve", modal_app.MODEL]
    assert re.fullmatch(r"[0-9a-f]{40}", flag("--revision"))
    assert flag("--served-model-name") == modal_app.MODEL_ID


def test_vllm_listens_where_modals_proxy_looks() -> None:
    assert flag("--host") == "0.0.0.0"
    assert flag("--port") == str(modal_app.LLM_PORT)


def test_modal_refuses_a_request_exactly_where_vllms_batch_is_full() -> None:
    assert flag("--max-num-seqs") == str(modal_app.MAX_STREAMS)
    assert modal_app.TARGET_STREAMS < modal_app.MAX_STREAMS  # another GPU starts before the first is full


def test_vllm_keeps_prefixes_prefills_in_chunks_and_counts_cached_tokens() -> None:
    switches = {word for word in modal_app.VLLM if word.startswith("--")}
    assert {"--enable-prefix-caching", "--enable-chunked-prefill", "--enable-prompt-tokens-details"} <= switches
    assert flag("--max-model-len") == str(modal_app.CONTEXT_TOKENS)


def test_vllm_never_logs_a_prompt_and_exposes_no_development_endpoints() -> None:
    assert not {"--enable-log-requests", "--enable-log-outputs", "--trust-remote-code"} & set(modal_app.VLLM)
    assert "VLLM_SERVER_DEV_MODE" not in Path(modal_app.__file__).read_text()


def test_a_request_may_last_as_long_as_a_run() -> None:
    assert modal_app.RUN_SECONDS > RUN_SECONDS


# -- doors --------------------------------------------------------------------------------------------------------


def test_the_web_function_comes_up_with_all_its_settings(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in GOOD.items():
        monkeypatch.setenv(name, value)

    app = modal_app.web.local()

    assert isinstance(app, FastAPI)
    assert "/chat/{chat_id}/completion" in app.openapi()["paths"]


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("PARLEY_AUTH", "local"),
        ("PARLEY_AUTH", ""),
        ("PARLEY_ACCESS_TOKENS", ""),
        ("PARLEY_SECRET_KEY", ""),
        ("PARLEY_STORE_URL", "sqlite:///parley.db"),
    ],
)
def test_the_web_function_refuses_to_come_up_open_or_forgetful(
    name: str, value: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for good, its_value in GOOD.items():
        monkeypatch.setenv(good, its_value)
    monkeypatch.setenv(name, value)

    with pytest.raises(BadInput, match=name):
        modal_app.web.local()


def test_without_any_settings_nothing_comes_up() -> None:
    with pytest.raises(BadInput, match="public"):
        modal_app.web.local()


async def test_a_model_url_leads_elsewhere_and_leaves_our_gpu_asleep() -> None:
    settings = Settings(model_url="http://gpu.example/v1", model_headers={"X-Key": "k"})

    node = await modal_app.way_to_model(settings)

    assert (node.url, node.headers, node.serverless) == ("http://gpu.example/v1", {"X-Key": "k"}, False)


# -- what the containers see --------------------------------------------------------------------------------------


def test_the_gpu_container_needs_nothing_of_ours() -> None:
    """Its image has vLLM and Modal's own client; the module must import there and know the server."""
    program = (
        "import sys\n"
        "sys.modules.update(functions=None, fastapi=None)\n"
        "import modal_app\n"
        "assert modal_app.LLM and modal_app.VLLM and not hasattr(modal_app, 'create_app')"
    )
    subprocess.run([sys.executable, "-c", program], cwd=ROOT, check=True, timeout=60)


def test_client_and_containers_see_the_same_objects() -> None:
    """Nothing at module level asks the environment or where it runs."""
    names = {
        node.attr if isinstance(node, ast.Attribute) else node.id
        for node in ast.walk(ast.parse(Path(modal_app.__file__).read_text()))
        if isinstance(node, ast.Attribute | ast.Name)
    }
    assert not names & {"environ", "getenv", "is_local", "exists", "is_file", "is_dir"}


async def test_the_smoke_test_fails_on_a_run_that_fails(capsys: pytest.CaptureFixture[str]) -> None:
    async def lines(*frames: str):  # type: ignore[no-untyped-def]  # an async generator of bytes
        for frame in frames:
            yield frame.encode() + b"\n"

    good = ("id: 1", "event: delta", 'data: {"text": "Hi.\\nMore."}', "", "event: done", "data: {}")
    assert await modal_app.tell(lines(*good), 0.0)
    assert "first token" in (printed := capsys.readouterr().out)
    assert printed.rstrip().endswith("done: Hi.")

    assert not await modal_app.tell(lines(*good[:3]), 0.0)  # cut: the caller attaches again
    with pytest.raises(RuntimeError, match="failed"):
        await modal_app.tell(lines(*good[:3], "event: failed", 'data: {"error": {"code": "internal"}}'), 0.0)
    with pytest.raises(RuntimeError, match="done"):
        await modal_app.tell(lines("event: done", "data: {}"), 0.0)
