"""`parley pause` and `parley resume` on the store, and a Parley that runs on it and learns of them by itself."""

import asyncio
from pathlib import Path

import httpx
import pytest
from click.testing import CliRunner

from functions.chat import house as rules
from functions.cli import cli
from tests.house import House, open_house


async def operator(*words: str, ok: bool = True) -> str:
    outcome = await asyncio.to_thread(CliRunner().invoke, cli, list(words))  # a loop of its own
    assert (outcome.exit_code == 0) is ok, (words, outcome.output, outcome.exception)
    return outcome.output


async def ask(house: House) -> httpx.Response:
    body = {"model": "sim", "messages": [{"role": "user", "content": "hello"}]}
    return await house.http.post("/v1/chat/completions", json=body)


async def test_the_operator_pauses_on_the_store_and_those_who_run_on_it_notice(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rules, "LOOK_SECONDS", 0.0)  # five in life
    async with open_house(tmp_path) as house:
        chat = await house.open_chat()
        house.engine.gate.hold(1)
        async with house.saying(chat, "hello") as listener:
            await listener.until("delta")

            assert "Paused" in await operator("pause", "--reason", "  a leak  ", "--data", str(tmp_path))

            refused = await ask(house)
            assert (refused.status_code, refused.json()["error"]["code"]) == (503, "paused")
            assert "paused: a leak." in refused.json()["error"]["message"]
            assert (await house.http.get(f"/chat/{chat}")).status_code == 200
            assert (await house.http.get("/me")).json()["paused"]["reason"] == "a leak"
            stopped = await house.http.delete(f"/runs/{listener.run_id}")
            assert stopped.json()["status"] == "stopped"
            house.engine.gate.release()
        again = await operator("pause", "--data", str(tmp_path))
        assert "Paused" in again
        assert (await ask(house)).json()["error"]["message"].startswith("New messages are paused. ")

        assert "go on" in await operator("resume", "--data", str(tmp_path))
        assert (await ask(house)).status_code == 200
        assert "no pause" in await operator("resume", "--data", str(tmp_path))


async def test_where_there_is_no_store_nothing_is_paused_and_none_is_made(tmp_path: Path) -> None:
    for word in ("pause", "resume"):
        assert "no store" in await operator(word, "--data", str(tmp_path / "elsewhere"), ok=False)

    assert not (tmp_path / "elsewhere").exists()
