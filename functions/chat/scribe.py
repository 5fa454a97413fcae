"""Short texts that a model writes for Parley itself: summaries, titles.

    written = await scribe.write(owner, chat_id, model, messages, max_tokens=512, within_s=60)

It promises that what comes back has passed the output rails, that its cost stands in the books on the owner's account,
and that it comes in a bounded time: `within_s`, not counting a GPU's start. Knows no runs: nothing here is shown live.
"""

import asyncio
from collections.abc import Callable, Sequence
from contextlib import aclosing
from dataclasses import dataclass
from typing import Any

from functions.chat.books import Books
from functions.chat.messages import NodeUse, Sampling, Usage
from functions.chat.rails import Rails
from functions.errors import UpstreamError
from functions.guardrails.stream import language_of
from functions.inference.gateway import End, Gateway, Token, Waiting

CHARS_A_TOKEN = 12  # a server that forgets `max_tokens` is not listened to for ever


@dataclass(frozen=True, slots=True)
class Written:
    """`text` is what the rails let through; `blocked` when they stopped it. `is_whole`: the model came to its end."""

    text: str
    blocked: bool
    is_whole: bool


class Scribe:
    def __init__(self, gateway: Gateway, books: Books, rails: Callable[[], Rails]) -> None:
        """`rails` are those of now."""
        self._gateway, self._books, self._rails = gateway, books, rails

    @property
    def policy_version(self) -> str:
        """Of the rails that a text would go through now."""
        return self._rails().policy.version

    async def write(
        self,
        owner: str,
        chat_id: str,
        model: str,
        messages: Sequence[dict[str, Any]],  # the node's wire
        *,
        max_tokens: int,
        within_s: float,
        response_format: dict[str, Any] | None = None,
        waits: Callable[[Waiting], None] | None = None,
    ) -> Written:
        """What the model says, in `response_format` (OpenAI's) if the node can. `waits` hears what there is to wait
        for. Raises UpstreamError, also when it took too long, or said nothing."""
        uses: list[NodeUse] = []
        said, chars = [], 0
        end: End | None = None
        extra = {"response_format": response_format} if response_format else {}
        sampling = Sampling(temperature=0.0, max_tokens=max_tokens, extra=extra)
        try:
            async with asyncio.timeout(within_s) as box:
                stream = self._gateway.stream(model, messages, sampling, session_id=chat_id, uses=uses)
                async with aclosing(stream) as items:
                    async for item in items:
                        match item:
                            case Waiting():
                                if item.phase in ("waking", "loading"):
                                    box.reschedule(None)  # it starts; the gateway has its own patience
                                if waits is not None:
                                    waits(item)
                            case Token(text=text):
                                if box.when() is None:
                                    box.reschedule(asyncio.get_running_loop().time() + within_s)
                                said.append(text)
                                chars += len(text)
                                if chars > max_tokens * CHARS_A_TOKEN:
                                    break
                            case End():
                                end = item
        except TimeoutError as exc:
            raise UpstreamError("The model took too long.", code="model_timeout") from exc
        finally:
            usage = end.usage if end is not None and end.usage is not None else Usage(completion_tokens=len(said))
            await asyncio.shield(self._books.enter_written(owner, chat_id, uses, usage))
        whole = "".join(said).strip()
        if not whole:
            raise UpstreamError("The model said nothing.", code="model_error")
        rails = self._rails().outgoing("", language_of(whole))
        text = await rails.push(whole) + await rails.finish()
        return Written(text.strip(), rails.blocked, end is not None and end.finish_reason == "stop")
