"""The knowledge base as its users see it: collections, who may do what there, and the documents in them.

    library.collections(caller)          their own and those they were let into, each with their role
    library.upload(caller, …)            the file is kept until it has been read (`indexing.py`), and dropped then
    library.delete(caller, document)     it, its chunks, its vectors; also while it is being read

Everything is reached through the caller's own list of collections. What is not in there is not found, be it somebody
else's or nobody's; what is in there and not theirs to change is Forbidden.

Nothing is left behind by a process that dies: before something is deleted, a ForgetJob stands in the queue that looks
for the rest of it.
"""

import asyncio
import unicodedata
from collections.abc import Callable
from pathlib import Path
from typing import Protocol

import msgspec

from functions.chat.documents import Collection, CollectionRole, Document, Member, default_collection_id
from functions.chat.messages import ForgetJob, IndexJob, Problem, new_id, utc_now
from functions.errors import BadInput, Conflict, Forbidden, NotFound
from functions.inference.embedding import space
from functions.inference.gateway import Gateway
from functions.ports import ChatStore, JobQueue, KnowledgeStore, RetentionStore, VectorStore
from functions.reading.blocks import FileKind
from functions.settings import COLLECTIONS_MAX, DOCUMENTS_MAX, MEMBERS_MAX

DEFAULT_NAME = "My documents"  # until its owner calls it something else; clients say it in their reader's language
FILENAME_CHARS = 200
PART_BYTES = 256 * 1024
CUT_OFF_MS = 5 * 60 * 1000  # an upload that has not come to its end by then never will
LATE_MS = 60 * 1000  # whoever was still at work on a deleted document has noticed by then
_RANK: dict[CollectionRole, int] = {"reader": 0, "editor": 1, "owner": 2}


class Store(ChatStore, KnowledgeStore, VectorStore, RetentionStore, JobQueue, Protocol):
    """What the knowledge base needs of it."""


class Library:
    def __init__(self, store: Store, gateway: Gateway, clock: Callable[[], int]) -> None:
        self._store, self._gateway, self._clock = store, gateway, clock

    # -- collections -----------------------------------------------------------------------------------------

    async def collections(self, caller: str) -> tuple[Collection, ...]:
        return await self._store.list_collections(caller)

    async def collection(self, caller: str, collection_id: str, role: CollectionRole = "reader") -> Collection:
        """Raises NotFound, Forbidden when the caller's role is less than `role`."""
        for one in await self._store.list_collections(caller):
            if one.id == collection_id:
                return _allowed(one, role)
        raise NotFound("There is no such collection.")

    async def searched(self, caller: str) -> tuple[Collection, ...]:
        """Those that the caller's answers lean on: their own, and of others' the ones they have joined. To be let in is
        an offer: nobody's documents come into another's prompts unasked."""
        joined = (await self._store.get_profile(caller)).joined
        mine = await self._store.list_collections(caller)
        return tuple(one for one in mine if one.role == "owner" or one.id in joined)

    async def join(self, caller: str, collection_id: str) -> Collection:
        """Raises NotFound."""
        collection = await self.collection(caller, collection_id)
        if collection.role != "owner":
            profile = await self._store.get_profile(caller)
            still_in = {one.id for one in await self._store.list_collections(caller)}
            joined = dict.fromkeys([*(one for one in profile.joined if one in still_in), collection_id])
            await self._store.put_profile(caller, msgspec.structs.replace(profile, joined=tuple(joined)))
        return collection

    async def create(self, caller: str, name: str, *, shared: bool) -> Collection:
        own = [one for one in await self._store.list_collections(caller) if one.role == "owner"]
        if len(own) >= COLLECTIONS_MAX:
            raise BadInput(f"You may have {COLLECTIONS_MAX} collections; delete one first.", code="too_many")
        collection = Collection(id=new_id(), owner=caller, name=name, shared=shared, created_at=utc_now())
        await self._store.create_collection(caller, collection)
        return collection

    async def rename(self, caller: str, collection_id: str, name: str) -> Collection:
        collection = await self.collection(caller, collection_id, "owner")
        await self._store.rename_collection(caller, collection_id, name)
        return msgspec.structs.replace(collection, name=name)

    async def delete_collection(self, caller: str, collection_id: str) -> None:
        await self.collection(caller, collection_id, "owner")
        documents = [one for one in await self._store.list_documents(caller) if one.collection_id == collection_id]
        for document in documents:
            await self._store.put_job(*_forgetting(caller, document), at_ms=self._clock() + LATE_MS)
        await self._store.delete_collection(caller, collection_id)
        for model in {one.embedder for one in documents if one.embedder} | set(self._gateway.embedders()):
            await self._store.delete_vectors(caller, vectors_of(collection_id, model))

    async def documents_in(self, collections: tuple[Collection, ...]) -> dict[str, list[Document]]:
        """All documents, by collection, oldest first."""
        owners = list(dict.fromkeys(one.owner for one in collections))
        found: dict[str, list[Document]] = {one.id: [] for one in collections}
        for documents in await asyncio.gather(*map(self._store.list_documents, owners)):
            for document in documents:
                if document.collection_id in found:
                    found[document.collection_id].append(document)
        return found

    # -- members ---------------------------------------------------------------------------------------------

    async def members(self, caller: str, collection_id: str) -> tuple[Member, ...]:
        """A reader sees only the names that they need: none."""
        collection = await self.collection(caller, collection_id, "editor")
        return await self._store.list_members(collection.owner, collection_id)

    async def put_member(self, caller: str, collection_id: str, principal: str, role: CollectionRole) -> None:
        collection = await self.collection(caller, collection_id, "owner")
        if not collection.shared:
            raise BadInput("This collection is your own; make a shared one to let others in.", param="shared")
        if principal == caller:
            raise BadInput("You own this collection, and stay its owner.", param="principal")
        members = await self._store.list_members(caller, collection_id)
        if len(members) >= MEMBERS_MAX and all(one.principal != principal for one in members):
            raise BadInput(f"A collection may have {MEMBERS_MAX} members.", code="too_many")
        await self._store.put_member(caller, collection_id, principal, role)

    async def drop_member(self, caller: str, collection_id: str, principal: str) -> None:
        """By the owner; or by the member, who leaves."""
        collection = await self.collection(caller, collection_id, "reader" if principal == caller else "owner")
        await self._store.put_member(collection.owner, collection_id, principal, None)
        if principal == caller:  # who is let in again is asked again
            profile = await self._store.get_profile(caller)
            left = tuple(one for one in profile.joined if one != collection_id)
            await self._store.put_profile(caller, msgspec.structs.replace(profile, joined=left))

    # -- documents -------------------------------------------------------------------------------------------

    async def documents(self, caller: str, collection_id: str | None) -> list[Document]:
        """Newest first."""
        if collection_id is not None:
            collections: tuple[Collection, ...] = (await self.collection(caller, collection_id),)
        else:
            collections = await self._store.list_collections(caller)
        found = await self.documents_in(collections)
        return sorted((one for documents in found.values() for one in documents), key=lambda one: one.id, reverse=True)

    async def document(self, caller: str, document_id: str, role: CollectionRole = "reader") -> tuple[str, Document]:
        """With whose it is. Raises NotFound, Forbidden."""
        collections = {one.id: one for one in await self._store.list_collections(caller)}
        for owner in dict.fromkeys(one.owner for one in collections.values()):
            try:
                document = await self._store.get_document(owner, document_id)
            except NotFound:
                continue
            if document.collection_id in collections:
                _allowed(collections[document.collection_id], role)
                return owner, document
        raise NotFound("There is no such document.")

    async def collection_for_upload(self, caller: str, collection_id: str | None) -> Collection:
        """Raises NotFound, Forbidden, BadInput when there is no room for one more document."""
        if collection_id is None:
            own = Collection(id=default_collection_id(caller), owner=caller, name=DEFAULT_NAME, created_at=utc_now())
            await self._store.create_collection(caller, own)
            collection_id = own.id
        collection = await self.collection(caller, collection_id, "editor")
        if len(await self._store.list_documents(collection.owner)) >= DOCUMENTS_MAX:
            raise BadInput(f"There is room for {DOCUMENTS_MAX} documents; delete one first.", code="too_many")
        return collection

    async def refuse_who_has_left(self, caller: str, *, since_ms: int) -> None:
        """Raises Conflict when everything of the caller's was deleted after this: what they had begun to send before it
        must not begin them anew."""
        if await self._store.was_erased(caller, since_ms=since_ms):
            raise Conflict("Everything of yours was deleted while this file came, so it was not kept.")

    async def upload(
        self, collection: Collection, path: Path, *, filename: str, media_type: str, kind: FileKind, size: int
    ) -> Document:
        """Keep the file at `path` as a new document, and have it read."""
        now = utc_now()
        document = Document(
            id=new_id(),
            collection_id=collection.id,
            title=Path(filename).stem or filename,
            filename=filename,
            media_type=media_type,
            size_bytes=size,
            kind=kind,
            created_at=now,
            updated_at=now,
        )
        owner, job = collection.owner, IndexJob(owner=collection.owner, document_id=document.id)
        await self._store.add_document(owner, document)
        await self._store.put_job(index_job_id(document.id), job, at_ms=self._clock() + CUT_OFF_MS)
        with await asyncio.to_thread(path.open, "rb") as file:
            number = 0
            while part := await asyncio.to_thread(file.read, PART_BYTES):
                await self._store.put_part(owner, document.id, "file", number, part)
                number += 1
        await self._store.put_job(index_job_id(document.id), job, at_ms=self._clock())
        return document

    async def retry(self, caller: str, document_id: str) -> Document:
        owner, document = await self.document(caller, document_id, "editor")
        if document.status != "failed":
            raise Conflict("Only a document that could not be read is tried again.")
        again = msgspec.structs.replace(document, status="queued", error=None, updated_at=utc_now())
        await self._store.put_document(owner, again)
        job = IndexJob(owner=owner, document_id=document_id)
        await self._store.put_job(index_job_id(document_id), job, at_ms=self._clock())
        return again

    async def delete(self, caller: str, document_id: str) -> None:
        owner, document = await self.document(caller, document_id, "editor")
        await self._store.put_job(*_forgetting(owner, document), at_ms=self._clock() + LATE_MS)
        await self._store.delete_document(owner, document_id)
        await self.forget(owner, document)

    async def will_forget(self, owner: str, document: Document) -> None:
        """Before it is replaced: whatever happens now, the rest of it goes."""
        await self._store.put_job(*_forgetting(owner, document), at_ms=self._clock() + LATE_MS)

    async def forget(self, owner: str, document: Document) -> None:
        """What may be left of one that is gone."""
        await self.forget_vectors(owner, document)
        await self._store.purge_document(owner, document.id)

    async def forget_vectors(self, owner: str, document: Document) -> None:
        if document.embedder:
            ids = [vector_id(document.id, number) for number in range(document.chunks)]
            is_there = any(one.id == document.collection_id for one in await self._store.list_collections(owner))
            name = vectors_of(document.collection_id, document.embedder)
            await self._store.delete_vectors(owner, name, ids if is_there else None)  # not even its name stays

    async def forget_late(self, job: ForgetJob) -> None:
        """The handler of ForgetJob. A document that is still there is nobody's to forget."""
        try:
            await self._store.get_document(job.owner, job.document_id)
        except NotFound:
            for model in dict.fromkeys([job.embedder, *self._gateway.embedders()]):
                if model and job.chunks:
                    ids = [vector_id(job.document_id, number) for number in range(job.chunks)]
                    await self._store.delete_vectors(job.owner, vectors_of(job.collection_id, model), ids)
            await self._store.purge_document(job.owner, job.document_id)

    async def failed(self, owner: str, document_id: str, problem: Problem) -> None:
        document = await self._store.get_document(owner, document_id)
        await self._store.put_document(
            owner, msgspec.structs.replace(document, status="failed", error=problem, updated_at=utc_now())
        )


def vectors_of(collection_id: str, model: str) -> str:
    """What the store calls the vectors of a collection's chunks."""
    return space(f"knowledge:{collection_id}", model)


def vector_id(document_id: str, number: int) -> str:
    return f"{document_id}:{number}"


def index_job_id(document_id: str) -> str:
    return f"index:{document_id}"


def filename_of(said: str) -> str:
    """A name and no path, in the form that is compared. Raises BadInput when nothing is left of it."""
    name = unicodedata.normalize("NFC", said).replace("\\", "/").rpartition("/")[2]
    name = "".join(char for char in name if unicodedata.category(char) not in ("Cc", "Cf", "Cs", "Zl", "Zp")).strip()
    if not name.strip("."):
        raise BadInput("The file needs a name.", param="filename")
    if len(name) > FILENAME_CHARS:
        raise BadInput(f"A file's name may have {FILENAME_CHARS} characters.", param="filename")
    return name


def _forgetting(owner: str, document: Document) -> tuple[str, ForgetJob]:
    job = ForgetJob(
        owner=owner,
        document_id=document.id,
        collection_id=document.collection_id,
        embedder=document.embedder,
        chunks=document.chunks,
    )
    return f"forget:{document.id}", job


def _allowed(collection: Collection, role: CollectionRole) -> Collection:
    if _RANK[collection.role] < _RANK[role]:
        raise Forbidden("Your role in this collection does not allow that.")
    return collection
