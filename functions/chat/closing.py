"""How a run ends: what is known of its answer, as one last transaction. Pure: no I/O, no clock.

run, text, progress, ending ──> closed()   the run, its message, and the event that says so
"""

from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, Literal

import msgspec

from functions.chat import opening
from functions.chat.guarded import Gate
from functions.chat.messages import (
    Citation,
    Cost,
    Done,
    Failed,
    Message,
    NodeUse,
    Problem,
    Run,
    RunEvent,
    Stopped,
    Timings,
    Usage,
    Verdict,
)
from functions.chat.rails import Rails
from functions.chat.semantic_cache import Look
from functions.chat.sources import Sources

Ending = Literal["completed", "stopped"] | Problem


@dataclass(slots=True)
class Progress:
    """What is known about an answer while it is being made."""

    accepted_ms: int
    began_ms: int
    rails: Rails  # that the run began with, in this process
    wake_ms: int = 0
    ttft_ms: int = 0
    is_flowing: bool = False  # text comes
    finish_reason: str = "stop"
    refusal: str | None = None  # what stands in the answer's place
    cut_off: str | None = None  # what an earlier worker's rails have ended the answer with
    is_withdrawn: bool = False  # it takes the place of text that was shown
    usage: Usage | None = None
    generated: int = 0  # delta frames: stands in for the count of tokens when the node could not say
    prefix_tokens: int = 0
    left_out: int = 0
    summarised: int = 0
    memories: int = 0  # that the model was shown
    depth: int = 0  # messages from the root to the question
    citations: tuple[Citation, ...] = ()  # of the passages that the model was shown
    sources: Sources | None = None  # those passages, once this process has them
    verdicts: list[Verdict] = field(default_factory=list)
    railed: int = 0  # of them, those that the rails of the node's part under way have given
    uses: list[NodeUse] = field(default_factory=list)  # of nodes, by this worker
    guard_uses: list[NodeUse] = field(default_factory=list)  # of those that serve the guard model
    look: Look | None = None  # at the semantic cache
    gate: Gate | None = None  # when a guard model judges this answer

    @property
    def usage_here(self) -> Usage:
        """What this worker's node did: an earlier worker's text came to it as prompt."""
        return self.usage or Usage(completion_tokens=self.generated)

    @property
    def usage_of_all(self) -> Usage:
        """The whole run's: what an earlier worker generated came back as prompt and counts as completion."""
        usage, taken = self.usage_here, self.prefix_tokens
        return Usage(
            prompt_tokens=max(0, usage.prompt_tokens - taken),
            cached_tokens=usage.cached_tokens,
            completion_tokens=usage.completion_tokens + taken,
        )


def closed(
    run: Run, text: str, progress: Progress, ending: Ending, *, now_ms: int, cost: Cost
) -> tuple[Run, Message, RunEvent]:
    """The run as it ended, its answer, and the terminal event. A refusal stands in the text's place."""
    status: Literal["completed", "stopped", "failed"] = "failed" if isinstance(ending, Problem) else ending
    outcome: dict[str, Any] = {
        "finish_reason": progress.finish_reason if status == "completed" else status,
        "usage": progress.usage_of_all,
        "timings": _timings(run, progress, now_ms),
        "cost": cost,
        "verdicts": tuple(progress.verdicts),
        "citations": progress.citations,
        "error": ending if isinstance(ending, Problem) else None,
    }
    ended = msgspec.structs.replace(run, status=status, ended_at=datetime.fromtimestamp(now_ms / 1000, UTC), **outcome)
    model = progress.uses[-1].model if progress.uses else run.model
    answer = opening.answer_of(
        run,
        text if progress.refusal is None else progress.refusal,
        created_at=ended.ended_at,
        status="blocked" if progress.refusal is not None else "complete" if status == "completed" else status,
        model=model,
        asked_model=run.model if model != run.model else None,  # a fallback answered
        left_out=progress.left_out,
        cached_from=progress.look.found.origin if progress.look and progress.look.found else None,
        summarised=progress.summarised,
        memories_used=progress.memories,
        **outcome,
    )
    return ended, answer, _terminal(ended, answer)


def _terminal(ended: Run, answer: Message) -> RunEvent:
    if ended.error is not None:
        return Failed(error=ended.error, message=answer)
    if ended.status == "stopped":
        return Stopped(message=answer)
    assert ended.finish_reason is not None
    return Done(
        message=answer, usage=ended.usage, timings=ended.timings, cost=ended.cost, finish_reason=ended.finish_reason
    )


def _timings(run: Run, progress: Progress, now_ms: int) -> Timings:
    return Timings(
        queue_ms=max(0, progress.began_ms - progress.accepted_ms) if run.epoch == 1 else 0,
        wake_ms=progress.wake_ms,
        ttft_ms=progress.ttft_ms,
        total_ms=now_ms - progress.accepted_ms,
    )
