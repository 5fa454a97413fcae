"""One small document is enough to be found, and not enough to be found by everything."""

import pytest

from functions.chat import lexicon
from functions.chat.retrieved import says_enough

PAGING = "Whoever is on call acknowledges the page within five minutes. If nobody does, it goes to the second in line."
BACKUPS = "Backups are taken every night at two and kept for thirty days."


def kept(question: str, *documents: str) -> list[str]:
    indexes = {text: lexicon.unpack(lexicon.pack([text])) for text in documents}
    found = lexicon.rank(indexes, question, limit=5)
    return [one.document_id for one in found if says_enough(one)]


@pytest.mark.parametrize("documents", [(PAGING,), (PAGING, BACKUPS)])
@pytest.mark.parametrize(
    "question",
    ["How soon must a page be acknowledged?", "Who acknowledges a page?", "What happens if nobody acknowledges?"],
)
def test_a_question_finds_the_passage_that_answers_it_however_few_there_are(
    question: str, documents: tuple[str, ...]
) -> None:
    assert kept(question, *documents) == [PAGING]


@pytest.mark.parametrize("documents", [(PAGING,), (PAGING, BACKUPS)])
@pytest.mark.parametrize(
    "question",
    ["What is the capital of France?", "How many minutes does an egg take?", "How do I page through these results?"],
)
def test_a_word_in_common_is_not_an_answer(question: str, documents: tuple[str, ...]) -> None:
    assert kept(question, *documents) == []


def test_a_question_of_two_parts_finds_the_passage_of_each() -> None:
    question = "How soon must a page be acknowledged, and how long is a backup kept?"

    assert sorted(kept(question, PAGING, BACKUPS)) == [BACKUPS, PAGING]
