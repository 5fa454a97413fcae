"""Addresses that somebody sends: nothing of ours goes there (SSRF), wherever they stand."""

import asyncio
import io
import json
import zipfile
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from tests.house import House, open_house
from tests.knowledge import files


class Target:
    """Listens, and counts who comes."""

    url = ""
    visits = 0

    async def visited(self, _: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.visits += 1
        writer.close()


@pytest.fixture
async def target() -> AsyncIterator[Target]:
    target = Target()
    async with await asyncio.start_server(target.visited, "127.0.0.1", 0) as server:
        target.url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
        yield target
        before = target.visits
        _, visit = await asyncio.open_connection(*server.sockets[0].getsockname())
        visit.close()
        async with asyncio.timeout(10):  # it does count, else nothing was proved
            while target.visits == before:
                await asyncio.sleep(0)


def a_page(url: str) -> bytes:
    head = (
        f'<base href="{url}/"><link rel="stylesheet" href="{url}/c.css"><meta http-equiv="refresh" content="0;{url}">'
    )
    body = f'<img src="{url}/i.png"><iframe src="{url}"></iframe><object data="{url}"></object><script src="{url}">'
    return f'<!DOCTYPE html SYSTEM "{url}/dtd">{head}<p>Bees fly over the meadow.</p>{body}</script>'.encode()


def a_word_document(url: str) -> bytes:
    """With a template, a picture, a definition and entities elsewhere."""
    kind = "http://schemas.openxmlformats.org/officeDocument/2006/relationships"
    away = "".join(
        f'<Relationship Id="x{what}" TargetMode="External" Type="{kind}/{what}" Target="{url}/{what}"/>'
        for what in ("attachedTemplate", "image", "oleObject", "subDocument")
    )
    head = f'<!DOCTYPE w SYSTEM "{url}/dtd" [<!ENTITY x SYSTEM "{url}/x"><!ENTITY % p SYSTEM "{url}/p"> %p;]>'
    made = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(files.a_docx())) as source, zipfile.ZipFile(made, "w") as changed:
        for name in source.namelist():
            text = source.read(name)
            if name == "word/_rels/document.xml.rels":
                text = text.replace(b"</Relationships>", away.encode() + b"</Relationships>")
            if name == "word/document.xml":
                start = text.index(b"<w:document")
                text = text[:start] + head.encode() + text[start:].replace(b"Everybody", b"&x; Everybody")
            changed.writestr(name, text)
    return made.getvalue()


async def test_no_address_that_is_sent_is_ever_fetched(tmp_path: Path, target: Target) -> None:
    url = target.url
    async with open_house(tmp_path) as house:
        http = house.http
        for content in (
            [{"type": "image_url", "image_url": {"url": f"{url}/i.png"}}],
            [{"type": "text", "text": "look"}, {"type": "input_audio", "input_audio": {"data": url, "format": "wav"}}],
            [{"type": "file", "file": {"file_data": url}}],
        ):
            refused = await http.post("/v1/chat/completions", json=asked(content))
            assert refused.status_code == 400, refused.text
        for more in (
            {"tools": [{"type": "function", "function": {"name": "f", "parameters": {"$ref": url}}}]},
            {"response_format": {"type": "json_schema", "json_schema": {"name": "s", "schema": {"$ref": url}}}},
            {"base_url": url, "web_search_options": {"url": url}, "chat_template": url},
        ):
            answered = await http.post("/v1/chat/completions", json=asked(f"![x]({url}/i.png) read {url}") | more)
            assert answered.status_code == 200, answered.text
        await house.say(await house.open_chat(title=url, system_prompt=url), f"Fetch {url} and ![this]({url}/i.png)")
        assert (await http.put("/nodes/mine", json={"url": url, "models": []})).status_code == 404
        page = await read(house, "page.html", a_page(url))
        document = await read(house, "staff.docx", a_word_document(url))

        sent = json.dumps(house.engine.stats.requests)
    assert (page["status"], document["status"]) == ("ready", "ready")
    assert "chat_template" not in sent  # what a node might run is not passed on
    assert target.visits == 0


def asked(content: Any) -> dict[str, Any]:  # OpenAI's wire
    return {"model": "sim", "messages": [{"role": "user", "content": content}]}


async def read(house: House, name: str, data: bytes) -> dict[str, Any]:
    """The document, once the worker has read it."""
    added = await house.http.post("/knowledge", params={"filename": name}, content=data)
    assert added.status_code == 202, added.text
    for _ in range(2000):
        document: dict[str, Any] = (await house.http.get(f"/knowledge/{added.json()['id']}")).json()
        if document["status"] in ("ready", "failed"):
            return document
    raise AssertionError("the document was never read")
