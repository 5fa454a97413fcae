"""Ten thousand chats in the sidebar: the real app over a real SQLite file, in a real browser.

    python -m tests.bench.sidebar [CHATS] [--slow N] [--web DIST]

What is printed:

    first rows    from the navigation to the first chats on the screen
    reading all   from the first page to the last, as fast as one can scroll
    still … dragged   scrolling by so many pixels a frame: CPU of the page's main thread, and frames that came late
                  (`still` shows how many of those are the machine's)
    drawn         rows in the document at the end
    heap          of the page, after a collection, with all chats read
    search        GET /chats?q= over loopback: words that are nowhere (every message is read), in one chat, everywhere
    typed         from the last key in the search box to the rows that answer it (220 ms of that is the pause)

`--slow 4` throttles the browser's CPU as a phone's.
"""

import argparse
import asyncio
import random
import shutil
import statistics
import sys
import tempfile
import time
from collections.abc import Sequence
from datetime import timedelta
from pathlib import Path
from typing import Any

import httpx
from playwright.async_api import CDPSession, Page, async_playwright

from functions import webbuild
from functions.adapters import sqlite_chats, sqlite_schema
from functions.chat.messages import Chat, Message, new_id, utc_now
from tests.house import open_house

WORDS = Path(__file__).parents[2].joinpath("README.md").read_text().split()
MESSAGES = 4
ROUNDS = 15
LATE_MS = 25  # a frame of 60 Hz has been missed
SCROLL = """async (step) => {
  const list = document.querySelector('.chat-list');
  const most = list.scrollHeight - list.clientHeight;
  const gaps = [];
  list.scrollTop = step > 0 ? 0 : most;
  let last = await new Promise(requestAnimationFrame);
  for (let frame = 0; frame < 240; frame++) {
    list.scrollTop = (list.scrollTop + step + most) % most;
    const now = await new Promise(requestAnimationFrame);
    gaps.push(now - last);
    last = now;
  }
  return gaps;
}"""
READ_ALL = """async () => {
  const list = document.querySelector('.chat-list');
  const began = performance.now();
  for (let last = -1, still = 0; still < 60; ) {
    list.scrollTop = list.scrollHeight;
    await new Promise(requestAnimationFrame);
    still = list.scrollHeight === last ? still + 1 : 0;
    last = list.scrollHeight;
  }
  return performance.now() - began;
}"""


def say(text: str) -> None:
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


def seed(path: Path, owner: str, count: int) -> None:
    """Chats of four messages, the newest now and each 37 minutes older; one says `pangolin`."""
    dice = random.Random(7)
    db = sqlite_schema.open_file(path)
    db.execute("BEGIN IMMEDIATE")
    now = utc_now()
    for number in range(count):
        at = now - timedelta(minutes=37 * number)
        ms = int(at.timestamp() * 1000)
        title = " ".join(dice.choices(WORDS, k=5))
        chat = Chat(
            id=new_id(ms), title=title, model=None, system_prompt=None, created_at=at, updated_at=at, pinned=number == 9
        )
        sqlite_chats.create_chat(db, owner, chat)
        row, _ = sqlite_chats.find_chat(db, owner, chat.id)
        parent = None
        for turn in range(MESSAGES):
            text = " ".join(dice.choices(WORDS, k=200 if turn % 2 else 30))
            if number == count // 2 and turn == 1:
                text += " pangolin"
            message = Message(
                id=new_id(ms + turn),
                chat_id=chat.id,
                parent_id=parent,
                role="assistant" if turn % 2 else "user",
                content=text,
                created_at=at,
            )
            sqlite_chats.store_message(db, row, message)
            parent = message.id
    db.execute("COMMIT")
    db.close()


async def search(http: httpx.AsyncClient, query: str) -> str:
    took = []
    for _ in range(ROUNDS):
        began = time.perf_counter()
        found = (await http.get("/chats", params={"q": query, "limit": 50})).json()["data"]
        took.append((time.perf_counter() - began) * 1000)
    return f"{query!r}: {statistics.median(took):.0f} ms (worst {max(took):.0f}), {len(found)} chats"


async def typed(page: Page, query: str) -> float:
    """Milliseconds from the last key to its rows."""
    box = page.get_by_label("Search chats")
    await box.fill(query[:-1])
    await page.wait_for_timeout(900)
    began: float = await page.evaluate("performance.now()")
    await box.press_sequentially(query[-1])
    return await page.evaluate(
        """([query, began]) => new Promise((resolve) => {
          const says = (mark) => mark.textContent.toLowerCase() === query;
          const isThere = () => [...document.querySelectorAll('.row mark')].some(says);
          const look = () => isThere() ? resolve(performance.now() - began) : requestAnimationFrame(look);
          look();
        })""",
        [query, began],
    )


async def busy_ms(client: CDPSession) -> float:
    """What the page's main thread has worked so far: its CPU time, whatever else the machine does."""
    metrics = (await client.send("Performance.getMetrics"))["metrics"]
    return float(next(one["value"] for one in metrics if one["name"] == "TaskDuration")) * 1000


async def in_browser(page: Page, url: str, count: int, slow: int) -> None:
    client = await page.context.new_cdp_session(page)
    await client.send("Emulation.setCPUThrottlingRate", {"rate": slow})
    await client.send("Performance.enable", {"timeDomain": "threadTicks"})
    began = time.perf_counter()
    await page.goto(url)
    await page.locator(".row").first.wait_for()
    say(f"first rows    {(time.perf_counter() - began) * 1000:.0f} ms")
    took = await page.evaluate(READ_ALL)
    pages = count / 50
    say(f"reading all   {took / 1000:.1f} s, {took / pages:.0f} ms a page of 50")
    for name, step in (("still", 0), ("wheel", 120), ("fling", 600), ("dragged", 3_000)):
        before = await busy_ms(client)
        gaps: list[float] = await page.evaluate(SCROLL, step)
        busy = (await busy_ms(client) - before) / len(gaps)
        late = sum(1 for gap in gaps if gap > LATE_MS)
        say(f"{name:13} {step} px a frame: {busy:.1f} ms of CPU a frame; {late} of {len(gaps)} late")
    say(f"drawn         {await page.locator('.row').count()} rows of {count}")
    await client.send("HeapProfiler.collectGarbage")
    usage: dict[str, Any] = await client.send("Runtime.getHeapUsage")
    say(f"heap          {usage['usedSize'] / 1e6:.1f} MB")
    for query in ("pangolin", "gpu"):
        say(f"typed         {query!r}: {await typed(page, query):.0f} ms")


async def measure(count: int, slow: int, web: Path) -> None:
    chromium = shutil.which("chromium")
    assert chromium, "no Chromium: apt install chromium"
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        seed(folder / "parley.db", "local", count)
        say(f"{count} chats of {MESSAGES} messages, {(folder / 'parley.db').stat().st_size / 1e6:.0f} MB; CPU / {slow}")
        async with open_house(folder, web=web) as house:
            for query in ("nowhere at all", "pangolin", "gpu"):
                say(f"search        {await search(house.http, query)}")
            async with async_playwright() as playwright:
                browser = await playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
                page = await browser.new_page(viewport={"width": 1280, "height": 800}, locale="en-GB")
                await in_browser(page, house.url, count, slow)
                await browser.close()


def main(arguments: Sequence[str]) -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.bench.sidebar")
    parser.add_argument("chats", nargs="?", type=int, default=10_000)
    parser.add_argument("--slow", type=int, default=1)
    parser.add_argument("--web", type=Path, default=webbuild.DIST)
    options = parser.parse_args(arguments)
    asyncio.run(measure(options.chats, options.slow, options.web))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
