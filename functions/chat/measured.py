"""What the metrics hear of a run that has ended. Once a run: nothing here is per token."""

from functions.chat.messages import Message, Run
from functions.telemetry import count, observe


def run_ended(run: Run, answer: Message | None) -> None:
    """`run` is terminal; `answer` says whether a guardrail has taken its place."""
    is_blocked = answer is not None and answer.status == "blocked"
    count("parley_runs_total", end="blocked" if is_blocked else run.status)
    if run.error is not None:
        count("parley_errors_total", code=run.error.code)
    usage, timings, cost = run.usage, run.timings, run.cost
    if timings.ttft_ms:
        observe("parley_ttft_seconds", timings.ttft_ms / 1000)
    if timings.ttft_ms and usage.completion_tokens > 1 and (answer is None or answer.cached_from is None):
        between_ms = (timings.total_ms - timings.ttft_ms) / (usage.completion_tokens - 1)
        observe("parley_inter_token_seconds", max(0.0, between_ms) / 1000)
    for kind, tokens in (
        ("prompt", usage.prompt_tokens),
        ("cached", usage.cached_tokens),
        ("completion", usage.completion_tokens),
    ):
        if tokens:
            count("parley_tokens_total", tokens, kind=kind)
    if usage.prompt_tokens:
        count("parley_cache_looks_total", cache="prefix")
    if usage.cached_tokens:
        count("parley_cache_hits_total", cache="prefix")
    for kind, seconds in (
        ("active", cost.active_seconds),
        ("cold_start", cost.cold_start_seconds),
        ("idle", cost.idle_seconds),
    ):
        if seconds > 0:
            count("parley_gpu_seconds_total", seconds, kind=kind)
    if cost.cost_usd > 0:
        count("parley_cost_usd_total", cost.cost_usd)
