"""Whoever reads after a write has been awaited sees it, or something newer, whatever lies at hand."""

import asyncio
from collections.abc import AsyncIterator
from itertools import count

import pytest

from functions.chat.messages import Feedback
from functions.errors import NotFound
from tests.contracts.hot import Hot, hot
from tests.contracts.makers import T0, Store, a_chat, a_message, a_turn, claimed, ended, finished_chat, the_end
from tests.contracts.test_hot import same

READERS = 16
WRITES = {"sqlite": 30, "dynamo": 8}


@pytest.fixture
async def two(stores: tuple[Store, Store], valkey_url: str) -> AsyncIterator[tuple[Hot, Hot]]:
    """Two processes on one store and one shared cache."""
    pair = hot(stores[0], valkey_url), hot(stores[1], valkey_url)
    yield pair
    for made in pair:
        assert made.cache is not None
        await made.cache.close()


async def test_sixteen_readers_of_another_process_never_see_what_was_before(
    two: tuple[Hot, Hot], stores: tuple[Store, Store], adapter: str, owner: str
) -> None:
    writer, reader = two
    chat, run = await finished_chat(stores[0], owner)
    leaf = run.assistant_message_id
    awaited, is_over, reads = 0, False, 0

    async def write() -> None:
        nonlocal awaited, is_over
        for number in range(1, WRITES[adapter] + 1):
            await writer.put_feedback(owner, chat.id, leaf, Feedback(rating=1, comment=f"{number}", at=T0))
            awaited = number
            await writer.read_context(owner, chat.id, leaf)  # and so it is shared
        is_over = True

    async def read() -> None:
        nonlocal reads
        while not is_over:
            least = awaited
            _, path, _ = await reader.read_context(owner, chat.id, leaf)
            seen = path[-1].feedback
            assert int(seen.comment or 0 if seen else 0) >= least
            reads += 1

    async with asyncio.timeout(60), asyncio.TaskGroup() as tasks:
        tasks.create_task(write())
        for _ in range(READERS):
            tasks.create_task(read())

    assert reads > READERS
    for made in two:
        path = await same(made, stores[0], owner, chat.id, leaf)
        assert path[-1].feedback == Feedback(rating=1, comment=f"{WRITES[adapter]}", at=T0)


async def test_readers_of_a_chat_that_is_made_again_and_again_never_see_an_older_one(
    two: tuple[Hot, Hot], stores: tuple[Store, Store], adapter: str, owner: str
) -> None:
    writer, reader = two
    chat, question = a_chat(), a_message("")
    awaited, is_over = 0, False

    async def write() -> None:
        nonlocal awaited, is_over
        for number in range(1, WRITES[adapter] // 2):
            await writer.create_chat(owner, chat)
            await writer.get_chat(owner, chat.id)
            message = a_message(chat.id, id=question.id, content=f"{number}")
            run, _ = await writer.begin_turn(owner, a_turn(owner, chat.id, message=message))
            awaited = number
            await writer.read_context(owner, chat.id, question.id)
            run = await claimed(stores[0], owner, run)
            await writer.finish_run(owner, ended(run), [the_end(2)], None)
            await asyncio.sleep(0)
            await writer.delete_chat(owner, chat.id)
        is_over = True

    async def read() -> None:
        while not is_over:
            least = awaited
            try:
                _, path, _ = await reader.read_context(owner, chat.id, question.id)
            except NotFound:
                await asyncio.sleep(0)
                continue
            assert int(path[-1].content) >= least

    async with asyncio.timeout(60), asyncio.TaskGroup() as tasks:
        tasks.create_task(write())
        for _ in range(READERS):
            tasks.create_task(read())

    for made in two:
        with pytest.raises(NotFound):
            await made.read_context(owner, chat.id, question.id)


async def test_many_turns_at_once_in_two_processes_are_all_read_whole(
    two: tuple[Hot, Hot], stores: tuple[Store, Store], adapter: str, owner: str
) -> None:
    chat, numbers = a_chat(), count()
    await stores[0].create_chat(owner, chat)
    leaves: list[str] = []

    async def talk(made: Hot) -> None:
        for _ in range(WRITES[adapter] // 2):
            parent = leaves[-1] if leaves else None
            message = a_message(chat.id, parent, content=f"{next(numbers)}")
            await made.get_chat(owner, chat.id)
            # Blocked turns end where they begin, so the chat takes many at once.
            answer = a_message(chat.id, message.id, role="assistant")
            turn = a_turn(
                owner, chat.id, message=message, answer=answer, run={"status": "completed", "ended_at": T0}, job=None
            )
            await made.begin_turn(owner, turn)
            leaves.append(answer.id)
            _, path, _ = await made.read_context(owner, chat.id, answer.id)
            assert path == await stores[0].read_path(owner, chat.id, answer.id)

    async with asyncio.timeout(60):
        await asyncio.gather(*(talk(made) for made in two for _ in range(4)))

    for made in two:
        made.forget_all()
        for leaf in leaves[-10:]:
            await same(made, stores[0], owner, chat.id, leaf)
