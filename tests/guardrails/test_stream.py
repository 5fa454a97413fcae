"""The stream shows what the batch shows, however it is cut, whoever takes it over, and nothing that is redacted."""

import json
import os
import random
import re
from collections.abc import Iterator
from functools import cache
from itertools import pairwise

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from functions.chat.messages import Verdict
from functions.guardrails.policy import Policy
from functions.guardrails.stream import OutputFilter, TextResult, check_input, check_json, check_text, filter_text
from functions.guardrails.view import INVISIBLE_RUN, view_of
from functions.settings import HOLD_BACK_CHARS
from tests.bench.rails import TEXTS, TOKEN, held_back
from tests.guardrails.corpus import (
    BENIGN,
    HIDDEN,
    KEY_BODY,
    LEFT,
    NEAR_MISSES,
    PII,
    SECRETS,
    SENSITIVE,
    Sample,
    samples,
)
from tests.guardrails.policies import BLOCKING, DEFAULT, FLAGGING, STRICT, policy

KEY = b"of the tests"
CHUNKINGS = int(os.environ.get("CHUNKINGS", "8000"))  # docs/security.md tells of a run with more
SAMPLES = samples(random.Random(11), 500)
POLICIES = (STRICT, DEFAULT, STRICT, FLAGGING, BLOCKING)


def cuts(rng: random.Random, text: str) -> Iterator[str]:
    """Pieces of one character, of tokens, of batches of tokens, and some of nothing."""
    most = rng.choice((1, 3, 5, 9, 30, 400))
    at = 0
    while at < len(text):
        size = rng.randint(rng.randint(0, 1), most)
        yield text[at : at + size]
        at += size


def streamed(rails: OutputFilter, pieces: Iterator[str] | list[str]) -> str:
    return "".join([rails.push(piece) for piece in pieces]) + rails.finish()


def place(verdict: Verdict) -> tuple[int, int, str, str, str]:
    return verdict.start, verdict.end, verdict.rail, verdict.action, verdict.digest


def cases(seed: int, count: int) -> Iterator[tuple[random.Random, Policy, Sample]]:
    """Long keys take long: most of the texts are cut short."""
    rng = random.Random(seed)
    texts = [Sample(s.text if rng.random() < 0.04 else s.text[: rng.randint(40, 260)]) for s in SAMPLES]
    for number in range(count):
        yield rng, POLICIES[number % len(POLICIES)], rng.choice(texts)


@cache
def batch(rules: Policy, text: str) -> TextResult:
    return check_text(rules, text, hidden=HIDDEN, key=KEY)


def grams(text: str, size: int) -> set[str]:
    """The runs of letters and digits as the eye reads them, without what stands between."""
    plain = "".join(c for c in view_of(text)[0] if c.isalnum())
    return {plain[at : at + size] for at in range(len(plain) - size + 1)}


MARKS = [f"[redacted: {kind}]" for kind in (*PII, *SECRETS)]
PUBLIC = set().union(*(grams(text, 6) for text in (*BENIGN, *NEAR_MISSES, *MARKS)))


def apart(sample: Sample) -> Iterator[str]:
    """The sensitive values of a sample that no other number touches; digits one by one are promised only there."""
    for _, value in sample.values:
        before, _, after = sample.text.partition(value)
        if not re.search(r"[0-9][ .-]?$", before) and not re.match(r"[ .-]?[0-9]", after):
            yield value


def test_no_sample_shows_anything_sensitive() -> None:
    """Together with the next test: no way of cutting it does."""
    values = [(sample, value) for sample in SAMPLES for value in apart(sample)]

    assert len(values) > 900
    for sample, value in values:
        assert not grams(batch(STRICT, sample.text).text, 6) & (grams(value, 6) - PUBLIC), value


def test_every_way_of_cutting_a_text_shows_the_same_and_decides_the_same() -> None:
    for rng, rules, sample in cases(1, CHUNKINGS):
        whole = batch(rules, sample.text)

        rails = OutputFilter(rules, hidden=HIDDEN, key=KEY, language="en")
        shown = streamed(rails, cuts(rng, sample.text))

        assert shown == whole.text, sample.text
        assert rails.blocked == whole.blocked
        if rules is not BLOCKING:  # a flag behind a block depends on how much had come
            assert sorted(map(place, rails.verdicts)) == sorted(map(place, whole.verdicts)), sample.text


def test_a_run_taken_over_anywhere_shows_the_same() -> None:
    for rng, rules, sample in cases(2, 2_000):
        first, shown = OutputFilter(rules, hidden=HIDDEN), ""
        for piece in cuts(rng, sample.text[: rng.randint(0, len(sample.text))]):
            shown += first.push(piece)  # and here its worker dies
        if first.blocked:
            continue
        rest = sample.text[first.settled :]

        second = OutputFilter(rules, prior=shown, hidden=HIDDEN)
        shown += streamed(second, cuts(rng, rest))

        assert shown == batch(rules, sample.text).text, sample.text


@pytest.mark.parametrize(("kind", "value"), SENSITIVE, ids=lambda value: str(value)[:24])
def test_nothing_of_a_sensitive_value_is_ever_shown(kind: str, value: str) -> None:
    rng = random.Random(value)
    secret = grams(value, 6) - PUBLIC
    for _ in range(20):
        left, right = rng.choice(LEFT), rng.choice(("。", "！", '"', ")", "\n", ", "))
        text = rng.choice(BENIGN) + left + value + right + rng.choice(BENIGN)

        rails, shown = OutputFilter(STRICT), ""
        for piece in cuts(rng, text):
            shown += rails.push(piece)
        shown += rails.finish()

        assert not grams(shown, 6) & secret
        assert f"[redacted: {kind}]" in shown


@settings(max_examples=200, deadline=None)
@given(
    st.lists(
        st.one_of(
            st.sampled_from([value for _, value in SENSITIVE]),
            st.sampled_from([value[: len(value) // 2] for _, value in SENSITIVE]),
            st.sampled_from(
                ["坏词", "ab", "abcdef", "blue falcon", "ﬁ", "ß", "①", "\u200b", "e\u0301", "👨‍👩‍👧", "\\n", "-----"]
            ),
            st.text(max_size=12),
        ),
        max_size=6,
    ).map("".join),
    st.data(),
)
@example("4111\u200b", None)
def test_stream_and_batch_agree_on_anything(text: str, data: st.DataObject | None) -> None:
    places = data.draw(st.lists(st.integers(0, len(text)), max_size=8)) if data else [2]
    edges = sorted({0, *places, len(text)})

    shown = streamed(OutputFilter(STRICT), [text[a:b] for a, b in pairwise(edges)])

    assert shown == filter_text(STRICT, text)


# -- what is held back --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["english", "chinese", "code"])
@pytest.mark.parametrize("rules", [DEFAULT, STRICT], ids=["default", "strict"])
def test_of_ordinary_text_at_most_sixteen_characters_are_held_back(rules: Policy, kind: str) -> None:
    held = held_back(rules, TOKEN.findall(TEXTS[kind]))

    assert held[len(held) * 99 // 100] <= 16
    assert sum(held) / len(held) <= 5


@pytest.mark.parametrize(
    "text",
    [
        "1 " * 2000,
        "1" * 4000,
        "4 2 " * 1000,
        "a" * 4000,
        "a@" * 2000,
        "a." * 2000,
        "-" * 4000,
        "-----BEGIN " * 400,
        "eyJ" + "a" * 4000,
        "eyJhbGciOi" + "a" * 4000,
        "sk-proj-" + "x" * 4000,
        "DE89 " * 800,
        "A" * 4000,
        "1:" * 2000,
        "ab" * 2000,
        "blue " * 800,
        "坏" * 4000,
        "4" + "\u200b" * 4000,
        "4\u200b" * 2000,
        "\u0301" * 4000,
        "ﬁ" * 2000,
    ],
    ids=lambda text: text[:12],
)
def test_what_is_held_back_is_bounded_whatever_comes(text: str) -> None:
    rails, most = OutputFilter(STRICT), 0
    for char in text:
        rails.push(char)
        most = max(most, rails.held)

    # In visible characters; each may carry a bounded number of invisible ones.
    assert most <= (HOLD_BACK_CHARS + 1) * (1 if text.isascii() else INVISIBLE_RUN + 1)


@pytest.mark.parametrize("value", SECRETS["private_key"], ids=lambda value: value[:40])
def test_a_long_key_is_dropped_not_kept(value: str) -> None:
    rails, most, shown = OutputFilter(DEFAULT), 0, ""
    for char in f"Here: {value} done":
        shown += rails.push(char)
        most = max(most, rails.held)

    assert most <= HOLD_BACK_CHARS
    assert shown + rails.finish() == "Here: [redacted: private_key] done"


def test_text_is_released_as_soon_as_nothing_can_begin_in_it() -> None:
    rails = OutputFilter(DEFAULT)

    assert [rails.push(token) for token in ("The", " quick", " brown", " fox", "：你好", "！")] == [
        "The",
        " quick",
        " brown",
        " fox",
        "：你好",
        "！",
    ]
    assert [rails.push(token) for token in (" 41", "11", " was", " not", " sk", "-", "ill", " went")] == [
        " ",
        "",
        "4111 was",
        " not",
        " ",
        "",
        "",
        "sk-ill went",
    ]


# -- what the rails say -------------------------------------------------------------------------------------------


def test_a_verdict_says_where_and_what_but_never_the_text() -> None:
    rails = OutputFilter(DEFAULT, key=KEY)

    rails.push("卡号 4111 1111 1111 1111 和 4111-1111-1111-1111。")
    rails.finish()

    first, second = rails.verdicts
    assert (first.stage, first.rail, first.action, first.start, first.end) == ("output", "pii.card", "redacted", 3, 22)
    assert first.message == DEFAULT.message("pii", "zh")
    assert first.policy == DEFAULT.version
    assert len(first.digest) == 16
    assert first.digest != second.digest
    assert "1111" not in repr(rails.verdicts)


def test_the_same_find_has_the_same_digest_under_one_key_only() -> None:
    text = "４１１１111111111111"

    def digest(text: str, key: bytes) -> str:
        return check_text(DEFAULT, text, key=key).verdicts[0].digest

    assert digest(text, KEY) == digest("4111111111111111", KEY)
    assert digest(text, KEY) != digest(text, b"another")
    long_token = SECRETS["jwt"][1]
    rails = OutputFilter(DEFAULT, key=KEY)
    streamed(rails, list(long_token))
    assert rails.verdicts[0].digest == digest(long_token, KEY)


def test_a_rail_that_blocks_ends_the_text_where_it_fired() -> None:
    rails = OutputFilter(BLOCKING)

    shown = "".join(rails.push(piece) for piece in ("Mail a@b.org, card 4111 ", "1111 1111 11", "11, and", " more"))

    assert shown == "Mail [redacted: email], card "
    assert rails.blocked
    assert rails.refusal == BLOCKING.message("pii", "en")
    assert [verdict.action for verdict in rails.verdicts] == ["redacted", "blocked"]
    assert rails.push("anything") == "" == rails.finish()


def test_a_rail_that_flags_holds_nothing_back() -> None:
    rails = OutputFilter(FLAGGING)

    assert rails.push("write to ann@exam") == "write to ann@exam"
    assert rails.push("ple.org now") == "ple.org now"
    assert [(v.rail, v.action, v.start, v.end) for v in rails.verdicts] == [("pii.email", "flagged", 9, 24)]


def test_with_everything_off_the_text_passes() -> None:
    off = "\n".join(f'{kind} = "off"' for kind in ("card", "iban", "us_ssn", "cn_resident_id", "passport"))
    rules = policy(f'[output.pii]\n{off}\n[output.secrets]\nall = "off"\n[output.banned_terms]\naction = "off"\n')
    rails = OutputFilter(rules)

    assert rails.push("4111111111111111") == "4111111111111111"
    assert rails.finish() == ""
    assert rails.settled == 16


def test_verdicts_of_a_run_taken_over_count_from_the_beginning() -> None:
    rails = OutputFilter(DEFAULT, prior="0123456789")

    streamed(rails, [" 4111111111111111 "])

    assert [(verdict.start, verdict.end) for verdict in rails.verdicts] == [(11, 27)]


def test_input_keeps_the_text_around_what_blocks_and_says_why_last() -> None:
    result = check_input(BLOCKING, "card 4111111111111111, mail a@b.org")

    assert result.blocked
    assert result.text == "card [redacted: card], mail a@b.org"
    assert [verdict.rail for verdict in result.verdicts] == ["pii.email", "pii.card"]
    assert {verdict.stage for verdict in result.verdicts} == {"input"}


# -- JSON ---------------------------------------------------------------------------------------------------------


def test_tool_calls_are_checked_inside_their_escapes_and_stay_json() -> None:
    arguments = {"body": "card:\n4111 1111 1111 1111", "key": "-----BEGIN PRIVATE KEY-----\n" + KEY_BODY, "n": 3}
    calls = [{"id": "call_1", "function": {"name": "send", "arguments": json.dumps(arguments)}}]

    result = check_json(DEFAULT, calls)

    assert json.loads(result.value[0]["function"]["arguments"]) == {
        "body": "card:\n[redacted: card]",
        "key": "[redacted: private_key]",
        "n": 3,
    }
    assert [verdict.rail for verdict in result.verdicts] == ["pii.card", "secrets.private_key"]
    assert not result.blocked


def test_json_without_finds_is_left_to_the_last_space() -> None:
    calls = [{"arguments": '{ "a" : [1, 2.0, null],\n"b": "\\u00e9" }', "broken": "{ not json", "index": 0}]

    assert check_json(DEFAULT, calls).value == calls


def test_a_key_inside_json_text_leaves_json_behind() -> None:
    for value in SECRETS["private_key"][:1] + SECRETS["github_token"] + ("-----BEGIN PRIVATE KEY-----\n" + KEY_BODY,):
        text = json.dumps({"key": value, "note": "nothing to see here", "list": ["a", "b"]})

        assert set(json.loads(filter_text(DEFAULT, text))) == {"key", "note", "list"}
