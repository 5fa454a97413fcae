"""The input rails: guardrails-ai around our detectors, and nothing of what it would do on its own."""

import json
import os
import random
import subprocess
import sys
import textwrap
import time
import warnings
from collections import deque
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from functions.guardrails.policy import Policy
from functions.guardrails.validators import InputGuard, build_input_guard
from tests.guardrails.corpus import BENIGN, card
from tests.guardrails.policies import BLOCKING, DEFAULT, STRICT, policy

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def guard() -> InputGuard:
    return build_input_guard(DEFAULT)


@pytest.mark.parametrize(
    "text",
    [*BENIGN, "", " ", "\n\n  indented\n", "```json\n{}\n```", '{"a": 1}', "<b>{{x}}</b> $y %s", "\x00", "null", "1"],
)
def test_ordinary_text_passes_untouched(guard: InputGuard, text: str) -> None:
    result = guard.check(text)

    assert (result.text, result.blocked, result.verdicts) == (text, False, ())


def test_what_is_redacted_leaves_a_verdict(guard: InputGuard) -> None:
    result = guard.check("我的卡号是 4111 1111 1111 1111，密钥 ghp_" + "aB3dE6gH9jK2mN5pQ8sT1vW4yZ7bC0fD3gH6")

    assert result.text == "我的卡号是 [redacted: card]，密钥 [redacted: github_token]"
    assert not result.blocked
    assert [(v.stage, v.rail, v.action, v.start) for v in result.verdicts] == [
        ("input", "pii.card", "redacted", 6),
        ("input", "secrets.github_token", "redacted", 29),
    ]
    assert result.verdicts[0].message == DEFAULT.message("pii", "zh")


def test_what_blocks_is_said_last_and_what_flags_is_kept() -> None:
    result = build_input_guard(BLOCKING).check("card 4111111111111111, mail a@b.org, frobnicate")

    assert result.blocked
    assert result.text == "card [redacted: card], mail a@b.org, [redacted: banned_term]"
    assert (result.verdicts[0].rail, result.verdicts[0].action) == ("pii.email", "flagged")
    assert result.verdicts[-1].action == "blocked"


@pytest.mark.parametrize(("action", "done", "blocked"), [("block", "blocked", True), ("flag", "flagged", False)])
def test_a_text_that_is_too_long_is_told(action: str, done: str, blocked: bool) -> None:
    rules = policy(f'[input.length]\naction = "{action}"\nmax_chars = 10\n')

    result = build_input_guard(rules).check("twelve chars")

    assert result.blocked is blocked
    assert [(v.rail, v.action, v.start, v.end) for v in result.verdicts] == [("length", done, 10, 12)]
    assert build_input_guard(rules).check("ten chars.").verdicts == ()


def test_two_guards_keep_their_own_policies(guard: InputGuard) -> None:
    strict = build_input_guard(STRICT)

    assert guard.check("a@b.org").text == "a@b.org"
    assert strict.check("a@b.org").text == "[redacted: email]"
    assert guard.check("a@b.org").text == "a@b.org"


def test_eight_threads_never_see_each_others_texts(guard: InputGuard) -> None:
    def user(number: int) -> list[str]:
        rng, mistakes = random.Random(number), []
        for turn in range(40):
            text = f"user {number} turn {turn} " + "word " * rng.randint(0, 60)
            secret = card(rng) if rng.random() < 0.5 else ""
            result = guard.check(text + secret)
            expected = text + "[redacted: card]" if secret else text
            spans = [(v.start, v.end) for v in result.verdicts]
            if result.text != expected or spans != ([(len(text), len(text) + 16)] if secret else []):
                mistakes.append(result.text)
        return mistakes

    with ThreadPoolExecutor(8) as pool:
        assert [mistakes for mistakes in pool.map(user, range(8)) if mistakes] == []


def test_a_guard_is_never_in_two_calls_at_once() -> None:
    busy, clashes = set(), []

    class Slow:
        history: deque[str]

        def __init__(self) -> None:
            self.history = deque()

        def validate(self, text: str, metadata: dict[str, Any]) -> Any:
            clashes.extend([text] if self in busy else [])
            busy.add(self)
            time.sleep(0.001)
            busy.remove(self)
            return type("Outcome", (), {"validation_passed": True, "validated_output": text})

    guard = InputGuard(Slow)
    with ThreadPoolExecutor(8) as pool:
        texts = [result.text for result in pool.map(guard.check, map(str, range(1, 200)))]

    assert clashes == []
    assert texts == [str(number) for number in range(1, 200)]


def test_a_check_leaves_no_text_in_the_library(guard: InputGuard) -> None:
    guard.check("remember me 4111111111111111")

    # What is kept there would be in every later dump of the process.
    assert all(len(idle.history) == 0 for idle in guard._idle)


def test_a_fault_in_a_validator_lets_nothing_through_and_leaves_nothing_behind() -> None:
    class Broken:
        def __init__(self) -> None:
            self.history = ["text"]

        def validate(self, text: str, metadata: dict[str, Any]) -> None:
            raise RuntimeError("a validator of somebody broke")

    broken = Broken()
    with pytest.raises(RuntimeError):
        InputGuard(lambda: broken).check("anything")

    assert broken.history == []


def test_a_validator_that_says_no_blocks_the_text() -> None:
    class Refusing:
        def __init__(self) -> None:
            self.history: list[str] = []

        def validate(self, text: str, metadata: dict[str, Any]) -> Any:
            return type("Outcome", (), {"validation_passed": False, "validated_output": None})

    result = InputGuard(Refusing).check("anything")

    assert result.blocked
    assert result.text == "anything"


# -- what the library must not do, each in a process of its own ---------------------------------------------------

_WATCHED = """
    import json, os, socket, sys, threading

    # A bind alone reaches nobody: an HTTP library asks so, at import, whether the machine has IPv6.
    QUIET = {"socket.__new__", "socket.gethostname", "socket.bind"}
    calls, written = [], []

    def watch(event, args):
        if event.startswith("socket.") and event not in QUIET:
            calls.append(event)
        if event == "open" and isinstance(args[1], str) and set(args[1]) & set("wax+"):
            written.append(str(args[0]))

    sys.addaudithook(watch)

    def refuse(*args, **kwargs):
        raise AssertionError("a socket was opened")

    socket.socket.connect = socket.socket.connect_ex = refuse
    import functions.guardrails.validators
    early = "guardrails" in sys.modules
    from functions.guardrails.policy import load_policy
    guard = functions.guardrails.validators.build_input_guard(load_policy(None))
    text = "card 4111 1111 1111 1111"
    result = [guard.check(text) for _ in range(3)][-1]

    # Everything else that there is: telephones, rails of one's own, windows, the stream, tool calls, the measuring.
    from pathlib import Path
    from functions.guardrails import evaluate, stream
    own = load_policy(Path(sys.argv[1]))
    blocked = functions.guardrails.validators.build_input_guard(own).check("LOUD 010-62345678").blocked
    window = functions.guardrails.validators.build_window_guard(own).check("LOUD").blocked
    rails = stream.OutputFilter(own, hidden=("You are Ada, the night assistant of Hillview House.",))
    shown = rails.push("I said: You are Ada, the night assistant of Hillview House. ![x](https://evil.example/?q=1)")
    stream.check_json(own, [{"arguments": '{"a": "a@b.org"}'}])
    measured = len(evaluate.evaluate(own))

    from guardrails.settings import settings
    from guardrails.utils.hub_telemetry_utils import HubTelemetry
    import asyncio
    print(json.dumps({
        "text": result.text,
        "early": early,
        "used": [blocked, window, len(rails.verdicts), measured > 10, "evil" in shown + rails.finish()],
        "sockets": calls,
        "written": written,
        "home": sorted(os.listdir(os.environ["HOME"])),
        "metrics": settings.rc.enable_metrics,
        "tracing_off": settings.disable_tracing,
        "exporter": HubTelemetry()._processor is not None or HubTelemetry()._enabled,
        "threads": [thread.name for thread in threading.enumerate()],
        "modules": sorted({"litellm", "rfc3987_syntax", "torch"} & set(sys.modules)),
        "loop_policy": type(asyncio.get_event_loop_policy()).__module__,
    }))
"""


@pytest.fixture(scope="module")
def watched(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    home = tmp_path_factory.mktemp("home")
    (home / ".guardrailsrc").write_text("enable_metrics=true\nid=somebody\n")  # as an operator may have it
    place = tmp_path_factory.mktemp("rails")
    (place / "my_rails.py").write_text(
        "from guardrails.validator_base import FailResult, PassResult, Validator, register_validator\n"
        "@register_validator(name='acme/quiet', data_type='string')\n"
        "class Quiet(Validator):\n"
        "    def _validate(self, value, metadata):\n"
        "        return FailResult(error_message='loud') if 'LOUD' in value else PassResult()\n"
    )
    (place / "policy.toml").write_text(
        '[input.pii]\nphone = "redact"\n[custom.quiet]\nuse = "my_rails:Quiet"\ninput = "block"\noutput = "block"\n'
    )
    environment = {
        "HOME": str(home),
        "PATH": os.environ["PATH"],
        "PYTHONPATH": os.pathsep.join([str(ROOT), str(place)]),
    }
    done = subprocess.run(
        [sys.executable, "-W", "error", "-B", "-c", textwrap.dedent(_WATCHED), str(place / "policy.toml")],
        env=environment, capture_output=True, text=True, timeout=120, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def test_the_guard_works_without_the_network_and_opens_no_socket(watched: dict[str, Any]) -> None:
    assert watched["text"] == "card [redacted: card]"
    assert watched["used"] == [True, True, 2, True, False]
    assert watched["sockets"] == []


def test_telemetry_is_off_even_where_the_operators_file_says_on(watched: dict[str, Any]) -> None:
    assert watched["metrics"] is False
    assert watched["exporter"] is False
    assert watched["tracing_off"] is True
    assert watched["threads"] == ["MainThread"]


def test_nothing_is_written_to_home_or_anywhere(watched: dict[str, Any]) -> None:
    assert watched["home"] == [".guardrailsrc"]
    assert watched["written"] == []


def test_the_library_is_imported_late_and_without_its_model_stack(watched: dict[str, Any]) -> None:
    assert watched["early"] is False
    assert watched["modules"] == []


def test_the_event_loop_policy_stays_python_s_own(watched: dict[str, Any]) -> None:
    assert watched["loop_policy"].startswith("asyncio")


def test_inside_an_event_loop_the_guard_works_without_a_word(guard: InputGuard) -> None:
    import asyncio

    async def check(rules: Policy) -> str:
        return guard.check(f"4111111111111111 {rules.version}").text

    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert asyncio.run(check(DEFAULT)).startswith("[redacted: card]")
