"""The files of the web client: packed as far as a browser reads it, kept as long as their name says."""

import gzip
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import httpx
import pytest
from fastapi import FastAPI

from functions.app import create_app
from functions.services import Services

SCRIPT = b"export const words = 'a script';"
NAME = "/assets/index-aB3dE6gH.js"


@pytest.fixture
def built(tmp_path: Path) -> Path:
    (tmp_path / "assets").mkdir()
    (tmp_path / "index.html").write_text("<!doctype html>")
    (tmp_path / "sw.js").write_bytes(SCRIPT)
    file = tmp_path / NAME[1:]
    file.write_bytes(SCRIPT)
    file.with_name(f"{file.name}.gz").write_bytes(gzip.compress(SCRIPT))
    file.with_name(f"{file.name}.br").write_bytes(b"brotli")
    return tmp_path


@asynccontextmanager
async def nothing() -> AsyncIterator[Services]:
    raise AssertionError("files need no services")
    yield


@pytest.fixture
def app(built: Path) -> FastAPI:
    return create_app(nothing, built)


@pytest.fixture
async def client(app: FastAPI) -> AsyncIterator[httpx.AsyncClient]:
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://parley") as opened:
        yield opened


@pytest.mark.parametrize(
    ("accepted", "encoding", "body"),
    [
        ("gzip, deflate", "gzip", gzip.compress(SCRIPT)),
        ("gzip, deflate, br, zstd", "br", b"brotli"),
        ("gzip;q=0.5, br;q=0", "gzip", gzip.compress(SCRIPT)),
        ("identity", None, SCRIPT),
    ],
    ids=["gzip", "brotli", "refused", "plain"],
)
async def test_a_script_is_sent_in_the_smallest_form_that_the_browser_reads(
    client: httpx.AsyncClient, accepted: str, encoding: str | None, body: bytes
) -> None:
    async with client.stream("GET", NAME, headers={"accept-encoding": accepted}) as answer:
        raw = b"".join([part async for part in answer.aiter_raw()])

    assert (answer.headers.get("content-encoding"), len(raw)) == (encoding, len(body))
    assert answer.headers["content-type"].startswith("text/javascript")
    assert "immutable" in answer.headers["cache-control"]
    assert "accept-encoding" in answer.headers["vary"].lower()


async def test_what_has_no_hash_in_its_name_is_asked_for_again(client: httpx.AsyncClient) -> None:
    for path in ("/", "/sw.js"):
        answer = await client.get(path)
        assert answer.headers["cache-control"] == "no-cache"
        assert "content-encoding" not in answer.headers

    again = await client.get("/sw.js", headers={"if-none-match": answer.headers["etag"]})
    assert again.status_code == 304
