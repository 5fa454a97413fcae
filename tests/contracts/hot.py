"""Hot stores for tests: patient with a busy machine, and countable."""

from typing import Any, cast

from functions.adapters.hot import HotStore
from functions.adapters.recent import Recent
from functions.adapters.sealed import Seals
from functions.adapters.valkey import SharedCache
from functions.chat.messages import Message
from functions.ports import ContextRead
from tests.contracts.makers import Store

KEY = b"k" * 32
PATIENT_SECONDS = 10.0


class Watched:
    """A store that counts how often a path was read from it, and how often that was spared."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self.paths = self.spared = 0

    def __getattr__(self, name: str) -> Any:
        return getattr(self._store, name)

    async def read_context_unless(self, owner: str, chat_id: str, leaf: str, *, edition: str) -> ContextRead:
        read = await self._store.read_context_unless(owner, chat_id, leaf, edition=edition)
        self.paths += read.path is not None
        self.spared += read.path is None
        return read


class Hot(HotStore):
    """Reads every path by `read_context`, so that whatever a test reads may come from what is kept."""

    watched: Watched
    cache: SharedCache | None

    @property  # type: ignore[misc]  # for the helpers that look behind the port, and ask which store it is
    def __class__(self) -> type:
        return type(self.watched._store)

    async def read_path(self, owner: str, chat_id: str, leaf: str) -> tuple[Message, ...]:
        return (await self.read_context(owner, chat_id, leaf))[1]

    async def written(self) -> None:
        """What waited for the shared cache is written, or was given up."""
        assert self.cache is not None
        await self.cache._waiting.join()

    def forget_all(self) -> None:
        """As a process that has just started."""
        self._recent = Recent(self._recent._limit_bytes)


def hot(store: Store, url: str | None = None, *, key: bytes = KEY, **options: Any) -> Hot:
    """`options` are those of the shared cache."""
    watched: Any = Watched(store)
    cache = SharedCache.open(url, **({"call_seconds": PATIENT_SECONDS} | options)) if url else None
    made = Hot(watched, shared=(cache, Seals(key, "tests")) if cache else None)
    made.watched, made.cache = watched, cache
    return made


def as_store(made: Hot) -> Store:
    return cast("Store", made)
