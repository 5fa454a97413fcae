"""A server under test, as a process of its own: `python -m tests.bench.serve naive|parley`, settings by environment.

Prints its port when it listens; ends when its standard input does, so that it never outlives the benchmark.
Both servers run on the same uvicorn configuration, the one of `parley dev`.
"""

import asyncio
import os
import socket
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import uvicorn


class Server(uvicorn.Server):
    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        if self.started:
            port = self.servers[0].sockets[0].getsockname()[1]
            print(port, flush=True)  # noqa: T201 (the parent reads it)
            asyncio.get_running_loop().add_reader(sys.stdin.fileno(), self._leave)

    def _leave(self) -> None:
        asyncio.get_running_loop().remove_reader(sys.stdin.fileno())
        self.should_exit = True


def _parley() -> Any:
    """The app of `parley dev`, without its engine, its web client and its browser; with its worker."""
    from functions import telemetry
    from functions.app import create_app
    from functions.inference.nodes import Node
    from functions.services import Services, open_services, open_store
    from functions.settings import Settings
    from functions.workers.embedded import working

    telemetry.configure("WARNING")
    settings = Settings()
    node = Node(os.environ["UPSTREAM"], name="bench", serverless=False)

    @asynccontextmanager
    async def opened() -> AsyncIterator[Services]:
        if settings.store_url.startswith("dynamodb://"):
            await (await open_store(settings.store_url, create=True)).close()
        async with open_services(settings, [node]) as services, working(services):
            yield services

    return create_app(opened)


def _naive() -> Any:
    from tests.bench.naive import app

    return app


def main() -> None:
    app = {"parley": _parley, "naive": _naive}[sys.argv[1]]()
    config = uvicorn.Config(
        app, port=0, log_config=None, access_log=False, timeout_graceful_shutdown=2, server_header=False
    )
    Server(config).run()


if __name__ == "__main__":
    main()
