"""Living with the client: what a person sets, puts away and comes back to. The real app over a simulated engine."""

import re
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest
from playwright.async_api import Page, async_playwright, expect

from tests.house import House, open_house


@pytest.fixture
async def house(tmp_path: Path, web_client: Path) -> AsyncIterator[House]:
    async with open_house(tmp_path, web=web_client) as opened:
        yield opened


@pytest.fixture
async def page(chromium: str, house: House) -> AsyncIterator[Page]:
    """A page that fails the test for a script error, a policy violation or a request to another host."""
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
        opened = await browser.new_page(viewport={"width": 1280, "height": 800}, locale="en-GB")
        faults: list[str] = []
        opened.on("pageerror", lambda error: faults.append(str(error)))
        opened.on("console", lambda said: faults.append(said.text) if "Content Security Policy" in said.text else None)
        foreign: Callable[[str], bool] = lambda url: not url.startswith((house.url, "data:", "blob:"))  # noqa: E731
        opened.on("request", lambda request: faults.append(request.url) if foreign(request.url) else None)
        await opened.goto(house.url)
        yield opened
        await browser.close()
        assert not faults


async def say(page: Page, text: str) -> None:
    before = await page.locator("article.assistant").count()
    composer = page.locator("#composer")
    await composer.fill(text)
    await composer.press("Enter")
    await expect(page.locator("article.assistant .actions.shown")).to_have_count(1)
    await expect(page.locator("article.assistant")).to_have_count(before + 1)


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
