"""The store, with what prompts are made of kept at hand.

    read_context   what is at hand ── its edition ──> the store: chat, profile, "still so" ─> no message is read
                                                                    or the whole path      ─> it is kept
    begin_turn, finish_run   the store first; then what was written is kept as well
    delete_chat, …           the store first; then what was kept is forgotten

Messages are at hand in this process (`recent`) and, where there is one, in a cache that all processes share (`valkey`),
sealed (`sealed`).

Promises: every call gives what the store alone would give. The chat and the profile are always read from the store,
and with them the edition of the chat's messages; nothing that was kept under another edition is used. So a cache that
is dead, stale or lying costs a read, and a chat that was deleted is not there. Nobody has to tell anybody of a change.

Does not know which store that is, or which cache.
"""

from collections.abc import Callable, Iterable, Sequence
from typing import Any, Protocol

import msgspec

from functions.adapters.recent import Recent
from functions.adapters.sealed import Seals, decode, encode
from functions.chat.messages import Chat, LoggedEvent, Message, Profile, Run
from functions.errors import NotFound
from functions.ports import ChatStore, NewTurn, RetentionStore
from functions.telemetry import log

RECENT_BYTES = 32 * 1024 * 1024


class Stored(ChatStore, RetentionStore, Protocol):
    """As much of the store as stands here by name."""


class Shared(Protocol):
    """A cache that several processes share; `valkey` says what it promises."""

    @property
    def is_left_alone(self) -> bool: ...
    async def read(self, group: str, place: str) -> dict[bytes, bytes]: ...
    def keep(self, group: str, place: str, fields: dict[str, bytes], *, afresh: bool) -> None: ...
    async def forget(self, group: str, place: str | None = None) -> None: ...
    async def close(self) -> None: ...


class HotStore:
    """All the ports of the store that it stands before: what is not named here goes straight through."""

    def __init__(
        self, store: Stored, *, shared: tuple[Shared, Seals] | None = None, recent_bytes: int = RECENT_BYTES
    ) -> None:
        self._store, self._shared = store, shared
        self._recent = Recent(recent_bytes)

    def __getattr__(self, name: str) -> Any:  # whatever the store has
        return getattr(self._store, name)

    async def close(self) -> None:
        if self._shared is not None:
            await self._shared[0].close()
        await self._store.close()

    # -- reading ------------------------------------------------------------------------------------------------
    async def get_chat(self, owner: str, chat_id: str) -> Chat:
        """The edition comes along, so that what is written next can be kept under it."""
        try:
            chat, edition = await self._store.get_edition(owner, chat_id)
        except NotFound:
            self._recent.forget(owner, chat_id)
            raise
        self._recent.note(owner, chat_id, edition)
        return chat

    async def read_context(self, owner: str, chat_id: str, leaf: str) -> tuple[Chat, tuple[Message, ...], Profile]:
        edition, path = self._in_memory(owner, chat_id, leaf)
        was_in_memory = bool(path)
        if not was_in_memory:
            edition, path = await self._in_shared(owner, chat_id, leaf)
        # Without a path no edition is known: "" is never in force.
        read = await self._store.read_context_unless(owner, chat_id, leaf, edition=edition if path else "")
        if read.path is not None:
            path = read.path
            self._recent.put(owner, chat_id, read.edition, path)
            self._share(owner, chat_id, read.edition, path, afresh=True)
        elif not was_in_memory:
            self._recent.put(owner, chat_id, edition, path)
        return read.chat, path, read.profile

    def _in_memory(self, owner: str, chat_id: str, leaf: str) -> tuple[str, tuple[Message, ...]]:
        """(edition, the path) as this process has it; an empty path when it has not all of it."""
        kept = self._recent.find(owner, chat_id)
        return (kept.edition, _walk(leaf, kept.messages.get)) if kept else ("", ())

    async def _in_shared(self, owner: str, chat_id: str, leaf: str) -> tuple[str, tuple[Message, ...]]:
        """The same, with what the others have kept."""
        if self._shared is None:
            return "", ()
        shared, seals = self._shared
        sealed = await shared.read(seals.group(owner), seals.place(owner, chat_id))
        kept = self._recent.find(owner, chat_id)
        own = kept.messages if kept else {}
        edition, odd = kept.edition if kept else "", 0

        def find(message_id: str) -> Message | None:
            nonlocal edition, odd
            if message_id in own or (data := sealed.get(message_id.encode())) is None:
                return own.get(message_id)
            opened = seals.open(owner, chat_id, message_id, data)
            odd += opened is None
            if opened is None or edition not in ("", opened[0]):
                return None
            edition, message = opened
            return message

        path = _walk(leaf, find)
        if odd:
            log("hot.not_ours", chat=chat_id)
        return edition, path

    # -- writing ------------------------------------------------------------------------------------------------
    async def begin_turn(self, owner: str, turn: NewTurn) -> tuple[Run, bool]:
        chat_id, known = turn.run.chat_id, self._known(owner, turn.run.chat_id)
        run, is_new = await self._store.begin_turn(owner, turn)
        if is_new and chat_id is not None:
            self._keep(owner, chat_id, known, (turn.user_message, turn.answer))
        return run, is_new

    async def finish_run(
        self, owner: str, run: Run, events: Sequence[LoggedEvent], answer: Message | None, *, withdraw: bool = False
    ) -> None:
        known = self._known(owner, run.chat_id)
        await self._store.finish_run(owner, run, events, answer, withdraw=withdraw)
        if run.chat_id is not None:
            self._keep(owner, run.chat_id, known, (answer,))

    def _known(self, owner: str, chat_id: str | None) -> str | None:
        """The edition that what is written now can be kept under. To be asked before the write: one that is learned
        while it is under way may already stand for a change to what is written."""
        return self._recent.edition(owner, chat_id) if chat_id is not None else None

    def _keep(self, owner: str, chat_id: str, edition: str | None, messages: Iterable[Message | None]) -> None:
        if edition is not None:
            try:
                new = [_as_stored(message) for message in messages if message is not None]
            except msgspec.MsgspecError:  # The store has it, and whoever reads it there hears what is wrong with it.
                return
            self._recent.add(owner, chat_id, edition, new)
            self._share(owner, chat_id, edition, new, afresh=False)

    def _share(self, owner: str, chat_id: str, edition: str, messages: Sequence[Message], *, afresh: bool) -> None:
        if self._shared is None or self._shared[0].is_left_alone or not messages:
            return
        shared, seals = self._shared
        fields = {message.id: seals.seal(owner, chat_id, edition, message) for message in messages}
        shared.keep(seals.group(owner), seals.place(owner, chat_id), fields, afresh=afresh)

    # -- deleting -----------------------------------------------------------------------------------------------
    async def delete_chat(self, owner: str, chat_id: str) -> None:
        await self._store.delete_chat(owner, chat_id)
        await self._forget(owner, chat_id)

    async def expire_chat(self, owner: str, chat_id: str, *, now_ms: int, untouched_since_ms: int | None) -> bool:
        is_over = await self._store.expire_chat(owner, chat_id, now_ms=now_ms, untouched_since_ms=untouched_since_ms)
        if is_over:
            await self._forget(owner, chat_id)
        return is_over

    async def erase_owner(self, owner: str, *, now_ms: int) -> dict[str, int]:
        found = await self._store.erase_owner(owner, now_ms=now_ms)
        self._recent.forget_owner(owner)
        if self._shared is not None:
            shared, seals = self._shared
            await shared.forget(seals.group(owner))
        return found

    async def _forget(self, owner: str, chat_id: str) -> None:
        self._recent.forget(owner, chat_id)
        if self._shared is not None:
            shared, seals = self._shared
            await shared.forget(seals.group(owner), seals.place(owner, chat_id))


def _walk(leaf: str, find: Callable[[str], Message | None]) -> tuple[Message, ...]:
    """The messages from the root to `leaf`; none unless all of them are there."""
    path: dict[str, Message] = {}
    at: str | None = leaf
    while at is not None:
        message = find(at)
        if message is None or at in path:
            return ()
        path[at] = message
        at = message.parent_id
    return tuple(path.values())[::-1]


def _as_stored(message: Message) -> Message:
    """As it will be read from the store; the feedback is not the message's to write."""
    return decode(encode(msgspec.structs.replace(message, feedback=None)))
