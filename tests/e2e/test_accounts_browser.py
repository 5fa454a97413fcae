"""Somebody is invited, comes in, works with a key of their own, and is shut out again: the real app and the real
client, two browsers."""

import hashlib
import re
from pathlib import Path

import httpx
from playwright.async_api import expect

from tests.e2e.browsing import browser_page, say
from tests.house import open_house


async def test_a_person_is_invited_comes_in_makes_a_key_and_is_shut_out(
    tmp_path: Path, web_client: Path, chromium: str
) -> None:
    tokens = "ada=" + hashlib.sha256(b"sesame").hexdigest()
    async with (
        open_house(tmp_path, web=web_client, auth="token", access_tokens=tokens, admins="ada") as house,
        browser_page(chromium, house.url) as ada,
    ):
        await ada.get_by_label("Access token").fill("sesame")
        await ada.get_by_role("button", name="Sign in").click()
        await ada.get_by_role("button", name="ada: account").click()
        await ada.get_by_role("menuitem", name="Administration").click()
        await ada.get_by_role("tab", name="Invitations").click()
        await ada.get_by_label("Name").fill("grace")
        await ada.get_by_role("button", name="Invite").click()
        link = await ada.get_by_role("region", name="Link").inner_text()

        async with browser_page(chromium, house.url) as grace:
            await grace.goto(link)
            await grace.get_by_role("button", name="Accept the invitation").click()
            await expect(grace.get_by_role("heading")).to_have_text("Welcome, grace")
            assert link.rpartition("/")[2] not in grace.url
            await grace.get_by_role("button", name="Begin").click()
            await say(grace, "Hello")

            await grace.get_by_role("button", name="grace: account").click()
            await expect(grace.get_by_role("menuitem", name="Administration")).to_have_count(0)
            await grace.get_by_role("menuitem", name="API keys").click()
            await grace.get_by_label("Name").fill("Notebook")
            await grace.get_by_role("button", name="Create key").click()
            key = await grace.get_by_role("region", name="API keys").inner_text()
            async with httpx.AsyncClient(base_url=house.url, headers={"Authorization": f"Bearer {key}"}) as program:
                assert (await program.get("/me")).json()["id"] == "grace"
                await grace.get_by_role("button", name="Revoke Notebook").click()
                await grace.get_by_role("group").get_by_role("button", name="Revoke").click()
                await expect(grace.get_by_role("button", name="Revoke Notebook")).to_have_count(0)
                assert (await program.get("/me")).status_code == 401
            await grace.keyboard.press("Escape")
            await grace.locator("#composer").fill("Half a thought")

            for part in ("Limits", "Models", "Guardrails"):
                await ada.get_by_role("tab", name=part).click()
                await expect(ada.get_by_role("tabpanel").locator(".note.error")).to_have_count(0)
                await expect(ada.get_by_role("tabpanel").get_by_text("Loading", exact=True)).to_have_count(0)
                await expect(ada.get_by_role("tabpanel").locator(".note.error")).to_have_count(0)
            await ada.get_by_role("tab", name="Pause").click()
            await ada.get_by_label("Reason").fill("Moving")
            await ada.get_by_role("button", name="Pause Parley").click()
            await grace.locator("#composer").press("Enter")
            await expect(grace.locator(".strip")).to_have_text("New answers are paused: Moving")
            await expect(grace.locator(".turn.failed, .note.error").first).to_contain_text("Not sent")
            await ada.get_by_role("button", name="Go on").click()

            await ada.get_by_role("tab", name="Users").click()
            await ada.get_by_role("button", name=re.compile("^grace")).click()
            await ada.get_by_role("button", name="Suspend").click()
            await ada.get_by_role("group").get_by_role("button", name="Suspend").click()
            await expect(ada.get_by_text("Suspended", exact=True)).to_be_visible()
            await grace.get_by_role("button", name="Usage").click()
            await expect(grace.get_by_text("Your session has ended.")).to_be_visible()
