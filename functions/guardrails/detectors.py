"""Is there something at this place? Patterns, banned terms and hidden texts, asked one position at a time.

`Detectors.next` says where something may begin; `Detectors.at` answers for one position: nothing, a `Hit`, or
`UNDECIDED` when more text could change the answer. The answer for a position depends only on LEFT_CHARS before it, on
at most HOLD_BACK_CHARS after it, and, for markup, on whether it stands in a block of code; never on how the text
arrived: that is what lets a stream be filtered to the same result as the whole text. Works on the normalised view
(view.py); knows nothing about actions or streams.
"""

import copy
import re
from collections.abc import Callable, Collection, Iterable
from dataclasses import replace
from functools import cache

from functions.guardrails.hits import UNDECIDED, Answer, Hit, Undecided
from functions.guardrails.leak import Hidden
from functions.guardrails.markup import markup_patterns
from functions.guardrails.patterns import ALNUM, Pattern, one_of, partial, table
from functions.guardrails.policy import BANNED, HIDDEN, MARKUP, PII, SECRETS, MarkupPolicy
from functions.guardrails.terms import Terms, fold_terms
from functions.settings import HOLD_BACK_CHARS

LEFT_CHARS = 128  # how far back a detector may look

_ORDER = {kind: order for order, kind in enumerate((*SECRETS, *PII, *MARKUP, HIDDEN, BANNED))}
InCode = Callable[[], bool]


class _Rule:
    """A pattern, compiled: all of a match, and the beginning of one (or of what must not follow one) up to the end."""

    def __init__(self, pattern: Pattern) -> None:
        self.pattern, self.kind = pattern, pattern.kind
        self.is_markup = pattern.kind in MARKUP
        self.check, self.run = pattern.check, pattern.run
        before, core, after = pattern.before, f"(?:{pattern.core})", pattern.after
        ends = f"(?!{after})" if after else ""
        self.source = f"{before}(?:{pattern.lead}){core}{ends}"
        self.whole = re.compile(f"{before}(?P<lead>{pattern.lead}){core}{ends}")
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
        return context is None or context(view, at)


_ASCII = [chr(code) for code in range(128)]


class _Rules:
    """The rules whose match may begin with one character, the open-ended ones first.

    Digits have a dozen, and at most places none stands: one look says so for all, and which is the first that does.
    """

    def __init__(self, rules: Iterable[_Rule]) -> None:
        self._rules = tuple(sorted(rules, key=lambda rule: rule.run is None))
        are_many = len(self._rules) > 2  # compiling has its price too
        self._whole = _any_of(tuple(rule.source for rule in self._rules)) if are_many else None
        self._beginning = _any_of(tuple(rule.beginning.pattern for rule in self._rules)) if are_many else None

    def standing(self, view: str, at: int, limit: int) -> tuple[_Rule, ...]:
        """Those that may match; the others do not."""
        return self._from(self._whole.match(view, at, limit)) if self._whole else self._rules

    def beginning(self, view: str, at: int) -> tuple[_Rule, ...]:
        """Those that may match up to the end of the view, and go on there."""
        return self._from(self._beginning.match(view, at)) if self._beginning else self._rules

    def _from(self, match: re.Match[str] | None) -> tuple[_Rule, ...]:
        return self._rules[(match.lastindex or 1) - 1 :] if match else ()


@cache  # many characters have the same rules
def _any_of(sources: tuple[str, ...]) -> re.Pattern[str]:
    """Its last group says which of them is the first that matches: they have none of their own."""
    return re.compile("|".join(f"({source})" for source in sources))


_NO_RULES = _Rules(())


class Detectors:
    """The detectors of some types, ready to be asked. Immutable after it is built, so shared by all threads."""

    def __init__(
        self,
        kinds: Collection[str],
        *,
        terms: Iterable[str] = (),
        regions: tuple[str, ...] = ("US",),
        markup: MarkupPolicy | None = None,
        blocking: Collection[str] = (),
    ) -> None:
        self.blocking = frozenset(blocking)
        patterns = (*table(regions), *(markup_patterns(markup) if markup else ()))
        rules = [_Rule(pattern) for pattern in patterns if pattern.kind in kinds]
        self.has_markup = any(rule.is_markup for rule in rules)
        self._hidden: Hidden | None = None
        terms = tuple(terms)
        self._terms = Terms(terms) if BANNED in kinds and terms else None
        self._trigger = _trigger(rules)
        self._rules = {char: _Rules(_starting(rules, char)) for char in _ASCII}

    def with_hidden(self, hidden: Hidden) -> "Detectors":
        """The same, and these hidden texts as well."""
        found = copy.copy(self)
        found._hidden = hidden
        return found

    def merged(self, hit: Hit, other: Hit) -> Hit:
        """One span for two that overlap: nothing of either is shown, and the graver one gives the name."""
        kind = min(hit.kind, other.kind, key=lambda kind: (kind not in self.blocking, _ORDER[kind]))
        return Hit(kind, hit.start, max(hit.end, other.end), other.run)

    def fold(self, view: str) -> str:
        return fold_terms(view) if self._terms else view

    def next(self, view: str, folded: str, at: int) -> int:
        """The next place from `at` where something may begin, else the end of the view."""
        place = self.next_pattern(view, at)
        if self._hidden:
            place = min(place, self._hidden.next(view, at))
        return min(place, self._terms.next(folded, at)) if self._terms else place

    def next_pattern(self, view: str, at: int) -> int:
        match = self._trigger.search(view, at) if self._trigger else None
        return match.start() if match else len(view)

    def next_term(self, folded: str, at: int) -> int:
        return self._terms.next(folded, at) if self._terms else len(folded)

    def next_hidden(self, view: str, at: int) -> int:
        return self._hidden.next(view, at) if self._hidden else len(view)

    def at(self, view: str, folded: str, at: int, final: bool, in_code: InCode | None = None) -> Answer:
        rules = self._rules.get(view[at], _NO_RULES)
        limit = at + HOLD_BACK_CHARS
        waits = not final and len(view) < limit
        standing = rules.standing(view, at, limit)
        best: Hit | None = None
        for rule in standing:
            if not rule.run:
                break
            hit = rule.hit(view, at, limit)  # of several, the one that a stream is certain of first
            if hit and (best is None or hit.end < best.end) and not _is_exempt(rule, in_code):
                best = hit
        if best:
            return self._covered(best, folded)
        if waits:
            for rule in rules.beginning(view, at):
                if rule.begins(view, at) and not _is_exempt(rule, in_code):
                    return UNDECIDED
        if self._hidden and (answer := self._hidden.at(view, at, final)):
            return answer
        return self._longest(standing, view, folded, at, limit, final, in_code)

    def _covered(self, hit: Hit, folded: str) -> Hit:
        """A lead in which a banned term may stand is not shown either."""
        shown_to = hit.start + hit.lead
        if hit.lead and self._terms and self._terms.next(folded[:shown_to], hit.start) < shown_to:
            return replace(hit, lead=0)
        return hit

    def _longest(
        self,
        rules: tuple[_Rule, ...],
        view: str,
        folded: str,
        at: int,
        limit: int,
        final: bool,
        in_code: InCode | None,
    ) -> Answer:
        best: Hit | None = None
        for rule in rules:
            hit = None if rule.run else rule.hit(view, at, limit)
            if (
                hit
                and not _is_exempt(rule, in_code)
                and (best is None or (hit.end, -_ORDER[hit.kind]) > (best.end, -_ORDER[best.kind]))
            ):
                best = hit
        if self._terms:
            size = self._terms.at(folded, at, final)
            if isinstance(size, Undecided):
                return UNDECIDED
            if size and (best is None or at + size > best.end):
                best = Hit(BANNED, at, at + size)
        return best


def _is_exempt(rule: _Rule, in_code: InCode | None) -> bool:
    """Nothing is rendered inside a block of code."""
    return rule.is_markup and in_code is not None and in_code()


class Places:
    """The places of one view where something may begin, in order. Does not search the same stretch twice."""

    __slots__ = ("_detectors", "_folded", "_hidden", "_pattern", "_term", "_view")

    def __init__(self, detectors: Detectors, view: str, folded: str) -> None:
        self._detectors, self._view, self._folded = detectors, view, folded
        self._pattern = self._term = self._hidden = -1

    def next(self, at: int) -> int:
        """The first place from `at` on; `at` must not go back."""
        if self._pattern < at:
            self._pattern = self._detectors.next_pattern(self._view, at)
        if self._term < at:
            self._term = self._detectors.next_term(self._folded, at)
        if self._hidden < at:
            self._hidden = self._detectors.next_hidden(self._view, at)
        return min(self._pattern, self._term, self._hidden)


def _starting(rules: list[_Rule], char: str) -> list[_Rule]:
    """The rules whose match may begin with `char`."""
    return [rule for rule in rules if re.match(partial(rule.pattern.head), char)]


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
    parts = [rf"(?<={one_of(chars)}){after}" for after, chars in inside.items()]
    free = [rf"(?<={one_of(chars)}){after}" for after, chars in anywhere.items()]
    bounded = [rf"(?:(?<!{ALNUM}[\s\S])|(?<=\\[nrt][\s\S]))(?:{'|'.join(parts)})"] if parts else []
    return re.compile(f"{one_of(firsts)}(?:{'|'.join(bounded + free)})")


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
        found.setdefault(rf"(?:{one_of(allowed)}|\Z)", set()).add(char)
    return found


def _after_first(head: str) -> str | None:
    """What follows the first character of a head that begins with a class: `[a-z]{1,4}:` -> `[a-z]{0,3}:`."""
    if not (match := re.fullmatch(r"(\[[^\]]+\])(?:\{(\d+)(?:,(\d+))?\})?(.*)", head)):
        return None
    one, least, most, rest = match.groups(default="")
    again = "{" + ",".join(str(int(count) - 1) for count in (least, most) if count) + "}" if least else ""
    return partial((one + again if again else "") + rest)
