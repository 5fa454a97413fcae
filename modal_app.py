# ruff: noqa: T201  # the download and the smoke test print for people
"""Parley on Modal: `modal deploy modal_app.py` gives GPUs that sleep, the API with its web client, and its jobs.

    uv sync --extra modal && modal setup
    parley token alice                                     # a token for alice, and the line that lets her in
    modal secret create parley --from-dotenv parley.env    # the settings listed under "Secrets" below
    parley tables                                          # once, with the same PARLEY_STORE_URL
    modal run modal_app.py::download                       # optional: weights onto the Volume, before anybody waits
    modal deploy modal_app.py
    modal run modal_app.py --token parley_…                # smoke test: one question, answered through everything

Read it top-down: models, autoscaling, images, volumes, secrets, model servers, download, web function, sweeper, night,
warm schedule, smoke test. Nothing here runs around the clock. What it does lives in `functions/`; this file only says
where it runs. Why these models and settings, and what could not be tried: docs/decisions/0006-models-on-modal.md.
"""

import asyncio
import json
import time
from collections.abc import AsyncIterable, AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import modal

from functions.inference.schedule import WorkingHours, warm_replicas
from functions.inference.vllm import VllmModel, VllmServer

MINUTES = 60  # seconds
HOURS = 60 * MINUTES
ROOT = Path(__file__).parent

# ## How a GPU starts
#
# With a snapshot, a start restores a server that has loaded, compiled and answered already: Modal's mean for vLLM falls
# from 96 s to 14 s. It is alpha, exists only after `modal deploy`, and is made anew (the slow way) after each deploy
# and for each type of host. Without: a plain start. FAST_BOOT makes a plain start shorter and every token slower.
SNAPSHOTS = True
FAST_BOOT = False

# ## The models
#
# Open weights, all four under Apache-2.0; no hidden reasoning, of which Parley would show nothing and pay all. Each is
# pinned to a commit, which is its content whatever becomes of the repository. To verify one, open
# https://huggingface.co/REPO/commits/main and look for it; one that does not exist fails the download and the first
# start. What fits: `kv_tokens` in functions/inference/vllm.py does the sum of the comments below, and a test asks it.
#
# The everyday model, first and so the default: quick to wake, and speaks many languages. 5.2 GB of FP8 weights on an L4
# (22.5 GiB, 300 GB/s): 58 tokens a second at most alone, as each token reads all weights once. 90 % of the GPU less
# weights and overhead leaves 12.9 GiB of cache: at 144 KiB a token (36 layers × 8 KV heads × 128 × K and V × 2 bytes)
# 94,000 tokens, 24 chats of 3,900 each.
EVERYDAY = VllmModel(
    repo="Qwen/Qwen3-4B-Instruct-2507-FP8",
    revision="8591804019c8b22094c3b5b4454e0edc05dffc98",
    id="qwen3-4b-instruct",
    name="Qwen3 4B Instruct",
    licence="Apache-2.0",
    gpu="L4",
    weights_gb=5.2,
    kv_bytes_per_token=36 * 8 * 128 * 2 * 2,
    context_tokens=32_768,
    max_num_seqs=24,
    tool_parser="hermes",
    can_sleep=SNAPSHOTS,
    fast_boot=FAST_BOOT,
)
# The capable one: a mixture of experts, 30B parameters to know things and 3B at work per token. It would fit an L40S at
# half the price; but a full batch uses nearly all experts, so it reads nearly all 31 GB a step, and an H100 (79.6 GiB,
# 3.35 TB/s) does that four times as often. 92 % less weights and overhead leaves 41.7 GiB: at 96 KiB a token
# (48 × 4 × 128 × 2 × 2) 455,000 tokens, 64 chats of 7,100.
CAPABLE = VllmModel(
    repo="Qwen/Qwen3-30B-A3B-Instruct-2507-FP8",
    revision="5a5a776300a41aaa681dd7ff0106608ef2bc90db",
    id="qwen3-30b-a3b-instruct",
    name="Qwen3 30B A3B Instruct",
    licence="Apache-2.0",
    gpu="H100",
    weights_gb=31.2,
    kv_bytes_per_token=48 * 4 * 128 * 2 * 2,
    context_tokens=32_768,
    max_num_seqs=64,
    memory_share=0.92,
    tool_parser="hermes",
    can_sleep=SNAPSHOTS,
    fast_boot=FAST_BOOT,
)
# Vectors of 1,024 numbers for search over a hundred languages. 1.2 GB of 16-bit weights; 112 KiB a token
# (28 × 8 × 128 × 2 × 2) on half an L4: 72,000 tokens at once, and half a GPU's memory to put into a snapshot.
EMBED = VllmModel(
    repo="Qwen/Qwen3-Embedding-0.6B",
    revision="97b0c614be4d77ee51c0cef4e5f07c00f9eb65b3",
    id="qwen3-embedding-0.6b",
    name="Qwen3 Embedding 0.6B",
    licence="Apache-2.0",
    gpu="L4",
    task="embed",
    weights_gb=1.2,
    kv_bytes_per_token=28 * 8 * 128 * 2 * 2,
    context_tokens=8192,
    max_num_seqs=32,
    memory_share=0.50,
    can_sleep=SNAPSHOTS,
    fast_boot=FAST_BOOT,
)
# A judge of what is said, safe, controversial or unsafe and why, in 119 languages. 1.5 GB, otherwise as above. The 4B
# size judges better and takes an L4 of its own just the same; it is two lines here.
MODERATE = VllmModel(
    repo="Qwen/Qwen3Guard-Gen-0.6B",
    revision="fada3b2f655b89601929198343c94cd2f64d93cc",
    id="qwen3guard-gen-0.6b",
    name="Qwen3Guard Gen 0.6B",
    licence="Apache-2.0",
    gpu="L4",
    task="moderate",
    weights_gb=1.5,
    kv_bytes_per_token=28 * 8 * 128 * 2 * 2,
    context_tokens=8192,
    max_num_seqs=32,
    memory_share=0.50,
    can_sleep=SNAPSHOTS,
    fast_boot=FAST_BOOT,
)


# ## Autoscaling: what waiting is worth, in money
#
# min      replicas that never sleep. 1 means that nobody ever waits, and a GPU's price around the clock
# buffer   spare replicas beside busy ones: a burst finds a place at once; each costs like a busy one
# max      the most that a runaway client can cost. At least 2: with 1, Modal cannot replace a replica while it serves
# idle_s   how long a replica waits for the next question. Longer: fewer cold starts, more seconds paid for nothing
# target   requests per replica at which the next one starts: below the batch, so that there is room meanwhile
#
# The most requests that a replica takes is `max_num_seqs` of its model: Modal refuses (429) exactly where vLLM's batch
# is full, the gateway sees it and lets people wait in a queue that tells them so.
#
# The right column is the most that a day can cost: `max` replicas awake for 24 hours, with processor and memory.
@dataclass(frozen=True)
class Scaling:
    min: int
    buffer: int
    max: int
    idle_s: int
    target: int


SCALING = {
    EVERYDAY.id: Scaling(min=0, buffer=0, max=3, idle_s=5 * MINUTES, target=16),  # $71.86 a day
    CAPABLE.id: Scaling(min=0, buffer=0, max=2, idle_s=5 * MINUTES, target=48),  # $208.85 a day
    EMBED.id: Scaling(min=0, buffer=0, max=2, idle_s=2 * MINUTES, target=24),  # $46.41 a day
    MODERATE.id: Scaling(min=0, buffer=0, max=2, idle_s=5 * MINUTES, target=24),  # $46.52 a day
}
CORES = 2.0  # vLLM's HTTP side and its engine keep one busy each
PORTS = {EVERYDAY.id: 8890, CAPABLE.id: 8891, EMBED.id: 8892, MODERATE.id: 8893}

# ## How long things may take
#
# A run ends after 15 minutes, waking included (functions/settings.py); a request that streams it lives a bit longer.
START_SECONDS = 15 * MINUTES  # a very first start downloads: 31 GB for the capable model
RUN_SECONDS = 17 * MINUTES
WEB_IDLE_SECONDS = 5 * MINUTES
JOB_POLL_SECONDS = 2.0  # of the worker inside an awake web container: one small DynamoDB read each

# ## The warm schedule: one replica awake in working hours, until the day's money for that is gone
#
# Off as long as the cap is 0. Ten hours of the everyday model cost $9.98, so a cap of 5 keeps it awake from 8:00 until
# shortly before 13:00. `modal deploy` makes a change take effect.
WARM_USD_PER_DAY = 0.0
WARM_MODEL = EVERYDAY
WARM_HOURS = WorkingHours(time_zone="Europe/Berlin", opens=8, closes=18, days=(0, 1, 2, 3, 4))
WARM_PERIOD_SECONDS = 5 * MINUTES  # between two decisions

# ## Images: one for GPUs, one for the download, one for everything else
#
# The devel base has the CUDA 13.0 compiler that vLLM's just-in-time kernels ask for; torch 2.13 is built for 13.0.
# Neither the GPU's image nor the download's has our secrets, and of our package only what they run.
UV = "0.13.8"  # installs all three; the one that wrote uv.lock
HF_CACHE, VLLM_CACHE = "/root/.cache/huggingface", "/root/.cache/vllm"
WHAT_RUNS_THERE = ("__init__.py", "inference/__init__.py", "inference/vllm.py", "inference/schedule.py")
THE_REST = ~modal.FilePatternMatcher(*WHAT_RUNS_THERE)
gpu_image = (
    modal.Image.from_registry("nvidia/cuda:13.0.1-devel-ubuntu24.04", add_python="3.12")
    .entrypoint([])  # the base's own prints a banner at every start
    .uv_pip_install("vllm==0.32.0", uv_version=UV)
    .env(
        {
            "HF_XET_HIGH_PERFORMANCE": "1",  # the first download fills the line
            "VLLM_ENABLE_STARTUP_PLAN": "1",  # memory is profiled once and remembered on the Volume
            "VLLM_NO_USAGE_STATS": "1",
            "DO_NOT_TRACK": "1",
        }
    )
    .add_local_python_source("functions", ignore=THE_REST)  # last: what changes most often
)
hub_image = (
    modal.Image.debian_slim(python_version="3.12")
    .uv_pip_install("huggingface-hub==2.4.0", uv_version=UV)  # the one that vLLM 0.32.0 resolves to
    .env({"HF_XET_HIGH_PERFORMANCE": "1", "HF_HUB_DISABLE_PROGRESS_BARS": "1", "HF_HUB_DISABLE_TELEMETRY": "1"})
    .add_local_python_source("functions", ignore=THE_REST)
)
# Exactly uv.lock, hashes checked, without the tools of development.
web_image = (
    modal.Image.debian_slim(python_version="3.11")
    .uv_sync(str(ROOT), extra_options="--no-dev", uv_version=UV)
    .env({"PARLEY_AUTH": "token"})  # nothing public without sign-in; `public_settings` refuses that
    .add_local_python_source("functions", ignore=["**/*.gguf"])  # with its data, without the embedded model
    .add_local_dir(ROOT / "web/dist", "/assets")  # npm --prefix web ci && npm --prefix web run build
)
with web_image.imports():  # type: ignore[no-untyped-call]  # the other containers have none of this, and need none
    from functions import telemetry  # isort: skip  # first: where it is missing, nothing below is tried
    import aiohttp
    from fastapi import FastAPI

    from functions.app import create_app
    from functions.chat.messages import new_id
    from functions.errors import BadInput
    from functions.inference.nodes import Node, ServedModel, nodes_from
    from functions.inference.pricing import usd_per_second
    from functions.services import Services, open_services
    from functions.settings import Settings
    from functions.workers import embedded, nightly
    from functions.workers.embedded import working

# ## Volumes: what a start must not fetch or compile again
weights = modal.Volume.from_name("parley-huggingface-cache", create_if_missing=True)
compiled = modal.Volume.from_name("parley-vllm-cache", create_if_missing=True)

# ## Secrets: settings that are not for a repository
#
# PARLEY_MODEL_HEADERS is {"Modal-Key": "wk-…", "Modal-Secret": "ws-…"}, a proxy token of this workspace (Settings →
# Proxy Auth Tokens): with it, and only with it, the web function may speak to the GPUs.
SECRET = modal.Secret.from_name(
    "parley",
    required_keys=[
        "PARLEY_STORE_URL",  # dynamodb://parley?region=us-east-1
        "PARLEY_ACCESS_TOKENS",  # from `parley token NAME`, comma-separated
        "PARLEY_SECRET_KEY",  # any long random text; the containers must share it
        "PARLEY_MODEL_HEADERS",
        "AWS_ACCESS_KEY_ID",  # may use the tables of PARLEY_STORE_URL, nothing else
        "AWS_SECRET_ACCESS_KEY",
    ],
)

app = modal.App("parley")


# ## Model servers: vLLM's own OpenAI server behind Modal's proxy, one class per model
def memory_mib(model: VllmModel) -> int:
    """Of the processor: vLLM's processes, and all weights while the server sleeps for its snapshot."""
    return round(model.weights_gb * 1000) + 8 * 1024


def on_modal(model: VllmModel) -> dict[str, Any]:
    """Where and how a model's server runs. No queue: while it sleeps Modal answers 503, which wakes it, and the
    gateway says `waking` until it is up."""
    scaling = SCALING[model.id]
    return {
        "image": gpu_image,
        "gpu": model.gpu,
        "cpu": CORES,
        "memory": memory_mib(model),
        "volumes": {HF_CACHE: weights, VLLM_CACHE: compiled},
        "port": PORTS[model.id],
        "unauthenticated": False,  # Modal's proxy asks for the token; vLLM sees no stranger
        "routing_region": "us-east",  # where the web function and DynamoDB are
        "min_containers": scaling.min,
        "buffer_containers": scaling.buffer,
        "max_containers": scaling.max,
        "scaledown_window": scaling.idle_s,
        "target_concurrency": scaling.target,
        "max_concurrency": model.max_num_seqs,
        "startup_timeout": START_SECONDS,
        "exit_grace_period": 30,  # streams end, or their runs continue on another GPU from what is stored
        "enable_memory_snapshot": SNAPSHOTS,
        "experimental_options": {"enable_gpu_snapshot": True} if SNAPSHOTS else {},
    }


class OnVllm:
    """What all model servers do, in this order. With snapshots, most starts begin at `go`: the rest was restored."""

    model: VllmModel

    @modal.enter(snap=SNAPSHOTS)
    def make_ready(self) -> None:
        self.server = VllmServer(self.model, PORTS[self.model.id])
        self.server.start()
        self.server.wait_until_healthy(START_SECONDS)
        self.server.warm_up()
        if SNAPSHOTS:
            self.server.sleep()

    @modal.enter(snap=False)
    def go(self) -> None:
        if SNAPSHOTS:
            self.server.wake_up()

    @modal.exit()
    def stop(self) -> None:
        self.server.stop()


@app.server(**on_modal(EVERYDAY))
class Everyday(OnVllm):
    model = EVERYDAY


@app.server(**on_modal(CAPABLE))
class Capable(OnVllm):
    model = CAPABLE


@app.server(**on_modal(EMBED))
class Embedder(OnVllm):
    model = EMBED


@app.server(**on_modal(MODERATE))
class Moderator(OnVllm):
    model = MODERATE


MODELS = (EVERYDAY, CAPABLE, EMBED, MODERATE)  # the first is the default
# Any: the decorator has made each class a modal.Server, which type checkers do not see.
SERVERS: dict[str, Any] = {EVERYDAY.id: Everyday, CAPABLE.id: Capable, EMBED.id: Embedder, MODERATE.id: Moderator}


# ## Download: `modal run modal_app.py::download [--model qwen3-4b-instruct]`
#
# The servers do without: a first start fetches what it lacks. But then somebody waits for it, on a GPU's time.
@app.function(image=hub_image, volumes={HF_CACHE: weights}, cpu=4.0, memory=4096, timeout=2 * HOURS)
def download(model: str = "") -> int:
    """Weights onto the Volume: all models, or the one with this id. How many files were fetched.

    Each file is kept as soon as it is whole, so that a run that was cut goes on where it was; what is there already
    costs one question to the hub.
    """
    chosen = [served for served in MODELS if model in ("", served.id)]
    if not chosen:
        raise ValueError(f"No model is called {model!r}. There are: {', '.join(served.id for served in MODELS)}.")
    return sum(fetch(served) for served in chosen)


def fetch(model: VllmModel) -> int:
    """Fetch the files of one model that are not there yet, and say each. Raises RuntimeError in words for people."""
    # Only this function's image has the hub's client.
    from huggingface_hub import errors, hf_hub_download, snapshot_download  # type: ignore  # noqa: PLC0415

    what, commit = f"{model.repo} at {model.revision}", {"revision": model.revision}
    try:
        files = snapshot_download(model.repo, **commit, dry_run=True)
        missing = sorted((file for file in files if file.will_download), key=lambda file: file.filename)
        print(f"{what}: {len(missing)} of {len(files)} files to fetch, {megabytes(missing)} MB", flush=True)
        for number, file in enumerate(missing, 1):
            started = time.monotonic()
            hf_hub_download(model.repo, file.filename, **commit)
            weights.commit()  # what is whole is kept
            took_s = time.monotonic() - started
            print(f"  {number}/{len(missing)} {file.filename}: {megabytes([file])} MB, {took_s:.1f} s", flush=True)
        snapshot_download(model.repo, **commit, local_files_only=True)  # raises if one is still missing
    except (errors.RepositoryNotFoundError, errors.RevisionNotFoundError):
        raise RuntimeError(f"The hub does not have {what}: check the models in modal_app.py.") from None
    except (errors.HTTPError, OSError) as problem:  # the hub's refusal, the network, a full disk
        raise RuntimeError(f"{what} could not be fetched ({problem}). Run it again: it goes on there.") from None
    return len(missing)


def megabytes(files: list[Any]) -> str:
    return f"{sum(file.file_size for file in files) / 1e6:,.1f}"


# ## The web function: API and client, for people who have a token
def public_settings() -> "Settings":
    """Raises BadInput where this place would be open to all, or would forget."""
    settings = Settings()
    if settings.auth == "local":
        raise BadInput("This address is public: PARLEY_AUTH must be `token` or `oidc`.")
    if not settings.secret_key or not settings.store_url.startswith("dynamodb://"):
        raise BadInput("Several containers answer here: set PARLEY_SECRET_KEY, and PARLEY_STORE_URL to dynamodb://….")
    return settings


async def ways_to_models(settings: "Settings") -> "list[Node]":
    """The gateway's nodes: our servers, or the one of PARLEY_MODEL_URL, and then ours never wake; and PARLEY_NODES."""
    others = nodes_from(settings.nodes, usd_per_second)
    if settings.model_url:
        return [Node(settings.model_url, api_key=settings.model_api_key, headers=settings.model_headers), *others]
    urls = await asyncio.gather(*(SERVERS[model.id].get_url.aio() for model in MODELS))
    return [*(node_of(model, f"{url}/v1", settings) for model, url in zip(MODELS, urls, strict=True)), *others]


def price(model: VllmModel) -> float:
    """USD per second of one replica, awake."""
    return usd_per_second(model.gpu, cpu_cores=CORES, memory_gib=memory_mib(model) / 1024)


def node_of(model: VllmModel, url: str, settings: "Settings") -> "Node":
    scaling = SCALING[model.id]
    served = ServedModel(id=model.id, name=model.name, context_tokens=model.context_tokens, task=model.task)
    return Node(
        url,
        name=f"{model.id}@{model.gpu}",
        headers=settings.model_headers,
        models=[served],
        kind="vllm",
        serverless=True,  # never asked how it is: that would wake it
        idle_seconds=scaling.idle_s,
        gpu=model.gpu,
        usd_per_second=price(model),
        slots=scaling.max * model.max_num_seqs,  # more than one replica takes: it is how Modal sees that two are needed
        streams=model.max_num_seqs,
    )


@app.function(
    image=web_image,
    secrets=[SECRET],
    cpu=1.0,
    memory=512,
    timeout=RUN_SECONDS,
    scaledown_window=WEB_IDLE_SECONDS,
)
@modal.concurrent(max_inputs=100, target_inputs=80)  # an open stream waits; it hardly computes
@modal.asgi_app()
def web() -> "FastAPI":
    """The same app as everywhere. While it is awake it also works on queued jobs, so that async runs start at once."""
    telemetry.configure()
    settings = public_settings()

    @asynccontextmanager
    async def services_with_worker() -> AsyncIterator[Services]:
        nodes = await ways_to_models(settings)
        async with open_services(settings, nodes) as services, working(services, idle_s=JOB_POLL_SECONDS):
            yield services

    return create_app(services_with_worker, Path("/assets"))


# ## The sweeper: runs whose container died while nobody was looking
#
# A reader who comes back takes a silent run over by itself, and an awake web container works on queued jobs. So this
# is for the rest, and five minutes is soon enough. It is the one thing here that costs money while nobody is there: a
# sweep that finds nothing is about 3 s of one core (imports, rails) and 6 s of 0.5 GiB until its container is gone,
# 3 × $0.0000131 + 6 × 0.5 × $0.00000222 = $0.000046; 288 a day are $0.013, 40 cents a month (every minute: 2 dollars).
@app.function(
    image=web_image,
    secrets=[SECRET],
    schedule=modal.Period(minutes=5),
    timeout=RUN_SECONDS + MINUTES,
    scaledown_window=2,  # the least there is: an idle container would cost more than its work
)
async def sweep() -> int:
    """How many jobs were due."""
    telemetry.configure()
    settings = public_settings()
    async with open_services(settings, await ways_to_models(settings)) as services:
        return await embedded.sweep(services, within_s=RUN_SECONDS)


# ## The night: summaries and titles that would have woken a GPU by day, and what has failed
#
# Nearly all of them are made right after a turn, while its GPU is warm. So this is seldom more than a minute, and never
# more than PARLEY_NIGHT_MINUTES (10): with the everyday model's L4 that is 17 cents at most, once a night. A night in
# which nothing waits costs what a sweep does, and wakes no GPU.
@app.function(
    image=web_image,
    secrets=[SECRET],
    schedule=modal.Cron("17 3 * * *", timezone=WARM_HOURS.time_zone),
    retries=2,  # what it has done stays done
    timeout=RUN_SECONDS + MINUTES,
    scaledown_window=2,
)
async def summarise_chats() -> int:
    """How many jobs there were."""
    telemetry.configure()
    settings = public_settings()
    async with open_services(settings, await ways_to_models(settings)) as services:
        return await nightly.summarise_chats(services, within_s=RUN_SECONDS)


# ## The warm schedule
#
# It can only add: the replicas that people need come and go as ever. A deployment resets it, and the next decision is
# soon. Should Modal's scheduler or this function fail in the evening, the replica stays until it runs again: watch it.
@app.function(
    image=web_image,
    schedule=modal.Cron(f"*/{WARM_PERIOD_SECONDS // MINUTES} * * * *") if WARM_USD_PER_DAY else None,
    retries=2,  # letting go must not fail for a hiccup
    timeout=MINUTES,
    scaledown_window=2,
)
async def keep_warm() -> int:
    """How many replicas Modal now keeps awake for us: 0 or 1, or the table's minimum if that is more."""
    scaling = SCALING[WARM_MODEL.id]
    wanted = warm_replicas(
        WARM_HOURS,
        datetime.now(UTC),
        usd_per_day=WARM_USD_PER_DAY,
        usd_per_second=price(WARM_MODEL),
        period_s=WARM_PERIOD_SECONDS,
        idle_s=scaling.idle_s,
    )
    autoscaler = SERVERS[WARM_MODEL.id].autoscaler
    now = await autoscaler.update.aio(min_containers=max(wanted, scaling.min))
    return now.min_containers or 0


# ## Smoke test: `modal run modal_app.py --token parley_… [--url https://…]`
@app.local_entrypoint()
def smoke(token: str, url: str = "", question: str = "Say hello in one short sentence.") -> None:
    """One question through everything. Without --url the whole app starts anew, for as long as the test takes."""
    asyncio.run(ask(url or web.get_web_url() or "", token, question))


async def ask(url: str, token: str, question: str) -> None:
    """Wait for health, open a chat, stream the answer. Raises (status 1) when there is none in time."""
    headers = {"Authorization": f"Bearer {token}"}
    async with asyncio.timeout(15 * MINUTES), aiohttp.ClientSession(url, headers=headers) as http:
        while True:
            with suppress(aiohttp.ClientError):
                async with http.get("/readyz", raise_for_status=True):
                    break
            await asyncio.sleep(1)
        print(f"{url} is ready")
        async with http.post("/chat", json={}, raise_for_status=True) as answer:
            chat_id = (await answer.json())["id"]
        body = {"message": {"id": new_id(), "content": question}}
        started, is_over = time.monotonic(), False
        while not is_over:  # the same message again attaches to its run: a cut connection is no failure
            with suppress(aiohttp.ClientConnectionError, aiohttp.ClientPayloadError):
                async with http.post(f"/chat/{chat_id}/completion", json=body, raise_for_status=True) as stream:
                    is_over = await tell(stream.content, started)


async def tell(lines: AsyncIterable[bytes], started: float) -> bool:
    """Print what a run's events say. Whether the run has ended; raises when it has not ended well."""
    text = event = ""
    async for line in lines:
        field, _, value = line.decode().strip().partition(": ")
        event = value if field == "event" else event
        if field != "data":
            continue
        data, at = json.loads(value), f"{time.monotonic() - started:7.2f} s "
        match event:
            case "status":
                print(at, data["phase"])
            case "delta":
                if not text:
                    print(at, "first token")
                text += data["text"]
            case "done" if text.strip():
                print(at, "done:", text.strip().splitlines()[0])
                return True
            case "done" | "stopped" | "failed":
                raise RuntimeError(f"The run ended as `{event}`, without a good answer: {value}")
    return False
