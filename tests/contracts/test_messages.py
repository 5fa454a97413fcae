"""Messages: the tree of a chat, its pages and its paths; texts and times as they were."""

from datetime import datetime, timedelta, timezone

import pytest

from functions.chat.messages import Cost, Feedback, Problem, Timings, Usage, Verdict, new_id
from functions.errors import NotFound
from tests.contracts.makers import (
    NASTY,
    T0,
    Store,
    a_chat,
    a_message,
    a_turn,
    claimed,
    ended,
    finished_chat,
    the_answer,
    the_end,
)


async def talk(store: Store, owner: str, chat_id: str, turns: int) -> list[str]:
    """So many turns, one after the other; returns the message ids in order."""
    ids: list[str] = []
    for n in range(turns):
        parent = ids[-1] if ids else None
        message = a_message(chat_id, parent, id=new_id(1000 * n + 1), content=f"question {n}")
        run, _ = await store.begin_turn(
            owner, a_turn(owner, chat_id, message=message, run={"assistant_message_id": new_id(1000 * n + 2)})
        )
        run = await claimed(store, owner, run)
        await store.finish_run(owner, ended(run), [the_end(2)], the_answer(run, f"answer {n}"))
        ids += [message.id, run.assistant_message_id]
    return ids


async def test_every_field_of_a_message_comes_back(store: Store, owner: str) -> None:
    chat = a_chat()
    await store.create_chat(owner, chat)
    question = a_message(chat.id, content=NASTY)
    run, _ = await store.begin_turn(owner, a_turn(owner, chat.id, message=question))
    run = await claimed(store, owner, run)
    answer = the_answer(
        run,
        NASTY * 3,
        status="failed",
        model="tiny",
        finish_reason="length",
        usage=Usage(prompt_tokens=1, cached_tokens=2, completion_tokens=3),
        timings=Timings(queue_ms=1, wake_ms=2, ttft_ms=3, total_ms=4),
        cost=Cost(gpu_seconds=0.1, cost_usd=1e-9),
        verdicts=(Verdict(stage="output", rail="pii", action="redacted", message="m", policy="p", start=1, end=2),),
        error=Problem(code="internal", message="m"),
        created_at=datetime(2026, 2, 3, 4, 5, 6, 789012, tzinfo=timezone(timedelta(hours=5, minutes=30))),
    )

    await store.finish_run(owner, ended(run), [the_end(2)], answer)

    assert await store.get_message(owner, chat.id, question.id) == question
    assert await store.get_message(owner, chat.id, answer.id) == answer
    assert (await store.list_messages(owner, chat.id)).data == (question, answer)


@pytest.mark.parametrize("size", [64 * 1024, 3_000_000])
@pytest.mark.parametrize("text", ["a", "🙂é\0"])
async def test_a_large_message_comes_back_whole(store: Store, owner: str, size: int, text: str) -> None:
    chat = a_chat()
    await store.create_chat(owner, chat)
    content = text * (size // len(text.encode()))

    question = a_message(chat.id, content=content)
    await store.begin_turn(owner, a_turn(owner, chat.id, message=question))

    assert (await store.get_message(owner, chat.id, question.id)).content == content
    assert (await store.list_messages(owner, chat.id)).data == (question,)


async def test_the_whole_tree_is_listed_oldest_first(store: Store, owner: str) -> None:
    chat = a_chat()
    await store.create_chat(owner, chat)
    ids = await talk(store, owner, chat.id, 3)

    page = await store.list_messages(owner, chat.id)

    assert [message.id for message in page.data] == ids
    assert page.next is None


async def test_the_newest_messages_come_first_page_by_page(store: Store, owner: str) -> None:
    chat = a_chat()
    await store.create_chat(owner, chat)
    ids = await talk(store, owner, chat.id, 3)

    newest = await store.list_messages(owner, chat.id, limit=4)
    assert newest.next is not None
    oldest = await store.list_messages(owner, chat.id, limit=4, before=newest.next)
    exact = await store.list_messages(owner, chat.id, limit=6)

    assert [message.id for message in newest.data] == ids[2:]
    assert [message.id for message in oldest.data] == ids[:2]
    assert oldest.next is None
    assert exact.next is None
    assert [message.id for message in (await store.list_messages(owner, chat.id, before=ids[3])).data] == ids[:3]


async def test_more_than_a_megabyte_of_messages_is_listed_whole(store: Store, owner: str) -> None:
    # DynamoDB answers a query in pages of one megabyte. Random text does not compress.
    import random

    chat = a_chat()
    await store.create_chat(owner, chat)
    contents = [random.Random(n).randbytes(50_000).hex() for n in range(24)]
    for n, content in enumerate(contents):
        message = a_message(chat.id, id=new_id(n), content=content)
        run, _ = await store.begin_turn(owner, a_turn(owner, chat.id, message=message))
        run = await claimed(store, owner, run)
        await store.finish_run(owner, ended(run), [the_end(2)], None)

    everything = await store.list_messages(owner, chat.id)
    page = await store.list_messages(owner, chat.id, limit=22)

    assert [message.content for message in everything.data] == contents
    assert [message.content for message in page.data] == contents[2:]


async def test_a_path_leads_from_the_root_to_the_leaf(store: Store, owner: str) -> None:
    chat = a_chat()
    await store.create_chat(owner, chat)
    ids = await talk(store, owner, chat.id, 2)
    branch = a_message(chat.id, ids[1], content="another question", id=new_id(99_999))
    run, _ = await store.begin_turn(owner, a_turn(owner, chat.id, message=branch))
    run = await claimed(store, owner, run)
    await store.finish_run(owner, ended(run), [the_end(2)], the_answer(run))

    async def path(leaf: str) -> list[str]:
        return [message.id for message in await store.read_path(owner, chat.id, leaf)]

    assert await path(ids[3]) == ids
    assert await path(run.assistant_message_id) == [*ids[:2], branch.id, run.assistant_message_id]
    assert await path(ids[0]) == [ids[0]]


async def test_a_path_does_not_depend_on_the_order_of_ids(store: Store, owner: str) -> None:
    # Clients make the ids: their clocks may go backwards.
    chat = a_chat()
    await store.create_chat(owner, chat)
    late, early = a_message(chat.id, id=new_id(2_000)), a_message(chat.id, id=new_id(1_000))
    early = a_message(chat.id, late.id, id=early.id)
    for message in (late, early):
        run, _ = await store.begin_turn(owner, a_turn(owner, chat.id, message=message))
        run = await claimed(store, owner, run)
        await store.finish_run(owner, ended(run), [the_end(2)], None)

    assert [message.id for message in await store.read_path(owner, chat.id, early.id)] == [late.id, early.id]


async def test_an_absent_message_is_not_found(store: Store, owner: str) -> None:
    chat, _ = await finished_chat(store, owner)
    _, elsewhere = await finished_chat(store, owner)

    for absent in (new_id(), elsewhere.user_message_id or ""):
        with pytest.raises(NotFound):
            await store.get_message(owner, chat.id, absent)
        with pytest.raises(NotFound):
            await store.read_path(owner, chat.id, absent)
    with pytest.raises(NotFound):
        await store.read_path(owner, new_id(), elsewhere.user_message_id or "")


ANGRY = Feedback(rating=-1, reason="guardrail_wrong", comment=NASTY, at=T0)
HAPPY = Feedback(rating=1, at=T0 + timedelta(microseconds=1))


async def test_feedback_is_read_with_its_message_wherever_that_is_read(store: Store, owner: str) -> None:
    chat, run = await finished_chat(store, owner)
    answer = run.assistant_message_id

    await store.put_feedback(owner, chat.id, answer, ANGRY)

    found = await store.get_message(owner, chat.id, answer)
    listed = (await store.list_messages(owner, chat.id)).data
    _, path, _ = await store.read_context(owner, chat.id, answer)
    assert found.feedback == ANGRY
    assert (found.content, found.run_id) == ("Hi!", run.id)
    assert listed[-1] == path[-1] == found
    assert listed[0].feedback is None


async def test_feedback_is_replaced_whole_and_taken_back(store: Store, owner: str) -> None:
    chat, run = await finished_chat(store, owner)
    answer = run.assistant_message_id
    before = await store.get_message(owner, chat.id, answer)

    async def read() -> Feedback | None:
        return (await store.get_message(owner, chat.id, answer)).feedback

    for _ in range(2):
        await store.put_feedback(owner, chat.id, answer, ANGRY)
        assert await read() == ANGRY
    await store.put_feedback(owner, chat.id, answer, HAPPY)
    assert await read() == HAPPY
    for _ in range(2):
        await store.put_feedback(owner, chat.id, answer, None)
        assert await store.get_message(owner, chat.id, answer) == before


@pytest.mark.parametrize("size", [10, 700_000])
async def test_an_answer_that_is_stored_again_keeps_its_feedback(store: Store, owner: str, size: int) -> None:
    # A verdict that comes late replaces the answer; what its reader said of it stays, also on a large one.
    chat, first = await finished_chat(store, owner, "🙂" * size)
    await store.put_feedback(owner, chat.id, first.assistant_message_id, ANGRY)
    run, _ = await store.begin_turn(
        owner, a_turn(owner, chat.id, run={"assistant_message_id": first.assistant_message_id})
    )
    run = await claimed(store, owner, run)

    await store.finish_run(owner, ended(run), [the_end(2)], the_answer(run, "withdrawn", feedback=HAPPY))

    found = await store.get_message(owner, chat.id, first.assistant_message_id)
    assert (found.content, found.feedback) == ("withdrawn", ANGRY)


async def test_feedback_is_not_what_a_search_finds(store: Store, owner: str) -> None:
    chat, run = await finished_chat(store, owner)
    told = Feedback(rating=-1, comment="xylophone", at=T0)

    await store.put_feedback(owner, chat.id, run.assistant_message_id, told)

    assert (await store.search_chats(owner, "xylophone", limit=9)).data == ()


async def test_feedback_needs_a_message_of_the_owners_own(store: Store, owner: str) -> None:
    chat, run = await finished_chat(store, owner)
    other, _ = await finished_chat(store, owner)
    answer = run.assistant_message_id

    for who, where, what in (
        ("somebody else", chat.id, answer),
        (owner, other.id, answer),
        (owner, chat.id, new_id()),
        (owner, new_id(), answer),
    ):
        for feedback in (ANGRY, None):
            with pytest.raises(NotFound):
                await store.put_feedback(who, where, what, feedback)
    assert (await store.get_message(owner, chat.id, answer)).feedback is None

    await store.delete_chat(owner, chat.id)
    with pytest.raises(NotFound):
        await store.put_feedback(owner, chat.id, answer, ANGRY)
