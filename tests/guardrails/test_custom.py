"""Rails of the operator's own: the documented example as it stands, and what happens when one breaks."""

import json
import re
import sys
import textwrap
from collections.abc import Callable
from pathlib import Path

import pytest

from functions.guardrails.document import PolicyError
from functions.guardrails.policy import Policy, load_policy
from functions.guardrails.validators import build_input_guard, build_window_guard

DOCUMENT = (Path(__file__).parents[2] / "docs/security.md").read_text(encoding="utf-8")

MODULE = """
    from guardrails.validator_base import FailResult, PassResult, Validator, register_validator

    @register_validator(name="acme/loud", data_type="string")
    class Loud(Validator):
        def __init__(self, most=0.5, **kwargs):
            super().__init__(**kwargs)
            self.most = most

        def _validate(self, value, metadata):
            loud = sum(c.isupper() for c in value) > self.most * max(1, len(value))
            return FailResult(error_message="loud: " + value, fix_value=value.lower()) if loud else PassResult()

    class Broken(Loud):
        def _validate(self, value, metadata):
            raise RuntimeError("broke on " + value)

    class Curious(Loud):
        def _validate(self, value, metadata):
            assert metadata == {}, metadata
            return super()._validate(value, metadata)

    NOT_ONE = 3
"""


@pytest.fixture
def policy_of(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], Policy]:
    name = f"rails_of_{tmp_path.name}".replace("-", "_")
    (tmp_path / f"{name}.py").write_text(textwrap.dedent(MODULE))
    monkeypatch.syspath_prepend(tmp_path)

    def load(toml: str) -> Policy:
        (tmp_path / "policy.toml").write_text(toml.replace("MODULE", name))
        return load_policy(tmp_path / "policy.toml")

    return load


def test_the_documented_example_works_as_it_stands(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    section = DOCUMENT.split("## A rail of your own")[1].split("\n## ")[0]
    code, toml = (re.search(f"```{kind}\n(.*?)```", section, re.DOTALL) for kind in ("python", "toml"))
    assert code and toml
    (tmp_path / "my_rails.py").write_text(code[1])
    (tmp_path / "policy.toml").write_text(toml[1])
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "my_rails", raising=False)
    policy = load_policy(tmp_path / "policy.toml")

    guard, window = build_input_guard(policy), build_window_guard(policy)
    shouted = guard.check("WHY DOES NOTHING WORK HERE")

    assert len([line for line in code[1].splitlines() if line.strip() and not line.startswith(("from", "import"))]) <= 5
    assert shouted.blocked
    assert [(v.rail, v.action) for v in shouted.verdicts] == [("custom.no_shouting", "blocked")]
    assert guard.check("Why does nothing work here?").verdicts == ()
    assert window
    assert [v.action for v in window.check("BECAUSE I SAY SO").verdicts] == ["flagged"]


@pytest.mark.parametrize("use", ["MODULE:Loud", "acme/loud"])
def test_a_validator_is_found_by_module_and_by_registered_name(policy_of: Callable[[str], Policy], use: str) -> None:
    if "/" in use:
        build_input_guard(policy_of('[custom.first]\nuse = "MODULE:Loud"\ninput = "flag"\n'))
    guard = build_input_guard(
        policy_of(f'[custom.loud]\nuse = "{use}"\ninput = "redact"\narguments = {{most = 0.2}}\n')
    )

    result = guard.check("Quiet, PLEASE")

    assert (result.text, result.blocked) == ("quiet, please", False)
    assert [(v.stage, v.rail, v.action) for v in result.verdicts] == [("input", "custom.loud", "redacted")]


def test_it_sees_what_the_other_rails_left_and_nothing_of_them(policy_of: Callable[[str], Policy]) -> None:
    guard = build_input_guard(policy_of('[custom.loud]\nuse = "MODULE:Curious"\ninput = "redact"\n'))

    result = guard.check("PAY WITH 4111111111111111 NOW OR NEVER AND DO NOT ASK")

    assert result.text == "pay with [redacted: card] now or never and do not ask"
    assert {v.rail for v in result.verdicts} == {"pii.card", "custom.loud"}


@pytest.mark.parametrize(("fail", "blocked", "action"), [("closed", True, "blocked"), ("open", False, "flagged")])
def test_when_it_breaks_the_policy_decides_and_no_text_is_logged(
    policy_of: Callable[[str], Policy], caplog: pytest.LogCaptureFixture, fail: str, blocked: bool, action: str
) -> None:
    policy = policy_of(f'[custom.bad]\nuse = "MODULE:Broken"\ninput = "flag"\noutput = "flag"\nfail = "{fail}"\n')
    window = build_window_guard(policy)
    assert window
    for guard in (build_input_guard(policy), window):
        result = guard.check("the user's own words")

        assert (result.text, result.blocked) == ("the user's own words", blocked)
        assert [v.action for v in result.verdicts] == [action]
    logged = [
        json.dumps([record.getMessage(), record.__dict__.get("fields"), record.exc_text]) for record in caplog.records
    ]
    assert any("rail.broke" in line for line in logged)
    assert not [line for line in logged if "own words" in line]


def test_without_rails_for_answers_there_is_no_window_guard(policy_of: Callable[[str], Policy]) -> None:
    assert build_window_guard(policy_of('[custom.loud]\nuse = "MODULE:Loud"\ninput = "block"\n')) is None


def test_a_window_guard_has_only_the_operators_rails(policy_of: Callable[[str], Policy]) -> None:
    window = build_window_guard(policy_of('[custom.loud]\nuse = "MODULE:Loud"\noutput = "block"\n'))

    assert window
    assert window.check("4111111111111111").verdicts == ()  # the stream's filter has seen it
    assert window.check("LOUD AND CLEAR").blocked


@pytest.mark.parametrize(
    ("toml", "says"),
    [
        ('use = "no_such_module:X"', "No module named"),
        ('use = "MODULE:Absent"', "Absent"),
        ('use = "MODULE:NOT_ONE"', "no guardrails-ai validator"),
        ('use = "acme/absent"', "no guardrails-ai validator"),
        ('use = "MODULE:Loud"\narguments = {least = 1, on_fail = "x"}', "arguments"),
    ],
)
def test_what_cannot_be_loaded_stops_the_start_and_is_told(
    policy_of: Callable[[str], Policy], toml: str, says: str
) -> None:
    policy = policy_of(f'[custom.mine]\n{toml}\ninput = "block"\n')

    with pytest.raises(PolicyError, match=r"policy\.toml: \[custom\.mine\] use") as caught:
        build_input_guard(policy)

    assert says in caught.value.message
