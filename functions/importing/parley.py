"""A chat of one of our own exports, as it was: its ids, its branches, what was said of its answers.

The file may have been through anybody's hands, so what makes a chat a tree is looked at again. Ids are an owner's own:
one that somebody else has too means nothing.
"""

from typing import Any
from uuid import UUID

import msgspec

from functions.chat.messages import Memory, Message, Profile, Template
from functions.importing.values import FoundHead, Unusable, Whole, bounded, clean
from functions.settings import (
    IMPORT_CHAT_BYTES,
    MEMORIES_MAX,
    MEMORY_CHARS,
    SYSTEM_PROMPT_BYTES,
    TEMPLATE_BYTES,
    TEMPLATES_MAX,
)

FORMATS = ("parley.export.v1", "parley.chat.v1")


def read_chat(value: Any) -> Whole:  # of a file, so of any type
    """Raises Unusable."""
    try:
        whole = msgspec.convert(value, Whole)
    except (msgspec.ValidationError, ValueError, OverflowError):
        raise Unusable("damaged") from None
    chat = whole.chat
    messages = tuple(_message(message, chat.id) for message in whole.messages)
    if sum(len(message.content.encode()) for message in messages) > IMPORT_CHAT_BYTES:
        raise Unusable("too_large")
    _check_ids([chat.id, *(message.id for message in messages)])
    _check_tree({message.id: message.parent_id for message in messages})
    leaves = {message.id for message in messages}
    chat = msgspec.structs.replace(
        chat,
        title=clean(chat.title, 1024).strip() or None,
        model=clean(chat.model, 1024) or None,
        system_prompt=clean(chat.system_prompt, SYSTEM_PROMPT_BYTES) or None,
        active_leaf=chat.active_leaf if chat.active_leaf in leaves else messages[-1].id if messages else None,
        active_run=None,
        temporary=False,
        expires_at=None,
    )
    return Whole(chat=chat, messages=messages)


def _message(message: Message, chat_id: str) -> Message:
    mended: Message = msgspec.convert(_mended(msgspec.to_builtins(message)), Message)
    return msgspec.structs.replace(mended, content=bounded(message.content), chat_id=chat_id)


def _mended(value: Any) -> Any:  # JSON of any shape
    """Every text in it such that it can be stored."""
    if isinstance(value, str):
        return clean(value)
    if isinstance(value, dict):
        return {key: _mended(item) for key, item in value.items()}
    return [_mended(item) for item in value] if isinstance(value, list | tuple) else value


def _check_ids(ids: list[str]) -> None:
    try:
        are_ours = all(str(UUID(one)) == one for one in ids)
    except ValueError:
        are_ours = False
    if not are_ours or len(set(ids)) < len(ids):
        raise Unusable("damaged")


def _check_tree(parents: dict[str, str | None]) -> None:
    """Every message is under one that is there, and in the end under none."""
    good: set[str] = set()
    for message_id in parents:
        path: list[str] = []
        at: str | None = message_id
        while at is not None and at not in good:
            if at not in parents:
                raise Unusable("damaged")
            path.append(at)
            if len(path) > len(parents):
                raise Unusable("circular")
            at = parents[at]
        good.update(path)


def read_head(value: dict[str, Any]) -> FoundHead:
    """What cannot be had is left out: chats are why somebody brings the file."""
    profile = _or_none(value.get("profile"), Profile)
    memories = [one for raw in _list(value.get("memories")) if (one := _or_none(raw, Memory)) is not None]
    templates = [one for raw in _list(value.get("templates")) if (one := _or_none(raw, Template)) is not None]
    if profile is not None:
        said = clean(profile.custom_instructions, SYSTEM_PROMPT_BYTES)
        profile = msgspec.structs.replace(profile, custom_instructions=said, joined=())
    return FoundHead(
        profile=profile,
        memories=tuple(one for one in memories if 0 < len(one.text) <= MEMORY_CHARS and _is_id(one.id))[:MEMORIES_MAX],
        templates=tuple(
            one for one in templates if 0 < len(one.text.encode()) <= TEMPLATE_BYTES and one.name and _is_id(one.id)
        )[:TEMPLATES_MAX],
    )


def _or_none(value: Any, kind: type[Any]) -> Any:  # of a file, so of any type
    try:
        return msgspec.convert(_mended(value), kind)
    except (msgspec.ValidationError, ValueError, OverflowError, RecursionError):
        return None


def _list(value: Any) -> list[Any]:  # of a file, so of any type
    return value if isinstance(value, list) else []


def _is_id(text: str) -> bool:
    try:
        return str(UUID(text)) == text
    except ValueError:
        return False
