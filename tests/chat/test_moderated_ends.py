"""A run that another worker claims only to end it is judged all the same; and what judging costs is on the bill."""

import asyncio
from pathlib import Path

import pytest

from tests.chat.moderated import BOTH, OUTPUT, REFUSAL, moderated, stored, verdicts
from tests.house import text_of
from tests.scripted_guard import BAD, ScriptedGuard

FIRST = "Once there was a kettle. "
REST = "It boiled all night long, and then some more. " * 4


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
