"""What stands before the app where it listens by itself: bounds for what comes before an app is asked.

The parser keeps a head until it is whole, however long that takes: sixty megabytes of small headers from a stranger
were a gigabyte of memory, and one header of two hundred held the process for a minute and a half. Where a proxy stands
before us it bounds heads itself.
"""

import asyncio

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from functions.settings import HEAD_BYTES, HEAD_SECONDS, PIPELINED_MAX


class BoundedHttp(HttpToolsProtocol):
    """uvicorn's own protocol. A head that is longer than HEAD_BYTES (and what came along with its last piece) is
    answered with 400, one that is not whole after HEAD_SECONDS ends its connection. The same holds for what surrounds
    a body that comes in pieces: their sizes, and the headers after them; and who asks on before they are answered may
    do so PIPELINED_MAX times."""

    _bytes = 0  # of this request, from the second time on that something of it came; of that:
    _body_bytes = 0
    _patience: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # as uvicorn's
        super().connection_made(transport)
        self._wait_for_head()

    def connection_lost(self, exc: Exception | None) -> None:
        self._head_is_there()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        self._bytes += len(data)
        super().data_received(data)
        if self._patience is None and self.timeout_keep_alive_task is None and self._is_idle():
            # No head begins with an empty line, and uvicorn takes it for the next request.
            self.timeout_keep_alive_task = self.loop.call_later(HEAD_SECONDS, self.timeout_keep_alive_handler)
        # A body is among what came, and a piece of it of one byte has five around it.
        if self._bytes <= HEAD_BYTES + 8 * self._body_bytes or self.transport.is_closing():
            return
        if self._patience is None:  # the app is answering already
            self.transport.close()
        else:
            self.send_400_response("The head of this request is too long.")

    def on_message_begin(self) -> None:
        super().on_message_begin()
        self._bytes = self._body_bytes = 0
        self._wait_for_head()

    def on_headers_complete(self) -> None:
        self._head_is_there()
        if len(self.pipeline) >= PIPELINED_MAX:
            raise ValueError("too many")  # the parser tells it as a request that is none
        super().on_headers_complete()

    def on_body(self, body: bytes) -> None:
        self._body_bytes += len(body)
        super().on_body(body)

    def _is_idle(self) -> bool:
        return self.cycle is not None and self.cycle.response_complete

    def _wait_for_head(self) -> None:
        self._head_is_there()
        self._patience = self.loop.call_later(HEAD_SECONDS, self.transport.close)

    def _head_is_there(self) -> None:
        if self._patience is not None:
            self._patience.cancel()
            self._patience = None
