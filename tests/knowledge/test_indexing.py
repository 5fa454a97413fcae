"""Indexing that dies: at every single write, and what the next worker makes of it."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any

import pytest

from functions.chat.documents import Document
from functions.chat.indexing import BATCH, Indexing
from functions.chat.library import Library, vectors_of
from functions.chat.messages import ForgetJob, IndexJob, new_id
from functions.errors import NotFound, UpstreamError
from functions.inference.nodes import Node, ServedModel
from functions.services import Services, open_services, open_store
from functions.settings import Settings
from tests.contracts.belongings import tables
from tests.knowledge.conftest import EMBEDDER
from tests.simulated import Scenario, SimulatedEngine, vector_of

WRITES = ("put_", "add_", "finish_", "delete_", "drop_", "purge_")
TEXT = "\n\n".join(f"# Part {n}\n\n" + f"Everything about subject{n} is in here. " * 6 for n in range(70))
OWNER = "ann"


class Died(BaseException):
    """As kill -9: nothing after it runs."""


class Dying:
    """A store whose process dies before its write number `at`."""

    def __init__(self, store: Any, at: int) -> None:
        self._store, self._left = store, at

    def __getattr__(self, name: str) -> Callable[..., Any]:
        method = getattr(self._store, name)

        async def call(*args: Any, **kwargs: Any) -> Any:
            if name.startswith(WRITES):
                self._left -= 1
                if not self._left:
                    raise Died
            return await method(*args, **kwargs)

        return call


@asynccontextmanager
async def opened(
    tmp_path: Path, store_url: str, scenario: Scenario | None = None
) -> AsyncIterator[tuple[Services, SimulatedEngine]]:
    """Services without workers: the test takes the jobs itself."""
    async with SimulatedEngine(scenario or Scenario()) as engine:
        nodes = [Node(engine.url, name="embed", models=[ServedModel(id=EMBEDDER, task="embed")])]
        async with open_services(Settings(store_url=store_url, data=tmp_path), nodes) as services:
            yield services, engine


async def uploaded(services: Services, tmp_path: Path, owner: str, text: str = TEXT) -> Document:
    path = tmp_path / "upload"
    path.write_text(text)
    shelf = await services.library.collection_for_upload(owner, None)
    return await services.library.upload(
        shelf, path, filename="long.md", media_type="text/markdown", kind="markdown", size=len(text.encode())
    )


def worker(services: Services, store: Any) -> Indexing:
    library = Library(store, services.gateway, services.runs.clock)
    return Indexing(store, services.gateway, library, services.books, lambda: services.turns.rails)


@pytest.fixture
def owner() -> str:
    return f"{OWNER}-{new_id()}"


async def state(services: Services, owner: str, document: Document) -> Any:
    """All that is stored of it."""
    found = await services.store.get_document(owner, document.id)
    chunks = await services.store.read_chunks(owner, document.id, range(found.chunks + 10))
    text = "\n".join(part for part in (found.title, chunks[3].heading, chunks[3].text) if part)
    name = vectors_of(document.collection_id, EMBEDDER)
    hits = await services.store.search_vectors(owner, name, vector_of(text), limit=10_000)
    words = await services.store.read_part(owner, document.id, "words", 0)
    file = await services.store.read_part(owner, document.id, "file", 0)
    return found.status, found.chunks, found.chunks_done, chunks, sorted(h.id for h in hits), hits[0].id, words, file


async def test_a_worker_that_dies_at_any_write_is_followed_by_one_that_ends_it_the_same(
    tmp_path: Path, store_url: str, owner: str
) -> None:
    async with opened(tmp_path, store_url) as (services, _):
        whole = await uploaded(services, tmp_path, f"{owner}-whole")
        await worker(services, services.store).index(IndexJob(owner=f"{owner}-whole", document_id=whole.id))
        expected = await state(services, f"{owner}-whole", whole)
        assert expected[0] == "ready" and expected[1] == expected[2] == len(expected[4]) > BATCH
        assert expected[-1] is None, "the file is dropped"

        document = await uploaded(services, tmp_path, owner)
        job, deaths = IndexJob(owner=owner, document_id=document.id), 0
        while True:
            try:
                await worker(services, Dying(services.store, at=deaths % 8 + 1)).index(job)
            except Died:
                deaths += 1
                assert deaths < 60
            else:
                break

        assert deaths >= 7
        ended = await state(services, owner, document)
        assert ended[:4] == expected[:4]
        assert [one.partition(":")[2] for one in ended[4]] == [one.partition(":")[2] for one in expected[4]]
        assert ended[6:] == expected[6:]


async def test_a_document_that_is_deleted_under_the_worker_leaves_nothing(
    tmp_path: Path, store_url: str, owner: str
) -> None:
    """Deleted at each moment of the work."""
    async with opened(tmp_path, store_url) as (services, _):
        for at in range(1, 12):
            document = await uploaded(services, tmp_path, owner)
            store = Deleting(services, owner, document.id, at)
            await worker(services, store).index(IndexJob(owner=owner, document_id=document.id))
            if not store.has_deleted:
                break
            with pytest.raises(NotFound):
                await services.store.get_document(owner, document.id)
            assert await services.store.read_chunks(owner, document.id, range(100)) == ()
            assert await services.store.read_part(owner, document.id, "words", 0) is None
            name = vectors_of(document.collection_id, EMBEDDER)
            assert await services.store.search_vectors(owner, name, vector_of("x"), limit=10) == (), at
        assert at > 6


class Deleting:
    """The owner deletes the document just before a certain write of the worker."""

    def __init__(self, services: Services, owner: str, document_id: str, at: int) -> None:
        self._services, self._owner, self._id, self._left = services, owner, document_id, at
        self.has_deleted = False

    def __getattr__(self, name: str) -> Callable[..., Any]:
        method = getattr(self._services.store, name)

        async def call(*args: Any, **kwargs: Any) -> Any:
            if name.startswith(WRITES):
                self._left -= 1
                if not self._left:
                    self.has_deleted = True
                    await self._services.library.delete(self._owner, self._id)
            return await method(*args, **kwargs)

        return call


async def test_where_no_model_comes_to_embed_the_document_is_found_by_its_words(tmp_path: Path, owner: str) -> None:
    url = f"sqlite:///{tmp_path / 'parley.db'}"
    async with opened(tmp_path, url, Scenario(status=500)) as (services, _):
        document = await uploaded(services, tmp_path, owner, "# Gate\n\nIt closes at nine.")
        indexing, job = worker(services, services.store), IndexJob(owner=owner, document_id=document.id)
        with pytest.raises(UpstreamError):
            await indexing.index(job)

        await indexing.gave_up(job)

        found = await services.store.get_document(owner, document.id)
        assert (found.status, found.embedder, found.chunks_done) == ("ready", "", 1)
        assert [p.chunk.text for p in await services.retrieval.search(owner, "the gate", limit=3)]


async def test_an_upload_that_was_cut_off_says_so(tmp_path: Path, owner: str) -> None:
    async with opened(tmp_path, f"sqlite:///{tmp_path / 'parley.db'}") as (services, _):
        document = await uploaded(services, tmp_path, owner)
        await services.store.drop_parts(owner, document.id, "file")

        await worker(services, services.store).index(IndexJob(owner=owner, document_id=document.id))

        found = await services.store.get_document(owner, document.id)
        assert (found.status, found.error and found.error.code) == ("failed", "damaged")


async def test_a_late_look_forgets_only_what_is_gone(tmp_path: Path, owner: str) -> None:
    async with opened(tmp_path, f"sqlite:///{tmp_path / 'parley.db'}") as (services, _):
        document = await uploaded(services, tmp_path, owner, "# Gate\n\nIt closes at nine.")
        await worker(services, services.store).index(IndexJob(owner=owner, document_id=document.id))
        name = vectors_of(document.collection_id, EMBEDDER)
        late = ForgetJob(
            owner=owner, document_id=document.id, collection_id=document.collection_id, embedder=EMBEDDER, chunks=1
        )

        await services.library.forget_late(late)
        assert await services.store.search_vectors(owner, name, vector_of("x"), limit=9), "it is still there"

        await services.store.delete_document(owner, document.id)  # and the process dies: its vectors are left
        await services.library.forget_late(late)
        assert await services.store.search_vectors(owner, name, vector_of("x"), limit=9) == ()


@pytest.mark.parametrize("before", ["put_vectors", "put_document"])
async def test_of_an_owner_who_is_erased_under_the_worker_not_even_the_name_is_left(
    tmp_path: Path, store_url: str, owner: str, before: str
) -> None:
    async with opened(tmp_path, store_url) as (services, _):
        document = await uploaded(services, tmp_path, owner, "# Gate\n\nIt closes at nine.")
        store = Erasing(services, owner, before)

        await worker(services, store).index(IndexJob(owner=owner, document_id=document.id))

        assert store.has_erased
        bare = await open_store(store_url)
        assert not any((await tables(bare, owner)).values())
        await bare.close()


class Erasing:
    """The owner leaves for good just before the worker calls `name`."""

    def __init__(self, services: Services, owner: str, name: str) -> None:
        self._services, self._owner, self._name = services, owner, name
        self.has_erased = False

    def __getattr__(self, name: str) -> Callable[..., Any]:
        method = getattr(self._services.store, name)

        async def call(*args: Any, **kwargs: Any) -> Any:
            if name == self._name and not self.has_erased:
                self.has_erased = True
                await self._services.store.erase_owner(self._owner, now_ms=self._services.runs.clock())
            return await method(*args, **kwargs)

        return call


class Overtaken:
    """Another worker does the whole job just before this one calls `name`; that one is killed right after."""

    def __init__(self, services: Services, job: IndexJob, name: str, *, dies: bool) -> None:
        self._services, self._job, self._name, self._dies = services, job, name, dies
        self.was_overtaken = False

    def __getattr__(self, name: str) -> Callable[..., Any]:
        method = getattr(self._services.store, name)

        async def call(*args: Any, **kwargs: Any) -> Any:
            if self.was_overtaken and self._dies:
                raise Died
            if name == self._name and not self.was_overtaken:
                self.was_overtaken = True
                await worker(self._services, self._services.store).index(self._job)
            return await method(*args, **kwargs)

        return call


@pytest.mark.parametrize("dies", [False, True], ids=["goes on", "dies"])
@pytest.mark.parametrize("before", ["put_document", "read_part", "put_chunks", "put_vectors", "finish_document"])
async def test_a_worker_that_was_overtaken_undoes_nothing(tmp_path: Path, owner: str, before: str, dies: bool) -> None:
    async with opened(tmp_path, f"sqlite:///{tmp_path / 'parley.db'}") as (services, _):
        document = await uploaded(services, tmp_path, owner, "# Gate\n\nIt closes at nine.")
        job = IndexJob(owner=owner, document_id=document.id)
        slow = Overtaken(services, job, before, dies=dies)

        with suppress(Died):
            await worker(services, slow).index(job)

        assert slow.was_overtaken
        found = await services.store.get_document(owner, document.id)
        assert (found.status, found.chunks_done, found.error) == ("ready", 1, None)
        assert [p.chunk.text for p in await services.retrieval.search(owner, "the gate", limit=3)]


async def test_two_workers_on_one_document_do_no_harm(tmp_path: Path, store_url: str, owner: str) -> None:
    async with opened(tmp_path, store_url) as (services, _):
        document = await uploaded(services, tmp_path, owner)
        job = IndexJob(owner=owner, document_id=document.id)

        await asyncio.gather(*(worker(services, services.store).index(job) for _ in range(2)))

        status, chunks, done, _, vectors, *_ = await state(services, owner, document)
        assert (status, chunks, len(vectors)) == ("ready", done, chunks)


async def test_a_vector_without_its_document_is_not_found_and_breaks_nothing(tmp_path: Path, owner: str) -> None:
    async with opened(tmp_path, f"sqlite:///{tmp_path / 'parley.db'}") as (services, _):
        document = await uploaded(services, tmp_path, owner, "# Gate\n\nIt closes at nine.")
        await worker(services, services.store).index(IndexJob(owner=owner, document_id=document.id))
        question = "When does the gate close?"
        ghost = ("ghost:0", vector_of(question), {"document": "ghost", "chunk": 0})
        await services.store.put_vectors(owner, vectors_of(document.collection_id, EMBEDDER), [ghost])

        found = await services.retrieval.search(owner, question, limit=5)

        assert [passage.document.id for passage in found] == [document.id]
