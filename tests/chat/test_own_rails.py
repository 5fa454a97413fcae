"""A rail of the operator's own sees every finished window of an answer before anybody else does."""

import json
import re
import textwrap
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.house import Event, House, open_house, text_of
from tests.simulated import Scenario

DOCUMENT = (Path(__file__).parents[2] / "docs/security.md").read_text(encoding="utf-8")
EXAMPLE = re.search("```python\n(.*?)```", DOCUMENT.split("## A rail of your own")[1], re.DOTALL)
TEXT = "It is four. BECAUSE I SAY SO, SIR. And that is that."
REFUSAL = "This does not follow the rules of this place."
OTHERS = """
    import threading
    from guardrails.validator_base import PassResult, Validator, register_validator

    ASKED, GO_ON = threading.Event(), threading.Event()

    @register_validator(name="test/broken", data_type="string")
    class Broken(Validator):
        def _validate(self, value, metadata):
            raise RuntimeError("broke on " + value)

    @register_validator(name="test/slow", data_type="string")
    class Slow(Validator):
        def _validate(self, value, metadata):
            ASKED.set()
            assert GO_ON.wait(20)
            return PassResult()
"""
Policies = Callable[..., Path]


@pytest.fixture
def policies(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Policies:
    """A policy with one rail, from the module of the documentation's example and the others'."""
    assert EXAMPLE
    name = f"own_rails_of_{tmp_path.name}".replace("-", "_")
    (tmp_path / f"{name}.py").write_text(EXAMPLE[1] + textwrap.dedent(OTHERS))
    monkeypatch.syspath_prepend(tmp_path)

    def write(rail: str = "NoShouting", **fields: str) -> Path:
        said = "".join(f'{key} = "{value}"\n' for key, value in fields.items())
        (tmp_path / "policy.toml").write_text(f'[custom.mine]\nuse = "{name}:{rail}"\n{said}')
        return tmp_path / "policy.toml"

    return write


def verdicts(events: list[Event]) -> list[tuple[str, str, str]]:
    said = [event.data for event in events if event.name == "guardrail"]
    return [(data["stage"], data["rail"], data["action"]) for data in said]


async def compatible(house: House, *, stream: bool) -> tuple[str, str]:
    body = {"model": "sim", "stream": stream, "messages": [{"role": "user", "content": "What is two and two?"}]}
    answer = await house.http.post("/v1/chat/completions", json=body)
    if not stream:
        (choice,) = answer.json()["choices"]
        return choice["message"]["content"], choice["finish_reason"]
    lines = [line.removeprefix("data: ") for line in answer.text.splitlines() if line.startswith("data: {")]
    choices: list[Any] = [choice for line in lines for choice in json.loads(line)["choices"]]
    return "".join(choice["delta"].get("content") or "" for choice in choices), choices[-1]["finish_reason"]


@pytest.mark.parametrize(
    ("action", "shown", "reason"),
    [
        ("block", f"It is four. \n\n{REFUSAL}", "content_filter"),
        ("redact", "It is four. Because i say so, sir. And that is that.", "stop"),
        ("flag", TEXT, "stop"),
    ],
)
async def test_it_does_what_the_policy_says_on_every_way_out(
    policies: Policies, tmp_path: Path, action: str, shown: str, reason: str
) -> None:
    async with open_house(tmp_path, Scenario(text=TEXT), policy=policies(output=action)) as house:
        events = await house.say(await house.open_chat(), "What is two and two?")
        streamed, whole = await compatible(house, stream=True), await compatible(house, stream=False)

    done = {"block": "blocked", "redact": "redacted", "flag": "flagged"}[action]
    (verdict,) = [event.data for event in events if event.name == "guardrail"]
    assert verdicts(events) == [("output", "custom.mine", done)]
    assert (verdict["start"], verdict["end"]) == (12, 35)
    assert text_of(events) == events[-1].data["message"]["content"] == shown
    assert streamed == whole == (shown, reason)
    assert events[-1].data["finish_reason"] == reason


@pytest.mark.parametrize("fail", ["closed", "open"])
async def test_when_it_breaks_the_policy_decides(policies: Policies, tmp_path: Path, fail: str) -> None:
    async with open_house(tmp_path, Scenario(text=TEXT), policy=policies("Broken", output="flag", fail=fail)) as house:
        events = await house.say(await house.open_chat(), "What is two and two?")

    assert text_of(events) == (REFUSAL if fail == "closed" else TEXT)
    assert verdicts(events)[0] == ("output", "custom.mine", "blocked" if fail == "closed" else "flagged")


async def test_a_slow_one_holds_its_own_answer_and_nobody_else(policies: Policies, tmp_path: Path) -> None:
    policy = policies("Slow", output="block")
    async with open_house(tmp_path, Scenario(text="It is four. Yes."), policy=policy) as house:
        module = __import__(next(tmp_path.glob("own_rails_of_*.py")).stem)
        chat = await house.open_chat()
        async with house.saying(chat, "What is two and two?") as listener:
            while not module.ASKED.is_set():
                await house.http.get("/livez")
            waiting = (await house.http.get(f"/runs/{listener.run_id}")).json()
            other = await house.http.get("/livez")
            module.GO_ON.set()
            events = await listener.rest()

    assert (other.status_code, waiting["status"]) == (200, "running")
    assert "delta" not in [event.name for event in events if (event.id or 0) <= waiting["last_seq"]]
    assert text_of(events) == "It is four. Yes."
