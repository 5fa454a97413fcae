"""Every error Parley raises on purpose, with the stable code that the wire carries.

    ParleyError
    ├── BadInput            bad_input, or a finer code; `param` names the field
    │   └── TooLarge        too_large
    ├── (guardrails/document.py) PolicyError   bad_policy: names the line of the file
    ├── (guardrails/evaluate.py) DataError     bad_data: names the file and the line
    ├── NotFound            not_found: absent, or somebody else's (the two look the same on purpose)
    ├── Conflict            conflict, or a finer code: run_active, message_exists, last_admin
    ├── Unauthorized        unauthorized
    ├── Forbidden           forbidden
    ├── Limited             rate_limited, too_many_runs: too fast or too many at once, with `retry_after_s`
    │   └── OverBudget      insufficient_quota: no retry helps before the budget renews; `param` names it
    ├── Paused              paused: the operator lets nobody begin anything new
    ├── Fenced              fenced: another worker owns the run now; the loser stops quietly
    ├── StoreUnavailable    store_unavailable: it could not answer; try again
    ├── IssuerUnavailable   issuer_unavailable: who says who people are cannot be reached; try again
    └── UpstreamError       model_unavailable, or a finer code; nothing of the node's own text leaks
        ├── ContextTooLong  context_length_exceeded
        └── Overloaded      overloaded: every node's queue is full

Only `app.py` and `api/` know which HTTP status each one becomes.
"""


class ParleyError(Exception):
    """`message` is for the user and says what to do; `code` is stable and for programs."""

    code = "internal"

    def __init__(self, message: str, *, code: str | None = None, param: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.code = code or type(self).code
        self.param = param


class BadInput(ParleyError):
    code = "bad_input"


class TooLarge(BadInput):
    code = "too_large"


class NotFound(ParleyError):
    code = "not_found"


class Conflict(ParleyError):
    code = "conflict"


class Unauthorized(ParleyError):
    code = "unauthorized"


class Forbidden(ParleyError):
    code = "forbidden"


class Limited(ParleyError):
    code = "rate_limited"

    def __init__(
        self, message: str, *, retry_after_s: float, code: str | None = None, param: str | None = None
    ) -> None:
        super().__init__(message, code=code, param=param)
        self.retry_after_s = retry_after_s


class OverBudget(Limited):
    code = "insufficient_quota"


class Paused(ParleyError):
    code = "paused"
    retry_after_s = 60.0


class Fenced(ParleyError):
    code = "fenced"


class StoreUnavailable(ParleyError):
    code = "store_unavailable"


class IssuerUnavailable(ParleyError):
    code = "issuer_unavailable"


class UpstreamError(ParleyError):
    code = "model_unavailable"


class ContextTooLong(UpstreamError):
    code = "context_length_exceeded"


class Overloaded(UpstreamError):
    code = "overloaded"
