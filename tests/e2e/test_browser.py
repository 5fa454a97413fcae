"""A person's first minutes: `parley dev` with the embedded engine, in a real browser."""

import re
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
from playwright.async_api import Page, expect

from tests.e2e.browsing import browser_page
from tests.e2e.parley_process import ParleyProcess, parley_dev

NO_NETWORK = "http://127.0.0.1:9"  # a hub that nobody can reach: the demo model answers


@pytest.fixture(scope="module")
def parley(web_client: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[ParleyProcess]:
    with parley_dev(tmp_path_factory.mktemp("data"), model_hub=NO_NETWORK, web=str(web_client)) as running:
        yield running.ready()


@pytest.fixture
async def page(chromium: str, parley: ParleyProcess) -> AsyncIterator[Page]:
    async with browser_page(chromium, parley.url) as opened:
        yield opened


async def say(page: Page, text: str) -> None:
    composer = page.get_by_role("textbox", name=re.compile("message", re.I))
    await composer.fill(text)
    await composer.press("Enter")


async def answer_of(page: Page) -> str:
    """The last answer, when it is whole: the composer offers to send again instead of to stop."""
    await expect(page.get_by_role("button", name=re.compile("^stop", re.I))).to_have_count(0)
    return await page.locator("article").last.inner_text()


async def test_the_demo_model_answers_and_says_what_it_is(page: Page) -> None:
    await expect(page.get_by_text(re.compile("offline demo model", re.I)).first).to_be_visible()

    await say(page, "What is Parley?")

    assert "Parley" in await answer_of(page)


async def test_a_chinese_question_gets_a_chinese_answer(page: Page) -> None:
    await say(page, "你好")

    assert re.search("[\u4e00-\u9fff]", (await answer_of(page)).replace("你好", ""))


async def test_a_reload_in_mid_answer_shows_the_whole_answer(page: Page) -> None:
    # Before the server has accepted the message, a reload would find it as a draft instead.
    async with page.expect_response(re.compile("/completion$")):
        await say(page, "Tell me a long story")
    await page.reload()
    await expect(page.locator("article")).to_have_count(2)

    assert len(await answer_of(page)) > 200


async def test_a_chat_is_listed_and_opens_again(page: Page) -> None:
    await say(page, "Who are you?")
    await answer_of(page)
    await page.reload()

    await expect(page.get_by_role("link", name="Who are you?").first).to_be_visible()
    await expect(page.get_by_text("Who are you?").last).to_be_visible()
