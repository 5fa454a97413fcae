"""The documents are compared with the code: settings, limits, errors, and the commands of the README."""

import re
from pathlib import Path

import pytest

from functions import errors, settings
from functions.errors import ParleyError

ROOT = Path(__file__).parent.parent
ARCHITECTURE = (ROOT / "docs/architecture.md").read_text()


def rows(heading: str) -> list[list[str]]:
    section = ARCHITECTURE.split(f"## {heading}\n", 1)[1].split("\n## ", 1)[0]
    cells = [[cell.strip() for cell in line.split("|")[1:-1]] for line in section.splitlines() if line.startswith("|")]
    return cells[2:]


def test_every_setting_is_documented_and_nothing_else() -> None:
    assert [row[0].strip("`") for row in rows("Settings")] == list(settings.Settings.model_fields)


def test_every_limit_is_documented_with_its_value() -> None:
    documented = {row[0].strip("`"): float(row[1]) for row in rows("Limits")}
    defined = {name: float(value) for name, value in vars(settings).items() if name.isupper()}

    assert documented == pytest.approx(defined, rel=1e-2)


def test_every_error_code_of_the_tree_is_documented() -> None:
    documented = set(re.findall(r"`(\w+)`", "".join(row[0] for row in rows("Errors"))))
    classes = [c for c in vars(errors).values() if isinstance(c, type) and issubclass(c, ParleyError)]

    undocumented = {c.code for c in classes} - documented - {"fenced"}  # fenced never leaves the house
    assert not undocumented


def test_every_error_code_that_is_raised_is_documented() -> None:
    """The web client is compared with the document: it says each of them in its reader's language."""
    documented = set(re.findall(r"`(\w+)`", "".join(row[0] for row in rows("Errors"))))
    raised = {
        code for path in (ROOT / "functions").rglob("*.py") for code in re.findall(r'\bcode="(\w+)"', path.read_text())
    }

    assert len(raised) > 20
    assert raised <= documented


def test_the_error_tree_is_drawn_as_it_is() -> None:
    drawn = set(re.findall(r"[─│ ]+ (\w+)", errors.__doc__ or ""))
    classes = {n for n, c in vars(errors).items() if isinstance(c, type) and issubclass(c, ParleyError)}

    assert classes - {"ParleyError"} <= drawn
