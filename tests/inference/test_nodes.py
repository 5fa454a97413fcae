"""What is known of a node without asking it: state by the clock, estimates from past starts."""

import pytest

from functions.inference.nodes import DEFAULT_MODEL, IDLE_SECONDS, Node, ServedModel
from tests.inference.conftest import Clock


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.mark.parametrize(
    ("url", "serverless"),
    [
        ("https://me--parley-llm.modal.run/v1", True),
        ("https://me--parley-llm.us-east.modal.direct/v1", True),
        ("http://127.0.0.1:8000/v1", False),
        ("https://api.example.com/v1/", False),
        ("https://modal.run.example.com/v1", False),
    ],
)
def test_a_node_on_modal_is_taken_for_serverless(url: str, serverless: bool) -> None:
    assert Node(url).serverless is serverless


def test_a_serverless_node_left_alone_sleeps_again(clock: Clock) -> None:
    node = Node("http://x/v1", serverless=True, now=clock)
    states = [node.state]
    node.mark("warm")
    for seconds in (IDLE_SECONDS, 1):
        clock.now += seconds
        states.append(node.state)

    assert states == ["cold", "warm", "cold"]


def test_a_node_that_works_does_not_sleep(clock: Clock) -> None:
    node = Node("http://x/v1", serverless=True, now=clock)
    node.mark("warm")
    node.take_place()
    clock.now += 10 * IDLE_SECONDS
    assert node.state == "warm"
    node.give_place()
    clock.now += IDLE_SECONDS - 1
    assert node.state == "warm"


def test_an_always_on_node_does_not_sleep(clock: Clock) -> None:
    node = Node("http://x/v1", serverless=False, now=clock)
    node.mark("warm")
    clock.now += 10 * IDLE_SECONDS

    assert node.state == "warm"


def test_a_start_is_measured_from_its_first_sign_to_the_first_answer(clock: Clock) -> None:
    node = Node("http://x/v1", serverless=True, now=clock)
    assert node.eta_ms() == (None, None)
    node.mark("warming")
    clock.now += 20
    node.mark("warming")
    clock.now += 10
    node.mark("warm")
    node.mark("warm")

    assert node.eta_ms() == (30_000, 30_000)


def test_an_estimate_counts_from_now(clock: Clock) -> None:
    node = Node("http://x/v1", serverless=True, now=clock)
    for ms in range(10_000, 110_000, 10_000):
        node.observe_wake(ms)
    assert node.eta_ms() == (50_000, 90_000)

    node.mark("warming")
    clock.now += 60
    assert node.eta_ms() == (0, 30_000)


def test_a_start_that_failed_is_not_remembered(clock: Clock) -> None:
    node = Node("http://x/v1", serverless=True, now=clock)
    node.mark("warming")
    clock.now += 20
    node.mark("unreachable")
    node.mark("warm")

    assert node.eta_ms() == (None, None)


def test_a_nodes_key_is_not_in_its_name() -> None:
    node = Node("http://x/v1", api_key="very-secret", headers={"Modal-Secret": "also-secret"})

    assert "secret" not in repr(node)


def test_a_guard_model_that_has_not_said_its_name_is_nobodys_default() -> None:
    guard = Node("http://guard/v1", task="moderate")

    assert not guard.serves(DEFAULT_MODEL)
    assert Node("http://chat/v1").serves(DEFAULT_MODEL)
    assert Node("http://guard/v1", models=[ServedModel(id="guard", task="moderate")]).serves("guard")
