"""Builds the web client when its sources are newer than what was built, with progress, and says where it is.

Knows npm and the folder `web/`; an installed package without that folder simply has no client to build.
"""

import hashlib
import shutil
import subprocess
from pathlib import Path

from rich.console import Console

WEB = Path(__file__).parent.parent / "web"
DIST = WEB / "dist"
STAMP = DIST / ".sources"
SOURCES = ("src", "public", "index.html", "package.json", "package-lock.json", "vite.config.ts", "tsconfig.json")


def ready(console: Console) -> Path | None:
    """The folder of the built client, built now if need be; None (with the reason printed) when it cannot be."""
    if not is_stale():
        return DIST
    if not (WEB / "package.json").is_file():
        return None
    if shutil.which("npm") is None:
        console.print("[yellow]No npm here: serving the API only.[/] Install Node 20 or newer for the web client.")
        return DIST if (DIST / "index.html").is_file() else None
    with console.status("Building the web client (once; later starts skip this)…") as status:
        status.update("Web client: installing packages…")
        if not _run(console, "npm", "ci", "--no-audit", "--no-fund"):
            return None
        status.update("Web client: building…")
        if not _run(console, "npm", "run", "build"):
            return None
    STAMP.write_text(_digest())
    return DIST


def is_stale() -> bool:
    return not STAMP.is_file() or STAMP.read_text() != _digest()


def _run(console: Console, *command: str) -> bool:
    done = subprocess.run(command, cwd=WEB, capture_output=True, text=True, check=False)  # noqa: S603  # our own argv
    if done.returncode:
        console.print(f"[red]`{' '.join(command)}` failed[/] in {WEB.name}/:")
        console.print((done.stdout + done.stderr)[-2000:], markup=False)
    return done.returncode == 0


def _digest() -> str:
    """Of names and contents, so that a checkout that touches times does not rebuild."""
    digest = hashlib.sha256()
    for name in SOURCES:
        top = WEB / name
        for path in sorted(top.rglob("*")) if top.is_dir() else [top]:
            if path.is_file():
                digest.update(str(path.relative_to(WEB)).encode() + b"\0" + path.read_bytes())
    return digest.hexdigest()
