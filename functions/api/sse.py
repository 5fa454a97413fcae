"""Server-sent events straight to the ASGI server: no task group, no re-encoding, one write for what came together.

A reader that leaves ends its own stream and nothing else; a slow one holds back only itself (the server's flow
control makes `send` wait).
"""

import asyncio
from collections.abc import AsyncGenerator, Callable, Mapping, Sequence
from contextlib import aclosing

from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from functions.chat.messages import LoggedEvent

PING = b": ping\n\n"
DIRECT_SEND = "parley.send"  # in the scope: the server's own send, without what is wrapped around it
HEADERS = {
    "cache-control": "no-store",
    "x-accel-buffering": "no",  # nginx would gather the stream into pages
}


def native_frame(logged: LoggedEvent) -> bytes:
    """`id`, `event`, `data`; the data bytes are those that the store holds."""
    return b"id: %d\nevent: %s\ndata: %s\n\n" % (logged.seq, logged.name.encode(), logged.data)


def native_frames(batch: Sequence[LoggedEvent]) -> bytes:
    return b"".join(map(native_frame, batch))


class EventStream(Response):
    """Sends `render(batch)` for each batch of `events`; an empty batch is a sign of life."""

    media_type = "text/event-stream"

    def __init__(
        self,
        events: AsyncGenerator[Sequence[LoggedEvent], None],
        render: Callable[[Sequence[LoggedEvent]], bytes] = native_frames,
        *,
        headers: Mapping[str, str] | None = None,
        on_disconnect: Callable[[], None] | None = None,
        at_end: Callable[[], bytes] = bytes,
    ) -> None:
        super().__init__(headers={**HEADERS, **(headers or {})})
        self._events, self._render = events, render
        self._on_disconnect, self._at_end = on_disconnect, at_end
        del self.headers["content-length"]

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await send({"type": "http.response.start", "status": self.status_code, "headers": self.raw_headers})
        # The start has gone through all layers; the frames need none of them.
        sending = asyncio.ensure_future(self._send_all(scope.get(DIRECT_SEND, send)))
        leaving = asyncio.ensure_future(until_disconnect(receive))
        try:
            await asyncio.wait((sending, leaving), return_when=asyncio.FIRST_COMPLETED)
            if not sending.done() and self._on_disconnect:
                self._on_disconnect()
        finally:
            for task in (sending, leaving):
                task.cancel()
            await asyncio.gather(sending, leaving, return_exceptions=True)
        if not sending.cancelled() and (fault := sending.exception()):
            raise fault

    async def _send_all(self, send: Send) -> None:
        async with aclosing(self._events) as events:
            async for batch in events:
                body = self._render(batch) if batch else PING
                if body:
                    await send({"type": "http.response.body", "body": body, "more_body": True})
        await send({"type": "http.response.body", "body": self._at_end(), "more_body": False})


async def until_disconnect(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass
