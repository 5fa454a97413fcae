"""Model servers that register themselves: only with the node key, and only with an address that makes sense."""

import asyncio
import hashlib
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from functions.inference.pricing import usd_per_second
from tests.house import House, open_house

KEY = "node-key-for-tests"
NODE = {"url": "http://10.0.0.7:8000/v1/", "models": ["qwen"], "gpu": "L40S", "slots": 16}


@pytest.fixture
async def open_door(tmp_path: Path) -> AsyncIterator[House]:
    async with open_house(tmp_path, node_key=KEY) as house:
        house.http.headers["authorization"] = f"Bearer {KEY}"
        yield house


async def listed(house: House) -> list[dict[str, Any]]:
    answer = await house.http.get("/nodes")
    assert answer.status_code == 200, answer.text
    data: list[dict[str, Any]] = answer.json()["data"]
    return data


async def test_a_node_joins_is_listed_and_leaves(open_door: House) -> None:
    joined = await open_door.http.put("/nodes/attic-1", json=NODE)

    assert joined.status_code == 200, joined.text
    told = joined.json()
    assert told["expires_seconds"] > 2 * told["heartbeat_seconds"] > 0
    (node,) = await listed(open_door)
    assert node == told["node"]
    assert (node["name"], node["url"], node["models"]) == ("attic-1", "http://10.0.0.7:8000/v1", ["qwen"])
    assert node["usd_per_hour"] == pytest.approx(3600 * usd_per_second("L40S"))
    assert node["expires_ms"] - node["joined_ms"] == 1000 * told["expires_seconds"]
    assert KEY not in joined.text

    assert [(await open_door.http.delete("/nodes/attic-1")).status_code for _ in range(2)] == [204, 204]
    assert await listed(open_door) == []


async def test_a_heartbeat_keeps_it_and_may_change_what_it_says(open_door: House) -> None:
    await open_door.http.put("/nodes/attic", json=NODE)
    (before,) = await listed(open_door)
    await open_door.http.put("/nodes/attic", json=NODE | {"models": ["qwen", "llama"], "usd_per_hour": 0.5})
    (after,) = await listed(open_door)

    assert after["joined_ms"] == before["joined_ms"]
    assert after["expires_ms"] >= before["expires_ms"]
    assert (after["models"], after["usd_per_hour"]) == (["qwen", "llama"], 0.5)


async def test_a_name_that_another_server_holds_is_refused(open_door: House) -> None:
    await open_door.http.put("/nodes/attic", json=NODE)
    refused = await open_door.http.put("/nodes/attic", json=NODE | {"url": "http://10.0.0.8:8000/v1"})

    assert (refused.status_code, refused.json()["error"]["code"]) == (409, "conflict")
    assert [node["url"] for node in await listed(open_door)] == ["http://10.0.0.7:8000/v1"]


async def test_what_the_operators_settings_name_need_not_join(open_door: House) -> None:
    same_name = await open_door.http.put("/nodes/sim", json=NODE)
    same_address = await open_door.http.put("/nodes/twin", json=NODE | {"url": open_door.engine.url})

    assert [same_name.status_code, same_address.status_code] == [409, 409]
    assert "settings" in same_name.json()["error"]["message"]
    assert await listed(open_door) == []


async def test_without_the_node_key_nobody_registers_lists_or_removes(tmp_path: Path) -> None:
    tokens = f"ana={hashlib.sha256(b'user-token').hexdigest()}"
    async with open_house(tmp_path, node_key=KEY, auth="token", access_tokens=tokens) as house:
        await house.http.put("/nodes/attic", json=NODE, headers={"authorization": f"bearer {KEY}"})

        async def attempt(header: str) -> list[httpx.Response]:
            headers = {"authorization": header} if header else {}
            return [
                await house.http.put("/nodes/evil", json=NODE, headers=headers),
                await house.http.delete("/nodes/attic", headers=headers),
                await house.http.get("/nodes", headers=headers),
            ]

        headers = ("", "Bearer", "Bearer wrong", "Bearer user-token", f"Basic {KEY}", KEY)
        attempts = await asyncio.gather(*(attempt(header) for header in headers))
        left = (await house.http.get("/nodes", headers={"authorization": f"Bearer {KEY}"})).json()["data"]

    assert [[answer.status_code for answer in answers] for answers in attempts] == [[401, 401, 401]] * len(headers)
    assert "node key" in attempts[0][0].json()["error"]["message"]
    assert [node["name"] for node in left] == ["attic"]


async def test_where_no_key_is_set_registration_is_closed_whatever_one_brings(house: House) -> None:
    for headers in ({}, {"authorization": "Bearer"}, {"authorization": f"Bearer {KEY}"}):
        refused = await house.http.put("/nodes/attic", json=NODE, headers=headers)

        assert refused.status_code == 404
        assert "PARLEY_NODE_KEY" in refused.json()["error"]["message"]


WRONG: list[tuple[dict[str, Any], str]] = [
    ({"url": "ftp://10.0.0.7/v1"}, "http"),
    ({"url": "http:///v1"}, "http"),
    ({"url": "10.0.0.7:8000"}, "http"),
    ({"url": "http://[::1/v1"}, "http"),
    ({"url": "http://10.0.0.7:99999/v1"}, "http"),
    ({"url": "http://10.0.0.7/v 1"}, "http"),
    ({"url": "http://10.0.0.7/v1\r\nx: y"}, "http"),
    ({"url": "http://user:secret@10.0.0.7/v1"}, "credentials"),
    ({"url": "http://10.0.0.7/v1?key=secret"}, "query"),
    ({"url": "http://10.0.0.7/" + 2048 * "v"}, "2048"),
    ({"gpu": "GTX 970"}, "usd_per_hour"),
    ({"usd_per_hour": -1}, "greater"),
    ({"slots": -1}, "greater"),
    ({"slots": "many"}, "integer"),
    ({"models": [""]}, "at least 1"),
    ({"models": "qwen"}, "models"),
    ({"modles": []}, "modles"),
]


async def test_what_makes_no_sense_is_refused_in_clear_words(open_door: House) -> None:
    for change, says in WRONG:
        refused = await open_door.http.put("/nodes/attic", json=NODE | change)

        assert refused.status_code == 400, (change, refused.text)
        assert says in refused.json()["error"]["message"]
        assert "secret" not in refused.text
    assert await listed(open_door) == []


async def test_names_are_short_and_plain(open_door: House) -> None:
    for name in ("-attic", "two words", "käfer", "a" * 64, "a%0Ab", "a%00b"):
        refused = await open_door.http.put(f"/nodes/{name}", json=NODE)

        assert (refused.status_code, refused.json()["error"]["param"]) == (400, "name"), name


async def test_a_gpu_that_no_table_knows_may_join_with_its_own_price(open_door: House) -> None:
    joined = await open_door.http.put("/nodes/attic", json=NODE | {"gpu": "RTX 4090", "usd_per_hour": 0.34})

    assert joined.json()["node"]["usd_per_hour"] == 0.34
