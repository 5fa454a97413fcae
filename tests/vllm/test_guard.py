"""A guard model that says anything but a verdict: real vLLM, real tokens, and weights that know nothing of safety."""

from pathlib import Path

import pytest

from functions.inference.nodes import Node
from tests.house import open_house, text_of
from tests.simulated import SimulatedEngine
from tests.vllm.servers import Server

NOT_JUDGED = "The safety check could not be made. Try again in a moment."


def rules(folder: Path, fail: str) -> Path:
    """Enough time that what is missing is the verdict, not the answer."""
    policy = folder / "policy.toml"
    policy.write_text(f'[moderation]\ninput = "block"\noutput = "block"\nfail = "{fail}"\ntimeout_ms = 60000\n')
    return policy


@pytest.mark.parametrize("fail", ["closed", "open"])
async def test_what_is_no_verdict_counts_as_the_policy_says(fail: str, chat: Server, tmp_path: Path) -> None:
    def nodes(engine: SimulatedEngine) -> list[Node]:
        return [Node(engine.url, name="sim"), Node(f"{chat.url}/v1", name="guard", task="moderate")]

    async with open_house(tmp_path, nodes=nodes, policy=rules(tmp_path, fail)) as house:
        written = chat.metric("vllm:generation_tokens_total")
        chat_id = await house.open_chat()
        events = await house.say(chat_id, "What is in the house by the water?")
        written = chat.metric("vllm:generation_tokens_total") - written
        usage = (await house.http.get("/usage")).json()

    message = events[-1].data["message"]
    stages = [(verdict["stage"], verdict["action"], verdict["rail"]) for verdict in message["verdicts"]]
    if fail == "closed":
        assert message["content"] == text_of(events) == NOT_JUDGED
        assert (message["status"], message["finish_reason"]) == ("blocked", "content_filter")
        assert stages == [("input", "blocked", "moderation.unjudged")]
    else:
        assert message["content"] == text_of(events) != NOT_JUDGED
        assert message["status"] == "complete"
        assert stages == [(stage, "flagged", "moderation.unjudged") for stage in ("input", "output")]
    assert written > 0, "vLLM was not asked"
    assert "tiny" in {row["model"] for row in usage["data"]}
