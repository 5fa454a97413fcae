"""OpenAI's `POST /v1/embeddings`: vectors from a node that embeds, after the same input guardrails and limits."""

import base64
import struct
from collections.abc import Sequence
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Response
from pydantic import BaseModel, BeforeValidator, ConfigDict, Field

from functions.api.auth import CurrentPrincipal, CurrentServices
from functions.api.callers import asker_of
from functions.api.chats import as_json
from functions.api.fields import MessageText, ShortText
from functions.chat.allowances import Amounts
from functions.chat.messages import NodeUse, new_id

router = APIRouter(prefix="/v1", tags=["OpenAI-compatible"])
INPUTS_MAX = 512  # texts in one request; OpenAI allows 2048, and one GPU is not theirs


def _as_list(given: object) -> object:
    return [given] if isinstance(given, str) else given


def _no_dimensions(given: object) -> None:
    if given is not None:
        raise ValueError("is not supported: a vector has as many numbers as its model makes")


class Embedding(BaseModel):
    """Texts only: token ids belong to a tokenizer that the caller cannot know."""

    model_config = ConfigDict(extra="ignore")
    model: ShortText | None = None
    input: Annotated[
        list[MessageText],
        Field(min_length=1, max_length=INPUTS_MAX),
        BeforeValidator(_as_list, json_schema_input_type=str | list[str]),
    ]
    encoding_format: Literal["float", "base64"] = "float"
    dimensions: Annotated[None, BeforeValidator(_no_dimensions, json_schema_input_type=None)] = None


@router.post("/embeddings")
async def embeddings(body: Embedding, who: CurrentPrincipal, services: CurrentServices) -> Response:
    """A text that the input guardrails block is refused (400 content_filter); one that they redact is embedded so."""
    admitted = [await services.turns.admit(text, "input") for text in body.input]
    name, wanted = new_id(), Amounts(tokens=sum(map(len, admitted)))
    held = await services.quotas.reserve(asker_of(who), name, wanted, is_run=False)
    used = 0
    uses: list[NodeUse] = []
    try:
        embedded = await services.gateway.embed(admitted, model=body.model, uses=uses, fresh=True)
        used = embedded.prompt_tokens
    finally:
        await services.books.enter_vectors(who.owner, uses, used)  # counts it
        await services.quotas.settle(held, name, Amounts())
    data: list[dict[str, Any]] = [  # OpenAI's wire
        {"object": "embedding", "index": index, "embedding": _rendered(vector, body.encoding_format)}
        for index, vector in enumerate(embedded.vectors)
    ]
    usage = {"prompt_tokens": used, "total_tokens": used}
    return as_json({"object": "list", "data": data, "model": embedded.model, "usage": usage})


def _rendered(vector: Sequence[float], form: str) -> Sequence[float] | str:
    """The official client asks for base64: little-endian float32, a third of the bytes."""
    return base64.b64encode(struct.pack(f"<{len(vector)}f", *vector)).decode() if form == "base64" else vector
