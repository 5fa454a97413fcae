"""The list of memories over HTTP, and the switch."""

from hashlib import sha256
from pathlib import Path

from functions.chat.messages import new_id
from tests.house import House, open_house


async def add(house: House, text: str) -> str:
    answer = await house.http.post("/memories", json={"text": text})
    assert answer.status_code == 201, answer.text
    memory_id: str = answer.json()["id"]
    return memory_id


async def texts(house: House) -> list[str]:
    return [memory["text"] for memory in (await house.http.get("/memories")).json()["data"]]


async def test_memories_are_written_changed_and_deleted_by_hand(house: House) -> None:
    made = await house.http.post("/memories", json={"text": "  I prefer short answers.  "})
    memory = made.json()
    changed = await house.http.patch(f"/memories/{memory['id']}", json={"text": "I live in Zürich."})

    assert (made.status_code, changed.status_code) == (201, 200)
    assert {name: memory[name] for name in ("text", "kind", "chat_id", "message_id")} == {
        "text": "I prefer short answers.",
        "kind": "preference",
        "chat_id": None,
        "message_id": None,
    }
    assert (changed.json()["kind"], changed.json()["created_at"]) == ("fact", memory["created_at"])
    assert await texts(house) == ["I live in Zürich."]
    assert (await house.http.delete(f"/memories/{memory['id']}")).status_code == 204
    assert (await house.http.delete(f"/memories/{memory['id']}")).status_code == 404
    assert await texts(house) == []


async def test_the_list_is_paged_newest_first_and_deleted_as_a_whole(house: House) -> None:
    for thing in ("tea", "snow", "trains"):
        await add(house, f"I like {thing}.")

    first = (await house.http.get("/memories", params={"limit": 2})).json()
    second = (await house.http.get("/memories", params={"limit": 2, "after": first["last_id"]})).json()
    gone = await house.http.delete("/memories")

    assert [m["text"] for m in first["data"]] == ["I like trains.", "I like snow."]
    assert (first["has_more"], [m["text"] for m in second["data"]]) == (True, ["I like tea."])
    assert (second["has_more"], second["last_id"]) == (False, None)
    assert (gone.json(), await texts(house)) == ({"deleted": 3}, [])


async def test_what_is_written_goes_through_the_rails_and_has_its_bounds(house: House) -> None:
    memory_id = await add(house, "I like tea.")
    for body in (
        {"text": ""},
        {"text": "  "},
        {"text": "x" * 401},
        {"text": "a\0b"},
        {},
        {"text": "x", "kind": "fact"},
    ):
        assert (await house.http.post("/memories", json=body)).status_code == 400, body
        assert (await house.http.patch(f"/memories/{memory_id}", json=body)).status_code == 400, body
    again = await house.http.post("/memories", json={"text": "i like TEA"})
    secret = await house.http.post("/memories", json={"text": "My card is 4111 1111 1111 1111."})

    assert (again.status_code, again.json()["error"]["code"]) == (409, "conflict")
    assert "4111" not in secret.text
    assert not any("4111" in text for text in await texts(house))


async def test_another_users_memories_are_not_there(tmp_path: Path) -> None:
    hashes = ",".join(f"{name}={sha256(name.encode()).hexdigest()}" for name in ("ana", "bo"))
    async with open_house(tmp_path, auth="token", access_tokens=hashes) as house:
        ana, bo = ({"authorization": f"Bearer {name}"} for name in ("ana", "bo"))
        made = await house.http.post("/memories", json={"text": "I live in Zürich."}, headers=ana)
        memory = f"/memories/{made.json()['id']}"

        assert (await house.http.get("/memories")).status_code == 401
        assert (await house.http.get("/memories", headers=bo)).json()["data"] == []
        assert (await house.http.patch(memory, json={"text": "mine"}, headers=bo)).status_code == 404
        assert (await house.http.delete(memory, headers=bo)).status_code == 404
        assert (await house.http.delete("/memories", headers=bo)).json() == {"deleted": 0}
        said = {"message": {"id": new_id(), "content": "Where do I live?"}}
        chat = (await house.http.post("/chat", json={}, headers=bo)).json()["id"]
        await house.http.post(f"/chat/{chat}/completion", json=said, headers=bo)
        assert "Zürich" not in str(house.engine.stats.requests[-1]["messages"])
        assert len((await house.http.get("/memories", headers=ana)).json()["data"]) == 1


async def test_memory_is_switched_off_and_on_and_instructions_stay_as_they_are(house: House) -> None:
    await house.http.patch("/me", json={"custom_instructions": "Answer in verse."})
    await add(house, "I live in Zürich.")
    before = (await house.http.get("/me")).json()
    off = (await house.http.patch("/me", json={"memory": False})).json()
    events = await house.say(await house.open_chat(), "Hello")
    on = (await house.http.patch("/me", json={"memory": True})).json()
    again = await house.say(await house.open_chat(), "Hello")
    exported = (await house.http.get("/export")).json()

    assert exported["profile"]["memory_since"] > exported["chats"][-1]["chat"]["created_at"]
    assert [(me["memory"], me["custom_instructions"]) for me in (before, off, on)] == [
        (True, "Answer in verse."),
        (False, "Answer in verse."),
        (True, "Answer in verse."),
    ]
    assert [e[-1].data["message"]["memories_used"] for e in (events, again)] == [0, 1]
    assert await texts(house) == ["I live in Zürich."]


async def test_a_house_that_has_no_memory_says_so(tmp_path: Path) -> None:
    async with open_house(tmp_path, memory=False) as house:
        refused = await house.http.patch("/me", json={"memory": True})

        assert (refused.status_code, refused.json()["error"]["param"]) == (400, "memory")
        assert (await house.http.get("/me")).json()["memory"] is False


async def test_a_call_without_a_chat_uses_no_memory(house: House) -> None:
    await add(house, "I live in Zürich.")
    body = {"model": "sim", "messages": [{"role": "user", "content": "Remember that I like tea."}]}

    assert (await house.http.post("/v1/chat/completions", json=body)).status_code == 200

    assert house.engine.stats.requests[-1]["messages"] == body["messages"]
    assert await texts(house) == ["I live in Zürich."]


async def test_memories_stand_in_the_export(house: House) -> None:
    await add(house, "I live in Zürich.")

    exported = (await house.http.get("/export")).json()

    assert [memory["text"] for memory in exported["memories"]] == ["I live in Zürich."]
