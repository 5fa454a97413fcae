"""Chats that come from ChatGPT, and one that others read, as people see them: the real app and the real client."""

import json
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from playwright.async_api import Page, expect

from tests.e2e.browsing import say
from tests.house import House, open_house
from tests.importing.conversations import simple
from tests.simulated import Scenario


@pytest.fixture
async def house(tmp_path: Path, web_client: Path) -> AsyncIterator[House]:
    async with open_house(tmp_path, Scenario(text="With **smoke**."), web=web_client) as opened:
        yield opened


async def test_an_export_of_chatgpt_is_imported_goes_on_here_and_is_shown_to_a_visitor(
    page: Page, house: House, tmp_path: Path
) -> None:
    file = tmp_path / "conversations.json"
    file.write_text(json.dumps([simple(1), simple(2, "How are bees calmed?"), {"title": "Bent"}]))
    await page.get_by_role("button", name="Settings", exact=True).click()
    await page.get_by_role("button", name="Import chats").click()
    dialog = page.get_by_role("dialog", name="Import chats")
    await dialog.locator("input[type=file]").set_input_files(file)
    await expect(dialog).to_contain_text("2 chats imported")
    await expect(dialog.get_by_role("listitem")).to_have_text("Bentdamaged")
    await dialog.get_by_role("button", name="Done").click()

    await page.locator(".row", has_text="Chat 2").get_by_role("link").click()
    await expect(page.locator(".turn.user .bubble")).to_have_text("How are bees calmed? 2")
    await say(page, "With what?")
    await expect(page.locator(".turn.assistant .prose strong")).to_have_text("smoke")
    await page.locator(".head [aria-haspopup=menu]").last.click()
    await page.get_by_role("menuitem", name="Share…").click()
    await page.get_by_role("button", name="Create link").click()
    url = await page.get_by_label("Link", exact=True).input_value()

    browser = page.context.browser
    assert browser is not None
    context = await browser.new_context()
    visitor = await context.new_page()
    faults: list[str] = []
    visitor.on("pageerror", lambda error: faults.append(str(error)))
    await visitor.goto(url)
    await expect(visitor.get_by_role("heading", level=1)).to_have_text("Chat 2")
    await expect(visitor.locator(".turn")).to_have_count(4)
    await expect(visitor.locator(".turn.assistant .prose strong")).to_have_text("smoke")
    await house.http.delete(f"/chat/{(await house.http.get('/shares')).json()['data'][0]['chat_id']}/share")
    await visitor.reload()
    await expect(visitor.get_by_text("Nothing is shared here")).to_be_visible()
    assert not faults
    await context.close()
