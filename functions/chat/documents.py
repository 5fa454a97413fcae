"""What the knowledge base keeps: collections, their members, documents and their chunks. Frozen values, no I/O."""

from datetime import datetime
from typing import Literal
from uuid import NAMESPACE_URL, uuid5

from functions.chat.messages import Problem, Struct

CollectionRole = Literal["reader", "editor", "owner"]
FileKind = Literal["pdf", "docx", "html", "markdown", "text"]
PartKind = Literal["file", "words"]  # of what is stored in parts
DocumentStatus = Literal["queued", "indexing", "ready", "failed"]


class Collection(Struct, frozen=True, kw_only=True):
    """Documents that are read and cited together, as one caller sees them: `role` is the caller's. All of it belongs to
    `owner`: members are let in, and what they upload is the owner's too."""

    id: str
    owner: str
    name: str
    shared: bool = False  # others may be let in
    role: CollectionRole = "owner"
    created_at: datetime


class Member(Struct, frozen=True, kw_only=True):
    principal: str
    role: CollectionRole


class Document(Struct, frozen=True, kw_only=True):
    """An uploaded file. Of those with one `filename` in a collection the newest that is ready counts; when it becomes
    ready, the older ones go."""

    id: str
    collection_id: str
    title: str
    filename: str
    media_type: str
    kind: FileKind = "text"  # how it is read
    size_bytes: int
    status: DocumentStatus = "queued"
    chunks: int = 0
    chunks_done: int = 0
    left_out: int = 0  # chunks that a guardrail kept out
    embedder: str = ""  # the model that made its vectors; none: it is found by its words alone
    error: Problem | None = None
    created_at: datetime
    updated_at: datetime


class Chunk(Struct, frozen=True, kw_only=True):
    """A stretch of a document that can be read by itself: some 300 tokens. `number` counts from 0; `heading` is the
    path of headings that it stands under."""

    number: int
    text: str
    heading: str | None = None
    page: int | None = None


def default_collection_id(owner: str) -> str:
    """The collection that an upload without one goes to. Follows from the owner, so two first uploads at once make
    one."""
    return str(uuid5(NAMESPACE_URL, f"parley:documents-of:{owner}"))
