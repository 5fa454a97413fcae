"""What an answer cost, as its reader sees it, and which model gave it."""

from pathlib import Path

import pytest

from functions.inference.nodes import Node, ServedModel
from tests.house import House, open_house, text_of
from tests.simulated import Scenario, SimulatedEngine


def rented(engine: SimulatedEngine, **more: object) -> list[Node]:
    model = ServedModel(id="sim", context_tokens=4096)
    price = {"gpu": "L40S", "usd_per_second": 0.01, "idle_seconds": 60.0} | more
    return [Node(engine.url, name="gpu", serverless=True, kind="vllm", models=[model], **price)]


def dead_and_alive(engine: SimulatedEngine) -> list[Node]:
    """The big model's server is gone; the small one's answers."""
    big, small = ServedModel(id="big", context_tokens=4096), ServedModel(id="small", context_tokens=4096)
    return [
        Node("http://127.0.0.1:9/v1", name="gone", models=[big], kind="vllm", serverless=False),
        Node(engine.url, name="here", models=[small], kind="vllm", serverless=False),
    ]


async def told(house: House, chat: str) -> dict[str, object]:
    return (await house.http.get(f"/chat/{chat}")).json()["messages"][-1]


async def test_an_answer_says_what_it_cost_in_parts_that_sum(tmp_path: Path) -> None:
    async with open_house(tmp_path, Scenario(echo=True, cold_s=0.5), rented) as house:
        chat = await house.open_chat()
        done = (await house.say(chat, "Hello"))[-1].data
        cost = done["cost"]

        assert cost["cold_start_seconds"] > 0.4
        assert cost["active_seconds"] > 0
        parts = cost["active_seconds"] + cost["cold_start_seconds"] + cost["idle_seconds"]
        assert cost["gpu_seconds"] == pytest.approx(parts)
        assert cost["cost_usd"] == pytest.approx(0.01 * parts)
        assert cost["is_estimate"] is True
        assert (await told(house, chat))["cost"] == cost
        assert (await house.http.get(f"/runs/{done['message']['run_id']}")).json()["cost"] == cost

        [node] = (await house.http.get("/admin/nodes")).json()["data"]
        assert (node["name"], node["models"], node["state"], node["gpu"]) == ("gpu", ["sim"], "warm", "L40S")
        assert (node["usd_per_hour"], node["serverless"], node["today"]["runs"]) == (36.0, True, 1)
        bill = (await house.http.get("/usage")).json()["total"]
        assert 0.004 < node["today"]["cost_usd"] <= bill["cost_usd"]  # which goes on while it stays awake


async def test_a_model_on_ones_own_machine_costs_nothing(tmp_path: Path) -> None:
    async with open_house(tmp_path) as house:
        done = (await house.say(await house.open_chat(), "Hello"))[-1].data

    assert done["cost"]["cost_usd"] == 0


async def test_blocked_input_costs_no_gpu(tmp_path: Path) -> None:
    policy = tmp_path / "policy.toml"
    policy.write_text('[input.banned_terms]\naction = "block"\n[banned_terms]\nterms = ["forbidden"]\n')
    async with open_house(tmp_path, Scenario(echo=True), rented, policy=policy) as house:
        done = (await house.say(await house.open_chat(), "a forbidden word"))[-1].data

        assert done["cost"]["gpu_seconds"] == 0
        assert house.engine.stats.connections == 0


async def test_when_a_models_servers_are_gone_its_fallback_answers_and_says_its_name(tmp_path: Path) -> None:
    async with open_house(tmp_path, Scenario(echo=True), dead_and_alive, fallbacks={"big": "small"}) as house:
        chat = await house.open_chat(model="big")
        events = await house.say(chat, "Hello")

        assert events[-1].name == "done"
        assert text_of(events)
        assert events[-1].data["message"]["model"] == "small"
        assert (await house.http.get(f"/chat/{chat}")).json()["model"] == "big"


async def test_without_a_fallback_the_failure_is_told_in_our_words(tmp_path: Path) -> None:
    async with open_house(tmp_path, Scenario(echo=True), dead_and_alive) as house:
        last = (await house.say(await house.open_chat(model="big"), "Hello"))[-1]

    assert last.name == "failed"
    assert last.data["error"]["code"] == "model_unavailable"


async def test_the_compatible_api_tells_the_cost_beside_the_usage(tmp_path: Path) -> None:
    async with open_house(tmp_path, Scenario(echo=True), rented) as house:
        body = {"model": "sim", "messages": [{"role": "user", "content": "Hello"}]}
        usage = (await house.http.post("/v1/chat/completions", json=body)).json()["usage"]

    assert usage["x_cost"]["cost_usd"] > 0


async def test_the_place_in_the_queue_is_told_until_it_is_ones_turn(tmp_path: Path) -> None:
    one_at_a_time = lambda engine: rented(engine, slots=1, state="warm")  # noqa: E731
    async with open_house(tmp_path, Scenario(echo=True, tokens=4), one_at_a_time) as house:
        house.engine.gate.hold(1)
        chats = [await house.open_chat() for _ in range(3)]
        async with house.saying(chats[0], "first") as first:
            await first.until("delta")
            async with house.saying(chats[1], "second") as second, house.saying(chats[2], "third") as third:
                waiting = [(await listener.until("status")).data for listener in (second, third)]
                assert [told["phase"] for told in waiting] == ["queued", "queued"]
                assert sorted(told["position"] for told in waiting) == [1, 2]
                house.engine.gate.release()
                endings = [(await listener.rest())[-1].name for listener in (first, second, third)]

    assert endings == ["done", "done", "done"]
