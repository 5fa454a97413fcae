"""The clock as a Lambda function, for EventBridge Scheduler: `functions.workers.schedule.handler`.

The schedule's input says what it is time for: `{"do": "night"}` for the same `nightly.summarise_chats` as Modal's Cron,
`{"do": "sweep"}` for what no bell was heard of, and for what is overdue.
"""

from typing import Any, Literal

import msgspec
from aws_lambda_powertools import Logger
from aws_lambda_powertools.utilities.typing import LambdaContext

from functions.services import Services
from functions.telemetry import as_line, log, log_fault
from functions.workers.embedded import sweep
from functions.workers.lambda_host import SPARE_SECONDS, Warm
from functions.workers.nightly import summarise_chats

logger = Logger(service="parley", json_serializer=as_line)
warm = Warm()


class Time(msgspec.Struct, frozen=True):
    do: Literal["night", "sweep"] = "night"


class Failed(Exception):
    """Says only of which type the exception was; the log has the rest."""


@logger.inject_lambda_context
def handler(event: dict[str, Any], context: LambdaContext) -> dict[str, int]:
    """Returns how many jobs were taken."""
    time = msgspec.convert(event, Time)
    within_s = context.get_remaining_time_in_millis() / 1000 - SPARE_SECONDS
    log("clock.struck", do=time.do)

    async def work(services: Services) -> int:
        if time.do == "sweep":
            return await sweep(services, within_s=within_s)
        return await summarise_chats(services, within_s=within_s)

    try:
        return {"jobs": warm.run(work)}
    except Exception as fault:  # Lambda prints the words of what it is given
        log_fault("clock.fault", do=time.do)
        raise Failed(type(fault).__name__) from None
