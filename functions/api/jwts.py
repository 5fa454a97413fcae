"""Whether a token is what it says: a compact JWT against an issuer's public keys. Pure; PyJWT does the cryptography.

Nothing that a token says of its own key is followed (`jwk`, `jku`, `x5u`): `kid` only chooses among keys that the
issuer publishes. Only signatures with public keys count, so nobody signs with what everybody can read.
"""

import json
import time
from base64 import urlsafe_b64decode
from collections.abc import Iterable, Mapping
from typing import Any

import jwt
import msgspec

from functions.errors import Unauthorized

TOKEN_BYTES = 8192
KID_CHARS = 256
SUBJECT_CHARS = 255  # OpenID Connect Core, section 2
SKEW_SECONDS = 60
RSA_BITS = 2048
LATEST = 1e11  # Unix seconds: what a calendar can hold
# By the kind of key, and for elliptic ones the curve: a key verifies nothing else than what it was made for.
ALGORITHMS: Mapping[tuple[str, str | None], tuple[str, ...]] = {
    ("RSA", None): ("RS256", "RS384", "RS512", "PS256", "PS384", "PS512"),
    ("EC", "P-256"): ("ES256",),
    ("EC", "P-384"): ("ES384",),
    ("EC", "P-521"): ("ES512",),
    ("OKP", "Ed25519"): ("EdDSA",),
}
ALLOWED = frozenset(name for names in ALGORITHMS.values() for name in names)


class Key(msgspec.Struct, frozen=True):
    """One public key of an issuer, for one algorithm."""

    kid: str | None
    algorithm: str
    public: jwt.PyJWK


class Header(msgspec.Struct, frozen=True):
    kid: str | None
    algorithm: str


def refused() -> Unauthorized:
    """The same words for every reason: who forges tokens learns nothing from them."""
    return Unauthorized("This token is not valid here; sign in again.")


def keys_of(document: Any) -> tuple[Key, ...]:
    """The keys of a JWK set that may verify a signature; the others are passed over: symmetric ones, those for
    encryption, short ones, and whatever cannot be read."""
    listed = document.get("keys") if isinstance(document, dict) else None
    found: list[Key] = []
    for jwk in listed if isinstance(listed, list) else []:
        if isinstance(jwk, dict):
            found.extend(_keys_of(jwk))
    return tuple(found)


def _keys_of(jwk: dict[str, Any]) -> Iterable[Key]:
    kind, curve, kid, named = (jwk.get(name) for name in ("kty", "crv", "kid", "alg"))
    if jwk.get("use", "sig") != "sig" or not isinstance(kid, str | None) or not isinstance(kind, str):
        return
    try:
        fitting = ALGORITHMS.get((kind, None if kind == "RSA" else curve), ())
        for algorithm in fitting:
            if named in (None, algorithm):
                public = jwt.PyJWK(jwk, algorithm=algorithm)
                if kind != "RSA" or public.key.key_size >= RSA_BITS:
                    yield Key(kid, algorithm, public)
    except (jwt.PyJWTError, ValueError, TypeError):  # a key that is none; the others still count
        return


def header_of(token: str) -> Header:
    """What a token says of how it is signed, not believed yet. Raises Unauthorized."""
    if len(token) > TOKEN_BYTES or not token.isascii() or token.count(".") != 2:
        raise refused()
    header = _object(token.split(".", 1)[0])
    algorithm, kid = header.get("alg"), header.get("kid")
    if not isinstance(algorithm, str) or algorithm not in ALLOWED or "crit" in header or "b64" in header:
        raise refused()
    if kid is not None and not (isinstance(kid, str) and len(kid) <= KID_CHARS):
        raise refused()
    return Header(kid, algorithm)


def key_for(header: Header, keys: Iterable[Key]) -> Key | None:
    """The key that the header names; without a name, the only one that fits."""
    fitting = [key for key in keys if key.algorithm == header.algorithm and header.kid in (None, key.kid)]
    return fitting[0] if len(fitting) == 1 else None


def claims_of(token: str, key: Key, *, issuer: str, audience: str | None) -> dict[str, Any]:
    """What the issuer says, once the signature and the times are right. `audience` None: the caller looks at `aud`.
    Raises Unauthorized."""
    claims = _object(token.split(".")[1])
    times = [claims[name] for name in ("exp", "iat", "nbf") if name in claims]
    if not all(isinstance(at, int | float) and not isinstance(at, bool) and 0 <= at < LATEST for at in times):
        raise refused()
    try:
        jwt.decode(
            token,
            key.public,
            algorithms=[key.algorithm],
            issuer=issuer,
            audience=audience,
            leeway=SKEW_SECONDS,
            options={
                "require": ["exp", "iat", "iss", "sub"],
                "verify_aud": audience is not None,
                "enforce_minimum_key_length": True,
            },
        )
    except (jwt.PyJWTError, ValueError, TypeError, OverflowError):
        raise refused() from None
    if not 0 < len(claims["sub"]) <= SUBJECT_CHARS or claims["exp"] + SKEW_SECONDS <= time.time():
        raise refused()
    return claims


def _object(part: str) -> dict[str, Any]:
    """A part of the token as JSON. Names that come twice are refused: two readers could choose differently."""

    def unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        if len(found := dict(pairs)) != len(pairs):
            raise ValueError
        return found

    def no_number(_: str) -> None:  # NaN, Infinity
        raise ValueError

    try:
        text = urlsafe_b64decode(part + "=" * (-len(part) % 4))
        value = json.loads(text, object_pairs_hook=unique, parse_constant=no_number)
    except (ValueError, RecursionError):
        raise refused() from None
    if not isinstance(value, dict):
        raise refused()
    return value
