"""The workflows of .github: no long-lived keys, and commands that are there."""

import re
from pathlib import Path
from typing import Any

import pytest
import yaml
from click.testing import CliRunner

from functions.cli import cli

WORKFLOWS = sorted((Path(__file__).parents[1] / ".github" / "workflows").glob("*.yml"))


def steps(workflow: dict[str, Any]) -> list[dict[str, Any]]:
    return [step for job in workflow["jobs"].values() for step in job.get("steps", ())]


@pytest.mark.parametrize("path", WORKFLOWS, ids=lambda path: path.stem)
def test_a_workflow_may_read_and_holds_no_key(path: Path) -> None:
    text = path.read_text()
    workflow = yaml.safe_load(text)

    assert workflow["permissions"] == {"contents": "read"}
    assert "secrets." not in text
    assert not re.search(r"aws-(access-key|secret)", text, re.IGNORECASE)
    # What people write (a title, a branch) reaches a shell as a variable, never as part of the script.
    assert not any("${{" in step.get("run", "") for step in steps(workflow))


def test_the_release_calls_commands_that_parley_has() -> None:
    (release,) = (path for path in WORKFLOWS if path.stem == "release")
    called = [step["run"] for step in steps(yaml.safe_load(release.read_text())) if "parley " in step.get("run", "")]

    assert called
    for command in called:
        words = command.partition("parley ")[2].split()
        names = [word for word in words[:2] if not word.startswith("-")]
        shown = CliRunner().invoke(cli, [*names, "--help"]).output
        options = [word for word in words if word.startswith("--")]
        assert all(option in shown for option in options), command
