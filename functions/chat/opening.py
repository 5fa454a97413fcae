"""How a turn is first stored: what a caller asked for, as one transaction. Pure: no I/O, no clock.

request, run, question ──> going()     the run begins; its job is there if its worker dies
                       └─> refused()   blocked input: a finished turn, and no node ever hears of it
"""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import msgspec

from functions.chat.messages import (
    Citation,
    Cited,
    Cost,
    Delta,
    Done,
    GuardrailActed,
    LoggedEvent,
    Message,
    Run,
    RunEvent,
    RunJob,
    RunStarted,
    Sampling,
    Timings,
    Titled,
    Usage,
    Verdict,
)
from functions.ports import NewTurn

TITLE_CHARS = 60
RETRY_WINDOW_MS = 10 * 60 * 1000  # how long an idempotency key that is no message id is remembered
PLAIN = Sampling()


@dataclass(frozen=True, slots=True)
class TurnRequest:
    """What a caller asks for, already parsed.

    Exactly one of: `message_id` with `content` (a new user message under `parent_id`), `regenerate` (a new answer to
    the user message that this answer had), `prompt` (the whole conversation, OpenAI's form, no chat kept).
    `key` makes it idempotent; `parent_id` "leaf" is the chat's active leaf.
    """

    key: str
    chat_id: str | None = None
    model: str | None = None
    message_id: str | None = None
    content: str | None = None
    parent_id: str | Literal["leaf"] | None = "leaf"
    regenerate: str | None = None
    prompt: tuple[dict[str, Any], ...] | None = None  # the node's wire
    sampling: Sampling = PLAIN
    mode: Literal["stream", "async"] = "stream"
    cache: bool = True  # an earlier answer to the same question will do, where the operator allows it
    knowledge: bool = False  # answered from the documents that the caller may read
    replace_key: bool = False


def going(
    request: TurnRequest, run: Run, question: Message | None, title: str | None, *, now_ms: int, job_at_ms: int
) -> NewTurn:
    """The run goes on: in this process, which holds it already (status running), or in whichever takes its job."""
    job = RunJob(owner=run.owner, run_id=run.id, chat_id=run.chat_id)
    turn = _turn(request, run, question, title, _first_events(run, title), now_ms)
    return msgspec.structs.replace(turn, job=job, job_at_ms=job_at_ms)


def refused(
    request: TurnRequest, run: Run, question: Message | None, title: str | None, refusal: str, *, now_ms: int
) -> NewTurn:
    """Verdict and refusal, stored as a finished turn."""
    run = msgspec.structs.replace(run, status="completed", ended_at=run.created_at, finish_reason="content_filter")
    answer = answer_of(
        run, refusal, status="blocked", finish_reason="content_filter", created_at=run.created_at, verdicts=run.verdicts
    )
    done = Done(message=answer, usage=Usage(), timings=Timings(), cost=Cost(), finish_reason="content_filter")
    events = _first_events(run, title, Delta(text=refusal), done)
    turn = _turn(request, run, question, title, events, now_ms)
    return msgspec.structs.replace(turn, answer=answer if run.chat_id else None)


def answer_of(run: Run, text: str, **fields: Any) -> Message:  # the rest of Message's own fields
    """The assistant's message of a run."""
    known: dict[str, Any] = {"model": run.model, "usage": Usage(), "timings": Timings(), "cost": Cost()}
    return Message(
        id=run.assistant_message_id,
        chat_id=run.chat_id or "",
        parent_id=run.user_message_id,
        role="assistant",
        content=text,
        run_id=run.id,
        **known | fields,
    )


def size_of(request: TurnRequest) -> int:
    """Characters that the caller brought with this call."""
    prompt = request.prompt or ()
    return len(request.content or "") + sum(len(str(message.get("content") or "")) for message in prompt)


def acted(verdict: Verdict) -> GuardrailActed:
    """A verdict as the reader sees it."""
    return GuardrailActed(**msgspec.structs.asdict(verdict))


def verdicts_in(events: Sequence[LoggedEvent]) -> list[Verdict]:
    """All verdicts that a run's log tells of."""
    said = (logged.event for logged in events)
    return [Verdict(**msgspec.structs.asdict(event)) for event in said if isinstance(event, GuardrailActed)]


def citations_in(events: Sequence[LoggedEvent]) -> tuple[Citation, ...]:
    """The passages that a run's log says the model was shown."""
    said = (logged.event for logged in events)
    return tuple(Citation(**msgspec.structs.asdict(event)) for event in said if isinstance(event, Cited))


def title_of(text: str) -> str:
    """The beginning, cut at a word: a title at once and for free."""
    line = " ".join(text.split())
    if len(line) <= TITLE_CHARS:
        return line
    head = line[:TITLE_CHARS]
    return (head.rsplit(" ", 1)[0] if " " in head else head) + "…"


def _first_events(run: Run, title: str | None, *more: RunEvent) -> tuple[LoggedEvent, ...]:
    started = RunStarted(
        run_id=run.id,
        chat_id=run.chat_id,
        user_message_id=run.user_message_id,
        assistant_message_id=run.assistant_message_id,
        model=run.model,
        status=run.status,
    )
    titled = [Titled(title=title)] if title else []
    events: list[RunEvent] = [started, *titled, *map(acted, run.verdicts), *more]
    return tuple(LoggedEvent.of(seq, event) for seq, event in enumerate(events, 1))


def _turn(
    request: TurnRequest,
    run: Run,
    question: Message | None,
    title: str | None,
    events: tuple[LoggedEvent, ...],
    now_ms: int,
) -> NewTurn:
    return NewTurn(
        key=request.key,
        body_hash=body_hash(request),
        run=msgspec.structs.replace(run, last_seq=len(events)),
        events=events,
        user_message=None if request.regenerate else question,
        title_if_none=title,
        replace_key=request.replace_key,
        key_expires_ms=0 if _is_own_key(request) else now_ms + RETRY_WINDOW_MS,
    )


def body_hash(request: TurnRequest) -> str:
    """What must be equal for a repeated key to be a repeat."""
    # Under another key the message's id is ours, and a repeat brings a new one.
    own_id = request.message_id if _is_own_key(request) else None
    said = (request.chat_id, own_id, request.content, request.parent_id, request.regenerate, request.prompt)
    more = ("knowledge",) if request.knowledge else ()
    return hashlib.sha256(msgspec.json.encode((*said, request.model, request.sampling, *more))).hexdigest()


def _is_own_key(request: TurnRequest) -> bool:
    """Whether the message itself is the key: its client made its id."""
    return request.key == message_key(request.message_id or "")


def message_key(message_id: str) -> str:
    return f"message:{message_id}"
