"""Chats over the native API, as a client sees them."""

import json

import httpx

from functions.chat.messages import new_id
from tests.house import House, open_house


async def test_a_chat_opens_is_listed_renamed_and_deleted_once(house: House) -> None:
    chat_id = await house.open_chat()
    renamed = await house.http.patch(f"/chat/{chat_id}", json={"title": "Plans", "pinned": True})
    listed = (await house.http.get("/chats")).json()

    assert renamed.json()["title"] == "Plans"
    assert [(c["id"], c["title"], c["pinned"]) for c in listed["data"]] == [(chat_id, "Plans", True)]
    assert (await house.http.delete(f"/chat/{chat_id}")).status_code == 204
    assert (await house.http.delete(f"/chat/{chat_id}")).status_code == 404
    assert (await house.http.get(f"/chat/{chat_id}")).status_code == 404


async def test_chats_are_paged_newest_first_with_a_cursor_nobody_can_make_up(house: House) -> None:
    ids = [await house.open_chat(title=f"chat {i}") for i in range(5)]

    first = (await house.http.get("/chats", params={"limit": 3})).json()
    second = (await house.http.get("/chats", params={"limit": 3, "after": first["last_id"]})).json()
    forged = await house.http.get("/chats", params={"after": first["last_id"][:-2] + "AA"})

    assert [c["id"] for c in first["data"] + second["data"]] == ids[::-1]
    assert (first["has_more"], second["has_more"]) == (True, False)
    assert (forged.status_code, forged.json()["error"]["code"]) == (400, "bad_cursor")


async def test_search_finds_titles_and_words_of_messages(house: House) -> None:
    cooking = await house.open_chat()
    await house.say(cooking, "How long does 米饭 take?")
    await house.open_chat(title="Travel")

    assert [c["id"] for c in (await house.http.get("/chats", params={"q": "米饭"})).json()["data"]] == [cooking]
    assert [c["title"] for c in (await house.http.get("/chats", params={"q": "trav"})).json()["data"]] == ["Travel"]
    assert (await house.http.get("/chats", params={"q": "absent"})).json()["data"] == []


async def test_what_was_found_says_where_the_words_stand(house: House) -> None:
    chat_id = await house.open_chat(title="Supper")
    await house.say(chat_id, "How long does\n米饭 take?")

    (by_text,) = (await house.http.get("/chats", params={"q": "米饭"})).json()["data"]
    (by_title,) = (await house.http.get("/chats", params={"q": "SUP"})).json()["data"]
    (listed,) = (await house.http.get("/chats")).json()["data"]

    said = (await house.http.get(f"/chat/{chat_id}")).json()["messages"]
    assert by_text["match"]["message_id"] in [message["id"] for message in said if "米饭" in message["content"]]
    assert by_text["match"]["title"] == ["Supper"]
    assert by_text["match"]["snippet"][1] == "米饭"
    assert by_title["match"] == {"title": ["", "Sup", "per"], "message_id": None, "snippet": None}
    assert "match" not in listed


async def test_an_edited_message_is_a_branch_and_the_tree_keeps_both(house: House) -> None:
    chat_id = await house.open_chat()
    await house.say(chat_id, "first wording")
    edit = {"id": new_id(), "content": "second wording", "parent_id": None}
    await house.http.post(f"/chat/{chat_id}/completion", json={"message": edit})

    chat = (await house.http.get(f"/chat/{chat_id}")).json()

    roots = [m["content"] for m in chat["messages"] if m["parent_id"] is None]
    assert roots == ["first wording", "second wording"]
    assert len(chat["messages"]) == 4
    leaf = next(m for m in chat["messages"] if m["id"] == chat["active_leaf"])
    assert leaf["parent_id"] == edit["id"]


async def test_a_regenerated_answer_stands_beside_the_old_one(house: House) -> None:
    chat_id = await house.open_chat()
    done = (await house.say(chat_id, "hello"))[-1]
    old = done.data["message"]["id"]

    answer = await house.http.post(f"/chat/{chat_id}/completion", json={"regenerate": old})
    chat = (await house.http.get(f"/chat/{chat_id}")).json()

    assert answer.status_code == 200
    answers = [m for m in chat["messages"] if m["role"] == "assistant"]
    assert len(answers) == 2
    assert len({m["parent_id"] for m in answers}) == 1
    assert sum(m["role"] == "user" for m in chat["messages"]) == 1


async def test_the_first_message_names_the_chat_at_once(house: House) -> None:
    chat_id = await house.open_chat()
    events = await house.say(chat_id, "What is the tallest mountain in the world, and who climbed it first of all?")

    title = next(e for e in events if e.name == "title").data["title"]
    assert title == "What is the tallest mountain in the world, and who climbed…"
    assert (await house.http.get(f"/chat/{chat_id}")).json()["title"] == title


async def test_an_export_holds_the_whole_chat(house: House) -> None:
    chat_id = await house.open_chat(title="Keep")
    await house.say(chat_id, "remember me 🙂")

    export = await house.http.get(f"/chat/{chat_id}/export")
    body = json.loads(export.content)

    assert body["format"] == "parley.chat.v1"
    assert body["messages"][0]["content"] == "remember me 🙂"
    assert export.headers["content-disposition"].startswith("attachment")


async def test_custom_instructions_and_system_prompt_lead_every_prompt(house: House) -> None:
    await house.http.patch("/me", json={"custom_instructions": "Answer in verse."})
    chat_id = await house.open_chat(system_prompt="You are a gardener.")
    await house.say(chat_id, "hello")

    sent = house.engine.stats.requests[-1]["messages"]
    assert sent[0]["role"] == "system"
    assert sent[0]["content"].startswith("You are a gardener.")
    assert "Answer in verse." in sent[0]["content"]
    assert [m["content"] for m in sent[1:]] == ["hello"]


async def test_another_users_things_answer_404_as_if_they_were_not_there(tmp_path) -> None:  # type: ignore[no-untyped-def]
    from hashlib import sha256

    tokens = {name: f"token-of-{name}" for name in ("ana", "bo")}
    hashes = ",".join(f"{n}={sha256(t.encode()).hexdigest()}" for n, t in tokens.items())
    async with open_house(tmp_path, auth="token", access_tokens=hashes) as house:
        ana = {"authorization": f"Bearer {tokens['ana']}"}
        bo = {"authorization": f"Bearer {tokens['bo']}"}
        chat_id = (await house.http.post("/chat", json={}, headers=ana)).json()["id"]
        message = {"id": new_id(), "content": "private"}
        said = await house.http.post(f"/chat/{chat_id}/completion", json={"message": message}, headers=ana)
        run_id = said.headers["x-run-id"]

        assert (await house.http.get("/chats")).status_code == 401
        assert (await house.http.get("/chats", headers={"authorization": "Bearer wrong"})).status_code == 401
        refused: list[httpx.Response] = [
            await house.http.get(f"/chat/{chat_id}", headers=bo),
            await house.http.patch(f"/chat/{chat_id}", json={"title": "mine"}, headers=bo),
            await house.http.delete(f"/chat/{chat_id}", headers=bo),
            await house.http.post(f"/chat/{chat_id}/completion", json={"message": message}, headers=bo),
            await house.http.get(f"/chat/{chat_id}/stream", headers=bo),
            await house.http.get(f"/chat/{chat_id}/export", headers=bo),
            await house.http.get(f"/runs/{run_id}", headers=bo),
            await house.http.get(f"/runs/{run_id}/events", headers=bo),
            await house.http.delete(f"/runs/{run_id}", headers=bo),
        ]
        assert [r.status_code for r in refused] == [404] * len(refused)
        assert (await house.http.get("/chats", headers=bo)).json()["data"] == []
        assert (await house.http.get(f"/chat/{chat_id}", headers=ana)).json()["messages"][0]["content"] == "private"


async def test_a_browser_signs_in_with_a_cookie_that_scripts_cannot_read(tmp_path) -> None:  # type: ignore[no-untyped-def]
    from hashlib import sha256

    hashes = f"ana={sha256(b'the-token').hexdigest()}"
    async with open_house(tmp_path, auth="token", access_tokens=hashes) as house:
        wrong = await house.http.post("/session", json={"token": "guess"})
        right = await house.http.post("/session", json={"token": "the-token"})
        me = await house.http.get("/me")
        await house.http.delete("/session")

        assert wrong.status_code == 401
        assert right.status_code == 204
        assert {"httponly", "samesite=strict"} <= {p.strip().lower() for p in right.headers["set-cookie"].split(";")}
        assert me.json()["id"] == "ana"
        assert (await house.http.get("/me")).status_code == 401


async def test_a_page_of_another_site_cannot_drive_a_local_parley(house: House) -> None:
    foreign_origin = await house.http.post("/chat", json={}, headers={"origin": "https://evil.example"})
    rebound_name = await house.http.get("/chats", headers={"host": "evil.example"})
    broken_name = await house.http.get("/chats", headers={"host": "[", "origin": "http://["})
    cross_site = await house.http.post("/chat", json={}, headers={"sec-fetch-site": "cross-site"})

    assert [r.status_code for r in (foreign_origin, rebound_name, broken_name, cross_site)] == [403] * 4
    assert (await house.http.get("/chats")).json()["data"] == []


async def test_a_secret_in_a_system_prompt_or_instructions_is_redacted_like_in_a_message(house: House) -> None:
    key = "sk-proj-" + "Ab3dEf6hIj9" * 4
    chat = (await house.http.post("/chat", json={"system_prompt": f"Use {key} always"})).json()
    changed = (await house.http.patch(f"/chat/{chat['id']}", json={"system_prompt": f"Now {key}"})).json()
    me = (await house.http.patch("/me", json={"custom_instructions": f"My key is {key}"})).json()

    for text in (chat["system_prompt"], changed["system_prompt"], me["custom_instructions"]):
        assert "sk-proj" not in text
        assert "[redacted" in text
