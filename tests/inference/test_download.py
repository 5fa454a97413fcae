"""The download against a hub on a real socket that cuts, forgets, lies or is not there."""

import hashlib
import random
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from functions.inference import download
from functions.inference.download import HubFile, Unreachable, WrongChecksum, fetch

CONTENT = b"GGUF" + random.Random(0).randbytes(3_000_000)
FILE = HubFile(
    repo="someone/some-model-GGUF",
    revision="a" * 40,
    name="some-model.gguf",
    size=len(CONTENT),
    sha256=hashlib.sha256(CONTENT).hexdigest(),
)
PART = f"some-model.gguf.{FILE.sha256[:8]}.part"


class Hub:
    """Answers like the hub: HEAD and GET of `/{repo}/resolve/{revision}/{file}`, with a redirect to a second place."""

    def __init__(self) -> None:
        self.content = CONTENT
        self.cuts: list[int] = []  # the next answers end after so many bytes
        self.resumes = True
        self.ranges: list[str | None] = []
        self.agents: set[str | None] = set()
        self.url = ""


@contextmanager
def running_hub() -> Iterator[Hub]:
    hub = Hub()

    class Handler(BaseHTTPRequestHandler):
        def do_HEAD(self) -> None:
            self._answer(lambda start: None)

        def do_GET(self) -> None:
            self._answer(self._send)

        def _answer(self, send: Callable[[int], None]) -> None:
            hub.agents.add(self.headers["User-Agent"])
            if self.path == f"/{FILE.repo}/resolve/{FILE.revision}/{FILE.name}":
                self.send_response(302)
                self.send_header("Location", "/blob")
                self.end_headers()
            elif self.path == "/blob":
                asked = self.headers["Range"]
                if send == self._send:
                    hub.ranges.append(asked)
                start = int(asked.removeprefix("bytes=").removesuffix("-")) if asked and hub.resumes else 0
                self.send_response(206 if start else 200)
                self.send_header("Content-Length", str(len(hub.content) - start))
                self.end_headers()
                send(start)
            else:
                self.send_error(404)

        def _send(self, start: int) -> None:
            end = hub.cuts.pop(0) if hub.cuts else len(hub.content)
            self.wfile.write(hub.content[start : start + end])
            self.close_connection = True

        def log_message(self, *_: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        hub.url = f"http://127.0.0.1:{server.server_port}"
        try:
            yield hub
        finally:
            server.shutdown()
            thread.join()


@pytest.fixture
def hub() -> Iterator[Hub]:
    with running_hub() as started:
        yield started


def test_a_file_is_fetched_once(hub: Hub, tmp_path: Path) -> None:
    seen: list[int] = []
    path = fetch(FILE, tmp_path / "models", hub=hub.url, progress=lambda done, total: seen.append(done))
    fetch(FILE, tmp_path / "models", hub=hub.url)

    assert path.read_bytes() == CONTENT
    assert seen[-1] == len(CONTENT)
    assert seen == sorted(seen)
    assert len(hub.ranges) == 1
    assert hub.agents == {"parley"}
    assert [entry.name for entry in path.parent.iterdir()] == ["some-model.gguf"]


def test_a_connection_that_breaks_is_resumed_where_it_broke(hub: Hub, tmp_path: Path) -> None:
    hub.cuts = [1_000_000, 500_000]
    path = fetch(FILE, tmp_path, hub=hub.url)

    assert path.read_bytes() == CONTENT
    assert hub.ranges == [None, "bytes=1000000-", "bytes=1500000-"]


def test_an_interrupted_download_goes_on_in_the_next_run(hub: Hub, tmp_path: Path) -> None:
    def interrupt(done: int, total: int) -> None:
        if done > 1_000_000:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fetch(FILE, tmp_path, hub=hub.url, progress=interrupt)
    got = (tmp_path / PART).stat().st_size
    assert got > 1_000_000
    assert not (tmp_path / FILE.name).exists()

    assert fetch(FILE, tmp_path, hub=hub.url).read_bytes() == CONTENT
    assert hub.ranges[1:] == [f"bytes={got}-"]


def test_a_hub_that_cannot_resume_is_asked_for_the_whole(hub: Hub, tmp_path: Path) -> None:
    hub.cuts, hub.resumes = [1_000_000], False

    assert fetch(FILE, tmp_path, hub=hub.url).read_bytes() == CONTENT


def test_a_file_with_other_content_is_refused_and_deleted(hub: Hub, tmp_path: Path) -> None:
    hub.content = CONTENT[:-1] + b"?"
    with pytest.raises(WrongChecksum):
        fetch(FILE, tmp_path, hub=hub.url)

    assert list(tmp_path.iterdir()) == []


def test_a_part_that_was_damaged_is_refused_and_deleted(hub: Hub, tmp_path: Path) -> None:
    (tmp_path / PART).write_bytes(b"?" * 1_000_000)
    with pytest.raises(WrongChecksum):
        fetch(FILE, tmp_path, hub=hub.url)
    assert list(tmp_path.iterdir()) == []

    assert fetch(FILE, tmp_path, hub=hub.url).read_bytes() == CONTENT


def test_a_hub_that_keeps_breaking_is_given_up_and_the_part_is_kept(
    hub: Hub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(download, "RETRY_SECONDS", 0)
    hub.cuts = [1_000_000] + 100 * [0]
    with pytest.raises(Unreachable):
        fetch(FILE, tmp_path, hub=hub.url)

    assert len(hub.ranges) == 1 + download.ATTEMPTS
    assert (tmp_path / PART).stat().st_size == 1_000_000


@pytest.mark.parametrize("url", ["http://127.0.0.1:9", "http://nowhere.invalid"])
def test_no_hub_is_said_at_once_and_leaves_nothing(url: str, tmp_path: Path) -> None:
    with pytest.raises(Unreachable):
        fetch(FILE, tmp_path, hub=url)

    assert list(tmp_path.iterdir()) == []


def test_a_hub_without_the_file_is_as_good_as_none(hub: Hub, tmp_path: Path) -> None:
    with pytest.raises(Unreachable):
        fetch(FILE, tmp_path, hub=f"{hub.url}/mirror")


def test_only_http_is_a_hub(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="http"):
        fetch(FILE, tmp_path, hub="file:///etc")
