"""A proxy before the DynamoDB API that misbehaves on demand: what a network and a busy AWS do, at the wire.

with proxy(endpoint) as bad:
    bad.faults = ["throttle", "lost", …]  # one for each call whose name is in `bad.calls`, first come first served
"""

import http.client
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import urlsplit

_TYPE = "com.amazonaws.dynamodb.v20120810#"
ANSWERS: dict[str, tuple[int, dict[str, Any]]] = {
    "throttle": (400, {"__type": _TYPE + "ThrottlingException", "message": "Rate exceeded"}),
    "capacity": (400, {"__type": _TYPE + "ProvisionedThroughputExceededException", "message": "Too much"}),
    "server": (500, {"__type": _TYPE + "InternalServerError", "message": "Oops"}),
    "conflict": (
        400,
        {
            "__type": _TYPE + "TransactionCanceledException",
            "message": "Transaction cancelled, please refer cancellation reasons for specific reasons",
            "CancellationReasons": [{"Code": "None"}, {"Code": "TransactionConflict", "Message": "ongoing"}],
        },
    ),
    "single conflict": (400, {"__type": _TYPE + "TransactionConflictException", "message": "ongoing"}),
    "denied": (400, {"__type": _TYPE + "AccessDeniedException", "message": "a text that nobody should see"}),
}


@dataclass
class BadProxy:
    url: str = ""
    upstream: str = ""
    calls: frozenset[str] = frozenset()
    faults: list[str] = field(default_factory=list)
    seen: list[str] = field(default_factory=list)  # the names of all calls
    lock: threading.Lock = field(default_factory=threading.Lock)

    def fault(self, call: str) -> str:
        with self.lock:
            self.seen.append(call)
            return self.faults.pop(0) if call in self.calls and self.faults else ""


@contextmanager
def proxy(endpoint: str) -> Iterator[BadProxy]:
    bad = BadProxy(upstream=urlsplit(endpoint).netloc)

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        wbufsize = 1 << 16  # head and body in one packet: two cost a delayed acknowledgement, 40 ms
        disable_nagle_algorithm = True

        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            fault = bad.fault(self.headers["X-Amz-Target"].partition(".")[2])
            if fault in ANSWERS:
                status, answer = ANSWERS[fault]
                self._answer(status, json.dumps(answer).encode())
                return
            status, answer_body = self._forward(body)
            if fault == "lost":  # done, and nobody hears of it
                self.close_connection = True
                return
            self._answer(status, answer_body)

        def _forward(self, body: bytes) -> tuple[int, bytes]:
            upstream = http.client.HTTPConnection(bad.upstream, timeout=10)
            try:
                upstream.request("POST", self.path, body, dict(self.headers))
                response = upstream.getresponse()
                return response.status, response.read()
            finally:
                upstream.close()

        def _answer(self, status: int, body: bytes) -> None:
            self.send_response(status)
            self.send_header("Content-Type", "application/x-amz-json-1.0")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: Any) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    bad.url = f"http://127.0.0.1:{server.server_address[1]}"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
    thread.start()
    try:
        yield bad
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
