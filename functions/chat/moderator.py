"""The guard model, asked: a verdict on a text in a bounded time, whatever the GPU behind it does.

    moderator = Moderator.of(policy, gateway, key=key)     # None: the policy asks for no guard model
    verdict = await moderator.judge("output", [text], …)   # None: nothing to note

Promises: a verdict always comes, within `timeout_ms` of the policy, a start of the guard not counted; when the guard
cannot be reached, hangs, or says something else, it is what the rail's `fail` says. A text's windows are asked about at
once: vLLM makes one batch of them. A guard that sleeps is waited for like any model, unless the policy lets pass what
was not judged. No text and no word of the guard's is logged or kept; its time on GPUs is in `uses`, as any other.

What a guard model is asked and what its answers mean is `guardrails/moderation.py`'s.
"""

import asyncio
import time
from collections.abc import Callable, Sequence
from contextlib import aclosing

import msgspec

from functions.chat.messages import NodeUse, Stage, Usage, Verdict
from functions.errors import ParleyError, UpstreamError
from functions.guardrails.document import PolicyError
from functions.guardrails.moderation import SAMPLING, Judgement, ask_about, read, verdict_of, windows
from functions.guardrails.policy import Language, Policy
from functions.inference.breaker import Breaker
from functions.inference.gateway import End, Gateway, Node, Token, Waiting
from functions.telemetry import log

MOST_CHARS = 1000  # of a judgement, which has some sixty; a server that talks on and on is not listened to
ONE_STAY_MS = 1000  # a guard that is asked again so soon was not left: one entry in the ledger

Notice = Callable[[Waiting], None]


class Moderator:
    """Of one process. `judge` may be called by any number of runs at once."""

    def __init__(self, policy: Policy, gateway: Gateway, *, key: bytes, now: Callable[[], float]) -> None:
        self.rules = policy.moderation
        self._policy, self._gateway, self._key = policy, gateway, key
        self._breaker = Breaker(now)  # for what the pool cannot see: that nothing has come in our time

    @classmethod
    def of(
        cls, policy: Policy, gateway: Gateway, *, key: bytes, now: Callable[[], float] = time.monotonic
    ) -> "Moderator | None":
        """None when the policy asks for no moderation. Raises PolicyError when it does and there is no node for it."""
        if policy.moderation.input == policy.moderation.output == "off":
            return None
        if not any(node.task == "moderate" or _guard_model(node) for node in gateway.nodes):
            raise PolicyError(
                "The policy's [moderation] asks for a guard model, and no node has one. Name it in PARLEY_NODES with "
                '"task": "moderate", or set input and output to "off".'
            )
        return cls(policy, gateway, key=key, now=now)

    async def judge(
        self,
        stage: Stage,
        texts: Sequence[str],
        *,
        question: str | None = None,
        start: int = 0,
        language: Language,
        session_id: str,
        uses: list[NodeUse],
        notice: Notice,
    ) -> Verdict | None:
        """What the guard model says of the texts, or of these pieces of an answer to `question`; None: they may pass
        without a word. `notice` hears what there is to wait for."""
        pieces = [piece for text in texts for piece in windows(text)]
        judging = (  # one of them tells of the wait
            self._judgement(ask_about(piece, question), session_id, uses, None if number else notice)
            for number, piece in enumerate(pieces)
        )
        verdict = verdict_of(
            self._policy,
            stage,
            await asyncio.gather(*judging),
            "\n\n".join(texts),
            start=start,
            language=language,
            key=self._key,
        )
        if verdict is not None:
            log("moderation.verdict", stage=stage, rail=verdict.rail, action=verdict.action, windows=len(pieces))
        return verdict

    async def _judgement(
        self, messages: Sequence[dict[str, str]], session_id: str, uses: list[NodeUse], notice: Notice | None
    ) -> Judgement | None:
        try:
            said = await self._ask(messages, session_id, uses, notice)
        except ParleyError as fault:
            log("moderation.no_answer", code=fault.code)
            return None
        if (judgement := read(said)) is None:
            log("moderation.unreadable", chars=len(said))
        return judgement

    async def _ask(
        self, messages: Sequence[dict[str, str]], session_id: str, uses: list[NodeUse], notice: Notice | None
    ) -> str:
        """What the guard model answers. Raises UpstreamError when it does not, in time."""
        model = self._model()
        if self._breaker.is_open:
            raise UpstreamError("The guard model has not answered for a while.", code="model_timeout")
        is_trial = self._breaker.admit()
        stays: list[NodeUse] = []
        is_in_time: bool | None = None  # None: nothing was learned about that
        try:
            async with asyncio.timeout(self.rules.timeout_ms / 1000) as box:
                said = await self._listen(model, messages, session_id, stays, notice, box)
            is_in_time = True
        except TimeoutError as exc:
            is_in_time = False
            raise UpstreamError("The guard model did not answer in time.", code="model_timeout") from exc
        finally:
            uses += stays
            self._learn(is_trial, is_in_time)
        return said

    def _learn(self, is_trial: bool, is_in_time: bool | None) -> None:
        if is_trial:
            self._breaker.end_trial()
        if is_in_time:
            self._breaker.succeed()
        elif is_in_time is False and self._breaker.fail(was_trial=is_trial):
            log("moderation.breaker", state="open")

    def _model(self) -> str:
        """Only of a node that has said what it serves: one that has not might be anything."""
        for node in self._gateway.nodes:
            if node.is_known and (model := _guard_model(node)):
                return model
        raise UpstreamError("The guard model is not there.")

    async def _listen(
        self,
        model: str,
        messages: Sequence[dict[str, str]],
        session_id: str,
        stays: list[NodeUse],
        notice: Notice | None,
        box: asyncio.Timeout,
    ) -> str:
        said, tokens = "", Usage()

        def asked(is_up: bool) -> None:
            """Only a start is waited for: whoever is up, also since a moment ago, has the rail's time to answer."""
            if is_up and box.when() is None:
                box.reschedule(asyncio.get_running_loop().time() + self.rules.timeout_ms / 1000)
            elif not is_up and self.rules.fail == "closed":
                box.reschedule(None)

        stream = self._gateway.stream(model, messages, SAMPLING, session_id=session_id, uses=stays, on_asked=asked)
        async with aclosing(stream) as items:
            async for item in items:
                match item:
                    case Waiting(phase="waking" | "loading") if self.rules.fail == "closed":
                        box.reschedule(None)  # it starts: nobody's fault, and the gateway has its own patience
                        if notice is not None:
                            notice(item)
                    case Token(text=text):
                        said += text
                        if len(said) > MOST_CHARS:
                            return said
                    case End(usage=usage) if usage is not None:
                        tokens = usage
                    case _:
                        pass
        if stays:
            stays[-1] = msgspec.structs.replace(stays[-1], **msgspec.structs.asdict(tokens))
        return said


def _guard_model(node: Node) -> str | None:
    return next((served.id for served in node.models if served.task == "moderate"), None)


def stays(uses: Sequence[NodeUse]) -> list[NodeUse]:
    """A guard is asked about a sentence at a time: questions that overlap, or come soon after each other, are one stay
    at its node, and one entry in the ledger."""
    merged: list[NodeUse] = []
    for use in sorted(uses, key=lambda use: use.asked_ms):
        last = merged[-1] if merged else None
        if last is None or not _goes_on(last, use):
            merged.append(use)
            continue
        merged[-1] = msgspec.structs.replace(
            last,
            ended_ms=max(last.ended_ms, use.ended_ms),
            prompt_tokens=last.prompt_tokens + use.prompt_tokens,
            cached_tokens=last.cached_tokens + use.cached_tokens,
            completion_tokens=last.completion_tokens + use.completion_tokens,
        )
    return merged


def _goes_on(last: NodeUse, use: NodeUse) -> bool:
    was_reached = last.began_ms is not None and use.began_ms is not None
    return was_reached and last.node == use.node and not use.was_cold and use.asked_ms - last.ended_ms <= ONE_STAY_MS
