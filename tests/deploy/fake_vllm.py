# ruff: noqa: T201  # its log is what tests read
"""Stands where a GPU's image has the program `vllm`: takes its command line, and serves what a CPU can do of it.

It loads `--middleware` as vLLM does, answers the model's paths through the simulated engine, and knows how to sleep.
What it was started with and what it is asked goes to its log, so that a test can read the order.
"""

import asyncio
import importlib
import json
import os
import sys
import threading
import time
from typing import Any

import httpx
import uvicorn

if __package__:  # under pytest
    from tests.simulated import Scenario, SimulatedEngine
else:  # as a program, in a folder of its own
    from simulated import Scenario, SimulatedEngine  # type: ignore[import-not-found,no-redef]

SWITCHES = ("VLLM_SERVER_DEV_MODE", "VLLM_ALLOW_RUNTIME_LORA_UPDATING", "TORCHINDUCTOR_COMPILE_THREADS")


class FakeVllm:
    def __init__(self, engine: SimulatedEngine) -> None:
        self._engine = httpx.AsyncClient(base_url=engine.url.removesuffix("/v1"), timeout=None)
        self._is_asleep = False
        self._switches = {name: os.environ.get(name) for name in SWITCHES}

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] != "http":
            return
        body, is_more = b"", True
        while is_more:
            message = await receive()
            body, is_more = body + message.get("body", b""), message.get("more_body", False)
        path = scope["path"]
        if path != "/health":
            print("HEARD", path, scope["query_string"].decode(), flush=True)
        if self._switches["VLLM_SERVER_DEV_MODE"] == "1" and path in ("/sleep", "/wake_up"):
            self._is_asleep = path == "/sleep"
            await answer(send, 200, {"status": "ok"})
        elif path == "/collective_rpc":
            await answer(send, 200, {"results": ["anything at all"]})
        elif self._is_asleep and path.startswith("/v1/"):
            await answer(send, 503, {"error": {"message": "asleep"}})
        else:
            await self._pass_on(scope, body, send)

    async def _pass_on(self, scope: Any, body: bytes, send: Any) -> None:
        headers = {"content-type": "application/json"}
        async with self._engine.stream(scope["method"], scope["path"], content=body, headers=headers) as response:
            kind = response.headers["content-type"].encode()
            await send(
                {"type": "http.response.start", "status": response.status_code, "headers": [(b"content-type", kind)]}
            )
            async for chunk in response.aiter_raw():
                await send({"type": "http.response.body", "body": chunk, "more_body": True})
            await send({"type": "http.response.body", "body": b""})


async def answer(send: Any, status: int, value: object) -> None:
    headers = [(b"content-type", b"application/json")]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": json.dumps(value).encode()})


def behind(app: Any, middleware: str) -> Any:
    """As vllm/entrypoints/serve/middleware does with a class."""
    module, _, name = middleware.rpartition(".")
    return getattr(importlib.import_module(module), name)(app)


async def serve(argv: list[str]) -> None:
    def flag(name: str) -> str:
        return argv[argv.index(name) + 1]

    print("ARGV", json.dumps(argv), flush=True)
    print("SWITCHES", json.dumps({name: os.environ.get(name) for name in SWITCHES}), flush=True)
    async with SimulatedEngine(Scenario(echo=True, tps=200), models=(flag("--served-model-name"),)) as engine:
        app = behind(FakeVllm(engine), flag("--middleware"))
        config = uvicorn.Config(app, host=flag("--host"), port=int(flag("--port")), log_level="warning", lifespan="off")
        await uvicorn.Server(config).serve()


def end_with_parent(parent: int) -> None:
    """A container that is killed takes its processes along. Where containers are only processes, nobody else would."""
    while os.getppid() == parent:
        time.sleep(0.5)
    os._exit(0)


if __name__ == "__main__":
    threading.Thread(target=end_with_parent, args=(os.getppid(),), daemon=True).start()
    asyncio.run(serve(sys.argv[1:]))
