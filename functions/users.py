"""`parley users …`: who may come in, as what, and the end of everything of one user, by the operator's hand.

It works on the store itself, so it needs no running Parley; one that runs on the same store notices within seconds.
"""

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, get_args

import click

from functions.api.admin import settled_names
from functions.chat.accounts import INVITATION_DAYS, Accounts
from functions.chat.principals import Role, User
from functions.operate import store_to_read
from functions.services import open_hot_store, open_store
from functions.settings import Settings

PAGE = 100
ROLES = click.Choice(get_args(Role))
DATA = click.option(
    "--data", type=click.Path(path_type=Path), help="Folder of `parley dev`'s chats, for the local store."
)


@click.group()
def users() -> None:
    """The people who use this Parley."""


@asynccontextmanager
async def accounts_in(url: str) -> AsyncIterator[Accounts]:
    """Of the store that `url` names."""
    store = await open_store(url)
    try:
        yield Accounts(store, lambda: time.time_ns() // 1_000_000, admins=Settings().admins.split(","))
    finally:
        await store.close()


@users.command("list")
@click.argument("query", default="")
@DATA
def show(query: str, data: Path | None) -> None:
    """Who there is, and who is invited. QUERY: a part of a name, an address or a group."""
    asyncio.run(_list(query, store_to_read(data)))


async def _list(query: str, url: str) -> None:
    async with accounts_in(url) as accounts:
        after: str | None = None
        while True:
            page = await accounts.list_users(limit=PAGE, after=after, query=query)
            for user in page.data:
                click.echo(_line(user))
            if page.next is None:
                break
            after = page.next
        for each in await accounts.list_invitations():
            whom = each.email or each.name
            click.echo(f"{whom}  invited as {each.role} until {each.expires_at:%Y-%m-%d}  (invitation {each.id})")


def _line(user: User) -> str:
    seen = f"seen {user.last_seen_at:%Y-%m-%d}" if user.last_seen_at else "never seen"
    parts = [user.id, user.email, user.name if user.name != user.id else None, user.role, user.status, user.group, seen]
    return "  ".join(part for part in parts if part)


@users.command()
@click.argument("whom")
@click.option("--role", type=ROLES, default="member", show_default=True)
@click.option("--group", help="Whose limits hold for them.")
@click.option("--days", type=click.IntRange(1, 365), default=INVITATION_DAYS, show_default=True)
@DATA
def invite(whom: str, role: Role, group: str | None, days: int, data: Path | None) -> None:
    """Let WHOM in: an e-mail address where an issuer signs people in (PARLEY_AUTH=oidc), else a name.

    For a name, a link comes out: it works once, and is not shown again.
    """
    by_address = Settings().auth == "oidc"
    if by_address and "@" not in whom:
        raise click.BadParameter("an e-mail address, as the issuer knows it", param_hint="WHOM")

    if not by_address and whom in settled_names(Settings()):
        raise click.UsageError(f"{whom!r} has an access token in PARLEY_ACCESS_TOKENS already.")
    url = store_to_read(data)

    async def run() -> None:
        async with accounts_in(url) as accounts:
            email, name = (whom, None) if by_address else (None, whom)
            secret, made = await accounts.invite(email=email, name=name, role=role, group=group, days=days)
            click.echo(f"{whom} is invited as {made.role} until {made.expires_at:%Y-%m-%d}.")
            if secret is not None:
                click.echo(f"Give them this link, after your Parley's address: /#/join/{secret}")

    asyncio.run(run())


@users.command()
@click.argument("name")
@click.argument("new_role", type=ROLES, metavar="[admin|member|viewer]")
@DATA
def role(name: str, new_role: Role, data: Path | None) -> None:
    """Make NAME an admin, a member or a viewer. They must have been here, or have joined."""
    asyncio.run(_change(name, {"role": new_role}, store_to_read(data)))


@users.command()
@click.argument("name")
@DATA
def suspend(name: str, data: Path | None) -> None:
    """Keep NAME out, with all that is theirs kept. Nothing of theirs opens a door within seconds, and the answers that
    are being written for them stop."""
    asyncio.run(_change(name, {"status": "suspended"}, store_to_read(data)))


@users.command()
@click.argument("name")
@DATA
def restore(name: str, data: Path | None) -> None:
    """Let NAME in again."""
    asyncio.run(_change(name, {"status": "active"}, store_to_read(data)))


async def _change(name: str, changes: dict[str, Any], url: str) -> None:  # a user's fields
    async with accounts_in(url) as accounts:
        user = await accounts.change_user(name, changes)
        click.echo(_line(user))
    if user.status == "suspended":
        store = await open_store(url)
        try:
            if stopped := await store.stop_runs(user.id):
                click.echo(f"Answers that are being stopped: {stopped}.")
        finally:
            await store.close()


@users.command()
@click.argument("name")
@click.option("--yes", is_flag=True, help="Do not ask.")
@DATA
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
