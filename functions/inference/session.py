"""The HTTP client of this room: one session for all nodes, made for long streams."""

from typing import Any

import aiohttp
import msgspec

from functions.inference.limits import Limits

READ_BUFFER_BYTES = 64 * 1024  # aiohttp stops reading the socket at twice this

# What asking may raise. Not only aiohttp's own: a host name that can be none, also in a redirect, is a UnicodeError,
# and what cannot be a header another ValueError.
NO_ANSWER = (aiohttp.ClientError, OSError, ValueError)
NO_JSON = (msgspec.MsgspecError, UnicodeDecodeError, RecursionError)  # what reading nonsense may raise


def new_session(limits: Limits) -> aiohttp.ClientSession:
    return aiohttp.ClientSession(
        connector=aiohttp.TCPConnector(limit=0, keepalive_timeout=4),  # uvicorn closes at 5: be first
        cookie_jar=aiohttp.DummyCookieJar(),
        timeout=aiohttp.ClientTimeout(total=None, sock_connect=limits.connect_s),
        headers={"User-Agent": "parley", "Accept-Encoding": "identity"},  # a proxy that compresses also buffers
        read_bufsize=READ_BUFFER_BYTES,
    )


async def post(
    session: aiohttp.ClientSession, url: str, body: bytes, headers: dict[str, str], **options: Any
) -> aiohttp.ClientResponse:
    """Once more, at once, if the other side hung up: it was a kept connection, closed while we took it."""
    try:
        return await session.post(url, data=body, headers=headers, **options)
    except aiohttp.ClientConnectorError:
        raise
    except (aiohttp.ServerDisconnectedError, aiohttp.ClientOSError):
        return await session.post(url, data=body, headers=headers, **options)
