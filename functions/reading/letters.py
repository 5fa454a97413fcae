"""One form of each letter, however it was typed."""

import re
import unicodedata

_PIECE = re.compile(r"[\x00-\x7f]*[^\x00-\x7f]{0,1024}")


def in_one_form(text: str) -> str:
    """NFKC, piece by piece: it sorts the marks over a letter by insertion, and a message with thirty thousand of them
    over one held the whole process for seconds. Letters that would join where a piece ends stay apart."""
    return "".join(unicodedata.normalize("NFKC", piece) for piece in _PIECE.findall(text))
