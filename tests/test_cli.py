"""The command line as a person meets it."""

import hashlib
import socket
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner

from functions.cli import cli
from tests.e2e.parley_process import ParleyProcess

SECRET = "sk-very-secret"


def test_it_refuses_to_open_the_door_without_sign_in(tmp_path: Path) -> None:
    refused = CliRunner().invoke(cli, ["dev", "--host", "0.0.0.0", "--data", str(tmp_path)])

    assert refused.exit_code == 2
    assert "PARLEY_AUTH=token" in refused.output


def test_a_token_is_shown_once_and_only_its_hash_is_for_the_server() -> None:
    made = CliRunner().invoke(cli, ["token", "ana"]).output

    secret = made.splitlines()[0].rsplit(" ", 1)[1]
    assert made.splitlines()[1] == f"PARLEY_ACCESS_TOKENS=ana={hashlib.sha256(secret.encode()).hexdigest()}"


def test_tables_are_made_only_for_dynamodb() -> None:
    refused = CliRunner().invoke(cli, ["tables"])

    assert refused.exit_code == 2
    assert "SQLite needs no tables" in refused.output


@pytest.mark.parametrize(
    ("settings", "says"),
    [
        ({"PARLEY_MODEL": "/nonexistent.gguf"}, "/nonexistent.gguf"),
        ({"PARLEY_STORE_URL": "mysql://x", "PARLEY_MODEL_URL": "http://127.0.0.1:9/v1"}, "mysql"),
        ({"PARLEY_RUNS_PER_MINUTE": "many"}, "runs_per_minute"),
        ({"PARLEY_STORE_URL": "[/]://x", "PARLEY_MODEL_URL": "http://127.0.0.1:9/v1"}, "[/]"),
        ({"PARLEY_NODES": "http://127.0.0.1:9/v1"}, '"nodes"'),
        ({"PARLEY_NODES": f'[{{"url": "x", "api_key": "{SECRET}"}}]'}, "nodes.0.url"),
        ({"PARLEY_POLICY": "/nonexistent.toml", "PARLEY_MODEL_URL": "http://127.0.0.1:9/v1"}, "/nonexistent.toml"),
    ],
)
def test_a_wrong_setting_is_a_sentence_not_a_trace(tmp_path: Path, settings: dict[str, str], says: str) -> None:
    command = [sys.executable, "-m", "functions.cli", "dev", "--no-browser", "--port", "0", "--data", str(tmp_path)]
    environment = {"PATH": "/usr/bin:/bin", "HOME": str(tmp_path), "PARLEY_WEB": "/nonexistent"} | settings
    refused = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=60, check=False)

    assert refused.returncode != 0
    assert says in refused.stderr.replace("\n", "")
    assert "Traceback" not in refused.stderr
    assert SECRET not in refused.stdout + refused.stderr


def test_a_taken_port_is_named(tmp_path: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = str(taken.getsockname()[1])
        command = [
            sys.executable,
            "-m",
            "functions.cli",
            "dev",
            "--no-browser",
            "--port",
            port,
            "--data",
            str(tmp_path),
        ]
        environment = {"PATH": "/usr/bin:/bin", "HOME": str(tmp_path)}
        environment |= {"PARLEY_WEB": "/nonexistent", "PARLEY_MODEL_URL": "http://127.0.0.1:9/v1"}
        refused = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=60, check=False)

    assert refused.returncode != 0
    assert f"{port} is taken" in refused.stderr
    assert "Traceback" not in refused.stderr


def test_it_starts_prints_one_url_and_stops_cleanly(tmp_path: Path) -> None:
    parley = ParleyProcess(tmp_path, model_url="http://127.0.0.1:9/v1", web="/nonexistent").ready()

    status = parley.interrupt()

    assert status == 0
    assert "".join(parley.said).count("http://127.0.0.1") == 2, "the model's address and ours"
    assert (tmp_path / "parley.db").stat().st_mode & 0o077 == 0, "nobody else may read the chats"


def test_the_doctor_says_what_is_there(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "functions.cli", "doctor", "--data", str(tmp_path)]
    told = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)

    assert "Embedded engine (xllamacpp" in told.stderr
    assert "Python 3." in told.stderr
