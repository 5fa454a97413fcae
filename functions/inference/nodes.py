"""Nodes: the model servers the gateway may use, and what is known about each.

Promises: asking about a node does no I/O. What is known of a serverless node (Modal) is inferred from the traffic it
gets anyway, here and in other processes: left alone for its idle time it sleeps again, and a start that nobody
follows any more is forgotten. Past starts of a node give the estimate for the next one.

Does not know HTTP, queues or retries: `probing.py` asks, `pool.py` chooses.
"""

import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from typing import Literal
from urllib.parse import urlsplit

import msgspec

from functions.chat.messages import NodeState, Struct
from functions.errors import BadInput
from functions.settings import NodeSetting

NodeKind = Literal["unknown", "vllm", "llama.cpp", "openai"]
Task = Literal["chat", "embed", "moderate"]
DEFAULT_MODEL = "default"  # what a node serves first, whatever it is called there
DEFAULT_SLOTS = 64  # requests sent to a node at once; an engine's own queue takes what its batch does not
CONTEXT_TOKENS = 4096  # assumed until the node has said
IDLE_SECONDS = 300.0  # Modal's scale-down window as our deployment sets it
FORGOTTEN_SECONDS = 90.0  # three sightings: a start that nobody has looked at for so long tells nothing any more
WAKES_KEPT = 32
SERVERLESS_HOSTS = (".modal.run", ".modal.direct", ".modal.host")


class ServedModel(Struct, frozen=True, kw_only=True):
    """A model as one node serves it. `context_tokens` of 0 means that the node has not said yet."""

    id: str
    name: str = ""
    context_tokens: int = 0
    demo: bool = False
    notice: str | None = None
    task: Task = "chat"


class ModelInfo(Struct, frozen=True, kw_only=True):
    """A model as the user sees it, with the best state among its nodes. The estimates count from now."""

    id: str
    name: str
    context_tokens: int
    state: NodeState
    since_ms: int | None = None  # how long it has been in this state; None: nobody has seen it yet
    demo: bool = False
    notice: str | None = None
    eta_p50_ms: int | None = None
    eta_p90_ms: int | None = None
    gpu: str = ""
    usd_per_hour: float = 0.0  # of one replica that is awake; 0: one's own, or unknown
    idle_s: float = 0.0  # how long one that nobody uses stays awake; 0: it does not sleep
    nodes: int = 1  # how many serve it
    queued: int = 0  # requests that wait for a place


class Node:
    """One model server. Mutable: the gateway and the prober write here what they see, and `watchers` hear of it."""

    def __init__(
        self,
        url: str,
        *,
        name: str = "",
        api_key: str | None = None,
        headers: Mapping[str, str] | None = None,
        models: Sequence[ServedModel] = (),
        kind: NodeKind = "unknown",
        task: Task = "chat",
        serverless: bool | None = None,
        state: NodeState | None = None,
        idle_seconds: float = IDLE_SECONDS,
        gpu: str = "",
        usd_per_second: float = 0.0,
        slots: int = 0,
        streams: int = 0,
        now: Callable[[], float] = time.monotonic,
    ) -> None:
        """`slots`: requests sent to it at once (0: DEFAULT_SLOTS); `streams`: those that one of its replicas works on
        at once (0: there is one replica). `usd_per_second` is one replica's, while it is awake. `task` is what models
        do that it names itself."""
        self.headers = dict(headers or {})
        self.move(url, api_key)
        parts = urlsplit(self.url)
        host = parts.hostname or ""
        self.name = name or (f"{host}:{parts.port}" if parts.port else host)
        self.serverless = host.endswith(SERVERLESS_HOSTS) if serverless is None else serverless
        self.kind: NodeKind = kind
        self.task = task
        self.is_known = bool(models)  # what it serves
        self.models = tuple(models) or (ServedModel(id=DEFAULT_MODEL, name=self.name, task=task),)
        self.gpu, self.usd_per_second = gpu, usd_per_second
        self.slots, self.streams = slots or DEFAULT_SLOTS, streams
        self.idle_seconds = idle_seconds
        self.is_kept = False  # somebody starts it again when it dies: silence means that it is on its way
        self.is_knocked = False  # somebody follows its start
        self.is_loading = False  # it says so: up, but its model is not
        self.outstanding = 0
        self.watchers: list[Callable[[Node, NodeState], None]] = []  # with the state before
        self.new_wakes: deque[int] = deque(maxlen=WAKES_KEPT)  # in milliseconds; the roster takes them from here
        self._declared = tuple(models)
        self._now = now
        self._state: NodeState = state or ("cold" if self.serverless else "unreachable")
        self._since = now() if state else None
        self._seen_at = now() if state else float("-inf")
        self._wake_started: float | None = None
        self._wakes: deque[int] = deque(maxlen=WAKES_KEPT)

    def __repr__(self) -> str:
        return f"Node({self.name}, {self.kind}, {self.state}, outstanding={self.outstanding})"

    def move(self, url: str, api_key: str | None) -> None:
        """It is at another address now, with another key: a local engine after a new start."""
        self.url = url.rstrip("/")
        self.root = self.url.removesuffix("/v1")  # where /tokenize, /props and /version live
        if api_key:
            self.headers["Authorization"] = f"Bearer {api_key}"

    # -- how it is -------------------------------------------------------------------------------------------

    @property
    def state(self) -> NodeState:
        """What it is now, as far as one can know without asking."""
        return self._state if self._slid_at() is None else "cold"

    def _slid_at(self) -> float | None:
        """When a serverless node that was left alone went back to sleep, if it did."""
        if not self.serverless or self.outstanding or self.is_knocked or self._state not in ("warm", "warming"):
            return None
        slid_at = self._seen_at + (self.idle_seconds if self._state == "warm" else FORGOTTEN_SECONDS)
        return slid_at if self._now() > slid_at else None

    @property
    def since_ms(self) -> int | None:
        """How long it has been in this state, in milliseconds; None for a node that nobody has seen."""
        since = self._since if (slid_at := self._slid_at()) is None else slid_at
        return None if since is None else max(0, round((self._now() - since) * 1000))

    @property
    def seen_ms_ago(self) -> float:
        """Since the last sign of life or use that was seen here; infinite when there was none."""
        return 0.0 if self.outstanding else (self._now() - self._seen_at) * 1000

    @property
    def may_be_starting(self) -> bool:
        """Does it make sense to wait for it, when nobody listens there?"""
        return self.is_kept or self.state == "warming" or (self.serverless and self.state != "warm")

    @property
    def has_room(self) -> bool:
        return self.outstanding < self.slots

    def mark(self, state: NodeState) -> None:
        """What it was just seen to be. The time from the first `warming` to `warm` is a start, and remembered."""
        now, before = self._now(), self.state
        if state in ("warm", "warming"):
            self._seen_at = now
        if before == "cold":
            self._wake_started = None  # of a start that was forgotten
        if state == "warm" and self._wake_started is not None:
            took_ms = round((now - self._wake_started) * 1000)
            self.observe_wake(took_ms)
            self.new_wakes.append(took_ms)
        if state != "warming":
            self._wake_started = None
            self.is_loading = False
        elif self._wake_started is None:
            self._wake_started = now
        self._state = state
        if state != before:
            self._since = now
            self._tell(before)

    def adopt(self, state: NodeState, *, since_ms_ago: float, seen_ms_ago: float) -> None:
        """What another process saw, later than we saw anything ourselves."""
        now, before = self._now(), self.state
        self._state = state
        self._seen_at, self._since = now - seen_ms_ago / 1000, now - since_ms_ago / 1000
        self._wake_started = self._since if state == "warming" else None
        if self.state != before:
            self._tell(before)

    def forget_start(self) -> None:
        """It was no start: the node was awake all the time."""
        self._wake_started = None

    def _tell(self, before: NodeState) -> None:
        for watcher in tuple(self.watchers):
            watcher(self, before)

    # -- how long a start takes ------------------------------------------------------------------------------

    def observe_wake(self, ms: int) -> None:
        """Remember how long a start took."""
        self._wakes.append(ms)

    def recall_wakes(self, newest_first: Sequence[int]) -> None:
        """Starts from before this process's time."""
        for ms in newest_first[: WAKES_KEPT - len(self._wakes)]:
            self._wakes.appendleft(ms)

    def eta_ms(self) -> tuple[int | None, int | None]:
        """p50 and p90 of what is still to wait, from past starts; None before the first."""
        if not self._wakes:
            return None, None
        elapsed = round(self.starting_s * 1000)
        p50, p90 = self._percentiles()
        return max(0, p50 - elapsed), max(0, p90 - elapsed)

    def _percentiles(self) -> tuple[int, int]:
        past = sorted(self._wakes)
        return past[(len(past) - 1) // 2], past[(len(past) * 9 + 9) // 10 - 1]

    @property
    def starting_s(self) -> float:
        """How long the start under way has taken so far."""
        return 0.0 if self._wake_started is None else self._now() - self._wake_started

    def is_late(self, without_history_s: float) -> bool:
        """Has this start taken longer than nine in ten of those before?"""
        return self.starting_s > (self._percentiles()[1] / 1000 if self._wakes else without_history_s)

    # -- who works on it -------------------------------------------------------------------------------------

    def take_place(self) -> None:
        self.outstanding += 1

    def give_place(self) -> None:
        self.outstanding -= 1
        if self._state == "warm":
            self._seen_at = self._now()

    # -- what it serves --------------------------------------------------------------------------------------

    def serves(self, model: str, *, embeds: bool = False) -> bool:
        """As far as it has said; `embeds`: vectors are wanted, not text."""
        served = self.model(model)
        if served is None or (model == DEFAULT_MODEL and not embeds and served.task != "chat"):
            return False  # a guard model answers those who ask for it by name
        return (served.task == "embed") is embeds

    def model(self, model: str) -> ServedModel | None:
        if model == DEFAULT_MODEL:
            return self.models[0]
        return next((served for served in self.models if served.id == model), None)

    def wire_name(self, model: str) -> str | None:
        """What to call the model towards this node; None: leave it out, and the node takes its own."""
        if model == DEFAULT_MODEL:
            return self.models[0].id if self.is_known else None
        return model

    def learn(self, kind: NodeKind, models: Sequence[ServedModel]) -> None:
        """What the node says of itself. Where its models were declared, it serves these and no others; what was said
        about one stays, but its true context size is the node's to say."""
        self.kind = kind
        said = {model.id: msgspec.structs.replace(model, task=self.task) for model in models}
        if self._declared:
            self.models = tuple(_with_context(model, said.get(model.id)) for model in self._declared)
        elif said:
            self.is_known = True
            self.models = tuple(said.values())
        self._tell(self.state)


def _with_context(declared: ServedModel, said: ServedModel | None) -> ServedModel:
    if said is None or not said.context_tokens:
        return declared
    return msgspec.structs.replace(declared, context_tokens=said.context_tokens)


def nodes_from(settings: Sequence[NodeSetting], price: Callable[[str], float]) -> list[Node]:
    """The nodes that the operator named; `price` says what a GPU costs, in USD per second of one replica.

    Raises BadInput when two have the same name, and whatever `price` raises of a GPU that it does not know.
    """
    nodes = [_node_from(setting, price) for setting in settings]
    names = [node.name for node in nodes]
    for name in names:
        if names.count(name) > 1:
            raise BadInput(f"PARLEY_NODES has two nodes called {name!r}. Give each its own `name`.", param="nodes")
    return nodes


def _node_from(setting: NodeSetting, price: Callable[[str], float]) -> Node:
    if setting.usd_per_hour is not None:
        usd_per_second = setting.usd_per_hour / 3600
    else:
        usd_per_second = price(setting.gpu) if setting.gpu else 0.0
    return Node(
        setting.url,
        name=setting.name,
        api_key=setting.api_key,
        headers=setting.headers,
        models=[
            ServedModel(id=model, name=short_name(model), context_tokens=setting.context_tokens, task=setting.task)
            for model in setting.models
        ],
        task=setting.task,
        serverless=setting.serverless,
        idle_seconds=setting.idle_seconds,
        gpu=setting.gpu,
        usd_per_second=usd_per_second,
        slots=setting.slots,
    )


def short_name(model: str) -> str:
    """What people read: `Qwen/Qwen3-8B` is Qwen3-8B."""
    return model.rsplit("/", 1)[-1]
