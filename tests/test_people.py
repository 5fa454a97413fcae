"""`parley users` and `parley keys`, on a store that no Parley runs on; and what they made, at a Parley's door."""

import asyncio
import re
import time
from pathlib import Path

import pytest
from click.testing import CliRunner

from functions.chat.accounts import Accounts
from functions.cli import cli
from functions.services import open_store


def test_the_operator_invites_changes_and_revokes_on_the_store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    url = f"sqlite:///{tmp_path / 'parley.db'}"
    asyncio.run(_make(url))
    monkeypatch.setenv("PARLEY_STORE_URL", url)
    monkeypatch.setenv("PARLEY_AUTH", "token")
    monkeypatch.setenv("PARLEY_ACCESS_TOKENS", f"ann={'0' * 64}")

    def run(*words: str, ok: bool = True) -> str:
        outcome = CliRunner().invoke(cli, list(words))
        assert (outcome.exit_code == 0) is ok, (words, outcome.output, outcome.exception)
        return outcome.output or str(outcome.exception or "")

    invited = run("users", "invite", "Zoë", "--role", "admin", "--group", "staff")
    assert "already" in run("users", "invite", "ann", ok=False)
    assert "invited as admin" in run("users", "list")
    (secret,) = re.findall(r"/#/join/(\S+)", invited)
    asyncio.run(_join(url, secret))

    assert "Zoë  admin  active  staff" in run("users", "list", "zoë")
    assert "last admin" in run("users", "role", "Zoë", "member", ok=False)
    assert "last admin" in run("users", "suspend", "Zoë", ok=False)
    made = run("keys", "create", "Zoë", "backup", "--scope", "read", "--days", "9")
    (key_id,) = re.findall(r"^([0-9a-f-]{36})  backup  read$", made, re.MULTILINE)
    (key,) = re.findall(r"parley_sk_\S+", made)
    listed = run("keys", "list", "Zoë")
    assert key_id in listed
    assert key not in listed
    assert run("keys", "revoke", "Zoë", key_id)
    assert run("keys", "list", "Zoë") == ""
    assert "no such key" in run("keys", "revoke", "Zoë", key_id, ok=False)
    assert "no such user" in run("keys", "create", "nobody", "k", ok=False)
    assert "no such user" in run("users", "restore", "nobody", ok=False)


async def _make(url: str) -> None:
    await (await open_store(url)).close()


async def _join(url: str, secret: str) -> None:
    store = await open_store(url)
    try:
        await Accounts(store, lambda: time.time_ns() // 1_000_000).join(secret)
    finally:
        await store.close()
