"""The house with its client, and a page of it."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from playwright.async_api import Page, expect

from tests.e2e.browsing import browser_page
from tests.house import House, open_house

# How long a busy machine may take before what is awaited counts as missing. Speed is measured elsewhere.
expect.set_options(timeout=20_000)


@pytest.fixture
async def house(tmp_path: Path, web_client: Path) -> AsyncIterator[House]:
    async with open_house(tmp_path, web=web_client) as opened:
        yield opened


@pytest.fixture
async def page(chromium: str, house: House) -> AsyncIterator[Page]:
    async with browser_page(chromium, house.url) as opened:
        yield opened
