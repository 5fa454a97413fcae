"""A guard model that follows a script: Qwen3Guard's answers over OpenAI's wire, on a real socket.

    async with ScriptedGuard() as guard:
        nodes = [..., guard.node()]

What it says follows from the text it judges (the last message), by the words in it; `together` are words that are bad
only when one text has them all. It is in the test's own loop, and everything it was asked is in `asked`.

    wolfsbane    Unsafe, Violent                   mumble     an answer that is no verdict
    nettle       Controversial, Unethical Acts     collapse   500, a key of the node's in the text
    silence      no answer, until the caller goes  chatter    words without end

`hold()` stops every answer before it begins until `release()`; `await guard.until(lambda: …)` waits without sleeping.
"""

import asyncio
import json
import random
from collections.abc import Callable, Sequence
from typing import Any

from aiohttp import web
from aiohttp.typedefs import Handler

from functions.inference.nodes import Node

BAD, ODD, GARBLED, BROKEN, SILENT, ENDLESS = "wolfsbane", "nettle", "mumble", "collapse", "silence", "chatter"
HARM = "Violent"


class ScriptedGuard:
    def __init__(self, *, together: Sequence[str] = (), delay_ms: float = 0.0, seed: int = 0) -> None:
        """`delay_ms`: each answer comes after up to so long, by the dice."""
        self.together = tuple(together)
        self.asked: list[list[dict[str, str]]] = []
        self.sampled: list[dict[str, Any]] = []  # what else stood in the request
        self.is_asleep = False  # 503 to everything, as a serverless host says it
        self.turned_away = 0
        self.aborted = 0
        self.open = 0
        self.port = 0
        self._dice = random.Random(seed)
        self._delay_s = delay_ms / 1000
        self._gate = asyncio.Event()
        self._gate.set()
        self._changed = asyncio.Condition()
        self._runner: web.AppRunner | None = None

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/v1"

    @property
    def judged(self) -> list[str]:
        """The texts, in the order they came."""
        return [messages[-1]["content"] for messages in self.asked]

    def node(self, **more: Any) -> Node:
        return Node(self.url, name="guard", task="moderate", **more)

    def hold(self) -> None:
        self._gate.clear()

    def release(self) -> None:
        self._gate.set()

    async def until(self, condition: Callable[[], bool], timeout: float = 10) -> None:
        async with asyncio.timeout(timeout), self._changed:
            await self._changed.wait_for(condition)

    async def _tell(self) -> None:
        async with self._changed:
            self._changed.notify_all()

    # -- life ------------------------------------------------------------------------------------------------

    async def __aenter__(self) -> "ScriptedGuard":
        app = web.Application(middlewares=[self._wakeful])
        app.router.add_get("/v1/models", self._models)
        app.router.add_get("/version", self._version)
        app.router.add_post("/v1/chat/completions", self._complete)
        self._runner = web.AppRunner(app, access_log=None, handler_cancellation=True, shutdown_timeout=0.1)
        await self._runner.setup()
        site = web.TCPSite(self._runner, "127.0.0.1", self.port)
        await site.start()
        self.port = self._runner.addresses[0][1]
        return self

    async def __aexit__(self, *_: object) -> None:
        assert self._runner is not None
        await self._runner.cleanup()

    # -- its wire --------------------------------------------------------------------------------------------

    @web.middleware
    async def _wakeful(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        if not self.is_asleep:
            return await handler(request)
        self.turned_away += 1
        await self._tell()
        return web.Response(status=503, text="modal-http: no containers available")

    async def _models(self, _: web.Request) -> web.Response:
        card = {"id": "guard", "object": "model", "created": 0, "owned_by": "vllm", "max_model_len": 8192}
        return web.json_response({"object": "list", "data": [card]})

    async def _version(self, _: web.Request) -> web.Response:
        return web.json_response({"version": "0.0-scripted"})

    async def _complete(self, request: web.Request) -> web.StreamResponse:
        body = await request.json()
        messages = body.pop("messages")
        self.asked.append(messages)
        self.sampled.append(body)
        self.open += 1
        await self._tell()
        try:
            await self._gate.wait()
            if self._delay_s:
                await asyncio.sleep(self._dice.uniform(0, self._delay_s))
            return await self._answer(request, messages)
        except (asyncio.CancelledError, ConnectionError):
            self.aborted += 1
            raise
        finally:
            self.open -= 1
            await asyncio.shield(self._tell())

    async def _answer(self, request: web.Request, messages: list[dict[str, str]]) -> web.StreamResponse:
        text = messages[-1]["content"].lower()
        if BROKEN in text:
            return web.json_response({"error": {"message": "node-secret-7f3a: it broke", "code": 500}}, status=500)
        if SILENT in text:
            await asyncio.Event().wait()
        response = web.StreamResponse(headers={"content-type": "text/event-stream"})
        await response.prepare(request)
        while ENDLESS in text:
            await response.write(_frame({"content": "and so on "}))
        for piece in (self._verdict(text, is_answer=len(messages) > 1)).splitlines(keepends=True):
            await response.write(_frame({"content": piece}))
        await response.write(_frame({}, "stop", {"prompt_tokens": 300, "completion_tokens": 12}) + b"data: [DONE]\n\n")
        await response.write_eof()
        return response

    def _verdict(self, text: str, *, is_answer: bool) -> str:
        if GARBLED in text:
            return "Safety: Safe, I think. Categories: Violent"
        is_bad = BAD in text or (self.together and all(word in text for word in self.together))
        safety, harm = ("Unsafe", HARM) if is_bad else ("Controversial", "Unethical Acts") if ODD in text else SAFE
        return f"Safety: {safety}\nCategories: {harm}" + ("\nRefusal: No" if is_answer else "")


SAFE = ("Safe", "None")


def _frame(delta: dict[str, str], reason: str | None = None, usage: dict[str, int] | None = None) -> bytes:
    choice = {"index": 0, "delta": delta, "logprobs": None, "finish_reason": reason}
    chunk = {"id": "guard", "object": "chat.completion.chunk", "created": 0, "model": "guard", "choices": [choice]}
    return b"data: " + json.dumps(chunk | ({"usage": usage} if usage else {})).encode() + b"\n\n"
