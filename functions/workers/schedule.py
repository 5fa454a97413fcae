"""The nightly job as a Lambda function, for EventBridge Scheduler: `functions.workers.schedule.handler`.

The same `nightly.summarise_chats` as Modal's Cron. The event says nothing that matters: the time has come.
"""

import asyncio
from typing import Any, Protocol

from functions import telemetry
from functions.inference.nodes import Node, nodes_from
from functions.inference.pricing import usd_per_second
from functions.services import open_services
from functions.settings import Settings
from functions.workers.nightly import summarise_chats

SPARE_SECONDS = 15.0  # to give back what is under way, before Lambda ends the process


class Context(Protocol):
    """As much of Lambda's context as is used."""

    def get_remaining_time_in_millis(self) -> int: ...


def handler(event: dict[str, Any], context: Context) -> dict[str, int]:
    """Returns how many jobs were taken."""
    telemetry.configure()
    telemetry.log("night.began", source=event.get("source"), at=event.get("time"))
    return {"jobs": asyncio.run(_work(context.get_remaining_time_in_millis() / 1000 - SPARE_SECONDS))}


async def _work(within_s: float) -> int:
    settings = Settings()
    nodes = nodes_from(settings.nodes, usd_per_second)
    if settings.model_url:
        nodes.insert(0, Node(settings.model_url, api_key=settings.model_api_key, headers=settings.model_headers))
    async with open_services(settings, nodes) as services:
        return await summarise_chats(services, within_s=within_s)
