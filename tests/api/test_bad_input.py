"""Bad input gets a clear error that says what to do, costs no engine call, and leaves nothing behind."""

from typing import Any

import pytest

from functions.chat.messages import new_id
from functions.settings import BODY_BYTES, MESSAGE_BYTES
from tests.house import House

MESSAGE: dict[str, Any] = {"id": "01a1fb64-d6a0-7adc-bdd8-f30411beab87", "content": "hello"}


async def refused(house: House, path: str, status: int, code: str, **request: Any) -> str:
    """The request is refused so, and nothing was stored or sent."""
    before = (await house.http.get("/chats")).json()
    answer = await house.http.post(path, **request)
    error = answer.json()["error"]

    assert (answer.status_code, error["code"]) == (status, code), answer.text
    assert error["message"]
    assert error["type"]
    assert (await house.http.get("/chats")).json() == before
    assert not house.engine.stats.requests
    message: str = error["message"]
    return message


@pytest.mark.parametrize(
    ("body", "names"),
    [
        ({}, "message"),
        ({"message": MESSAGE, "regenerate": MESSAGE["id"]}, "regenerate"),
        ({"message": MESSAGE | {"content": ""}}, "content"),
        ({"message": MESSAGE | {"content": " \n\t"}}, "content"),
        ({"message": MESSAGE | {"content": 7}}, "content"),
        ({"message": MESSAGE | {"content": "a\0b"}}, "content"),
        ({"message": MESSAGE | {"id": "not-a-uuid"}}, "id"),
        ({"message": {"content": "no id"}}, "id"),
        ({"message": MESSAGE, "temperature": "hot"}, "temperature"),
        ({"message": MESSAGE, "temperature": 3}, "temperature"),
        ({"message": MESSAGE, "top_p": 0}, "top_p"),
        ({"message": MESSAGE, "max_tokens": 0}, "max_tokens"),
        ({"message": MESSAGE, "max_tokens": 1e300}, "max_tokens"),
        ({"message": MESSAGE, "seed": 2**70}, "seed"),
        ({"message": MESSAGE, "stop": ["x"] * 5}, "stop"),
        ({"message": MESSAGE, "mode": "later"}, "mode"),
        ({"message": MESSAGE, "temprature": 1}, "temprature"),
        ({"message": [MESSAGE]}, "message"),
        ([], ""),
        ("hello", ""),
        (None, ""),
    ],
)
async def test_a_wrong_field_is_named(house: House, body: Any, names: str) -> None:
    chat_id = await house.open_chat()

    message = await refused(house, f"/chat/{chat_id}/completion", 400, "bad_input", json=body)

    assert names in message
    assert (await house.http.get(f"/chat/{chat_id}")).json()["messages"] == []


async def test_broken_json_is_called_broken_json(house: House) -> None:
    chat_id = await house.open_chat()
    await refused(
        house, f"/chat/{chat_id}/completion", 400, "invalid_json",
        content=b'{"message": ', headers={"content-type": "application/json"},
    )  # fmt: skip


async def test_a_lone_surrogate_is_refused(house: House) -> None:
    chat_id = await house.open_chat()
    body = b'{"message": {"id": "%s", "content": "a\\ud800b"}}' % MESSAGE["id"].encode()
    told = await refused(
        house, f"/chat/{chat_id}/completion", 400, "bad_input",
        content=body, headers={"content-type": "application/json"},
    )  # fmt: skip

    assert "codec" not in told


async def test_bytes_that_are_no_utf8_are_refused(house: House) -> None:
    chat_id = await house.open_chat()
    answer = await house.http.post(
        f"/chat/{chat_id}/completion", content=b'{"message": "\xff\xfe"}', headers={"content-type": "application/json"}
    )
    assert answer.status_code == 400
    assert answer.json()["error"]["message"]


async def test_a_message_of_exactly_64_kib_passes_and_one_byte_more_does_not(house: House) -> None:
    chat_id = await house.open_chat()
    text = "é" * (MESSAGE_BYTES // 2)

    message = await refused(
        house, f"/chat/{chat_id}/completion", 413, "too_large", json={"message": MESSAGE | {"content": text + "a"}}
    )
    kept = await house.http.post(
        f"/chat/{chat_id}/completion", json={"message": {"id": new_id(), "content": text}, "mode": "async"}
    )

    assert str(MESSAGE_BYTES) in message
    assert kept.status_code == 202
    assert (await house.http.get(f"/chat/{chat_id}")).json()["messages"][0]["content"] == text


@pytest.mark.parametrize("declared", [True, False])
async def test_a_body_over_the_limit_is_cut_off_with_or_without_its_length(house: House, declared: bool) -> None:
    chat_id = await house.open_chat()

    async def pieces() -> Any:
        for _ in range(BODY_BYTES // 65536 + 1):
            yield b" " * 65536

    body: Any = b" " * (BODY_BYTES + 1) if declared else pieces()
    await refused(
        house, f"/chat/{chat_id}/completion", 413, "too_large",
        content=body, headers={"content-type": "application/json"},
    )  # fmt: skip


async def test_an_unknown_chat_run_or_model_is_404(house: House) -> None:
    absent, chat_id = new_id(), await house.open_chat()

    await refused(house, f"/chat/{absent}/completion", 404, "not_found", json={"message": MESSAGE})
    await refused(
        house, f"/chat/{chat_id}/completion", 404, "model_not_found", json={"message": MESSAGE, "model": "gpt-99"}
    )
    await refused(house, "/chat", 404, "model_not_found", json={"model": "gpt-99"})
    for path in (f"/chat/{absent}", f"/runs/{absent}", f"/runs/{absent}/events", f"/chat/{absent}/stream"):
        assert (await house.http.get(path)).status_code == 404
    assert (await house.http.delete(f"/runs/{absent}")).status_code == 404


async def test_a_parent_that_is_not_in_the_chat_is_refused(house: House) -> None:
    chat_id = await house.open_chat()
    body = {"message": MESSAGE | {"parent_id": new_id()}}
    await refused(house, f"/chat/{chat_id}/completion", 404, "not_found", json=body)


@pytest.mark.parametrize("cursor", ["-1", "abc", "1.5", "9999", "٣", "1e3", "99999999999999999999"])
async def test_a_bad_cursor_is_refused_before_the_stream_begins(house: House, cursor: str) -> None:
    chat_id = await house.open_chat()
    run_id = (await house.say(chat_id, "hello"))[0].data["run_id"]

    answer = await house.http.get(f"/runs/{run_id}/events", params={"last_event_id": cursor})

    assert (answer.status_code, answer.json()["error"]["code"]) == (400, "bad_cursor")


async def test_ids_that_are_no_uuids_are_refused_by_name(house: House) -> None:
    for path in ("/chat/1", "/runs/..%2f..%2fetc", "/chat/x/export"):
        answer = await house.http.get(path)
        assert answer.status_code in (400, 404)
        assert answer.json()["error"]["message"]


async def test_an_unknown_path_or_method_answers_in_the_same_envelope(house: House) -> None:
    assert (await house.http.get("/nothing")).json()["error"]["code"] == "not_found"
    wrong = await house.http.put("/chats")
    assert (wrong.status_code, wrong.json()["error"]["code"]) == (405, "method_not_allowed")


async def test_unicode_of_every_kind_survives_the_round_trip(house: House) -> None:
    text = "naïve 你好 🙂 e\u0301 \u202eabc\u202c \u2028 \ufeff \U0001f468\u200d\U0001f469\u200d\U0001f467 \x7f"
    chat_id = await house.open_chat()

    await house.say(chat_id, text)

    assert (await house.http.get(f"/chat/{chat_id}")).json()["messages"][0]["content"] == text
