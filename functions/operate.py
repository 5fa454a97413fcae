"""The operator's commands: `parley node`, `parley status`, `parley cost`.

`node` and `status` speak to a running Parley over HTTP, `cost` reads the store. None of them wakes a GPU, and keys come
from the environment only: arguments are seen by everybody on the machine.
"""

import asyncio
import json
import re
import signal
import socket
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from ipaddress import ip_address
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlsplit

import aiohttp
import click
import msgspec
from rich.console import Console
from rich.table import Table

from functions.inference.billing import read_bill
from functions.inference.pricing import PRICES_AS_OF, Row, Spent, total
from functions.services import open_store
from functions.settings import ClientSettings, Settings

TIMEOUT = aiohttp.ClientTimeout(total=10)
LEAVE_SECONDS = 5.0
WIDE = 160  # columns, where no terminal says how many


class Silent(click.ClickException):
    """Nobody answers there."""


class Refused(click.ClickException):
    """It answers, and says no."""

    def __init__(self, message: str, status: int) -> None:
        super().__init__(message)
        self.status = status


async def _ask(method: str, url: str, key: str, body: Any = None) -> Any:  # JSON of any shape
    """What it answers. Raises Silent or Refused; both are sentences that click prints."""
    headers = {"Authorization": f"Bearer {key}"} if key else {}
    try:
        async with (
            aiohttp.ClientSession(timeout=TIMEOUT, headers=headers) as session,
            session.request(method, url, json=body) as response,
        ):
            text, status = await response.text(errors="replace"), response.status
    except (aiohttp.ClientError, TimeoutError, OSError, ValueError) as error:
        cause = error.os_error.strerror if isinstance(error, aiohttp.ClientConnectorError) else str(error)
        raise Silent(f"Nothing answers at {url} ({cause or type(error).__name__}).") from None
    try:
        answer = json.loads(text) if text else None
    except ValueError:
        answer = None
    if status < 400 and (answer is not None or status == 204):
        return answer
    told = answer.get("error") if isinstance(answer, dict) else None
    message = told.get("message") if isinstance(told, dict) else None
    told_by = f"(HTTP {status} from {url})"
    raise Refused(f"{message} {told_by}" if message else f"That is not the answer of a Parley {told_by}.", status)


@contextmanager
def _as_parley_answers(url: str) -> Iterator[None]:
    """Something else that speaks JSON may be at that address."""
    try:
        yield
    except (KeyError, TypeError, ValueError, AttributeError):
        raise Refused(f"That is not the answer of a Parley (from {url}).", 200) from None


# -- parley node ---------------------------------------------------------------------------------------------------


@click.group()
def node() -> None:
    """Model servers that register themselves with a running Parley. PARLEY_NODE_KEY says who may."""


@dataclass(frozen=True, kw_only=True)
class Joining:
    """A model server, and the Parley that it joins."""

    url: str
    name: str
    models: tuple[str, ...]
    gpu: str
    usd_per_hour: float | None
    slots: int
    parley: str
    key: str

    @property
    def address(self) -> str:
        return f"{self.parley}/nodes/{quote(self.name, safe='')}"

    async def check(self) -> tuple[str, ...]:
        """The models it serves. Raises when it does not answer, or lacks one that was named."""
        try:
            listed = await _ask("GET", f"{self.url}/models", self.key)
        except Refused as refused:
            raise Refused(f"The model server at {self.url} {_why(refused.status)}", refused.status) from None
        cards = listed.get("data") if isinstance(listed, dict) else None
        served = tuple(str(card["id"]) for card in cards or () if isinstance(card, dict) and "id" in card)
        if not served:
            raise click.ClickException(f"{self.url} does not list its models as an OpenAI-compatible server does.")
        if missing := [model for model in self.models if model not in served]:
            raise click.ClickException(f"{self.url} serves {', '.join(served)}, and not {', '.join(missing)}.")
        return served

    async def beat(self) -> float:
        """Say that it is there; gives how long until the next time, in seconds."""
        body = {"url": self.url, "models": self.models, "gpu": self.gpu, "slots": self.slots}
        if self.usd_per_hour is not None:
            body["usd_per_hour"] = self.usd_per_hour
        answer = await _ask("PUT", self.address, self.key, body)
        with _as_parley_answers(self.address):
            return float(answer["heartbeat_seconds"])

    async def leave(self) -> None:
        await _ask("DELETE", self.address, self.key)


def _why(status: int) -> str:
    match status:
        case 401 | 403:
            return "refuses the node key; start it with PARLEY_NODE_KEY as its API key."
        case 404:
            return "has no /models; its address usually ends in /v1."
        case 503:
            return "is still loading; join when it is up."
        case _ if status < 400:
            return "does not answer as an OpenAI-compatible server does; its address usually ends in /v1."
    return f"answers with HTTP status {status}."


@node.command()
@click.argument("url")
@click.option("--model", "models", multiple=True, help="A model it serves; again for more. None: whatever it serves.")
@click.option("--name", help="What the node is called here.  [default: this machine's name and the port]")
@click.option("--gpu", default="", help="Its GPU, for the price: L40S, H100:2, …")
@click.option("--usd-per-hour", type=click.FloatRange(min=0), help="Its price, when it is none of the price table's.")
@click.option("--slots", default=0, type=click.IntRange(min=0), help="Requests it works on at once.")
@click.option("--to", help="The Parley to join.  [default: PARLEY_URL, or http://127.0.0.1:8000]")
def join(
    url: str,
    models: tuple[str, ...],
    name: str | None,
    gpu: str,
    usd_per_hour: float | None,
    slots: int,
    to: str | None,
) -> None:
    """Register the model server at URL (…/v1, as Parley will reach it) and keep it registered until Ctrl-C.

    The model server must take PARLEY_NODE_KEY as its API key, or none: Parley calls it with that."""
    url, parley = url.rstrip("/"), _parley(to)
    if _is_loopback(url) and not _is_loopback(parley):
        raise click.UsageError(f"Parley at {parley} cannot reach {url}: give the address that others see.")
    port = f"-{urlsplit(url).port}" if _is_address(url) and urlsplit(url).port else ""
    name = name or re.sub(r"[^A-Za-z0-9._-]+", "-", socket.gethostname()).strip("._-")[:50] + port
    joining = Joining(
        url=url,
        name=name,
        models=models,
        gpu=gpu,
        usd_per_hour=usd_per_hour,
        slots=slots,
        parley=parley,
        key=_node_key(),
    )
    asyncio.run(_stay_joined(joining))


async def _stay_joined(joining: Joining) -> None:
    """Heartbeats, for as long as the model server answers, until a signal says to leave. When Parley refuses one, there
    is nothing of ours to take out of its registry."""
    stop = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    served = await joining.check()
    click.echo(f"{joining.url} is up and serves {', '.join(served)}.")
    pause_s = await joining.beat()
    click.echo(f"Joined {joining.parley} as {joining.name}. Ctrl-C leaves.")
    trouble = ""
    while not await _is_set(stop, pause_s):
        was, trouble = trouble, await _trouble(joining)
        if trouble and trouble != was:
            click.echo(f"Lost: {trouble} Trying again every {pause_s:g} s.")
        elif was and not trouble:
            click.echo(f"Found again: {joining.name} is registered with {joining.parley}.")
    try:
        async with asyncio.timeout(LEAVE_SECONDS):
            await joining.leave()
        click.echo(f"Left {joining.parley}.")
    except (click.ClickException, TimeoutError):
        click.echo(f"Could not tell {joining.parley}; it will forget {joining.name} by itself.")


async def _trouble(joining: Joining) -> str:
    """One heartbeat if the model server is well; else what is wrong. Raises Refused where trying again cannot help."""
    try:
        await joining.check()
    except click.ClickException as error:
        return error.message
    try:
        await joining.beat()
    except Silent as silent:
        return silent.message
    except Refused as refused:
        if refused.status < 500:
            raise
        return refused.message
    return ""


async def _is_set(event: asyncio.Event, within_s: float) -> bool:
    try:
        async with asyncio.timeout(within_s):
            await event.wait()
    except TimeoutError:
        return False
    return True


@node.command("list")
@click.option("--to", help="The Parley to ask.  [default: PARLEY_URL, or http://127.0.0.1:8000]")
def list_nodes(to: str | None) -> None:
    """The model servers that have registered themselves."""
    address = f"{_parley(to)}/nodes"
    answer = asyncio.run(_ask("GET", address, _node_key()))
    with _as_parley_answers(address):
        _show_nodes(answer["data"])


def _show_nodes(nodes: list[dict[str, Any]]) -> None:  # of GET /nodes
    if not nodes:
        click.echo("No node has registered itself.")
        return
    now_ms = datetime.now(UTC).timestamp() * 1000
    _print(
        ("NAME", "URL", "MODELS", "GPU", "$/HOUR", "JOINED"),
        [
            (
                one["name"],
                one["url"],
                ", ".join(one["models"]) or "(all it serves)",
                one["gpu"] or "–",
                _price(one["usd_per_hour"]),
                f"{_duration(now_ms - one['joined_ms'])} ago",
            )
            for one in nodes
        ],
        right=("$/HOUR",),
    )


@node.command()
@click.argument("name")
@click.option("--to", help="The Parley it leaves.  [default: PARLEY_URL, or http://127.0.0.1:8000]")
def leave(name: str, to: str | None) -> None:
    """Take NAME out of the registry. A `parley node join` that still runs brings it back."""
    asyncio.run(_ask("DELETE", f"{_parley(to)}/nodes/{quote(name, safe='')}", _node_key()))
    click.echo(f"{name} is not registered any more.")


def _node_key() -> str:
    key = Settings().node_key
    if not key:
        raise click.UsageError("Set PARLEY_NODE_KEY in the environment, to what the Parley has as its node key.")
    return key


def _parley(given: str | None) -> str:
    url = (given or ClientSettings().url).rstrip("/")
    if not _is_address(url):
        raise click.UsageError(f"{url!r} is not the address of a Parley, such as http://127.0.0.1:8000.")
    return url


def _is_address(url: str) -> bool:
    try:
        parts = urlsplit(url)
        return parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:
        return False


def _is_loopback(url: str) -> bool:
    host = urlsplit(url).hostname or "" if _is_address(url) else ""
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


# -- parley status -------------------------------------------------------------------------------------------------


@click.command()
@click.option("--url", help="The Parley to ask.  [default: PARLEY_URL, or http://127.0.0.1:8000]")
def status(url: str | None) -> None:
    """Which models are warm, which sleep and how long they take to wake. Wakes none. PARLEY_TOKEN signs in."""
    address = _parley(url)
    told = asyncio.run(_ask("GET", f"{address}/status", ClientSettings().token))
    with _as_parley_answers(f"{address}/status"):
        _show_status(told, address)


def _show_status(told: dict[str, Any], address: str) -> None:  # the answer of GET /status
    click.echo(f"Parley {told['version']} at {address}")
    if not told["models"]:
        click.echo("No model is served.")
        return
    _print(
        ("MODEL", "STATE", "FOR", "READY IN", "GPU", "$/HOUR", "NODES", "QUEUED"),
        [
            (
                model["id"],
                model["state"],
                _duration(model.get("since_ms")),
                _eta(model),
                model.get("gpu") or "–",
                _price(model.get("usd_per_hour", 0.0)),
                str(model.get("nodes", 1)),
                str(model.get("queued", 0)),
            )
            for model in told["models"]
        ],
        right=("$/HOUR", "NODES", "QUEUED"),
    )


def _eta(model: dict[str, Any]) -> str:  # a model of /status
    if model["state"] == "warm":
        return "now"
    if model["state"] == "unreachable":
        return "nobody knows"
    if model.get("eta_p50_ms") is None:
        return "not known yet"
    mostly, nearly_always = _duration(model["eta_p50_ms"]), _duration(model["eta_p90_ms"])
    return mostly if mostly == nearly_always else f"{mostly} (9 of 10: {nearly_always})"


def _price(usd_per_hour: float) -> str:
    return f"{usd_per_hour:.2f}" if usd_per_hour else "–"


def _duration(ms: float | None) -> str:
    if ms is None:
        return "–"
    seconds = round(ms / 1000)
    if seconds < 120:
        return f"{seconds} s"
    if seconds < 120 * 60:
        return f"{seconds // 60} min"
    return f"{seconds // 3600} h" if seconds < 48 * 3600 else f"{seconds // 86400} days"


# -- parley cost ---------------------------------------------------------------------------------------------------

BY = {"day": "DAY (UTC)", "owner": "OWNER", "model": "MODEL", "chat": "CHAT"}


@click.command()
@click.option("--since", default="30d", show_default=True, help="How far back: 7d, 12h, or a date such as 2026-11-01.")
@click.option("--by", default="day", show_default=True, type=click.Choice(list(BY)), help="What each line is about.")
@click.option("--data", type=click.Path(path_type=Path), help="Folder of `parley dev`.")
@click.option("--json", "as_json", is_flag=True, help="For programs.")
def cost(since: str, by: str, data: Path | None, as_json: bool) -> None:
    """What the whole house has spent on GPUs, from the store that PARLEY_STORE_URL names or that of `parley dev`."""
    now = datetime.now(UTC)
    begin = _since(since, now)
    rows = asyncio.run(_bill(store_to_read(data), begin, now))
    groups: defaultdict[str, list[Spent]] = defaultdict(list)
    for row in rows:
        groups[_group(row, by)].append(row.spent)
    lines = [(name, total(groups[name])) for name in sorted(groups)]
    if by != "day":
        lines.sort(key=lambda line: -line[1].cost_usd)
    everything = total(row.spent for row in rows)
    if as_json:
        told = [{by: name} | msgspec.structs.asdict(spent.rounded()) for name, spent in lines]
        summary = {"from": begin, "to": now, "data": told, "total": everything.rounded(), "prices_as_of": PRICES_AS_OF}
        click.echo(msgspec.json.encode(summary))
        return
    if not lines:
        click.echo(f"Nothing was used since {begin:%F %H:%M} UTC.")
        return
    _print(
        (BY[by], "RUNS", "TOKENS IN", "CACHED", "OUT", "ACTIVE", "COLD START", "IDLE", "USD"),
        [_amounts(name, spent) for name, spent in lines],
        right=("RUNS", "TOKENS IN", "CACHED", "OUT", "ACTIVE", "COLD START", "IDLE", "USD"),
        last=_amounts("total", everything),
    )
    click.echo(f"Seconds of GPU and US dollars since {begin:%F %H:%M} UTC.")
    click.echo(
        f"Prices of GPUs by Modal's table as of {PRICES_AS_OF}, unless a node names its own; each use keeps its."
    )
    if everything.is_estimate:
        click.echo("~ An estimate: the GPUs are awake still, or runs may share in it that have not ended.")


def _amounts(name: str, spent: Spent) -> tuple[str, ...]:
    tokens = (spent.prompt_tokens, spent.cached_tokens, spent.completion_tokens)
    seconds = (spent.active_seconds, spent.cold_start_seconds, spent.idle_seconds)
    money = f"{'~' if spent.is_estimate else ''}{spent.cost_usd:.4f}"
    return (name, f"{spent.runs:,}", *(f"{n:,}" for n in tokens), *(f"{s:,.1f}" for s in seconds), money)


def _group(row: Row, by: str) -> str:
    match by:
        case "owner":
            return row.owner or "(nobody)"
        case "model":
            return row.model
        case "chat":
            return row.chat_id or "(none: waking while somebody typed, or a call without a chat)"
    return row.day


def _since(text: str, now: datetime) -> datetime:
    try:
        if found := re.fullmatch(r"(\d{1,4})([dh])", text, re.ASCII):
            amount = int(found[1])
            return now - (timedelta(days=amount) if found[2] == "d" else timedelta(hours=amount))
        day = date.fromisoformat(text)
    except (ValueError, OverflowError):
        raise click.BadParameter("give 7d, 12h or a date such as 2026-11-01", param_hint="--since") from None
    begin = datetime(day.year, day.month, day.day, tzinfo=UTC)
    if not datetime(1970, 1, 1, tzinfo=UTC) <= begin <= now:
        raise click.BadParameter("a day that has begun is needed", param_hint="--since")
    return begin


def store_url(settings: Settings, folder: Path) -> str:
    """The store that the settings name, or that of `parley dev` in its data folder."""
    return settings.store_url if "store_url" in settings.model_fields_set else f"sqlite:///{folder / 'parley.db'}"


def store_to_read(data: Path | None) -> str:
    """The same, if it is there. Raises when there is none: opening would make an empty one."""
    settings = Settings()
    url = store_url(settings, (data or settings.data).expanduser().resolve())
    path = Path(url.removeprefix("sqlite:///"))
    if url.startswith("sqlite:///") and not path.is_file():
        raise click.UsageError(
            f"There is no store at {path}. Set PARLEY_STORE_URL, or --data to `parley dev`'s folder."
        )
    return url


async def _bill(url: str, begin: datetime, end: datetime) -> list[Row]:
    store = await open_store(url)
    try:
        from_ms, to_ms = (round(moment.timestamp() * 1000) for moment in (begin, end))
        return await read_bill(store, from_ms=from_ms, to_ms=to_ms, now_ms=to_ms)
    finally:
        await store.close()


# -- tables --------------------------------------------------------------------------------------------------------


def _print(
    headings: Sequence[str],
    rows: Iterable[Sequence[str]],
    *,
    right: Sequence[str] = (),
    last: Sequence[str] | None = None,
) -> None:
    console = Console(highlight=False, markup=False, emoji=False)
    if not console.is_terminal:
        console = Console(highlight=False, markup=False, emoji=False, width=WIDE)
    table = Table(box=None, pad_edge=False, header_style="bold")
    for heading in headings:
        table.add_column(heading, justify="right" if heading in right else "left", overflow="fold")
    for row in rows:
        table.add_row(*row)
    if last:
        table.add_section()
        table.add_row(*last, style="bold")
    console.print(table)
