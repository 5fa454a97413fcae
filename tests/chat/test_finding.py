"""Where the words stand: in what was found, whatever its letters."""

import itertools
import random

import pytest

from functions.chat.finding import mark, snippet


@pytest.mark.parametrize(
    ("text", "query", "pieces"),
    [
        ("Trip to Kyoto", "kyo", ("Trip to ", "Kyo", "to")),
        ("aaa", "a", ("", "a", "", "a", "", "a", "")),
        ("Nothing here", "kyoto", ("Nothing here",)),
        ("Hauptstraße 5, STRASSE 7", "strasse", ("Haupt", "straße", " 5, ", "STRASSE", " 7")),
        ("İstanbul, istanbul", "istanbul", ("İstanbul, ", "istanbul", "")),
        ("ßs", "ss", ("", "ß", "s")),
        ("微积分😀复习", "😀复", ("微积分", "😀复", "习")),
        ("a.b*c", ".b*", ("a", ".b*", "c")),
        ("anything", "", ("anything",)),
    ],
)
def test_a_text_is_cut_where_the_words_stand(text: str, query: str, pieces: tuple[str, ...]) -> None:
    assert mark(text, query) == pieces


def test_whatever_is_marked_stays_whole_and_says_the_query() -> None:
    dice = random.Random(11)
    for _ in range(3_000):
        text = "".join(dice.choices("aAsSßẞİıſﬃ😀 é\u0301", k=dice.randrange(14)))
        query = "".join(dice.choices("asSßiﬃ f", k=dice.randrange(1, 3)))
        pieces = mark(text, query)

        assert "".join(pieces) == text
        assert len(pieces) % 2 == 1
        assert (len(pieces) > 1) == (query.casefold() in text.casefold())


def test_a_snippet_is_one_line_around_the_first_place() -> None:
    text = "word " * 40 + "the\n\n  answer is\tforty-two " + "and more " * 40

    shown = snippet(text, "ANSWER")
    line = "".join(shown)

    assert shown[1::2] == ("answer",)
    assert "word the answer is forty-two and more" in line
    assert line[:2] == "…w"
    assert line[-1] == "…"
    assert len(line) < 200


def test_a_short_message_is_shown_whole() -> None:
    assert snippet("  What is\nParley? ", "parley") == ("What is ", "Parley", "?")


def test_a_word_at_either_end_is_found_in_a_long_text() -> None:
    for text in ("needle " + "x" * 5_000, "x" * 5_000 + " needle", "ß" * 3_000 + "needle"):
        shown = snippet(text, "Needle")

        assert shown[1] == "needle"
        assert sum(map(len, shown)) < 200


def test_a_long_text_of_letters_that_fold_to_two_is_marked_in_linear_time() -> None:
    pieces = mark("ß" * 60_000, "ss")

    assert len(pieces) == 120_001
    assert set(itertools.islice(pieces, 1, None, 2)) == {"ß"}
