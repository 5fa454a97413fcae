"""A house with users and documents, on either store."""

import asyncio
import hashlib
import uuid
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest

from functions.inference.nodes import Node, ServedModel
from functions.services import open_store
from tests.house import House, open_house
from tests.simulated import SimulatedEngine

EMBEDDER = "sim-embedder"


@dataclass
class Reader:
    """One user's way in."""

    name: str
    house: House

    @property
    def headers(self) -> dict[str, str]:
        return {"authorization": f"Bearer token of {self.name}"}

    async def ask(self, method: str, path: str, **more: Any) -> httpx.Response:
        headers = self.headers | more.pop("headers", {})
        return await self.house.http.request(method, path, headers=headers, **more)

    async def upload(self, name: str, data: bytes | str, *, media_type: str = "", **params: str) -> httpx.Response:
        content = data.encode() if isinstance(data, str) else data
        headers = {"content-type": media_type} if media_type else {}
        return await self.ask(
            "POST", "/knowledge", params={"filename": name} | params, content=content, headers=headers
        )

    async def until_read(self, document_id: str) -> dict[str, Any]:
        """The document once it is ready, or has failed."""
        async with asyncio.timeout(30):
            while True:
                found = await self.ask("GET", f"/knowledge/{document_id}")
                assert found.status_code == 200, found.text
                document: dict[str, Any] = found.json()
                if document["status"] in ("ready", "failed"):
                    return document
                await asyncio.sleep(0.03)  # a poll, as a client's

    async def add(self, name: str, data: bytes | str, **how: str) -> dict[str, Any]:
        sent = await self.upload(name, data, **how)
        assert sent.status_code == 202, sent.text
        return await self.until_read(sent.json()["id"])

    async def search(self, question: str, **params: Any) -> list[dict[str, Any]]:
        found = await self.ask("GET", "/knowledge/search", params={"q": question} | params)
        assert found.status_code == 200, found.text
        data: list[dict[str, Any]] = found.json()["data"]
        return data


def with_embedder(engine: SimulatedEngine) -> list[Node]:
    """The simulated engine chats and embeds."""
    return [
        Node(engine.url, name="sim"),
        Node(engine.url, name="embed", models=[ServedModel(id=EMBEDDER, task="embed")]),
    ]


@asynccontextmanager
async def readers(folder: Path, *names: str, **how: Any) -> AsyncIterator[list[Reader]]:
    """A house in which these have tokens; the names are made unique, because tests may share tables."""
    unique = [f"{name}-{uuid.uuid4().hex[:8]}" for name in names]
    tokens = ",".join(f"{n}={hashlib.sha256(f'token of {n}'.encode()).hexdigest()}" for n in unique)
    async with open_house(folder, auth="token", access_tokens=tokens, **how) as house:
        yield [Reader(name, house) for name in unique]


@pytest.fixture(scope="session")
def dynamo_url(ministack: str) -> str:
    """Tables of our own, made once."""
    url = f"dynamodb://shelf{uuid.uuid4().hex[:8]}?region=eu-central-1&endpoint={ministack}"

    async def create() -> None:
        await (await open_store(url, create=True)).close()

    asyncio.run(create())
    return url


@pytest.fixture(params=["sqlite", "dynamo"])
def store_url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path / 'parley.db'}"
    url: str = request.getfixturevalue("dynamo_url")
    return url


@pytest.fixture
async def ann_and_ben(tmp_path: Path, store_url: str) -> AsyncIterator[tuple[Reader, Reader]]:
    async with readers(tmp_path, "ann", "ben", store_url=store_url) as (ann, ben):
        yield ann, ben


@pytest.fixture
async def ann(tmp_path: Path) -> AsyncIterator[Reader]:
    async with readers(tmp_path, "ann") as (only,):
        yield only
