"""The issuer that this house believes: where it is (discovery), its keys, a code for a token, and who a token means.

Nothing is asked of it at the start, and no request waits for it as long as the key is known: what is known is used
while newer is fetched, also when the issuer is away. A `kid` that nobody knows makes us look again, once a minute at
most.
"""

import asyncio
import hmac
import json
import time
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any
from urllib.parse import quote_plus, urlencode, urlsplit

import aiohttp
import msgspec

from functions.api.jwts import Key, claims_of, header_of, key_for, keys_of, refused
from functions.chat.principals import Identity
from functions.errors import BadInput, IssuerUnavailable
from functions.settings import Settings
from functions.telemetry import log

ANSWER_BYTES = 256 * 1024
ANSWER_SECONDS = 5.0
KNOWN_SECONDS = 3600.0  # then discovery and keys are fetched again, beside the requests
AGAIN_SECONDS = 60.0  # between two looks, while there is something to go on with
RETRY_SECONDS = 2.0  # and while there is nothing
EMAIL_CHARS = 254
NAME_CHARS = 100
LOOPBACK = ("127.0.0.1", "localhost", "::1")


class Places(msgspec.Struct, frozen=True, kw_only=True):
    """What we use of the discovery document."""

    issuer: str
    authorization_endpoint: str
    token_endpoint: str
    jwks_uri: str
    end_session_endpoint: str | None = None
    token_endpoint_auth_methods_supported: tuple[str, ...] = ("client_secret_basic",)
    authorization_response_iss_parameter_supported: bool = False


class Known(msgspec.Struct, frozen=True):
    places: Places
    keys: tuple[Key, ...]
    at: float  # of time.monotonic()


class Bearer(msgspec.Struct, frozen=True):
    """Whom an access token means, and until when."""

    identity: Identity
    ends_at: datetime


class Issuer:
    """Raises BadInput for settings that cannot be meant."""

    def __init__(self, settings: Settings) -> None:
        self.url, self.client_id = settings.oidc_issuer, settings.oidc_client_id
        self._discovery = settings.oidc_discovery_url or f"{self.url.rstrip('/')}/.well-known/openid-configuration"
        if not self.client_id or ":" in self.client_id:
            raise BadInput("PARLEY_AUTH=oidc needs PARLEY_OIDC_CLIENT_ID.")
        if not is_safe(self._discovery, self._discovery):
            raise BadInput("PARLEY_AUTH=oidc needs PARLEY_OIDC_ISSUER, an https:// address.")
        self._secret, self._scopes = settings.oidc_client_secret, settings.oidc_scopes
        self._audience = settings.oidc_audience or settings.oidc_client_id
        self._http: aiohttp.ClientSession | None = None
        self._known: Known | None = None
        self._looking: asyncio.Task[None] | None = None
        self._looked_at = float("-inf")

    async def close(self) -> None:
        if self._looking:
            self._looking.cancel()
            await asyncio.gather(self._looking, return_exceptions=True)
        if self._http:
            await self._http.close()

    # -- whom a token means --------------------------------------------------------------------------------------
    async def bearer(self, token: str) -> Bearer:
        """Of a program's access token. Raises Unauthorized, IssuerUnavailable."""
        claims = await self._claims(token, audience=None)
        if "token_use" in claims and "aud" not in claims:  # Cognito's access tokens have no audience
            is_ours = _is_for_access(claims) and claims.get("client_id") == self._audience
        else:
            audiences = claims.get("aud")
            audiences = [audiences] if isinstance(audiences, str) else audiences
            is_ours = isinstance(audiences, list) and self._audience in audiences
            is_ours = is_ours and _is_for_access(claims)
        if not is_ours:
            raise refused()
        return Bearer(_identity(claims), datetime.fromtimestamp(claims["exp"], UTC))

    async def sign_in(self, token: str, nonce: str) -> Identity:
        """Of the ID token that came for a login of ours. Raises Unauthorized, IssuerUnavailable."""
        claims = await self._claims(token, audience=self.client_id)
        said = claims.get("nonce")
        if not isinstance(said, str) or not hmac.compare_digest(said.encode(), nonce.encode()):
            raise refused()
        several = isinstance(claims["aud"], list) and len(claims["aud"]) > 1
        if claims.get("azp", None if several else self.client_id) != self.client_id:
            raise refused()
        if claims.get("token_use", "id") != "id":
            raise refused()
        return _identity(claims)

    async def _claims(self, token: str, *, audience: str | None) -> dict[str, Any]:
        header = header_of(token)
        known = await self._look()
        key = key_for(header, known.keys)
        if key is None:
            known = await self._look(anew=True)
            key = key_for(header, known.keys)
        if key is None:
            raise refused()
        return claims_of(token, key, issuer=known.places.issuer, audience=audience)

    # -- a login -------------------------------------------------------------------------------------------------
    async def login_url(self, *, redirect_uri: str, state: str, nonce: str, challenge: str) -> str:
        """Where the browser goes. Raises IssuerUnavailable."""
        places = (await self._look()).places
        asked = {
            "response_type": "code",
            "client_id": self.client_id,
            "redirect_uri": redirect_uri,
            "scope": self._scopes,
            "state": state,
            "nonce": nonce,
            "code_challenge": challenge,
            "code_challenge_method": "S256",
        }
        return _with(places.authorization_endpoint, asked)

    async def logout_url(self, back: str) -> str | None:
        """Where the browser ends the issuer's own session, if it can, and comes back to `back`. Never raises: signing
        out here does not wait for anybody."""
        try:
            end = (await self._look()).places.end_session_endpoint
        except IssuerUnavailable:
            return None
        # Cognito has a name of its own for the way back; the others pass over what they do not know.
        way_back = {"client_id": self.client_id, "post_logout_redirect_uri": back, "logout_uri": back}
        return _with(end, way_back) if end else None

    async def is_from_here(self, iss: str | None) -> bool:
        """Whether an answer that names its issuer names this one (RFC 9207)."""
        places = (await self._look()).places
        if iss is None:
            return not places.authorization_response_iss_parameter_supported
        return iss == places.issuer

    async def exchange(self, code: str, *, verifier: str, redirect_uri: str) -> str:
        """The ID token for a login's code. Raises Unauthorized when the issuer refuses it, IssuerUnavailable."""
        places = (await self._look()).places
        form = {
            "grant_type": "authorization_code",
            "code": code,
            "redirect_uri": redirect_uri,
            "client_id": self.client_id,
            "code_verifier": verifier,
        }
        headers = {}
        methods = places.token_endpoint_auth_methods_supported
        if self._secret and "client_secret_basic" not in methods and "client_secret_post" in methods:
            form["client_secret"] = self._secret
        elif self._secret:  # RFC 6749, 2.3.1: both are encoded as in a form first
            headers["authorization"] = aiohttp.encode_basic_auth(quote_plus(self.client_id), quote_plus(self._secret))
        status, body = await self._ask("POST", places.token_endpoint, data=form, headers=headers)
        token = body.get("id_token") if isinstance(body, dict) else None
        if status >= 500:
            raise _away()
        if status != 200 or not isinstance(token, str):
            raise refused()
        return token

    # -- what is known of it -------------------------------------------------------------------------------------
    async def _look(self, *, anew: bool = False) -> Known:
        """What is known, fetched when it is not, or when it should be `anew`. Raises IssuerUnavailable."""
        known, now = self._known, time.monotonic()
        if self._looking is None or self._looking.done():
            rest = AGAIN_SECONDS if known else RETRY_SECONDS
            wanted = anew or known is None or known.at + KNOWN_SECONDS < now
            if wanted and self._looked_at + rest <= now:
                self._looked_at = now
                self._looking = asyncio.create_task(self._fetch())
        if self._looking and (known is None or anew):
            await asyncio.shield(self._looking)
        if self._known is None:
            raise _away()
        return self._known

    async def _fetch(self) -> None:
        try:
            places = await self._discover()
            status, document = await self._ask("GET", places.jwks_uri)
            keys = keys_of(document) if status == 200 else ()
            if not keys:
                raise IssuerUnavailable("It published no keys.")
            self._known = Known(places, keys, time.monotonic())
        except IssuerUnavailable as fault:
            log("issuer.unavailable", why=fault.message)

    async def _discover(self) -> Places:
        status, document = await self._ask("GET", self._discovery)
        try:
            places = msgspec.convert(document, Places)
        except msgspec.ValidationError:
            raise IssuerUnavailable("Its discovery document cannot be read.") from None
        if status != 200 or places.issuer != self.url:
            raise IssuerUnavailable("Its discovery document is another issuer's.")
        ends = (places.authorization_endpoint, places.token_endpoint, places.jwks_uri, places.end_session_endpoint)
        if not all(is_safe(url, self._discovery) for url in ends if url is not None):
            raise IssuerUnavailable("Its discovery document names an address without TLS.")
        return places

    async def _ask(self, method: str, url: str, **sent: Any) -> tuple[int, Any]:
        """Status and JSON. Follows no redirect; reads no more than a bounded answer, and not for long."""
        if self._http is None:
            # No cookies: a login is one of ours or nobody's.
            self._http = aiohttp.ClientSession(
                timeout=aiohttp.ClientTimeout(total=ANSWER_SECONDS), cookie_jar=aiohttp.DummyCookieJar()
            )
        try:
            async with self._http.request(method, url, allow_redirects=False, **sent) as answer:
                body = b""
                async for piece in answer.content.iter_chunked(65536):
                    body += piece
                    if len(body) > ANSWER_BYTES:
                        raise IssuerUnavailable("It answered too much.")
            return answer.status, json.loads(body)
        except (aiohttp.ClientError, TimeoutError, ValueError, RecursionError) as fault:
            raise IssuerUnavailable(type(fault).__name__) from None


def is_safe(url: str, issuer: str) -> bool:
    """By TLS; without it only on this machine, and only when the issuer itself is there."""
    try:
        parts, home = urlsplit(url), urlsplit(issuer)
        is_here = parts.hostname in LOOPBACK and home.scheme == "http" and home.hostname in LOOPBACK
    except ValueError:
        return False
    return bool(parts.hostname) and (parts.scheme == "https" or (parts.scheme == "http" and is_here))


def _with(url: str, query: Mapping[str, str]) -> str:
    return f"{url}{'&' if urlsplit(url).query else '?'}{urlencode(query)}"


def _identity(claims: Mapping[str, Any]) -> Identity:
    email, name = claims.get("email"), claims.get("name")
    return Identity(
        issuer=claims["iss"],
        subject=claims["sub"],
        email=email if isinstance(email, str) and 0 < len(email) <= EMAIL_CHARS else None,
        is_email_verified=claims.get("email_verified") is True,
        name=name[:NAME_CHARS] if isinstance(name, str) and name.strip() else None,
    )


def _away() -> IssuerUnavailable:
    return IssuerUnavailable("The service that people sign in with cannot be reached; try again in a moment.")


def _is_for_access(claims: Mapping[str, Any]) -> bool:
    """In Cognito's word, where it is there: an ID token is no key."""
    return bool(claims.get("token_use", "access") == "access")
