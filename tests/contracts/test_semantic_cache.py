"""The semantic cache on both stores: what it keeps, what it gives again, and that a broken one costs nothing."""

import time
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from typing import Any

import msgspec
import pytest

from functions.chat import semantic_cache
from functions.chat.books import Books
from functions.chat.guarded import Asked
from functions.chat.messages import CachedFrom, CacheUse, Citation, Feedback, Message, Run, Sampling, Verdict
from functions.chat.prompts import Prompt
from functions.chat.retention import Retention
from functions.chat.runs import Runs
from functions.chat.semantic_cache import COLLECTION, HOUSE, Look, Scope, SemanticCache
from functions.errors import StoreUnavailable
from functions.inference.embedding import space
from functions.inference.gateway import Gateway, Token
from functions.inference.lexical import LEXICAL_MODEL, lexical_vector
from tests.contracts.belongings import tables
from tests.contracts.makers import T0, Store, a_chat, a_turn, ended, the_answer

QUESTION = "How is glass made?"
HEAD = "You are helpful."


def now_ms() -> int:
    return time.time_ns() // 1_000_000


async def no_pace() -> None:
    return


@dataclass
class Desk:
    """One house's cache, and turns that end in its store."""

    store: Store
    gateway: Gateway
    owner: str
    scope: Scope = "user"
    days: float = 7.0
    clock: Callable[[], int] = now_ms

    @property
    def cache(self) -> SemanticCache:
        books = Books(self.store, self.clock)
        return SemanticCache(
            self.store, self.gateway, books, self.clock, scope=self.scope, system_prompt=HEAD, days=self.days, score=0.9
        )

    async def a_run(
        self, question: str = QUESTION, owner: str | None = None, cache: CacheUse = "use", **run: Any
    ) -> Run:
        owner = owner or self.owner
        chat = a_chat()
        await self.store.create_chat(owner, chat)
        turn = a_turn(owner, chat.id, run={"cache": cache} | run)
        assert turn.user_message is not None
        turn = msgspec.structs.replace(turn, user_message=msgspec.structs.replace(turn.user_message, content=question))
        stored, _ = await self.store.begin_turn(owner, turn)
        claimed = await self.store.claim_run(owner, stored.id, worker="w", now_ms=1, lease_until_ms=10**15)
        assert claimed is not None
        return claimed

    async def look(self, run: Run, question: str = QUESTION, head: str = HEAD, policy: str = "p1") -> Look | None:
        return await self.cache.look(run, prompt_of(question, head), policy)

    async def answered(self, question: str = QUESTION, owner: str | None = None, **answer: Any) -> Message:
        """A turn from its question to its end; its answer."""
        run = await self.a_run(question, owner, "keep")
        look = await self.look(run, question)
        assert look is not None
        said = the_answer(run, **({"content": "From sand.", "finish_reason": "stop", "model": "tiny"} | answer))
        over = ended(run, status="completed" if said.status == "complete" else "stopped")
        await self.store.finish_run(run.owner, over, [], said)
        await self.cache.keep(look, over, said)
        return said

    async def found(self, owner: str | None = None, **how: Any) -> Message | None:
        """What the same question finds now."""
        run = await self.a_run(
            owner=owner, **{name: how.pop(name) for name in ("cache", "sampling", "model") if name in how}
        )
        look = await self.look(run, **how)
        return look.found.answer if look is not None and look.found is not None else None

    async def entries(self, holder: str) -> int:
        vector = lexical_vector(QUESTION)
        return len(await self.store.search_vectors(holder, space(COLLECTION, LEXICAL_MODEL), vector, limit=99))


def prompt_of(question: str, head: str = HEAD, **changes: Any) -> Prompt:
    messages = [{"role": "system", "content": head}, {"role": "user", "content": question}]
    return Prompt(**({"messages": messages, "asked": Asked(question), "depth": 1} | changes))


@pytest.fixture(autouse=True)
def _time_enough(monkeypatch: pytest.MonkeyPatch) -> None:
    """On a busy machine the first look takes its time: it imports numpy."""
    monkeypatch.setattr(semantic_cache, "LOOK_SECONDS", 30.0)


@pytest.fixture
async def desk(store: Store, owner: str) -> AsyncIterator[Desk]:
    gateway = Gateway([])
    yield Desk(store, gateway, owner)
    await gateway.close()


async def test_an_answer_is_found_by_its_question_and_says_where_it_is_from(desk: Desk) -> None:
    said = await desk.answered()
    look = await desk.look(await desk.a_run())

    assert look is not None and look.found is not None
    assert look.found.origin == CachedFrom(message_id=said.id, at=T0, score=pytest.approx(1.0))
    heard = [item async for item in look.found.stream(no_pace)]
    assert "".join(item.text for item in heard if isinstance(item, Token)) == "From sand."
    assert sum(item.count for item in heard if isinstance(item, Token)) == 0


async def test_no_text_is_stored_with_it(desk: Desk) -> None:
    await desk.answered()
    (hit,) = await desk.store.search_vectors(
        desk.owner, space(COLLECTION, LEXICAL_MODEL), lexical_vector(QUESTION), limit=9
    )

    assert set(hit.data) == {"scope", "owner", "chat", "answer", "at_ms"}


@pytest.mark.parametrize(
    "answer",
    [
        {"status": "stopped", "finish_reason": "stopped"},
        {"finish_reason": "length"},
        {"finish_reason": "tool_calls"},
        {"content": " \n"},
        {"asked_model": "another"},
        {"left_out": 1},
        {"verdicts": (Verdict(stage="output", rail="pii", action="redacted", message="m", policy="p"),)},
        {"citations": (Citation(index=1, document_id="d", title="t", chunk=0, score=1.0),)},
        {"cached_from": CachedFrom(message_id=None, at=T0, score=1.0)},
    ],
    ids=lambda answer: next(iter(answer)),
)
async def test_only_a_whole_and_plain_answer_is_kept(desk: Desk, answer: dict[str, Any]) -> None:
    await desk.answered(**answer)

    assert await desk.entries(desk.owner) == 0


@pytest.mark.parametrize(
    "other",
    [
        {"head": "You are a pirate."},
        {"policy": "p2"},
        {"model": "large"},
        {"sampling": Sampling(temperature=1.0)},
        {"cache": "no"},
        {"cache": "keep"},
        {"question": "How is brass made?"},
    ],
    ids=lambda other: next(iter(other)),
)
async def test_what_else_an_answer_depends_on_must_be_the_same(desk: Desk, other: dict[str, Any]) -> None:
    await desk.answered()
    assert await desk.found() is not None
    assert await desk.found(**other) is None


async def test_nothing_is_looked_for_where_the_model_reads_more_than_the_question(desk: Desk) -> None:
    run = await desk.a_run()
    asked = {"role": "user", "content": QUESTION}
    more: list[dict[str, Any]] = [
        {"depth": 3},
        {"depth": 0},
        {"messages": [asked, {"role": "assistant", "content": "x"}, asked]},
        {"messages": [{"role": "user", "content": f"Known of the user: …\n\n{QUESTION}"}]},  # as memory has it
        {"messages": [asked | {"name": "ann"}]},
    ]
    for changes in more:
        assert await desk.cache.look(run, prompt_of(QUESTION, **changes), "p1") is None, changes
    verdict = Verdict(stage="input", rail="injection", action="flagged", message="m", policy="p")
    flagged = msgspec.structs.replace(run, verdicts=(verdict,))
    tooled = msgspec.structs.replace(run, sampling=Sampling(extra={"tools": []}))
    for changed in (flagged, tooled):
        assert await desk.look(changed) is None
    assert await desk.look(run) is not None


async def test_what_is_called_bad_or_deleted_is_not_given_again(desk: Desk) -> None:
    first = await desk.answered()
    assert await desk.found() == first
    await desk.store.put_feedback(desk.owner, first.chat_id, first.id, Feedback(rating=-1, at=T0))
    assert await desk.found() is None
    await desk.store.put_feedback(desk.owner, first.chat_id, first.id, None)
    assert await desk.found() == first
    await desk.store.delete_chat(desk.owner, first.chat_id)

    assert await desk.found() is None
    assert await desk.entries(desk.owner) == 0  # whoever finds the gap closes it


async def test_of_two_answers_the_newer_is_given(desk: Desk) -> None:
    times = iter(range(now_ms(), now_ms() + 10**6, 1000))
    desk.clock = lambda: next(times)
    await desk.answered()
    second = await desk.answered()

    assert await desk.found() == second


async def test_it_forgets_after_its_time(desk: Desk) -> None:
    desk.days = 1e-9
    await desk.answered()

    assert await desk.found() is None


async def test_users_keep_apart_unless_the_house_shares(desk: Desk) -> None:
    await desk.answered()
    assert await desk.found(owner=f"{desk.owner}-b") is None

    desk.scope = "tenant"
    said = await desk.answered()
    look = await desk.look(await desk.a_run(owner=f"{desk.owner}-b"))
    assert look is not None and look.found is not None
    assert look.found.answer == said
    assert look.found.origin.message_id is None
    mine = "Why does my glass break?"
    assert await desk.look(await desk.a_run(mine), mine) is None
    await desk.store.erase_owner(desk.owner, now_ms=now_ms())


async def test_nothing_of_who_leaves_stays_in_what_a_house_shares(desk: Desk) -> None:
    desk.scope = "tenant"
    before = await desk.entries(HOUSE)
    await desk.answered()
    archived = await desk.answered("How is steel made?")
    await desk.store.update_chat(desk.owner, archived.chat_id, {"archived": True})
    assert await desk.entries(HOUSE) == before + 2
    runs = Runs(desk.store, worker="w", beat_s=1.0, lease_s=15.0, clock=now_ms)
    await Retention(desk.store, runs, now_ms, cache=desk.cache).forget_owner(desk.owner)

    assert await desk.entries(HOUSE) == before
    await runs.close()


async def test_a_chat_that_ends_by_itself_takes_its_entry_along(desk: Desk) -> None:
    said = await desk.answered()
    await desk.cache.forget(desk.owner, [said.chat_id, "no such chat"])

    assert await desk.entries(desk.owner) == 0


@pytest.mark.parametrize("scope", ["user", "tenant"])
@pytest.mark.parametrize("when", ["before", "during"])
async def test_a_chat_that_is_deleted_while_its_answer_is_kept_leaves_no_entry(
    desk: Desk, scope: Scope, when: str
) -> None:
    desk.scope = scope
    holder = HOUSE if scope == "tenant" else desk.owner
    entries = await desk.entries(holder)
    run = await desk.a_run(cache="keep")
    look = await desk.look(run)
    assert look is not None
    said = the_answer(run, content="From sand.", finish_reason="stop", model="tiny")
    over = ended(run, status="completed")
    await desk.store.finish_run(run.owner, over, [], said)
    store = desk.store
    desk.store = leaving = Leaving(store, run, when)  # type: ignore[assignment]  # it passes everything on

    await desk.cache.keep(look, over, said)

    desk.store = store

    assert leaving.has_left
    assert await desk.entries(holder) == entries
    if when == "before":  # else the name of an empty collection may stay
        assert not any((await tables(store, desk.owner)).values())


class Leaving:
    """A store whose user leaves for good just before the cache looks for the chat, or writes."""

    def __init__(self, store: Store, run: Run, when: str) -> None:
        self._store, self._run, self._call = store, run, {"before": "get_chat", "during": "put_vectors"}[when]
        self.has_left = False

    def __getattr__(self, name: str) -> Any:
        method = getattr(self._store, name)

        async def call(*args: Any, **kwargs: Any) -> Any:
            if name == self._call and not self.has_left:
                self.has_left = True
                await self._store.erase_owner(self._run.owner, now_ms=now_ms())
            return await method(*args, **kwargs)

        return call


class Broken:
    """A store whose vectors cannot be reached."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def __getattr__(self, name: str) -> Any:
        if name.endswith("_vectors"):
            raise StoreUnavailable("not now")
        return getattr(self._store, name)


async def test_a_broken_store_finds_nothing_and_breaks_nothing(desk: Desk, caplog: pytest.LogCaptureFixture) -> None:
    await desk.answered()
    whole, broken = desk.store, Broken(desk.store)
    desk.store = broken  # type: ignore[assignment]
    run = await desk.a_run()
    look = await desk.look(run)
    assert look is not None
    assert look.found is None
    await desk.cache.keep(look, ended(run), the_answer(run, finish_reason="stop"))

    await desk.cache.forget(desk.owner, ["chat"])

    assert [record.getMessage() for record in caplog.records].count("cache.fault") == 3
    assert QUESTION not in caplog.text
    desk.store = whole
    assert await desk.entries(desk.owner) == 1


async def test_a_model_that_makes_other_vectors_now_begins_anew(desk: Desk) -> None:
    await desk.store.put_vectors(desk.owner, space(COLLECTION, LEXICAL_MODEL), [("old", [1.0, 0.0], {})])
    said = await desk.answered()

    assert await desk.found() == said
