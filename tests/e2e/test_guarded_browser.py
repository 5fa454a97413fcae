"""What a person sees of the guardrails: the built page in a real browser, the real house, a guard that says no."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from playwright.async_api import Page, async_playwright, expect

from tests.chat.moderated import OUTPUT, REFUSAL, moderated, stored
from tests.e2e.browsing import CHROMIUM
from tests.house import House, open_house
from tests.scripted_guard import BAD, ScriptedGuard

SHOWN = "Once there was a kettle. "
BAD_PART = f"In it was {BAD}, stirred. "


@pytest.fixture
async def page(chromium: str) -> AsyncIterator[Page]:
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(executable_path=chromium, args=CHROMIUM)
        opened = await browser.new_page(locale="en-GB")
        faults: list[str] = []
        opened.on("pageerror", lambda error: faults.append(str(error)))
        yield opened
        await browser.close()
        assert not faults


async def visit(page: Page, house: House, web_client: Path) -> None:
    """The page comes from its folder, everything it asks for from the house."""
    await page.route(f"{house.url}/", lambda route: route.fulfill(path=web_client / "index.html"))
    for name in ("assets/*", "*.js", "*.svg", "*.webmanifest"):
        await page.route(
            f"{house.url}/{name}",
            lambda route: route.fulfill(path=web_client / route.request.url.removeprefix(f"{house.url}/")),
        )
    await page.goto(f"{house.url}/")


async def say(page: Page, text: str) -> None:
    await page.locator("#composer").fill(text)
    await page.locator("#composer").press("Enter")


async def test_an_answer_that_a_guard_takes_back_is_gone_and_can_be_appealed(
    page: Page, web_client: Path, tmp_path: Path
) -> None:
    async with ScriptedGuard() as guard, moderated(tmp_path, guard, SHOWN + BAD_PART + "The end.", OUTPUT) as house:
        await visit(page, house, web_client)
        house.engine.gate.hold(len(SHOWN))
        await say(page, "Tell me a story.")
        answer = page.locator(".turn.assistant .prose")
        await expect(answer).to_contain_text("kettle")
        guard.hold()
        house.engine.gate.release()
        house.engine.gate.hold(len(SHOWN + BAD_PART))
        await expect(answer).to_contain_text("stirred")
        guard.release()

        note = page.locator(".note.shield")
        await expect(note).to_contain_text("The answer was withdrawn")
        await expect(note).to_contain_text(REFUSAL)
        assert "kettle" not in await page.content()
        await page.reload()
        await expect(note).to_contain_text(REFUSAL)
        assert "kettle" not in await page.content()

        await note.get_by_text("Details").click()
        await expect(note).to_contain_text("Safety model")
        await note.get_by_role("button", name="This was wrong").click()
        await page.reload()
        await expect(note).to_contain_text("You said that this was wrong.")
        chat_id = (await house.http.get("/chats")).json()["data"][0]["id"]
        assert (await stored(house, chat_id))[-1]["feedback"]["reason"] == "guardrail_wrong"
        await page.close()


async def test_an_answer_is_rated_in_words_and_a_masked_message_is_appealed(
    page: Page, web_client: Path, tmp_path: Path
) -> None:
    key = "sk-proj-" + "Ab3dEf6hIj9" * 4
    async with open_house(tmp_path) as house:
        await visit(page, house, web_client)
        await say(page, f"Is {key} a good key?")
        note = page.locator(".turn.user .note.shield")
        await expect(note).to_contain_text("Part of your message was masked")
        await note.get_by_role("button", name="This was wrong").click()
        await expect(note).to_contain_text("You said that this was wrong.")

        await page.get_by_role("button", name="Bad answer").click()
        panel = page.locator("form.feedback")
        await panel.get_by_role("radio", name="Not helpful").check()
        await panel.get_by_role("textbox").fill(f"It repeats {key} to me")
        await panel.get_by_role("button", name="Send").click()
        await expect(panel).to_have_count(0)

        chat_id = (await house.http.get("/chats")).json()["data"][0]["id"]
        asked, answered = await stored(house, chat_id)
        assert (asked["feedback"]["rating"], asked["feedback"]["reason"]) == (-1, "guardrail_wrong")
        assert answered["feedback"]["reason"] == "unhelpful"
        assert answered["feedback"]["comment"].startswith("It repeats [redacted")
        assert key not in (await page.content())
        await page.close()
