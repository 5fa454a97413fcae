"""The HTTP side on AWS Lambda: the same app, behind the Lambda Web Adapter (infra/Dockerfile, infra/template.yaml).

    uvicorn --factory functions.aws:app

Guards are made ready beside the first requests: whoever reads need not wait for them, and a first message does not
wait longer. No worker runs beside it: Lambda freezes the process between requests, so background work goes by queue. A
run whose reader has left goes on to its end, because the adapter reads the answer out.
"""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from aws_lambda_powertools import Logger
from fastapi import FastAPI

from functions.app import create_app
from functions.services import Services, open_services
from functions.telemetry import as_line, hush_libraries
from functions.workers.lambda_host import nodes_of, settings_here

logger = Logger(service="parley", json_serializer=as_line)  # the one that telemetry writes to


def app() -> FastAPI:
    hush_libraries()  # the server's own lines have exceptions in their words
    settings = settings_here()

    @asynccontextmanager
    async def opened() -> AsyncIterator[Services]:
        async with open_services(settings, nodes_of(settings), guards_later=True) as services:
            preparing = asyncio.create_task(asyncio.to_thread(services.turns.rails.ready), name="guards")
            try:
                yield services
            finally:
                await preparing

    return create_app(opened)
