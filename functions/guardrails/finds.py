"""What the validators of one call found. It travels in the call's own metadata and is never shared between calls."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from functions.chat.messages import Verdict

FINDS = "parley"  # its key in the metadata


@dataclass(slots=True)
class Finds:
    verdicts: list[Verdict]
    blocked: bool = False


def note(metadata: dict[str, Any], verdicts: Iterable[Verdict], blocked: bool) -> None:
    """Add to the finds of the call that `metadata` belongs to."""
    finds: Finds = metadata[FINDS]
    finds.verdicts.extend(verdicts)
    finds.blocked = finds.blocked or blocked
