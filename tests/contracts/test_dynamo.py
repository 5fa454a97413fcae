"""What only DynamoDB has: tables, items in parts, a busy service and a network between."""

import asyncio
import logging
import random
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from itertools import count
from typing import Any

import pytest

from functions.adapters.dynamo import DynamoStore
from functions.adapters.dynamo_calls import ATTEMPTS
from functions.adapters.dynamo_models import Tables
from functions.adapters.rules import DAY_MS
from functions.chat.messages import Run, new_id
from functions.errors import BadInput, Fenced, NotFound, ParleyError
from functions.settings import STORED_ITEM_BYTES
from tests.contracts.inside import leftovers
from tests.contracts.makers import (
    a_chat,
    a_message,
    a_node,
    a_sighting,
    a_turn,
    a_use,
    begun_chat,
    claimed,
    deltas,
    ended,
    finished_chat,
    next_id,
    the_answer,
    the_end,
)
from tests.contracts.proxy import BadProxy, proxy

_prefixes = count()
WRITES = frozenset({"TransactWriteItems", "UpdateItem", "PutItem", "DeleteItem", "BatchWriteItem"})
READS = frozenset({"GetItem", "Query", "BatchGetItem"})


@pytest.fixture
def new_url(ministack: str) -> str:
    return f"dynamodb://Fresh.{next(_prefixes)}_x-y?region=eu-central-1&endpoint={ministack}"


@pytest.fixture(scope="module")
def behind_proxy(dynamo_url: str, ministack: str) -> Iterator[tuple[DynamoStore, BadProxy]]:
    with proxy(ministack) as bad, ThreadPoolExecutor(1) as thread:

        def run(coroutine: Any) -> Any:
            return thread.submit(asyncio.run, coroutine).result()

        store = run(DynamoStore.open(dynamo_url.replace(ministack, bad.url), create=True))
        yield store, bad
        run(store.close())


@pytest.fixture
def bad(behind_proxy: tuple[DynamoStore, BadProxy]) -> Iterator[BadProxy]:
    yield behind_proxy[1]
    behind_proxy[1].faults = []


@pytest.fixture
async def store(behind_proxy: tuple[DynamoStore, BadProxy], bad: BadProxy) -> DynamoStore:
    """Behind the proxy, which does no harm until it is told to."""
    store = behind_proxy[0]
    while queued := await store.take_job(now_ms=10**16, hidden_ms=1):
        await store.drop_job(queued)
    return store


# -- tables -----------------------------------------------------------------------------------------------------
async def test_tables_are_never_made_unasked(new_url: str) -> None:
    for _ in range(2):
        with pytest.raises(ParleyError, match="parley tables") as caught:
            await DynamoStore.open(new_url)

    assert caught.value.code == "store_unavailable"


async def test_tables_are_on_demand_expire_and_can_be_restored(new_url: str) -> None:
    await (await DynamoStore.open(new_url, create=True)).close()
    store = await DynamoStore.open(new_url, create=True)  # asked twice: nothing more to do

    def describe(tables: Any) -> dict[str, Any]:
        client, found = tables.connection.client, {}
        for model in tables.all:
            name = model.Meta.table_name
            table = client.describe_table(TableName=name)["Table"]
            expiry = client.describe_time_to_live(TableName=name)["TimeToLiveDescription"]
            backups = client.describe_continuous_backups(TableName=name)["ContinuousBackupsDescription"]
            found[name.rpartition("-")[2]] = (
                table["BillingModeSummary"]["BillingMode"],
                expiry.get("AttributeName"),
                backups["PointInTimeRecoveryDescription"]["PointInTimeRecoveryStatus"],
            )
        return found

    found = await store._call(describe)
    await store.close()

    assert found == {
        "chat": ("PAY_PER_REQUEST", "expires", "ENABLED"),
        "vectors": ("PAY_PER_REQUEST", "expires", "ENABLED"),
        "counters": ("PAY_PER_REQUEST", "expires", "DISABLED"),
        "jobs": ("PAY_PER_REQUEST", None, "DISABLED"),
    }


async def test_prefixes_are_apart(new_url: str, dynamo_url: str, owner: str) -> None:
    one, other = [await DynamoStore.open(url, create=True) for url in (new_url, dynamo_url)]
    chat, _ = await begun_chat(one, owner)

    with pytest.raises(NotFound):
        await other.get_chat(owner, chat.id)
    await one.close()
    await other.close()


@pytest.mark.parametrize("url", ["dynamodb://", "dynamo://x", "dynamodb://abc?regoin=x"])
async def test_a_url_that_says_something_else_is_refused(url: str) -> None:
    with pytest.raises(BadInput):
        await DynamoStore.open(url)


async def test_a_service_that_is_not_there_gives_a_clear_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("functions.adapters.dynamo_calls.LONGEST_WAIT_SECONDS", 0.001)

    with pytest.raises(ParleyError, match="could not answer: EndpointConnectionError"):
        await DynamoStore.open("dynamodb://abc?region=eu-central-1&endpoint=http://127.0.0.1:1")


async def test_the_libraries_do_not_log_what_people_write(
    store: DynamoStore, owner: str, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.DEBUG):
        await store.create_chat(owner, a_chat(title="a secret title"))

    assert "secret" not in caplog.text


# -- items ------------------------------------------------------------------------------------------------------
async def test_no_item_is_larger_than_the_limit(store: DynamoStore, owner: str) -> None:
    def noise(size: int) -> str:
        return random.Random(size).randbytes(size // 2).hex()

    chat = a_chat()
    await store.create_chat(owner, chat)
    message = a_message(chat.id, content=noise(1_000_000))
    run, _ = await store.begin_turn(owner, a_turn(owner, chat.id, message=message))
    run = await claimed(store, owner, run)
    await store.append_events(owner, run.id, run.epoch, deltas(2, noise(900_000)), lease_until_ms=9)
    answer = the_answer(run, noise(800_000))
    await store.finish_run(owner, ended(run, finish_reason=noise(700_000)), [the_end(3)], answer)

    def sizes(tables: Any) -> list[int]:
        rows = tables.chat.scan(tables.chat.pk.startswith(f"U#{owner}"))
        return [len(str(row.to_dynamodb_dict())) * 3 // 4 for row in rows if row.data]

    largest = max(await store._call(sizes))
    assert 200_000 < largest < STORED_ITEM_BYTES
    assert (await store.list_messages(owner, chat.id)).data == (message, answer)
    assert (await store.get_run(owner, run.id)).finish_reason == noise(700_000)
    assert len(await store.read_events(owner, run.id)) == 3
    await store.delete_chat(owner, chat.id)
    assert await leftovers(store, owner) == []


async def test_a_checkpoint_is_one_item(store: DynamoStore, owner: str) -> None:
    _, run = await begun_chat(store, owner)
    run = await claimed(store, owner, run)
    before = len(await leftovers(store, owner))

    await store.append_events(owner, run.id, run.epoch, deltas(2, *"abcdefgh"), lease_until_ms=9)

    assert len(await leftovers(store, owner)) == before + 1


async def test_a_long_key_is_stored_by_its_hash(store: DynamoStore, owner: str) -> None:
    turns = [a_turn(owner, None, key="k" * 5_000 + end, body_hash="same") for end in ("a", "b", "a")]

    results = [await store.begin_turn(owner, turn) for turn in turns]

    assert [is_new for _, is_new in results] == [True, True, False]
    assert results[2][0].id == results[0][0].id


async def test_what_the_house_knows_of_its_nodes_expires(store: DynamoStore) -> None:
    node, use, now_ms = next_id(), a_use(1_790_000_000_000), 1_790_000_000_000
    await store.put_node(a_node(node, joined_ms=now_ms, expires_ms=now_ms + 35_000))
    await store.put_sighting(a_sighting(node, now_ms))
    await store.record_wake(node, at_ms=now_ms, took_ms=9)
    await store.record_use(use)

    def lives(tables: Tables) -> dict[str, timedelta]:
        items = tables.chat.scan(tables.chat.pk.startswith("H#"))
        born = datetime.fromtimestamp(now_ms / 1000, UTC)
        return {f"{i.pk} {i.sk}": i.expires - born for i in items if {node, use.id} & {*f"{i.pk}#{i.sk}".split("#")}}

    found = {key.replace(node, "node").replace(use.id, "use"): life for key, life in (await store._call(lives)).items()}

    second, day = timedelta(seconds=1), timedelta(days=1)  # DynamoDB counts in seconds: the one in which it has expired
    (wake,) = [key for key in found if key.startswith("H#W#")]
    assert wake.startswith(f"H#W#node 00{now_ms}#")
    assert found == {
        "H#N J#node": timedelta(seconds=35) + second,
        "H#N S#node": day + second,
        wake: 90 * day + second,
        f"H#L#{now_ms // DAY_MS} 00{now_ms}#use": 400 * day + second,
        "H#U#use L": 400 * day + second,
    }


async def test_a_reader_of_the_ledger_asks_for_the_days_it_was_asked_for(store: DynamoStore, bad: BadProxy) -> None:
    midnight = time.time_ns() // 1_000_000 // DAY_MS * DAY_MS
    for from_ms, to_ms, queries in (
        (midnight, midnight + DAY_MS, 1),
        (midnight - 1, midnight + 1, 2),
        (midnight - 2 * DAY_MS, midnight, 2),
        (midnight, midnight, 0),
        (midnight + 1, midnight, 0),
        (0, 2**53, 403),  # today, 401 days before it (the first of them is not whole), and tomorrow
    ):
        before = bad.seen.count("Query")

        await store.read_uses(from_ms=from_ms, to_ms=to_ms)

        assert bad.seen.count("Query") - before == queries


async def test_a_vector_too_large_for_an_item_is_refused(store: DynamoStore, owner: str) -> None:
    with pytest.raises(BadInput):
        await store.put_vectors(owner, "c", [("a", [1.0], {"text": "x" * 400_000})])


# -- a busy service and a bad network -----------------------------------------------------------------------------
@pytest.fixture
def hurried(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("functions.adapters.dynamo_calls.LONGEST_WAIT_SECONDS", 0.002)


@pytest.mark.usefixtures("hurried")
@pytest.mark.parametrize("fault", ["throttle", "capacity", "server", "conflict", "single conflict", "lost"])
async def test_what_passes_by_itself_is_tried_again(store: DynamoStore, bad: BadProxy, owner: str, fault: str) -> None:
    bad.calls = frozenset({"TransactWriteItems"}) if fault == "conflict" else WRITES | READS
    chat = a_chat(title="x")

    async def step(call: Any) -> Any:
        bad.faults = [fault] * 2
        result = await call
        assert bad.faults == [] or fault == "conflict"  # which only transactions know
        return result

    await step(store.create_chat(owner, chat))
    turn = a_turn(owner, chat.id)
    run, is_new = await step(store.begin_turn(owner, turn))
    claim = await step(store.claim_run(owner, run.id, worker="w", now_ms=0, lease_until_ms=10**12))
    await step(store.append_events(owner, run.id, claim.epoch, deltas(2, "a"), lease_until_ms=10**12))
    await step(store.finish_run(owner, ended(claim), [the_end(3)], the_answer(run)))

    assert is_new
    assert [event.seq for event in await step(store.read_events(owner, run.id))] == [1, 2, 3]
    assert len((await step(store.list_messages(owner, chat.id))).data) == 2
    assert [await step(store.add(owner, "k", 5)) for _ in range(3)] == [5, 10, 15]
    admitted = [await step(store.admit(owner, "k", interval_ms=10, burst=3, now_ms=0)) for _ in range(4)]
    assert admitted == [0, 0, 0, 10]
    await step(store.put_vectors(owner, "c", [("a", [1.0], {})]))
    node, now_ms = f"node-{owner}", time.time_ns() // 1_000_000
    use = a_use(now_ms)
    await step(store.put_node(a_node(node)))
    await step(store.put_node(a_node(node, joined_ms=90_000, expires_ms=99_000)))
    await step(store.put_sighting(a_sighting(node, now_ms)))
    await step(store.record_wake(node, at_ms=now_ms, took_ms=31_000))
    await step(store.record_use(use))
    joined = await step(store.list_nodes(now_ms=91_000))
    assert [known.joined_ms for known in joined if known.name == node] == [90_000]
    assert node in [sighting.node for sighting in await step(store.list_sightings())]
    assert await step(store.read_wakes(node, limit=9)) == (31_000,)
    assert use in await step(store.read_uses(from_ms=now_ms, to_ms=now_ms + 1))
    await step(store.drop_node(node))
    await step(store.delete_chat(owner, chat.id))
    bad.faults = []
    assert await leftovers(store, owner) == []


@pytest.mark.usefixtures("hurried")
async def test_trying_again_has_an_end(store: DynamoStore, bad: BadProxy, owner: str) -> None:
    bad.calls, bad.faults = READS, ["throttle"] * 1000
    calls_before = len(bad.seen)

    with pytest.raises(ParleyError, match="ThrottlingException") as caught:
        await store.get_chat(owner, new_id())

    assert caught.value.code == "store_unavailable"
    assert len(bad.seen) - calls_before == ATTEMPTS


async def test_what_no_retry_helps_is_not_tried_again(store: DynamoStore, bad: BadProxy, owner: str) -> None:
    bad.calls, bad.faults = READS, ["denied"] * 9

    with pytest.raises(ParleyError, match="AccessDeniedException") as caught:
        await store.get_chat(owner, new_id())

    assert len(bad.faults) == 8
    assert "nobody should see" not in str(caught.value)


async def test_a_delete_that_was_cut_off_is_finished_by_the_next(store: DynamoStore, bad: BadProxy, owner: str) -> None:
    async def chat_with_runs() -> tuple[str, Run]:
        chat, _ = await finished_chat(store, owner)
        run, _ = await store.begin_turn(owner, a_turn(owner, chat.id))
        return chat.id, await claimed(store, owner, run)

    for writes_before_the_cut in (1, 3, 5, 8):
        chat_id, run = await chat_with_runs()
        bad.calls, bad.faults = WRITES, [""] * writes_before_the_cut + ["denied"]

        cut_off = await asyncio.gather(store.delete_chat(owner, chat_id), return_exceptions=True)
        bad.faults = []

        with pytest.raises(NotFound):
            await store.get_chat(owner, chat_id)
        with pytest.raises(NotFound):
            await store.list_messages(owner, chat_id)
        with pytest.raises(NotFound):
            await store.get_message(owner, chat_id, run.user_message_id or "")
        with pytest.raises(NotFound):
            await store.update_chat(owner, chat_id, {"title": "x"})
        with pytest.raises(NotFound):
            await store.begin_turn(owner, a_turn(owner, chat_id))
        with pytest.raises(Fenced):
            await store.finish_run(owner, ended(run), [the_end(2)], the_answer(run))
        assert (await store.list_chats(owner, limit=9)).data == ()
        if isinstance(cut_off[0], ParleyError):
            await store.delete_chat(owner, chat_id)
        assert await leftovers(store, owner) == []
        with pytest.raises(NotFound):
            await store.delete_chat(owner, chat_id)


async def test_a_search_looks_into_a_bounded_number_of_chats_a_page(
    store: DynamoStore, owner: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("functions.adapters.dynamo_chats.SEARCHED_CHATS", 3)
    for n in range(8):
        await store.create_chat(owner, a_chat(title="tree" if n in (0, 7) else "stone"))

    pages, after = [], None
    while True:
        page = await store.search_chats(owner, "tree", limit=5, after=after)
        pages.append(len(page.data))
        if (after := page.next) is None:
            break

    assert len(pages) == 3
    assert sum(pages) == 2
