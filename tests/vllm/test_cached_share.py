"""Folding keeps the prefix: measured on vLLM, which says how much of a prompt it had in its cache."""

from pathlib import Path

from tests.chat.cached_share import cached_share
from tests.house import open_house
from tests.vllm.servers import Server

QUESTION = "And then we walked on along the river, past the mill and the old bridge, and spoke of number {}. What now?"


async def test_between_two_compactions_vllm_has_four_fifths_of_every_prompt_in_its_cache(
    chat: Server, tmp_path: Path
) -> None:
    async with open_house(tmp_path, nodes=lambda _: [chat.node()]) as house:
        shares = await cached_share(house, QUESTION, turns=60)

    print(f"\n{shares}")  # noqa: T201
    assert shares.compactions >= 2
    assert shares.between >= 0.8
