"""Vectors of spelling: shared words make texts near, in both languages; and what is cached of vectors at all."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from functions.inference.lexical import LENGTH, lexical_vector
from functions.inference.vector_cache import ENTRY_BYTES, VectorCache


def cosine(one: str, other: str) -> float:
    return sum(map(float.__mul__, lexical_vector(one), lexical_vector(other)))


@given(st.text(max_size=200))
def test_every_text_has_a_vector_of_length_one_or_of_zeros(text: str) -> None:
    vector = lexical_vector(text)

    assert len(vector) == LENGTH
    assert math.hypot(*vector) == pytest.approx(1) or not any(vector)


@pytest.mark.parametrize(
    ("text", "same"),
    [
        ("When do you open?", "when do you OPEN"),
        ("When do you open?", "  When\tdo you\nopen ?!"),
        ("你们几点开门？", "你们几点开门"),
        ("ＡＢＣ 商店", "abc商店"),
    ],
)
def test_case_spaces_and_punctuation_change_nothing(text: str, same: str) -> None:
    assert cosine(text, same) == pytest.approx(1)


@pytest.mark.parametrize(
    ("text", "near", "far"),
    [
        ("The museum opens at nine", "opening hours of the museum", "a recipe for apple pie"),
        ("I like hiking in the Alps", "do I like to hike?", "my printer is broken"),
        ("数据库怎么备份", "备份数据库的方法", "今天吃什么"),
        ("서울의 날씨", "서울 날씨", "파스타 만들기"),
        ("error E1234 in parser.py", "what is E1234", "what is E1235"),
    ],
)
def test_shared_words_make_texts_near(text: str, near: str, far: str) -> None:
    assert cosine(text, near) > 2 * max(0.0, cosine(text, far))


def test_the_vectors_are_the_same_in_every_version() -> None:
    """They are stored: whoever changes them changes the model's name."""
    filled = {at: round(number, 6) for at, number in enumerate(lexical_vector("hi 你好")) if number}

    assert filled == {56: 0.396526, 345: 0.396526, 494: 0.793052, 507: 0.237915}


def test_the_cache_keeps_what_was_used_last_within_its_bytes() -> None:
    cache = VectorCache(3 * (ENTRY_BYTES + 4 * 8))
    for name in "abc":
        cache.put("m", name, [float(ord(name))] * 8)
    assert cache.get("m", "a") == (97.0,) * 8
    cache.put("m", "d", [1.0] * 8)

    assert cache.get("m", "b") is None
    assert [cache.get("m", name) is not None for name in "acd"] == [True, True, True]
    assert len(cache) == 3

    cache.put("m", "large", [0.0] * 1000)  # larger than the whole cache
    assert (len(cache), cache.bytes) == (0, 0)


def test_a_text_put_twice_counts_once_and_models_are_kept_apart() -> None:
    cache = VectorCache()
    cache.put("m", "a", [1.0])
    size = cache.bytes
    cache.put("m", "a", [2.0])

    assert (cache.get("m", "a"), cache.bytes) == ((2.0,), size)
    assert cache.get("n", "a") is None
