"""What the model reads for a run: a chat's history as far as it fits, or the conversation that the caller brought."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import msgspec

from functions.chat import context
from functions.chat.guarded import Asked
from functions.chat.marking import fence_of, marked
from functions.chat.memory import Memories
from functions.chat.messages import Chat, Memory, Message, Profile, Run, Sampling
from functions.chat.sources import ABOUT, SHARE, Sources
from functions.chat.summary import Summaries
from functions.errors import ContextTooLong
from functions.inference.gateway import Gateway, Waiting
from functions.ports import ChatStore

# Tokens of what stands around passages and messages besides, at most: fences and a template's marks.
AROUND = 2 * context.MESSAGE_OVERHEAD + 60


@dataclass(frozen=True, slots=True)
class Prompt:
    messages: Sequence[dict[str, Any]]  # the node's wire
    asked: Asked
    left_out: int = 0  # earlier messages that did not fit
    summarised: int = 0  # earlier messages that are there as a summary
    memories: int = 0  # how many it is shown
    depth: int = 0  # messages from the root to the question; 0: the caller brought them


class Prompts:
    def __init__(
        self,
        store: ChatStore,
        gateway: Gateway,
        system_prompt: str,
        context_policy: context.ContextPolicy,
        summaries: Summaries | None = None,
        memories: Memories | None = None,
        key: bytes = b"",
    ) -> None:
        """`system_prompt` leads every chat that has none of its own. `context_policy` is for models that `summaries`
        do not serve. `key` is for the fences around what was looked up."""
        self._store, self._gateway, self._summaries = store, gateway, summaries
        self._memories, self._key = memories, key
        self._system_prompt, self._context_policy = system_prompt, context_policy

    async def of(
        self, run: Run, waits: Callable[[Waiting | None], None] | None = None, sources: Sources | None = None
    ) -> Prompt:
        """Raises NotFound when the chat is gone, ContextTooLong when even the question does not fit. `waits` hears what
        there is to wait for when a summary must be made first; without it none is. `sources` are shown with the
        question."""
        if run.prompt is not None:
            return Prompt(run.prompt, Asked.in_prompt(run.prompt, run.sampling.extra))
        chat, path, profile = await self._history(run)
        history = context.readable(path)
        recalled = await self._recalled(run, chat, profile, history[-1].content)
        # A question that fits only without memories, or without passages, is answered without them.
        found = [(recalled, sources), ((), sources), ((), None)]
        while True:
            recalled, sources = found.pop(0)
            try:
                built = await self._fit(run, chat, profile, self._with_found(run, history, recalled, sources), waits)
                break
            except ContextTooLong:
                if not recalled and sources is None:
                    raise
        asked = _asked(chat, path, profile)
        return Prompt(built.messages, asked, built.left_out, built.summarised, len(recalled), depth=len(path))

    async def _recalled(self, run: Run, chat: Chat, profile: Profile, question: str) -> Sequence[Memory]:
        if self._memories is None:
            return ()
        budget = context.prompt_budget(self._gateway.context_tokens(run.model), run.sampling.max_tokens)
        return await self._memories.recall(run, chat, profile, question, budget=budget)

    def _with_found(
        self, run: Run, history: Sequence[Message], recalled: Sequence[Memory], sources: Sources | None
    ) -> Sequence[Message]:
        """What was looked up stands with the question: all before it stays as it was for the node's prefix cache."""
        *before, question = history
        texts = [memory.text for memory in recalled]
        found, about = (sources.texts, sources.about) if sources is not None else ((), "")
        fence = fence_of(self._key, run.id)
        content = marked(question.content, texts, found, fence=fence, about_passages=about)
        return [*before, msgspec.structs.replace(question, content=content)]

    async def to_look_up(self, run: Run) -> tuple[list[str], int]:
        """The user's questions in this branch, the last one last, and how many tokens passages for it may take: a
        quarter of the prompt, and half of what the question leaves. Raises NotFound when the chat is gone."""
        chat, path, profile = await self._history(run)
        questions = [message.content for message in context.readable(path) if message.role == "user"]
        head = context.head_text(chat.system_prompt or self._system_prompt, profile.custom_instructions)
        budget = context.prompt_budget(self._gateway.context_tokens(run.model), run.sampling.max_tokens)
        taken = sum(await self._gateway.count_tokens(run.model, [head, questions[-1], ABOUT])) + AROUND
        return questions, max(0, min(budget // SHARE, (budget - taken) // 2))

    async def asked(self, run: Run) -> Asked:
        """What the caller wrote, for a run that no model reads any more. Raises NotFound when the chat is gone."""
        if run.prompt is not None:
            return Asked.in_prompt(run.prompt, run.sampling.extra)
        return _asked(*await self._history(run))

    async def _history(self, run: Run) -> tuple[Chat, Sequence[Message], Profile]:
        assert run.chat_id and run.user_message_id
        return await self._store.read_context(run.owner, run.chat_id, run.user_message_id)

    async def _fit(
        self,
        run: Run,
        chat: Chat,
        profile: Profile,
        history: Sequence[Message],
        waits: Callable[[Waiting | None], None] | None,
    ) -> context.Context:
        head = context.head_text(chat.system_prompt or self._system_prompt, profile.custom_instructions)
        budget = context.prompt_budget(self._gateway.context_tokens(run.model), run.sampling.max_tokens)
        texts = [head, *(m.content for m in history)]
        if context.upper_bound(texts) <= budget:
            sizes: Sequence[int] = [len(t.encode()) for t in texts]  # a bound is enough: all of it fits
        else:
            sizes = await self._gateway.count_tokens(run.model, texts)
        head_tokens, *counts = (size + context.MESSAGE_OVERHEAD for size in sizes)
        room = budget - head_tokens
        if self._summaries is None or sum(counts) <= room or not self._summaries.serves(run.model):
            return context.build(self._context_policy, head, history, counts, head_tokens=head_tokens, budget=budget)
        summaries: Sequence[context.Folded] = ()
        if counts[-1] <= room:  # else no summary helps, and `build` says so
            summaries = await self._summaries.for_prompt(run.owner, chat.id, run.model, history, counts, room, waits)
        return context.build(
            context.Summarise(), head, history, counts, head_tokens=head_tokens, budget=budget, summaries=summaries
        )

    async def remaining(self, run: Run, prefix: str) -> tuple[Sampling | None, int]:
        """The caller's sampling, less what an earlier worker has already generated (None when that was all), and how
        many tokens that was."""
        if not prefix:
            return run.sampling, 0
        taken = (await self._gateway.count_tokens(run.model, [prefix]))[0]
        if run.sampling.max_tokens is None:
            return run.sampling, taken
        left = run.sampling.max_tokens - taken
        return (msgspec.structs.replace(run.sampling, max_tokens=left) if left > 0 else None), taken


def _asked(chat: Chat, path: Sequence[Message], profile: Profile) -> Asked:
    """What the operator's own system prompt says is not the caller's; earlier questions were judged when they came."""
    return Asked(path[-1].content, (chat.system_prompt, profile.custom_instructions))
