"""What a detector answers about a place in a text: nothing, a hit, or that more text could change the answer."""

from dataclasses import dataclass
from typing import Final, Protocol

# What a find is worth: a checksum or a vendor's prefix is nearly proof, a phone number is a likely shape.
_SCORES = {"phone": 0.8, "ip": 0.8, "email": 0.95, "link": 0.8}


class Runs(Protocol):
    """How an open-ended match goes on once its beginning is certain."""

    def follow(self, view: str, final: bool) -> tuple[int, bool]:
        """How many characters of `view` belong to the match for certain, and whether it ends there."""


@dataclass(frozen=True, slots=True)
class Hit:
    """A match in the view. With a `run` it has only begun: it goes on as the run says."""

    kind: str
    start: int
    end: int
    run: Runs | None = None
    lead: int = 0  # characters at the start that may be shown

    @property
    def score(self) -> float:
        return _SCORES.get(self.kind, 1.0)


class Undecided:
    """More text could change the answer."""


UNDECIDED: Final = Undecided()
Answer = Hit | Undecided | None
