"""Answers from one's own documents, as a person sees them: upload, progress, citations, passages. The real app."""

import re
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from playwright.async_api import Page, expect

from tests.e2e.browsing import browser_page, say
from tests.house import House, open_house
from tests.knowledge.conftest import readers
from tests.simulated import Scenario

RUNBOOK = """# Runbook

## Paging

Whoever is on call acknowledges the page within five minutes. If nobody does, it goes to the second in line.

## Backups

Backups are taken every night at two and kept for thirty days.
"""


@pytest.fixture
async def house(tmp_path: Path, web_client: Path) -> AsyncIterator[House]:
    scenario = Scenario(text="Within five minutes [1], or it moves on [1, 99].")
    async with open_house(tmp_path, scenario, web=web_client) as opened:
        yield opened


def runbook(folder: Path, name: str = "runbook.md", text: str = RUNBOOK) -> Path:
    file = folder / name
    file.write_text(text)
    return file


async def upload(page: Page, *files: Path) -> None:
    await page.locator("input[type=file]").set_input_files(list(files))


async def test_a_document_is_uploaded_read_cited_and_its_passage_opens(page: Page, tmp_path: Path) -> None:
    # Without documents the button leads to where they are added.
    ground = page.get_by_role("button", name="Use knowledge")
    await ground.click()
    await upload(page, runbook(tmp_path))
    document = page.get_by_role("dialog", name="Knowledge").get_by_role("listitem")
    await expect(document).to_contain_text("passage")
    await page.keyboard.press("Escape")

    await ground.click()
    await expect(ground).to_have_attribute("aria-pressed", "true")
    await say(page, "How soon must a page be acknowledged?")

    answer = page.locator("article.assistant")
    await expect(answer.locator(".prose .cite")).to_have_text(["1"])  # 99 is no passage: it stays text
    await expect(answer.locator(".prose")).to_contain_text("[1, 99]")
    await answer.locator(".prose .cite").click()
    passage = page.get_by_role("dialog", name="Source 1")
    await expect(passage).to_contain_text("acknowledges the page within five minutes")
    await expect(passage).to_contain_text("Runbook")
    await page.keyboard.press("Escape")

    await page.reload()
    await expect(answer.get_by_role("navigation", name="Sources").get_by_role("button")).to_have_count(1)
    await expect(page.get_by_role("button", name="Use knowledge")).to_have_attribute("aria-pressed", "true")


async def test_a_file_that_cannot_be_read_says_why_and_a_deleted_one_can_be_brought_back(
    page: Page, house: House, tmp_path: Path
) -> None:
    await page.get_by_role("button", name="Knowledge", exact=True).click()
    rows = page.get_by_role("dialog", name="Knowledge").get_by_role("listitem")
    await upload(page, runbook(tmp_path), runbook(tmp_path, "broken.pdf", "%PDF-1.7 and no more"))
    await expect(rows.filter(has_text="runbook")).to_contain_text("passage")
    await expect(rows.filter(has_text="broken.pdf").locator(".bad")).not_to_be_empty()

    await rows.filter(has_text="unbook").get_by_role("button", name=re.compile("^Delete")).click()
    await page.get_by_role("button", name="Undo").click()
    await rows.filter(has_text="unbook").get_by_role("button", name=re.compile("^Delete")).click()
    async with page.expect_response(lambda answer: answer.request.method == "DELETE"):
        await page.keyboard.press("Escape")
    left = (await house.http.get("/knowledge")).json()["data"]
    assert "runbook.md" not in [document["filename"] for document in left]


async def test_files_dropped_on_the_message_box_become_documents(page: Page, house: House) -> None:
    await page.evaluate(
        """() => {
          const dataTransfer = new DataTransfer();
          dataTransfer.items.add(new File(['# Tea\\n\\nTea is served at four.'], 'tea.md', { type: 'text/markdown' }));
          const drop = new DragEvent('drop', { dataTransfer, bubbles: true, cancelable: true });
          document.querySelector('#composer').dispatchEvent(drop);
        }"""
    )
    # A small text may also go with the message; the reader says which.
    await page.get_by_role("button", name="Add to knowledge instead").click()

    await expect(page.get_by_role("dialog", name="Knowledge").get_by_role("listitem")).to_contain_text("1 passage")
    assert [one["filename"] for one in (await house.http.get("/knowledge")).json()["data"]] == ["tea.md"]


async def test_collections_are_made_renamed_and_deleted_with_what_is_in_them(
    page: Page, house: House, tmp_path: Path
) -> None:
    await page.get_by_role("button", name="Knowledge", exact=True).click()
    dialog = page.get_by_role("dialog", name="Knowledge")
    await dialog.get_by_role("button", name="New collection").click()
    await dialog.get_by_label("Name of the collection").fill("Handbook")
    await dialog.get_by_label("Share it with people").check()
    await dialog.get_by_role("button", name="Create").click()
    await expect(dialog.get_by_label("Collection", exact=True)).to_contain_text("Handbook (Shared)")
    await upload(page, runbook(tmp_path))
    await expect(dialog.get_by_role("listitem")).to_contain_text("passage")

    await dialog.get_by_role("button", name="Options of this collection").click()
    await page.get_by_role("menuitem", name="People").click()
    await dialog.get_by_label("Name of a person").fill("ann")
    await dialog.get_by_role("button", name="Add", exact=True).click()
    await expect(dialog.get_by_role("list", name="People")).to_contain_text("ann")
    await dialog.get_by_role("button", name="Cancel").click()

    await dialog.get_by_role("button", name="Options of this collection").click()
    await page.get_by_role("menuitem", name="Delete collection").click()
    await expect(dialog).to_contain_text("“Handbook” with its document")
    await dialog.get_by_role("button", name="Delete", exact=True).click()
    await expect(dialog.get_by_text("No documents yet")).to_be_visible()
    assert (await house.http.get("/collections")).json()["data"] == []


async def test_what_another_shares_is_used_once_its_reader_says_so(
    chromium: str, web_client: Path, tmp_path: Path
) -> None:
    async with (
        readers(tmp_path, "ann", "ben", web=web_client) as (ann, ben),
        browser_page(chromium, ben.house.url) as page,
    ):
        shelf = (await ann.ask("POST", "/collections", json={"name": "Team", "shared": True})).json()["id"]
        await ann.add("runbook.md", RUNBOOK, collection=shelf)
        await ann.ask("PUT", f"/collections/{shelf}/members/{ben.name}", json={"role": "reader"})
        await page.get_by_label("Access token", exact=True).fill(f"token of {ben.name}")
        await page.get_by_role("button", name="Sign in").click()

        await page.get_by_role("button", name="Knowledge", exact=True).click()
        dialog = page.get_by_role("dialog", name="Knowledge")
        await expect(dialog).to_contain_text(f"{ann.name} shares this with you")
        await expect(dialog.get_by_role("button", name="Add files")).to_have_count(0)
        assert await ben.search("acknowledge a page") == []
        await dialog.get_by_role("button", name="Use it").click()
        await expect(dialog).to_contain_text("Your answers may lean on it.")
        assert len(await ben.search("acknowledge a page")) == 1

        await dialog.get_by_role("button", name="Leave").click()
        await expect(dialog.get_by_text("No documents yet")).to_be_visible()
        assert (await ben.ask("GET", "/collections")).json()["data"] == []
