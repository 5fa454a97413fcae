"""The whole house with a shared cache: two processes answer in one chat, and the cache may die under them."""

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from valkey.asyncio import Valkey

from functions.adapters import valkey
from functions.errors import BadInput
from functions.services import open_hot_store, open_services
from functions.settings import Settings
from functions.users import _erase
from tests.contracts.hot import PATIENT_SECONDS
from tests.contracts.makers import finished_chat
from tests.house import House, open_house, text_of
from tests.valkey_server import valkey_server

SHARED = {"secret_key": "a long random text", "summaries": False, "memory": False}


@pytest.fixture(autouse=True)
def _patience_with_a_busy_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(valkey, "CALL_SECONDS", PATIENT_SECONDS)


@pytest.fixture
async def raw(valkey_url: str) -> AsyncIterator[Any]:
    client = Valkey.from_url(valkey_url)
    await client.flushall()
    yield client
    await client.aclose()


async def talk(house: House, chat: str, said: list[str], text: str) -> None:
    """One turn. The model must have been shown all that was said, in order."""
    answer = text_of(await house.say(chat, text))
    *_, request = house.engine.stats.requests
    assert [message["content"] for message in request["messages"][1:]] == [*said, text]
    said += [text, answer]


async def test_two_processes_answer_in_turn_from_what_the_other_has_kept(
    tmp_path: Path, valkey_url: str, raw: Any
) -> None:
    async with (
        open_house(tmp_path, valkey_url=valkey_url, **SHARED) as one,
        open_house(tmp_path, valkey_url=valkey_url, **SHARED) as other,
    ):
        chat = await one.open_chat()
        said: list[str] = []
        for number in range(4):
            await talk((one, other)[number % 2], chat, said, f"question {number}")
        assert len(await raw.keys("*")) == 2

        await one.http.delete(f"/chat/{chat}")
        gone = await other.http.post(
            f"/chat/{chat}/completion", json={"message": {"id": "01a3185c-50a2-7000-a1fd-c781057eefc4", "content": "?"}}
        )
        assert gone.status_code == 404
        assert len(await raw.keys("*")) == 1  # the list of nothing


async def test_a_cache_that_dies_under_a_chat_is_not_noticed(tmp_path: Path) -> None:
    with valkey_server(tmp_path) as server:
        async with open_house(tmp_path, valkey_url=server.url, **SHARED) as house:
            chat = await house.open_chat()
            said: list[str] = []
            await talk(house, chat, said, "before")
            server.stop()
            for number in range(5):
                await talk(house, chat, said, f"after {number}")


async def test_what_is_shared_needs_a_key_that_is_shared(tmp_path: Path, valkey_url: str) -> None:
    settings = Settings(store_url=f"sqlite:///{tmp_path / 'parley.db'}", valkey_url=valkey_url)

    with pytest.raises(BadInput, match="PARLEY_SECRET_KEY"):
        async with open_services(settings, []):
            pass


async def test_an_address_that_the_client_cannot_read_is_refused_without_repeating_it(tmp_path: Path) -> None:
    url = "valkey://:very-secret@10.0.0.9:6379/0?socket_timeout=very-secret"
    settings = Settings(store_url=f"sqlite:///{tmp_path / 'parley.db'}", valkey_url=url, secret_key="k")

    with pytest.raises(BadInput, match="PARLEY_VALKEY_URL") as caught:
        async with open_services(settings, []):
            pass

    assert "very-secret" not in str(caught.value)


async def test_who_is_deleted_by_the_operator_leaves_the_cache(
    tmp_path: Path, valkey_url: str, raw: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PARLEY_VALKEY_URL", valkey_url)
    monkeypatch.setenv("PARLEY_SECRET_KEY", "a long random text")
    url = f"sqlite:///{tmp_path / 'parley.db'}"
    settings = Settings(store_url=url)
    store = await open_hot_store(settings, settings.secret_key.encode())
    chat, run = await finished_chat(store, "ann")
    await store.read_context("ann", chat.id, run.assistant_message_id)
    await store.close()
    assert len(await raw.keys("*")) == 2

    receipt = await _erase(url, "ann")

    assert receipt["messages"] == 2
    assert await raw.keys("*") == []
