"""kill -9 between a hold and its bill: what was used is counted once, and what was only reserved comes back."""

import asyncio
import signal
import subprocess
import sys
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path

import httpx

from functions.chat.allowances import Amounts, Limits
from functions.chat.house import House
from functions.chat.messages import new_id, utc_now
from functions.chat.quotas import VANISHED_MS, Asker, Quotas
from functions.services import Store, open_store
from tests.e2e.parley_process import ParleyProcess, parley_dev
from tests.house import Listener
from tests.simulated import Scenario, SimulatedEngine

LIMITS = Limits(runs_at_once=2, tokens_per_day=100_000)
RESERVED = 300


def now_ms() -> int:
    return int(utc_now().timestamp() * 1000)


def later_ms() -> int:
    """When a hold whose run is not there has lost it."""
    return now_ms() + VANISHED_MS


def quotas_on(store: Store, clock: Callable[[], int] = now_ms) -> Quotas:
    return Quotas(counter=store, meters=store, runs=store, house=House(store, clock), clock=clock, defaults=LIMITS)


async def reserve_and_die(url: str) -> None:
    """What a process has done when it is killed before its run is stored."""
    await quotas_on(await open_store(url)).reserve(Asker("local"), new_id(), Amounts(tokens=RESERVED))
    signal.raise_signal(signal.SIGKILL)


async def my_limits(parley: ParleyProcess) -> tuple[int, float, float]:
    """Runs that may begin, tokens used, tokens reserved."""
    async with httpx.AsyncClient(base_url=parley.url, timeout=30) as http:
        limits = (await http.get("/me")).json()["limits"]
    tokens = limits["tokens_per_day"]
    return limits["runs_at_once"]["remaining"], tokens["used"], tokens["reserved"]


async def test_what_a_killed_process_had_reserved_is_paid_once_or_comes_back(tmp_path: Path) -> None:
    """One hold has a run that another process ends; the other's was never stored."""
    url = f"sqlite:///{tmp_path / 'parley.db'}"
    dies = f"import asyncio, tests.e2e.test_kill_limits as t; asyncio.run(t.reserve_and_die({url!r}))"
    died = await asyncio.to_thread(subprocess.run, [sys.executable, "-c", dies], cwd=Path(__file__).parents[2])
    assert died.returncode == -signal.SIGKILL
    async with SimulatedEngine(Scenario(echo=True, tokens=6)) as engine:
        settings = {
            "model_url": engine.url,
            "store_url": url,
            "lease_seconds": "1.0",
            "runs_at_once": "2",
            "tokens_per_day": "100000",
            "memory": "false",
            "web": "/nonexistent",
        }
        with ExitStack() as stack:
            doomed = stack.enter_context(parley_dev(tmp_path, **settings)).ready()
            run_id = await _killed_in_mid_answer(doomed, engine)
            engine.gate.release()
            again = stack.enter_context(parley_dev(tmp_path, **settings)).ready()

            async with (
                httpx.AsyncClient(base_url=again.url, timeout=30) as http,
                http.stream("GET", f"/runs/{run_id}/events") as response,
            ):
                done = (await Listener(response).rest())[-1]
            used = done.data["usage"]["prompt_tokens"] + done.data["usage"]["completion_tokens"]
            async with asyncio.timeout(10):  # a run is settled after its last event
                while (limits := await my_limits(again))[0] == 0:
                    pass

    assert limits == (1, used, RESERVED), "the other one may be about to be stored"
    store = await open_store(url)
    try:
        quotas = quotas_on(store, later_ms)
        for _ in range(2):
            await quotas.reserve(Asker("local"), new_id(), Amounts(tokens=1))
        standing = (await quotas.standing(Asker("local")))["tokens_per_day"]
        assert (standing.used, standing.reserved) == (used, 2)
    finally:
        await store.close()


async def _killed_in_mid_answer(doomed: ParleyProcess, engine: SimulatedEngine) -> str:
    """The run."""
    engine.gate.hold(3)
    async with httpx.AsyncClient(base_url=doomed.url, timeout=30) as http:
        chat = (await http.post("/chat", json={})).json()["id"]
        body = {"message": {"id": new_id(), "content": "tell me"}}
        async with http.stream("POST", f"/chat/{chat}/completion", json=body) as response:
            await engine.gate.reached()
            remaining, used, reserved = await my_limits(doomed)
            assert (remaining, used) == (0, 0)
            assert reserved > RESERVED
            await asyncio.to_thread(doomed.kill)
            return Listener(response).run_id
