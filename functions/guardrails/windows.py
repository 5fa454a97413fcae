"""The operator's own rails on an answer, a finished window at a time; and where windows end.

    rails = OutgoingRails(OutputFilter(…), guard, policy, prior=…)
    for token in tokens:
        show(await rails.push(token))     # '' while a window is not finished
    show(await rails.finish())
    rails.verdicts, rails.blocked, rails.refusal

It promises what `OutputFilter` does, whose text it passes on; and where the policy has rails of the operator's own for
answers, that none of it is shown before the window it stands in has passed them. A window ends where a sentence does,
or after `window_chars` of the policy: that follows from the text alone, so it is the same however the text comes in
pieces. Validators may be slow, so they run in a thread.
"""

import asyncio
import re
from collections.abc import Iterator

import msgspec

from functions.chat.messages import Verdict
from functions.guardrails.policy import Language, Policy
from functions.guardrails.stream import OutputFilter
from functions.guardrails.validators import InputGuard

# Where a reader would pause. A list's "1." is one too: what is judged by and by need not be good prose.
SENTENCE_END = re.compile(r"[.!?…][\"'”’»)\]]*\s|[。！？][\"”’」』）]*|\n\n")


class OutgoingRails:
    """Of one answer. `prior` is its text so far, as it was shown; `language` that of the messages."""

    def __init__(
        self, own: OutputFilter, guard: InputGuard | None, policy: Policy, *, prior: str, language: Language
    ) -> None:
        self._own, self._windows = own, _Windows(guard, policy, prior, language) if guard is not None else None
        self._noted = 0
        self.verdicts: list[Verdict] = []

    @property
    def blocked(self) -> bool:
        return self._own.blocked or (self._windows is not None and self._windows.refusal is not None)

    @property
    def refusal(self) -> str:
        """What to show when the answer was blocked."""
        return (self._windows and self._windows.refusal) or self._own.refusal

    async def push(self, text: str) -> str:
        """What may be shown now, possibly ''."""
        if self._windows is None and not self._own.blocked:  # nearly every token of nearly every answer
            shown = self._own.push(text)
            if len(self._own.verdicts) > self._noted:
                self._note()
            return shown
        return "" if self.blocked else await self._passed(self._own.push(text), is_all=self._own.blocked)

    async def finish(self) -> str:
        """The rest. The answer is complete."""
        return "" if self.blocked else await self._passed(self._own.finish(), is_all=True)

    async def _passed(self, text: str, *, is_all: bool) -> str:
        self._note()
        if self._windows is None:
            return text
        windows = self._windows.cut(text, is_all=is_all)
        if not windows:
            return ""
        shown, verdicts = await asyncio.to_thread(self._windows.judge, windows)
        self.verdicts += verdicts
        return shown

    def _note(self) -> None:
        self.verdicts += self._own.verdicts[self._noted :]
        self._noted = len(self._own.verdicts)


class _Windows:
    """Cuts a text, and asks the operator's rails about the pieces, one after the other."""

    def __init__(self, guard: InputGuard, policy: Policy, prior: str, language: Language) -> None:
        self._guard, self._policy, self._language = guard, policy, language
        self._chars = policy.moderation.window_chars
        self._text = ""  # not in a finished window yet
        self._at = len(prior)  # where that begins, in the answer as the other rails left it
        self.refusal: str | None = None

    def cut(self, text: str, *, is_all: bool) -> list[tuple[int, str]]:
        """The windows that this finishes, and where each begins. `is_all`: nothing comes after it."""
        self._text += text
        windows = [(self._at + start, self._text[start:end]) for start, end in self._ends(is_all)]
        cut = sum(len(window) for _, window in windows)
        self._text, self._at = self._text[cut:], self._at + cut
        return windows

    def _ends(self, is_all: bool) -> Iterator[tuple[int, int]]:
        start = 0
        while start < len(self._text):
            found = SENTENCE_END.search(self._text, start)
            end = min(found.end() if found else len(self._text), start + self._chars)
            if end == len(self._text) and not is_all:
                return  # a quotation mark may follow, and would belong to it
            yield start, end
            start = end

    def judge(self, windows: list[tuple[int, str]]) -> tuple[str, list[Verdict]]:
        """What of them may be shown. After one that is blocked, nothing."""
        shown, verdicts = "", []
        for at, window in windows:
            result = self._guard.check(window) if window.strip() else None
            if result is None:
                shown += window
                continue
            verdicts += [self._placed(verdict, at) for verdict in result.verdicts]
            if result.blocked:
                message = self._policy.message("custom", self._language)
                self.refusal = verdicts[-1].message if verdicts else message
                break
            shown += result.text
        return shown, verdicts

    def _placed(self, verdict: Verdict, at: int) -> Verdict:
        message = self._policy.message(verdict.rail, self._language)
        return msgspec.structs.replace(verdict, start=at + verdict.start, end=at + verdict.end, message=message)
