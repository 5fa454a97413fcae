"""Limits of several people: a group's, a key's and the house's, with real members; and no way around them."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx

from functions.chat.messages import new_id
from tests.api.test_every_route import TOKENS, bearer, code_of, token_mode
from tests.api.test_metrics import Grown, scrape
from tests.house import House, Listener, open_house

ADA, ANN, BOB = (bearer(TOKENS[name]) for name in ("ada", "ann", "bob"))
COMPATIBLE: dict[str, Any] = {"model": "sim", "messages": [{"role": "user", "content": "hello"}]}


@asynccontextmanager
async def members(folder: Path) -> AsyncIterator[House]:
    """Ann is of the staff, Bob is not, Ada runs the house. Each has been seen."""
    async with open_house(folder, **token_mode()) as house:
        for who in (ADA, ANN, BOB):
            assert (await house.http.get("/me", headers=who)).status_code == 200
        await manage(house, "PATCH", "users/ann", group="staff")
        yield house


async def manage(house: House, method: str, path: str, **body: Any) -> None:
    answer = await house.http.request(method, f"/admin/{path}", json=body, headers=ADA)
    assert answer.status_code == 200, answer.text


async def ask(house: House, who: dict[str, str]) -> httpx.Response:
    return await house.http.post("/v1/chat/completions", json=COMPATIBLE, headers=who)


async def asked(house: House, *callers: dict[str, str]) -> list[int]:
    return [(await ask(house, who)).status_code for who in callers]


async def make_key(house: House, who: dict[str, str], **body: Any) -> dict[str, str]:
    made = await house.http.post("/keys", json={"name": "k", **body}, headers=who)
    assert made.status_code == 201, made.text
    return bearer(made.json()["key"])


async def test_a_groups_limits_are_each_members_and_nobody_elses(tmp_path: Path) -> None:
    async with members(tmp_path) as house:
        await manage(house, "PUT", "limits/groups/staff", runs_per_minute=2, tokens_per_day=5000)

        assert await asked(house, ANN, ANN, ANN, BOB, BOB, BOB) == [200, 200, 429, 200, 200, 200]
        await manage(house, "PATCH", "users/bob", group="staff")
        assert await asked(house, BOB, BOB, BOB) == [200, 200, 429]  # a rate of his own, not what Ann left
        limits = (await house.http.get("/me", headers=ANN)).json()["limits"]
        assert limits["runs_per_minute"]["limit"] == 2
        assert (limits["tokens_per_day"]["limit"], limits["tokens_per_day"]["from"]) == (5000, "group")
        await manage(house, "PUT", "limits/users/ann", runs_per_minute=0)
        assert await asked(house, ANN, ANN) == [200, 200]
        await manage(house, "PATCH", "users/ann", name="Ann of the staff")
        [own] = (await house.http.get("/admin/limits", headers=ADA)).json()["users"]
        assert (own["id"], own["name"], own["email"]) == ("ann", "Ann of the staff", None)
        await manage(house, "PATCH", "users/bob", group="")
        assert await asked(house, BOB) == [200]


async def test_a_key_has_a_rate_of_its_own_within_its_makers(tmp_path: Path) -> None:
    async with members(tmp_path) as house:
        slow, other = await make_key(house, ANN, runs_per_minute=1), await make_key(house, ANN, runs_per_minute=1)

        refused = [await ask(house, slow) for _ in range(2)][1]
        assert (refused.status_code, code_of(refused)) == (429, "rate_limited")
        assert refused.headers["retry-after"]
        assert await asked(house, other, other, ANN, ANN) == [200, 429, 200, 200]
        await manage(house, "PUT", "limits/users/ann", runs_per_minute=1)
        fresh = await make_key(house, ANN, runs_per_minute=50)
        assert await asked(house, ANN, fresh, BOB) == [200, 429, 200]


async def test_the_house_answers_no_more_at_once_than_it_may_whoever_asks(tmp_path: Path) -> None:
    async with members(tmp_path) as house:
        before = await scrape(house, **ADA)
        await manage(house, "PUT", "limits/house", runs_at_once=1)
        house.engine.gate.hold(1)
        chat = (await house.http.post("/chat", json={}, headers=ANN)).json()["id"]
        body = {"message": {"id": new_id(), "content": "hello"}}
        async with house.http.stream("POST", f"/chat/{chat}/completion", json=body, headers=ANN) as response:
            listener = Listener(response)
            await listener.until("delta")
            refused = await ask(house, BOB)
            house.engine.gate.release()
            await listener.rest()

        assert (refused.status_code, code_of(refused)) == (429, "too_many_runs")
        assert "This Parley" in refused.json()["error"]["message"]
        crowd = await asyncio.gather(*(ask(house, who) for who in (ANN, BOB, ADA) * 3))
        assert {answer.status_code for answer in crowd} == {200, 429}
        assert len(house.engine.stats.requests) == 1 + sum(answer.status_code == 200 for answer in crowd)
        await manage(house, "PUT", "limits/house", tokens_per_day=1)
        assert await asked(house, ANN, BOB) == [200, 429]
        grown = Grown(before, await scrape(house, **ADA))
        assert grown("parley_limited_total", kind="too_many_runs") >= 2
        assert grown("parley_limited_total", kind="insufficient_quota") == 1


VARIANTS = (
    "/v1/chat/completions",
    "/v1/chat/completions/",
    "/v1/chat/completions?again=1",
    "/v1/chat/completions;x=1",
    "/v1//chat/completions",
    "//v1/chat/completions",
    "/V1/Chat/Completions",
    "/v1/./chat/completions",
    "/v1/x/../chat/completions",
    "/v1/%63hat/completions",
    "/v1/chat%2Fcompletions",
    "/v1/chat/completions%20",
    "/{chat}/completion",
    "/{chat}/completion/",
    "/{CHAT}/completion",
    "/%63hat/{id}/completion",
)


async def test_no_other_spelling_gets_past_a_rate(tmp_path: Path) -> None:
    """Of the path, of the headers, of the name: each would be one more answer than the one that may be given."""
    async with members(tmp_path) as house:
        chat = (await house.http.post("/chat", json={}, headers=ANN)).json()["id"]
        session = await house.http.post("/session", json={"token": TOKENS["ann"]})
        cookie = session.headers["set-cookie"].partition(";")[0]
        house.http.cookies.clear()
        key = await make_key(house, ANN)
        await manage(house, "PUT", "limits/users/ann", runs_per_minute=1)
        assert await asked(house, ANN) == [200]

        doors = [
            ANN,
            {"authorization": f"BEARER   {TOKENS['ann']}"},
            {"cookie": cookie, "origin": house.url},
            key,
            ANN | {"x-forwarded-for": "203.0.113.9", "x-real-ip": "203.0.113.9", "forwarded": "for=203.0.113.9"},
            ANN | {"x-http-method-override": "GET", "x-original-url": "/livez", "x-rewrite-url": "/livez"},
            ANN | {"x-user": "bob", "x-owner": "bob", "x-parley-owner": "bob"},
        ]
        statuses = [(await ask(house, who)).status_code for who in doors]
        native = {"message": {"id": new_id(), "content": "hello"}}
        for variant in VARIANTS:
            path = variant.format(chat=f"chat/{chat}", CHAT=f"chat/{chat.upper()}", id=chat)
            request = house.http.build_request("POST", "/", json=COMPATIBLE | native, headers=ANN)
            request.extensions["target"] = path.encode()  # as it stands: a client would tidy it up
            answer = await house.http.send(request)
            if answer.is_redirect:
                answer = await house.http.post(answer.headers["location"], json=COMPATIBLE | native, headers=ANN)
            assert answer.status_code in (400, 404, 405, 429), (path, answer.status_code)

        assert statuses == [429] * len(doors)
        assert len(house.engine.stats.requests) == 1
        assert await asked(house, BOB) == [200]
