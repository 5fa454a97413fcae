"""The exact guard, on the labelled pairs and beyond them; the pairs themselves."""

from collections import Counter

import pytest

from functions.chat.sameness import agree, is_personal, is_timely, repeats
from functions.chat.semantic_cache import LEXICAL_SCORE
from tests.cache.measure import Pair, lexical_scores, outcome, read_pairs

PAIRS = read_pairs()
LEFT_TO_THE_VECTORS = 8  # a common word in another's place


def ids(pair: Pair) -> str:
    return f"{pair.kind}: {pair.one} | {pair.other}"


def test_there_are_enough_pairs_of_every_kind_in_both_languages() -> None:
    kinds = Counter((pair.language, pair.kind) for pair in PAIRS)

    assert len(PAIRS) >= 240
    assert {kind for _, kind in kinds} >= {
        "number",
        "negation",
        "swap",
        "entity",
        "unit",
        "antonym",
        "language",
        "code",
    }
    assert sum(count for (language, _), count in kinds.items() if language == "zh") >= 100
    assert len({frozenset((pair.one, pair.other)) for pair in PAIRS}) >= len(PAIRS) - 1  # the other way round is one


@pytest.mark.parametrize("pair", [pair for pair in PAIRS if not pair.same and pair.kind != "entity"], ids=ids)
def test_what_decides_is_never_overlooked(pair: Pair) -> None:
    assert not agree(pair.one, pair.other)
    assert not agree(pair.other, pair.one)


def test_of_things_in_anothers_place_few_are_left_to_the_vectors() -> None:
    wrong = [pair for pair in PAIRS if not pair.same and agree(pair.one, pair.other)]

    assert len(wrong) == LEFT_TO_THE_VECTORS
    assert not [pair for pair in wrong if pair.language == "zh"]


@pytest.mark.parametrize("pair", [pair for pair in PAIRS if pair.kind == "repeat"], ids=ids)
def test_a_repeat_is_seen_by_spelling_alone(pair: Pair) -> None:
    assert repeats(pair.one, pair.other)
    assert agree(pair.one, pair.other)
    assert lexical_scores([pair])[0] >= LEXICAL_SCORE


def test_spelling_alone_is_never_wrong_on_the_pairs() -> None:
    right, wrong = outcome(PAIRS, lexical_scores(PAIRS), LEXICAL_SCORE, repeats)

    assert wrong == []
    assert len(right) >= 20


def test_without_the_guard_spelling_would_be_wrong_often() -> None:
    _, wrong = outcome(PAIRS, lexical_scores(PAIRS), LEXICAL_SCORE, lambda one, other: True)

    assert len(wrong) >= 10


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("Is 1,000 a lot?", "is 1000 a lot"),
        ("How far are five km?", "How far are 5 kilometres?"),
        ("I can’t open it, why?", "I can't open it, why?"),
        ("Is it ＡＢＣ？", "Is it ABC?"),
        ("what is the capital of france", "What is the capital of France?"),
        ("能不能解释递归", "解释递归"),
        ("这个是不是质数", "这个是质数吗"),
    ],
)
def test_another_spelling_is_the_same_question(one: str, other: str) -> None:
    assert agree(one, other)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("", "magnets"),
        ("Explain `a`", "Explain `b`"),
        ("Why is x > 1?", "Why is x < 1?"),
        ("Summarise https://a.example/x", "Summarise https://a.example/y"),
        ("Mail ann@example.org", "Mail bob@example.org"),
        ("Who is Ann Lee?", "Who is Ann Li?"),
        ("他不来吗", "他来吗"),
    ],
)
def test_little_things_decide(one: str, other: str) -> None:
    assert not agree(one, other)
    assert not repeats(one, other)


@pytest.mark.parametrize(
    "text", ["What's the weather?", "Who is the current president?", "今天几号", "最新的手机", "What time is it?"]
)
def test_what_changes_with_the_day_is_known(text: str) -> None:
    assert is_timely(text)
    assert not is_timely("How is paper made?")


@pytest.mark.parametrize("text", ["Why am I tired?", "Rate my poem", "我为什么累", "Should we go?", "I'm ill"])
def test_what_speaks_of_the_asker_is_known(text: str) -> None:
    assert is_personal(text)
    assert not is_personal("How is ice made in Missouri?")
