"""The nightly job: what nobody did by day because it would have woken a GPU, and what has failed.

    taken = await summarise_chats(services, within_s=…)      # Modal's Cron and the Lambda handler both call this

Several jobs at once, so that each GPU is woken once and batches them; and never longer than `night_minutes`, which is
what bounds its cost: the rest waits for the next night. It may be killed at any point and run again.
"""

import asyncio

from functions.chat.messages import Lane
from functions.services import Services
from functions.telemetry import log

AT_ONCE = 4
LANES: tuple[Lane, ...] = ("failed", "night")


async def summarise_chats(services: Services, *, within_s: float) -> int:
    """How many jobs were taken. Raises what the store raises."""
    limit_s = min(within_s, 60 * services.settings.night_minutes)
    taken, is_done = 0, False

    async def work(lane: Lane) -> None:
        nonlocal taken
        while (queued := await services.jobs.take(lane)) is not None:
            taken += 1
            await services.jobs.do(queued, lane)

    await services.retention.sweep()  # costs no GPU
    if limit_s <= 0:
        return 0
    try:
        async with asyncio.timeout(limit_s):
            for lane in LANES:
                async with asyncio.TaskGroup() as group:
                    for _ in range(AT_ONCE):
                        group.create_task(work(lane))
            await services.runs.settle()
        is_done = True
    except TimeoutError:
        pass  # what was under way has been given back
    log("night.over", jobs=taken, is_done=is_done)
    return taken
