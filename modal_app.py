# ruff: noqa: T201  # the smoke test prints for people
"""Parley on Modal: `modal deploy modal_app.py` gives a GPU that sleeps, the API with its web client, and a sweeper.

    uv sync --extra modal && modal setup
    parley token alice                                     # a token for alice, and the line that lets her in
    modal secret create parley --from-dotenv parley.env    # the settings listed under "Secrets" below
    parley tables                                          # once, with the same PARLEY_STORE_URL
    modal deploy modal_app.py
    modal run modal_app.py --token parley_…                # smoke test: one question, answered through everything

Read it top-down: constants, images, volumes, secrets, the model server, the web function, the sweeper, the smoke test.
Nothing here runs around the clock. What it does lives in `functions/`; this file only says where it runs.
"""

import asyncio
import json
import subprocess
import time
from collections.abc import AsyncIterable, AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from urllib.request import urlopen

import modal

MINUTES = 60  # seconds
ROOT = Path(__file__).parent

# ## The model
#
# Qwen3-30B-A3B-Instruct-2507 in FP8: open weights under Apache-2.0, no hidden reasoning, English and Chinese. A mixture
# of experts: 30B parameters to know things, 3B at work per token, so that it is quick on a GPU of modest bandwidth.
# 31 GB of weights load in 16–31 s at a Volume's 1–2 GB/s; a 4B model would wake sooner and know far less.
# The revision is the content: whatever the repository becomes, this stays. To verify it, look for it among the commits
# on the model's page at huggingface.co; a revision that does not exist fails the first start.
MODEL = "Qwen/Qwen3-30B-A3B-Instruct-2507-FP8"
MODEL_REVISION = "5a5a776300a41aaa681dd7ff0106608ef2bc90db"
MODEL_ID = "qwen3-30b-a3b-instruct"  # what clients ask for
MODEL_NAME = "Qwen3 30B A3B Instruct"  # what people read
CONTEXT_TOKENS = 32_768  # the model can do 262,144; this bounds one chat's share of the cache

# ## The GPU
#
# An L40S (48 GB, FP8, $0.000542/s = $1.95 an hour awake). 92 % of it less the weights leaves about 10 GiB of KV cache:
# at 96 KiB a token (48 layers × 4 KV heads × 128 × K and V × 2 bytes) some 100,000 tokens, 32 chats of 3,000 each.
GPU = "L40S"
MAX_STREAMS = 32  # vLLM's batch, and where Modal answers 429: a request more would only wait inside vLLM, unseen
TARGET_STREAMS = 24  # a second GPU starts here, while the first still has room for its start-up time
MAX_GPUS = 3  # the most that a runaway client can cost: 3 × $46.83 a day
GPU_IDLE_SECONDS = 5 * MINUTES  # $0.16 a pause; shorter, and people who read an answer wait for the next one
LLM_PORT = 8890

# ## How long things may take
#
# A run ends after 15 minutes, waking included (functions/settings.py); a request that streams it lives a bit longer.
RUN_SECONDS = 17 * MINUTES
WEB_IDLE_SECONDS = 5 * MINUTES
JOB_POLL_SECONDS = 2.0  # of the worker inside an awake web container: one small DynamoDB read each

# ## Images: one for the GPU, one for everything else
#
# The devel base has the CUDA 13.0 compiler that vLLM's just-in-time kernels ask for; torch 2.13 is built for 13.0.
# The GPU image has neither our package nor our secrets: a change of ours never rebuilds it.
UV = "0.13.8"  # installs both; the one that wrote uv.lock
HF_CACHE, VLLM_CACHE = "/root/.cache/huggingface", "/root/.cache/vllm"
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
)
# Exactly uv.lock, hashes checked, without the tools of development. Local files last: they change most often.
web_image = (
    modal.Image.debian_slim(python_version="3.11")
    .uv_sync(str(ROOT), extra_options="--no-dev", uv_version=UV)
    .env({"PARLEY_AUTH": "token"})  # nothing public without sign-in; `public_settings` refuses anything else
    .add_local_python_source("functions")  # .py only, hence the next line
    .add_local_file(ROOT / "functions/guardrails/default.toml", "/root/functions/guardrails/default.toml")
    .add_local_dir(ROOT / "web/dist", "/assets")  # npm --prefix web ci && npm --prefix web run build
)
with web_image.imports():  # type: ignore[no-untyped-call]  # the GPU's containers have none of this, and need none
    import aiohttp
    from fastapi import FastAPI

    from functions import telemetry
    from functions.app import create_app
    from functions.chat.messages import new_id
    from functions.errors import BadInput
    from functions.inference.nodes import Node, ServedModel
    from functions.services import Services, open_services
    from functions.settings import Settings
    from functions.workers import embedded
    from functions.workers.embedded import working

# ## Volumes: what a start must not fetch or compile again
weights = modal.Volume.from_name("parley-huggingface-cache", create_if_missing=True)
compiled = modal.Volume.from_name("parley-vllm-cache", create_if_missing=True)

# ## Secrets: settings that are not for a repository
#
# PARLEY_MODEL_HEADERS is {"Modal-Key": "wk-…", "Modal-Secret": "ws-…"}, a proxy token of this workspace (Settings →
# Proxy Auth Tokens): with it, and only with it, the web function may speak to the GPU.
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

# ## The model server: vLLM's own OpenAI server behind Modal's proxy
VLLM = [
    *("vllm", "serve", MODEL),
    *("--revision", MODEL_REVISION),  # the tokenizer follows it
    *("--served-model-name", MODEL_ID),
    *("--host", "0.0.0.0"),  # noqa: S104  # Modal's proxy comes from outside the container
    *("--port", str(LLM_PORT)),
    *("--max-model-len", str(CONTEXT_TOKENS)),
    *("--max-num-seqs", str(MAX_STREAMS)),  # also bounds the CUDA graphs to capture: a shorter start
    *("--max-num-batched-tokens", "8192"),  # higher: sooner first tokens; lower: smoother streams beside a long prompt
    *("--gpu-memory-utilization", "0.92"),
    "--enable-prefix-caching",  # a chat's next turn pays only for what is new
    "--enable-chunked-prefill",  # a long prompt does not stop the streams of others
    "--enable-prompt-tokens-details",  # usage says how many tokens the cache saved
    *("--enable-auto-tool-choice", "--tool-call-parser", "hermes"),
    "--disable-uvicorn-access-log",  # a line per request says nothing; prompts are never logged
]


@app.server(
    image=gpu_image,
    gpu=GPU,
    volumes={HF_CACHE: weights, VLLM_CACHE: compiled},
    port=LLM_PORT,
    unauthenticated=False,  # Modal's proxy asks for the token; vLLM sees no stranger
    routing_region="us-east",  # where the web function and DynamoDB are
    target_concurrency=TARGET_STREAMS,
    max_concurrency=MAX_STREAMS,
    max_containers=MAX_GPUS,
    scaledown_window=GPU_IDLE_SECONDS,
    startup_timeout=15 * MINUTES,  # the very first start downloads 31 GB; Modal's published mean for vLLM is 96 s
    exit_grace_period=30,  # streams end, or their runs continue on another GPU from what is stored
)
class LLM:
    """No queue: while it sleeps Modal answers 503, which wakes it, and the gateway says `waking` until it is up."""

    @modal.enter()
    def start(self) -> None:
        self.vllm = subprocess.Popen(VLLM)  # noqa: S603  # our own constants
        while not self.is_healthy():
            if (status := self.vllm.poll()) is not None:
                raise RuntimeError(f"vLLM ended with status {status} before it was ready; its log is above.")
            time.sleep(0.5)

    def is_healthy(self) -> bool:
        with suppress(OSError), urlopen(f"http://127.0.0.1:{LLM_PORT}/health", timeout=5):
            return True
        return False

    @modal.exit()
    def stop(self) -> None:
        self.vllm.terminate()


# ## The web function: API and client, for people who have a token
def public_settings() -> "Settings":
    """Raises BadInput where this place would be open to all, or would forget."""
    settings = Settings()
    if settings.auth != "token" or not settings.access_tokens:
        raise BadInput("This address is public: PARLEY_AUTH must be `token` and PARLEY_ACCESS_TOKENS must be set.")
    if not settings.secret_key or not settings.store_url.startswith("dynamodb://"):
        raise BadInput("Several containers answer here: set PARLEY_SECRET_KEY, and PARLEY_STORE_URL to dynamodb://….")
    return settings


async def way_to_model(settings: "Settings") -> "Node":
    if settings.model_url:  # another GPU than ours, which then never wakes
        return Node(settings.model_url, api_key=settings.model_api_key, headers=settings.model_headers)
    url = await LLM.get_url.aio()  # type: ignore[attr-defined]  # the decorator has made it a modal.Server
    return Node(
        f"{url}/v1",
        name=GPU,
        headers=settings.model_headers,
        models=[ServedModel(id=MODEL_ID, name=MODEL_NAME, context_tokens=CONTEXT_TOKENS)],
        kind="vllm",
        serverless=True,  # never asked how it is: that would wake it
        idle_seconds=GPU_IDLE_SECONDS,
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
        nodes = [await way_to_model(settings)]
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
    async with open_services(settings, [await way_to_model(settings)]) as services:
        return await embedded.sweep(services, within_s=RUN_SECONDS)


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
