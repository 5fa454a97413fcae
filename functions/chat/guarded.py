"""Where the text of an answer waits for the guard model: between the rails and the readers.

    gate = Gate(moderator, run_log, …)            # one a run and process
    async with gate.watching():                   # ends its body, wherever that waits, when the guard says no
        gate.push(text, count)                    # what the rails let through
        await gate.finish()                       # the rest is judged and shown
    gate.refusal                                  # the guard said no: nothing of the answer may stand

    the question   ─ verdict ─┐                     the model reads and writes meanwhile; what it says waits here
    first window   ───────────┴─ verdict ─ shown    a sentence, or `window_chars`
    later windows  ─ "hold": verdict, then shown; "show": shown, and judged beside it
    at the end     ─ the whole answer, if `final_check`: a no takes back what was shown

It promises that no text is shown before the question and the window it stands in have passed (the windows after the
first only with "hold"), and that whatever ends the answer, all that was shown is judged. Each window is judged with
the one before it, so that nothing hides at a seam. A gate for a taken-over run judges what is already shown with the
next window, before anything more is shown. When its body ends, for whatever reason, no task of it is left.
"""

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

from functions.chat.messages import NodeUse, Stage, Verdict
from functions.chat.moderator import Moderator
from functions.chat.runs import RunLog
from functions.guardrails.policy import Language
from functions.guardrails.stream import language_of
from functions.guardrails.windows import SENTENCE_END
from functions.inference.gateway import Waiting

_WIRE = ("role", "type", "id", "tool_call_id")


@dataclass(frozen=True, slots=True)
class Asked:
    """What the caller wrote, for the guard model: `question` is what is answered, `before` whatever led up to it."""

    question: str
    before: Any = ()  # JSON, or a part of it

    @classmethod
    def in_prompt(cls, prompt: Sequence[dict[str, Any]], extra: dict[str, Any]) -> "Asked":
        """In a conversation that the caller brought: all of it, with the names, the tools and the schemas."""
        return cls("\n\n".join(strings_in(prompt[-1])), (prompt[:-1], extra))

    @property
    def texts(self) -> tuple[str, ...]:
        return ("\n\n".join(strings_in(self.before)), self.question)

    @property
    def language(self) -> Language:
        return language_of(self.question)


def strings_in(value: Any) -> Iterator[str]:  # JSON
    """Every text in a value of the node's wire, less what is the wire's own."""
    match value:
        case str():
            yield value
        case list() | tuple():
            for item in value:
                yield from strings_in(item)
        case dict():
            for name, item in value.items():
                if name not in _WIRE:
                    yield from strings_in(item)


def refusal_in(verdicts: Sequence[Verdict]) -> str | None:
    """What a guard model has said no with: it stands in the answer's place."""
    return next((v.message for v in verdicts if _is_guards(v) and v.action == "blocked"), None)


def cut_off_in(verdicts: Sequence[Verdict]) -> str | None:
    """What another rail has cut the answer off with: it stands after what was shown."""
    said = (v.message for v in verdicts if v.stage == "output" and not _is_guards(v) and v.action == "blocked")
    return next(said, None)


def _is_guards(verdict: Verdict) -> bool:
    return verdict.rail.startswith("moderation")


class Gate:
    def __init__(
        self,
        moderator: Moderator,
        run_log: RunLog,
        asked: Asked,
        *,
        verdicts: list[Verdict],
        uses: list[NodeUse],
        note: Callable[[Verdict], None],
        begins: Callable[[], None],
        waits: Callable[[Waiting], None],
    ) -> None:
        """`verdicts` are those of the run so far, `uses` where the guard's stays at nodes go. `note` hears each new
        verdict, `begins` that text is about to be shown, `waits` that the guard model starts."""
        self.refusal: str | None = None
        self._moderator, self._rules = moderator, moderator.rules
        self._run_log, self._asked = run_log, asked
        self._verdicts, self._uses = verdicts, uses
        self._note, self._begins, self._waits = note, begins, waits
        self._is_admitted = bool(run_log.written())  # what is shown was shown after the question had passed
        self._is_free = False  # text is shown as it comes
        self._judged = 0  # so much of the text has passed in windows,
        self._judged_whole = 0  # and so much in one piece
        self._text = ""  # of the answer, shown or not
        self._shown = 0
        self._count = 0  # tokens that wait
        self._calls: Sequence[str] = ()
        self._has_begun = self._has_ended = False
        self._news = asyncio.Event()
        self._leash: asyncio.Timeout
        self._judging: asyncio.Task[None]

    # -- for who writes --------------------------------------------------------------------------------------

    @asynccontextmanager
    async def watching(self) -> AsyncIterator[None]:
        """Text may be pushed, after what the run's log holds; what was not shown of an earlier time is forgotten."""
        self._restart()
        try:
            # A timeout that the guard's no sets off: cancelling, and telling it from a stop, is what it is good at.
            async with asyncio.timeout(None) as self._leash:
                self._judging = asyncio.create_task(self._judge(), name=f"guard {self._run_log.run.id}")
                try:
                    yield
                finally:
                    self._judging.cancel()
                    await asyncio.gather(self._judging, return_exceptions=True)
        except TimeoutError:
            if self.refusal is None:
                raise

    def _restart(self) -> None:
        self._text = self._run_log.written()
        self._shown = len(self._text)
        self._judged, self._judged_whole = min(self._judged, self._shown), min(self._judged_whole, self._shown)
        self._count, self._calls, self._has_begun, self._has_ended = 0, (), False, False
        self._news.clear()

    def push(self, text: str, count: int) -> None:
        """Text that the rails have let through, of so many tokens."""
        self._text += text
        self._count += count
        if self._is_free:
            self._show(len(self._text))
        if self._window_end() is not None:
            self._news.set()

    async def finish(self, calls: Sequence[str] = ()) -> bool:
        """The answer is complete, but for these texts in tool calls. Whether it may stand; all of it is shown then."""
        self._calls, self._has_ended = calls, True
        self._news.set()
        await self._judging
        return self.refusal is None

    async def last_look(self) -> None:
        """The answer broke off (a stop, a fault). What was shown of it and is not judged yet is judged now."""
        self._restart()
        if self.refusal is None and self._text and self._rules.output != "off":
            await self._passes_at_last()

    # -- judging ---------------------------------------------------------------------------------------------

    async def _judge(self) -> None:
        """One verdict after the other, until the end or a no. What comes while one is awaited is the next window."""
        await self._judge_all()
        if self.refusal is not None:
            self._leash.reschedule(asyncio.get_running_loop().time())

    async def _judge_all(self) -> None:
        if not (self._is_admitted or self._rules.input == "off") and not await self._admits():
            return
        self._is_admitted = True
        if self._rules.output == "off":
            self._is_free = True
            self._show(len(self._text))
            return
        while (end := await self._next_window()) is not None:
            if not await self._passes(self._seam(), end):
                return
            self._judged = end
            self._is_free = self._rules.later_windows == "show"
            self._show(len(self._text) if self._is_free else end)
        if await self._passes_at_last():
            self._show(len(self._text))

    async def _next_window(self) -> int | None:
        """Where it ends; None at the end of the answer."""
        while not self._has_ended:
            if (end := self._window_end()) is not None:
                return end
            self._news.clear()
            await self._news.wait()
        return None

    def _window_end(self) -> int | None:
        if len(self._text) - self._judged >= self._rules.window_chars:
            return len(self._text)
        ends = [found.end() for found in SENTENCE_END.finditer(self._text, self._judged)]
        return ends[-1] if ends else None

    def _seam(self) -> int:
        return max(0, self._judged - self._rules.window_chars)

    async def _admits(self) -> bool:
        return await self._hears("input", self._asked.texts, None, 0)

    async def _passes(self, start: int, end: int, calls: Sequence[str] = ()) -> bool:
        texts = (self._text[start:end], *calls)
        passed = await self._hears("output", texts, self._asked.question, start)
        if passed and start == 0:
            self._judged_whole = end
        return passed

    async def _passes_at_last(self) -> bool:
        """The whole answer, or what has not been judged of it. Nothing is asked twice."""
        is_whole = self._rules.final_check
        if (self._judged_whole if is_whole else self._judged) == len(self._text) and not self._calls:
            return True
        start = 0 if is_whole else self._seam()
        return await self._passes(start, len(self._text), self._calls)

    async def _hears(self, stage: Stage, texts: Sequence[str], question: str | None, start: int) -> bool:
        verdict = await self._moderator.judge(
            stage,
            texts,
            question=question,
            start=start,
            language=self._asked.language,
            session_id=f"{self._run_log.run.chat_id or self._run_log.run.id}/guard",  # the chat's own has another home
            uses=self._uses,
            notice=self._tell,
        )
        if verdict is None:
            return True
        if verdict.action == "blocked":
            self.refusal = verdict.message
        elif any((said.stage, said.rail) == (stage, verdict.rail) for said in self._verdicts):
            return True  # windows overlap: once is enough
        self._note(verdict)
        return self.refusal is None

    def _tell(self, waiting: Waiting) -> None:
        if not self._has_begun:
            self._waits(waiting)

    # -- showing ---------------------------------------------------------------------------------------------

    def _show(self, end: int) -> None:
        if end <= self._shown:
            return
        if not self._has_begun:
            self._has_begun = True
            self._begins()
        self._run_log.add_text(self._text[self._shown : end], self._count)
        self._shown, self._count = end, 0
