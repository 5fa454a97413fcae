"""Signing in through an issuer: the real client in a real browser, the real app, a real issuer."""

from pathlib import Path

from playwright.async_api import expect

from tests.e2e.browsing import browser_page, say
from tests.house import open_house
from tests.issuer import ADA, RunningIssuer

STRANGER = {"sub": "eve-1", "email": "eve@example.org", "email_verified": True, "name": "Eve"}


async def test_a_person_signs_in_chats_signs_out_and_a_stranger_reads_why_not(
    tmp_path: Path, web_client: Path, chromium: str
) -> None:
    with RunningIssuer() as issuer:
        settings = issuer.settings() | {"admins": ADA["email"]}
        async with (
            open_house(tmp_path, web=web_client, **settings) as house,
            browser_page(chromium, house.url, also=issuer.url) as page,
        ):
            await page.goto(f"{house.url}/#/settings/sessions")
            await page.get_by_role("button", name="Sign in").click()
            await expect(page.get_by_role("button", name="Ada: account")).to_be_visible()
            assert page.url == f"{house.url}/#/settings/sessions"  # where they wanted to go
            await page.keyboard.press("Escape")
            await say(page, "Hello")
            kept = await page.evaluate("JSON.stringify([localStorage, sessionStorage, document.cookie, location.href])")
            assert not any(secret in kept for secret in ("eyJ", "code=", "parley_session"))

            await page.get_by_role("button", name="Ada: account").click()
            await page.get_by_role("menuitem", name="Sign out").click()
            await page.wait_for_url(f"{issuer.url}/logout*")  # signed out there as well
            assert (await page.request.get(f"{house.url}/me")).status == 401

            await page.goto(house.url)
            issuer.person = dict(STRANGER)
            await page.get_by_role("button", name="Sign in").click()
            await expect(page.get_by_text("has no invitation here")).to_be_visible()
            assert (await page.request.get(f"{house.url}/me")).status == 401
