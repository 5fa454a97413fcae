"""What is to be done once a turn has ended: jobs with ids that follow from what they are about.

    follow_ups = FollowUps(queue, clock, [summaries.after, titles.after, …])
    await follow_ups.after(turn)      # never raises: nothing of this costs an answer

The same turn ended twice (a takeover) queues the same jobs. A job that somebody works on just now is left alone. If the
process dies before its turn's jobs are queued they are lost, and the chat's next turn queues what is then due.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

from functions.chat.messages import Job, Message, Run
from functions.errors import ParleyError
from functions.ports import JobQueue
from functions.telemetry import log_fault

TONIGHT: Literal["tonight"] = "tonight"
Outcome = int | Literal["tonight"] | None  # of a job: look again then (Unix milliseconds), tonight, or done


@dataclass(frozen=True, slots=True)
class EndedTurn:
    """A turn of a chat, as it is stored."""

    run: Run  # terminal, and of a chat
    answer: Message
    depth: int  # messages from the root to the question; 0: nobody has read them


@dataclass(frozen=True, slots=True)
class FollowUp:
    job_id: str
    job: Job
    after_ms: int = 0


Rule = Callable[[EndedTurn], FollowUp | None]


class FollowUps:
    def __init__(self, queue: JobQueue, clock: Callable[[], int], rules: Sequence[Rule]) -> None:
        self._queue, self._clock, self._rules = queue, clock, rules

    async def after(self, turn: EndedTurn) -> None:
        """Queue what each rule finds due."""
        for rule in self._rules:
            if (due := rule(turn)) is None:
                continue
            try:
                at_ms = self._clock() + due.after_ms
                await self._queue.put_job(due.job_id, due.job, at_ms=at_ms, gently=True)
            except ParleyError:
                log_fault("follow_up.fault", kind=type(due.job).__name__, run=turn.run.id)
