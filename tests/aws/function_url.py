"""What stands between a client and the app on Lambda, as documented: a function URL in RESPONSE_STREAM mode and the web
adapter behind it. No package of the adapter can be had here, so this is a stand-in for both, and proves our side only.

    async with function_url("http://127.0.0.1:8080") as url:

- the response leaves piece by piece, as the app writes it;
- a client that goes away ends nothing: the function runs on, and the adapter reads the response to its end;
- a request body comes whole, 6 MB of it at most, and larger ones never reach the app;
- the app sees the function's own host, and the name that was asked for in x-forwarded-host.
"""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from aiohttp import ClientSession, ClientTimeout, web

BODY_BYTES = 6 * 1024 * 1024
OF_THE_CONNECTION = ("host", "connection", "transfer-encoding", "content-length", "keep-alive")


@asynccontextmanager
async def function_url(app: str) -> AsyncIterator[str]:
    async with ClientSession(timeout=ClientTimeout(total=900), auto_decompress=False) as session:

        async def handle(request: web.Request) -> web.StreamResponse:
            body = await request.read()
            headers = {name: value for name, value in request.headers.items() if name.lower() not in OF_THE_CONNECTION}
            headers["x-forwarded-host"] = request.host
            async with session.request(
                request.method, app + request.raw_path, headers=headers, data=body, allow_redirects=False
            ) as answered:
                kept = {
                    name: value for name, value in answered.headers.items() if name.lower() not in OF_THE_CONNECTION
                }
                response = web.StreamResponse(status=answered.status, headers=kept)
                response.enable_chunked_encoding()
                await response.prepare(request)
                is_there = True
                async for piece in answered.content.iter_any():
                    try:
                        if is_there:
                            await response.write(piece)
                    except ConnectionError:
                        is_there = False
                if is_there:
                    await response.write_eof()
                return response

        server = web.Application(client_max_size=BODY_BYTES)
        server.router.add_route("*", "/{path:.*}", handle)
        runner = web.AppRunner(server, access_log=None, handler_cancellation=False)
        await runner.setup()
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        try:
            name, port = runner.addresses[0][:2]
            yield f"http://{name}:{port}"
        finally:
            await runner.cleanup()
