"""Real vLLM for the tests of this folder. Without `.vllm/` they are skipped, and say how to get it.

Three servers at most, each started when the first test asks for it and kept to the end.
"""

import asyncio
import os
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AsyncExitStack, aclosing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from functions.chat.messages import Sampling
from functions.inference.gateway import End, Gateway, Token, Waiting
from functions.inference.nodes import Node
from tests.vllm.install import READY
from tests.vllm.servers import START_SECONDS, Server, chat_model, embedding_model, guessing_model, make_tiny

WHY_NOT = "vLLM on CPU is not installed: python tests/vllm/install.py (2.5 GB)"


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", "vllm: needs real vLLM in .vllm/, and minutes; tests/vllm/install.py")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if item.path.is_relative_to(Path(__file__).parent):
            item.add_marker(pytest.mark.vllm)
            if not (READY.exists() or os.environ.get("VLLM_TEST_PROGRAM")):
                item.add_marker(pytest.mark.skip(reason=WHY_NOT))


class Fleet:
    """The servers by the name of their role; one that was killed is started again for who asks next."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._servers: dict[str, Server] = {}

    def get(self, role: str) -> Server:
        server = self._servers.get(role)
        if server is None or not server.is_running:
            makers = {"chat": chat_model, "guessing": guessing_model, "embed": embedding_model}
            server = self._servers[role] = Server(makers[role](self.folder / "model"))
            server.start()
            server.wait_until_healthy(START_SECONDS)
        return server

    def stop(self) -> None:
        for server in self._servers.values():
            server.stop()


@pytest.fixture(scope="session")
def fleet(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Fleet]:
    running = Fleet(make_tiny(tmp_path_factory.mktemp("vllm")))
    yield running
    running.stop()


@pytest.fixture
def chat(fleet: Fleet) -> Server:
    """Tools, grammars, adapters."""
    return fleet.get("chat")


@pytest.fixture
def guessing(fleet: Fleet) -> Server:
    """The same weights, with speculation by n-grams."""
    return fleet.get("guessing")


@pytest.fixture
def embed(fleet: Fleet) -> Server:
    return fleet.get("embed")


OpenGateway = Callable[..., Any]


@pytest.fixture
async def open_gateway() -> AsyncIterator[OpenGateway]:
    """`await open_gateway(server.node(), …)`: probed, and closed after the test."""
    async with AsyncExitStack() as stack:

        async def open_one(*nodes: Node, **options: Any) -> Gateway:
            gateway = Gateway(nodes, **options)
            await gateway.open()
            stack.push_async_callback(gateway.close)
            return gateway

        yield open_one


@pytest.fixture
async def gateway(chat: Server, open_gateway: OpenGateway) -> Gateway:
    """Over the chat server alone."""
    return await open_gateway(chat.node())


@dataclass
class Answer:
    """All that one stream said."""

    pieces: list[str] = field(default_factory=list)
    end: End | None = None

    @property
    def text(self) -> str:
        return "".join(self.pieces)


def asking(text: str) -> list[dict[str, Any]]:
    return [{"role": "user", "content": text}]


LONG = 1500  # tokens: seconds of work, and more bytes than the gateway takes in one read
SEA = asking("Say something about the sea.")


def greedy(max_tokens: int = 40, **extra: Any) -> Sampling:
    return Sampling(temperature=0, max_tokens=max_tokens, extra=extra)


async def say(
    gateway: Gateway,
    sampling: Sampling,
    messages: list[dict[str, Any]] = SEA,
    *,
    model: str = "tiny",
    prefix: str = "",
    session_id: str = "chat-1",
    into: Answer | None = None,
    pieces: int = 0,
) -> Answer:
    """The whole answer, or its first `pieces`; what came before an error is in `into`."""
    answer = Answer() if into is None else into
    stream = gateway.stream(model, messages, sampling, session_id=session_id, prefix=prefix)
    async with aclosing(stream):
        async for event in stream:
            match event:
                case Token():
                    answer.pieces.append(event.text)
                    if pieces and len(answer.pieces) >= pieces:
                        break
                case End():
                    answer.end = event
                case Waiting():
                    pass
    return answer


async def until(condition: Callable[[], bool], seconds: float = 60) -> None:
    """vLLM tells its state only to who asks: ask again until it is so."""
    async with asyncio.timeout(seconds):
        while not await asyncio.to_thread(condition):
            await asyncio.sleep(0.02)
