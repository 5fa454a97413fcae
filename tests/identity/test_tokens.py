"""Tokens that a program comes with: whom they mean, and every way to forge one. The issuer is a real server."""

import asyncio
import base64
import hashlib
import hmac
import json
import time
from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any

import pytest
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from functions.api import oidc
from functions.api.jwts import SKEW_SECONDS, TOKEN_BYTES
from functions.api.oidc import Issuer
from functions.errors import BadInput, IssuerUnavailable, Unauthorized
from functions.settings import Settings
from tests.issuer import CLIENT, RunningIssuer, SigningKey


@pytest.fixture(scope="module")
def running() -> Iterator[RunningIssuer]:
    with RunningIssuer() as issuer:
        yield issuer


@pytest.fixture
def there(running: RunningIssuer) -> RunningIssuer:
    running.published, running.discovery, running.is_down = [running.key], {}, False
    running.asked.clear()
    return running


@pytest.fixture
async def issuer(there: RunningIssuer) -> AsyncIterator[Issuer]:
    opened = Issuer(Settings(**there.settings()))
    yield opened
    await opened.close()


def part(value: Any) -> str:
    text = value if isinstance(value, str) else json.dumps(value)
    return base64.urlsafe_b64encode(text.encode()).rstrip(b"=").decode()


def signed_with_the_public_key(there: RunningIssuer) -> str:
    pem = there.key.private.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    body = f"{part({'alg': 'HS256', 'kid': there.key.kid})}.{part(there.right())}"
    signature = hmac.new(pem, body.encode(), hashlib.sha256).digest()
    return f"{body}.{base64.urlsafe_b64encode(signature).rstrip(b'=').decode()}"


def with_twice(there: RunningIssuer) -> str:
    """A payload that says `sub` twice, rightly signed."""
    from jwt import api_jws

    payload = json.dumps(there.right())[:-1] + ', "sub": "bob"}'
    return api_jws.encode(payload.encode(), there.key.private, there.key.algorithm, headers={"kid": there.key.kid})


def cut(token: str) -> str:
    return token[:-8]


def another_body(there: RunningIssuer) -> str:
    header, _, signature = there.token().split(".")
    return f"{header}.{part(there.right(sub='bob'))}.{signature}"


def by_its_own_key(there: RunningIssuer) -> str:
    own = SigningKey()
    claims = there.right()
    return own.sign(claims, kid=there.key.kid, jwk=own.public, jku="http://127.0.0.1:9/k", x5u="http://127.0.0.1:9/x")


def at(seconds: float) -> int:
    return int(time.time() + seconds)


FORGED: dict[str, Callable[[RunningIssuer], str]] = {
    "no signature": lambda there: f"{part({'alg': 'none', 'kid': there.key.kid})}.{part(there.right())}.",
    "none in capitals": lambda there: f"{part({'alg': 'nOnE', 'kid': there.key.kid})}.{part(there.right())}.",
    "the public key as a secret": signed_with_the_public_key,
    "cut": lambda there: cut(there.token()),
    "another body": another_body,
    "another's key under this kid": by_its_own_key,
    "another issuer": lambda there: there.token(iss="https://evil.example"),
    "this issuer, nearly": lambda there: there.token(iss=f"{there.url}/"),
    "no issuer": lambda there: there.token(iss=None),
    "another audience": lambda there: there.token(aud="other"),
    "audiences without ours": lambda there: there.token(aud=["other", f"{CLIENT}2"]),
    "no audience": lambda there: there.token(aud=None),
    "a client without token_use": lambda there: there.token(aud=None, client_id=CLIENT),
    "Cognito's, of another client": lambda there: there.token(aud=None, token_use="access", client_id="other"),
    "Cognito's ID token": lambda there: there.token(token_use="id"),
    "over": lambda there: there.token(exp=at(-SKEW_SECONDS - 5), iat=at(-600)),
    "without an end": lambda there: there.token(exp=None),
    "an end that is no number": lambda there: there.token(exp=str(at(60))),
    "an end beyond all numbers": lambda there: there.token(exp=10**400),
    "an end beyond the calendar": lambda there: there.token(exp=10**12),
    "an end that is true": lambda there: there.token(exp=True),
    "not yet": lambda there: there.token(nbf=at(SKEW_SECONDS + 60)),
    "issued tomorrow": lambda there: there.token(iat=at(86_400), exp=at(90_000)),
    "never issued": lambda there: there.token(iat=None),
    "nobody": lambda there: there.token(sub=None),
    "an empty subject": lambda there: there.token(sub=""),
    "a subject too long": lambda there: there.token(sub="x" * 256),
    "two subjects": with_twice,
    "huge": lambda there: there.token(more="x" * TOKEN_BYTES),
    "a path as kid": lambda there: there.key.sign(there.right(), kid="../../../../dev/null"),
    "SQL as kid": lambda there: there.key.sign(there.right(), kid="' OR 1=1 --"),
    "an address as kid": lambda there: there.key.sign(there.right(), kid="http://127.0.0.1:9/keys"),
    "a huge kid": lambda there: there.key.sign(there.right(), kid="k" * 4000),
    "what must be understood": lambda there: there.key.sign(there.right(), crit=["exp"]),
    "a list as header": lambda there: f"{part([1])}.{part(there.right())}.AA",
    "deep": lambda there: f"{part('[' * 5000)}.{part(there.right())}.AA",
    "no JSON": lambda there: "a.b.c",
    "four parts": lambda there: there.token() + ".x",
    "other letters": lambda there: there.token() + "é",
}


@pytest.mark.parametrize("kind", FORGED)
async def test_a_forged_token_means_nobody(kind: str, there: RunningIssuer, issuer: Issuer) -> None:
    with pytest.raises(Unauthorized, match="not valid here"):
        await issuer.bearer(FORGED[kind](there))


async def test_a_right_token_means_its_subject_until_it_ends(there: RunningIssuer, issuer: Issuer) -> None:
    end = at(120)
    for more in ({}, {"aud": ["x", CLIENT]}, {"aud": None, "token_use": "access", "client_id": CLIENT}):
        bearer = await issuer.bearer(there.token(exp=end, email="a@example.org", email_verified="true", **more))
        assert (bearer.identity.issuer, bearer.identity.subject, bearer.ends_at.timestamp()) == (
            there.url,
            "ada-1",
            end,
        )
        assert not bearer.identity.is_email_verified  # only `true` is
    clocks = there.token(iat=at(SKEW_SECONDS - 20), nbf=at(SKEW_SECONDS - 20))
    assert (await issuer.bearer(clocks)).identity.subject == "ada-1"  # clocks differ
    assert there.asked == ["/.well-known/openid-configuration", "/keys"]  # once for all


async def test_a_token_for_one_login_is_not_for_another(there: RunningIssuer, issuer: Issuer) -> None:
    assert (await issuer.sign_in(there.token(nonce="n"), "n")).subject == "ada-1"
    for more in ({"nonce": "m"}, {"nonce": None}, {"nonce": ["n"]}, {"azp": "other"}, {"token_use": "access"}):
        with pytest.raises(Unauthorized):
            await issuer.sign_in(there.token(**{"nonce": "n"} | more), "n")
    with pytest.raises(Unauthorized):  # for several, and nobody says that it was we who asked
        await issuer.sign_in(there.token(nonce="n", aud=[CLIENT, "other"]), "n")


async def test_new_keys_are_found_and_unknown_ones_do_not_hammer(
    there: RunningIssuer, issuer: Issuer, monkeypatch: pytest.MonkeyPatch
) -> None:
    await issuer.bearer(there.token())
    monkeypatch.setattr(oidc, "AGAIN_SECONDS", 0.0)  # a minute has passed
    there.rotate()
    await issuer.bearer(there.token())
    monkeypatch.setattr(oidc, "AGAIN_SECONDS", 60.0)
    looked = there.asked.count("/keys")
    stranger = SigningKey()

    async def fail() -> None:
        with pytest.raises(Unauthorized):
            await issuer.bearer(stranger.sign(there.right()))

    await asyncio.gather(*(fail() for _ in range(50)))

    assert looked == 2
    assert there.asked.count("/keys") == looked


async def test_known_keys_go_on_when_the_issuer_is_away(
    there: RunningIssuer, issuer: Issuer, monkeypatch: pytest.MonkeyPatch
) -> None:
    await issuer.bearer(there.token())
    there.is_down = True
    monkeypatch.setattr(oidc, "KNOWN_SECONDS", -1.0)  # an hour has passed
    monkeypatch.setattr(oidc, "AGAIN_SECONDS", 0.0)

    for _ in range(3):
        assert (await issuer.bearer(there.token())).identity.subject == "ada-1"


async def test_an_issuer_that_was_never_seen_is_away_and_found_later(
    there: RunningIssuer, issuer: Issuer, monkeypatch: pytest.MonkeyPatch
) -> None:
    there.is_down = True
    with pytest.raises(IssuerUnavailable):
        await issuer.bearer(there.token())
    with pytest.raises(IssuerUnavailable):
        await issuer.bearer(there.token())
    assert len(there.asked) == 1  # not for each request
    there.is_down = False
    monkeypatch.setattr(oidc, "RETRY_SECONDS", 0.0)
    assert (await issuer.bearer(there.token())).identity.subject == "ada-1"


async def test_a_slow_issuer_is_waited_for_only_so_long(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(oidc, "ANSWER_SECONDS", 0.05)
    left = asyncio.Event()

    async def say_nothing(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read()  # until they hang up
        writer.close()
        left.set()

    silent = await asyncio.start_server(say_nothing, "127.0.0.1", 0)
    port = silent.sockets[0].getsockname()[1]
    issuer = Issuer(Settings(auth="oidc", oidc_issuer=f"http://127.0.0.1:{port}", oidc_client_id=CLIENT))
    with pytest.raises(IssuerUnavailable):
        await issuer.login_url(redirect_uri="", state="", nonce="", challenge="")
    await asyncio.wait_for(left.wait(), 10)
    await issuer.close()
    silent.close()
    await silent.wait_closed()


@pytest.mark.parametrize(
    "document",
    [
        {"issuer": "https://evil.example"},
        {"jwks_uri": "http://evil.example/keys"},
        {"token_endpoint": "http://10.0.0.1/token"},
        {"authorization_endpoint": "javascript:alert(1)"},
        {"end_session_endpoint": "ftp://evil.example"},
        {"jwks_uri": None},
        {"padding": "x" * 300_000},
    ],
    ids=lambda document: next(iter(document)),
)
async def test_a_discovery_document_that_cannot_be_meant_is_not_followed(
    document: dict[str, Any], there: RunningIssuer, issuer: Issuer
) -> None:
    there.discovery = document
    with pytest.raises(IssuerUnavailable):
        await issuer.bearer(there.token())
    assert "/keys" not in there.asked


async def test_keys_that_may_not_sign_are_passed_over(there: RunningIssuer, issuer: Issuer) -> None:
    for change in ({"use": "enc"}, {"alg": "ES384"}, {"kty": "oct", "k": "c2VjcmV0"}, {"crv": "P-384"}, {"x": "AA"}):
        odd = SigningKey()
        odd.public |= change
        there.published.append(odd)
    rsa = SigningKey("RS256")
    there.published.append(rsa)

    for odd in there.published[1:-1]:
        with pytest.raises(Unauthorized):
            await issuer.bearer(odd.sign(there.right()))
    assert (await issuer.bearer(rsa.sign(there.right()))).identity.subject == "ada-1"


@pytest.mark.parametrize("url", ["", "http://issuer.example", "issuer.example", "https://", "http://[", "file:///x"])
def test_an_issuer_is_spoken_to_by_tls(url: str) -> None:
    with pytest.raises(BadInput, match="OIDC_ISSUER"):
        Issuer(Settings(auth="oidc", oidc_issuer=url, oidc_client_id=CLIENT))
