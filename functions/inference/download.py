"""One file from a model hub, once: resumed where it stopped, and not believed before its SHA-256 is right.

Promises: the final path exists only with the right content (checked, then renamed). What an interrupted download
got stays beside it as `.part`, also across runs, and is continued; a part that turns out wrong is deleted.

Does not know which model to want or what to do without it. Sends nothing about the user but the request itself.
(huggingface_hub's own download deletes a partial file when the process ends, so it cannot be continued.)
"""

import hashlib
import ssl
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from http.client import HTTPException, HTTPResponse
from pathlib import Path

from functions.chat.messages import Struct
from functions.errors import ParleyError

HUB = "https://huggingface.co"
CONNECT_SECONDS = 3.0  # a machine without network must not wait for its demo
READ_SECONDS = 30.0
ATTEMPTS = 5  # without any progress in between
RETRY_SECONDS = 0.2
# Not every OSError: one that comes from the disk names no network, and no retry helps
NETWORK_ERRORS = (urllib.error.URLError, TimeoutError, ConnectionError, HTTPException, ssl.SSLError)
CHUNK_BYTES = 1 << 20

Progress = Callable[[int, int], None]  # bytes so far, bytes in all


class HubFile(Struct, frozen=True, kw_only=True):
    """A file at one revision: the name can never mean other bytes."""

    repo: str
    revision: str
    name: str
    size: int
    sha256: str

    def url(self, hub: str) -> str:
        return f"{hub.rstrip('/')}/{self.repo}/resolve/{self.revision}/{self.name}"


class Unreachable(ParleyError):
    """No network, or none that leads to the hub."""

    code = "hub_unreachable"


class WrongChecksum(ParleyError):
    code = "wrong_checksum"


def fetch(file: HubFile, folder: Path, *, hub: str = HUB, progress: Progress = lambda done, total: None) -> Path:
    """The path of the whole, checked file. Blocks. Raises Unreachable, WrongChecksum or OSError (the disk)."""
    if not hub.startswith(("https://", "http://")):
        raise ValueError("the model hub's address must be http(s)")
    target = folder / file.name
    if target.exists():
        return target
    folder.mkdir(parents=True, exist_ok=True)
    part = target.with_name(f"{target.name}.{file.sha256[:8]}.part")  # never continues another revision's
    _knock(file.url(hub))
    _complete(file, part, hub, progress)
    if _sha256(part) != file.sha256:
        part.unlink()
        raise WrongChecksum("The downloaded model is not the expected file, so it was deleted.")
    part.replace(target)
    return target


class _StayHere(urllib.request.HTTPRedirectHandler):
    def redirect_request(self, *_: object) -> None:
        """No redirect is followed: an answer is all we want to know."""


def _knock(url: str) -> None:
    """Is there a hub, with this file? In a thread of its own, since no timeout bounds the look-up of a name."""
    answers: list[int | None] = []
    thread = threading.Thread(target=lambda: answers.append(_status(url)), daemon=True)
    thread.start()
    thread.join(CONNECT_SECONDS)
    if not answers or answers[0] is None:
        raise Unreachable("The model hub cannot be reached.")
    if answers[0] >= 400:
        raise Unreachable("The model hub does not have the model.")


def _status(url: str) -> int | None:
    opener = urllib.request.build_opener(_StayHere)
    try:
        with _open(url, {}, method="HEAD", timeout=CONNECT_SECONDS, opener=opener) as response:
            return response.status
    except urllib.error.HTTPError as answer:
        answer.close()
        return answer.code
    except (OSError, HTTPException):
        return None


def _complete(file: HubFile, part: Path, hub: str, progress: Progress) -> None:
    """Ask for what is missing until nothing is; a break costs an attempt only if the connection brought nothing."""
    failures = 0
    while (have := _size(part)) < file.size:
        try:
            for done in _rest(file.url(hub), part, have):
                progress(done, file.size)
        except NETWORK_ERRORS:
            pass  # the next attempt goes on from what has come
        failures = 0 if _size(part) > have else failures + 1
        if failures >= ATTEMPTS:
            raise Unreachable("The download of the model broke off. It goes on from there at the next start.")
        time.sleep(failures * RETRY_SECONDS)


def _rest(url: str, part: Path, have: int) -> Iterator[int]:
    """Append the rest to the part, saying how far it is; from the start again when the hub cannot resume."""
    headers = {"Range": f"bytes={have}-"} if have else {}
    with _open(url, headers, timeout=READ_SECONDS) as response:
        resumed = response.status == 206
        with part.open("ab" if resumed else "wb") as sink:
            done = have if resumed else 0
            while chunk := response.read1(CHUNK_BYTES):
                sink.write(chunk)
                done += len(chunk)
                yield done


def _open(
    url: str,
    headers: dict[str, str],
    *,
    timeout: float,
    method: str = "GET",
    opener: urllib.request.OpenerDirector | None = None,
) -> HTTPResponse:
    headers = {"User-Agent": "parley", "Accept-Encoding": "identity", **headers}
    request = urllib.request.Request(url, headers=headers, method=method)  # noqa: S310 (fetch has checked)
    response: HTTPResponse = (opener or urllib.request.build_opener()).open(request, timeout=timeout)
    return response


def _size(path: Path) -> int:
    return path.stat().st_size if path.exists() else 0


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
