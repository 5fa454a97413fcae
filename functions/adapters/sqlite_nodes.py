"""The registry of nodes as SQL: who has joined, how each was last seen, how long starts took.

What is out of date is left out by the reads and deleted by `sqlite_sweep`.
"""

import sqlite3

import msgspec

from functions.chat.messages import JoinedNode, Sighting

_encode = msgspec.json.Encoder().encode
_decode_node = msgspec.json.Decoder(JoinedNode).decode
_decode_sighting = msgspec.json.Decoder(Sighting).decode


def put_node(db: sqlite3.Connection, node: JoinedNode) -> None:
    """Who comes back after the record has expired joins anew."""
    db.execute(
        "INSERT INTO nodes (name, joined_ms, expires_ms, data) VALUES (?, ?, ?, ?) ON CONFLICT (name) DO UPDATE SET "
        "joined_ms = iif(nodes.expires_ms > excluded.joined_ms, nodes.joined_ms, excluded.joined_ms), "
        "expires_ms = excluded.expires_ms, data = excluded.data",
        (node.name, node.joined_ms, node.expires_ms, _encode(node)),
    )


def list_nodes(db: sqlite3.Connection, *, now_ms: int) -> tuple[JoinedNode, ...]:
    rows = db.execute("SELECT joined_ms, data FROM nodes WHERE expires_ms > ? ORDER BY name", (now_ms,))
    return tuple(msgspec.structs.replace(_decode_node(data), joined_ms=joined_ms) for joined_ms, data in rows)


def drop_node(db: sqlite3.Connection, name: str) -> None:
    db.execute("DELETE FROM nodes WHERE name = ?", (name,))


def put_sighting(db: sqlite3.Connection, sighting: Sighting) -> None:
    db.execute(
        "INSERT INTO sightings (node, seen_ms, data) VALUES (?, ?, ?) ON CONFLICT (node) DO UPDATE SET "
        "seen_ms = excluded.seen_ms, data = excluded.data WHERE excluded.seen_ms >= sightings.seen_ms",
        (sighting.node, sighting.seen_ms, _encode(sighting)),
    )


def list_sightings(db: sqlite3.Connection, *, since_ms: int) -> tuple[Sighting, ...]:
    rows = db.execute("SELECT data FROM sightings WHERE seen_ms > ? ORDER BY node", (since_ms,))
    return tuple(_decode_sighting(data) for (data,) in rows)


def record_wake(db: sqlite3.Connection, node: str, *, at_ms: int, took_ms: int) -> None:
    db.execute("INSERT INTO wakes (node, at_ms, took_ms) VALUES (?, ?, ?)", (node, at_ms, took_ms))


def read_wakes(db: sqlite3.Connection, node: str, *, limit: int) -> tuple[int, ...]:
    rows = db.execute("SELECT took_ms FROM wakes WHERE node = ? ORDER BY at_ms DESC, n DESC LIMIT ?", (node, limit))
    return tuple(took_ms for (took_ms,) in rows)
