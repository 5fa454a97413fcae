"""The installed client over the real app: its policy lets the worker in, and what was opened is read offline."""

import gzip
import re

import httpx
from playwright.async_api import Page, expect

from tests.e2e.browsing import say
from tests.house import House

IN_CHARGE = "navigator.serviceWorker.ready.then(() => navigator.serviceWorker.controller !== null)"


async def test_an_answer_is_read_again_without_a_network_and_goes_on_with_it(page: Page, house: House) -> None:
    await say(page, "What is kept when the line is down?")
    answer = await page.locator("article.assistant .prose").inner_text()
    await page.wait_for_function(IN_CHARGE)
    await page.context.set_offline(True)
    await page.reload()

    await expect(page.locator("article.assistant .prose")).to_have_text(re.compile(re.escape(answer[:40])))
    await expect(page.locator(".strip")).to_contain_text("offline")

    await page.context.set_offline(False)
    await expect(page.locator(".strip")).to_have_count(0)
    await say(page, "And now?")


async def test_the_entry_script_comes_packed(house: House) -> None:
    async with httpx.AsyncClient(base_url=house.url) as http:
        text = (await http.get("/")).text
        name = next(iter(re.findall(r'src="(/assets/index-[^"]+\.js)"', text)))
        async with http.stream("GET", name, headers={"accept-encoding": "gzip"}) as answer:
            packed = b"".join([part async for part in answer.aiter_raw()])
        plain = (await http.get(name, headers={"accept-encoding": "identity"})).content

    assert answer.headers["content-encoding"] == "gzip"
    assert gzip.decompress(packed) == plain
