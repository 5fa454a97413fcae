"""The Lambda handlers by themselves, under AWS's own runtime client and emulator, with events as AWS sends them."""

import asyncio
import json
import os
import subprocess
import sys
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import boto3
import pytest

from functions.chat.messages import SummariseJob
from functions.inference.nodes import Node
from functions.services import open_services, open_store
from functions.settings import Settings
from functions.workers.embedded import sweep
from tests.aws.lambdas import LambdaFunction
from tests.aws.stack import HANDLERS, KEYS, REGION
from tests.chat.test_summary import SMALL_READER, fact, folds, tell
from tests.house import open_house
from tests.ministack import ministack
from tests.simulated import SimulatedEngine

EVENTS = Path(__file__).parent / "events"
SERVERLESS = {"name": "gpu", "serverless": True, "models": ["sim"]}


@contextmanager
def running(name: str, folder: Path, **environment: str) -> Iterator[LambdaFunction]:
    with LambdaFunction(HANDLERS[name], KEYS | {"AWS_REGION": REGION} | environment, folder) as function:
        function.start()
        yield function


def sent(function: LambdaFunction, event: bytes) -> Any:
    status, body = function.invoke(event)
    assert status == 200, function.log()
    return json.loads(body)


@pytest.fixture(scope="module")
def queues(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, Any, dict[str, str]]]:
    """Where AWS is, SQS's client, and the two queues as a function is told of them."""
    with ministack(tmp_path_factory.mktemp("aws"), "sqs,dynamodb") as url:
        sqs = boto3.client(
            "sqs", endpoint_url=url, region_name=REGION, aws_access_key_id="local", aws_secret_access_key="local"
        )
        runs = sqs.create_queue(QueueName="runs.fifo", Attributes={"FifoQueue": "true"})["QueueUrl"]
        later = sqs.create_queue(QueueName="later")["QueueUrl"]
        yield url, sqs, {"PARLEY_RUNS_QUEUE_URL": runs, "PARLEY_LATER_QUEUE_URL": later}


def heard(sqs: Any, queue: str) -> list[tuple[str, dict[str, Any]]]:
    """The bells that can be heard now, with the groups that keep their order."""
    asked = {"MaxNumberOfMessages": 10, "AttributeNames": ["All"]}
    messages = sqs.receive_message(QueueUrl=queue, **asked).get("Messages", ())
    return [(each["Attributes"].get("MessageGroupId", ""), json.loads(each["Body"])) for each in messages]


def counted(log: str) -> dict[str, tuple[str, dict[str, str], list[float]]]:
    """By metric what CloudWatch reads out of a log: namespace, labels, values."""
    found = {}
    for line in log.splitlines():
        if '"_aws"' not in line:
            continue
        written = json.loads(line)
        for directive in written["_aws"]["CloudWatchMetrics"]:
            labels = {name: written[name] for names in directive["Dimensions"] for name in names}
            for metric in directive["Metrics"]:
                found[metric["Name"]] = (directive["Namespace"], labels, written[metric["Name"]])
    return found


def test_a_job_that_is_free_rings_and_one_that_cannot_be_read_comes_again(
    queues: tuple[str, Any, dict[str, str]], tmp_path: Path
) -> None:
    url, sqs, environment = queues
    with running("stream", tmp_path, AWS_ENDPOINT_URL=url, **environment) as function:
        answer = sent(function, (EVENTS / "stream.json").read_bytes())

    assert answer == {"batchItemFailures": [{"itemIdentifier": "4421584500000000017450439096"}]}
    bell = {"job_id": "a-run", "lane": "runs", "due_ms": 1000, "group": "a-chat"}
    assert heard(sqs, environment["PARLEY_RUNS_QUEUE_URL"]) == [("a-chat", bell)]
    later = sqs.get_queue_attributes(QueueUrl=environment["PARLEY_LATER_QUEUE_URL"], AttributeNames=["All"])[
        "Attributes"
    ]
    assert later["ApproximateNumberOfMessagesDelayed"] == "1"  # the title: due in a hundred years, told in 15 minutes


async def test_a_bell_for_what_is_gone_is_heard_and_one_that_cannot_be_read_comes_again(
    queues: tuple[str, Any, dict[str, str]], tmp_path: Path
) -> None:
    url, _, environment = queues
    store_url = f"dynamodb://bells{uuid.uuid4().hex[:8]}?region={REGION}&endpoint={url}"
    await (await open_store(store_url, create=True)).close()
    with running("worker", tmp_path, AWS_ENDPOINT_URL=url, PARLEY_STORE_URL=store_url, **environment) as function:
        answer = await asyncio.to_thread(sent, function, (EVENTS / "sqs.json").read_bytes())

    assert answer == {"batchItemFailures": [{"itemIdentifier": "2e1424d4-f796-459a-8184-9c92662be6da"}]}


async def test_the_schedule_folds_what_waits_for_the_night(
    queues: tuple[str, Any, dict[str, str]], tmp_path: Path
) -> None:
    store_url = f"dynamodb://night{uuid.uuid4().hex[:8]}?region={REGION}&endpoint={queues[0]}"
    await (await open_store(store_url, create=True)).close()
    async with open_house(tmp_path, SMALL_READER, summaries=False, store_url=store_url, checkpoint_ms=0) as house:
        chat_id = await house.open_chat()
        await tell(house, chat_id, 10)
    async with SimulatedEngine(SMALL_READER) as engine:
        settings = Settings(store_url=store_url)
        async with open_services(settings, [Node(engine.url, name="gpu", serverless=True)]) as services:
            version = services.summaries.version
            await services.store.put_job("s", SummariseJob(owner="local", chat_id=chat_id), at_ms=0)
            queued = await services.jobs.take("work")
            assert queued is not None
            await services.store.delay_job(queued, at_ms=0, lane="night", attempts=0)
            assert await sweep(services, within_s=10) == 0
        node: dict[str, Any] = SERVERLESS | {"url": engine.url, "context_tokens": SMALL_READER.context_tokens}
        environment = {"PARLEY_STORE_URL": store_url, "PARLEY_NODES": json.dumps([node])}
        environment |= {"PARLEY_METRICS": "emf", "PARLEY_METRICS_NAMESPACE": "Parley/test"}
        with running("clock", tmp_path, **environment) as function:
            event = (EVENTS / "scheduler.json").read_bytes()
            said = [await asyncio.to_thread(sent, function, event) for _ in range(2)]
            written = counted(function.log())  # while the function is there to be called again: not by its end

        assert said == [{"jobs": 1}, {"jobs": 0}]
        assert written["parley_jobs_total"] == ("Parley/test", {"end": "done"}, [1.0])
        store = await open_store(store_url)
        stored = await store.list_summaries("local", chat_id, version=version)
        await store.close()
        assert fact(0) in stored[0].text
        assert folds(engine) == len(stored)


@pytest.mark.parametrize("name", HANDLERS)
def test_a_cold_start_imports_what_the_function_uses(name: str) -> None:
    module = HANDLERS[name].rpartition(".")[0]
    heavy = (
        ("fastapi", "xllamacpp") if name != "stream" else ("fastapi", "xllamacpp", "guardrails", "pynamodb", "aiohttp")
    )
    program = f"import sys, {module}; print([name for name in {heavy!r} if name in sys.modules])"
    done = subprocess.run([sys.executable, "-W", "ignore", "-c", program], capture_output=True, text=True, check=True)

    assert done.stdout == "[]\n"


def test_a_clock_that_finds_nothing_to_do_has_not_loaded_what_checks_texts(tmp_path: Path) -> None:
    program = """
import sys
from functions.workers import schedule
from functions.workers.embedded import sweep
schedule.warm.run(lambda services: sweep(services, within_s=1))
print([name for name in ("guardrails", "langchain_core", "numpy") if name in sys.modules])
schedule.warm.run(lambda services: services.turns.rails.check("a text"))
print("guardrails" in sys.modules)
"""
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", program],
        env=os.environ | {"PARLEY_STORE_URL": f"sqlite:///{tmp_path}/parley.db"},
        capture_output=True,
        text=True,
        check=True,
    )

    assert done.stdout.splitlines()[-2:] == ["[]", "True"]
