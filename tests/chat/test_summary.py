"""Long chats through the whole house: what was said early is known late, each fold is made once, and an answer comes.

The engine reads: it can say nothing that its prompt does not show, and its notes are the facts that it finds in the
text that it is given to fold. So what is measured is what we show it.
"""

import asyncio
import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from functions.chat.messages import SummariseJob
from functions.inference.nodes import Node, ServedModel
from functions.services import Services, open_services
from functions.settings import Settings
from tests.house import Event, House, open_house
from tests.simulated import Scenario, SimulatedEngine, is_for_notes, tokenize

CONTEXT = 8192
READER = Scenario(reads=True, context_tokens=CONTEXT)
SMALL = 2048
SMALL_READER = Scenario(reads=True, context_tokens=SMALL)
EVERY = 4  # turns between two facts
FILLER = "And so we went on about the garden, the weather and the old bridge over the river. "


def fact(number: int) -> str:
    return f"The code of place-{number} is K{number * 7919 % 10007}."


def chat_requests(engine: SimulatedEngine) -> list[list[dict[str, Any]]]:
    return [r["messages"] for r in engine.stats.requests if not is_for_notes(r["messages"])]


def folds(engine: SimulatedEngine) -> int:
    return sum(is_for_notes(r["messages"]) for r in engine.stats.requests)


def tokens_of(messages: list[dict[str, Any]]) -> int:
    return sum(len(tokenize(m["content"])) for m in messages)


def answer_of(events: list[Event]) -> dict[str, Any]:
    message: dict[str, Any] = events[-1].data["message"]
    return message


async def tell(house: House, chat_id: str, turns: int, *, first: int = 0, fill: int = 3) -> list[dict[str, Any]]:
    """So many turns, each with a fact; the answers."""
    numbers = range(first, first + turns)
    return [answer_of(await house.say(chat_id, f"{FILLER * fill}{fact(number)} {FILLER}")) for number in numbers]


# -- what is known after 200 turns -------------------------------------------------------------------------------


async def test_facts_of_two_hundred_turns_are_known_at_the_end(tmp_path: Path) -> None:
    async with open_house(tmp_path, READER) as house:
        chat_id = await house.open_chat()
        for number in range(200):
            planted = fact(number) if number % EVERY == 0 else ""
            await house.say(chat_id, f"{FILLER * 3}{planted} {FILLER}")
        planted_facts = range(0, 200, EVERY)

        answers = [
            answer_of(await house.say(chat_id, f"What is the code of place-{n}?"))["content"] for n in planted_facts
        ]

        recalled = sum(answer == fact(n) for n, answer in zip(planted_facts, answers, strict=True))
        prompts = chat_requests(house.engine)
        same = [_common(earlier, later) for earlier, later in pairwise(prompts)]
        cached = sum(tokens_of(p[:n]) for p, n in zip(prompts, same, strict=False)) / sum(map(tokens_of, prompts[1:]))
        compactions = sum(n < len(p) for p, n in zip(prompts, same, strict=False))
        print(  # noqa: T201
            f"\nfacts {len(planted_facts)}: recalled {recalled / len(planted_facts):.0%}; longest prompt "
            f"{max(map(tokens_of, prompts))} of {CONTEXT}; folds {folds(house.engine)}; compactions {compactions}; "
            f"of the prompts' tokens {cached:.0%} stood at the same place in the prompt before"
        )
        assert recalled >= 0.95 * len(planted_facts)
        assert max(map(tokens_of, prompts)) <= CONTEXT * 3 // 4
        assert cached >= 0.8
        assert compactions <= folds(house.engine)


def _common(earlier: list[Any], later: list[Any]) -> int:
    """So many messages at the beginning are the same."""
    return next(
        (n for n, (a, b) in enumerate(zip(earlier, later, strict=False)) if a != b), min(len(earlier), len(later))
    )


async def test_without_summaries_the_early_facts_are_lost(tmp_path: Path) -> None:
    """So it is the summaries that are measured above."""
    async with open_house(tmp_path, SMALL_READER, summaries=False) as house:
        chat_id = await house.open_chat()
        answers = await tell(house, chat_id, 20)

        asked = answer_of(await house.say(chat_id, "What is the code of place-0?"))

        assert asked["content"] == "I do not know."
        assert asked["left_out"] > 0
        assert folds(house.engine) == 0
        assert all(a["summarised"] == 0 for a in answers)


# -- one chat ----------------------------------------------------------------------------------------------------


async def test_an_answer_says_how_much_its_model_saw_as_a_summary_and_the_chat_shows_it(tmp_path: Path) -> None:
    async with open_house(tmp_path, SMALL_READER) as house:
        chat_id = await house.open_chat()
        assert (await house.http.get(f"/chat/{chat_id}")).json()["summary"] is None
        answers = await tell(house, chat_id, 20)

        chat = (await house.http.get(f"/chat/{chat_id}")).json()

        assert answers[0]["summarised"] == 0
        assert answers[-1]["summarised"] > 0
        assert all(a["left_out"] == 0 for a in answers)
        assert sorted(chat["summary"]) == ["created_at", "text", "tokens", "upto"]
        assert fact(0) in chat["summary"]["text"]
        assert chat["summary"]["upto"] in [m["id"] for m in chat["messages"]]
        assert chat["summary"]["tokens"] == len(tokenize(chat["summary"]["text"]))
        shown = chat_requests(house.engine)[-1]
        assert shown[0]["role"] == "system"
        assert fact(0) in shown[1]["content"]
        assert fact(0) not in shown[0]["content"], "words of the chat have not the operator's weight"


async def test_notes_cost_something_and_it_stands_in_the_books(tmp_path: Path) -> None:
    async with open_house(tmp_path, SMALL_READER) as house:
        chat_id = await house.open_chat()
        await tell(house, chat_id, 20)
        async with services_of(house) as services:
            uses = [u for u in await services.store.read_uses(from_ms=0, to_ms=2**60) if u.run_id is None]

    assert len(uses) == folds(house.engine) > 0
    assert {(u.owner, u.chat_id) for u in uses} == {("local", chat_id)}
    assert all(u.prompt_tokens > 100 and u.completion_tokens > 0 for u in uses)


async def test_an_answer_comes_when_the_model_gives_no_notes_and_it_is_not_asked_every_time(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "parley")
    mute = Scenario(reads=True, mute=True, context_tokens=SMALL)
    async with open_house(tmp_path, mute, lease_seconds=600) as house:
        chat_id = await house.open_chat()
        answers = await tell(house, chat_id, 20)

        assert all(a["status"] == "complete" for a in answers)
        assert answers[-1]["left_out"] > 0
        assert answers[-1]["summarised"] == 0
    tried = [record.getMessage() for record in caplog.records].count("summary.not_in_turn")
    assert tried == 1, "by day it is tried later and later, in a turn not again so soon"


async def test_what_the_rails_do_not_let_through_is_in_no_summary(tmp_path: Path) -> None:
    secret = "AKIA" + "Q7ZT2MNB4XWCD6LP"
    leaking = Scenario(text=f"- The key is {secret}.", context_tokens=SMALL)
    async with open_house(tmp_path, leaking) as house:
        chat_id = await house.open_chat()
        await tell(house, chat_id, 20)

        async with services_of(house) as services:
            stored = await services.store.list_summaries("local", chat_id, version=services.summaries.version)

        assert stored
        assert all(secret not in s.text for s in stored)
        assert secret not in str(house.engine.stats.requests)


async def test_the_turn_says_that_it_waits_for_notes(tmp_path: Path) -> None:
    async with open_house(tmp_path, SMALL_READER, summaries=False) as house:
        chat_id = await house.open_chat()
        await tell(house, chat_id, 12)
    async with open_house(tmp_path, SMALL_READER) as house:  # nothing has been made ahead of time
        events = await house.say(chat_id, f"{FILLER * 6} What is the code of place-0?")

        assert answer_of(events)["content"] == fact(0)
        waits = [e for e in events if e.name == "status" and e.data["phase"] == "queued"]
        assert waits
        assert folds(house.engine) >= 1


# -- branches ----------------------------------------------------------------------------------------------------


async def ask_under(house: House, chat_id: str, parent_id: str) -> list[Event]:
    async with house.saying(chat_id, "What is the code of place-1?", parent_id=parent_id) as listener:
        return await listener.rest()


async def test_a_branch_from_inside_the_folded_part_does_not_see_the_other_branches_summary(tmp_path: Path) -> None:
    async with open_house(tmp_path, SMALL_READER) as house:
        chat_id = await house.open_chat()
        answers = await tell(house, chat_id, 20)
        chat = (await house.http.get(f"/chat/{chat_id}")).json()
        at = [m["id"] for m in chat["messages"]]

        early = await ask_under(house, chat_id, answers[0]["id"])
        shown = chat_requests(house.engine)[-1]
        branch = (await house.http.get(f"/chat/{chat_id}")).json()

        assert at.index(chat["summary"]["upto"]) > at.index(answers[0]["id"])
        assert answer_of(early)["content"] == "I do not know.", "place-1 was spoken of later, on the other branch"
        assert len(shown) == 4
        assert branch["summary"] is None
        grown = await tell(house, chat_id, 14, first=100)  # on the new branch, until it is folded as well
        again = answer_of(await ask_under(house, chat_id, grown[-1]["id"]))
        assert again["summarised"] > 0
        assert again["content"] == "I do not know."
        branch = (await house.http.get(f"/chat/{chat_id}")).json()
        assert fact(100) in branch["summary"]["text"]
        assert fact(1) not in branch["summary"]["text"]

        late = await ask_under(house, chat_id, answers[-1]["id"])
        assert answer_of(late)["content"] == fact(1)


# -- workers -----------------------------------------------------------------------------------------------------


@asynccontextmanager
async def services_of(house: House, **settings: Any) -> AsyncIterator[Services]:
    """One more worker's, on the house's store and engine, in the test's own loop."""
    node = Node(house.engine.url, name="sim", models=[ServedModel(id="sim", context_tokens=SMALL)], kind="vllm")
    values = house.settings.model_dump() | settings
    async with open_services(Settings(**values), [node]) as services:
        yield services


async def long_chat(folder: Path, turns: int = 12) -> str:
    """A chat of which nothing has been folded."""
    async with open_house(folder, SMALL_READER, summaries=False) as house:
        chat_id = await house.open_chat()
        await tell(house, chat_id, turns)
    return chat_id


async def test_two_workers_at_once_make_one_fold(tmp_path: Path) -> None:
    chat_id = await long_chat(tmp_path)
    async with open_house(tmp_path, SMALL_READER) as house, services_of(house) as one, services_of(house) as two:
        house.engine.gate.hold(0)
        making = asyncio.create_task(one.summaries.fold_chat("local", chat_id, may_wake=True))
        await house.engine.gate.reached()

        again_ms = await two.summaries.fold_chat("local", chat_id, may_wake=True)
        assert isinstance(again_ms, int), "another worker is at it"
        house.engine.gate.release()
        assert await making is None

        assert await two.summaries.fold_chat("local", chat_id, may_wake=True) is None
        stored = await one.store.list_summaries("local", chat_id, version=one.summaries.version)
        assert folds(house.engine) == len(stored) >= 1
        assert fact(0) in stored[0].text


async def test_a_turn_makes_the_fold_itself_when_the_worker_that_was_at_it_gives_up(tmp_path: Path) -> None:
    chat_id = await long_chat(tmp_path)
    async with open_house(tmp_path, SMALL_READER) as house, services_of(house) as worker:
        house.engine.gate.hold(0)
        making = asyncio.create_task(worker.summaries.fold_chat("local", chat_id, may_wake=True))
        await house.engine.gate.reached()
        async with house.saying(chat_id, f"{FILLER * 6} What is the code of place-0?") as listener:
            await listener.until("status")
            making.cancel()
            await asyncio.gather(making, return_exceptions=True)
            house.engine.gate.release()
            answer = answer_of(await listener.rest())

        assert answer["content"] == fact(0)
        assert answer["summarised"] > 0


async def test_a_turn_waits_for_the_fold_that_a_worker_is_making(tmp_path: Path) -> None:
    chat_id = await long_chat(tmp_path)
    async with open_house(tmp_path, SMALL_READER) as house, services_of(house) as worker:
        house.engine.gate.hold(0)
        making = asyncio.create_task(worker.summaries.fold_chat("local", chat_id, may_wake=True))
        await house.engine.gate.reached()
        async with house.saying(chat_id, f"{FILLER * 6} What is the code of place-0?") as listener:
            waiting = await listener.until("status")
            house.engine.gate.release()
            events = await listener.rest()
        await making

        assert waiting.data["phase"] == "queued"
        assert answer_of(events)["content"] == fact(0)
        stored = await worker.store.list_summaries("local", chat_id, version=worker.summaries.version)
        assert folds(house.engine) == len(stored)


async def test_a_fold_that_was_cancelled_is_made_at_once_by_the_next(tmp_path: Path) -> None:
    chat_id = await long_chat(tmp_path)
    async with open_house(tmp_path, SMALL_READER) as house, services_of(house, lease_seconds=600) as worker:
        house.engine.gate.hold(0)
        making = asyncio.create_task(worker.summaries.fold_chat("local", chat_id, may_wake=True))
        await house.engine.gate.reached()
        making.cancel()
        await asyncio.gather(making, return_exceptions=True)
        house.engine.gate.release()

        assert await worker.summaries.fold_chat("local", chat_id, may_wake=True) is None

        assert await worker.store.list_summaries("local", chat_id, version=worker.summaries.version)


async def test_a_sleeping_gpu_is_woken_by_night_only(tmp_path: Path) -> None:
    chat_id = await long_chat(tmp_path)
    async with open_house(tmp_path, SMALL_READER) as house:
        node = Node(house.engine.url, name="gpu", serverless=True, models=[ServedModel(id="sim", context_tokens=SMALL)])
        async with open_services(house.settings, [node]) as services:
            assert await services.summaries.fold_chat("local", chat_id, may_wake=False) == "tonight"
            assert folds(house.engine) == 0

            assert await services.summaries.fold_chat("local", chat_id, may_wake=True) is None

            assert folds(house.engine) >= 1


async def test_summaries_under_another_policy_are_not_used_and_go(tmp_path: Path) -> None:
    chat_id = await long_chat(tmp_path)
    async with open_house(tmp_path, SMALL_READER) as house, services_of(house) as worker:
        old = worker.summaries.version
        await worker.summaries.fold_chat("local", chat_id, may_wake=True)
        made = folds(house.engine)
        policy = tmp_path / "policy.toml"
        policy.write_text('[output.pii]\nemail = "redact"\n')
        async with services_of(house, policy=policy) as later:
            assert later.summaries.version != old
            await later.summaries.fold_chat("local", chat_id, may_wake=True)

            assert folds(house.engine) == 2 * made
            job = SummariseJob(owner="local", chat_id=chat_id)
            assert await later.summaries.by_night(job) is None
            assert await later.store.list_summaries("local", chat_id, version=old) == ()


async def test_a_demo_models_chats_are_not_summarised(tmp_path: Path) -> None:
    chat_id = await long_chat(tmp_path)
    async with open_house(tmp_path, SMALL_READER) as house:
        node = Node(house.engine.url, models=[ServedModel(id="sim", context_tokens=SMALL, demo=True)], kind="vllm")
        async with open_services(house.settings, [node]) as services:
            assert not services.summaries.serves("sim")
            assert await services.summaries.fold_chat("local", chat_id, may_wake=True) is None

    assert folds(house.engine) == 0


async def test_a_message_longer_than_a_fold_can_read_is_folded_by_its_ends(tmp_path: Path) -> None:
    async with open_house(tmp_path, SMALL_READER) as house:
        chat_id = await house.open_chat()
        await tell(house, chat_id, 3)
        await house.say(chat_id, f"{fact(900)} {FILLER * 40} {fact(901)}")
        for number in (900, 901):
            answer = answer_of(await house.say(chat_id, f"{FILLER * 6} What is the code of place-{number}?"))
            assert answer["content"] == fact(number)
