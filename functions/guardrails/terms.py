"""Banned terms: folded for case, width, diacritics and look-alikes; whole words where a script has spaces.

Ten thousand of them cost a look-up in one trie. Knows the normalised view, nothing about streams.
"""

import re
from collections.abc import Iterable

import ahocorasick

from functions.guardrails.hits import UNDECIDED, Undecided
from functions.guardrails.patterns import one_of
from functions.guardrails.view import letters_of, view_of

# Scripts without spaces between words: a term may stand anywhere in them.
_UNSPACED = (
    r"\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u2e80-\u9fff\ua960-\ua97f\uac00-\ud7ff\uf900-\ufaff\U00020000-\U0003ffff"
)
_SPACED = rf"[^\W_{_UNSPACED}]"


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
        parts = [f"(?<!{_SPACED}){one_of(words)}", one_of({term[0] for term in folded} - words)]
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
    folded = letters_of(view)
    return folded.replace("\n", " ") if "\n" in folded else folded
