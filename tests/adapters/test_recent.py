"""The messages in this process's memory: how many, which, and how heavy."""

import tracemalloc
from datetime import UTC, datetime

import pytest

from functions.adapters.recent import CHAT_BYTES, Recent, weight
from functions.adapters.sealed import decode, encode
from functions.chat.messages import Citation, Cost, Feedback, Message, Timings, Usage, Verdict

T0 = datetime(2026, 11, 20, tzinfo=UTC)
VERDICT = Verdict(stage="input", rail="pii", action="redacted", message="An address was masked.", policy="1" * 40)
CITATION = Citation(index=1, document_id="d" * 36, title="A title of some length", chunk=3, score=0.5)


def a_message(name: str, content: str = "Hello", **fields: object) -> Message:
    return Message(id=name, chat_id="c", parent_id=None, role="user", content=content, created_at=T0, **fields)


def chats(recent: Recent) -> list[str]:
    return [name for name in ("a", "b", "c", "d") if recent.edition("me", name) is not None]


ROOM = CHAT_BYTES + weight(a_message("m"))


def test_the_chats_that_were_not_asked_for_longest_go_first() -> None:
    recent = Recent(4 * ROOM)
    for name in ("a", "b", "c", "d"):
        recent.put("me", name, "1", [a_message("m")])

    recent.find("me", "a")
    recent.put("me", "e", "1", [a_message("m")])
    recent.add("me", "c", "1", [a_message("m")])
    recent.put("me", "f", "1", [a_message("m")])

    assert chats(recent) == ["a", "c"]
    assert recent.bytes == 4 * ROOM


def test_it_never_weighs_more_than_it_may() -> None:
    recent = Recent(4 * ROOM)

    for number in range(100):
        recent.put("me", f"{number % 7}", f"{number % 3}", [a_message(f"m{number % 2}", "x" * (number * 37 % 900))])
        assert recent.bytes <= 4 * ROOM
        assert recent.bytes == sum(kept.weight for kept in recent._chats.values())
        if number % 5 == 0:
            recent.forget("me", f"{number % 7}")
    recent.forget_owner("me")

    assert recent.bytes == 0


def test_one_large_chat_does_not_push_out_all_others() -> None:
    recent = Recent(4 * ROOM)
    recent.put("me", "a", "1", [a_message("m")])

    recent.put("me", "b", "1", [a_message("m", "x" * ROOM)])
    recent.add("me", "a", "1", [a_message("n", "x" * ROOM)])  # nor does it itself stay, once it is so

    assert chats(recent) == []
    assert recent.bytes == 0


def test_a_chat_has_messages_of_one_edition() -> None:
    recent = Recent(100 * ROOM)
    recent.put("me", "a", "1", [a_message("m")])
    recent.put("me", "a", "1", [a_message("n")])
    recent.add("me", "a", "2", [a_message("o")])  # of an edition that is not held
    recent.add("me", "b", "1", [a_message("m")])
    recent.note("me", "a", "1")

    first = recent.find("me", "a")
    assert first is not None
    assert list(first.messages) == ["m", "n"]
    assert recent.find("me", "b") is None

    recent.note("me", "a", "2")
    second = recent.find("me", "a")
    assert second is not None
    assert (second.edition, second.messages) == ("2", {})


def test_owners_do_not_see_each_others_chats() -> None:
    recent = Recent(100 * ROOM)
    for owner in ("me", "you"):
        recent.put(owner, "a", owner, [a_message("m", owner)])
    recent.forget_owner("you")

    kept = recent.find("me", "a")
    assert kept is not None
    assert [message.content for message in kept.messages.values()] == ["me"]
    assert recent.find("you", "a") is None


@pytest.mark.parametrize("message", [
    a_message("m"),
    a_message("m", "x" * 10_000),
    a_message("m", "中文" * 5_000),
    a_message("m", "x" * 10_000 + "🙂"),
    a_message("m", verdicts=(VERDICT,) * 5, citations=(CITATION,) * 6),
    a_message("m", feedback=Feedback(rating=-1, comment="🙂" * 500, at=T0)),
    a_message(
        "m", model="m" * 60, run_id="r" * 36, usage=Usage(), timings=Timings(queue_ms=2**40), cost=Cost(cost_usd=0.1)
    ),
], ids=str)  # fmt: skip
def test_a_message_weighs_no_less_than_it_takes(message: Message) -> None:
    data = encode(message)
    tracemalloc.start()
    try:
        before, _ = tracemalloc.get_traced_memory()
        kept = {f"m{number}": decode(data) for number in range(200)}
        after, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()

    assert (after - before) / len(kept) <= weight(message) <= 4 * (after - before) / len(kept)
