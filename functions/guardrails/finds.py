"""What the validators of one call found. It travels in the call's own metadata and is never shared between calls."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any, TypeVar

from functions.chat.messages import Verdict

FINDS = "parley"  # its key in the metadata
Answer = TypeVar("Answer")


@dataclass(slots=True)
class Finds:
    verdicts: list[Verdict] = field(default_factory=list)
    blocked: bool = False
    answers: dict[tuple[str, str], Any] = field(default_factory=dict)  # of each rail to each text it was asked about


def note(metadata: dict[str, Any], verdicts: Iterable[Verdict], blocked: bool) -> None:
    """Add to the finds of the call that `metadata` belongs to."""
    finds: Finds = metadata[FINDS]
    finds.verdicts.extend(verdicts)
    finds.blocked = finds.blocked or blocked


def once(metadata: dict[str, Any], rail: str, text: str, ask: Callable[[str], Answer]) -> Answer:
    """What the rail says to the text; asked a second time in one call, it is not asked again."""
    finds: Finds = metadata[FINDS]
    if (rail, text) not in finds.answers:
        finds.answers[rail, text] = ask(text)
    answer: Answer = finds.answers[rail, text]
    return answer
