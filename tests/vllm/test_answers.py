"""What one answer of real vLLM is when it has come through our gateway."""

import json
import subprocess
from typing import Any

import pytest

from functions.chat.messages import Sampling
from functions.errors import ContextTooLong, NotFound, UpstreamError
from functions.inference.gateway import Gateway, Node
from tests.vllm.conftest import LONG, SEA, Fleet, OpenGateway, asking, greedy, say
from tests.vllm.servers import CONTEXT_TOKENS, PROGRAM, Server

SCHEMA = {
    "type": "object",
    "properties": {"mood": {"enum": ["good", "bad"]}, "stars": {"type": "integer", "minimum": 1, "maximum": 5}},
    "required": ["mood", "stars"],
    "additionalProperties": False,
}
RATE = {"type": "function", "function": {"name": "rate", "parameters": SCHEMA, "strict": True}}
LOOSE = {"type": "function", "function": {"name": "rate", "parameters": SCHEMA}}
MIXED = "你好，世界 😀 the end – naïve"  # most of it takes several tokens a character


async def test_a_node_says_that_it_is_vllm_and_how_much_it_reads(gateway: Gateway) -> None:
    (node,), (model,) = gateway.nodes, gateway.models()

    assert (node.kind, node.state) == ("vllm", "warm")
    assert (model.id, model.context_tokens) == ("tiny", CONTEXT_TOKENS)


async def test_an_answer_comes_in_pieces_and_is_counted(gateway: Gateway) -> None:
    answer = await say(gateway, greedy(LONG))

    assert len(answer.pieces) > 1, "more than one read can hold"
    assert len(answer.text.split()) == LONG
    assert answer.end and answer.end.finish_reason == "length"
    assert answer.end.usage and answer.end.usage.completion_tokens == LONG


async def test_temperature_zero_says_the_same_again(gateway: Gateway) -> None:
    once, again = [await say(gateway, greedy()) for _ in range(2)]

    assert once.text == again.text


async def test_a_seed_is_reproducible_and_another_seed_says_something_else(gateway: Gateway) -> None:
    first, again, other = [
        await say(gateway, Sampling(temperature=1.5, seed=seed, max_tokens=40)) for seed in (7, 7, 8)
    ]

    assert first.text == again.text
    assert first.text != other.text


async def test_a_temperature_that_was_not_asked_for_is_the_models_own(gateway: Gateway) -> None:
    """generation_config.json says 0.7, so that no two answers need be the same; ours must not be forced to 0 or 1."""
    answers = {(await say(gateway, Sampling(max_tokens=40))).text for _ in range(3)}

    assert len(answers) > 1


async def test_a_narrow_top_p_leaves_only_the_likeliest_word(gateway: Gateway) -> None:
    likeliest = await say(gateway, greedy())

    narrow = await say(gateway, Sampling(temperature=1.0, top_p=1e-6, max_tokens=40))

    assert narrow.text == likeliest.text


async def test_a_stop_string_ends_the_answer_and_is_not_in_it(gateway: Gateway) -> None:
    whole = (await say(gateway, greedy())).text
    stop = whole.split()[20]

    answer = await say(gateway, Sampling(temperature=0, max_tokens=40, stop=(f" {stop}",)))

    assert answer.text == whole[: whole.index(f" {stop}")]
    assert answer.end and answer.end.finish_reason == "stop"


async def test_characters_of_several_tokens_arrive_whole(gateway: Gateway) -> None:
    answer = await say(gateway, Sampling(max_tokens=100, extra={"structured_outputs": {"choice": [MIXED]}}))

    assert answer.text == MIXED
    assert not any("\ufffd" in piece for piece in answer.pieces)


async def test_a_json_schema_is_kept_to_the_letter(gateway: Gateway) -> None:
    wanted = {"type": "json_schema", "json_schema": {"name": "rating", "schema": SCHEMA}}

    answer = await say(gateway, Sampling(temperature=1.0, max_tokens=60, extra={"response_format": wanted}))

    said: dict[str, Any] = json.loads(answer.text)
    assert said["mood"] in ("good", "bad") and said["stars"] in range(1, 6)
    assert answer.end and answer.end.finish_reason == "stop"


@pytest.mark.parametrize("choice", ["required", {"type": "function", "function": {"name": "rate"}}])
async def test_a_forced_tool_call_comes_out_whole(gateway: Gateway, choice: Any) -> None:
    answer = await say(gateway, greedy(100, tools=[RATE], tool_choice=choice))

    assert answer.end and answer.end.finish_reason == "tool_calls"
    (call,) = answer.end.tool_calls
    assert call["function"]["name"] == "rate"
    assert json.loads(call["function"]["arguments"])["mood"] in ("good", "bad")
    assert call["id"]
    assert answer.text == ""


async def test_a_tool_call_that_was_cut_says_so(gateway: Gateway) -> None:
    """Without `strict` nothing binds the arguments to the schema, and this model never finds their end."""
    answer = await say(gateway, greedy(100, tools=[LOOSE], tool_choice="required"))

    assert answer.end and answer.end.finish_reason == "length"


async def test_a_tool_that_is_not_called_is_no_tool_call(gateway: Gateway) -> None:
    answer = await say(gateway, greedy(20, tools=[RATE], tool_choice="auto"))

    assert answer.end and (answer.end.finish_reason, answer.end.tool_calls) == ("length", ())
    assert len(answer.text.split()) == 20


async def test_the_second_turn_finds_the_first_in_the_cache(gateway: Gateway) -> None:
    question = asking("Tell me about" + " the house by the water" * 40)
    first = await say(gateway, greedy(), question)

    second = await say(gateway, greedy(), [*question, {"role": "assistant", "content": first.text}, *SEA])

    assert first.end and first.end.usage and first.end.usage.cached_tokens == 0
    assert second.end and second.end.usage
    blocks, rest = divmod(second.end.usage.cached_tokens, 128)  # the CPU's block; of the first turn's 200 tokens
    assert blocks >= 1 and rest == 0


async def test_tokens_are_counted_as_the_models_tokenizer_counts_them(
    gateway: Gateway, chat: Server, fleet: Fleet
) -> None:
    texts = ["the people would make a sentence", MIXED, "", "<|im_end|>", " the" * (CONTEXT_TOKENS + 1)]

    counted = await gateway.count_tokens("tiny", texts)

    program = (
        "import json, sys; from tokenizers import Tokenizer; t = Tokenizer.from_file(sys.argv[1]);"
        "print(json.dumps([len(t.encode(text, add_special_tokens=False)) for text in json.load(sys.stdin)]))"
    )
    done = subprocess.run(
        [PROGRAM.with_name("python"), "-c", program, fleet.folder / "model/tokenizer.json"],
        input=json.dumps(texts),
        capture_output=True,
        text=True,
        check=True,
    )
    assert list(counted) == json.loads(done.stdout)


async def test_more_than_the_model_can_read_is_an_error_in_our_words(gateway: Gateway) -> None:
    with pytest.raises(ContextTooLong) as problem:
        await say(gateway, greedy(), asking(" the people" * CONTEXT_TOKENS))

    assert problem.value.code == "context_length_exceeded"
    assert "people" not in problem.value.message


async def test_an_answer_that_fills_the_context_ends_as_too_long(gateway: Gateway) -> None:
    """vLLM takes a `max_tokens` that does not fit, and stops where the context ends."""
    answer = await say(gateway, greedy(CONTEXT_TOKENS), asking(" the" * (CONTEXT_TOKENS - 100)))

    assert answer.end and answer.end.finish_reason == "length" and answer.end.usage
    assert answer.end.usage.prompt_tokens + answer.end.usage.completion_tokens == CONTEXT_TOKENS


async def test_a_model_that_no_node_serves_is_not_found(gateway: Gateway) -> None:
    with pytest.raises(NotFound):
        await say(gateway, greedy(), model="another")


async def test_vllms_own_word_for_an_unknown_model_becomes_ours(chat: Server, open_gateway: OpenGateway) -> None:
    """A node of which nobody knows yet what it serves is asked, and says no."""
    gateway = await open_gateway(Node(f"{chat.url}/v1", serverless=True, state="warm"))

    with pytest.raises(UpstreamError) as problem:
        await say(gateway, greedy(), model="another")

    assert "another" not in problem.value.message


async def test_a_parameter_that_vllm_refuses_is_the_callers_mistake_and_not_repeated(gateway: Gateway) -> None:
    with pytest.raises(UpstreamError) as problem:
        await say(gateway, greedy(repetition_penalty=-1))

    assert problem.value.code == "model_rejected"
