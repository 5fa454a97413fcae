"""The four DynamoDB tables as pynamodb models, and the keys of the `chat` table.

    pk                      sk                    what
    U#owner                 C#chat                chat; in the index `recent` by updated_at
    U#owner                 N#memory              memory
    U#owner                 I#key                 idempotency key of a turn -> its run
    U#owner                 P                     profile
    U#owner                 X#chat                the chat is shared
    U#owner                 K#collection          collection of the knowledge base
    U#owner                 G#collection          what somebody else has let this owner into
    U#owner                 D#document            document
    U#owner                 F#collection#name     which document of this file name is the one that counts
    U#owner#K#collection    A#principal           member of a collection
    U#owner#D#document      T#number              chunk
    U#owner#D#document      B#kind#number         part of the file, or of the index of its words
    U#owner#C#chat          M#message             message
    U#owner#C#chat          R#run                 pointer to a run of the chat (so that delete finds it)
    U#owner#C#chat          S#version#message     summary up to that message; first only the marker of who makes it
    U#owner#R#run           E#last seq            a checkpoint: the events up to and with that seq
    U#owner#R#run           Q                     the conversation the caller brought, if any
    U#owner#R#run           R                     the run: small, because each checkpoint rewrites it
    (of any of these)       Z#sk#tag#number       a part of an item that is too large for one
    H#N                     J#name                the house: a node that has joined, until `expires`
    H#N                     S#name                how a node was last seen; kept for a day
    H#W#name                moment#random         a start of a node: how long it took; kept for 90 days
    H#L#day                 moment#id             the ledger: one use of a node; kept for 400 days
    H#U#id                  L                     this use is in the ledger; kept as long
    H#E#pseudonym           E                     an owner was erased; kept for a day
    H#X#share               X                     what a share link leads to

In the index `recent` a chat stands under its owner, archived or not; temporary ones of all owners stand together, and
so do those that are being deleted: a sweep finds them there.

The ledger is parted by the day (a number, from 1970) of `asked_ms`, so that a reader of one day reads no other; a day
takes some 500 uses a second.

Owners, ids and names are escaped, so that no id can reach into another key. Nothing here does I/O except `bind`, which
makes the client.
"""

import hashlib
import time
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, cast

from pynamodb.attributes import Attribute, BinaryAttribute, BooleanAttribute, TTLAttribute, UnicodeAttribute
from pynamodb.constants import LIST, NUMBER, PAY_PER_REQUEST_BILLING_MODE
from pynamodb.expressions.condition import Condition
from pynamodb.indexes import AllProjection, GlobalSecondaryIndex
from pynamodb.models import Model

from functions.settings import TEMPORARY_CHAT_SECONDS

THREADS = 50  # pynamodb blocks; this many calls may wait for DynamoDB at once, each on a connection of its own
CONNECT_SECONDS = 1.5
READ_SECONDS = 5.0
KEY_BYTES = 900  # a sort key may have 1,024


class WholeNumber(Attribute[int]):
    attr_type = NUMBER

    def serialize(self, value: int) -> str:
        return str(value)

    def deserialize(self, value: str) -> int:
        return int(value)


class RecentIndex(GlobalSecondaryIndex["ChatItem"]):  # type: ignore[no-untyped-call]  # pynamodb's own hook
    """The chats of an owner, archived or not, by the moment of their last change. Eventually consistent."""

    class Meta:
        index_name = "recent"
        projection = AllProjection()

    recent = UnicodeAttribute(hash_key=True)
    moment = UnicodeAttribute(range_key=True)


class ChatItem(Model):
    """Any row of the `chat` table; which attributes it has depends on its kind."""

    pk = UnicodeAttribute(hash_key=True)
    sk = UnicodeAttribute(range_key=True)
    expires = TTLAttribute(null=True)
    # What is stored whole: JSON, perhaps compressed; in `parts` items under `tag` when it is too large
    data = BinaryAttribute(null=True, legacy_encoding=False)
    parts = WholeNumber(null=True)
    tag = UnicodeAttribute(null=True)
    # Chat
    chat_id = UnicodeAttribute(null=True)
    title = UnicodeAttribute(null=True)
    model = UnicodeAttribute(null=True)
    system_prompt = UnicodeAttribute(null=True)
    created_us = WholeNumber(null=True)
    updated_us = WholeNumber(null=True)
    pinned = BooleanAttribute(null=True)
    archived = BooleanAttribute(null=True)
    active_leaf = UnicodeAttribute(null=True)
    active_run = UnicodeAttribute(null=True)
    is_deleted = BooleanAttribute(null=True)
    temporary = BooleanAttribute(null=True)
    edition = UnicodeAttribute(null=True)
    remembered_ms = WholeNumber(null=True)
    recent = UnicodeAttribute(null=True)
    moment = UnicodeAttribute(null=True)
    by_moment = RecentIndex()
    # Message
    feedback = BinaryAttribute(null=True, legacy_encoding=False)
    # Summary
    token = UnicodeAttribute(null=True)
    # Run
    status = UnicodeAttribute(null=True)
    epoch = WholeNumber(null=True)
    worker = UnicodeAttribute(null=True)
    lease_until_ms = WholeNumber(null=True)
    last_seq = WholeNumber(null=True)
    is_stopping = BooleanAttribute(null=True)
    has_prompt = BooleanAttribute(null=True)
    # Checkpoint
    first_seq = WholeNumber(null=True)
    # Idempotency key, and the pointer to a run
    body_hash = UnicodeAttribute(null=True)
    run_id = UnicodeAttribute(null=True)
    key = UnicodeAttribute(null=True)
    until_ms = WholeNumber(null=True)
    # A node that has joined, how one was seen, and how long a start took
    joined_ms = WholeNumber(null=True)
    seen_ms = WholeNumber(null=True)
    took_ms = WholeNumber(null=True)


class NumberList(Attribute[Sequence[float]]):
    """As DynamoDB's vector index wants it: 32-bit numbers, the shortest text that gives each back."""

    attr_type = LIST

    def serialize(self, value: Sequence[float]) -> list[dict[str, str]]:
        return [{"N": f"{number:.9g}"} for number in value]

    def deserialize(self, value: list[dict[str, str]]) -> Sequence[float]:
        return [float(number["N"]) for number in value]


class VectorItem(Model):
    """pk U#owner#V#collection; sk V#id, or L: what all vectors of the collection have in common."""

    pk = UnicodeAttribute(hash_key=True)
    sk = UnicodeAttribute(range_key=True)
    expires = TTLAttribute(null=True)
    # L
    length = WholeNumber(null=True)
    is_indexed = BooleanAttribute(null=True)  # each has an `embedding`
    # V
    vector_id = UnicodeAttribute(null=True)
    vector = BinaryAttribute(null=True, legacy_encoding=False)
    embedding = NumberList(null=True)  # the same again, for the native index
    data = BinaryAttribute(null=True, legacy_encoding=False)
    until_ms = WholeNumber(null=True)


class CounterItem(Model):
    """pk U#owner; sk A#key (the theoretical arrival of a rate), T#key (a total), M#meter, H#id (a hold on meters) or L
    (limits of the owner's own). The house's stand under its own name; its R are the rules for all."""

    pk = UnicodeAttribute(hash_key=True)
    sk = UnicodeAttribute(range_key=True)
    arrival_ms = WholeNumber(null=True)
    total = WholeNumber(null=True)
    until_ms = WholeNumber(null=True)
    reserved = WholeNumber(null=True)
    data = BinaryAttribute(null=True, legacy_encoding=False)
    last_call = UnicodeAttribute(null=True)
    expires = TTLAttribute(null=True)


class DueIndex(GlobalSecondaryIndex["JobItem"]):  # type: ignore[no-untyped-call]  # pynamodb's own hook
    """The jobs of each lane by the time they are due. A lane is a partition: good for about a thousand changes a
    second."""

    class Meta:
        index_name = "due"
        projection = AllProjection()

    queue = UnicodeAttribute(hash_key=True)
    due_ms = WholeNumber(range_key=True)


class JobItem(Model):
    id = UnicodeAttribute(hash_key=True)
    queue = UnicodeAttribute(default="all")
    due_ms = WholeNumber()
    attempts = WholeNumber(default=0)
    receipt = UnicodeAttribute(null=True)
    data = BinaryAttribute(legacy_encoding=False)
    by_due = DueIndex()


@dataclass(frozen=True)
class Tables:
    """The models bound to one prefix and region. pynamodb keeps a table's name on the class, hence classes."""

    chat: type[ChatItem]
    vectors: type[VectorItem]
    counters: type[CounterItem]
    jobs: type[JobItem]
    vector_length: int = 0  # of what the native vector index takes; 0: the table has none

    @property
    def all(self) -> tuple[type[Model], ...]:
        return self.chat, self.vectors, self.counters, self.jobs

    @property
    def connection(self) -> Any:  # pynamodb does not export its connection's type
        return self.chat._get_connection().connection


def bind(prefix: str, region: str | None, endpoint: str | None, *, is_emulator: bool) -> Tables:
    """The four tables under `prefix`, sharing one client (pynamodb would make four, 50 ms of CPU each)."""
    settings: dict[str, Any] = {
        "region": region,
        "host": endpoint,
        "billing_mode": PAY_PER_REQUEST_BILLING_MODE,
        "connect_timeout_seconds": CONNECT_SECONDS,
        "read_timeout_seconds": READ_SECONDS,
        "max_pool_connections": THREADS,
        "max_retry_attempts": 0,  # `dynamo_calls.ask` retries, and knows what may be retried
    }
    if is_emulator:  # it wants a signature, whosoever's
        settings |= {"aws_access_key_id": "local", "aws_secret_access_key": "local"}

    def table(model: type[Model], name: str) -> Any:  # a subclass of `model`
        meta = type("Meta", (), settings | {"table_name": f"{prefix}-{name}"})
        return type(model.__name__, (model,), {"Meta": meta, "__module__": __name__})

    tables = Tables(
        table(ChatItem, "chat"), table(VectorItem, "vectors"), table(CounterItem, "counters"), table(JobItem, "jobs")
    )
    client = tables.connection.client
    for model in tables.all:
        model._get_connection().connection._client = client
    return tables


# -- keys -------------------------------------------------------------------------------------------------------
def safe(text: str) -> str:
    """Without the separator; different texts stay different."""
    return text.replace("%", "%25").replace("#", "%23")


def owner_of(pk: str) -> str:
    """Whose partition this is."""
    return pk.split("#")[1].replace("%23", "#").replace("%25", "%")


def owner_pk(owner: str) -> str:
    return f"U#{safe(owner)}"


def chat_pk(owner: str, chat_id: str) -> str:
    return f"U#{safe(owner)}#C#{safe(chat_id)}"


def run_pk(owner: str, run_id: str) -> str:
    return f"U#{safe(owner)}#R#{safe(run_id)}"


def collection_pk(owner: str, collection: str) -> str:
    return f"U#{safe(owner)}#V#{safe(collection)}"


def chat_sk(chat_id: str) -> str:
    return f"C#{safe(chat_id)}"


def message_sk(message_id: str) -> str:
    return f"M#{safe(message_id)}"


def memory_sk(memory_id: str) -> str:
    return f"N#{safe(memory_id)}"


def template_sk(template_id: str) -> str:
    return f"Y#{safe(template_id)}"


def share_sk(chat_id: str) -> str:
    return f"X#{safe(chat_id)}"


def link_pk(share_id: str) -> str:
    return f"H#X#{short(share_id)}"


def collection_sk(collection_id: str) -> str:
    return f"K#{safe(collection_id)}"


def knowledge_pk(owner: str, collection_id: str) -> str:
    return f"U#{safe(owner)}#K#{safe(collection_id)}"


def member_sk(principal: str) -> str:
    return f"A#{short(principal)}"


def grant_sk(collection_id: str) -> str:
    return f"G#{safe(collection_id)}"


def document_sk(document_id: str) -> str:
    return f"D#{safe(document_id)}"


def document_pk(owner: str, document_id: str) -> str:
    return f"U#{safe(owner)}#D#{safe(document_id)}"


def filename_sk(collection_id: str, filename: str | None = None) -> str:
    """Without a name it stands before all of the collection."""
    return f"F#{safe(collection_id)}#" + ("" if filename is None else hashlib.sha256(filename.encode()).hexdigest())


def chunk_sk(number: int) -> str:
    return f"T#{number:06}"


def part_sk(kind: str, number: int | None = None) -> str:
    return f"B#{kind}#" + ("" if number is None else f"{number:04}")


def pointer_sk(run_id: str) -> str:
    return f"R#{safe(run_id)}"


def summary_sk(version: str, upto: str = "") -> str:
    """Without a message it stands before all of its version; without either, before all summaries."""
    return f"S#{safe(version)}#{safe(upto)}" if version else "S#"


def events_sk(last_seq: int) -> str:
    return f"E#{last_seq:010}"


def short(text: str) -> str:
    """Safe, and never too long for a key: others choose it, so a long one is known by its hash."""
    encoded = safe(text).encode()
    return safe(text) if len(encoded) <= KEY_BYTES else f"#{hashlib.sha256(encoded).hexdigest()}"


def key_sk(key: str) -> str:
    return f"I#{short(key)}"


NODES_PK = "H#N"


def joined_sk(name: str) -> str:
    return f"J#{short(name)}"


def sighting_sk(name: str) -> str:
    return f"S#{short(name)}"


def wakes_pk(node: str) -> str:
    return f"H#W#{short(node)}"


def day_pk(day: int) -> str:
    return f"H#L#{day}"


def use_pk(use_id: str) -> str:
    return f"H#U#{short(use_id)}"


def erasure_pk(pseudonym: str) -> str:
    return f"H#E#{pseudonym}"


def moment_sk(at_ms: int, name: str = "") -> str:
    """Sorts by time. Without a name it stands before all of its moment."""
    return f"{at_ms:015}#{short(name)}"


def expires_after(at_ms: int) -> datetime:
    """For DynamoDB, which deletes some time after it and counts in seconds."""
    return datetime(1970, 1, 1, tzinfo=UTC) + timedelta(seconds=at_ms // 1000 + 1)


DELETED = "H#D"  # in the index `recent`
TEMPORARY = "H#T"


def recent_key(owner: str, *, archived: bool, temporary: bool = False) -> str:
    if temporary:
        return TEMPORARY
    return f"{owner_pk(owner)}#{'archived' if archived else 'current'}"


def moment(updated_us: int, chat_id: str) -> str:
    """Sorts as (updated_us, chat_id) does, also before 1970."""
    return f"{updated_us + 10**18:019}#{chat_id}"


def is_alive(tables: Tables) -> Condition:
    """The chat is there, is not being deleted, and has not expired."""
    chat = tables.chat
    has_time = chat.temporary.does_not_exist() | (chat.updated_us > outlived_us())
    return cast("Condition", chat.pk.exists() & chat.is_deleted.does_not_exist() & has_time)


def outlived_us(now_ms: int | None = None) -> int:
    """A temporary chat that was last touched then, or before, has expired."""
    now_us = time.time_ns() // 1000 if now_ms is None else 1000 * now_ms
    return now_us - int(1_000_000 * TEMPORARY_CHAT_SECONDS)


def is_gone(was: dict[str, dict[str, Any]] | None) -> bool:
    """Of a chat as DynamoDB's wire has it: what `is_alive` denies."""
    if was is None or "is_deleted" in was:
        return True
    return "temporary" in was and int(was["updated_us"]["N"]) <= outlived_us()
