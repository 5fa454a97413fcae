"""The guardrails of one policy, made ready once a process, for every turn. A run keeps those that it began with.

What the input rails said to a text is remembered for a while: on the compatible API the caller sends the whole
conversation again with each question. Remembered is a keyed hash of the text and its owner, so nobody learns from the
time a check takes what others wrote; and no text, unless a rail changed it.
"""

import asyncio
import hashlib
from collections import OrderedDict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

from functions.chat.messages import Verdict
from functions.chat.moderator import Moderator
from functions.guardrails.policy import Language, Policy
from functions.guardrails.stream import JsonResult, OutputFilter, check_json
from functions.guardrails.validators import (
    InputGuard,
    InputResult,
    LateGuard,
    build_input_guard,
    build_window_guard,
)
from functions.guardrails.windows import OutgoingRails
from functions.inference.gateway import Gateway
from functions.telemetry import count, log

GUARD_IN_THREAD_CHARS = 2000  # below, the check is faster than the hop to a thread
KNOWN_RESULTS = 4096
KNOWN_BYTES = 4 * 1024 * 1024
RESULT_BYTES = 200  # about what an entry takes beside its text, and so does each verdict


@dataclass(frozen=True, slots=True)
class Guards:
    """Of one policy: what takes a second to build, and needs no node."""

    policy: Policy
    input: InputGuard
    window: InputGuard | None  # the operator's own rails on answers

    @classmethod
    def of(cls, policy: Policy, *, key: bytes) -> "Guards":
        """Slow the first time: it imports guardrails-ai. Raises PolicyError."""
        return cls(policy, build_input_guard(policy, key=key), build_window_guard(policy, key=key))

    @classmethod
    def later(cls, policy: Policy, *, key: bytes) -> "Guards":
        """The same, built when it is asked first, or made `ready`. The operator's own rails are loaded at once, because
        a mistake in them must be told at the start. Raises PolicyError."""
        if policy.custom:
            return cls.of(policy, key=key)
        return cls(policy, LateGuard(lambda: build_input_guard(policy, key=key)), None)

    def ready(self) -> None:
        """Slow, once; nothing where it is."""
        if isinstance(self.input, LateGuard):
            self.input.ready()


@dataclass(slots=True)
class Known:
    """What the input rails said lately, within bounds. The least lately used goes first."""

    entries: int = KNOWN_RESULTS
    most_bytes: int = KNOWN_BYTES
    used_bytes: int = 0
    _said: OrderedDict[bytes, "_Said"] = field(default_factory=OrderedDict)

    def find(self, key: bytes, text: str) -> InputResult | None:
        said = self._said.get(key)
        if said is None:
            return None
        self._said.move_to_end(key)
        return InputResult(text if said.changed is None else said.changed, said.blocked, said.verdicts)

    def keep(self, key: bytes, text: str, result: InputResult) -> None:
        self._forget(key)
        said = _Said(None if result.text == text else result.text, result.blocked, result.verdicts)
        self._said[key] = said
        self.used_bytes += said.size
        while len(self._said) > self.entries or self.used_bytes > self.most_bytes:
            self._forget(next(iter(self._said)))

    def _forget(self, key: bytes) -> None:
        if (said := self._said.pop(key, None)) is not None:
            self.used_bytes -= said.size

    def __len__(self) -> int:
        return len(self._said)


@dataclass(frozen=True, slots=True)
class _Said:
    changed: str | None  # None: the text is as it was
    blocked: bool
    verdicts: tuple[Verdict, ...]

    @property
    def size(self) -> int:
        return RESULT_BYTES * (1 + len(self.verdicts)) + 4 * len(self.changed or "")


class Rails:
    def __init__(self, guards: Guards, gateway: Gateway, *, key: bytes, hidden: tuple[str, ...]) -> None:
        """`hidden` are texts that no answer may repeat. Raises PolicyError when the policy needs a guard model and no
        node has one."""
        self.policy, self.moderator = guards.policy, Moderator.of(guards.policy, gateway, key=key)
        self._guards, self._key, self._hidden = guards, key, hidden
        # Somebody else's rails may say something else tomorrow, or have been out of order just now.
        has_others = any(rail.input != "off" for rail in guards.policy.custom)
        self.known = None if has_others else Known()

    async def check(self, text: str, *, of: str | None = None) -> InputResult:
        """The input rails on a whole text; what this owner said before is known."""
        if self.known is None or not (of and text):
            return await self._check(text)
        said = (self.policy.version, of, text)
        key = hashlib.blake2b("\0".join(said).encode("utf-8", "surrogatepass"), key=self._key[:64], digest_size=16)
        result = self.known.find(key.digest(), text)
        count("parley_cache_looks_total", cache="rails")
        if result is not None:
            count("parley_cache_hits_total", cache="rails")
        else:
            result = await self._check(text)
            self.known.keep(key.digest(), text, result)
        return result

    async def check_all(self, texts: Sequence[str]) -> list[InputResult]:
        """The input rails on each of many texts, beside the event loop."""
        return await asyncio.to_thread(lambda: [self._guards.input.check(text) for text in texts])

    async def _check(self, text: str) -> InputResult:
        if len(text) < GUARD_IN_THREAD_CHARS and self._guards.input.is_ready:
            return self._guards.input.check(text)
        return await asyncio.to_thread(self._guards.input.check, text)

    def check_rest(self, value: dict[str, Any]) -> JsonResult:
        """The input rails on what is no message's text and reaches the node all the same: names, tools, schemas."""
        return check_json(self.policy, value, stage="input", key=self._key)

    def check_calls(self, calls: list[dict[str, Any]]) -> JsonResult:
        """The output rails on tool calls."""
        return check_json(self.policy, calls, hidden=self._hidden, key=self._key)

    def ready(self) -> None:
        """Slow, once, where the guards were to be built later; from a thread."""
        self._guards.ready()

    def outgoing(self, prior: str, language: Language) -> OutgoingRails:
        """The output rails of an answer that goes on after `prior`."""
        own = OutputFilter(self.policy, prior=prior, hidden=self._hidden, key=self._key, language=language)
        return OutgoingRails(own, self._guards.window, self.policy, prior=prior, language=language)


def tell(run_id: str | None, verdicts: Iterable[Verdict]) -> None:
    """Each verdict as one line of the log, to be counted: never the text."""
    for verdict in verdicts:
        count("parley_verdicts_total", rail=verdict.rail, action=verdict.action, stage=verdict.stage)
        log(
            "guardrail.verdict",
            run=run_id,
            stage=verdict.stage,
            rail=verdict.rail,
            action=verdict.action,
            policy=verdict.policy,
        )
