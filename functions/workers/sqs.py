"""A bell's job as a Lambda function, for both queues: `functions.workers.sqs.handler`.

    the bell names a job ─ taken? ─ done here; a run is followed to its end
                             └ not there: done before. Held: whoever holds it was rung as well. Not due: rung again

A message is acknowledged when its job is done, given back to the store's queue (which rings again), or somebody else's.
Before Lambda would end the process, runs under way are let go: their next bell finds another worker.
"""

import asyncio
import logging
from functools import cache, partial
from typing import Any

import boto3
import msgspec
from aws_lambda_powertools import Logger
from aws_lambda_powertools.utilities.batch import BatchProcessor, EventType, process_partial_response
from aws_lambda_powertools.utilities.batch.types import PartialItemFailureResponse
from aws_lambda_powertools.utilities.data_classes.sqs_event import SQSRecord
from aws_lambda_powertools.utilities.typing import LambdaContext

from functions.services import Services
from functions.settings import LambdaSettings
from functions.telemetry import as_line
from functions.workers.bell import Bell, Ringing, now_ms
from functions.workers.lambda_host import SPARE_SECONDS, Warm

logger = Logger(service="parley", json_serializer=as_line)  # the logger of this name, which telemetry writes to
processor = BatchProcessor(EventType.SQS, raise_on_entire_batch_failure=False, logger=logging.getLogger("parley"))
warm = Warm()
_decode = msgspec.json.Decoder(Bell).decode


class OutOfTime(Exception):
    """This call ends before the job does; the message comes back."""


@logger.inject_lambda_context
def handler(event: dict[str, Any], context: LambdaContext) -> PartialItemFailureResponse:
    """The messages that are to come again are named."""

    def answer(record: SQSRecord) -> None:
        bell = _decode(record.body)
        within_s = context.get_remaining_time_in_millis() / 1000 - SPARE_SECONDS
        logger.thread_safe_append_keys(job=bell.job_id)
        try:
            warm.run(partial(_answer, bell=bell, within_s=within_s))
        except OutOfTime:
            warm.close()  # lets its runs go
            raise

    return process_partial_response(event, answer, processor, context)


async def _answer(services: Services, *, bell: Bell, within_s: float) -> None:
    queued = await services.jobs.take(bell.lane, bell.job_id)
    if queued is None:
        if bell.due_ms > now_ms():
            await asyncio.to_thread(_ringing().ring, bell)
        return
    try:
        async with asyncio.timeout(max(0.0, within_s)):
            await services.jobs.do(queued, bell.lane)
            await services.runs.settle()
    except TimeoutError:
        raise OutOfTime from None


@cache
def _ringing() -> Ringing:
    return Ringing(boto3.client("sqs"), LambdaSettings())
