"""The user's own list of memories: to read, write, change and delete."""

from typing import Annotated

from fastapi import APIRouter, Path, Query, Response

from functions.api.auth import CurrentPrincipal, CurrentServices
from functions.api.chats import as_json
from functions.api.fields import Body, Id, MemoryText
from functions.errors import NotFound
from functions.settings import PAGE_MAX

router = APIRouter(tags=["memories"])
MemoryId = Annotated[Id, Path()]


class NewMemory(Body):
    text: MemoryText


@router.get("/memories")
async def list_memories(
    who: CurrentPrincipal,
    services: CurrentServices,
    limit: Annotated[int, Query(ge=1, le=PAGE_MAX)] = PAGE_MAX,
    after: Annotated[Id | None, Query()] = None,
) -> Response:
    """The newest first. `after` is the `last_id` of the page before."""
    known = await services.store.list_memories(who.owner)
    rest = [memory for memory in reversed(known) if after is None or memory.id < after]
    page, more = rest[:limit], len(rest) > limit
    return as_json({"object": "list", "data": page, "has_more": more, "last_id": page[-1].id if more else None})


@router.post("/memories", status_code=201)
async def add_memory(body: NewMemory, who: CurrentPrincipal, services: CurrentServices) -> Response:
    """In the user's own words, as the input guardrails let them through."""
    text = await services.turns.admit(body.text.strip(), "text")
    return as_json(await services.memories.add(who.owner, text), 201)


@router.patch("/memories/{memory_id}")
async def change_memory(
    memory_id: MemoryId, body: NewMemory, who: CurrentPrincipal, services: CurrentServices
) -> Response:
    await services.store.get_memory(who.owner, memory_id)
    text = await services.turns.admit(body.text.strip(), "text")
    return as_json(await services.memories.change(who.owner, memory_id, text))


@router.delete("/memories/{memory_id}", status_code=204)
async def delete_memory(memory_id: MemoryId, who: CurrentPrincipal, services: CurrentServices) -> Response:
    if not await services.memories.forget(who.owner, memory_id):
        raise NotFound("There is no such memory.")
    return Response(status_code=204)


@router.delete("/memories")
async def delete_memories(who: CurrentPrincipal, services: CurrentServices) -> Response:
    return as_json({"deleted": await services.memories.forget_all(who.owner)})
