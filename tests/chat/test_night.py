"""The nightly job: what would have woken a GPU by day, and what failed; bounded, and as often as one likes."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from functions.chat.messages import SummariseJob
from functions.inference.nodes import Node, ServedModel
from functions.services import Services, open_services
from functions.settings import Settings
from functions.workers.embedded import sweep
from functions.workers.nightly import summarise_chats
from tests.chat.test_summary import SMALL, SMALL_READER, fact, folds, tell
from tests.house import open_house
from tests.simulated import Scenario, SimulatedEngine

CHATS = 3


async def grown_chats(folder: Path) -> list[str]:
    """Chats of which nothing has been folded."""
    async with open_house(folder, SMALL_READER, summaries=False) as house:
        chats = [await house.open_chat() for _ in range(CHATS)]
        for chat_id in chats:
            await tell(house, chat_id, 10)
    return chats


@asynccontextmanager
async def asleep(folder: Path, **settings: Any) -> AsyncIterator[tuple[Services, SimulatedEngine]]:
    """A worker over a GPU that sleeps, and takes a moment to start."""
    values: dict[str, Any] = {"store_url": f"sqlite:///{folder / 'parley.db'}", "data": folder} | settings
    scenario = Scenario(reads=True, context_tokens=SMALL, cold_s=0.1)
    async with SimulatedEngine(scenario) as engine:
        models = [ServedModel(id="sim", context_tokens=SMALL)]
        node = Node(engine.url, name="gpu", serverless=True, kind="vllm", models=models)
        async with open_services(Settings(**values), [node]) as services:
            yield services, engine


async def put_jobs(services: Services, chats: list[str]) -> None:
    for chat_id in chats:
        await services.store.put_job(chat_id, SummariseJob(owner="local", chat_id=chat_id), at_ms=0)


async def summaries_of(services: Services, chat_id: str) -> list[str]:
    stored = await services.store.list_summaries("local", chat_id, version=services.summaries.version)
    return [summary.text for summary in stored]


async def test_by_day_nothing_is_woken_and_by_night_all_is_done_in_one_waking(tmp_path: Path) -> None:
    chats = await grown_chats(tmp_path)
    async with asleep(tmp_path) as (services, engine):
        await put_jobs(services, chats)
        assert await sweep(services, within_s=10) == CHATS
        assert engine.stats.paths == []

        assert await summarise_chats(services, within_s=60) == CHATS

        for chat_id in chats:
            assert fact(0) in (await summaries_of(services, chat_id))[0]
        uses = await services.store.read_uses(from_ms=0, to_ms=2**60)
        by_night = [use for use in uses if use.node == "gpu"]
        assert sum(use.was_cold for use in by_night) <= CHATS  # those who waited for the one start
        made = folds(engine)
        assert await summarise_chats(services, within_s=60) == 0
        assert folds(engine) == made


async def test_a_night_of_no_minutes_does_nothing(tmp_path: Path) -> None:
    chats = await grown_chats(tmp_path)
    async with asleep(tmp_path, night_minutes=0) as (services, engine):
        await put_jobs(services, chats)
        await sweep(services, within_s=10)

        assert await summarise_chats(services, within_s=60) == 0

        assert engine.stats.paths == []


async def test_what_a_short_night_did_not_finish_is_there_for_the_next(tmp_path: Path) -> None:
    chats = await grown_chats(tmp_path)
    async with asleep(tmp_path) as (services, engine):
        await put_jobs(services, chats)
        await sweep(services, within_s=10)
        engine.wake()
        engine.gate.hold(0)
        assert await summarise_chats(services, within_s=0.5) == CHATS  # nothing comes past the gate
        engine.gate.release()
        assert await summaries_of(services, chats[0]) == []

        assert await summarise_chats(services, within_s=60) == CHATS

        assert fact(0) in (await summaries_of(services, chats[0]))[0]


async def test_what_has_failed_by_day_is_tried_again(tmp_path: Path) -> None:
    (chat_id, *_) = await grown_chats(tmp_path)
    async with asleep(tmp_path) as (services, _):
        await put_jobs(services, [chat_id])
        queued = await services.jobs.take("work")
        assert queued is not None
        await services.store.delay_job(queued, at_ms=0, attempts=9, lane="failed")

        assert await summarise_chats(services, within_s=60) == 1

        assert fact(0) in (await summaries_of(services, chat_id))[0]


async def test_two_nights_at_once_fold_each_chat_once(tmp_path: Path) -> None:
    chats = await grown_chats(tmp_path)
    async with asleep(tmp_path) as (one, engine), asleep(tmp_path) as (two, other_engine):
        await put_jobs(one, chats)
        await sweep(one, within_s=10)

        taken = await asyncio.gather(summarise_chats(one, within_s=60), summarise_chats(two, within_s=60))

        assert sum(taken) == CHATS
        stored = [text for chat_id in chats for text in await summaries_of(one, chat_id)]
        assert folds(engine) + folds(other_engine) == len(stored)
