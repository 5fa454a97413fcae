"""Living with the client: what a person sets, puts away and comes back to. The real app over a simulated engine."""

import re

from playwright.async_api import Page, expect

from tests.e2e.browsing import say
from tests.house import House


async def test_a_chats_own_settings_reach_the_model_and_no_other_chat(page: Page, house: House) -> None:
    await page.get_by_role("button", name="Chat settings").click()
    await page.get_by_label("System prompt").fill("You are a gardener.")
    await page.get_by_role("slider", name="Temperature").fill("1.3")
    await page.get_by_label("Longest answer").fill("321")
    await page.keyboard.press("Escape")
    await say(page, "What grows in shade?")

    asked = house.engine.stats.requests[-1]
    assert (asked["temperature"], asked["max_tokens"]) == (1.3, 321)
    assert asked["messages"][0] == {"role": "system", "content": "You are a gardener."}

    await page.reload()
    await page.get_by_role("button", name="Chat settings").click()
    await expect(page.get_by_label("System prompt")).to_have_value("You are a gardener.")
    await page.keyboard.press("Escape")
    await page.get_by_role("button", name="New chat").first.click()
    await expect(page.locator(".welcome")).to_be_visible()
    await say(page, "Hello")
    assert "temperature" not in house.engine.stats.requests[-1]
    assert "gardener" not in str(house.engine.stats.requests[-1]["messages"])


async def test_what_cannot_be_a_limit_is_not_sent_as_one(page: Page, house: House) -> None:
    await page.get_by_role("button", name="Chat settings").click()
    await page.get_by_label("Longest answer").fill("-5")
    await page.keyboard.press("Escape")
    await say(page, "Hello")

    assert "max_tokens" not in house.engine.stats.requests[-1]


async def test_an_archived_chat_leaves_the_list_and_is_brought_back(page: Page) -> None:
    await say(page, "A chat to put away")
    row = page.locator(".chat-list .row")
    await expect(row).to_have_count(1)
    await page.get_by_role("button", name="Chat options").click()
    await page.get_by_role("menuitem", name="Archive").click()
    await expect(row).to_have_count(0)
    await page.reload()
    await expect(page.get_by_text("Your chats will appear here.")).to_be_visible()

    await page.get_by_role("button", name="Settings", exact=True).click()
    await page.get_by_role("button", name="Archived chats").click()
    await page.get_by_role("button", name=re.compile("^Bring back")).click()
    await page.keyboard.press("Escape")

    await expect(row).to_have_text(re.compile("A chat to put away"))


async def test_what_is_remembered_is_read_written_changed_and_forgotten(page: Page, house: House) -> None:
    await say(page, "Remember that I work in metric units.")
    await page.get_by_role("button", name="Settings", exact=True).click()
    await page.get_by_role("button", name="What Parley remembers").click()
    rows = page.get_by_role("dialog", name="Memory").get_by_role("listitem")
    await expect(rows).to_have_count(1)
    await expect(rows).to_contain_text(re.compile("metric units"))

    await page.get_by_label("Something to remember").fill("I live in Berlin.")
    await page.get_by_role("button", name="Save").click()
    await expect(rows).to_have_count(2)
    await page.get_by_role("button", name=re.compile("^Edit: I live in Berlin")).click()
    await page.get_by_role("textbox", name="Memory").fill("I live in Lisbon.")
    await page.keyboard.press("Enter")
    await expect(rows.first).to_contain_text("Lisbon")

    await page.get_by_role("button", name=re.compile("^Forget: .*metric")).click()
    await page.get_by_role("button", name="Undo").click()
    await expect(rows).to_have_count(2)
    await page.get_by_role("button", name=re.compile("^Forget: .*metric")).click()
    async with page.expect_response(lambda answer: answer.request.method == "DELETE"):
        await page.keyboard.press("Escape")
    left = (await house.http.get("/memories")).json()["data"]
    assert [memory["text"] for memory in left] == ["I live in Lisbon."]


async def test_memory_is_switched_off_and_everything_forgotten(page: Page, house: House) -> None:
    await house.http.post("/memories", json={"text": "I like tea."})
    await page.get_by_role("button", name="Settings", exact=True).click()
    await page.get_by_role("button", name="What Parley remembers").click()
    await page.get_by_role("switch", name="Remember across chats").uncheck()
    await page.get_by_role("button", name="Forget everything").click()
    await page.get_by_role("button", name="Forget", exact=True).click()

    await expect(page.get_by_text("Nothing remembered yet")).to_be_visible()
    assert (await house.http.get("/memories")).json()["data"] == []
    assert (await house.http.get("/me")).json()["memory"] is False


async def test_an_answer_says_that_it_used_memories(page: Page, house: House) -> None:
    await house.http.post("/memories", json={"text": "The user grows tomatoes."})
    await say(page, "What can I do with my tomatoes?")

    await page.get_by_role("button", name="1 memory used").click()

    await expect(page.get_by_role("dialog", name="Memory")).to_contain_text("The user grows tomatoes.")


async def test_a_temporary_chat_is_in_no_list_and_says_what_it_is(page: Page, house: House) -> None:
    await page.get_by_role("button", name="Temporary chat").click()
    await expect(page.get_by_role("heading", name="Temporary chat")).to_be_visible()
    await say(page, "Just between us")

    await expect(page.get_by_text("gone 24 hours after the last message")).to_be_visible()
    await expect(page.locator(".chat-list .row")).to_have_count(0)
    assert (await house.http.get("/chats")).json()["data"] == []
    await page.get_by_role("button", name="New chat").first.click()
    await expect(page.get_by_role("heading", name="Temporary chat")).to_have_count(0)
    await say(page, "For everyone")
    await expect(page.locator(".chat-list .row")).to_have_count(1)


async def test_everything_is_deleted_by_who_means_it_and_a_receipt_says_what_that_was(page: Page, house: House) -> None:
    await say(page, "A chat that goes")
    await house.http.post("/memories", json={"text": "I like tea."})
    await page.get_by_role("button", name="Settings", exact=True).click()
    await page.get_by_role("button", name="Delete everything").click()
    go = page.get_by_role("dialog").get_by_role("button", name="Delete everything")
    await page.get_by_label(re.compile("^Type")).fill("delet")
    await expect(go).to_be_disabled()
    await page.get_by_label(re.compile("^Type")).fill("delete")
    await go.click()

    receipt = page.get_by_role("dialog", name="Everything is deleted")
    await expect(receipt.get_by_role("row", name=re.compile("^memories 1$"))).to_be_visible()
    await receipt.get_by_role("button", name="Close").last.click()
    await expect(page.get_by_text("Your chats will appear here.")).to_be_visible()
    assert (await house.http.get("/chats")).json()["data"] == []
