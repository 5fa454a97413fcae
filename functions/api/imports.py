"""Chats from elsewhere: the body is the file, the answer tells how it goes and what came of it."""

from collections.abc import AsyncGenerator, Sequence
from contextlib import AsyncExitStack, aclosing
from typing import Any, cast

import msgspec
from fastapi import APIRouter, Request, Response
from starlette.requests import ClientDisconnect
from starlette.types import Receive, Scope, Send

from functions.api.auth import CurrentPrincipal, CurrentServices
from functions.api.sse import EventStream
from functions.chat.imports import Brought, Imports, Progress
from functions.errors import BadInput
from functions.reading.scratch import Scratch, scratch
from functions.settings import IMPORTS_PER_MINUTE

router = APIRouter(tags=["import"])
WRITE_BYTES = 256 * 1024  # gathered before a thread writes them
PARTS = 100  # of the whole: no more news than that


@router.post("/import", response_model=None)
async def import_chats(request: Request, who: CurrentPrincipal, services: CurrentServices) -> Response:
    """A Parley export, or the ZIP or conversations.json of a ChatGPT export. What is there already stays as it is."""
    services.imports.refuse_second(who.owner)
    await services.quotas.admit(who.owner, "imports", per_minute=IMPORTS_PER_MINUTE, what="files")
    async with AsyncExitStack() as stack:
        file = await stack.enter_async_context(scratch())
        try:
            await _receive(request, file)
        except ClientDisconnect:
            return Response(status_code=400)  # nobody reads it
        if not file.size:
            raise BadInput("The file is empty.")
        return _Telling(services.imports, who.owner, file, stack.pop_all())


async def _receive(request: Request, file: Scratch) -> None:
    """The body, to disk: never more of it in memory than one write."""
    waiting: list[bytes] = []
    async for chunk in request.stream():
        waiting.append(chunk)
        if sum(map(len, waiting)) >= WRITE_BYTES:
            await file.append(waiting)
            waiting = []
    await file.append(waiting)


class _Telling(EventStream):
    """`progress` …, then `done`, or `failed`. Whoever leaves ends it; the file goes in any case."""

    def __init__(self, imports: Imports, owner: str, file: Scratch, held: AsyncExitStack) -> None:
        super().__init__(cast("Any", _news(imports, owner, file)), cast("Any", _frames))
        self._held = held

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async with self._held:
            await super().__call__(scope, receive, send)


async def _news(imports: Imports, owner: str, file: Scratch) -> AsyncGenerator[Sequence[Progress | Brought], None]:
    told = -1
    async with aclosing(imports.bring(owner, file.path)) as news:
        async for one in news:
            if isinstance(one, Progress):
                if (part := int(one.part * PARTS)) == told:
                    continue
                told = part
            yield [] if one is None else [one]


def _frames(news: Sequence[Progress | Brought]) -> bytes:
    return b"".join(b"event: %s\ndata: %s\n\n" % (_name(one), msgspec.json.encode(one)) for one in news)


def _name(one: Progress | Brought) -> bytes:
    if isinstance(one, Progress):
        return b"progress"
    return b"failed" if one.trouble else b"done"
