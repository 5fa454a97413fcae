"""Many at once on real vLLM: nobody waits for who is slow, and who leaves gives everything back."""

import asyncio
from contextlib import AsyncExitStack, aclosing

from functions.inference.gateway import End, Gateway, Token
from tests.vllm.conftest import LONG, SEA, asking, greedy, say, until
from tests.vllm.servers import Server

THINGS = ("sea", "land", "sun", "wind", "rain", "snow", "moon", "city")
QUESTIONS = [asking(f"Tell me about the {thing}.") for thing in THINGS]


def is_idle(server: Server) -> bool:
    """No request, and no block of the KV cache that belongs to one."""
    running = server.metric("vllm:num_requests_running") + server.metric("vllm:num_requests_waiting")
    return running == 0 and server.metric("vllm:kv_cache_usage_perc") == 0


async def test_eight_at_once_get_the_answers_that_each_gets_alone(gateway: Gateway) -> None:
    alone = [(await say(gateway, greedy(60), question)).text for question in QUESTIONS]

    together = await asyncio.gather(*(say(gateway, greedy(60), question) for question in QUESTIONS))

    assert [answer.text for answer in together] == alone
    assert len(set(alone)) == len(QUESTIONS)


async def test_eight_at_once_are_one_batch_and_no_queue(gateway: Gateway, chat: Server) -> None:
    async with AsyncExitStack() as stack:
        streams = [
            await stack.enter_async_context(
                aclosing(gateway.stream("tiny", question, greedy(LONG), session_id="chat-1"))
            )
            for question in QUESTIONS
        ]
        await asyncio.gather(*(anext(stream) for stream in streams))

        await until(lambda: chat.metric("vllm:num_requests_running") == len(QUESTIONS))
    await until(lambda: is_idle(chat))


async def test_who_leaves_in_the_middle_frees_the_engine_at_once(gateway: Gateway, chat: Server) -> None:
    finished = chat.metric("vllm:request_success_total")

    left = await say(gateway, greedy(LONG), pieces=1)

    await until(lambda: is_idle(chat))
    assert left.end is None
    assert chat.metric("vllm:request_success_total") == finished, "nobody made the rest"


async def test_who_is_cancelled_while_the_prompt_is_read_frees_the_engine_too(gateway: Gateway, chat: Server) -> None:
    finished = chat.metric("vllm:request_success_total")
    prompt = asking("Tell me about" + " the house by the water" * 100)
    answering = asyncio.create_task(say(gateway, greedy(LONG), prompt))
    await until(lambda: chat.metric("vllm:num_requests_running") == 1)

    answering.cancel()
    await asyncio.gather(answering, return_exceptions=True)

    await until(lambda: is_idle(chat))
    assert chat.metric("vllm:request_success_total") == finished


async def test_a_slow_reader_holds_up_neither_the_engine_nor_anybody_else(gateway: Gateway, chat: Server) -> None:
    async with aclosing(gateway.stream("tiny", SEA, greedy(400), session_id="slow")) as slow:
        first = await anext(slow)  # and then it looks away

        other = await say(gateway, greedy(40))
        await until(lambda: is_idle(chat))  # also the slow one's answer is made

        rest = [event async for event in slow]
    words = "".join(event.text for event in [first, *rest] if isinstance(event, Token)).split()
    assert other.end and other.end.finish_reason == "length"
    assert len(words) == 400
    assert isinstance(rest[-1], End)
