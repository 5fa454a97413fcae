"""The stack as it stands after `sam deploy`: what its functions do with what its tables, queues and clocks send."""

import asyncio
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, urlencode, urljoin, urlsplit

import httpx
import pytest

from functions.chat.messages import RememberJob, new_id
from functions.services import open_store
from tests.aws.function_url import function_url
from tests.aws.lambdas import free_port
from tests.aws.stack import KEYS, NAME, REGION, Stack, deployed
from tests.house import parse_events, text_of
from tests.simulated import Scenario, SimulatedEngine, answer_of
from tests.test_watch import ALARMS

TOKENS = 12
START_SECONDS = 60.0
QUESTION = "And to this the answer, please"


def answer_to(engine: SimulatedEngine, question: str) -> str:
    """What the model says to it, undisturbed; it hears of titles as well."""
    asked = (request["messages"] for request in engine.stats.requests)
    return next(answer_of(messages, TOKENS) for messages in asked if messages[-1]["content"] == question)


@pytest.fixture(scope="module")
def engine_port() -> int:
    return free_port()


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory, engine_port: int) -> Iterator[Stack]:
    node = {"name": "gpu", "url": f"http://127.0.0.1:{engine_port}/v1", "models": ["sim"], "context_tokens": 4096}
    with deployed(tmp_path_factory.mktemp("stack"), [node]) as there:
        yield there


@pytest.fixture
async def engine(engine_port: int) -> AsyncIterator[SimulatedEngine]:
    async with SimulatedEngine(Scenario(echo=True, tokens=TOKENS), port=engine_port) as engine:
        yield engine


@dataclass
class Api:
    url: str
    process: "subprocess.Popen[bytes]"


@contextmanager
def api(stack: Stack, folder: Path, **settings: str) -> Iterator[Api]:
    """The image's own command, in the environment of the deployed function."""
    port = free_port()
    command = [
        sys.executable,
        "-m",
        "uvicorn",
        "--factory",
        "functions.aws:app",
        "--port",
        str(port),
        "--no-access-log",
    ]
    kept = {key: os.environ[key] for key in ("PATH", "HOME", "LANG") if key in os.environ}
    environment = kept | stack.environment_of("api") | {"PARLEY_AUTH": "local"} | settings
    with (folder / "api.log").open("wb") as log:
        process = subprocess.Popen(command, env=environment, cwd=folder, stdout=log, stderr=subprocess.STDOUT)
    try:
        yield Api(f"http://127.0.0.1:{port}", process)
    finally:
        process.send_signal(signal.SIGCONT)
        process.send_signal(signal.SIGTERM)
        process.wait(20)


@pytest.fixture(scope="module")
def running(stack: Stack, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Api]:
    """One for the tests that only ask it."""
    with api(stack, tmp_path_factory.mktemp("api")) as started:
        _await_ready(started.url)
        yield started


@pytest.fixture
async def http(running: Api) -> AsyncIterator[httpx.AsyncClient]:
    async with httpx.AsyncClient(base_url=running.url, timeout=60) as client:
        yield client


def _await_ready(url: str) -> None:
    deadline = time.monotonic() + START_SECONDS
    with httpx.Client() as http:
        while time.monotonic() < deadline:
            try:
                if http.get(f"{url}/livez").status_code == 200:
                    return
            except httpx.TransportError:
                time.sleep(0.05)  # a poll of another process, which has no other way to tell us
    raise RuntimeError("the API did not start")


async def ask_in_the_background(http: httpx.AsyncClient, text: str) -> tuple[str, str]:
    """The chat and the run."""
    chat_id = (await http.post("/chat", json={})).json()["id"]
    body = {"message": {"id": new_id(), "content": text}, "mode": "async"}
    asked = await http.post(f"/chat/{chat_id}/completion", json=body)
    assert asked.status_code == 202, asked.text
    return chat_id, asked.json()["run_id"]


async def test_an_answer_asked_for_in_the_background_is_made_by_the_worker(
    stack: Stack, engine: SimulatedEngine, http: httpx.AsyncClient
) -> None:
    chat_id, run_id = await ask_in_the_background(http, "hello")

    events = parse_events((await http.get(f"/runs/{run_id}/events")).text)  # to its end
    run = (await http.get(f"/runs/{run_id}")).json()
    chat = (await http.get(f"/chat/{chat_id}")).json()

    assert events[-1].name == "done"
    assert run["status"] == "completed"
    assert chat["messages"][-1]["content"] == text_of(events)
    assert engine.stats.started == 1
    assert any(run_id in record for record in map(bytes.decode, stack.functions["worker"].invocations))


async def test_a_worker_that_dies_in_the_middle_is_followed_by_another(
    stack: Stack, engine: SimulatedEngine, http: httpx.AsyncClient
) -> None:
    engine.gate.hold(5)
    chat_id, run_id = await ask_in_the_background(http, QUESTION)
    async with http.stream("GET", f"/runs/{run_id}/events") as reading:
        async for line in reading.aiter_lines():
            if line == "event: delta":
                break
    stack.functions["worker"].kill()
    engine.gate.release()

    events = parse_events((await http.get(f"/runs/{run_id}/events")).text)
    chat = (await http.get(f"/chat/{chat_id}")).json()

    assert events[-1].name == "done"
    assert [event.id for event in events] == list(range(1, len(events) + 1))
    whole = answer_to(engine, QUESTION)
    assert chat["messages"][-1]["content"] == text_of(events) == whole


async def test_an_answer_streams_while_the_model_writes_and_is_finished_for_a_client_that_left(
    stack: Stack, engine: SimulatedEngine, tmp_path: Path
) -> None:
    with api(stack, tmp_path) as running:
        await asyncio.to_thread(_await_ready, running.url)
        async with function_url(running.url) as url, httpx.AsyncClient(base_url=url, timeout=60) as http:
            chat_id = (await http.post("/chat", json={})).json()["id"]
            engine.gate.hold(5)
            body = {"message": {"id": new_id(), "content": QUESTION}}
            async with http.stream("POST", f"/chat/{chat_id}/completion", json=body) as answer:
                async for line in answer.aiter_lines():
                    if line == "event: delta":  # the model waits for us, and has said no more
                        break
            engine.gate.release()

            events = parse_events((await http.get(f"/runs/{answer.headers['x-run-id']}/events")).text)

    assert events[-1].name == "done"
    assert text_of(events) == answer_to(engine, QUESTION)


async def test_a_frozen_function_is_followed_by_the_worker_and_writes_nothing_when_it_thaws(
    stack: Stack, engine: SimulatedEngine, tmp_path: Path
) -> None:
    with api(stack, tmp_path) as running:
        await asyncio.to_thread(_await_ready, running.url)
        async with httpx.AsyncClient(base_url=running.url, timeout=60) as http:
            chat_id = (await http.post("/chat", json={})).json()["id"]
            engine.gate.hold(5)
            body = {"message": {"id": new_id(), "content": QUESTION}}
            async with http.stream("POST", f"/chat/{chat_id}/completion", json=body) as answer:
                async for line in answer.aiter_lines():
                    if line == "event: delta":
                        break
                running.process.send_signal(signal.SIGSTOP)
                engine.gate.release()
                await engine.until(started=2)  # nobody reads: a bell has woken the worker
            run_id = answer.headers["x-run-id"]
            with _environment(stack):
                store = await open_store(stack.environment_of("worker")["PARLEY_STORE_URL"])
                try:
                    while (ended := await store.get_run("local", run_id)).status != "completed":
                        pass  # a poll of another process, through the store
                finally:
                    await store.close()
            running.process.send_signal(signal.SIGCONT)

            events = parse_events((await http.get(f"/runs/{run_id}/events")).text)
            run = (await http.get(f"/runs/{run_id}")).json()

    assert (run["status"], events[-1].name, ended.epoch) == ("completed", "done", 2)
    assert [event.id for event in events] == list(range(1, len(events) + 1))
    assert text_of(events) == answer_to(engine, QUESTION)


async def test_a_message_that_cannot_be_read_ends_in_the_dead_queue(stack: Stack) -> None:
    sqs, there = stack.client("sqs"), stack.resources()
    for queue in (there["LaterQueue"], there["RunsQueue"]):
        sqs.set_queue_attributes(QueueUrl=queue, Attributes={"VisibilityTimeout": "0"})
    try:
        sqs.send_message(QueueUrl=there["LaterQueue"], MessageBody="no bell")
        order = {"MessageGroupId": "c", "MessageDeduplicationId": "d"}
        sqs.send_message(QueueUrl=there["RunsQueue"], MessageBody='{"job_id": 1}', **order)

        dead = [_received(sqs, there[name]) for name in ("LaterDeadQueue", "RunsDeadQueue")]
    finally:
        for queue in (there["LaterQueue"], there["RunsQueue"]):
            sqs.set_queue_attributes(QueueUrl=queue, Attributes={"VisibilityTimeout": "960"})

    assert dead == ["no bell", '{"job_id": 1}']


def _received(sqs: Any, queue: str) -> str:
    for _ in range(6):
        for message in sqs.receive_message(QueueUrl=queue, WaitTimeSeconds=10).get("Messages", ()):
            sqs.delete_message(QueueUrl=queue, ReceiptHandle=message["ReceiptHandle"])
            body: str = message["Body"]
            return body
    raise AssertionError("nothing came")


async def test_the_clock_does_by_night_what_would_have_woken_a_gpu_by_day(
    stack: Stack, engine: SimulatedEngine, http: httpx.AsyncClient
) -> None:
    chat_id, run_id = await ask_in_the_background(http, "a question")
    await http.get(f"/runs/{run_id}/events")
    with _environment(stack):
        store = await open_store(stack.environment_of("worker")["PARLEY_STORE_URL"])
        try:
            await store.put_job("night", RememberJob(owner="local", chat_id=chat_id, run_id=run_id), at_ms=0)
            queued = await store.take_job(now_ms=2**45, hidden_ms=1000, lane="work", job_id="night")
            assert queued is not None
            await store.delay_job(queued, at_ms=0, lane="night", attempts=0)
            schedule = stack.client("scheduler").get_schedule(Name=stack.resources()["Night"])

            invoked = await asyncio.to_thread(
                stack.client("lambda").invoke,
                FunctionName=schedule["Target"]["Arn"],
                Payload=schedule["Target"]["Input"],
            )

            assert json.loads(invoked["Payload"].read()) == {"jobs": 1}
            assert await store.take_job(now_ms=2**45, hidden_ms=1, lane="night") is None
        finally:
            await store.close()


PASSWORD = "a battery staple, correct"


async def test_who_is_invited_comes_in_by_the_pool_and_a_stranger_does_not(stack: Stack, tmp_path: Path) -> None:
    settings = json.loads(stack.client("ssm").get_parameter(Name=f"/parley/{NAME}/settings")["Parameter"]["Value"])
    home = stack.outputs["Url"]
    pool = settings["oidc_issuer"].rpartition("/")[2]
    assert settings["public_url"] == home
    assert settings["oidc_issuer"] == f"https://cognito-idp.{REGION}.amazonaws.com/{pool}"
    cognito = stack.client("cognito-idp")
    for email in ("ada@example.org", "eve@example.org"):  # as the output FirstAdmin says it
        known = [{"Name": "email", "Value": email}, {"Name": "email_verified", "Value": "true"}]
        cognito.admin_create_user(UserPoolId=pool, Username=email, UserAttributes=known)
        cognito.admin_set_user_password(UserPoolId=pool, Username=email, Password=PASSWORD, Permanent=True)
    where = f"{stack.url}/{pool}/.well-known/openid-configuration"  # AWS's address is not to be had here

    with api(stack, tmp_path, PARLEY_AUTH="oidc", PARLEY_OIDC_DISCOVERY_URL=where) as running:
        await asyncio.to_thread(_await_ready, running.url)
        signed_in = {}
        for email in ("ada@example.org", "eve@example.org"):
            async with httpx.AsyncClient(base_url=running.url, timeout=60) as http:
                landed = await _signed_in(http, home, email)
                me = await http.get("/me")
                token = await _access_token(stack.url, settings["oidc_client_id"], home, email)
                program = await http.get("/me", headers={"authorization": f"Bearer {token}"})
                away = httpx.get((await http.delete("/session")).json()["logout_url"])
                after = await http.get("/me")
                assert (away.status_code, away.headers["location"]) == (302, f"{home}/")
                signed_in[email] = (landed, me.status_code, me.json().get("role"), program.status_code)
                assert after.status_code == 401

    ada, eve = signed_in.values()
    assert ada == ("/", 200, "admin", 200)
    assert eve == ("/#/refused?why=not_invited", 401, None, 401)


async def _signed_in(http: httpx.AsyncClient, home: str, email: str) -> str:
    """Through the pool's own page, as a browser goes; where that ends."""
    begun = await http.get("/auth/login")
    back = await _let_in(begun.headers["location"], email)
    assert back.startswith(f"{home}/auth/callback?")  # the one address that the pool sends anybody to
    finished = await http.get(back.removeprefix(home))
    return str(finished.headers["location"])


async def _let_in(authorize: str, email: str) -> str:
    form = dict(parse_qsl(urlsplit(authorize).query)) | {"username": email, "password": PASSWORD}
    async with httpx.AsyncClient() as there:
        assert (await there.get(authorize)).status_code == 200
        return str((await there.post(urljoin(authorize, "/login"), data=form)).headers["location"])


async def _access_token(pool: str, client_id: str, home: str, email: str) -> str:
    """As a program gets one that may open a browser."""
    back = f"{home}/auth/callback"
    asked = {"client_id": client_id, "redirect_uri": back, "response_type": "code", "scope": "openid email profile"}
    landed = await _let_in(f"{pool}/oauth2/authorize?{urlencode(asked)}", email)
    code = dict(parse_qsl(urlsplit(landed).query))["code"]
    form = {"grant_type": "authorization_code", "code": code, "client_id": client_id, "redirect_uri": back}
    async with httpx.AsyncClient() as there:
        return str((await there.post(f"{pool}/oauth2/token", data=form)).json()["access_token"])


def test_the_alarms_of_the_stack_within_it_tell_the_topic(stack: Stack) -> None:
    topic = stack.resources()["Alarms"]
    watched = {name: each["Properties"] for name, each in ALARMS.items()}

    alarms = {each["AlarmName"]: each for each in stack.client("cloudwatch").describe_alarms()["MetricAlarms"]}

    assert set(alarms) == {f"{NAME}-{name}" for name in watched}
    assert {action for each in alarms.values() for action in each["AlarmActions"]} == {topic}
    ours = [each for each in alarms.values() if each["MetricName"].startswith("parley_")]
    counted = stack.environment_of("worker")["PARLEY_METRICS_NAMESPACE"]
    assert {each["Namespace"] for each in ours} == {counted}


@contextmanager
def _environment(stack: Stack) -> Iterator[None]:
    """The store's client finds its way as in a function."""
    with pytest.MonkeyPatch.context() as patch:
        for name in (*KEYS, "AWS_ENDPOINT_URL"):
            patch.setenv(name, stack.environment_of("worker")[name])
        yield


def test_the_tables_are_those_that_parley_makes(stack: Stack) -> None:
    own = f"dynamodb://own?region={REGION}"
    with _environment(stack):

        async def make() -> None:
            await (await open_store(own, create=True)).close()

        asyncio.run(make())
    dynamo = stack.client("dynamodb")
    made = {name.removeprefix("own-") for name in dynamo.list_tables()["TableNames"] if name.startswith("own-")}

    def shape(table: str) -> Any:
        there = dynamo.describe_table(TableName=table)["Table"]
        indexes = {
            each["IndexName"]: (each["KeySchema"], each["Projection"])
            for each in there.get("GlobalSecondaryIndexes", ())
        }
        attributes = sorted((each["AttributeName"], each["AttributeType"]) for each in there["AttributeDefinitions"])
        return there["KeySchema"], attributes, indexes, there["BillingModeSummary"]["BillingMode"]

    assert {name: shape(f"{NAME}-{name}") for name in made} == {name: shape(f"own-{name}") for name in made}
    assert len(made) >= 4
