"""Turns, runs and their event logs in DynamoDB. Synchronous: `dynamo` runs these on its threads.

Every write that belongs to a run is one transaction that also touches the item `R` under the condition that the epoch,
the last seq and the status are what the writer believes. What DynamoDB refuses, was lost to somebody else.
"""

import time
from collections.abc import Sequence
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec
from pynamodb.expressions.condition import Condition
from pynamodb.expressions.update import Action

from functions.adapters import rules
from functions.adapters.dynamo_calls import ATTEMPTS, Refused, Writes, ask, gather, spread
from functions.adapters.dynamo_chats import encode, find_item, message_items, next_edition, set_or_remove
from functions.adapters.dynamo_jobs import job_item, jobs_of
from functions.adapters.dynamo_models import (
    ChatItem,
    Tables,
    chat_pk,
    chat_sk,
    events_sk,
    expires_after,
    is_alive,
    is_gone,
    key_sk,
    message_sk,
    moment,
    owner_pk,
    pointer_sk,
    run_pk,
)
from functions.adapters.dynamo_withdrawal import withdraw_text
from functions.chat.messages import TERMINAL, LoggedEvent, Message, Run, RunJob
from functions.errors import NotFound
from functions.ports import NewTurn
from functions.settings import RUN_LOG_SECONDS

OPEN = ("queued", "running")
ENDING = ("status", "worker", "lease_until_ms", "is_stopping", "data", "parts", "tag")  # of R, changed by its end
_decode_run = msgspec.json.Decoder(Run).decode
_decode_prompt = msgspec.json.Decoder(tuple[dict[str, Any], ...]).decode  # OpenAI messages, checked at the edge


# -- runs -------------------------------------------------------------------------------------------------------
def _load(t: Tables, item: ChatItem) -> Run:
    """What the attributes say wins over what the JSON says; the prompt is apart, for it never changes."""
    run = msgspec.structs.replace(
        _decode_run(gather(t, item)),
        status=item.status,
        epoch=item.epoch,
        worker=item.worker,
        lease_until_ms=item.lease_until_ms,
        last_seq=item.last_seq,
        stop_requested=bool(item.is_stopping),
    )
    if not item.has_prompt:
        return run
    prompt = find_item(t, item.pk, "Q")
    if prompt is None:
        raise rules.no_run()
    return msgspec.structs.replace(run, prompt=_decode_prompt(gather(t, prompt)))


def get_run(t: Tables, owner: str, run_id: str) -> Run:
    item = find_item(t, run_pk(owner, run_id), "R")
    if item is None:
        raise rules.no_run()
    return _load(t, item)


def _run_items(t: Tables, owner: str, run: Run) -> list[ChatItem]:
    """The run itself first, then its prompt and whatever is too large for one item."""
    pk = run_pk(owner, run.id)
    body, items = spread(t, pk, "R", encode(msgspec.structs.replace(run, prompt=None)))
    if run.prompt is not None:
        prompt, more = spread(t, pk, "Q", encode(run.prompt))
        items = [*items, t.chat(pk, "Q", **prompt), *more]
    hot = t.chat(
        pk,
        "R",
        status=run.status,
        epoch=run.epoch,
        worker=run.worker,
        lease_until_ms=run.lease_until_ms,
        last_seq=run.last_seq,
        is_stopping=run.stop_requested or None,
        has_prompt=run.prompt is not None or None,
        **body,
    )
    if run.chat_id is None:  # nothing leads to it but its id
        for item in (hot, *items):
            item.expires = _log_expires()
    return [hot, *items]


def claim_run(t: Tables, owner: str, run_id: str, *, worker: str, now_ms: int, lease_until_ms: int) -> Run | None:
    item = t.chat(run_pk(owner, run_id), "R")
    actions: list[Action] = [
        t.chat.epoch.set(t.chat.epoch + 1),
        t.chat.status.set("running"),
        t.chat.worker.set(worker),
        t.chat.lease_until_ms.set(lease_until_ms),
    ]
    is_free = (t.chat.lease_until_ms <= now_ms) | (t.chat.worker == worker)
    try:
        ask(lambda: item.update(actions, t.chat.status.is_in(*OPEN) & is_free))
    except Refused:
        return None
    return _load(t, item)


def request_stop(t: Tables, owner: str, run_id: str) -> Run:
    item = t.chat(run_pk(owner, run_id), "R")
    try:
        ask(lambda: item.update([t.chat.is_stopping.set(True)], t.chat.status.is_in(*OPEN)))
    except Refused:
        return get_run(t, owner, run_id)
    return _load(t, item)


def stop_runs(t: Tables, owner: str) -> int:
    """By their jobs: each run has one until its end, and nothing else leads to those without a chat. The table has only
    what is still to be done."""
    stopped = 0
    for job in jobs_of(t, owner):
        if isinstance(job, RunJob):
            with suppress(NotFound):
                stopped += request_stop(t, owner, job.run_id).status in OPEN
    return stopped


# -- the beginning ----------------------------------------------------------------------------------------------
def begin_turn(t: Tables, owner: str, turn: NewTurn) -> tuple[Run, bool]:
    run = rules.first_run(turn)
    if _parent(turn) is not None and turn.user_message and turn.user_message.id == _parent(turn):
        raise rules.no_message()
    for _ in range(ATTEMPTS):
        try:
            _write_turn(t, owner, turn, run)
            return run, True
        except Refused as refused:
            known = _known_turn(t, owner, turn, refused)
        if known is not None:
            return known, False
        # Whoever held the key was deleted between our write and our look: try again.
    raise rules.unavailable("the turn's key keeps changing")


def _parent(turn: NewTurn) -> str | None:
    return turn.user_message.parent_id if turn.user_message else turn.run.user_message_id


def _write_turn(t: Tables, owner: str, turn: NewTurn, run: Run) -> None:
    writes = Writes(t)
    new = t.chat.pk.does_not_exist()
    key = t.chat(owner_pk(owner), key_sk(turn.key), body_hash=turn.body_hash, run_id=run.id)
    if turn.key_expires_ms:
        key.until_ms = turn.key_expires_ms
        key.expires = expires_after(turn.key_expires_ms)
    writes.put("key", key, None if turn.replace_key else new | (t.chat.until_ms <= time.time_ns() // 1_000_000))
    if run.chat_id is not None:
        _write_turn_in_chat(t, owner, writes, turn, run)
    hot, *rest = _run_items(t, owner, run)
    writes.put("run", hot, new)
    for item in (*rest, *_events_items(t, owner, run.id, turn.events)):
        writes.put("part of the run", item)
    if turn.job is not None and run.status not in TERMINAL:
        writes.put("job", job_item(t, run.id, turn.job, turn.job_at_ms))
    writes.commit()


def _write_turn_in_chat(t: Tables, owner: str, writes: Writes, turn: NewTurn, run: Run) -> None:
    """The chat's half of a turn: its messages, its own fields, and the pointer by which a delete finds the run."""
    assert run.chat_id is not None
    pk = chat_pk(owner, run.chat_id)
    updated_us = rules.microseconds(run.created_at)
    actions: list[Action] = [t.chat.updated_us.set(updated_us), t.chat.moment.set(moment(updated_us, run.chat_id))]
    if turn.answer is None:
        actions.append(t.chat.active_run.set(run.id))
    if newest := turn.answer or turn.user_message:
        actions.append(t.chat.active_leaf.set(newest.id))
    if turn.title_if_none is not None:
        actions.append(t.chat.title.set(t.chat.title | turn.title_if_none))
    chat = t.chat(owner_pk(owner), chat_sk(run.chat_id))
    writes.update("chat", chat, actions, is_alive(t) & t.chat.active_run.does_not_exist())
    if parent := _parent(turn):
        writes.check("parent", t.chat, pk, message_sk(parent), t.chat.pk.exists())
    for message in (turn.user_message, turn.answer):
        if message is not None:
            _put_message(t, owner, writes, message, is_new=True)
    writes.put("pointer", t.chat(pk, pointer_sk(run.id), run_id=run.id, key=key_sk(turn.key)))


def _put_message(t: Tables, owner: str, writes: Writes, message: Message, *, is_new: bool) -> None:
    """One that is there already keeps its feedback."""
    item, parts = message_items(t, owner, message)
    if is_new:
        writes.put("message", item, t.chat.pk.does_not_exist())
    else:
        body = [set_or_remove(t, name, getattr(item, name)) for name in ("data", "parts", "tag")]
        writes.update("message", t.chat(item.pk, item.sk), body, None)
    for part in parts:
        writes.put("part of the message", part)


def _known_turn(t: Tables, owner: str, turn: NewTurn, refused: Refused) -> Run | None:
    """Why a turn did not begin, first things first: the run that holds its key, an error, or None: try again.

    The key is looked up whatever was refused: a repeat meets its own message and its own active run as well.
    """
    known = None if turn.replace_key else find_turn(t, owner, turn.key, turn.body_hash)
    if known is not None or "key" in refused:
        return known
    was = refused.items.get("chat")
    if "chat" in refused and is_gone(was):
        raise rules.no_chat()
    if "parent" in refused:
        raise rules.no_message()
    if "message" in refused:
        raise rules.message_exists()
    if "chat" in refused:
        raise rules.run_active()
    raise rules.run_exists()


def find_turn(t: Tables, owner: str, key: str, body_hash: str) -> Run | None:
    held = find_item(t, owner_pk(owner), key_sk(key))
    if held is None or (held.until_ms is not None and held.until_ms <= time.time_ns() // 1_000_000):
        return None
    if held.body_hash != body_hash:
        raise rules.message_exists()
    with suppress(NotFound):
        return get_run(t, owner, held.run_id)
    return None


# -- the events -------------------------------------------------------------------------------------------------
def _events_items(t: Tables, owner: str, run_id: str, events: Sequence[LoggedEvent]) -> list[ChatItem]:
    """One checkpoint, one item (JSON has no raw line feed, so they part the events), unless it is too large for one.

    Its key is its last seq: so whoever has seen `n` starts at the key of n + 1, and finds the batch that has it.
    """
    if not events:
        return []
    pk, sk = run_pk(owner, run_id), events_sk(events[-1].seq)
    attributes, parts = spread(t, pk, sk, b"\n".join(event.data for event in events))
    expires = _log_expires()
    for part in parts:
        part.expires = expires
    return [t.chat(pk, sk, first_seq=events[0].seq, expires=expires, **attributes), *parts]


def _log_expires() -> datetime:
    """The answer is a message and stays; its events are only for readers who come back."""
    return datetime.now(UTC) + timedelta(seconds=RUN_LOG_SECONDS)


def read_events(t: Tables, owner: str, run_id: str, *, after: int) -> tuple[LoggedEvent, ...]:
    # "R" sorts after every "E#…" and "Q": the run comes last in the same answer, and proves that it is there.
    rows = t.chat.sk.between(events_sk(after + 1), "R")
    items = ask(lambda: list(t.chat.query(run_pk(owner, run_id), rows, consistent_read=True)))
    if not items or items[-1].sk != "R":
        raise rules.no_run()
    checkpoints = [item for item in items if item.first_seq is not None]
    if checkpoints and (checkpoints[0].first_seq or 0) > after + 1:
        return ()  # its beginning has expired: of an old log nothing is better than a part
    return tuple(
        LoggedEvent.load(seq, data)
        for item in checkpoints
        for seq, data in enumerate(gather(t, item).split(b"\n"), item.first_seq)
        if seq > after
    )


def _may_write(t: Tables, epoch: int, events: Sequence[LoggedEvent]) -> Condition:
    """The fence. None of it holds when the run is gone."""
    condition: Condition = (t.chat.epoch == epoch) & t.chat.status.is_in(*OPEN)
    return condition & (t.chat.last_seq == events[0].seq - 1) if events else condition


def append_events(
    t: Tables, owner: str, run_id: str, epoch: int, events: Sequence[LoggedEvent], *, lease_until_ms: int
) -> bool:
    """Whether a stop was requested comes for free: the first try is on the condition that none was."""
    not_stopping = t.chat.is_stopping.does_not_exist()
    fence = _may_write(t, epoch, events)
    try:
        _append(t, owner, run_id, events, lease_until_ms, fence & not_stopping)
        return False
    except Refused as refused:
        was = refused.items.get("run")
        if was is None or "is_stopping" not in was:
            # Lost the run: it was taken over, has ended, or went with its chat.
            raise rules.fenced() from refused
    try:
        _append(t, owner, run_id, events, lease_until_ms, fence)
        return True
    except Refused as exc:
        raise rules.fenced() from exc


def _append(
    t: Tables, owner: str, run_id: str, events: Sequence[LoggedEvent], lease_until_ms: int, condition: Condition
) -> None:
    actions: list[Action] = [t.chat.lease_until_ms.set(lease_until_ms)]
    if events:
        actions.append(t.chat.last_seq.set(events[-1].seq))
    writes = Writes(t)
    writes.update("run", t.chat(run_pk(owner, run_id), "R"), actions, condition)
    for item in _events_items(t, owner, run_id, events):
        writes.put("events", item)
    writes.commit()


# -- the end ----------------------------------------------------------------------------------------------------
def finish_run(
    t: Tables,
    owner: str,
    run: Run,
    events: Sequence[LoggedEvent],
    answer: Message | None,
    *,
    withdraw: bool = False,
) -> None:
    rules.check_terminal(run)
    if withdraw:
        withdraw_text(t, owner, run, _may_write(t, run.epoch, events))
        events = [event.without_text() for event in events]
    is_active = is_new = True
    while True:  # what is refused is either lost, or settles one of the two questions
        try:
            _write_end(t, owner, run, events, answer, is_active=is_active, is_new=is_new)
            return
        except Refused as refused:
            was = refused.items.get("chat")
            has_other = "chat" in refused and is_active and was is not None and "is_deleted" not in was
            if "run" in refused or ("chat" in refused and not has_other) or not refused.items:
                raise rules.fenced() from refused
            is_active = is_active and not has_other  # The chat has another active run, or none: it keeps what it has.
            is_new = is_new and "message" not in refused


def _write_end(
    t: Tables,
    owner: str,
    run: Run,
    events: Sequence[LoggedEvent],
    answer: Message | None,
    *,
    is_active: bool,
    is_new: bool,
) -> None:
    writes = Writes(t)
    hot, *parts = _run_items(t, owner, msgspec.structs.replace(run, prompt=None))
    actions = [set_or_remove(t, name, getattr(hot, name)) for name in ENDING]
    if events:
        actions.append(t.chat.last_seq.set(events[-1].seq))
    writes.update("run", t.chat(hot.pk, hot.sk), actions, _may_write(t, run.epoch, events))
    for item in (*parts, *_events_items(t, owner, run.id, events)):
        writes.put("part of the run", item)
    if run.chat_id is not None:
        _write_end_in_chat(t, owner, writes, run, answer, is_active=is_active, is_new=is_new)
    writes.delete("job", t.jobs(run.id))
    writes.commit()


def _write_end_in_chat(
    t: Tables, owner: str, writes: Writes, run: Run, answer: Message | None, *, is_active: bool, is_new: bool
) -> None:
    assert run.chat_id is not None
    actions: list[Action] = []
    if run.ended_at is not None:
        updated_us = rules.microseconds(run.ended_at)
        actions += [t.chat.updated_us.set(updated_us), t.chat.moment.set(moment(updated_us, run.chat_id))]
    if answer is not None:
        actions.append(t.chat.active_leaf.set(answer.id))
        if not is_new:
            actions.append(next_edition(t))
        _put_message(t, owner, writes, answer, is_new=is_new)
    if is_active:
        actions.append(t.chat.active_run.remove())
    condition = is_alive(t) & (t.chat.active_run == run.id) if is_active else is_alive(t)
    if actions:
        writes.update("chat", t.chat(owner_pk(owner), chat_sk(run.chat_id)), actions, condition)
