"""Text in pieces in, text with redactions out: the same for every way of cutting it.

A `Scanner` walks through the normalised view from left to right. What lies before the first place where a match has
begun or could still begin is released; a match is replaced by its placeholder; overlapping matches become one span.
Open-ended matches (tokens, private keys) are certain early: from then on the text is dropped, not kept, up to their
end, and the placeholder is released there. So released text always ends where a new scanner with that text as its
left context would go on: a run that is taken over filters as if it had not been interrupted.

It does not know policies. What its detectors call blocking ends the text, unless `goes_on`; the rest is replaced.
"""

import hashlib
import hmac
from dataclasses import dataclass

from functions.guardrails.detectors import LEFT_CHARS, Detectors, InCode, Places
from functions.guardrails.hits import UNDECIDED, Answer, Hit, Runs, Undecided
from functions.guardrails.markup import Fences
from functions.guardrails.view import INVISIBLE_RUN, one_to_one, view_of
from functions.settings import HOLD_BACK_CHARS

DIGEST = 16  # hex characters: enough to see that two finds are the same, of no use for guessing
_PIECE = 512
_PRIOR_CHARS = (LEFT_CHARS + 1) * (INVISIBLE_RUN + 1)  # raw text that is enough for LEFT_CHARS of view


@dataclass(frozen=True, slots=True)
class Span:
    """What was found: raw offsets, and a keyed hash of the normalised text instead of the text."""

    kind: str
    start: int
    end: int
    score: float
    digest: str


def digest_of(text: str, key: bytes) -> str:
    """Of a whole text, as of a span: the same under the same key, and of no use for guessing."""
    seen = view_of(text)[0].encode("utf-8", "surrogatepass")
    return hmac.new(key, seen, hashlib.sha256).hexdigest()[:DIGEST]


def placeholder(kind: str) -> str:
    return f"[redacted: {kind}]"


@dataclass(slots=True)
class _Open:
    """An open-ended match that is being dropped."""

    hit: Hit
    start: int
    left: str  # of the view, before the match
    lead: str  # shown with the placeholder, not before: a takeover must see it again to know the rest
    digest: hmac.HMAC


class Scanner:
    """One text. Not for two threads at once."""

    def __init__(self, detectors: Detectors, *, key: bytes, prior: str = "", goes_on: bool = False) -> None:
        self._detectors, self._key = detectors, key
        self._stopping = frozenset() if goes_on else detectors.blocking
        view, _, self._invisible = view_of(prior[-_PRIOR_CHARS:])
        self._left = view[-LEFT_CHARS:]
        self._raw = self._view = ""
        self._origin: list[int] | None = None  # None: the view has one character for each raw one
        self._offset = len(prior)  # of _raw in the whole text
        self._open: _Open | None = None
        self._fences = Fences() if detectors.has_markup else None
        if self._fences:
            self._fences.feed(prior)
        self.found: list[Span] = []
        self.blocked = False

    @property
    def settled(self) -> int:
        """Everything before this raw offset has been released or redacted: a takeover goes on from here."""
        return self._open.start if self._open else self._offset

    @property
    def held(self) -> int:
        return len(self._raw)

    def feed(self, text: str) -> str:
        """What may be shown now."""
        if self.blocked or not text:
            return ""
        if len(text) > _PIECE:  # any cut gives the same, and short pieces keep the work linear
            return "".join([self.feed(text[at : at + _PIECE]) for at in range(0, len(text), _PIECE)])
        view = one_to_one(text)
        if view is not None and not self._raw and not self._open:
            seen = self._left + view
            if self._detectors.next(seen, self._detectors.fold(seen), len(self._left)) == len(seen):
                self._left, self._invisible = seen[-LEFT_CHARS:], 0
                self._offset += len(text)
                if self._fences:
                    self._fences.feed(text)
                return text
        self._append(text, view)
        return self._advance(final=False)

    def finish(self) -> str:
        """The rest; the text is complete."""
        return "" if self.blocked else self._advance(final=True)

    # -- the pending text -------------------------------------------------------------------------------------

    def _append(self, text: str, view: str | None) -> None:
        base = len(self._raw)
        if view is None:
            view, origin, self._invisible = view_of(text, self._invisible)
            if self._origin is None:
                self._origin = list(range(base))
            self._origin.extend(base + index for index in origin)
        else:
            self._invisible = 0
            if self._origin is not None:
                self._origin.extend(range(base, base + len(text)))
        self._raw += text
        self._view += view

    def _raw_at(self, index: int) -> int:
        """Where view character `index` begins in the raw text; the end of the text behind the last one."""
        if index >= len(self._view):
            return len(self._raw)
        return self._origin[index] if self._origin else index

    def _raw_end(self, index: int) -> int:
        """Where view character `index - 1` ends in the raw text."""
        return self._origin[index - 1] + 1 if self._origin and index else index

    def _take(self, raw_end: int) -> str:
        """Remove the pending text before `raw_end` and return it. The view follows by whole raw characters."""
        taken, self._raw = self._raw[:raw_end], self._raw[raw_end:]
        size = raw_end
        if self._origin is not None:
            size = next((i for i, raw in enumerate(self._origin) if raw >= raw_end), len(self._origin))
            self._origin = [raw - raw_end for raw in self._origin[size:]] if self._raw else None
        self._left = (self._left + self._view[:size])[-LEFT_CHARS:]
        self._view = self._view[size:]
        self._offset += raw_end
        return taken

    # -- the walk ---------------------------------------------------------------------------------------------

    def _advance(self, final: bool) -> str:
        shown: list[str] = []
        while not self.blocked:
            if self._open and self._open.hit.run:
                text, more = self._drop(self._open, self._open.hit.run, final)
            else:
                text, more = self._step(final)
            shown.append(text)
            if self._fences and text:
                self._fences.feed(text)
            if not more:
                break
        return "".join(shown)

    def _step(self, final: bool) -> tuple[str, bool]:
        """Up to the next match, and over it; up to the first undecided place; or to the end."""
        left, detectors = len(self._left), self._detectors
        view = self._left + self._view
        folded = detectors.fold(view)
        places = Places(detectors, view, folded)
        at = places.next(left)
        while at < len(view):
            in_code = self._in_code(at - left)
            answer = detectors.at(view, folded, at, final, in_code)
            if isinstance(answer, Hit):
                answer = self._merge(answer, view, folded, final, in_code)
            if isinstance(answer, Undecided):
                break
            if isinstance(answer, Hit):
                return self._act(answer, left), True
            at = places.next(at + 1)
        return self._take(self._raw_at(at - left)), False

    def _in_code(self, index: int) -> InCode | None:
        """Whether view character `index` stands in a block of code; asked only where there is markup."""
        fences = self._fences
        return (lambda: fences.has_code_after(self._raw[: self._raw_at(index)])) if fences else None

    def _merge(self, hit: Hit, view: str, folded: str, final: bool, in_code: InCode | None) -> Answer:
        """With everything that begins inside it. A chain longer than the hold-back bound is cut there."""
        at = hit.start
        while not hit.run and at < hit.start + HOLD_BACK_CHARS:
            at = self._detectors.next(view, folded, at + 1)
            if at >= hit.end:
                return hit
            answer = self._detectors.at(view, folded, at, final, in_code)
            if isinstance(answer, Undecided):
                return UNDECIDED
            if answer:
                hit = self._detectors.merged(hit, answer)
        return hit

    def _act(self, hit: Hit, left: int) -> str:
        """Release what is before the match; then replace it, begin to drop it, or stop."""
        start, end = self._whole(hit.start - left), hit.end - left
        shown = self._take(self._raw_at(start))
        lead = self._raw[: self._raw_at(hit.lead)] if hit.lead else ""
        seen = self._view[hit.lead : end - start]
        digest = hmac.new(self._key, seen.encode("utf-8", "surrogatepass"), hashlib.sha256)
        self._open = _Open(hit, self._offset, self._left, lead, digest)
        if not hit.run or hit.kind in self._stopping:
            return shown + self._close(self._open, end - start)
        self._take(self._raw_end(end - start))
        return shown

    def _whole(self, index: int) -> int:
        """The first view character of the raw character that view character `index` comes from."""
        while self._origin and index and self._origin[index] == self._origin[index - 1]:
            index -= 1
        return index

    def _drop(self, match: _Open, run: Runs, final: bool) -> tuple[str, bool]:
        """Forget what belongs to the open match; at its end, release the placeholder."""
        size, has_ended = run.follow(self._view, final)
        match.digest.update(self._view[:size].encode("utf-8", "surrogatepass"))
        if has_ended:
            return self._close(match, size), True
        self._take(self._raw_end(size))
        return "", False

    def _close(self, match: _Open, size: int) -> str:
        """The match ends after `size` characters of the pending view."""
        self._take(self._raw_end(size))
        kind, self._open = match.hit.kind, None
        self.found.append(Span(kind, match.start, self._offset, match.hit.score, match.digest.hexdigest()[:DIGEST]))
        if kind in self._stopping:
            self.blocked = True
            return ""
        shown = match.lead + placeholder(kind)
        self._left = (match.left + (shown if shown.isascii() else view_of(shown)[0]))[-LEFT_CHARS:]
        return shown


def find(detectors: Detectors, text: str, *, key: bytes = b"") -> list[Span]:
    """Every span of a whole text, in order."""
    scanner = Scanner(detectors, key=key)
    scanner.feed(text)
    scanner.finish()
    return scanner.found
