"""ChatGPT's tree of nodes as a tree of messages: branches, tools, what nobody saw, and what no exporter would write."""

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from functions.chat.messages import Message
from functions.importing.chatgpt import read_conversation
from functions.importing.pieces import fenced, without_marks
from functions.importing.values import Unusable, bounded
from functions.settings import IMPORT_MESSAGE_BYTES
from tests.importing.conversations import T0, conversation, node, said, simple


def branch(value: dict[str, Any]) -> list[tuple[str, str]]:
    """The branch that was read last."""
    whole = read_conversation(value, "salt")
    by_id = {message.id: message for message in whole.messages}
    path: list[Message] = []
    at = whole.chat.active_leaf
    while at is not None:
        path.append(by_id[at])
        at = by_id[at].parent_id
    return [(message.role, message.content) for message in path[::-1]]


def test_branches_stay_branches_and_the_one_that_was_read_last_is_the_active_one() -> None:
    value = conversation(
        node("root", None),
        node("s", "root", said("system", "", metadata={"is_visually_hidden_from_conversation": True})),
        node("q1", "s", said("user", "First?")),
        node("a1", "q1", said("assistant", "One.", at=T0 + 1)),
        node("a2", "q1", said("assistant", "Two.", at=T0 + 2)),
        node("q2", "a1", said("user", "More?", at=T0 + 3)),
        node("q3", "s", said("user", "First, edited?", at=T0 + 4)),
        current_node="q2",
    )

    whole = read_conversation(value, "salt")

    children: dict[str | None, list[str]] = {}
    contents = {message.id: message.content for message in whole.messages}
    for message in whole.messages:
        children.setdefault(contents.get(message.parent_id or ""), []).append(message.content)
    assert children == {None: ["First?", "First, edited?"], "First?": ["One.", "Two."], "One.": ["More?"]}
    assert branch(value) == [("user", "First?"), ("assistant", "One."), ("user", "More?")]
    ids = [message.id for message in whole.messages]
    assert ids == sorted(ids)
    assert all(message.parent_id is None or message.parent_id < message.id for message in whole.messages)


def test_a_call_its_output_and_the_words_around_them_are_one_answer() -> None:
    code = {"content_type": "code", "language": "unknown", "text": "print(6 * 7)"}
    value = conversation(
        node("q", None, said("user", "What is 6 times 7?")),
        node("think", "q", said("assistant", content={"content_type": "thoughts", "thoughts": [{"content": "hm"}]})),
        node("call", "think", said("assistant", content=code, recipient="python")),
        node("out", "call", said("tool", content={"content_type": "execution_output", "text": "42\n```"})),
        node("search", "out", said("assistant", content={"content_type": "code", "text": "search()"}, recipient="web")),
        node("page", "search", said("tool", content={"content_type": "tether_browsing_display", "result": "a page"})),
        node("a", "page", said("assistant", "It is 42.【3†source】", metadata={"model_slug": "gpt-4o"})),
    )

    answer = "```python\nprint(6 * 7)\n```\n\n````text\n42\n```\n````\n\nIt is 42."
    assert branch(value) == [("user", "What is 6 times 7?"), ("assistant", answer)]
    assert read_conversation(value, "salt").messages[-1].model == "gpt-4o"


def test_answers_that_part_in_their_middle_are_each_whole() -> None:
    value = conversation(
        node("q", None, said("user", "Draw.")),
        node("a", "q", said("assistant", "Here:")),
        node("b", "a", said("assistant", "a cat", at=T0 + 1)),
        node("c", "a", said("assistant", "a dog", at=T0 + 2)),
    )

    whole = read_conversation(value, "salt")

    assert [message.content for message in whole.messages] == ["Draw.", "Here:\n\na cat", "Here:\n\na dog"]


def test_pictures_sounds_and_files_are_notes() -> None:
    parts = [
        {"content_type": "image_asset_pointer", "asset_pointer": "sediment://x"},
        "What is this?",
        {"content_type": "audio_transcription", "text": "said aloud"},
        {"content_type": "something_new"},
    ]
    files = [{"name": "bees.pdf", "mime_type": "application/pdf"}, {"name": "a.png", "mime_type": "image/png"}, 7]
    value = conversation(
        node(
            "q",
            None,
            said("user", content={"content_type": "multimodal_text", "parts": parts}, metadata={"attachments": files}),
        )
    )

    assert branch(value) == [("user", "[file: bees.pdf]\n\n[image]\n\nWhat is this?\n\nsaid aloud\n\n[attachment]")]


def test_marks_of_sources_are_gone_and_what_a_mark_names_stays() -> None:
    text = (
        'See \ue200entity\ue202["company","OpenAI"]\ue201 and \ue200url\ue202the page\ue202https://x\ue201'
        "\ue200cite\ue202turn0search0\ue202turn1view2\ue201.【12:3†a.pdf】 A lone \ue200 stays; 【so does this】."
    )
    assert without_marks(text) == "See OpenAI and the page. A lone \ue200 stays; 【so does this】."
    assert without_marks("\ue200entity\ue202[broken\ue201!") == "!"


def test_what_was_hidden_deleted_or_said_to_nobody_is_passed_over() -> None:
    value = conversation(
        node("s", None, said("system", "You are …")),
        node("ctx", "s", said("user", content={"content_type": "user_editable_context", "user_profile": "I am"})),
        node("q", "ctx", said("user", "Hello")),
        node("blank", "q", said("assistant", "")),
        node("w", "blank", said("assistant", "weightless", weight=0.0)),
        node("a", "w", said("assistant", "Hi")),
        node("orphan", "deleted-node", said("user", "Whose parent is gone")),
        current_node="w",
    )

    whole = read_conversation(value, "salt")

    assert sorted(m.content for m in whole.messages if m.parent_id is None) == ["Hello", "Whose parent is gone"]
    assert branch(value) == [("user", "Hello")]
    assert branch(value | {"current_node": "a"}) == [("user", "Hello"), ("assistant", "Hi")]


def test_the_same_file_gives_the_same_ids_and_another_owner_others() -> None:
    one, again, other = (read_conversation(simple(1), salt) for salt in ("ann", "ann", "bob"))

    assert one == again
    assert one.chat.id != other.chat.id
    assert not {m.id for m in one.messages} & {m.id for m in other.messages}
    assert all(m.chat_id == one.chat.id and m.id[14] == "7" for m in one.messages)


def test_times_that_are_none_are_those_of_the_message_before() -> None:
    bad = (None, "yesterday", float("nan"), -5, 1e300, True)
    nodes = [node("n0", None, said("user", "0"))]
    nodes += [
        node(f"n{n}", f"n{n - 1}", said(("user", "assistant")[n % 2], str(n), at=at))  # type: ignore[arg-type]
        for n, at in enumerate(bad, 1)
    ]

    whole = read_conversation(conversation(*nodes), "salt")

    assert [m.content for m in whole.messages] == list("0123456")
    assert {m.created_at.timestamp() for m in whole.messages} == {T0}


@pytest.mark.parametrize(
    ("value", "reason"),
    [
        (7, "damaged"),
        ({"mapping": []}, "damaged"),
        (conversation(), "empty"),
        (conversation(node("s", None, said("system", "only"))), "empty"),
        (conversation(node("a", "b", said("user", "x")), node("b", "a", said("user", "y"))), "circular"),
        (conversation(node("a", "a", said("user", "x"))), "circular"),
    ],
)
def test_what_is_no_conversation_is_refused_with_a_reason(value: Any, reason: str) -> None:
    with pytest.raises(Unusable) as refused:
        read_conversation(value, "salt")
    assert refused.value.reason == reason


def test_a_circle_beside_a_tree_costs_the_circle_alone() -> None:
    value = simple(1)
    value["mapping"] |= {"x": node("x", "y", said("user", "x")), "y": node("y", "x", said("user", "y"))}
    value["current_node"] = "x"
    assert len(read_conversation(value, "salt").messages) == 2


def test_a_tree_of_ten_thousand_nodes_in_a_row_is_read_and_a_comb_that_would_multiply_is_not() -> None:
    row = [node("0", None, said("user", "0"))]
    row += [node(str(n), str(n - 1), said(("user", "assistant")[n % 2], str(n))) for n in range(1, 10_000)]
    assert len(read_conversation(conversation(*row), "salt").messages) == 10_000

    comb = [node("0", None, said("user", "0"))]
    for n in range(1, 1_500):
        comb += [node(str(n), str(n - 1), said("user", "x")), node(f"t{n}", str(n - 1), said("user", "y"))]
    with pytest.raises(Unusable) as refused:
        read_conversation(conversation(*comb), "salt")
    assert refused.value.reason == "too_large"


def test_a_message_that_is_too_long_is_cut_with_a_note_and_never_inside_a_character() -> None:
    text = bounded("é" * IMPORT_MESSAGE_BYTES)
    assert len(text.encode()) <= IMPORT_MESSAGE_BYTES
    assert text.startswith("éé")
    assert text.endswith(f"it had {2 * IMPORT_MESSAGE_BYTES} bytes]")


def test_text_that_cannot_be_stored_is_mended() -> None:
    value = conversation(node("q", None, said("user", "a\ud800b\0c\ud83d\ude42")), title="\udfff \0")
    whole = read_conversation(value, "salt")
    assert whole.messages[0].content == "a\ufffdb\ufffdc🙂"
    whole.chat.title.encode()  # type: ignore[union-attr]


json_values = st.recursive(
    st.none() | st.booleans() | st.floats() | st.integers() | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(
                [
                    "mapping",
                    "message",
                    "author",
                    "role",
                    "content",
                    "content_type",
                    "parts",
                    "metadata",
                    "parent",
                    "a",
                    "b",
                ]
            ),
            inner,
            max_size=6,
        )
    ),
    max_leaves=20,
)


@settings(max_examples=60, deadline=None)
@given(st.dictionaries(st.sampled_from(["a", "b", "c"]), json_values, max_size=3), json_values)
def test_whatever_the_mapping_is_it_is_read_or_refused(mapping: dict[str, Any], rest: Any) -> None:
    try:
        whole = read_conversation({"mapping": mapping, "title": rest, "current_node": rest}, "salt")
    except Unusable:
        return
    assert whole.chat.active_leaf in {message.id for message in whole.messages}


def test_a_fence_is_longer_than_any_in_the_code() -> None:
    assert fenced("a\n````\nb", "") == "`````\na\n````\nb\n`````"
    assert fenced("  \n", "python") == ""
