"""What ends: temporary chats, old ones, and everything of one user."""

import asyncio
import os
import signal
import subprocess
import sys
from datetime import timedelta
from hashlib import sha256
from pathlib import Path

import pytest
from click.testing import CliRunner

from functions.adapters.sqlite import SqliteStore
from functions.chat.messages import Chat, expiry_of, new_id, utc_now
from functions.cli import cli
from functions.services import open_store
from tests.contracts.belongings import fill, tables
from tests.house import House, open_house

ROOT = Path(__file__).parents[2]
SURE = {"confirm": "delete everything"}


def a_temporary_chat(hours_ago: float) -> Chat:
    when = utc_now() - timedelta(hours=hours_ago)
    return Chat(
        id=new_id(),
        title=None,
        model=None,
        system_prompt=None,
        created_at=when,
        updated_at=when,
        temporary=True,
        expires_at=expiry_of(True, when),
    )


async def test_a_temporary_chat_answers_is_not_listed_and_lives_a_day_from_its_last_message(house: House) -> None:
    opened = (await house.http.post("/chat", json={"temporary": True})).json()
    await house.say(opened["id"], "Hello")
    chat = (await house.http.get(f"/chat/{opened['id']}")).json()

    assert (opened["temporary"], chat["temporary"]) == (True, True)
    assert chat["expires_at"] > opened["expires_at"] > opened["created_at"]
    assert len(chat["messages"]) == 2
    for params in ({}, {"q": "Hello"}, {"archived": True}):
        assert (await house.http.get("/chats", params=params)).json()["data"] == []
    for change in ({"pinned": True}, {"archived": True}):
        assert (await house.http.patch(f"/chat/{opened['id']}", json=change)).status_code == 400
    assert (await house.http.patch(f"/chat/{opened['id']}", json={"title": "Kept"})).status_code == 200
    assert (await house.http.post("/chat", json={})).json()["temporary"] is False


async def test_an_expired_chat_is_gone_at_once_and_swept_by_and_by(tmp_path: Path) -> None:
    over, young = a_temporary_chat(25), a_temporary_chat(23)
    store = await SqliteStore.open(tmp_path / "parley.db")
    for chat in (over, young):
        await store.create_chat("local", chat)
    async with open_house(tmp_path) as house:
        said = {"message": {"id": new_id(), "content": "Hello"}}

        assert (await house.http.get(f"/chat/{over.id}")).status_code == 404
        assert (await house.http.post(f"/chat/{over.id}/completion", json=said)).status_code == 404
        assert (await house.http.get(f"/chat/{young.id}")).status_code == 200
        async with asyncio.timeout(10):  # the worker's first sweep
            while over.id in await stored(store):
                pass
    assert young.id in await stored(store)
    await store.close()


async def stored(store: SqliteStore) -> set[str]:
    return await store._readers.read(lambda db: {row[0] for row in db.execute("SELECT id FROM chats")})


async def test_chats_that_nobody_has_touched_for_so_long_end_where_the_operator_says_so(tmp_path: Path) -> None:
    when = utc_now() - timedelta(days=31)
    old, pinned = (
        Chat(
            id=new_id(),
            title="Old",
            model=None,
            system_prompt=None,
            created_at=when,
            updated_at=when,
            pinned=is_pinned,
        )
        for is_pinned in (False, True)
    )
    store = await SqliteStore.open(tmp_path / "parley.db")
    for chat in (old, pinned):
        await store.create_chat("local", chat)
    async with open_house(tmp_path) as house:  # keeps them
        assert len((await house.http.get("/chats")).json()["data"]) == 2
    async with open_house(tmp_path, chats_days=30) as house:
        async with asyncio.timeout(10):
            while old.id in await stored(store):
                pass
        assert [chat["id"] for chat in (await house.http.get("/chats")).json()["data"]] == [pinned.id]
    await store.close()


async def test_whoever_leaves_takes_everything_along_and_gets_a_receipt(tmp_path: Path) -> None:
    hashes = ",".join(f"{name}={sha256(name.encode()).hexdigest()}" for name in ("ana", "bo"))
    async with open_house(tmp_path, auth="token", access_tokens=hashes, tokens_per_day=10_000) as house:
        ana, bo = ({"authorization": f"Bearer {name}"} for name in ("ana", "bo"))
        chats = {}
        for who in (ana, bo):
            chat = chats[who["authorization"]] = (await house.http.post("/chat", json={}, headers=who)).json()["id"]
            said = {"message": {"id": new_id(), "content": "Remember that I live in Zürich."}}
            await house.http.post(f"/chat/{chat}/completion", json=said, headers=who)
        for body in ({}, {"confirm": "yes"}):
            assert (await house.http.request("DELETE", "/me", json=body, headers=ana)).status_code == 400

        receipt = await house.http.request("DELETE", "/me", json=SURE, headers=ana)

        assert receipt.status_code == 200
        counts = receipt.json()
        assert {name: counts[name] for name in ("chats", "messages", "runs", "memories", "ledger")} == {
            "chats": 1,
            "messages": 2,
            "runs": 1,
            "memories": 1,
            "ledger": 1,
        }
        assert (await house.http.get("/chats", headers=ana)).json()["data"] == []
        assert (await house.http.get(f"/chat/{chats[bo['authorization']]}", headers=bo)).status_code == 200
        assert len((await house.http.get("/memories", headers=bo)).json()["data"]) == 1
        again = await house.http.request("DELETE", "/me", json=SURE, headers=ana)
        # The operator's token still names her, so that to ask was to be seen anew.
        assert {kind: number for kind, number in again.json().items() if number} == {"users": 1}
    store = await open_store(house.settings.store_url)
    assert not any((await tables(store, "ana")).values())  # type: ignore[arg-type]  # the contract's Store is the same
    await store.close()


async def test_whoever_leaves_while_an_answer_is_written_leaves_nothing(tmp_path: Path) -> None:
    async with open_house(tmp_path, tokens_per_day=10_000) as house:
        house.engine.gate.hold(2)
        async with house.saying(await house.open_chat(), "Tell me a story") as listener:
            await listener.until("delta")
            receipt = await house.http.request("DELETE", "/me", json=SURE)
            house.engine.gate.release()
            await listener.rest()

        assert (receipt.json()["chats"], receipt.json()["messages"]) == (1, 2)
        assert (await house.http.get("/chats")).json()["data"] == []
        chat = await house.open_chat()  # and may come back
        assert (await house.say(chat, "Hello"))[-1].name == "done"
        await house.http.delete(f"/chat/{chat}")
        await house.http.request("DELETE", "/me", json=SURE)
    store = await open_store(house.settings.store_url)
    assert not any((await tables(store, "local")).values())  # type: ignore[arg-type]  # the same
    await store.close()


async def test_the_operator_deletes_a_user_and_reads_how_much_it_was(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PARLEY_STORE_URL", f"sqlite:///{tmp_path / 'parley.db'}")
    store = await SqliteStore.open(tmp_path / "parley.db")
    for owner in ("ana-the-first", "bo-the-second"):
        await fill(store, owner)

    def run(*arguments: str, answer: str = "") -> str:
        result = CliRunner().invoke(cli, ["users", "delete", *arguments], input=answer)
        return f"{result.exit_code}\n{result.output}"

    refused = await asyncio.to_thread(run, "ana-the-first", answer="n\n")
    assert refused.startswith("1\n")
    assert any((await tables(store, "ana-the-first")).values())
    told = await asyncio.to_thread(run, "ana-the-first", answer="y\n")
    again = await asyncio.to_thread(run, "ana-the-first", "--yes")

    assert "4  chats\n" in told
    assert "1  memories\n" in told
    assert "Nothing of 'ana-the-first' is left." in told
    assert again == "0\nThere was nothing of 'ana-the-first'.\n"
    assert not any((await tables(store, "ana-the-first")).values())
    assert any((await tables(store, "bo-the-second")).values())
    await store.close()


KILLED = """
import asyncio, os, signal, sys
from functions.adapters import sqlite_retention
from functions.services import open_store

async def main(url: str, owner: str) -> None:
    store = await open_store(url)
    erase = sqlite_retention.erase_chats
    def killed(db, owner):
        erase(db, owner)
        os.kill(os.getpid(), signal.SIGKILL)
    sqlite_retention.erase_chats = killed
    await store.erase_owner(owner, now_ms=1)

asyncio.run(main(*sys.argv[1:]))
"""


async def test_an_erasure_whose_process_is_killed_is_finished_by_the_next(tmp_path: Path) -> None:
    """The kill comes in the middle of a transaction, after half of the chats were deleted in it."""
    url, owner = f"sqlite:///{tmp_path / 'parley.db'}", "ana-the-first"
    store = await SqliteStore.open(tmp_path / "parley.db")
    await fill(store, owner)
    await fill(store, "bo-the-second")

    killed = await asyncio.to_thread(
        subprocess.run,
        [sys.executable, "-c", KILLED, url, owner],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )
    before = await tables(store, owner)
    receipt = await store.erase_owner(owner, now_ms=2)

    assert killed.returncode == -signal.SIGKILL
    assert before["chats"]
    assert receipt["chats"] == 4
    assert not any((await tables(store, owner)).values())
    assert (await tables(store, "bo-the-second"))["chats"]
    await store.close()
