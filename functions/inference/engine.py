"""The embedded engine's process: llama.cpp's own OpenAI server (through xllamacpp) on loopback, for one GGUF.

    echo SECRET | python -m functions.inference.engine --model model.gguf --port 8081

Reads the API key as the first line of stdin (a command line can be read by other users) and prints one line of JSON
when it serves: `{"url", "context_tokens"}`. Port 0 takes a free one without a race: the server that binds it says it.

Promises: lives no longer than its stdin, so a parent that is killed leaves no orphan. Logs nothing of what is said.
Does not know Parley: no settings, no gateway, and no import that would slow its start.
"""

import argparse
import json
import os
import signal
import sys
import threading
import urllib.error
import urllib.request
from pathlib import Path

SLOTS = 4  # conversations that generate at the same time; each has the whole context
EMBED_TOKENS = 2048  # of one text; a passage has a few hundred
CONTEXT_TOKENS = 8192  # per slot; llama.cpp caps it at what the model was trained for
BIG_MODEL_BYTES = 1_500_000_000
BIG_MODEL_CONTEXT_TOKENS = 4096  # 7B: 2 GB of KV cache in all, instead of 4
# Every waiting request holds one of llama.cpp's HTTP threads. With the usual few, a full queue would shut out
# health checks and token counts; these sleep and cost nothing.
HTTP_THREADS = 96
PROMPT_CACHE_MIB = 512  # KV states of chats that lost their slot; the default of 8 GiB is a server's
ERRORS_ONLY = 1


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", type=Path, required=True)
    parser.add_argument("--alias", help="the model's id on the wire; the file's name without it")
    parser.add_argument("--port", type=int, default=0)
    parser.add_argument("--slots", type=int, default=SLOTS)
    parser.add_argument("--embed", action="store_true", help="vectors instead of answers: the file is such a model")
    parser.add_argument("--temperature", type=float, help="when a request names none; llama.cpp's own without it")
    options = parser.parse_args()
    key = sys.stdin.readline().strip()
    threading.Thread(target=_end_with_stdin, daemon=True).start()
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the parent's to handle; stdin says when it is over
    serve(options, key)


def serve(options: argparse.Namespace, key: str) -> None:
    import xllamacpp  # noqa: PLC0415 (after the watch on stdin: it takes a while)

    params = xllamacpp.CommonParams()
    params.model.path = str(options.model)
    params.model_alias = {options.alias or options.model.stem}
    params.hostnames = ["127.0.0.1"]
    params.port = options.port
    params.api_keys = [key] if key else []
    params.n_parallel = options.slots
    params.n_ctx = options.slots * _context_tokens(options.model)
    if options.embed:  # a text's tokens are read at once, all or none
        params.embedding = True
        params.n_ctx = options.slots * EMBED_TOKENS
        params.n_batch = params.n_ubatch = EMBED_TOKENS
    if options.temperature is not None:
        params.sampling.temp = options.temperature
    params.n_threads_http = HTTP_THREADS
    params.cpuparams.n_threads = params.cpuparams_batch.n_threads = _threads()
    params.cache_ram_mib = PROMPT_CACHE_MIB
    params.endpoint_slots = False  # they show prompts
    params.ui = False
    params.verbosity = ERRORS_ONLY
    server = xllamacpp.Server(params)
    url = server.listening_address
    if options.embed and not _embeds(url, key):
        sys.exit("This model makes no vectors of texts.")
    print(json.dumps({"url": url, "context_tokens": _slot_context(url, key)}), flush=True)  # noqa: T201 (the parent reads it)
    threading.Event().wait()


def _end_with_stdin() -> None:
    while os.read(0, 4096):
        pass
    os._exit(0)  # now: llama.cpp's threads would go on with their answers


def _threads() -> int:
    """One core stays free for the server: it has tokens to deliver while the next one is computed."""
    affinity = getattr(os, "sched_getaffinity", None)
    cores = len(affinity(0)) if affinity else os.cpu_count() or 1
    return max(1, cores - 1)


def _context_tokens(model: Path) -> int:
    return BIG_MODEL_CONTEXT_TOKENS if model.stat().st_size > BIG_MODEL_BYTES else CONTEXT_TOKENS


def _embeds(url: str, key: str) -> bool:
    """llama.cpp starts with any model, and refuses only when it is asked for a vector."""
    headers = {"Authorization": f"Bearer {key}", "Content-Type": "application/json"}
    request = urllib.request.Request(f"{url}/v1/embeddings", b'{"input": "a"}', headers)  # noqa: S310 (our own)
    try:
        with urllib.request.urlopen(request, timeout=60) as response:  # noqa: S310
            return bool(json.load(response)["data"])
    except urllib.error.HTTPError:
        return False


def _slot_context(url: str, key: str) -> int:
    request = urllib.request.Request(f"{url}/props", headers={"Authorization": f"Bearer {key}"})  # noqa: S310 (our own)
    with urllib.request.urlopen(request, timeout=10) as response:  # noqa: S310
        return int(json.load(response)["default_generation_settings"]["n_ctx"])


if __name__ == "__main__":
    main()
