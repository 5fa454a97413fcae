"""Searching the documents that somebody may read: by words (BM25) and, where a model embeds, by meaning.

    found = await retrieval.search(caller, "how long is a lease?", limit=6)

The two rankings are joined by reciprocal rank fusion (Cormack et al. 2009), which needs no common scale. A passage
below both floors is not found at all: that little in common is chance. Where the model that embeds is asleep or gone,
words alone answer, and the question knocks for the next one.

The indexes of words are read once and kept within bounds: a document never changes once it is ready. What is ready is
asked anew at each search, so what was deleted is not found by anybody from that moment on.
"""

import asyncio
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from functions.chat import lexicon
from functions.chat.books import Books
from functions.chat.documents import Chunk, Collection, Document
from functions.chat.library import PART_BYTES, Library, Store, vectors_of
from functions.chat.messages import NodeUse
from functions.errors import ParleyError
from functions.inference.gateway import Gateway
from functions.telemetry import log_fault

POOL = 50  # candidates of each ranking
FUSION = 60  # of Cormack et al.: how little the first places weigh more than the next
COVERAGE_FLOOR = 0.35  # of the question's weight; tests/knowledge/measure.py shows what it keeps and lets through
PART_FLOOR = 0.25  # of a question of several parts, where at least two of its terms stand in one passage
COSINE_FLOOR = 0.5  # cautious, and not measured: there was no embedding model to measure with
EMBED_SECONDS = 2.0  # for the question; then words alone
INDEX_BYTES = 64 * 1024 * 1024  # of indexes in memory
READS = 16  # indexes read at once

Place = tuple[str, int]  # document, chunk


@dataclass(frozen=True, slots=True)
class Passage:
    """`score`, in [0, 1]: how much of the question's weight stands in it, or how near it is in meaning."""

    document: Document
    chunk: Chunk
    score: float


class Retrieval:
    def __init__(self, store: Store, gateway: Gateway, library: Library, books: Books) -> None:
        self._store, self._gateway, self._library, self._books = store, gateway, library, books
        self._indexes = Indexes()

    async def search(
        self, caller: str, question: str, *, limit: int, collection_id: str | None = None
    ) -> list[Passage]:
        """The best first. Raises NotFound for the collection."""
        shelves = await self._ready(caller, collection_id)
        documents = {one.id: one for _, ready in shelves.values() for one in ready}
        if not documents:
            return []
        owners = {one.id: owner for owner, ready in shelves.values() for one in ready}
        indexes = await self._read_indexes(owners)
        by_words, near = await asyncio.gather(
            asyncio.to_thread(lexicon.rank, indexes, question, limit=POOL), self._near(caller, question, shelves)
        )
        near = {place: score for place, score in near.items() if place[0] in documents}
        words = {(one.document_id, one.chunk): one.coverage for one in by_words}
        said = {(one.document_id, one.chunk) for one in by_words if says_enough(one)}
        best = [
            place for place in fused([list(words), list(near)]) if place in said or near.get(place, 0.0) >= COSINE_FLOOR
        ][:limit]
        scores = {place: min(1.0, max(words.get(place, 0.0), near.get(place, 0.0))) for place in best}
        return await self._passages(documents, owners, scores)

    async def reread(self, caller: str, places: Sequence[Place]) -> list[Passage | None]:
        """The same passages again; None for one that is gone, or that the caller may not read any more."""
        shelves = await self._ready(caller, None)
        documents = {one.id: one for _, ready in shelves.values() for one in ready}
        owners = {one.id: owner for owner, ready in shelves.values() for one in ready}
        scores = {place: 0.0 for place in places if place[0] in documents}
        found = {(p.document.id, p.chunk.number): p for p in await self._passages(documents, owners, scores)}
        return [found.get(place) for place in places]

    async def _ready(self, caller: str, collection_id: str | None) -> dict[str, tuple[str, list[Document]]]:
        """By collection: whose it is, and its documents that can be found."""
        if collection_id is not None:
            collections: tuple[Collection, ...] = (await self._library.collection(caller, collection_id),)
        else:
            collections = await self._library.searched(caller)
        found = await self._library.documents_in(collections)
        return {one.id: (one.owner, [d for d in found[one.id] if d.status == "ready"]) for one in collections}

    async def _passages(
        self, documents: Mapping[str, Document], owners: Mapping[str, str], scores: Mapping[Place, float]
    ) -> list[Passage]:
        wanted: dict[str, list[int]] = {}
        for document_id, number in scores:
            wanted.setdefault(document_id, []).append(number)
        reads = [self._store.read_chunks(owners[one], one, numbers) for one, numbers in wanted.items()]
        chunks = dict(zip(wanted, await asyncio.gather(*reads), strict=True))
        there = {(name, chunk.number): chunk for name, of_name in chunks.items() for chunk in of_name}
        return [Passage(documents[place[0]], there[place], score) for place, score in scores.items() if place in there]

    # -- by words --------------------------------------------------------------------------------------------

    async def _read_indexes(self, owners: Mapping[str, str]) -> dict[str, lexicon.Index]:
        places = asyncio.Semaphore(READS)

        async def read(document_id: str, owner: str) -> None:
            async with places:
                packed = await self._packed(owner, document_id)
            try:
                found[document_id] = await asyncio.to_thread(lexicon.unpack, packed)
            except Exception:  # of another version, or just being deleted: then its words find nothing
                log_fault("knowledge.index", document=document_id)
            else:
                self._indexes.keep(document_id, found[document_id])

        known = {one: index for one in owners if (index := self._indexes.get(one)) is not None}
        found: dict[str, lexicon.Index] = {}
        await asyncio.gather(*(read(one, owner) for one, owner in owners.items() if one not in known))
        everything = known | found
        return {one: everything[one] for one in owners if one in everything}

    async def _packed(self, owner: str, document_id: str) -> bytes:
        parts: list[bytes] = []
        while (part := await self._store.read_part(owner, document_id, "words", len(parts))) is not None:
            parts.append(part)
            if len(part) < PART_BYTES:
                break
        return b"".join(parts)

    # -- by meaning ------------------------------------------------------------------------------------------

    async def _near(
        self, caller: str, question: str, shelves: Mapping[str, tuple[str, list[Document]]]
    ) -> dict[Place, float]:
        """The nearest, with their cosines; nothing where no model can say."""
        model = next(iter(self._gateway.embedders()), "")
        spaces = [
            (owner, vectors_of(collection_id, model))
            for collection_id, (owner, documents) in shelves.items()
            if any(one.embedder == model for one in documents)
        ]
        if not model or not spaces:
            return {}
        uses: list[NodeUse] = []
        tokens = 0
        try:
            async with asyncio.timeout(EMBED_SECONDS):
                embedded = await self._gateway.embed([question], model=model, uses=uses)
            tokens = embedded.prompt_tokens
            search = self._store.search_vectors
            found = await asyncio.gather(
                *(search(owner, name, embedded.vectors[0], limit=POOL) for owner, name in spaces)
            )
        except (ParleyError, TimeoutError):
            log_fault("knowledge.embed")
            return {}
        finally:
            await asyncio.shield(self._books.enter_vectors(caller, uses, tokens))
        hits = sorted((hit for hits in found for hit in hits), key=lambda hit: -hit.score)[:POOL]
        return {(hit.data["document"], hit.data["chunk"]): hit.score for hit in hits}


class Indexes:
    """The indexes of words that were used lately, within bounds; the least lately used goes first."""

    def __init__(self, limit_bytes: int = INDEX_BYTES) -> None:
        self._limit_bytes, self.bytes = limit_bytes, 0
        self._kept: OrderedDict[str, lexicon.Index] = OrderedDict()

    def get(self, document_id: str) -> lexicon.Index | None:
        if (index := self._kept.get(document_id)) is not None:
            self._kept.move_to_end(document_id)
        return index

    def keep(self, document_id: str, index: lexicon.Index) -> None:
        if (old := self._kept.pop(document_id, None)) is not None:
            self.bytes -= old.bytes
        self._kept[document_id] = index
        self.bytes += index.bytes
        while self.bytes > self._limit_bytes:
            self.bytes -= self._kept.popitem(last=False)[1].bytes


def says_enough(found: lexicon.Found) -> bool:
    """Whether a passage has more words in common with the question than chance would give it."""
    return found.coverage >= COVERAGE_FLOOR or (found.terms > 1 and found.coverage >= PART_FLOOR)


def fused(rankings: Sequence[Sequence[Place]]) -> list[Place]:
    """The best of several rankings first."""
    scores: dict[Place, float] = {}
    for ranking in rankings:
        for rank, place in enumerate(ranking, 1):
            scores[place] = scores.get(place, 0.0) + 1 / (FUSION + rank)
    return sorted(scores, key=lambda place: -scores[place])
