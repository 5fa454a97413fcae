"""Summaries in DynamoDB: an item of the chat's partition, first the marker of who makes it, then the summary.

Both writes are transactions with a look at the chat, so that nothing comes back after a delete.
"""

import msgspec
from pynamodb.expressions.condition import Condition
from pynamodb.expressions.update import Action

from functions.adapters import rules
from functions.adapters.dynamo_calls import Refused, Writes, ask, delete_all
from functions.adapters.dynamo_models import ChatItem, Tables, chat_pk, chat_sk, is_alive, owner_pk, summary_sk
from functions.chat.messages import Summary

_encode = msgspec.json.Encoder().encode
_decode = msgspec.json.Decoder(Summary).decode


def list_summaries(t: Tables, owner: str, chat_id: str, *, version: str) -> tuple[Summary, ...]:
    of_version = t.chat.sk.startswith(summary_sk(version))
    rows = ask(lambda: list(t.chat.query(chat_pk(owner, chat_id), of_version, consistent_read=True)))
    return tuple(_decode(row.data) for row in rows if row.data is not None)


def claim_fold(
    t: Tables, owner: str, chat_id: str, upto: str, *, version: str, token: str, now_ms: int, until_ms: int
) -> bool:
    is_free = t.chat.until_ms.does_not_exist() | (t.chat.until_ms < now_ms) | (t.chat.token == token)
    return _update(
        t,
        owner,
        chat_id,
        t.chat(chat_pk(owner, chat_id), summary_sk(version, upto)),
        [t.chat.token.set(token), t.chat.until_ms.set(until_ms)],
        t.chat.data.does_not_exist() & is_free,
    )


def put_summary(t: Tables, owner: str, chat_id: str, summary: Summary) -> bool:
    """A few kilobytes: it is as long as a model was let write, and never needs a second item."""
    item = t.chat(chat_pk(owner, chat_id), summary_sk(summary.version, summary.upto))
    return _update(t, owner, chat_id, item, [t.chat.data.set(_encode(summary))], t.chat.data.does_not_exist())


def _update(t: Tables, owner: str, chat_id: str, item: ChatItem, actions: list[Action], condition: Condition) -> bool:
    writes = Writes(t)
    writes.check("chat", t.chat, owner_pk(owner), chat_sk(chat_id), is_alive(t))
    writes.update("summary", item, actions, condition)
    try:
        writes.commit()
    except Refused as refused:
        if "chat" in refused:
            raise rules.no_chat() from refused
        return False
    return True


def forget_summaries(t: Tables, owner: str, chat_id: str, *, version: str) -> int:
    pk = chat_pk(owner, chat_id)
    rows = ask(lambda: list(t.chat.query(pk, t.chat.sk.startswith(summary_sk("")), consistent_read=True)))
    others = [row for row in rows if not row.sk.startswith(summary_sk(version))]
    delete_all(t.chat, [(row.pk, row.sk) for row in others])
    return sum(row.data is not None for row in others)
