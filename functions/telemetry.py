"""Structured logs: one event name and its fields, as one JSON object a line on stderr.

Fields are ids, sizes, counts and times. Never text of users or models, never tokens or keys.
"""

import json
import logging
import sys
import time
from typing import Any

_logger = logging.getLogger("parley")


class _JsonLines(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        stamp = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(record.created))
        line = {"time": f"{stamp}.{int(record.msecs):03d}Z", "level": record.levelname.lower()}
        line |= {"event": record.getMessage()} | getattr(record, "fields", {})
        if record.exc_info and record.exc_info[0]:
            line["error"] = record.exc_info[0].__name__
            line["trace"] = self.formatException(record.exc_info)
        return json.dumps(line, ensure_ascii=False, default=str)


def configure(level: str = "INFO") -> None:
    """Send the events of this process to stderr; called once at an edge (CLI, Modal, Lambda)."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(_JsonLines())
    _logger.handlers[:] = [handler]
    _logger.setLevel(level)
    _logger.propagate = False


def log(event: str, **fields: Any) -> None:  # values only have to print
    """Say that something happened, e.g. log("run.done", run=run.id, ms=412)."""
    _logger.info(event, extra={"fields": fields})


def log_fault(event: str, **fields: Any) -> None:  # values only have to print
    """Say that something broke, with the current exception's trace (code lines, no values)."""
    _logger.exception(event, extra={"fields": fields})
