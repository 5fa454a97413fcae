"""The embedded store: all the ports on one SQLite file.

Promises: what the ports promise, also when several processes use the file; nothing blocks the event loop; an awaited
write survives `kill -9`, and a power cut may cost the last moments but never the file (see `sqlite_schema`). A read
that starts after an awaited write sees it. A file that is written to forgets what is out of date (`sqlite_sweep`).

Here is only which thread does what: writes go to the one writer (`sqlite_writer`), reads to a reader. The SQL stands in
`sqlite_chats`, `sqlite_runs`, `sqlite_jobs`, `sqlite_counters`, `sqlite_vectors`, `sqlite_nodes` and `sqlite_ledger`.
"""

import asyncio
import sqlite3
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from datetime import datetime
from functools import partial
from pathlib import Path
from typing import Any, Concatenate, ParamSpec, Self, TypeVar

from functions.adapters import sqlite_accounts as accounts
from functions.adapters import sqlite_chats as chats
from functions.adapters import sqlite_counters as counters
from functions.adapters import sqlite_figures as figures
from functions.adapters import sqlite_jobs as jobs
from functions.adapters import sqlite_knowledge as knowledge
from functions.adapters import sqlite_ledger as ledger
from functions.adapters import sqlite_limits as limits
from functions.adapters import sqlite_memories as memories
from functions.adapters import sqlite_nodes as nodes
from functions.adapters import sqlite_retention as retention
from functions.adapters import sqlite_runs as runs
from functions.adapters import sqlite_shares as shares
from functions.adapters import sqlite_summaries as summaries
from functions.adapters import sqlite_templates as templates
from functions.adapters import sqlite_vectors as vectors
from functions.adapters.matrices import Matrices
from functions.adapters.rules import SIGHTING_KEPT_MS
from functions.adapters.sqlite_schema import open_file, prove_writable
from functions.adapters.sqlite_sweep import SWEEP_MS, sweep
from functions.adapters.sqlite_writer import Readers, Writer
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
from functions.errors import StoreUnavailable
from functions.ports import ContextRead, FoundChat, Hit, NewTurn

P = ParamSpec("P")
T = TypeVar("T")
Sql = Callable[Concatenate[sqlite3.Connection, P], T]


def _unix_ms() -> int:
    return time.time_ns() // 1_000_000


class SqliteStore:
    """All the ports. Made by `open`; belongs to the event loop that opened it."""

    def __init__(self, db: sqlite3.Connection, path: Path, clock: Callable[[], int]) -> None:
        self._writer = Writer(db, asyncio.get_running_loop())
        self._readers = Readers(path)
        self._matrices = Matrices()
        self._path = path
        self._clock = clock
        self._sweep_at_ms = clock() + SWEEP_MS
        self._sweeping: asyncio.Task[None] | None = None

    @classmethod
    async def open(cls, path: str | Path, *, clock: Callable[[], int] = _unix_ms) -> Self:
        """Open the file, or make it. Raises ParleyError when it cannot be used, e.g. because it is newer than us.
        `clock` gives Unix milliseconds; what is forgotten goes by it."""
        where = Path(path)
        store = cls(await asyncio.to_thread(open_file, where), where, clock)
        try:
            await store._sweep()
        except BaseException:
            await store.close()
            raise
        return store

    async def close(self) -> None:
        """Queued writes are made first. Closing twice is fine."""
        self._writer.finish()
        self._readers.finish()
        await asyncio.to_thread(self._join)
        if self._sweeping is not None:
            await self._sweeping

    def _join(self) -> None:
        self._writer.join()
        self._readers.join()

    async def ready(self) -> None:
        """Goes the way of a write, and is one: the thread lives, the lock can be had, the disk takes it."""
        await self._write(prove_writable, self._path)

    async def _write(self, sql: Sql[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        written = self._writer.write(lambda db: sql(db, *args, **kwargs))
        if self._clock() >= self._sweep_at_ms:
            self._sweep_at_ms = self._clock() + SWEEP_MS
            self._sweeping = asyncio.create_task(self._sweep_quietly())
        return await written

    async def _read(self, sql: Sql[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        return await self._readers.read(lambda db: sql(db, *args, **kwargs))

    async def _sweep(self) -> None:
        while await self._writer.write(partial(sweep, now_ms=self._clock())):
            pass

    async def _sweep_quietly(self) -> None:
        """Nobody waits for it. When the file cannot be written now, e.g. because it is being closed, whoever writes
        hears of it, and the next sweep has more to do."""
        with suppress(StoreUnavailable):
            await self._sweep()

    # -- chats --------------------------------------------------------------------------------------------------
    async def create_chat(self, owner: str, chat: Chat) -> None:
        await self._write(chats.create_chat, owner, chat)

    async def get_chat(self, owner: str, chat_id: str) -> Chat:
        return await self._read(chats.get_chat, owner, chat_id)

    async def list_chats(
        self,
        owner: str,
        *,
        limit: int,
        after: str | None = None,
        archived: bool = False,
    ) -> Page[Chat]:
        return await self._read(chats.list_chats, owner, limit=limit, after=after, archived=archived)

    async def search_chats(
        self, owner: str, query: str, *, limit: int, after: str | None = None, archived: bool = False
    ) -> Page[FoundChat]:
        return await self._read(chats.search_chats, owner, query, limit=limit, after=after, archived=archived)

    async def retitle_chat(self, owner: str, chat_id: str, title: str, *, instead_of: str) -> bool:
        return await self._write(chats.retitle_chat, owner, chat_id, title, instead_of=instead_of)

    async def update_chat(self, owner: str, chat_id: str, changes: dict[str, Any]) -> Chat:  # checked at the edge
        return await self._write(chats.update_chat, owner, chat_id, changes)

    async def delete_chat(self, owner: str, chat_id: str) -> None:
        await self._write(chats.delete_chat, owner, chat_id)

    # -- messages -----------------------------------------------------------------------------------------------
    async def get_message(self, owner: str, chat_id: str, message_id: str) -> Message:
        return await self._read(chats.get_message, owner, chat_id, message_id)

    async def list_messages(
        self, owner: str, chat_id: str, *, limit: int | None = None, before: str | None = None
    ) -> Page[Message]:
        return await self._read(chats.list_messages, owner, chat_id, limit=limit, before=before)

    async def read_path(self, owner: str, chat_id: str, leaf: str) -> tuple[Message, ...]:
        return await self._read(chats.read_path, owner, chat_id, leaf)

    async def read_context(self, owner: str, chat_id: str, leaf: str) -> tuple[Chat, tuple[Message, ...], Profile]:
        return await self._read(chats.read_context, owner, chat_id, leaf)

    async def read_context_unless(self, owner: str, chat_id: str, leaf: str, *, edition: str) -> ContextRead:
        return await self._read(chats.read_context_unless, owner, chat_id, leaf, edition=edition)

    async def get_edition(self, owner: str, chat_id: str) -> tuple[Chat, str]:
        return await self._read(chats.get_edition, owner, chat_id)

    async def put_feedback(self, owner: str, chat_id: str, message_id: str, feedback: Feedback | None) -> None:
        await self._write(chats.put_feedback, owner, chat_id, message_id, feedback)

    # -- summaries ----------------------------------------------------------------------------------------------
    async def list_summaries(self, owner: str, chat_id: str, *, version: str) -> tuple[Summary, ...]:
        return await self._read(summaries.list_summaries, owner, chat_id, version=version)

    async def claim_fold(
        self, owner: str, chat_id: str, upto: str, *, version: str, token: str, now_ms: int, until_ms: int
    ) -> bool:
        return await self._write(
            summaries.claim_fold, owner, chat_id, upto, version=version, token=token, now_ms=now_ms, until_ms=until_ms
        )

    async def put_summary(self, owner: str, chat_id: str, summary: Summary) -> bool:
        return await self._write(summaries.put_summary, owner, chat_id, summary)

    async def forget_summaries(self, owner: str, chat_id: str, *, version: str) -> int:
        return await self._write(summaries.forget_summaries, owner, chat_id, version=version)

    # -- runs ---------------------------------------------------------------------------------------------------
    async def begin_turn(self, owner: str, turn: NewTurn) -> tuple[Run, bool]:
        return await self._write(runs.begin_turn, owner, turn)

    async def find_turn(self, owner: str, key: str, body_hash: str) -> Run | None:
        return await self._read(runs.find_turn, owner, key, body_hash)

    async def get_run(self, owner: str, run_id: str) -> Run:
        return await self._read(runs.get_run, owner, run_id)

    async def claim_run(self, owner: str, run_id: str, *, worker: str, now_ms: int, lease_until_ms: int) -> Run | None:
        return await self._write(
            runs.claim_run, owner, run_id, worker=worker, now_ms=now_ms, lease_until_ms=lease_until_ms
        )

    def append_events(
        self, owner: str, run_id: str, epoch: int, events: Sequence[LoggedEvent], *, lease_until_ms: int
    ) -> asyncio.Future[bool]:
        return self._writer.write(runs.Append(owner, run_id, epoch, events, lease_until_ms))

    async def read_events(self, owner: str, run_id: str, *, after: int = 0) -> tuple[LoggedEvent, ...]:
        return await self._read(runs.read_events, owner, run_id, after=after)

    async def request_stop(self, owner: str, run_id: str) -> Run:
        return await self._write(runs.request_stop, owner, run_id)

    async def stop_runs(self, owner: str) -> int:
        return await self._write(runs.stop_runs, owner)

    async def finish_run(
        self, owner: str, run: Run, events: Sequence[LoggedEvent], answer: Message | None, *, withdraw: bool = False
    ) -> None:
        await self._write(runs.finish_run, owner, run, events, answer, withdraw=withdraw)

    # -- the owner ----------------------------------------------------------------------------------------------
    async def get_profile(self, owner: str) -> Profile:
        return await self._read(chats.get_profile, owner)

    async def put_profile(self, owner: str, profile: Profile) -> None:
        await self._write(chats.put_profile, owner, profile)

    # -- templates ----------------------------------------------------------------------------------------------
    async def list_templates(self, owner: str) -> tuple[Template, ...]:
        return await self._read(templates.list_templates, owner)

    async def put_template(self, owner: str, template: Template) -> None:
        await self._write(templates.put_template, owner, template)

    async def delete_template(self, owner: str, template_id: str) -> bool:
        return await self._write(templates.delete_template, owner, template_id)

    # -- shares, and whole chats --------------------------------------------------------------------------------
    async def put_share(self, owner: str, share: Share) -> Share:
        return await self._write(shares.put_share, owner, share)

    async def list_shares(self, owner: str) -> tuple[Share, ...]:
        return await self._read(shares.list_shares, owner)

    async def delete_share(self, owner: str, chat_id: str) -> bool:
        return await self._write(shares.delete_share, owner, chat_id)

    async def find_share(self, share_id: str) -> tuple[str, Share]:
        return await self._read(shares.find_share, share_id)

    async def import_chat(self, owner: str, chat: Chat, messages: Sequence[Message]) -> bool:
        return await self._write(chats.import_chat, owner, chat, messages)

    async def list_owners(self) -> tuple[str, ...]:
        return await self._read(shares.list_owners)

    # -- memories -----------------------------------------------------------------------------------------------
    async def list_memories(self, owner: str) -> tuple[Memory, ...]:
        return await self._read(memories.list_memories, owner)

    async def get_memory(self, owner: str, memory_id: str) -> Memory:
        return await self._read(memories.get_memory, owner, memory_id)

    async def put_memory(self, owner: str, memory: Memory, *, replaces: Memory | None = None) -> bool:
        return await self._write(memories.put_memory, owner, memory, replaces=replaces)

    async def delete_memory(self, owner: str, memory_id: str) -> bool:
        return await self._write(memories.delete_memory, owner, memory_id)

    async def remembered_until(self, owner: str, chat_id: str) -> int:
        return await self._read(memories.remembered_until, owner, chat_id)

    async def set_remembered(self, owner: str, chat_id: str, until_ms: int) -> None:
        await self._write(memories.set_remembered, owner, chat_id, until_ms)

    # -- retention ----------------------------------------------------------------------------------------------
    async def list_overdue(
        self, *, now_ms: int, untouched_since_ms: int | None, limit: int, after: str | None = None
    ) -> Page[tuple[str, str]]:
        return await self._read(
            retention.list_overdue, now_ms=now_ms, untouched_since_ms=untouched_since_ms, limit=limit, after=after
        )

    async def expire_chat(self, owner: str, chat_id: str, *, now_ms: int, untouched_since_ms: int | None) -> bool:
        return await self._write(
            retention.expire_chat, owner, chat_id, now_ms=now_ms, untouched_since_ms=untouched_since_ms
        )

    async def erase_owner(self, owner: str, *, now_ms: int) -> dict[str, int]:
        found = await self._write(retention.begin_erasure, owner, now_ms=now_ms)
        while await self._write(retention.erase_chats, owner):
            pass
        await self._write(retention.erase_rest, owner)
        found["ledger"] = 0
        at: int | None = 0
        while at is not None:
            changed, at = await self._write(retention.erase_from_ledger, owner, at)
            found["ledger"] += changed
        return found

    async def was_erased(self, owner: str, *, since_ms: int) -> bool:
        return await self._read(retention.was_erased, owner, since_ms=since_ms)

    # -- knowledge ----------------------------------------------------------------------------------------------
    async def create_collection(self, owner: str, collection: Collection) -> bool:
        return await self._write(knowledge.create_collection, owner, collection)

    async def list_collections(self, principal: str) -> tuple[Collection, ...]:
        return await self._read(knowledge.list_collections, principal)

    async def rename_collection(self, owner: str, collection_id: str, name: str) -> None:
        await self._write(knowledge.rename_collection, owner, collection_id, name)

    async def delete_collection(self, owner: str, collection_id: str) -> None:
        await self._write(knowledge.delete_collection, owner, collection_id)

    async def put_member(self, owner: str, collection_id: str, principal: str, role: CollectionRole | None) -> None:
        await self._write(knowledge.put_member, owner, collection_id, principal, role)

    async def list_members(self, owner: str, collection_id: str) -> tuple[Member, ...]:
        return await self._read(knowledge.list_members, owner, collection_id)

    async def add_document(self, owner: str, document: Document) -> None:
        await self._write(knowledge.add_document, owner, document)

    async def list_documents(self, owner: str) -> tuple[Document, ...]:
        return await self._read(knowledge.list_documents, owner)

    async def get_document(self, owner: str, document_id: str) -> Document:
        return await self._read(knowledge.get_document, owner, document_id)

    async def put_document(self, owner: str, document: Document) -> None:
        await self._write(knowledge.put_document, owner, document)

    async def finish_document(self, owner: str, document: Document) -> bool:
        return await self._write(knowledge.finish_document, owner, document)

    async def delete_document(self, owner: str, document_id: str) -> None:
        await self._write(knowledge.delete_document, owner, document_id)

    async def purge_document(self, owner: str, document_id: str) -> None:
        await self._write(knowledge.purge_document, owner, document_id)

    async def put_part(self, owner: str, document_id: str, kind: PartKind, number: int, data: bytes) -> None:
        await self._write(knowledge.put_part, owner, document_id, kind, number, data)

    async def read_part(self, owner: str, document_id: str, kind: PartKind, number: int) -> bytes | None:
        return await self._read(knowledge.read_part, owner, document_id, kind, number)

    async def drop_parts(self, owner: str, document_id: str, kind: PartKind) -> None:
        await self._write(knowledge.drop_parts, owner, document_id, kind)

    async def put_chunks(self, owner: str, document_id: str, chunks: Sequence[Chunk]) -> None:
        await self._write(knowledge.put_chunks, owner, document_id, chunks)

    async def read_chunks(self, owner: str, document_id: str, numbers: Sequence[int]) -> tuple[Chunk, ...]:
        return await self._read(knowledge.read_chunks, owner, document_id, numbers)

    # -- vectors ------------------------------------------------------------------------------------------------
    async def put_vectors(
        self,
        owner: str,
        collection: str,
        items: Sequence[tuple[str, Sequence[float], dict[str, Any]]],
        *,
        expires_ms: int = 0,
    ) -> None:
        await self._write(vectors.put_vectors, owner, collection, vectors.prepare(items), expires_ms=expires_ms)

    async def search_vectors(
        self, owner: str, collection: str, vector: Sequence[float], *, limit: int
    ) -> tuple[Hit, ...]:
        return await self._read(
            vectors.search_vectors,
            owner,
            collection,
            vector,
            limit=limit,
            now_ms=self._clock(),
            matrices=self._matrices,
        )

    async def delete_vectors(self, owner: str, collection: str, ids: Sequence[str] | None = None) -> None:
        await self._write(vectors.delete_vectors, owner, collection, ids)

    # -- counters -----------------------------------------------------------------------------------------------
    async def admit(self, owner: str, key: str, *, interval_ms: int, burst: int, now_ms: int) -> int:
        return await self._write(counters.admit, owner, key, interval_ms=interval_ms, burst=burst, now_ms=now_ms)

    async def add(
        self, owner: str, key: str, amount: int, *, limit: int | None = None, expires: datetime | None = None
    ) -> int | None:
        return await self._write(counters.add, owner, key, amount, limit=limit, expires=expires)

    async def look(self, owner: str, key: str) -> int:
        return await self._read(counters.look, owner, key)

    # -- limits -------------------------------------------------------------------------------------------------
    async def hold(self, account: str, wanted: Hold) -> Hold | str:
        return await self._write(limits.hold, account, wanted)

    async def settle(self, account: str, hold_id: str, used: Amounts, *, ends: bool = True) -> bool:
        return await self._write(limits.settle, account, hold_id, used, ends=ends)

    async def charge(self, account: str, claims: Sequence[Claim]) -> None:
        await self._write(limits.charge, account, claims)

    async def list_holds(self, account: str, *, before_ms: int) -> tuple[Hold, ...]:
        return await self._read(limits.list_holds, account, before_ms=before_ms)

    async def read_meters(self, account: str, meters: Sequence[str]) -> dict[str, Reading]:
        return await self._read(limits.read_meters, account, meters)

    async def get_rules(self) -> HouseRules:
        return await self._read(limits.get_rules)

    async def put_rules(self, rules: HouseRules) -> bool:
        return await self._write(limits.put_rules, rules)

    async def get_limits(self, owner: str) -> Limits | None:
        return await self._read(limits.get_limits, owner)

    async def put_limits(self, owner: str, own: Limits | None) -> None:
        await self._write(limits.put_limits, owner, own)

    async def list_limits(self) -> tuple[tuple[str, Limits], ...]:
        return await self._read(limits.list_limits)

    # -- jobs ---------------------------------------------------------------------------------------------------
    async def put_job(self, job_id: str, job: Job, *, at_ms: int, gently: bool = False) -> None:
        await self._write(jobs.put_job, job_id, job, at_ms=at_ms, gently=gently)

    async def take_job(
        self, *, now_ms: int, hidden_ms: int, lane: Lane = "runs", job_id: str | None = None
    ) -> QueuedJob | None:
        # An idle worker asks often: only a due job is worth the write lock.
        if not await self._read(jobs.is_any_due, now_ms, lane):
            return None
        return await self._write(jobs.take_job, now_ms=now_ms, hidden_ms=hidden_ms, lane=lane, job_id=job_id)

    async def keep_job(self, queued: QueuedJob, *, until_ms: int) -> bool:
        return await self._write(jobs.keep_job, queued, until_ms=until_ms)

    async def drop_job(self, queued: QueuedJob) -> None:
        await self._write(jobs.drop_job, queued)

    async def delay_job(
        self, queued: QueuedJob, *, at_ms: int, attempts: int | None = None, lane: Lane | None = None
    ) -> None:
        await self._write(jobs.delay_job, queued, at_ms=at_ms, attempts=attempts, lane=lane)

    # -- nodes --------------------------------------------------------------------------------------------------
    async def put_node(self, node: JoinedNode) -> None:
        await self._write(nodes.put_node, node)

    async def list_nodes(self, *, now_ms: int) -> tuple[JoinedNode, ...]:
        return await self._read(nodes.list_nodes, now_ms=now_ms)

    async def drop_node(self, name: str) -> None:
        await self._write(nodes.drop_node, name)

    async def put_sighting(self, sighting: Sighting) -> None:
        await self._write(nodes.put_sighting, sighting)

    async def list_sightings(self) -> tuple[Sighting, ...]:
        return await self._read(nodes.list_sightings, since_ms=self._clock() - SIGHTING_KEPT_MS)

    async def record_wake(self, node: str, *, at_ms: int, took_ms: int) -> None:
        await self._write(nodes.record_wake, node, at_ms=at_ms, took_ms=took_ms)

    async def read_wakes(self, node: str, *, limit: int) -> tuple[int, ...]:
        return await self._read(nodes.read_wakes, node, limit=limit)

    # -- the ledger ---------------------------------------------------------------------------------------------
    async def record_use(self, use: NodeUse) -> None:
        await self._write(ledger.record_use, use)

    async def read_uses(self, *, from_ms: int, to_ms: int) -> tuple[NodeUse, ...]:
        return await self._read(ledger.read_uses, from_ms=from_ms, to_ms=to_ms)

    # -- figures ------------------------------------------------------------------------------------------------
    async def count_verdicts(self, counts: Sequence[VerdictCount]) -> None:
        await self._write(figures.count_verdicts, counts)

    async def read_verdicts(self, *, from_day: str, to_day: str) -> tuple[VerdictCount, ...]:
        return await self._read(figures.read_verdicts, from_day=from_day, to_day=to_day)

    # -- accounts -----------------------------------------------------------------------------------------------
    async def get_user(self, owner: str) -> User | None:
        return await self._read(accounts.get_user, owner)

    async def add_user(self, user: User) -> bool:
        return await self._write(accounts.add_user, user)

    async def change_user(self, owner: str, changes: dict[str, Any]) -> User:
        return await self._write(accounts.change_user, owner, changes)

    async def list_users(self, *, limit: int, after: str | None, query: str) -> Page[User]:
        return await self._read(accounts.list_users, limit=limit, after=after, query=query)

    async def accept(self, user: User, *, invitation_id: str | None, identity: Identity | None) -> bool:
        return await self._write(accounts.accept, user, invitation_id=invitation_id, identity=identity)

    async def find_identity(self, issuer: str, subject: str) -> str | None:
        return await self._read(accounts.find_identity, issuer, subject)

    async def put_key(self, key: ApiKey, digest: str) -> None:
        await self._write(accounts.put_key, key, digest)

    async def list_keys(self, owner: str) -> tuple[ApiKey, ...]:
        return await self._read(accounts.list_keys, owner)

    async def find_key(self, digest: str) -> ApiKey | None:
        return await self._read(accounts.find_key, digest)

    async def touch_key(self, owner: str, key_id: str, *, at: datetime) -> None:
        await self._write(accounts.touch_key, owner, key_id, at=at)

    async def delete_key(self, owner: str, key_id: str) -> bool:
        return await self._write(accounts.delete_key, owner, key_id)

    async def is_origin_listed(self, origin: str) -> bool:
        return await self._read(accounts.is_origin_listed, origin)

    async def put_session(self, session: Session, digest: str) -> None:
        await self._write(accounts.put_session, session, digest)

    async def list_sessions(self, owner: str) -> tuple[Session, ...]:
        return await self._read(accounts.list_sessions, owner)

    async def find_session(self, digest: str) -> Session | None:
        return await self._read(accounts.find_session, digest)

    async def touch_session(self, owner: str, session_id: str, *, at: datetime) -> None:
        await self._write(accounts.touch_session, owner, session_id, at=at)

    async def delete_session(self, owner: str, session_id: str) -> bool:
        return await self._write(accounts.delete_session, owner, session_id)

    async def put_invitation(self, invitation: Invitation, digest: str | None) -> None:
        await self._write(accounts.put_invitation, invitation, digest)

    async def list_invitations(self) -> tuple[Invitation, ...]:
        return await self._read(accounts.list_invitations)

    async def find_invitation(self, digest: str) -> Invitation | None:
        return await self._read(accounts.find_invitation, digest)

    async def delete_invitation(self, invitation_id: str) -> bool:
        return await self._write(accounts.delete_invitation, invitation_id)
