"""The nightly job as a Lambda function: the event that EventBridge Scheduler sends, against DynamoDB's API."""

import asyncio
import json
import os
import subprocess
import sys
import uuid
from pathlib import Path
from typing import Any

from functions.chat.messages import SummariseJob
from functions.inference.nodes import Node
from functions.services import open_services, open_store
from functions.settings import Settings
from functions.workers.embedded import sweep
from tests.chat.test_summary import SMALL_READER, fact, folds, tell
from tests.house import open_house
from tests.simulated import SimulatedEngine

EVENT = json.loads((Path(__file__).parent / "events/scheduler.json").read_text())
SERVERLESS = {"name": "gpu", "serverless": True, "models": ["sim"]}


LAMBDA = """
import json, sys
from functions.workers.schedule import handler

class Context:
    def get_remaining_time_in_millis(self):
        return 60_000

print(json.dumps(handler(json.load(sys.stdin), Context())))
"""


def invoke(event: dict[str, Any], **environment: str) -> dict[str, int]:
    """In a process of its own, as Lambda's runtime calls it."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("PARLEY_")}
    done = subprocess.run(
        [sys.executable, "-c", LAMBDA],
        input=json.dumps(event),
        env=kept | environment,
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert done.returncode == 0, done.stderr
    said: dict[str, int] = json.loads(done.stdout)
    return said


async def test_the_schedule_folds_what_waits_for_the_night(ministack: str, tmp_path: Path) -> None:
    store_url = f"dynamodb://night{uuid.uuid4().hex[:8]}?region=eu-central-1&endpoint={ministack}"
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

        said = await asyncio.to_thread(invoke, EVENT, **environment)
        again = await asyncio.to_thread(invoke, EVENT, **environment)

        assert (said, again) == ({"jobs": 1}, {"jobs": 0})
        store = await open_store(store_url)
        stored = await store.list_summaries("local", chat_id, version=version)
        await store.close()
        assert fact(0) in stored[0].text
        assert folds(engine) == len(stored)


def test_the_function_needs_no_web_framework() -> None:
    """A cold start imports what it uses."""
    program = "import sys, functions.workers.schedule; print('fastapi' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)

    assert done.stdout == "False\n"
