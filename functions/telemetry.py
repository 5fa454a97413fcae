"""Structured logs and metrics: what happened, without what was said.

A log line is one event name and its fields, as one JSON object on stderr. A metric is a name of `METRICS` and labels
from small closed sets: whatever else is given as a label is counted as "other". Fields and labels are ids (logs only),
sizes, counts and times. Never text of users or models, never tokens or keys. What broke is told by its type and the
places it came through: an exception's words may quote what somebody wrote, and so may what libraries say.

Where metrics go is decided at the edge (`metering.py`); without one, `count` and `observe` cost a comparison.
"""

import errno
import json
import logging
import re
import sys
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Any, Literal, NamedTuple, Protocol

from functions.errors import ParleyError

FRAMES = 24  # of a trace, those nearest to the fault
CAUSES = 4
_HERE = str(Path(__file__).resolve().parent.parent) + "/"

_logger = logging.getLogger("parley")


def as_line(event: Any) -> str:  # what can be JSON
    """In ASCII: nothing that somebody sent can end a line, speak to a terminal, or fail to be encoded."""
    return json.dumps(event, default=str)


class _JsonLines(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        stamp = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(record.created))
        line: dict[str, Any] = {"time": f"{stamp}.{int(record.msecs):03d}Z", "level": record.levelname.lower()}
        _without_words(record)
        if record.name == _logger.name:
            line["event"] = record.getMessage()
        else:
            line |= {"event": "library", "logger": record.name}
            line["at"] = _place(record.pathname, record.lineno, record.funcName or "")
        return as_line(line | getattr(record, "fields", {}))


def _without_words(record: logging.LogRecord) -> bool:
    """What is known of the record's exception becomes fields, and the exception itself goes: whatever formats the
    record next would print its words. As a filter it lets everything through."""
    if record.exc_info and record.exc_info[1] is not None:
        record.fields = getattr(record, "fields", {}) | anatomy_of(record.exc_info[1])
    record.exc_info = record.exc_text = record.stack_info = None
    return True


def anatomy_of(fault: BaseException) -> dict[str, Any]:
    """For a log: its type, its code where it has one, and the places it came through, the nearest first; then the same
    of what caused it. None of its words."""
    known: dict[str, Any] = {"error": type(fault).__name__, "trace": _trace(fault)}
    if (code := _code_of(fault)) is not None:
        known["code"] = code
    causes: list[dict[str, Any]] = []
    seen = {id(fault)}
    cause = fault.__cause__ or fault.__context__
    while cause is not None and id(cause) not in seen and len(causes) < CAUSES:
        seen.add(id(cause))
        causes.append({"error": type(cause).__name__, "code": _code_of(cause), "at": _trace(cause)[:1]})
        cause = cause.__cause__ or cause.__context__
    return known | ({"causes": causes} if causes else {})


def _code_of(fault: BaseException) -> str | None:
    """The word of a closed set that says what it was."""
    if isinstance(fault, ParleyError):
        return fault.code
    if isinstance(fault, OSError):
        return errno.errorcode.get(fault.errno or 0)
    known: str | None = getattr(fault, "sqlite_errorname", None) or getattr(fault, "cause_response_code", None)
    return known  # SQLite's, DynamoDB's


def _trace(fault: BaseException) -> list[str]:
    places, at = [], fault.__traceback__
    while at is not None:
        code = at.tb_frame.f_code
        places.append(_place(code.co_filename, at.tb_lineno, code.co_name))
        at = at.tb_next
    return places[: -FRAMES - 1 : -1]


def _place(path: str, line: int, name: str) -> str:
    """`functions/app.py:264 _on_fault`, `starlette/routing.py:73 app`."""
    path = path.rpartition("site-packages/")[2].removeprefix(_HERE)
    return f"{path}:{line} {name}"


_logger.addFilter(_without_words)  # whoever formats what is said here: on Lambda that is Powertools


def configure(level: str = "INFO") -> None:
    """Send the events of this process to stderr; called once at an edge (CLI, Modal, Lambda)."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(_JsonLines())
    _logger.handlers[:] = [handler]
    _logger.setLevel(level)
    _logger.propagate = False
    hush_libraries()


def hush_libraries() -> None:
    """From now on what others log in this process is a JSON line that says where in which code, without its words."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(_JsonLines())
    handler.addFilter(lambda record: record.name != _logger.name)  # that has its own
    logging.getLogger().handlers[:] = [handler]
    for server in ("uvicorn", "uvicorn.error", "uvicorn.access"):  # which its own command has given handlers
        logger = logging.getLogger(server)
        logger.handlers.clear()
        logger.propagate = True


def log(event: str, **fields: Any) -> None:  # values only have to print
    """Say that something happened, e.g. log("run.done", run=run.id, ms=412)."""
    _logger.info(event, extra={"fields": fields})


def log_fault(event: str, **fields: Any) -> None:  # values only have to print
    """Say that something broke, with the current exception's `anatomy_of`."""
    _logger.exception(event, extra={"fields": fields})


# -- metrics -----------------------------------------------------------------------------------------------------

Unit = Literal["seconds", "tokens", "usd", "count"]
Kind = Literal["counter", "histogram", "gauge"]
FAST = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)  # seconds
SLOW = (0.1, 0.5, 1.0, 2.5, 5.0, 10.0, 20.0, 30.0, 60.0, 120.0, 300.0, 600.0)  # a GPU's start
BETWEEN = (0.005, 0.01, 0.02, 0.03, 0.05, 0.075, 0.1, 0.2, 0.5, 1.0)  # two tokens

Allowed = frozenset[str]
WORDS: Allowed = frozenset()  # names of ours, too many to list: whatever looks like one, LABEL_VALUES of them
ROUTES: Allowed = frozenset({"static", "none"})  # and those that `allow_routes` was told
LABEL_VALUES = 64
OTHER = "other"
_WORD = re.compile(r"[a-zA-Z]{1,32}(?:[._-][a-z]{1,24}){0,4}\Z", re.ASCII)  # no digits: no id, key or number fits


def _one_of(*values: str) -> Allowed:
    return frozenset(values)


class Metric(NamedTuple):
    """`labels`: what each may say. `dimensions`: those that CloudWatch keeps apart, where not all of them: it bills for
    each combination."""

    kind: Kind
    unit: Unit
    help: str
    labels: dict[str, Allowed] = {}  # noqa: RUF012  # never changed
    buckets: tuple[float, ...] = FAST
    dimensions: tuple[str, ...] | None = None


METRICS: dict[str, Metric] = {
    "parley_ttft_seconds": Metric(
        "histogram", "seconds", "From the request to the first text a reader can see.", {}, SLOW
    ),
    "parley_inter_token_seconds": Metric(
        "histogram", "seconds", "Mean time between two tokens of an answer.", {}, BETWEEN
    ),
    "parley_tokens_total": Metric(
        "counter",
        "tokens",
        "Tokens of ended runs, as their node counted them; cached are prompt tokens, too.",
        {"kind": _one_of("prompt", "cached", "completion")},
    ),
    "parley_queue_seconds": Metric(
        "histogram", "seconds", "A request's wait for a place at a node, its start included."
    ),
    "parley_wake_seconds": Metric(
        "histogram",
        "seconds",
        "A node's start, from the knock until it answers.",
        {"end": _one_of("up", "failed")},
        SLOW,
    ),
    "parley_cost_usd_total": Metric("counter", "usd", "What ended runs have cost, estimated at their end."),
    "parley_gpu_seconds_total": Metric(
        "counter",
        "seconds",
        "Seconds of GPUs that ended runs pay for.",
        {"kind": _one_of("active", "cold_start", "idle")},
    ),
    "parley_verdicts_total": Metric(
        "counter",
        "count",
        "What guardrails did.",
        {"rail": WORDS, "action": _one_of("blocked", "redacted", "flagged"), "stage": _one_of("input", "output")},
    ),
    "parley_cache_looks_total": Metric(
        "counter", "count", "Times a cache was asked.", {"cache": _one_of("semantic", "rails", "prefix")}
    ),
    "parley_cache_hits_total": Metric(
        "counter", "count", "Times a cache had it.", {"cache": _one_of("semantic", "rails", "prefix")}
    ),
    "parley_runs_total": Metric(
        "counter", "count", "Ended runs.", {"end": _one_of("completed", "stopped", "failed", "blocked")}
    ),
    "parley_errors_total": Metric(
        "counter", "count", "Errors that somebody was told, by their stable code.", {"code": WORDS}
    ),
    "parley_takeovers_total": Metric("counter", "count", "Runs that were claimed from a worker that had gone silent."),
    "parley_limited_total": Metric(
        "counter", "count", "Requests refused by a limit or a budget, by code.", {"kind": WORDS}
    ),
    "parley_limiter_faults_total": Metric(
        "counter", "count", "Requests let through because the limiter could not be asked."
    ),
    "parley_jobs_total": Metric(
        "counter",
        "count",
        "Background jobs, by how they went.",
        {"kind": WORDS, "end": _one_of("done", "later", "tonight", "failed", "gave_up", "lost")},
        dimensions=("end",),  # an alarm cannot sum over kinds
    ),
    "parley_http_seconds": Metric(
        "histogram",
        "seconds",
        "From a request to the head of its answer; streams go on after it.",
        {
            "route": ROUTES,
            "method": _one_of("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"),
            "status": _one_of(*map(str, range(100, 600))),
        },
        FAST,
        ("status",),
    ),
    "parley_live_runs": Metric("gauge", "count", "Runs that this process is writing now."),
    "parley_nodes": Metric(
        "gauge", "count", "Model servers, by state.", {"state": _one_of("cold", "warming", "warm", "unreachable")}
    ),
}


class Sink(Protocol):
    """Where metrics go. `values` are the labels' in the order of the table, bounded already."""

    def add(self, name: str, values: tuple[str, ...], n: float) -> None: ...

    def observe(self, name: str, values: tuple[str, ...], value: float) -> None: ...


_sink: Sink | None = None
_routes: set[str] = set()
_words: dict[tuple[str, str], set[str]] = {}


def send_metrics_to(sink: Sink | None) -> None:
    """Of this process; None: nowhere."""
    global _sink  # noqa: PLW0603  # one a process, as the logger is
    _sink = sink


def allow_routes(templates: Iterable[str]) -> None:
    """The route templates that may be a label: `/chat/{chat_id}`, never a path."""
    _routes.update(templates)


def count(name: str, n: float = 1, **labels: str) -> None:
    """Say that it happened, once or `n` in its unit. Raises KeyError for a name or label that is not in METRICS."""
    if _sink is not None:
        _sink.add(name, _bounded(name, labels), n)


def observe(name: str, value: float, **labels: str) -> None:
    """Say how much it was, in the unit of its name: a histogram's next value, or what a gauge is now."""
    if _sink is not None:
        _sink.observe(name, _bounded(name, labels), value)


def _bounded(name: str, labels: dict[str, str]) -> tuple[str, ...]:
    allowed = METRICS[name].labels
    if labels.keys() != allowed.keys():
        raise KeyError(f"{name} has the labels {', '.join(allowed) or 'none'}")
    return tuple(
        value if (value := labels[label]) in values or _is_known(name, label, values, value) else OTHER
        for label, values in allowed.items()
    )


def _is_known(name: str, label: str, values: Allowed, value: str) -> bool:
    if values is ROUTES:
        return value in _routes
    if values is not WORDS or not _WORD.match(value):
        return False
    seen = _words.setdefault((name, label), set())
    if value not in seen and len(seen) < LABEL_VALUES:
        seen.add(value)
    return value in seen
