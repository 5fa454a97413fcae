"""Signing in through an issuer, as a browser does it: the real app, a real issuer, one address after another."""

import base64
import json
from collections.abc import Iterator
from pathlib import Path
from random import randrange
from typing import Any
from urllib.parse import parse_qs, urlsplit

import httpx
import pytest

from functions.inference.nodes import Node
from functions.settings import Settings
from tests.house import Serving, open_house
from tests.issuer import ADA, RunningIssuer

FAILED = "/#/refused?why=failed"


@pytest.fixture(scope="module")
def running() -> Iterator[RunningIssuer]:
    with RunningIssuer() as issuer:
        issuer.secret = "s3cret%with/odd letters"
        yield issuer


@pytest.fixture
def issuer(running: RunningIssuer) -> RunningIssuer:
    running.person, running.claims, running.answers = dict(ADA), {}, {}
    running.asked.clear()
    return running


@pytest.fixture(scope="module")
def house(running: RunningIssuer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """One for all: its address. Each browser comes from an address of its own, for strangers are counted."""
    folder = tmp_path_factory.mktemp("house")
    settings: dict[str, Any] = {"store_url": f"sqlite:///{folder / 'parley.db'}", "data": folder}
    settings |= {"admins": "ada@example.org", "trusted_proxies": "127.0.0.1"} | running.settings()
    with Serving(Settings(**settings), [Node("http://127.0.0.1:9", name="gpu", serverless=True)]) as url:
        yield url


def to_the_issuer(answer: httpx.Response) -> dict[str, str]:
    return {name: values[0] for name, values in parse_qs(urlsplit(answer.headers["location"]).query).items()}


async def back_from(http: httpx.AsyncClient, to: str = "/") -> str:
    """Begin a login and come back from the issuer: our own address with the code, not yet followed."""
    begun = await http.get("/auth/login", params={"to": to})
    assert begun.status_code == 302, begun.text
    return (await http.get(begun.headers["location"])).headers["location"]


def browser(house: str) -> httpx.AsyncClient:
    here = {"x-forwarded-for": f"10.0.{randrange(256)}.{randrange(256)}"}
    return httpx.AsyncClient(base_url=house, timeout=20, verify=False, headers=here)


async def log_in(house: str, **to: str) -> tuple[str, httpx.AsyncClient]:
    """Where the login ends, and the browser."""
    http = browser(house)
    ended = await http.get(await back_from(http, **to))
    assert ended.status_code == 302, ended.text
    return ended.headers["location"], http


def is_signed_in(http: httpx.AsyncClient) -> bool:
    return "parley_session" in http.cookies


async def test_who_is_expected_is_signed_in_and_the_issuers_tokens_stay_here(house: str, issuer: RunningIssuer) -> None:
    landed, http = await log_in(house, to="/#/chat/1")
    ways = (await http.get("/sign-in")).json()

    assert ways == {"auth": "oidc", "login_url": "/auth/login"}
    assert landed == "/#/chat/1"
    assert list(http.cookies) == ["parley_session"]  # that of the login is gone
    assert issuer.asked[-2:] == ["/authorize", "/token"]
    assert len(http.cookies["parley_session"]) == 43  # our own random secret: no token of the issuer's
    assert (await http.get("/me")).status_code == 200
    await http.aclose()


async def test_signing_out_ends_the_session_and_says_where_the_issuers_ends(house: str, issuer: RunningIssuer) -> None:
    _, http = await log_in(house)
    cookie = {"cookie": f"parley_session={http.cookies['parley_session']}"}
    url = urlsplit((await http.delete("/session")).json()["logout_url"])

    assert url.path == "/logout"
    assert parse_qs(url.query)["post_logout_redirect_uri"] == [f"{house}/"]
    assert not is_signed_in(http)
    assert (await http.get("/me", headers=cookie)).status_code == 401
    await http.aclose()


async def test_a_program_comes_with_an_access_token_of_who_has_signed_in(house: str, issuer: RunningIssuer) -> None:
    _, http = await log_in(house)
    mine = (await http.get("/me")).json()["id"]
    await http.aclose()
    async with browser(house) as program:
        answers = [
            await program.get("/me", headers={"authorization": f"Bearer {token}"})
            for token in (issuer.token(), issuer.token(sub="bob"), issuer.token(exp=1), "a.b.c", "x")
        ]
    assert [answer.status_code for answer in answers] == [200, 401, 401, 401, 401]
    assert answers[0].json()["id"] == mine


@pytest.mark.parametrize(
    ("person", "why"),
    [
        ({"sub": "eve", "email": "eve@example.org"}, "not_invited"),
        ({"sub": "eve", "email_verified": False}, "not_invited"),
        ({"sub": "eve", "email_verified": "true"}, "not_invited"),
        ({"sub": "eve", "email": None}, "not_invited"),
        ({"nonce": "another login's"}, "failed"),
        ({"aud": "another client"}, "failed"),
        ({"exp": 1}, "failed"),
        ({"iss": "https://evil.example"}, "failed"),
    ],
)
async def test_who_is_refused_lands_on_a_page_that_says_why(
    person: dict[str, Any], why: str, house: str, issuer: RunningIssuer
) -> None:
    issuer.claims = person
    landed, http = await log_in(house)

    assert landed == f"/#/refused?why={why}"
    assert not http.cookies
    await http.aclose()


async def test_an_answer_is_taken_once_and_by_the_browser_that_asked(house: str, issuer: RunningIssuer) -> None:
    async with browser(house) as mine, browser(house) as theirs:
        kept = await back_from(mine)
        cookie = mine.cookies["parley_login"]
        assert (await theirs.get(kept)).headers["location"] == FAILED  # nobody begins a login for somebody else
        await back_from(theirs)
        assert (await theirs.get(kept)).headers["location"] == FAILED
        assert not is_signed_in(theirs)
        assert (await mine.get(kept)).headers["location"] == "/"
        assert (await mine.get(kept)).headers["location"] == FAILED  # its cookie is gone,
        again = await mine.get(kept, headers={"cookie": f"parley_login={cookie}"})
        assert again.headers["location"] == FAILED  # and its code is used


async def test_a_code_of_one_login_is_not_taken_for_another(house: str, issuer: RunningIssuer) -> None:
    async with browser(house) as mine, browser(house) as theirs:
        code = parse_qs(urlsplit(await back_from(theirs)).query)["code"][0]
        own = parse_qs(urlsplit(await back_from(mine)).query)
        answer = await mine.get("/auth/callback", params={"code": code, "state": own["state"][0]})
        assert answer.headers["location"] == FAILED  # the verifier is another's
        assert not is_signed_in(mine)


@pytest.mark.parametrize("answers", [{"iss": "https://evil.example"}, {"state": "x"}, {"state": "é"}, {"code": ""}])
async def test_an_answer_that_is_not_this_issuers_is_not_followed(
    answers: dict[str, str], house: str, issuer: RunningIssuer
) -> None:
    issuer.answers = answers
    landed, http = await log_in(house)
    assert landed == FAILED
    assert "/token" not in issuer.asked
    await http.aclose()


async def test_a_cookie_that_was_made_elsewhere_begins_nothing(house: str, issuer: RunningIssuer) -> None:
    login = {"state": "s", "nonce": "n", "verifier": "v", "redirect_uri": house, "to": "/", "ends_at": 1e12}
    own = base64.urlsafe_b64encode(json.dumps(login).encode()).decode()
    for cookie in ("", ".", "e30=.00", "a.b.c", "x" * 4000, own, f"{own}.", f"{own}.{'0' * 64}"):
        async with browser(house) as http:
            answer = await http.get("/auth/callback?code=c&state=s", headers={"cookie": f"parley_login={cookie}"})
            assert answer.headers["location"] == FAILED
    assert "/token" not in issuer.asked


EVIL = ("//evil.example", "/\\evil.example", "\\\\evil.example", "https://evil.example", "javascript:alert(1)")
EVIL += (
    "/%2f/evil.example",
    "/#/x\r\nset-cookie: a=b",
    "/chat",
    "/#/\\evil",
    "/#//\u2028",
    "/#/%0d%0a",
    "",
    "/#/" + "x" * 400,
)


@pytest.mark.parametrize("to", EVIL)
async def test_a_login_ends_on_a_page_of_ours(to: str, house: str, issuer: RunningIssuer) -> None:
    landed, http = await log_in(house, to=to)
    assert landed == "/"
    assert is_signed_in(http)
    await http.aclose()


async def test_over_tls_the_cookies_are_this_hosts_own(house: str, issuer: RunningIssuer) -> None:
    async with browser(house) as http:
        begun = await http.get("/auth/login", headers={"x-forwarded-proto": "https"})
    cookie = begun.headers["set-cookie"]
    assert cookie.startswith("__Host-parley_login=")
    assert all(word in cookie for word in ("HttpOnly", "Secure", "SameSite=lax", "Path=/"))
    asked = to_the_issuer(begun)
    assert asked["redirect_uri"] == house.replace("http:", "https:") + "/auth/callback"
    assert (asked["response_type"], asked["code_challenge_method"]) == ("code", "S256")
    assert min(len(asked[name]) for name in ("state", "nonce", "code_challenge")) >= 43


async def test_where_nobody_signs_in_through_an_issuer_there_is_no_such_way(tmp_path: Path) -> None:
    async with open_house(tmp_path) as local:
        assert (await local.http.get("/sign-in")).json() == {"auth": "local", "login_url": None}
        for path in ("/auth/login", "/auth/callback"):
            assert (await local.http.get(path)).status_code == 404
