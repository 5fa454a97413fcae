"""`parley keys …`: API keys of a user, made and revoked by the operator, on the store itself."""

import asyncio
from pathlib import Path
from typing import get_args

import click

from functions.chat.principals import Scope
from functions.operate import store_to_read
from functions.users import DATA, accounts_in


@click.group()
def keys() -> None:
    """API keys: what programs sign in with."""


@keys.command()
@click.argument("owner")
@click.argument("name")
@click.option("--scope", "scopes", type=click.Choice(get_args(Scope)), multiple=True, help="May be given again.")
@click.option("--origin", "origins", multiple=True, help="A web page that may use it from a browser.")
@click.option("--days", type=click.IntRange(1, 3650), help="After which it does not work any more.")
@DATA
def create(
    owner: str,
    name: str,
    scopes: tuple[Scope, ...],
    origins: tuple[str, ...],
    days: int | None,
    data: Path | None,
) -> None:
    """Make a key of OWNER's, called NAME. It is shown once; the store keeps only its hash.

    Without --scope it may do what its owner may, but not run the house.
    """

    url = store_to_read(data)

    async def run() -> None:
        async with accounts_in(url) as accounts:
            await accounts.get_user(owner)
            secret, key = await accounts.make_key(
                owner, name, scopes=scopes or ("chat",), origins=origins, expires_days=days
            )
            click.echo(f"{key.id}  {key.name}  {' '.join(key.scopes)}")
            click.echo(f"key (it is not shown again): {secret}")

    asyncio.run(run())


@keys.command("list")
@click.argument("owner")
@DATA
def show(owner: str, data: Path | None) -> None:
    """The keys of OWNER."""

    url = store_to_read(data)

    async def run() -> None:
        async with accounts_in(url) as accounts:
            for key in await accounts.list_keys(owner):
                used = f"used {key.last_used_at:%Y-%m-%d}" if key.last_used_at else "never used"
                ends = f"until {key.expires_at:%Y-%m-%d}" if key.expires_at else "without end"
                click.echo(f"{key.id}  {key.hint}  {key.name}  {' '.join(key.scopes)}  {ends}  {used}")

    asyncio.run(run())


@keys.command()
@click.argument("owner")
@click.argument("key_id")
@DATA
def revoke(owner: str, key_id: str, data: Path | None) -> None:
    """Make the key KEY_ID of OWNER's end, within seconds everywhere."""

    url = store_to_read(data)

    async def run() -> None:
        async with accounts_in(url) as accounts:
            await accounts.revoke_key(owner, key_id)
            click.echo("It does not open anything any more.")

    asyncio.run(run())
