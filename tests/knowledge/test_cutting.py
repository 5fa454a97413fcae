"""How documents are cut, and how their words are found. Pure."""

from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from functions.chat import lexicon
from functions.chat.chunks import MOST, OVERLAP, cut, tokens_of
from functions.reading.blocks import Block


def text(said: str, page: int | None = None) -> Block:
    return Block(kind="text", text=said, page=page)


def heading(name: str, level: int) -> Block:
    return Block(kind="heading", text=name, level=level)


def paragraph(word: str, sentences: int = 20) -> str:
    return f"This sentence is about the {word} and nothing else. " * sentences


def test_a_chunk_knows_the_path_of_its_headings() -> None:
    chunks = cut([
        heading("Guide", 1),
        text(paragraph("guide")),
        heading("Setup", 2),
        text(paragraph("setup")),
        heading("Docker", 3),
        text(paragraph("docker")),
        heading("Use", 2),
        text(paragraph("use")),
    ])  # fmt: skip

    paths = ["Guide", "Guide › Setup", "Guide › Setup › Docker", "Guide › Use"]
    assert list(dict.fromkeys(chunk.heading for chunk in chunks)) == paths
    assert [chunk.number for chunk in chunks] == list(range(len(chunks)))


def test_a_section_of_a_line_is_joined_with_the_next_and_says_where_it_begins() -> None:
    (chunk,) = cut([heading("A", 2), text("One line."), heading("B", 2), text("Another.")])
    assert (chunk.heading, chunk.text) == ("A", "One line.\n\nB\n\nAnother.")


def test_a_paragraph_that_is_cut_goes_on_with_its_last_sentence() -> None:
    sentences = [f"Number {n} is a sentence of its own here." for n in range(120)]
    chunks = cut([text(" ".join(sentences))])

    assert len(chunks) > 3
    for before, after in pairwise(chunks):
        last = before.text.rsplit("Number", 1)[1]
        assert after.text.startswith(f"Number{last}")


def test_a_table_that_is_cut_keeps_its_head() -> None:
    rows = "\n".join(f"| setting_{n} | what this setting is good for |" for n in range(100))
    chunks = cut([Block(kind="table", text=f"| Name | Use |\n|---|---|\n{rows}")])

    assert len(chunks) > 3
    assert all(chunk.text.startswith("| Name | Use |\n|---|---|\n| setting_") for chunk in chunks)


def test_a_block_of_code_is_whole_where_it_can_be() -> None:
    code = "\n".join(f"line_{n} = {n}" for n in range(30))
    chunks = cut([text(paragraph("before", 14)), Block(kind="code", text=code), text(paragraph("after", 14))])
    assert sum(code in chunk.text for chunk in chunks) == 1


def test_pages_are_kept_apart() -> None:
    chunks = cut([text(paragraph("one", 5), 1), text(paragraph("two", 5), 2), text("End.", 3)])
    assert [chunk.page for chunk in chunks] == [1, 2, 3]


_WORDS = st.text(st.sampled_from("ab cé 中文。.!\n\t🙂-|"), max_size=4000)
_BLOCKS = st.lists(
    st.builds(
        Block,
        kind=st.sampled_from(["text", "code", "table", "heading"]),
        text=_WORDS,
        level=st.integers(1, 6),
        page=st.none() | st.integers(1, 3),
    ),
    max_size=6,
)


@given(_BLOCKS)
def test_whatever_the_document_no_chunk_is_too_long_and_no_letter_is_lost(blocks: list[Block]) -> None:
    chunks = cut(blocks)

    assert all(tokens_of(chunk.text) <= MOST + OVERLAP + 80 and chunk.text for chunk in chunks)
    said = "".join(chunk.text for chunk in chunks)
    for block in blocks:
        if block.kind != "heading":
            assert set(block.text) - set(" \n\t") <= set(said)


# -- words ---------------------------------------------------------------------------------------------------------


def indexed(**texts: list[str]) -> dict[str, lexicon.Index]:
    return {name: lexicon.unpack(lexicon.pack(chunks)) for name, chunks in texts.items()}


def best(indexes: dict[str, lexicon.Index], question: str) -> tuple[str, int] | None:
    found = lexicon.rank(indexes, question, limit=1)
    return (found[0].document_id, found[0].chunk) if found else None


def test_words_are_found_whatever_their_ending_case_or_spelling_of_code() -> None:
    indexes = indexed(
        a=["The leases of workers run out.", "PARLEY_NODE_KEY opens the registry.", "getUserName returns it."],
        b=["Nothing about any of that, but many other words that take room."],
    )
    for question, chunk in (
        ("how long is a lease", 0),
        ("a worker running", 0),
        ("parley_node_key", 1),
        ("node key", 1),
        ("user name", 2),
        ("getusername", 2),
    ):
        assert best(indexes, question) == ("a", chunk), question
    assert lexicon.rank(indexes, "what is the", limit=5) == []
    assert lexicon.rank({}, "lease", limit=5) == []


def test_chinese_is_found_by_words_of_two_signs() -> None:
    indexes = indexed(a=["每位员工每年享有带薪年假。", "上海的酒店费用上限为九百元。"], b=["乘坐火车优先于飞机。"])
    assert best(indexes, "年假有多少天？") == ("a", 0)
    assert best(indexes, "上海酒店") == ("a", 1)
    assert best(indexes, "坐火车还是飞机") == ("b", 0)
    assert best(indexes, "红烧肉") is None


def test_what_is_rare_weighs_more_and_a_long_chunk_is_no_better() -> None:
    long = "report " * 200 + "zebra"
    indexes = indexed(a=["report zebra", long, "report", "report"], b=["report"] * 20)
    first, second = lexicon.rank(indexes, "zebra report", limit=2)
    assert (first.document_id, first.chunk) == ("a", 0)
    assert first.score > second.score > 0
    assert first.coverage == 1.0


def test_an_index_holds_no_text_and_is_small() -> None:
    texts = [paragraph(f"subject{n}", 4) for n in range(100)]
    packed = lexicon.pack(texts)
    assert b"subject" not in packed and b"sentence" not in packed
    assert len(packed) < sum(map(len, texts)) / 2
    assert lexicon.unpack(packed).bytes < sum(map(len, texts))
