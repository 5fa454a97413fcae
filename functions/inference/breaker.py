"""When a node is left alone: after faults, and after it has said that it is busy.

Promises: `FAULTS` consecutive faults open it, for `OPEN_SECONDS` and twice as long each time after that; then one
request tries. A fault opens it again; text lets the others in, and until an answer is whole one fault is enough to open
it. A busy node rests as long as it asks for, or a little longer each time. Does not know what a fault is: whoever asked
the node decides, and a user's bad request is none.
"""

from collections.abc import Callable
from typing import Literal

FAULTS = 3
OPEN_SECONDS = 5.0
OPEN_SECONDS_MAX = 60.0

Outcome = Literal["answered", "fault", "busy", "none"]  # of asking a node; none: nothing is learned about it


class Breaker:
    """Of one node. `now` is a monotonic clock in seconds."""

    def __init__(self, now: Callable[[], float]) -> None:
        self._now = now
        self._faults = 0
        self._open_s = 0.0  # how long it was opened for; 0: it is closed
        self._last_open_s = 0.0  # since the node was last well
        self._until = 0.0
        self._is_trying = False
        self._rest_s = 0.0
        self._rests_until = 0.0

    @property
    def is_open(self) -> bool:
        """Nobody may ask the node now: it has failed too often, or the one that tries it has not come back yet."""
        return bool(self._open_s) and (self._is_trying or self._now() < self._until)

    @property
    def is_resting(self) -> bool:
        return self._now() < self._rests_until

    @property
    def changes_at(self) -> float | None:
        """When a node that is left alone may be asked again, by the clock; None: now, or only an outcome will tell."""
        now = self._now()
        times = [self._rests_until, 0.0 if self._is_trying else self._until]
        return min((time for time in times if time > now), default=None)

    def admit(self) -> bool:
        """Somebody asks the node now; True for the one that tries an open one. It must come to `end_trial`."""
        self._is_trying = is_trial = bool(self._open_s)
        return is_trial

    def end_trial(self) -> None:
        """Before its outcome, if there is one: whoever stopped while waiting has learned nothing."""
        self._is_trying = False

    def hear(self) -> None:
        """The one that tries it is being answered: an answer may take minutes, and nobody need wait for its end."""
        self._is_trying, self._open_s, self._faults = False, 0.0, FAULTS - 1

    def succeed(self) -> None:
        self._faults, self._open_s, self._last_open_s, self._rest_s = 0, 0.0, 0.0, 0.0

    def fail(self, *, was_trial: bool) -> bool:
        """Whether this fault opened it. Those that were under way when it opened say nothing new."""
        self._faults += 1
        if self._faults < FAULTS or (self._open_s and not was_trial):
            return False
        self._open_s = self._last_open_s = min(2 * self._last_open_s, OPEN_SECONDS_MAX) or OPEN_SECONDS
        self._is_trying = False  # one from before it was closed
        self._until = self._now() + self._open_s
        return True

    def rest(self, *, after_s: float | None, first_s: float, most_s: float) -> None:
        """The node is busy; it asked for `after_s`, if it said so."""
        self._rest_s = min(2 * self._rest_s or first_s, most_s)
        self._rests_until = self._now() + min(after_s if after_s is not None else self._rest_s, OPEN_SECONDS_MAX)
