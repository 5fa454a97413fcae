"""Asks parley-tiny what it was never asked in training, through llama.cpp, and counts the exact answers.

    python -m functions.inference.tiny.evaluate [MODEL.gguf]

Three kinds of questions: held-out phrasings of what it was taught (tests hold it to these), chats with follow-ups,
and probes.toml, written freely by hand: a look at how far it reaches beyond its templates.
"""

import random
import sys
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from functions.inference.tiny.corpus import Corpus, Language, Message, answers_of, is_held_out, load, readings, vary

MODEL = Path(__file__).with_name("parley-tiny.gguf")
CONTEXT = 2048
MOST_TOKENS = 1000  # the longest answer has some six hundred


@dataclass(frozen=True, slots=True)
class Reply:
    text: str
    finish_reason: str


class Engine:
    """llama.cpp in this process, without HTTP; greedy, so that the same question gets the same answer."""

    def __init__(self, model: Path = MODEL) -> None:
        import xllamacpp  # noqa: PLC0415 (only who evaluates needs it)

        params = xllamacpp.CommonParams()
        params.model.path = str(model)
        params.n_ctx, params.n_parallel = CONTEXT, 1
        params.cpuparams.n_threads = params.cpuparams_batch.n_threads = 1
        params.hostnames, params.port = ["127.0.0.1"], 0  # it always serves HTTP too: then privately
        params.ui, params.verbosity = False, 1
        self.server: Any = xllamacpp.Server(params)  # untyped library

    def reply(self, messages: list[Message], **options: object) -> Reply:
        body = {"messages": messages, "max_tokens": MOST_TOKENS, "temperature": 0, **options}
        choice = self.server.handle_chat_completions(body)["choices"][0]
        return Reply(choice["message"]["content"], choice["finish_reason"])

    def ask(self, question: str) -> Reply:
        return self.reply([{"role": "user", "content": question}])


@dataclass(frozen=True, slots=True)
class Case:
    kind: str
    messages: list[Message]
    accepted: frozenset[str]


def held_out(count: int, seed: int = 11) -> Iterator[Case]:
    """Every intent in both languages, in turn; as people type them, slips and all."""
    rng, intents = random.Random(seed), load("intents.toml")["intents"]
    families: dict[tuple[str, Language], list[str]] = {}
    for reading in readings():
        if reading.is_kept_back:
            families.setdefault((reading.intent, reading.language), []).append(reading.question)
    for index in range(count):
        name, language = list(families)[index % len(families)]
        question = vary(rng, rng.choice(families[name, language]), language)
        yield Case(name, [{"role": "user", "content": question}], frozenset(answers_of(intents[name], language)))


def ruled(turns: int, seed: int = 12) -> Iterator[Case]:
    corpus = Corpus(seed, held_out=True)
    rules = [rule for rule, _ in corpus.rules if rule != corpus.taught]
    languages: tuple[Language, Language] = ("en", "zh")
    for index in range(turns):
        turn = rules[index % len(rules)](languages[index // len(rules) % 2])
        if is_held_out(turn.question):
            yield Case(turn.intent, corpus.messages(turn)[:1], frozenset({turn.answer}))


def chats(count: int, seed: int = 13) -> Iterator[Case]:
    """Only chats of more than one turn; the last answer counts, the ones before it are given."""
    corpus = Corpus(seed, held_out=True)
    while count:
        messages = corpus.chat()
        if len(messages) == 2:
            continue
        count -= 1
        yield Case("chat", messages[:-1], frozenset({messages[-1]["content"]}) | same_intent(messages[-1]["content"]))


def same_intent(answer: str) -> frozenset[str]:
    tables = (load("intents.toml")["intents"][name] for name in ("joke",))
    both = [answers_of(table, language) for table in tables for language in ("en", "zh")]
    return frozenset(text for texts in both if answer in texts for text in texts)


def probes() -> Iterator[Case]:
    intents = load("intents.toml")["intents"]
    unknown = load("words.toml")["unknown"]
    for name, questions in load("probes.toml")["probes"].items():
        for question in questions:
            language: Language = "zh" if any("\u4e00" <= symbol <= "\u9fff" for symbol in question) else "en"
            fallback = unknown["answer" if language == "en" else "answer_zh"]
            accepted = answers_of(intents[name], language) if name in intents else [fallback]
            yield Case(name, [{"role": "user", "content": question}], frozenset(accepted))


def score(engine: Engine, cases: Iterable[Case], *, is_verbose: bool = False) -> tuple[int, int, Counter[str]]:
    right, total, wrong = 0, 0, Counter[str]()
    for case in cases:
        said = engine.reply(case.messages).text
        total += 1
        right += said in case.accepted
        if said not in case.accepted:
            wrong[case.kind] += 1
            if is_verbose:
                print(f"  {case.kind}: {case.messages[-1]['content'][:90]!r} → {said[:90]!r}")  # noqa: T201
    return right, total, wrong


def main() -> None:
    engine = Engine(Path(sys.argv[1]) if len(sys.argv) > 1 else MODEL)
    kinds = {
        "held-out phrasings": held_out(544),
        "held-out, by rule": ruled(360),
        "chats": chats(200),
        "free probes": probes(),
    }
    for name, cases in kinds.items():
        right, total, _ = score(engine, cases, is_verbose=True)
        print(f"{name}: {right} of {total}, {right / total:.1%}", flush=True)  # noqa: T201


if __name__ == "__main__":
    main()
