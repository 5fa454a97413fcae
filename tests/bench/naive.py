"""What everybody writes first: FastAPI and httpx, a shared client, line by line, a line of JSON in and one out.

It is the yardstick of `tests.bench.chat_layer`: no guardrails, no history, nothing kept. Not slowed down on purpose:
one client for all requests, no middleware, and the same server (uvicorn, uvloop, httptools) as Parley.
"""

import json
import os
from collections.abc import AsyncIterator

import httpx
from fastapi import FastAPI, Request
from fastapi.responses import StreamingResponse

app = FastAPI()
client = httpx.AsyncClient(timeout=None, limits=httpx.Limits(max_connections=None, max_keepalive_connections=1024))


@app.post("/v1/chat/completions")
async def chat_completions(request: Request) -> StreamingResponse:
    body = await request.json()
    return StreamingResponse(_relay(body), media_type="text/event-stream")


async def _relay(body: object) -> AsyncIterator[str]:
    async with client.stream("POST", os.environ["UPSTREAM"] + "/chat/completions", json=body) as response:
        async for line in response.aiter_lines():
            if not line.startswith("data: ") or line == "data: [DONE]":
                continue
            chunk = json.loads(line[6:])
            text = chunk["choices"][0]["delta"].get("content") if chunk["choices"] else None
            if text:
                event = {"choices": [{"index": 0, "delta": {"content": text}}]}
                yield f"data: {json.dumps(event)}\n\n"
    yield "data: [DONE]\n\n"
