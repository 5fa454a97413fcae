"""From a file to passages that can be found: the handler of IndexJob, in steps that can be taken again.

    queued ─ read, cut, checked by the rails, chunks and their words stored ─ vectors, batch by batch ─ ready
              nothing counts before all of it is stored                        `chunks_done` says how far

A worker that dies leaves a document that the next one goes on with: the same file gives the same chunks under the same
numbers, and vectors are made from where they stopped. A document that is deleted meanwhile stays deleted: every write
asks for it, and what was written in between is taken back.

Nothing of a file is kept but its chunks, and of them what the input rails let through: what they redact is stored so,
and what they block is left out, unless it only reads like an attempt to give orders. That is judged when a chunk is to
be shown to a model, by the policy of then (`sources.py`).
"""

import asyncio
from collections.abc import Callable, Sequence

import msgspec

from functions.chat import lexicon
from functions.chat.books import Books
from functions.chat.chunks import BETWEEN, cut
from functions.chat.documents import Chunk, Document
from functions.chat.library import PART_BYTES, Library, Store, vector_id, vectors_of
from functions.chat.messages import IndexJob, NodeUse, Problem, utc_now
from functions.chat.rails import Rails
from functions.errors import BadInput, Conflict, NotFound
from functions.guardrails.validators import InputResult
from functions.inference.gateway import Gateway
from functions.reading.blocks import Reading
from functions.reading.reader import read_file, unreadable
from functions.reading.scratch import scratch
from functions.settings import DOCUMENT_CHUNKS, KNOWLEDGE_CHUNKS
from functions.telemetry import log

BATCH = 64  # chunks between two looks at whether the document is still wanted
TITLE_CHARS = 200


class Indexing:
    def __init__(
        self, store: Store, gateway: Gateway, library: Library, books: Books, rails: Callable[[], Rails]
    ) -> None:
        """`rails` are those of now."""
        self._store, self._gateway, self._library = store, gateway, library
        self._books, self._rails = books, rails

    async def index(self, job: IndexJob) -> None:
        """Bring this document to where it can be found, or say in it why not. Raises UpstreamError when the model that
        makes vectors cannot be reached: try again."""
        try:
            document = await self._store.get_document(job.owner, job.document_id)
        except NotFound:
            await self._store.purge_document(job.owner, job.document_id)
            return
        if document.status == "ready":
            await self._store.drop_parts(job.owner, document.id, "file")  # who made it ready may not have come to that
        if document.status in ("ready", "failed"):
            return
        try:
            document = await self._cut(job.owner, document)
            document = await self._embedded(job.owner, document)
            await self._finish(job.owner, document)
        except NotFound:  # deleted meanwhile; vectors may have been made in this very call
            model = document.embedder or next(iter(self._gateway.embedders()), "")
            await self._library.forget(job.owner, msgspec.structs.replace(document, embedder=model))
        except Conflict:  # overtaken: another worker has come to its end
            await self.index(job)
        except BadInput as trouble:
            await self._fail(job, Problem(code=trouble.code, message=trouble.message))

    async def gave_up(self, job: IndexJob) -> None:
        """No model has made its vectors for a while: what is cut can be found by its words."""
        try:
            document = await self._store.get_document(job.owner, job.document_id)
        except NotFound:
            return
        if document.chunks and document.status == "indexing":
            plain = msgspec.structs.replace(document, embedder="", chunks_done=document.chunks)
            await self._library.forget_vectors(job.owner, document)
            await self._finish(job.owner, plain)
        elif document.status != "ready":
            await self._fail(job, Problem(code="internal", message="It could not be read; please try again."))

    async def _fail(self, job: IndexJob, problem: Problem) -> None:
        log("document.failed", document=job.document_id, code=problem.code)
        try:
            await self._library.failed(job.owner, job.document_id, problem)
        except NotFound:
            await self._store.purge_document(job.owner, job.document_id)
        except Conflict:
            log("document.overtaken", document=job.document_id)

    # -- reading and cutting ---------------------------------------------------------------------------------

    async def _cut(self, owner: str, document: Document) -> Document:
        if document.chunks:
            return document  # an earlier worker has
        document = msgspec.structs.replace(document, status="indexing", updated_at=utc_now())
        await self._store.put_document(owner, document)
        reading = await self._read(owner, document)
        chunks = await asyncio.to_thread(cut, reading.blocks)
        others = sum(one.chunks for one in await self._store.list_documents(owner) if one.filename != document.filename)
        if len(chunks) > DOCUMENT_CHUNKS or others + len(chunks) > KNOWLEDGE_CHUNKS:
            raise unreadable("too_large")
        kept, title = await self._checked(chunks, reading.title or document.title)
        if not kept:
            raise BadInput("The guardrails kept all of it out.", code="content_filter")
        for start in range(0, len(kept), BATCH):
            await self._store.put_chunks(owner, document.id, kept[start : start + BATCH])
        title = title or document.title
        packed = await asyncio.to_thread(lexicon.pack, [indexed_text(title, chunk) for chunk in kept])
        for number, start in enumerate(range(0, len(packed), PART_BYTES)):
            await self._store.put_part(owner, document.id, "words", number, packed[start : start + PART_BYTES])
        document = msgspec.structs.replace(
            document, title=title, chunks=len(kept), left_out=len(chunks) - len(kept), updated_at=utc_now()
        )
        await self._store.put_document(owner, document)
        return document

    async def _read(self, owner: str, document: Document) -> Reading:
        async with scratch() as file:
            number = 0
            while (part := await self._store.read_part(owner, document.id, "file", number)) is not None:
                await file.append([part])
                number += 1
            if file.size != document.size_bytes:
                raise BadInput("The upload was cut off; upload the file again.", code="damaged")
            return await read_file(file.path, document.kind)

    async def _checked(self, chunks: Sequence[Chunk], title: str) -> tuple[list[Chunk], str]:
        """What the rails leave of them, numbered anew; and of the title."""
        rails = self._rails()
        headings = list(dict.fromkeys(chunk.heading for chunk in chunks if chunk.heading))
        checked = await rails.check_all([" ".join(title.split())[:TITLE_CHARS], *headings])
        named = {heading: _left_of(result) for heading, result in zip(headings, checked[1:], strict=True)}
        kept: list[Chunk] = []
        for start in range(0, len(chunks), BATCH):
            batch = chunks[start : start + BATCH]
            for chunk, result in zip(batch, await rails.check_all([one.text for one in batch]), strict=True):
                if text := _left_of(result):
                    heading = named.get(chunk.heading or "")
                    kept.append(msgspec.structs.replace(chunk, number=len(kept), text=text, heading=heading or None))
        return kept, _left_of(checked[0])

    # -- vectors ---------------------------------------------------------------------------------------------

    async def _embedded(self, owner: str, document: Document) -> Document:
        """With vectors of the model that embeds here, or with none where no model does: by spelling, BM25 is better."""
        model = next(iter(self._gateway.embedders()), "")
        if document.embedder != model:
            if document.embedder:  # the house has changed its model on the way
                await self._library.forget_vectors(owner, document)
            document = msgspec.structs.replace(document, embedder=model, chunks_done=0)
            await self._store.put_document(owner, document)
        if not model:
            return msgspec.structs.replace(document, chunks_done=document.chunks)
        while document.chunks_done < document.chunks:
            document = await self._embed_some(owner, document, model)
        return document

    async def _embed_some(self, owner: str, document: Document, model: str) -> Document:
        first = document.chunks_done
        numbers = range(first, min(first + BATCH, document.chunks))
        chunks = await self._store.read_chunks(owner, document.id, numbers)
        uses: list[NodeUse] = []
        tokens = 0
        try:
            texts = [embedded_text(document.title, chunk) for chunk in chunks]
            embedded = await self._gateway.embed(texts, model=model, uses=uses)
            tokens = embedded.prompt_tokens
        finally:
            await asyncio.shield(self._books.enter_vectors(owner, uses, tokens))
        await self._store.get_document(owner, document.id)  # it may have been deleted while a GPU was waking
        items = [
            (vector_id(document.id, chunk.number), vector, {"document": document.id, "chunk": chunk.number})
            for chunk, vector in zip(chunks, embedded.vectors, strict=True)
        ]
        await self._store.put_vectors(owner, vectors_of(document.collection_id, model), items)
        document = msgspec.structs.replace(document, chunks_done=numbers.stop, updated_at=utc_now())
        await self._store.put_document(owner, document)
        return document

    # -- the end ---------------------------------------------------------------------------------------------

    async def _finish(self, owner: str, document: Document) -> None:
        older = [
            one
            for one in await self._store.list_documents(owner)
            if (one.collection_id, one.filename) == (document.collection_id, document.filename) and one.id < document.id
        ]
        for one in older:
            await self._library.will_forget(owner, one)
        ready = msgspec.structs.replace(document, status="ready", error=None, updated_at=utc_now())
        is_newest = await self._store.finish_document(owner, ready)
        for one in older if is_newest else [document]:
            await self._library.forget(owner, one)
        if is_newest:
            await self._store.drop_parts(owner, document.id, "file")
        log("document.ready", document=document.id, chunks=document.chunks, replaced=len(older))


def indexed_text(title: str, chunk: Chunk) -> str:
    """What a chunk is found by. Its own heading weighs three times: of what was tried on the project's own questions
    (tests/knowledge), that was best, and it is the usual order of size."""
    path = chunk.heading or ""
    own = path.split(BETWEEN)[-1]
    return f"{title}\n{path}\n{own}\n{own}\n{chunk.text}"


def embedded_text(title: str, chunk: Chunk) -> str:
    return "\n".join(part for part in (title, chunk.heading, chunk.text) if part)


def _left_of(result: InputResult) -> str:
    """Nothing, where a rail has blocked it for another reason than that it gives orders."""
    blockers = {verdict.rail for verdict in result.verdicts if verdict.action == "blocked"}
    is_out = result.blocked and blockers != {"injection"}
    return "" if is_out else result.text.strip()
