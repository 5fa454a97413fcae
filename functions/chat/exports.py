"""All that an owner takes along as one JSON document, `parley.export.v1`: one chat at a time is in memory."""

from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import suppress
from typing import Any, Protocol

import msgspec

from functions.chat.documents import Document
from functions.chat.messages import Chat, Message, utc_now
from functions.errors import NotFound
from functions.ports import ChatStore, KnowledgeStore, MemoryStore, ShareStore, TemplateStore
from functions.settings import PAGE_MAX

CHUNKS = 100  # of a document, read at once


class Store(ChatStore, KnowledgeStore, MemoryStore, ShareStore, TemplateStore, Protocol):
    """What an export is made of."""


async def export_of(store: Store, owner: str) -> AsyncGenerator[bytes, None]:
    """Every chat with all its messages, archived ones too; the profile, memories, templates and share links; and the
    documents of the owner's own collections as the text that was read in them. Temporary chats are no part of it."""
    # Asked before the first byte: a store that is away answers with a status, not with half a document.
    head = {
        "format": "parley.export.v1",
        "exported_at": utc_now(),
        "profile": await store.get_profile(owner),
        "memories": await store.list_memories(owner),
        "templates": await store.list_templates(owner),
        "shares": await store.list_shares(owner),
    }
    yield msgspec.json.encode(head)[:-1] + b',"chats":['
    separator = b""
    async for chat in _chats(store, owner):
        with suppress(NotFound):  # deleted while the chats before it were read
            yield separator + msgspec.json.encode(await whole_chat(store, owner, chat))
            separator = b","
    yield b'],"documents":['
    separator = b""
    for document in await store.list_documents(owner):
        yield separator + msgspec.json.encode(await _whole_document(store, owner, document))
        separator = b","
    yield b"]}"


async def whole_chat(store: ChatStore, owner: str, chat: Chat) -> dict[str, Any]:
    """Raises NotFound."""
    messages: tuple[Message, ...] = (await store.list_messages(owner, chat.id)).data
    return {"chat": chat, "messages": messages}


async def _chats(store: ChatStore, owner: str) -> AsyncIterator[Chat]:
    for archived in (False, True):
        after: str | None = None
        while True:
            page = await store.list_chats(owner, limit=PAGE_MAX, after=after, archived=archived)
            for chat in page.data:
                yield chat
            if (after := page.next) is None:
                break


async def _whole_document(store: KnowledgeStore, owner: str, document: Document) -> dict[str, Any]:
    """The file itself is not kept once it has been read: its passages are, in their order."""
    passages: list[str] = []
    for start in range(0, document.chunks, CHUNKS):
        found = await store.read_chunks(owner, document.id, range(start, min(start + CHUNKS, document.chunks)))
        passages += (chunk.text for chunk in found)
    return {"document": document, "passages": passages}
