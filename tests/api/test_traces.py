"""Traces against a real OTLP receiver on loopback: one tree for a turn, the same trace at the node, nothing of what was
said."""

import asyncio
import gzip
import secrets
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.trace.v1.trace_pb2 import Span

from tests.house import open_house
from tests.simulated import Scenario


class Receiver(ThreadingHTTPServer):
    """Takes spans as a collector does, and keeps them as they came."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.spans: list[Span] = []
        self.keys: set[str | None] = set()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}/v1/traces"

    def named(self, name: str) -> list[Span]:
        return sorted((s for s in self.spans if s.name == name), key=lambda s: s.start_time_unix_nano)


class _Handler(BaseHTTPRequestHandler):
    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["content-length"]))
        if self.headers.get("content-encoding") == "gzip":
            body = gzip.decompress(body)
        assert isinstance(self.server, Receiver)
        self.server.keys.add(self.headers.get("x-key"))
        for resource in ExportTraceServiceRequest.FromString(body).resource_spans:
            for scope in resource.scope_spans:
                self.server.spans.extend(scope.spans)
        self.send_response(200)
        self.send_header("content-length", "0")
        self.end_headers()

    def log_message(self, format: str, *args: object) -> None:
        pass


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    with Receiver() as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield server
        server.shutdown()
        thread.join()


async def test_a_turn_is_one_tree_of_spans_from_the_browser_to_the_node_and_after_a_takeover(
    tmp_path: Path, receiver: Receiver
) -> None:
    canary = f"zebra{secrets.token_hex(4)}"
    trace, parent = secrets.token_hex(16), secrets.token_hex(8)
    settings = {"traces_url": receiver.url, "traces_headers": {"x-key": "s3"}, "lease_seconds": 0.3}
    async with open_house(tmp_path, Scenario(echo=True, tokens=40, tps=60), **settings) as house:
        chat = await house.open_chat(title=canary)
        house.http.headers["traceparent"] = f"00-{trace}-{parent}-01"
        async with house.saying(chat, f"Tell {canary} to me.") as listener:
            await listener.until("delta")
            assert house.lose_leases is not None
            await asyncio.to_thread(house.lose_leases)
            last = (await listener.rest())[-1]
        assert last.name == "done", last
        sent = [headers.get("traceparent", "") for headers in house.engine.stats.headers]
        del house.http.headers["traceparent"]

    (http,) = [s for s in receiver.named("http") if s.parent_span_id.hex() == parent]
    (turn,) = [s for s in receiver.named("turn") if s.trace_id.hex() == trace]
    (rails,) = [s for s in receiver.named("input_rails") if s.trace_id.hex() == trace]
    first, second = (s for s in receiver.named("run") if s.trace_id.hex() == trace)
    assert http.trace_id.hex() == trace
    assert turn.parent_span_id == http.span_id
    assert rails.parent_span_id == turn.span_id
    assert first.parent_span_id == second.parent_span_id == turn.span_id
    assert [link.span_id for link in second.links] == [turn.span_id]
    assert list(first.links) == []
    gateways = {s.span_id.hex(): s for s in receiver.named("gateway") if s.trace_id.hex() == trace}
    assert {s.parent_span_id for s in gateways.values()} == {first.span_id, second.span_id}
    assert {s.parent_span_id for s in receiver.named("context") if s.trace_id.hex() == trace} == {
        first.span_id,
        second.span_id,
    }
    of_answers = [one for one in sent if one.startswith(f"00-{trace}-")]
    assert len(of_answers) >= 2
    assert {one.split("-")[2] for one in of_answers} == set(gateways)
    assert receiver.keys == {"s3"}
    for span in receiver.spans:
        assert canary not in str(span), span.name


async def test_without_an_address_nobody_hears_anything_and_no_node_gets_a_header(tmp_path: Path) -> None:
    async with open_house(tmp_path) as house:
        await house.say(await house.open_chat(), "Hello.")
        assert all("traceparent" not in headers for headers in house.engine.stats.headers)
