"""What modal_app.py says, checked without any control plane: numbers that must agree, doors that must be shut."""

import ast
import os
import re
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path

import pytest
from fastapi import FastAPI

import modal_app
from functions.errors import BadInput
from functions.inference.vllm import VllmModel, kv_tokens
from functions.settings import RUN_SECONDS, Settings

ROOT = Path(modal_app.__file__).parent
SOURCE = Path(modal_app.__file__).read_text()
GOOD = {
    "PARLEY_AUTH": "token",
    "PARLEY_ACCESS_TOKENS": "alice=00",
    "PARLEY_SECRET_KEY": "a secret key",
    "PARLEY_STORE_URL": "dynamodb://parley?region=us-east-1",
    "PARLEY_MODEL_URL": "http://127.0.0.1:9/v1",  # so that nobody asks Modal for the GPU's address
}


LLMS = [modal_app.EVERYDAY, modal_app.CAPABLE]
EACH = pytest.mark.parametrize("model", modal_app.MODELS, ids=lambda model: model.id)


# -- the tables ---------------------------------------------------------------------------------------------------


@EACH
def test_a_model_is_open_pinned_and_named(model: VllmModel) -> None:
    assert re.fullmatch(r"[\w.-]+/[\w.-]+", model.repo)
    assert re.fullmatch(r"[0-9a-f]{40}", model.revision)
    assert model.licence == "Apache-2.0"
    assert model.name
    assert model.name != model.id


@EACH
def test_a_model_fits_its_gpu_with_room_for_every_request_of_a_batch(model: VllmModel) -> None:
    tokens = kv_tokens(model)

    assert tokens >= 2 * model.context_tokens  # the longest chat alone never fills it
    assert tokens // model.max_num_seqs >= 2000


@EACH
def test_another_replica_starts_before_the_first_is_full_and_can_be_replaced(model: VllmModel) -> None:
    scaling = modal_app.SCALING[model.id]

    assert 0 < scaling.target < model.max_num_seqs
    assert scaling.max >= 2  # with one, Modal cannot replace a replica while it serves
    assert (scaling.min, scaling.buffer) == (0, 0)  # nothing bills around the clock


@EACH
def test_the_table_says_what_a_day_costs_at_worst(model: VllmModel) -> None:
    worst = modal_app.price(model) * modal_app.SCALING[model.id].max * 86_400
    row = next(line for line in SOURCE.splitlines() if line.strip().startswith(f"{const_of(model)}.id: Scaling("))

    assert row.endswith(f"# ${worst:.2f} a day")
    assert f"${worst:.2f}" in (ROOT / "docs/decisions/0006-models-on-modal.md").read_text()


def const_of(model: VllmModel) -> str:
    return next(name for name, value in vars(modal_app).items() if value is model)


def test_chat_is_what_two_models_do_and_the_first_of_all_is_the_default() -> None:
    assert [model.task for model in modal_app.MODELS] == ["chat", "chat", "embed", "moderate"]
    assert {model.id for model in LLMS} < set(modal_app.SERVERS) == set(modal_app.SCALING) == set(modal_app.PORTS)
    assert len(set(modal_app.PORTS.values())) == len(modal_app.MODELS)


def test_models_that_chat_take_tools_and_none_thinks_where_nobody_sees() -> None:
    for model in LLMS:
        assert model.tool_parser == "hermes"
        assert model.reasoning_parser is None
        assert "Instruct-2507" in model.repo  # these never think


def test_a_request_may_last_as_long_as_a_run() -> None:
    assert modal_app.RUN_SECONDS > RUN_SECONDS


def test_the_warm_schedule_is_off_and_its_hours_exist() -> None:
    assert modal_app.WARM_USD_PER_DAY == 0
    assert modal_app.WARM_HOURS.window(datetime(2026, 11, 20, 12, tzinfo=UTC))
    assert modal_app.WARM_MODEL in modal_app.MODELS
    assert 60 % (modal_app.WARM_PERIOD_SECONDS // 60) == 0  # or cron's hours would not be even


# -- nodes --------------------------------------------------------------------------------------------------------


def test_a_node_knows_what_it_costs_and_how_many_it_takes() -> None:
    settings = Settings(model_headers={"Modal-Key": "k"})

    node = modal_app.node_of(modal_app.CAPABLE, "https://gpu.example/v1", settings)

    assert (node.name, node.gpu, node.serverless) == ("qwen3-30b-a3b-instruct@H100", "H100", True)
    assert node.headers == {"Modal-Key": "k"}
    assert node.usd_per_second == pytest.approx(0.001097, rel=0.12)  # the GPU; processor and memory on top
    assert node.usd_per_second > 0.001097
    assert (node.streams, node.slots) == (64, 128)
    assert [(served.id, served.task, served.context_tokens) for served in node.models] == [
        ("qwen3-30b-a3b-instruct", "chat", 32_768)
    ]


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


async def test_a_model_url_leads_elsewhere_and_leaves_our_gpus_asleep() -> None:
    further = {"url": "http://more.example/v1", "name": "more", "usd_per_hour": 3.6}
    settings = Settings(model_url="http://gpu.example/v1", model_headers={"X-Key": "k"}, nodes=(further,))

    node, more = await modal_app.ways_to_models(settings)

    assert (node.url, node.headers, node.serverless) == ("http://gpu.example/v1", {"X-Key": "k"}, False)
    assert (more.name, more.url, more.usd_per_second) == ("more", "http://more.example/v1", 0.001)


# -- what the containers see --------------------------------------------------------------------------------------


def test_the_gpus_container_needs_little_of_ours_and_no_time_zones(tmp_path: Path) -> None:
    """Its image has vLLM and Modal's client, and a base without a time-zone database."""
    for name in (*modal_app.WHAT_RUNS_THERE, "../modal_app.py"):
        here = tmp_path / "functions" / name
        here.parent.mkdir(parents=True, exist_ok=True)
        here.write_bytes((ROOT / "functions" / name).read_bytes())
    (tmp_path / "web/dist").mkdir(parents=True)
    program = (
        "import sys; sys.path.insert(0, '.'); sys.modules.update(fastapi=None, msgspec=None, tzdata=None)\n"
        "import modal_app, functions\n"
        "assert functions.__file__.startswith(sys.argv[1]), functions.__file__\n"
        "assert modal_app.Everyday and modal_app.Embedder and not hasattr(modal_app, 'create_app')"
    )
    command = [sys.executable, "-W", "error", "-c", program, str(tmp_path)]

    subprocess.run(command, cwd=tmp_path, env=os.environ | {"PYTHONTZPATH": ""}, check=True, timeout=60)


def test_client_and_containers_see_the_same_objects() -> None:
    """Nothing at module level asks the environment or where it runs."""
    names = {
        node.attr if isinstance(node, ast.Attribute) else node.id
        for node in ast.walk(ast.parse(SOURCE))
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
