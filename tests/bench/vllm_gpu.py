# ruff: noqa: T201  # a table for people
"""How fast vLLM answers through our gateway, and how far that is from what the GPU's memory allows.

    python -m tests.bench.vllm_gpu --gpu H200 [--shape qwen3-30b-a3b] [--program PATH/vllm] [--suite] [--json FILE]
    python -m tests.bench.vllm_gpu --cpu --shape tiny      # tries the script itself, with .vllm/

A model of the real size with random weights (tests/bench/shapes.py) is served with the flags of modal_app.py, on
this machine's GPU. Every stream is one answer of our own gateway: its own prompt, so that no cache helps, and all of
its tokens. What is printed, for 1, 8 and 32 streams:

    TTFT        from the request to the first text, all streams starting together
    per stream  tokens a second of the median stream, from its first text on
    tokens/s    all streams together, from the first text of any to the last of all
    limit       what memory allows: weights read once a step, and each stream's own context, over the bandwidth
    of limit    the share of it that was reached; the rest is computing, launching and sampling

`--suite` runs tests/vllm on the GPU first. Random weights say nothing sensible, hence nothing of quality is measured,
and speculation is off: nothing that is guessed would be right.
"""

import argparse
import asyncio
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from contextlib import aclosing
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from functions.chat.messages import Sampling
from functions.inference.gateway import End, Gateway, Token
from functions.inference.vllm import VllmModel
from tests.bench.shapes import SHAPES, Shape, write_shape
from tests.vllm.servers import PROGRAM, Server, chat_model, make_tiny

# Bytes a second, from the makers' data sheets
BANDWIDTH = {"L4": 300e9, "L40S": 864e9, "A100-80GB": 2039e9, "H100": 3350e9, "H200": 4800e9}
STREAMS = (1, 8, 32)
PROMPT_WORDS = 400  # a token each; the template and the number in front add a few
ANSWER_TOKENS = 256


@dataclass(frozen=True)
class Timed:
    """One stream, in seconds since all were sent."""

    first_s: float
    last_s: float
    prompt_tokens: int
    tokens: int


@dataclass(frozen=True)
class Row:
    streams: int
    ttft_p50_ms: float
    ttft_max_ms: float
    stream_tokens_per_s: float
    tokens_per_s: float
    limit_tokens_per_s: float | None

    @property
    def share(self) -> float | None:
        return self.tokens_per_s / self.limit_tokens_per_s if self.limit_tokens_per_s else None


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--shape", choices=SHAPES, action="append", help="again for more; default: both real ones")
    where = parser.add_mutually_exclusive_group(required=True)
    where.add_argument("--gpu", choices=BANDWIDTH)
    where.add_argument("--cpu", action="store_true")
    parser.add_argument("--program", type=Path, default=PROGRAM, help="vLLM's command, beside its Python")
    parser.add_argument("--bandwidth-gb-s", type=float, help="instead of the data sheet's; needed for a limit on a CPU")
    parser.add_argument("--streams", type=int, nargs="+", default=STREAMS)
    parser.add_argument("--tokens", type=int, default=ANSWER_TOKENS)
    parser.add_argument("--suite", action="store_true", help="run tests/vllm on this machine's GPU first")
    parser.add_argument("--json", type=Path, help="keep the figures here")
    options = parser.parse_args()
    if options.suite:
        environment = {
            **os.environ,
            "VLLM_TEST_PROGRAM": str(options.program),
            "VLLM_TEST_GPU": "" if options.cpu else "1",
        }
        subprocess.run([sys.executable, "-m", "pytest", "tests/vllm", "--durations=5"], env=environment, check=True)
    found = {name: measure(name, options) for name in options.shape or ("qwen3-4b", "qwen3-30b-a3b")}
    if options.json:
        options.json.write_text(json.dumps({name: [asdict(row) for row in rows] for name, rows in found.items()}))


def measure(name: str, options: argparse.Namespace) -> list[Row]:
    shape = SHAPES[name]
    bandwidth = options.bandwidth_gb_s * 1e9 if options.bandwidth_gb_s else BANDWIDTH.get(options.gpu)
    with tempfile.TemporaryDirectory() as scratch:
        tokenizer = make_tiny(Path(scratch) / "words", program=options.program) / "model"
        folder = write_shape(shape, Path(scratch) / name, tokenizer)
        server = Server(described(name, shape, folder, is_cpu=options.cpu), program=options.program, is_cpu=options.cpu)
        try:
            started = time.monotonic()
            server.start()
            server.wait_until_healthy()
            healthy_s = time.monotonic() - started
            server.warm_up()
            print(f"{name}: up after {healthy_s:.0f} s, warm after {time.monotonic() - started:.0f} s", flush=True)
            rows = asyncio.run(rounds(server, shape, options, bandwidth))
        finally:
            server.stop()
    print_table(rows)
    return rows


def described(name: str, shape: Shape, folder: Path, *, is_cpu: bool) -> VllmModel:
    """The deployment's own description, with random weights and without the sleep that only Modal needs."""
    dummy = ("--load-format", "dummy")
    if is_cpu:
        cpu = chat_model(folder)
        return replace(cpu, lora_rank=0, max_num_seqs=32, extra=(*cpu.extra, *dummy))
    import modal_app

    model = modal_app.CAPABLE if shape.experts else modal_app.EVERYDAY
    return replace(model, repo=str(folder), revision="", id=name, can_sleep=False, max_num_seqs=64, extra=dummy)


async def rounds(server: Server, shape: Shape, options: argparse.Namespace, bandwidth: float | None) -> list[Row]:
    gateway = Gateway([server.node()])
    await gateway.open()
    try:
        rows = []
        for number, streams in enumerate(options.streams):
            timed = await one_round(gateway, server.model.id, number, streams, options.tokens)
            rows.append(row_of(timed, shape, bandwidth))
        return rows
    finally:
        await gateway.close()


async def one_round(gateway: Gateway, model: str, number: int, streams: int, tokens: int) -> list[Timed]:
    started = time.perf_counter()

    async def one(stream: int) -> Timed:
        # The number comes first: from there on no prompt is like another, and no block of the cache fits
        prompt = f"{number} {stream}" + " the house by the water" * (PROMPT_WORDS // 5)
        sampling = Sampling(temperature=0, max_tokens=tokens, extra={"ignore_eos": True})
        first = last = 0.0
        messages = [{"role": "user", "content": prompt}]
        async with aclosing(gateway.stream(model, messages, sampling, session_id=f"{number}/{stream}")) as events:
            async for event in events:
                if isinstance(event, Token):
                    last = time.perf_counter() - started
                    first = first or last
                elif isinstance(event, End):
                    assert event.usage, "vLLM says how much it has made"
                    assert event.usage.completion_tokens == tokens, "an answer was cut"
                    assert first, "the answer had no text to wait for"
                    return Timed(first, last, event.usage.prompt_tokens, event.usage.completion_tokens)
        raise AssertionError("a stream without an end")

    return list(await asyncio.gather(*(one(stream) for stream in range(streams))))


def row_of(timed: list[Timed], shape: Shape, bandwidth: float | None) -> Row:
    streams = len(timed)
    firsts = sorted(each.first_s for each in timed)
    elapsed_s = max(each.last_s for each in timed) - firsts[0]
    middle = statistics.mean(each.prompt_tokens + each.tokens / 2 for each in timed)  # the context, halfway
    return Row(
        streams=streams,
        ttft_p50_ms=1000 * statistics.median(firsts),
        ttft_max_ms=1000 * firsts[-1],
        stream_tokens_per_s=statistics.median((each.tokens - 1) / (each.last_s - each.first_s) for each in timed),
        tokens_per_s=sum(each.tokens - 1 for each in timed) / elapsed_s,
        limit_tokens_per_s=shape.limit_tokens_per_s(streams, middle, bandwidth) if bandwidth else None,
    )


def print_table(rows: list[Row]) -> None:
    print("| streams | TTFT p50 ms | TTFT max ms | per stream tok/s | tokens/s | limit | of limit |")
    print("|---|---|---|---|---|---|---|")
    for row in rows:
        limit = f"{row.limit_tokens_per_s:,.0f}" if row.limit_tokens_per_s else "–"
        share = f"{row.share:.0%}" if row.share else "–"
        print(
            f"| {row.streams} | {row.ttft_p50_ms:,.0f} | {row.ttft_max_ms:,.0f} | {row.stream_tokens_per_s:,.0f} |"
            f" {row.tokens_per_s:,.0f} | {limit} | {share} |",
            flush=True,
        )


if __name__ == "__main__":
    main()
