"""Asking a node about itself: is it up, what is it, what does it serve.

Promises: never raises for what a node does, and never marks a node that it was not asked to mark. Only always-on nodes
are probed on our own account: a probe wakes a serverless one, and keeps it awake.
"""

import asyncio
from collections.abc import Sequence
from typing import Literal

import aiohttp
import msgspec

from functions.inference.nodes import Node, NodeKind, ServedModel, short_name
from functions.inference.session import NO_ANSWER, NO_JSON
from functions.inference.wire import classify

PROBE_TIMEOUT = aiohttp.ClientTimeout(total=5)
PROBE_SECONDS = 5.0  # between probes of a node that answers, or that has not for long
PROBE_SOON_SECONDS = 0.5  # of one that is on its way: a local engine is up in under a second
PAGE_BYTES = 1024 * 1024

# awake: it answers, whatever it says. waking, loading: it says that it will. refused: it does not take our key.
# failing: an answer that no healthy server gives. slow: none in time. silent: nobody listens.
Sight = Literal["awake", "waking", "loading", "refused", "failing", "slow", "silent"]


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


async def ask(node: Node, session: aiohttp.ClientSession, patience: aiohttp.ClientTimeout = PROBE_TIMEOUT) -> Sight:
    """One question. An awake node teaches us what it is and serves; one that has no list of models stays as it is."""
    try:
        async with session.get(f"{node.url}/models", headers=node.headers, timeout=patience) as response:
            body = await response.content.read(PAGE_BYTES) if response.status != 200 else await response.read()
        if response.status != 200:
            return _sight_of(node, response.status, body)
        cards = msgspec.json.decode(body, type=_ModelList).data
        kind = _kind_of(cards)
        context = await _props_context(node, session) if kind == "llama.cpp" else 0
    except TimeoutError:
        return "slow"
    except NO_JSON:
        return "failing"
    except NO_ANSWER:
        return "silent"
    node.learn(kind, [_served(card, context) for card in cards])
    return "awake"


def _sight_of(node: Node, status: int, body: bytes) -> Sight:
    match classify(status, body):
        case "loading":
            return "loading"
        case "unauthorized":
            return "refused"
        case "down":
            return "waking" if status == 503 else "failing"
        case _:  # somebody is there who keeps no list, or is busy
            if node.kind == "unknown":
                node.kind = "openai"
            return "awake"


async def probe(node: Node, session: aiohttp.ClientSession) -> None:
    """Ask an always-on node, and mark it."""
    match await ask(node, session):
        case "awake":
            node.mark("warm")
        case "waking" | "loading" as sight:
            node.mark("warming")
            node.is_loading = sight == "loading"
        case "slow" if node.state == "warm":
            pass  # slow is not gone: a busy engine answers a probe late
        case "slow" | "silent" as sight:
            is_coming = node.is_kept or (sight == "slow" and node.state == "warming")
            node.mark("warming" if is_coming else "unreachable")
        case "refused" | "failing":
            node.mark("unreachable")


async def keep_probing(node: Node, session: aiohttp.ClientSession) -> None:
    """Until cancelled."""
    assert not node.serverless
    pause_s = PROBE_SOON_SECONDS / 2
    while True:
        if not (node.is_knocked or (node.outstanding and node.state == "warm")):  # somebody knows already
            await probe(node, session)
        pause_s = PROBE_SECONDS if node.state == "warm" else min(2 * pause_s, PROBE_SECONDS)
        await asyncio.sleep(PROBE_SOON_SECONDS if node.may_be_starting and node.state != "warm" else pause_s)


def _kind_of(cards: Sequence[_ModelCard]) -> NodeKind:
    owners = {card.owned_by for card in cards}
    if "vllm" in owners:
        return "vllm"
    return "llama.cpp" if "llamacpp" in owners else "openai"


def _served(card: _ModelCard, context: int) -> ServedModel:
    meta = card.meta or _ModelMeta()
    return ServedModel(
        id=card.id,
        name=short_name(card.id),
        context_tokens=context or card.max_model_len or meta.n_ctx or meta.n_ctx_train or 0,
    )


async def _props_context(node: Node, session: aiohttp.ClientSession) -> int:
    """llama.cpp's context per slot: what one conversation can really use."""
    async with session.get(f"{node.root}/props", headers=node.headers, timeout=PROBE_TIMEOUT) as response:
        if response.status != 200:
            return 0
        return msgspec.json.decode(await response.read(), type=_Props).default_generation_settings.n_ctx
