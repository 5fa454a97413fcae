"""Documents through the API, on both stores: uploaded, searched, shared, replaced and deleted."""

import asyncio
import sqlite3
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from functions.settings import BODY_BYTES, KNOWLEDGE_FILE_BYTES
from tests.knowledge import files
from tests.knowledge.conftest import Reader, readers, with_embedder

Two = tuple[Reader, Reader]


async def test_files_of_every_kind_are_read_and_found(ann_and_ben: Two) -> None:
    ann, _ = ann_and_ben
    pdf = files.a_pdf(["The canteen opens at eleven.\n" * 8, "Coffee is free on Fridays."], outline=[("Canteen", 0)])
    sent = [
        ("handbook.md", files.HANDBOOK.encode()),
        ("员工 手册 é.md", files.CHINESE.encode()),
        ("canteen.pdf", pdf),
        ("travel.docx", files.a_docx()),
        ("leave.html", files.PAGE.encode()),
        ("notes.txt", b"The printer on the second floor is called Gutenberg."),
    ]
    documents = [await ann.add(name, data) for name, data in sent]

    assert [(d["status"], d["error"], d["search"]) for d in documents] == [("ready", None, "lexical")] * 6
    assert all(0 < d["chunks"] == d["chunks_done"] for d in documents)
    assert [d["title"] for d in documents[:2]] == ["Staff handbook", "员工手册"]
    listed = (await ann.ask("GET", "/knowledge")).json()["data"]
    assert [d["filename"] for d in listed] == [name for name, _ in reversed(sent)], "newest first"

    (coffee, *_) = await ann.search("Is coffee free?")
    assert (coffee["document_id"], coffee["page"], coffee["heading"]) == (documents[2]["id"], 2, "Canteen")
    (parental, *_) = await ann.search("How many weeks of parental leave?", collection=documents[0]["collection_id"])
    assert "14 weeks" in parental["text"]
    (chinese, *_) = await ann.search("年假有多少天？")
    assert chinese["document_id"] == documents[1]["id"]
    assert (await ann.search("gutenberg"))[0]["document_id"] == documents[5]["id"]
    assert await ann.search("Who won the football world cup?") == []


async def test_a_citation_opens_its_passage_with_what_is_around_it(ann_and_ben: Two) -> None:
    ann, ben = ann_and_ben
    text = "\n\n".join(f"## Part {n}\n\n" + f"Sentence about subject{n}. " * 30 for n in range(3))
    document = await ann.add("long.md", text)
    path = f"/knowledge/{document['id']}/chunks"

    first, second = [(await ann.ask("GET", f"{path}/{n}")).json() for n in (0, 1)]

    assert (first["heading"], first["before"], first["after"]) == ("Part 0", None, second["text"])
    assert second["before"] == first["text"]
    assert (second["document_id"], second["title"], second["chunk"]) == (document["id"], "long", 1)
    assert (await ann.ask("GET", f"{path}/99")).status_code == 404
    assert (await ben.ask("GET", f"{path}/0")).status_code == 404


async def test_what_belongs_to_somebody_else_is_not_there(ann_and_ben: Two) -> None:
    ann, ben = ann_and_ben
    document = await ann.add("handbook.md", files.HANDBOOK)
    shelf = document["collection_id"]

    for method, path, more in (
        ("GET", f"/knowledge/{document['id']}", {}),
        ("DELETE", f"/knowledge/{document['id']}", {}),
        ("POST", f"/knowledge/{document['id']}/retry", {}),
        ("GET", f"/knowledge?collection={shelf}", {}),
        ("GET", f"/knowledge/search?q=leave&collection={shelf}", {}),
        ("POST", f"/knowledge?filename=x.txt&collection={shelf}", {"content": b"mine"}),
        ("PATCH", f"/collections/{shelf}", {"json": {"name": "mine"}}),
        ("DELETE", f"/collections/{shelf}", {}),
        ("GET", f"/collections/{shelf}/members", {}),
        ("PUT", f"/collections/{shelf}/members/{ben.name}", {"json": {"role": "editor"}}),
        ("DELETE", f"/collections/{shelf}/members/{ben.name}", {}),
    ):
        answer = await ben.ask(method, path, **more)
        assert (answer.status_code, answer.json()["error"]["code"]) == (404, "not_found"), (method, path)
    assert await ben.search("paid leave") == []
    assert (await ben.ask("GET", "/knowledge")).json()["data"] == []
    assert (await ann.ask("GET", f"/knowledge/{document['id']}")).json() == document


async def test_a_shared_collection_is_read_by_readers_and_changed_by_editors(ann_and_ben: Two) -> None:
    ann, ben = ann_and_ben
    first = (await ann.add("bees.md", "# Bees\n\nThey dance."))["collection_id"]
    shelf = (await ann.ask("POST", "/collections", json={"name": "Team", "shared": True})).json()
    listed = {one["id"]: one["unnamed"] for one in (await ann.ask("GET", "/collections")).json()["data"]}
    assert (listed[first], listed[shelf["id"]]) == (True, False)
    renamed = await ann.ask("PATCH", f"/collections/{first}", json={"name": "Bees"})
    assert (renamed.json()["name"], renamed.json()["unnamed"]) == ("Bees", False)
    assert (shelf["role"], shelf["documents"], shelf["shared"]) == ("owner", 0, True)
    document = await ann.add("handbook.md", files.HANDBOOK, collection=shelf["id"])
    member = f"/collections/{shelf['id']}/members/{ben.name}"

    assert (await ann.ask("PUT", member, json={"role": "reader"})).json() == {"principal": ben.name, "role": "reader"}
    (seen,) = (await ben.ask("GET", "/collections")).json()["data"]
    assert (seen["id"], seen["role"], seen["documents"]) == (shelf["id"], "reader", 1)
    assert (await ben.ask("POST", f"/collections/{shelf['id']}/join")).json()["joined"] is True
    assert (await ben.search("paid leave"))[0]["document_id"] == document["id"]
    for method, path in (
        ("DELETE", f"/knowledge/{document['id']}"),
        ("POST", f"/knowledge?filename=x.txt&collection={shelf['id']}"),
        ("GET", f"/collections/{shelf['id']}/members"),
        ("DELETE", f"/collections/{shelf['id']}"),
    ):
        answer = await ben.ask(method, path, content=b"x")
        assert (answer.status_code, answer.json()["error"]["code"]) == (403, "forbidden"), path

    await ann.ask("PUT", member, json={"role": "editor"})
    (listed,) = (await ben.ask("GET", f"/collections/{shelf['id']}/members")).json()["data"]
    assert listed == {"principal": ben.name, "role": "editor"}
    added = await ben.add("notes.txt", "The printer is called Gutenberg.", collection=shelf["id"])
    assert (await ann.search("gutenberg"))[0]["document_id"] == added["id"]
    assert (await ben.ask("PATCH", f"/collections/{shelf['id']}", json={"name": "mine"})).status_code == 403

    assert (await ben.ask("DELETE", member)).status_code == 204, "a member may leave"
    assert await ben.search("paid leave") == []
    assert (await ben.ask("GET", f"/knowledge/{added['id']}")).status_code == 404


async def test_nobodys_documents_come_into_anothers_answers_unasked(ann_and_ben: Two) -> None:
    ann, ben = ann_and_ben
    shelf = (await ann.ask("POST", "/collections", json={"name": "Team", "shared": True})).json()["id"]
    document = await ann.add("handbook.md", files.HANDBOOK, collection=shelf)
    member = f"/collections/{shelf}/members/{ben.name}"
    assert (await ben.ask("POST", f"/collections/{shelf}/join")).status_code == 404
    await ann.ask("PUT", member, json={"role": "reader"})

    (offered,) = (await ben.ask("GET", "/collections")).json()["data"]
    assert (offered["owner"], offered["joined"]) == (ann.name, False)
    assert await ben.search("paid leave") == [], "an offer is no consent"
    looked = await ben.ask("GET", f"/knowledge/search?q=paid leave&collection={shelf}")
    assert looked.json()["data"][0]["document_id"] == document["id"], "but one may look at it"

    for _ in range(2):
        assert (await ben.ask("POST", f"/collections/{shelf}/join")).status_code == 200
    assert len(await ben.search("paid leave")) > 0
    await ben.ask("DELETE", member)
    await ann.ask("PUT", member, json={"role": "reader"})
    assert await ben.search("paid leave") == [], "who has left is asked again"


async def test_who_is_let_into_one_collection_sees_no_other_of_its_owner(ann_and_ben: Two) -> None:
    ann, ben = ann_and_ben
    shelf = (await ann.ask("POST", "/collections", json={"name": "Team", "shared": True})).json()["id"]
    await ann.ask("PUT", f"/collections/{shelf}/members/{ben.name}", json={"role": "editor"})
    private = await ann.add("diary.md", "# Diary\n\nThe zebra escaped on Monday.")

    for method, path in (
        ("GET", f"/knowledge/{private['id']}"),
        ("GET", f"/knowledge/{private['id']}/chunks/0"),
        ("DELETE", f"/knowledge/{private['id']}"),
        ("GET", f"/knowledge?collection={private['collection_id']}"),
    ):
        assert (await ben.ask(method, path)).status_code == 404, path
    assert await ben.search("When did the zebra escape?") == []
    assert (await ben.ask("GET", "/knowledge")).json()["data"] == []
    assert len(await ann.search("When did the zebra escape?")) == 1


async def test_a_collection_of_ones_own_takes_no_members(ann: Reader) -> None:
    shelf = (await ann.ask("POST", "/collections", json={"name": "Mine"})).json()
    answer = await ann.ask("PUT", f"/collections/{shelf['id']}/members/ben", json={"role": "reader"})
    assert (answer.status_code, answer.json()["error"]["param"]) == (400, "shared")


async def test_the_same_name_again_replaces_the_document_when_it_is_ready(ann_and_ben: Two) -> None:
    ann, _ = ann_and_ben
    old = await ann.add("rules.md", "# Rules\n\nThe gate closes at nine.")
    broken = await ann.add("rules.md", files.a_locked_pdf(), media_type="application/pdf")
    assert broken["error"]["code"] == "encrypted"
    assert (await ann.search("When does the gate close?"))[0]["document_id"] == old["id"], "the old one still answers"

    new = await ann.add("rules.md", "# Rules\n\nThe gate closes at ten.")

    (found,) = await ann.search("When does the gate close?")
    assert (found["document_id"], "ten" in found["text"]) == (new["id"], True)
    assert [d["id"] for d in (await ann.ask("GET", "/knowledge")).json()["data"]] == [new["id"]]
    assert (await ann.ask("GET", f"/knowledge/{old['id']}/chunks/0")).status_code == 404


async def test_of_uploads_at_once_the_last_is_left(ann_and_ben: Two) -> None:
    ann, _ = ann_and_ben
    sent = await asyncio.gather(*(ann.upload("rules.md", f"The gate closes at {n}.") for n in range(4)))
    newest = max(answer.json()["id"] for answer in sent)

    async with asyncio.timeout(30):
        while [d["id"] for d in (await ann.ask("GET", "/knowledge")).json()["data"]] != [newest]:
            await asyncio.sleep(0.03)

    assert [one["document_id"] for one in await ann.search("When does the gate close?")] == [newest]


async def test_a_deleted_document_is_gone_also_while_it_is_read(ann_and_ben: Two) -> None:
    ann, _ = ann_and_ben
    ready = await ann.add("handbook.md", files.HANDBOOK)
    long = "\n\n".join(f"Subject number {n} is explained here. " * 8 for n in range(300))
    reading = (await ann.upload("long.txt", long)).json()["id"]

    for document_id in (ready["id"], reading):
        assert (await ann.ask("DELETE", f"/knowledge/{document_id}")).status_code == 204
        assert (await ann.ask("GET", f"/knowledge/{document_id}")).status_code == 404
        assert (await ann.ask("DELETE", f"/knowledge/{document_id}")).status_code == 404

    await ann.add("marker.txt", "The marker was indexed after the others.")  # the workers have been past them
    assert [one["title"] for one in await ann.search("the marker")] == ["marker"]
    assert await ann.search("paid leave") == await ann.search("subject number explained") == []


async def test_a_deleted_collection_takes_everything_along(ann_and_ben: Two) -> None:
    ann, ben = ann_and_ben
    shelf = (await ann.ask("POST", "/collections", json={"name": "Team", "shared": True})).json()["id"]
    await ann.ask("PUT", f"/collections/{shelf}/members/{ben.name}", json={"role": "editor"})
    document = await ben.add("handbook.md", files.HANDBOOK, collection=shelf)

    assert (await ann.ask("DELETE", f"/collections/{shelf}")).status_code == 204

    assert (await ben.ask("GET", "/collections")).json()["data"] == []
    for reader in (ann, ben):
        assert (await reader.ask("GET", f"/knowledge/{document['id']}")).status_code == 404
        assert await reader.search("paid leave") == []
    assert (await ann.ask("DELETE", f"/collections/{shelf}")).status_code == 404


async def test_listings_come_in_pages(ann: Reader) -> None:
    for number in range(3):
        await ann.upload(f"{number}.txt", f"number {number}")
        await ann.ask("POST", "/collections", json={"name": str(number)})
    for path, size in (("/knowledge", 3), ("/collections", 4)):
        seen: list[str] = []
        after: str | None = None
        while True:
            params: dict[str, Any] = {"limit": 2} | ({"after": after} if after else {})
            page = (await ann.ask("GET", path, params=params)).json()
            seen += [one["id"] for one in page["data"]]
            after = page["last_id"]
            assert page["has_more"] == (after is not None)
            if after is None:
                break
        assert len(seen) == len(set(seen)) == size
    assert (await ann.ask("GET", "/knowledge?after=nonsense")).json()["error"]["code"] == "bad_cursor"


@pytest.mark.parametrize(
    ("name", "data", "code"),
    [
        ("photo.png", b"\x89PNG\r\n", "unsupported"),
        ("liar.pdf", b"<html></html>", "unsupported"),
        ("empty.txt", b"", "no_text"),
        ("..", b"x", "bad_input"),
        ("x" * 300 + ".txt", b"x", "bad_input"),
    ],
)
async def test_a_file_that_cannot_be_taken_is_refused_at_once(ann: Reader, name: str, data: bytes, code: str) -> None:
    answer = await ann.upload(name, data)

    assert (answer.status_code, answer.json()["error"]["code"]) == (400, code)
    assert (await ann.ask("GET", "/knowledge")).json()["data"] == []


async def test_a_document_that_could_not_be_read_says_so_and_can_be_tried_again(ann: Reader) -> None:
    document = await ann.add("scan.pdf", files.a_scanned_pdf())
    assert (document["status"], document["error"]["code"]) == ("failed", "no_text")

    again = await ann.ask("POST", f"/knowledge/{document['id']}/retry")

    assert (again.status_code, again.json()["status"], again.json()["error"]) == (202, "queued", None)
    assert (await ann.until_read(document["id"]))["error"]["code"] == "no_text"
    ready = await ann.add("notes.txt", "hello")
    assert (await ann.ask("POST", f"/knowledge/{ready['id']}/retry")).status_code == 409


async def test_only_an_upload_may_be_large_and_not_too_large(ann: Reader) -> None:
    big = await ann.upload("big.txt", b"word " * (BODY_BYTES // 4))
    assert big.status_code == 202

    for body in (bytes(KNOWLEDGE_FILE_BYTES + 1), _in_pieces(KNOWLEDGE_FILE_BYTES // 65536 + 1)):
        answer = await ann.ask("POST", "/knowledge?filename=huge.txt", content=body)
        assert (answer.status_code, answer.json()["error"]["code"]) == (413, "too_large")
    other = await ann.ask("POST", "/collections", content=b" " * (BODY_BYTES + 1))
    assert other.status_code == 413


async def _in_pieces(count: int) -> Any:
    for _ in range(count):
        yield bytes(65536)


async def test_an_upload_that_breaks_off_leaves_nothing(ann: Reader) -> None:
    async def broken() -> Any:
        yield b"half"
        raise RuntimeError("the line is cut")

    with pytest.raises((RuntimeError, httpx.HTTPError)):
        await ann.ask("POST", "/knowledge?filename=x.txt", content=broken())

    assert (await ann.ask("GET", "/knowledge")).json()["data"] == []


async def test_an_upload_that_was_on_its_way_when_its_user_left_is_not_kept(ann_and_ben: Two) -> None:
    ann, _ = ann_and_ben

    async def leaving() -> AsyncIterator[bytes]:
        yield b"# Gate\n\n"
        left = await ann.ask("DELETE", "/me", json={"confirm": "delete everything"})
        assert left.status_code == 200
        yield b"It closes at nine."

    late = await ann.ask("POST", "/knowledge", params={"filename": "a.md"}, content=leaving())

    assert (late.status_code, late.json()["error"]["code"]) == (409, "conflict")
    assert (await ann.ask("GET", "/collections")).json()["data"] == []
    assert (await ann.add("a.md", "# Gate\n\nIt closes at ten."))["status"] == "ready", "who comes back is welcome"


async def test_what_the_rails_redact_is_stored_so_and_what_they_block_is_left_out(tmp_path: Path) -> None:
    policy = tmp_path / "policy.toml"
    default = Path("functions/guardrails/default.toml").read_text()
    policy.write_text(default.replace("terms = []", 'terms = ["zeppelin"]'))
    key = "sk-proj-" + "a1B2c3D4e5" * 5
    text = (
        f"# Access\n\nThe card is 4111 1111 1111 1111 and the key is {key}. " + "It opens the archive. " * 20 + "\n\n"
        "# Hobby\n\n" + "Everything about the zeppelin of the founder. " * 10
    )
    async with readers(tmp_path, "ann", policy=policy) as (ann,):
        document = await ann.add("secrets.md", text)
        whole = (await ann.ask("GET", f"/knowledge/{document['id']}/chunks/0")).json()

        assert (document["status"], document["left_out"]) == ("ready", 1)
        assert "[redacted" in whole["text"] and "archive" in whole["text"]
        assert await ann.search("founder hobby everything") == []
        stored = b"".join(
            data for (data,) in sqlite3.connect(tmp_path / "parley.db").execute("SELECT data FROM chunks").fetchall()
        )
        assert b"4111" not in stored and key.encode() not in stored and b"eppelin" not in stored
        banned = await ann.add("banned.txt", "zeppelin zeppelin zeppelin")
        assert banned["error"]["code"] == "content_filter"


async def test_where_a_model_embeds_meaning_finds_what_words_do_not(tmp_path: Path, store_url: str) -> None:
    """The simulated embedder's vectors follow from the text alone: near is only the very same text."""
    async with readers(tmp_path, "ann", store_url=store_url, nodes=with_embedder) as (ann,):
        document = await ann.add("be.txt", "To be or not to be.")
        assert document["search"] == "hybrid"

        (found,) = await ann.search("be\nTo be or not to be.")  # no word of it counts

        assert (found["document_id"], found["score"]) == (document["id"], 1.0)
        for nothing in ("", " \n"):
            asked = await ann.ask("GET", "/knowledge/search", params={"q": nothing})
            assert (asked.status_code, asked.json()["error"]["param"]) == (400, "q")
        assert ann.house.engine.stats.embedded == 1, "nothing, and a text that was embedded before, costs nothing"
        await ann.ask("DELETE", f"/knowledge/{document['id']}")
        assert await ann.search("be\nTo be or not to be.") == []


async def test_an_embedder_that_is_down_leaves_the_words(tmp_path: Path) -> None:
    async with readers(tmp_path, "ann", nodes=with_embedder) as (ann,):
        await ann.add("handbook.md", files.HANDBOOK)
        ann.house.engine.embeddings = b"nonsense"

        (found, *_) = await ann.search("How many days of paid leave?")

        assert "27 days" in found["text"]
