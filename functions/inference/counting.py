"""How many tokens a text is: by the node's own tokenizer, or an estimate from above when none is awake to say."""

import asyncio
import hashlib
import string
from collections import OrderedDict
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress

import aiohttp
import msgspec

from functions.inference.nodes import Node
from functions.inference.session import NO_ANSWER, NO_JSON, post

TOKENIZE_TIMEOUT = aiohttp.ClientTimeout(total=2)  # an estimate is better than a late answer
COUNTS_KEPT = 20_000
COUNTS_AT_ONCE = 8


class TokenCounts:
    """Remembers what it was told: the same text of a chat is counted once per turn otherwise."""

    def __init__(self, session: Callable[[], aiohttp.ClientSession]) -> None:
        self._session = session
        self._counts: OrderedDict[bytes, int] = OrderedDict()

    async def of(self, model: str, texts: Sequence[str], nodes: Iterable[Node]) -> tuple[int, ...]:
        """`nodes` are those that serve the model; only one that is awake is asked."""
        keys = [_count_key(model, text) for text in texts]
        missing = {key: text for key, text in zip(keys, texts, strict=True) if key not in self._counts}
        guessed: dict[bytes, int] = {}
        if missing:
            node = next((node for node in nodes if node.state == "warm" and _can_count(node)), None)
            guessed = await self._count_missing(node, model, missing)
        for key in keys:
            if key in self._counts:
                self._counts.move_to_end(key)
        counts = tuple(self._counts[key] if key in self._counts else guessed[key] for key in keys)
        while len(self._counts) > COUNTS_KEPT:
            self._counts.popitem(last=False)
        return counts

    async def _count_missing(self, node: Node | None, model: str, missing: dict[bytes, str]) -> dict[bytes, int]:
        """Fills the cache with what the node says; gives back estimates for what it does not."""
        if node is not None:
            todo = iter(missing.items())
            await asyncio.gather(*(self._count_some(node, model, todo) for _ in range(COUNTS_AT_ONCE)))
        return {key: estimate_tokens(text) for key, text in missing.items() if key not in self._counts}

    async def _count_some(self, node: Node, model: str, todo: Iterable[tuple[bytes, str]]) -> None:
        with suppress(*NO_ANSWER, *NO_JSON):
            for key, text in todo:
                count = await self._count_one(node, model, text) if text else 0
                if count is not None:
                    self._counts[key] = count

    async def _count_one(self, node: Node, model: str, text: str) -> int | None:
        """None for a text that the node refuses to count: some vLLM do when it alone exceeds the context."""
        question: dict[str, object] = {"content": text, "add_special": False}
        if node.kind == "vllm":
            question = {"model": node.wire_name(model), "prompt": text, "add_special_tokens": False}
        headers = {**node.headers, "Content-Type": "application/json"}
        body = msgspec.json.encode(question)
        url = f"{node.root}/tokenize"
        async with await post(self._session(), url, body, headers, timeout=TOKENIZE_TIMEOUT) as response:
            if response.status != 200:
                return None
            return len(msgspec.json.decode(await response.read(), type=_Tokenized).tokens)


class _Tokenized(msgspec.Struct):
    tokens: list[int]


def _can_count(node: Node) -> bool:
    return node.kind in ("vllm", "llama.cpp")


def estimate_tokens(text: str) -> int:
    """More than usual tokenizers make of usual text: three letters a token, every digit and sign one of its own, and
    one and a half for any other character."""
    chars = len(text)
    if not text.isascii():
        text = text.encode("ascii", "ignore").decode()
    signs = len(text.translate(_NO_LETTERS))
    return -(-(len(text) - signs) // 3) + signs + -(-3 * (chars - len(text)) // 2)


_NO_LETTERS = str.maketrans("", "", f"{string.ascii_letters} ")


def _count_key(model: str, text: str) -> bytes:
    return hashlib.blake2b(text.encode("utf-8", "surrogatepass"), digest_size=16, person=_short(model)).digest()


def _short(name: str) -> bytes:
    return hashlib.blake2b(name.encode(), digest_size=16).digest()
