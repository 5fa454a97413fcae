"""What somebody would try who has a key, a link, a page of their own, or the seat of an admin."""

import resource
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import httpx
import pytest
from fastapi import FastAPI
from fastapi.routing import APIRoute

from functions.app import create_app
from functions.chat.sharing import VISITS, Sharing
from functions.errors import Limited
from functions.services import open_services
from functions.settings import Settings
from tests.api.test_every_route import TOKENS, a_house, ask, bearer, belongings, code_of, operations

ADA, ANN = bearer(TOKENS["ada"]), bearer(TOKENS["ann"])
SECRET = "xylophone-under-the-stairs"
CPU_SECONDS = 10  # what is asked below takes a tenth of that
HOSTILE = """
from functions.chat.lexicon import terms
from functions.chat.memory_words import commands_in, words
from functions.chat.sameness import essence
from functions.chat.titles import as_title
from functions.inference.lexical import lexical_vector
from functions.guardrails.moderation import ask_about, windows
from functions.api.sessions import agent_of
marks = "a" + "\u0301\u0316" * 50_000  # over one letter: to be put in order, in one step of the interpreter
lexical_vector(marks), list(terms(marks)), words(marks), list(windows(marks)), ask_about("", marks)
for letter in (".", "*", " .", "`"):
    as_title("é" + letter * 200_000 + "é")
essence("\u2177" * 2000)  # of which each becomes four letters
for letter in ("a", "1", "a1", "_", "a_", ".", "a.", "/", "a/", "A", "aA", "a@", "-", "`", '"', "please ", "我"):
    for end in ("!", " ", "é"):
        text = (letter * 2000)[:1999] + end
        essence(text), commands_in(text), agent_of(text)
"""


async def test_a_key_with_bounds_becomes_neither_a_session_nor_a_key_without_and_a_session_ends_with_its_key(
    tmp_path: Path,
) -> None:
    async with a_house(tmp_path) as house, httpx.AsyncClient(base_url=house.url) as client:
        http = house.http
        for bound in ({"expires_days": 1}, {"runs_per_minute": 1}, {"origins": ["https://app.example.org"]}):
            key = (await http.post("/keys", json={"name": "k", **bound}, headers=ANN)).json()["key"]
            assert (await http.get("/me", headers=bearer(key))).status_code == 200
            more = await http.post("/keys", json={"name": "more"}, headers=bearer(key))
            assert (more.status_code, code_of(more)) == (403, "forbidden"), bound
            assert (await client.post("/session", json={"token": key})).status_code == 401, bound

        whole = (await http.post("/keys", json={"name": "whole"}, headers=ANN)).json()
        assert (await client.post("/session", json={"token": whole["key"]})).status_code == 204
        assert (await client.get("/me")).status_code == 200
        assert (await http.delete(f"/keys/{whole['id']}", headers=ANN)).status_code == 204
        assert (await client.get("/me")).status_code == 401
        assert (await http.get("/sessions", headers=ANN)).json() == []

        # A page without TLS is anybody's on the way; that of the same name with it is ours.
        tls = {"x-forwarded-proto": "https"}
        for scheme, status in (("http", 403), ("https", 204)):
            origin = house.url.replace("http", scheme)
            answer = await client.post("/session", json={"token": TOKENS["ann"]}, headers={"origin": origin, **tls})
            assert answer.status_code == status, scheme


async def test_links_of_somebody_who_is_suspended_lead_nowhere_until_they_are_back(tmp_path: Path) -> None:
    async with a_house(tmp_path) as house, httpx.AsyncClient(base_url=house.url) as visitor:
        house.http.headers.update(ANN)
        chat = await house.open_chat()
        await house.say(chat, "hello")
        link = (await house.http.post(f"/chat/{chat}/share", json={})).json()["id"]
        statuses = []
        for status in ("active", "suspended", "active"):
            await house.http.patch("/admin/users/ann", json={"status": status}, headers=ADA)
            statuses.append((await visitor.get(f"/shared/{link}")).status_code)

        assert statuses == [200, 404, 200]


async def test_who_runs_the_house_reads_nothing_that_others_write(tmp_path: Path) -> None:
    async with a_house(tmp_path) as house:
        ids = await belongings(house, TOKENS["ann"])
        house.http.headers.update(ANN)
        chat = await house.open_chat(title=SECRET, system_prompt=SECRET)
        await house.say(chat, f"{SECRET} and my card 4111 1111 1111 1111")
        await house.http.patch("/me", json={"custom_instructions": SECRET})
        own = await house.http.get("/export")
        del house.http.headers["authorization"]

        assert SECRET in own.text  # else the walk would prove nothing
        gets = [one for one in await operations(house) if one[0] == "GET"] + [("GET", "/metrics")]
        told = [one for one in gets if SECRET in (await ask(house, one, TOKENS["ada"], ids)).text]
        assert not told


async def test_a_route_that_the_walk_would_not_see_is_named_here(tmp_path: Path) -> None:
    settings = Settings(store_url=f"sqlite:///{tmp_path / 'p.db'}", data=tmp_path)
    app = create_app(lambda: open_services(settings, []), None)
    routers = [getattr(route, "original_router", None) for route in app.routes]
    routes = [*app.routes, *(route for router in routers if router for route in router.routes)]
    unseen = {route.path for route in routes if isinstance(route, APIRoute) and not route.include_in_schema}

    assert unseen == {"/", "/v1/{path:path}"}  # the page, and what a browser asks before it asks


def test_a_visitor_with_ipv6_does_not_use_up_the_visits_of_all_others() -> None:
    sharing = Sharing(None, lambda: 1_000_000, is_on=True)  # type: ignore[arg-type]  # a visit asks no store
    for _ in range(VISITS):
        sharing.admit("2001:db8:0:1::/64")  # as `address_of` says it
    sharing.admit("2001:db8:0:2::/64")
    with pytest.raises(Limited):
        sharing.admit("2001:db8:0:1::/64")


def test_no_text_that_somebody_sends_keeps_a_processor_busy() -> None:
    """A bound for the kernel to hold, so that nothing here is timed."""

    def bounded() -> None:
        resource.setrlimit(resource.RLIMIT_CPU, (CPU_SECONDS, CPU_SECONDS))

    check: Callable[..., subprocess.CompletedProcess[str]] = subprocess.run
    done = check([sys.executable, "-c", HOSTILE], preexec_fn=bounded, capture_output=True, text=True, check=False)

    assert done.returncode == 0, done.stderr[-500:] or f"ended by signal {-done.returncode}"


@pytest.fixture
def client_beside_a_secret(tmp_path: Path) -> FastAPI:
    web = tmp_path / "web"
    (web / "assets").mkdir(parents=True)
    (tmp_path / "secret.txt").write_text(SECRET)
    (web / "index.html").write_text("<p>here</p>")
    return create_app(lambda: open_services(Settings(), []), web)


async def test_no_path_leads_out_of_the_clients_folder(client_beside_a_secret: FastAPI, tmp_path: Path) -> None:
    transport = httpx.ASGITransport(client_beside_a_secret)
    async with httpx.AsyncClient(transport=transport, base_url="http://parley") as client:
        assert (await client.get("/index.html")).status_code == 200  # this folder is served
        for way in (
            "..",
            "%2e%2e",
            "assets/..%2f..",
            "assets/%2e%2e/%2e%2e",
            "..%5c",
            f"/{tmp_path}",
            "./..",
            "%00/..",
        ):
            request = client.build_request("GET", "/")
            request.url = request.url.copy_with(raw_path=f"/{way}/secret.txt".encode())
            answer = await client.send(request)
            assert SECRET not in answer.text, way
            assert answer.status_code == 404, way
