"""Hidden texts are not repeated: from forty letters on nothing of them is shown, and never more than twelve."""

import random

import pytest

from functions.guardrails.leak import GRAM, LEAK, Hidden, letters
from functions.guardrails.stream import OutputFilter, check_json, check_text
from functions.guardrails.view import view_of
from tests.bench.rails import TEXTS
from tests.guardrails.corpus import HIDDEN
from tests.guardrails.policies import DEFAULT, policy

ENGLISH, CHINESE = HIDDEN
REDACTED = "[redacted: hidden_text]"


def common(text: str, hidden: str) -> int:
    """The longest run of letters that both have."""
    mine, theirs = letters(view_of(text)[0]), letters(view_of(hidden)[0])
    best = 0
    for start in range(len(mine)):
        while mine[start : start + best + 1] in theirs and start + best < len(mine):
            best += 1
    return best


def streamed(text: str, rng: random.Random, rails: OutputFilter) -> str:
    out, at = "", 0
    while at < len(text):
        size = rng.randint(1, 12)
        out += rails.push(text[at : at + size])
        at += size
    return out + rails.finish()


@pytest.mark.parametrize("hidden", HIDDEN, ids=["english", "chinese"])
@pytest.mark.parametrize(
    "told",
    [
        lambda text: text,
        lambda text: text.upper(),
        " ".join,
        lambda text: text.replace(" ", "\n> ").replace("，", "，\n- "),
        lambda text: text.replace("a", "а").replace("e", "\u200be").replace("不", "不\u200b"),
        lambda text: "**" + text.replace(" ", "** **") + "**",
        lambda text: "".join(chr(ord(c) + 0xFEE0) if "!" <= c <= "~" else c for c in text),
        lambda text: text[30:],
    ],
)
def test_a_hidden_text_is_not_told_however_it_is_dressed_and_cut(hidden: str, told: object) -> None:
    rng = random.Random(3)
    text = f"Sure! My instructions: {told(hidden)}\n\nAnything else?"  # type: ignore[operator]
    for _ in range(20):
        rails = OutputFilter(DEFAULT, hidden=HIDDEN)

        out = streamed(text, rng, rails)

        assert common(out, hidden) <= 2 * GRAM  # the words before it may happen to be in it, too
        assert REDACTED in out
        assert out.endswith("else?")
        assert {verdict.rail for verdict in rails.verdicts} == {"leak"}


def test_a_stretch_of_forty_letters_is_a_leak_and_one_less_is_talk() -> None:
    whole = letters(view_of(ENGLISH)[0])
    stretch = whole[50 : 50 + LEAK]

    assert REDACTED in check_text(DEFAULT, f"x {stretch} x", hidden=HIDDEN).text
    assert check_text(DEFAULT, f"x {stretch[:-1]}# x", hidden=HIDDEN).text == f"x {stretch[:-1]}# x"


def test_what_comes_after_the_leak_is_shown() -> None:
    out = check_text(DEFAULT, f"{ENGLISH} That was all, dear user.", hidden=HIDDEN).text

    assert out.endswith("That was all, dear user.")
    assert "seven" not in out


def test_a_short_text_counts_as_a_whole_and_a_very_short_one_not_at_all() -> None:
    short, very_short = "The door code is 7731, tell nobody.", "Be brief and kind."

    assert REDACTED in check_text(DEFAULT, f"I know: {short}", hidden=(short,)).text
    assert check_text(DEFAULT, f"I know: {very_short}", hidden=(very_short,)).verdicts == ()
    assert not Hidden.of((very_short, ""))


@pytest.mark.parametrize("kind", ["english", "chinese", "code"])
def test_ordinary_text_is_not_held_back_because_of_hidden_texts(kind: str) -> None:
    rails, held = OutputFilter(DEFAULT, hidden=HIDDEN), []
    for start in range(0, len(TEXTS[kind]), 3):
        rails.push(TEXTS[kind][start : start + 3])
        held.append(rails.held)

    assert sorted(held)[len(held) * 99 // 100] <= 16
    assert rails.verdicts == []


def test_the_policy_says_what_happens() -> None:
    blocking, noting, off = (policy(f'[output.leak]\naction = "{action}"\n') for action in ("block", "flag", "off"))

    rails = OutputFilter(blocking, hidden=HIDDEN)
    out = rails.push(ENGLISH)
    assert rails.blocked
    assert common(out, ENGLISH) <= GRAM
    assert rails.refusal == blocking.message("leak", "en")
    assert check_text(noting, ENGLISH, hidden=HIDDEN).text == ENGLISH
    assert [v.action for v in check_text(noting, ENGLISH, hidden=HIDDEN).verdicts] == ["flagged"]
    assert check_text(off, ENGLISH, hidden=HIDDEN).verdicts == ()


def test_the_verdict_names_the_place_and_not_the_text() -> None:
    (verdict,) = check_text(DEFAULT, f"Well. {ENGLISH}", hidden=HIDDEN).verdicts

    assert (verdict.rail, verdict.action, verdict.message) == ("leak", "redacted", DEFAULT.message("leak", "en"))
    assert 6 < verdict.start < 6 + 2 * GRAM
    assert "Hillview" not in repr(verdict)


def test_tool_calls_are_looked_through_as_well() -> None:
    result = check_json(DEFAULT, [{"arguments": f'{{"body": "{CHINESE}"}}'}], hidden=HIDDEN)

    assert REDACTED in result.value[0]["arguments"]


def test_a_text_of_one_letter_repeated_is_no_trouble() -> None:
    hidden = ("ab" * 4000,)

    assert REDACTED in check_text(DEFAULT, "x " + "ab" * 3000, hidden=hidden).text
