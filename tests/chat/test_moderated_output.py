"""A guard model judges the answer: the first window before anything is shown, later ones as the policy says, the whole
at its end."""

import asyncio
from pathlib import Path

import pytest

from functions.chat.messages import new_id
from tests.chat.moderated import (
    BLOCKED,
    BOTH,
    FIRST,
    HOLD,
    OUTPUT,
    REFUSAL,
    SECOND,
    THIRD,
    UNJUDGED,
    moderated,
    on,
    shown,
    stored,
    verdicts,
)
from tests.house import parse_events, text_of
from tests.scripted_guard import BAD, BROKEN, GARBLED, ODD, SILENT, ScriptedGuard
from tests.simulated import Scenario

# -- before anything is shown --------------------------------------------------------------------------------------


async def test_the_first_sentence_waits_for_its_verdict(guard: ScriptedGuard, tmp_path: Path) -> None:
    guard.hold()
    async with moderated(tmp_path, guard, FIRST + THIRD, OUTPUT) as house:
        chat = await house.open_chat()
        house.engine.gate.hold(len(FIRST))
        async with house.saying(chat, "Tell me a story.") as listener:
            await house.engine.gate.reached()
            await guard.until(lambda: guard.open == 1)
            log = (await house.http.get(f"/runs/{listener.run_id}")).json()
            guard.release()
            begun = await shown(listener, FIRST)
            house.engine.gate.release()
            events = await listener.rest()

    assert log["timings"]["ttft_ms"] == 0
    assert begun == FIRST
    assert begun + text_of(events) == events[-1].data["message"]["content"] == FIRST + THIRD
    assert guard.asked[0] == [
        {"role": "user", "content": "Tell me a story."},
        {"role": "assistant", "content": FIRST},
    ]


async def test_nothing_of_a_refused_first_window_is_shown_or_kept(guard: ScriptedGuard, tmp_path: Path) -> None:
    async with moderated(tmp_path, guard, SECOND + THIRD * 20, OUTPUT) as house:
        chat = await house.open_chat()
        house.engine.gate.hold(len(SECOND) + 1)
        events = await house.say(chat, "Tell me a story.")
        await house.engine.until(aborted=1, open=0)
        answer = (await stored(house, chat))[-1]

    assert text_of(events) == answer["content"] == REFUSAL
    assert (answer["status"], answer["finish_reason"]) == ("blocked", "content_filter")
    assert verdicts(events) == BLOCKED
    assert BAD not in (tmp_path / "parley.db").read_bytes().decode("latin-1")


async def test_a_long_first_sentence_is_judged_at_the_windows_length(guard: ScriptedGuard, tmp_path: Path) -> None:
    text = "and so it went on " * 30
    async with moderated(tmp_path, guard, text, OUTPUT + "window_chars = 100\n") as house:
        chat = await house.open_chat()
        house.engine.gate.hold(100)
        async with house.saying(chat, "Tell me a story.") as listener:
            begun = await shown(listener, text[:100])
            house.engine.gate.release()
            events = await listener.rest()

    assert begun == text[:100]
    assert begun + text_of(events) == text
    assert guard.judged[-1] == text


async def test_a_short_answer_is_judged_once(guard: ScriptedGuard, tmp_path: Path) -> None:
    async with moderated(tmp_path, guard, "It is four", OUTPUT) as house:
        events = await house.say(await house.open_chat(), "What is two and two?")

    assert text_of(events) == "It is four"
    assert guard.judged == ["It is four"]


async def test_a_chinese_sentence_ends_without_a_space(guard: ScriptedGuard, tmp_path: Path) -> None:
    async with moderated(tmp_path, guard, "从前有一把水壶。它整夜沸腾。", OUTPUT) as house:
        chat = await house.open_chat()
        house.engine.gate.hold(8)
        async with house.saying(chat, "讲个故事") as listener:
            begun = await shown(listener, "从前有一把水壶。")
            house.engine.gate.release()
            await listener.rest()

    assert begun == "从前有一把水壶。"


# -- later ---------------------------------------------------------------------------------------------------------


async def test_where_later_windows_hold_nothing_bad_is_ever_shown(guard: ScriptedGuard, tmp_path: Path) -> None:
    async with moderated(tmp_path, guard, FIRST + SECOND + THIRD, HOLD) as house:
        chat = await house.open_chat()
        house.engine.gate.hold(len(FIRST))
        async with house.saying(chat, "Tell me a story.") as listener:
            begun = await shown(listener, FIRST)
            on(house.engine, len(FIRST + SECOND))
            events = await listener.rest()
            await house.engine.until(aborted=1, open=0)
        answer = (await stored(house, chat))[-1]

    assert begun + text_of(events) == FIRST
    assert answer["content"] == events[-1].data["message"]["content"] == REFUSAL
    assert [e.name for e in events][-2:] == ["guardrail", "done"]
    assert verdicts(events) == BLOCKED


async def test_what_comes_while_a_window_is_judged_waits_for_its_own_verdict(
    guard: ScriptedGuard, tmp_path: Path
) -> None:
    guard.hold()
    async with moderated(tmp_path, guard, FIRST + SECOND + THIRD, HOLD) as house:
        chat = await house.open_chat()
        house.engine.gate.hold(len(FIRST))
        async with house.saying(chat, "Tell me a story.") as listener:
            await guard.until(lambda: guard.open == 1)
            house.engine.gate.release()
            await house.engine.until(finished=1)
            guard.release()
            events = await listener.rest()

    assert text_of(events) == FIRST
    assert events[-1].data["message"]["content"] == REFUSAL


async def test_where_later_windows_show_a_late_no_takes_the_answer_back(guard: ScriptedGuard, tmp_path: Path) -> None:
    async with moderated(tmp_path, guard, FIRST + SECOND + THIRD, OUTPUT) as house:
        chat = await house.open_chat()
        house.engine.gate.hold(len(FIRST))
        async with house.saying(chat, "Tell me a story.") as listener:
            await shown(listener, FIRST)
            guard.hold()
            on(house.engine, len(FIRST + SECOND))
            await shown(listener, "stirred. ")
            guard.release()
            events = await listener.rest()
            await house.engine.until(aborted=1, open=0)
        answer = (await stored(house, chat))[-1]
        run = (await house.http.get(f"/runs/{listener.run_id}")).json()

    assert [e.name for e in events] == ["guardrail", "done"]
    assert answer == events[-1].data["message"]
    assert (answer["content"], answer["status"]) == (REFUSAL, "blocked")
    assert (run["status"], run["finish_reason"]) == ("completed", "content_filter")


@pytest.mark.parametrize("rules", [OUTPUT, HOLD])
async def test_what_is_bad_only_as_a_whole_is_taken_back_at_the_end(tmp_path: Path, rules: str) -> None:
    text = "Take the kettle. " + "Wait for the moon. " * 20 + "Add the toad."
    async with (
        ScriptedGuard(together=("kettle", "toad")) as guard,
        moderated(tmp_path, guard, text, rules + "window_chars = 40\n") as house,
    ):
        chat = await house.open_chat()
        house.engine.gate.hold(17)
        async with house.saying(chat, "Tell me a story.") as listener:
            begun = await shown(listener, "kettle. ")
            on(house.engine, 300)
            begun += await shown(listener, "moon. ")
            house.engine.gate.release()
            events = await listener.rest()
        answer = (await stored(house, chat))[-1]

    assert text.startswith(begun + text_of(events))
    assert answer["content"] == REFUSAL
    assert (answer["verdicts"][0]["start"], answer["verdicts"][0]["end"]) == (0, len(text))


async def test_without_a_final_check_the_whole_is_not_judged(tmp_path: Path) -> None:
    text = "Take the kettle. " + "Wait for the moon. " * 20 + "Add the toad."
    rules = HOLD + "window_chars = 40\nfinal_check = false\n"
    async with ScriptedGuard(together=("kettle", "toad")) as guard, moderated(tmp_path, guard, text, rules) as house:
        chat = await house.open_chat()
        house.engine.gate.hold(17)
        async with house.saying(chat, "Tell me a story.") as listener:
            await shown(listener, "kettle. ")
            on(house.engine, 200)
            await shown(listener, "moon. ")
            house.engine.gate.release()
            events = await listener.rest()

    assert events[-1].data["message"]["content"] == text
    assert guard.judged[-1].endswith("Add the toad.")
    assert "kettle" not in guard.judged[-1]


async def test_nothing_hides_at_the_seam_of_two_windows(guard: ScriptedGuard, tmp_path: Path) -> None:
    text = "x" * 95 + f" {BAD} " + "y" * 200
    rules = HOLD + "window_chars = 100\nfinal_check = false\n"
    async with moderated(tmp_path, guard, text, rules) as house:
        chat = await house.open_chat()
        house.engine.gate.hold(100)
        async with house.saying(chat, "Tell me a story.") as listener:
            begun = await shown(listener, "x" * 95)
            house.engine.gate.release()
            events = await listener.rest()

    assert begun == text[:100]
    assert events[-1].data["message"]["content"] == REFUSAL
    assert verdicts(events) == BLOCKED


async def test_a_controversial_answer_is_shown_and_noted_once(guard: ScriptedGuard, tmp_path: Path) -> None:
    text = f"Pick the {ODD}. " * 40
    async with moderated(tmp_path, guard, text, HOLD + "window_chars = 40\n") as house:
        events = await house.say(await house.open_chat(), "How?")

    assert text_of(events) == text
    assert verdicts(events) == [("output", "flagged", "moderation.unethical")]


async def test_tool_calls_wait_for_the_verdict_on_their_arguments(tmp_path: Path) -> None:
    calling = Scenario(text="Let me see.", tool_calls=True)
    for together, names in (((), ["tool_calls"]), (("zürich",), [])):
        folder = tmp_path / str(len(together))
        folder.mkdir()
        async with (
            ScriptedGuard(together=together) as guard,
            moderated(folder, guard, rules=OUTPUT, scenario=calling) as house,
        ):
            events = await house.say(await house.open_chat(), "How is the weather?")

        assert [e.name for e in events if e.name == "tool_calls"] == names
        assert (events[-1].data["finish_reason"] == "content_filter") is bool(together)


# -- no verdict ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("ill", [BROKEN, GARBLED, SILENT])
@pytest.mark.parametrize("fail", ["closed", "open"])
async def test_no_verdict_on_an_answer_counts_as_the_policy_says(
    guard: ScriptedGuard, tmp_path: Path, ill: str, fail: str
) -> None:
    rules = f'output = "block"\nfail = "{fail}"\ntimeout_ms = {100 if ill == SILENT else 20000}\n'
    text = f"There was {ill} in the kettle. {THIRD}"
    async with moderated(tmp_path, guard, text, rules) as house:
        events = await house.say(await house.open_chat(), "Tell me a story.")

    action = "blocked" if fail == "closed" else "flagged"
    assert verdicts(events) == [("output", action, "moderation.unjudged")]
    assert text_of(events) == (UNJUDGED if fail == "closed" else text)


# -- whatever the timing -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("seed", range(3))
async def test_whatever_the_timing_no_refused_word_of_a_first_window_reaches_a_reader(
    tmp_path: Path, seed: int
) -> None:
    """Guard and engine each take up to some milliseconds, as they like; eight chats at once, half of them refused."""
    async with ScriptedGuard(delay_ms=8, seed=seed) as guard:
        slow = Scenario(text=SECOND + THIRD, ttft_ms=4 * seed, tps=2000)
        async with moderated(tmp_path, guard, rules=BOTH, scenario=slow) as house:
            chats = [await house.open_chat() for _ in range(8)]
            raw = await asyncio.gather(
                *(
                    house.http.post(
                        f"/chat/{chat}/completion",
                        json={"message": {"id": new_id(), "content": f"How is {BAD}?" if n % 2 else "Tell me."}},
                    )
                    for n, chat in enumerate(chats)
                )
            )

    for answer in raw:
        events = parse_events(answer.text)
        assert text_of(events) == REFUSAL
        assert events[-1].data["finish_reason"] == "content_filter"
        assert "In it was" not in answer.text
