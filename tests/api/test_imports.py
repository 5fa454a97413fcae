"""Chats brought from elsewhere, over HTTP: what comes of good files, and of files that mean harm."""

import io
import json
import zipfile
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from functions.app import _most_bytes
from functions.settings import IMPORT_BYTES
from tests.house import Event, House, open_house, parse_events
from tests.importing.conversations import conversation, node, said, simple


@pytest.fixture
async def house(tmp_path: Path) -> AsyncIterator[House]:
    async with open_house(tmp_path) as house:
        yield house


async def bring(house: House, data: bytes, kind: str = "application/json") -> list[Event]:
    answer = await house.http.post("/import", content=data, headers={"content-type": kind})
    assert answer.status_code == 200, answer.text
    return parse_events(answer.text)


def zipped(files: dict[str, bytes]) -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in files.items():
            archive.writestr(name, data)
    return file.getvalue()


async def titles(house: House, archived: bool = False) -> list[str]:
    return [c["title"] for c in (await house.http.get("/chats", params={"archived": archived})).json()["data"]]


async def test_a_chatgpt_export_comes_whole_and_a_second_time_changes_nothing(house: House, tmp_path: Path) -> None:
    broken = conversation(title="Round", conversation_id="c-9")
    chats = [simple(1), simple(2), {**simple(3), "is_archived": True}, broken]
    data = zipped({
        "../../conversations.json": json.dumps(chats).encode(),
        "chat.html": b"<html>",
        "user.json": b'{"email": "a@b"}',
    })  # fmt: skip

    events = await bring(house, data, "application/zip")
    again = await bring(house, b"\xef\xbb\xbf \n" + json.dumps(chats).encode())

    assert {event.name for event in events[:-1]} == {"progress"}
    assert events[-1].name == "done"
    assert {name: events[-1].data[name] for name in ("chats", "messages", "skipped", "failures", "failed")} == {
        "chats": 3,
        "messages": 6,
        "skipped": 0,
        "failures": 1,
        "failed": [{"title": "Round", "reason": "empty"}],
    }
    assert (again[-1].data["chats"], again[-1].data["skipped"]) == (0, 3)
    assert await titles(house) == ["Chat 2", "Chat 1"]
    assert await titles(house, archived=True) == ["Chat 3"]
    one = (await house.http.get("/chats", params={"q": "hi 2"})).json()["data"][0]
    read = (await house.http.get(f"/chat/{one['id']}")).json()
    assert [(m["role"], m["content"], m["model"]) for m in read["messages"]] == [
        ("user", "Hello 2", None),
        ("assistant", "Hi 2", "gpt-4o"),
    ]
    await house.say(one["id"], "And now?")  # it goes on here
    prompt = house.engine.stats.requests[-1]["messages"]
    assert [m["content"] for m in prompt[1:]] == ["Hello 2", "Hi 2", "And now?"]
    places = (tmp_path, tmp_path.parent, tmp_path.parent.parent)
    assert not any((place / "conversations.json").exists() for place in places)  # where its name would lead


async def test_our_own_export_comes_back_as_it_was(house: House, tmp_path: Path) -> None:
    chat = await house.open_chat(title="Mine", system_prompt="Short.")
    await house.say(chat, "One")
    first = (await house.http.get(f"/chat/{chat}")).json()["messages"][1]["id"]
    await house.http.put(f"/chat/{chat}/messages/{first}/feedback", json={"rating": -1, "comment": "no"})
    await house.http.post(f"/chat/{chat}/completion", json={"regenerate": first})
    await house.http.patch(f"/chat/{chat}", json={"pinned": True})
    await house.http.patch("/me", json={"custom_instructions": "Be kind."})
    await house.http.post("/memories", json={"text": "I keep bees."})
    template = "/templates/0199c000-0000-7000-8000-000000000001"
    await house.http.put(template, json={"name": "Letter", "text": "Dear {{name}}"})
    await house.http.post(f"/chat/{chat}/share", json={})
    was = (await house.http.get(f"/chat/{chat}")).json()
    everything = (await house.http.get("/export")).content
    alone = (await house.http.get(f"/chat/{chat}/export")).content
    assert [one["chat_id"] for one in json.loads(everything)["shares"]] == [chat]

    (tmp_path / "new").mkdir()
    async with open_house(tmp_path / "new") as other:
        brought = (await bring(other, everything))[-1]
        assert brought.name == "done", brought
        assert {n: brought.data[n] for n in ("chats", "messages", "memories", "templates")} == {
            "chats": 1,
            "messages": 3,
            "memories": 1,
            "templates": 1,
        }
        assert (await other.http.get(f"/chat/{chat}")).json() == was
        assert (await other.http.get("/me")).json()["custom_instructions"] == "Be kind."
        assert [m["text"] for m in (await other.http.get("/memories")).json()["data"]] == ["I keep bees."]
        assert (await other.http.get("/shares")).json()["data"] == []  # a link is its house's own

        again = (await bring(other, everything))[-1].data
        assert (again["skipped"], again["memories"], again["templates"]) == (1, 0, 0)
        await other.http.delete(f"/chat/{chat}")
        assert (await bring(other, alone))[-1].data["chats"] == 1
        assert (await other.http.get(f"/chat/{chat}")).json() == was


def own(**changes: Any) -> dict[str, Any]:
    chat = "0199c000-0000-7000-8000-000000000000"
    one, two = (f"0199c000-0000-7000-8000-00000000000{n}" for n in (1, 2))
    when = "2026-01-01T00:00:00Z"
    message = {"chat_id": chat, "role": "user", "content": "Hi", "created_at": when}
    value: dict[str, Any] = {
        "format": "parley.chat.v1",
        "chat": {
            "id": chat,
            "title": "T",
            "model": None,
            "system_prompt": None,
            "created_at": when,
            "updated_at": when,
        },
        "messages": [message | {"id": one, "parent_id": None}, message | {"id": two, "parent_id": one}],
    }
    return value | changes


def forged(**fields: Any) -> dict[str, Any]:
    value = own()
    value["messages"][0] |= fields
    return value


async def test_chats_that_somebody_has_bent_are_named_and_the_others_come(house: House) -> None:
    second = own()["messages"][1]["id"]
    bad = [
        forged(parent_id=second),  # a circle
        forged(parent_id="0199c000-0000-7000-8000-0000000000ff"),
        forged(id=second),
        forged(id="../../etc"),
        forged(role="system"),
        forged(created_at="yesterday"),
        forged(content=7),
        own(chat=7),
    ]
    reasons = ["circular", *["damaged"] * 7]
    good = own()
    good["messages"][0]["content"] = "half a pair \ud800 and NUL \0"
    good["chat"] |= {"active_leaf": "0199c000-0000-7000-8000-0000000000ff", "active_run": "x", "temporary": True}
    data = {"format": "parley.export.v1", "memories": "none", "chats": [*bad, good]}

    brought = (await bring(house, json.dumps(data).encode()))[-1]

    assert [one["reason"] for one in brought.data["failed"]] == reasons
    assert (brought.name, brought.data["chats"]) == ("done", 1)
    read = (await house.http.get(f"/chat/{own()['chat']['id']}")).json()
    assert (read["active_leaf"], read["active_run"], read["temporary"]) == (second, None, False)
    assert read["messages"][0]["content"].startswith("half a pair ")


async def test_files_that_break_off_or_break_their_reader_are_told_with_a_sentence(house: House) -> None:
    nested = b'[{"mapping":' + b"[" * 200_000 + b"]" * 200_000 + b"}]"
    cut = (await bring(house, json.dumps([simple(1), simple(2)]).encode()[:-20]))[-1]
    # More than the parser bears: its process ends, and no other.
    deep = (await bring(house, nested))[-1]

    assert (cut.name, cut.data["trouble"], cut.data["chats"]) == ("failed", "damaged", 1)
    assert cut.data["message"].endswith(".")
    assert (deep.name, deep.data["chats"], deep.data["failures"]) == ("failed", 0, 0)
    assert deep.data["trouble"] in ("damaged", "too_large")
    assert (await house.http.get("/readyz")).status_code == 200
    empty = await house.http.post("/import", content=b"")
    assert (empty.status_code, empty.json()["error"]["code"]) == (400, "bad_input")


def test_only_a_file_may_be_larger_than_a_body() -> None:
    assert _most_bytes({"method": "POST", "path": "/import"}) == IMPORT_BYTES
    assert _most_bytes({"method": "GET", "path": "/import"}) == _most_bytes({"method": "POST", "path": "/import/"})


async def test_what_the_rails_block_is_kept_for_its_owner_and_shown_to_no_model(tmp_path: Path) -> None:
    policy = tmp_path / "policy.toml"
    policy.write_text('[banned_terms]\nterms = ["swarm"]\n')
    value = conversation(
        node("q", None, said("user", "The swarm plan")),
        node("a", "q", said("assistant", "Ah.")),
        node("q2", "a", said("user", "And honey?")),
        node("a2", "q2", said("assistant", "Yes.")),
    )
    async with open_house(tmp_path, policy=str(policy)) as house:
        assert (await bring(house, json.dumps([value]).encode()))[-1].data["chats"] == 1
        chat = (await house.http.get("/chats")).json()["data"][0]["id"]
        messages = (await house.http.get(f"/chat/{chat}")).json()["messages"]
        assert (messages[0]["content"], messages[0]["status"]) == ("The swarm plan", "blocked")

        await house.say(chat, "Go on")

        assert "swarm" not in json.dumps(house.engine.stats.requests)
        assert "honey" in json.dumps(house.engine.stats.requests)
