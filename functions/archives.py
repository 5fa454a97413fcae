"""`parley export --all DIR` and `parley import PATH`: everybody's chats out of the store and back, by the operator.

They work on the store itself, so they need no running Parley, and what goes out of one store can come into another of
the other kind. A file holds what its owner's own export does (`parley.export.v1`).
"""

import asyncio
import hashlib
import os
from collections.abc import Iterator
from contextlib import aclosing
from io import BufferedWriter
from pathlib import Path
from urllib.parse import quote, unquote

import click

from functions.chat.exports import export_of
from functions.chat.imports import Brought, Imports, Progress
from functions.operate import store_to_read
from functions.services import Store, open_store

ENDING = ".json"
NAMES = ".owner"  # beside a file whose owner's name is too long for the name of a file: that name
STEM_BYTES = 240  # file systems end a name at 255, and `.json.part` comes after it
_DATA = click.option(
    "--data", type=click.Path(path_type=Path), help="Folder of `parley dev`'s chats, for the local store."
)


@click.command("export")
@click.option("--all", "folder", required=True, type=click.Path(path_type=Path, file_okay=False), metavar="DIR")
@_DATA
def export_all(folder: Path, data: Path | None) -> None:
    """Write all that every user has into DIR: a file for each, readable by you alone.

    Chats that are written meanwhile are in it as they are when they are read. A file that is there is replaced once the
    new one is whole.
    """
    url = store_to_read(data)
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    asyncio.run(_export(url, folder))


async def _export(url: str, folder: Path) -> None:
    store = await open_store(url)
    try:
        for owner in await store.list_owners():
            size = await _export_one(store, owner, await asyncio.to_thread(path_for, owner, folder))
            click.echo(f"{size:>12,} bytes  {owner}")
    finally:
        await store.close()


def path_for(owner: str, folder: Path) -> Path:
    """A long name is told by a file of its own. Its stem is no other owner's: `quote` makes no `%-`."""
    stem = quote(owner, safe="")
    if len(stem) > STEM_BYTES:
        stem = f"%-{hashlib.sha256(owner.encode()).hexdigest()}"
        name = folder / f"{stem}{NAMES}"
        with _create(name.with_name(f"{name.name}.part")) as file:
            file.write(owner.encode())
            _finish(file, name)
    return folder / f"{stem}{ENDING}"


def owner_of(path: Path) -> str:
    """Whose this file of a backup is."""
    name = path.with_suffix(NAMES)
    return name.read_bytes().decode() if name.is_file() else unquote(path.name.removesuffix(ENDING))


async def _export_one(store: Store, owner: str, path: Path) -> int:
    """Gives its bytes."""
    fresh = path.with_name(f"{path.name}.part")
    file, size = await asyncio.to_thread(_create, fresh), 0
    with file:
        async with aclosing(export_of(store, owner)) as pieces:
            async for piece in pieces:
                size += await asyncio.to_thread(file.write, piece)
        await asyncio.to_thread(_finish, file, path)
    return size


def _create(path: Path) -> BufferedWriter:
    path.unlink(missing_ok=True)
    return os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb")


def _finish(file: BufferedWriter, path: Path) -> None:
    file.flush()
    os.fsync(file.fileno())
    path.with_name(f"{path.name}.part").replace(path)


@click.command("import")
@click.argument("path", type=click.Path(path_type=Path, exists=True))
@click.option("--owner", help="Whose chats these become; a folder's files say it by their names.")
@_DATA
def import_chats(path: Path, owner: str | None, data: Path | None) -> None:
    """Bring the chats of PATH into the store: a file (a Parley or a ChatGPT export), or the folder that
    `parley export --all` has written.

    What is there already stays as it is, so it can be run again. Texts come as they are: guardrails have met them where
    they were written, or not at all. Exit status 1 when something could not be brought.
    """
    if path.is_dir() == (owner is not None):
        raise click.UsageError("Say --owner NAME for a file; the files of a folder say it themselves.")
    files = list(_files(path)) if owner is None else [(owner, path)]
    if not files:
        raise click.UsageError(f"There is no {ENDING} file in {path}.")
    if not asyncio.run(_import(store_to_read(data), files)):
        raise SystemExit(1)


def _files(folder: Path) -> Iterator[tuple[str, Path]]:
    for path in sorted(folder.glob(f"*{ENDING}")):
        yield owner_of(path), path


async def _import(url: str, files: list[tuple[str, Path]]) -> bool:
    store, is_whole = await open_store(url), True
    try:
        # Nobody is erased while an operator restores, and no clock is asked who was.
        imports = Imports(store, None, lambda: 2**53)
        for owner, path in files:
            async with aclosing(imports.bring(owner, path)) as news:
                async for one in news:
                    if isinstance(one, Brought):
                        is_whole = _tell(owner, one) and is_whole
                    elif isinstance(one, Progress):
                        continue
    finally:
        await store.close()
    return is_whole


def _tell(owner: str, brought: Brought) -> bool:
    """Gives whether all of it came."""
    click.echo(
        f"{owner}: {brought.chats:,} chats with {brought.messages:,} messages, {brought.skipped:,} there already, "
        f"{brought.memories:,} memories, {brought.templates:,} templates, {brought.failures:,} failed"
    )
    for failure in brought.failed:
        click.echo(f"  {failure.reason}: {failure.title!r}", err=True)
    if brought.message:
        click.echo(f"  {brought.message}", err=True)
    return not (brought.failures or brought.trouble)
