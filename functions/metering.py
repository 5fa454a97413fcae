"""Where the metrics of this process go: to whoever scrapes them (Prometheus), or into the log as CloudWatch reads it.

    telemetry.count() ──> Scraped   held here, printed by GET /metrics
                      └─> Embedded  gathered, written as EMF lines by `flush()`

Only what is chosen is imported. The names, units and labels are those of `telemetry.METRICS`, everywhere.
"""

import json
import sys
import threading
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Literal

from functions import telemetry
from functions.telemetry import METRICS, Metric

if TYPE_CHECKING:
    from prometheus_client import CollectorRegistry

MetricsTo = Literal["off", "prometheus", "emf"]
NAMESPACE = "Parley"
EMF_VALUES = 100  # of one metric in one line; EMF's own limit
FLUSH_SECONDS = 10.0  # a line of the log is not free: at most so often, except when a process is about to stop
CLOUDWATCH_UNITS = {"seconds": "Seconds", "tokens": "Count", "count": "Count", "usd": "None"}


class Scraped:
    """Held in memory for Prometheus. Each child is looked up once: a count is a lock and an addition."""

    def __init__(self) -> None:
        from prometheus_client import CollectorRegistry, ProcessCollector  # noqa: PLC0415

        self._registry: CollectorRegistry = CollectorRegistry()
        ProcessCollector(registry=self._registry)
        self._metrics = {name: _metric(name, metric, self._registry) for name, metric in METRICS.items()}
        self._children: dict[tuple[str, tuple[str, ...]], Any] = {}  # Counter, Histogram or Gauge

    def _child(self, name: str, values: tuple[str, ...]) -> Any:  # as above
        child = self._children.get((name, values))
        if child is None:
            whole = self._metrics[name]
            child = self._children[name, values] = whole.labels(*values) if values else whole
        return child

    def add(self, name: str, values: tuple[str, ...], n: float) -> None:
        self._child(name, values).inc(n)

    def observe(self, name: str, values: tuple[str, ...], value: float) -> None:
        child = self._child(name, values)
        if METRICS[name].kind == "gauge":
            child.set(value)
        else:
            child.observe(value)

    def exposition(self) -> tuple[bytes, str]:
        """All of it as Prometheus reads it, and its content type."""
        from prometheus_client.exposition import CONTENT_TYPE_LATEST, generate_latest  # noqa: PLC0415

        return generate_latest(self._registry), CONTENT_TYPE_LATEST


def _metric(name: str, metric: Metric, registry: "CollectorRegistry") -> Any:  # Counter, Histogram or Gauge
    from prometheus_client import Counter, Gauge, Histogram  # noqa: PLC0415

    labels = tuple(metric.labels)
    match metric.kind:
        case "counter":
            return Counter(name, metric.help, labels, registry=registry)
        case "gauge":
            return Gauge(name, metric.help, labels, registry=registry)
        case "histogram":
            return Histogram(name, metric.help, labels, registry=registry, buckets=metric.buckets)


def _to_stdout(line: str) -> None:
    sys.stdout.write(line + "\n")
    sys.stdout.flush()


class Embedded:
    """Gathered until `flush`, then written as CloudWatch's embedded metric format, by Powertools. Counts are summed;
    of what was observed every value is written, for percentiles."""

    def __init__(self, write: Callable[[str], None] = _to_stdout, *, namespace: str = NAMESPACE) -> None:
        from aws_lambda_powertools.metrics import EphemeralMetrics  # noqa: PLC0415

        self._ephemeral, self._write, self._lock = EphemeralMetrics, write, threading.Lock()
        self._gathered: dict[tuple[tuple[str, str], ...], dict[str, list[float]]] = {}
        self._flushed_at, self._namespace = time.monotonic(), namespace

    def _values(self, name: str, values: tuple[str, ...]) -> list[float]:
        labels = tuple(zip(METRICS[name].labels, values, strict=True))
        return self._gathered.setdefault(labels, {}).setdefault(name, [])

    def add(self, name: str, values: tuple[str, ...], n: float) -> None:
        with self._lock:
            held = self._values(name, values)
            held[:] = [sum(held) + n]

    def observe(self, name: str, values: tuple[str, ...], value: float) -> None:
        if METRICS[name].kind == "gauge":
            return  # of one sandbox among many it says nothing
        with self._lock:
            held = self._values(name, values)
            held.append(value)
            is_full = len(held) >= EMF_VALUES - 1
        if is_full:
            self.flush()

    def flush_if_due(self) -> None:
        if time.monotonic() - self._flushed_at >= FLUSH_SECONDS:
            self.flush()

    def flush(self) -> None:
        """Write what was gathered: a line for each set of labels."""
        with self._lock:
            gathered, self._gathered, self._flushed_at = self._gathered, {}, time.monotonic()
        for labels, by_name in gathered.items():
            for name, values in by_name.items():
                self._write(json.dumps(self._line(name, dict(labels), values)))

    def _line(self, name: str, labels: dict[str, str], values: list[float]) -> dict[str, Any]:  # EMF
        """Each metric without labels as well: an alarm cannot sum over them."""
        metric = METRICS[name]
        apart = labels.keys() if metric.dimensions is None else metric.dimensions
        line = self._ephemeral(namespace=self._namespace, service="")
        if apart:
            line.add_dimensions(**{label: labels[label] for label in apart})
        for label in labels.keys() - set(apart):
            line.add_metadata(label, labels[label])
        for value in values:
            line.add_metric(name, CLOUDWATCH_UNITS[metric.unit], value)
        return dict(line.serialize_metric_set())


_scraped: Scraped | None = None
_embedded: Embedded | None = None


def begin(to: MetricsTo, namespace: str = NAMESPACE) -> None:
    """Send the metrics of this process there; `namespace` is CloudWatch's. A second call for the same place goes on
    with what is held."""
    global _scraped, _embedded  # noqa: PLW0603  # one a process, as the logger is
    match to:
        case "off":
            telemetry.send_metrics_to(None)
        case "prometheus":
            _scraped = _scraped or Scraped()
            telemetry.send_metrics_to(_scraped)
        case "emf":
            _embedded = _embedded or Embedded(namespace=namespace)
            telemetry.send_metrics_to(_embedded)


def scraped() -> Scraped | None:
    """What a scraper may read, if this process holds it."""
    return _scraped


def flush(*, now: bool = True) -> None:
    """Write what is gathered for CloudWatch; for a Lambda handler to call before it returns. Nothing elsewhere. Without
    `now` only if the last time is some seconds ago."""
    if _embedded is not None:
        _embedded.flush() if now else _embedded.flush_if_due()
