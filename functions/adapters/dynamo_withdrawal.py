"""Taking the text out of a run's log in DynamoDB, before the run ends. Synchronous: `dynamo` runs this on its threads.

A transaction holds a hundred items and a log may have thousands, so this goes before the end and not with it: once the
run has ended no text is left. Whoever dies in between leaves a log with less text and a verdict that says why, and the
next worker does the rest. Each transaction holds under the same fence as the end; so nothing is added meanwhile, and
nothing comes back of a run that is being deleted.
"""

from collections.abc import Iterator

from pynamodb.expressions.condition import Condition

from functions.adapters import rules
from functions.adapters.dynamo_calls import Refused, Writes, ask, gather, parts_of, spread
from functions.adapters.dynamo_chats import set_or_remove
from functions.adapters.dynamo_models import ChatItem, Tables, events_sk, run_pk
from functions.chat.messages import LoggedEvent, Run
from functions.errors import NotFound

ITEMS = 24  # of the log in one transaction: where one is in parts, its parts are writes as well


def withdraw_text(t: Tables, owner: str, run: Run, fence: Condition) -> None:
    """Raises Fenced."""
    pk = run_pk(owner, run.id)
    log = ask(lambda: list(t.chat.query(pk, t.chat.sk.between(events_sk(1), "R"), consistent_read=True)))
    try:
        blank = list(_blanked(t, [item for item in log if item.first_seq is not None]))
        for start in range(0, len(blank), ITEMS):
            writes = Writes(t)
            writes.check("run", t.chat, pk, "R", fence)
            for item, data in blank[start : start + ITEMS]:
                _rewrite(t, writes, item, data)
            writes.commit()
    except (NotFound, Refused) as exc:
        raise rules.fenced() from exc


def _blanked(t: Tables, checkpoints: list[ChatItem]) -> Iterator[tuple[ChatItem, bytes]]:
    """Those that have text, with what is to stand there instead."""
    for item in checkpoints:
        was = gather(t, item)
        events = (LoggedEvent.load(seq, data) for seq, data in enumerate(was.split(b"\n"), item.first_seq or 0))
        data = b"\n".join(event.without_text().data for event in events)
        if data != was:
            yield item, data


def _rewrite(t: Tables, writes: Writes, item: ChatItem, data: bytes) -> None:
    body, parts = spread(t, item.pk, item.sk, data)
    for part in parts:
        part.expires = item.expires
        writes.put("part of the events", part)
    for part in parts_of(t, item):
        writes.delete("part of the events", part)
    actions = [set_or_remove(t, name, body.get(name)) for name in ("data", "parts", "tag")]
    writes.update("events", t.chat(item.pk, item.sk), actions, t.chat.pk.exists())
