"""The semantic cache: a question that was answered before is answered by that answer, where that is safe.

    look = await cache.look(run, prompt, policy)      # None: such a question is not for the cache
    look.found                                        # the answer, as a stream; None: the model must say it
    await cache.keep(look, ended, answer)             # so that the next one finds it
    await cache.forget(owner, [chat_id])              # with the chat it came from

Promises: off unless the operator turns it on. Only the first question of a chat, and only if the model would read
nothing but the head and that question: no memory, no passages, no history, no tools. Found is only what the same model
said under the same policy, head and sampling to the same user (or tenant), if it ended well, no rail has touched it
and the exact guard takes its question for the same (`sameness.py`). It goes through the rails as any text does.

Stored are vectors and ids, never a text: the answer is read from its message, so that what was deleted, taken back or
called bad is gone from here at the same moment. No fault of the cache costs an answer.

`docs/decisions/0011-semantic-cache.md` says why, and how wrong it is.
"""

import asyncio
import hashlib
from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from datetime import UTC
from typing import Any, Literal, Protocol

import msgspec

from functions.chat.books import Books
from functions.chat.messages import CachedFrom, Message, NodeUse, Run, Usage
from functions.chat.prompts import Prompt
from functions.chat.sameness import agree, is_personal, is_timely, plain, repeats
from functions.errors import BadInput, NotFound, ParleyError
from functions.inference.embedding import space
from functions.inference.gateway import End, Gateway, Token
from functions.inference.lexical import LEXICAL_MODEL
from functions.ports import ChatStore, Hit, VectorStore
from functions.telemetry import count, log, log_fault

COLLECTION = "answers"
HOUSE = "=house"  # owns what a tenant shares; no user can be called so: a token is NAME=HASH
QUESTION_CHARS = 2000  # a longer one is a task with its material, and never asked twice by chance
LOOK_SECONDS = 1.0  # the model's first word takes longer; after that nobody waits for the cache
NEIGHBOURS = 8
LEXICAL_SCORE = 0.9  # the guard decides there: the same words in the same order
PIECE_CHARS = 1024  # an answer is shown in beats, as one that is being written

Scope = Literal["user", "tenant"]
Pace = Callable[[], Awaitable[None]]


class Stores(ChatStore, VectorStore, Protocol):
    pass


class _Entry(msgspec.Struct, frozen=True):
    """What is stored beside a question's vector."""

    scope: str
    owner: str
    chat: str
    answer: str
    at_ms: int


@dataclass(frozen=True, slots=True)
class Found:
    answer: Message
    origin: CachedFrom

    async def stream(self, pace: Pace) -> AsyncGenerator[Token | End, None]:
        """As a node would say it, and for nothing."""
        text = self.answer.content
        for start in range(0, len(text), PIECE_CHARS):
            yield Token(text[start : start + PIECE_CHARS], 0)
            await pace()
        yield End("stop", Usage())


@dataclass(slots=True)
class Look:
    """One question at the cache: what it asks, within which bounds, where it was looked for, and what was found."""

    question: str
    scope: str
    vectors: dict[str, tuple[float, ...]] = field(default_factory=dict)  # by the model that made them
    found: Found | None = None


class SemanticCache:
    def __init__(
        self,
        store: Stores,
        gateway: Gateway,
        books: Books,
        clock: Callable[[], int],
        *,
        scope: Scope,
        system_prompt: str,
        days: float,
        score: float,
    ) -> None:
        """`system_prompt` is the operator's. `score` is the least cosine of two questions in the space of an embedding
        model. `clock` gives Unix milliseconds."""
        self._store, self._gateway, self._books, self._clock = store, gateway, books, clock
        self._by: Scope = scope
        self._system_prompt, self._kept_ms, self._score = system_prompt, int(days * 24 * 3600 * 1000), score

    # -- looking ---------------------------------------------------------------------------------------------

    async def look(self, run: Run, prompt: Prompt, policy: str) -> Look | None:
        """Search for an answer, for LOOK_SECONDS at most. `policy` is the version of the guardrails. Never raises."""
        if not self._is_for_it(run, prompt):
            return None
        look = Look(prompt.asked.question, _scope(run, prompt, policy))
        try:
            async with asyncio.timeout(LOOK_SECONDS):
                await self._search(run, look)
        except TimeoutError:
            log("cache.slow", run=run.id)
        except Exception:  # the edge of the cache: whatever it is, the model answers
            log_fault("cache.fault", run=run.id)
        if run.cache == "use":
            count("parley_cache_looks_total", cache="semantic")
        if look.found is not None:
            count("parley_cache_hits_total", cache="semantic")
            log("cache.hit", run=run.id, answer=look.found.answer.id, score=round(look.found.origin.score, 4))
        return look

    def _is_for_it(self, run: Run, prompt: Prompt) -> bool:
        question = prompt.asked.question
        *head, asked = prompt.messages
        is_first = prompt.depth == 1 and len(head) <= 1 and asked == {"role": "user", "content": question}
        if run.cache == "no" or not is_first or run.verdicts or run.sampling.extra or len(question) > QUESTION_CHARS:
            return False
        if self._by == "tenant" and (is_personal(question) or _head(prompt) != self._system_prompt):
            return False
        return not is_timely(question)

    async def _search(self, run: Run, look: Look) -> None:
        """By spelling first: it costs nothing, and finds what is asked again. An embedder that sleeps is let sleep."""
        for model in (LEXICAL_MODEL, *self._gateway.embedders(awake=True)[:1]):
            look.vectors[model] = await self._vector(run.owner, look.question, model)
            if run.cache == "use":
                look.found = await self._find(run, look, model)
            if look.found is not None:
                return

    async def _vector(self, owner: str, question: str, model: str) -> tuple[float, ...]:
        uses: list[NodeUse] = []
        tokens = 0
        try:
            text = plain(question) if model == LEXICAL_MODEL else question
            embedded = await self._gateway.embed([text], model=model, uses=uses)
            tokens = embedded.prompt_tokens
        finally:
            if uses:
                await self._books.enter_vectors(owner, uses, tokens)
        return embedded.vectors[0]

    async def _find(self, run: Run, look: Look, model: str) -> Found | None:
        """The nearest that holds; of equals the newest, because it was perhaps asked for again."""
        holder, collection = self._holder(run.owner), space(COLLECTION, model)
        try:
            near = await self._store.search_vectors(holder, collection, look.vectors[model], limit=NEIGHBOURS)
        except BadInput:  # they have another length: `keep` begins anew
            return None
        least, holds = (LEXICAL_SCORE, repeats) if model == LEXICAL_MODEL else (self._score, agree)
        known = [(hit, msgspec.convert(hit.data, _Entry)) for hit in near if hit.score >= least]
        for hit, entry in sorted(known, key=lambda one: (-round(one[0].score, 4), -one[1].at_ms)):
            if entry.scope != look.scope or (entry.owner, entry.chat) == (run.owner, run.chat_id):
                continue  # in the same chat it is asked again, for another answer
            turn = await self._turn(holder, collection, hit, entry)
            if turn is not None and holds(look.question, turn[0].content):
                return _found(turn[1], hit, is_own=entry.owner == run.owner)
        return None

    async def _turn(self, holder: str, collection: str, hit: Hit, entry: _Entry) -> tuple[Message, Message] | None:
        """The question and answer that the entry names, as they are now."""
        try:
            path = await self._store.read_path(entry.owner, entry.chat, entry.answer)
        except NotFound:
            await self._store.delete_vectors(holder, collection, [hit.id])
            return None
        if len(path) != 2 or path[0].verdicts or not _is_good(path[1]):
            return None
        return path[0], path[1]

    # -- keeping ---------------------------------------------------------------------------------------------

    async def keep(self, look: Look, ended: Run, answer: Message) -> None:
        """Remember where this answer is, if it is one that may be given again and is still there. Never raises."""
        if look.found is not None or ended.status != "completed" or not _is_good(answer):
            return
        now_ms = self._clock()
        entry = _Entry(look.scope, ended.owner, answer.chat_id, answer.id, now_ms)
        item_id, data = _item_id(ended.owner, answer.chat_id), msgspec.to_builtins(entry)
        try:
            await self._store.get_chat(ended.owner, answer.chat_id)
            for model, vector in look.vectors.items():
                await self._put(self._holder(ended.owner), space(COLLECTION, model), (item_id, vector, data), now_ms)
            # Whoever deletes the chat forgets its entry, but not one that is written just after that.
            await self._store.get_chat(ended.owner, answer.chat_id)
        except NotFound:
            await self.forget(ended.owner, [answer.chat_id])
        except Exception:  # the edge of the cache: the answer has been given
            log_fault("cache.fault", run=ended.id)

    async def _put(self, holder: str, collection: str, item: tuple[str, Sequence[float], Any], now_ms: int) -> None:
        expires_ms = now_ms + self._kept_ms
        try:
            await self._store.put_vectors(holder, collection, [item], expires_ms=expires_ms)
        except BadInput:  # the model of this name makes vectors of another length now
            await self._store.delete_vectors(holder, collection)
            await self._store.put_vectors(holder, collection, [item], expires_ms=expires_ms)

    async def forget(self, owner: str, chats: Sequence[str]) -> None:
        """Chats have been deleted: nothing of them was found from then on, and now nothing points at them; where that
        cannot be done, their entries end with their time. Never raises."""
        ids = [_item_id(owner, chat) for chat in chats]
        try:
            for model in (LEXICAL_MODEL, *self._gateway.embedders()):
                await self._store.delete_vectors(self._holder(owner), space(COLLECTION, model), ids)
        except ParleyError:
            log_fault("cache.fault")

    def _holder(self, owner: str) -> str:
        return owner if self._by == "user" else HOUSE


def _item_id(owner: str, chat: str) -> str:
    """One entry a chat: its first question's last answer."""
    return hashlib.sha256(f"{owner}\0{chat}".encode()).hexdigest()


def _head(prompt: Prompt) -> str:
    return str(prompt.messages[0]["content"]) if len(prompt.messages) > 1 else ""


def _scope(run: Run, prompt: Prompt, policy: str) -> str:
    """What else an answer depends on: equal, or it is another question."""
    told = (run.model, policy, _head(prompt), run.sampling)
    return hashlib.sha256(msgspec.json.encode(told)).hexdigest()


def _is_good(answer: Message) -> bool:
    is_whole = answer.status == "complete" and answer.finish_reason == "stop" and bool(answer.content.strip())
    is_disliked = answer.feedback is not None and answer.feedback.rating < 0
    is_plain = not (answer.verdicts or answer.citations or answer.left_out or answer.cached_from)
    return is_whole and is_plain and not is_disliked and answer.asked_model is None


def _found(answer: Message, hit: Hit, *, is_own: bool) -> Found:
    origin = CachedFrom(
        message_id=answer.id if is_own else None,
        at=answer.created_at.astimezone(UTC),
        score=hit.score,
    )
    return Found(answer, origin)
