"""`parley eval`: the guardrails measured on labelled texts, with a guard model where one is named."""

import asyncio
import json
import secrets
import sys
import time
from collections.abc import Sequence
from dataclasses import asdict, replace
from pathlib import Path

import click
from rich.console import Console
from rich.table import Table

from functions.chat.messages import Stage, Verdict
from functions.chat.moderator import Moderator
from functions.errors import UpstreamError
from functions.guardrails.evaluate import Figure, Half, evaluate
from functions.guardrails.policy import Policy, RailAction, load_policy
from functions.guardrails.stream import language_of
from functions.inference.gateway import Gateway
from functions.inference.nodes import Node, ServedModel
from functions.settings import ClientSettings

AT_ONCE = 16  # texts that the guard model judges at the same time
NO_LIMIT_MS = 60_000  # it is measured here, not hurried


@click.command("eval")
@click.option("--policy", type=click.Path(path_type=Path), help="Policy file; the one that ships by default.")
@click.option(
    "--data",
    type=click.Path(path_type=Path, exists=True, file_okay=False),
    help="Folder of JSONL files; a small set of Parley's own by default.",
)
@click.option("--half", type=click.Choice(["tune", "report"]), help="Only the rows whose id hashes to this half.")
@click.option("--guard", metavar="URL", help="OpenAI-wire address (…/v1) of a guard model, to be measured as well.")
@click.option("--guard-model", metavar="NAME", help="Its name there; the first one by default.")
@click.option("--json", "as_json", is_flag=True, help="One JSON object a line.")
def command(
    policy: Path | None,
    data: Path | None,
    half: Half | None,
    guard: str | None,
    guard_model: str | None,
    as_json: bool,
) -> None:
    """Measure the guardrails: recall and false positives per file and rail."""
    rules = load_policy(policy)
    judge = None
    if guard is not None:
        models = [ServedModel(id=guard_model, task="moderate")] if guard_model else []
        node = Node(guard, name="guard", task="moderate", api_key=ClientSettings().guard_key, models=models)

        def judge(texts: Sequence[tuple[Stage, str]]) -> list[tuple[Verdict | None, float]]:
            return asyncio.run(_judged(rules, node, texts))

    figures = evaluate(rules, data, half=half, judge=judge)
    if as_json:
        for figure in figures:
            click.echo(json.dumps(asdict(figure) | {"rate": round(figure.rate, 4), "policy": rules.version}))
        return
    _show(figures, rules, has_guard=guard is not None)


def _show(figures: Sequence[Figure], policy: Policy, *, has_guard: bool) -> None:
    table = Table(title=f"Guardrails, policy {policy.version}", title_justify="left")
    for heading in ("file", "rail", "measure"):
        table.add_column(heading, overflow="fold")
    for heading in ("rows", "hits", "rate", "blocked", "µs"):
        table.add_column(heading, justify="right")
    last = ""
    for figure in figures:
        if figure.measure == "not covered":
            continue
        if last and figure.file != last:
            table.add_section()
        table.add_row(
            figure.file if figure.file != last else "",
            figure.rail,
            figure.measure,
            str(figure.rows),
            str(figure.hits),
            f"{figure.rate:.1%}",
            str(figure.blocked),
            f"{figure.microseconds:.0f}",
        )
        last = figure.file
    console = Console(highlight=False, width=None if sys.stdout.isatty() else 120)
    console.print(table)
    uncovered = sorted({figure.rail for figure in figures if figure.measure == "not covered"})
    if uncovered:
        console.print(f"No rail looks for: {', '.join(uncovered)}.")
    if not has_guard and any(figure.rail == "moderation" for figure in figures):
        console.print("The moderation rows need a guard model; without one nothing there is expected to be found.")


async def _judged(policy: Policy, node: Node, texts: Sequence[tuple[Stage, str]]) -> list[tuple[Verdict | None, float]]:
    """The verdicts of the product's own client, with how long each took in milliseconds. All that the guard model
    finds is noted, whatever the policy would do about it; what it leaves out (`ignored`) stays out."""
    rules = replace(policy.moderation, input=_least(policy.moderation.input), output=_least(policy.moderation.output))
    rules = replace(rules, fail="closed", timeout_ms=NO_LIMIT_MS)
    gateway = Gateway([node])
    await gateway.open()
    try:
        moderator = Moderator.of(replace(policy, moderation=rules), gateway, key=secrets.token_bytes(16))
        assert moderator is not None, "both stages are on"
        room = asyncio.Semaphore(AT_ONCE)

        async def one(stage: Stage, text: str) -> tuple[Verdict | None, float]:
            async with room:
                began = time.monotonic()
                verdict = await moderator.judge(
                    stage,
                    [text],
                    language=language_of(text),
                    session_id="eval",
                    uses=[],
                    notice=lambda waiting: None,
                )
                return verdict, (time.monotonic() - began) * 1000

        heard = await asyncio.gather(*(one(stage, text) for stage, text in texts))
    finally:
        await gateway.close()
    if heard and all(verdict is not None and verdict.rail == "moderation.unjudged" for verdict, _ in heard):
        raise UpstreamError(f"The guard at {node.url} judged none of {len(heard)} texts. Is it up, and is it one?")
    return heard


def _least(action: RailAction) -> RailAction:
    return "flag" if action == "off" else action
