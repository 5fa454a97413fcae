"""The one vocabulary: what may be counted, where it goes, and what can never get in."""

import errno
import io
import json
import logging
import secrets
import sqlite3
import sys
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from functions import telemetry
from functions.errors import StoreUnavailable
from functions.metering import EMF_VALUES, NAMESPACE, Embedded
from functions.telemetry import LABEL_VALUES, METRICS, OTHER, count, observe

PRETENDERS = [
    "0192f3c4-7d8e-7000-8000-000000000001",
    "parley_sk_ab12cd34ef56",
    "somebody@example.com",
    "a sentence that somebody wrote",
    "4111111111111111",
    "/chat/0192f3c4",
    "x" * 200,
    "",
]


class Heard:
    def __init__(self) -> None:
        self.said: list[tuple[str, tuple[str, ...], float]] = []

    def add(self, name: str, values: tuple[str, ...], n: float) -> None:
        self.said.append((name, values, n))

    observe = add


@pytest.fixture
def heard() -> Iterator[Heard]:
    was, sink = telemetry._sink, Heard()
    telemetry.send_metrics_to(sink)
    yield sink
    telemetry.send_metrics_to(was)


@pytest.mark.parametrize("name", [name for name, metric in METRICS.items() if metric.labels])
def test_no_id_key_or_text_becomes_a_label(heard: Heard, name: str) -> None:
    for pretender in PRETENDERS:
        count(name, **dict.fromkeys(METRICS[name].labels, pretender))
    assert {value for _, values, _ in heard.said for value in values} == {OTHER}


def test_words_of_ours_are_labels_but_only_so_many_of_them(heard: Heard) -> None:
    letters = "abcdefghijklmnopqrstuvwxyz"
    words = ["pii.credit_card", "custom.house-rules", *(f"rail_{a}{b}" for a in letters[:10] for b in letters[:10])]
    for word in words:
        count("parley_verdicts_total", rail=word, action="blocked", stage="input")
    kept = {values[0] for _, values, _ in heard.said} - {OTHER}
    assert "pii.credit_card" in kept
    assert "custom.house-rules" in kept
    assert len(kept) <= LABEL_VALUES
    assert heard.said[-1][1][0] == OTHER


def test_a_name_or_a_label_that_is_not_in_the_table_is_a_mistake_that_shows(heard: Heard) -> None:
    for name, labels in (("parley_typo_total", {}), ("parley_runs_total", {}), ("parley_runs_total", {"user": "x"})):
        with pytest.raises(KeyError):
            count(name, **labels)
    assert heard.said == []


def test_names_say_their_unit_as_prometheus_wants_it() -> None:
    for name, metric in METRICS.items():
        assert name.startswith("parley_")
        assert name.endswith("_total") == (metric.kind == "counter"), name
        if metric.kind == "histogram":
            assert name.endswith(f"_{metric.unit}"), name


def test_cloudwatch_gets_each_metric_with_and_without_its_labels_and_every_value_for_percentiles() -> None:
    lines: list[str] = []
    emf = Embedded(lines.append)
    emf.add("parley_runs_total", ("failed",), 1)
    emf.add("parley_runs_total", ("failed",), 2)
    emf.observe("parley_http_seconds", ("/chat", "POST", "500"), 0.25)
    emf.observe("parley_ttft_seconds", (), 1.5)
    emf.observe("parley_ttft_seconds", (), 2.5)
    assert lines == []
    emf.flush()
    emf.flush()

    runs, http, ttft = (json.loads(line) for line in lines)
    assert runs["_aws"]["CloudWatchMetrics"] == [
        {
            "Namespace": NAMESPACE,
            "Dimensions": [[], ["end"]],
            "Metrics": [{"Name": "parley_runs_total", "Unit": "Count"}],
        }
    ]
    assert (runs["end"], runs["parley_runs_total"]) == ("failed", [3.0])
    assert http["_aws"]["CloudWatchMetrics"][0]["Dimensions"] == [[], ["status"]]
    assert (http["route"], http["method"], http["status"]) == ("/chat", "POST", "500")
    assert ttft["parley_ttft_seconds"] == [1.5, 2.5]
    assert ttft["_aws"]["CloudWatchMetrics"][0]["Metrics"][0]["Unit"] == "Seconds"


def test_a_line_for_cloudwatch_never_has_more_values_than_it_takes() -> None:
    lines: list[str] = []
    emf = Embedded(lines.append)
    for _ in range(3 * EMF_VALUES):
        emf.observe("parley_queue_seconds", (), 0.001)
    emf.flush()
    sizes = [len(json.loads(line)["parley_queue_seconds"]) for line in lines]
    assert sum(sizes) == 3 * EMF_VALUES
    assert max(sizes) <= EMF_VALUES


def test_what_is_not_sent_anywhere_costs_nothing_and_says_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    was = telemetry._sink
    telemetry.send_metrics_to(None)
    try:
        count("parley_runs_total", end=secrets.token_hex(4))
        observe("parley_ttft_seconds", 1.0)
    finally:
        telemetry.send_metrics_to(was)
    assert capsys.readouterr().out == ""


# -- lines of the log ----------------------------------------------------------------------------------------------
SECRET = "xylophone"
HOSTILE = f"{SECRET}\r\n\x1b[31m\u2028\x85\x9b2J\udcff"


@pytest.fixture
def lines(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[], list[dict[str, Any]]]]:
    """What is logged, read back as a machine reads it: each line by itself."""
    written = io.StringIO()
    monkeypatch.setattr(sys, "stderr", written)
    loggers = [logging.getLogger(name) for name in ("", "parley", "uvicorn", "uvicorn.error", "uvicorn.access")]
    was = [(logger, logger.handlers[:], logger.level, logger.propagate) for logger in loggers]
    telemetry.configure()
    yield lambda: [json.loads(line) for line in written.getvalue().splitlines()]
    for logger, handlers, level, propagate in was:
        logger.handlers[:], logger.propagate = handlers, propagate
        logger.setLevel(level)


def test_whatever_is_logged_is_one_line_of_ascii(lines: Callable[[], list[dict[str, Any]]]) -> None:
    telemetry.log("user.changed", user=HOSTILE, of={HOSTILE: [HOSTILE]})

    [line] = lines()
    assert line["user"] == HOSTILE
    assert json.dumps(line).isascii()


def test_a_fault_is_told_by_type_and_place_and_code_and_never_in_its_words(
    lines: Callable[[], list[dict[str, Any]]],
) -> None:
    def read() -> None:
        try:
            raise sqlite3.OperationalError(HOSTILE)
        except sqlite3.Error as cause:
            raise StoreUnavailable(HOSTILE) from cause

    try:
        read()
    except StoreUnavailable as fault:
        fault.add_note(SECRET)
        telemetry.log_fault("job.fault", job=1)
    try:
        raise FileNotFoundError(errno.ENOENT, SECRET, SECRET)
    except OSError:
        telemetry.log_fault("job.fault", job=2)

    one, two = lines()
    assert SECRET not in json.dumps([one, two])
    assert (one["error"], one["code"], one["job"]) == ("StoreUnavailable", "store_unavailable", 1)
    assert one["trace"][0].startswith("tests/test_telemetry.py:")
    assert one["trace"][0].endswith(" read")
    assert [cause["error"] for cause in one["causes"]] == ["OperationalError"]
    assert (two["error"], two["code"]) == ("FileNotFoundError", "ENOENT")


def test_what_libraries_say_is_a_line_without_their_words(lines: Callable[[], list[dict[str, Any]]]) -> None:
    server = logging.getLogger("uvicorn.error")
    said = HOSTILE[:-1]  # pytest-xdist sends what was captured to another process, and half a letter would end it
    try:
        raise ValueError(said)
    except ValueError:
        server.exception("Exception in ASGI application %s", said)
    logging.getLogger("asyncio").error(said, stack_info=True)

    one, two = lines()
    assert SECRET not in json.dumps([one, two])
    assert (one["logger"], one["error"], two["logger"]) == ("uvicorn.error", "ValueError", "asyncio")
    assert one["at"].startswith("tests/test_telemetry.py:")


def test_who_formats_our_lines_elsewhere_gets_no_exception_to_print(caplog: pytest.LogCaptureFixture) -> None:
    """On Lambda that is Powertools, which also logs the exceptions of its batches here."""
    try:
        raise ValueError(SECRET)
    except ValueError as fault:
        logging.getLogger("parley").warning("Record processing exception", exc_info=fault)

    [record] = caplog.records
    assert SECRET not in caplog.text
    assert record.exc_info is None
    assert record.__dict__["fields"]["error"] == "ValueError"
