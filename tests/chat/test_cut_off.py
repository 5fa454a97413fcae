"""An answer that a rail has cut off stays so: a worker that takes the run over says no more than the refusal."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from functions.adapters.sqlite import SqliteStore
from functions.chat.messages import LoggedEvent, Run
from functions.errors import StoreUnavailable
from tests.chat.moderated import OUTPUT, REFUSAL, moderated, stored
from tests.house import Event, open_house, text_of
from tests.scripted_guard import BAD, ScriptedGuard
from tests.simulated import Scenario

RULES = '[output.banned_terms]\naction = "block"\n\n[banned_terms]\nterms = ["xyzzy"]\n'
CUT_OFF = "This contains a term that is not allowed here."
FIRST = "It is four, I am quite sure of that. "
TEXT = FIRST + "Say xyzzy. And there is more to say."


def blocked(events: list[Event]) -> list[str]:
    said = [event.data for event in events if event.name == "guardrail"]
    return [data["rail"] for data in said if data["action"] == "blocked"]


async def test_whoever_takes_over_after_the_refusal_only_ends_the_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "policy.toml").write_text(RULES)
    tries: list[Run] = []
    finish = SqliteStore.finish_run

    async def dies_once(
        store: SqliteStore, owner: str, run: Run, events: Sequence[LoggedEvent], *rest: Any, **how: Any
    ) -> None:
        tries.append(run)
        if len(tries) == 1:  # with its last checkpoint made
            await store.append_events(owner, run.id, run.epoch, events[:-1], lease_until_ms=run.lease_until_ms)
            raise StoreUnavailable("not now")
        await finish(store, owner, run, events, *rest, **how)

    monkeypatch.setattr(SqliteStore, "finish_run", dies_once)
    opened = open_house(tmp_path, Scenario(text=TEXT), policy=tmp_path / "policy.toml", lease_seconds=0.5)
    async with opened as house:
        chat = await house.open_chat()
        events = await house.say(chat, "What is two and two?")
        answer = (await stored(house, chat))[-1]

    assert len(tries) == 2
    assert len(house.engine.stats.requests) == 1, "no model is asked to go on behind the refusal"
    assert text_of(events) == answer["content"]
    assert answer["content"].startswith(FIRST)
    assert answer["content"].endswith(f"\n\n{CUT_OFF}")
    assert answer["content"].count(CUT_OFF) == 1
    assert "more to say" not in answer["content"]
    assert blocked(events) == ["banned_terms"]
    assert (answer["finish_reason"], events[-1].data["finish_reason"]) == ("content_filter", "content_filter")


@pytest.mark.parametrize("word", ["kettle", BAD])
async def test_whoever_takes_over_between_the_verdict_and_the_refusal_says_it(
    guard: ScriptedGuard, tmp_path: Path, word: str
) -> None:
    """What was shown before is judged first, and what the guard model refuses is taken back all the same."""
    shown = f"Once there was a kettle. In it was {word}, stirred. "
    text = f"{shown}Then xyzzy. And there is more to say."
    async with moderated(tmp_path, guard, text, f"{OUTPUT}\n{RULES}") as house:
        chat = await house.open_chat()
        house.engine.gate.hold(25)
        async with house.saying(chat, "Tell me a story.") as listener:
            await listener.until("delta")
            guard.hold()
            house.engine.gate.release()
            await listener.until("guardrail")
            assert house.lose_leases
            house.lose_leases()
            guard.release()
            events = await listener.rest()
        answer = (await stored(house, chat))[-1]

    assert len(house.engine.stats.requests) == 1
    assert events[-1].data["finish_reason"] == "content_filter"
    if word == BAD:
        assert answer["content"] == REFUSAL
        assert blocked(events) == ["moderation.violence"]
    else:
        assert answer["content"].startswith(shown)
        assert answer["content"].endswith(f"\n\n{CUT_OFF}")
        assert "xyzzy" not in answer["content"]
