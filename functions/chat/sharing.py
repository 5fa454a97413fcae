"""Share links: one branch of a chat, for whoever has the link.

    share   the chat's active branch as it is now; again: its newest state, under the same link
    read    what a visitor sees: the texts of that branch up to the message that was the last one then

Promises: a visitor learns nothing of the owner, and no id that leads anywhere; what is said later is not shown until it
is shared again; a link ends when it is withdrawn, and with its chat; it leads nowhere while its owner is suspended. The
link is the secret: 192 random bits.
"""

import secrets
from collections import OrderedDict
from collections.abc import Callable
from datetime import UTC, datetime
from ipaddress import IPv6Address, ip_address, ip_network
from typing import Protocol

from functions.chat.messages import Message, Role, Share, Struct
from functions.errors import BadInput, Forbidden, Limited, NotFound
from functions.ports import AccountStore, ChatStore, ShareStore

SECRET_BYTES = 24
GONE = "There is nothing shared here, or not any more."
VISIT_MS = 500  # between two visits of one address, on average
VISITS = 60  # at once
ADDRESSES = 10_000  # known at a time; whoever came longest ago is forgotten first


class Store(ChatStore, ShareStore, AccountStore, Protocol):
    """What sharing needs of the store."""


class ShownMessage(Struct, frozen=True, kw_only=True):
    role: Role
    content: str
    created_at: datetime
    citations: tuple[str, ...] = ()  # the titles that `[1]`, `[2]`, … in the text stand for; empty where there is none


class Shown(Struct, frozen=True, kw_only=True):
    """What a visitor sees. `created_at`: when it was shared as it is."""

    title: str | None
    model: str | None  # who gave the last answer
    created_at: datetime
    messages: tuple[ShownMessage, ...]


class Sharing:
    def __init__(self, store: Store, clock: Callable[[], int], *, is_on: bool) -> None:
        """`clock` gives Unix milliseconds; without `is_on` nothing is shared, and nothing that was is shown."""
        self._store, self._clock, self._is_on = store, clock, is_on
        self._visits: OrderedDict[str, int] = OrderedDict()

    async def share(self, owner: str, chat_id: str) -> Share:
        """Raises NotFound, Forbidden when the operator has switched links off, BadInput for a chat that is empty or
        temporary."""
        if not self._is_on:
            raise Forbidden("Share links are switched off here.", code="sharing_off")
        chat = await self._store.get_chat(owner, chat_id)
        if chat.temporary:
            raise BadInput("A temporary chat is for you alone; it cannot be shared.", code="unsupported")
        if chat.active_leaf is None:
            raise BadInput("There is nothing in this chat to share yet.")
        now = datetime.fromtimestamp(self._clock() / 1000, UTC)
        share = Share(
            id=secrets.token_urlsafe(SECRET_BYTES),
            chat_id=chat_id,
            title=chat.title,
            leaf=chat.active_leaf,
            created_at=now,
            updated_at=now,
        )
        return await self._store.put_share(owner, share)

    async def read(self, share_id: str) -> Shown:
        """Raises NotFound, whatever the reason is."""
        if not self._is_on:
            raise NotFound(GONE)
        owner, share = await self._store.find_share(share_id)
        user = await self._store.get_user(owner)  # None in local mode
        if user is not None and user.status != "active":
            raise NotFound(GONE)
        try:
            path = await self._store.read_path(owner, share.chat_id, share.leaf)
        except NotFound:  # says too much: that there was one
            raise NotFound(GONE) from None
        shown = tuple(_shown(message) for message in path if message.content and message.status != "blocked")
        models = [message.model for message in path if message.model]
        return Shown(
            title=share.title, model=models[-1] if models else None, created_at=share.updated_at, messages=shown
        )

    def admit(self, address: str) -> None:
        """A visit from there. Raises Limited. Kept in this process only: a stranger must not make the store write."""
        now_ms, place = self._clock(), place_of(address)
        arrival = max(self._visits.pop(place, 0), now_ms)
        wait_ms = arrival - now_ms - (VISITS - 1) * VISIT_MS
        self._visits[place] = arrival if wait_ms > 0 else arrival + VISIT_MS
        while len(self._visits) > ADDRESSES:
            self._visits.popitem(last=False)
        if wait_ms > 0:
            raise Limited("Too many requests from your address; wait a moment.", retry_after_s=wait_ms / 1000)


def place_of(address: str) -> str:
    """What counts as one visitor: an IPv4 address, however it is written, or the 64 bits of a network of IPv6 (and such
    a network itself)."""
    try:
        ip = ip_address(address.partition("%")[0].partition("/")[0])
    except ValueError:
        return "?"  # a socket without addresses: all of them together
    if isinstance(ip, IPv6Address):
        return str(ip.ipv4_mapped or ip_network((int(ip) >> 64 << 64, 64)))
    return str(ip)


def _shown(message: Message) -> ShownMessage:
    titles = {citation.index: citation.title for citation in message.citations}
    return ShownMessage(
        role=message.role,
        content=message.content,
        created_at=message.created_at,
        citations=tuple(titles.get(index, "") for index in range(1, max(titles, default=0) + 1)),
    )
