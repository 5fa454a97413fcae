"""A page of the client in Debian's Chromium, as a person has it before them."""

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

from playwright.async_api import Page, async_playwright, expect

# Playwright's own list, which a second one replaces, and before it two pages of Chromium's address bar, which every new
# context would load: 40 % of what a context takes of the processor.
_OFF = (
    "WebUIOmniboxPopup,WebUIOmniboxAimPopup,"
    "AvoidUnnecessaryBeforeUnloadCheckSync,DestroyProfileOnBrowserClose,HttpsUpgrades,HttpsFirstBalancedModeAutoEnable,"
    "LensOverlay,MediaRouter,PaintHolding,ThirdPartyStoragePartitioning,OptimizationHints,NetworkTimeServiceQuerying,"
    "AimEnabled,PreconnectToSearch"
)
CHROMIUM = ("--no-sandbox", "--disable-gpu", f"--disable-features={_OFF}")


@asynccontextmanager
async def browser_page(chromium: str, url: str, also: str = "data:") -> AsyncIterator[Page]:
    """A page that fails the test for a script error, a policy violation or a request to another host than `also`."""
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(executable_path=chromium, args=CHROMIUM)
        opened = await browser.new_page(viewport={"width": 1280, "height": 800}, locale="en-GB")
        faults: list[str] = []
        opened.on("pageerror", lambda error: faults.append(str(error)))
        opened.on("console", lambda said: faults.append(said.text) if "Content Security Policy" in said.text else None)
        foreign: Callable[[str], bool] = lambda address: not address.startswith((url, also, "data:", "blob:"))  # noqa: E731
        opened.on("request", lambda request: faults.append(request.url) if foreign(request.url) else None)
        await opened.goto(url)
        yield opened
        await browser.close()
        assert not faults


async def say(page: Page, text: str) -> None:
    """Sends a message and waits until its answer is whole."""
    before = await page.locator("article.assistant").count()
    composer = page.locator("#composer")
    await composer.fill(text)
    await composer.press("Enter")
    await expect(page.locator("article.assistant .actions.shown")).to_have_count(1)
    await expect(page.locator("article.assistant")).to_have_count(before + 1)
