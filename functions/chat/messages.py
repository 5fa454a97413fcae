"""What Parley talks about: chats, messages, runs and the events of a run.

Everything here is a frozen value. The same `msgspec` definition is the stored form and the wire form, so an
event is encoded once and shared by the store and by every reader. Nothing here does I/O.

Times are aware UTC datetimes (RFC 3339 on the wire); durations carry their unit in the name.
"""

import os
import time
from datetime import UTC, datetime, timedelta
from typing import Any, Generic, Literal, TypeVar
from uuid import UUID

import msgspec

from functions.settings import TEMPORARY_CHAT_SECONDS

Role = Literal["user", "assistant"]
MessageStatus = Literal["complete", "stopped", "failed", "blocked"]
RunStatus = Literal["queued", "running", "completed", "stopped", "failed"]
Phase = Literal["queued", "waking", "loading", "generating", "retrying"]
Stage = Literal["input", "output"]
Action = Literal["blocked", "redacted", "flagged"]
CacheUse = Literal["no", "keep", "use"]

TERMINAL: frozenset[RunStatus] = frozenset({"completed", "stopped", "failed"})


def new_id(at_ms: int | None = None) -> str:
    """A UUIDv7 (RFC 9562 §5.7): 48 bits of Unix milliseconds, 12 bits of their fraction (§6.2, method 3: a question
    and its answer are often made in the same millisecond, and sort), then 62 random bits."""
    ms, rest_ns = divmod(time.time_ns() if at_ms is None else at_ms * 1_000_000, 1_000_000)
    value = (ms & (2**48 - 1)) << 80 | 0x7 << 76
    value |= (rest_ns * 4096 // 1_000_000) << 64 | 0b10 << 62
    value |= int.from_bytes(os.urandom(8)) & (2**62 - 1)
    return str(UUID(int=value))


def utc_now() -> datetime:
    return datetime.now(UTC)


class Struct(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=False):
    """The base of all values: frozen, keyword-only."""


class Usage(Struct, frozen=True, kw_only=True):
    """Tokens, as the node's own tokenizer counted them."""

    prompt_tokens: int = 0
    cached_tokens: int = 0
    completion_tokens: int = 0


class Timings(Struct, frozen=True, kw_only=True):
    """Where the time of a run went. `ttft_ms` counts from the request to the first text a reader could see."""

    queue_ms: int = 0
    wake_ms: int = 0
    ttft_ms: int = 0
    total_ms: int = 0


class Cost(Struct, frozen=True, kw_only=True):
    """What an answer cost on rented GPUs, by the rule of `inference/pricing.py`; `gpu_seconds` is the sum of its parts.

    An estimate while the idle time that follows the answer is not over yet: then nobody knows who else will share it.
    """

    gpu_seconds: float = 0.0
    cost_usd: float = 0.0
    active_seconds: float = 0.0  # a share of the time in which the GPU worked
    cold_start_seconds: float = 0.0  # a share of a start that was waited for
    idle_seconds: float = 0.0  # a share of the time in which it was kept awake for nobody
    is_estimate: bool = True


class Verdict(Struct, frozen=True, kw_only=True):
    """What one rail decided about one span. Never the offending text: only where it was and its keyed hash."""

    stage: Stage
    rail: str
    action: Action
    message: str
    policy: str
    start: int = 0
    end: int = 0
    digest: str = ""
    score: float = 1.0


class VerdictCount(Struct, frozen=True, kw_only=True):
    """How often a rail did that on a day (UTC, `2026-11-21`), in the whole house."""

    day: str
    stage: Stage
    rail: str
    action: Action
    count: int


class Problem(Struct, frozen=True, kw_only=True):
    """An error as a user reads it: a stable code and a sentence that says what to do."""

    code: str
    message: str


Reason = Literal["incorrect", "unhelpful", "ignored", "style", "unsafe", "guardrail_wrong", "other"]


class Feedback(Struct, frozen=True, kw_only=True):
    """What the owner thinks of a message: good (1) or bad (-1), what was wrong with it, and their own words.

    `ignored`: it did not do what was asked. `guardrail_wrong`: a rail acted where it should not have.
    """

    rating: Literal[1, -1]
    reason: Reason | None = None
    comment: str | None = None
    at: datetime


class Citation(Struct, frozen=True, kw_only=True):
    """A passage that an answer may lean on: `[index]` in its text names it. `chunk` counts from 0 in its document."""

    index: int
    document_id: str
    title: str
    chunk: int
    score: float


class CachedFrom(Struct, frozen=True, kw_only=True):
    """Where an answer was taken from: the answer to the same question, given `at` that time. `message_id` is None when
    it is somebody else's; `score` is how near the questions are."""

    message_id: str | None
    at: datetime
    score: float


class Message(Struct, frozen=True, kw_only=True):
    id: str
    chat_id: str
    parent_id: str | None
    role: Role
    content: str
    created_at: datetime
    status: MessageStatus = "complete"
    model: str | None = None
    asked_model: str | None = None  # when a fallback answered instead of it
    run_id: str | None = None
    finish_reason: str | None = None
    usage: Usage | None = None
    timings: Timings | None = None
    cost: Cost | None = None
    verdicts: tuple[Verdict, ...] = ()
    error: Problem | None = None
    left_out: int = 0  # earlier messages that did not fit into the model's context
    summarised: int = 0  # earlier messages that the model saw as a summary
    citations: tuple[Citation, ...] = ()  # the passages that the model was shown
    cached_from: CachedFrom | None = None  # it was not generated for this question
    memories_used: int = 0  # how many memories the model was shown
    feedback: Feedback | None = None  # written by `put_feedback` alone


class Chat(Struct, frozen=True, kw_only=True):
    id: str
    title: str | None
    model: str | None
    system_prompt: str | None
    created_at: datetime
    updated_at: datetime
    pinned: bool = False
    archived: bool = False
    active_leaf: str | None = None
    active_run: str | None = None
    temporary: bool = False  # not listed, never remembered, and gone at `expires_at`
    expires_at: datetime | None = None


def expiry_of(temporary: bool, updated_at: datetime) -> datetime | None:
    """When a chat is gone by itself: a temporary one, some time after its last message."""
    return updated_at + timedelta(seconds=TEMPORARY_CHAT_SECONDS) if temporary else None


class Sampling(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What the caller asked of the model; absent fields are the node's own defaults."""

    temperature: float | None = None
    top_p: float | None = None
    max_tokens: int | None = None
    seed: int | None = None
    stop: tuple[str, ...] | None = None
    # Passed to the node as they came (compatible API only): response_format, tools, penalties, …
    extra: dict[str, Any] = msgspec.field(default_factory=dict)  # the node's wire, not ours


class NodeUse(Struct, frozen=True, kw_only=True):
    """One run's use of one node, as the ledger keeps it; from these `inference/pricing.py` derives every cost.

    Unix milliseconds. `began_ms` is None when the node never got to it (a start that was waited for in vain). The
    price and the node's habits are those of that day: a new price does not rewrite history.
    """

    id: str = ""  # the same use recorded twice counts once
    owner: str = ""
    run_id: str | None = None  # None: a pre-warm, vectors, or a guard model's
    chat_id: str | None = None
    node: str
    model: str
    asked_ms: int
    began_ms: int | None
    ended_ms: int
    was_cold: bool = False  # the GPU was started for this request, between `asked_ms` and `began_ms`
    gpu: str = ""
    usd_per_second: float = 0.0  # of one replica
    idle_s: float = 0.0  # how long an unused replica stays awake
    streams: int = 0  # requests that one replica works on at once; 0: there is only one replica
    prompt_tokens: int = 0
    cached_tokens: int = 0
    completion_tokens: int = 0


class JoinedNode(Struct, frozen=True, kw_only=True):
    """A model server that has registered itself, and keeps saying so: it is forgotten after `expires_ms`."""

    name: str
    url: str  # of its OpenAI wire, …/v1
    models: tuple[str, ...] = ()  # empty: whatever it says it serves
    gpu: str = ""
    usd_per_hour: float = 0.0
    slots: int = 0  # requests it works on at once; 0: the gateway's default
    joined_ms: int
    expires_ms: int


NodeState = Literal["cold", "warming", "warm", "unreachable"]


class Sighting(Struct, frozen=True, kw_only=True):
    """What one process last saw of a node, for the others: nobody may ask a sleeping GPU how it is."""

    node: str
    state: NodeState
    since_ms: int  # when it came into this state
    seen_ms: int


class Run(Struct, frozen=True, kw_only=True):
    """One generation of one assistant message.

    `epoch` is the fencing token: it grows by one with each claim, and a worker may write only under the epoch
    it claimed. `lease_until_ms` is Unix milliseconds; a run whose lease has run out may be claimed by anybody.
    `prompt` is set when the caller brought the whole conversation (compatible API) instead of a stored chat.
    """

    id: str
    owner: str
    chat_id: str | None
    user_message_id: str | None
    assistant_message_id: str
    model: str
    created_at: datetime
    status: RunStatus = "queued"
    epoch: int = 0
    worker: str | None = None
    lease_until_ms: int = 0
    last_seq: int = 0
    stop_requested: bool = False
    sampling: Sampling = Sampling()
    held: tuple[str, ...] = ()  # accounts that hold something under its id: reserved at the start, settled at the end
    prompt: tuple[dict[str, Any], ...] | None = None  # OpenAI messages, checked at the edge
    cache: CacheUse = "no"  # the semantic cache: may be kept there; may come from there as well
    ended_at: datetime | None = None
    finish_reason: str | None = None
    usage: Usage = Usage()
    timings: Timings = Timings()
    cost: Cost = Cost()
    verdicts: tuple[Verdict, ...] = ()
    knowledge: bool = False  # it is answered from documents
    citations: tuple[Citation, ...] = ()
    error: Problem | None = None
    traceparent: str | None = None  # W3C's, of the turn; whoever takes the run over goes on in the same trace


# The run events, a tagged union (`type`). Data of each: api §1.2 of the docs.


class Event(msgspec.Struct, frozen=True, kw_only=True, tag_field="type", omit_defaults=True):
    """The base of the union; the tag is the SSE event name."""


class RunStarted(Event, frozen=True, kw_only=True, tag="run"):
    run_id: str
    chat_id: str | None
    user_message_id: str | None
    assistant_message_id: str
    model: str
    status: RunStatus


class StatusChanged(Event, frozen=True, kw_only=True, tag="status"):
    phase: Phase
    elapsed_ms: int
    eta_p50_ms: int | None = None
    eta_p90_ms: int | None = None
    position: int | None = None  # in the queue, from 1


class Delta(Event, frozen=True, kw_only=True, tag="delta"):
    text: str


class ToolCalls(Event, frozen=True, kw_only=True, tag="tool_calls"):
    """Complete tool calls, in OpenAI's form; sent once, after the output rails have seen the arguments."""

    calls: tuple[dict[str, Any], ...]  # the node's wire, not ours


class GuardrailActed(Event, frozen=True, kw_only=True, tag="guardrail"):
    """What a reader is told; the rest is the verdict's, so that a takeover keeps it. Never the text itself."""

    stage: Stage
    rail: str
    action: Action
    message: str
    policy: str = ""
    start: int = 0
    end: int = 0
    digest: str = ""
    score: float = 1.0


class Cited(Event, frozen=True, kw_only=True, tag="citation"):
    """A passage that the model is shown, before its first word: the same five fields as a Citation's."""

    index: int
    document_id: str
    title: str
    chunk: int
    score: float


class Titled(Event, frozen=True, kw_only=True, tag="title"):
    title: str


class Done(Event, frozen=True, kw_only=True, tag="done"):
    message: Message
    usage: Usage
    timings: Timings
    cost: Cost
    finish_reason: str


class Stopped(Event, frozen=True, kw_only=True, tag="stopped"):
    message: Message | None = None


class Failed(Event, frozen=True, kw_only=True, tag="failed"):
    error: Problem
    message: Message | None = None


RunEvent = RunStarted | StatusChanged | Delta | ToolCalls | GuardrailActed | Cited | Titled | Done | Stopped | Failed
TERMINAL_EVENTS = (Done, Stopped, Failed)

_encode = msgspec.json.Encoder().encode
_decoder: msgspec.json.Decoder[RunEvent] = msgspec.json.Decoder(RunEvent)


class LoggedEvent(msgspec.Struct, frozen=True):
    """An event with its place in the run's log; `seq` starts at 1 and grows by one.

    `data` is the event's JSON, made once: the store keeps these bytes and every reader sends them.
    """

    seq: int
    event: RunEvent
    data: bytes

    @classmethod
    def of(cls, seq: int, event: RunEvent) -> "LoggedEvent":
        return cls(seq, event, _encode(event))

    @classmethod
    def load(cls, seq: int, data: bytes) -> "LoggedEvent":
        return cls(seq, _decoder.decode(data), data)

    def without_text(self) -> "LoggedEvent":
        """Its place in the log, with nothing of what the model said in it: for an answer that was taken back."""
        match self.event:
            case Delta(text=text) if text:
                return LoggedEvent.of(self.seq, Delta(text=""))
            case ToolCalls(calls=calls) if calls:
                return LoggedEvent.of(self.seq, ToolCalls(calls=()))
            case _:
                return self

    @property
    def name(self) -> str:
        """The SSE event name: the union's tag."""
        return str(type(self.event).__struct_config__.tag)


class Summary(Struct, frozen=True, kw_only=True):
    """What a model has made of the beginning of a branch: of all its messages up to and with `upto`, so it holds for
    every branch that contains that message. An empty text: nothing of it could be kept (a rail said no).

    `version` names the prompt and the policy that it was made under; under another one it is not used.
    """

    upto: str
    version: str
    text: str
    messages: int  # so many it stands for
    tokens: int  # of the text, as the model counted them that made it
    model: str
    created_at: datetime


class Profile(Struct, frozen=True, kw_only=True):
    """What one user wants of every chat. Without `memory` nothing is remembered of them, and nothing recalled."""

    custom_instructions: str = ""
    memory: bool = True
    memory_since: datetime | None = None  # what was said before is not looked through any more
    joined: tuple[str, ...] = ()  # others' collections that the answers may lean on


class Template(Struct, frozen=True, kw_only=True):
    """A text that one user begins messages with. `{{name}}` in it is a gap to be filled."""

    id: str
    name: str
    text: str
    updated_at: datetime


class Share(Struct, frozen=True, kw_only=True):
    """A link to one branch of a chat, for whoever has it: up to `leaf`, under the title that the chat had then. `id` is
    the link's secret, and stays when the chat is shared again."""

    id: str
    chat_id: str
    title: str | None
    leaf: str
    created_at: datetime
    updated_at: datetime


MemoryKind = Literal["fact", "preference", "instruction"]


class Memory(Struct, frozen=True, kw_only=True):
    """Something that one user has said and that holds beyond its chat. `chat_id` and `message_id` are where they said
    it; None when they wrote it into the list of memories themselves."""

    id: str
    text: str
    kind: MemoryKind = "fact"
    created_at: datetime
    updated_at: datetime
    chat_id: str | None = None
    message_id: str | None = None


class RunJob(Struct, frozen=True, kw_only=True, tag_field="kind", tag="run"):
    """Bring this run to its end: the async mode's first attempt, and everybody's second."""

    owner: str
    run_id: str
    chat_id: str | None = None


class SummariseJob(Struct, frozen=True, kw_only=True, tag_field="kind", tag="summarise"):
    """Fold the older part of this chat into its rolling summary, if it has grown enough."""

    owner: str
    chat_id: str


class TitleJob(Struct, frozen=True, kw_only=True, tag_field="kind", tag="title"):
    """Give this chat a title, if it has none but the cut beginning of its question."""

    owner: str
    chat_id: str


class RememberJob(Struct, frozen=True, kw_only=True, tag_field="kind", tag="remember"):
    """Look for what is worth remembering in what the owner has said in this chat, up to this run."""

    owner: str
    chat_id: str
    run_id: str


class IndexJob(Struct, frozen=True, kw_only=True, tag_field="kind", tag="index"):
    """Read this document of the knowledge base, cut it into chunks and embed them."""

    owner: str
    document_id: str


class ForgetJob(Struct, frozen=True, kw_only=True, tag_field="kind", tag="forget"):
    """See that nothing is left of this document, which is gone."""

    owner: str
    document_id: str
    collection_id: str
    embedder: str = ""
    chunks: int = 0


Job = RunJob | SummariseJob | TitleJob | RememberJob | IndexJob | ForgetJob

# Queues apart, so that slow work never stands before a run that waits for its worker. `night`: only the nightly job
# looks there, because it may wake a GPU. `failed`: given up by day; it tries them once more.
Lane = Literal["runs", "work", "night", "failed"]


def lane_of(job: Job) -> Lane:
    """Where a job is put first."""
    return "runs" if isinstance(job, RunJob) else "work"


class QueuedJob(Struct, frozen=True, kw_only=True):
    """A job as the queue hands it out; `receipt` proves the claim. `attempts`: how often it has been taken, this time
    included, since it was put or last went well."""

    id: str
    job: Job
    attempts: int
    receipt: str


T = TypeVar("T")


class Page(Struct, Generic[T], frozen=True, kw_only=True):
    """One page of a listing. `after` of the next page is `next`, opaque and signed where it leaves the house."""

    data: tuple[T, ...]
    next: str | None
