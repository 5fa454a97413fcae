"""`parley users delete NAME`: the end of everything of one user, by the operator's hand.

It works on the store itself, so it needs no running Parley; one that runs on the same store meanwhile is fenced.
"""

import asyncio
import time
from pathlib import Path

import click

from functions.operate import store_to_read
from functions.services import open_hot_store
from functions.settings import Settings


@click.group()
def users() -> None:
    """The people who use this Parley."""


@users.command()
@click.argument("name")
@click.option("--yes", is_flag=True, help="Do not ask.")
@click.option("--data", type=click.Path(path_type=Path), help="Folder of `parley dev`'s chats, for the local store.")
def delete(name: str, yes: bool, data: Path | None) -> None:
    """Delete everything of NAME, for good, and print how much it was.

    NAME is that of the access token (`local` for the one user of local mode). What GPUs cost stays in the ledger,
    without the name. The token itself is yours to take out of PARLEY_ACCESS_TOKENS. Cut off, run it again.
    """
    url = store_to_read(data)
    if not yes:
        click.confirm(f"Delete all chats, memories, documents and settings of {name!r} for good?", abort=True)
    receipt = asyncio.run(_erase(url, name))
    for what, number in receipt.items():
        if number:
            click.echo(f"{number:>8,}  {what.replace('_', ' ')}")
    click.echo(f"Nothing of {name!r} is left." if any(receipt.values()) else f"There was nothing of {name!r}.")


async def _erase(url: str, owner: str) -> dict[str, int]:
    settings = Settings(store_url=url)
    store = await open_hot_store(settings, settings.secret_key.encode())
    try:
        return await store.erase_owner(owner, now_ms=time.time_ns() // 1_000_000)
    finally:
        await store.close()
