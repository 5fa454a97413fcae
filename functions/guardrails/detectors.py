"""Is there sensitive text at this place? Patterns and banned terms, asked one position at a time.

`Detectors.next` says where something may begin; `Detectors.at` answers for one position: nothing, a `Hit`, or
`UNDECIDED` when more text could change the answer. The answer for a position depends only on a few characters before
it and at most HOLD_BACK_CHARS after it, never on how the text arrived: that is what lets a stream be filtered to the
same result as the whole text. Works on the normalised view (view.py); knows nothing about actions or streams.
"""

import re
from collections import defaultdict
from collections.abc import Collection, Iterable
from dataclasses import dataclass, replace
from typing import Final

import ahocorasick

from functions.guardrails.patterns import ALNUM, CONTEXT_CHARS, Pattern, Run, partial, table
from functions.guardrails.policy import BANNED, PII, SECRETS
from functions.guardrails.view import view_of
from functions.settings import HOLD_BACK_CHARS

LEFT_CHARS = 128  # how far back a detector may look

# What a find is worth: a checksum or a vendor's prefix is nearly proof, a phone number is a likely shape.
_SCORES = {"phone": 0.8, "ip": 0.8, "email": 0.95}
_ORDER = {kind: order for order, kind in enumerate((*SECRETS, *PII, BANNED))}

# Scripts without spaces between words: a term may stand anywhere in them.
_UNSPACED = (
    r"\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u2e80-\u9fff\ua960-\ua97f\uac00-\ud7ff\uf900-\ufaff\U00020000-\U0003ffff"
)
_SPACED = rf"[^\W_{_UNSPACED}]"


@dataclass(frozen=True, slots=True)
class Hit:
    """A match in the view. With a `run` it has only begun: it goes on as the run says."""

    kind: str
    start: int
    end: int
    run: Run | None = None
    lead: int = 0  # characters at the start that may be shown

    @property
    def score(self) -> float:
        return _SCORES.get(self.kind, 1.0)


class Undecided:
    """More text could change the answer."""


UNDECIDED: Final = Undecided()
Answer = Hit | Undecided | None


class _Rule:
    """A pattern, compiled: all of a match, and the beginning of one (or of what must not follow one) up to the end."""

    def __init__(self, pattern: Pattern) -> None:
        self.pattern, self.kind = pattern, pattern.kind
        self.check, self.run = pattern.check, pattern.run
        before, core, after = pattern.before, f"(?:{pattern.core})", pattern.after
        self.whole = re.compile(f"{before}(?P<lead>{pattern.lead}){core}" + (f"(?!{after})" if after else ""))
        self.beginning = re.compile(before + partial(pattern.lead + core + (f"(?:{after})?" if after else "")) + r"\Z")

    def begins(self, view: str, at: int) -> bool:
        return bool(self.beginning.match(view, at)) and self._is_in_context(view, at)

    def hit(self, view: str, at: int, limit: int) -> Hit | None:
        if not (match := self.whole.match(view, at, limit)) or not self._is_in_context(view, at):
            return None
        lead = match.end("lead")
        size = self.check(view[lead : match.end()]) if self.check else match.end() - lead
        return Hit(self.kind, at, lead + size, self.run, lead - at) if size else None

    def _is_in_context(self, view: str, at: int) -> bool:
        context = self.pattern.context
        return context is None or bool(context.search(view, max(0, at - CONTEXT_CHARS), at))


class Terms:
    """Banned terms: folded for case, width and diacritics; whole words where a script has spaces."""

    def __init__(self, terms: Iterable[str]) -> None:
        folded = {" ".join(fold_terms(view_of(term)[0]).split()) for term in terms} - {""}
        self._trie = ahocorasick.Automaton(ahocorasick.STORE_LENGTH)
        for term in folded:
            self._trie.add_word(term)
        self._longest = max(map(len, folded))
        sizes: dict[str, set[int]] = {}
        for term in folded:
            sizes.setdefault(term[0], set()).add(len(term))
        self._sizes = {first: sorted(found, reverse=True) for first, found in sizes.items()}
        words = {term[0] for term in folded if re.match(_SPACED, term)}
        parts = [f"(?<!{_SPACED}){_one_of(words)}", _one_of({term[0] for term in folded} - words)]
        self._starts = re.compile("|".join(part for part in parts if not part.endswith("[]")))
        self._word = re.compile(_SPACED)

    def next(self, folded: str, at: int) -> int:
        """The next place where a term stands, or is cut off by the end of the text."""
        longest_prefix, end = self._trie.longest_prefix, len(folded)
        for match in self._starts.finditer(folded, at):
            start = match.start()
            size = longest_prefix(folded[start : start + self._longest])
            if start + size == end or self._term(folded, start, size):
                return start
        return end

    def at(self, folded: str, at: int, final: bool) -> int | Undecided:
        """The size of the longest term here, 0 for none."""
        if not self._starts.match(folded, at):
            return 0
        size = self._trie.longest_prefix(folded[at : at + self._longest])
        if at + size == len(folded) and not final:
            return UNDECIDED
        return self._term(folded, at, size)

    def _term(self, folded: str, at: int, most: int) -> int:
        """The size of the longest whole term here that has at most `most` characters."""
        for size in self._sizes[folded[at]]:
            if size <= most and folded[at : at + size] in self._trie and not self._goes_on(folded, at + size):
                return size
        return 0

    def _goes_on(self, folded: str, end: int) -> bool:
        return bool(self._word.match(folded, end - 1) and self._word.match(folded, end))


def fold_terms(view: str) -> str:
    """Of the same length as the view, so that offsets hold."""
    folded = view.lower()
    return folded.replace("\n", " ") if "\n" in folded else folded


def _one_of(chars: Collection[str]) -> str:
    return f"[{''.join(map(re.escape, sorted(chars)))}]"


_ASCII = [chr(code) for code in range(128)]


_NO_RULES: tuple[tuple[_Rule, ...], tuple[_Rule, ...]] = ((), ())


class Detectors:
    """The detectors of some types, ready to be asked. Immutable after it is built, so shared by all threads."""

    def __init__(
        self,
        kinds: Collection[str],
        *,
        terms: Iterable[str] = (),
        regions: tuple[str, ...] = ("US",),
        blocking: Collection[str] = (),
    ) -> None:
        self.blocking = frozenset(blocking)
        rules = [_Rule(pattern) for pattern in table(regions) if pattern.kind in kinds]
        terms = tuple(terms)
        self._terms = Terms(terms) if BANNED in kinds and terms else None
        self._trigger = _trigger(rules)
        self._rules = {char: _starting(rules, char) for char in _ASCII}
        self._all_rules = defaultdict(tuple, {char: (*runs, *others) for char, (runs, others) in self._rules.items()})

    def merged(self, hit: Hit, other: Hit) -> Hit:
        """One span for two that overlap: nothing of either is shown, and the graver one gives the name."""
        kind = min(hit.kind, other.kind, key=lambda kind: (kind not in self.blocking, _ORDER[kind]))
        return Hit(kind, hit.start, max(hit.end, other.end), other.run)

    def fold(self, view: str) -> str:
        return fold_terms(view) if self._terms else view

    def next(self, view: str, folded: str, at: int) -> int:
        """The next place from `at` where something may begin, else the end of the view."""
        place = self.next_pattern(view, at)
        return min(place, self._terms.next(folded, at)) if self._terms else place

    def next_pattern(self, view: str, at: int) -> int:
        match = self._trigger.search(view, at) if self._trigger else None
        return match.start() if match else len(view)

    def next_term(self, folded: str, at: int) -> int:
        return self._terms.next(folded, at) if self._terms else len(folded)

    def at(self, view: str, folded: str, at: int, final: bool) -> Answer:
        runs, others = self._rules.get(view[at], _NO_RULES)
        limit = at + HOLD_BACK_CHARS
        waits = not final and len(view) < limit
        best: Hit | None = None
        for rule in runs:  # of several, the one that a stream is certain of first
            hit = rule.hit(view, at, limit)
            if hit and (best is None or hit.end < best.end):
                best = hit
        if best:
            return self._covered(best, folded)
        if waits:
            for rule in self._all_rules[view[at]]:
                if rule.begins(view, at):
                    return UNDECIDED
        return self._longest(others, view, folded, at, limit, final)

    def _covered(self, hit: Hit, folded: str) -> Hit:
        """A lead in which a banned term may stand is not shown either."""
        shown_to = hit.start + hit.lead
        if hit.lead and self._terms and self._terms.next(folded[:shown_to], hit.start) < shown_to:
            return replace(hit, lead=0)
        return hit

    def _longest(self, rules: tuple[_Rule, ...], view: str, folded: str, at: int, limit: int, final: bool) -> Answer:
        best: Hit | None = None
        for rule in rules:
            hit = rule.hit(view, at, limit)
            if hit and (best is None or (hit.end, -_ORDER[hit.kind]) > (best.end, -_ORDER[best.kind])):
                best = hit
        if self._terms:
            size = self._terms.at(folded, at, final)
            if isinstance(size, Undecided):
                return UNDECIDED
            if size and (best is None or at + size > best.end):
                best = Hit(BANNED, at, at + size)
        return best


class Places:
    """The places of one view where something may begin, in order. Does not search the same stretch twice."""

    __slots__ = ("_detectors", "_folded", "_pattern", "_term", "_view")

    def __init__(self, detectors: Detectors, view: str, folded: str) -> None:
        self._detectors, self._view, self._folded = detectors, view, folded
        self._pattern = self._term = -1

    def next(self, at: int) -> int:
        """The first place from `at` on; `at` must not go back."""
        if self._pattern < at:
            self._pattern = self._detectors.next_pattern(self._view, at)
        if self._term < at:
            self._term = self._detectors.next_term(self._folded, at)
        return min(self._pattern, self._term)


def _starting(rules: list[_Rule], char: str) -> tuple[tuple[_Rule, ...], tuple[_Rule, ...]]:
    """The rules whose match may begin with `char`: the open-ended ones, and the others."""
    mine = [rule for rule in rules if re.match(partial(rule.pattern.head), char)]
    return tuple(r for r in mine if r.run), tuple(r for r in mine if not r.run)


def _trigger(rules: list[_Rule]) -> re.Pattern[str] | None:
    """Where a match may begin, or be about to at the end of the text: a superset that passes over ordinary words.

    One class of first characters, which `re` searches for quickly, then what may follow each of them.
    """
    inside, anywhere = (
        _alternatives([rule for rule in rules if (rule.pattern.before != "") is bounded]) for bounded in (True, False)
    )
    firsts = {char for found in (inside, anywhere) for chars in found.values() for char in chars}
    if not firsts:
        return None
    parts = [rf"(?<={_one_of(chars)}){after}" for after, chars in inside.items()]
    free = [rf"(?<={_one_of(chars)}){after}" for after, chars in anywhere.items()]
    bounded = [rf"(?:(?<!{ALNUM}[\s\S])|(?<=\\[nrt][\s\S]))(?:{'|'.join(parts)})"] if parts else []
    return re.compile(f"{_one_of(firsts)}(?:{'|'.join(bounded + free)})")


def _alternatives(rules: list[_Rule]) -> dict[str, set[str]]:
    """What may follow a first character -> those first characters.

    A head that begins with a class goes on as written; of one that begins with letters the second one is enough.
    """
    seconds: dict[str, set[str]] = {}
    found: dict[str, set[str]] = {}
    for rule in rules:
        begins = re.compile(partial(rule.pattern.head))
        follows = _after_first(rule.pattern.head)
        for char in filter(begins.match, _ASCII):
            if follows is None:
                seconds.setdefault(char, set()).update(second for second in _ASCII if begins.match(char + second))
            else:
                found.setdefault(follows, set()).add(char)
    for char, allowed in seconds.items():
        found.setdefault(rf"(?:{_one_of(allowed)}|\Z)", set()).add(char)
    return found


def _after_first(head: str) -> str | None:
    """What follows the first character of a head that begins with a class: `[a-z]{1,4}:` -> `[a-z]{0,3}:`."""
    if not (match := re.fullmatch(r"(\[[^\]]+\])(?:\{(\d+)(?:,(\d+))?\})?(.*)", head)):
        return None
    one, least, most, rest = match.groups(default="")
    again = "{" + ",".join(str(int(count) - 1) for count in (least, most) if count) + "}" if least else ""
    return partial((one + again if again else "") + rest)
