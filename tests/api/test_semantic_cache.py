"""Answered from the cache, through the API: streamed and marked, at no cost, and only where it is safe."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from functions.chat import semantic_cache
from functions.chat.semantic_cache import COLLECTION
from functions.inference.embedding import space
from functions.inference.lexical import LEXICAL_MODEL, lexical_vector
from functions.inference.nodes import Node, ServedModel
from tests.house import Event, House, open_house, text_of
from tests.simulated import Scenario, SimulatedEngine

QUESTION = "What is the capital of France?"
OTHER = "How do magnets work?"
WAYS: list[tuple[dict[str, Any], dict[str, Any]]] = [  # of the chat, of the message
    ({"system_prompt": "Answer in rhyme."}, {}),
    ({"temporary": True}, {}),
    ({}, {"temperature": 0.5}),
    ({}, {"max_tokens": 100}),
    ({}, {"stop": ["x"]}),
    ({}, {"cache": False}),
]


@pytest.fixture(autouse=True)
def _time_enough(monkeypatch: pytest.MonkeyPatch) -> None:
    """On a busy machine the first look takes its time: it imports numpy."""
    monkeypatch.setattr(semantic_cache, "LOOK_SECONDS", 30.0)


@pytest.fixture
async def house(tmp_path: Path) -> AsyncIterator[House]:
    async with open_house(tmp_path, semantic_cache="user") as house:
        yield house


async def ask(house: House, text: str = QUESTION, chat: dict[str, Any] | None = None, **body: Any) -> list[Event]:
    return await house.say(await house.open_chat(**(chat or {})), text, **body)


def answer_in(events: list[Event]) -> dict[str, Any]:
    assert events[-1].name == "done", events[-1]
    message: dict[str, Any] = events[-1].data["message"]
    return message


def was_cached(events: list[Event]) -> bool:
    return answer_in(events)["cached_from"] is not None


def asked(house: House) -> int:
    """How often the model was: jobs that follow a turn ask it other things."""
    said = [request["messages"][-1]["content"].strip().casefold() for request in house.engine.stats.requests]
    return sum(text.startswith(QUESTION[:-1].casefold()) for text in said)


async def test_a_question_asked_again_is_answered_without_the_model(house: House) -> None:
    first = await ask(house)
    before = asked(house)
    again = await ask(house, "  what is the capital of FRANCE, please")
    source, answer = answer_in(first), answer_in(again)

    assert not was_cached(first)
    assert asked(house) == before
    assert [event.name for event in again] == ["run", "title", "status", "delta", "done"]
    assert text_of(again) == text_of(first) == answer["content"]
    assert answer["cached_from"] == {
        "message_id": source["id"],
        "at": source["created_at"],
        "score": pytest.approx(1, abs=0.1),
    }
    assert again[-1].data["usage"] == {"prompt_tokens": 0, "cached_tokens": 0, "completion_tokens": 0}
    assert (answer["cost"]["gpu_seconds"], answer["cost"]["cost_usd"]) == (0, 0)
    assert (answer["finish_reason"], answer["status"]) == ("stop", "complete")
    stored = (await house.http.get(f"/chat/{answer['chat_id']}")).json()["messages"][-1]
    assert stored == answer


async def test_a_cached_answer_is_on_nobodys_bill(house: House) -> None:
    await ask(house)
    (before,) = (await house.http.get("/usage")).json()["data"]
    await ask(house)

    assert (await house.http.get("/usage")).json()["data"] == [before]


async def test_it_is_off_unless_the_operator_turns_it_on(tmp_path: Path) -> None:
    async with open_house(tmp_path) as house:
        await ask(house)
        assert not was_cached(await ask(house))


async def test_another_question_is_not_answered_by_it(house: House) -> None:
    await ask(house)
    for text in (OTHER, "What is the capital of Spain?", "What is not the capital of France?", "法国的首都是哪里？"):
        assert not was_cached(await ask(house, text)), text


async def test_another_way_of_asking_is_another_question(house: House) -> None:
    await ask(house)
    for number, (chat, body) in enumerate(WAYS):
        assert not was_cached(await ask(house, chat=chat, **body)), (chat, body)
        # … and what was answered so is no answer to a plain question
        text = f"How many legs have {number} spiders?"
        await ask(house, text, chat, **body)
        assert not was_cached(await ask(house, text)), (chat, body)


async def test_the_same_way_of_asking_is_the_same_question(house: House) -> None:
    chat, body = {"system_prompt": "Answer in rhyme."}, {"temperature": 0.5}
    await ask(house, chat=chat, **body)

    assert was_cached(await ask(house, chat=chat, **body))


async def test_instructions_of_ones_own_are_part_of_the_question(house: House) -> None:
    await ask(house)
    await house.http.patch("/me", json={"custom_instructions": "Be brief."})
    assert not was_cached(await ask(house))
    assert was_cached(await ask(house))


async def test_what_changes_with_the_day_is_asked_each_time(house: House) -> None:
    for text in ("What is the latest version of Python?", "今天是星期几？"):
        await ask(house, text)
        assert not was_cached(await ask(house, text))


async def test_only_the_first_question_of_a_chat_comes_from_it(house: House) -> None:
    chat = await house.open_chat()
    await house.say(chat, OTHER)
    await house.say(chat, QUESTION)
    assert not was_cached(await ask(house))  # the second of that chat was not kept
    assert not was_cached(await house.say(chat, QUESTION))


async def test_who_asks_again_gets_a_new_answer_and_so_does_the_next(house: House) -> None:
    await ask(house)
    cached = answer_in(await ask(house))
    house.engine.scenario = Scenario(text="another answer")
    answered = await house.http.post(f"/chat/{cached['chat_id']}/completion", json={"regenerate": cached["id"]})
    assert answered.status_code == 200
    fresh = (await house.http.get(f"/chat/{cached['chat_id']}")).json()["messages"][-1]
    assert (fresh["content"], fresh["cached_from"]) == ("another answer", None)

    newest = answer_in(await ask(house))
    assert (newest["content"], newest["cached_from"]["message_id"]) == ("another answer", fresh["id"])


async def test_the_same_chat_is_never_answered_by_itself(house: House) -> None:
    """Sent again from the beginning: they want to see what else there is to say."""
    chat = await house.open_chat()
    await house.say(chat, QUESTION)
    message = {"id": "0193e0d0-0000-7000-8000-000000000001", "content": QUESTION, "parent_id": None}
    answer = await house.http.post(f"/chat/{chat}/completion", json={"message": message})

    assert '"cached_from":null' in answer.text.rpartition("event: done")[2]


async def test_an_answer_called_bad_is_not_given_again(house: House) -> None:
    source = answer_in(await ask(house))
    url = f"/chat/{source['chat_id']}/messages/{source['id']}/feedback"
    await house.http.put(url, json={"rating": -1})
    assert not was_cached(await ask(house))


async def test_a_deleted_answer_is_gone_and_nothing_points_at_it(house: House, tmp_path: Path) -> None:
    source = answer_in(await ask(house))
    async with asyncio.timeout(10):
        while not await entries(tmp_path):  # an answer is kept after its end was told
            await asyncio.sleep(0.02)
    await house.http.delete(f"/chat/{source['chat_id']}")

    assert await entries(tmp_path) == 0
    assert not was_cached(await ask(house))


async def entries(folder: Path) -> int:
    from functions.adapters.sqlite import SqliteStore

    store = await SqliteStore.open(folder / "parley.db")
    try:
        found = await store.search_vectors("local", space(COLLECTION, LEXICAL_MODEL), lexical_vector(QUESTION), limit=9)
        assert not any(QUESTION in str(hit.data) for hit in found)
        return len(found)
    finally:
        await store.close()


@pytest.mark.parametrize(
    "scenario",
    [
        Scenario(text="call 4111 1111 1111 1111 now"),  # redacted
        Scenario(text=" "),
    ],
)
async def test_an_answer_that_did_not_end_well_is_not_kept(tmp_path: Path, scenario: Scenario) -> None:
    async with open_house(tmp_path, scenario, semantic_cache="user") as house:
        await ask(house)
        house.engine.scenario = Scenario(echo=True)
        assert not was_cached(await ask(house))


async def test_an_answer_that_broke_off_is_not_kept(tmp_path: Path) -> None:
    async with open_house(tmp_path, Scenario(fault="cut"), semantic_cache="user") as house:
        assert (await ask(house))[-1].name == "failed"
    async with open_house(tmp_path, semantic_cache="user") as house:
        assert not was_cached(await ask(house))


async def test_an_answer_that_was_stopped_is_not_kept(tmp_path: Path) -> None:
    async with open_house(tmp_path, Scenario(tokens=10_000, tps=200), semantic_cache="user") as house:
        async with house.saying(await house.open_chat(), QUESTION) as listener:
            await listener.until("delta")
            await house.http.delete(f"/runs/{listener.run_id}")
            assert (await listener.rest())[-1].name == "stopped"
        house.engine.scenario = Scenario(echo=True)
        assert not was_cached(await ask(house))


async def test_a_cached_answer_that_lost_its_worker_is_finished_by_the_model(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(semantic_cache, "PIECE_CHARS", 4)  # one a beat: it takes a while
    text = "word " * 160
    async with open_house(tmp_path, Scenario(text=text), semantic_cache="user", lease_seconds=0.5) as house:
        await ask(house)
        async with house.saying(await house.open_chat(), QUESTION) as listener:
            first = await listener.until("delta")
            assert house.lose_leases is not None
            await asyncio.to_thread(house.lose_leases)
            message = answer_in([first, *await listener.rest()])

        assert message["content"].startswith(first.data["text"])
        assert message["status"] == "complete"
        assert message["cached_from"] is None  # not all of it was


async def test_a_redacted_question_is_neither_kept_nor_answered(house: House) -> None:
    for _ in range(2):
        assert not was_cached(await ask(house, "Is 4111 1111 1111 1111 a valid card?"))


async def test_a_queued_question_is_left_to_the_model(house: House) -> None:
    await ask(house)
    before = asked(house)
    chat = await house.open_chat()
    message = {"id": "0193e0d0-0000-7000-8000-000000000002", "content": QUESTION}
    answer = await house.http.post(f"/chat/{chat}/completion", json={"message": message, "mode": "async"})
    assert answer.status_code == 202
    await house.engine.until_true(lambda: asked(house) > before)


async def test_todays_policy_rules_over_yesterdays_answer(tmp_path: Path) -> None:
    """Another policy is another version: nothing that was said under the old one is said again."""
    async with open_house(tmp_path, semantic_cache="user") as house:
        await ask(house)
        assert was_cached(await ask(house))
    policy = tmp_path / "policy.toml"
    await asyncio.to_thread(policy.write_text, "[input.length]\nmax_chars = 1000\n")
    async with open_house(tmp_path, semantic_cache="user", policy=policy) as house:
        assert not was_cached(await ask(house))


async def test_another_prompt_of_the_operators_is_another_question(tmp_path: Path) -> None:
    async with open_house(tmp_path, semantic_cache="user") as house:
        await ask(house)
    async with open_house(tmp_path, semantic_cache="user", system_prompt="Be somebody else.") as house:
        assert not was_cached(await ask(house))


async def test_it_forgets_after_its_days(tmp_path: Path) -> None:
    async with open_house(tmp_path, semantic_cache="user", semantic_cache_days=1e-9) as house:
        await ask(house)
        assert not was_cached(await ask(house))


# -- more than one user --------------------------------------------------------------------------------------------


@asynccontextmanager
async def two_users(folder: Path, scope: str) -> AsyncIterator[tuple[House, Callable[[str], None]]]:
    from hashlib import sha256

    tokens = ",".join(f"{name}={sha256(name.encode()).hexdigest()}" for name in ("ann", "bob"))
    async with open_house(folder, semantic_cache=scope, auth="token", access_tokens=tokens) as house:

        def become(name: str) -> None:
            house.http.headers["Authorization"] = f"Bearer {name}"

        become("ann")
        yield house, become


async def test_users_do_not_see_each_others_answers(tmp_path: Path) -> None:
    async with two_users(tmp_path, "user") as (house, become):
        await ask(house)
        become("bob")
        assert not was_cached(await ask(house))


async def test_a_tenant_shares_answers_where_the_operator_says_so(tmp_path: Path) -> None:
    async with two_users(tmp_path, "tenant") as (house, become):
        source = answer_in(await ask(house))
        await ask(house, "What should I cook for my son?")
        await ask(house, OTHER, {"system_prompt": "You are a pirate."})
        become("bob")
        shared = answer_in(await ask(house))

        assert shared["content"] == source["content"]
        assert shared["cached_from"]["message_id"] is None  # somebody else's
        assert not was_cached(await ask(house, "What should I cook for my son?"))
        assert not was_cached(await ask(house, OTHER, {"system_prompt": "You are a pirate."}))

        become("ann")
        await house.http.delete(f"/chat/{source['chat_id']}")
        become("bob")
        await house.http.delete(f"/chat/{shared['chat_id']}")
        assert not was_cached(await ask(house))


# -- with a model that embeds --------------------------------------------------------------------------------------


def chat_and_embed(engine: SimulatedEngine) -> list[Node]:
    embed = ServedModel(id="embed", task="embed", context_tokens=512)
    return [
        Node(engine.url, name="chat", models=[ServedModel(id="sim", context_tokens=4096)], kind="vllm"),
        Node(engine.url, name="embedder", models=[embed], kind="vllm", serverless=True, state="warm"),
    ]


async def test_an_embedder_that_is_awake_is_asked_when_spelling_finds_nothing(tmp_path: Path) -> None:
    async with open_house(tmp_path, None, chat_and_embed, semantic_cache="user", semantic_cache_score=0.01) as house:
        await ask(house)
        assert house.engine.stats.embedded == 1
        assert was_cached(await ask(house))
        assert house.engine.stats.embedded == 1  # by spelling
        assert was_cached(await ask(house, "Which is the capital of France?"))
        assert house.engine.stats.embedded == 2
        assert not was_cached(await ask(house, "Spain: what is the capital?"))  # the guard


async def test_a_broken_embedder_costs_no_answer(tmp_path: Path) -> None:
    async with open_house(tmp_path, None, chat_and_embed, semantic_cache="user") as house:
        house.engine.embeddings = b"<html>"
        assert not was_cached(await ask(house))
        assert was_cached(await ask(house))  # spelling needs none


async def test_an_embedder_that_sleeps_is_let_sleep(tmp_path: Path) -> None:
    def asleep(engine: SimulatedEngine) -> list[Node]:
        nodes = chat_and_embed(engine)
        nodes[1].mark("cold")
        return nodes

    async with open_house(tmp_path, None, asleep, semantic_cache="user") as house:
        await ask(house)
        assert house.engine.stats.embedded == 0
