"""Model servers that register themselves: each says every few seconds that it is there, and is forgotten when it does
not. Only with the house's node key, never with a user's token: whoever registers a node reads everybody's prompts, and
Parley calls it with this key.

A server under a name that another one holds is refused: two that take turns would each lose half of their chats.
"""

import asyncio
import hmac
import re
import time
from typing import Annotated
from urllib.parse import urlsplit

from fastapi import APIRouter, Depends, Path, Request, Response
from pydantic import AfterValidator, Field, StringConstraints

from functions.api.auth import CurrentServices
from functions.api.chats import as_json
from functions.api.fields import Body, ShortText
from functions.chat.messages import JoinedNode
from functions.errors import Conflict, NotFound, Unauthorized
from functions.inference.pricing import usd_per_second
from functions.settings import NODE_EXPIRES_SECONDS, NODE_HEARTBEAT_SECONDS

NODE_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,62}\Z")
URL_CHARS = 2048


def _a_server(text: str) -> str:
    try:
        parts = urlsplit(text)
        is_address = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:  # "http://[", a port of 99999
        is_address = False
    if not is_address or not text.isascii() or not text.isprintable() or " " in text:
        raise ValueError("must be the http(s) address of an OpenAI-compatible server, e.g. http://10.0.0.7:8000/v1")
    if parts.username is not None or parts.password is not None:
        raise ValueError("must not contain credentials; the node is called with the node key")
    if parts.query or parts.fragment:
        raise ValueError("must not have a query or a fragment")
    return text.rstrip("/")


def _a_name(text: str) -> str:
    if not NODE_NAME.match(text):
        raise ValueError(
            "must be 1 to 63 letters, digits, dots, dashes or underscores, and begin with none of the last"
        )
    return text


NodeName = Annotated[str, Path(max_length=255), AfterValidator(_a_name)]
ModelId = Annotated[str, StringConstraints(min_length=1, max_length=256)]


class Heartbeat(Body):
    """What a node says of itself. The price: `usd_per_hour`, or that of `gpu` in the table, or none."""

    url: Annotated[str, StringConstraints(max_length=URL_CHARS), AfterValidator(_a_server)]
    models: Annotated[tuple[ModelId, ...], Field(max_length=256)] = ()
    gpu: ShortText = ""
    usd_per_hour: Annotated[float, Field(ge=0, le=100_000, allow_inf_nan=False)] | None = None
    slots: Annotated[int, Field(ge=0, le=100_000)] = 0


async def _with_node_key(request: Request, services: CurrentServices) -> None:
    wanted = services.settings.node_key
    if not wanted:
        raise NotFound("Registration of nodes is closed here; the operator opens it by setting PARLEY_NODE_KEY.")
    scheme, _, key = request.headers.get("authorization", "").partition(" ")
    if scheme.lower() != "bearer" or not hmac.compare_digest(key.strip().encode(), wanted.encode()):
        await asyncio.sleep(0.5)  # guessing must not be cheap
        raise Unauthorized("This needs the node key (header `Authorization: Bearer …`); a user's token does not do.")


router = APIRouter(tags=["nodes"], dependencies=[Depends(_with_node_key)])


@router.put("/nodes/{name}")
async def join(name: NodeName, body: Heartbeat, services: CurrentServices) -> Response:
    """A first heartbeat joins, each further one keeps the node for `expires_seconds`."""
    now_ms = _now_ms()
    price = body.usd_per_hour
    if price is None:
        price = usd_per_second(body.gpu) * 3600 if body.gpu else 0.0
    if any(node.name == name or node.url == body.url for node in services.gateway.named):
        raise Conflict("The operator's own settings name a server of this name or address; it need not join.")
    for known in await services.store.list_nodes(now_ms=now_ms):
        if known.name == name and known.url != body.url:
            raise Conflict(
                f"Another server is registered as {name}; choose another name, or wait {NODE_EXPIRES_SECONDS:.0f} s "
                "if it was this one at another address."
            )
    node = JoinedNode(
        name=name,
        url=body.url,
        models=body.models,
        gpu=body.gpu,
        usd_per_hour=round(price, 6),
        slots=body.slots,
        joined_ms=now_ms,
        expires_ms=now_ms + round(NODE_EXPIRES_SECONDS * 1000),
    )
    await services.store.put_node(node)
    return as_json({"node": node, "heartbeat_seconds": NODE_HEARTBEAT_SECONDS, "expires_seconds": NODE_EXPIRES_SECONDS})


@router.get("/nodes")
async def list_nodes(services: CurrentServices) -> Response:
    return as_json({"data": await services.store.list_nodes(now_ms=_now_ms())})


@router.delete("/nodes/{name}", status_code=204)
async def leave(name: NodeName, services: CurrentServices) -> Response:
    """Also when it is not there any more."""
    await services.store.drop_node(name)
    return Response(status_code=204)


def _now_ms() -> int:
    return time.time_ns() // 1_000_000
