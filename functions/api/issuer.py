"""The issuer of this house, as routes see it: where people sign in through one (`oidc.py`)."""

from typing import Any

from fastapi import Request

from functions.api.auth import services_of
from functions.api.cookies import is_tls
from functions.errors import NotFound


def issuer_of(request: Request) -> Any:
    """An `oidc.Issuer`; that module is imported only where there is one. Raises NotFound."""
    issuer = getattr(request.app.state, "issuer", None)
    if issuer is None:
        raise NotFound("Nobody signs in through an issuer here.")
    return issuer


def own_origin(request: Request) -> str:
    """As the browser sees us. An issuer sends nobody to an address that was not registered with it."""
    public = services_of(request).settings.public_url
    return public or f"{'https' if is_tls(request) else 'http'}://{request.headers.get('host', '')}"


async def logout_url(request: Request) -> str | None:
    """Where the browser ends the issuer's session too, after ours; None where there is no such place."""
    url: str | None = await issuer_of(request).logout_url(own_origin(request) + "/")
    return url
