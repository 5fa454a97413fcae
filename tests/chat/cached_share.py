"""What share of the prompts a real engine had in its cache, over a long chat that is folded as it goes."""

from dataclasses import dataclass

from tests.house import House


@dataclass(frozen=True)
class Shares:
    """Of the tokens of all prompts between compactions, and of the prompts that a compaction made anew."""

    between: float
    at_compactions: float
    compactions: int
    longest: int  # prompt, in tokens


async def cached_share(house: House, question: str, *, turns: int) -> Shares:
    """A chat of so many turns of this question (a template of its number), answered shortly. The first prompt counts
    nowhere: nothing can be cached."""
    chat_id = await house.open_chat()
    read = {True: [0, 0], False: [0, 0]}  # whether it is a compaction: tokens, and of them cached
    before, compactions, longest = 0, 0, 0
    for number in range(turns):
        events = await house.say(chat_id, question.format(number), max_tokens=8, temperature=0)
        assert events[-1].name == "done", events[-1]
        usage, summarised = events[-1].data["usage"], events[-1].data["message"]["summarised"]
        is_compaction, before = summarised != before, summarised
        compactions += is_compaction
        longest = max(longest, usage["prompt_tokens"])
        if number:
            read[is_compaction][0] += usage["prompt_tokens"]
            read[is_compaction][1] += usage["cached_tokens"]
    shares = {kind: cached / max(1, tokens) for kind, (tokens, cached) in read.items()}
    return Shares(shares[False], shares[True], compactions, longest)
