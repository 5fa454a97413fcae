"""The HTTP side on AWS Lambda: the same app, behind the Lambda Web Adapter (infra/Dockerfile, infra/template.yaml).

    uvicorn --factory functions.aws:app

No worker runs beside it: Lambda freezes the process between requests, so background work goes by queue. A run whose
reader has left goes on to its end, because the adapter reads the answer out.
"""

from contextlib import AbstractAsyncContextManager

from aws_lambda_powertools import Logger
from fastapi import FastAPI

from functions.app import create_app
from functions.services import Services, open_services
from functions.workers.lambda_host import nodes_of, settings_here

logger = Logger(service="parley")  # the one that telemetry writes to


def app() -> FastAPI:
    settings = settings_here()

    def opened() -> AbstractAsyncContextManager[Services]:
        return open_services(settings, nodes_of(settings))

    return create_app(opened)
