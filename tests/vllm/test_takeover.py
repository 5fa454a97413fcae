"""Something dies in the middle of an answer, and somebody else completes it: real vLLM, real processes, kill -9."""

import asyncio
from contextlib import ExitStack
from pathlib import Path

import httpx
import pytest

from functions.chat.messages import new_id
from functions.errors import UpstreamError
from tests.e2e.parley_process import ParleyProcess, parley_dev
from tests.house import Listener, text_of
from tests.vllm.conftest import Answer, OpenGateway, greedy, say
from tests.vllm.servers import Server

LONG = 600  # tokens: two seconds of work


async def test_a_worker_that_is_killed_leaves_an_answer_that_another_completes_to_the_letter(
    chat: Server, tmp_path: Path
) -> None:
    """With the rails on: what is stored ends where they hold the next word back."""
    settings = {
        "model_url": f"{chat.url}/v1",
        "store_url": f"sqlite:///{tmp_path / 'parley.db'}",
        "lease_seconds": "1.0",
        "web": "/nonexistent",
    }
    with ExitStack() as stack:
        survivor = stack.enter_context(parley_dev(tmp_path / "b", **settings))
        doomed = stack.enter_context(parley_dev(tmp_path / "a", **settings)).ready()
        survivor.ready()
        expected = await undisturbed(survivor)

        run_id, seen, cursor = await killed_after(doomed, words=20)
        async with httpx.AsyncClient(base_url=survivor.url, timeout=60) as http:
            headers = {"last-event-id": str(cursor)}
            async with http.stream("GET", f"/runs/{run_id}/events", headers=headers) as response:
                rest = await Listener(response).rest()

    assert 20 <= len(seen.split()) < LONG
    assert rest[-1].name == "done"
    assert seen + text_of(rest) == expected


async def ask(http: httpx.AsyncClient) -> tuple[str, dict[str, object]]:
    chat_id = (await http.post("/chat", json={})).json()["id"]
    body = {"message": {"id": new_id(), "content": "Say something."}, "temperature": 0, "max_tokens": LONG}
    return f"/chat/{chat_id}/completion", body


async def undisturbed(parley: ParleyProcess) -> str:
    async with httpx.AsyncClient(base_url=parley.url, timeout=60) as http:
        path, body = await ask(http)
        async with http.stream("POST", path, json=body) as response:
            return text_of(await Listener(response).rest())


async def killed_after(parley: ParleyProcess, *, words: int) -> tuple[str, str, int]:
    """The run, what its reader has seen, and the number of the last event of it."""
    seen, cursor = "", 0
    async with httpx.AsyncClient(base_url=parley.url, timeout=60) as http:
        path, body = await ask(http)
        async with http.stream("POST", path, json=body) as response:
            listener = Listener(response)
            while len(seen.split()) < words:
                event = await listener.next()
                seen, cursor = seen + text_of([event]), event.id or cursor
            await asyncio.to_thread(parley.kill)
    return listener.run_id, seen, cursor


async def test_another_server_completes_what_a_killed_one_began_and_answers_in_its_place(
    chat: Server, guessing: Server, open_gateway: OpenGateway
) -> None:
    doomed, survivor = await open_gateway(guessing.node()), await open_gateway(chat.node())
    both = await open_gateway(guessing.node("doomed"), chat.node("survivor"))  # and to its knowledge both are well
    expected = (await say(survivor, greedy(LONG))).text
    begun = Answer()

    with pytest.raises(UpstreamError):
        await asyncio.gather(say(doomed, greedy(LONG), into=begun), _kill_at(guessing, begun, words=20))
    answers = [await say(both, greedy(10), session_id=f"chat-{number}") for number in range(8)]
    words = len(begun.text.split())
    rest = await say(survivor, greedy(LONG - words), prefix=begun.text)

    assert 20 <= words < LONG
    assert begun.text + rest.text == expected
    assert all(len(answer.text.split()) == 10 for answer in answers), "whoever was sent to the dead one"


async def _kill_at(server: Server, answer: Answer, *, words: int) -> None:
    while len(answer.text.split()) < words:
        await asyncio.sleep(0)
    await asyncio.to_thread(server.kill)
