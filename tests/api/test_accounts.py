"""Users, keys, sessions and invitations over HTTP: what opens the door, for how long, and for whom it stays shut."""

import asyncio
import logging
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import httpx
import pytest
from click.testing import CliRunner

from functions.cli import cli
from tests.api.test_every_route import TOKENS, bearer, code_of, token_mode
from tests.house import House, open_house

PAGE = "https://app.example.org"
ADA, ANN, BOB = (bearer(TOKENS[name]) for name in ("ada", "ann", "bob"))


@asynccontextmanager
async def browser(house: House, secret: str = TOKENS["ann"], **headers: str) -> AsyncIterator[httpx.AsyncClient]:
    """Signed in, with nothing but its cookie."""
    async with httpx.AsyncClient(base_url=house.url, headers={"origin": house.url, **headers}, verify=False) as client:
        answer = await client.post("/session", json={"token": secret})
        assert answer.status_code == 204, answer.text
        yield client


async def test_a_browser_keeps_a_session_and_not_the_token_and_sign_out_ends_it_for_good(tmp_path: Path) -> None:
    async with open_house(tmp_path, **token_mode()) as house, browser(house) as client:
        again = await client.post("/session", json={"token": TOKENS["ann"]})
        cookie = again.headers["set-cookie"]
        (name, secret), *_ = (pair.split("=", 1) for pair in cookie.split("; "))
        plain = cookie.lower()

        assert "httponly" in plain
        assert "samesite=strict" in plain
        assert "path=/" in plain
        assert "secure" not in plain  # this is http on loopback
        assert len(secret) >= 43
        assert TOKENS["ann"] not in cookie
        assert (await client.get("/me")).json()["id"] == "ann"

        by_tls = await client.post("/session", json={"token": TOKENS["ann"]}, headers=behind_tls(house))
        assert by_tls.headers["set-cookie"].startswith("__Host-")
        assert "secure" in by_tls.headers["set-cookie"].lower()

        gone = await client.delete("/session")
        assert gone.status_code in (200, 204)
        client.cookies.clear()
        stolen = await client.get("/me", headers={"cookie": f"{name}={secret}"})
        assert stolen.status_code == 401
        # The token itself is no session, wherever it is put.
        assert (await client.get("/me", headers={"cookie": f"{name}={TOKENS['ann']}"})).status_code == 401


def behind_tls(house: House) -> dict[str, str]:
    return {"x-forwarded-proto": "https", "origin": f"https://{urlsplit(house.url).netloc}"}


async def test_sessions_are_listed_and_ended_one_by_one_or_all_the_others(tmp_path: Path) -> None:
    chrome = "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/140.0 Safari/537.36"
    async with (
        open_house(tmp_path, **token_mode()) as house,
        browser(house, **{"user-agent": chrome}) as here,
        browser(house) as there,
        browser(house) as elsewhere,
        browser(house, TOKENS["bob"]) as bobs,
    ):
        listed = (await here.get("/sessions")).json()
        (current,) = [session for session in listed if session["current"]]

        assert len(listed) == 3
        assert set(current) == {"id", "created_at", "last_seen_at", "expires_at", "agent", "current"}
        assert "Chrome" in current["agent"]
        assert "Linux" in current["agent"]
        assert len(current["agent"]) < 40

        (theirs,) = [s["id"] for s in (await there.get("/sessions")).json() if s["current"]]
        assert (await bobs.delete(f"/sessions/{theirs}")).status_code == 404
        assert (await there.get("/me")).status_code == 200
        assert (await here.delete(f"/sessions/{theirs}")).status_code == 204
        assert (await there.get("/me")).status_code == 401
        assert (await here.delete("/sessions")).json() == {"ended": 1}
        assert (await elsewhere.get("/me")).status_code == 401
        assert (await here.get("/me")).status_code == 200
        assert (await bobs.get("/me")).status_code == 200


async def test_a_key_is_shown_once_works_until_it_is_revoked_and_gives_no_more_than_its_maker_has(
    tmp_path: Path,
) -> None:
    async with open_house(tmp_path, **token_mode()) as house:
        http = house.http
        made = await http.post("/keys", json={"name": "Ünïcode 🙂", "expires_days": 3}, headers=ANN)
        key = made.json().pop("key")
        listed = (await http.get("/keys", headers=ANN)).json()

        assert made.status_code == 201
        assert key.startswith("parley_sk_")
        assert len(key) >= len("parley_sk_") + 43
        assert set(listed[0]) == {
            "id", "name", "scopes", "origins", "runs_per_minute", "hint", "created_at", "last_used_at", "expires_at"
        }  # fmt: skip
        assert listed[0]["name"] == "Ünïcode 🙂"
        assert key.startswith(listed[0]["hint"].removesuffix("…"))
        assert key not in (await http.get("/keys", headers=ANN)).text
        assert "chat" in listed[0]["scopes"]
        assert (await http.get("/me", headers=bearer(key))).json()["id"] == "ann"
        assert (await http.get("/v1/models", headers=bearer(key))).status_code == 200

        too_much = await http.post("/keys", json={"name": "x", "scopes": ["admin"]}, headers=ANN)
        narrow = (await http.post("/keys", json={"name": "r", "scopes": ["read"]}, headers=ADA)).json()["key"]
        wider = await http.post("/keys", json={"name": "x"}, headers=bearer(narrow))
        as_session = await http.post("/session", json={"token": narrow})
        assert [answer.status_code for answer in (too_much, wider)] == [403, 403]
        assert as_session.status_code in (401, 403)  # a session may do everything

        assert (await http.delete(f"/keys/{listed[0]['id']}", headers=BOB)).status_code == 404
        assert (await http.delete(f"/keys/{listed[0]['id']}", headers=ANN)).status_code == 204
        assert (await http.get("/me", headers=bearer(key))).status_code == 401
        wrong: list[dict[str, Any]] = [
            {"origins": ["*"]},
            {"origins": ["https://a.org/path"]},
            {"scopes": []},
            {"expires_days": 0},
        ]
        for bad in wrong:
            assert (await http.post("/keys", json={"name": "k", **bad}, headers=ANN)).status_code == 400, bad


async def test_a_page_of_another_site_gets_in_by_a_key_that_lists_it_on_the_compatible_api_and_nowhere_else(
    tmp_path: Path,
) -> None:
    async with open_house(tmp_path, **token_mode()) as house:
        http = house.http
        body = {"name": "page", "origins": [f"{PAGE}:443/"]}
        listing = (await http.post("/keys", json=body, headers=ANN)).json()
        other = (await http.post("/keys", json={"name": "program"}, headers=ANN)).json()["key"]
        asking = {"access-control-request-method": "POST", "access-control-request-headers": "authorization"}
        chat = {"model": "sim", "messages": [{"role": "user", "content": "hello"}]}
        path = "/v1/chat/completions"

        async def preflight(path: str, origin: str) -> httpx.Response:
            return await http.options(path, headers={"origin": origin, **asking})

        good = await preflight(path, PAGE)
        assert listing["origins"] == [PAGE]
        assert good.status_code in (200, 204)
        assert good.headers["access-control-allow-origin"] == PAGE
        assert "authorization" in good.headers["access-control-allow-headers"].lower()
        assert "access-control-allow-credentials" not in good.headers
        for where, origin in ((path, "https://evil.example"), ("/chats", PAGE), ("/me", PAGE), (path, "null")):
            assert "access-control-allow-origin" not in (await preflight(where, origin)).headers, (where, origin)

        foreign = {"origin": PAGE, "sec-fetch-site": "cross-site"}
        answered = await http.post(path, json=chat, headers=foreign | bearer(listing["key"]))
        assert answered.status_code == 200, answered.text
        assert answered.headers["access-control-allow-origin"] == PAGE
        assert "origin" in answered.headers["vary"].lower()
        for secret in (other, TOKENS["ann"]):
            refused = await http.post(path, json=chat, headers=foreign | bearer(secret))
            assert refused.status_code == 403, refused.text
            assert "access-control-allow-origin" not in refused.headers
        evil = {"origin": "https://evil.example"} | bearer(listing["key"])
        assert (await http.post(path, json=chat, headers=evil)).status_code == 403
        assert (await http.get("/chats", headers=foreign | bearer(listing["key"]))).status_code == 403
        async with browser(house) as client:  # a cookie goes along by itself, so it never counts for a foreign page
            assert (await client.post(path, json=chat, headers=foreign)).status_code == 403

        await http.delete(f"/keys/{listing['id']}", headers=ANN)
        assert (await http.post(path, json=chat, headers=foreign | bearer(listing["key"]))).status_code in (401, 403)


async def test_whoever_is_suspended_loses_every_door_and_the_answer_that_is_being_written(tmp_path: Path) -> None:
    async with open_house(tmp_path, **token_mode()) as house, browser(house) as client:
        http = house.http
        key = (await http.post("/keys", json={"name": "k"}, headers=ANN)).json()["key"]
        doors: list[dict[str, Any]] = [{"headers": bearer(key)}, {"headers": ANN}]
        chat = (await client.post("/chat", json={})).json()["id"]
        house.engine.gate.hold(1)
        house.http.headers.update(ANN)
        async with house.saying(chat, "a long question with many words") as stream:
            await stream.until("delta")
            suspended = await http.patch("/admin/users/ann", json={"status": "suspended"}, headers=ADA)
            house.engine.gate.release()
            ended = (await stream.rest())[-1:]

        assert suspended.status_code == 200, suspended.text
        assert [event.name for event in ended] != ["done"]
        assert (await client.get("/me")).status_code in (401, 403)
        assert (await client.post("/session", json={"token": TOKENS["ann"]})).status_code in (401, 403)
        assert (await client.post("/session", json={"token": key})).status_code in (401, 403)
        for door in doors:
            assert (await client.get("/chats", **door)).status_code in (401, 403)

        await http.patch("/admin/users/ann", json={"status": "active"}, headers=ADA)
        assert (await http.get(f"/chat/{chat}", headers=bearer(key))).status_code == 200


@pytest.mark.parametrize("by", ["an admin there", "the command"])
async def test_an_answer_that_another_process_writes_stops_when_its_reader_is_suspended(
    by: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The process that writes it hears nothing but what the store says. Its node is silent all the while."""
    async with open_house(tmp_path, lease_seconds=1, **token_mode()) as house:
        monkeypatch.setenv("PARLEY_STORE_URL", house.settings.store_url)
        house.http.headers.update(ANN)
        chat = await house.open_chat()
        house.engine.gate.hold(1)
        async with house.saying(chat, "a long question with many words") as stream:
            await stream.until("delta")
            if by == "the command":
                done = await asyncio.to_thread(CliRunner().invoke, cli, ["users", "suspend", "ann"])
                assert "being stopped: 1" in done.output
            else:
                async with open_house(tmp_path, **token_mode()) as there:
                    suspended = await there.http.patch("/admin/users/ann", json={"status": "suspended"}, headers=ADA)
                    assert suspended.status_code == 200, suspended.text
            await stream.until("stopped")
            house.engine.gate.release()


async def test_a_link_makes_one_user_who_can_sign_in_and_works_once(tmp_path: Path) -> None:
    async with open_house(tmp_path, **token_mode()) as house, httpx.AsyncClient(base_url=house.url) as stranger:
        http = house.http
        invited = await http.post("/admin/invitations", json={"name": "Zoë", "group": "staff"}, headers=ADA)
        secret = invited.json()["link"].removeprefix("/#/join/")
        listed = await http.get("/admin/invitations", headers=ADA)

        joined = await stranger.post("/join", json={"token": secret})
        again = await stranger.post("/join", json={"token": secret})
        me = (await stranger.get("/me")).json()
        stranger.cookies.clear()

        assert invited.status_code == 201
        assert secret not in listed.text
        assert (joined.status_code, again.status_code) == (200, 404)
        assert (me["id"], me["role"], me["group"]) == ("Zoë", "member", "staff")
        key = joined.json()["key"]
        assert (await http.get("/me", headers=bearer(key))).json()["id"] == "Zoë"
        assert (await stranger.post("/session", json={"token": key})).status_code == 204
        for name in ("Zoë", "ann", "bob"):  # names that are somebody's, seen or not
            taken = await http.post("/admin/invitations", json={"name": name}, headers=ADA)
            assert (taken.status_code, code_of(taken)) == (409, "name_taken"), name

        other = (await http.post("/admin/invitations", json={"name": "yan"}, headers=ADA)).json()
        twice = await http.post("/admin/invitations", json={"name": "yan"}, headers=ADA)
        assert (twice.status_code, code_of(twice)) == (409, "invited_already")
        assert (await http.delete(f"/admin/invitations/{other['id']}", headers=ADA)).status_code == 204
        for bad in (other["link"].removeprefix("/#/join/"), "x", "", "x" * 1000):
            assert (await stranger.post("/join", json={"token": bad})).status_code in (400, 404), bad
        assert "yan" not in (await http.get("/admin/users", headers=ADA)).text


async def test_the_last_admin_stays_and_everybody_else_can_be_ended(tmp_path: Path) -> None:
    async with open_house(tmp_path, **token_mode()) as house:
        http, goodbye = house.http, {"confirm": "delete everything"}
        await http.get("/me", headers=ADA)
        key = (await http.post("/keys", json={"name": "k"}, headers=ANN)).json()["key"]
        chat = (await http.post("/chat", json={}, headers=ANN)).json()["id"]

        ways_out = [
            await http.patch("/admin/users/ada", json={"role": "member"}, headers=ADA),
            await http.patch("/admin/users/ada", json={"status": "suspended"}, headers=ADA),
            await http.request("DELETE", "/admin/users/ada", json=goodbye, headers=ADA),
            await http.request("DELETE", "/me", json=goodbye, headers=ADA),
        ]
        gone = await http.request("DELETE", "/admin/users/ann", json=goodbye, headers=ADA)
        listed = (await http.get("/admin/users", headers=ADA)).json()

        assert [(answer.status_code, code_of(answer)) for answer in ways_out] == 4 * [(409, "last_admin")]
        assert gone.status_code == 200, gone.text
        assert gone.json()["chats"] == 1
        assert [user["id"] for user in listed["data"]] == ["ada"]
        assert (await http.get("/me", headers=bearer(key))).status_code == 401
        assert (await http.get(f"/chat/{chat}", headers=ANN)).status_code == 404  # the settings still name her
        assert (await http.request("DELETE", "/admin/users/nobody", json=goodbye, headers=ADA)).status_code == 404


async def test_hostile_secrets_are_strangers_and_no_secret_is_ever_logged(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG, logger="parley")
    async with open_house(tmp_path, **token_mode()) as house, browser(house) as client:
        http = house.http
        key = (await http.post("/keys", json={"name": "k"}, headers=ANN)).json()["key"]
        secrets = [TOKENS["ann"], key, *client.cookies.values()]
        await http.get("/me", headers=bearer(key))
        hostile = [
            b"Bearer " + b"a" * 30_000,
            b"Bearer parley_sk_" + b"a" * 5_000,
            "Bearer parley_sk_🙂ü".encode(),
            b"Bearer \xff\xfe\x00".replace(b"\x00", b"\x01"),
            b"Bearer",
            b"Basic " + TOKENS["ann"].encode(),
            b"Bearer Bearer " + TOKENS["ann"].encode(),
            b"Bearer ' OR 1=1 --",
            b'Bearer {"$ne": null}',
        ]
        for value in hostile:
            answer = await raw(house, b"GET /me HTTP/1.1\r\nauthorization: " + value)
            assert answer.split(b" ")[1] in (b"400", b"401", b"431"), (value[:40], answer[:200])
        twice = await raw(house, b"GET /me HTTP/1.1\r\nx-a: b\r\n authorization: Bearer " + key.encode())
        assert twice.split(b" ")[1] in (b"400", b"401")
        for token in ("", "x" * 100_000, "\udcff", "é" * 500, "a\r\nset-cookie: x=y"):
            body = b'{"token": "' + token.encode("utf-8", "surrogatepass").replace(b"\r\n", b"\\r\\n") + b'"}'
            refused = await http.post("/session", content=body, headers={"content-type": "application/json"})
            assert 400 <= refused.status_code < 500, token[:20]
            assert "x=y" not in refused.headers.get("set-cookie", "")

        inside = [repr(house.settings)]

    said = "\n".join(str(record.__dict__) for record in caplog.records) + "\n".join(inside)
    for secret in secrets:
        assert secret not in said


async def raw(house: House, head: bytes) -> bytes:
    """A request that no client would send."""
    parts = urlsplit(house.url)

    def ask() -> bytes:
        with socket.create_connection((parts.hostname, parts.port), timeout=10) as wire:
            wire.sendall(head + b"\r\nhost: " + parts.netloc.encode() + b"\r\nconnection: close\r\n\r\n")
            return wire.recv(65536)

    return await asyncio.to_thread(ask)
