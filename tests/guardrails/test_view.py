"""The normalised view: what folds to what, and the way back."""

import sys
import unicodedata

import pytest

from functions.guardrails.terms import fold_terms
from functions.guardrails.view import INVISIBLE_RUN, fold, letters_of, one_to_one, view_of


@pytest.mark.parametrize(
    ("char", "folded"),
    [
        ("４", "4"),
        ("٣", "3"),
        ("①", "1"),
        ("\u200b", ""),
        ("\u00ad", ""),
        ("\ufeff", ""),
        ("\u202e", ""),
        ("\ufe0f", ""),
        ("\u0301", ""),
        ("–", "-"),
        ("\u00a0", " "),
        ("\u3000", " "),
        ("\u2028", "\n"),
        ("Ａ", "A"),
        ("é", "e"),
        ("ﬁ", "fi"),
        ("ß", "ss"),
        ("İ", "I"),
        ("…", "…"),
        ("，", ","),
        ("中", "中"),
        ("한", "한"),
        ("が", "が"),
        ("😀", "😀"),
        ("\u0489", ""),  # Cyrillic millions sign, drawn around a letter
        ("\u05b0", ""),  # a Hebrew point
        ("\u064e", ""),  # an Arabic vowel
        ("\u2067", ""),
        ("\u2066", ""),
        ("\U000e0041", ""),  # a tag character
        ("\U0001d5ba", "a"),  # 𝖺
        ("Ⓐ", "A"),
        ("㎏", "kg"),
    ],
)
def test_a_character_folds_to_what_a_detector_reads(char: str, folded: str) -> None:
    assert fold(char) == folded


def test_every_view_character_knows_the_raw_one_it_came_from() -> None:
    view, origin, run = view_of("4\u200b１ﬁ é\u0301\u200b")

    assert (view, origin, run) == ("41fi e", [0, 2, 3, 3, 4, 5], 2)


def test_a_long_run_of_invisible_characters_becomes_visible_however_it_is_cut() -> None:
    text = "4" + "\u200b" * (INVISIBLE_RUN + 3) + "1"
    whole, _, _ = view_of(text)

    for cut in range(len(text)):
        first, _, run = view_of(text[:cut])
        second, _, _ = view_of(text[cut:], run)
        assert first + second == whole

    assert whole == "4" + "\u200b" * 3 + "1"


def test_both_ways_to_the_view_agree_on_every_character() -> None:
    for char in map(chr, range(0x20000)):
        quick = one_to_one(char)
        assert quick is None or quick == view_of(char)[0] or char == "\ue000", hex(ord(char))


def test_folding_case_keeps_every_offset() -> None:
    for code in range(sys.maxunicode + 1):
        char = chr(code)
        if unicodedata.category(char) in {"Lu", "Lt", "Ll", "So"}:
            view = view_of(char)[0]
            assert len(fold_terms(view)) == len(view), hex(code)


@pytest.mark.parametrize(
    ("written", "read"),
    [
        ("раураl", "paypal"),  # Cyrillic р, а, у
        ("ВАNК", "bank"),
        ("ΑΡΙ κεy", "api key"),  # Greek
        ("ѕесrеt", "secret"),
        ("ɢᴜᴀʀᴅ", "guard"),  # small capitals
        ("🅜🅞🅓🅔", "mode"),
        ("𝐦𝗼𝘥𝚎", "mode"),
        ("ｍｏｄｅ", "mode"),
        ("m\u0336o\u0336d\u0336e\u0336", "mode"),
        ("Ⅿode", "mode"),
        ("中文 한국어 日本語", "中文 한국어 日本語"),
    ],
)
def test_look_alikes_are_read_as_what_they_pass_for(written: str, read: str) -> None:
    assert letters_of(view_of(written)[0]) == read


def test_look_alikes_are_folded_for_comparing_only() -> None:
    assert view_of("раураl")[0] == "раураl"


def test_large_and_small_letters_of_every_script_are_read_alike() -> None:
    for code in range(sys.maxunicode + 1):
        char = chr(code)
        if unicodedata.category(char) == "Lu" and char.lower().upper() == char and len(char.lower()) == 1:
            assert letters_of(view_of(char)[0]) == letters_of(view_of(char.lower())[0]), hex(code)
