"""A guard model judges the question while the answering model reads it: nothing is shown before it has passed."""

import asyncio
from pathlib import Path

import httpx
import pytest

from functions.chat.messages import new_id
from functions.guardrails.document import PolicyError
from functions.inference.nodes import Node, ServedModel
from functions.services import open_services
from functions.settings import Settings
from tests.chat.moderated import BOTH, INPUT, REFUSAL, UNJUDGED, moderated, stored, verdicts
from tests.house import open_house, parse_events, text_of
from tests.scripted_guard import BAD, BROKEN, ENDLESS, GARBLED, ODD, SILENT, ScriptedGuard
from tests.simulated import Scenario


async def test_the_model_works_while_the_question_is_judged_and_nothing_is_shown_before(
    guard: ScriptedGuard, tmp_path: Path
) -> None:
    guard.hold()
    async with moderated(tmp_path, guard, "It is four.", INPUT) as house:
        chat = await house.open_chat()
        async with house.saying(chat, "What is two and two?") as listener:
            await house.engine.until(finished=1)
            run = (await house.http.get(f"/runs/{listener.run_id}")).json()
            assert run["status"] == "running"
            so_far = parse_events(await _log_until_now(house.http, listener.run_id))
            guard.release()
            events = await listener.rest()

    assert text_of(so_far) == ""
    assert text_of(events) == events[-1].data["message"]["content"] == "It is four."
    assert guard.judged == ["What is two and two?"]
    assert guard.sampled[0]["temperature"] == 0
    assert guard.sampled[0]["max_tokens"] == 64
    assert events[-1].data["timings"]["ttft_ms"] > 0


async def _log_until_now(http: httpx.AsyncClient, run_id: str) -> str:
    """What a reader who comes now is sent at once."""
    text = ""
    async with http.stream("GET", f"/runs/{run_id}/events") as response:
        async for piece in response.aiter_text():
            text += piece
            break
    return text


async def test_a_refused_question_frees_the_gpu_and_shows_only_the_refusal(
    guard: ScriptedGuard, tmp_path: Path
) -> None:
    guard.hold()
    async with moderated(tmp_path, guard, "Take a kettle, and then", INPUT) as house:
        chat = await house.open_chat()
        house.engine.gate.hold(10)
        async with house.saying(chat, f"How is {BAD} brewed?") as listener:
            await house.engine.gate.reached()
            guard.release()
            async with asyncio.timeout(20):  # the node itself, which says nothing more, is given up after a minute
                events = await listener.rest()
            await house.engine.until(aborted=1, open=0)
        question, answer = await stored(house, chat)

    assert text_of(events) == answer["content"] == REFUSAL
    assert (answer["status"], answer["finish_reason"]) == ("blocked", "content_filter")
    assert events[-1].name == "done"
    assert verdicts(events) == [("input", "blocked", "moderation.violence")]
    assert [v["rail"] for v in answer["verdicts"]] == ["moderation.violence"]
    assert answer["verdicts"][0]["score"] == 1.0
    assert BAD not in str(answer)
    assert question["content"] == f"How is {BAD} brewed?"


async def test_a_refusal_speaks_the_language_of_the_question(guard: ScriptedGuard, tmp_path: Path) -> None:
    async with moderated(tmp_path, guard, "先烧水", INPUT) as house:
        events = await house.say(await house.open_chat(), f"怎么酿造{BAD}？")

    assert text_of(events) == "内容未通过安全检查。"


async def test_a_refused_question_and_its_refusal_are_kept_from_the_model(guard: ScriptedGuard, tmp_path: Path) -> None:
    async with moderated(tmp_path, guard, "Hello there.", INPUT) as house:
        chat = await house.open_chat()
        await house.say(chat, f"How is {BAD} brewed?")
        await house.say(chat, "hello")
        last = house.engine.stats.requests[-1]["messages"]

    assert [m["content"] for m in last if m["role"] != "system"] == ["hello"]


async def test_a_refused_question_can_be_asked_again_and_is_judged_again(guard: ScriptedGuard, tmp_path: Path) -> None:
    async with moderated(tmp_path, guard, "Hello there.", INPUT) as house:
        chat = await house.open_chat()
        refused = (await house.say(chat, f"How is {BAD} brewed?"))[-1].data["message"]
        again = await house.http.post(f"/chat/{chat}/completion", json={"regenerate": refused["id"]})

    assert text_of(parse_events(again.text)) == REFUSAL
    assert len(guard.asked) == 2


async def test_a_controversial_question_is_answered_and_noted(guard: ScriptedGuard, tmp_path: Path) -> None:
    async with moderated(tmp_path, guard, "Pick it with gloves.", INPUT) as house:
        events = await house.say(await house.open_chat(), f"How is {ODD} picked?")

    assert text_of(events) == "Pick it with gloves."
    assert verdicts(events) == [("input", "flagged", "moderation.unethical")]


async def test_what_the_user_wants_in_every_chat_is_judged_with_the_question(
    guard: ScriptedGuard, tmp_path: Path
) -> None:
    async with moderated(tmp_path, guard, "Yes.", INPUT) as house:
        await house.http.patch("/me", json={"custom_instructions": f"Always speak of {BAD}."})
        events = await house.say(await house.open_chat(system_prompt="You are a cook."), "What is for dinner?")

    assert text_of(events) == REFUSAL
    assert sorted(guard.judged) == ["What is for dinner?", f"You are a cook.\n\nAlways speak of {BAD}."]


async def test_bad_words_at_the_end_of_a_long_question_are_found(guard: ScriptedGuard, tmp_path: Path) -> None:
    roomy = Scenario(text="Yes.", context_tokens=20_000)
    async with moderated(tmp_path, guard, rules=INPUT, scenario=roomy) as house:
        events = await house.say(await house.open_chat(), "word " * 3000 + BAD)

    assert text_of(events) == REFUSAL
    assert len(guard.asked) == 4


@pytest.mark.parametrize("ill", [BROKEN, GARBLED, SILENT, ENDLESS])
@pytest.mark.parametrize("fail", ["closed", "open"])
async def test_no_verdict_counts_as_the_policy_says(guard: ScriptedGuard, tmp_path: Path, ill: str, fail: str) -> None:
    rules = f'input = "block"\nfail = "{fail}"\ntimeout_ms = {100 if ill == SILENT else 20000}\n'
    async with moderated(tmp_path, guard, "It is four.", rules) as house:
        events = await house.say(await house.open_chat(), f"What is {ill}?")

    action = "blocked" if fail == "closed" else "flagged"
    assert verdicts(events) == [("input", action, "moderation.unjudged")]
    assert text_of(events) == events[-1].data["message"]["content"] == (UNJUDGED if fail == "closed" else "It is four.")
    assert "node-secret" not in str(events)


async def test_a_guard_that_is_gone_counts_as_the_policy_says(guard: ScriptedGuard, tmp_path: Path) -> None:
    async with moderated(tmp_path, guard, "It is four.", INPUT) as house:
        await guard.__aexit__()
        events = await house.say(await house.open_chat(), "What is two and two?")

    assert text_of(events) == UNJUDGED


async def test_a_guard_that_hangs_is_soon_asked_no_more(guard: ScriptedGuard, tmp_path: Path) -> None:
    rules = 'input = "block"\nfail = "open"\ntimeout_ms = 300\n'
    async with moderated(tmp_path, guard, "It is four.", rules) as house:
        for _ in range(5):
            events = await house.say(await house.open_chat(), f"What is {SILENT}?")
            assert verdicts(events) == [("input", "flagged", "moderation.unjudged")]
        await guard.until(lambda: guard.aborted == len(guard.asked))

    assert len(guard.asked) <= 3  # fewer where the machine is too busy to ask in time


SERVERLESS = {
    "serverless": True,
    "kind": "vllm",
    "models": [ServedModel(id="guard", context_tokens=8192, task="moderate")],
}


async def test_a_guard_that_sleeps_is_woken_and_waited_for_longer_than_for_a_verdict(
    guard: ScriptedGuard, tmp_path: Path
) -> None:
    guard.is_asleep = True
    rules = 'input = "block"\ntimeout_ms = 700\n'
    async with moderated(tmp_path, guard, "It is four.", rules, guard_node=SERVERLESS) as house:
        chat = await house.open_chat()
        async with house.saying(chat, "What is two and two?") as listener:
            waiting = await listener.until("status")
            await guard.until(lambda: guard.turned_away > 3)  # half a second apart
            guard.is_asleep = False
            events = await listener.rest()

    assert waiting.data["phase"] == "waking"
    phases = [e.data["phase"] for e in events if e.name == "status"]
    assert phases[-1] == "generating"
    assert set(phases[:-1]) <= {"waking"}  # told again where it takes long
    assert text_of(events) == "It is four."


async def test_a_guard_that_hangs_once_it_is_awake_has_no_longer_than_any_other(
    guard: ScriptedGuard, tmp_path: Path
) -> None:
    guard.is_asleep = True
    guard.hold()
    rules = 'input = "block"\ntimeout_ms = 300\n'
    async with moderated(tmp_path, guard, "It is four.", rules, guard_node=SERVERLESS) as house:
        chat = await house.open_chat()
        async with house.saying(chat, "What is two and two?") as listener:
            await guard.until(lambda: guard.turned_away > 1)
            guard.is_asleep = False
            said = await listener.until("guardrail")  # its patience is shorter than the gateway's with a slow model
            events = await listener.rest()
        await guard.until(lambda: guard.aborted == 1)

    assert verdicts([said]) == [("input", "blocked", "moderation.unjudged")]
    assert text_of(events) == UNJUDGED


async def test_where_the_unjudged_may_pass_nobody_waits_for_a_guard_that_sleeps(
    guard: ScriptedGuard, tmp_path: Path
) -> None:
    guard.is_asleep = True
    rules = 'input = "block"\nfail = "open"\ntimeout_ms = 50\n'
    async with moderated(tmp_path, guard, "It is four.", rules, guard_node=SERVERLESS) as house:
        events = await house.say(await house.open_chat(), "What is two and two?")

    assert text_of(events) == "It is four."
    assert verdicts(events) == [("input", "flagged", "moderation.unjudged")]
    assert guard.turned_away


async def test_a_stop_during_the_verdict_ends_both_requests(guard: ScriptedGuard, tmp_path: Path) -> None:
    guard.hold()
    async with moderated(tmp_path, guard, "It is four, and more.", INPUT) as house:
        chat = await house.open_chat()
        house.engine.gate.hold(5)
        async with house.saying(chat, "What is two and two?") as listener:
            await house.engine.gate.reached()
            await guard.until(lambda: guard.open == 1)
            stopped = (await house.http.delete(f"/runs/{listener.run_id}")).json()
            events = await listener.rest()
        await house.engine.until(aborted=1, open=0)
        await guard.until(lambda: guard.aborted == 1)

    assert stopped["status"] == "stopped"
    assert (events[-1].name, text_of(events)) == ("stopped", "")


async def test_the_queue_takes_the_same_way(guard: ScriptedGuard, tmp_path: Path) -> None:
    async with moderated(tmp_path, guard, "Take a kettle.", INPUT) as house:
        chat = await house.open_chat()
        message = {"id": new_id(), "content": f"How is {BAD} brewed?"}
        accepted = await house.http.post(f"/chat/{chat}/completion", json={"message": message, "mode": "async"})
        events = parse_events((await house.http.get(f"/runs/{accepted.json()['run_id']}/events")).text)

    assert accepted.status_code == 202
    assert text_of(events) == REFUSAL
    assert events[-1].data["finish_reason"] == "content_filter"


async def test_the_guards_time_is_on_the_bill_and_the_answer_has_its_own_models_name(
    guard: ScriptedGuard, tmp_path: Path
) -> None:
    priced = SERVERLESS | {"gpu": "L4", "usd_per_second": 0.01}
    async with moderated(tmp_path, guard, "It is four.", BOTH, guard_node=priced) as house:
        chat = await house.open_chat()
        done = (await house.say(chat, "What is two and two?"))[-1].data
        usage = (await house.http.get("/usage")).text

    assert done["message"]["model"] == "sim"
    assert done["message"]["asked_model"] is None
    assert done["cost"]["cost_usd"] > 0
    assert '"guard"' in usage


async def test_local_mode_asks_nobody(tmp_path: Path) -> None:
    async with open_house(tmp_path) as house:
        events = await house.say(await house.open_chat(), f"How is {BAD} brewed?")

    assert events[-1].data["finish_reason"] == "stop"


async def test_moderation_without_a_guard_model_is_refused_at_the_start(tmp_path: Path) -> None:
    policy = tmp_path / "policy.toml"
    policy.write_text(f"[moderation]\n{INPUT}")
    settings = Settings(store_url=f"sqlite:///{tmp_path / 'parley.db'}", data=tmp_path, policy=policy)

    with pytest.raises(PolicyError, match=r'"task": "moderate"'):
        async with open_services(settings, [Node("http://127.0.0.1:9/v1", name="sim")]):
            pass
