"""Titles: a model's after the first answer, in place of the one that we cut, and of no other."""

from pathlib import Path
from typing import Any

import pytest

from functions.chat.messages import TitleJob
from functions.chat.opening import title_of
from functions.chat.titles import as_title
from functions.inference.nodes import Node
from functions.services import open_services
from functions.settings import Settings
from tests.house import open_house
from tests.simulated import Scenario, SimulatedEngine

QUESTION = "Which bridges over the river Limmat in Zürich are older than the town hall, and who built them?"
CUT = title_of(QUESTION)


async def entitled(folder: Path, said: str, *, is_renamed: bool = False, **settings: Any) -> tuple[str, int]:
    """The title of a chat after its first answer, when the model, asked for one, says this; and how often it was
    asked."""
    async with open_house(folder, Scenario(text="Several.")) as house:
        chat_id = await house.open_chat()
        await house.say(chat_id, QUESTION)
        assert (await house.http.get(f"/chat/{chat_id}")).json()["title"] == CUT
        if is_renamed:
            await house.http.patch(f"/chat/{chat_id}", json={"title": "My bridges"})
        values = house.settings.model_dump() | {"titles": True} | settings
    async with SimulatedEngine(Scenario(text=said)) as engine:
        async with open_services(Settings(**values), [Node(engine.url, name="sim")]) as services:
            await services.store.put_job("t", TitleJob(owner="local", chat_id=chat_id), at_ms=0)
            assert await services.jobs.take_one("work")
            chat = await services.store.get_chat("local", chat_id)
        assert chat.title is not None
        return chat.title, engine.stats.finished


async def test_the_model_gives_the_chat_a_title(tmp_path: Path) -> None:
    assert await entitled(tmp_path, "Old bridges of Zürich") == ("Old bridges of Zürich", 1)


async def test_a_chat_that_its_owner_has_named_keeps_its_name_and_nobody_is_asked(tmp_path: Path) -> None:
    assert await entitled(tmp_path, "Old bridges of Zürich", is_renamed=True) == ("My bridges", 0)


async def test_what_is_no_title_changes_nothing(tmp_path: Path) -> None:
    assert await entitled(tmp_path, "I am so very happy to be of use to you.") == (CUT, 1)


async def test_a_title_passes_the_output_rails(tmp_path: Path) -> None:
    secret = "AKIA" + "Q7ZT2MNB4XWCD6LP"

    title, _ = await entitled(tmp_path, f"Key {secret}")

    assert secret not in title


async def test_titles_can_be_off(tmp_path: Path) -> None:
    assert await entitled(tmp_path, "Old bridges", titles=False) == (CUT, 0)


async def test_the_first_answer_and_no_other_is_followed_by_a_title(tmp_path: Path) -> None:
    async with open_house(tmp_path, Scenario(text="Old bridges"), titles=True) as house:
        chat_id = await house.open_chat()
        await house.say(chat_id, QUESTION)
        await house.engine.until(finished=2)
        while (chat := (await house.http.get(f"/chat/{chat_id}")).json())["title"] == CUT:
            pass  # the request is over, and the write comes
        await house.say(chat_id, "And in Bern?")
        asked = [r["messages"][0]["content"] for r in house.engine.stats.requests]

    assert chat["title"] == "Old bridges"
    assert ["You name conversations" in system for system in asked] == [False, True, False]


@pytest.mark.parametrize(
    ("said", "title"),
    [
        ("Old bridges of Zürich", "Old bridges of Zürich"),
        ('"Old bridges of Zürich."', "Old bridges of Zürich"),
        ("**Title:** Old bridges\n\nThis title fits because", "Old bridges"),
        ("标题：苏黎世的老桥。", "苏黎世的老桥"),
        ("「苏黎世的老桥」", "苏黎世的老桥"),
        ("# C# and .NET 9", "C# and .NET 9"),
        ("", None),
        ("\n \n", None),
        ('""', None),
        ("a " * 11, None),
        ("x" * 61, None),
    ],
)
def test_what_a_model_says_is_read_as_a_title_or_not_at_all(said: str, title: str | None) -> None:
    assert as_title(said) == title
