"""The ASGI app: `create_app(settings)`. One app everywhere; host differences end at the process edge.

Here is the only map from an error's code to an HTTP status, and the headers that every response carries.
"""

import asyncio
import gc
import mimetypes
import re
import time
from collections.abc import AsyncIterator, Callable
from contextlib import (
    AbstractAsyncContextManager,
    AbstractContextManager,
    asynccontextmanager,
    nullcontext,
    suppress,
)
from http import HTTPStatus
from importlib import import_module
from pathlib import Path
from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import FileResponse, JSONResponse, PlainTextResponse, Response
from fastapi.routing import APIRoute
from pydantic import ValidationError
from starlette.datastructures import Headers
from starlette.exceptions import HTTPException
from starlette.staticfiles import StaticFiles
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from functions import __version__, metering, tracing
from functions.api import (
    admin,
    chats,
    cors,
    embeddings,
    exports,
    figures,
    health,
    imports,
    keys,
    knowledge,
    limits,
    lost,
    me,
    memories,
    nodes,
    openai,
    runs,
    sessions,
    shares,
    sign_in,
    templates,
    usage,
)
from functions.api.callers import Strangers
from functions.api.sse import DIRECT_SEND
from functions.chat.messages import new_id
from functions.errors import (
    BadInput,
    Conflict,
    ContextTooLong,
    Fenced,
    Forbidden,
    IssuerUnavailable,
    Limited,
    NotFound,
    Overloaded,
    ParleyError,
    Paused,
    StoreUnavailable,
    TooLarge,
    Unauthorized,
    UpstreamError,
)
from functions.services import Services
from functions.settings import BODY_BYTES, IMPORT_BYTES, KNOWLEDGE_FILE_BYTES, Settings
from functions.telemetry import allow_routes, count, log_fault, observe

DRAIN_BYTES = 16 * BODY_BYTES
DRAIN_SECONDS = 5.0
FILES = {"/knowledge": KNOWLEDGE_FILE_BYTES, "/import": IMPORT_BYTES}
OpenServices = Callable[[], AbstractAsyncContextManager[Services]]

STATUS: dict[type[ParleyError], tuple[int, str]] = {
    TooLarge: (413, "invalid_request_error"),
    ContextTooLong: (400, "invalid_request_error"),
    BadInput: (400, "invalid_request_error"),
    Unauthorized: (401, "authentication_error"),
    Forbidden: (403, "permission_error"),
    NotFound: (404, "not_found_error"),
    Conflict: (409, "conflict_error"),
    Fenced: (409, "conflict_error"),
    Limited: (429, "rate_limit_error"),
    Paused: (503, "server_error"),
    StoreUnavailable: (503, "server_error"),
    IssuerUnavailable: (503, "server_error"),
    Overloaded: (503, "server_error"),
    UpstreamError: (502, "server_error"),
}
NO_RETRY_HELPS = ("insufficient_quota", "message_exists", "gave_up", "internal")

# Scripts, styles and connections from here only, nothing inline, no HTML sinks for scripts to abuse but the one that
# registers the service worker. Pictures: a header cannot be widened, so it lets them come by TLS, and the client's
# `early.js` narrows it, before anything is drawn, to our own and the hosts that this reader has allowed.
CSP = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data: blob: https:; font-src 'self'; "
    "connect-src 'self'; manifest-src 'self'; worker-src 'self'; base-uri 'none'; form-action 'self'; "
    "frame-ancestors 'none'; require-trusted-types-for 'script'; trusted-types sw"
)
SECURITY_HEADERS = [
    (b"content-security-policy", CSP.encode()),
    (b"x-content-type-options", b"nosniff"),
    (b"referrer-policy", b"no-referrer"),
    (b"cross-origin-opener-policy", b"same-origin"),
    (b"cross-origin-resource-policy", b"same-origin"),
    (b"permissions-policy", b"camera=(), microphone=(), geolocation=()"),
]


def create_app(open_services: OpenServices, web: Path | None = None) -> FastAPI:
    """`open_services` is entered at start-up and left at shutdown; `web` is the built client, if any."""

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        async with open_services() as services, _open_issuer(services.settings) as issuer:
            app.state.services, app.state.issuer = services, issuer
            _settle_garbage()
            yield

    app = _App(
        title="Parley",
        version=__version__,
        description="Your own private ChatGPT. Errors carry OpenAI's envelope and a stable code.",
        lifespan=lifespan,
        docs_url=None,  # Swagger's page loads scripts from another host
        redoc_url=None,
    )
    for room in (
        sign_in,
        chats,
        exports,
        openai,
        embeddings,
        runs,
        me,
        sessions,
        keys,
        admin,
        cors,
        limits,
        shares,
        imports,
        memories,
        templates,
        knowledge,
        usage,
        figures,
        nodes,
        health,
    ):  # tried in order
        app.include_router(room.router)
        allow_routes(route.path for route in room.router.routes if isinstance(route, APIRoute))
    app.state.strangers = Strangers()
    app.add_exception_handler(ParleyError, _on_parley_error)
    app.add_exception_handler(RequestValidationError, _on_invalid)
    app.add_exception_handler(ValidationError, _on_invalid)
    app.add_exception_handler(HTTPException, _on_http)
    app.add_middleware(Edge)
    _serve_web(app, web)
    allow_routes(["/"])
    return app


@asynccontextmanager
async def _open_issuer(settings: Settings) -> AsyncIterator[object]:
    """Where people sign in through one; its cryptography is imported only there. It is not asked anything yet."""
    if settings.auth != "oidc":
        yield None
        return
    oidc = await asyncio.to_thread(import_module, "functions.api.oidc")
    issuer = oidc.Issuer(settings)
    try:
        yield issuer
    finally:
        await issuer.close()


class _App(FastAPI):
    """Keeps the server's own `send` at hand, for streams: five layers wrap it on the way in, each once per frame."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        scope[DIRECT_SEND] = send
        await super().__call__(scope, receive, send)


def _settle_garbage() -> None:
    """What is loaded now stays: the collector need not walk through half a million objects again and again. And it
    need not look at every 700 new ones: a token's are freed by their counts."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(20_000, 20, 50)


# -- errors ------------------------------------------------------------------------------------------------------


def _envelope(status: int, kind: str, message: str, code: str, param: str | None = None) -> JSONResponse:
    count("parley_errors_total", code=code)
    error = {"message": message, "type": kind, "code": code, "param": param}
    return JSONResponse({"error": error}, status)


async def _on_parley_error(_: Request, error: Exception) -> Response:
    assert isinstance(error, ParleyError)
    status, kind = next((STATUS[c] for c in type(error).__mro__ if c in STATUS), (500, "server_error"))
    if error.code == "insufficient_quota":
        kind = "insufficient_quota"
    response = _envelope(status, kind, error.message, error.code, error.param)
    if isinstance(error, Limited | Paused):
        count("parley_limited_total", kind=error.code)
        response.headers["retry-after"] = str(max(1, round(error.retry_after_s)))
    if error.code in NO_RETRY_HELPS or (isinstance(error, UpstreamError) and not isinstance(error, Overloaded)):
        # The official client retries 409, 429 and 5xx by itself; here that only costs time.
        response.headers["x-should-retry"] = "false"
    return response


async def _on_invalid(_: Request, error: Exception) -> Response:
    """The first thing that is wrong, named by its path; never the value, which may be anything."""
    assert isinstance(error, RequestValidationError | ValidationError)
    first = error.errors()[0]
    where = ".".join(str(part) for part in first["loc"] if part not in ("body", "query", "path", "header"))
    if first["type"] == "json_invalid":
        return _envelope(400, "invalid_request_error", "The body is not valid JSON.", "invalid_json")
    text = first["msg"].removeprefix("Value error, ")
    message = f"`{where}` {text}." if first["type"] == "value_error" and where else f"{where or 'The body'}: {text}."
    code = "too_large" if "is too long:" in text else "bad_input"
    return _envelope(413 if code == "too_large" else 400, "invalid_request_error", message, code, where or None)


async def _on_http(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    if isinstance(error.__cause__, ParleyError):  # FastAPI wraps what reading the body raised
        return await _on_parley_error(request, error.__cause__)
    if error.status_code == 404 and lost.is_a_person(request):
        return lost.page(request)
    phrase = HTTPStatus(error.status_code).phrase
    code = phrase.lower().replace(" ", "_")
    response = _envelope(error.status_code, "invalid_request_error", f"{phrase}.", code)
    response.headers.update(error.headers or {})
    return response


def _on_fault(scope: Scope) -> Response:
    """What nobody expected. In `Edge`, and no handler of Starlette's: its answer would lack the headers, and the server
    would hear of the exception as well, print its words, and close the connection."""
    log_fault("http.fault", path=_route_of(scope))
    return _envelope(500, "server_error", "Something broke on our side; please try again.", "internal")


# -- every request and response ----------------------------------------------------------------------------------


class Edge:
    """Bounds the body before anything reads it, names the request, and adds the headers. Pure ASGI: it adds
    nothing per token."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        with _span_of(scope):
            await self._serve(scope, receive, send)
        metering.flush(now=False)

    async def _serve(self, scope: Scope, receive: Receive, send: Send) -> None:
        request_id = new_id().encode()
        began = time.perf_counter()
        scope.setdefault("state", {})["came_ms"] = time.time_ns() // 1_000_000  # before anything was awaited

        has_begun = False

        async def send_with_headers(message: Message) -> None:
            nonlocal has_begun
            if message["type"] == "http.response.start":
                has_begun = True
                _measure(scope, message["status"], began)
                extra = [(b"x-request-id", request_id), *SECURITY_HEADERS]
                if origin := scope.get("state", {}).get("allowed_origin"):  # a page that its key lets in (`auth`)
                    extra += [(b"access-control-allow-origin", origin.encode()), (b"vary", b"Origin")]
                if not any(name == b"cache-control" for name, _ in message["headers"]):
                    extra.append((b"cache-control", b"no-store"))
                message["headers"] = [*message["headers"], *extra]
            await send(message)

        received, most = 0, _most_bytes(scope)

        async def receive_bounded() -> Message:
            nonlocal received
            message = await receive()
            received += len(message.get("body", b""))
            if received > most:
                await _drain(receive, message)
                raise TooLarge(f"The body may have {most} bytes at most.")
            return message

        if _declares_too_much(scope, most):
            await _drain(receive, {"type": "http.request", "more_body": True})
            error = TooLarge(f"The body may have {most} bytes at most.")
            response = await _on_parley_error(Request(scope), error)
            await response(scope, receive, send_with_headers)
            return
        try:
            await self._app(scope, receive_bounded, send_with_headers)
        except Exception:  # the edge of a request
            response = _on_fault(scope)
            if has_begun:  # the server cuts the connection, so that half an answer does not pass for a whole one
                raise
            await response(scope, receive, send_with_headers)


def _measure(scope: Scope, status: int, began: float) -> None:
    route = _route_of(scope)
    observe(
        "parley_http_seconds",
        time.perf_counter() - began,
        route=route,
        method=scope["method"],
        status=str(status),
    )
    tracing.note(route=route, status=status)


def _route_of(scope: Scope) -> str:
    """The template, never the path: that has ids in it."""
    route = scope.get("route")
    return "none" if route is None else getattr(route, "path_format", None) or "static"


def _span_of(scope: Scope) -> AbstractContextManager[object]:
    """The browser's or a program's own trace goes on here, if it names one."""
    if not tracing.is_on():
        return nullcontext()
    named = next((value for name, value in scope["headers"] if name == b"traceparent"), b"")
    return tracing.span("http", kind="server", parent=named.decode("latin-1") or None, method=scope["method"])


def _most_bytes(scope: Scope) -> int:
    """A file is the one body that may be large: its route writes it to disk as it comes."""
    return FILES.get(scope["path"], BODY_BYTES) if scope["method"] == "POST" else BODY_BYTES


def _declares_too_much(scope: Scope, most: int) -> bool:
    lengths = [value for name, value in scope["headers"] if name == b"content-length"]
    return any(not value.isdigit() or int(value) > most for value in lengths)


async def _drain(receive: Receive, last: Message) -> None:
    """Read on, and forget: a client that is still sending sees a reset connection instead of our answer. Bounded,
    because nobody owes a stream of garbage more than that."""
    left = DRAIN_BYTES
    with suppress(TimeoutError):
        async with asyncio.timeout(DRAIN_SECONDS):
            while last["type"] == "http.request" and last.get("more_body") and left > 0:
                last = await receive()
                left -= len(last.get("body", b""))


# -- the web client ----------------------------------------------------------------------------------------------

_HASHED = re.compile(r"-[\w-]{8,}\.\w+$")  # Vite puts a content hash into the name of every asset
_CODINGS = {".br": "br", ".gz": "gzip"}  # smallest first


class Assets(StaticFiles):
    """Hashed names never change: cached for good. Everything else is asked for again. What the build has packed is
    sent packed."""

    def __init__(self, directory: Path) -> None:
        super().__init__(directory=directory)
        mimetypes.init()  # it reads files, which the first request must not wait for
        forms = [form for form in (directory / "assets").glob("*") if form.suffix in _CODINGS]
        self._packed = {str(form): form.stat() for form in forms}

    def file_response(self, full_path: Any, stat_result: Any, scope: Scope, status_code: int = 200) -> Response:
        is_hashed = bool(_HASHED.search(str(full_path)))
        suffix = self._smallest(str(full_path), Headers(scope=scope).get("accept-encoding", ""))
        if suffix:
            full_path = f"{full_path}{suffix}"
            stat_result = self._packed[full_path]
        response = super().file_response(full_path, stat_result, scope, status_code)
        response.headers["cache-control"] = "public, max-age=31536000, immutable" if is_hashed else "no-cache"
        response.headers.add_vary_header("accept-encoding")
        if suffix:
            response.headers["content-encoding"] = _CODINGS[suffix]
        return response

    def _smallest(self, path: str, accepted: str) -> str:
        """The end of the name of the smallest form that the client reads; nothing where that is the file itself."""
        refused = re.compile(r";\s*q=0(\.0*)?\s*$")
        read = {coding.split(";")[0].strip() for coding in accepted.split(",") if not refused.search(coding)}
        return next((end for end, name in _CODINGS.items() if name in read and path + end in self._packed), "")


def _serve_web(app: FastAPI, web: Path | None) -> None:
    index = web / "index.html" if web else None
    if web is None or index is None or not index.is_file():

        @app.api_route("/", methods=["GET", "HEAD"], include_in_schema=False)
        async def no_client() -> Response:
            return PlainTextResponse(
                "The web client is not built. Run: npm --prefix web ci && npm --prefix web run build\n"
            )

        return

    @app.api_route("/", methods=["GET", "HEAD"], include_in_schema=False)
    def page() -> Response:  # in a thread: it looks at the file
        return FileResponse(index, headers={"cache-control": "no-cache"})

    app.mount("/", Assets(directory=web), name="web")
