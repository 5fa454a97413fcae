"""docs/security.md names tests; each of them exists, and its table has the ten items of the list."""

import re
from pathlib import Path

ROOT = Path(__file__).parents[2]
DOCUMENT = (ROOT / "docs/security.md").read_text(encoding="utf-8")


def test_every_test_that_the_document_names_exists() -> None:
    sources = "\n".join(path.read_text(encoding="utf-8") for path in (ROOT / "tests").rglob("test_*.py"))
    named = set(re.findall(r"`(test_\w+)`", DOCUMENT))

    assert len(named) > 20
    assert {name for name in named if f"def {name}(" not in sources} == set()


def test_every_risk_of_the_list_has_its_row_and_says_what_is_left() -> None:
    rows = [
        [cell.strip() for cell in line.split("|")[1:-1]] for line in DOCUMENT.splitlines() if line.startswith("| LLM")
    ]

    assert [row[0][:5] for row in rows] == [f"LLM{number:02}" for number in range(1, 11)]
    assert all(len(row) == 4 and row[1] and row[3] for row in rows)
