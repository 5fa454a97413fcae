"""`parley pause` and `parley resume`: nobody begins anything new, or again; by the operator's hand.

They work on the store itself, so they need no running Parley; those that run know within seconds.
"""

import asyncio
import time
from pathlib import Path

import click
import msgspec

from functions.chat.allowances import HouseRules
from functions.chat.house import Change, House
from functions.chat.messages import utc_now
from functions.operate import store_to_read
from functions.services import open_store
from functions.settings import LOOK_SECONDS

_data = click.option(
    "--data", type=click.Path(path_type=Path), help="Folder of `parley dev`'s chats, for the local store."
)


@click.command()
@click.option("--reason", help="Why, in a few words: users read it.")
@_data
def pause(reason: str | None, data: Path | None) -> None:
    """Let nobody begin anything new. What is there can be read and exported, answers under way go on."""
    why = (reason or "").strip()[:300] or None
    asyncio.run(
        _change(store_to_read(data), lambda rules: msgspec.structs.replace(rules, paused_at=utc_now(), reason=why))
    )
    click.echo(f"Paused. Every process knows within {LOOK_SECONDS:.0f} s; `parley resume` ends it.")


@click.command()
@_data
def resume(data: Path | None) -> None:
    """End a pause."""
    was = asyncio.run(
        _change(store_to_read(data), lambda rules: msgspec.structs.replace(rules, paused_at=None, reason=None))
    )
    click.echo("Users may go on." if was.paused_at else "There was no pause.")


async def _change(url: str, change: Change) -> HouseRules:
    """The rules as they were."""
    store = await open_store(url)
    try:
        was = await store.get_rules()
        await House(store, lambda: time.time_ns() // 1_000_000).change(change)
        return was
    finally:
        await store.close()
