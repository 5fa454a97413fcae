"""Folding keeps the prefix: measured on llama.cpp, which says how much of a prompt it had in its cache."""

from pathlib import Path

from functions.inference.local import Choice, LocalEngine
from functions.inference.nodes import ServedModel
from tests.chat.cached_share import cached_share
from tests.house import open_house


async def test_between_two_compactions_llama_cpp_has_four_fifths_of_every_prompt_in_its_cache(
    random_model: Path, tmp_path: Path
) -> None:
    # What it writes is no summary, but it is text, and takes its place in the prompt. Its tokens are bytes.
    engine = LocalEngine(Choice(path=random_model, model=ServedModel(id="random"), why="a test"))
    await engine.start()
    try:
        await engine.ready()
        async with open_house(tmp_path, nodes=lambda _: [engine.node], system_prompt="Be kind.") as house:
            shares = await cached_share(house, "And number {}, if one may ask?", turns=60)
    finally:
        await engine.stop()

    print(f"\n{shares}")  # noqa: T201
    assert shares.compactions >= 2
    assert shares.between >= 0.8
