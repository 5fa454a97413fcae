"""How often the semantic cache would be right, and wrong: `python -m tests.cache.measure [--url …/v1 --model NAME]`.

Over `pairs.jsonl`: questions that ask the same thing, and near misses that do not, in English and Chinese. `hits` is
the share of the former that would be answered from the cache, `false` that of the latter: a wrong answer each. With
and without the guard (`functions/chat/sameness.py`); `any order` is a guard that compares without regard to order.

Spelling needs nothing. For an embedding model name its server (any that speaks OpenAI's wire, its key in EMBED_KEY), or
a GGUF file with --gguf; the least threshold without a wrong answer is what PARLEY_SEMANTIC_CACHE_SCORE may be set to.
"""

import argparse
import asyncio
import os
import sys
from collections import Counter
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

import msgspec

from functions.chat.sameness import agree, plain, repeats
from functions.chat.semantic_cache import LEXICAL_SCORE
from functions.inference.gateway import Gateway, Node, ServedModel
from functions.inference.lexical import LEXICAL_MODEL, lexical_vector
from functions.inference.local import LocalEngine, choose_embedder
from functions.settings import Settings

PAIRS = Path(__file__).with_name("pairs.jsonl")
THRESHOLDS = (0.5, 0.6, 0.7, 0.75, 0.8, 0.85, 0.88, 0.9, 0.92, 0.94, 0.96, 0.98)
Guard = Callable[[str, str], bool]


class Pair(msgspec.Struct, frozen=True):
    language: str
    kind: str
    same: bool
    one: str
    other: str


GUARDS: dict[str, Guard] = {
    "no guard": lambda one, other: True,
    "any order": lambda one, other: agree(one, other, in_order=False),
    "guard": agree,
}


def read_pairs() -> list[Pair]:
    return [msgspec.json.decode(line, type=Pair) for line in PAIRS.read_bytes().splitlines()]


def outcome(
    pairs: Sequence[Pair], scores: Sequence[float], least: float, guard: Guard
) -> tuple[list[Pair], list[Pair]]:
    """Those that would be answered from the cache: rightly, wrongly."""
    found = [pair for pair, score in zip(pairs, scores, strict=True) if score >= least and guard(pair.one, pair.other)]
    return [pair for pair in found if pair.same], [pair for pair in found if not pair.same]


def lexical_scores(pairs: Sequence[Pair]) -> list[float]:
    return [_cosine(lexical_vector(plain(pair.one)), lexical_vector(plain(pair.other))) for pair in pairs]


async def model_scores(pairs: Sequence[Pair], gateway: Gateway, model: str | None) -> tuple[str, list[float]]:
    ones = await gateway.embed([pair.one for pair in pairs], model=model)
    others = await gateway.embed([pair.other for pair in pairs], model=model)
    return ones.model, [_cosine(*both) for both in zip(ones.vectors, others.vectors, strict=True)]


def _cosine(one: Sequence[float], other: Sequence[float]) -> float:
    lengths = (sum(x * x for x in one) * sum(x * x for x in other)) ** 0.5
    return sum(x * y for x, y in zip(one, other, strict=True)) / lengths if lengths else 0.0


def show(pairs: Sequence[Pair], name: str, scores: Sequence[float]) -> None:
    rights, wrongs = sum(pair.same for pair in pairs), sum(not pair.same for pair in pairs)
    guards = GUARDS | ({"as shipped": repeats} if name == LEXICAL_MODEL else {})
    say(f"{name}: {rights} pairs that ask the same, {wrongs} near misses")
    say("threshold  " + "".join(f"{title:>24}" for title in guards))
    say("           " + "         hits   false    " * len(guards))
    for least in THRESHOLDS:
        cells = []
        for guard in guards.values():
            right, wrong = outcome(pairs, scores, least, guard)
            cells.append(f"{len(right) / rights:13.1%} {len(wrong) / wrongs:7.1%}   ")
        say(f"{least:9.2f}  " + "".join(cells))
    least = LEXICAL_SCORE if name == LEXICAL_MODEL else Settings().semantic_cache_score
    guard = repeats if name == LEXICAL_MODEL else agree
    right, wrong = outcome(pairs, scores, least, guard)
    say(f"as shipped ({least}): hits {len(right) / rights:.1%}, false {len(wrong) / wrongs:.1%}")
    for language in ("en", "zh"):
        kinds = Counter(pair.kind for pair in wrong if pair.language == language)
        say(f"  {language}: {sum(p.language == language for p in right)} hits; wrong by kind: {dict(kinds) or 'none'}")


def say(line: str) -> None:
    sys.stdout.write(line + "\n")


@asynccontextmanager
async def gateway_to(options: argparse.Namespace) -> AsyncIterator[Gateway]:
    if options.gguf:
        chosen = await asyncio.to_thread(choose_embedder, Settings(embed_model=options.gguf))
        assert chosen is not None
        engine = LocalEngine(chosen)
        await engine.start()
        node = engine.node
    else:
        engine = None
        models = [ServedModel(id=options.model, task="embed")]
        node = Node(options.url, models=models, api_key=os.environ.get("EMBED_KEY"), serverless=False, state="warm")
    gateway = Gateway([node])
    try:
        if engine is not None:
            await engine.ready()
        await gateway.open()
        yield gateway
    finally:
        await gateway.close()
        if engine is not None:
            await engine.stop()


async def main(arguments: Sequence[str]) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--url", help="of a server that embeds, …/v1")
    parser.add_argument("--model", default="default")
    parser.add_argument("--gguf", help="a file to run here instead")
    options = parser.parse_args(arguments)
    pairs = read_pairs()
    show(pairs, LEXICAL_MODEL, lexical_scores(pairs))
    if options.url or options.gguf:
        async with gateway_to(options) as gateway:
            show(pairs, *await model_scores(pairs, gateway, None))


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1:]))
