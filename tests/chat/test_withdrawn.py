"""What a late verdict takes back is gone: from the page, from the chat, and from the log that a reader replays."""

import sqlite3
from pathlib import Path
from typing import Any

import pytest

from functions.adapters.sqlite_runs import _withdraw
from functions.errors import StoreUnavailable
from tests.chat.moderated import FIRST, OUTPUT, REFUSAL, SECOND, THIRD, GuardedHouse, moderated, stored
from tests.house import Event, Listener, parse_events, text_of
from tests.scripted_guard import BAD, ScriptedGuard


async def shown_and_held(house: GuardedHouse, guard: ScriptedGuard, listener: Listener) -> str:
    """The first two sentences have been shown, and the verdict on the second is awaited."""
    shown = (await listener.until("delta")).data["text"]
    guard.hold()
    house.engine.gate.release()
    house.engine.gate.hold(len(FIRST + SECOND))
    while not shown.endswith("stirred. "):
        shown += (await listener.until("delta")).data["text"]
    return str(shown)


async def replayed(house: GuardedHouse, run_id: str, after: int = 0) -> tuple[list[Event], str]:
    raw = (await house.http.get(f"/runs/{run_id}/events", params={"last_event_id": str(after)})).text
    return parse_events(raw), raw


async def test_a_replay_shows_nothing_of_what_was_taken_back(guard: ScriptedGuard, tmp_path: Path) -> None:
    async with moderated(tmp_path, guard, FIRST + SECOND + THIRD, OUTPUT) as house:
        chat = await house.open_chat()
        house.engine.gate.hold(len(FIRST))
        async with house.saying(chat, "Tell me a story.") as listener:
            assert await shown_and_held(house, guard, listener) == FIRST + SECOND
            before = await replayed_so_far(house, listener.run_id)
            guard.release()
            seen = await listener.rest()
        whole, raw = await replayed(house, listener.run_id)
        rests = [(await replayed(house, listener.run_id, after))[0] for after in range(len(whole))]

    assert text_of(before) == FIRST + SECOND
    assert "kettle" not in raw and BAD not in raw
    assert [event.id for event in whole] == list(range(1, len(whole) + 1))
    assert [event.name for event in whole[: len(before)]] == [event.name for event in before]
    assert whole[-1].data["message"]["content"] == REFUSAL
    assert whole[-1] == seen[-1]
    assert rests == [whole[after:] for after in range(len(whole))]


async def replayed_so_far(house: GuardedHouse, run_id: str) -> list[Event]:
    """What a second reader gets while the run goes on, up to the text that has been shown."""
    events: list[Event] = []
    async with house.http.stream("GET", f"/runs/{run_id}/events") as response:
        listener = Listener(response)
        while not text_of(events).endswith("stirred. "):
            events.append(await listener.next())
    return events


async def test_the_rest_of_an_answer_that_keeps_its_text_is_replayed_as_it_was(
    guard: ScriptedGuard, tmp_path: Path
) -> None:
    """Refused before anything was shown, the refusal itself is the text; it stays."""
    async with moderated(tmp_path, guard, SECOND + THIRD, OUTPUT) as house:
        events = await house.say(await house.open_chat(), "Tell me a story.")
        whole, _ = await replayed(house, events[0].data["run_id"])

    assert whole == events
    assert text_of(whole) == REFUSAL


def blank(db: sqlite3.Connection, run_id: str) -> None:
    (row,) = db.execute("SELECT n FROM runs WHERE id = ?", (run_id,)).fetchone()
    _withdraw(db, row)


@pytest.mark.parametrize("is_blank", [False, True], ids=["before the log is blanked", "after it"])
async def test_the_next_worker_takes_the_text_out_where_one_died_over_it(
    guard: ScriptedGuard, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, is_blank: bool
) -> None:
    async with moderated(tmp_path, guard, FIRST + SECOND + THIRD, OUTPUT) as house:
        store, tries = house.services.store, []
        finish = store.finish_run

        async def dies(owner: str, run: Any, *rest: Any, withdraw: bool) -> None:
            tries.append(withdraw)
            if len(tries) == 1:
                if is_blank:  # as a long log is in DynamoDB, before the end
                    await store._write(blank, run.id)
                raise StoreUnavailable("the power is out")
            await finish(owner, run, *rest, withdraw=withdraw)

        monkeypatch.setattr(store, "finish_run", dies)
        chat = await house.open_chat()
        house.engine.gate.hold(len(FIRST))
        async with house.saying(chat, "Tell me a story.") as listener:
            await shown_and_held(house, guard, listener)
            guard.release()
            seen = await listener.rest()
        answer = (await stored(house, chat))[-1]
        _, raw = await replayed(house, listener.run_id)

    assert len(tries) == 2
    assert len(house.engine.stats.requests) == 1, "nobody goes on with it"
    assert text_of(seen) == ""
    assert (answer["content"], answer["finish_reason"]) == (REFUSAL, "content_filter")
    assert "kettle" not in raw and BAD not in raw
