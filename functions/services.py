"""The composition root: settings in, services out. Adapters are chosen by URL and imported only when chosen.

Everything that is opened here is closed here, in the opposite order.
"""

import asyncio
import secrets
import socket
import time
from collections.abc import AsyncIterator, Awaitable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Protocol, cast

from functions import __version__, metering, tracing
from functions.adapters.hot import HotStore, Shared
from functions.adapters.sealed import Seals
from functions.chat.accounts import Accounts
from functions.chat.allowances import LIMITS, Limits
from functions.chat.books import Books
from functions.chat.context import Fill
from functions.chat.figures import Figures
from functions.chat.follow_ups import FollowUps
from functions.chat.house import House
from functions.chat.imports import Imports
from functions.chat.indexing import Indexing
from functions.chat.jobs import Jobs, bring_to_its_end, within_budget
from functions.chat.library import Library
from functions.chat.memory import Memories
from functions.chat.messages import ForgetJob, IndexJob, RememberJob, RunJob, SummariseJob, TitleJob
from functions.chat.prewarm import Prewarmer
from functions.chat.quotas import Quotas
from functions.chat.rails import Guards, Rails
from functions.chat.remember import Remembering
from functions.chat.retention import Retention
from functions.chat.retrieved import Retrieval
from functions.chat.runs import Runs
from functions.chat.scribe import Scribe
from functions.chat.semantic_cache import SemanticCache
from functions.chat.sharing import Sharing
from functions.chat.sources import Finder
from functions.chat.summary import Summaries
from functions.chat.titles import Titles
from functions.chat.turn import Turns
from functions.errors import BadInput
from functions.guardrails.policy import load_policy
from functions.inference.gateway import Gateway
from functions.inference.nodes import Node
from functions.ports import (
    AccountStore,
    ArchiveStore,
    ChatStore,
    Counter,
    FigureStore,
    JobQueue,
    KnowledgeStore,
    Ledger,
    LimitStore,
    MemoryStore,
    NodeRegistry,
    RetentionStore,
    ShareStore,
    SummaryStore,
    TemplateStore,
    VectorStore,
)
from functions.settings import BEAT_SECONDS, CHECKPOINT_SECONDS, Settings


class Store(
    AccountStore,
    ArchiveStore,
    ChatStore,
    FigureStore,
    KnowledgeStore,
    LimitStore,
    MemoryStore,
    RetentionStore,
    ShareStore,
    SummaryStore,
    TemplateStore,
    VectorStore,
    Counter,
    JobQueue,
    NodeRegistry,
    Ledger,
    Protocol,
):
    """One adapter that is all the ports; both families are."""


@dataclass(frozen=True, slots=True)
class Services:
    settings: Settings
    store: Store
    accounts: Accounts
    gateway: Gateway
    runs: Runs
    turns: Turns
    jobs: Jobs
    prewarmer: Prewarmer
    summaries: Summaries
    memories: Memories
    library: Library
    retrieval: Retrieval
    retention: Retention
    cache: SemanticCache | None
    quotas: Quotas
    books: Books
    sharing: Sharing
    figures: Figures
    imports: Imports
    secret_key: bytes


async def open_store(url: str, *, create: bool = False) -> Store:
    """The store that `url` names. Tables in the cloud are created only when asked for."""
    return await (await asyncio.to_thread(_adapter, url, create))


def _adapter(url: str, create: bool) -> Awaitable[Store]:
    """Only the chosen adapter is imported, and in a thread: boto3 is half a second."""
    scheme, _, rest = url.partition("://")
    match scheme:
        case "sqlite":
            from functions.adapters.sqlite import SqliteStore  # noqa: PLC0415

            # As in SQLAlchemy: three slashes and a relative path, four and an absolute one.
            return SqliteStore.open(Path(rest.removeprefix("/")))
        case "dynamodb":
            from functions.adapters.dynamo import DynamoStore  # noqa: PLC0415

            return DynamoStore.open(url, create=create)
        case _:
            raise BadInput(f"PARLEY_STORE_URL: unknown scheme {scheme!r}; use sqlite:///FILE or dynamodb://PREFIX.")


async def open_hot_store(settings: Settings, secret_key: bytes) -> Store:
    """The store, with what prompts are made of at hand: in this process, and in the shared cache if there is one."""
    if settings.valkey_url and not settings.secret_key:
        raise BadInput("PARLEY_VALKEY_URL needs PARLEY_SECRET_KEY: what the processes share is sealed with it.")
    shared = await _shared_cache(settings.valkey_url, settings.store_url, secret_key) if settings.valkey_url else None
    store = await open_store(settings.store_url)
    return cast("Store", HotStore(store, shared=shared))  # It passes on what it does not have.


async def _shared_cache(url: str, house: str, secret_key: bytes) -> tuple[Shared, Seals]:
    valkey = await asyncio.to_thread(import_module, "functions.adapters.valkey")  # a tenth of a second
    return valkey.SharedCache.open(url), Seals(secret_key, house)


@asynccontextmanager
async def open_services(
    settings: Settings, nodes: list[Node], *, guards_later: bool = False
) -> AsyncIterator[Services]:
    """`guards_later`: a second of processor time is spent when a text is checked first, not now (`Rails.ready`)."""
    await asyncio.to_thread(_begin_telemetry, settings)  # it imports what is chosen
    secret_key = settings.secret_key.encode() or secrets.token_bytes(32)
    guards_of = Guards.later if guards_later else Guards.of
    guards = await asyncio.to_thread(lambda: guards_of(load_policy(settings.policy), key=secret_key))
    if settings.semantic_cache != "off":  # a look has little time, and the first would import numpy
        await asyncio.to_thread(import_module, "functions.adapters.nearest")
    store = await open_hot_store(settings, secret_key)
    gateway = Gateway(
        nodes, registry=store, ledger=store, fallbacks=settings.fallbacks, node_key=settings.node_key, clock=_clock
    )
    try:
        await gateway.open()
        services = _compose(settings, store, gateway, guards, secret_key)
        try:
            yield services
        finally:
            await services.runs.close()
            await services.figures.close()
            metering.flush()
            await asyncio.to_thread(tracing.end)
    finally:
        await gateway.close()
        await store.close()


def _begin_telemetry(settings: Settings) -> None:
    metering.begin(settings.metrics, settings.metrics_namespace)
    try:
        tracing.begin(settings.traces_url, version=__version__, headers=settings.traces_headers)
    except ImportError as missing:
        raise BadInput("PARLEY_TRACES_URL needs OpenTelemetry: pip install 'parley[otel]'.") from missing


def rails_of(settings: Settings, gateway: Gateway, guards: Guards, secret_key: bytes) -> Rails:
    # Hidden is what the operator says; what users write into their chats is theirs to read.
    return Rails(guards, gateway, key=secret_key, hidden=(settings.system_prompt,))


def _compose(settings: Settings, store: Store, gateway: Gateway, guards: Guards, secret_key: bytes) -> Services:
    durable_beat = BEAT_SECONDS if settings.store_url.startswith("sqlite") else CHECKPOINT_SECONDS
    beat_s = settings.checkpoint_ms / 1000 if settings.checkpoint_ms is not None else durable_beat
    runs = Runs(
        store,
        worker=f"{socket.gethostname()}:{secrets.token_hex(4)}",  # one process, never two
        beat_s=beat_s,
        lease_s=settings.lease_seconds,
        clock=_clock,
    )
    accounts = Accounts(store, _clock, admins=settings.admins.split(","))
    quotas = quotas_of(settings, store, accounts)
    books = Books(store, _clock, charge=quotas.charge)
    scribe = Scribe(gateway, books, lambda: turns.rails)
    summaries = Summaries(
        store,
        gateway,
        scribe,
        system_prompt=settings.system_prompt,
        is_on=settings.summaries,
        lease_s=settings.lease_seconds,
        clock=_clock,
    )
    titles = Titles(store, gateway, scribe, is_on=settings.titles)
    memories = Memories(store, gateway, books, lambda: turns.rails, is_on=settings.memory, clock=_clock)
    remembering = Remembering(store, gateway, scribe, memories, key=secret_key, clock=_clock)
    cache = _cache_of(settings, store, gateway, books)
    library = Library(store, gateway, _clock)
    figures = Figures(store, _clock)
    indexing = Indexing(store, gateway, library, books, lambda: turns.rails)
    retrieval = Retrieval(store, gateway, library, books)
    turns = Turns(
        store=store,
        runs=runs,
        gateway=gateway,
        rails=rails_of(settings, gateway, guards, secret_key),
        system_prompt=settings.system_prompt,
        quotas=quotas,
        books=books,
        context_policy=Fill(),
        summaries=summaries,
        memories=memories,
        finder=Finder(retrieval, gateway),
        key=secret_key,
        follow_ups=FollowUps(store, _clock, [summaries.after, titles.after, remembering.after]),
        cache=cache,
        figures=figures,
    )
    prewarmer = Prewarmer(store, gateway, _clock, usd_per_day=settings.prewarm_usd_per_day)
    jobs = Jobs(
        store,
        _clock,
        int(1000 * settings.lease_seconds),
        {
            RunJob: bring_to_its_end(store, runs, turns),
            SummariseJob: within_budget(quotas, summaries.by_day),
            TitleJob: within_budget(quotas, titles.by_day),
            RememberJob: within_budget(quotas, remembering.by_day),
            IndexJob: within_budget(quotas, indexing.index),
            ForgetJob: library.forget_late,
        },
        at_night={
            SummariseJob: within_budget(quotas, summaries.by_night),
            TitleJob: within_budget(quotas, titles.by_night),
            RememberJob: within_budget(quotas, remembering.by_night),
        },
        gave_up={IndexJob: indexing.gave_up},
    )
    return Services(
        settings=settings,
        store=store,
        accounts=accounts,
        gateway=gateway,
        runs=runs,
        turns=turns,
        jobs=jobs,
        prewarmer=prewarmer,
        summaries=summaries,
        memories=memories,
        cache=cache,
        library=library,
        retrieval=retrieval,
        retention=Retention(store, runs, _clock, chats_days=settings.chats_days, cache=cache),
        quotas=quotas,
        books=books,
        figures=figures,
        imports=Imports(store, lambda: turns.rails, _clock),
        sharing=Sharing(store, _clock, is_on=settings.share_links),
        secret_key=secret_key,
    )


def quotas_of(settings: Settings, store: Store, accounts: Accounts) -> Quotas:
    return Quotas(
        counter=store,
        meters=store,
        runs=store,
        house=House(store, _clock),
        clock=_clock,
        defaults=Limits(**{name: getattr(settings, name) for name in LIMITS}),
        group_of=accounts.group_of,
    )


def _cache_of(settings: Settings, store: Store, gateway: Gateway, books: Books) -> SemanticCache | None:
    if settings.semantic_cache == "off":
        return None
    return SemanticCache(
        store,
        gateway,
        books,
        _clock,
        scope=settings.semantic_cache,
        system_prompt=settings.system_prompt,
        days=settings.semantic_cache_days,
        score=settings.semantic_cache_score,
    )


def _clock() -> int:
    """Unix milliseconds."""
    return time.time_ns() // 1_000_000
