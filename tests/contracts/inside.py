"""Looks behind the port: what is really stored of an owner, whoever can still reach it; and a house without nodes."""

import sqlite3

from functions.adapters.dynamo import DynamoStore
from functions.adapters.dynamo_calls import delete_all
from functions.adapters.dynamo_models import NODES_PK, Tables
from functions.adapters.sqlite import SqliteStore
from tests.contracts.makers import Store

_SQLITE_ROWS = """
    SELECT 'chat ' || id FROM chats WHERE owner = :owner
    UNION ALL SELECT 'message ' || id FROM messages
    UNION ALL SELECT 'summary ' || upto FROM summaries
    UNION ALL SELECT 'run ' || id FROM runs WHERE owner = :owner
    UNION ALL SELECT 'event ' || seq FROM events
    UNION ALL SELECT 'body ' || run FROM run_bodies
    UNION ALL SELECT 'key ' || key FROM turn_keys WHERE owner = :owner
    UNION ALL SELECT 'job ' || id FROM jobs"""


async def leftovers(store: Store, owner: str) -> list[str]:
    """The rows of an owner's chats, runs and jobs. For SQLite of all owners: each test has its own file."""
    if isinstance(store, SqliteStore):

        def rows(db: sqlite3.Connection) -> list[str]:
            return [row for (row,) in db.execute(_SQLITE_ROWS, {"owner": owner})]

        return await store._readers.read(rows)
    assert isinstance(store, DynamoStore)
    return await store._call(
        lambda tables: [
            *(f"{row.pk} {row.sk}" for row in tables.chat.scan(tables.chat.pk.startswith(f"U#{owner}"))),
            *(f"job {job.id}" for job in tables.jobs.scan()),
        ]
    )


async def forget_nodes(store: Store) -> None:
    """DynamoDB's tables are shared between tests, and nodes belong to no owner."""
    if isinstance(store, DynamoStore):

        def delete(tables: Tables) -> None:
            delete_all(tables.chat, [(row.pk, row.sk) for row in tables.chat.query(NODES_PK)])

        await store._call(delete)
