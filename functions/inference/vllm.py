"""vLLM as a process: how one model is served, the life of its server, and the door that it stands behind.

    server = VllmServer(model, port=8890)
    server.start(); server.wait_until_healthy(); server.warm_up()
    server.sleep()    # its weights go to the CPU's memory; a snapshot of the container is taken here
    server.wake_up()

Written for vLLM 0.32.0. A container with a GPU runs this beside vLLM's own packages and none of ours, so this file
imports nothing but Python's standard library.

Does not know Modal, chats or the gateway, and keeps no prompt and no answer.
"""

import hmac
import json
import os
import secrets
import signal
import subprocess
import time
from collections.abc import Awaitable, Callable, Mapping, MutableMapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal
from urllib.error import HTTPError
from urllib.request import Request, urlopen

Task = Literal["chat", "embed", "moderate"]

GIB = 2**30
GPU_GIB = {"T4": 15.0, "L4": 22.5, "L40S": 45.0, "A100-80GB": 80.0, "H100": 79.6}  # as nvidia-smi counts them
OVERHEAD_GIB = 2.5  # activations of a full batch, CUDA graphs, the driver: an estimate, to be read in vLLM's own log

HEALTH_PAUSE_S = 0.5
HEALTH_TIMEOUT_S = 5.0
STOP_SECONDS = 15.0  # for its requests to end; then it is killed
WARM_UP_TIMEOUT_S = 300.0  # the first request may compile
CONTROL_TIMEOUT_S = 120.0  # sleeping moves tens of gigabytes between GPU and CPU
# Short, middling, long: kernels are chosen, and some compiled, by the length of what comes in.
WARM_UP_WORDS = (1, 100, 1000)


@dataclass(frozen=True, slots=True, kw_only=True)
class VllmModel:
    """One model, and all that decides how vLLM serves it. `weights_gb` is of the files, in 10^9 bytes."""

    repo: str  # on the model hub, or a folder
    revision: str  # the commit: the content, whatever becomes of the repository; "" for a folder
    id: str  # what clients ask for
    name: str  # what people read
    licence: str
    gpu: str  # Modal's name of it
    weights_gb: float
    kv_bytes_per_token: int  # layers × KV heads × head size × 2 (K and V) × bytes of one number
    context_tokens: int  # bounds one chat's share of the KV cache; most models could read more
    max_num_seqs: int  # requests in one batch
    task: Task = "chat"
    max_batched_tokens: int = 8192
    memory_share: float = 0.90  # of the GPU's memory, for weights, cache and all
    dtype: str = "auto"
    quantization: str | None = None  # None: as the files are; "fp8_per_tensor" halves 16-bit files while loading them
    kv_cache_dtype: str = "auto"
    speculation: Mapping[str, object] | None = None
    lora_rank: int = 0  # 0: no adapters
    tool_parser: str | None = None
    reasoning_parser: str | None = None
    can_sleep: bool = False
    fast_boot: bool = False
    extra: tuple[str, ...] = ()  # further flags, last


def kv_tokens(model: VllmModel) -> int:
    """How many tokens of KV cache fit beside the weights on the model's GPU; negative: the weights do not fit."""
    free_gib = GPU_GIB[model.gpu] * model.memory_share - model.weights_gb * 1e9 / GIB - OVERHEAD_GIB
    return int(free_gib * GIB / model.kv_bytes_per_token)


# -- the command line ----------------------------------------------------------------------------------------------


def serve_command(
    model: VllmModel,
    port: int,
    *,
    program: str = "vllm",
    host: str = "0.0.0.0",  # noqa: S104  # Modal's proxy comes from outside the container
) -> list[str]:
    """vLLM's own OpenAI server for `model`, as a list of arguments: nothing passes through a shell."""
    return [
        *(program, "serve", model.repo),
        *(("--revision", model.revision) if model.revision else ()),  # the tokenizer follows it
        *("--served-model-name", model.id),
        *("--host", host),
        *("--port", str(port)),
        *("--middleware", f"{Door.__module__}.{Door.__qualname__}"),
        *_memory_flags(model),
        *_scheduling_flags(model),
        *_start_flags(model),
        *(_pooling_flags() if model.task == "embed" else _generation_flags(model)),
        "--disable-uvicorn-access-log",  # a line per request says nothing; prompts are not logged by default
        "--disable-fastapi-docs",
        *model.extra,
    ]


def _memory_flags(model: VllmModel) -> list[str]:
    """What fills the GPU: weights, the KV cache, adapters."""
    return [
        *("--max-model-len", str(model.context_tokens)),
        # What vLLM may take of the GPU. Higher: more cache. Too high: it dies at the first large batch.
        *("--gpu-memory-utilization", str(model.memory_share)),
        *("--dtype", model.dtype),
        # FP8 weights: half the memory and half the bytes per token, for little quality, on Ada (L4, L40S) and newer.
        *(("--quantization", model.quantization) if model.quantization else ()),
        # "fp8": twice the tokens in the cache; the long end of a context loses some precision.
        *("--kv-cache-dtype", model.kv_cache_dtype),
        # Adapters cost memory for `max-loras` of them and a few percent of speed, also when none is asked for.
        *(("--enable-lora", "--max-lora-rank", str(model.lora_rank), "--max-loras", "4") if model.lora_rank else ()),
    ]


def _scheduling_flags(model: VllmModel) -> list[str]:
    """Who waits for whom."""
    return [
        # The host refuses where the batch is full: one request more would only wait in here, unseen.
        *("--max-num-seqs", str(model.max_num_seqs)),
        # Higher: sooner first tokens. Lower: smoother streams beside a long prompt.
        *("--max-num-batched-tokens", str(model.max_batched_tokens)),
        # A chat's next turn pays only for what is new. Costs the hash of each block; memory it takes is given back.
        "--enable-prefix-caching",
        # A long prompt is read in slices, so that it does not stop the streams of others.
        "--enable-chunked-prefill",
    ]


def _start_flags(model: VllmModel) -> list[str]:
    """How long a start takes, against how fast it is then."""
    if model.fast_boot:
        # No compilation and no CUDA graphs: the soonest start, and every token of a small batch slower.
        start = ["--enforce-eager"]
    elif model.task == "embed":
        start = []
    else:
        # A graph for a batch that cannot happen would only lengthen the start.
        start = ["--max-cudagraph-capture-size", str(model.max_num_seqs)]
    # Weights can be put into the CPU's memory and back, which a snapshot of the container needs.
    return [*start, *(("--enable-sleep-mode",) if model.can_sleep else ())]


def _generation_flags(model: VllmModel) -> list[str]:
    """Asynchronous scheduling (the next step is prepared while the GPU works) is vLLM's default and stays on, except
    that speculation by `ngram` or `suffix` turns it off; `eagle3`, `mtp` and `draft_model` keep it."""
    parsers = []
    if model.tool_parser:
        parsers += ["--enable-auto-tool-choice", "--tool-call-parser", model.tool_parser]
    if model.reasoning_parser:
        parsers += ["--reasoning-parser", model.reasoning_parser]
    return [
        "--enable-prompt-tokens-details",  # usage says how many tokens the prefix cache saved
        # xgrammar is named because it alone takes the second word: no endless white space inside JSON.
        *("--structured-outputs-config", _json({"backend": "xgrammar", "disable_any_whitespace": True})),
        # Guesses some tokens ahead and checks them in one step: quicker alone, slower in a full batch. `ngram` costs no
        # memory and pays where an answer repeats its prompt; EAGLE-3 pays everywhere and needs a trained draft model.
        *(("--speculative-config", _json(dict(model.speculation))) if model.speculation else ()),
        *parsers,
    ]


def _pooling_flags() -> list[str]:
    return ["--runner", "pooling", "--convert", "embed"]  # a vector instead of text: POST /v1/embeddings


def _json(value: object) -> str:
    return json.dumps(value, separators=(",", ":"))


# -- the door ------------------------------------------------------------------------------------------------------

DOOR_KEY = "PARLEY_DOOR_KEY"  # in the environment of vLLM's process, where only `VllmServer` has put it
DOOR_HEADER = "x-parley-door"
# What anybody may ask who has come as far as this port. vLLM offers some seventy paths more.
OPEN_PATHS = frozenset(
    {
        "/health",
        "/version",
        "/metrics",
        "/tokenize",
        "/v1/models",
        "/v1/chat/completions",
        "/v1/completions",
        "/v1/embeddings",
    }
)

Scope = MutableMapping[str, Any]  # ASGI's own loose types
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]


class Door:
    """ASGI middleware for vLLM (`--middleware`): a few paths are open, all others answer 404 to whoever lacks the key.

    Sleep mode needs VLLM_SERVER_DEV_MODE, which opens much more on the same port: `/collective_rpc` calls any method
    of the workers, `/update_weights` replaces the model. VLLM_ALLOW_RUNTIME_LORA_UPDATING opens
    `/v1/load_lora_adapter`, which reads any folder that it is told. vLLM's own `--api-key` guards only some prefixes.
    A client's address proves nothing: a proxy inside the container also comes from 127.0.0.1. Hence a key per start,
    known to the process that started vLLM and nobody else.

    One look into a set per request; what streams is not touched.
    """

    def __init__(self, app: Callable[[Scope, Receive, Send], Awaitable[None]]) -> None:
        self._app = app
        self._key = os.environ.get(DOOR_KEY, "").encode()  # no settings here: this is vLLM's process, not ours

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan" or (scope["type"] == "http" and self._is_open(scope)):
            await self._app(scope, receive, send)
        elif scope["type"] == "http":
            body = b'{"error":{"message":"Not found.","type":"invalid_request_error","code":"not_found","param":null}}'
            headers = [(b"content-type", b"application/json"), (b"content-length", str(len(body)).encode())]
            await send({"type": "http.response.start", "status": 404, "headers": headers})
            await send({"type": "http.response.body", "body": body})
        else:
            await send({"type": "websocket.close", "code": 1008})

    def _is_open(self, scope: Scope) -> bool:
        if scope["path"] in OPEN_PATHS:
            return True
        keys = [value for name, value in scope["headers"] if name == DOOR_HEADER.encode()]
        return bool(self._key) and len(keys) == 1 and hmac.compare_digest(keys[0], self._key)


# -- the process ---------------------------------------------------------------------------------------------------


class VllmDied(RuntimeError):
    """vLLM's process has ended by itself. The message has its status; the reason is in its own output, above."""


@dataclass(slots=True)
class VllmServer:
    """One vLLM process. All calls block; times are in seconds. `program` is vLLM's command, for a venv of its own.

    Its output goes where ours goes. Raises VllmDied wherever the process is needed and has ended.
    """

    model: VllmModel
    port: int
    program: str = "vllm"
    host: str = "0.0.0.0"  # noqa: S104
    environment: Mapping[str, str] = field(default_factory=dict)  # beside what this process has
    _key: str = field(default_factory=lambda: secrets.token_hex(32), repr=False)
    _process: "subprocess.Popen[bytes] | None" = field(default=None, init=False, repr=False)

    def start(self) -> None:
        """Start it and return at once."""
        assert self._process is None, "it has been started"
        command = serve_command(self.model, self.port, program=self.program, host=self.host)
        # A session of its own, so that its workers can be ended with it.
        self._process = subprocess.Popen(command, env=self._environment(), start_new_session=True)  # noqa: S603

    def _environment(self) -> dict[str, str]:
        """Later entries win; nothing of the caller's environment reaches vLLM's switches by accident."""
        ours = {
            DOOR_KEY: self._key,
            "PYTHONPATH": _with_our_package(os.environ.get("PYTHONPATH", "")),  # vLLM must find the door
            "VLLM_SERVER_DEV_MODE": "1" if self.model.can_sleep else "0",
            "VLLM_ALLOW_RUNTIME_LORA_UPDATING": "1" if self.model.lora_rank else "0",
            "VLLM_NO_USAGE_STATS": "1",
        }
        if self.model.can_sleep:
            ours["TORCHINDUCTOR_COMPILE_THREADS"] = "1"  # a pool of compilers would be frozen into the snapshot
        return {**os.environ, **self.environment, **ours}

    @property
    def is_running(self) -> bool:
        return self._process is not None and self._process.poll() is None

    @property
    def url(self) -> str:
        """Its root, from inside: without /v1."""
        return f"http://127.0.0.1:{self.port}"

    def wait_until_healthy(self, timeout_s: float = 15 * 60.0) -> None:
        """Until it serves. Raises VllmDied at once when it ends, TimeoutError when it takes longer."""
        until = time.monotonic() + timeout_s
        while not self._is_healthy():
            self._check()
            if time.monotonic() > until:
                raise TimeoutError(f"vLLM with {self.model.id} was not ready within {timeout_s:.0f} s.")
            time.sleep(HEALTH_PAUSE_S)

    def _is_healthy(self) -> bool:
        with suppress(OSError), urlopen(f"{self.url}/health", timeout=HEALTH_TIMEOUT_S) as answer:  # noqa: S310
            return bool(answer.status == 200)
        return False

    def warm_up(self) -> None:
        """A few real requests, so that nobody's first one waits for kernels to be chosen and compiled."""
        for words in WARM_UP_WORDS:
            text = " ".join(["warm"] * min(words, self.model.context_tokens // 4))
            if self.model.task == "embed":
                self.ask("/v1/embeddings", {"model": self.model.id, "input": text}, timeout_s=WARM_UP_TIMEOUT_S)
            else:
                messages = [{"role": "user", "content": text}]
                body = {"model": self.model.id, "messages": messages, "max_tokens": 16, "temperature": 0}
                self.ask("/v1/chat/completions", body, timeout_s=WARM_UP_TIMEOUT_S)

    def sleep(self) -> None:
        """Weights to the CPU's memory, the KV cache away; the GPU is almost empty then. Needs `can_sleep`."""
        self.ask("/sleep?level=1")  # level 2 would drop the weights, and a wake-up would load them from disk

    def wake_up(self) -> None:
        """Weights back to the GPU. Returns when it serves."""
        self.ask("/wake_up")
        self.wait_until_healthy(CONTROL_TIMEOUT_S)

    def load_adapter(self, name: str, folder: str) -> None:
        """From now on `name` is a model that can be asked for: ours with the LoRA adapter in `folder`. Needs a
        `lora_rank` of at least the adapter's."""
        self.ask("/v1/load_lora_adapter", {"lora_name": name, "lora_path": folder})

    def ask(
        self, path: str, body: object = None, *, method: str = "POST", timeout_s: float = CONTROL_TIMEOUT_S
    ) -> bytes:
        """One request through the door, with our key. Raises VllmDied, or RuntimeError with status and path."""
        self._check()
        data = None if method == "GET" else json.dumps(body).encode() if body is not None else b""
        headers = {"Content-Type": "application/json", DOOR_HEADER: self._key}
        request = Request(f"{self.url}{path}", data=data, headers=headers, method=method)  # noqa: S310
        try:
            with urlopen(request, timeout=timeout_s) as answer:  # noqa: S310
                return bytes(answer.read())
        except HTTPError as problem:
            with problem:  # its body may quote a prompt: it stays unread
                raise RuntimeError(f"vLLM answered {problem.code} to {path}.") from None
        except OSError:
            self._check()
            raise

    def _check(self) -> None:
        if self._process is None:
            raise RuntimeError("vLLM has not been started.")
        if (status := self._process.poll()) is not None:
            raise VllmDied(f"vLLM with {self.model.id} ended with status {status}; its own output above says why.")

    def stop(self) -> None:
        """End it and its workers. Nothing happens when it has ended already, or was never started."""
        if self._process is None:
            return
        if self._process.poll() is None:
            self._process.terminate()
            with suppress(subprocess.TimeoutExpired):
                self._process.wait(STOP_SECONDS)
        with suppress(ProcessLookupError):  # workers that outlived it would keep the GPU
            os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait()


def _with_our_package(python_path: str) -> str:
    parts: Sequence[str] = (str(Path(__file__).resolve().parents[2]), *python_path.split(os.pathsep))
    return os.pathsep.join(part for part in parts if part)
