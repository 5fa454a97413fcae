"""The stream of the table of jobs as a Lambda function: `functions.workers.stream.handler`.

Each job that becomes free to be taken (new, delayed, given back) rings its bell. One that somebody holds does not:
the message by which they got it comes back if they die. It knows no models and no chats, so it starts fast.
"""

import logging
from base64 import b64decode
from functools import cache
from typing import Any

import boto3
import msgspec
from aws_lambda_powertools import Logger
from aws_lambda_powertools.utilities.batch import BatchProcessor, EventType, process_partial_response
from aws_lambda_powertools.utilities.batch.types import PartialItemFailureResponse
from aws_lambda_powertools.utilities.data_classes.dynamo_db_stream_event import DynamoDBRecord
from aws_lambda_powertools.utilities.typing import LambdaContext

from functions.chat.messages import Job, Lane, RunJob
from functions.settings import LambdaSettings
from functions.telemetry import as_line, log
from functions.workers.bell import Bell, Ringing

# What dynamo_jobs calls the lanes. The other two are the night's, which a clock looks through.
LANES: dict[str, Lane] = {"all": "runs", "work": "work"}

logger = Logger(service="parley", json_serializer=as_line)  # the logger of this name, which telemetry writes to
processor = BatchProcessor(
    EventType.DynamoDBStreams, raise_on_entire_batch_failure=False, logger=logging.getLogger("parley")
)
_decode = msgspec.json.Decoder(Job).decode


@logger.inject_lambda_context
def handler(event: dict[str, Any], context: LambdaContext) -> PartialItemFailureResponse:
    """The records that could not be told on are named, and come again."""
    return process_partial_response(event, _tell_on, processor, context)


def _tell_on(record: DynamoDBRecord) -> None:
    bell = bell_of(record)
    if bell is not None:
        _ringing().ring(bell)
        log("job.rung", job=bell.job_id, lane=bell.lane)


def bell_of(record: DynamoDBRecord) -> Bell | None:
    """None when this change leaves nobody to be woken. Raises for a job that this version cannot read."""
    image = record.dynamodb.new_image if record.dynamodb else None
    if not image or image.get("receipt") or image.get("queue") not in LANES:
        return None
    job = _decode(b64decode(image["data"]))  # Lambda's events are JSON
    group = (job.chat_id or job.run_id) if isinstance(job, RunJob) else image["id"]
    return Bell(job_id=image["id"], lane=LANES[image["queue"]], due_ms=int(image["due_ms"]), group=group)


@cache
def _ringing() -> Ringing:
    return Ringing(boto3.client("sqs"), LambdaSettings())
