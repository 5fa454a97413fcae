"""What is folded, when, and which summary a prompt shows: pure, so it is tested as arithmetic."""

from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from functions.chat import context
from functions.chat.context import Fold, Folded, Summarise
from tests.chat.test_context import contents, talk

ROOM = 250


def fold_all(sizes: list[int], room: int, known: list[Folded], *, ahead: bool = False) -> None:
    """Fold what is due, each summary five tokens."""
    history = talk(*map(str, range(len(sizes))))
    while due := context.fold_due(history, sizes, known, room=room, ahead=ahead):
        known.append(Folded(due.end, f"up to {due.end}", 5))


def prompts_of(turns: int, *, ahead: bool) -> list[list[str]]:
    """The prompts of a chat of ten-token messages, folded when it must be, and ahead of time if `ahead`."""
    prompts, known = [], []
    for n in range(1, 2 * turns, 2):
        fold_all([10] * n, ROOM, known)
        built = context.build(
            Summarise(), "head", talk(*map(str, range(n))), [10] * n, head_tokens=0, budget=ROOM, summaries=known
        )
        prompts.append(contents(built))
        if ahead:
            fold_all([10] * (n + 1), ROOM, known, ahead=True)
    return prompts


def test_nothing_is_due_while_the_chat_fits() -> None:
    assert context.fold_due(talk(*"abcde"), [10] * 5, [], room=50) is None


def test_half_of_the_room_is_folded_in_one_step_and_the_rest_begins_with_the_user() -> None:
    due = context.fold_due(talk(*"abcdefg"), [10] * 7, [], room=60)

    assert due == Fold(context.NOTHING_FOLDED, 4)


def test_the_next_fold_goes_on_where_the_last_one_ended() -> None:
    first = Folded(4, "notes", 5)

    due = context.fold_due(talk(*map(str, range(13))), [10] * 13, [first], room=60)

    assert due == Fold(first, 8)


def test_a_question_that_leaves_little_room_folds_all_before_it() -> None:
    assert context.fold_due(talk("a", "b", "c"), [10, 10, 45], [], room=60) == Fold(context.NOTHING_FOLDED, 2)


def test_a_fold_is_due_ahead_of_time_once_its_half_is_complete() -> None:
    assert context.fold_due(talk(*"abcd"), [10] * 4, [], room=60, ahead=True) is None
    assert context.fold_due(talk(*"abcdef"), [10] * 6, [], room=60, ahead=True) == Fold(context.NOTHING_FOLDED, 4)


def test_the_summary_stands_before_what_is_said_after_it_as_a_record_and_no_instruction() -> None:
    built = context.build(
        Summarise(), "be kind", talk(*"abcdefg"), [10] * 7, head_tokens=0, budget=60, summaries=[Folded(4, "NOTES", 5)]
    )

    assert [m["role"] for m in built.messages] == ["system", "user", "assistant", "user", "assistant", "user"]
    assert contents(built)[0] == "be kind"
    assert "NOTES" in contents(built)[1]
    assert "not a request" in contents(built)[1]
    assert contents(built)[3:] == ["e", "f", "g"]
    assert (built.left_out, built.summarised) == (0, 4)


def test_what_has_no_summary_yet_is_left_out_and_an_answer_comes_all_the_same() -> None:
    built = context.build(Summarise(), "", talk(*"abcdefg"), [10] * 7, head_tokens=0, budget=60)

    assert contents(built) == ["e", "f", "g"]
    assert (built.left_out, built.summarised) == (4, 0)


def test_a_summary_of_which_nothing_could_be_kept_takes_no_room_and_says_nothing() -> None:
    nothing = Folded(4, "", 0)
    built = context.build(Summarise(), "", talk(*"abcdefg"), [10] * 7, head_tokens=0, budget=60, summaries=[nothing])

    assert contents(built) == ["e", "f", "g"]
    assert (built.left_out, built.summarised) == (4, 0)


def test_a_summary_made_ahead_of_time_is_not_used_before_it_is_needed() -> None:
    built = context.build(
        Summarise(), "", talk(*"abcde"), [10] * 5, head_tokens=0, budget=60, summaries=[Folded(4, "NOTES", 5)]
    )

    assert contents(built) == list("abcde")


def test_the_prefix_stays_the_same_between_two_compactions_whether_made_ahead_or_in_the_turn() -> None:
    for ahead in (False, True):
        prompts = prompts_of(100, ahead=ahead)
        compactions = sum(later[: len(earlier)] != earlier for earlier, later in pairwise(prompts))

        assert compactions <= 100 / 6 + 1, "a compaction makes room for half of 250 tokens: six turns of twenty"
        assert all(len(prompt) <= ROOM // 10 + 3 for prompt in prompts)


def test_a_fold_ahead_of_time_spares_every_turn_the_wait() -> None:
    known: list[Folded] = []
    for n in range(1, 400, 2):
        assert context.fold_due(talk(*map(str, range(n))), [10] * n, known, room=ROOM) is None
        fold_all([10] * (n + 1), ROOM, known, ahead=True)


@given(
    sizes=st.lists(st.integers(1, 40), min_size=1, max_size=60).filter(lambda s: len(s) % 2 == 1),
    budget=st.integers(60, 300),
    ahead=st.booleans(),
)
def test_whatever_the_history_the_prompt_fits_and_nothing_is_both_shown_and_lost(
    sizes: list[int], budget: int, ahead: bool
) -> None:
    known: list[Folded] = []
    fold_all(sizes, budget, known, ahead=ahead)

    built = context.build(
        Summarise(), "", talk(*map(str, range(len(sizes)))), sizes, head_tokens=0, budget=budget, summaries=known
    )

    said = [m for m in built.messages if m["content"].isdigit()]
    assert sum(sizes[len(sizes) - len(said) :]) + (5 if built.summarised else 0) <= budget
    assert len(said) + built.left_out + built.summarised == len(sizes)
    assert [m["role"] for m in built.messages] == [("user", "assistant")[i % 2] for i in range(len(built.messages))]
    assert built.messages[-1]["content"] == str(len(sizes) - 1)
    if not ahead and sizes[-1] + 5 <= budget:
        assert built.left_out == 0, "all that was folded is shown as a summary"
