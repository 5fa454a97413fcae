# ruff: noqa: T201  # it prints
"""How well questions about the project's own documents find the section that answers them.

    uv run python -m tests.knowledge.measure            by words alone
    uv run python -m tests.knowledge.measure --embed http://127.0.0.1:8890/v1    and by a model's vectors as well

The questions were written before the ranking was tried on them, and say which document and section should be found
(sometimes two would do). What is measured is what a turn does: the real parser, the real chunks, the real ranking.
"""

import argparse
import asyncio
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from functions.chat import lexicon
from functions.chat.chunks import BETWEEN, cut
from functions.chat.documents import Chunk
from functions.chat.indexing import indexed_text
from functions.chat.retrieved import fused, says_enough
from functions.inference.gateway import Gateway
from functions.inference.nodes import Node, ServedModel
from functions.reading.reader import read_file

ROOT = Path(__file__).parent.parent.parent
QUESTIONS = Path(__file__).parent / "questions.jsonl"
POOL = 50  # candidates of each ranking
# What these documents say nothing about: nothing should be found.
OFF_TOPIC = (
    "What is the capital of France?",
    "How do I bake sourdough bread?",
    "Who won the football world cup in 2018?",
    "Explain the theory of relativity",
    "What is the best way to train for a marathon?",
    "How tall is Mount Everest?",
    "Write a poem about the sea",
    "What are the side effects of ibuprofen?",
    "How do I change a tyre?",
    "When did the Roman empire fall?",
    "Recommend a good book about whales",
    "What is the population of Brazil?",
    "How do I tie a tie?",
    "Translate good morning into Japanese",
    "What causes rain?",
    "Is a tomato a fruit?",
    "How many calories are in an apple?",
    "Who painted the Mona Lisa?",
    "What time zone is Sydney in?",
    "How do I remove a red wine stain?",
    "what does the moon weigh",
    "tell me a joke about a horse",
    "How long does it take to fly to New York?",
    "what is the fastest animal on land",
    "法国的首都是哪里？",
    "怎么做红烧肉？",
)


@dataclass(frozen=True)
class Question:
    text: str
    expected: Sequence[tuple[str, str]]  # document, and the beginning of a heading

    def is_answered_by(self, document: str, chunk: Chunk) -> bool:
        """By the innermost heading; a short section that was joined with the one before has its own as a line."""
        names = [(chunk.heading or "").split(BETWEEN)[-1], *chunk.text.split("\n\n")]
        return any(document == wanted and any(n.startswith(part) for n in names) for wanted, part in self.expected)


Library = dict[str, list[Chunk]]


def questions() -> list[Question]:
    lines = map(json.loads, QUESTIONS.read_text().splitlines())
    return [Question(line["question"], [(doc, part) for doc, part in line["expected"]]) for line in lines]


async def library() -> Library:
    """The documents that the questions are about, as they are now."""
    files = [ROOT / name for name in sorted({name for question in questions() for name, _ in question.expected})]
    readings = await asyncio.gather(*(read_file(file, "markdown") for file in files))
    return {str(f.relative_to(ROOT)): cut(r.blocks) for f, r in zip(files, readings, strict=True)}


def lexical(books: Library) -> dict[str, lexicon.Index]:
    texts = {name: [indexed_text(Path(name).stem, chunk) for chunk in chunks] for name, chunks in books.items()}
    return {name: lexicon.unpack(lexicon.pack(said)) for name, said in texts.items()}


def hits(asked: Sequence[Question], found: Sequence[Sequence[tuple[str, int]]], books: Library, at: int) -> float:
    good = [
        any(question.is_answered_by(name, books[name][number]) for name, number in places[:at])
        for question, places in zip(asked, found, strict=True)
    ]
    return sum(good) / len(good)


def by_words(asked: Sequence[Question], books: Library) -> list[list[tuple[str, int]]]:
    indexes = lexical(books)
    return [[(f.document_id, f.chunk) for f in lexicon.rank(indexes, q.text, limit=POOL)] for q in asked]


def is_silent(question: str, indexes: dict[str, lexicon.Index]) -> bool:
    """Whether words alone find nothing that counts."""
    return not any(says_enough(found) for found in lexicon.rank(indexes, question, limit=POOL))


def _silent(asked: Sequence[str], books: Library) -> int:
    indexes = lexical(books)
    return sum(is_silent(question, indexes) for question in asked)


async def by_vectors(asked: Sequence[Question], books: Library, url: str) -> list[list[tuple[str, int]]]:
    places = [(name, chunk.number) for name, chunks in books.items() for chunk in chunks]
    texts = [indexed_text(Path(name).stem, books[name][number]) for name, number in places]
    served = [ServedModel(id="embedder", task="embed")]
    gateway = Gateway([Node(url, name="embedder", models=served)])
    await gateway.open()
    try:
        passages = (await gateway.embed(texts)).vectors
        wanted = (await gateway.embed([question.text for question in asked])).vectors
    finally:
        await gateway.close()
    return [
        [places[at] for at in sorted(range(len(places)), key=lambda at: -_dot(vector, passages[at]))[:POOL]]
        for vector in wanted
    ]


def _dot(one: Sequence[float], other: Sequence[float]) -> float:
    return sum(a * b for a, b in zip(one, other, strict=True))


async def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--embed", metavar="URL", help="an OpenAI-compatible server that embeds")
    parser.add_argument("--misses", action="store_true", help="show what was found instead")
    arguments = parser.parse_args()
    asked, books = questions(), await library()
    rankings = {"by words": by_words(asked, books)}
    if arguments.embed:
        rankings["by vectors"] = await by_vectors(asked, books, arguments.embed)
        pairs = zip(rankings["by words"], rankings["by vectors"], strict=True)
        rankings["both"] = [fused([words, vectors]) for words, vectors in pairs]
    print(f"{len(asked)} questions, {len(books)} documents, {sum(map(len, books.values()))} chunks")
    print(
        f"nothing found: {_silent([q.text for q in asked], books)} of them, and {_silent(OFF_TOPIC, books)} of "
        f"{len(OFF_TOPIC)} questions about other things"
    )
    for name, found in rankings.items():
        print(f"{name:12} " + "  ".join(f"hit@{at} {hits(asked, found, books, at):.3f}" for at in (1, 3, 5)))
        if arguments.misses:
            for question, places in zip(asked, found, strict=True):
                if not hits([question], [places], books, 5):
                    print("   ", question.text, [(n, books[n][at].heading) for n, at in places[:5]])


if __name__ == "__main__":
    asyncio.run(main())
