"""The operator's commands, over a house and model servers that really run."""

import asyncio
import hashlib
import json
import os
import re
import signal
import sys
import threading
from asyncio.subprocess import PIPE, Process
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from functools import partial
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from functions import services
from functions.api import nodes as registry
from functions.chat.messages import NodeUse
from functions.cli import cli
from functions.inference.gateway import Gateway, Limits
from functions.inference.nodes import Node, ServedModel
from functions.inference.pricing import PRICES_AS_OF
from functions.services import open_store
from tests.house import House, open_house, text_of
from tests.simulated import Scenario, SimulatedEngine

KEY = "node-key-for-tests"


def run(*arguments: str, **environment: str) -> Result:
    values = {f"PARLEY_{name.upper()}": value for name, value in environment.items()}
    return CliRunner().invoke(cli, list(arguments), env=values)


# -- parley node ---------------------------------------------------------------------------------------------------


class Command:
    """`parley …` as a process; its lines as they come."""

    def __init__(self, process: Process) -> None:
        self.process, self.said = process, list[str]()

    async def until(self, words: str) -> str:
        assert self.process.stdout
        while True:
            line = (await asyncio.wait_for(self.process.stdout.readline(), 20)).decode()
            self.said.append(line)
            if words in line:
                return line
            assert line, "".join(self.said)

    async def end(self, number: int | None = None) -> int:
        if number is not None:
            self.process.send_signal(number)
        rest, _ = await asyncio.wait_for(self.process.communicate(), 20)
        self.said += rest.decode().splitlines(keepends=True)
        return self.process.returncode or 0


@asynccontextmanager
async def parley(*arguments: str, key: str = KEY) -> AsyncIterator[Command]:
    command = [sys.executable, "-m", "functions.cli", *arguments]
    environment = {name: value for name, value in os.environ.items() if not name.startswith("PARLEY_")}
    environment |= {"PARLEY_NODE_KEY": key, "PYTHONUNBUFFERED": "1"}
    process = await asyncio.create_subprocess_exec(
        *command, stdout=PIPE, stderr=asyncio.subprocess.STDOUT, env=environment
    )
    try:
        yield Command(process)
    finally:
        if process.returncode is None:
            process.kill()
            await process.communicate()


@pytest.fixture
async def quick(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[House]:
    """A house with heartbeats every tenth of a second: what takes half a minute in life is over in one here."""
    monkeypatch.setattr(registry, "NODE_HEARTBEAT_SECONDS", 0.1)
    monkeypatch.setattr(registry, "NODE_EXPIRES_SECONDS", 1.0)
    monkeypatch.setattr(services, "Gateway", partial(Gateway, limits=Limits(refresh_s=0.05)))
    async with open_house(tmp_path, node_key=KEY) as house:
        yield house


async def models(house: House) -> dict[str, str]:
    told = (await house.http.get("/status")).json()["models"]
    return {model["id"]: model["state"] for model in told}


async def registered(house: House) -> list[str]:
    told = (await house.http.get("/nodes", headers={"authorization": f"Bearer {KEY}"})).json()["data"]
    return [node["name"] for node in told]


async def until(look: Callable[[], Any]) -> None:
    """What another process does is seen by asking."""
    async with asyncio.timeout(20):
        while not await look():
            await asyncio.sleep(0.02)


async def test_a_model_server_joins_and_answers_until_it_leaves(quick: House) -> None:
    async with (
        SimulatedEngine(Scenario(text="I am in the attic."), models=("qwen", "llama"), api_key=KEY) as engine,
        parley(
            "node", "join", engine.url, "--model", "qwen", "--name", "attic", "--gpu", "L4", "--to", quick.url
        ) as node,
    ):
        await node.until("is up and serves qwen, llama")
        await node.until(f"Joined {quick.url} as attic")
        await until(lambda: _has(quick, "qwen"))
        said = await quick.say(await quick.open_chat(model="qwen"), "Where are you?")
        listed = await asyncio.to_thread(run, "node", "list", "--to", quick.url, node_key=KEY)

        assert text_of(said) == "I am in the attic."
        assert said[-1].data["message"]["model"] == "qwen"
        assert engine.stats.started == 1
        assert re.search(rf"attic +{re.escape(engine.url)} +qwen +L4 +0\.80 +\d+ s ago", listed.output)
        assert "llama" not in await models(quick)

        assert await node.end(signal.SIGINT) == 0
        assert f"Left {quick.url}" in node.said[-1]
        assert await registered(quick) == []
        await until(lambda: _lacks(quick, "qwen"))


async def _has(house: House, model: str) -> bool:
    return (await models(house)).get(model) == "warm"


async def _lacks(house: House, model: str) -> bool:
    return model not in await models(house)


async def _is_empty(house: House) -> bool:
    return await registered(house) == []


async def test_a_model_server_that_dies_vanishes_and_comes_back(quick: House) -> None:
    async with (
        SimulatedEngine(Scenario(echo=True), models=("qwen",)) as engine,
        parley("node", "join", engine.url, "--name", "attic", "--to", quick.url) as node,
    ):
        await node.until("Joined")
        await until(lambda: _has(quick, "qwen"))
        await engine.stop()
        await node.until("Lost: Nothing answers at")
        await until(lambda: _is_empty(quick))
        await until(lambda: _lacks(quick, "qwen"))

        await engine.start()
        await node.until("Found again: attic")
        await until(lambda: _has(quick, "qwen"))
        assert await node.end(signal.SIGTERM) == 0
        assert await registered(quick) == []


async def test_one_that_is_taken_out_comes_back_and_a_parley_that_refuses_ends_it(quick: House) -> None:
    async with (
        SimulatedEngine(models=("qwen",)) as engine,
        SimulatedEngine(models=("qwen",)) as other,
        parley("node", "join", engine.url, "--name", "attic", "--to", quick.url) as node,
    ):
        await node.until("Joined")
        left = await asyncio.to_thread(run, "node", "leave", "attic", "--to", quick.url, node_key=KEY)
        await until(lambda: _is_registered(quick))
        async with parley("node", "join", other.url, "--name", "attic", "--to", quick.url) as second:
            status = await second.end()

        assert left.output == "attic is not registered any more.\n"
        assert status == 1
        assert "Another server is registered as attic" in "".join(second.said)
        assert await registered(quick) == ["attic"]
        assert await node.end(signal.SIGINT) == 0


async def _is_registered(house: House) -> bool:
    return await registered(house) == ["attic"]


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[House]:
    """A house with a closed registry in a loop of its own: click's runner is synchronous."""
    yield from _in_a_thread(lambda: open_house(tmp_path_factory.mktemp("house"), Scenario(echo=True), api_nodes))


def api_nodes(engine: SimulatedEngine) -> list[Node]:
    """One that is awake, and one that sleeps and must not be woken."""
    big = ServedModel(id="big", context_tokens=4096)
    sleeping = Node(engine.url, name="gpu", models=[big], serverless=True, gpu="H100", usd_per_second=0.001)
    for ms in (20_000, 30_000, 200_000):
        sleeping.observe_wake(ms)
    return [Node(engine.url, name="here"), sleeping]


def _in_a_thread(opened: Callable[[], Any]) -> Iterator[House]:
    ready: list[House] = []
    up, over, loop = threading.Event(), asyncio.Event(), asyncio.new_event_loop()

    async def live() -> None:
        async with opened() as house:
            ready.append(house)
            up.set()
            await over.wait()

    thread = threading.Thread(target=lambda: loop.run_until_complete(live()))
    thread.start()
    assert up.wait(20)
    yield ready[0]
    loop.call_soon_threadsafe(over.set)
    thread.join(20)
    loop.close()


def test_the_node_key_comes_from_the_environment_alone(running: House) -> None:
    for command in (["join", running.engine.url], ["list"], ["leave", "attic"]):
        refused = run("node", *command, "--to", running.url)

        assert refused.exit_code == 2
        assert "PARLEY_NODE_KEY" in refused.output
    assert "key" not in " ".join(re.findall(r"--[a-z-]+", run("node", "join", "--help").output))


def test_a_closed_registry_says_how_to_open_it(running: House) -> None:
    for command in (["join", running.engine.url], ["list"], ["leave", "attic"]):
        refused = run("node", *command, "--to", running.url, node_key=KEY)

        assert refused.exit_code == 1
        assert "Registration of nodes is closed here" in refused.output


@pytest.mark.parametrize(
    ("path", "options", "says"),
    [
        ("/v1", ["--model", "qwen"], "serves sim, and not qwen"),
        ("/v2", [], "its address usually ends in /v1"),
        ("/health", [], "usually ends in /v1"),
    ],
)
def test_what_is_wrong_with_the_model_server_is_said_before_anything_joins(
    running: House, path: str, options: list[str], says: str
) -> None:
    url = running.engine.url.removesuffix("/v1") + path
    refused = run("node", "join", url, *options, "--to", running.url, node_key=KEY)

    assert refused.exit_code == 1
    assert says in refused.output
    assert "node-secret" not in refused.output


def test_a_model_server_that_wants_another_key_is_told_apart(running: House) -> None:
    locked: Iterator[House] = _in_a_thread(lambda: SimulatedEngine(api_key="another"))
    engine: Any = next(locked)
    refused = run("node", "join", engine.url, "--to", running.url, node_key=KEY)
    assert list(locked) == []

    assert refused.exit_code == 1
    assert "refuses the node key" in refused.output


def test_an_address_that_parley_could_not_reach_is_refused() -> None:
    refused = run("node", "join", "http://127.0.0.1:8001/v1", "--to", "https://parley.example", node_key=KEY)
    nonsense = run("node", "join", "http://127.0.0.1:8001/v1", "--to", "parley.example", node_key=KEY)

    assert (refused.exit_code, nonsense.exit_code) == (2, 2)
    assert "give the address that others see" in refused.output
    assert "not the address of a Parley" in nonsense.output


# -- parley status -------------------------------------------------------------------------------------------------


def test_status_tells_each_model_and_wakes_none(running: House) -> None:
    asked_before = len(running.engine.stats.requests)
    told = run("status", "--url", running.url)

    assert told.exit_code == 0, told.output
    assert f"at {running.url}" in told.output.splitlines()[0]
    assert re.search(r"^sim +warm +\d+ s +now +– +– +1 +0 *$", told.output, re.MULTILINE)
    assert re.search(r"^big +cold +– +30 s \(9 of 10: 3 min\) +H100 +3\.60 +1 +0 *$", told.output, re.MULTILINE)
    assert len(running.engine.stats.requests) == asked_before


def test_status_reads_where_and_who_from_the_environment(running: House) -> None:
    told = run("status", url=running.url)

    assert told.exit_code == 0, told.output
    assert "sim" in told.output


def test_status_signs_in_with_the_token(tmp_path: Path) -> None:
    tokens = f"ana={hashlib.sha256(b'token of ana').hexdigest()}"
    opened: Iterator[House] = _in_a_thread(lambda: open_house(tmp_path, auth="token", access_tokens=tokens))
    house = next(opened)
    refused, told = run("status", url=house.url), run("status", url=house.url, token="token of ana")
    assert list(opened) == []

    assert (refused.exit_code, told.exit_code) == (1, 0)
    assert "Sign in, or send an API key" in refused.output


def test_nobody_at_home_is_a_sentence_and_not_a_trace() -> None:
    told = run("status", "--url", "http://127.0.0.1:9")

    assert told.exit_code == 1
    assert told.output.startswith("Error: Nothing answers at http://127.0.0.1:9/status")


def test_something_else_at_that_address_is_told_apart(running: House) -> None:
    told = run("status", "--url", running.engine.url)

    assert told.exit_code == 1
    assert f"(HTTP 404 from {running.engine.url}/status)" in told.output


class _SaysModels(BaseHTTPRequestHandler):
    """200 and a list of models, whatever is asked."""

    def do_GET(self) -> None:
        self.rfile.read(int(self.headers.get("content-length", 0)))
        body = b'{"data": [{"id": "sim"}]}'
        self.send_response(200)
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    do_PUT = do_GET

    def log_message(self, *_: object) -> None:
        pass


@pytest.mark.parametrize("command", [["status", "--url"], ["node", "list", "--to"], ["node", "join", "{url}", "--to"]])
def test_something_else_that_speaks_json_is_a_sentence_and_not_a_trace(command: list[str]) -> None:
    with ThreadingHTTPServer(("127.0.0.1", 0), _SaysModels) as server:
        serving = threading.Thread(target=server.serve_forever)
        serving.start()
        url = f"http://127.0.0.1:{server.server_port}"
        told = run(*(part.format(url=url) for part in command), url, node_key=KEY)
        server.shutdown()
        serving.join()

    assert told.exit_code == 1
    assert "That is not the answer of a Parley" in told.output


# -- parley cost ---------------------------------------------------------------------------------------------------


@pytest.fixture
def books(tmp_path: Path) -> Path:
    """Ana and Ben shared a start five days ago; Ana asked again a minute ago, and a pre-warm was for nobody."""
    now = datetime.now(UTC)
    then = now.replace(hour=9, minute=0, second=0, microsecond=0) - timedelta(days=5)

    def a_use(owner: str, at: datetime, asked: float, began: float, ended: float, **more: Any) -> NodeUse:
        start_ms = at.timestamp() * 1000
        asked_ms, began_ms, ended_ms = (round(start_ms + 1000 * s) for s in (asked, began, ended))
        values: dict[str, Any] = {
            "id": f"{owner} {asked_ms}",
            "run_id": f"{owner} {asked_ms}",
            "chat_id": f"chat of {owner}",
            "node": "gpu",
            "model": "big",
            "was_cold": asked < began,
            "usd_per_second": 0.001,
            "idle_s": 100.0,
            "streams": 8,
            "prompt_tokens": 1000,
            "cached_tokens": 500,
            "completion_tokens": 50,
        } | more
        return NodeUse(owner=owner, asked_ms=asked_ms, began_ms=began_ms, ended_ms=ended_ms, **values)

    uses = [
        a_use("ana", then, 0, 40, 60),
        a_use("ben", then, 0, 40, 80),
        a_use(
            "cy",
            then,
            4000,
            4040,
            4040,
            run_id=None,
            chat_id=None,
            prompt_tokens=0,
            cached_tokens=0,
            completion_tokens=0,
        ),
        a_use("ana", now - timedelta(seconds=60), 0, 0, 10, model="small", node="other"),
    ]

    async def write() -> None:
        store = await open_store(f"sqlite:///{tmp_path / 'parley.db'}")
        for use in uses:
            await store.record_use(use)
        await store.close()

    asyncio.run(write())
    return tmp_path


def test_cost_by_owner_is_a_table_of_the_whole_house(books: Path) -> None:
    told = run("cost", "--since", "7d", "--by", "owner", "--data", str(books))

    assert told.exit_code == 0, told.output
    heading, *lines = told.output.splitlines()
    assert heading.split("  ")[0] == "OWNER"
    assert re.search(r"^ben +1 +1,000 +500 +50 +30\.0 +20\.0 +100\.0 +0\.1500 *$", told.output, re.MULTILINE)
    assert re.search(r"^cy +0 +0 +0 +0 +0\.0 +40\.0 +100\.0 +0\.1400 *$", told.output, re.MULTILINE)
    assert re.search(r"^ana +2 +2,000 +1,000 +100 +20\.0 +20\.0 +5\d\.\d +~0\.09\d\d *$", told.output, re.MULTILINE)
    assert [line.split()[0] for line in lines[:4]] == ["ben", "cy", "ana", "total"], "the dearest first"
    assert re.search(r"^total +3 .* ~0\.38\d\d *$", told.output, re.MULTILINE)
    assert "~ An estimate" in told.output
    assert f"as of {PRICES_AS_OF}" in told.output


@pytest.mark.parametrize(
    ("by", "names"),
    [
        ("model", {"big", "small"}),
        ("chat", {"chat of ana", "chat of ben", "(none: waking while somebody typed, or a call without a chat)"}),
    ],
)
def test_cost_as_json_has_the_same_total_however_it_is_grouped(books: Path, by: str, names: set[str]) -> None:
    by_day = json.loads(run("cost", "--json", "--data", str(books)).output)
    told = json.loads(run("cost", "--by", by, "--json", "--data", str(books)).output)

    assert {line[by] for line in told["data"]} == names
    assert [line["day"] for line in by_day["data"]] == sorted(line["day"] for line in by_day["data"])
    assert sum(line["runs"] for line in told["data"]) == told["total"]["runs"] == by_day["total"]["runs"] == 3
    sums = [sum(line["cost_usd"] for line in answer["data"]) for answer in (told, by_day)]
    assert sums == pytest.approx([told["total"]["cost_usd"], by_day["total"]["cost_usd"]], abs=1e-5)
    assert told["prices_as_of"] == PRICES_AS_OF.isoformat()


def test_what_is_settled_is_not_marked_as_an_estimate(books: Path) -> None:
    told = json.loads(run("cost", "--by", "owner", "--json", "--data", str(books)).output)

    assert {line["owner"]: line["is_estimate"] for line in told["data"]} == {"ana": True, "ben": False, "cy": False}


def test_cost_reads_the_store_that_the_setting_names_and_from_when_it_is_told(books: Path) -> None:
    yesterday = (datetime.now(UTC) - timedelta(days=1)).date().isoformat()
    told = json.loads(run("cost", "--since", yesterday, "--json", store_url=f"sqlite:///{books / 'parley.db'}").output)
    nothing = run("cost", "--since", "0h", "--data", str(books))

    assert told["total"]["runs"] == 1
    assert told["from"].startswith(yesterday)
    assert nothing.output.startswith("Nothing was used since")


@pytest.mark.parametrize("since", ["soon", "2026-02-30", "2999-01-01", "1969-01-01", "99999d", "-1d", "²d", ""])
def test_a_since_that_makes_no_sense_is_refused(books: Path, since: str) -> None:
    refused = run("cost", f"--since={since}", "--data", str(books))

    assert refused.exit_code == 2
    assert "--since" in refused.output


def test_no_store_is_said_and_none_is_made(tmp_path: Path) -> None:
    refused = run("cost", "--data", str(tmp_path))

    assert refused.exit_code == 2
    assert "There is no store" in refused.output
    assert list(tmp_path.iterdir()) == []
