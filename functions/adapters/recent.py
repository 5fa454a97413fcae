"""Messages of the chats that were read or written last, in this process's memory. Pure: no I/O, no clock.

Promises: what it holds weighs no more than `limit_bytes`; the chats that were not asked for longest go first. All that
it has of a chat is of one edition (`ChatStore`). Does not know whether that is still in force: whoever asks must.
"""

import sys
from collections import OrderedDict
from collections.abc import Iterable

from functions.chat.messages import Message

CHAT_BYTES = 512  # of an entry without messages
MESSAGE_BYTES = 1_536  # of a message without its text: ids, times, usage, cost and the dictionary's entry
ITEM_BYTES = 512  # of a verdict or a citation
SHARE = 4  # one chat may take a quarter

Key = tuple[str, str]  # owner, chat


def weight(message: Message) -> int:
    """What it takes in memory, in bytes: rather too much than too little."""
    comment = message.feedback.comment if message.feedback else None
    items = len(message.verdicts) + len(message.citations)
    return sys.getsizeof(message.content) + sys.getsizeof(comment or "") + ITEM_BYTES * items + MESSAGE_BYTES


class Kept:
    """What is held of one chat."""

    __slots__ = ("edition", "messages", "weight")

    def __init__(self, edition: str) -> None:
        self.edition = edition
        self.messages: dict[str, Message] = {}
        self.weight = CHAT_BYTES

    def add(self, messages: Iterable[Message]) -> None:
        for message in messages:
            if (old := self.messages.get(message.id)) is not None:
                self.weight -= weight(old)
            self.messages[message.id] = message
            self.weight += weight(message)


class Recent:
    def __init__(self, limit_bytes: int) -> None:
        self._limit_bytes = limit_bytes
        self._chats: OrderedDict[Key, Kept] = OrderedDict()
        self.bytes = 0

    def find(self, owner: str, chat_id: str) -> Kept | None:
        kept = self._chats.get((owner, chat_id))
        if kept is not None:
            self._chats.move_to_end((owner, chat_id))
        return kept

    def edition(self, owner: str, chat_id: str) -> str | None:
        """The last that was seen of it, if the chat is held."""
        kept = self._chats.get((owner, chat_id))
        return kept.edition if kept else None

    def note(self, owner: str, chat_id: str, edition: str) -> None:
        """This edition was in force just now: nothing of another is worth keeping."""
        if self.edition(owner, chat_id) != edition:
            self.put(owner, chat_id, edition, ())

    def put(self, owner: str, chat_id: str, edition: str, messages: Iterable[Message]) -> None:
        """Hold these too; what was held of another edition goes."""
        kept = self._take_out((owner, chat_id))
        if kept is None or kept.edition != edition:
            kept = Kept(edition)
        kept.add(messages)
        self._put_in((owner, chat_id), kept)

    def add(self, owner: str, chat_id: str, edition: str, messages: Iterable[Message]) -> None:
        """Hold these too, if what is held is of this edition."""
        if self.edition(owner, chat_id) == edition:
            self.put(owner, chat_id, edition, messages)

    def forget(self, owner: str, chat_id: str) -> None:
        self._take_out((owner, chat_id))

    def forget_owner(self, owner: str) -> None:
        for key in [key for key in self._chats if key[0] == owner]:
            self._take_out(key)

    def _take_out(self, key: Key) -> Kept | None:
        kept = self._chats.pop(key, None)
        self.bytes -= kept.weight if kept else 0
        return kept

    def _put_in(self, key: Key, kept: Kept) -> None:
        if SHARE * kept.weight > self._limit_bytes:
            return  # It would push out too many others.
        self._chats[key] = kept
        self.bytes += kept.weight
        while self.bytes > self._limit_bytes:
            self._take_out(next(iter(self._chats)))
