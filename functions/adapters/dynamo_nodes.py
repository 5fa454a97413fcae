"""The registry of nodes in DynamoDB: a small partition for what is so, and one for the starts of each node.

Beside the contract: DynamoDB deletes what has expired only after some time, so the reads leave it out themselves.
"""

import os
import time
from contextlib import suppress

import msgspec
from pynamodb.expressions.update import Action

from functions.adapters import rules
from functions.adapters.dynamo_calls import ATTEMPTS, Refused, ask
from functions.adapters.dynamo_models import (
    NODES_PK,
    Tables,
    expires_after,
    joined_sk,
    moment_sk,
    sighting_sk,
    wakes_pk,
)
from functions.chat.messages import JoinedNode, Sighting

_encode = msgspec.json.Encoder().encode
_decode_node = msgspec.json.Decoder(JoinedNode).decode
_decode_sighting = msgspec.json.Decoder(Sighting).decode


def put_node(t: Tables, node: JoinedNode) -> None:
    """Renews what is alive or is not there, else joins anew; each on the condition that it is so, until one holds."""
    item = t.chat(NODES_PK, joined_sk(node.name))
    joined, until = t.chat.joined_ms, t.chat.until_ms
    same: list[Action] = [
        t.chat.data.set(_encode(node)),
        until.set(node.expires_ms),
        t.chat.expires.set(expires_after(node.expires_ms)),
    ]
    is_alive = until.does_not_exist() | (until > node.joined_ms)
    for _ in range(ATTEMPTS):
        with suppress(Refused):
            ask(lambda: item.update([*same, joined.set(joined | node.joined_ms)], is_alive))
            return
        with suppress(Refused):
            ask(lambda: item.update([*same, joined.set(node.joined_ms)], until <= node.joined_ms))
            return
        # Between our two looks somebody else has renewed it, or it was dropped: try again.
    raise rules.unavailable("the node's record keeps changing")


def list_nodes(t: Tables, *, now_ms: int) -> tuple[JoinedNode, ...]:
    rows = ask(lambda: list(t.chat.query(NODES_PK, t.chat.sk.startswith("J#"), consistent_read=True)))
    nodes = (
        msgspec.structs.replace(_decode_node(row.data), joined_ms=row.joined_ms)
        for row in rows
        if row.until_ms > now_ms
    )  # fmt: skip
    return tuple(sorted(nodes, key=lambda node: node.name))


def drop_node(t: Tables, name: str) -> None:
    ask(t.chat(NODES_PK, joined_sk(name)).delete)


def put_sighting(t: Tables, sighting: Sighting) -> None:
    item, seen = t.chat(NODES_PK, sighting_sk(sighting.node)), t.chat.seen_ms
    actions: list[Action] = [
        seen.set(sighting.seen_ms),
        t.chat.data.set(_encode(sighting)),
        t.chat.expires.set(expires_after(sighting.seen_ms + rules.SIGHTING_KEPT_MS)),
    ]
    with suppress(Refused):  # Somebody has seen it later.
        ask(lambda: item.update(actions, seen.does_not_exist() | (seen <= sighting.seen_ms)))


def list_sightings(t: Tables) -> tuple[Sighting, ...]:
    since_ms = time.time_ns() // 1_000_000 - rules.SIGHTING_KEPT_MS
    rows = ask(lambda: list(t.chat.query(NODES_PK, t.chat.sk.startswith("S#"), consistent_read=True)))
    sightings = (_decode_sighting(row.data) for row in rows if row.seen_ms > since_ms)
    return tuple(sorted(sightings, key=lambda sighting: sighting.node))


def record_wake(t: Tables, node: str, *, at_ms: int, took_ms: int) -> None:
    """A repeat after a lost answer writes the same item."""
    expires = expires_after(at_ms + rules.WAKE_KEPT_MS)
    sk = moment_sk(at_ms, os.urandom(6).hex())
    ask(t.chat(wakes_pk(node), sk, took_ms=took_ms, expires=expires).save)


def read_wakes(t: Tables, node: str, *, limit: int) -> tuple[int, ...]:
    pk = wakes_pk(node)
    newest = ask(lambda: list(t.chat.query(pk, scan_index_forward=False, limit=limit, consistent_read=True)))
    return tuple(wake.took_ms for wake in newest)
