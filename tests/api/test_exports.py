"""What a user takes along."""

import json

from tests.house import House


async def test_an_export_of_all_holds_every_chat_whole_archived_ones_too(house: House) -> None:
    first, second = await house.open_chat(title="Keep 🙂"), await house.open_chat(title="Put away")
    await house.say(first, "remember me")
    await house.http.patch(f"/chat/{second}", json={"archived": True})
    await house.http.patch("/me", json={"custom_instructions": "Be brief."})

    export = await house.http.get("/export")
    body = json.loads(export.content)

    assert body["format"] == "parley.export.v1"
    assert [one["chat"]["title"] for one in body["chats"]] == ["Keep 🙂", "Put away"]
    assert [message["role"] for message in body["chats"][0]["messages"]] == ["user", "assistant"]
    assert body["profile"]["custom_instructions"] == "Be brief."
    assert export.headers["content-disposition"].startswith("attachment")


async def test_an_export_of_all_reaches_past_one_page_of_chats(house: House) -> None:
    for number in range(101):
        await house.open_chat(title=str(number))

    titles = [one["chat"]["title"] for one in (await house.http.get("/export")).json()["chats"]]

    assert sorted(map(int, titles)) == list(range(101))


async def test_an_export_of_nothing_is_an_empty_list(house: House) -> None:
    assert (await house.http.get("/export")).json()["chats"] == []


async def test_markdown_is_the_branch_that_was_read_last(house: House) -> None:
    chat_id = await house.open_chat(title="Plans")
    await house.say(chat_id, "old wording")
    edited = {"id": "0192f0c1-2345-7abc-8def-0123456789ab", "content": "new *wording*", "parent_id": None}
    await house.http.post(f"/chat/{chat_id}/completion", json={"message": edited})

    export = await house.http.get(f"/chat/{chat_id}/export", params={"format": "markdown"})

    assert export.headers["content-type"].startswith("text/markdown")
    assert export.text.startswith("# Plans\n\n## You\n\nnew *wording*\n\n## ")
    assert "old wording" not in export.text


async def test_a_chat_without_messages_has_a_markdown_of_its_title(house: House) -> None:
    chat_id = await house.open_chat(title="Empty")

    assert (await house.http.get(f"/chat/{chat_id}/export?format=markdown")).text == "# Empty\n"
