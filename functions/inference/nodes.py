"""Nodes: the model servers the gateway may use, what is known about each, and how that is learned.

Promises: asking about a node never wakes one. Only an always-on node is probed; what is known of a serverless node
(Modal) is inferred from the traffic it gets anyway. Past starts of a node give the estimate for the next one.

Does not know runs, streams or retries, and keeps nothing across restarts of the process.
"""

import asyncio
import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from typing import Literal
from urllib.parse import urlsplit

import aiohttp
import msgspec

from functions.chat.messages import NodeState, Struct

NodeKind = Literal["unknown", "vllm", "llama.cpp", "openai"]
DEFAULT_MODEL = "default"  # what a node serves first, whatever it is called there
CONTEXT_TOKENS = 4096  # assumed until the node has said
PROBE_TIMEOUT = aiohttp.ClientTimeout(total=5)
PROBE_SECONDS = 5.0  # between probes of a node that answers, or that has not for long
PROBE_SOON_SECONDS = 0.5  # of one that is on its way: a local engine is up in under a second
IDLE_SECONDS = 300.0  # Modal's scale-down window as our deployment sets it
WAKE_SECONDS = 15 * 60.0  # a start that takes longer has failed
WAKES_KEPT = 32
SERVERLESS_HOSTS = (".modal.run", ".modal.direct", ".modal.host")


class ServedModel(Struct, frozen=True, kw_only=True):
    """A model as one node serves it. `context_tokens` of 0 means that the node has not said yet."""

    id: str
    name: str = ""
    context_tokens: int = 0
    demo: bool = False
    notice: str | None = None


class ModelInfo(Struct, frozen=True, kw_only=True):
    """A model as the user sees it, with the best state among its nodes. The times count from now."""

    id: str
    name: str
    context_tokens: int
    state: NodeState
    demo: bool = False
    notice: str | None = None
    eta_p50_ms: int | None = None
    eta_p90_ms: int | None = None


class Node:
    """One model server. Mutable: the gateway and the prober write here what they see."""

    def __init__(
        self,
        url: str,
        *,
        name: str = "",
        api_key: str | None = None,
        headers: Mapping[str, str] | None = None,
        models: Sequence[ServedModel] = (),
        kind: NodeKind = "unknown",
        serverless: bool | None = None,
        state: NodeState | None = None,
        idle_seconds: float = IDLE_SECONDS,
        now: Callable[[], float] = time.monotonic,
    ) -> None:
        self.headers = dict(headers or {})
        self.move(url, api_key)
        host = urlsplit(self.url).hostname or ""
        self.name = name or host
        self.serverless = host.endswith(SERVERLESS_HOSTS) if serverless is None else serverless
        self.kind: NodeKind = kind
        self.is_known = bool(models)  # what it serves
        self.models = tuple(models) or (ServedModel(id=DEFAULT_MODEL, name=self.name),)
        self.is_kept = False  # somebody starts it again when it dies: silence means that it is on its way
        self.outstanding = 0
        self._declared = {model.id: model for model in models}
        self._state: NodeState = state or ("cold" if self.serverless else "unreachable")
        self._idle_seconds = idle_seconds
        self._now = now
        self._seen_at = now()
        self._wake_started: float | None = None
        self._wakes: deque[int] = deque(maxlen=WAKES_KEPT)

    def __repr__(self) -> str:
        return f"Node({self.name}, {self.kind}, {self.state}, outstanding={self.outstanding})"

    def move(self, url: str, api_key: str | None) -> None:
        """It is at another address now, with another key: a local engine after a new start."""
        self.url = url.rstrip("/")
        self.root = self.url.removesuffix("/v1")  # where /tokenize, /props and /version live
        if api_key:
            self.headers["Authorization"] = f"Bearer {api_key}"

    @property
    def state(self) -> NodeState:
        """What it is now, as far as one can know without asking: a serverless node left alone goes back to sleep."""
        asleep = self.serverless and self._state == "warm" and not self.outstanding
        return "cold" if asleep and self._now() - self._seen_at > self._idle_seconds else self._state

    @property
    def may_be_starting(self) -> bool:
        """Does it make sense to wait for it, when nobody listens there?"""
        return self.is_kept or self.state == "warming" or (self.serverless and self.state != "warm")

    def mark(self, state: NodeState) -> None:
        if state == "warm":
            self._seen_at = self._now()
            if self._wake_started is not None:
                self.observe_wake(round((self._now() - self._wake_started) * 1000))
        if state == "warming" and self._wake_started is None:
            self._wake_started = self._now()
        if state != "warming":
            self._wake_started = None
        self._state = state

    def observe_wake(self, ms: int) -> None:
        """Remember how long a start took."""
        self._wakes.append(ms)

    def eta_ms(self) -> tuple[int | None, int | None]:
        """p50 and p90 of what is still to wait, from past starts; None before the first."""
        if not self._wakes:
            return None, None
        elapsed = 0 if self._wake_started is None else round((self._now() - self._wake_started) * 1000)
        past = sorted(self._wakes)
        p50, p90 = past[(len(past) - 1) // 2], past[(len(past) * 9 + 9) // 10 - 1]
        return max(0, p50 - elapsed), max(0, p90 - elapsed)

    @contextmanager
    def working(self) -> Iterator[None]:
        self.outstanding += 1
        try:
            yield
        finally:
            self.outstanding -= 1
            self._seen_at = self._now()

    def serves(self, model: str) -> bool:
        """A node that has not said what it serves is asked; it will say so if it does not."""
        return not self.is_known or self.model(model) is not None

    def model(self, model: str) -> ServedModel | None:
        if model == DEFAULT_MODEL:
            return self.models[0]
        return next((served for served in self.models if served.id == model), None)

    def wire_name(self, model: str) -> str | None:
        """What to call the model towards this node; None: leave it out, and the node takes its own."""
        if model == DEFAULT_MODEL:
            return self.models[0].id if self.is_known else None
        return model

    def learn(self, kind: NodeKind, models: Sequence[ServedModel]) -> None:
        """What the node says of itself. What was declared about a model stays; its true context size is the node's."""
        self.kind = kind
        if models:
            self.is_known = True
            self.models = tuple(self._with_declared(model) for model in models)

    def _with_declared(self, model: ServedModel) -> ServedModel:
        declared = self._declared.get(model.id)
        if declared is None:
            return model
        return msgspec.structs.replace(declared, context_tokens=model.context_tokens or declared.context_tokens)


# -- asking a node about itself ------------------------------------------------------------------------------------


class _ModelMeta(msgspec.Struct):
    n_ctx: int | None = None
    n_ctx_train: int | None = None


class _ModelCard(msgspec.Struct):
    id: str
    owned_by: str = ""
    max_model_len: int | None = None  # vLLM
    meta: _ModelMeta | None = None  # llama.cpp


class _ModelList(msgspec.Struct):
    data: list[_ModelCard]


class _Slot(msgspec.Struct):
    n_ctx: int = 0


class _Props(msgspec.Struct):
    default_generation_settings: _Slot = msgspec.field(default_factory=_Slot)


async def probe(node: Node, session: aiohttp.ClientSession) -> None:
    """Ask an awake node what it is and what it serves, and mark it. Never raises for what the node does."""
    try:
        async with session.get(f"{node.url}/models", headers=node.headers, timeout=PROBE_TIMEOUT) as response:
            body = await response.read()
        if response.status == 503:
            node.mark("warming")
            return
        if response.status != 200:
            node.mark("unreachable")
            return
        cards = msgspec.json.decode(body, type=_ModelList).data
        kind = _kind_of(cards)
        context = await _props_context(node, session) if kind == "llama.cpp" else 0
    except TimeoutError:
        if node.state != "warm":  # slow is not gone: a busy engine answers a probe late
            node.mark("warming" if node.may_be_starting else "unreachable")
        return
    except (aiohttp.ClientError, msgspec.MsgspecError, OSError):
        node.mark("warming" if node.may_be_starting else "unreachable")
        return
    node.learn(kind, [_served(card, context) for card in cards])
    node.mark("warm")


def _kind_of(cards: Sequence[_ModelCard]) -> NodeKind:
    owners = {card.owned_by for card in cards}
    if "vllm" in owners:
        return "vllm"
    return "llama.cpp" if "llamacpp" in owners else "openai"


def _served(card: _ModelCard, context: int) -> ServedModel:
    meta = card.meta or _ModelMeta()
    return ServedModel(
        id=card.id,
        name=card.id.rsplit("/", 1)[-1],
        context_tokens=context or card.max_model_len or meta.n_ctx or meta.n_ctx_train or 0,
    )


async def _props_context(node: Node, session: aiohttp.ClientSession) -> int:
    """llama.cpp's context per slot: what one conversation can really use."""
    async with session.get(f"{node.root}/props", headers=node.headers, timeout=PROBE_TIMEOUT) as response:
        if response.status != 200:
            return 0
        return msgspec.json.decode(await response.read(), type=_Props).default_generation_settings.n_ctx


async def keep_probing(node: Node, session: aiohttp.ClientSession) -> None:
    """Until cancelled. Only for always-on nodes: a probe would wake a serverless one, and keep it awake."""
    assert not node.serverless
    pause_s = PROBE_SOON_SECONDS / 2
    while True:
        if not (node.outstanding and node.state == "warm"):  # traffic already says that it is well
            await probe(node, session)
        pause_s = PROBE_SECONDS if node.state == "warm" else min(2 * pause_s, PROBE_SECONDS)
        await asyncio.sleep(PROBE_SOON_SECONDS if node.may_be_starting and node.state != "warm" else pause_s)


async def watch_wake(node: Node, session: aiohttp.ClientSession) -> None:
    """Follow a start that was asked for until it is over. Ends by itself; a node that sleeps again is left alone."""
    with suppress(TimeoutError):
        async with asyncio.timeout(WAKE_SECONDS):
            while node.state == "warming":
                await probe(node, session)
                await asyncio.sleep(PROBE_SOON_SECONDS)
    if node.state == "warming":
        node.mark("unreachable")
