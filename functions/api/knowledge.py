"""The knowledge base: collections, who is in them, documents, and the passages that citations open."""

from typing import Annotated, Any, Literal

import msgspec
from fastapi import APIRouter, Path, Query, Request, Response
from starlette.requests import ClientDisconnect

from functions.api import cursors
from functions.api.auth import CurrentPrincipal, CurrentServices
from functions.api.chats import Limit, as_json
from functions.api.fields import Body, Id, ShortQuestion, ShortText, Title
from functions.chat.documents import Collection, Document, default_collection_id
from functions.chat.library import DEFAULT_NAME, filename_of
from functions.errors import NotFound
from functions.reading.reader import kind_of, unreadable
from functions.reading.scratch import Scratch, scratch
from functions.settings import PASSAGES, UPLOADS_PER_MINUTE

router = APIRouter(tags=["knowledge"])
CollectionId = Annotated[Id, Path()]
DocumentId = Annotated[Id, Path()]
PrincipalName = Annotated[str, Path(min_length=1, max_length=200, pattern=r"^[^\x00-\x1f\x7f]+$")]
WRITE_BYTES = 256 * 1024  # gathered before a thread writes them
HEAD_BYTES = 4096
UNSAID = "application/octet-stream"


class NewCollection(Body):
    name: Title
    shared: bool = False


class CollectionChanges(Body):
    name: Title


class Membership(Body):
    role: Literal["reader", "editor"]


def _as_collection(collection: Collection, documents: int, *, is_joined: bool = True) -> dict[str, Any]:
    """`owner`: whose it is; `joined`: whether the caller's answers lean on it; `unnamed`: nobody has named it, it came
    with its owner's first document."""
    names = ("id", "name", "owner", "shared", "role", "created_at")
    known: dict[str, Any] = {name: getattr(collection, name) for name in names}
    is_first = collection.id == default_collection_id(collection.owner)
    return known | {
        "documents": documents,
        "joined": is_joined,
        "unnamed": is_first and collection.name == DEFAULT_NAME,
    }


def _as_document(document: Document) -> dict[str, Any]:
    shown: dict[str, Any] = msgspec.to_builtins(document)
    shown["search"] = "hybrid" if shown.pop("embedder") else "lexical"
    del shown["kind"]
    return shown


# -- collections --------------------------------------------------------------------------------------------------


@router.get("/collections")
async def list_collections(
    who: CurrentPrincipal,
    services: CurrentServices,
    limit: Limit = 50,
    after: Annotated[str | None, Query(max_length=2048)] = None,
) -> Response:
    """The caller's own and those they were let into, oldest first."""
    collections = await services.library.collections(who.owner)
    start = cursors.unseal(services.secret_key, who.owner, after)
    rest = [one for one in collections if start is None or one.id > start]
    page = tuple(rest[:limit])
    documents = await services.library.documents_in(page)
    last_id = cursors.seal(services.secret_key, who.owner, page[-1].id if len(rest) > limit else None)
    joined = {one.id for one in await services.library.searched(who.owner)}
    data = [_as_collection(one, len(documents[one.id]), is_joined=one.id in joined) for one in page]
    return as_json({"object": "list", "data": data, "has_more": last_id is not None, "last_id": last_id})


@router.post("/collections", status_code=201)
async def create_collection(body: NewCollection, who: CurrentPrincipal, services: CurrentServices) -> Response:
    name = await services.turns.admit(body.name, "name")
    return as_json(_as_collection(await services.library.create(who.owner, name, shared=body.shared), 0), 201)


@router.patch("/collections/{collection_id}")
async def rename_collection(
    collection_id: CollectionId, body: CollectionChanges, who: CurrentPrincipal, services: CurrentServices
) -> Response:
    name = await services.turns.admit(body.name, "name")
    collection = await services.library.rename(who.owner, collection_id, name)
    documents = await services.library.documents_in((collection,))
    return as_json(_as_collection(collection, len(documents[collection_id])))


@router.delete("/collections/{collection_id}", status_code=204)
async def delete_collection(collection_id: CollectionId, who: CurrentPrincipal, services: CurrentServices) -> Response:
    await services.library.delete_collection(who.owner, collection_id)
    return Response(status_code=204)


@router.post("/collections/{collection_id}/join")
async def join_collection(collection_id: CollectionId, who: CurrentPrincipal, services: CurrentServices) -> Response:
    """Whoever was let into a collection takes it up: from now on their answers lean on it."""
    collection = await services.library.join(who.owner, collection_id)
    documents = await services.library.documents_in((collection,))
    return as_json(_as_collection(collection, len(documents[collection_id])))


@router.get("/collections/{collection_id}/members")
async def list_members(collection_id: CollectionId, who: CurrentPrincipal, services: CurrentServices) -> Response:
    members = await services.library.members(who.owner, collection_id)
    return as_json({"object": "list", "data": members, "has_more": False, "last_id": None})


@router.put("/collections/{collection_id}/members/{principal}")
async def put_member(
    collection_id: CollectionId,
    principal: PrincipalName,
    body: Membership,
    who: CurrentPrincipal,
    services: CurrentServices,
) -> Response:
    await services.library.put_member(who.owner, collection_id, principal, body.role)
    return as_json({"principal": principal, "role": body.role})


@router.delete("/collections/{collection_id}/members/{principal}", status_code=204)
async def drop_member(
    collection_id: CollectionId, principal: PrincipalName, who: CurrentPrincipal, services: CurrentServices
) -> Response:
    """By the owner, or by the member themselves."""
    await services.library.drop_member(who.owner, collection_id, principal)
    return Response(status_code=204)


# -- documents ----------------------------------------------------------------------------------------------------


@router.post("/knowledge", status_code=202)
async def upload(
    request: Request,
    who: CurrentPrincipal,
    services: CurrentServices,
    filename: Annotated[ShortText, Query()],
    collection: Annotated[Id | None, Query()] = None,
) -> Response:
    """The body is the file; its Content-Type, or its name, says what it is. It is read in the background. A file of
    the same name in the same collection is replaced once this one can be searched."""
    await services.quotas.admit(who.owner, "uploads", per_minute=UPLOADS_PER_MINUTE, what="files")
    name = await services.turns.admit(filename_of(filename), "filename")
    media_type = request.headers.get("content-type", "")
    async with scratch() as file:
        try:
            head = await _received(request, file)
        except ClientDisconnect:
            return Response(status_code=400)  # nobody reads it
        if not file.size:
            raise unreadable("no_text")
        kind = kind_of(media_type, name, head)
        await services.library.refuse_who_has_left(who.owner, since_ms=request.state.came_ms)
        into = await services.library.collection_for_upload(who.owner, collection)
        document = await services.library.upload(
            into, file.path, filename=name, media_type=media_type or UNSAID, kind=kind, size=file.size
        )
    return as_json(_as_document(document), 202)


async def _received(request: Request, file: Scratch) -> bytes:
    """The body, to disk: never more of it in memory than one write. Gives its first bytes."""
    head = b""
    waiting: list[bytes] = []
    async for chunk in request.stream():
        head = head if len(head) >= HEAD_BYTES else (head + chunk)[:HEAD_BYTES]
        waiting.append(chunk)
        if sum(map(len, waiting)) >= WRITE_BYTES:
            await file.append(waiting)
            waiting = []
    await file.append(waiting)
    return head


@router.get("/knowledge")
async def list_documents(
    who: CurrentPrincipal,
    services: CurrentServices,
    collection: Annotated[Id | None, Query()] = None,
    limit: Limit = 50,
    after: Annotated[str | None, Query(max_length=2048)] = None,
) -> Response:
    """Newest first."""
    start = cursors.unseal(services.secret_key, who.owner, after)
    documents = await services.library.documents(who.owner, collection)
    rest = [one for one in documents if start is None or one.id < start]
    last_id = cursors.seal(services.secret_key, who.owner, rest[limit - 1].id if len(rest) > limit else None)
    data = [_as_document(one) for one in rest[:limit]]
    return as_json({"object": "list", "data": data, "has_more": last_id is not None, "last_id": last_id})


@router.get("/knowledge/search")
async def search(
    who: CurrentPrincipal,
    services: CurrentServices,
    q: Annotated[ShortQuestion, Query()],
    collection: Annotated[Id | None, Query()] = None,
    limit: Annotated[int, Query(ge=1, le=50)] = PASSAGES,
) -> Response:
    """The passages that a question would be shown, with a little less ceremony."""
    question = await services.turns.admit(q, "q")
    found = await services.retrieval.search(who.owner, question, limit=limit, collection_id=collection)
    data = [
        {
            "document_id": one.document.id,
            "title": one.document.title,
            "chunk": one.chunk.number,
            "heading": one.chunk.heading,
            "page": one.chunk.page,
            "text": one.chunk.text,
            "score": round(one.score, 4),
        }
        for one in found
    ]
    return as_json({"object": "list", "data": data, "has_more": False, "last_id": None})


@router.get("/knowledge/{document_id}")
async def get_document(document_id: DocumentId, who: CurrentPrincipal, services: CurrentServices) -> Response:
    _, document = await services.library.document(who.owner, document_id)
    return as_json(_as_document(document))


@router.delete("/knowledge/{document_id}", status_code=204)
async def delete_document(document_id: DocumentId, who: CurrentPrincipal, services: CurrentServices) -> Response:
    await services.library.delete(who.owner, document_id)
    return Response(status_code=204)


@router.post("/knowledge/{document_id}/retry", status_code=202)
async def retry(document_id: DocumentId, who: CurrentPrincipal, services: CurrentServices) -> Response:
    """Read a document again that could not be read."""
    return as_json(_as_document(await services.library.retry(who.owner, document_id)), 202)


@router.get("/knowledge/{document_id}/chunks/{number}")
async def get_passage(
    document_id: DocumentId,
    number: Annotated[int, Path(ge=0, le=1_000_000)],
    who: CurrentPrincipal,
    services: CurrentServices,
) -> Response:
    """The passage that a citation names, with what stands before and after it."""
    owner, document = await services.library.document(who.owner, document_id)
    near = range(max(0, number - 1), number + 2)
    chunks = {one.number: one for one in await services.store.read_chunks(owner, document_id, near)}
    if document.status != "ready" or number not in chunks:
        raise NotFound("There is no such passage.")
    chunk, before, after = chunks[number], chunks.get(number - 1), chunks.get(number + 1)
    return as_json({
        "document_id": document_id,
        "title": document.title,
        "chunk": number,
        "heading": chunk.heading,
        "page": chunk.page,
        "text": chunk.text,
        "before": before.text if before is not None else None,
        "after": after.text if after is not None else None,
    })  # fmt: skip
