# ruff: noqa: T201  # it prints
"""What becomes of documents that carry orders (BIPIA, Yi et al. 2023), as far as that shows without a model.

    uv run python -m tests.knowledge.indirect --data DIR     DIR/indirect_injection_bipia*.jsonl

Each row is cut into chunks, checked by the rails, and put into a prompt as a turn does it. Printed: how many rows the
rails left out or noted, and in how many prompts all of the row's text stood between the fences. Whether a model then
obeys what stands there is not measured: that takes a capable model.
"""

import argparse
import json
from pathlib import Path

from functions.chat.chunks import cut
from functions.chat.marking import fence_of, marked
from functions.chat.sources import ABOUT
from functions.guardrails.policy import load_policy
from functions.guardrails.validators import build_input_guard
from functions.reading.plain import paragraphs


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--policy", type=Path)
    arguments = parser.parse_args()
    guard = build_input_guard(load_policy(arguments.policy))
    for file in sorted(arguments.data.glob("indirect_injection_bipia*.jsonl")):
        told = map(json.loads, file.read_text().splitlines())
        rows = [row["text"] for row in told if row["label"] == "attack"]
        left_out = noted = inside = 0
        for number, row in enumerate(rows):
            chunks = [chunk.text for chunk in cut(list(paragraphs(row)))]
            checked = [guard.check(text) for text in chunks]
            left_out += any(one.blocked for one in checked)
            noted += any(v.rail == "injection" for one in checked for v in one.verdicts)
            inside += is_inside(chunks, fence_of(b"key", str(number)))
        print(f"{file.name}: {len(rows)} rows, left out {left_out}, noted {noted}, wholly between the fences {inside}")


def is_inside(chunks: list[str], fence: str) -> bool:
    """Whether the prompt is what a turn means it to be: each passage in its place, the question at the end."""
    prompt = marked("The question?", passages=chunks, fence=fence, about_passages=ABOUT)
    start, end = f"<<passages {fence}>>\n", f"\n<<end of passages {fence}>>"
    before, _, rest = prompt.partition(start)
    within, _, after = rest.partition(end)
    bodies = "\n".join(f"<<[{n}] {fence}>>\n{text}" for n, text in enumerate(chunks, 1))
    return before.strip() == ABOUT and within == bodies and after == "\n\nThe question?"


if __name__ == "__main__":
    main()
