"""Finding one's way among chats: the real app over a simulated engine, in a real browser."""

import asyncio
import re

from playwright.async_api import Page, expect

from functions.chat.messages import new_id
from tests.e2e.browsing import say
from tests.house import House


async def test_a_search_marks_what_it_finds_and_opens_the_message(page: Page, house: House) -> None:
    chat = await house.open_chat(title="On animals")
    await house.say(chat, "Tell me of the PANGOLIN, which is shy. " + "More words. " * 80)
    for n in range(6):
        await house.say(chat, f"And what of number {n}? " + "More words. " * 80)
    await house.open_chat(title="The pangolin diaries")

    await page.get_by_label("Search chats").fill("pangolin")
    rows = page.locator(".row")
    await expect(rows).to_have_count(2)
    await expect(rows.first.locator(".row-title mark")).to_have_text("pangolin")
    await expect(rows.last.locator(".row-snippet mark")).to_have_text(re.compile("pangolin", re.I))
    await rows.last.get_by_role("link").click()

    sought = page.locator(".turn.sought")
    await expect(sought).to_contain_text(re.compile("pangolin", re.I))
    await expect(sought).to_be_in_viewport()
    assert "/#/c/" + chat in page.url


async def test_picked_chats_are_archived_together_and_brought_back_and_deleted_for_good(
    page: Page, house: House
) -> None:
    for n in range(5):
        await house.open_chat(title=f"chat {n}")
    await page.reload()
    rows = page.locator(".row")
    await rows.nth(0).get_by_role("link").click(modifiers=["ControlOrMeta"])
    await rows.nth(2).locator("label").click(modifiers=["Shift"])
    bar = page.get_by_role("toolbar", name="Picked chats")
    await expect(bar).to_contain_text("3 picked")

    await bar.get_by_role("button", name="Archive").click()
    await expect(rows).to_have_count(2)
    await page.get_by_role("button", name="Undo").click()
    await expect(rows).to_have_count(5)
    assert len((await house.http.get("/chats", params={"archived": True})).json()["data"]) == 0

    title = await rows.nth(4).locator(".row-title").inner_text()
    await rows.nth(4).get_by_role("link").click(modifiers=["ControlOrMeta"])
    await bar.get_by_role("button", name="Delete").click()
    await expect(rows).to_have_count(4)
    await page.reload()  # who leaves the page does not wait for the time to undo
    async with asyncio.timeout(10):
        while title in [chat["title"] for chat in (await house.http.get("/chats")).json()["data"]]:
            pass
    await page.reload()
    await expect(rows).to_have_count(4)


async def test_a_template_is_kept_by_the_server_and_a_dropped_text_reaches_the_model(page: Page, house: House) -> None:
    template = {"name": "Review", "text": "Review {{what}}, briefly."}
    await house.http.put(f"/templates/{new_id()}", json=template)
    composer = page.locator("#composer")
    await composer.press_sequentially("/rev")
    await page.get_by_role("option", name=re.compile("Review")).click()
    await page.keyboard.type("this file")
    await composer.evaluate(
        """(node) => {
          const dataTransfer = new DataTransfer();
          dataTransfer.items.add(new File(['print(1)'], 'one.py', { type: 'text/x-python' }));
          node.dispatchEvent(new DragEvent('drop', { dataTransfer, bubbles: true, cancelable: true }));
        }"""
    )
    await expect(page.get_by_role("list", name="Goes with the message")).to_contain_text("one.py")
    await composer.press("Enter")
    await expect(page.locator("article.assistant .actions.shown")).to_have_count(1)

    said = house.engine.stats.requests[-1]["messages"][-1]["content"]
    assert said == "Review this file, briefly.\n\n**one.py**\n\n```python\nprint(1)\n```"


async def test_the_palette_finds_a_chat_by_what_was_said_in_it(page: Page) -> None:
    await say(page, "Where do axolotls live?")
    await page.get_by_role("button", name="New chat").first.click()
    await page.keyboard.press("Control+k")
    box = page.get_by_role("combobox", name="Type a command or the name of a chat")
    await expect(box).to_be_focused()
    await box.fill("do axolotls")
    await expect(page.get_by_role("option", selected=True)).to_contain_text("axolotls")
    await page.keyboard.press("Enter")

    await expect(page.locator("article.user")).to_contain_text("Where do axolotls live?")
