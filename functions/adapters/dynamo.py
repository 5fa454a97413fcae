"""The cloud store: all the ports on four DynamoDB tables.

Promises: what the ports promise, between any number of processes; nothing blocks the event loop; tables are made only
when asked. Reads are strongly consistent, except the list of chats and the search for a due job, which go through an
index that AWS fills within moments.

pynamodb is synchronous: `_call` here is the one place where it is given to a thread. What is stored and how stands in
`dynamo_models` (the tables), `dynamo_calls` (retries, errors, transactions), and one file for each port.
"""

import asyncio
import logging
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import datetime
from functools import partial
from typing import Any, Concatenate, ParamSpec, Self, TypeVar
from urllib.parse import parse_qs, urlsplit

from functions.adapters import dynamo_accounts as accounts
from functions.adapters import dynamo_chats as chats
from functions.adapters import dynamo_counters as counters
from functions.adapters import dynamo_figures as figures
from functions.adapters import dynamo_jobs as jobs
from functions.adapters import dynamo_knowledge as knowledge
from functions.adapters import dynamo_ledger as ledger
from functions.adapters import dynamo_limits as limits
from functions.adapters import dynamo_memories as memories
from functions.adapters import dynamo_nodes as nodes
from functions.adapters import dynamo_retention as retention
from functions.adapters import dynamo_runs as runs
from functions.adapters import dynamo_shares as shares
from functions.adapters import dynamo_summaries as summaries
from functions.adapters import dynamo_templates as templates
from functions.adapters import dynamo_vectors as vectors
from functions.adapters.dynamo_calls import ask, no_tables
from functions.adapters.dynamo_models import THREADS, Tables, bind
from functions.adapters.rules import unavailable
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
    Summary,
    Template,
    VerdictCount,
)
from functions.chat.principals import ApiKey, Identity, Invitation, Session, User
from functions.errors import BadInput
from functions.ports import ContextRead, FoundChat, Hit, NewTurn

for _name in ("pynamodb", "botocore"):
    logging.getLogger(_name).setLevel(logging.WARNING)  # below that they log what people write

P = ParamSpec("P")
T = TypeVar("T")
Blocking = Callable[Concatenate[Tables, P], T]


class DynamoStore:
    """All the ports. Made by `open`."""

    def __init__(self, tables: Tables, pool: ThreadPoolExecutor) -> None:
        self._tables = tables
        self._pool = pool
        self._is_closed = False

    @classmethod
    async def open(cls, url: str, *, create: bool = False) -> Self:
        """`dynamodb://PREFIX?region=…&endpoint=…&vectors=…`. Raises ParleyError when the tables are not there, and
        BadInput for another kind of URL; `create` makes the tables that are missing."""
        pool = ThreadPoolExecutor(THREADS, thread_name_prefix="parley-dynamo")
        loop = asyncio.get_running_loop()
        try:
            return cls(await loop.run_in_executor(pool, partial(_open, url, create=create)), pool)
        except BaseException:
            pool.shutdown(wait=False)
            raise

    async def _call(self, function: Blocking[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        if self._is_closed:
            raise unavailable("it is closed")
        call = partial(function, self._tables, *args, **kwargs)
        future = asyncio.get_running_loop().run_in_executor(self._pool, call)
        # Shielded: a cancelled caller stops waiting, but its write is made.
        future.add_done_callback(lambda done: done.cancelled() or done.exception())
        return await asyncio.shield(future)

    async def close(self) -> None:
        """Calls under way are finished first. Closing twice is fine."""
        self._is_closed = True
        await asyncio.to_thread(self._join)

    def _join(self) -> None:
        self._pool.shutdown()
        self._tables.connection.client.close()

    async def ready(self) -> None:
        await self._call(chats.get_profile, "nobody")

    # -- chats --------------------------------------------------------------------------------------------------
    async def create_chat(self, owner: str, chat: Chat) -> None:
        await self._call(chats.create_chat, owner, chat)

    async def get_chat(self, owner: str, chat_id: str) -> Chat:
        return await self._call(chats.get_chat, owner, chat_id)

    async def list_chats(
        self,
        owner: str,
        *,
        limit: int,
        after: str | None = None,
        archived: bool = False,
    ) -> Page[Chat]:
        return await self._call(chats.list_chats, owner, limit=limit, after=after, archived=archived)

    async def search_chats(
        self, owner: str, query: str, *, limit: int, after: str | None = None, archived: bool = False
    ) -> Page[FoundChat]:
        return await self._call(chats.search_chats, owner, query, limit=limit, after=after, archived=archived)

    async def retitle_chat(self, owner: str, chat_id: str, title: str, *, instead_of: str) -> bool:
        return await self._call(chats.retitle_chat, owner, chat_id, title, instead_of=instead_of)

    async def update_chat(self, owner: str, chat_id: str, changes: dict[str, Any]) -> Chat:  # checked at the edge
        return await self._call(chats.update_chat, owner, chat_id, changes)

    async def delete_chat(self, owner: str, chat_id: str) -> None:
        await self._call(chats.delete_chat, owner, chat_id)

    # -- messages -----------------------------------------------------------------------------------------------
    async def get_message(self, owner: str, chat_id: str, message_id: str) -> Message:
        return await self._call(chats.get_message, owner, chat_id, message_id)

    async def list_messages(
        self, owner: str, chat_id: str, *, limit: int | None = None, before: str | None = None
    ) -> Page[Message]:
        return await self._call(chats.list_messages, owner, chat_id, limit=limit, before=before)

    async def read_path(self, owner: str, chat_id: str, leaf: str) -> tuple[Message, ...]:
        return await self._call(chats.read_path, owner, chat_id, leaf)

    async def read_context(self, owner: str, chat_id: str, leaf: str) -> tuple[Chat, tuple[Message, ...], Profile]:
        return await asyncio.gather(
            self.get_chat(owner, chat_id), self.read_path(owner, chat_id, leaf), self.get_profile(owner)
        )

    async def read_context_unless(self, owner: str, chat_id: str, leaf: str, *, edition: str) -> ContextRead:
        (chat, in_force, path), profile = await asyncio.gather(
            self._call(chats.read_path_unless, owner, chat_id, leaf, edition=edition), self.get_profile(owner)
        )
        return ContextRead(chat=chat, path=path, profile=profile, edition=in_force)

    async def get_edition(self, owner: str, chat_id: str) -> tuple[Chat, str]:
        return await self._call(chats.get_edition, owner, chat_id)

    async def put_feedback(self, owner: str, chat_id: str, message_id: str, feedback: Feedback | None) -> None:
        await self._call(chats.put_feedback, owner, chat_id, message_id, feedback)

    # -- summaries ----------------------------------------------------------------------------------------------
    async def list_summaries(self, owner: str, chat_id: str, *, version: str) -> tuple[Summary, ...]:
        return await self._call(summaries.list_summaries, owner, chat_id, version=version)

    async def claim_fold(
        self, owner: str, chat_id: str, upto: str, *, version: str, token: str, now_ms: int, until_ms: int
    ) -> bool:
        return await self._call(
            summaries.claim_fold, owner, chat_id, upto, version=version, token=token, now_ms=now_ms, until_ms=until_ms
        )

    async def put_summary(self, owner: str, chat_id: str, summary: Summary) -> bool:
        return await self._call(summaries.put_summary, owner, chat_id, summary)

    async def forget_summaries(self, owner: str, chat_id: str, *, version: str) -> int:
        return await self._call(summaries.forget_summaries, owner, chat_id, version=version)

    # -- runs ---------------------------------------------------------------------------------------------------
    async def begin_turn(self, owner: str, turn: NewTurn) -> tuple[Run, bool]:
        return await self._call(runs.begin_turn, owner, turn)

    async def find_turn(self, owner: str, key: str, body_hash: str) -> Run | None:
        return await self._call(runs.find_turn, owner, key, body_hash)

    async def get_run(self, owner: str, run_id: str) -> Run:
        return await self._call(runs.get_run, owner, run_id)

    async def claim_run(self, owner: str, run_id: str, *, worker: str, now_ms: int, lease_until_ms: int) -> Run | None:
        return await self._call(
            runs.claim_run, owner, run_id, worker=worker, now_ms=now_ms, lease_until_ms=lease_until_ms
        )

    async def append_events(
        self, owner: str, run_id: str, epoch: int, events: Sequence[LoggedEvent], *, lease_until_ms: int
    ) -> bool:
        return await self._call(runs.append_events, owner, run_id, epoch, events, lease_until_ms=lease_until_ms)

    async def read_events(self, owner: str, run_id: str, *, after: int = 0) -> tuple[LoggedEvent, ...]:
        return await self._call(runs.read_events, owner, run_id, after=after)

    async def request_stop(self, owner: str, run_id: str) -> Run:
        return await self._call(runs.request_stop, owner, run_id)

    async def stop_runs(self, owner: str) -> int:
        return await self._call(runs.stop_runs, owner)

    async def finish_run(
        self, owner: str, run: Run, events: Sequence[LoggedEvent], answer: Message | None, *, withdraw: bool = False
    ) -> None:
        await self._call(runs.finish_run, owner, run, events, answer, withdraw=withdraw)

    # -- the owner ----------------------------------------------------------------------------------------------
    async def get_profile(self, owner: str) -> Profile:
        return await self._call(chats.get_profile, owner)

    async def put_profile(self, owner: str, profile: Profile) -> None:
        await self._call(chats.put_profile, owner, profile)

    # -- templates ----------------------------------------------------------------------------------------------
    async def list_templates(self, owner: str) -> tuple[Template, ...]:
        return await self._call(templates.list_templates, owner)

    async def put_template(self, owner: str, template: Template) -> None:
        await self._call(templates.put_template, owner, template)

    async def delete_template(self, owner: str, template_id: str) -> bool:
        return await self._call(templates.delete_template, owner, template_id)

    # -- shares, and whole chats --------------------------------------------------------------------------------
    async def put_share(self, owner: str, share: Share) -> Share:
        return await self._call(shares.put_share, owner, share)

    async def list_shares(self, owner: str) -> tuple[Share, ...]:
        return await self._call(shares.list_shares, owner)

    async def delete_share(self, owner: str, chat_id: str) -> bool:
        return await self._call(chats.delete_share, owner, chat_id)

    async def find_share(self, share_id: str) -> tuple[str, Share]:
        return await self._call(shares.find_share, share_id)

    async def import_chat(self, owner: str, chat: Chat, messages: Sequence[Message]) -> bool:
        return await self._call(chats.import_chat, owner, chat, messages)

    async def list_owners(self) -> tuple[str, ...]:
        return await self._call(shares.list_owners)

    # -- memories -----------------------------------------------------------------------------------------------
    async def list_memories(self, owner: str) -> tuple[Memory, ...]:
        return await self._call(memories.list_memories, owner)

    async def get_memory(self, owner: str, memory_id: str) -> Memory:
        return await self._call(memories.get_memory, owner, memory_id)

    async def put_memory(self, owner: str, memory: Memory, *, replaces: Memory | None = None) -> bool:
        return await self._call(memories.put_memory, owner, memory, replaces=replaces)

    async def delete_memory(self, owner: str, memory_id: str) -> bool:
        return await self._call(memories.delete_memory, owner, memory_id)

    async def remembered_until(self, owner: str, chat_id: str) -> int:
        return await self._call(memories.remembered_until, owner, chat_id)

    async def set_remembered(self, owner: str, chat_id: str, until_ms: int) -> None:
        await self._call(memories.set_remembered, owner, chat_id, until_ms)

    # -- retention ----------------------------------------------------------------------------------------------
    async def list_overdue(
        self, *, now_ms: int, untouched_since_ms: int | None, limit: int, after: str | None = None
    ) -> Page[tuple[str, str]]:
        return await self._call(
            retention.list_overdue, now_ms=now_ms, untouched_since_ms=untouched_since_ms, limit=limit, after=after
        )

    async def expire_chat(self, owner: str, chat_id: str, *, now_ms: int, untouched_since_ms: int | None) -> bool:
        return await self._call(
            retention.expire_chat, owner, chat_id, now_ms=now_ms, untouched_since_ms=untouched_since_ms
        )

    async def erase_owner(self, owner: str, *, now_ms: int) -> dict[str, int]:
        return await self._call(retention.erase_owner, owner, now_ms=now_ms)

    async def was_erased(self, owner: str, *, since_ms: int) -> bool:
        return await self._call(retention.was_erased, owner, since_ms=since_ms)

    # -- knowledge ----------------------------------------------------------------------------------------------
    async def create_collection(self, owner: str, collection: Collection) -> bool:
        return await self._call(knowledge.create_collection, owner, collection)

    async def list_collections(self, principal: str) -> tuple[Collection, ...]:
        return await self._call(knowledge.list_collections, principal)

    async def rename_collection(self, owner: str, collection_id: str, name: str) -> None:
        await self._call(knowledge.rename_collection, owner, collection_id, name)

    async def delete_collection(self, owner: str, collection_id: str) -> None:
        await self._call(knowledge.delete_collection, owner, collection_id)

    async def put_member(self, owner: str, collection_id: str, principal: str, role: CollectionRole | None) -> None:
        await self._call(knowledge.put_member, owner, collection_id, principal, role)

    async def list_members(self, owner: str, collection_id: str) -> tuple[Member, ...]:
        return await self._call(knowledge.list_members, owner, collection_id)

    async def add_document(self, owner: str, document: Document) -> None:
        await self._call(knowledge.add_document, owner, document)

    async def list_documents(self, owner: str) -> tuple[Document, ...]:
        return await self._call(knowledge.list_documents, owner)

    async def get_document(self, owner: str, document_id: str) -> Document:
        return await self._call(knowledge.get_document, owner, document_id)

    async def put_document(self, owner: str, document: Document) -> None:
        await self._call(knowledge.put_document, owner, document)

    async def finish_document(self, owner: str, document: Document) -> bool:
        return await self._call(knowledge.finish_document, owner, document)

    async def delete_document(self, owner: str, document_id: str) -> None:
        await self._call(knowledge.delete_document, owner, document_id)

    async def purge_document(self, owner: str, document_id: str) -> None:
        await self._call(knowledge.purge_document, owner, document_id)

    async def put_part(self, owner: str, document_id: str, kind: PartKind, number: int, data: bytes) -> None:
        await self._call(knowledge.put_part, owner, document_id, kind, number, data)

    async def read_part(self, owner: str, document_id: str, kind: PartKind, number: int) -> bytes | None:
        return await self._call(knowledge.read_part, owner, document_id, kind, number)

    async def drop_parts(self, owner: str, document_id: str, kind: PartKind) -> None:
        await self._call(knowledge.drop_parts, owner, document_id, kind)

    async def put_chunks(self, owner: str, document_id: str, chunks: Sequence[Chunk]) -> None:
        await self._call(knowledge.put_chunks, owner, document_id, chunks)

    async def read_chunks(self, owner: str, document_id: str, numbers: Sequence[int]) -> tuple[Chunk, ...]:
        return await self._call(knowledge.read_chunks, owner, document_id, numbers)

    # -- vectors ------------------------------------------------------------------------------------------------
    async def put_vectors(
        self,
        owner: str,
        collection: str,
        items: Sequence[tuple[str, Sequence[float], dict[str, Any]]],
        *,
        expires_ms: int = 0,
    ) -> None:
        await self._call(vectors.put_vectors, owner, collection, items, expires_ms=expires_ms)

    async def search_vectors(
        self, owner: str, collection: str, vector: Sequence[float], *, limit: int
    ) -> tuple[Hit, ...]:
        return await self._call(vectors.search_vectors, owner, collection, vector, limit=limit)

    async def delete_vectors(self, owner: str, collection: str, ids: Sequence[str] | None = None) -> None:
        await self._call(vectors.delete_vectors, owner, collection, ids)

    # -- counters -----------------------------------------------------------------------------------------------
    async def admit(self, owner: str, key: str, *, interval_ms: int, burst: int, now_ms: int) -> int:
        return await self._call(counters.admit, owner, key, interval_ms=interval_ms, burst=burst, now_ms=now_ms)

    async def add(
        self, owner: str, key: str, amount: int, *, limit: int | None = None, expires: datetime | None = None
    ) -> int | None:
        return await self._call(counters.add, owner, key, amount, limit=limit, expires=expires)

    async def look(self, owner: str, key: str) -> int:
        return await self._call(counters.look, owner, key)

    # -- limits -------------------------------------------------------------------------------------------------
    async def hold(self, account: str, wanted: Hold) -> Hold | str:
        return await self._call(limits.hold, account, wanted)

    async def settle(self, account: str, hold_id: str, used: Amounts, *, ends: bool = True) -> bool:
        return await self._call(limits.settle, account, hold_id, used, ends=ends)

    async def charge(self, account: str, claims: Sequence[Claim]) -> None:
        await self._call(limits.charge, account, claims)

    async def list_holds(self, account: str, *, before_ms: int) -> tuple[Hold, ...]:
        return await self._call(limits.list_holds, account, before_ms=before_ms)

    async def read_meters(self, account: str, meters: Sequence[str]) -> dict[str, Reading]:
        return await self._call(limits.read_meters, account, meters)

    async def get_rules(self) -> HouseRules:
        return await self._call(limits.get_rules)

    async def put_rules(self, rules: HouseRules) -> bool:
        return await self._call(limits.put_rules, rules)

    async def get_limits(self, owner: str) -> Limits | None:
        return await self._call(limits.get_limits, owner)

    async def put_limits(self, owner: str, own: Limits | None) -> None:
        await self._call(limits.put_limits, owner, own)

    async def list_limits(self) -> tuple[tuple[str, Limits], ...]:
        return await self._call(limits.list_limits)

    # -- jobs ---------------------------------------------------------------------------------------------------
    async def put_job(self, job_id: str, job: Job, *, at_ms: int, gently: bool = False) -> None:
        await self._call(jobs.put_job, job_id, job, at_ms=at_ms, gently=gently)

    async def take_job(
        self, *, now_ms: int, hidden_ms: int, lane: Lane = "runs", job_id: str | None = None
    ) -> QueuedJob | None:
        return await self._call(jobs.take_job, now_ms=now_ms, hidden_ms=hidden_ms, lane=lane, job_id=job_id)

    async def keep_job(self, queued: QueuedJob, *, until_ms: int) -> bool:
        return await self._call(jobs.keep_job, queued, until_ms=until_ms)

    async def drop_job(self, queued: QueuedJob) -> None:
        await self._call(jobs.drop_job, queued)

    async def delay_job(
        self, queued: QueuedJob, *, at_ms: int, attempts: int | None = None, lane: Lane | None = None
    ) -> None:
        await self._call(jobs.delay_job, queued, at_ms=at_ms, attempts=attempts, lane=lane)

    # -- nodes --------------------------------------------------------------------------------------------------
    async def put_node(self, node: JoinedNode) -> None:
        await self._call(nodes.put_node, node)

    async def list_nodes(self, *, now_ms: int) -> tuple[JoinedNode, ...]:
        return await self._call(nodes.list_nodes, now_ms=now_ms)

    async def drop_node(self, name: str) -> None:
        await self._call(nodes.drop_node, name)

    async def put_sighting(self, sighting: Sighting) -> None:
        await self._call(nodes.put_sighting, sighting)

    async def list_sightings(self) -> tuple[Sighting, ...]:
        return await self._call(nodes.list_sightings)

    async def record_wake(self, node: str, *, at_ms: int, took_ms: int) -> None:
        await self._call(nodes.record_wake, node, at_ms=at_ms, took_ms=took_ms)

    async def read_wakes(self, node: str, *, limit: int) -> tuple[int, ...]:
        return await self._call(nodes.read_wakes, node, limit=limit)

    # -- the ledger ---------------------------------------------------------------------------------------------
    async def record_use(self, use: NodeUse) -> None:
        await self._call(ledger.record_use, use)

    async def read_uses(self, *, from_ms: int, to_ms: int) -> tuple[NodeUse, ...]:
        days = ledger.days(from_ms=from_ms, to_ms=to_ms)
        found = await asyncio.gather(*(self._call(ledger.read_day, day, from_ms=from_ms, to_ms=to_ms) for day in days))
        return tuple(use for uses in found for use in uses)

    # -- figures ------------------------------------------------------------------------------------------------
    async def count_verdicts(self, counts: Sequence[VerdictCount]) -> None:
        await self._call(figures.count_verdicts, counts)

    async def read_verdicts(self, *, from_day: str, to_day: str) -> tuple[VerdictCount, ...]:
        found = await asyncio.gather(
            *(
                self._call(figures.read_month, month, from_day=from_day, to_day=to_day)
                for month in figures.months(from_day, to_day)
            )
        )
        return tuple(sorted((one for month in found for one in month), key=figures.by_day))

    # -- opening ----------------------------------------------------------------------------------------------------

    # -- accounts -----------------------------------------------------------------------------------------------
    async def get_user(self, owner: str) -> User | None:
        return await self._call(accounts.get_user, owner)

    async def add_user(self, user: User) -> bool:
        return await self._call(accounts.add_user, user)

    async def change_user(self, owner: str, changes: dict[str, Any]) -> User:
        return await self._call(accounts.change_user, owner, changes)

    async def list_users(self, *, limit: int, after: str | None, query: str) -> Page[User]:
        return await self._call(accounts.list_users, limit=limit, after=after, query=query)

    async def accept(self, user: User, *, invitation_id: str | None, identity: Identity | None) -> bool:
        return await self._call(accounts.accept, user, invitation_id=invitation_id, identity=identity)

    async def find_identity(self, issuer: str, subject: str) -> str | None:
        return await self._call(accounts.find_identity, issuer, subject)

    async def put_key(self, key: ApiKey, digest: str) -> None:
        await self._call(accounts.put_key, key, digest)

    async def list_keys(self, owner: str) -> tuple[ApiKey, ...]:
        return await self._call(accounts.list_keys, owner)

    async def find_key(self, digest: str) -> ApiKey | None:
        return await self._call(accounts.find_key, digest)

    async def touch_key(self, owner: str, key_id: str, *, at: datetime) -> None:
        await self._call(accounts.touch_key, owner, key_id, at=at)

    async def delete_key(self, owner: str, key_id: str) -> bool:
        return await self._call(accounts.delete_key, owner, key_id)

    async def is_origin_listed(self, origin: str) -> bool:
        return await self._call(accounts.is_origin_listed, origin)

    async def put_session(self, session: Session, digest: str) -> None:
        await self._call(accounts.put_session, session, digest)

    async def list_sessions(self, owner: str) -> tuple[Session, ...]:
        return await self._call(accounts.list_sessions, owner)

    async def find_session(self, digest: str) -> Session | None:
        return await self._call(accounts.find_session, digest)

    async def touch_session(self, owner: str, session_id: str, *, at: datetime) -> None:
        await self._call(accounts.touch_session, owner, session_id, at=at)

    async def delete_session(self, owner: str, session_id: str) -> bool:
        return await self._call(accounts.delete_session, owner, session_id)

    async def put_invitation(self, invitation: Invitation, digest: str | None) -> None:
        await self._call(accounts.put_invitation, invitation, digest)

    async def list_invitations(self) -> tuple[Invitation, ...]:
        return await self._call(accounts.list_invitations)

    async def find_invitation(self, digest: str) -> Invitation | None:
        return await self._call(accounts.find_invitation, digest)

    async def delete_invitation(self, invitation_id: str) -> bool:
        return await self._call(accounts.delete_invitation, invitation_id)


def _open(url: str, *, create: bool) -> Tables:
    parts = urlsplit(url)
    if parts.scheme != "dynamodb" or not parts.netloc:
        raise BadInput("A DynamoDB store is dynamodb://PREFIX?region=…&endpoint=…", param="store_url")
    options = {name: values[-1] for name, values in parse_qs(parts.query).items()}
    if unknown := set(options) - {"region", "endpoint", "vectors"}:
        raise BadInput(f"A DynamoDB store has no option {min(unknown)!r}.", param="store_url")
    length = options.get("vectors", "0")
    if not (length.isdecimal() and int(length) <= vectors.LONGEST):
        raise BadInput(f"`vectors` is how many numbers one has, up to {vectors.LONGEST}.", param="store_url")
    endpoint = options.get("endpoint")
    is_emulator = endpoint is not None and urlsplit(endpoint).hostname in ("127.0.0.1", "localhost", "::1")
    tables = bind(parts.netloc, options.get("region"), endpoint, is_emulator=is_emulator)
    if create:
        create_tables(tables, vector_length=int(length))
    for model in tables.all:
        if not ask(model.exists):
            raise no_tables()
    return replace(tables, vector_length=vectors.index_length(tables))


def create_tables(tables: Tables, *, vector_length: int = 0) -> None:
    """Make the tables that are missing: on demand, expiring by `expires`, and those that hold what people wrote with
    point-in-time recovery. With `vector_length`, a native vector index as well."""
    if vector_length:
        vectors.create_with_index(tables, vector_length)
    for model in tables.all:
        if not ask(model.exists) or (vector_length and model is tables.vectors):
            ask(partial(model.create_table, wait=True))
    for model in (tables.chat, tables.vectors):
        ask(
            partial(
                tables.connection.client.update_continuous_backups,
                TableName=model.Meta.table_name,
                PointInTimeRecoverySpecification={"PointInTimeRecoveryEnabled": True},
            )
        )
