"""The benchmark measures what it says, and notices an answer that is not whole."""

import asyncio
import os
from collections.abc import AsyncIterator

import pytest

from tests.bench.chat_layer import Options, figures, measure, table
from tests.bench.load import Broken, Reply, check_compatible, fire, post
from tests.bench.upstream import MODEL, Plan, Upstream, answer

BODY = {"model": MODEL, "messages": [{"role": "user", "content": "Hi"}], "stream": True}


@pytest.fixture
async def upstream() -> AsyncIterator[Upstream]:
    async with Upstream() as upstream:
        yield upstream


async def ask(upstream: Upstream, plan: Plan, streams: int = 1) -> list[Reply]:
    upstream.plan = plan
    address = ("127.0.0.1", upstream.port)
    return await fire(address, [post(address, "/v1/chat/completions", BODY)] * streams)


async def test_the_engine_answers_in_steps_after_its_prefill(upstream: Upstream) -> None:
    replies = await ask(upstream, Plan(tokens=8, tps=100, prefill_s=0.05), streams=3)

    for reply in replies:
        check_compatible(reply, answer(8))
        assert reply.first_text_s() >= 0.05
        assert reply.ended_s - reply.first_text_s() >= 0.05  # seven steps of 10 ms, the first of which may be short


async def test_a_text_that_lacks_something_is_noticed(upstream: Upstream) -> None:
    (reply,) = await ask(upstream, Plan(tokens=8))

    with pytest.raises(Broken, match="characters"):
        check_compatible(reply, answer(9))


async def test_a_stream_that_was_cut_is_noticed(upstream: Upstream) -> None:
    (reply,) = await ask(upstream, Plan(tokens=8))
    half = Reply(reply.sent_at, [(at, data[: len(data) // 2]) for at, data in reply.reads])

    with pytest.raises((Broken, ValueError)):
        check_compatible(half, answer(8))


def test_one_run_gives_a_row_for_each_server_and_leaves_this_process_its_cores() -> None:
    options = Options(streams=(2,), rounds=1, tokens=60, tps=100)
    cores = os.sched_getaffinity(0)

    rows = figures(asyncio.run(measure(options)), options)

    assert [row.way for row in rows] == ["naive", "native", "compatible"]
    assert all(row.token_us > 0 and row.early_ms and row.rss_mb > 0 for row in rows)
    assert len(table(rows).splitlines()) == 4
    assert os.sched_getaffinity(0) == cores
