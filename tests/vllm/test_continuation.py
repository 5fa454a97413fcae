"""Half an answer, continued by real vLLM: what comes is the rest, to the letter."""

import pytest

from functions.inference.gateway import Gateway
from tests.vllm.conftest import asking, greedy, say

WORDS = 40


async def test_wherever_an_answer_is_cut_between_two_tokens_the_rest_is_the_same(gateway: Gateway) -> None:
    """Every word is one token here, with the space before it; see tiny_model.py."""
    whole = (await say(gateway, greedy(WORDS))).text
    cuts = [at for at, sign in enumerate(whole) if sign == " "]
    assert len(cuts) == WORDS

    for words, cut in enumerate(cuts[1:], 1):
        rest = await say(gateway, greedy(WORDS - words), prefix=whole[:cut])
        assert rest.text == whole[cut:], f"cut after {words} words"


async def test_a_cut_after_a_space_is_a_cut_before_the_next_word(gateway: Gateway) -> None:
    """The rails cut there: the word that may be beginning is held back, and the space before it is not."""
    whole = (await say(gateway, greedy(WORDS))).text
    cuts = [at + 1 for at, sign in enumerate(whole) if sign == " "]

    for words, cut in enumerate(cuts[1:], 1):
        rest = await say(gateway, greedy(WORDS - words), prefix=whole[:cut])
        assert rest.text == whole[cut:], f"cut after {words} words"


async def test_a_cut_inside_a_word_still_gets_a_whole_answer(gateway: Gateway) -> None:
    """The half word is read as other tokens than those of which it was made, so the rest may be another. What is
    certain: it is an answer of its own length, and nothing of what was there comes again."""
    whole = (await say(gateway, greedy(WORDS))).text
    cut = whole.index(" ", len(whole) // 2) - 1

    rest = await say(gateway, greedy(WORDS), prefix=whole[:cut])

    assert len(rest.text.split()) >= WORDS
    assert rest.end and rest.end.usage and rest.end.usage.completion_tokens == WORDS
    assert not rest.text.startswith(whole[:cut])


@pytest.mark.parametrize("prefix", [" ", "\n", "e", " the\n", "im_end", "<|im_start|>", "你好 😀", "half \ufffd"])
async def test_an_odd_beginning_is_continued_and_never_repeated(gateway: Gateway, prefix: str) -> None:
    """A single letter that also stands in the template, white space alone, a template's own mark, half a character."""
    rest = await say(gateway, greedy(20), prefix=prefix)

    assert len(rest.text.split()) == 20
    assert "sea" not in rest.text and "user" not in rest.text, "the prompt is no answer"


async def test_a_continued_answer_pays_only_for_what_is_new(gateway: Gateway) -> None:
    question = asking("Tell me about" + " the house by the water" * 60)
    begun = await say(gateway, greedy(20), question)

    rest = await say(gateway, greedy(20), question, prefix=begun.text)

    assert rest.end and rest.end.usage
    assert rest.end.usage.cached_tokens >= 256
    assert rest.end.usage.completion_tokens == 20
