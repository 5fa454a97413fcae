"""The context policy: which messages the model sees. Pure: no I/O, no clock, no model.

Two rules shape it. The prompt must fit the model's token budget; and it must change as little as possible from
turn to turn, because every edit in the middle throws away the node's prefix cache. So the system prompt comes
first, turns are only appended, and when the budget is hit the oldest turns leave in one big step (down to half)
instead of one a turn. The cut is a function of the history alone, so each turn finds the same one.

    budget ──────────────────────────────╮ hit: cut to half
    tokens sent   ▁▂▃▄▅▆▇█▄▅▆▇█▄▅▆▇█     (the prefix is stable between two cuts)
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, assert_never

from functions.chat.messages import Message
from functions.errors import ContextTooLong

# An upper bound of what chat templates add to a message (role markers, newlines), in tokens.
MESSAGE_OVERHEAD = 16
ANSWER_SHARE = 4  # a quarter of the context is kept for the answer unless the caller says how much it wants


@dataclass(frozen=True, slots=True)
class Fill:
    """As much of the history as fits."""


@dataclass(frozen=True, slots=True)
class Window:
    """At most `messages` of the history, and no more than fits."""

    messages: int = 40


ContextPolicy = Fill | Window


@dataclass(frozen=True, slots=True)
class Context:
    """`messages` in OpenAI's form; `left_out` earlier messages did not fit."""

    messages: tuple[dict[str, Any], ...]  # the node's wire
    left_out: int


def prompt_budget(context_tokens: int, max_tokens: int | None) -> int:
    """Tokens left for the prompt once the answer's share is set aside. Raises ContextTooLong."""
    answer = max_tokens if max_tokens is not None else context_tokens // ANSWER_SHARE
    if answer >= context_tokens:
        raise ContextTooLong(f"max_tokens must be below the model's context of {context_tokens} tokens.")
    return context_tokens - answer


def upper_bound(texts: Sequence[str]) -> int:
    """No byte-level tokenizer makes more tokens than bytes: when even this fits, nothing need be counted."""
    return sum(len(text.encode()) + MESSAGE_OVERHEAD for text in texts)


def head_text(system: str, instructions: str) -> str:
    """The stable head of every prompt: the system prompt, then what this user always wants."""
    if not instructions:
        return system
    return f"{system}\n\nThe user's instructions for every chat:\n{instructions}".strip()


def readable(history: Sequence[Message]) -> list[Message]:
    """What a model may see of a history: no blocked questions with their refusals, no empty
    answers, no questions left without one."""
    kept = [m for m in history if m.status != "blocked" and m.content]
    # A question that never got an answer (stopped, failed): two users in a row break templates that insist on turns.
    return [m for m, after in zip(kept, [*kept[1:], None], strict=True) if after is None or m.role != after.role]


def build(
    policy: ContextPolicy,
    head: str,
    history: Sequence[Message],
    counts: Sequence[int],
    *,
    head_tokens: int,
    budget: int,
) -> Context:
    """The prompt for the last message of `history`, which is always kept.

    `counts[i]` is the tokens of `history[i]`, overhead included. Raises ContextTooLong when the head and the
    last message alone exceed `budget`.
    """
    room = budget - head_tokens
    if counts[-1] > room:
        raise ContextTooLong("This message is too long for the model's context; shorten it or choose another model.")
    match policy:
        case Fill():
            start = _stable_start(history, counts, room)
        case Window(messages=most):
            # A window is a budget of messages; the token budget is then applied to what the window kept.
            ones = [1] * len(history)
            first = _stable_start(history, ones, most)
            start = first + _stable_start(history[first:], counts[first:], room)
        case _:
            assert_never(policy)
    said = [{"role": m.role, "content": m.content} for m in history[start:]]
    system = [{"role": "system", "content": head}] if head else []
    return Context((*system, *said), left_out=start)


def _stable_start(history: Sequence[Message], sizes: Sequence[int], room: int) -> int:
    """Replay the history; each time it outgrows `room`, drop whole turns from the front down to half of it."""
    start, total = 0, 0
    for end, size in enumerate(sizes):
        total += size
        # Prompts end with a user's message, so only there a cut can be due.
        if total > room and history[end].role == "user":
            while start < end and total > room // 2:
                total -= sizes[start]
                start += 1
            # A prompt begins with a user's message: templates of many models refuse anything else.
            while start < end and history[start].role != "user":
                total -= sizes[start]
                start += 1
    return start
