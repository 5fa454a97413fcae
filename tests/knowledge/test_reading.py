"""Files of every kind are read by their structure, and bad ones give a clear error, in a process of their own."""

import asyncio
import os
import signal
from pathlib import Path

import pytest

from functions.errors import BadInput
from functions.reading import reader
from functions.reading.blocks import FileKind, Reading
from functions.reading.reader import kind_of, read_file
from tests.knowledge import files


async def read(tmp_path: Path, data: bytes, kind: FileKind, **limits: float) -> Reading:
    path = tmp_path / "file"
    path.write_bytes(data)
    return await read_file(path, kind, **limits)


def said(reading: Reading) -> list[tuple[str, str]]:
    return [(block.kind, block.text) for block in reading.blocks]


async def test_markdown_is_cut_by_its_own_grammar(tmp_path: Path) -> None:
    front = "---\ndraft: true\n---\n"
    reading = await read(tmp_path, (front + files.HANDBOOK + "\n    indented\n\nsetext\n======\n").encode(), "markdown")

    assert reading.title == "Staff handbook"
    assert [(b.level, b.text) for b in reading.blocks if b.kind == "heading"] == [
        (1, "Staff handbook"),
        (2, "Leave"),
        (3, "Parental leave"),
        (2, "Travel"),
        (1, "setext"),
    ]
    assert [b.kind for b in reading.blocks if b.kind in ("table", "code")] == ["table", "code", "code"]
    assert "draft" not in str(reading)


async def test_a_web_page_is_read_as_it_is_seen(tmp_path: Path) -> None:
    reading = await read(tmp_path, files.PAGE.encode(), "html")

    assert reading.title == "Leave & travel"
    assert said(reading) == [
        ("heading", "Leave"),
        ("text", "Everybody has 27 days."),
        ("heading", "Parental"),
        ("text", "- 14 weeks"),
        ("text", "- full pay"),
        ("table", "City | Limit\nZürich | 240"),
        ("code", "travel book\n  --city zurich"),
    ]


async def test_a_word_document_is_read_by_its_styles_without_what_it_hides(tmp_path: Path) -> None:
    reading = await read(tmp_path, files.a_docx(), "docx")

    assert reading.title == "Staff handbook"
    assert said(reading) == [
        ("heading", "Leave"),
        ("text", "Everybody has 27 days of paid leave in a year."),
        ("text", "Read this."),
        ("heading", "Travel"),
        ("text", "- A train\n- never a flight"),
        ("table", "City | Hotel limit\nZürich | 240 francs"),
    ]


async def test_a_pdf_is_read_by_pages_and_outline_without_its_running_heads(tmp_path: Path) -> None:
    numbers = ("one", "two", "three", "four", "five", "six")
    pages = [
        f"Handbook 2026 - page {at}\n{name} begins.\nThis is page {name} of the\nhandbook, which is gener-\nous.\n"
        f"Then {name} goes on.\nAnd {name} ends."
        for at, name in enumerate(numbers, 1)
    ]
    data = files.a_pdf(pages, outline=[("Leave", 0), ("Travel", 3)], title="Staff handbook")

    reading = await read(tmp_path, data, "pdf")

    assert reading.title == "Staff handbook"
    texts = [block for block in reading.blocks if block.kind == "text"]
    assert [block.page for block in texts] == [1, 2, 3, 4, 5, 6]
    assert texts[1].text == (
        "two begins.\nThis is page two of the handbook, which is generous.\nThen two goes on.\nAnd two ends."
    )
    assert [(one.text, one.page) for one in reading.blocks if one.kind == "heading"] == [("Leave", 1), ("Travel", 4)]


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "gb18030"])
async def test_text_is_understood_in_the_encodings_that_people_have(tmp_path: Path, encoding: str) -> None:
    assert said(await read(tmp_path, "每年有年假。\r\n\r\n三月底失效。".encode(encoding), "text")) == [
        ("text", "每年有年假。"),
        ("text", "三月底失效。"),
    ]


async def test_western_text_is_not_taken_for_chinese(tmp_path: Path) -> None:
    text = "Übergrößenträger fährt für Müller nach Zürich."
    assert said(await read(tmp_path, text.encode("cp1252"), "text")) == [("text", text)]


BAD: dict[str, tuple[bytes, FileKind, str]] = {
    "a PDF that was cut off": (files.a_pdf(["x"] * 9)[:400], "pdf", "damaged"),
    "a PDF of garbage": (b"%PDF-1.7\n" + bytes(range(256)) * 20, "pdf", "damaged"),
    "a PDF under a password": (files.a_locked_pdf(), "pdf", "encrypted"),
    "a scan": (files.a_scanned_pdf(), "pdf", "no_text"),
    "a Word document under a password": (b"\xd0\xcf\x11\xe0" + bytes(600), "docx", "encrypted"),
    "a Word document that was cut off": (files.a_docx()[:-200], "docx", "damaged"),
    "an archive that is no Word document": (files.a_zip(readme=b"hello"), "docx", "unsupported"),
    "a bomb": (files.a_bomb(), "docx", "too_large"),
    "nothing but spaces": (b" \n\n ", "text", "no_text"),
    "a page without text": (b"<html><script>1</script></html>", "html", "no_text"),
    "a program": (b"\x7fELF\x02\x01\x01" + bytes(64), "text", "unsupported"),
}


@pytest.mark.parametrize("name", BAD)
async def test_a_bad_file_says_what_is_wrong_with_it(tmp_path: Path, name: str) -> None:
    data, kind, code = BAD[name]

    with pytest.raises(BadInput) as refused:
        await read(tmp_path, data, kind)

    assert refused.value.code == code
    assert refused.value.message == reader.TROUBLES[code]


async def test_entities_are_not_expanded(tmp_path: Path) -> None:
    try:
        reading = await read(tmp_path, files.a_docx_of_entities(), "docx")
    except BadInput as refused:
        assert refused.code in ("damaged", "no_text")
    else:
        assert "haha" not in str(reading)


async def test_more_pages_or_text_than_allowed_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reader, "DOCUMENT_PAGES", 2)
    monkeypatch.setattr(reader, "DOCUMENT_CHARS", 1000)

    for data, kind in ((files.a_pdf(["x"] * 3), "pdf"), (b"word " * 300, "text")):
        with pytest.raises(BadInput) as refused:
            await read(tmp_path, data, kind)  # type: ignore[arg-type]
        assert refused.value.code == "too_large"


async def test_a_parser_that_wants_too_much_memory_is_stopped(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reader, "READING_MEMORY_BYTES", 200 * 1024 * 1024)

    with pytest.raises(BadInput) as refused:
        await read(tmp_path, b"word " * 20_000_000, "text")

    assert refused.value.code == "too_large"


async def test_a_parser_that_takes_too_long_is_ended(tmp_path: Path) -> None:
    with pytest.raises(BadInput) as refused:
        await read(tmp_path, files.HANDBOOK.encode(), "markdown", within_s=0.01)

    assert refused.value.code == "too_slow"


async def test_who_stops_waiting_ends_the_process_which_has_no_key_of_ours(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PARLEY_SECRET_KEY", "not for parsers")
    running: list[reader._Running] = []
    monkeypatch.setattr(reader._Running, "__init__", _noting(running))
    path = tmp_path / "pipe"
    os.mkfifo(path)  # nobody writes: the child waits for ever
    task = asyncio.create_task(read_file(path, "text"))
    while not running or running[0]._child is None:
        await asyncio.sleep(0)
    environment = await asyncio.to_thread(Path(f"/proc/{running[0]._child.pid}/environ").read_bytes)
    assert {part.partition(b"=")[0] for part in environment.split(b"\0") if part} <= {
        b"PYTHONPATH",
        b"PYTHONDONTWRITEBYTECODE",
    }

    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task

    assert await asyncio.to_thread(running[0]._child.wait, 10) == -signal.SIGKILL


def _noting(running: list[reader._Running]) -> object:
    original = reader._Running.__init__

    def noted(self: reader._Running, command: list[str]) -> None:
        original(self, command)
        running.append(self)

    return noted


@pytest.mark.parametrize(
    ("media_type", "filename", "head", "kind"),
    [
        ("application/pdf", "x", b"%PDF-1.7", "pdf"),
        ("", "notes.MD", b"# x", "markdown"),
        ("application/octet-stream", "a.docx", b"PK\x03\x04", "docx"),
        ("text/plain; charset=utf-8", "readme.md", b"# x", "markdown"),
        ("text/html", "x.txt", b"<p>", "html"),
    ],
)
def test_a_file_is_what_it_says_it_is(media_type: str, filename: str, head: bytes, kind: str) -> None:
    assert kind_of(media_type, filename, head) == kind


@pytest.mark.parametrize(
    ("media_type", "filename", "head"),
    [
        ("image/png", "x.png", b"\x89PNG"),
        ("", "x.exe", b"MZ"),
        ("", "noname", b"text"),
        ("application/pdf", "x.pdf", b"<html>"),
        ("text/plain", "x.txt", b"%PDF-1.7"),
        ("text/plain", "x.txt", b"PK\x03\x04"),
    ],
)
def test_what_cannot_be_read_or_is_something_else_is_refused(media_type: str, filename: str, head: bytes) -> None:
    with pytest.raises(BadInput) as refused:
        kind_of(media_type, filename, head)
    assert refused.value.code == "unsupported"
