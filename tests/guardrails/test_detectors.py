"""What is found, what is not, and that no way of writing it hides it."""

import random
import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from functions.guardrails.detectors import Detectors
from functions.guardrails.hits import Undecided
from functions.guardrails.patterns import partial
from functions.guardrails.policy import BANNED, PII, SECRETS
from functions.guardrails.scanner import find
from functions.guardrails.stream import check_text
from functions.guardrails.view import view_of
from functions.settings import HOLD_BACK_CHARS
from tests.guardrails.corpus import ALNUM, BENIGN, CARDS, NEAR_MISSES, SENSITIVE, TERMS, WORD, card, draw, resident_id
from tests.guardrails.corpus import BANNED as BANNED_WRITTEN
from tests.guardrails.policies import DEFAULT, STRICT, policy

EVERYTHING = Detectors({*PII, *SECRETS, BANNED}, terms=TERMS, regions=("US", "CN", "GB"))
NEIGHBOURS = [
    ("", ""),
    (" ", " "),
    ("：", "。"),
    ("是", "吧"),
    ("“", "”"),
    ("(", ")"),
    ("\n", "\n"),
    ("\\n", "\\n"),
    ("，", "，"),
]


# Before these an escaped line break is read as a letter; in tool calls check_json opens the escapes.
WORDY = {"email", "phone", "ip"}


@pytest.mark.parametrize(("left", "right"), NEIGHBOURS)
@pytest.mark.parametrize(("kind", "value"), SENSITIVE, ids=lambda value: str(value)[:24])
def test_each_type_is_found_whole_beside_any_neighbour(kind: str, value: str, left: str, right: str) -> None:
    if left == "\\n" and kind in WORDY:
        left = " "

    assert check_text(STRICT, left + value + right).text == f"{left}[redacted: {kind}]{right}"


@pytest.mark.parametrize("value", BANNED_WRITTEN)
@pytest.mark.parametrize(("left", "right"), [("", ""), (" ", "."), ("这个", "的"), ("“", "”"), ("_", "_")])
def test_banned_terms_are_found_in_any_case_width_and_script(value: str, left: str, right: str) -> None:
    assert check_text(STRICT, left + value + right).text == f"{left}[redacted: banned_term]{right}"


@pytest.mark.parametrize("value", ["frоbniсаtе", "ＢＬＵＥ fаlсоn", "nevеrm\u0336оre", "🅕🅡🅞🅑🅝🅘🅒🅐🅣🅔"])
def test_letters_of_other_scripts_do_not_hide_a_banned_term(value: str) -> None:
    assert check_text(STRICT, f"a {value}!").text == "a [redacted: banned_term]!"


@pytest.mark.parametrize("text", ["frobnicates", "unfrobnicate", "abc", "abcdefg", "cab", "ab1", "蓝色的猎鹰"])
def test_a_banned_term_inside_another_word_is_left(text: str) -> None:
    assert check_text(STRICT, text).text == text


def test_the_longest_banned_term_wins() -> None:
    assert [(s.start, s.end) for s in find(EVERYTHING, "ab abcdef 坏词")] == [(0, 2), (3, 9), (10, 12)]


@pytest.mark.parametrize("text", NEAR_MISSES, ids=lambda text: text[:24])
@pytest.mark.parametrize(("left", "right"), [("", ""), (" ", " "), ("编号", "完成")])
def test_a_near_miss_is_left_alone(text: str, left: str, right: str) -> None:
    assert check_text(DEFAULT, left + text + right).text == left + text + right


@pytest.mark.parametrize("text", BENIGN, ids=lambda text: text[:24])
def test_ordinary_text_comes_out_as_it_is(text: str) -> None:
    assert check_text(DEFAULT, text) == check_text(DEFAULT, text)
    assert check_text(DEFAULT, text).text == text
    assert check_text(DEFAULT, text).verdicts == ()


@pytest.mark.parametrize(
    "gap", ["", " ", "-", ".", "  ", " - ", "\u00a0", "–", "\u200b", "\u2060 ", "\u3000", "\u00ad"]
)
def test_a_card_is_found_however_its_groups_are_parted(gap: str) -> None:
    rng = random.Random(4)
    for prefix in ("4", "51", "2221", "6011", "62", "35"):
        digits = card(rng, prefix)
        text = gap.join(digits[at : at + 4] for at in range(0, 16, 4))
        assert check_text(DEFAULT, f"卡{text}。").text == "卡[redacted: card]。"


@pytest.mark.parametrize("digits", ["０１２３４５６７８９", "٠١٢٣٤٥٦٧٨٩", "०१२३४५६७८९", "𝟎𝟏𝟐𝟑𝟒𝟓𝟔𝟕𝟖𝟗"])
def test_digits_of_other_scripts_are_digits(digits: str) -> None:
    written = "4111111111111111".translate(str.maketrans("0123456789", digits))

    assert check_text(DEFAULT, written).text == "[redacted: card]"


def test_made_up_numbers_with_good_checksums_are_all_found() -> None:
    rng = random.Random(5)
    for _ in range(300):
        assert check_text(DEFAULT, card(rng)).text == "[redacted: card]"
        assert check_text(DEFAULT, resident_id(rng)).text == "[redacted: cn_resident_id]"


def test_numbers_with_bad_checksums_are_left() -> None:
    rng = random.Random(6)
    for _ in range(300):
        digits = card(rng)
        wrong = digits[:-1] + str((int(digits[-1]) + rng.randint(1, 9)) % 10)
        assert check_text(DEFAULT, wrong).text == wrong


@pytest.mark.parametrize("said", ["IP:", "IP：", "地址：", "at ", "[", "host="])
def test_an_address_is_found_after_whatever_announces_it(said: str) -> None:
    assert check_text(STRICT, f"{said}2001:db8::8a2e:370:7334]").text == f"{said}[redacted: ip]]"
    assert check_text(STRICT, f"{said}x::a1::b2, std::c3::d4").text == f"{said}x::a1::b2, std::c3::d4"


def test_what_overlaps_becomes_one_span_named_after_the_graver() -> None:
    text = "4111111111111111@example.org"

    assert [(s.kind, s.start, s.end) for s in find(EVERYTHING, text)] == [("email", 0, 28)]

    token = "ghp_" + "aB3dE6gH9jK2mN5pQ8sT1vW4yZ7bC0fD3gH6" + "@example.org"

    assert [s.kind for s in find(EVERYTHING, token)] == ["github_token"]


def test_spans_are_offsets_in_the_raw_text() -> None:
    text = "ﬁ\u200b：" + CARDS[4] + "\u200b ß 4111\u200b1111１１１１1111!"

    assert [text[s.start : s.end] for s in find(EVERYTHING, text)] == [CARDS[4], "4111\u200b1111１１１１1111"]


def test_what_names_a_secret_is_shown_unless_it_is_banned() -> None:
    secret = "wJalrXUtnFEMIK7MDENGbPxRfiCYzW3kQp9sT2vB"

    assert check_text(DEFAULT, f'{{"aws_secret_access_key": "{secret}"}}').text == (
        '{"aws_secret_access_key": "[redacted: aws_key]"}'
    )
    for term in ("secret", "aws", "key"):
        rules = policy(f'[banned_terms]\nterms = ["{term}"]\n')
        assert check_text(rules, f"x AWS_SECRET_ACCESS_KEY={secret} y").text == "x [redacted: aws_key] y"


def test_azures_keys_are_known_by_what_stands_before_or_inside_them() -> None:
    key, secret = draw(ALNUM + "+/", 86) + "==", "8Q~" + draw(WORD, 34)

    assert check_text(DEFAULT, f"AccountName=a;AccountKey={key};EndpointSuffix=b").text == (
        "AccountName=a;AccountKey=[redacted: azure_key];EndpointSuffix=b"
    )
    assert check_text(DEFAULT, f"id x1Y{secret}.").text == "id x1Y[redacted: azure_key]"
    assert check_text(DEFAULT, "press 8Q~ and 3Q~1").text == "press 8Q~ and 3Q~1"


@pytest.mark.parametrize("written", ["9469 9966", "(37) 788-063", "01.84.17.61.18", "737 219 628", "0490 39 07 81"])
@pytest.mark.parametrize("said", ["Fax: ", "please call me on ", "传真：", "my phone number is\n", "Mobile – "])
def test_what_is_said_of_a_telephone_is_a_number_whatever_its_shape(said: str, written: str) -> None:
    assert check_text(STRICT, f"{said}{written}, thanks").text == f"{said}[redacted: phone], thanks"
    assert check_text(STRICT, f"The order {written}, thanks").text.startswith("The order")


@pytest.mark.parametrize(
    "text", ["call 2024-05-06 12", "phone model 3310", "fax 10.20.30.40", "office 12:30", "ring 0000000"]
)
def test_not_every_number_after_a_telephone_is_one(text: str) -> None:
    assert "phone" not in check_text(STRICT, text).text.partition(" ")[2]


def test_an_unfinished_private_key_is_dropped_to_where_it_cannot_go_on() -> None:
    body = "MIIEvQIBADANBgkqhkiG9w0BAQEFAASCBKcwggSjAgEAAoIBAQC7"

    assert check_text(DEFAULT, f"-----BEGIN PRIVATE KEY-----\n{body}\n{body}").text == "[redacted: private_key]"
    assert check_text(DEFAULT, f"-----BEGIN PRIVATE KEY-----\n{body}。好").text == "[redacted: private_key]。好"


# -- the machinery ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("source", "beginnings", "others"),
    [
        ("ab{2}c?", ["", "a", "ab", "abb", "abbc"], ["b", "abc", "abbb"]),
        ("(?:x|yz)[0-9]{1,3}-", ["x", "y", "yz", "yz12", "x123-"], ["z", "xy", "x1234"]),
        (r"a\.(?:b[ .-]?){2}", ["a.", "a.b", "a.b b", "a.bb"], ["ab", "a.c"]),
    ],
)
def test_a_partial_pattern_matches_beginnings_and_nothing_else(
    source: str, beginnings: list[str], others: list[str]
) -> None:
    pattern = re.compile(partial(source) + r"\Z")

    assert [text for text in beginnings if not pattern.match(text)] == []
    assert [text for text in others if pattern.match(text)] == []


def test_from_its_first_character_on_a_value_is_held_or_certain() -> None:
    for _, value in SENSITIVE:
        view = view_of(value)[0][:HOLD_BACK_CHARS]
        for end in range(1, len(view)):
            assert EVERYTHING.at(view[:end], EVERYTHING.fold(view[:end]), 0, False) is not None, view[:end]


texts = st.lists(
    st.one_of(
        st.sampled_from([value[:60] for _, value in SENSITIVE]),
        st.sampled_from(
            [*TERMS, *NEAR_MISSES, "-----BEGIN ", "sk-", "eyJ", "4111 ", "1", "\u200b", "是", " ", "\\n", ".", "-"]
        ),
        st.text(alphabet="aAbks_-. 0149@:+(是，é\u200b", max_size=8),
    ),
    max_size=6,
).map("".join)


@settings(deadline=None)
@given(texts)
def test_no_place_where_something_may_begin_is_passed_over(text: str) -> None:
    view = view_of(text)[0]
    folded = EVERYTHING.fold(view)
    seen = set()
    at = EVERYTHING.next(view, folded, 0)
    while at < len(view):
        seen.add(at)
        at = EVERYTHING.next(view, folded, at + 1)

    for at in range(len(view)):
        for final in (False, True):
            if EVERYTHING.at(view, folded, at, final) is not None:
                assert at in seen


@settings(deadline=None)
@given(texts, texts)
def test_a_decided_place_stays_decided(text: str, more: str) -> None:
    before = view_of(text)[0]
    after = view_of(text + more)[0]
    for at in range(max(0, len(before) - HOLD_BACK_CHARS), len(before)):
        early = EVERYTHING.at(before, EVERYTHING.fold(before), at, False)
        if not isinstance(early, Undecided) and after.startswith(before):
            assert EVERYTHING.at(after, EVERYTHING.fold(after), at, False) == early
