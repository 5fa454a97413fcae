"""Limits and budgets over real sockets: what is refused, what is left, what an admin sets, and the pause."""

import asyncio
import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from starlette.requests import Request

from functions.api.callers import ADDRESSES, Strangers, address_of
from functions.chat.messages import new_id
from functions.errors import Limited
from functions.inference.nodes import Node, ServedModel
from tests.house import House, Listener, open_house
from tests.simulated import SimulatedEngine

LIMITS = "/admin/limits"


def rented(engine: SimulatedEngine) -> list[Node]:
    model = ServedModel(id="sim", context_tokens=4096)
    return [
        Node(engine.url, name="gpu", models=[model], kind="vllm", gpu="L40S", usd_per_second=0.01, serverless=False)
    ]


@pytest.fixture
async def house(tmp_path: Path) -> AsyncIterator[House]:
    async with open_house(tmp_path, nodes=rented) as house:
        yield house


async def ask(house: House, **body: Any) -> httpx.Response:
    chat = await house.open_chat()
    message = {"message": {"id": new_id(), "content": "hello"}, **body}
    return await house.http.post(f"/chat/{chat}/completion", json=message)


async def set_mine(house: House, **limits: Any) -> None:
    assert (await house.http.put(f"{LIMITS}/users/local", json=limits)).status_code == 200


async def mine(house: House) -> dict[str, Any]:
    limits: dict[str, Any] = (await house.http.get("/me")).json()["limits"]
    return limits


async def settled(house: House) -> dict[str, Any]:
    """What is left, once nothing is reserved: a run is settled after its last event."""
    async with asyncio.timeout(10):
        while True:
            limits = await mine(house)
            if not any(isinstance(of, dict) and of.get("reserved") for of in limits.values()):
                return limits


def error_of(answer: httpx.Response) -> dict[str, Any]:
    error: dict[str, Any] = answer.json()["error"]
    return error


async def test_without_limits_nothing_is_said_of_any(house: House) -> None:
    answer = await ask(house)

    assert not [name for name in answer.headers if name.startswith("x-ratelimit")]
    assert set((await mine(house)).values()) == {None}


async def test_a_run_is_counted_in_tokens_gpu_time_and_money_as_its_bill_says(house: House) -> None:
    await set_mine(house, tokens_per_day=5000, gpu_seconds_per_day=500, usd_per_day=5, usd_per_month=50)
    done = json.loads((await ask(house)).text.rsplit("data: ", 1)[1])

    limits = await settled(house)
    used = {name: limits[name]["used"] for name in limits if limits[name]}
    usage, cost = done["usage"], done["cost"]
    assert cost["cost_usd"] > 0
    assert used == pytest.approx(
        {
            "tokens_per_day": usage["prompt_tokens"] + usage["completion_tokens"],
            "gpu_seconds_per_day": cost["gpu_seconds"],
            "usd_per_day": cost["cost_usd"],
            "usd_per_month": cost["cost_usd"],
        },
        abs=0.002,
    )
    assert {limits[name]["reserved"] for name in used} == {0}
    assert {limits[name]["from"] for name in used} == {"user"}
    assert limits["usd_per_month"]["resets_at"] >= limits["usd_per_day"]["resets_at"]


@pytest.mark.parametrize(
    "limit", [{"tokens_per_day": 3}, {"gpu_seconds_per_day": 0.001}, {"usd_per_day": 1e-06}, {"usd_per_month": 1e-06}]
)
@pytest.mark.parametrize("whose", ["users/local", "house"])
async def test_a_budget_that_is_used_up_says_which_and_when_it_renews(
    house: House, limit: dict[str, float], whose: str
) -> None:
    await house.http.put(f"{LIMITS}/{whose}", json=limit)
    first, second = await ask(house), await ask(house)

    assert (first.status_code, second.status_code) == (200, 429)
    error = error_of(second)
    assert (error["code"], error["param"]) == ("insufficient_quota", next(iter(limit)))
    assert "midnight UTC" in error["message"]
    assert second.headers["x-should-retry"] == "false"
    await house.http.put(f"{LIMITS}/{whose}", json={})
    assert (await ask(house)).status_code == 200


async def test_no_more_run_at_once_than_may_and_the_next_begins_when_one_has_ended(house: House) -> None:
    await set_mine(house, runs_at_once=1)
    house.engine.gate.hold(1)
    async with house.saying(await house.open_chat(), "hello") as listener:
        await listener.until("delta")
        refused = await ask(house)
        assert (refused.status_code, error_of(refused)["code"]) == (429, "too_many_runs")
        assert int(refused.headers["retry-after"]) > 0
        assert (await mine(house))["runs_at_once"] == {"limit": 1, "remaining": 0}
        house.engine.gate.release()
        await listener.rest()

    assert (await ask(house)).status_code == 200


async def test_of_sixteen_messages_at_once_as_many_are_answered_as_may(house: House) -> None:
    await set_mine(house, runs_per_minute=5)
    answers = await asyncio.gather(*(ask(house) for _ in range(16)))

    assert sorted(answer.status_code for answer in answers) == [200] * 5 + [429] * 11


async def test_answers_say_what_is_left_on_both_apis(house: House) -> None:
    await set_mine(house, runs_per_minute=10, tokens_per_day=9000)
    native = await ask(house)
    body = {"model": "sim", "messages": [{"role": "user", "content": "hello"}]}
    compatible = await house.http.post("/v1/chat/completions", json=body)

    for answer, left in ((native, "9"), (compatible, "8")):
        said = {name: value for name, value in answer.headers.items() if name.startswith("x-ratelimit")}
        assert (said["x-ratelimit-limit-requests"], said["x-ratelimit-remaining-requests"]) == ("10", left)
        assert said["x-ratelimit-limit-tokens"] == "9000"
        assert 0 < int(said["x-ratelimit-remaining-tokens"]) < 9000
        assert said["x-ratelimit-reset-requests"].endswith("s")


async def test_a_blocked_message_and_a_repeat_cost_nothing(house: House) -> None:
    await set_mine(house, tokens_per_day=5000, runs_at_once=1)
    chat, message = await house.open_chat(), new_id()
    await house.say(chat, "hello", message)
    used = (await settled(house))["tokens_per_day"]["used"]

    await house.say(chat, "hello", message)

    now = (await settled(house))["tokens_per_day"]
    assert (now["used"], now["reserved"]) == (used, 0)


async def test_a_chat_that_is_deleted_under_its_answer_gives_back_what_it_held(house: House) -> None:
    await set_mine(house, tokens_per_day=5000, runs_at_once=1)
    chat = await house.open_chat()
    house.engine.gate.hold(2)
    async with house.saying(chat, "Tell me a story") as listener:
        await listener.until("delta")
        await house.http.delete(f"/chat/{chat}")
        house.engine.gate.release()
        await listener.rest()

    assert (await settled(house))["runs_at_once"]["remaining"] == 1
    assert (await ask(house)).status_code == 200


async def test_a_run_that_another_worker_ends_is_settled_once(tmp_path: Path) -> None:
    async with open_house(tmp_path, tokens_per_day=5000, runs_at_once=2, lease_seconds=0.3) as house:
        house.engine.gate.hold(2)
        async with house.saying(await house.open_chat(), "one two three four") as listener:
            await listener.until("delta")
            assert house.lose_leases is not None
            await asyncio.to_thread(house.lose_leases)
            house.engine.gate.release()
            done = (await listener.rest())[-1]

        assert done.name == "done"
        usage, limits = done.data["usage"], await settled(house)
        assert limits["tokens_per_day"]["used"] == usage["prompt_tokens"] + usage["completion_tokens"]
        assert (limits["tokens_per_day"]["reserved"], limits["runs_at_once"]["remaining"]) == (0, 2)


async def test_who_sets_a_limit_is_said_and_the_nearest_wins(tmp_path: Path) -> None:
    async with open_house(tmp_path, tokens_per_day=100, usd_per_day=1) as house:
        assert (await mine(house))["tokens_per_day"]["from"] == "default"
        await house.http.put(f"{LIMITS}/house", json={"tokens_per_day": 900, "usd_per_month": 70})
        await set_mine(house, tokens_per_day=500, usd_per_day=0)

        limits = await mine(house)
        assert (limits["tokens_per_day"]["limit"], limits["tokens_per_day"]["from"]) == (500, "user")
        assert (limits["usd_per_month"]["limit"], limits["usd_per_month"]["from"]) == (70, "house")
        assert limits["usd_per_day"] is None
        overview = (await house.http.get(LIMITS)).json()
        assert overview["defaults"]["tokens_per_day"] == 100
        assert overview["house"]["limits"]["usd_per_month"] == 70
        assert [user["id"] for user in overview["users"]] == ["local"]
        group = {"runs_at_once": 2}
        assert (await house.http.put(f"{LIMITS}/groups/staff", json=group)).json()["groups"][0]["name"] == "staff"
        assert (await house.http.put(f"{LIMITS}/groups/staff", json={})).json()["groups"] == []
        for wrong in ({"usd_per_day": -1}, {"runs_per_minute": 1.5}, {"tokens_a_day": 3}):
            assert (await house.http.put(f"{LIMITS}/house", json=wrong)).status_code == 400


async def test_a_pause_stops_what_is_new_and_nothing_else(house: House) -> None:
    chat = await house.open_chat()
    message = new_id()
    house.engine.gate.hold(1)
    async with house.saying(chat, "hello", id=message) as listener:
        await listener.until("delta")
        assert (await house.http.put("/admin/pause", json={"reason": "a leak"})).json()["paused"]["reason"] == "a leak"

        refused = await ask(house)

        assert (refused.status_code, error_of(refused)["code"]) == (503, "paused")
        assert "a leak" in error_of(refused)["message"]
        assert refused.headers["retry-after"] == "60"
        assert (await house.http.get("/me")).json()["paused"]["reason"] == "a leak"
        assert (await house.http.get(f"/chat/{chat}")).status_code == 200
        body = {"message": {"id": message, "content": "hello"}}
        async with house.http.stream("POST", f"/chat/{chat}/completion", json=body) as repeat:
            house.engine.gate.release()
            assert (await Listener(repeat).rest())[-1].name == "done"
        assert (await listener.rest())[-1].name == "done"
    assert (await house.http.delete("/admin/pause")).json() == {"paused": None}
    assert (await ask(house)).status_code == 200


async def test_whoever_has_not_signed_in_tries_seldom(tmp_path: Path) -> None:
    async with open_house(tmp_path, auth="token", access_tokens=f"ana={'0' * 64}") as house:
        forged = ({"x-forwarded-for": f"203.0.113.{n}", "forwarded": f"for=198.51.100.{n}"} for n in range(40))
        tries = await asyncio.gather(
            *(house.http.post("/session", json={"token": "no"}, headers=headers) for headers in forged)
        )

    assert {answer.status_code for answer in tries} == {401, 429}
    assert all(answer.headers["retry-after"] for answer in tries if answer.status_code == 429)


def test_an_address_has_its_own_rate_and_few_are_remembered() -> None:
    strangers = Strangers(2)
    for address in ("a", "a", "b"):
        strangers.admit(address, 1_000)
    with pytest.raises(Limited):
        strangers.admit("a", 1_000)
    strangers.admit("a", 31_000)
    for n in range(ADDRESSES + 10):
        strangers.admit(str(n), 40_000)
    assert len(strangers._arrivals) == ADDRESSES


@pytest.mark.parametrize(
    ("client", "forwarded", "trusted", "seen"),
    [
        ("203.0.113.7", "198.51.100.1", "", "203.0.113.7"),
        ("203.0.113.7", "198.51.100.1", "10.0.0.0/8", "203.0.113.7"),
        ("10.0.0.1", "198.51.100.1", "10.0.0.0/8", "198.51.100.1"),
        ("10.0.0.1", "6.6.6.6, 198.51.100.1, 10.0.0.2", "10.0.0.0/8", "198.51.100.1"),
        ("10.0.0.1", "198.51.100.1:4711", "10.0.0.1", "198.51.100.1"),
        ("10.0.0.1", "198.51.100.1, nonsense", "10.0.0.1", "10.0.0.1"),
        ("2001:db8:1:2:3:4:5:6", "", "", "2001:db8:1:2::/64"),
        ("2001:DB8:1:2::9", "", "", "2001:db8:1:2::/64"),
        ("2001:db8:1:3::9", "", "", "2001:db8:1:3::/64"),
        ("::ffff:203.0.113.7", "", "", "203.0.113.7"),
        ("fe80::1%eth0", "", "", "fe80::/64"),
        ("10.0.0.1", "[2001:db8:1:2::9]:443", "10.0.0.1", "2001:db8:1:2::/64"),
        ("a socket", "198.51.100.1", "10.0.0.1", ""),
    ],
)
def test_an_address_is_the_nearest_one_that_is_no_trusted_proxy(
    client: str, forwarded: str, trusted: str, seen: str
) -> None:
    headers = [(b"x-forwarded-for", forwarded.encode())] if forwarded else []
    request = Request({"type": "http", "client": (client, 1), "headers": headers})

    assert address_of(request, trusted) == seen
