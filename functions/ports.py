"""The ports. Two adapter families stand behind them (SQLite, DynamoDB) under one contract suite.

The owner comes first in every method: there is no way to find anything by its id alone, so another user's
chat, run or message is simply not there. The exceptions belong to the house and to no user: the job queue and the
ledger, whose entries carry their owner, and the registry of nodes.

Writes that can race are conditional; the docstring says what the loser sees.
"""

from collections.abc import Awaitable, Sequence
from datetime import datetime
from typing import Any, Protocol

from functions.chat.allowances import Amounts, Claim, Hold, HouseRules, Limits, Reading
from functions.chat.documents import Chunk, Collection, CollectionRole, Document, Member, PartKind
from functions.chat.messages import (
    Chat,
    Feedback,
    Job,
    JoinedNode,
    Lane,
    LoggedEvent,
    Memory,
    Message,
    NodeUse,
    Page,
    Profile,
    QueuedJob,
    Run,
    Share,
    Sighting,
    Struct,
    Summary,
    Template,
    VerdictCount,
)
from functions.chat.principals import ApiKey, Identity, Invitation, Session, User
from functions.errors import Conflict


class NewTurn(Struct, frozen=True, kw_only=True):
    """All that the first transaction of a turn writes; either all of it is stored or nothing.

    `key` makes the turn idempotent within the owner; `body_hash` says whether a repeat is the same request.
    `replace_key` lets a new run take over a key that an older run holds (for clients that send no key of their
    own): such a turn always begins, and the key is its run's from then on, for retries without `replace_key` to
    find. `events` are numbered from 1. `job` is delivered at `job_at_ms` unless the run has ended by then; its id in
    the queue is the run's, and it goes with the run.
    `answer` is set when the turn ends in this very transaction (blocked input): then `run` is terminal, and
    chat.active_run is not set.
    """

    key: str
    body_hash: str
    run: Run
    events: tuple[LoggedEvent, ...]
    user_message: Message | None = None
    answer: Message | None = None
    title_if_none: str | None = None
    replace_key: bool = False
    key_expires_ms: int = 0  # 0: never
    job: Job | None = None
    job_at_ms: int = 0


class ContextRead(Struct, frozen=True, kw_only=True):
    """What a prompt is made of. `edition` was in force before the path was read; `path` is None when it was the one
    that the reader knows."""

    chat: Chat
    path: tuple[Message, ...] | None
    profile: Profile
    edition: str


class FoundChat(Struct, frozen=True, kw_only=True):
    """What a search has found. `message` is the newest one that says it; None when the title says it already."""

    chat: Chat
    message: Message | None


class ChatStore(Protocol):
    """Chats, messages, runs and their event logs.

    The edition of a chat says whether its messages are still what they were: it is another one as soon as a message
    that was there is changed, the same when one is added, and never one that it was before, also when the chat is
    deleted and made again.
    """

    # -- chats ---------------------------------------------------------------------------------------------
    async def create_chat(self, owner: str, chat: Chat) -> None:
        """Raises Conflict when the owner has a chat of this id."""

    async def get_chat(self, owner: str, chat_id: str) -> Chat:
        """Raises NotFound."""

    async def list_chats(
        self,
        owner: str,
        *,
        limit: int,
        after: str | None = None,
        archived: bool = False,
    ) -> Page[Chat]:
        """Newest `updated_at` first, archived chats only or none of them. `after` is the `next` of the page before.
        Temporary chats are not listed."""

    async def search_chats(
        self, owner: str, query: str, *, limit: int, after: str | None = None, archived: bool = False
    ) -> Page[FoundChat]:
        """list_chats, of those whose title or messages say `query`: case-insensitively, as a literal substring, on any
        branch. A page may be short, or empty, and still have a `next`."""

    async def retitle_chat(self, owner: str, chat_id: str, title: str, *, instead_of: str) -> bool:
        """Set the title where it is `instead_of`, and nothing else; False when it is another by now, or the chat is
        not there."""

    async def update_chat(self, owner: str, chat_id: str, changes: dict[str, Any]) -> Chat:  # checked at the edge
        """Set the named fields (title, model, system_prompt, pinned, archived, active_leaf) and nothing else, not
        `updated_at` either. Raises NotFound; BadInput when `active_leaf` is no message of the chat (None is allowed),
        or a field is not one of these."""

    async def delete_chat(self, owner: str, chat_id: str) -> None:
        """Delete the chat with its messages, runs, events and jobs. Raises NotFound, also the second time.
        A worker that still writes one of its runs sees Fenced."""

    # -- messages ------------------------------------------------------------------------------------------
    async def get_message(self, owner: str, chat_id: str, message_id: str) -> Message:
        """Raises NotFound."""

    async def list_messages(
        self, owner: str, chat_id: str, *, limit: int | None = None, before: str | None = None
    ) -> Page[Message]:
        """The whole tree of the chat in id order (oldest first); with `limit`, the newest `limit` before the
        message id `before`. `next` is the `before` of the older page. Raises NotFound for the chat."""

    async def read_path(self, owner: str, chat_id: str, leaf: str) -> tuple[Message, ...]:
        """The messages from the root to `leaf`, in order. Raises NotFound."""

    async def read_context(self, owner: str, chat_id: str, leaf: str) -> tuple[Chat, tuple[Message, ...], Profile]:
        """What a prompt is made of, at once: get_chat, read_path and get_profile. Raises NotFound."""

    async def read_context_unless(self, owner: str, chat_id: str, leaf: str, *, edition: str) -> ContextRead:
        """read_context, but without the path when `edition` is in force: for who has read it under that. "" never is.
        Raises NotFound."""

    async def get_edition(self, owner: str, chat_id: str) -> tuple[Chat, str]:
        """get_chat, and the edition. Raises NotFound."""

    async def put_feedback(self, owner: str, chat_id: str, message_id: str, feedback: Feedback | None) -> None:
        """Set the message's feedback, or take it back (None); of two racing writers the last one wins, whole. An
        answer that is stored again keeps it, whatever the new one says. Raises NotFound."""

    # -- runs ----------------------------------------------------------------------------------------------
    async def begin_turn(self, owner: str, turn: NewTurn) -> tuple[Run, bool]:
        """Store message, run, first events and job in one conditional transaction.

        Returns (run, True) when this call began it; (stored run, False) when `key` is known with the same
        `body_hash`. Raises Conflict(code="message_exists") when `key` or the message id is known with another
        body, Conflict(code="run_active") when the chat has an active run, NotFound when the chat or the
        parent message (of a regeneration: the run's `user_message_id`) is not there. Of two racing calls with one
        key exactly one gets True.
        When it begins: chat.active_run = run.id (unless `answer`), active_leaf = the newest message stored
        (or unchanged), updated_at = run.created_at, title = title_if_none where it was None.
        """

    async def find_turn(self, owner: str, key: str, body_hash: str) -> Run | None:
        """The run that holds `key`, if any: what begin_turn would return with False. Raises Conflict as it does."""

    async def get_run(self, owner: str, run_id: str) -> Run:
        """Raises NotFound."""

    async def claim_run(self, owner: str, run_id: str, *, worker: str, now_ms: int, lease_until_ms: int) -> Run | None:
        """Take the lease: epoch + 1, status running, this worker. None when the run is terminal or not there, or
        somebody else's lease has not run out at `now_ms`; a worker may claim its own run again. Of two racing claims
        by different workers exactly one gets the run."""

    def append_events(
        self, owner: str, run_id: str, epoch: int, events: Sequence[LoggedEvent], *, lease_until_ms: int
    ) -> Awaitable[bool]:
        """Checkpoint: append events (may be none: then it only renews the lease), set last_seq, renew the lease.
        Gives whether a stop has been requested. Raises Fenced when `epoch` is not the run's, the run is
        terminal or gone, or the first seq is not last_seq + 1."""

    async def read_events(self, owner: str, run_id: str, *, after: int = 0) -> tuple[LoggedEvent, ...]:
        """The stored events with seq > after, in order. Raises NotFound."""

    async def request_stop(self, owner: str, run_id: str) -> Run:
        """Ask whoever runs it to stop; returns the run as it is now. A terminal run is left alone.
        Raises NotFound."""

    async def stop_runs(self, owner: str) -> int:
        """request_stop of all that the owner has going or waiting; how many. A run that begins meanwhile may be
        missed."""

    async def finish_run(
        self, owner: str, run: Run, events: Sequence[LoggedEvent], answer: Message | None, *, withdraw: bool = False
    ) -> None:
        """The one end: append the last events, store the run as given (it is terminal; its `epoch` is the
        fence), the answer, and on the chat active_run = None (if it is this run), active_leaf = answer.id,
        updated_at = run.ended_at; drop the run's job. One transaction. Raises Fenced as append_events does.

        With `withdraw` what was shown has been taken back: from the end on, no event of the log has text of the
        model (`LoggedEvent.without_text`), and every event keeps its place. A long log may lose its text before the
        end, and keep that if this call dies; so the log must already say why (the verdict that blocked)."""

    # -- the owner -----------------------------------------------------------------------------------------
    async def get_profile(self, owner: str) -> Profile:
        """The owner's profile; an empty one when none is stored."""

    async def put_profile(self, owner: str, profile: Profile) -> None: ...

    async def ready(self) -> None:
        """Raise when the store cannot answer, or (SQLite) cannot be written: for /readyz."""

    async def close(self) -> None: ...


class MemoryStore(Protocol):
    """What is remembered of each owner, and how far their chats have been looked through for it."""

    async def list_memories(self, owner: str) -> tuple[Memory, ...]:
        """All of them, by id (oldest first)."""

    async def get_memory(self, owner: str, memory_id: str) -> Memory:
        """Raises NotFound."""

    async def put_memory(self, owner: str, memory: Memory, *, replaces: Memory | None = None) -> bool:
        """Store a new memory, or in the place of `replaces`, which has the same id. False, and nothing changed, when
        the id is taken, when what is stored is no longer as `replaces` was when it was changed last (`updated_at`), or
        when a new one comes from a chat that is not there any more."""

    async def delete_memory(self, owner: str, memory_id: str) -> bool:
        """Whether there was one."""

    async def remembered_until(self, owner: str, chat_id: str) -> int:
        """Messages of this chat up to this time (Unix milliseconds) have been looked through; 0 when none have, or
        there is no such chat."""

    async def set_remembered(self, owner: str, chat_id: str, until_ms: int) -> None:
        """Never goes back; quietly nothing when the chat is gone."""


class TemplateStore(Protocol):
    """The texts that each owner begins messages with. Apart from the profile, which is read for every prompt."""

    async def list_templates(self, owner: str) -> tuple[Template, ...]:
        """All of them, by id (oldest first)."""

    async def put_template(self, owner: str, template: Template) -> None:
        """Insert or replace; of two racing writers the last one wins, whole."""

    async def delete_template(self, owner: str, template_id: str) -> bool:
        """Whether there was one."""


class ShareStore(Protocol):
    """Links to chats for others to read. A share ends with its chat."""

    async def put_share(self, owner: str, share: Share) -> Share:
        """Share the chat, or what it is shared as anew: then `id` and `created_at` stay those of the first time.
        Returns it as it is stored. Raises NotFound for the chat, or its leaf."""

    async def list_shares(self, owner: str) -> tuple[Share, ...]:
        """All of them, the oldest first."""

    async def delete_share(self, owner: str, chat_id: str) -> bool:
        """Whether the chat was shared."""

    async def find_share(self, share_id: str) -> tuple[str, Share]:
        """(owner, share): the one thing that is found without its owner, because its id is a secret. Raises NotFound.
        Whether the chat is still there, reading it tells."""


class ArchiveStore(Protocol):
    """Whole chats in, and who has something to take out."""

    async def import_chat(self, owner: str, chat: Chat, messages: Sequence[Message]) -> bool:
        """Store a chat with its messages, as they are given, at once: whoever looks sees all of it or nothing. False,
        and nothing changed, when the owner has a chat of this id. Nothing of it is looked through for memories."""

    async def list_owners(self) -> tuple[str, ...]:
        """Everybody who has a chat, a profile, a memory, a template or a collection, by name. For the operator: it may
        read all there is."""


class RetentionStore(Protocol):
    """What ends by itself, and the end of everything of one owner."""

    async def list_overdue(
        self, *, now_ms: int, untouched_since_ms: int | None, limit: int, after: str | None = None
    ) -> Page[tuple[str, str]]:
        """(owner, chat id) of chats whose time is over: temporary ones that have expired by `now_ms`; those that are
        not pinned and were not touched since `untouched_since_ms`, unless that is None; and such as a delete was cut
        off at. A page may be short, or empty, and still have a `next`, which is the `after` of the next."""

    async def expire_chat(self, owner: str, chat_id: str, *, now_ms: int, untouched_since_ms: int | None) -> bool:
        """delete_chat, if the chat is still overdue as above. False when it is not (somebody has touched or pinned it,
        or it answers right now), or not there."""

    async def erase_owner(self, owner: str, *, now_ms: int) -> dict[str, int]:
        """Delete all that belongs to the owner, in every table, and take their name from the ledger. How many of each
        that was. Cut off at any point, it is finished by another call. Whoever still works for the owner is fenced:
        runs see Fenced, and what is recorded in the ledger of things asked for before `now_ms` has no name."""

    async def was_erased(self, owner: str, *, since_ms: int) -> bool:
        """Whether erase_owner was called at or after this time. Known for a day."""


class KnowledgeStore(Protocol):
    """Collections, their documents and what these are made of. All of it lies with the collection's owner; whoever is
    let in finds the owner in `list_collections`, and nowhere else."""

    async def create_collection(self, owner: str, collection: Collection) -> bool:
        """False, and nothing changed, when the owner has one of this id."""

    async def list_collections(self, principal: str) -> tuple[Collection, ...]:
        """Their own and those that they were let into, by id, each with their role in it."""

    async def rename_collection(self, owner: str, collection_id: str, name: str) -> None:
        """Raises NotFound."""

    async def delete_collection(self, owner: str, collection_id: str) -> None:
        """With its members and documents. Raises NotFound; a call that was cut off may be made again all the same."""

    async def put_member(self, owner: str, collection_id: str, principal: str, role: CollectionRole | None) -> None:
        """Let in, change the role, or put out (None). Raises NotFound for the collection."""

    async def list_members(self, owner: str, collection_id: str) -> tuple[Member, ...]:
        """By name. Raises NotFound."""

    async def add_document(self, owner: str, document: Document) -> None:
        """Raises NotFound when the collection is gone."""

    async def list_documents(self, owner: str) -> tuple[Document, ...]:
        """Of all collections of the owner, by id (oldest first)."""

    async def get_document(self, owner: str, document_id: str) -> Document:
        """Raises NotFound."""

    async def put_document(self, owner: str, document: Document) -> None:
        """Store it anew. Raises NotFound when it is gone, and Conflict when it is decided: one that is ready stays as
        it is, and one that has failed can only be queued again."""

    async def finish_document(self, owner: str, document: Document) -> bool:
        """Store it, ready, in the place of all older ones of its file name and collection, at once: whoever looks sees
        them or it, never both or neither. False when a newer one is ready already: then it is gone itself. Raises
        NotFound when it is gone. What the others were made of is purged by who knows of it."""

    async def delete_document(self, owner: str, document_id: str) -> None:
        """With its chunks and parts. Raises NotFound."""

    async def purge_document(self, owner: str, document_id: str) -> None:
        """Delete whatever may be left of one that is gone."""

    async def put_part(self, owner: str, document_id: str, kind: PartKind, number: int, data: bytes) -> None:
        """Insert or replace; 256 KiB at most. Raises NotFound when the document is gone."""

    async def read_part(self, owner: str, document_id: str, kind: PartKind, number: int) -> bytes | None: ...

    async def drop_parts(self, owner: str, document_id: str, kind: PartKind) -> None: ...

    async def put_chunks(self, owner: str, document_id: str, chunks: Sequence[Chunk]) -> None:
        """Insert or replace by number. Raises NotFound when the document is gone."""

    async def read_chunks(self, owner: str, document_id: str, numbers: Sequence[int]) -> tuple[Chunk, ...]:
        """Those of them that are there, by number."""


class Hit(Struct, frozen=True, kw_only=True):
    id: str
    score: float
    data: dict[str, Any]


class VectorStore(Protocol):
    """Vectors of one owner in named collections; cosine similarity."""

    async def put_vectors(
        self,
        owner: str,
        collection: str,
        items: Sequence[tuple[str, Sequence[float], dict[str, Any]]],
        *,
        expires_ms: int = 0,
    ) -> None:
        """Insert or replace (id, vector, data); from `expires_ms` on they are not found, and some time later not stored
        (0: kept). Raises BadInput when a length differs from the collection's, which its first vector fixes until the
        whole collection is deleted."""

    async def search_vectors(
        self, owner: str, collection: str, vector: Sequence[float], *, limit: int
    ) -> tuple[Hit, ...]:
        """The nearest first; `score` is the cosine, in [-1, 1]. What was deleted or replaced is never found as it was.
        In a collection of many an adapter may overlook one, or find a new one some moments later."""

    async def delete_vectors(self, owner: str, collection: str, ids: Sequence[str] | None = None) -> None:
        """These ids, or the whole collection; absent ids are no error."""


class Counter(Protocol):
    """Exact counters under races: rates (GCRA) and budgets (reserve, then settle)."""

    async def admit(self, owner: str, key: str, *, interval_ms: int, burst: int, now_ms: int) -> int:
        """GCRA (ITU-T I.371): 0 when this event may pass, else the milliseconds to wait. A refused event
        changes nothing. One event per `interval_ms` on average, `burst` at once."""

    async def add(
        self, owner: str, key: str, amount: int, *, limit: int | None = None, expires: datetime | None = None
    ) -> int | None:
        """Add (or give back, when negative) and return the new total; None, and nothing changed, when a positive
        amount would bring the total above `limit`. A counter past `expires` starts again at 0; the `expires` that
        counts is the one given when it started."""

    async def look(self, owner: str, key: str) -> int:
        """The theoretical arrival of that rate, in Unix milliseconds; 0 when nothing was admitted yet."""


class LimitStore(Protocol):
    """Limits, and what has been used of them. An account is an owner or the house (`allowances.HOUSE`)."""

    async def hold(self, account: str, wanted: Hold) -> Hold | str:
        """Reserve all claims or none. Where a meter has less room than is claimed, the rest of it is given; the hold
        that comes back says how much. A meter that has none left comes back by its name. A hold of this id that is
        there already is given as it is. Of racing holds no two get the same room."""

    async def settle(self, account: str, hold_id: str, used: Amounts, *, ends: bool = True) -> bool:
        """What the hold was for has used so much: added on the meters of its claims. With `ends` the reservation goes,
        and the hold with it. False, and nothing changed, when there is no such hold: it is settled once."""

    async def charge(self, account: str, claims: Sequence[Claim]) -> None:
        """What has been used without a hold. Nothing is refused."""

    async def list_holds(self, account: str, *, before_ms: int) -> tuple[Hold, ...]:
        """Those that were taken before that time and are not settled, the oldest first."""

    async def read_meters(self, account: str, meters: Sequence[str]) -> dict[str, Reading]:
        """Each of these meters; empty ones too."""

    async def get_rules(self) -> HouseRules:
        """The house's; of edition 0 when nothing was ever set."""

    async def put_rules(self, rules: HouseRules) -> bool:
        """Set them, if `rules.edition` is the stored one, which then grows by one. False when somebody was faster."""

    async def get_limits(self, owner: str) -> Limits | None: ...

    async def put_limits(self, owner: str, own: Limits | None) -> None:
        """The owner's own; None: none are."""

    async def list_limits(self) -> tuple[tuple[str, Limits], ...]:
        """Of all owners that have their own, by name. For the operator: it may read much."""


class JobQueue(Protocol):
    """At-least-once delivery of small jobs; a job that is not finished in time comes back."""

    async def put_job(self, job_id: str, job: Job, *, at_ms: int, gently: bool = False) -> None:
        """Deliver not before `at_ms`, in the lane of its kind (`lane_of`). The same id again replaces the job, wherever
        it stood; `gently` does not touch one that somebody holds beyond `at_ms`, nor one that has failed and waits."""

    async def take_job(
        self, *, now_ms: int, hidden_ms: int, lane: Lane = "runs", job_id: str | None = None
    ) -> QueuedJob | None:
        """The job of this lane that has been due longest, hidden from others for `hidden_ms`; None when none is due.
        With `job_id` that one or none. Of racing takers exactly one gets it."""

    async def keep_job(self, queued: QueuedJob, *, until_ms: int) -> bool:
        """Still at work: hidden until then. False when the receipt is stale: it is somebody else's by now, or gone."""

    async def drop_job(self, queued: QueuedJob) -> None:
        """Done. Quietly nothing when the receipt is stale."""

    async def delay_job(
        self, queued: QueuedJob, *, at_ms: int, attempts: int | None = None, lane: Lane | None = None
    ) -> None:
        """Not now: deliver again at `at_ms`, as a job that has been taken `attempts` times (None: as often as it was),
        in that lane (None: where it was). Quietly nothing when the receipt is stale."""


class SummaryStore(Protocol):
    """The rolling summaries of chats. They go with their chat."""

    async def list_summaries(self, owner: str, chat_id: str, *, version: str) -> tuple[Summary, ...]:
        """Those of this version, in the order of `upto`. None for a chat that is not there."""

    async def claim_fold(
        self, owner: str, chat_id: str, upto: str, *, version: str, token: str, now_ms: int, until_ms: int
    ) -> bool:
        """The marker of who makes this summary, until `until_ms`; the same token again renews it. False when it is
        there already, or somebody else's marker has not run out at `now_ms`. Of two racing claims exactly one holds.
        Raises NotFound for the chat."""

    async def put_summary(self, owner: str, chat_id: str, summary: Summary) -> bool:
        """Written once for a chat, `upto` and `version`: False, and nothing changed, when it is there already.
        Raises NotFound for the chat."""

    async def forget_summaries(self, owner: str, chat_id: str, *, version: str) -> int:
        """Delete those of every other version, with their markers; how many summaries that were."""


class NodeRegistry(Protocol):
    """What all processes together know of the nodes: who has joined, how each was last seen, how long starts took."""

    async def put_node(self, node: JoinedNode) -> None:
        """Insert or replace by name: a heartbeat is the same record with a later `expires_ms`. `joined_ms` is the
        first one's for as long as the record has not expired."""

    async def list_nodes(self, *, now_ms: int) -> tuple[JoinedNode, ...]:
        """Those that have not expired, by name."""

    async def drop_node(self, name: str) -> None:
        """It leaves; quietly nothing when it is not there."""

    async def put_sighting(self, sighting: Sighting) -> None:
        """Kept per node: the one with the latest `seen_ms` wins, whoever comes last."""

    async def list_sightings(self) -> tuple[Sighting, ...]:
        """The last of every node that was seen within the last day, by name."""

    async def record_wake(self, node: str, *, at_ms: int, took_ms: int) -> None:
        """A start that ended well at `at_ms`. Kept for 90 days."""

    async def read_wakes(self, node: str, *, limit: int) -> tuple[int, ...]:
        """How long the last starts took, in milliseconds, the newest first."""


class Ledger(Protocol):
    """Every use of a node, of every owner: a batch is shared, so what one owes depends on all of them."""

    async def record_use(self, use: NodeUse) -> None:
        """Keep it for 400 days; the same `id` again changes nothing. Of an owner who was erased after it was asked for,
        the name and the chat are left out: the money stays."""

    async def read_uses(self, *, from_ms: int, to_ms: int) -> tuple[NodeUse, ...]:
        """Those with from_ms <= asked_ms < to_ms, by `asked_ms`, then `id`."""


class FigureStore(Protocol):
    """What the house counts for its operator: by day, without texts or users."""

    async def count_verdicts(self, counts: Sequence[VerdictCount]) -> None:
        """Add these. Kept for 400 days. A repeat counts again."""

    async def read_verdicts(self, *, from_day: str, to_day: str) -> tuple[VerdictCount, ...]:
        """From one day to the other, both meant, by day, stage, rail and action."""


class AccountStore(Protocol):
    """Users, and by what they are known. Secrets come as SHA-256, and are found by nothing else; what they lead to says
    whose it is. All of it goes with its owner."""

    async def get_user(self, owner: str) -> User | None: ...

    async def add_user(self, user: User) -> bool:
        """False, and nothing changed, when the id is taken."""

    async def change_user(self, owner: str, changes: dict[str, Any]) -> User:  # fields of User
        """Set the named fields and nothing else. Raises NotFound, and Conflict (`last_admin`) where the last active
        admin would be none any more; of two racing changes that would do so together, one is refused."""

    async def list_users(self, *, limit: int, after: str | None, query: str) -> Page[User]:
        """By id; `query` is a part of id, name, address or group, in any case. A page of a search may be short, or
        empty, and still have a `next`."""

    async def accept(self, user: User, *, invitation_id: str | None, identity: Identity | None) -> bool:
        """Add the user, use up the invitation and bind the identity, all or nothing. False when the user or the
        identity is there already, or the invitation is not. Of racing calls exactly one gets True."""

    async def find_identity(self, issuer: str, subject: str) -> str | None:
        """Whose it is."""

    async def put_key(self, key: ApiKey, digest: str) -> None: ...

    async def list_keys(self, owner: str) -> tuple[ApiKey, ...]: ...

    async def find_key(self, digest: str) -> ApiKey | None: ...

    async def touch_key(self, owner: str, key_id: str, *, at: datetime) -> None:
        """It was used then. Quietly nothing when it is gone."""

    async def delete_key(self, owner: str, key_id: str) -> bool:
        """Whether there was one."""

    async def is_origin_listed(self, origin: str) -> bool:
        """Whether any key lists it."""

    async def put_session(self, session: Session, digest: str) -> None: ...

    async def list_sessions(self, owner: str) -> tuple[Session, ...]: ...

    async def find_session(self, digest: str) -> Session | None: ...

    async def touch_session(self, owner: str, session_id: str, *, at: datetime) -> None:
        """It was seen then. Quietly nothing when it is gone."""

    async def delete_session(self, owner: str, session_id: str) -> bool:
        """Whether there was one."""

    async def put_invitation(self, invitation: Invitation, digest: str | None) -> None: ...

    async def list_invitations(self) -> tuple[Invitation, ...]: ...

    async def find_invitation(self, digest: str) -> Invitation | None: ...

    async def delete_invitation(self, invitation_id: str) -> bool:
        """Whether there was one."""


def last_admin() -> Conflict:
    """What `change_user` raises."""
    return Conflict("This is the last admin; make somebody else one first.", code="last_admin")
