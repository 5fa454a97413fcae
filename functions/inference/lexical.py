"""Vectors from words alone, for a house in which no model embeds: hashed features, signed (Weinberger et al. 2009).

    lexical_vector("Opening hours?")     LENGTH numbers, at length 1; all zeros for a text without words

A text's features are its words, the letter groups inside them (so that `opens` is near `opening`), and for scripts
without spaces each sign and each pair of signs. Two texts are near when they share words, never because they mean the
same: this is spelling, and says so by its model's name. Pure and stable: the same text has the same vector in every
process and version, or the name changes.
"""

import math
import re
import zlib
from collections import Counter
from collections.abc import Iterator

from functions.reading.letters import in_one_form

LEXICAL_MODEL = "parley-lexical"
LENGTH = 512
BITS = LENGTH.bit_length() - 1

# Han, kana and Hangul, which stand in \w+ as one long word.
_SIGNS = r"\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\uac00-\ud7af"
_TOKEN = re.compile(rf"[{_SIGNS}]+|[^\W{_SIGNS}]+")
_IS_SIGN = re.compile(rf"[{_SIGNS}]")
GROUPS = (3, 4)  # letters in a group
SHORT = 3  # letters; `the`, `is` and `of` say little
SHORT_WEIGHT, GROUP_WEIGHT, SIGN_WEIGHT = 0.3, 0.4, 0.5


def lexical_vector(text: str) -> tuple[float, ...]:
    """Some 0.3 µs a character."""
    sums = [0.0] * LENGTH
    for (feature, weight), times in Counter(_features(text)).items():
        # CRC spreads similar words badly; one multiplication (Knuth's) repairs that.
        mixed = zlib.crc32(feature.encode()) * 0x9E3779B1 & 0xFFFFFFFF
        sign = 1 if mixed >> (31 - BITS) & 1 else -1  # so that two features that meet are as likely to cancel
        sums[mixed >> (32 - BITS)] += sign * weight * (1 + math.log(times))
    length = math.hypot(*sums)
    return tuple(number / length for number in sums) if length else tuple(sums)


def _features(text: str) -> Iterator[tuple[str, float]]:
    for token in _TOKEN.findall(in_one_form(text).casefold()):
        if _IS_SIGN.match(token):
            yield from ((f"s{sign}", SIGN_WEIGHT) for sign in token)
            yield from ((f"p{token[at : at + 2]}", 1.0) for at in range(len(token) - 1))
            continue
        yield f"w{token}", SHORT_WEIGHT if len(token) <= SHORT and token.isalpha() else 1.0
        if len(token) > SHORT:
            word = f"^{token}$"
            for size in GROUPS:
                yield from ((f"g{word[at : at + size]}", GROUP_WEIGHT) for at in range(len(word) - size + 1))
