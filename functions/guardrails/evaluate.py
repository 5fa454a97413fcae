"""How well the rails do, in figures; `parley eval` prints them.

    figures = evaluate(load_policy(None), folder)      # None: the small set that ships with Parley

The real rails (the input guard, and for rows of the output stage what a stream would show) over every JSONL file of a
folder, one object a line: `id`, `text`, `label`, and for personal data `spans` ([[start, end, type]]). Optional:
`stage` ("input" or "output"), and `hidden`, the texts that an output must not repeat. Per file and rail it says how
many rows or spans there were, how many of them were found (recall) or disturbed (false positives), how many of those
were blocked, and what a text cost. Types that the policy leaves alone are measured all the same: they are noted, not
acted on. It writes nothing down, and texts never appear in what it returns.

A guard model is called only where one is given: `judge` gets every text of a file with its stage, and gives the
verdict on each, or None, with the milliseconds it took. Its rows say "moderation": recall on what is unsafe or an
attack, false positives on what is benign, and how many texts it gave no readable answer for.
"""

import hashlib
import json
import statistics
import time
from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import MappingProxyType
from typing import Any, Literal, cast

from functions.chat.messages import Stage, Verdict
from functions.errors import ParleyError
from functions.guardrails.policy import PII, SECRETS, Policy, RailAction, StagePolicy
from functions.guardrails.stream import check_text
from functions.guardrails.validators import build_input_guard

OWN = Path(__file__).with_name("samples.jsonl")

Measure = Literal["recall", "false positives", "not covered", "no answer"]
Half = Literal["tune", "report"]
Judge = Callable[[Sequence[tuple[Stage, str]]], Sequence[tuple[Verdict | None, float]]]

# How data sets name the types that our rails know.
_RAILS = {
    "CREDIT_CARD": "pii.card",
    "IBAN": "pii.iban",
    "IBAN_CODE": "pii.iban",
    "US_SSN": "pii.us_ssn",
    "CN_RESIDENT_ID": "pii.cn_resident_id",
    "PASSPORT": "pii.passport",
    "PHONE": "pii.phone",
    "PHONE_NUMBER": "pii.phone",
    "CN_MOBILE": "pii.phone",
    "EMAIL": "pii.email",
    "EMAIL_ADDRESS": "pii.email",
    "IP": "pii.ip",
    "IP_ADDRESS": "pii.ip",
    "API_KEY": "secrets",
    "PRIVATE_KEY": "secrets",
}
_BENIGN = {"benign", "safe", "clean"}


class DataError(ParleyError):
    """A file to evaluate on is not in the form described above; the message names the line."""

    code = "bad_data"


@dataclass(frozen=True, slots=True)
class Figure:
    """What one rail did on one file. `hits` of `rows` were found or disturbed; `blocked` of them were refused."""

    file: str
    rail: str
    measure: Measure
    rows: int
    hits: int
    blocked: int
    microseconds: float  # for one text, the median of the file: of CPU, and of waiting where a guard model is asked

    @property
    def rate(self) -> float:
        return self.hits / self.rows


@dataclass(slots=True)
class _Count:
    rows: int = 0
    hits: int = 0
    blocked: int = 0

    def add(self, is_hit: bool, is_blocked: bool = False) -> None:
        self.rows += 1
        self.hits += is_hit
        self.blocked += is_blocked


@dataclass(slots=True)
class _Row:
    """One line of a file, checked."""

    id: str
    text: str
    label: str
    stage: str = "input"
    spans: list[tuple[int, int, str]] = field(default_factory=list)
    has_spans: bool = False  # this set says where personal data is, and so where none is
    hidden: list[str] = field(default_factory=list)


def evaluate(
    policy: Policy, folder: Path | None = None, *, half: Half | None = None, judge: Judge | None = None
) -> list[Figure]:
    """Every figure, file by file. `half` takes only the rows whose id hashes to it: choose thresholds on "tune" and
    believe "report". Raises DataError."""
    files = [OWN] if folder is None else sorted(folder.glob("*.jsonl"))
    if not files:
        raise DataError(f"{folder}: there is no .jsonl file here.")
    measured = _noting_everything(policy)
    guard = build_input_guard(measured)

    def check(row: _Row) -> tuple[Sequence[Verdict], bool]:
        if row.stage == "input":
            result = guard.check(row.text)
            return result.verdicts, result.blocked
        shown = check_text(measured, row.text, hidden=row.hidden)
        return shown.verdicts, shown.blocked

    figures = []
    for path in files:
        rows = [row for row in _rows(path) if not half or _half(row.id) == half]
        found = _of_file(path, check, rows)
        if judge is not None:
            found = [figure for figure in found if figure.rail != "moderation"] + _of_guard(path, rows, judge)
        figures += found
    return figures


def _noting_everything(policy: Policy) -> Policy:
    """The same policy, except that types which are off are noted: otherwise they could not be measured."""

    def noting(stage: StagePolicy) -> StagePolicy:
        actions: dict[str, RailAction] = {
            kind: "flag" if action == "off" and kind in {*PII, *SECRETS} else action
            for kind, action in stage.actions.items()
        }
        return replace(stage, actions=MappingProxyType(actions))

    return replace(policy, input=noting(policy.input), output=noting(policy.output))


def _of_file(path: Path, check: Callable[[_Row], tuple[Sequence[Verdict], bool]], rows: Sequence[_Row]) -> list[Figure]:
    counts: dict[tuple[str, Measure], _Count] = defaultdict(_Count)
    times: list[int] = []
    for row in rows:
        began = time.thread_time_ns()
        verdicts, is_blocked = check(row)
        times.append(time.thread_time_ns() - began)
        for rail, measure, is_hit, refused in _judged(row, verdicts, is_blocked):
            counts[rail, measure].add(is_hit, refused)
    cost = statistics.median(times) / 1000 if times else 0.0
    return [
        Figure(path.stem, rail, measure, count.rows, count.hits, count.blocked, round(cost, 1))
        for (rail, measure), count in sorted(counts.items(), key=lambda item: (item[0][1], item[0][0]))
    ]


def _of_guard(path: Path, rows: Sequence[_Row], judge: Judge) -> list[Figure]:
    """What the guard model says of a file. Personal data is not its task."""
    mine = [row for row in rows if not row.spans]
    heard = judge([(cast("Stage", row.stage), row.text) for row in mine])
    counts: dict[Measure, _Count] = defaultdict(_Count)
    for row, (verdict, _) in zip(mine, heard, strict=True):
        is_unjudged = verdict is not None and verdict.rail == "moderation.unjudged"
        is_found = verdict is not None and not is_unjudged
        is_refused = is_found and verdict is not None and verdict.action == "blocked"
        counts["false positives" if row.label in _BENIGN else "recall"].add(is_found, is_refused)
        counts["no answer"].add(is_unjudged)
    cost = statistics.median(ms for _, ms in heard) * 1000 if heard else 0.0
    return [
        Figure(path.stem, "moderation", measure, count.rows, count.hits, count.blocked, round(cost, 1))
        for measure, count in sorted(counts.items())
    ]


def _half(row_id: str) -> Half:
    # A byte of its own: data sets are themselves often split by the last one.
    return "tune" if hashlib.sha256(row_id.encode()).digest()[5] % 2 == 0 else "report"


def _judged(row: _Row, verdicts: Sequence[Verdict], is_blocked: bool) -> Iterable[tuple[str, Measure, bool, bool]]:
    """(rail, measure, hit, blocked) for everything that this row says something about."""
    for start, end, kind in row.spans:
        rail = _RAILS.get(kind)
        if rail is None:
            yield kind, "not covered", _is_covered(row.text, start, end, verdicts), False
        else:
            mine = [verdict for verdict in verdicts if verdict.rail.startswith(rail)]
            yield rail, "recall", _is_covered(row.text, start, end, mine), False
    rails = {verdict.rail.partition(".")[0] for verdict in verdicts}
    if row.label in _BENIGN:
        watched = ("leak", "markup") if row.stage == "output" else ("injection", *(("pii", "secrets") * row.has_spans))
        for rail in watched:  # what a set does not label, such as the addresses in e-mails, is no mistake
            yield rail, "false positives", rail in rails, False
        yield "any rail blocks", "false positives", is_blocked, is_blocked
    elif row.label == "attack":
        wanted = {"injection"} if row.stage == "input" else {"leak", "markup"}
        yield " or ".join(sorted(wanted)), "recall", bool(wanted & rails), is_blocked
    elif not row.spans:  # unsafe, toxic_prompt: what only a guard model can see, so that it is not left out in silence
        yield "moderation", "recall", False, is_blocked


def _is_covered(text: str, start: int, end: int, verdicts: Sequence[Verdict]) -> bool:
    """Every letter and digit of the span lies within what was found."""
    inside = {place for verdict in verdicts for place in range(verdict.start, verdict.end)}
    return all(place in inside for place in range(start, end) if text[place].isalnum())


def _rows(path: Path) -> Iterable[_Row]:
    try:
        lines = path.read_text(encoding="utf-8").split("\n")
    except (OSError, UnicodeDecodeError) as exc:
        raise DataError(f"{path}: cannot be read as UTF-8 text: {exc}") from exc
    for number, line in enumerate(lines, 1):
        if not line.strip():
            continue
        try:
            yield _row(json.loads(line))
        except (ValueError, TypeError, KeyError, AttributeError) as exc:
            raise DataError(
                f"{path}, line {number}: needs one JSON object with the strings id, text and label"
                f" (and spans as [[start, end, type]]): {exc}"
            ) from exc


def _row(data: dict[str, Any]) -> _Row:  # JSON: any value
    row = _Row(data["id"], data["text"], data["label"], data.get("stage", "input"))
    if not all(isinstance(value, str) for value in (row.id, row.text, row.label)) or row.stage not in (
        "input",
        "output",
    ):
        raise ValueError("id, text and label must be strings, and stage input or output")
    row.spans = [(int(start), int(end), str(kind)) for start, end, kind in data.get("spans", ())]
    row.has_spans = "spans" in data
    row.hidden = [str(text) for text in data.get("hidden", ())]
    return row
