"""The restore drill: everything of everybody out of one store, and into an empty one of the other kind."""

import asyncio
import hashlib
import json
import os
from pathlib import Path

import pytest
from click.testing import CliRunner

from functions.archives import owner_of, path_for
from functions.cli import cli
from functions.services import open_store
from tests.contracts.makers import NASTY, a_chat, a_memory, a_message, a_template
from tests.house import open_house
from tests.importing.conversations import simple

LONG = "苏" * 64  # as an invitation allows, and too long for the name of a file


@pytest.fixture
def runner(monkeypatch: pytest.MonkeyPatch) -> CliRunner:
    for name in [name for name in os.environ if name.startswith("PARLEY_")]:
        monkeypatch.delenv(name)
    return CliRunner()


async def test_what_is_exported_from_sqlite_is_restored_into_dynamodb(
    tmp_path: Path, ministack: str, runner: CliRunner
) -> None:
    odd = "ann/../ö %#"
    async with open_house(tmp_path) as old:
        chat = await old.open_chat(title="A walk", system_prompt="Short.")
        await old.say(chat, "One")
        answer = (await old.http.get(f"/chat/{chat}")).json()["messages"][1]["id"]
        await old.http.put(f"/chat/{chat}/messages/{answer}/feedback", json={"rating": 1})
        await old.http.post(f"/chat/{chat}/completion", json={"regenerate": answer})
        put_away = await old.open_chat(title="Put away")
        await old.say(put_away, "Two")
        await old.http.patch(f"/chat/{put_away}", json={"archived": True})
        await old.http.post("/memories", json={"text": "I keep bees."})
        was = {one: (await old.http.get(f"/chat/{one}")).json() for one in (chat, put_away)}
        sqlite = old.settings.store_url
    store = await open_store(sqlite)
    strange = a_chat(title=NASTY)
    message = a_message(strange.id, content=NASTY.replace("\0", ""))
    await store.import_chat(odd, strange, (message,))
    await store.put_memory(odd, a_memory(NASTY.replace("\0", "")))
    await store.put_template(odd, a_template())
    await store.put_memory(LONG, a_memory("I am long."))
    await store.close()
    dynamo = f"dynamodb://restored?region=eu-central-1&endpoint={ministack}"
    await (await open_store(dynamo, create=True)).close()
    folder = tmp_path / "backup"

    out = await in_thread(runner, sqlite, "export", "--all", str(folder))
    files = sorted(folder.iterdir())
    into = await in_thread(runner, dynamo, "import", str(folder))
    again = await in_thread(runner, dynamo, "import", str(folder))

    assert "local" in out
    assert {path.stat().st_mode & 0o777 for path in files} == {0o600}
    assert {path.suffix for path in files} == {".json", ".owner"}  # nothing half done
    assert len(files) == 4  # no name leads out of it
    assert "local: 2 chats with 5 messages, 0 there already, 1 memories" in into
    assert "local: 0 chats with 0 messages, 2 there already, 0 memories" in again
    async with open_house(tmp_path, store_url=dynamo) as new:
        for one, detail in was.items():
            assert (await new.http.get(f"/chat/{one}")).json() == detail
        listed = (await new.http.get("/chats")).json()["data"]
        assert [one["id"] for one in listed] == [chat]
        await new.say(chat, "And it goes on")
    store = await open_store(dynamo)
    assert (await store.list_messages(odd, strange.id)).data == (message,)
    assert len(await store.list_memories(odd)) == len(await store.list_templates(odd)) == 1
    assert [memory.text for memory in await store.list_memories(LONG)] == ["I am long."]
    await store.close()


async def in_thread(runner: CliRunner, url: str, *words: str) -> str:
    """The command in a thread: it has an event loop of its own."""
    result = await asyncio.to_thread(runner.invoke, cli, words, env={"PARLEY_STORE_URL": url})
    assert result.exit_code == 0, result.output
    return result.output


def test_a_file_is_brought_for_whom_the_operator_says_and_what_failed_is_told(
    tmp_path: Path, runner: CliRunner
) -> None:
    url = f"sqlite:///{tmp_path / 'parley.db'}"
    (tmp_path / "parley.db").touch()
    file = tmp_path / "conversations.json"
    file.write_text(json.dumps([simple(1), {"title": "Bent"}]))

    result = runner.invoke(cli, ["import", str(file), "--owner", "ann"], env={"PARLEY_STORE_URL": url})

    assert result.exit_code == 1
    assert "ann: 1 chats with 2 messages" in result.output
    assert "damaged: 'Bent'" in result.output
    for words in (["import", str(file)], ["import", str(tmp_path), "--owner", "ann"], ["export"]):
        assert runner.invoke(cli, words, env={"PARLEY_STORE_URL": url}).exit_code == 2


def test_every_owner_has_a_file_of_their_own_and_its_name_fits(tmp_path: Path) -> None:
    shas = hashlib.sha256(LONG.encode()).hexdigest()
    owners = [
        LONG,
        LONG[1:] + "黎",
        "𠀀" * 64,
        "x" * 240,
        "x" * 241,
        "x" * 245,
        "\r\n" * 64,
        "x" * 1024,
        f"%-{shas}",
        f"~{shas}",
        "..",
    ]
    paths = [path_for(owner, tmp_path) for owner in owners]
    for path in paths:
        path.with_name(f"{path.name}.part").write_bytes(b"")  # as it is written
        path.with_name(f"{path.name}.part").rename(path)

    assert len(set(paths)) == len(owners)
    assert [owner_of(path) for path in paths] == owners
