"""The command line: `parley dev`, `doctor`, `token`, `tables`; the operator's commands are in `operate.py`.

This is a host edge, as `modal_app.py` is: it reads settings, opens what the app needs and prints for people.
"""

import asyncio
import errno
import hashlib
import os
import secrets
import shutil
import socket
import sys
import webbrowser
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, nullcontext, suppress
from functools import partial
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path

import click
import uvicorn
from pydantic import ValidationError
from pydantic_settings import SettingsError
from rich.console import Console

from functions import archives, deploying, keys, measure, operate, pausing, telemetry, users, webbuild
from functions.api.auth import LOOPBACK
from functions.app import create_app
from functions.errors import ParleyError
from functions.front import BoundedHttp
from functions.inference.local import Choice, LocalEngine, choose_embedder, choose_model
from functions.inference.nodes import Node, nodes_from
from functions.inference.pricing import usd_per_second
from functions.services import Services, open_services, open_store
from functions.settings import Settings, has_display
from functions.workers.embedded import working
from functions.workers.policy_file import following

console = Console(stderr=True, highlight=False)
SHUTDOWN_SECONDS = 5


def main() -> None:
    """Errors that we raise on purpose are sentences, not traces."""
    try:
        cli()
    except (ParleyError, ValidationError, SettingsError) as error:
        console.print("[red]parley:[/]", end=" ")
        console.print(_sentence(error), markup=False)
        sys.exit(2)


def _sentence(error: ParleyError | ValidationError | SettingsError) -> str:
    if isinstance(error, SettingsError):  # says which field, and not what stands there
        return f"{error}: it must be valid JSON (docs/architecture.md, Settings)."
    return str(error)


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="parley")
def cli() -> None:
    """Parley: your own private ChatGPT on serverless GPUs."""


for command in (
    operate.node,
    operate.status,
    operate.cost,
    users.users,
    keys.keys,
    archives.export_all,
    archives.import_chats,
    pausing.pause,
    pausing.resume,
    measure.command,
    deploying.deploy,
    deploying.destroy,
):
    cli.add_command(command)


# -- parley dev --------------------------------------------------------------------------------------------------


@cli.command()
@click.option("--host", default="127.0.0.1", show_default=True, help="Address to listen on.")
@click.option("--port", default=8000, show_default=True, type=click.IntRange(0, 65535), help="0 picks a free one.")
@click.option("--data", type=click.Path(path_type=Path), help="Folder for chats and models.")
@click.option("--no-browser", is_flag=True, help="Do not open a browser.")
@click.option("--verbose", is_flag=True, help="Structured log on stderr.")
def dev(host: str, port: int, data: Path | None, no_browser: bool, verbose: bool) -> None:
    """Run everything on this machine: API, web client, store, worker and engine."""
    settings = Settings()
    folder = (data or settings.data).expanduser().resolve()
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    settings = settings.model_copy(update={"data": folder, "store_url": operate.store_url(settings, folder)})
    _refuse_open_door(settings, host)
    telemetry.configure("INFO" if verbose else "WARNING")
    listening = _listen(host, port)  # before anything slow
    web = settings.web or webbuild.ready(console)
    choice = choose_model(settings, console=console, hub=settings.model_hub)
    choices = [choice, *filter(None, [choose_embedder(settings)])]
    for chosen in choices:
        console.print(chosen.why, style="dim")
    loop_factory = uvicorn.Config(app="", loop="auto").get_loop_factory()
    # uvicorn raises the signal again once it has shut down in order; for us that is the good end.
    with suppress(KeyboardInterrupt), asyncio.Runner(loop_factory=loop_factory) as runner:
        sys.exit(runner.run(_serve(settings, choices, listening, web, open_browser=not no_browser)))


def _refuse_open_door(settings: Settings, host: str) -> None:
    if settings.auth == "local" and host not in LOOPBACK:
        raise click.UsageError(
            f"--host {host} would open Parley to others without sign-in. Set PARLEY_AUTH=token (`parley users invite "
            "NAME` lets people in), or PARLEY_AUTH=oidc, or stay on 127.0.0.1."
        )


async def _say_who_can_come_in(services: Services) -> None:
    """A house with a closed door and no key to it says how to cut one."""
    settings = services.settings
    if settings.auth == "token" and not settings.access_tokens:
        page = await services.accounts.list_users(limit=1)
        if not page.data and not await services.accounts.list_invitations():
            console.print("Nobody can sign in yet: `parley users invite NAME --role admin` makes a link.")


def _listen(host: str, port: int) -> socket.socket:
    try:
        return socket.create_server((host, port), family=socket.AF_INET6 if ":" in host else socket.AF_INET)
    except OSError as error:
        if error.errno == errno.EADDRINUSE:
            raise click.UsageError(f"Port {port} is taken. Choose another with --port; --port 0 finds one.") from None
        raise click.UsageError(f"Cannot listen on {host}, port {port}: {error.strerror}.") from None


class DevServer(uvicorn.Server):
    """Tells when it is up, and lets the runs go before it waits for their readers."""

    def __init__(self, config: uvicorn.Config, services: Services, on_ready: Callable[[], None]) -> None:
        super().__init__(config)
        self._services, self._on_ready = services, on_ready

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        self._on_ready()

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        console.print("Stopping: answers in the making are kept and continue at the next start.")
        await self._services.runs.close()
        await super().shutdown(sockets)


@asynccontextmanager
async def _nodes(settings: Settings, choices: Sequence[Choice]) -> AsyncIterator[list[Node]]:
    """The model servers that the settings name; and the embedded engines that are wanted, started and stopped here."""
    nodes = nodes_from(settings.nodes, usd_per_second)
    if settings.model_url:
        nodes.insert(0, Node(settings.model_url, api_key=settings.model_api_key, headers=settings.model_headers))
    async with AsyncExitStack() as stack:
        engines = [LocalEngine(choice) for choice in choices if choice.path is not None]
        for engine in engines:
            stack.push_async_callback(engine.stop)
            await engine.start()
        yield [*(engine.node for engine in engines), *nodes]


async def _serve(
    settings: Settings, choices: Sequence[Choice], listening: socket.socket, web: Path | None, *, open_browser: bool
) -> int:
    name, number = listening.getsockname()[:2]
    url = f"http://[{name}]:{number}" if ":" in name else f"http://{name}:{number}"

    def on_ready() -> None:
        console.print(f"Parley is ready: [bold]{url}[/]   (Ctrl-C stops it)", soft_wrap=True)
        if open_browser and has_display():
            webbrowser.open(url)

    async with (
        _nodes(settings, choices) as nodes,
        open_services(settings, nodes) as services,
        working(services),
        following(services, partial(console.print, markup=False, soft_wrap=True)),
    ):
        await _say_who_can_come_in(services)
        config = uvicorn.Config(
            create_app(lambda: nullcontext(services), web),
            http=BoundedHttp,
            log_config=None,
            log_level="warning",
            access_log=False,
            timeout_graceful_shutdown=SHUTDOWN_SECONDS,
            server_header=False,
            proxy_headers=False,  # whom to believe says `trusted_proxies`
        )
        await DevServer(config, services, on_ready).serve([listening])
    return 0


# -- parley doctor -----------------------------------------------------------------------------------------------


@cli.command()
@click.option("--data", type=click.Path(path_type=Path), help="Folder for chats and models.")
def doctor(data: Path | None) -> None:
    """Say what is missing and how to get it. Exit status 1 when `parley dev` could not run."""
    broken = False
    for name, is_ok, is_needed, advice in _checkup(data):
        mark = "[green]ok[/]     " if is_ok else "[red]missing[/]" if is_needed else "[yellow]absent[/] "
        console.print(f"{mark} {name}" + ("" if is_ok else f"\n        {advice}"))
        broken = broken or (is_needed and not is_ok)
    sys.exit(1 if broken else 0)


def _checkup(data: Path | None) -> Iterator[tuple[str, bool, bool, str]]:
    """(what, whether it is there, whether `parley dev` needs it, what to do)."""
    settings = Settings()
    yield f"Python {sys.version.split()[0]}", sys.version_info >= (3, 11), True, "Install Python 3.11 or newer."
    has_node, built = shutil.which("node") is not None, not webbuild.is_stale()
    yield (
        "Web client built",
        built,
        not has_node,
        "`parley dev` builds it with Node 20 or newer (apt install nodejs npm).",
    )
    yield "Node.js (builds the web client)", has_node, not built, "apt install nodejs npm, or nodejs.org."
    folder = (data or settings.data).expanduser()
    yield f"Data folder {folder}", _is_writable(folder), True, "Choose another one with --data DIR."
    with suppress(Exception):
        yield f"Embedded engine (xllamacpp {version('xllamacpp')})", True, True, ""
    model = settings.model_url or settings.model
    yield (
        f"Model {model or '(the embedded default)'}",
        settings.model_url is not None or _model_exists(settings),
        True,
        ("PARLEY_MODEL must be the path of a GGUF file."),
    )
    url = settings.store_url if "store_url" in settings.model_fields_set else "sqlite (in the data folder)"
    yield f"Store {url.split('?')[0]}", True, True, ""
    has_issuer = bool(settings.oidc_issuer and settings.oidc_client_id)
    advice = "Set PARLEY_OIDC_ISSUER and PARLEY_OIDC_CLIENT_ID (docs/architecture.md, Settings)."
    yield f"Sign-in: {settings.auth}", settings.auth != "oidc" or has_issuer, True, advice
    has_modal = find_spec("modal") is not None
    yield "Modal client (deploys to serverless GPUs)", has_modal, False, "uv sync --extra modal, then `modal setup`."
    yield (
        "AWS SAM (deploys the HTTP side to Lambda)",
        shutil.which("sam") is not None,
        False,
        "pipx install aws-sam-cli",
    )


def _is_writable(folder: Path) -> bool:
    while not folder.exists():
        folder = folder.parent
    return os.access(folder, os.W_OK)


def _model_exists(settings: Settings) -> bool:
    return settings.model is None or Path(settings.model).expanduser().is_file()


# -- parley token, parley tables ---------------------------------------------------------------------------------


@cli.command()
@click.argument("name")
def token(name: str) -> None:
    """Make an access token for NAME. The token is shown once; the server keeps only its hash."""
    if not name.isidentifier():
        raise click.BadParameter("use letters, digits and underscores", param_hint="NAME")
    secret = "parley_" + secrets.token_urlsafe(32)
    click.echo(f"token (give it to {name}, it is not shown again): {secret}")
    click.echo(f"PARLEY_ACCESS_TOKENS={name}={hashlib.sha256(secret.encode()).hexdigest()}")


@cli.command()
def tables() -> None:
    """Create the DynamoDB tables that PARLEY_STORE_URL names. Nothing else ever creates them."""
    settings = Settings()
    if not settings.store_url.startswith("dynamodb://"):
        raise click.UsageError("PARLEY_STORE_URL is not a dynamodb:// URL; SQLite needs no tables made.")

    async def create() -> None:
        store = await open_store(settings.store_url, create=True)
        await store.close()

    asyncio.run(create())
    click.echo("Tables are ready.")


if __name__ == "__main__":
    main()
