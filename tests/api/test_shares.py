"""Share links over HTTP: what a visitor sees of a chat, and of nothing else."""

import hashlib
import json
from pathlib import Path

import httpx

from functions.chat.messages import new_id
from functions.chat.sharing import VISITS, Sharing, place_of
from functions.errors import Limited
from functions.inference.nodes import Node, ServedModel
from tests.house import House, open_house, text_of
from tests.simulated import SimulatedEngine

TOKENS = {name: f"parley_{name}_0123456789abcdef" for name in ("ann", "bob")}


def token_mode() -> dict[str, str]:
    hashes = ",".join(f"{name}={hashlib.sha256(token.encode()).hexdigest()}" for name, token in TOKENS.items())
    return {"auth": "token", "access_tokens": hashes}


def well_named(engine: SimulatedEngine) -> list[Node]:
    return [Node(engine.url, name="sim", models=[ServedModel(id="sim", name="Simulated 1B", context_tokens=4096)])]


async def test_a_visitor_reads_the_branch_that_was_shared_and_no_word_that_came_later(tmp_path: Path) -> None:
    async with (
        open_house(tmp_path, nodes=well_named, **token_mode()) as house,
        httpx.AsyncClient(base_url=house.url) as visitor,
    ):
        house.http.headers["authorization"] = f"Bearer {TOKENS['ann']}"
        chat = await house.open_chat(title="A walk", system_prompt="Talk like a bee.")
        answer = text_of(await house.say(chat, "One"))
        made = await house.http.post(f"/chat/{chat}/share", json={})
        link = made.json()
        await house.say(chat, "Two")
        await house.http.patch(f"/chat/{chat}", json={"title": "Private now"})

        read = await visitor.get(f"/shared/{link['id']}")

        assert made.status_code == 201
        assert link["url"] == f"/#/shared/{link['id']}"
        assert read.status_code == 200, read.text
        shown = read.json()
        assert (shown["title"], shown["model"]) == ("A walk", "Simulated 1B")
        assert [(m["role"], m["content"]) for m in shown["messages"]] == [("user", "One"), ("assistant", answer)]
        assert set(shown) == {"title", "model", "created_at", "messages"}
        assert {key for m in shown["messages"] for key in m} == {"role", "content", "created_at", "citations"}
        for secret in ("ann", "bee", "Two", "Private", chat, link["leaf"]):
            assert secret not in read.text
        assert read.headers["x-robots-tag"] == "noindex, nofollow"
        assert read.headers["cache-control"] == "no-store"

        again = (await house.http.post(f"/chat/{chat}/share", json={})).json()
        newer = (await visitor.get(f"/shared/{link['id']}")).json()
        assert again["id"] == link["id"]
        assert (newer["title"], len(newer["messages"])) == ("Private now", 4)
        assert [one["id"] for one in (await house.http.get("/shares")).json()["data"]] == [link["id"]]

        # Nobody else's, and to nobody who is not signed in.
        bob = {"authorization": f"Bearer {TOKENS['bob']}"}
        for headers, status in ((bob, 404), ({"authorization": ""}, 401)):
            for method in ("POST", "DELETE"):
                answer = await visitor.request(method, f"/chat/{chat}/share", headers=headers)
                assert answer.status_code == status, (method, headers)
        assert (await visitor.get("/shares", headers=bob)).json()["data"] == []
        assert (await visitor.get("/shares")).status_code == 401

        # A page of another site reads nothing of it with a visitor's address.
        foreign = {"origin": "https://elsewhere.example"}
        assert (await visitor.get(f"/shared/{link['id']}", headers=foreign)).status_code == 403

        assert (await house.http.delete(f"/chat/{chat}/share")).status_code == 204
        gone = await visitor.get(f"/shared/{link['id']}")
        never = await visitor.get("/shared/never-there-was-one")
        assert gone.status_code == never.status_code == 404
        assert gone.json() == never.json()
        assert (await house.http.delete(f"/chat/{chat}/share")).status_code == 404

        third = (await house.http.post(f"/chat/{chat}/share", json={})).json()["id"]
        assert third != link["id"]
        await house.http.delete(f"/chat/{chat}")
        assert (await visitor.get(f"/shared/{third}")).json() == never.json()
        assert (await house.http.get("/shares")).json()["data"] == []


async def test_what_cannot_be_shared_is_refused_with_a_sentence(house: House) -> None:
    empty, temporary = await house.open_chat(), await house.open_chat(temporary=True)
    await house.say(temporary, "For me alone")

    for chat, status, code in (
        (empty, 400, "bad_input"),
        (temporary, 400, "unsupported"),
        (new_id(), 404, "not_found"),
    ):
        answer = await house.http.post(f"/chat/{chat}/share", json={})
        assert (answer.status_code, answer.json()["error"]["code"]) == (status, code)
        assert answer.json()["error"]["message"].endswith((".", "yet."))
    assert (await house.http.get("/shared/" + "x" * 65)).status_code == 400


async def test_links_that_the_operator_has_switched_off_lead_nowhere(tmp_path: Path) -> None:
    async with open_house(tmp_path) as house:
        chat = await house.open_chat()
        await house.say(chat, "Hello")
        link = (await house.http.post(f"/chat/{chat}/share", json={})).json()["id"]
    async with open_house(tmp_path, share_links=False) as house:
        assert (await house.http.get(f"/shared/{link}")).status_code == 404
        refused = await house.http.post(f"/chat/{chat}/share", json={})
        assert (refused.status_code, refused.json()["error"]["code"]) == (403, "sharing_off")
        assert (await house.http.delete(f"/chat/{chat}/share")).status_code == 204


def test_one_address_reads_so_often_and_another_goes_on() -> None:
    now = [1_000_000]
    sharing = Sharing(None, lambda: now[0], is_on=True)  # type: ignore[arg-type]  # a visit asks no store

    for n in range(VISITS):
        sharing.admit(("203.0.113.7", "::ffff:203.0.113.7")[n % 2])
    for address in ("203.0.113.7", "::FFFF:203.0.113.7"):
        try:
            sharing.admit(address)
        except Limited as limited:
            assert 0 < limited.retry_after_s <= 0.5
        else:
            raise AssertionError(address)
    sharing.admit("203.0.113.8")
    now[0] += 500
    sharing.admit("203.0.113.7")


def test_a_network_of_ipv6_is_one_visitor() -> None:
    assert place_of("2001:db8:0:1::1") == place_of("2001:DB8:0:1:ffff:ffff:ffff:fffe%eth0")
    assert place_of("2001:db8:0:1::1") != place_of("2001:db8:0:2::1")
    assert place_of("") == place_of(json.dumps("no address"))
