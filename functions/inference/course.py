"""What one stream has tried, and what it may still do: again, elsewhere, with another model, or not at all.

Pure bookkeeping: it says how long to wait before the next attempt, and when the reader should hear of it.
"""

import random
from collections.abc import Callable, Mapping

from functions.errors import NotFound, ParleyError, UpstreamError
from functions.inference.answer import NotYet, blame
from functions.inference.limits import Limits
from functions.inference.nodes import Node
from functions.inference.pool import Pool, Waiting
from functions.inference.wire import unavailable
from functions.telemetry import log


class Course:
    """Of one stream. `model` is the one to ask now: the one that was asked for, or its fallback."""

    def __init__(
        self, model: str, pool: Pool, limits: Limits, fallbacks: Mapping[str, str], now: Callable[[], float]
    ) -> None:
        self.model = model
        self.tried: set[Node] = set()
        self.shunned: set[Node] = set()  # of those, the ones where it makes no sense to try again
        self._pool, self._limits, self._fallbacks, self._now = pool, limits, fallbacks, now
        self._models = {model}
        self._started = now()
        self._attempts = 0
        self._pause_s = limits.first_backoff_s
        self._told: Waiting | None = None
        self._told_at = 0.0

    def after(self, failure: NotYet | ParleyError, node: Node | None) -> float:
        """Seconds until the next attempt. Raises what the caller should hear when there is none."""
        if not isinstance(failure, NotYet):
            return self._instead(failure)
        self._attempts += 1
        if node is not None and failure.phase == "retrying":
            self.tried.add(node)
            if failure.elsewhere:
                self.shunned.add(node)
        others = [other for other in self._pool.serving(self.model) if other not in self.tried]
        if failure.elsewhere and not others:
            return self._instead(failure.final)
        is_at_once = failure.elsewhere or (failure.phase == "retrying" and any(o.state == "warm" for o in others))
        pause_s = 0.0 if is_at_once else self._next_pause_s(failure)
        is_late = self._now() - self._started + pause_s > self._limits.wake_s
        if is_late or self._attempts > self._limits.retries or pause_s > self._limits.between_tokens_s:
            return self._instead(failure.final)  # nobody would look at a screen for so long
        return pause_s

    def check_time(self) -> None:
        """Raises when this has taken longer than anything may."""
        if self._now() - self._started > self._limits.wake_s:
            raise unavailable()

    def _instead(self, error: ParleyError) -> float:
        """Go on with the fallback model, at once, if there is one that could help."""
        to = self._fallbacks.get(self.model)
        could_help = isinstance(error, NotFound) or (isinstance(error, UpstreamError) and blame(error) == "fault")
        if to is None or to in self._models or not could_help or not self._pool.serving(to):
            raise error
        log("gateway.fallback", model=self.model, to=to, code=error.code)
        self.model = to
        self._models.add(to)
        self.tried, self.shunned = set(), set()
        self._attempts, self._pause_s = 0, self._limits.first_backoff_s
        return 0.0

    def _next_pause_s(self, failure: NotYet) -> float:
        backoff_s = self._pause_s
        self._pause_s = min(2 * backoff_s, self._limits.backoff_s)
        if failure.after_s is not None:
            return failure.after_s
        return backoff_s * random.uniform(0.5, 1.0)  # so that waiters do not come back all at once

    def is_due(self, notice: Waiting) -> bool:
        """Should the reader hear this now? A new phase at once, a change now and then, anything every `still_s`."""
        now, told = self._now(), self._told
        if told is not None and told.phase == notice.phase:
            has_changed = notice.phase != "queued" or notice.position != told.position
            if now - self._told_at < (self._limits.notice_s if has_changed else self._limits.still_s):
                return False
        self._told, self._told_at = notice, now
        return True
