"""The normalised view of a text: what the detectors look at, with a way back to the original offsets.

Folding is per character (never across characters), so it is the same for every way a text is cut into chunks:
full-width and other decimal digits become ASCII digits, dashes become `-`, spaces become ` `, compatibility forms
become what they stand for, diacritics go, and invisible characters (zero-width, soft hyphen, bidi controls,
variation selectors) vanish, because a card number with a zero-width space inside is still a card number. Where words
are compared, `letters_of` also folds case and letters of other scripts that look like Latin ones.

It promises that equal texts give equal views; it knows nothing about rails.
"""

import re
import unicodedata

# A longer run of invisible characters stays visible and so breaks a match: it bounds the raw text held back.
INVISIBLE_RUN = 8

_DASHES = frozenset("\u2010\u2011\u2012\u2013\u2014\u2015\u2043\u2212\ufe58\ufe63\uff0d")
_MARKS = (
    (0x0300, 0x036F),
    (0x0483, 0x0489),  # Cyrillic
    (0x0591, 0x05BD),  # Hebrew points
    (0x064B, 0x065F),  # Arabic vowels
    (0x0670, 0x0670),
    (0x1AB0, 0x1AFF),
    (0x1DC0, 0x1DFF),
    (0x20D0, 0x20FF),
    (0x2DE0, 0x2DFF),
    (0xFE20, 0xFE2F),
)
_SELECTORS = ((0xFE00, 0xFE0F), (0xE0100, 0xE01EF), (0x180B, 0x180F))
_FILLERS = frozenset("\u115f\u1160\u3164\uffa0")  # Hangul fillers: letters by category, nothing on the screen
# Sigma folds here, because str.lower() looks at its neighbours, and they may be in the next chunk.
_SPECIAL = {"ß": "ss", "ẞ": "SS", "ς": "σ", "Σ": "σ"}
# Letters that look like Latin ones and that NFKC leaves as they are: each pair is the letter and what it passes for.
_LOOKALIKES = {
    pair[0].lower(): pair[1]
    for pair in (
        "аa вb еe кk мm нh оo рp сc тt уy хx гr пn іi јj ѕs ԁd һh ӏl ԛq ԝw ѡw ғf "  # Cyrillic
        "αa βb γy εe ηn ιi κk νv οo ρp τt υu χx ωw "  # Greek
        "օo սu ոn ցg հh զq "  # Armenian
        "ᎪA ᎬE ᎻH ᎳW ᏞL ᏚS ᏟC ᎢI ᎷM ᏢP ᎡR "  # Cherokee
        "ıi ɩi ɡg ɑa ɪi ʏy ʟl ɴn ʀr ʙb ʜh ɢg ᴀa ᴄc ᴅd ᴇe ᴊj ᴋk ᴍm ᴏo ᴘp ᴛt ᴜu ᴠv ᴡw ᴢz ꜱs ꜰf"
    )
    .lower()
    .split()
} | {chr(first + place): chr(ord("a") + place) for first in (0x1F150, 0x1F170) for place in range(26)}  # 🅐 and 🅰
_TO_LATIN = str.maketrans(_LOOKALIKES)
_OTHER_SCRIPT = re.compile(
    "[\u0131\u0251-\u02af\u0370-\u058f\u13a0-\u13ff\u1d00-\u1d2b\ua730\ua731\uab70-\uabbf\U0001f150-\U0001f189]"
)
TABLE_MAX = 1 << 16  # a text of every code point must not grow the cache without end

_NOT_ONE = "\ue000"  # what `translate` gives for a character that folds to none or to several


def _within(char: str, ranges: tuple[tuple[int, int], ...]) -> bool:
    return any(low <= ord(char) <= high for low, high in ranges)


def _is_invisible(char: str) -> bool:
    return unicodedata.category(char) == "Cf" or char in _FILLERS or _within(char, _MARKS) or _within(char, _SELECTORS)


def _compatible(char: str) -> str:
    """NFKC without diacritics; the character itself when that says nothing a detector could use."""
    plain = unicodedata.normalize("NFD", unicodedata.normalize("NFKC", char))
    plain = unicodedata.normalize("NFC", "".join(c for c in plain if not _within(c, _MARKS)))
    if len(plain) == 1 or any(c.isalnum() for c in plain):
        return plain
    return char  # "…" is not three full stops


def fold(char: str) -> str:
    """One character of the view: '' for an invisible one, several for a ligature or `ß`."""
    if char.isascii():
        return char
    if _is_invisible(char):
        return ""
    if char in _DASHES:
        return "-"
    if (digit := unicodedata.decimal(char, None)) is not None:
        return str(digit)
    if char.isspace():
        return "\n" if char in "\u2028\u2029\x85" else " "
    return "".join(_SPECIAL.get(one, one) for one in _compatible(char))


class _Table(dict[int, str]):
    """`str.translate`'s table, filled as characters are met."""

    def __missing__(self, code: int) -> str:
        char = chr(code)
        folded = "\ufffd" if char == _NOT_ONE else fold(char)
        value = folded if len(folded) == 1 else _NOT_ONE
        if len(self) < TABLE_MAX:
            self[code] = value
        return value


_table = _Table()


def one_to_one(text: str) -> str | None:
    """The view when every character folds to exactly one, which is nearly always; else None."""
    if text.isascii():
        return text
    view = text.translate(_table)
    return None if _NOT_ONE in view else view


def letters_of(view: str) -> str:
    """The view for comparing words: small letters, and look-alikes as the Latin letters that they pass for.

    Of the same length as the view, so that offsets hold. The same for every cut, for it looks at single characters.
    """
    lower = view.lower()
    if lower.isascii() or not _OTHER_SCRIPT.search(lower):
        return lower
    return lower.translate(_TO_LATIN)


def view_of(text: str, run: int = 0) -> tuple[str, list[int], int]:
    """The view, the index in `text` each view character comes from, and the invisible run at the end.

    `run` is the invisible run the text before ended with.
    """
    view: list[str] = []
    origin: list[int] = []
    for index, char in enumerate(text):
        folded = fold(char)
        run = 0 if folded else run + 1
        if run > INVISIBLE_RUN:
            folded = char
        for one in folded:
            view.append(one)
            origin.append(index)
    return "".join(view), origin, run
