"""Every page behind a menu can be used by everybody: axe finds nothing on the real app, at the
width of a desk (light, Chinese) and of a phone (dark, English)."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from playwright.async_api import Page, async_playwright

from tests.e2e.browsing import CHROMIUM
from tests.house import House, open_house

AXE = Path(__file__).parents[2] / "web/node_modules/axe-core/axe.min.js"
RUN = """async () => {
  const values = ['wcag2a', 'wcag2aa', 'wcag21a', 'wcag21aa', 'wcag22aa', 'best-practice'];
  const { violations } = await axe.run({ runOnly: { type: 'tag', values } });
  return violations.flatMap(({ id, nodes }) => nodes.map(({ target }) => `${id} ${target.join(' ')}`));
}"""
PAGES = ("settings", "memory", "tuning", "archive", "farewell", "knowledge", "usage", "help", "share", "import")
ADMIN = ("users", "invitations", "limits", "nodes", "verdicts", "pause")  # with addresses of their own


@pytest.fixture
async def house(tmp_path: Path, web_client: Path) -> AsyncIterator[House]:
    async with open_house(tmp_path, web=web_client) as opened:
        await opened.http.post("/memories", json={"text": "I like tea."})
        put_away = await opened.open_chat(title="Put away")
        await opened.http.patch(f"/chat/{put_away}", json={"archived": True})
        yield opened


async def open_dialog(page: Page, name: str) -> None:
    """By the same few presses in every language: the labels differ, the places do not."""
    links = {"help": 0, "memory": 1, "archive": 2, "share": 3, "import": 4, "farewell": 5}
    if name == "tuning":
        await page.locator(".head .icon-button[data-tip]").filter(has=page.locator("svg")).nth(-2).click()
        return
    if not await page.locator(".sidebar:not([inert])").count():
        await page.locator(".head button").first.click()
    if name == "knowledge":
        await page.locator(".side-link").click()
    elif name == "usage":
        await page.locator(".side-foot .foot-button").first.click()
    else:
        await page.locator(".side-foot .side-button").click()
        if name in links:
            await page.locator(".links button").nth(links[name]).click()


@pytest.mark.parametrize(("width", "scheme", "locale"), [(1280, "light", "zh-CN"), (390, "dark", "en-GB")])
async def test_the_pages_behind_menus_have_no_violations(
    house: House, chromium: str, width: int, scheme: str, locale: str
) -> None:
    found = {}
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(executable_path=chromium, args=CHROMIUM)
        context = await browser.new_context(
            viewport={"width": width, "height": 844}, color_scheme=scheme, locale=locale, reduced_motion="reduce"
        )
        for name in (*PAGES, *(ADMIN if width > 1000 else ADMIN[:3])):
            page = await context.new_page()
            await page.goto(f"{house.url}/#/admin/{name}" if name in ADMIN else house.url)
            await page.locator(".model").wait_for()
            if name not in ADMIN:
                await open_dialog(page, name)
            shown = "admin" if name in ADMIN else name
            await page.locator(f"dialog.{shown}[open] #dialog-title").wait_for()
            await page.evaluate(AXE.read_text())
            if violations := await page.evaluate(RUN):
                found[name] = violations
            await page.close()
        await browser.close()
    assert found == {}
