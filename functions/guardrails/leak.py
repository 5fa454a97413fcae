"""Does an answer repeat a text that it must not show, such as the system prompt?

    hidden = Hidden.of(("You are Ada …",))
    hidden.at(view, at, final)      # a hit, UNDECIDED, or None, as for every detector

Letters and digits are compared, whatever stands between them, in small letters and with look-alikes folded; a Chinese
character counts as two. After GRAM of them in common text is held back; LEAK in common, and all that follows in the
same order is dropped. So GRAM characters of the text may be seen, never a sentence. Of a hidden text shorter than LEAK
the whole of it counts, and one shorter than LEAST is not looked for, for it would be found everywhere.

It compares wording: a translation, a summary or an encoding of the hidden text is none.
"""

import re
from collections import defaultdict
from functools import lru_cache

from functions.guardrails.hits import UNDECIDED, Answer, Hit
from functions.guardrails.policy import HIDDEN
from functions.guardrails.view import TABLE_MAX, letters_of, view_of
from functions.settings import HOLD_BACK_CHARS

GRAM = 12
LEAK = 40
LEAST = 24
LOOK_BACK_CHARS = 128  # within which GRAM letters must stand

_NEAR_CHARS = 32  # where they nearly always stand
_WIDE = re.compile("[\u0e00-\u0eff\u3040-\u30ff\u3400-\u9fff\uac00-\ud7ff]")
_SAME_PLACES = 16  # of one gram: repetitions in the hidden text are followed only so far


class Hidden:
    """Hidden texts, ready to be compared with. Immutable, shared by all threads."""

    def __init__(self, texts: tuple[str, ...]) -> None:
        self._texts = [text for text in (letters(view_of(text)[0]) for text in texts) if len(text) >= LEAST]
        self._grams: dict[str, list[tuple[int, int]]] = defaultdict(list)
        for number, text in enumerate(self._texts):
            for end in range(GRAM, len(text)):
                places = self._grams[text[end - GRAM : end]]
                if len(places) < _SAME_PLACES:
                    places.append((number, end))

    @staticmethod
    @lru_cache(maxsize=32)  # a long prompt takes milliseconds and a megabyte
    def of(texts: tuple[str, ...]) -> "Hidden":
        return Hidden(texts)

    def __bool__(self) -> bool:
        return bool(self._texts)

    def next(self, view: str, at: int) -> int:
        """The first place from `at` on with a known gram right before it, else the end of the view."""
        size, grams = len(view), self._grams
        before, after = _last_letters(view, max(at - 1, 0)), letters(view[max(at - 1, 0) :])
        seen = before + after
        for end in range(max(GRAM, len(before)), len(seen) + 1):
            if seen[end - GRAM : end] in grams:
                break
        else:
            return size
        return next((place for place in range(max(at, 1), size) if self._known(view, place)), size)

    def at(self, view: str, at: int, final: bool) -> Answer:
        places = self._known(view, at)
        if not places:
            return None
        run, best = _Following(self._texts, places), 0
        limit = min(len(view), at + HOLD_BACK_CHARS)
        for index in range(at, limit):
            matched = run.step(view[index])
            if matched is None:
                return None
            best += matched
            if best and run.is_leak(best + GRAM):
                return Hit(HIDDEN, at, index + 1, run)
        return UNDECIDED if limit == len(view) and not final else None

    def _known(self, view: str, at: int) -> list[tuple[int, int]]:
        """Where the hidden texts go on after the gram that ends right before `at`."""
        if not view[at - 1 : at].isalnum():
            return []
        return self._grams.get(_last_letters(view, at), [])


class _Following:
    """An answer that goes along a hidden text. It is the `run` of its hit."""

    def __init__(self, texts: list[str], places: list[tuple[int, int]]) -> None:
        self._texts, self._places = texts, places

    def step(self, char: str) -> int | None:
        """How many letters matched: 0 for a character between letters, None where the texts part."""
        found = letters(char)
        if not found:
            return 0
        places = [(n, end + len(found)) for n, end in self._places if self._texts[n].startswith(found, end)]
        if not places:
            return None
        self._places = places
        return len(found)

    def is_leak(self, matched: int) -> bool:
        return any(matched >= min(LEAK, len(self._texts[n])) for n, _ in self._places)

    def follow(self, view: str, final: bool) -> tuple[int, bool]:
        """How many characters of `view` belong to the leak for certain, and whether it ends there."""
        size = 0
        for index, char in enumerate(view):
            matched = self.step(char)
            if matched is None or index - size > HOLD_BACK_CHARS:
                return size, True
            if matched:
                size = index + 1
        return size, final


class _Letters(dict[int, str]):
    """`str.translate`'s table, filled as characters are met: nothing, the letter, or a Chinese one twice."""

    def __missing__(self, code: int) -> str:
        char = chr(code)
        value = "" if not char.isalnum() else char * 2 if _WIDE.match(char) else char
        if len(self) < TABLE_MAX:
            self[code] = value
        return value


_letters = _Letters()


def letters(view: str) -> str:
    """What is compared: small letters and digits, Chinese and the like twice."""
    return letters_of(view).translate(_letters)


def _last_letters(view: str, at: int) -> str:
    """The GRAM letters before `at`, or fewer when no more stand near."""
    found = letters(view[max(0, at - _NEAR_CHARS) : at])
    if len(found) < GRAM and at > _NEAR_CHARS:
        found = letters(view[max(0, at - LOOK_BACK_CHARS) : at])
    return found[-GRAM:]
