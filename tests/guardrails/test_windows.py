"""The operator's own rails on an answer: windows end where the text says, however it comes in pieces."""

import random
import textwrap
from pathlib import Path

import pytest

from functions.guardrails.policy import Policy, load_policy
from functions.guardrails.stream import OutputFilter
from functions.guardrails.validators import InputGuard, build_window_guard
from functions.guardrails.windows import OutgoingRails
from tests.guardrails.policies import DEFAULT

MODULE = """
    from guardrails.validator_base import FailResult, PassResult, Validator, register_validator

    SEEN = []

    @register_validator(name="test/quiet", data_type="string")
    class Quiet(Validator):
        def _validate(self, value, metadata):
            SEEN.append(value)
            return FailResult(error_message="loud", fix_value=value.lower()) if "LOUD" in value else PassResult()

    @register_validator(name="test/never", data_type="string")
    class Never(Validator):
        def _validate(self, value, metadata):
            return FailResult(error_message="never") if "NEVER" in value else PassResult()
"""
TEXT = (
    'He said "LOUD!" Then “nothing.” And 4111 1111 1111 1111 was paid.\n\n'
    "从前有一把水壶。“它说：LOUD！”然后沸腾了…… 1. One 2. Two\n"
    "```python\nprint('a' * 80)\n```\n" + "a long line without an end " * 12 + "🙂👩‍👩‍👧 é. The LOUD end"
)
CUSTOM = """
    [custom.quiet]
    use = "MODULE:Quiet"
    output = "redact"

    [custom.never]
    use = "MODULE:Never"
    output = "block"

    [moderation]
    window_chars = 90

    [output.banned_terms]
    action = "block"

    [banned_terms]
    terms = ["xyzzy"]
"""


@pytest.fixture
def ready(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[Policy, InputGuard, str]:
    name = f"windows_of_{tmp_path.name}"
    (tmp_path / f"{name}.py").write_text(textwrap.dedent(MODULE))
    (tmp_path / "policy.toml").write_text(textwrap.dedent(CUSTOM).replace("MODULE", name))
    monkeypatch.syspath_prepend(tmp_path)
    policy = load_policy(tmp_path / "policy.toml")
    guard = build_window_guard(policy)
    assert guard
    return policy, guard, name


def rails_of(ready: tuple[Policy, InputGuard, str], prior: str = "") -> OutgoingRails:
    policy, guard, _ = ready
    return OutgoingRails(OutputFilter(policy, prior=prior, language="en"), guard, policy, prior=prior, language="en")


async def through(rails: OutgoingRails, pieces: list[str]) -> list[str]:
    return [*[await rails.push(piece) for piece in pieces], await rails.finish()]


def acts_of(rails: OutgoingRails) -> list[tuple[str, str, int, int]]:
    """In order; of an answer that was cut off only the operator's, for what our own rails saw behind the cut is theirs
    to say or not."""
    said = [v for v in rails.verdicts if v.rail.startswith("custom") or not rails.blocked]
    return sorted((v.rail, v.action, v.start, v.end) for v in said)


def cut(text: str, dice: random.Random) -> list[str]:
    ends = sorted(dice.sample(range(1, len(text)), dice.randint(1, len(text) // 3)))
    return [text[start:end] for start, end in zip([0, *ends], [*ends, len(text)], strict=True)]


@pytest.mark.parametrize("text", [TEXT, TEXT + ". NEVER this. Nor that", "It is 4111111111111111. NEVER. " + TEXT])
async def test_a_stream_shows_what_the_whole_text_would_however_it_is_cut(
    ready: tuple[Policy, InputGuard, str], text: str
) -> None:
    whole = rails_of(ready)
    shown = "".join(await through(whole, [text]))
    dice = random.Random(4)

    for pieces in [list(text), *(cut(text, dice) for _ in range(25))]:
        rails = rails_of(ready)
        assert "".join(await through(rails, pieces)) == shown
        assert acts_of(rails) == acts_of(whole)
        assert (rails.blocked, rails.refusal) == (whole.blocked, whole.refusal)

    assert "LOUD" not in shown and "NEVER" not in shown
    assert whole.blocked is ("NEVER" in text)


async def test_a_validator_sees_sentences_and_never_more_than_a_window(
    ready: tuple[Policy, InputGuard, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[str] = __import__(ready[2]).SEEN
    seen.clear()

    await through(rails_of(ready), list(TEXT))

    assert seen[:3] == ['He said "LOUD!" ', "Then “nothing.” ", "And [redacted: card] was paid.\n"]
    assert "“它说：LOUD！”" in seen
    assert max(map(len, seen)) == 90
    assert "".join(seen).replace("\n", "") == TEXT.replace("4111 1111 1111 1111", "[redacted: card]").replace("\n", "")


async def test_a_verdict_says_where_in_the_answer(ready: tuple[Policy, InputGuard, str]) -> None:
    prior = "What an earlier worker showed. "
    rails = rails_of(ready, prior)

    shown = await through(rails, ["All quiet. ", "Not LOUD. ", "NEVER. ", "Well"])

    assert shown == ["", "All quiet. ", "not loud. ", "", ""]
    assert [(v.stage, v.rail, v.action, v.start, v.end) for v in rails.verdicts] == [
        ("output", "custom.quiet", "redacted", 42, 52),
        ("output", "custom.never", "blocked", 52, 59),
    ]
    assert rails.blocked
    assert rails.refusal == "This does not follow the rules of this place."


async def test_what_stands_before_a_block_of_our_own_passes_them_too(ready: tuple[Policy, InputGuard, str]) -> None:
    rails = rails_of(ready)

    shown = await through(rails, list("All quiet. It was LOUD there, and then xyzzy. More."))

    assert "".join(shown) == "All quiet. it was loud there, and then "
    assert rails.refusal == "This contains a term that is not allowed here."
    assert [v.rail for v in rails.verdicts] == ["banned_terms", "custom.quiet"]


async def test_what_was_done_is_told_with_the_text_it_was_done_to() -> None:
    rails = OutgoingRails(OutputFilter(DEFAULT), None, DEFAULT, prior="", language="en")
    shown = ""
    for word in [
        "Your",
        "card",
        "is",
        "4111",
        "1111",
        "1111",
        "1111",
        "and",
        "there",
        "is",
        "much",
        "more",
        "to",
        "say",
        "about",
        "it",
    ]:
        shown += await rails.push(f"{word} ")
        if "[redacted" in shown:
            break

    assert "more" not in shown, "it ended before the answer did"
    assert [verdict.rail for verdict in rails.verdicts] == ["pii.card"]
