"""The context policy: pure, so it is tested as arithmetic."""

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from functions.chat import context
from functions.chat.context import Fill, Window
from functions.chat.messages import Message, utc_now
from functions.errors import ContextTooLong


def talk(*texts: str) -> list[Message]:
    """A user and an assistant in turn."""
    roles = ("user", "assistant")
    return [
        Message(
            id=f"m{i}",
            chat_id="c",
            parent_id=f"m{i - 1}" if i else None,
            role=roles[i % 2],
            content=text,
            created_at=utc_now(),
        )
        for i, text in enumerate(texts)
    ]


def contents(built: context.Context) -> list[str]:
    return [m["content"] for m in built.messages]


def test_all_of_a_short_chat_is_sent_after_the_system_prompt() -> None:
    built = context.build(Fill(), "be kind", talk("a", "b", "c"), [1, 1, 1], head_tokens=2, budget=10)

    assert contents(built) == ["be kind", "a", "b", "c"]
    assert [m["role"] for m in built.messages] == ["system", "user", "assistant", "user"]
    assert built.left_out == 0


def test_a_full_budget_drops_whole_turns_down_to_half_and_says_how_many() -> None:
    built = context.build(Fill(), "", talk(*"abcdefg"), [10] * 7, head_tokens=0, budget=60)

    assert contents(built) == ["e", "f", "g"]
    assert built.left_out == 4


def test_the_prefix_stays_the_same_between_two_cuts() -> None:
    """Each turn's prompt begins with the whole prompt of the turn before, but for the turns that cut."""
    texts = [f"{i}" for i in range(101)]
    prompts = [
        contents(context.build(Fill(), "head", talk(*texts[:n]), [10] * n, head_tokens=10, budget=250))
        for n in range(1, 102, 2)
    ]

    cuts = sum(later[: len(earlier)] != earlier for earlier, later in pairwise(prompts))

    assert cuts <= len(prompts) * 2 / 12 + 1, "a cut halves 24 messages, so it comes at most once in 6 turns"


def test_a_window_keeps_at_most_its_messages() -> None:
    built = context.build(Window(messages=4), "", talk(*"abcdefg"), [1] * 7, head_tokens=0, budget=100)

    assert len(built.messages) <= 4
    assert contents(built)[-1] == "g"


def test_a_message_that_cannot_fit_is_refused_with_a_sentence() -> None:
    with pytest.raises(ContextTooLong, match="too long for the model"):
        context.build(Fill(), "", talk("a", "b", "c"), [1, 1, 100], head_tokens=0, budget=50)


def test_an_answer_larger_than_the_context_is_refused() -> None:
    with pytest.raises(ContextTooLong, match="max_tokens"):
        context.prompt_budget(1000, 1000)


def test_blocked_questions_and_their_refusals_are_not_shown_to_the_model() -> None:
    said = talk("bad", "I cannot", "good")
    blocked = [Message(**{**{f: getattr(m, f) for f in m.__struct_fields__}, "status": "blocked"}) for m in said[:2]]

    assert [m.content for m in context.readable([*blocked, said[2]])] == ["good"]


@given(
    sizes=st.lists(st.integers(1, 40), min_size=1, max_size=60).filter(lambda s: len(s) % 2 == 1),
    budget=st.integers(41, 300),
    policy=st.sampled_from([Fill(), Window(6), Window(20)]),
)
def test_whatever_the_history_the_prompt_fits_and_begins_with_the_user(
    sizes: list[int], budget: int, policy: context.ContextPolicy
) -> None:
    history = talk(*(str(i) for i in range(len(sizes))))

    built = context.build(policy, "", history, sizes, head_tokens=0, budget=budget)

    assert sum(sizes[built.left_out :]) <= budget
    assert len(built.messages) + built.left_out == len(sizes)
    assert built.messages[0]["role"] == "user"
    assert built.messages[-1]["content"] == str(len(sizes) - 1)


@given(st.text(max_size=200))
def test_the_bound_is_never_below_the_number_of_bytes(text: str) -> None:
    assert context.upper_bound([text]) >= len(text.encode())
