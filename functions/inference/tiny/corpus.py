"""Makes the chats that parley-tiny learns from, out of intents.toml and words.toml.

    intents.toml → phrasings → turns ┐
    words.toml   → rules     → turns ┴→ chats of one to four turns, with follow-ups

Promises: the same seed gives the same chats; about one phrasing in eight is held out, so training never sees it in
any form and the tests ask exactly those; every answer is one of the taught answers, letter for letter.
Knows nothing about tokens or models.
"""

import random
import re
import tomllib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from functools import cache
from hashlib import blake2b
from itertools import product
from pathlib import Path
from typing import Any, Literal

Language = Literal["en", "zh"]
Message = dict[str, str]
# TOML tables are read once, here, and their shape is documented in the files themselves.
Table = Mapping[str, Any]

HERE = Path(__file__).parent
HELD_OUT_ONE_IN = 8
FAMILY = 4  # a template with fewer readings is taught whole: nothing else would tell what it means
MOST_TURNS = 4  # the chat template keeps four turns, so nothing longer needs teaching


@dataclass(frozen=True, slots=True)
class Turn:
    """One question with its answer, and what a follow-up would get."""

    intent: str
    language: Language
    question: str
    answer: str
    twin: str = ""  # the answer in the other language; empty where it has none
    short: str = ""
    then: Mapping[str, tuple[str, str]] = field(default_factory=dict)  # follow-up → (English, Chinese)
    is_exact: bool = False  # the question carries text that must be copied, so typos would teach a wrong copy


def load(name: str) -> Table:
    return tomllib.loads((HERE / name).read_text(encoding="utf-8"))


@cache
def expand(template: str) -> tuple[str, ...]:
    """All readings of a template: "(hi|hello)( there|)" has four."""
    parts = re.split(r"\(([^()]*\|[^()]*)\)", template)
    choices = [part.split("|") if odd else [part] for odd, part in zip(_alternating(), parts, strict=False)]
    return tuple(dict.fromkeys(" ".join("".join(reading).split()) for reading in product(*choices)))


def _alternating() -> Iterator[bool]:
    while True:
        yield False
        yield True


def is_held_out(question: str) -> bool:
    """Whether training must not see it. Very short ones are all taught: nothing else would tell what "eta" means."""
    is_chinese = any(symbol > "\u2e80" for symbol in question)
    if len(question) < 5 if is_chinese else len(question.split()) < 3:
        return False
    digest = blake2b(question.casefold().encode(), digest_size=4).digest()
    return int.from_bytes(digest) % HELD_OUT_ONE_IN == 0


def is_kept_back(template: str, question: str) -> bool:
    has_family = "{" in template or len(expand(template)) >= FAMILY
    return has_family and is_held_out(question)


def other(language: Language) -> Language:
    return "zh" if language == "en" else "en"


def suffix(language: Language) -> str:
    return "" if language == "en" else "_zh"


class Corpus:
    """Draws turns and chats. `held_out` chooses which side of the split the phrasings come from."""

    def __init__(self, seed: int = 0, *, held_out: bool = False) -> None:
        self.rng = random.Random(seed)
        self.held_out = held_out
        tables = load("intents.toml")
        self.intents: Table = tables["intents"]
        self.followups: Table = tables["followups"]
        self.words: Table = load("words.toml")
        self.rules: list[tuple[Callable[[Language], Turn], int]] = [
            (self.taught, 52), (self.unknown, 14), (self.echo, 8), (self.sum, 6), (self.name, 5),
            (self.translation, 5), (self.count, 3), (self.capital, 3), (self.kind, 3), (self.foreign, 1),
        ]  # fmt: skip

    # ------------------------------------------------------------ chats

    def chats(self) -> Iterator[list[Message]]:
        while True:
            yield self.chat()

    def chat(self) -> list[Message]:
        language: Language = self.rng.choices(("en", "zh"), (58, 42))[0]
        turns: list[Turn] = []
        name = ""
        for _ in range(self.rng.choices(range(1, MOST_TURNS + 1), (40, 25, 20, 15))[0]):
            turn = self.next_turn(turns, name, language)
            name = turn.then["name"][0] if "name" in turn.then else name
            turns.append(turn)
            language = turn.language if self.rng.random() < 0.9 else other(turn.language)
        return [message for turn in turns for message in self.messages(turn)]

    def exchange(self) -> list[Message]:
        """Two turns, of which the second makes no sense without the first."""
        language: Language = self.rng.choices(("en", "zh"), (58, 42))[0]
        first = self.name(language) if self.rng.random() < 0.2 else self.turn(language)
        language = language if self.rng.random() < 0.9 else other(language)
        is_named = "name" in first.then and self.rng.random() < 0.7
        second = self.recall(language, first.then["name"][0]) if is_named else self.followup(first, language)
        return self.messages(first) + self.messages(second)

    def next_turn(self, turns: list[Turn], name: str, language: Language) -> Turn:
        chance = self.rng.random()
        if chance < (0.3 if name else 0.015):
            return self.recall(language, name)
        if turns and chance > 0.65:
            return self.followup(turns[-1], language)
        if not turns and chance > 0.98:
            return self.early_followup(language)
        return self.turn(language)

    def turn(self, language: Language) -> Turn:
        draw = self.rng.choices([rule for rule, _ in self.rules], [weight for _, weight in self.rules])[0]
        return draw(language)

    def messages(self, turn: Turn) -> list[Message]:
        question = vary(self.rng, turn.question, turn.language, is_exact=turn.is_exact)
        return [{"role": "user", "content": question}, {"role": "assistant", "content": turn.answer}]

    # ------------------------------------------------------------ phrasings

    def phrasing(self, templates: list[str], fill: Callable[[str], str] = str) -> str:
        """A reading from the wanted side of the split; `fill` puts words into the {slots}."""
        for _ in range(400):
            template = self.rng.choice(templates)
            question = fill(self.rng.choice(expand(template)))
            if is_kept_back(template, question) == self.held_out:
                return question
        return question  # none on this side of the split

    # ------------------------------------------------------------ turns from intents.toml

    def taught(self, language: Language) -> Turn:
        weights = [table.get("weight", 1) for table in self.intents.values()]
        return self.taught_about(self.rng.choices(list(self.intents), weights)[0], language)

    def taught_about(self, name: str, language: Language) -> Turn:
        table: Table = self.intents[name]
        answers, twins = answers_of(table, language), answers_of(table, other(language))
        pick = self.rng.randrange(len(answers))
        return Turn(
            intent=name,
            language=language,
            question=self.phrasing(table["ask" + suffix(language)]),
            answer=answers[pick],
            twin=twins[min(pick, len(twins) - 1)],
            short=table.get("short" + suffix(language), ""),
            then={key: (pair[0], pair[1]) for key, pair in table.get("then", {}).items()},
        )

    def followup(self, before: Turn, language: Language) -> Turn:
        kinds = ["again", "more", "why", "stop", "shorter", "chinese", "english"]
        kind = self.rng.choices(kinds, (5, 3, 3, 4, 5, 6, 4))[0]
        question = self.phrasing(self.followups[kind]["ask" + suffix(language)])
        return self.follow(before, kind, language, question)

    def follow(self, before: Turn, kind: str, language: Language, question: str) -> Turn:
        is_chinese = any(symbol > "\u2e80" for symbol in before.answer)
        wanted = {"chinese": True, "english": False}.get(kind)
        if kind == "again" or (wanted is not None and (wanted == is_chinese or not before.twin)):
            return replace(before, question=question, is_exact=False)
        if wanted is not None:
            swapped: Language = "zh" if wanted else "en"
            return replace(
                before, question=question, language=swapped, answer=before.twin, twin=before.answer, short=""
            )
        if kind == "shorter" and before.short and before.language == language:
            return replace(before, question=question, answer=before.short, twin="", short="")
        default = self.followups[kind]["answer"], self.followups[kind]["answer_zh"]
        english, chinese = before.then.get(kind, default)
        answer, twin = (english, chinese) if language == "en" else (chinese, english)
        return Turn(intent=kind, language=language, question=question, answer=answer, twin=twin)

    def early_followup(self, language: Language) -> Turn:
        """A follow-up that nothing came before."""
        kind = self.rng.choice(["again", "more", "shorter"])
        question = self.phrasing(self.followups[kind]["ask" + suffix(language)])
        early = "Ask me something first.", "请先问我一个问题。"
        answer, twin = early if language == "en" else early[::-1]
        return Turn(intent="early", language=language, question=question, answer=answer, twin=twin)

    # ------------------------------------------------------------ turns by rule, from words.toml

    def unknown(self, language: Language) -> Turn:
        table: Table = self.words["unknown"]
        chance = self.rng.random()
        if chance < 0.72:
            question = self.phrasing(table["ask" + suffix(language)], lambda text: self.fill(text, language))
        elif chance < 0.80:
            question = self.phrasing(["{words}"], lambda _: self.salad(language, self.rng.randint(1, 8)))
        elif chance < 0.92:
            question = self.phrasing(["{words}"], lambda _: self.request(language))
        else:  # a pasted text
            question = self.request(language) + " " + self.salad(language, int(2 ** self.rng.uniform(3, 8)))
        return self.pair(
            "unknown", language, question, table["answer"], table["answer_zh"], table["short" + suffix(language)]
        )

    def fill(self, text: str, language: Language) -> str:
        return re.sub(r"\{(\w+)\}", lambda slot: self.word(slot[1], language), text)

    def word(self, kind: str, language: Language) -> str:
        table: Table = self.words["unknown"]
        key = {"noun": "nouns", "verb": "verbs", "adj": "adjs", "place": "places", "tech": "techs"}[kind]
        text: str = table.get(key + suffix(language), table[key])
        chance = self.rng.random()
        if chance < 0.15:
            return self.rng.choice(story_words(language))
        if chance < 0.3 and language == "en":
            return made_up(self.rng)
        return self.rng.choice(text.split(";"))

    def salad(self, language: Language, length: int) -> str:
        kinds = ("noun", "verb") if language == "zh" else ("noun", "verb", "adj", "place", "tech")
        glue = (
            ("", "，", "的", "和")
            if language == "zh"
            else (" ", " ", " ", ", ", ". ", " the ", " and ", " is ", " of ")
        )
        words = (self.word(self.rng.choice(kinds), language) + self.rng.choice(glue) for _ in range(length))
        return "".join(words).strip()

    def request(self, language: Language) -> str:
        """An opening that says nothing by itself, with a subject nobody taught."""
        opening: str = self.rng.choice(HABITS["requests" + suffix(language)])
        return opening + self.salad(language, self.rng.randint(1, 3))

    def echo(self, language: Language) -> Turn:
        phrase = self.phrase(language)
        question = self.phrasing(self.words["echo"]["ask" + suffix(language)], lambda text: text.format(phrase=phrase))
        return Turn("echo", language, question, phrase, is_exact=True)

    def phrase(self, language: Language) -> str:
        """Short and plain: a model of this size copies a few common words, not a paragraph."""
        words = [self.plain_word(language) for _ in range(self.rng.choice((1, 1, 2, 2, 3)))]
        if language == "zh":
            return "".join(words[:2])
        text = " ".join(words)
        return self.rng.choice((text, text, text.capitalize(), text.title()))

    def plain_word(self, language: Language) -> str:
        chance = self.rng.random()
        if chance < 0.06 and language == "en":
            return made_up(self.rng)
        if chance < 0.5:
            return self.rng.choice(story_words(language))
        table: Table = self.words["unknown"]
        text: str = table[("adjs" if language == "en" else "nouns") + suffix(language)]
        return self.rng.choice([*text.split(";"), *GREETINGS[language]])

    def sum(self, language: Language) -> Turn:
        table: Table = self.words["sums"]
        kind, sign = self.rng.choice([("plus", "+"), ("plus", "+"), ("minus", "-"), ("times", "×"), ("divide", "/")])
        a, b = self.rng.randint(0, 10), self.rng.randint(0, 10)
        if kind == "minus":
            a, b = max(a, b), min(a, b)
        is_known = kind != "divide" and self.rng.random() < 0.85
        if not is_known:
            a, b = self.rng.randint(11, 9999), self.rng.randint(2, 999)
        question = self.phrasing(table[kind + suffix(language)], lambda text: self.numbers(text, a, b, language))
        if not is_known:
            return self.pair("sum", language, question, table["unknown"], table["unknown_zh"])
        result = {"plus": a + b, "minus": a - b, "times": a * b}.get(kind)
        return self.pair("sum", language, question, f"{a} {sign} {b} = {result}", f"{a} {sign} {b} = {result}")

    def numbers(self, text: str, a: int, b: int, language: Language) -> str:
        names: list[str] = self.words["sums"]["words" + suffix(language)]
        spelt = max(a, b) <= 10 and not re.search(r"[-+*=/x]", text) and self.rng.random() < 0.4
        return text.format(a=names[a], b=names[b]) if spelt else text.format(a=a, b=b)

    def count(self, language: Language) -> Turn:
        table: Table = self.words["counting"]
        names: list[str] = self.words["sums"]["words" + suffix(language)]
        is_back = self.rng.random() < 0.25
        most = self.rng.choice((2, 3, 3, 4, 5, 5, 6, 7, 8, 9, 10, 10, 10, 10 if is_back else 20))
        spelt = names[most] if most <= 10 and self.rng.random() < 0.5 else str(most)
        question = self.phrasing(
            table[("back" if is_back else "ask") + suffix(language)], lambda text: text.format(n=spelt)
        )
        numbers = [str(n) for n in (range(most, 0, -1) if is_back else range(1, most + 1))]
        return self.pair("count", language, question, ", ".join(numbers), "、".join(numbers))

    def name(self, language: Language) -> Turn:
        table: Table = self.words["names"]
        name: str = self.rng.choice(table[language])
        if language == "en" and self.rng.random() < 0.35:
            name = made_up(self.rng).capitalize()
        question = self.phrasing(table["tell" + suffix(language)], lambda text: text.format(name=name))
        answers = table["told"].format(name=name), table["told_zh"].format(name=name)
        turn = self.pair("name", language, question, *answers)
        return replace(turn, then={"name": (name, name)}, is_exact=True)

    def recall(self, language: Language, name: str) -> Turn:
        table: Table = self.words["names"]
        question = self.phrasing(table["recall" + suffix(language)])
        key = "known" if name else "untold"
        return self.pair(
            "recall", language, question, table[key].format(name=name), table[key + "_zh"].format(name=name)
        )

    def capital(self, language: Language) -> Turn:
        table: Table = self.words["capitals_asked"]
        templates: list[str] = table["ask" + suffix(language)]
        if self.rng.random() < 0.35:
            country = self.rng.choice(table["unknown" + suffix(language)])
            unknown: Table = self.words["unknown"]
            question = self.phrasing(templates, lambda text: text.format(country=country))
            return self.pair("unknown", language, question, unknown["answer"], unknown["answer_zh"])
        country, (city, country_zh, city_zh) = self.rng.choice(list(self.words["capitals"].items()))
        asked = country if language == "en" else country_zh
        question = self.phrasing(templates, lambda text: text.format(country=asked))
        return self.pair(
            "capital", language, question, f"The capital of {country} is {city}.", f"{country_zh}的首都是{city_zh}。"
        )

    def translation(self, language: Language) -> Turn:
        table: Table = self.words["translate"]
        english, chinese = self.rng.choice(list(self.words["translations"].items()))
        is_known, goal = self.rng.random() < 0.8, self.rng.choice(("zh", "en"))
        if not is_known:
            english, chinese = self.word("noun", "en"), self.word("noun", "zh")
        asked = self.rng.choice((english, f'"{english}"')) if goal == "zh" else chinese
        question = self.phrasing(table[f"to_{goal}" + suffix(language)], lambda text: text.format(word=asked))
        if not is_known:
            return self.pair("translation", language, question, table["unknown"], table["unknown_zh"])
        key = f"answer_{goal}_word"
        answers = [table[key + end].format(en=english, zh=chinese) for end in ("", "_zh")]
        return self.pair("translation", language, question, answers[0], answers[1])

    def kind(self, language: Language) -> Turn:
        table: Table = self.words["kind_asked"]
        kinds: Table = self.words["kinds"]
        kind, asked = self.rng.choice(list(kinds)), self.rng.choice(list(kinds))
        thing, thing_zh = self.rng.choice(kinds[kind][1].split(", ")).split()
        slots = {"thing": thing, "kind": asked} if language == "en" else {"thing": thing_zh, "kind": kinds[asked][0]}
        question = self.phrasing(table["ask" + suffix(language)], lambda text: text.format(**slots))
        key = "yes" if kind == asked else "no"
        a = "an" if kind == "animal" else "a"
        named = thing if kind == "colour" else f"{'an' if thing[0] in 'aeiou' else 'a'} {thing}"
        english = table[key].format(thing=named, kind=kind, a=a)
        return self.pair(
            "kind", language, question, english, table[key + "_zh"].format(thing=thing_zh, kind=kinds[kind][0])
        )

    def foreign(self, language: Language) -> Turn:
        table: Table = self.words["foreign"]
        return Turn("foreign", language, self.phrasing(table["ask"]), table["answer"])

    def pair(self, intent: str, language: Language, question: str, english: str, chinese: str, short: str = "") -> Turn:
        answer, twin = (english, chinese) if language == "en" else (chinese, english)
        return Turn(intent, language, question, answer, twin, short)


# ---------------------------------------------------------------- reading the tables


def answers_of(table: Table, language: Language) -> list[str]:
    return [answer.strip() for answer in table["answer" + suffix(language)]]


@dataclass(frozen=True, slots=True)
class Reading:
    intent: str
    language: Language
    question: str
    is_kept_back: bool


def readings() -> Iterator[Reading]:
    """Every phrasing in intents.toml."""
    languages: tuple[Language, ...] = ("en", "zh")
    for name, table in load("intents.toml")["intents"].items():
        for language in languages:
            for template in table["ask" + suffix(language)]:
                for question in expand(template):
                    yield Reading(name, language, question, is_kept_back(template, question))


def conflicts() -> list[str]:
    """Phrasings that two intents claim; a model cannot learn both."""
    owner: dict[str, str] = {}
    return [
        f"{reading.question}: {owner[reading.question]}, {reading.intent}"
        for reading in readings()
        if owner.setdefault(reading.question, reading.intent) != reading.intent
    ]


# ---------------------------------------------------------------- how people really type

HABITS: Table = load("words.toml")["habits"]
GREETINGS: Mapping[Language, tuple[str, ...]] = {
    "en": (
        "hello",
        "world",
        "hello world",
        "good morning",
        "thank you",
        "i love you",
        "banana",
        "test",
        "one two three",
    ),
    "zh": ("你好", "谢谢", "早上好", "我爱你", "你好世界", "一二三", "测试", "香蕉"),
}
SYLLABLES: list[str] = HABITS["syllables"].split()


@cache
def story_words(language: Language) -> tuple[str, ...]:
    """Plain words that belong to no subject: knowing a word must not mean knowing the answer."""
    story = answers_of(load("intents.toml")["intents"]["story"], language)[0].lower()
    return tuple(dict.fromkeys(re.findall(r"[a-z]{3,}" if language == "en" else r"[\u4e00-\u9fff]{2}", story)))


def made_up(rng: random.Random) -> str:
    """A word nobody has seen: copying it can only be learned as copying."""
    return "".join(rng.choice(SYLLABLES) for _ in range(rng.randint(2, 4)))


def vary(rng: random.Random, text: str, language: Language, *, is_exact: bool = False) -> str:
    """The same question as another person would type it: case, punctuation, politeness, a slip of the finger."""
    if rng.random() < 0.5:
        text = re.sub(r"\bparley\b(?![-_ ]?(?:dev|doctor|tiny))", "Parley", text)
    if is_exact:
        return text[0].upper() + text[1:] if rng.random() < 0.5 else text
    return vary_chinese(rng, text) if language == "zh" else vary_english(rng, text)


def vary_english(rng: random.Random, text: str) -> str:
    if rng.random() < 0.10:
        text = rng.choice(HABITS["openers"]) + text
    if rng.random() < 0.06:
        text += rng.choice(HABITS["closers"])
    if rng.random() < 0.18:
        text = slip(rng, text)
    text += rng.choices(("", "?", "!", ".", "??", " ?", "...", "!!"), (40, 38, 6, 8, 2, 2, 2, 2))[0]
    if rng.random() < 0.5:
        text = re.sub(r"\bi\b", "I", text)
    shape = rng.choices((str, capital_first, str.upper, str.lower, str.title), (38, 46, 5, 7, 4))[0]
    return shape(text)


def capital_first(text: str) -> str:
    return text[0].upper() + text[1:]


def vary_chinese(rng: random.Random, text: str) -> str:
    if rng.random() < 0.12:
        text = rng.choice(HABITS["openers_zh"]) + text
    if rng.random() < 0.5:  # many people put a space between Chinese and Latin letters
        text = re.sub(r"(?<=[\u4e00-\u9fff])(?=[A-Za-z0-9])|(?<=[A-Za-z0-9])(?=[\u4e00-\u9fff])", " ", text)
    return text + rng.choices(("", "？", "?", "。", "！", "？？"), (42, 38, 8, 5, 5, 2))[0]


def slip(rng: random.Random, text: str) -> str:
    """One typing mistake in one longer word."""
    words = list(re.finditer(r"[a-z]{4,}", text))
    if not words:
        return text
    match = rng.choice(words)
    at = rng.randrange(match.start() + 1, match.end() - 1)
    kind = rng.randrange(4)
    changed = (
        text[at + 1] + text[at],  # swapped
        text[at + 1],  # dropped
        text[at] * 2 + text[at + 1],  # doubled
        rng.choice("abcdefghijklmnopqrstuvwxyz") + text[at + 1],  # wrong key
    )[kind]
    return text[:at] + changed + text[at + 2 :]


if __name__ == "__main__":
    for problem in conflicts():
        print("two intents claim", problem)  # noqa: T201
    corpus = Corpus(seed=1)
    for _ in range(8):
        print("\n".join(f"{m['role']:>9}: {m['content']}" for m in corpus.chat()), end="\n\n")  # noqa: T201
