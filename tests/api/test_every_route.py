"""Every route of the app's own OpenAPI document, with every role, every scope, and with somebody else's ids.

A route that is added later is walked as well: it fails here until it is signed in, closed to those who only read, and
404 for what is another user's. What may be open stands in `OPEN`, by name.
"""

import hashlib
import json
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx

from functions.chat.messages import new_id
from tests.house import House, open_house

TOKENS = {name: f"parley_{name}_0123456789abcdef0123456789" for name in ("ada", "ann", "bob", "vic")}
Operation = tuple[str, str]  # method and path

# Answers without signing in: what says only that somebody is at home, the way in, and a link that is its own secret.
OPEN: set[Operation] = {
    ("GET", "/livez"),
    ("GET", "/readyz"),
    ("GET", "/sign-in"),
    ("GET", "/auth/login"),
    ("GET", "/auth/callback"),
    ("POST", "/session"),
    ("DELETE", "/session"),
    ("POST", "/join"),
    ("GET", "/shared/{share_id}"),
}
# Has a key of its own (PARLEY_NODE_KEY, PARLEY_METRICS_KEY) and tests of its own.
OTHER_KEY = {("PUT", "/nodes/{name}"), ("GET", "/nodes"), ("DELETE", "/nodes/{name}"), ("GET", "/metrics")}
# What those may change who otherwise only read: themselves, and where they are signed in.
ONES_OWN = {
    ("PATCH", "/me"),
    ("DELETE", "/me"),
    ("DELETE", "/sessions"),
    ("DELETE", "/sessions/{session_id}"),
}
# A body that gets as far as the thing itself; an operation that takes a body and is not here fails the walk.
BODIES: dict[Operation, Any] = {
    ("PATCH", "/chat/{chat_id}"): {"title": "mine now"},
    ("POST", "/chat/{chat_id}/completion"): {"message": {"id": "", "content": "hello"}},
    ("POST", "/chat/{chat_id}/share"): {},
    ("PUT", "/chat/{chat_id}/messages/{message_id}/feedback"): {"rating": 1},
    ("PATCH", "/memories/{memory_id}"): {"text": "I like bees."},
    ("PATCH", "/collections/{collection_id}"): {"name": "mine now"},
    ("PUT", "/collections/{collection_id}/members/{principal}"): {"role": "reader"},
}
# Not somebody else's thing: under this id the caller makes or deletes their own.
UNDER_ONES_OWN_ID = {("PUT", "/templates/{template_id}")}


def token_mode() -> dict[str, Any]:
    hashes = ",".join(f"{name}={hashlib.sha256(token.encode()).hexdigest()}" for name, token in TOKENS.items())
    return {"auth": "token", "access_tokens": hashes, "admins": "ada"}


def bearer(secret: str) -> dict[str, str]:
    return {"authorization": f"Bearer {secret}"}


@asynccontextmanager
async def a_house(folder: Path) -> AsyncIterator[House]:
    async with open_house(folder, **token_mode()) as house:
        vic = await house.http.get("/me", headers=bearer(TOKENS["vic"]))
        assert vic.status_code == 200, vic.text
        changed = await house.http.patch("/admin/users/vic", json={"role": "viewer"}, headers=bearer(TOKENS["ada"]))
        assert changed.status_code == 200, changed.text
        yield house


async def operations(house: House) -> list[Operation]:
    paths = (await house.http.get("/openapi.json")).json()["paths"]
    found = [(method.upper(), path) for path, methods in paths.items() for method in methods]
    assert len(found) >= 50
    return [operation for operation in found if operation not in OTHER_KEY]


async def make_key(house: House, owner: str, *scopes: str) -> str:
    answer = await house.http.post("/keys", json={"name": "k", "scopes": scopes}, headers=bearer(TOKENS[owner]))
    assert answer.status_code == 201, answer.text
    key: str = answer.json()["key"]
    return key


async def ask(house: House, operation: Operation, secret: str | None, ids: dict[str, str], body: Any = None) -> Any:
    method, path = operation
    for name, value in ids.items():
        path = path.replace("{" + name + "}", value)
    while "{" in path:
        path = path[: path.index("{")] + new_id() + path[path.index("}") + 1 :]
    headers = bearer(secret) if secret else {}
    return await house.http.request(method, path, json=body, headers=headers)


def is_admins(operation: Operation) -> bool:
    return operation[1].startswith("/admin")


def code_of(answer: httpx.Response) -> str:
    try:
        return str(answer.json()["error"]["code"])
    except (ValueError, KeyError, TypeError):
        return ""


def told(wrong: Iterable[tuple[Operation, int]]) -> str:
    return "\n".join(f"{method} {path}: {status}" for (method, path), status in wrong)


async def test_nobody_gets_further_than_the_door_without_signing_in(tmp_path: Path) -> None:
    async with a_house(tmp_path) as house:
        every = await operations(house)
        wrong = []
        for operation in every:
            for secret in (None, "parley_sk_" + "x" * 43):
                answer = await ask(house, operation, secret, {})
                if (operation not in OPEN) != (answer.status_code == 401):
                    if operation in OPEN and operation[1] in ("/session", "/join"):
                        continue  # the way in refuses by itself
                    wrong.append((operation, answer.status_code))

        assert not wrong, told(wrong)
        assert {("GET", "/livez"), ("POST", "/session"), ("POST", "/join")} <= set(every)


async def test_every_role_and_every_scope_does_what_it_may_and_nothing_else(tmp_path: Path) -> None:
    async with a_house(tmp_path) as house:
        ada, ann = TOKENS["ada"], TOKENS["ann"]
        callers = {
            "an admin": (ada, True, True),
            "a member": (ann, True, False),
            "a viewer": (TOKENS["vic"], False, False),
            "an admin's key to administer": (await make_key(house, "ada", "chat", "admin"), True, True),
            "an admin's key to chat": (await make_key(house, "ada", "chat"), True, False),
            "a member's key to chat": (await make_key(house, "ann", "chat"), True, False),
            "a member's key to read": (await make_key(house, "ann", "read"), False, False),
            "an admin's key to read": (await make_key(house, "ada", "read"), False, False),
        }
        wrong = []
        # Last what ends the caller.
        every = sorted(await operations(house), key=lambda one: one in (("DELETE", "/me"), ("DELETE", "/session")))
        for who, (secret, may_write, may_administer) in callers.items():
            for operation in every:
                method, _ = operation
                if operation in OPEN:
                    continue
                own = operation in ONES_OWN and who == "a viewer"
                may = may_administer if is_admins(operation) else may_write or method == "GET" or own
                answer = await ask(house, operation, secret, {})
                is_refused = answer.status_code == 403 and code_of(answer) == "forbidden"
                if answer.status_code in (401, 500) or is_refused == may:
                    wrong.append(((f"{who}: {method}", operation[1]), answer.status_code))

        assert not wrong, told(wrong)


async def test_what_is_another_users_is_not_there_on_any_route(tmp_path: Path) -> None:
    async with a_house(tmp_path) as house:
        ids = await belongings(house, TOKENS["ann"])
        paths = (await house.http.get("/openapi.json")).json()["paths"]
        walked = [one for one in await operations(house) if "{" in one[1] and one not in OPEN and not is_admins(one)]
        wrong: list[tuple[Operation, int]] = []
        for operation in walked:
            method, path = operation
            if operation in UNDER_ONES_OWN_ID:
                continue
            missing = [name for name in path.split("{")[1:] if name.split("}")[0] not in ids]
            assert not missing, f"{path}: make one of these in `belongings`"
            body = BODIES.get(operation)
            has_body = "application/json" in paths[path][method.lower()].get("requestBody", {}).get("content", {})
            assert body is not None or not has_body, f"{operation}: say in BODIES what a good body is"
            if body and "message" in body:
                body = {"message": {**body["message"], "id": new_id()}}
            for thief in (TOKENS["bob"], TOKENS["ada"]):
                answer = await ask(house, operation, thief, ids, body)
                if answer.status_code != 404:
                    wrong.append((operation, answer.status_code))

        assert not wrong, told(wrong)
        # All of it is there, for its owner: else the walk would have proved nothing.
        for operation in walked:
            if operation[0] == "GET":
                answer = await ask(house, operation, TOKENS["ann"], ids)
                assert answer.status_code in (200, 204), (operation, answer.text)  # 204: nothing is going on


async def belongings(house: House, secret: str) -> dict[str, str]:
    """One of everything that has an id, made by its owner; by the names that routes give to ids."""
    house.http.headers.update(bearer(secret))
    chat = await house.open_chat(title="Ann's")
    events = await house.say(chat, "hello")
    run = events[0].data
    http = house.http

    async def made(method: str, path: str, **request: Any) -> Any:
        answer = await http.request(method, path, **request)
        assert answer.status_code in (200, 201, 202), (path, answer.text)
        return answer.json()

    ids = {"chat_id": chat, "run_id": run["run_id"], "message_id": run["assistant_message_id"], "number": "0"}
    await made("POST", f"/chat/{chat}/share", json={})
    await made("PUT", f"/chat/{chat}/messages/{ids['message_id']}/feedback", json={"rating": 1})
    ids["memory_id"] = (await made("POST", "/memories", json={"text": "I like bees."}))["id"]
    ids["template_id"] = new_id()
    await made("PUT", f"/templates/{ids['template_id']}", json={"name": "t", "text": "hello"})
    ids["collection_id"] = (await made("POST", "/collections", json={"name": "shelf"}))["id"]
    ids["document_id"] = await a_read_document(house, ids["collection_id"])
    ids["principal"] = "ann"
    ids["key_id"] = (await made("POST", "/keys", json={"name": "k"}))["id"]
    await http.post("/session", json={"token": secret}, headers={"authorization": ""})
    http.cookies.clear()
    ids["session_id"] = (await made("GET", "/sessions"))[0]["id"]
    del http.headers["authorization"]
    return ids


async def a_read_document(house: House, collection: str) -> str:
    where = {"collection": collection, "filename": "bees.txt"}
    text = b"Bees fly over the meadow. " * 20
    added = await house.http.post("/knowledge", params=where, content=text, headers={"content-type": "text/plain"})
    assert added.status_code == 202, added.text
    document: str = added.json()["id"]
    for _ in range(500):  # read by the worker beside the server, at its own pace
        if json.loads((await house.http.get(f"/knowledge/{document}")).text)["status"] == "ready":
            return document
    raise AssertionError("the document was never read")
