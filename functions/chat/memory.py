"""Long-term memory: what a user has said that holds beyond its chat, kept as short sentences that they can read.

    add, change, forget       by the user's own hand (the list of memories)
    obey                      "remember that …", "forget that …": at once, without a model
    (remember.py)             what a model finds in a turn later
    recall                    what goes into a prompt: the nearest and the newest, within RECALL_BYTES

Vectors are one collection a user, of whichever model embedded them: each says which, and of which text. One of
another model, or of a text that was changed since, does not count, and its memory is compared by spelling until it is
made anew. So a deleted memory has one vector in one place, and not one for every model that ever embedded here.

A memory's row is written before its vector and deleted before it; who has written a vector looks for the row again. So
no vector outlives its memory, whoever races.
"""

import asyncio
import hashlib
import math
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from datetime import UTC, datetime
from typing import Protocol

import msgspec

from functions.chat.books import Books
from functions.chat.memory_words import Command, Forget, Remember, commands_in, cosine, kind_of, overlap, say_the_same
from functions.chat.messages import Chat, Memory, MemoryKind, Message, NodeUse, Profile, Run, new_id
from functions.chat.rails import Rails
from functions.errors import BadInput, Conflict, NotFound, ParleyError, UpstreamError
from functions.inference.embedding import Embedded
from functions.inference.gateway import Gateway
from functions.inference.lexical import lexical_vector
from functions.ports import ChatStore, MemoryStore, VectorStore
from functions.settings import MEMORIES_MAX
from functions.telemetry import log, log_fault

COLLECTION = "memory"
BYTES_A_TOKEN = 3  # or more, in nearly every text
RECALL_BYTES = 500 * BYTES_A_TOKEN
SHARE = 8  # and no more than an eighth of the prompt
RECALL_SECONDS = 0.5  # what a question waits for its vector; then spelling decides
INDEX_SECONDS = 5.0
COMPARED_CHARS = 2000  # of a question
MONTH_SECONDS = 30 * 24 * 3600
NEWNESS = 0.2  # what a memory of just now is worth, as similarity; half of it a month later
# What holds for every question, whatever it is about.
ALWAYS: Mapping[MemoryKind, float] = {"instruction": 0.4, "preference": 0.1, "fact": 0.0}
REDACTED = "[redacted: "  # as `guardrails` puts it
FORGETS = 0.6  # so much of what is to be forgotten must stand in a memory,
AS_GOOD = 0.1  # and in no other much more


class Store(ChatStore, MemoryStore, VectorStore, Protocol):
    """What memory needs of the store."""


class Memories:
    def __init__(
        self,
        store: Store,
        gateway: Gateway,
        books: Books,
        rails: Callable[[], Rails],
        *,
        is_on: bool,
        clock: Callable[[], int],
    ) -> None:
        """`rails` are those of now; `is_on` is the house's switch, each user has their own."""
        self._store, self._gateway, self._books, self._rails = store, gateway, books, rails
        self.is_on, self._clock = is_on, clock

    def serves(self, model: str) -> bool:
        """Not with a demo model: it understands no memories, and finds none."""
        return self.is_on and any(info.id == model and not info.demo for info in self._gateway.models())

    # -- by the user's own hand ------------------------------------------------------------------------------

    async def add(self, owner: str, text: str) -> Memory:
        """Raises Conflict when it is known, BadInput when there are too many. `text` has been through the rails."""
        known = await self._store.list_memories(owner)
        if any(say_the_same(text, memory.text) for memory in known):
            raise Conflict("This is remembered already.")
        if len(known) >= MEMORIES_MAX:
            raise BadInput(f"There are {MEMORIES_MAX} memories already; delete some first.", param="text")
        memory = self._new(text, kind_of(text))
        await self._store.put_memory(owner, memory)
        await self.index(owner, [memory])
        return memory

    async def change(self, owner: str, memory_id: str, text: str) -> Memory:
        """Raises NotFound, Conflict when somebody else changes it just now."""
        was = await self._store.get_memory(owner, memory_id)
        now = self._now()
        memory = msgspec.structs.replace(was, text=text, kind=kind_of(text), updated_at=now)
        if not await self._store.put_memory(owner, memory, replaces=was):
            await self._store.get_memory(owner, memory_id)
            raise Conflict("This memory has just been changed; look at it again.")
        await self.index(owner, [memory])
        return memory

    async def forget(self, owner: str, memory_id: str) -> bool:
        """Whether there was such a memory. It does not come back from the message it comes from."""
        try:
            was = await self._store.get_memory(owner, memory_id)
        except NotFound:
            return False
        if was.chat_id and was.message_id:
            with suppress(NotFound):
                source = await self._store.get_message(owner, was.chat_id, was.message_id)
                await self._store.set_remembered(owner, was.chat_id, milliseconds(source.created_at))
        was_there = await self._store.delete_memory(owner, memory_id)
        await self._store.delete_vectors(owner, COLLECTION, [memory_id])
        return was_there

    async def forget_all(self, owner: str) -> int:
        """How many there were. Nothing that was said until now comes back."""
        profile = await self._store.get_profile(owner)
        await self._store.put_profile(owner, msgspec.structs.replace(profile, memory_since=self._now()))
        known = await self._store.list_memories(owner)
        gone = [await self._store.delete_memory(owner, memory.id) for memory in known]
        await self._store.delete_vectors(owner, COLLECTION)
        return sum(gone)

    # -- in so many words ------------------------------------------------------------------------------------

    async def obey(self, owner: str, chat: Chat, message: Message) -> None:
        """Remember or forget what this message asks for in so many words. Never raises: it costs no answer."""
        commands = commands_in(message.content)
        if not commands or chat.temporary or message.status != "complete" or not self.is_on:
            return
        try:
            for command in commands:
                await self._do(owner, command, message, await self._store.get_profile(owner))
        except ParleyError:
            log_fault("memory.fault", chat=chat.id)

    async def _do(self, owner: str, command: Command, message: Message, profile: Profile) -> None:
        match command:
            case Remember(text=text) if profile.memory and not message.verdicts:
                known = await self._store.list_memories(owner)
                await self.learn(owner, known, text, kind_of(text), message, profile)
            case Forget(text=None):
                log("memory.forgotten", memories=await self.forget_all(owner))
            case Forget(text=str(text)):
                known = await self._store.list_memories(owner)
                meant = _meant(text, known)
                for memory in meant:
                    await self.forget(owner, memory.id)
                log("memory.forgotten", memories=len(meant))
            case _:
                pass

    async def learn(
        self, owner: str, known: Sequence[Memory], text: str, kind: MemoryKind, source: Message, profile: Profile
    ) -> Memory | None:
        """A new memory, unless it is known, there are too many, or a rail has anything against it; or its owner has
        cleared memory or switched it off since this was their profile. Without a vector."""
        if len(known) >= MEMORIES_MAX or any(say_the_same(text, memory.text) for memory in known):
            return None
        if not await self.is_clean(owner, text):
            return None
        memory = self._new(text, kind, source)
        if not await self._store.put_memory(owner, memory):
            return None
        # Looked at after the write: who changes the profile later than this finds the memory, and deletes it.
        if not await self._is_wanted(owner, profile):
            await self._store.delete_memory(owner, memory.id)
            return None
        return memory

    async def reword(self, owner: str, was: Memory, text: str, source: Message, profile: Profile) -> bool:
        """As `learn`, in the place of this one; False also when somebody else has changed it."""
        if not await self.is_clean(owner, text) or not await self._is_wanted(owner, profile):
            return False
        now = self._now()
        memory = msgspec.structs.replace(
            was, text=text, kind=kind_of(text), updated_at=now, chat_id=source.chat_id, message_id=source.id
        )
        return await self._store.put_memory(owner, memory, replaces=was)

    async def _is_wanted(self, owner: str, profile: Profile) -> bool:
        now = await self._store.get_profile(owner)
        return (now.memory, now.memory_since) == (profile.memory, profile.memory_since)

    async def is_clean(self, owner: str, text: str) -> bool:
        """Whether no rail has anything to say: nothing that would be blocked, redacted or flagged is remembered, nor
        what has been redacted on its way here."""
        result = await self._rails().check(text, of=owner)
        return not result.verdicts and result.text == text and REDACTED not in text

    def _new(self, text: str, kind: MemoryKind, source: Message | None = None) -> Memory:
        now = self._now()
        chat_id, message_id = (source.chat_id, source.id) if source else (None, None)
        return Memory(
            id=new_id(), text=text, kind=kind, created_at=now, updated_at=now, chat_id=chat_id, message_id=message_id
        )

    def _now(self) -> datetime:
        return datetime.fromtimestamp(self._clock() / 1000, UTC)

    # -- recalling -------------------------------------------------------------------------------------------

    async def recall(self, run: Run, chat: Chat, profile: Profile, question: str, *, budget: int) -> tuple[Memory, ...]:
        """What the model is shown for this question in a prompt of `budget` tokens, the oldest first. Another worker
        that takes the run over is shown the same, less what was deleted or changed since: nothing newer than the run
        counts. Never raises because of a model, and never wakes one."""
        if not profile.memory or chat.temporary or not self.serves(run.model):
            return ()
        known = [m for m in await self._store.list_memories(run.owner) if m.updated_at <= run.created_at]
        most_bytes = min(RECALL_BYTES, budget * BYTES_A_TOKEN // SHARE)
        return await self.nearest(run.owner, question, known, most_bytes=most_bytes, at=run.created_at)

    async def nearest(
        self, owner: str, text: str, known: Sequence[Memory], *, most_bytes: int, at: datetime
    ) -> tuple[Memory, ...]:
        """Those of `known` that are worth most to this text, as many as fit, the oldest first."""
        if not known:
            return ()
        if sum(len(memory.text.encode()) for memory in known) <= most_bytes:
            return tuple(known)  # all fit: nothing need be compared, and the same stands there for each question
        near = await self._similarities(owner, text[:COMPARED_CHARS], known)

        def worth(memory: Memory) -> float:
            months = (at - memory.updated_at).total_seconds() / MONTH_SECONDS
            return near[memory.id] + ALWAYS[memory.kind] + NEWNESS * math.exp2(-max(0.0, months))

        chosen, left = [], most_bytes
        for memory in sorted(known, key=worth, reverse=True):
            if (size := len(memory.text.encode())) <= left:
                chosen.append(memory)
                left -= size
        return tuple(sorted(chosen, key=lambda memory: memory.id))

    async def _similarities(self, owner: str, text: str, known: Sequence[Memory]) -> dict[str, float]:
        near: dict[str, float] = {}
        embedded = await self._embed(owner, [text], within_s=RECALL_SECONDS)
        if embedded is not None:
            marks = {memory.id: _mark(embedded.model, memory.text) for memory in known}
            try:
                hits = await self._store.search_vectors(owner, COLLECTION, embedded.vectors[0], limit=2 * MEMORIES_MAX)
            except BadInput:  # of another model's length
                hits = ()
            near = {hit.id: hit.score for hit in hits if hit.data.get("of") == marks.get(hit.id)}
        rest = [memory for memory in known if memory.id not in near]
        return near | (await asyncio.to_thread(_spelt, text, rest) if rest else {})

    # -- vectors ---------------------------------------------------------------------------------------------

    async def index(self, owner: str, memories: Sequence[Memory]) -> None:
        """Give these memories their vectors, if that can be done now without waking a GPU. Never raises because of a
        model."""
        embedded = await self._embed(owner, [memory.text for memory in memories], within_s=INDEX_SECONDS)
        if embedded is None or not memories:
            return
        items = [
            (memory.id, vector, {"of": _mark(embedded.model, memory.text)})
            for memory, vector in zip(memories, embedded.vectors, strict=True)
        ]
        try:
            await self._store.put_vectors(owner, COLLECTION, items)
        except BadInput:  # of another model's length: those that are there are of no use any more
            await self._store.delete_vectors(owner, COLLECTION)
            await self._store.put_vectors(owner, COLLECTION, items)
        left = {memory.id for memory in await self._store.list_memories(owner)}
        if gone := [memory.id for memory in memories if memory.id not in left]:
            await self._store.delete_vectors(owner, COLLECTION, gone if left else None)  # else its name would stay

    async def index_rest(self, owner: str) -> None:
        """Vectors for those that have none of the present model, and none for what is no memory any more."""
        known = await self._store.list_memories(owner)
        embedded = await self._embed(owner, [m.text for m in known[:1]], within_s=INDEX_SECONDS)
        if not known or embedded is None:
            return
        try:
            hits = await self._store.search_vectors(owner, COLLECTION, embedded.vectors[0], limit=2 * MEMORIES_MAX)
        except BadInput:
            hits = ()
        marks = {hit.id: hit.data.get("of") for hit in hits}
        await self.index(owner, [m for m in known if marks.get(m.id) != _mark(embedded.model, m.text)])
        ids = {memory.id for memory in await self._store.list_memories(owner)}
        if stray := [hit.id for hit in hits if hit.id not in ids]:
            await self._store.delete_vectors(owner, COLLECTION, stray)

    async def _embed(self, owner: str, texts: Sequence[str], *, within_s: float) -> Embedded | None:
        """None when the models that embed are asleep, or say nothing in time."""
        awake = self._gateway.embedders(awake=True)
        if not awake and self._gateway.embedders():
            return None
        uses: list[NodeUse] = []
        embedded: Embedded | None = None
        try:
            async with asyncio.timeout(within_s):
                embedded = await self._gateway.embed(texts, model=awake[0] if awake else None, uses=uses)
        except (TimeoutError, UpstreamError, NotFound) as fault:
            log("memory.not_embedded", reason=type(fault).__name__)
        if uses:
            await self._books.enter_vectors(owner, uses, embedded.prompt_tokens if embedded else 0)
        return embedded


def _spelt(text: str, memories: Sequence[Memory]) -> dict[str, float]:
    """How near each is by its spelling. Some 0.2 ms a memory."""
    asked = lexical_vector(text)
    return {memory.id: cosine(asked, lexical_vector(memory.text)) for memory in memories}


def _meant(text: str, known: Sequence[Memory]) -> list[Memory]:
    """Those that somebody means who says so: most of it stands there, and nowhere else much more of it."""
    scores = {memory.id: overlap(text, memory.text) for memory in known}
    best = max(scores.values(), default=0.0)
    return [m for m in known if scores[m.id] >= max(FORGETS, best - AS_GOOD)]


def milliseconds(when: datetime) -> int:
    return int(when.timestamp() * 1000)


def _mark(model: str, text: str) -> str:
    """Which model a vector is of, and which text."""
    return hashlib.sha256(f"{model}\0{text}".encode("utf-8", "surrogatepass")).hexdigest()[:32]
