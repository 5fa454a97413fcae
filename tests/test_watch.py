"""Dashboards, alarms and the runbook speak only of what is counted, and each alarm says what to do."""

import json
import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from functions.telemetry import METRICS, ROUTES, WORDS

ROOT = Path(__file__).parent.parent
INFRA = ROOT / "infra"
RUNBOOK = (ROOT / "docs" / "operations.md").read_text()
NAME = re.compile(r"parley_[a-z_]+")
SELECTED = re.compile(r"(parley_[a-z_]+)\{([^}]*)\}")
WATCH: dict[str, Any] = yaml.safe_load((INFRA / "watch.yaml").read_text())["Resources"]
ALARMS = {name: each for name, each in WATCH.items() if each["Type"] == "AWS::CloudWatch::Alarm"}
CLOUDWATCH: str = WATCH["Dashboard"]["Properties"]["DashboardBody"]["Fn::Sub"]
RULES = [
    rule for group in yaml.safe_load((INFRA / "prometheus.rules.yml").read_text())["groups"] for rule in group["rules"]
]


def metric_of(name: str) -> str:
    """Of a histogram Prometheus makes three."""
    for end in ("_bucket", "_sum", "_count"):
        base = name.removesuffix(end)
        if base != name and base in METRICS and METRICS[base].kind == "histogram":
            return base
    return name


def may_say(metric: str, label: str, value: str) -> bool:
    allowed = METRICS[metric].labels[label]
    return allowed is WORDS or allowed is ROUTES or all(one in allowed for one in value.split("|"))


@pytest.mark.parametrize("file", ["watch.yaml", "grafana.json", "prometheus.rules.yml"])
def test_what_is_watched_is_counted(file: str) -> None:
    text = (INFRA / file).read_text()
    names = {metric_of(name) for name in NAME.findall(text)}
    assert names
    assert names <= METRICS.keys()


def test_the_runbook_speaks_only_of_metrics_that_there_are() -> None:
    text = re.sub(
        r"parley_\(([a-z_|]+)\)(\w*)", lambda m: " ".join(f"parley_{x}{m[2]}" for x in m[1].split("|")), RUNBOOK
    )
    names = {name for name in NAME.findall(text) if not name.endswith("_")}
    unknown = {name for name in names if not any(known.startswith(metric_of(name)) for known in METRICS)}
    assert names
    assert unknown == set()


def test_every_metric_is_drawn_on_both_dashboards() -> None:
    grafana = {metric_of(name) for name in NAME.findall((INFRA / "grafana.json").read_text())}
    for name, metric in METRICS.items():
        assert name in grafana, name
        assert metric.kind == "gauge" or name in CLOUDWATCH or "cache_looks" in name, name


def test_labels_that_alerts_and_panels_choose_by_are_those_of_the_table() -> None:
    panels = json.loads((INFRA / "grafana.json").read_text())["panels"]
    queries = [rule["expr"] for rule in RULES] + [t["expr"] for panel in panels for t in panel["targets"]]
    chosen = [(metric_of(name), labels) for query in queries for name, labels in SELECTED.findall(query)]
    assert len(chosen) >= 5
    for metric, labels in chosen:
        for label, value in re.findall(r'(\w+)=~?"([^"]*)"', labels):
            assert may_say(metric, label, value), (metric, label, value)
    for query in queries:
        of = {label for name in NAME.findall(query) for label in METRICS[metric_of(name)].labels} | {"le"}
        for by in re.findall(r"by \(([^)]*)\)", query):
            assert {label.strip() for label in by.split(",")} <= of, query


def test_the_dashboard_is_one_and_watches_functions_and_queues_that_there_are() -> None:
    widgets = json.loads(CLOUDWATCH)["widgets"]
    places = [(each["x"], each["y"]) for each in widgets]
    assert len(set(places)) == len(widgets) >= 10
    template = (INFRA / "template.yaml").read_text()
    named = set(re.findall(r"\$\{Stack\}(-[a-z.-]+)\"", (INFRA / "watch.yaml").read_text()))
    assert {"-runs.fifo", "-later-dead", "-worker"} <= named
    for name in named:
        assert f"${{AWS::StackName}}{name}" in template


def test_there_are_not_more_alarms_than_are_free() -> None:
    assert len(ALARMS) <= 10


def test_cloudwatch_alarms_ask_for_dimensions_that_are_written() -> None:
    ours = [a["Properties"] for a in ALARMS.values() if a["Properties"]["MetricName"].startswith("parley_")]
    assert ours
    for alarm in ours:
        metric = METRICS[alarm["MetricName"]]
        written = tuple(metric.labels) if metric.dimensions is None else metric.dimensions
        asked = {one["Name"]: one["Value"] for one in alarm.get("Dimensions", [])}
        assert set(asked) in (set(), set(written)), alarm["AlarmName"]
        assert all(may_say(alarm["MetricName"], label, value) for label, value in asked.items())


@pytest.mark.parametrize("name", sorted({*ALARMS, *(rule["alert"] for rule in RULES)}))
def test_each_alarm_says_what_it_means_and_three_commands_to_begin_with(name: str) -> None:
    section = RUNBOOK.partition(f"\n### {name}\n")[2].partition("\n### ")[0]
    meaning, _, rest = section.partition("```\n")
    assert len(meaning.split()) >= 10
    assert len(rest.partition("\n```")[0].splitlines()) == 3
