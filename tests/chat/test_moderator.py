"""The guard model's stays at nodes, as the ledger gets them."""

from functions.chat.messages import NodeUse
from functions.chat.moderator import stays


def use(asked_ms: int, ended_ms: int, node: str = "guard", **more: object) -> NodeUse:
    known = {"began_ms": asked_ms, "prompt_tokens": 300, "completion_tokens": 12} | more
    return NodeUse(node=node, model="guard", asked_ms=asked_ms, ended_ms=ended_ms, **known)  # type: ignore[arg-type]


def spans(*uses: NodeUse) -> list[tuple[str, int, int, int]]:
    return [(stay.node, stay.asked_ms, stay.ended_ms, stay.prompt_tokens) for stay in stays(uses)]


def test_questions_that_overlap_or_follow_soon_are_one_stay() -> None:
    assert spans(use(0, 200), use(0, 150), use(900, 1000), use(1900, 2000)) == [("guard", 0, 2000, 1200)]


def test_questions_far_apart_or_at_other_nodes_are_stays_of_their_own() -> None:
    assert spans(use(0, 100), use(1200, 1300)) == [("guard", 0, 100, 300), ("guard", 1200, 1300, 300)]
    assert spans(use(0, 100), use(50, 100, "other")) == [("guard", 0, 100, 300), ("other", 50, 100, 300)]


def test_a_start_keeps_its_own_entry() -> None:
    assert len(stays([use(0, 100), use(200, 300, was_cold=True)])) == 2
    assert len(stays([use(0, 100, began_ms=None), use(200, 300)])) == 2
