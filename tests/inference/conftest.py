"""What the tests of this room share: an open gateway, quick limits, and a stream gathered into one value."""

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import AsyncExitStack, aclosing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from blockbuster import BlockBuster, blockbuster_ctx

from functions.chat.messages import NodeUse, Sampling
from functions.inference.gateway import End, Gateway, Limits, Node, Token, Waiting
from tests.inference.random_model import write_model

QUICK = Limits(
    connect_s=2,
    first_token_s=5,
    between_tokens_s=5,
    wake_s=10,
    knock_s=0.005,
    first_backoff_s=0.001,
    backoff_s=0.01,
    refresh_s=0.01,
)
PLAIN = Sampling()
HELLO = [{"role": "user", "content": "hello"}]


@dataclass
class Heard:
    """All that one stream said."""

    text: str = ""
    tokens: list[Token] = field(default_factory=list)
    waits: list[Waiting] = field(default_factory=list)
    end: End | None = None

    def add(self, event: Waiting | Token | End) -> None:
        match event:
            case Token():
                self.text += event.text
                self.tokens.append(event)
            case Waiting():
                self.waits.append(event)
            case End():
                self.end = event

    @property
    def count(self) -> int:
        return sum(token.count for token in self.tokens)

    @property
    def phases(self) -> list[str]:
        return [wait.phase for wait in self.waits]


async def listen(
    gateway: Gateway,
    model: str = "sim",
    *,
    messages: Sequence[dict[str, Any]] = HELLO,
    sampling: Sampling = PLAIN,
    session_id: str = "chat-1",
    prefix: str = "",
    into: Heard | None = None,
    uses: list[NodeUse] | None = None,
) -> Heard:
    """The whole stream; what was heard before an error is in `into`."""
    heard = Heard() if into is None else into
    stream = gateway.stream(model, messages, sampling, session_id=session_id, prefix=prefix, uses=uses)
    async with aclosing(stream):
        async for event in stream:
            heard.add(event)
    return heard


class Clock:
    """Seconds that pass when a test says so."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


async def until(condition: Callable[[], object]) -> None:
    """For what nothing announces; bounded, and by turns of the loop."""
    async with asyncio.timeout(10):
        while not condition():
            await asyncio.sleep(0)


@pytest.fixture(autouse=True)
def _no_blocking_calls() -> Iterator[BlockBuster]:
    """As in the whole suite; here too, so that this room's tests can run without the house."""
    with blockbuster_ctx("functions") as blockbuster:
        yield blockbuster


OpenGateway = Callable[..., Any]


@pytest.fixture
async def open_gateway() -> AsyncIterator[OpenGateway]:
    """`await open_gateway(node, …, limits=…)`: opened, and closed after the test."""
    async with AsyncExitStack() as stack:

        async def open_one(*nodes: Node, limits: Limits = QUICK, **options: Any) -> Gateway:
            gateway = Gateway(nodes, limits=limits, **options)
            await gateway.open()
            stack.push_async_callback(gateway.close)
            return gateway

        yield open_one


@pytest.fixture(scope="session")
def random_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_model(tmp_path_factory.mktemp("models") / "random.gguf")
