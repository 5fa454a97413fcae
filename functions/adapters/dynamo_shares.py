"""Share links in DynamoDB: an item beside its owner's chats, and one of the house that a visitor's link finds.

The house's item says whose the chat is. It is written with the owner's in one transaction that the chat must be alive
for, and goes before it: whoever deletes the chat, or erases the owner, finds it through the owner's. Synchronous: run
on `dynamo`'s threads.
"""

import msgspec
from pynamodb.expressions.condition import Condition

from functions.adapters import rules
from functions.adapters.dynamo_calls import Refused, Writes, ask
from functions.adapters.dynamo_chats import find_item
from functions.adapters.dynamo_models import (
    Tables,
    chat_pk,
    chat_sk,
    is_alive,
    link_pk,
    message_sk,
    owner_of,
    owner_pk,
    share_sk,
)
from functions.chat.messages import Share

ATTEMPTS = 5  # each is lost only to somebody else who shares or withdraws the same chat at that moment

_encode = msgspec.json.Encoder().encode
_decode = msgspec.json.Decoder(Share).decode


def put_share(t: Tables, owner: str, share: Share) -> Share:
    for _ in range(ATTEMPTS):
        try:
            return _put(t, owner, share)
        except Refused as refused:
            if "chat" in refused:
                raise rules.no_chat() from refused
            if "message" in refused:
                raise rules.no_message() from refused
    raise rules.unavailable("somebody else is sharing this chat")


def _put(t: Tables, owner: str, share: Share) -> Share:
    row = find_item(t, owner_pk(owner), share_sk(share.chat_id))
    is_there: Condition = t.chat.pk.does_not_exist()
    if row is not None:
        was = _decode(row.data)
        share = msgspec.structs.replace(share, id=was.id, created_at=was.created_at)
        is_there = t.chat.data == row.data
    writes = Writes(t)
    writes.check("chat", t.chat, owner_pk(owner), chat_sk(share.chat_id), is_alive(t))
    writes.check("message", t.chat, chat_pk(owner, share.chat_id), message_sk(share.leaf), t.chat.pk.exists())
    # `key` of each is where the other one is.
    own = t.chat(owner_pk(owner), share_sk(share.chat_id), key=link_pk(share.id), data=_encode(share))
    writes.put("share", own, is_there)
    writes.put("link", t.chat(link_pk(share.id), "X", key=owner_pk(owner), data=_encode(share)))
    writes.commit()
    return share


def list_shares(t: Tables, owner: str) -> tuple[Share, ...]:
    rows = ask(lambda: list(t.chat.query(owner_pk(owner), t.chat.sk.startswith("X#"), consistent_read=True)))
    return tuple(sorted((_decode(row.data) for row in rows), key=rules.by_share))


def find_share(t: Tables, share_id: str) -> tuple[str, Share]:
    link = find_item(t, link_pk(share_id), "X")
    if link is None:
        raise rules.no_share()
    return owner_of(link.key), _decode(link.data)


def list_owners(t: Tables) -> tuple[str, ...]:
    """Reads the whole table, and of it only the keys."""
    rows = ask(lambda: list(t.chat.scan(t.chat.pk.startswith("U#"), consistent_read=True, attributes_to_get=["pk"])))
    return tuple(sorted({owner_of(row.pk) for row in rows}))
