"""GET /usage: what the caller has used, and nothing of anybody else."""

import hashlib
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import msgspec
import pytest

from functions.chat.messages import NodeUse
from functions.inference.billing import read_bill
from functions.inference.pricing import DAY_MS, bill
from functions.services import open_store
from tests.house import House, open_house

NOON = datetime(2026, 3, 10, 12, tzinfo=UTC)
TOKENS = ",".join(f"{name}={hashlib.sha256(name.encode()).hexdigest()}" for name in ("ana", "ben"))
PRICE = 0.0005


def a_use(owner: str, after_s: float, lasts_s: float = 10.0, **more: Any) -> NodeUse:
    """Warm, from so many seconds after noon of a day in March."""
    asked_ms = round((NOON.timestamp() + after_s) * 1000)
    values: dict[str, Any] = {
        "id": f"{owner} {after_s}",
        "run_id": f"{owner} {after_s}",
        "chat_id": f"chat of {owner}",
        "node": "gpu",
        "model": "big",
        "usd_per_second": PRICE,
        "idle_s": 60.0,
        "streams": 8,
        "prompt_tokens": 100,
        "completion_tokens": 20,
    } | more
    ended_ms = asked_ms + round(lasts_s * 1000)
    return NodeUse(owner=owner, asked_ms=asked_ms, began_ms=asked_ms, ended_ms=ended_ms, **values)


async def record(folder: Path, *uses: NodeUse) -> None:
    store = await open_store(f"sqlite:///{folder / 'parley.db'}")
    for use in uses:
        await store.record_use(use)
    await store.close()


@pytest.fixture
async def shared(tmp_path: Path) -> AsyncIterator[House]:
    """Ana and Ben have used one GPU together; nobody is signed in."""
    await record(
        tmp_path,
        a_use("ana", 0),
        a_use("ben", 5, chat_id="secret chat of ben", model="secret model"),
        a_use("ana", 86_400),
    )
    async with open_house(tmp_path, auth="token", access_tokens=TOKENS) as house:
        yield house


def march(**more: str) -> dict[str, str]:
    return {"from": "2026-03-10", "to": "2026-03-11"} | more


async def ask(house: House, who: str, **params: str) -> dict[str, Any]:
    answer = await house.http.get("/usage", params=params, headers={"authorization": f"Bearer {who}"})
    assert answer.status_code == 200, answer.text
    told: dict[str, Any] = answer.json()
    return told


async def test_one_sees_ones_own_lines_by_day_model_and_chat_and_their_sum(shared: House) -> None:
    told = await ask(shared, "ana", **march())

    first, second = told["data"]
    assert (first["day"], first["model"], first["chat_id"]) == ("2026-03-10", "big", "chat of ana")
    assert (first["runs"], first["prompt_tokens"], first["completion_tokens"]) == (1, 100, 20)
    assert (first["active_seconds"], first["cold_start_seconds"], first["idle_seconds"]) == (7.5, 0, 0)
    assert second["day"] == "2026-03-11"
    assert (second["active_seconds"], second["idle_seconds"], second["gpu_seconds"]) == (10, 60, 70)
    assert second["cost_usd"] == pytest.approx(70 * PRICE)
    assert second["is_estimate"] is False
    assert told["total"]["runs"] == 2
    assert told["total"]["gpu_seconds"] == 77.5
    assert told["total"]["cost_usd"] == pytest.approx(77.5 * PRICE)
    assert datetime.fromisoformat(told["prices_as_of"]).year >= 2026


async def test_nothing_of_others_is_told_not_even_in_the_sum(shared: House) -> None:
    headers = {"authorization": "Bearer ana"}
    answer = await shared.http.get("/usage", params=march(), headers=headers)

    assert "ben" not in answer.text
    assert "secret" not in answer.text
    assert answer.json()["total"]["runs"] == 2
    assert (await ask(shared, "ben", **march()))["total"]["gpu_seconds"] == 67.5


async def test_a_day_as_an_end_is_meant_as_a_whole_and_a_time_is_not_included(shared: House) -> None:
    whole = await ask(shared, "ana", **{"from": "2026-03-10", "to": "2026-03-10"})
    part = await ask(shared, "ana", **{"from": "2026-03-10T00:00:00Z", "to": "2026-03-10T14:00:04+02:00"})

    assert whole["total"]["active_seconds"] == 7.5
    assert part["total"]["active_seconds"] == 4
    assert (part["from"], part["to"]) == ("2026-03-10T00:00:00Z", "2026-03-10T12:00:04Z")


async def test_without_a_period_the_last_thirty_days_are_meant_and_what_is_fresh_is_an_estimate(tmp_path: Path) -> None:
    ago_s = (datetime.now(UTC) - NOON).total_seconds()
    await record(tmp_path, a_use("local", ago_s - 30), a_use("local", ago_s - 86_400 * 29), a_use("local", 0))
    async with open_house(tmp_path) as house:
        told = (await house.http.get("/usage")).json()

    assert told["total"]["runs"] == 2
    assert told["total"]["is_estimate"] is True
    assert next(line["is_estimate"] for line in told["data"]) is False


async def test_an_answer_of_the_house_is_on_the_bill(tmp_path: Path) -> None:
    async with open_house(tmp_path) as house:
        chat = await house.open_chat()
        done = (await house.say(chat, "hello"))[-1]
        told = (await house.http.get("/usage")).json()
        await house.http.delete(f"/chat/{chat}")
        later = (await house.http.get("/usage")).json()

    (line,) = told["data"]
    assert (line["chat_id"], line["runs"]) == (chat, 1)
    assert later["data"] == told["data"]  # the ledger keeps what a chat has used, its runs are gone
    assert line["completion_tokens"] == done.data["usage"]["completion_tokens"] > 0


WRONG = [
    ({"from": "yesterday"}, "from", "2026-11-01"),
    ({"to": "2026-13-01"}, "to", "2026-11-01"),
    ({"from": "2026-03-10T12:00:00"}, "from", "offset"),
    ({"from": "2026-03-10", "to": "2026-03-09"}, "from", "before"),
    ({"from": "2024-03-10", "to": "2026-03-09"}, "from", "366 days"),
    ({"from": "0001-01-01T00:00:00+14:00"}, "from", "time"),
    ({"to": "9999-12-31"}, "to", "time"),
    ({"to": "1969-06-01"}, "to", "time"),
    ({"from": "2" * 65}, "from", "64"),
]


async def test_a_period_that_makes_no_sense_is_refused_in_clear_words(house: House) -> None:
    for params, field, says in WRONG:
        answer = await house.http.get("/usage", params=params)

        assert answer.status_code == 400, (params, answer.text)
        error = answer.json()["error"]
        assert (error["code"], error["param"]) == ("bad_input", field)
        assert says in error["message"]


async def test_nobody_has_a_bill_without_signing_in(shared: House) -> None:
    assert (await shared.http.get("/usage")).status_code == 401


async def test_a_year_is_read_week_by_week_and_comes_out_the_same(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path / 'parley.db'}"
    uses = [a_use("ana" if n % 3 else "ben", 3_217 * 60 * n, 400.0, chat_id=f"chat {n % 4}") for n in range(160)]
    uses += [msgspec.structs.replace(use, id=f"{use.id}!", owner="cy", chat_id=None) for use in uses[::5]]
    await record(tmp_path, *uses)
    from_ms = round((NOON + timedelta(days=1, hours=3)).timestamp() * 1000)
    period = {"from_ms": from_ms, "to_ms": from_ms + 350 * DAY_MS, "now_ms": from_ms + 400 * DAY_MS}

    store = await open_store(url)
    everything = await read_bill(store, **period)
    of_ana = await read_bill(store, **period, owner="ana")
    await store.close()

    assert everything == list(bill(uses, **period))
    assert of_ana == [row for row in everything if row.owner == "ana"]
