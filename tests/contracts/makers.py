"""Small, complete values for the contract tests, and the few steps that most of them begin with."""

from datetime import UTC, datetime, timedelta
from itertools import count
from typing import Any, Protocol

import msgspec

from functions.chat.allowances import Claim, Hold
from functions.chat.documents import Chunk, Collection, Document
from functions.chat.messages import (
    Chat,
    Delta,
    JoinedNode,
    LoggedEvent,
    Memory,
    Message,
    NodeUse,
    Run,
    RunJob,
    RunStarted,
    Share,
    Sighting,
    Stopped,
    Summary,
    Template,
    new_id,
)
from functions.ports import (
    AccountStore,
    ArchiveStore,
    ChatStore,
    Counter,
    JobQueue,
    KnowledgeStore,
    Ledger,
    LimitStore,
    MemoryStore,
    NewTurn,
    NodeRegistry,
    RetentionStore,
    ShareStore,
    SummaryStore,
    TemplateStore,
    VectorStore,
)

T0 = datetime(2026, 11, 20, 12, 0, 0, 123456, tzinfo=UTC)
NASTY = "é 🙂 中文 \0 \" \\ \n\r\u2028 %_ '); DROP TABLE chats; -- \U0010ffff"
LEASE_MS = 1_000_000


_clock = count(1_800_000_000_000)


def next_id() -> str:
    """A new id that sorts after all before it, also within a millisecond."""
    return new_id(next(_clock))


class Store(
    AccountStore,
    ArchiveStore,
    ChatStore,
    KnowledgeStore,
    LimitStore,
    MemoryStore,
    RetentionStore,
    ShareStore,
    SummaryStore,
    TemplateStore,
    VectorStore,
    Counter,
    JobQueue,
    NodeRegistry,
    Ledger,
    Protocol,
):
    """One adapter is all the ports."""


def at(seconds: float) -> datetime:
    return T0 + timedelta(seconds=seconds)


def a_chat(**changes: Any) -> Chat:
    values = {"id": next_id(), "title": None, "model": None, "system_prompt": None, "created_at": T0, "updated_at": T0}
    return Chat(**(values | changes))


def a_message(chat_id: str, parent_id: str | None = None, **changes: Any) -> Message:
    values = {
        "id": next_id(),
        "chat_id": chat_id,
        "parent_id": parent_id,
        "role": "user",
        "content": "Hello",
        "created_at": T0,
    }
    return Message(**(values | changes))


def a_memory(text: str = "I live in Zürich.", **changes: Any) -> Memory:
    return Memory(**({"id": next_id(), "text": text, "created_at": T0, "updated_at": T0} | changes))


def a_template(**changes: Any) -> Template:
    return Template(**({"id": next_id(), "name": "Letter", "text": "Dear {{name}},", "updated_at": T0} | changes))


def a_share(chat: Chat, **changes: Any) -> Share:
    values = {"id": f"link-{next_id()}", "chat_id": chat.id, "title": "Shared", "created_at": T0, "updated_at": T0}
    return Share(**(values | {"leaf": chat.active_leaf} | changes))


def started(run: Run) -> LoggedEvent:
    event = RunStarted(
        run_id=run.id,
        chat_id=run.chat_id,
        user_message_id=run.user_message_id,
        assistant_message_id=run.assistant_message_id,
        model=run.model,
        status=run.status,
    )
    return LoggedEvent.of(1, event)


def a_turn(
    owner: str,
    chat_id: str | None,
    *,
    message: Message | None = None,
    run: dict[str, Any] | None = None,
    **changes: Any,
) -> NewTurn:
    """One user message and a queued run, as the chat layer would begin it."""
    if message is None and chat_id is not None and "user_message" not in changes:
        message = a_message(chat_id)
    values: dict[str, Any] = {
        "id": next_id(),
        "owner": owner,
        "chat_id": chat_id,
        "user_message_id": message.id if message else None,
        "assistant_message_id": next_id(),
        "model": "tiny",
        "created_at": at(60),
    }
    new_run = Run(**(values | (run or {})))
    turn: dict[str, Any] = {
        "key": f"message:{message.id if message else new_run.id}",
        "body_hash": "body",
        "run": new_run,
        "events": (started(new_run),),
        "user_message": message,
        "job": RunJob(owner=owner, run_id=new_run.id),
        "job_at_ms": 5_000,
    }
    return NewTurn(**(turn | changes))


def the_answer(run: Run, content: str = "Hi!", **changes: Any) -> Message:
    assert run.chat_id is not None
    values: dict[str, Any] = {"id": run.assistant_message_id, "role": "assistant", "run_id": run.id} | changes
    return a_message(run.chat_id, run.user_message_id, content=content, **values)


def deltas(first: int, *texts: str) -> list[LoggedEvent]:
    return [LoggedEvent.of(seq, Delta(text=text)) for seq, text in enumerate(texts, first)]


def the_end(seq: int) -> LoggedEvent:
    return LoggedEvent.of(seq, Stopped())


def ended(run: Run, **changes: Any) -> Run:
    values = {"status": "completed", "ended_at": at(120), "finish_reason": "stop"}
    return msgspec.structs.replace(run, **(values | changes))


def a_node(name: str = "a", **changes: Any) -> JoinedNode:
    values = {"name": name, "url": "http://10.0.0.7:8000/v1", "joined_ms": 1_000, "expires_ms": 36_000}
    return JoinedNode(**(values | changes))


def a_sighting(node: str, seen_ms: int, **changes: Any) -> Sighting:
    values = {"node": node, "state": "warm", "since_ms": seen_ms - 5_000, "seen_ms": seen_ms}
    return Sighting(**(values | changes))


def a_use(asked_ms: int, **changes: Any) -> NodeUse:
    values = {
        "id": next_id(),
        "owner": "somebody",
        "run_id": next_id(),
        "node": "a",
        "model": "tiny",
        "asked_ms": asked_ms,
        "began_ms": asked_ms + 200,
        "ended_ms": asked_ms + 3_000,
    }
    return NodeUse(**(values | changes))


def a_collection(owner: str, **changes: Any) -> Collection:
    return Collection(**({"id": next_id(), "owner": owner, "name": "Handbook", "created_at": T0} | changes))


def a_document(collection: Collection, **changes: Any) -> Document:
    values = {
        "id": next_id(),
        "collection_id": collection.id,
        "title": "Leave",
        "filename": "leave.md",
        "media_type": "text/markdown",
        "size_bytes": 7,
        "created_at": T0,
        "updated_at": T0,
    }
    return Document(**(values | changes))


def a_chunk(number: int = 0, text: str = NASTY, **changes: Any) -> Chunk:
    return Chunk(**({"number": number, "text": text, "heading": "Leave › Days", "page": 3} | changes))


def a_summary(upto: str, **changes: Any) -> Summary:
    values = {"upto": upto, "version": "1", "text": NASTY, "messages": 4, "tokens": 9, "model": "m", "created_at": T0}
    return Summary(**(values | changes))


def a_hold(owner: str, *, limit: int = 100, **amounts: int) -> Hold:
    """Of one claim for each amount, on the meter of its name."""
    claims = tuple(Claim(meter=meter, amount=amount, limit=limit) for meter, amount in amounts.items())
    return Hold(id=next_id(), owner=owner, at_ms=1_000, claims=claims)


async def begun_chat(store: Store, owner: str, **changes: Any) -> tuple[Chat, Run]:
    """A new chat with one turn begun in it."""
    chat = a_chat(**changes)
    await store.create_chat(owner, chat)
    run, _ = await store.begin_turn(owner, a_turn(owner, chat.id))
    return chat, run


async def claimed(store: Store, owner: str, run: Run, worker: str = "one") -> Run:
    claim = await store.claim_run(owner, run.id, worker=worker, now_ms=0, lease_until_ms=LEASE_MS)
    assert claim is not None
    return claim


async def finished_chat(store: Store, owner: str, answer: str = "Hi!") -> tuple[Chat, Run]:
    """A new chat with one turn in it, begun, claimed and answered."""
    chat, run = await begun_chat(store, owner)
    run = await claimed(store, owner, run)
    await store.finish_run(owner, ended(run), [the_end(2)], the_answer(run, answer))
    return chat, await store.get_run(owner, run.id)
