"""Bells: on AWS nobody polls the store's queue of jobs; a message in SQS says which job is due.

    job stored ─ the table's stream ─ stream.handler ─ a bell in SQS ─ sqs.handler ─ the job, taken by its name

The job itself stays in the store (decision 0015), written in the transaction of what it belongs to. A bell holds
nothing but its name, so it may be lost, doubled or late: it is rung again whenever the job changes, and a clock sweeps
up what no bell was heard of.
"""

import time
from typing import Any

import msgspec

from functions.chat.messages import Lane
from functions.settings import LambdaSettings

DELAY_MAX_SECONDS = 900  # SQS keeps a message back no longer; who is rung too early rings again


class Bell(msgspec.Struct, frozen=True, kw_only=True):
    """`due_ms`: Unix milliseconds. `group`: what must be done one after the other, a chat's runs."""

    job_id: str
    lane: Lane
    due_ms: int
    group: str


class Ringing:
    """Sends bells. `sqs` is boto3's client."""

    def __init__(self, sqs: Any, settings: LambdaSettings) -> None:  # boto3 has no types
        self._sqs, self._settings = sqs, settings

    def ring(self, bell: Bell) -> None:
        """At once a run goes to the queue that keeps the order of each chat; all else to the one that can wait. Raises
        what boto3 raises."""
        body = msgspec.json.encode(bell).decode()
        delay_s = min(max(0, -(-(bell.due_ms - now_ms()) // 1000)), DELAY_MAX_SECONDS)
        if bell.lane == "runs" and delay_s == 0:
            self._sqs.send_message(
                QueueUrl=self._settings.runs_queue_url,
                MessageBody=body,
                MessageGroupId=bell.group,
                MessageDeduplicationId=f"{bell.job_id}:{bell.due_ms}",
            )
        else:
            self._sqs.send_message(QueueUrl=self._settings.later_queue_url, MessageBody=body, DelaySeconds=int(delay_s))


def now_ms() -> int:
    """Unix milliseconds."""
    return time.time_ns() // 1_000_000
