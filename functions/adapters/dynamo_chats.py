"""Chats, messages and profiles in DynamoDB. Synchronous: `dynamo` runs these on its threads.

A chat is one item with an attribute for each field, so that a turn, a rename and a delete each touch their own and
never read before they write. A message is one JSON value and is written once; its feedback is an attribute of its own.
"""

import secrets
from collections.abc import Iterator, Sequence
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from itertools import islice
from typing import Any

import msgspec
from pynamodb.expressions.condition import Condition
from pynamodb.expressions.update import Action

from functions.adapters import rules
from functions.adapters.dynamo_calls import Refused, Writes, ask, delete_all, gather, put_all, spread
from functions.adapters.dynamo_models import (
    DELETED,
    ChatItem,
    Tables,
    chat_pk,
    chat_sk,
    is_alive,
    message_sk,
    moment,
    outlived_us,
    owner_pk,
    recent_key,
    run_pk,
    share_sk,
)
from functions.chat.messages import Chat, Feedback, Message, Page, Profile, expiry_of
from functions.errors import BadInput, Conflict
from functions.ports import FoundChat

SEARCHED_CHATS = 200  # how many chats one page of a search looks into; it may then be short, and still have a next
PAGE = 100
IMPORT_ATTEMPTS = 3

encode = msgspec.json.Encoder().encode
_decode_message = msgspec.json.Decoder(Message).decode
_decode_feedback = msgspec.json.Decoder(Feedback).decode
_decode_profile = msgspec.json.Decoder(Profile).decode
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


# -- chats ------------------------------------------------------------------------------------------------------
def _load(item: ChatItem) -> Chat:
    return Chat(
        id=item.chat_id,
        title=item.title,
        model=item.model,
        system_prompt=item.system_prompt,
        created_at=_EPOCH + timedelta(microseconds=item.created_us),
        updated_at=_EPOCH + timedelta(microseconds=item.updated_us),
        pinned=item.pinned,
        archived=item.archived,
        active_leaf=item.active_leaf,
        active_run=item.active_run,
        temporary=bool(item.temporary),
        expires_at=expiry_of(bool(item.temporary), _EPOCH + timedelta(microseconds=item.updated_us)),
    )


def create_chat(t: Tables, owner: str, chat: Chat) -> None:
    # A transaction of one: its token makes a repeat after a lost answer no Conflict.
    writes = Writes(t)
    writes.put("chat", _item(t, owner, chat), t.chat.pk.does_not_exist())
    try:
        writes.commit()
    except Refused as exc:
        raise Conflict("A chat with this id is already stored.") from exc


def _item(t: Tables, owner: str, chat: Chat) -> ChatItem:
    updated_us = rules.microseconds(chat.updated_at)
    return t.chat(
        owner_pk(owner),
        chat_sk(chat.id),
        chat_id=chat.id,
        title=chat.title,
        model=chat.model,
        system_prompt=chat.system_prompt,
        created_us=rules.microseconds(chat.created_at),
        updated_us=updated_us,
        pinned=chat.pinned,
        archived=chat.archived,
        active_leaf=chat.active_leaf,
        active_run=chat.active_run,
        temporary=chat.temporary or None,
        edition=_any_edition(),
        recent=recent_key(owner, archived=chat.archived, temporary=chat.temporary),
        moment=moment(updated_us, chat.id),
    )


def import_chat(t: Tables, owner: str, chat: Chat, messages: Sequence[Message]) -> bool:
    """First the chat as one that is being deleted, then its messages, then the mark goes. Cut off, it is one whose
    delete was cut off: the sweep finishes that. A sweep that comes by in between takes it away, and we begin again."""
    for _ in range(IMPORT_ATTEMPTS):
        item = _item(t, owner, chat)
        item.is_deleted, item.recent, item.token = True, DELETED, _any_edition()
        item.remembered_ms = rules.milliseconds(chat.updated_at)
        if not _begin_import(t, item):
            return False
        rows: list[ChatItem] = []
        for message in messages:
            row, parts = message_items(t, owner, message)
            row.feedback = None if message.feedback is None else encode(message.feedback)
            rows += (row, *parts)
        put_all(t.chat, rows)
        done: list[Action] = [t.chat.is_deleted.remove(), t.chat.token.remove()]
        done.append(t.chat.recent.set(recent_key(owner, archived=chat.archived, temporary=chat.temporary)))
        with suppress(Refused):
            ask(lambda: item.update(done, t.chat.token == item.token))  # noqa: B023  # called at once
            return True
    raise rules.unavailable("somebody keeps deleting this chat")


def _begin_import(t: Tables, item: ChatItem) -> bool:
    writes = Writes(t)
    writes.put("chat", item, t.chat.pk.does_not_exist())
    try:
        writes.commit()
    except Refused:
        return False
    return True


def find_item(t: Tables, pk: str, sk: str) -> ChatItem | None:
    """The row, as of all writes before."""
    try:
        return ask(lambda: t.chat.get(pk, sk, consistent_read=True))
    except t.chat.DoesNotExist:
        return None


def _is_gone(item: ChatItem) -> bool:
    return bool(item.is_deleted) or (bool(item.temporary) and item.updated_us <= outlived_us())


def get_chat(t: Tables, owner: str, chat_id: str) -> Chat:
    return get_edition(t, owner, chat_id)[0]


def get_edition(t: Tables, owner: str, chat_id: str) -> tuple[Chat, str]:
    item = find_item(t, owner_pk(owner), chat_sk(chat_id))
    if item is None or _is_gone(item):
        raise rules.no_chat()
    return _load(item), item.edition or "0"  # of a chat from before there were editions


def _any_edition() -> str:
    return secrets.token_hex(8)


def next_edition(t: Tables) -> Action:
    """A message of the chat is being changed: what others keep of it is no longer so."""
    action: Action = t.chat.edition.set(_any_edition())
    return action


def list_chats(t: Tables, owner: str, *, limit: int, after: str | None, archived: bool) -> Page[Chat]:
    mark = moment(*rules.read_page_mark(after)) if after else None
    rows = list(islice(_recent(t, owner, archived, mark, page_size=limit + 1), limit + 1))
    chats = tuple(rows[:limit])
    more = len(rows) > limit and bool(chats)
    return Page(data=chats, next=rules.page_mark(chats[-1]) if more else None)


def search_chats(
    t: Tables, owner: str, query: str, *, limit: int, after: str | None, archived: bool
) -> Page[FoundChat]:
    mark = moment(*rules.read_page_mark(after)) if after else None
    folded = query.casefold()
    found: list[FoundChat] = []
    last: Chat | None = None
    looked_at = 0
    for chat in _recent(t, owner, archived, mark, page_size=PAGE):
        if len(found) == limit or looked_at == SEARCHED_CHATS:
            return Page(data=tuple(found), next=rules.page_mark(last) if last else None)
        last, looked_at = chat, looked_at + 1
        if folded in (chat.title or "").casefold():
            found.append(FoundChat(chat=chat, message=None))
        elif message := _saying(t, owner, chat, folded):
            found.append(FoundChat(chat=chat, message=message))
    return Page(data=tuple(found), next=None)


def _recent(t: Tables, owner: str, archived: bool, mark: str | None, *, page_size: int) -> Iterator[Chat]:
    key = recent_key(owner, archived=archived)
    while True:
        older = t.chat.moment < mark if mark else None
        items = ask(
            lambda: list(t.chat.by_moment.query(key, older, scan_index_forward=False, limit=page_size))  # noqa: B023
        )
        yield from map(_load, items)
        if len(items) < page_size:
            return
        mark = items[-1].moment


def _saying(t: Tables, owner: str, chat: Chat, folded: str) -> Message | None:
    """The newest message of the chat that says it."""
    items = _messages(t, owner, chat.id)
    return next((_load_message(t, item) for item in items if rules.says(gather(t, item), folded)), None)


def update_chat(t: Tables, owner: str, chat_id: str, changes: dict[str, Any]) -> Chat:
    rules.check_changes(changes)
    if not changes:
        return get_chat(t, owner, chat_id)
    leaf = changes.get("active_leaf")
    if leaf is not None and find_item(t, chat_pk(owner, chat_id), message_sk(leaf)) is None:
        # Messages come and go with their chat, so this answer holds as long as the chat does.
        get_chat(t, owner, chat_id)
        raise BadInput("The active message must be one of the chat.", param="active_leaf")
    actions: list[Action] = [set_or_remove(t, name, value) for name, value in changes.items()]
    if "archived" in changes:
        actions.append(t.chat.recent.set(recent_key(owner, archived=changes["archived"])))
    item = t.chat(owner_pk(owner), chat_sk(chat_id))
    try:
        ask(lambda: item.update(actions, is_alive(t)))
    except Refused as exc:
        raise rules.no_chat() from exc
    return _load(item)


def retitle_chat(t: Tables, owner: str, chat_id: str, title: str, *, instead_of: str) -> bool:
    item = t.chat(owner_pk(owner), chat_sk(chat_id))
    try:
        ask(lambda: item.update([t.chat.title.set(title)], is_alive(t) & (t.chat.title == instead_of)))
    except Refused:
        return False
    return True


def set_or_remove(t: Tables, name: str, value: Any) -> Action:  # the field's own type
    attribute = getattr(t.chat, name)
    action: Action = attribute.remove() if value is None else attribute.set(value)
    return action


# -- deleting ---------------------------------------------------------------------------------------------------
def delete_chat(t: Tables, owner: str, chat_id: str, condition: Condition | None = None) -> None:
    """First the mark, which refuses turns and ends; then each run, which refuses appends; then what nobody can add
    to any more; the chat last. A delete that was cut off has left the mark: the next one finishes its work, or the
    sweep. `condition`: only if the chat is so.

        mark chat ─ share ─ run: job, key, R ─ run's events ─ … ─ messages, pointers ─ chat
             └ begin_turn, finish_run lose    └ append_events, claim_run lose
    """
    chat = t.chat(owner_pk(owner), chat_sk(chat_id))
    erase: list[Action] = [t.chat.is_deleted.set(True), t.chat.recent.set(DELETED)]
    erase += [attribute.remove() for attribute in (t.chat.title, t.chat.system_prompt)]
    try:
        ask(lambda: chat.update(erase, t.chat.pk.exists() if condition is None else condition))
    except Refused as exc:
        raise rules.no_chat() from exc
    delete_share(t, owner, chat_id)
    rows = _keys(t, chat_pk(owner, chat_id))
    for row in rows:
        if row.run_id is not None:
            _delete_run(t, owner, row)
    delete_all(t.chat, [(row.pk, row.sk) for row in rows])
    ask(chat.delete)


def _delete_run(t: Tables, owner: str, pointer: ChatItem) -> None:
    ask(t.jobs(pointer.run_id).delete)
    held = t.chat(owner_pk(owner), pointer.key)
    with suppress(Refused):  # A newer run has taken the key over.
        ask(lambda: held.delete(t.chat.run_id == pointer.run_id))
    pk = run_pk(owner, pointer.run_id)
    ask(t.chat(pk, "R").delete)
    delete_all(t.chat, [(row.pk, row.sk) for row in _keys(t, pk)])


def delete_share(t: Tables, owner: str, chat_id: str) -> bool:
    """First what leads to it, then the owner's own, through which that is found."""
    row = find_item(t, owner_pk(owner), share_sk(chat_id))
    if row is None:
        return False
    delete_all(t.chat, [(row.key, "X"), (row.pk, row.sk)])
    return True


def _keys(t: Tables, pk: str) -> list[ChatItem]:
    """All rows of a partition, without what they hold."""
    names = ["pk", "sk", "run_id", "key"]
    return ask(lambda: list(t.chat.query(pk, consistent_read=True, attributes_to_get=names)))


# -- messages ---------------------------------------------------------------------------------------------------
def message_items(t: Tables, owner: str, message: Message) -> tuple[ChatItem, list[ChatItem]]:
    """The item of a message, and its parts when it is large."""
    pk, sk = chat_pk(owner, message.chat_id), message_sk(message.id)
    attributes, parts = spread(t, pk, sk, encode(msgspec.structs.replace(message, feedback=None)))
    return t.chat(pk, sk, **attributes), parts


def _load_message(t: Tables, item: ChatItem) -> Message:
    feedback = None if item.feedback is None else _decode_feedback(item.feedback)
    return msgspec.structs.replace(_decode_message(gather(t, item)), feedback=feedback)


def put_feedback(t: Tables, owner: str, chat_id: str, message_id: str, feedback: Feedback | None) -> None:
    value = None if feedback is None else encode(feedback)
    message = t.chat(chat_pk(owner, chat_id), message_sk(message_id))
    writes = Writes(t)
    writes.update("chat", t.chat(owner_pk(owner), chat_sk(chat_id)), [next_edition(t)], is_alive(t))
    writes.update("message", message, [set_or_remove(t, "feedback", value)], t.chat.pk.exists())
    try:
        writes.commit()
    except Refused as exc:
        raise rules.no_message() from exc


def _messages(
    t: Tables, owner: str, chat_id: str, *, before: str | None = None, limit: int | None = None
) -> list[ChatItem]:
    """The chat's messages, newest first."""
    # "M$" comes after all "M#…".
    upper = message_sk(before) if before is not None else "M$"
    return ask(
        lambda: list(
            t.chat.query(
                chat_pk(owner, chat_id),
                t.chat.sk.between("M#", upper),
                consistent_read=True,
                scan_index_forward=False,
                limit=limit,
            )
        )
    )


def get_message(t: Tables, owner: str, chat_id: str, message_id: str) -> Message:
    keys = [(owner_pk(owner), chat_sk(chat_id)), (chat_pk(owner, chat_id), message_sk(message_id))]
    rows = {row.sk: row for row in ask(lambda: list(t.chat.batch_get(keys, consistent_read=True)))}
    chat, message = (rows.get(sk) for _, sk in keys)
    if chat is None or _is_gone(chat) or message is None:
        raise rules.no_message()
    return _load_message(t, message)


def list_messages(t: Tables, owner: str, chat_id: str, *, limit: int | None, before: str | None) -> Page[Message]:
    get_chat(t, owner, chat_id)
    return _page(t, owner, chat_id, limit=limit, before=before)


def _page(t: Tables, owner: str, chat_id: str, *, limit: int | None, before: str | None) -> Page[Message]:
    # `before` itself is in the range and not in the page; one more tells whether there is an older page.
    items = _messages(t, owner, chat_id, before=before, limit=None if limit is None else limit + 2)
    items = [item for item in items if before is None or item.sk != message_sk(before)]
    newest = [_load_message(t, item) for item in items[:limit]]
    more = limit is not None and len(items) > limit and bool(newest)
    return Page(data=tuple(newest[::-1]), next=newest[-1].id if more else None)


def read_path(t: Tables, owner: str, chat_id: str, leaf: str) -> tuple[Message, ...]:
    get_chat(t, owner, chat_id)
    return _path(t, owner, chat_id, leaf)


def read_path_unless(
    t: Tables, owner: str, chat_id: str, leaf: str, *, edition: str
) -> tuple[Chat, str, tuple[Message, ...] | None]:
    chat, in_force = get_edition(t, owner, chat_id)  # before the path: what comes in between shows in the next one
    return chat, in_force, None if in_force == edition else _path(t, owner, chat_id, leaf)


def _path(t: Tables, owner: str, chat_id: str, leaf: str) -> tuple[Message, ...]:
    """Reads the whole chat in one go, because a walk would be a round trip for each message."""
    messages = {message.id: message for message in _page(t, owner, chat_id, limit=None, before=None).data}
    path: list[Message] = []
    at: str | None = leaf
    while at is not None and at in messages:
        path.append(messages.pop(at))
        at = path[-1].parent_id
    if not path:
        raise rules.no_message()
    return tuple(path[::-1])


# -- the owner --------------------------------------------------------------------------------------------------
def get_profile(t: Tables, owner: str) -> Profile:
    item = find_item(t, owner_pk(owner), "P")
    return _decode_profile(gather(t, item)) if item else Profile()


def put_profile(t: Tables, owner: str, profile: Profile) -> None:
    attributes, parts = spread(t, owner_pk(owner), "P", encode(profile))
    writes = Writes(t)
    for item in (t.chat(owner_pk(owner), "P", **attributes), *parts):
        writes.put("profile", item)
    writes.commit()
