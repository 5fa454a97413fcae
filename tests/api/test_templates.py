"""Prompt templates over HTTP."""

from functions.chat.messages import new_id
from functions.settings import TEMPLATE_BYTES, TEMPLATES_MAX
from tests.house import House


async def test_a_template_is_kept_changed_and_deleted(house: House) -> None:
    one = new_id()
    path = f"/templates/{one}"

    made = await house.http.put(path, json={"name": " Letter ", "text": "Dear {{name}},\n"})
    changed = await house.http.put(path, json={"name": "Letter", "text": "Hello {{name}}"})
    listed = (await house.http.get("/templates")).json()["data"]

    assert (made.status_code, made.json()["name"], made.json()["text"]) == (201, "Letter", "Dear {{name}},\n")
    assert changed.status_code == 200
    assert [(t["id"], t["text"]) for t in listed] == [(one, "Hello {{name}}")]
    assert (await house.http.get("/export")).json()["templates"] == listed
    assert (await house.http.delete(path)).status_code == 204
    assert (await house.http.delete(path)).status_code == 404
    assert (await house.http.get("/templates")).json()["data"] == []


async def test_what_cannot_be_a_template_is_refused(house: House) -> None:
    path = f"/templates/{new_id()}"
    for body, status in (
        ({"name": "", "text": "x"}, 400),
        ({"name": "x", "text": "  "}, 400),
        ({"name": "x", "text": "é" * (TEMPLATE_BYTES // 2 + 1)}, 413),
        ({"name": "x" * 201, "text": "x"}, 413),
        ({"name": "x"}, 400),
    ):
        assert (await house.http.put(path, json=body)).status_code == status, body
    assert (await house.http.put("/templates/no-uuid", json={"name": "x", "text": "x"})).status_code == 400
    assert (await house.http.get("/templates")).json()["data"] == []


async def test_there_is_room_for_so_many_and_what_is_there_can_still_be_changed(house: House) -> None:
    ids = [new_id() for _ in range(TEMPLATES_MAX)]
    for one in ids:
        assert (await house.http.put(f"/templates/{one}", json={"name": "n", "text": "t"})).status_code == 201

    more = await house.http.put(f"/templates/{new_id()}", json={"name": "n", "text": "t"})
    changed = await house.http.put(f"/templates/{ids[7]}", json={"name": "n", "text": "u"})

    assert (more.status_code, more.json()["error"]["code"]) == (400, "too_many")
    assert changed.status_code == 200
