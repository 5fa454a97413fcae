"""Real vLLM servers on the CPU, with the flags and the door of functions/inference/vllm.py."""

import os
import re
import signal
import socket
import subprocess
from dataclasses import replace
from pathlib import Path
from urllib.request import urlopen

from functions.inference.nodes import Node
from functions.inference.vllm import VllmModel, VllmServer
from tests.vllm.install import HOME

# Another vLLM than .vllm/'s, and whether it has a GPU: how tests/bench/vllm_gpu.py runs this suite on one
PROGRAM = Path(os.environ.get("VLLM_TEST_PROGRAM") or HOME / "bin/vllm")
IS_CPU = not os.environ.get("VLLM_TEST_GPU")
CONTEXT_TOKENS = 2048
START_SECONDS = 300.0  # 26 s on two free cores; nobody's fault on a busy machine
ENVIRONMENT = {"HF_HUB_OFFLINE": "1", "VLLM_LOGGING_LEVEL": "WARNING", "DO_NOT_TRACK": "1"}
CPU_ENVIRONMENT = {
    "OMP_NUM_THREADS": "1",
    "VLLM_CPU_OMP_THREADS_BIND": "nobind",
    "TORCHDYNAMO_DISABLE": "1",  # else the first request for log probabilities compiles C++ for 16 s
}
FLAGS = ("--kv-cache-memory-bytes", "64M", "--uvicorn-log-level", "warning")
NGRAM = {"method": "ngram", "num_speculative_tokens": 4, "prompt_lookup_max": 4, "prompt_lookup_min": 2}
SERIES = re.compile(r"^(vllm:\w+)(\{[^}]*\})? (\S+)$", re.MULTILINE)


def chat_model(folder: Path) -> VllmModel:
    """As modal_app.py describes its models, with what a CPU and a tiny model change: tools, adapters, grammars."""
    return VllmModel(
        repo=str(folder),
        revision="",
        id="tiny",
        name="Tiny",
        licence="none",
        gpu="",
        weights_gb=0.012,
        kv_bytes_per_token=4 * 2 * 64 * 2 * 4,
        context_tokens=CONTEXT_TOKENS,
        max_num_seqs=16,
        max_batched_tokens=2048,
        dtype="float32",
        lora_rank=8,
        tool_parser="hermes",
        fast_boot=True,
        memory_share=0.25,  # three servers on one GPU; a CPU does not ask
        extra=FLAGS,
    )


def guessing_model(folder: Path) -> VllmModel:
    """The same model, with speculation by n-grams."""
    return replace(chat_model(folder), lora_rank=0, speculation=NGRAM)


def embedding_model(folder: Path) -> VllmModel:
    return replace(chat_model(folder), id="tiny-embed", task="embed", lora_rank=0, tool_parser=None)


class Server(VllmServer):
    """A server that tests may kill, and look into."""

    def __init__(self, model: VllmModel, *, program: Path = PROGRAM, is_cpu: bool = IS_CPU) -> None:
        environment = ENVIRONMENT | (CPU_ENVIRONMENT if is_cpu else {})
        super().__init__(model, _free_port(), program=str(program), host="127.0.0.1", environment=environment)

    def kill(self) -> None:
        """As the host does it: the server and its engine, now."""
        assert self._process
        os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait()

    def node(self, name: str = "") -> Node:
        return Node(f"{self.url}/v1", name=name or self.model.id, task=self.model.task, slots=self.model.max_num_seqs)

    def metric(self, name: str, **labels: str) -> float:
        """The sum over the series of this name that have these labels. Blocks."""
        with urlopen(f"{self.url}/metrics", timeout=10) as answer:
            text = answer.read().decode()
        wanted = [f'{label}="{value}"' for label, value in labels.items()]
        found = [
            float(value)
            for series, has, value in SERIES.findall(text)
            if series == name and all(label in has for label in wanted)
        ]
        assert found, f"vLLM has no metric {name} {labels}"
        return sum(found)


def make_tiny(folder: Path, *, program: Path = PROGRAM) -> Path:
    """The model and the adapter, by vLLM's own Python: this one has no torch."""
    script = Path(__file__).with_name("tiny_model.py")
    environment = {**os.environ, "HF_HUB_OFFLINE": "1"}
    subprocess.run([program.with_name("python"), script, folder], check=True, capture_output=True, env=environment)
    return folder


def _free_port() -> int:
    """Free a moment ago. vLLM takes a number and says none, so the moment cannot be closed."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
