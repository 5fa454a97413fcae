"""What a reader says of an answer: given, replaced, taken back, and never somebody else's."""

from hashlib import sha256
from typing import Any

import httpx
import pytest

from functions.chat.messages import new_id
from tests.house import House, open_house

KEY = "sk-proj-" + "Ab3dEf6hIj9" * 4


async def answered(house: House, text: str = "hello") -> tuple[str, dict[str, Any]]:
    chat_id = await house.open_chat()
    return chat_id, (await house.say(chat_id, text))[-1].data["message"]


async def messages_of(house: House, chat_id: str) -> dict[str, dict[str, Any]]:
    found = (await house.http.get(f"/chat/{chat_id}")).json()["messages"]
    return {message["id"]: message for message in found}


def path(chat_id: str, message_id: str) -> str:
    return f"/chat/{chat_id}/messages/{message_id}/feedback"


async def test_feedback_is_given_replaced_and_taken_back(house: House) -> None:
    chat_id, answer = await answered(house)
    url = path(chat_id, answer["id"])

    first = await house.http.put(url, json={"rating": -1, "reason": "style", "comment": "  too long "})
    again = await house.http.put(url, json={"rating": -1, "reason": "style", "comment": "too long"})
    better = await house.http.put(url, json={"rating": 1})

    for response in (first, again):
        assert response.status_code == 200
        assert {k: v for k, v in response.json().items() if k != "at"} == {
            "rating": -1,
            "reason": "style",
            "comment": "too long",
        }
    assert better.json()["reason"] is None
    assert (await messages_of(house, chat_id))[answer["id"]] == {**answer, "feedback": better.json()}
    for _ in range(2):
        assert (await house.http.delete(url)).status_code == 204
        assert (await messages_of(house, chat_id))[answer["id"]] == answer


async def test_feedback_is_in_the_export(house: House) -> None:
    chat_id, answer = await answered(house)
    given = await house.http.put(path(chat_id, answer["id"]), json={"rating": -1, "comment": "no 🙂"})

    exported = (await house.http.get(f"/chat/{chat_id}/export")).json()["messages"]

    assert [message["feedback"] for message in exported] == [None, given.json()]


async def test_a_secret_in_a_comment_is_redacted_before_it_is_stored(house: House) -> None:
    chat_id, answer = await answered(house)

    given = await house.http.put(
        path(chat_id, answer["id"]), json={"rating": -1, "comment": f"it said {KEY}, which is wrong"}
    )

    stored = (await messages_of(house, chat_id))[answer["id"]]["feedback"]["comment"]
    assert stored == given.json()["comment"]
    assert "sk-proj" not in stored
    assert stored.startswith("it said [redacted") and stored.endswith("which is wrong")


async def test_an_appeal_needs_a_guardrail_that_acted(house: House) -> None:
    chat_id, answer = await answered(house, f"my key is {KEY}")
    plain_chat, plain = await answered(house)
    appeal = {"rating": -1, "reason": "guardrail_wrong"}
    question = answer["parent_id"]

    on_question = await house.http.put(path(chat_id, question), json=appeal)
    on_answer = await house.http.put(path(chat_id, answer["id"]), json=appeal)
    nothing_acted = await house.http.put(path(plain_chat, plain["id"]), json=appeal)

    assert [on_question.status_code, on_answer.status_code] == [200, 200]
    assert (await messages_of(house, chat_id))[question]["feedback"]["reason"] == "guardrail_wrong"
    assert (nothing_acted.status_code, nothing_acted.json()["error"]["param"]) == (400, "reason")


@pytest.mark.parametrize(
    "body",
    [
        {},
        {"rating": 0},
        {"rating": 5},
        {"rating": "1"},
        {"rating": -1, "reason": "it is bad"},
        {"rating": 1, "reason": "style"},
        {"rating": -1, "comment": "é" * 2049},
        {"rating": -1, "comment": "a\0b"},
        {"rating": -1, "text": "typing mistake"},
        [],
    ],
)
async def test_bad_feedback_is_refused_and_changes_nothing(house: House, body: Any) -> None:
    chat_id, answer = await answered(house)
    calls = house.engine.stats.requests.copy()

    response = await house.http.put(path(chat_id, answer["id"]), json=body)

    assert (response.status_code, response.json()["error"]["code"]) in ((400, "bad_input"), (413, "too_large"))
    assert (await messages_of(house, chat_id))[answer["id"]]["feedback"] is None
    assert house.engine.stats.requests == calls


async def test_ones_own_message_is_not_rated(house: House) -> None:
    chat_id, answer = await answered(house)

    response = await house.http.put(path(chat_id, answer["parent_id"]), json={"rating": 1})

    assert response.status_code == 400
    assert "guardrail_wrong" in response.json()["error"]["message"]


async def test_what_is_not_there_or_somebody_elses_is_404(tmp_path) -> None:  # type: ignore[no-untyped-def]
    tokens = {name: f"token-of-{name}" for name in ("ana", "bo")}
    hashes = ",".join(f"{name}={sha256(token.encode()).hexdigest()}" for name, token in tokens.items())
    async with open_house(tmp_path, auth="token", access_tokens=hashes) as house:
        ana, bo = ({"authorization": f"Bearer {token}"} for token in tokens.values())
        chat_id = (await house.http.post("/chat", json={}, headers=ana)).json()["id"]
        sent = {"message": {"id": new_id(), "content": "private"}}
        await house.http.post(f"/chat/{chat_id}/completion", json=sent, headers=ana)
        answer = (await house.http.get(f"/chat/{chat_id}", headers=ana)).json()["active_leaf"]

        async def put(chat: str, message: str, headers: dict[str, str]) -> httpx.Response:
            return await house.http.put(path(chat, message), json={"rating": 1}, headers=headers)

        refused = [
            await put(chat_id, answer, bo),
            await house.http.delete(path(chat_id, answer), headers=bo),
            await put(chat_id, new_id(), ana),
            await put(new_id(), answer, ana),
            await house.http.delete(path(chat_id, new_id()), headers=ana),
        ]
        nobody = await put(chat_id, answer, {})

        assert [response.status_code for response in refused] == [404] * len(refused)
        assert nobody.status_code == 401
        assert (await put(chat_id, answer, ana)).status_code == 200
