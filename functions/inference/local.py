"""The local engine: which model to run on this machine, and the child process that runs it.

`choose_model(settings)` decides, first that holds: a server's URL → a GGUF the user named → a GGUF in the data
folder → a small instruct model, downloaded once → parley-tiny, which ships with us and says what it is.

`choose_embedder(settings)` names a second one, that turns text into vectors, where the settings have one.

`LocalEngine` promises: the engine listens on loopback only, with a key of its own that changes at each start; it is
started again when it dies, on a port of its own choosing; it ends with us, however we end. Its `node` always says
where it is and whether it is up.

Does not know chats or runs, and never fails a start for want of a network.
"""

import asyncio
import json
import secrets
import sys
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from rich.console import Console
from rich.progress import BarColumn, DownloadColumn, Progress, TimeRemainingColumn, TransferSpeedColumn

from functions.chat.messages import Struct
from functions.errors import BadInput, ParleyError, UpstreamError
from functions.inference.download import HUB, HubFile, fetch
from functions.inference.engine import SLOTS
from functions.inference.nodes import Node, ServedModel
from functions.settings import Settings

# Qwen2.5 0.5B: Apache-2.0, English and Chinese, answers at once (Qwen3 0.6B thinks first, minutes of it on a CPU).
SMALL_MODEL = HubFile(
    repo="Qwen/Qwen2.5-0.5B-Instruct-GGUF",
    revision="9217f5db79a29953eb74d5343926648285ec7e67",
    name="qwen2.5-0.5b-instruct-q4_k_m.gguf",
    size=491_400_032,
    sha256="74a4da8c9fdbcd15bd1f6d01d621410d31c6fc00986f5eb687824e7b93d7a9db",
)
SMALL_MODEL_NAME = "Qwen2.5 0.5B Instruct"
TINY_MODEL = Path(__file__).parent / "tiny" / "parley-tiny.gguf"
DEMO_NOTICE = (
    "Offline demo model: it is tiny, and its answers are only an example. For a real one, connect to the internet and "
    "start Parley again, or set PARLEY_MODEL to a GGUF file or PARLEY_MODEL_URL to an OpenAI-compatible server."
)
GGUF_MAGIC = b"GGUF"
START_SECONDS = 120.0  # a big file from a slow disk
STOP_SECONDS = 3.0
STARTS = 3  # failures before the first success: then the file is to blame, not chance
RESTART_SECONDS = 30.0  # at most, between the starts of an engine that keeps dying


class Choice(Struct, frozen=True, kw_only=True):
    """What to run: the file of a model, or nothing because a server does it. `why` is a line for the terminal."""

    path: Path | None
    model: ServedModel | None
    why: str


# -- which model ---------------------------------------------------------------------------------------------------


def choose_model(
    settings: Settings,
    *,
    console: Console | None = None,
    hub: str = HUB,
    small: HubFile = SMALL_MODEL,
    tiny: Path = TINY_MODEL,
) -> Choice:
    """Blocks while it downloads; call it before the event loop, so that Ctrl-C ends the download and not Parley."""
    if settings.model_url:
        return Choice(path=None, model=None, why=f"Using the model server at {settings.model_url}")
    if settings.model:
        return _own_model(Path(settings.model).expanduser(), "PARLEY_MODEL")
    if chatting := [node.url for node in settings.nodes if node.task == "chat"]:
        return Choice(path=None, model=None, why=f"Using the model servers at {', '.join(chatting)}")
    models = settings.data / "models"
    if (found := _newest_gguf(models, small.name, besides=settings.embed_model)) is not None:
        return _own_model(found, f"the folder {models}", SMALL_MODEL_NAME if found.name == small.name else "")
    return _small_model(models, console or Console(stderr=True), hub, small, tiny)


def choose_embedder(settings: Settings) -> Choice | None:
    """None: no embedding model runs here; a node may still embed, and without one words stand in."""
    if not settings.embed_model:
        return None
    path = Path(settings.embed_model).expanduser()
    _check_gguf(path, "embed_model")
    model = ServedModel(id=path.stem, name=path.stem, task="embed")
    return Choice(path=path, model=model, why=f"Using {path.name} for vectors, from PARLEY_EMBED_MODEL")


def _check_gguf(path: Path, param: str) -> None:
    if not path.is_file():
        raise BadInput(f"{path} is no file. Set PARLEY_{param.upper()} to the path of a GGUF model.", param=param)
    if not _is_gguf(path):
        raise BadInput(f"{path} is not a GGUF model. Choose a file that ends in .gguf.", param=param)


def _own_model(path: Path, origin: str, name: str = "") -> Choice:
    _check_gguf(path, "model")
    model = ServedModel(id=path.stem, name=name or path.stem)
    return Choice(path=path, model=model, why=f"Using {path.name} from {origin}")


def _is_gguf(path: Path) -> bool:
    with path.open("rb") as file:
        return file.read(4) == GGUF_MAGIC


def _newest_gguf(folder: Path, small: str, besides: str | None) -> Path | None:
    """What the user put there last, before what we downloaded. Projectors and later parts are no models, and the model
    for vectors does not chat."""
    embedder = Path(besides).expanduser().resolve() if besides else None
    files = [path for path in folder.glob("*.gguf") if path.is_file() and _is_gguf(path)]
    models = [path for path in files if "mmproj" not in path.name and not _is_later_part(path.stem)]
    models = [path for path in models if path.resolve() != embedder]
    return max(models, key=lambda path: (path.name != small, path.stat().st_mtime), default=None)


def _is_later_part(stem: str) -> bool:
    return "-of-" in stem and not stem.partition("-of-")[0].endswith("-00001")


def _small_model(models: Path, console: Console, hub: str, small: HubFile, tiny: Path) -> Choice:
    try:
        with _Bar(console, small) as show:
            path = fetch(small, models, hub=hub, progress=show)
    except KeyboardInterrupt:
        return _tiny_model(tiny, "The download was stopped; it goes on from there at the next start.")
    except ParleyError as exc:
        return _tiny_model(tiny, exc.message)
    except OSError:
        return _tiny_model(tiny, f"The model could not be stored in {models}.")
    model = ServedModel(id=path.stem, name=SMALL_MODEL_NAME)
    return Choice(path=path, model=model, why=f"Using {path.name}, kept in {models}")


def _tiny_model(tiny: Path, reason: str) -> Choice:
    model = ServedModel(id="parley-tiny", name="Parley Tiny", demo=True, notice=DEMO_NOTICE)
    return Choice(path=tiny, model=model, why=f"{reason} {DEMO_NOTICE}")


class _Bar:
    """A bar in a terminal, one line elsewhere; nothing at all until the first bytes have come."""

    def __init__(self, console: Console, file: HubFile) -> None:
        columns = (BarColumn(), DownloadColumn(), TransferSpeedColumn(), TimeRemainingColumn())
        self._bar = Progress("[progress.description]{task.description}", *columns, console=console)
        self._console = console
        self._file = file
        self._started = False

    def __enter__(self) -> Callable[[int, int], None]:
        return self._show

    def __exit__(self, *_: object) -> None:
        self._bar.stop()

    def _show(self, done: int, total: int) -> None:
        if not self._started:
            self._started = True
            self._console.print(f"Downloading {SMALL_MODEL_NAME}, once ({total / 1e6:.0f} MB). Ctrl-C: use the demo.")
            if self._console.is_terminal:
                self._bar.start()
                self._bar.add_task(self._file.name, total=total)
        if self._bar.tasks:
            self._bar.update(self._bar.tasks[0].id, completed=done)


# -- the engine ----------------------------------------------------------------------------------------------------


class LocalEngine:
    """Runs one model in a child process, and keeps it running. `node` is what the gateway needs."""

    def __init__(self, choice: Choice, *, slots: int = SLOTS) -> None:
        assert choice.path is not None
        assert choice.model is not None
        self._path = choice.path
        self._model = choice.model
        self._slots = slots
        # More requests than it works on at once wait with us: there they would count as an engine that says nothing.
        self.node = Node(
            "http://127.0.0.1:0/v1",
            name="local-embedder" if choice.model.task == "embed" else "local",
            models=[choice.model],
            serverless=False,
            slots=slots,
        )
        self._process: asyncio.subprocess.Process | None = None
        self._keeper: asyncio.Task[None] | None = None
        self._up = asyncio.Event()
        self._failure: UpstreamError | None = None
        self._last_words: deque[str] = deque(maxlen=5)

    @property
    def pid(self) -> int | None:
        return self._process.pid if self._process is not None else None

    async def start(self) -> None:
        """Comes back at once; the model loads meanwhile, and the node says `warming`."""
        self.node.is_kept = True
        self.node.mark("warming")
        self._keeper = asyncio.create_task(self._keep())

    async def ready(self) -> None:
        """Until the engine answers. Raises UpstreamError when it cannot be started."""
        await self._up.wait()
        if self._failure is not None:
            raise self._failure

    async def stop(self) -> None:
        self.node.is_kept = False
        if self._keeper is not None:
            self._keeper.cancel()
            await asyncio.gather(self._keeper, return_exceptions=True)
        await self._end()
        self.node.mark("unreachable")

    async def _keep(self) -> None:
        """Start it, wait for its end, start it again; give up only on a model that never came up."""
        failures, was_up, pause_s = 0, False, 0.0
        loop = asyncio.get_running_loop()
        while True:
            started = loop.time()
            if await self._start_once():
                was_up, failures = True, 0
                await self._wait_for_end()
            else:
                failures += 1
            await self._end()
            if failures >= STARTS and not was_up:
                self._give_up()
                return
            self.node.mark("warming")
            quick = loop.time() - started < RESTART_SECONDS
            pause_s = min(max(0.25, 2 * pause_s), RESTART_SECONDS) if quick else 0.0
            await asyncio.sleep(pause_s)

    async def _start_once(self) -> bool:
        key = secrets.token_urlsafe(32)
        command = ("-m", "functions.inference.engine", "--model", str(self._path), "--alias", self._model.id)
        self._process = await asyncio.create_subprocess_exec(
            sys.executable,
            *command,
            *("--slots", str(self._slots)),
            *(("--embed",) if self._model.task == "embed" else ()),
            # The demo model knows its answers by heart: anything but the likeliest word is a slip.
            *(("--temperature", "0") if self._model.demo else ()),
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
        )
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(f"{key}\n".encode())
        errors = asyncio.create_task(self._read_errors(self._process))
        try:
            async with asyncio.timeout(START_SECONDS):
                line = await self._process.stdout.readline()
        except TimeoutError:
            line = b""
        if not line:
            with suppress(ProcessLookupError):
                self._process.kill()
            await errors
            return False
        told = json.loads(line)
        self.node.move(f"{told['url']}/v1", key)
        self.node.learn("llama.cpp", [ServedModel(id=self._model.id, context_tokens=told["context_tokens"])])
        self.node.mark("warm")
        self._up.set()
        return True

    async def _read_errors(self, process: asyncio.subprocess.Process) -> None:
        """Keeps the pipe empty. Only what comes before the first request is kept: later lines may quote a prompt."""
        assert process.stderr is not None
        async for line in process.stderr:
            if not self._up.is_set():
                self._last_words.append(line.decode(errors="replace").strip())

    async def _wait_for_end(self) -> None:
        assert self._process is not None
        await self._process.wait()

    async def _end(self) -> None:
        """Close its stdin, which ends it; kill it if that does not."""
        process, self._process = self._process, None
        if process is None:
            return
        assert process.stdin is not None
        process.stdin.close()
        try:
            async with asyncio.timeout(STOP_SECONDS):
                await process.wait()
        except TimeoutError:
            with suppress(ProcessLookupError):
                process.kill()
            await process.wait()

    def _give_up(self) -> None:
        self.node.is_kept = False
        self.node.mark("unreachable")
        self._failure = UpstreamError(f"The model {self._path.name} could not be loaded.")
        self._failure.add_note("\n".join(self._last_words))
        self._up.set()
