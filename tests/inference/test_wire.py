"""The wire without sockets: bytes in, text out, however they are cut."""

import json
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from functions.chat.messages import Usage
from functions.errors import ContextTooLong, UpstreamError
from functions.inference.wire import FRAME_BYTES, MOST_TOKENS, End, EventStream, Reply, classify
from tests.simulated import SECRET

TEXTS = ["Grüße", ", 世界", " 🙂", "\n\n", "data: not a frame", '"quoted" \\ ', " e\u0301", "."]


def frame(delta: dict[str, Any] | None = None, finish_reason: str | None = None, **more: Any) -> str:
    choices = [] if delta is None else [{"index": 0, "delta": delta, "finish_reason": finish_reason}]
    return f"data: {json.dumps({'id': 'x', 'choices': choices, **more}, ensure_ascii=False)}\n\n"


USAGE = {"prompt_tokens": 12, "completion_tokens": 8, "total_tokens": 20, "prompt_tokens_details": {"cached_tokens": 5}}
ANSWER = (
    ": connected\n\n"
    + frame({"role": "assistant", "content": None})
    + frame({"reasoning_content": f"{SECRET} hm"})
    + "".join(f": ping\n\n{frame({'content': text})}" for text in TEXTS)
    + frame({"tool_calls": [{"index": 0, "id": "a", "function": {"name": "look", "arguments": ""}}]})
    + frame({"tool_calls": [{"index": 0, "function": {"arguments": '{"x": "é"}'}}]})
    + frame({}, "tool_calls")
    + frame(None, usage=USAGE)
    + "data: [DONE]\n\n"
).encode()
WHOLE = (
    "".join(TEXTS),
    End(
        "tool_calls",
        Usage(prompt_tokens=12, cached_tokens=5, completion_tokens=8),
        ({"id": "a", "type": "function", "function": {"name": "look", "arguments": '{"x": "é"}'}},),
    ),
)


def read(*parts: bytes) -> tuple[str, End]:
    reply = Reply()
    tokens = [reply.feed(part) for part in parts]
    return "".join(token.text for token in tokens if token), reply.end()


@pytest.mark.parametrize("line_end", ["\n", "\r\n", "\r"])
def test_a_stream_cut_in_two_at_any_byte_says_the_same(line_end: str) -> None:
    answer = ANSWER.replace(b"\n", line_end.encode())
    # A lone CR may be half of a CR LF: the last one only counts when something follows
    answer += b": end\r\r" if line_end == "\r" else b""

    assert all(read(answer[:cut], answer[cut:]) == WHOLE for cut in range(len(answer) + 1))


def test_a_stream_that_comes_byte_by_byte_says_the_same() -> None:
    assert read(*(ANSWER[i : i + 1] for i in range(len(ANSWER)))) == WHOLE


@given(st.lists(st.integers(0, len(ANSWER))))
def test_a_stream_cut_anywhere_says_the_same(cuts: list[int]) -> None:
    places = [0, *sorted(cuts), len(ANSWER)]

    assert read(*(ANSWER[start:end] for start, end in pairwise(places))) == WHOLE


def test_deltas_that_arrive_together_are_one_token() -> None:
    token = Reply().feed(
        (frame({"content": "one "}) + frame({"content": "two "}) + frame({"content": "three"})).encode()
    )

    assert token is not None
    assert (token.text, token.count) == ("one two three", 3)


def test_frames_without_text_are_no_token() -> None:
    reply = Reply()

    assert reply.feed(frame({"role": "assistant", "content": ""}).encode()) is None
    assert reply.feed(b": ping\n\n") is None
    assert reply.frames == 1


def test_an_event_may_have_several_data_lines_and_other_fields() -> None:
    events = EventStream().feed(b'\xef\xbb\xbfevent: x\nid: 1\ndata:{"a":\ndata: 1}\nretry: 5\n\n')

    assert events == [b'{"a":\n1}']


def test_only_the_first_choice_is_read() -> None:
    second = 'data: {"choices": [{"index": 1, "delta": {"content": "other"}}]}\n\n'

    assert Reply().feed(second.encode()) is None


def test_llama_cpp_says_the_cached_tokens_in_its_timings() -> None:
    usage = {"prompt_tokens": 9, "completion_tokens": 2}
    _, end = read((frame({"content": "x"}, "stop") + frame(None, usage=usage, timings={"cache_n": 7})).encode())

    assert end.usage == Usage(prompt_tokens=9, cached_tokens=7, completion_tokens=2)


@pytest.mark.parametrize(("said", "believed"), [(-5, 0), (10**30, MOST_TOKENS)])
def test_a_count_of_tokens_that_cannot_be_is_not_believed(said: int, believed: int) -> None:
    counts = {"prompt_tokens": said, "completion_tokens": said, "prompt_tokens_details": {"cached_tokens": said}}
    _, end = read((frame({"content": "x"}, "stop") + frame(None, usage=counts)).encode())

    assert end.usage == Usage(prompt_tokens=believed, cached_tokens=believed, completion_tokens=believed)


def test_parallel_tool_calls_come_whole_and_in_order() -> None:
    deltas = [
        {"index": 1, "id": "b", "function": {"name": "second", "arguments": "{"}},
        {"index": 0, "id": "a", "function": {"name": "first", "arguments": "[1"}},
        {"index": 1, "function": {"arguments": "}"}},
        {"index": 0, "function": {"arguments": "]"}},
    ]
    frames = "".join(frame({"tool_calls": [delta]}) for delta in deltas) + frame({}, "stop")
    _, end = read(frames.encode())

    assert end.finish_reason == "tool_calls"
    assert [(call["id"], call["function"]) for call in end.tool_calls] == [
        ("a", {"name": "first", "arguments": "[1]"}),
        ("b", {"name": "second", "arguments": "{}"}),
    ]


@pytest.mark.parametrize(
    "broken",
    [
        f'data: {{"choices": [{{"delta": {{"content": "{SECRET}\n\n'.encode(),
        b"data: <html>\n\n",
        b'data: {"choices": 7}\n\n',
        b'data: {"choices": [{"more": ' + b"[" * 100_000 + b"\n\n",
        b'data: {"choices": [{"delta": {"content": "\xff\xfe"}}]}\n\n',
        b"data: " + b"x" * FRAME_BYTES,
        frame(error={"message": f"{SECRET} out of memory"}).encode(),
    ],
)
def test_a_broken_frame_is_a_model_error_in_our_words(broken: bytes) -> None:
    with pytest.raises(UpstreamError) as caught:
        Reply().feed(broken)

    assert caught.value.code == "model_error"
    assert SECRET not in caught.value.message


def test_text_that_came_with_the_error_is_not_lost() -> None:
    reply = Reply()
    token = reply.feed((frame({"content": "so far "}) + frame(error={"message": SECRET})).encode())

    assert token is not None
    assert token.text == "so far "
    assert reply.done
    with pytest.raises(UpstreamError) as caught:
        reply.end()
    assert caught.value.code == "model_error"


def test_an_error_frame_about_the_context_is_named_so() -> None:
    with pytest.raises(ContextTooLong):
        Reply().feed(b'data: {"error": {"message": "This model\'s maximum context length is 10 tokens"}}\n\n')


def test_an_error_of_null_is_none() -> None:
    token = Reply().feed(frame({"content": "fine"}, error=None).encode())

    assert token is not None
    assert token.text == "fine"


def test_an_answer_without_an_end_is_an_error() -> None:
    reply = Reply()
    reply.feed(frame({"content": "half"}).encode())

    with pytest.raises(UpstreamError):
        reply.end()


@pytest.mark.parametrize(
    ("status", "body", "meaning"),
    [
        (400, b'{"error": {"type": "exceed_context_size_error"}}', "too_long"),
        (400, b"This model's maximum context length is 4096 tokens. However, you requested 9000", "too_long"),
        (400, b'{"error": {"code": "context_length_exceeded"}}', "too_long"),
        (400, b"unknown field", "rejected"),
        (422, b"", "rejected"),
        (401, b"", "unauthorized"),
        (404, b"The model does not exist", "missing"),
        (429, b"", "busy"),
        (503, b'{"error":{"code":503,"message":"Loading model","type":"unavailable_error"}}', "loading"),
        (503, b"", "down"),
        (502, b"", "down"),
        (204, b"", "down"),
    ],
)
def test_a_refusal_has_one_meaning(status: int, body: bytes, meaning: str) -> None:
    assert classify(status, body) == meaning
