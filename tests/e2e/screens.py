"""Pictures of every screen, for human eyes: the real app and the real client over a simulated engine.

    python -m tests.e2e.screens                       # docs/screens/*.webp and its README.md, small
    python -m tests.e2e.screens --look /tmp/look      # every screen: desktop and phone, light and dark, two languages
    python -m tests.e2e.screens --look /tmp/look chat admin-users    # only these

The client is built first when it is stale; PARLEY_WEB names a folder that is built already.
"""

import argparse
import asyncio
import base64
import hashlib
import itertools
import os
import shutil
import sys
import tempfile
from contextlib import AsyncExitStack, suppress
from pathlib import Path

from playwright.async_api import Browser, BrowserContext, Page, async_playwright
from playwright.async_api import TimeoutError as TooLate
from rich.console import Console

from functions import webbuild
from functions.inference.nodes import Node, ServedModel
from tests.e2e.browsing import CHROMIUM
from tests.e2e.screen_list import SCREENS, SIZES, Screen, Stage, View
from tests.e2e.screen_world import TOKEN, furnish
from tests.house import House, open_house
from tests.simulated import Scenario, SimulatedEngine

FOLDER = Path(__file__).parents[2] / "docs" / "screens"
WIDTH, MOST_BYTES = 800, 60_000


async def agent_of(browser: Browser) -> str:
    """As with a window: the page of devices names a browser that people know."""
    page = await browser.new_page()
    agent: str = await page.evaluate("navigator.userAgent")
    await page.close()
    return agent.replace("Headless", "")


async def window(browser: Browser, view: View, agent: str) -> BrowserContext:
    width, height = SIZES[view.device]
    context = await browser.new_context(
        viewport={"width": width, "height": height},
        locale="en-GB" if view.lang == "en" else "zh-CN",
        color_scheme="dark" if view.theme == "dark" else "light",
        has_touch=view.device == "phone",
        is_mobile=view.device == "phone",
        device_scale_factor=1,
        reduced_motion="reduce",
        service_workers="block",
        user_agent=agent,
    )
    context.set_default_timeout(10_000)
    await context.add_init_script(f"localStorage.setItem('parley.settings', '{{\"lang\":\"{view.lang}\"}}')")
    return context


async def shoot(browser: Browser, shown: Screen, view: View, agent: str, house: House, chat: str) -> bytes:
    context = await window(browser, view, agent)
    page = await context.new_page()
    stage = Stage(page, house, chat, view.device == "phone")
    if shown.signed_in:
        await context.request.post(f"{stage.house.url}/session", data={"token": TOKEN})
    ordinary = stage.house.engine.scenario
    try:
        await page.goto(stage.house.url)
        await shown.show(stage)
        with suppress(TooLate):
            await page.wait_for_load_state("networkidle", timeout=1_000)
        width = SIZES[view.device][0]
        scale = 1.0 if view.device == "phone" else WIDTH / width
        return await picture(page, scale)
    finally:
        stage.house.engine.scenario = ordinary
        if shown.signed_in:
            await context.request.delete(f"{stage.house.url}/session")  # the page of devices shows one
        await context.close()


async def picture(page: Page, scale: float) -> bytes:
    """WebP, as good as fits."""
    debugger = await page.context.new_cdp_session(page)
    size = page.viewport_size
    assert size
    clip = {"x": 0, "y": 0, **size, "scale": scale}
    for quality in (90, 80, 65, 50):
        taken = await debugger.send("Page.captureScreenshot", {"format": "webp", "quality": quality, "clip": clip})
        data = base64.b64decode(taken["data"])
        if len(data) <= MOST_BYTES:
            break
    return data


def views(lookers: bool, shown: Screen) -> list[View]:
    if not lookers:
        return [shown.view]
    return [View(*parts) for parts in itertools.product(SIZES, ("light", "dark"), ("en", "zh"))]


def index_of(screens: list[Screen]) -> str:
    parts = ["# Screens\n", "Made by `python -m tests.e2e.screens`, from the real app over a simulated engine.\n"]
    for shown in screens:
        where = ", ".join(part for part in str(shown.view).split("-") if part not in ("desktop", "light", "en"))
        title = f"{shown.caption} ({where})" if where else shown.caption
        parts.append(f"## {title}\n\n![{shown.caption}]({shown.name}.webp)\n")
    return "\n".join(parts)


async def take(folder: Path, wanted: list[str], *, lookers: bool, only: list[str]) -> int:
    web = Path(os.environ["PARLEY_WEB"]) if "PARLEY_WEB" in os.environ else webbuild.ready(Console(stderr=True))
    chromium = shutil.which("chromium") or shutil.which("chromium-browser")
    assert web and chromium, "it needs the web client and Chromium"
    chosen = [shown for shown in SCREENS if not wanted or shown.name in wanted]
    missed = 0
    async with AsyncExitStack() as stack:
        data = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        gpu = await stack.enter_async_context(SimulatedEngine(Scenario(cold_s=3600), models=("qwen3-32b",)))
        house = await stack.enter_async_context(
            open_house(
                data,
                Scenario(text="Good."),
                lambda engine: nodes_of(engine, gpu),
                web=web,
                auth="token",
                access_tokens="ada=" + hashlib.sha256(TOKEN.encode()).hexdigest(),
                admins="ada",
                usd_per_day=2.0,
                tokens_per_day=200_000,
                runs_per_minute=600,
            )
        )
        house.http.headers["Authorization"] = f"Bearer {TOKEN}"
        chat_id = await furnish(house)
        playwright = await stack.enter_async_context(async_playwright())
        browser = await playwright.chromium.launch(executable_path=chromium, args=CHROMIUM)
        agent = await agent_of(browser)
        folder.mkdir(parents=True, exist_ok=True)
        for shown in chosen:
            for view in views(lookers, shown):
                if only and str(view) not in only:
                    continue
                name = f"{shown.name}.{view}" if lookers else shown.name
                try:
                    (folder / f"{name}.webp").write_bytes(await shoot(browser, shown, view, agent, house, chat_id))
                except Exception as error:  # the others are wanted all the same
                    missed += 1
                    sys.stderr.write(f"{name}: {str(error)[:300]}\n")
        await browser.close()
    if not lookers and not wanted:
        (folder / "README.md").write_text(index_of(chosen))
    return missed


def nodes_of(engine: SimulatedEngine, gpu: SimulatedEngine) -> list[Node]:
    engine.models = ("qwen3-4b",)
    own = ServedModel(id="qwen3-4b", name="Qwen3 4B", context_tokens=32_768)
    rented = ServedModel(id="qwen3-32b", name="Qwen3 32B", context_tokens=131_072)
    return [
        Node(engine.url, name="own", models=[own], gpu="RTX 4090"),
        Node(gpu.url, name="modal", serverless=True, models=[rented], gpu="H100", usd_per_second=0.001097),
    ]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("names", nargs="*", help="only these screens")
    parser.add_argument("--look", type=Path, help="all views of each screen, into this folder")
    parser.add_argument("--view", action="append", default=[], help="with --look: only this view, as desktop-light-en")
    asked = parser.parse_args()
    return asyncio.run(take(asked.look or FOLDER, asked.names, lookers=asked.look is not None, only=asked.view))


if __name__ == "__main__":
    sys.exit(main())
