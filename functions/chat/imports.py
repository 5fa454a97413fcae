"""Chats from elsewhere, brought into an owner's own.

    importing.bring(owner, file)    progress, …, the result; or BadInput before any of it

What is there already stays as it is: the same file again changes nothing, and one that was cut off goes on where it was
cut. Chats come as they were, with their times; so where old chats are deleted (`chats_days`), old ones go again.

What somebody brings may say anything, as question or as answer, and its texts will stand in prompts. So they meet the
input rails as if they were said here: what is masked is masked, and what is blocked stays for its owner to read and is
shown to no model.
"""

import asyncio
from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing, suppress
from hashlib import sha256
from pathlib import Path
from typing import Protocol

import msgspec

from functions.chat.messages import Chat, Message, Profile, Struct
from functions.chat.rails import Rails
from functions.errors import BadInput, Conflict, NotFound
from functions.importing.reader import read_chats
from functions.importing.values import Code, FoundChat, FoundHead, NotFoundOut, Over
from functions.ports import ArchiveStore, ChatStore, MemoryStore, RetentionStore, TemplateStore
from functions.settings import MEMORIES_MAX, TEMPLATES_MAX
from functions.telemetry import log

AT_ONCE = 2  # in one process: each holds up to READING_MEMORY_BYTES
WAIT_SECONDS = 5.0  # between two signs of life while others are at it
TOLD_FAILURES = 200

TROUBLES: dict[Code, str] = {
    "unsupported": "There are no chats in this file that can be read. Bring a Parley export, or the ZIP or the "
    "conversations.json of a ChatGPT export.",
    "damaged": "The file is damaged from here on. What came before it is there.",
    "encrypted": "The ZIP is locked with a password. Unpack it and bring the conversations.json.",
    "too_large": "The file holds more than can be taken in one piece.",
    "too_slow": "Reading the file took too long.",
}


class Store(ArchiveStore, ChatStore, MemoryStore, RetentionStore, TemplateStore, Protocol):
    """What bringing chats needs of the store."""


class Failure(Struct, frozen=True, kw_only=True):
    """A chat that was not brought, and why: empty, damaged, circular or too_large."""

    title: str
    reason: str


class Progress(Struct, frozen=True, kw_only=True):
    """How far it is. `done`: chats seen so far; `part`: of the file, from 0 to 1."""

    done: int = 0
    part: float = 0.0


class Brought(Struct, frozen=True, kw_only=True):
    """What came of it. `skipped` chats are there already; of failed ones the first are named, `failures` counts all."""

    chats: int = 0
    messages: int = 0
    skipped: int = 0
    memories: int = 0
    templates: int = 0
    failures: int = 0
    failed: tuple[Failure, ...] = ()
    trouble: Code | None = None  # the file could not be read to its end
    message: str | None = None  # the same as a sentence


class Imports:
    def __init__(self, store: Store, rails: Callable[[], Rails] | None, clock: Callable[[], int]) -> None:
        """Without `rails` texts come as they are: what an operator restores has met them. `clock`: Unix
        milliseconds."""
        self._store, self._rails, self._clock = store, rails, clock
        self._busy: set[str] = set()
        self._places = asyncio.Semaphore(AT_ONCE)

    def refuse_second(self, owner: str) -> None:
        """Raises Conflict while the owner brings another file in this process."""
        if owner in self._busy:
            raise Conflict("You are bringing chats already; wait until that is done.")

    async def bring(self, owner: str, path: Path) -> AsyncGenerator[Progress | Brought | None, None]:
        """None is a sign of life. The last one is Brought. Leaving ends it; what has been stored stays. Raises
        Conflict."""
        self.refuse_second(owner)
        self._busy.add(owner)
        try:
            while not await self._has_place():
                yield None
            try:
                async with aclosing(self._bring(owner, path)) as told:
                    async for one in told:
                        yield one
            finally:
                self._places.release()
        finally:
            self._busy.discard(owner)

    async def _has_place(self) -> bool:
        with suppress(TimeoutError):
            async with asyncio.timeout(WAIT_SECONDS):
                return await self._places.acquire()
        return False

    async def _bring(self, owner: str, path: Path) -> AsyncGenerator[Progress | Brought, None]:
        began_ms, done, head = self._clock(), 0, FoundHead()
        brought = Brought()
        salt = sha256(f"import\0{owner}".encode()).hexdigest()[:32]
        async with aclosing(read_chats(path, salt)) as lines:
            async for line in lines:
                match line:
                    case FoundHead():
                        head = line
                    case FoundChat():
                        brought = await self._store_chat(owner, line, brought)
                        await self._refuse_who_has_left(owner, line.chat.id, began_ms)
                    case NotFoundOut(title=title, reason=reason):
                        named = (*brought.failed, Failure(title=title, reason=reason))[:TOLD_FAILURES]
                        brought = msgspec.structs.replace(brought, failures=brought.failures + 1, failed=named)
                    case Over(trouble=trouble):
                        sentence = TROUBLES[trouble] if trouble else None
                        brought = msgspec.structs.replace(brought, trouble=trouble, message=sentence)
                        break
                done += not isinstance(line, FoundHead)
                yield Progress(done=done, part=line.part)
        # After the chats: a memory names the one that it comes from.
        brought = await self._store_head(owner, head, brought)
        log("import.done", chats=brought.chats, skipped=brought.skipped, failed=brought.failures)
        yield brought

    async def _store_chat(self, owner: str, found: FoundChat, brought: Brought) -> Brought:
        chat, messages = await self._admitted(found.chat, found.messages)
        if not await self._store.import_chat(owner, chat, messages):
            return msgspec.structs.replace(brought, skipped=brought.skipped + 1)
        return msgspec.structs.replace(brought, chats=brought.chats + 1, messages=brought.messages + len(messages))

    async def _refuse_who_has_left(self, owner: str, chat_id: str, since_ms: int) -> None:
        if await self._store.was_erased(owner, since_ms=since_ms):
            with suppress(NotFound):
                await self._store.delete_chat(owner, chat_id)
            raise BadInput("Everything of this user was deleted meanwhile; nothing more is brought.")

    async def _admitted(self, chat: Chat, messages: tuple[Message, ...]) -> tuple[Chat, tuple[Message, ...]]:
        if self._rails is None:
            return chat, messages
        texts = [chat.system_prompt or "", *(message.content for message in messages)]
        prompt, *results = await self._rails().check_all(texts)
        chat = msgspec.structs.replace(chat, system_prompt=None if prompt.blocked else prompt.text or None)
        admitted = []
        for message, result in zip(messages, results, strict=True):
            if result.blocked:
                verdicts = (*message.verdicts, *result.verdicts)
                admitted.append(msgspec.structs.replace(message, status="blocked", verdicts=verdicts))
            elif result.text != message.content:
                verdicts = (*message.verdicts, *result.verdicts)
                admitted.append(msgspec.structs.replace(message, content=result.text, verdicts=verdicts))
            else:
                admitted.append(message)
        return chat, tuple(admitted)

    async def _store_head(self, owner: str, head: FoundHead, brought: Brought) -> Brought:
        """What one of our own exports says besides chats: only into what is empty, or has room."""
        if head.profile is not None and await self._store.get_profile(owner) == Profile():
            said = (await self._passing([head.profile.custom_instructions]))[0] or ""
            profile = msgspec.structs.replace(head.profile, custom_instructions=said)
            if profile != Profile():
                await self._store.put_profile(owner, profile)
        room = MEMORIES_MAX - len(await self._store.list_memories(owner))
        memories = 0
        texts = await self._passing([memory.text for memory in head.memories])
        for memory, text in zip(head.memories, texts, strict=True):
            if text and memories < room:
                kept = msgspec.structs.replace(memory, text=text)
                if not await self._store.put_memory(owner, kept):  # its chat is gone, or it is there already
                    kept = msgspec.structs.replace(kept, chat_id=None, message_id=None)
                    memories += await self._store.put_memory(owner, kept)
                else:
                    memories += 1
        known = {template.id for template in await self._store.list_templates(owner)}
        fresh = [one for one in head.templates if one.id not in known][: max(0, TEMPLATES_MAX - len(known))]
        for template in fresh:
            await self._store.put_template(owner, template)
        return msgspec.structs.replace(brought, memories=memories, templates=len(fresh))

    async def _passing(self, texts: list[str]) -> list[str | None]:
        """Each as the input rails let it through; None where they do not."""
        if self._rails is None:
            return list(texts)
        return [None if result.blocked else result.text for result in await self._rails().check_all(texts)]
