"""The whole house for a test: the real app on a real socket, over a simulated engine on another.

The server has a thread and an event loop of its own, as it has in life; tests speak to it through sockets only.
"""

import asyncio
import json
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import uvicorn

from functions.app import create_app
from functions.chat.messages import new_id
from functions.front import BoundedHttp
from functions.inference.nodes import Node, ServedModel
from functions.services import open_services
from functions.settings import Settings
from functions.workers.embedded import working
from tests.simulated import Scenario, SimulatedEngine


@dataclass(frozen=True)
class Event:
    """One server-sent event as a client sees it."""

    id: int | None
    name: str
    data: dict[str, Any]


def parse_events(text: str) -> list[Event]:
    events = []
    for block in text.split("\n\n"):
        fields: dict[str, str] = {}
        for line in block.splitlines():
            if not line.startswith(":"):
                name, _, value = line.partition(": ")
                fields[name] = value
        if "data" in fields:
            seq = int(fields["id"]) if "id" in fields else None
            events.append(Event(seq, fields.get("event", "message"), json.loads(fields["data"])))
    return events


def text_of(events: list[Event]) -> str:
    return "".join(e.data["text"] for e in events if e.name == "delta")


@dataclass
class House:
    url: str
    engine: SimulatedEngine
    settings: Settings
    http: httpx.AsyncClient
    chats: list[str] = field(default_factory=list)
    shut_down: Callable[[], None] | None = None  # as Ctrl-C begins it: runs are released, sockets still open
    lose_leases: Callable[[], None] | None = None  # as a store that refuses a checkpoint does

    async def open_chat(self, **body: Any) -> str:
        answer = await self.http.post("/chat", json=body)
        assert answer.status_code == 201, answer.text
        chat_id: str = answer.json()["id"]
        return chat_id

    async def say(self, chat_id: str, content: str, message_id: str | None = None, **body: Any) -> list[Event]:
        """Send a message and read its run to the end."""
        message = {"id": message_id or new_id(), "content": content}
        answer = await self.http.post(f"/chat/{chat_id}/completion", json={"message": message, **body})
        assert answer.status_code == 200, answer.text
        return parse_events(answer.text)

    @asynccontextmanager
    async def saying(self, chat_id: str, content: str, **message: Any) -> AsyncIterator["Listener"]:
        """Send a message and listen as it comes."""
        body = {"message": {"id": new_id(), "content": content, **message}}
        async with self.http.stream("POST", f"/chat/{chat_id}/completion", json=body) as response:
            yield Listener(response)


class Listener:
    """Reads events one by one from an open stream."""

    def __init__(self, response: httpx.Response) -> None:
        self.response = response
        self._events = self._read()

    async def _read(self) -> AsyncIterator[Event]:
        buffer = ""
        async for text in self.response.aiter_text():
            buffer += text
            while "\n\n" in buffer:
                block, buffer = buffer.split("\n\n", 1)
                for event in parse_events(block + "\n\n"):
                    yield event

    async def next(self) -> Event:
        return await asyncio.wait_for(anext(self._events), 10)

    async def until(self, name: str) -> Event:
        while (event := await self.next()).name != name:
            pass
        return event

    async def rest(self) -> list[Event]:
        return [event async for event in self._events]

    @property
    def run_id(self) -> str:
        return self.response.headers["x-run-id"]


class Serving:
    """`with Serving(settings, nodes) as url:`"""

    def __init__(self, settings: Settings, nodes: list[Node]) -> None:
        self._settings, self._nodes = settings, nodes
        config = uvicorn.Config(
            create_app(self._open, settings.web),
            http=BoundedHttp,
            port=0,
            log_config=None,
            access_log=False,
            proxy_headers=False,
            timeout_graceful_shutdown=2,
        )
        self._server = uvicorn.Server(config)
        self._thread = threading.Thread(target=self._server.run, name="house")
        self.services: Any = None  # for the few tests that must reach inside

    @asynccontextmanager
    async def _open(self) -> AsyncIterator[Any]:
        async with open_services(self._settings, self._nodes) as services:
            self.services, self._loop = services, asyncio.get_running_loop()
            async with working(services, idle_s=0.05):
                yield services

    def shut_down(self) -> None:
        asyncio.run_coroutine_threadsafe(self.services.runs.close(), self._loop).result(10)

    def lose_leases(self) -> None:
        async def lose() -> None:
            for live in list(self.services.runs._live.values()):
                live._lose(TimeoutError())

        asyncio.run_coroutine_threadsafe(lose(), self._loop).result(10)

    def __enter__(self) -> str:
        self._thread.start()
        for _ in self._until_started():
            assert self._thread.is_alive(), "the server did not start"
        port = self._server.servers[0].sockets[0].getsockname()[1]
        return f"http://127.0.0.1:{port}"

    def _until_started(self) -> Iterator[None]:
        while not self._server.started:
            self._thread.join(0.01)
            yield

    def __exit__(self, *_: object) -> None:
        self._server.should_exit = True
        self._thread.join(10)


def sleeping(engine: SimulatedEngine) -> list[Node]:
    """A serverless node: nobody probes it, so only a request begins its start."""
    return [Node(engine.url, name="gpu", serverless=True, models=[ServedModel(id="sim", context_tokens=4096)])]


@asynccontextmanager
async def open_house(
    folder: Path,
    scenario: Scenario | None = None,
    nodes: Callable[[SimulatedEngine], list[Node]] = lambda engine: [Node(engine.url, name="sim")],
    **settings: Any,
) -> AsyncIterator[House]:
    # Titles are off: a test counts the requests that it makes itself.
    values: dict[str, Any] = {"store_url": f"sqlite:///{folder / 'parley.db'}", "data": folder, "titles": False}
    values |= settings
    configured = Settings(**values)
    async with SimulatedEngine(scenario or Scenario(echo=True)) as engine:
        serving = await asyncio.to_thread(Serving, configured, nodes(engine))  # it looks for the client's files
        url = await asyncio.to_thread(serving.__enter__)
        try:
            # No TLS on loopback: reading the authorities' file would be an eighth of a house's CPU.
            async with httpx.AsyncClient(base_url=url, timeout=20, verify=False) as http:
                yield House(url, engine, configured, http, shut_down=serving.shut_down, lose_leases=serving.lose_leases)
        finally:
            await asyncio.to_thread(serving.__exit__)
