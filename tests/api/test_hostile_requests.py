"""Requests as no client of ours makes them, over a bare socket: what is in every answer, and what never is."""

import io
import json
import logging
import re
import socket
import sqlite3
import sys
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest

from functions import telemetry
from functions.app import SECURITY_HEADERS
from functions.chat.messages import new_id
from functions.inference.nodes import Node
from functions.settings import STRANGERS_PER_MINUTE, Settings
from tests.api.test_every_route import TOKENS, token_mode
from tests.house import Serving

SECRET = "xylophone"
BROWSER = "text/html,application/xhtml+xml,application/xml;q=0.9,image/avif,image/webp,*/*;q=0.8"
MEMBER = f"Authorization: Bearer {TOKENS['ann']}"
ADMIN = f"Authorization: Bearer {TOKENS['ada']}"


@dataclass(frozen=True)
class Answer:
    status: int
    headers: list[tuple[str, str]]  # names in small letters, as often as they came
    text: str

    def all(self, name: str) -> list[str]:
        return [value for known, value in self.headers if known == name]


@dataclass(frozen=True)
class House:
    url: str
    folder: Path
    serving: Serving

    def ask(self, line: str, *headers: str, body: bytes = b"") -> Answer:
        """One request, to the letter; the line without its version."""
        [answer] = self.ask_in_a_row((line, headers, body))
        return answer

    def ask_in_a_row(self, *requests: tuple[str, tuple[str, ...], bytes]) -> list[Answer]:
        """On one connection, each after the answer to the one before."""
        answers = []
        with connected(self) as connection, connection.makefile("rb") as file:
            for line, headers, body in requests:
                sized = (f"Content-Length: {len(body)}", "Content-Type: application/json") if body else ()
                lines = [f"{line} HTTP/1.1", "Host: parley", *headers, *sized, "", ""]
                connection.sendall("\r\n".join(lines).encode("latin-1") + body)
                answers.append(_read(file, has_body=not line.startswith("HEAD ")))
        return answers


def _read(file: Any, *, has_body: bool) -> Answer:  # of a socket
    status = int(file.readline().split()[1])
    headers = []
    while line := file.readline().strip():
        name, _, value = line.decode("latin-1").partition(":")
        headers.append((name.lower(), value.strip()))
    size = int(dict(headers).get("content-length", 0)) if has_body else 0
    return Answer(status, headers, file.read(size).decode())


@pytest.fixture(scope="module")
def house(tmp_path_factory: pytest.TempPathFactory) -> Iterator[House]:
    folder = tmp_path_factory.mktemp("house")
    web = folder / "web"
    (web / "assets").mkdir(parents=True)
    (web / "index.html").write_text("<!doctype html><p>the client</p>")
    (web / "early.js").write_text("1;" * 100)
    settings = Settings(store_url=f"sqlite:///{folder / 'parley.db'}", data=folder, web=web, **token_mode())
    serving = Serving(settings, [Node("http://127.0.0.1:9", name="gpu", serverless=True)])
    with serving as url:
        yield House(url, folder, serving)


@pytest.fixture
def log(monkeypatch: pytest.MonkeyPatch) -> Iterator[io.StringIO]:
    """What this process would write to stderr, its server's and its libraries' lines as well."""
    written = io.StringIO()
    monkeypatch.setattr(sys, "stderr", written)
    loggers = [logging.getLogger(name) for name in ("", "parley", "uvicorn", "uvicorn.error", "uvicorn.access")]
    was = [(logger, logger.handlers[:], logger.level, logger.propagate) for logger in loggers]
    telemetry.configure()
    yield written
    for logger, handlers, level, propagate in was:
        logger.handlers[:], logger.propagate = handlers, propagate
        logger.setLevel(level)


# -- what is in every answer ---------------------------------------------------------------------------------------
EVERY: dict[str, tuple[int, str, tuple[str, ...]]] = {
    "the page": (200, "GET /", ()),
    "its head": (200, "HEAD /", ()),
    "a file": (200, "GET /early.js", ()),
    "a part of a file": (206, "GET /early.js", ("Range: bytes=0-1",)),
    "a part that is not there": (416, "GET /early.js", ("Range: bytes=99999-",)),
    "a folder": (404, "GET /assets/", ()),
    "nothing": (404, "GET /nope", ()),
    "nothing, for a person": (404, "GET /nope", (f"Accept: {BROWSER}",)),
    "another slash": (404, "GET /sign-in/", ()),
    "two slashes": (404, "GET //sign-in", ()),
    "another host's name as a path": (404, "GET //evil.example/", ()),
    "another host's name after a folder": (404, "GET /assets//evil.example/..", ()),
    "a backslash": (404, "GET /\\evil.example", ()),
    "a whole address": (200, "GET http://evil.example/", ()),
    "JSON": (200, "GET /sign-in", ()),
    "who is not signed in": (401, "GET /chats", ()),
    "who may not": (403, "GET /admin/users", (MEMBER,)),
    "what cannot be": (400, "GET /chats?limit=x", (MEMBER,)),
    "another method": (405, "PUT /early.js", ()),
    "TRACE": (405, "TRACE /", ()),
    "a preflight": (204, "OPTIONS /v1/models", ("Origin: https://evil.example", "Access-Control-Request-Method: GET")),
    "an export": (200, "GET /export", (MEMBER,)),
}


@pytest.mark.parametrize("name", EVERY)
def test_every_answer_says_what_a_browser_may_do_with_it_and_leads_nowhere_else(house: House, name: str) -> None:
    status, line, headers = EVERY[name]
    answer = house.ask(line, *headers, "Connection: close")

    assert answer.status == status
    for header, value in SECURITY_HEADERS:
        assert answer.all(header.decode()) == [value.decode()], header
    assert len(answer.all("x-request-id")) == len(answer.all("cache-control")) == 1
    assert not answer.all("location")
    assert not answer.all("access-control-allow-origin")


def test_what_breaks_is_told_in_an_answer_like_any_other_and_in_the_log_without_its_words(
    house: House, log: io.StringIO
) -> None:
    made = house.ask("POST /memories", MEMBER, body=json.dumps({"text": "I like bees."}).encode())
    with sqlite3.connect(house.folder / "parley.db") as db:
        was = db.execute("SELECT data FROM memories").fetchone()[0]
        # What no version has written, so that reading it says what it found.
        db.execute("UPDATE memories SET data = ?", (was.replace(b'"preference"', b'"%s"' % SECRET.encode()),))
        db.commit()
        broken, next_one = house.ask_in_a_row(("GET /memories", (MEMBER,), b""), ("GET /me", (MEMBER,), b""))
        db.execute("UPDATE memories SET data = ?", (was,))

    assert (made.status, broken.status, next_one.status) == (201, 500, 200)  # on the same connection
    for header, value in SECURITY_HEADERS:
        assert broken.all(header.decode()) == [value.decode()], header
    assert json.loads(broken.text)["error"]["code"] == "internal"
    assert SECRET not in broken.text + log.getvalue()
    [fault] = [line for line in map(json.loads, log.getvalue().splitlines()) if line["event"] == "http.fault"]
    assert (fault["path"], fault["error"]) == ("/memories", "ValidationError")
    assert fault["trace"][0].startswith("functions/adapters/sqlite_memories.py:")


# -- a person who has mistyped -------------------------------------------------------------------------------------
@pytest.mark.parametrize(
    ("language", "heading"),
    [
        ("", "There is no such page"),
        ("de-CH, de;q=0.9, en;q=0.8", "There is no such page"),
        ("zh-CN,zh;q=0.9,en;q=0.8", "没有这个页面"),
        ("en-GB, zh;q=0.9", "There is no such page"),
        ("zh, en", "没有这个页面"),
        ("en;q=x, zh;q=nan,;;;q=, zh-TW", "没有这个页面"),
    ],
)
def test_a_person_who_mistypes_sees_a_page_in_their_language(house: House, language: str, heading: str) -> None:
    answer = house.ask("GET /<script>alert(1)</script>?xylophone", f"Accept: {BROWSER}", f"Accept-Language: {language}")

    assert answer.status == 404
    assert answer.all("content-type") == ["text/html; charset=utf-8"]
    assert f"<h1>{heading}</h1>" in answer.text
    assert '<a href="/">' in answer.text
    assert not re.search("script|style|alert|xylophone|src=", answer.text)
    assert answer.all("vary") == ["Accept, Accept-Language"]


@pytest.mark.parametrize(
    ("method", "accept"), [("GET", "*/*"), ("GET", ""), ("GET", "application/json, text/html"), ("POST", BROWSER)]
)
def test_a_program_that_mistypes_gets_json(house: House, method: str, accept: str) -> None:
    answer = house.ask(f"{method} /nope/nope", f"Accept: {accept}")

    assert json.loads(answer.text)["error"]["code"] in ("not_found", "method_not_allowed")


# -- what somebody sends does not become a header, nor a line of the log --------------------------------------------
INJECTED = "\r\nX-Evil: 1\r\nSet-Cookie: parley_session=evil"
ESCAPED = INJECTED.replace("\r\n", "%0d%0a").replace(" ", "%20")


@pytest.mark.parametrize(
    "line",
    [
        f"GET /nope{ESCAPED}",
        f"GET /auth/login?to=/{ESCAPED}",
        f"GET /chat/{new_id()}{ESCAPED}/export",
        f"GET /export?format={ESCAPED}",
        f"GET /collections/{new_id()}/members/{ESCAPED}",
        f"OPTIONS /v1/{ESCAPED}",
        "GET /sign-in",
    ],
)
def test_nothing_that_is_sent_becomes_a_header_of_the_answer(house: House, line: str) -> None:
    told = [f"{name}: evil" for name in ("X-Request-Id", "Traceparent", "User-Agent", "X-Forwarded-Host", "Cookie")]
    answer = house.ask(line, MEMBER, *told, "Origin: http://parley", "X-Forwarded-Proto: evil")

    assert not answer.all("x-evil")
    assert not [value for name, value in answer.headers if "evil" in value and name != "allow"]
    assert "parley_session" not in str(answer.headers)


def test_a_file_is_named_by_us_whatever_its_chat_is_called(house: House) -> None:
    title = f'a"; filename="evil.html{INJECTED}\u2028聊天'
    chat = json.loads(house.ask("POST /chat", MEMBER, body=json.dumps({"title": title}).encode()).text)["id"]

    for form, ending in (("json", "json"), ("markdown", "md")):
        answer = house.ask(f"GET /chat/{chat}/export?format={form}", MEMBER)
        assert answer.all("content-disposition") == [f'attachment; filename="parley-{chat}.{ending}"']
        assert not answer.all("x-evil")


def test_whatever_is_sent_the_log_is_lines_of_ours_without_it(house: House, log: io.StringIO) -> None:
    nasty = f"{SECRET}\r\n\x1b[31m\x85\x9b2J\u2028{{}}"
    in_path = "".join(f"%{byte:02x}" for byte in nasty.encode())
    quoted = json.dumps(nasty)
    group, key = f'{{"group": {quoted}}}'.encode(), f'{{"name": {quoted}}}'.encode()
    bare = nasty.replace("\r\n", " ").encode().decode("latin-1")
    headers = [
        f"{name}: {bare}" for name in ("User-Agent", "X-Request-Id", "Traceparent", "Idempotency-Key", "Referer")
    ]
    message = {"message": {"id": new_id(), "content": nasty}, "model": nasty}
    chat = json.loads(house.ask("POST /chat", MEMBER, body=f'{{"title": {quoted}}}'.encode()).text)["id"]

    house.ask("GET /me", MEMBER, *headers)
    house.ask(f"GET /{in_path}", *headers)
    house.ask(f"POST /chat/{chat}/completion", MEMBER, *headers, body=json.dumps(message).encode())
    house.ask(f"POST /knowledge?filename={in_path}", MEMBER, body=b"bees")
    house.ask("PATCH /admin/users/ann", ADMIN, body=group)
    house.ask("POST /keys", MEMBER, body=key)
    house.ask("POST /admin/invitations", ADMIN, body=f'{{"email": {quoted}}}'.encode())
    house.ask("POST /v1/chat/completions", MEMBER, body=f'{{"model": {quoted}, "messages": []}}'.encode())
    broken = house.ask("GET /me", f"Bad Name\x00: {SECRET}", "Connection: close")  # not even HTTP

    written = log.getvalue()
    events = [json.loads(line)["event"] for line in written.splitlines()]
    assert broken.status == 400
    assert {"user.changed", "library"} <= set(events)  # else nothing would be proved
    assert written.isascii()
    assert SECRET not in written
    assert not re.search(r"u001b|u0085|u009b|u2028", written)


# -- pages of other sites -------------------------------------------------------------------------------------------
FOREIGN: dict[str, tuple[str, ...]] = {
    "another site": ("Origin: https://evil.example",),
    "a page without an origin": ("Origin: null",),
    "a file": ("Origin: file://",),
    "a name that begins as ours": ("Origin: http://parley.evil.example",),
    "a name with ours before it": ("Origin: http://parley@evil.example",),
    "a name that ends as ours": ("Origin: http://evilparley",),
    "another port": ("Origin: http://parley:8080",),
    "no host": ("Origin: http://",),
    "ours twice": ("Origin: http://parley http://evil.example",),
    "a form of another site": ("Sec-Fetch-Site: cross-site",),
    "a form of a site beside ours": ("Sec-Fetch-Site: same-site",),
}


@pytest.mark.parametrize("who", FOREIGN)
@pytest.mark.parametrize("line", ["POST /session", "POST /join", "DELETE /session", "POST /chat", "DELETE /sessions"])
def test_a_page_of_another_site_signs_nobody_in_or_out_and_changes_nothing(house: House, line: str, who: str) -> None:
    body = b"" if line.startswith("DELETE") else json.dumps({"token": TOKENS["ann"]}).encode()
    answer = house.ask(line, *FOREIGN[who], "Cookie: parley_session=x", body=body)

    assert answer.status == 403
    assert not answer.all("set-cookie")
    assert not answer.all("access-control-allow-origin")


@pytest.mark.parametrize("kind", ["text/plain", "application/x-www-form-urlencoded", "multipart/form-data; boundary=x"])
def test_what_a_form_can_send_is_no_json(house: House, kind: str) -> None:
    """Also where a browser says nothing of where it comes from."""
    body = json.dumps({"title": "evil"}).encode()
    answer = house.ask(
        "POST /chat", MEMBER, f"Content-Type: {kind}", f"Content-Length: {len(body)}\r\n\r\n{body.decode()}"
    )

    assert answer.status == 400


# -- who asks too often ---------------------------------------------------------------------------------------------
def test_a_stranger_who_asks_too_often_finds_no_other_way_to_ask(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    """Guessing goes by the connection's address: not by what is said of it, nor by how the path is written."""
    now = house.serving.services.runs.clock()
    monkeypatch.setattr(house.serving.services.runs, "clock", lambda: now)  # nothing is forgiven while this runs
    body = b'{"token": "guess"}'
    for _ in range(STRANGERS_PER_MINUTE + 1):
        last = house.ask("POST /join", body=body)
    assert last.status == 429

    for header in (
        "X-Forwarded-For: 203.0.113.9",
        "X-Forwarded-For: ::ffff:203.0.113.9, 2001:db8::1",
        "X-Real-Ip: 203.0.113.9",
        "Forwarded: for=203.0.113.9",
        "Cf-Connecting-Ip: 203.0.113.9",
        "X-Forwarded-Host: elsewhere",
    ):
        assert house.ask("POST /session", header, body=body).status == 429, header
    for path in ("/session?", "/session?a=1", "/%73ession", "/%6Aoin", "http://parley/session"):
        assert house.ask(f"POST {path}", body=body).status == 429, path
    for path in (
        "//session",
        "/session/",
        "/SESSION",
        "/./session",
        "/x/../session",
        "/session%2f",
        "/session%00",
        "/session;a",
    ):
        assert house.ask(f"POST {path}", body=body).status in (404, 405), path
    for method in ("HEAD", "GET", "OPTIONS", "PUT", "post"):
        assert house.ask(f"{method} /session", "Connection: close", body=body).status in (400, 404, 405), method


# -- what comes before the app is asked -------------------------------------------------------------------------------
ENDLESS: dict[str, tuple[bytes, bytes]] = {
    "one header": (b"GET / HTTP/1.1\r\nHost: parley\r\nA: ", b"a" * 65536),
    "a name of one": (b"GET / HTTP/1.1\r\nHost: parley\r\n", b"a" * 65536),
    "small headers": (b"GET / HTTP/1.1\r\nHost: parley\r\n", b"a: b\r\n" * 10_000),
    "an address": (b"GET /", b"a" * 65536),
    "headers after a body": (b"POST /chat HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n", b"a: b\r\n" * 10_000),
    "one header after a body": (b"POST /chat HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n0\r\na: ", b"a" * 65536),
    "requests": (b"", b"GET /livez HTTP/1.1\r\nHost: parley\r\n\r\n" * 1_000),
    "the size of a piece": (b"POST /chat HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n1;", b"a" * 65536),
}
ENOUGH = 64  # times; the kernel keeps some of it for the server


@pytest.mark.parametrize("name", ENDLESS)
def test_what_never_ends_is_not_kept(house: House, name: str) -> None:
    first, more = ENDLESS[name]
    with connected(house) as connection:
        with suppress(ConnectionError):
            connection.sendall(first)
            for _ in range(ENOUGH):
                connection.sendall(more)
        answered = read_to_the_end(connection)
    assert len(answered) < 200_000
    assert answered[:12] in (b"HTTP/1.1 400", b"HTTP/1.1 401", b"HTTP/1.1 200", b"")


def test_who_says_nothing_is_not_waited_for(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("functions.front.HEAD_SECONDS", 0.05)
    for begun in (b"", b"GET / HT"):
        with connected(house) as connection:
            connection.sendall(begun)
            assert read_to_the_end(connection) == b""
    with connected(house) as connection, connection.makefile("rb") as file:
        connection.sendall(b"GET /livez HTTP/1.1\r\nHost: parley\r\n\r\n")
        _read(file, has_body=True)
        connection.sendall(b"\r\n")  # which begins nothing
        assert file.read() == b""


def test_a_long_head_and_a_body_in_tiny_pieces_are_fine(house: House) -> None:
    cookies = [f"Cookie: {name}={'x' * 8000}" for name in "abc"]
    pieces = "".join(f"1\r\n{letter}\r\n" for letter in json.dumps({"title": "x" * 1000}).ljust(60_000))
    chunked = ("Transfer-Encoding: chunked", "Content-Type: application/json", *cookies)
    first, second = house.ask_in_a_row(
        ("POST /chat", (MEMBER, *chunked, f"Connection: keep-alive\r\n\r\n{pieces}0\r\n"), b""),
        ("GET /me", (MEMBER, *cookies), b""),
    )

    assert (first.status, second.status) == (201, 200)


def connected(house: House) -> socket.socket:
    at = urlsplit(house.url)
    return socket.create_connection((at.hostname or "", at.port or 0), timeout=10)


def read_to_the_end(connection: socket.socket) -> bytes:
    """What was answered until the other end closed. Raises TimeoutError where it stays open."""
    answered = b""
    with suppress(ConnectionResetError):  # there was more to read than the server wanted
        while piece := connection.recv(65536):
            answered += piece
    return answered
