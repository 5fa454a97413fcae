"""Whatever happens to the run, what the guard model refuses does not stand: a stop, a fault, a node or a worker that
dies. And what judging costs is on the bill."""

import asyncio
from pathlib import Path
from typing import Any

import pytest

from functions.errors import StoreUnavailable
from tests.chat.moderated import (
    BLOCKED,
    BOTH,
    FIRST,
    HOLD,
    OUTPUT,
    REFUSAL,
    SECOND,
    THIRD,
    moderated,
    on,
    shown,
    stored,
    verdicts,
)
from tests.house import parse_events, text_of
from tests.scripted_guard import BAD, ScriptedGuard
from tests.simulated import Scenario, answer_of

REST = "It boiled all night long, and then some more. " * 4


async def test_a_stop_keeps_what_was_shown_and_leaves_nobody_asking(guard: ScriptedGuard, tmp_path: Path) -> None:
    async with moderated(tmp_path, guard, FIRST + THIRD * 20, HOLD) as house:
        chat = await house.open_chat()
        house.engine.gate.hold(len(FIRST) + 4)
        async with house.saying(chat, "Tell me a story.") as listener:
            await shown(listener, FIRST)
            await house.http.delete(f"/runs/{listener.run_id}")
            events = await listener.rest()
        await house.engine.until(aborted=1, open=0)

    assert events[-1].name == "stopped"
    assert events[-1].data["message"]["content"] == FIRST


async def test_a_stop_does_not_save_what_was_shown_from_its_verdict(guard: ScriptedGuard, tmp_path: Path) -> None:
    async with moderated(tmp_path, guard, FIRST + SECOND + THIRD, OUTPUT) as house:
        chat = await house.open_chat()
        house.engine.gate.hold(len(FIRST))
        async with house.saying(chat, "Tell me a story.") as listener:
            await shown(listener, FIRST)
            guard.hold()
            on(house.engine, len(FIRST + SECOND))
            await shown(listener, "stirred. ")
            stopping = asyncio.create_task(house.http.delete(f"/runs/{listener.run_id}"))
            await guard.until(lambda: guard.aborted == 1)
            guard.release()
            events = await listener.rest()
            await stopping
        answer = (await stored(house, chat))[-1]

    assert answer["content"] == REFUSAL
    assert (events[-1].name, events[-1].data["finish_reason"]) == ("done", "content_filter")


async def test_a_node_that_dies_under_held_text_is_asked_again_from_the_start(
    guard: ScriptedGuard, tmp_path: Path
) -> None:
    dying, well = (Scenario(echo=True, tokens=40, fault=fault, fault_at=12) for fault in ("cut", "none"))
    async with moderated(tmp_path, guard, rules=BOTH, scenario=dying) as house:
        chat = await house.open_chat()
        house.engine.gate.hold(12)
        async with house.saying(chat, "Tell me a story.") as listener:
            await house.engine.gate.reached()
            house.engine.scenario = well
            house.engine.gate.release()
            events = await listener.rest()
        whole = answer_of(house.engine.stats.requests[0]["messages"], 40)

    assert len(house.engine.stats.requests) == 2
    assert text_of(events) == events[-1].data["message"]["content"] == whole


async def test_an_answer_that_breaks_off_is_judged_as_far_as_it_was_shown(tmp_path: Path) -> None:
    text = "Take the kettle. " + "Wait for the moon. " * 20 + "Add the toad. And then"
    async with (
        ScriptedGuard(together=("kettle", "toad")) as guard,
        moderated(tmp_path, guard, text, OUTPUT + "window_chars = 40\n") as house,
    ):
        chat = await house.open_chat()
        house.engine.gate.hold(17)
        async with house.saying(chat, "Tell me a story.") as listener:
            await shown(listener, "kettle. ")
            on(house.engine, 300)
            await guard.until(lambda: len(guard.asked) == 2)
            on(house.engine, len(text) - 4)
            await shown(listener, "toad. ")
            await house.engine.stop()
            events = await listener.rest()
        answer = (await stored(house, chat))[-1]

    assert (answer["content"], answer["finish_reason"]) == (REFUSAL, "content_filter")
    assert events[-1].name == "done"
    assert guard.judged[-1].startswith("Take the kettle.")


async def test_a_reader_that_comes_back_sees_the_verdict_and_the_refusal(guard: ScriptedGuard, tmp_path: Path) -> None:
    async with moderated(tmp_path, guard, SECOND + THIRD, OUTPUT) as house:
        chat = await house.open_chat()
        events = await house.say(chat, "Tell me a story.")
        run_id = events[0].data["run_id"]
        for after in range(len(events)):
            rest = (await house.http.get(f"/runs/{run_id}/events", params={"last_event_id": str(after)})).text
            assert parse_events(rest) == events[after:]


async def test_a_worker_that_takes_over_judges_what_is_shown_before_it_shows_more(
    guard: ScriptedGuard, tmp_path: Path
) -> None:
    async with moderated(tmp_path, guard, FIRST + SECOND + THIRD, OUTPUT) as house:
        chat = await house.open_chat()
        house.engine.gate.hold(len(FIRST))
        async with house.saying(chat, "Tell me a story.") as listener:
            await shown(listener, FIRST)
            guard.hold()
            on(house.engine, len(FIRST + SECOND))
            await shown(listener, "stirred. ")
            assert house.lose_leases
            house.lose_leases()
            guard.release()
            house.engine.gate.release()
            events = await listener.rest()
        answer = (await stored(house, chat))[-1]

    assert guard.judged[-1].startswith(FIRST + SECOND)
    assert text_of(events) == ""
    assert answer["content"] == REFUSAL


async def test_a_worker_that_takes_over_holds_the_rest_until_it_has_passed(
    guard: ScriptedGuard, tmp_path: Path
) -> None:
    text = FIRST + "The moon rose. " + THIRD
    async with moderated(tmp_path, guard, text, BOTH) as house:
        chat = await house.open_chat()
        house.engine.gate.hold(len(FIRST))
        async with house.saying(chat, "Tell me a story.") as listener:
            begun = await shown(listener, FIRST)
            guard.hold()
            assert house.lose_leases
            house.lose_leases()
            house.engine.gate.release()
            await house.engine.until(finished=1)
            await guard.until(lambda: guard.open == 1)
            guard.release()
            events = await listener.rest()

    assert begun + text_of(events) == events[-1].data["message"]["content"] == text
    assert guard.judged.count("Tell me a story.") == 1, "what is shown had been asked by a question that passed"
    assert guard.judged[-1] == text


async def test_a_worker_that_takes_over_after_the_verdict_asks_nobody_again(
    guard: ScriptedGuard, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with moderated(tmp_path, guard, FIRST + SECOND + THIRD, HOLD) as house:
        finish, refusals = house.services.store.finish_run, []

        async def finish_late(*args: Any, **how: Any) -> None:
            if not refusals:
                refusals.append(args)
                raise StoreUnavailable("not now")
            await finish(*args, **how)

        monkeypatch.setattr(house.services.store, "finish_run", finish_late)
        chat = await house.open_chat()
        house.engine.gate.hold(len(FIRST))
        async with house.saying(chat, "Tell me a story.") as listener:
            await shown(listener, FIRST)
            house.engine.gate.release()
            events = await listener.rest()
        answer = (await stored(house, chat))[-1]

    assert len(refusals) == 1
    assert len(house.engine.stats.requests) == 1
    assert verdicts(events) == BLOCKED
    assert text_of(events) == ""
    assert (answer["content"], answer["finish_reason"]) == (REFUSAL, "content_filter")


@pytest.mark.parametrize("word", [BAD, "water"])
async def test_a_stop_after_a_workers_death_does_not_save_what_it_showed(word: str, tmp_path: Path) -> None:
    said = f"In it was {word}, stirred. "
    async with (
        ScriptedGuard() as guard,
        # The lease: the stop must be asked for before anybody would go on with the run.
        moderated(tmp_path, guard, FIRST + said + REST, OUTPUT, lease_seconds=2.0) as house,
    ):
        chat = await house.open_chat()
        house.engine.gate.hold(len(FIRST))
        async with house.saying(chat, "Tell me a story.") as listener:
            await listener.until("delta")
            guard.hold()
            house.engine.gate.release()
            house.engine.gate.hold(len(FIRST + said))
            while "stirred. " not in (await listener.until("delta")).data["text"]:
                pass
            assert house.lose_leases
            await asyncio.to_thread(house.lose_leases)
            stopping = asyncio.create_task(house.http.delete(f"/runs/{listener.run_id}"))
            guard.release()
            events = await listener.rest()
            await stopping
        answer = (await stored(house, chat))[-1]

    assert text_of(events) == ""
    assert len(house.engine.stats.requests) == 1, "it is ended, not continued"
    if word == BAD:
        assert (answer["content"], answer["status"]) == (REFUSAL, "blocked")
        assert verdicts(events) == [("output", "blocked", "moderation.violence")]
    else:
        assert (answer["content"], answer["status"]) == (FIRST + said, "stopped")


async def test_on_the_bill_a_run_counts_where_it_was_answered_and_the_guard_has_tokens_of_its_own(
    tmp_path: Path,
) -> None:
    async with ScriptedGuard() as guard, moderated(tmp_path, guard, FIRST + REST, BOTH) as house:
        done = (await house.say(await house.open_chat(), "Tell me a story."))[-1].data
        asked = len(guard.asked)
        rows = {row["model"]: row for row in (await house.http.get("/usage")).json()["data"]}

    assert {model: row["runs"] for model, row in rows.items()} == {"sim": 1, "guard": 0}
    assert rows["sim"]["completion_tokens"] == done["usage"]["completion_tokens"]
    assert rows["guard"]["completion_tokens"] == 12 * asked  # as many as the guard says of each verdict
    assert done["message"]["model"] == "sim"
