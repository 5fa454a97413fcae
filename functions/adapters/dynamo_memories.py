"""Memories in DynamoDB: a small item each, beside their owner's chats. Synchronous: run on `dynamo`'s threads."""

from contextlib import suppress

import msgspec

from functions.adapters import rules
from functions.adapters.dynamo_calls import Refused, Writes, ask
from functions.adapters.dynamo_chats import find_item
from functions.adapters.dynamo_models import Tables, chat_sk, is_alive, memory_sk, owner_pk
from functions.chat.messages import Memory

_encode = msgspec.json.Encoder().encode
_decode = msgspec.json.Decoder(Memory).decode


def list_memories(t: Tables, owner: str) -> tuple[Memory, ...]:
    rows = ask(lambda: list(t.chat.query(owner_pk(owner), t.chat.sk.startswith("N#"), consistent_read=True)))
    return tuple(_decode(row.data) for row in rows)


def get_memory(t: Tables, owner: str, memory_id: str) -> Memory:
    item = find_item(t, owner_pk(owner), memory_sk(memory_id))
    if item is None:
        raise rules.no_memory()
    return _decode(item.data)


def put_memory(t: Tables, owner: str, memory: Memory, *, replaces: Memory | None) -> bool:
    item = t.chat(
        owner_pk(owner),
        memory_sk(memory.id),
        data=_encode(memory),
        updated_us=rules.microseconds(memory.updated_at),
    )
    writes = Writes(t)
    if replaces is not None:
        writes.put("memory", item, t.chat.updated_us == rules.microseconds(replaces.updated_at))
    else:
        writes.put("memory", item, t.chat.pk.does_not_exist())
        if memory.chat_id is not None:
            writes.check("chat", t.chat, owner_pk(owner), chat_sk(memory.chat_id), is_alive(t))
    try:
        writes.commit()
    except Refused:
        return False
    return True


def delete_memory(t: Tables, owner: str, memory_id: str) -> bool:
    item = t.chat(owner_pk(owner), memory_sk(memory_id))
    try:
        ask(lambda: item.delete(t.chat.pk.exists()))
    except Refused:
        return False
    return True


def remembered_until(t: Tables, owner: str, chat_id: str) -> int:
    item = find_item(t, owner_pk(owner), chat_sk(chat_id))
    return (item.remembered_ms or 0) if item is not None else 0


def set_remembered(t: Tables, owner: str, chat_id: str, until_ms: int) -> None:
    item, seen = t.chat(owner_pk(owner), chat_sk(chat_id)), t.chat.remembered_ms
    with suppress(Refused):  # Further already, or gone.
        ask(lambda: item.update([seen.set(until_ms)], is_alive(t) & (seen.does_not_exist() | (seen < until_ms))))
