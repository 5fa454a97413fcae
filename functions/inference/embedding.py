"""Vectors of texts, from a node that embeds (OpenAI's `POST /v1/embeddings`).

Promises: one vector per text, in order, all of one length; or one of our errors, and nothing of the node's own words.
Waits for a place and for a start as an answer does, but not for as long. Many texts go in batches, a few of them at
once; a text that was embedded before costs nothing (`vector_cache.py`).

Has no fallback to another model: its vectors lie in another space. Where no model embeds at all, whoever asks for none
by name gets vectors of spelling (`lexical.py`), and `Embedded.model` says so. Vectors of different models are never
compared: keep them in a collection of their own, named by `space`.
"""

import asyncio
import math
from array import array
from collections.abc import Callable, Iterator, Sequence

import aiohttp
import msgspec

from functions.chat.messages import NodeUse, Struct
from functions.errors import NotFound, ParleyError, UpstreamError
from functions.inference.answer import NotYet, blame, no_answer, refusal
from functions.inference.breaker import Outcome
from functions.inference.course import Course
from functions.inference.lexical import LEXICAL_MODEL, lexical_vector
from functions.inference.limits import Limits
from functions.inference.nodes import Node
from functions.inference.pool import Pool, Ticket
from functions.inference.session import NO_ANSWER, NO_JSON, post
from functions.inference.vector_cache import VectorCache
from functions.inference.wire import believable, broken_answer

BATCH_TEXTS = 64
BATCH_BYTES = 256 * 1024
IN_FLIGHT = 4  # batches of one call: a node is kept busy, and has places left for others
IN_THREAD_CHARS = 4000  # of spelling; below, it is done faster than a thread is found


class Embedded(Struct, frozen=True, kw_only=True):
    """`model` is the one that made them; `prompt_tokens` as its own tokenizer counted them, without the texts that were
    known already."""

    model: str
    vectors: tuple[tuple[float, ...], ...]
    prompt_tokens: int

    @property
    def is_lexical(self) -> bool:
        """Near means the same words, not the same meaning."""
        return self.model == LEXICAL_MODEL


def space(collection: str, model: str) -> str:
    """What a collection of this model's vectors is called in the store. A change of model finds it empty, and embeds
    again; what lies in one space is never searched with a vector of another."""
    return f"{collection}@{model}"


class _Vector(msgspec.Struct):
    embedding: tuple[float, ...]
    index: int = 0


class _Usage(msgspec.Struct):
    prompt_tokens: int = 0


class _Vectors(msgspec.Struct):
    data: list[_Vector]
    usage: _Usage = msgspec.field(default_factory=_Usage)


class Embedding:
    """The way to the nodes that embed."""

    def __init__(
        self,
        pool: Pool,
        session: Callable[[], aiohttp.ClientSession],
        limits: Limits,
        now: Callable[[], float],
        note: Callable[[Ticket, NotYet | ParleyError | None, list[NodeUse] | None], None],
    ) -> None:
        """`note` turns a stay at a node into uses of it."""
        self._pool, self._session, self._now, self._note = pool, session, now, note
        self._limits = msgspec.structs.replace(limits, wake_s=min(limits.wake_s, limits.embed_wake_s))
        self._cache = VectorCache()

    @property
    def models(self) -> tuple[str, ...]:
        """Those that embed here, awake or not."""
        ids = (served.id for node in self._pool.nodes for served in node.models if served.task == "embed")
        return tuple(dict.fromkeys(ids))

    async def embed(
        self, texts: Sequence[str], model: str | None, uses: list[NodeUse] | None, *, fresh: bool = False
    ) -> Embedded:
        """`fresh`: neither the cache nor spelling may stand in. Raises NotFound for a model that nobody has;
        UpstreamError when none answers."""
        if model == LEXICAL_MODEL or (model is None and not fresh and not self.models):
            return await _lexical(texts)
        model = self._known(model)
        if fresh:
            vectors, prompt_tokens = await self._ask_all(texts, model, uses)
        else:
            vectors, prompt_tokens = await self._ask_new(texts, model, uses)
        if len({len(vector) for vector in vectors}) > 1:
            raise broken_answer()
        return Embedded(model=model, vectors=tuple(vectors), prompt_tokens=prompt_tokens)

    async def _ask_new(
        self, texts: Sequence[str], model: str, uses: list[NodeUse] | None
    ) -> tuple[list[tuple[float, ...]], int]:
        """What the cache has, and the node's answer to the rest, each text once."""
        found = {text: self._cache.get(model, text) for text in texts}
        unknown = [text for text, vector in found.items() if vector is None]
        vectors, prompt_tokens = await self._ask_all(unknown, model, uses)
        found |= {text: self._cache.put(model, text, v) for text, v in zip(unknown, vectors, strict=True)}
        return [vector for text in texts if (vector := found[text]) is not None], prompt_tokens

    async def _ask_all(
        self, texts: Sequence[str], model: str, uses: list[NodeUse] | None
    ) -> tuple[list[tuple[float, ...]], int]:
        places = asyncio.Semaphore(IN_FLIGHT)

        async def ask(batch: Sequence[str]) -> tuple[list[tuple[float, ...]], int]:
            async with places:
                course = Course(model, self._pool, self._limits, {}, self._now)
                return await self._embed(batch, model, course, uses)

        try:
            async with asyncio.TaskGroup() as group:
                asked = [group.create_task(ask(batch)) for batch in _batches(texts)]
        except ExceptionGroup as failed:
            raise failed.exceptions[0] from None  # they failed for one reason, or the first is as good as another
        answers = [task.result() for task in asked]
        return [vector for vectors, _ in answers for vector in vectors], sum(count for _, count in answers)

    def _known(self, model: str | None) -> str:
        """This model, or the first that embeds."""
        known = self.models
        if not known:
            raise NotFound("No model here turns text into vectors; the operator can add a node of task `embed`.")
        if model is not None and model not in known:
            raise NotFound(
                f"No model {model[:64]!r} turns text into vectors here; there is {', '.join(known)}.",
                code="model_not_found",
                param="model",
            )
        return model or known[0]

    async def _embed(
        self, batch: Sequence[str], model: str, course: Course, uses: list[NodeUse] | None
    ) -> tuple[list[tuple[float, ...]], int]:
        while True:
            ticket: Ticket | None = None
            failure: NotYet | ParleyError | None = None
            outcome: Outcome = "none"
            after_s = None
            try:
                ticket = self._pool.enter(model, "", embeds=True, tried=course.tried, shunned=course.shunned)
                while ticket.node is None:
                    if ticket.failure is not None:
                        raise ticket.failure
                    course.check_time()
                    await ticket.news(self._limits.notice_s)
                    self._pool.widen(ticket)
                answer = await self._ask(ticket.node, batch, model)
                outcome = "answered"
                return answer
            except NotYet as not_yet:
                failure, outcome, after_s = not_yet, not_yet.outcome, not_yet.after_s
                pause_s = course.after(not_yet, ticket.node if ticket else None)
            except UpstreamError as error:
                failure, outcome = error, blame(error) if ticket and ticket.node else "none"
                raise
            finally:
                if ticket is not None:
                    self._note(ticket, failure, uses)
                    self._pool.leave(ticket, outcome, after_s)
            await asyncio.sleep(pause_s)

    async def _ask(self, node: Node, batch: Sequence[str], model: str) -> tuple[list[tuple[float, ...]], int]:
        question: dict[str, object] = {"input": list(batch), "encoding_format": "float"}
        if (name := node.wire_name(model)) is not None:
            question["model"] = name
        headers = {**node.headers, "Content-Type": "application/json"}
        try:
            async with asyncio.timeout(self._limits.first_token_s):
                body = msgspec.json.encode(question)
                response = await post(self._session(), f"{node.url}/embeddings", body, headers)
                async with response:
                    if response.status != 200:
                        raise await refusal(node, response)
                    data = await response.read()
        except NO_ANSWER as exc:
            raise no_answer(node, exc) from exc
        try:
            told = msgspec.json.decode(data, type=_Vectors)
        except NO_JSON as exc:
            raise broken_answer() from exc
        ordered = sorted(told.data, key=lambda vector: vector.index)
        if [vector.index for vector in ordered] != list(range(len(batch))) or not all(map(_is_sound, ordered)):
            raise broken_answer()
        return [vector.embedding for vector in ordered], believable(told.usage.prompt_tokens)


def _is_sound(vector: _Vector) -> bool:
    """Numbers that are still finite in 32 bits, and not none of them."""
    return bool(vector.embedding) and all(map(math.isfinite, array("f", vector.embedding)))


async def _lexical(texts: Sequence[str]) -> Embedded:
    if sum(map(len, texts)) < IN_THREAD_CHARS:
        vectors = tuple(map(lexical_vector, texts))
    else:
        vectors = await asyncio.to_thread(lambda: tuple(map(lexical_vector, texts)))
    return Embedded(model=LEXICAL_MODEL, vectors=vectors, prompt_tokens=0)


def _batches(texts: Sequence[str]) -> Iterator[list[str]]:
    """A few at a time: a request of megabytes would hold up everybody else's."""
    batch: list[str] = []
    size = 0
    for text in texts:
        if batch and (len(batch) == BATCH_TEXTS or size + len(text) > BATCH_BYTES):
            yield batch
            batch, size = [], 0
        batch.append(text)
        size += len(text)
    if batch:
        yield batch
