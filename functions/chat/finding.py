"""What a search shows of what it found: the title and a piece of the message, cut where the words stand.

Pure. Works on whatever text there is, in linear time; the same folding of case as the stores' own search.

A marked text is a tuple of pieces that alternate: plain, found, plain, found, … plain. Joined they are the text. So
nobody has to agree on how positions are counted: Python counts characters, a browser counts halves of some of them.
"""

from bisect import bisect_left, bisect_right

Marked = tuple[str, ...]

BEFORE, AFTER = 36, 140  # characters of a message that are shown around the first place


def mark(text: str, query: str) -> Marked:
    """`text` cut at every place where `query` stands, whatever the case."""
    sought = query.casefold()
    if not sought:
        return (text,)
    folded = text.casefold()
    ends = None if len(folded) == len(text) else _ends(text)
    pieces, done, at = list[str](), 0, folded.find(sought)
    while at >= 0:
        start, end = _place(ends, at, at + len(sought))
        start = max(start, done)  # half of a folded letter was in the place before
        pieces += [text[done:start], text[start:end]]
        done, at = end, folded.find(sought, at + len(sought))
    return (*pieces, text[done:])


def snippet(text: str, query: str) -> Marked:
    """One line of the text around the first place, marked; "…" where something was left out."""
    first = len(_before_first(text, query))
    start, end = max(0, first - BEFORE), min(len(text), first + len(query) + AFTER)
    if start:  # begin with a whole word where there is one near
        space = text.find(" ", start, first)
        start = space + 1 if space >= 0 else start
    shown = mark(text[start:end], query)
    pieces = [_one_line(piece) for piece in shown]
    pieces[0] = "…" + pieces[0] if start else pieces[0].lstrip()
    pieces[-1] = pieces[-1] + "…" if end < len(text) else pieces[-1].rstrip()
    return tuple(pieces)


def _before_first(text: str, query: str) -> str:
    """What stands before the first place; all of the text when there is none."""
    folded, sought = text.casefold(), query.casefold()
    at = folded.find(sought)
    if at < 0:
        return text
    return text[: at if len(folded) == len(text) else _place(_ends(text), at, at)[0]]


def _ends(text: str) -> list[int]:
    """Where each character of `text` ends once it is folded: some become two or three."""
    ends, end = list[int](), 0
    for character in text:
        end += len(character.casefold())
        ends.append(end)
    return ends


def _place(ends: list[int] | None, start: int, end: int) -> tuple[int, int]:
    """The characters that the folded places from `start` to `end` belong to."""
    if ends is None:
        return start, end
    return bisect_right(ends, start), bisect_left(ends, end) + 1


def _one_line(piece: str) -> str:
    """White space as it would be read: one space where there is any."""
    words = " ".join(piece.split())
    if not words:
        return " " if piece else ""
    return (" " if piece[0].isspace() else "") + words + (" " if piece[-1].isspace() else "")
