"""The SQLite file: how it is opened, and its schema as numbered migrations that only go forward.

Durability: WAL with `synchronous=NORMAL`. A committed write survives `kill -9` of the process, because it has reached
the operating system; a power cut or a kernel crash may lose the last commits, but never corrupts the file.

The file and its -wal and -shm (which SQLite gives the same mode) are readable by their owner only.
"""

import os
import shutil
import sqlite3
import time
from pathlib import Path

from functions.adapters.rules import disk_full, says
from functions.errors import ParleyError

ROOM_BYTES = 1024 * 1024  # free on the disk: the largest message, its answer and their events fit into it
BUSY_MS = 5_000  # another process may be writing; its transactions take milliseconds
WAL_PAGES = 4_000  # 16 MB: the running answers' pages are rewritten in each commit, so wait and copy them once
STATEMENTS = 256  # kept prepared per connection

# Text ids are unique within an owner only, so rows refer to each other by `n`. What changes at every checkpoint (runs)
# is apart from what is large (run_bodies): SQLite rewrites whole rows.
#
# A migration never changes once it has been released: there are files that have made it.
MIGRATIONS = (
    """
    CREATE TABLE chats (
        n INTEGER PRIMARY KEY, owner TEXT NOT NULL, id TEXT NOT NULL,
        updated_us INTEGER NOT NULL, archived INTEGER NOT NULL, data BLOB NOT NULL, UNIQUE (owner, id));
    CREATE INDEX chats_recent ON chats (owner, archived, updated_us, id);

    CREATE TABLE messages (
        n INTEGER PRIMARY KEY, chat INTEGER NOT NULL REFERENCES chats (n) ON DELETE CASCADE,
        id TEXT NOT NULL, parent_id TEXT, data BLOB NOT NULL, UNIQUE (chat, id));

    CREATE TABLE runs (
        n INTEGER PRIMARY KEY, owner TEXT NOT NULL, id TEXT NOT NULL,
        chat INTEGER REFERENCES chats (n) ON DELETE CASCADE,
        status TEXT NOT NULL, epoch INTEGER NOT NULL, worker TEXT, lease_until_ms INTEGER NOT NULL,
        last_seq INTEGER NOT NULL, stop_requested INTEGER NOT NULL, UNIQUE (owner, id));
    CREATE INDEX runs_of_chat ON runs (chat);
    CREATE TABLE run_bodies (
        run INTEGER PRIMARY KEY REFERENCES runs (n) ON DELETE CASCADE, data BLOB NOT NULL);

    CREATE TABLE events (
        run INTEGER NOT NULL REFERENCES runs (n) ON DELETE CASCADE, seq INTEGER NOT NULL, data BLOB NOT NULL,
        PRIMARY KEY (run, seq));

    CREATE TABLE turn_keys (
        owner TEXT NOT NULL, key TEXT NOT NULL, body_hash TEXT NOT NULL,
        run INTEGER NOT NULL REFERENCES runs (n) ON DELETE CASCADE, expires_ms INTEGER NOT NULL,
        PRIMARY KEY (owner, key)) WITHOUT ROWID;
    CREATE INDEX turn_keys_of_run ON turn_keys (run);
    CREATE INDEX turn_keys_expire ON turn_keys (expires_ms) WHERE expires_ms > 0;

    CREATE TABLE profiles (owner TEXT PRIMARY KEY, data BLOB NOT NULL) WITHOUT ROWID;

    CREATE TABLE jobs (
        id TEXT PRIMARY KEY, due_ms INTEGER NOT NULL, attempts INTEGER NOT NULL, receipt TEXT, data BLOB NOT NULL)
        WITHOUT ROWID;
    CREATE INDEX jobs_due ON jobs (due_ms, id);

    CREATE TABLE rates (
        owner TEXT NOT NULL, key TEXT NOT NULL, arrival_ms INTEGER NOT NULL, PRIMARY KEY (owner, key)) WITHOUT ROWID;
    CREATE TABLE totals (
        owner TEXT NOT NULL, key TEXT NOT NULL, total INTEGER NOT NULL, expires_ms INTEGER NOT NULL,
        PRIMARY KEY (owner, key)) WITHOUT ROWID;
    CREATE INDEX totals_expire ON totals (expires_ms) WHERE expires_ms > 0;

    CREATE TABLE collections (
        n INTEGER PRIMARY KEY, owner TEXT NOT NULL, name TEXT NOT NULL, length INTEGER NOT NULL, UNIQUE (owner, name));
    CREATE TABLE vectors (
        n INTEGER PRIMARY KEY, collection INTEGER NOT NULL REFERENCES collections (n) ON DELETE CASCADE,
        id TEXT NOT NULL, vector BLOB NOT NULL, data BLOB NOT NULL, UNIQUE (collection, id));
    """,
    """
    CREATE TABLE nodes (
        name TEXT PRIMARY KEY, joined_ms INTEGER NOT NULL, expires_ms INTEGER NOT NULL, data BLOB NOT NULL)
        WITHOUT ROWID;
    CREATE TABLE sightings (node TEXT PRIMARY KEY, seen_ms INTEGER NOT NULL, data BLOB NOT NULL) WITHOUT ROWID;
    CREATE TABLE wakes (
        n INTEGER PRIMARY KEY, node TEXT NOT NULL, at_ms INTEGER NOT NULL, took_ms INTEGER NOT NULL);
    CREATE INDEX wakes_of_node ON wakes (node, at_ms);

    CREATE TABLE uses (
        n INTEGER PRIMARY KEY, id TEXT NOT NULL UNIQUE, asked_ms INTEGER NOT NULL, data BLOB NOT NULL);
    CREATE INDEX uses_by_time ON uses (asked_ms, id);
    """,
    "ALTER TABLE messages ADD COLUMN feedback BLOB",
    """
    ALTER TABLE jobs ADD COLUMN lane TEXT NOT NULL DEFAULT 'runs';
    DROP INDEX jobs_due;
    CREATE INDEX jobs_due_in_lane ON jobs (lane, due_ms, id);

    CREATE TABLE summaries (
        chat INTEGER NOT NULL REFERENCES chats (n) ON DELETE CASCADE, version TEXT NOT NULL, upto TEXT NOT NULL,
        token TEXT NOT NULL, until_ms INTEGER NOT NULL, data BLOB, PRIMARY KEY (chat, version, upto)) WITHOUT ROWID;
    """,
    """
    ALTER TABLE collections ADD COLUMN stamp INTEGER NOT NULL DEFAULT 0;
    ALTER TABLE vectors ADD COLUMN expires_ms INTEGER NOT NULL DEFAULT 0;
    CREATE INDEX vectors_expire ON vectors (expires_ms) WHERE expires_ms > 0;
    """,
    """
    CREATE TABLE knowledge (
        n INTEGER PRIMARY KEY, owner TEXT NOT NULL, id TEXT NOT NULL, data BLOB NOT NULL, UNIQUE (owner, id));
    CREATE TABLE knowledge_members (
        owner TEXT NOT NULL, collection INTEGER NOT NULL REFERENCES knowledge (n) ON DELETE CASCADE,
        role TEXT NOT NULL, PRIMARY KEY (owner, collection)) WITHOUT ROWID;
    CREATE INDEX knowledge_members_of ON knowledge_members (collection);
    CREATE TABLE documents (
        n INTEGER PRIMARY KEY, owner TEXT NOT NULL, id TEXT NOT NULL,
        collection INTEGER NOT NULL REFERENCES knowledge (n) ON DELETE CASCADE, data BLOB NOT NULL, UNIQUE (owner, id));
    CREATE INDEX documents_of_collection ON documents (collection);
    CREATE TABLE chunks (
        document INTEGER NOT NULL REFERENCES documents (n) ON DELETE CASCADE, number INTEGER NOT NULL,
        data BLOB NOT NULL, PRIMARY KEY (document, number));
    CREATE TABLE document_parts (
        document INTEGER NOT NULL REFERENCES documents (n) ON DELETE CASCADE, kind TEXT NOT NULL,
        number INTEGER NOT NULL, data BLOB NOT NULL, PRIMARY KEY (document, kind, number));
    """,
    """
    ALTER TABLE chats ADD COLUMN expires_us INTEGER NOT NULL DEFAULT 0;
    ALTER TABLE chats ADD COLUMN remembered_ms INTEGER NOT NULL DEFAULT 0;
    CREATE INDEX chats_expire ON chats (expires_us) WHERE expires_us > 0;
    CREATE INDEX chats_by_age ON chats (updated_us);
    CREATE TABLE memories (
        owner TEXT NOT NULL, id TEXT NOT NULL, data BLOB NOT NULL, PRIMARY KEY (owner, id)) WITHOUT ROWID;
    CREATE TABLE erasures (who TEXT PRIMARY KEY, at_ms INTEGER NOT NULL) WITHOUT ROWID;
    """,
    "ALTER TABLE chats ADD COLUMN edition INTEGER NOT NULL DEFAULT 0",
    """
    CREATE TABLE templates (
        owner TEXT NOT NULL, id TEXT NOT NULL, data BLOB NOT NULL, PRIMARY KEY (owner, id)) WITHOUT ROWID;
    """,
    """
    CREATE TABLE shares (
        id TEXT PRIMARY KEY, owner TEXT NOT NULL,
        chat INTEGER NOT NULL UNIQUE REFERENCES chats (n) ON DELETE CASCADE, data BLOB NOT NULL) WITHOUT ROWID;
    CREATE INDEX shares_of_owner ON shares (owner);
    """,
    """
    CREATE TABLE verdict_counts (
        day TEXT NOT NULL, stage TEXT NOT NULL, rail TEXT NOT NULL, action TEXT NOT NULL, count INTEGER NOT NULL,
        PRIMARY KEY (day, stage, rail, action)) WITHOUT ROWID;
    """,
    """
    CREATE TABLE meters (
        owner TEXT NOT NULL, meter TEXT NOT NULL, total INTEGER NOT NULL, reserved INTEGER NOT NULL,
        expires_ms INTEGER NOT NULL, PRIMARY KEY (owner, meter)) WITHOUT ROWID;
    CREATE TABLE holds (
        account TEXT NOT NULL, id TEXT NOT NULL, owner TEXT NOT NULL, at_ms INTEGER NOT NULL, data BLOB NOT NULL,
        PRIMARY KEY (account, id)) WITHOUT ROWID;
    CREATE TABLE limits (owner TEXT PRIMARY KEY, data BLOB NOT NULL) WITHOUT ROWID;
    CREATE TABLE rules (n INTEGER PRIMARY KEY, data BLOB NOT NULL);
    """,
    """
    CREATE TABLE users (owner TEXT PRIMARY KEY, is_admin INTEGER NOT NULL, data BLOB NOT NULL) WITHOUT ROWID;
    CREATE TABLE identities (
        issuer TEXT NOT NULL, subject TEXT NOT NULL, owner TEXT NOT NULL, PRIMARY KEY (issuer, subject)) WITHOUT ROWID;
    CREATE TABLE api_keys (
        owner TEXT NOT NULL, id TEXT NOT NULL, digest TEXT NOT NULL UNIQUE, data BLOB NOT NULL,
        PRIMARY KEY (owner, id)) WITHOUT ROWID;
    CREATE TABLE key_origins (
        origin TEXT NOT NULL, owner TEXT NOT NULL, key_id TEXT NOT NULL,
        PRIMARY KEY (origin, owner, key_id)) WITHOUT ROWID;
    CREATE TABLE sessions (
        owner TEXT NOT NULL, id TEXT NOT NULL, digest TEXT NOT NULL UNIQUE, expires_s REAL NOT NULL, data BLOB NOT NULL,
        PRIMARY KEY (owner, id)) WITHOUT ROWID;
    CREATE INDEX sessions_by_end ON sessions (expires_s);
    CREATE TABLE invitations (
        id TEXT PRIMARY KEY, digest TEXT UNIQUE, expires_s REAL NOT NULL, data BLOB NOT NULL) WITHOUT ROWID
    """,
)


def connect(path: Path, *, writes: bool) -> sqlite3.Connection:
    """A connection in autocommit mode: whoever writes says BEGIN IMMEDIATE."""
    db = _connect(path)
    _set_up(db, writes=writes)
    return db


def _connect(path: Path) -> sqlite3.Connection:
    return sqlite3.connect(
        path, timeout=BUSY_MS / 1000, isolation_level=None, check_same_thread=False, cached_statements=STATEMENTS
    )


def _set_up(db: sqlite3.Connection, *, writes: bool) -> None:
    db.execute("PRAGMA synchronous = NORMAL")
    db.execute("PRAGMA foreign_keys = ON")
    db.execute(f"PRAGMA wal_autocheckpoint = {WAL_PAGES}")
    db.execute("PRAGMA secure_delete = ON")  # what a user deletes is overwritten
    if not writes:
        db.execute("PRAGMA query_only = ON")
        db.create_function("says", 2, says, deterministic=True)


def open_file(path: Path) -> sqlite3.Connection:
    """The writing connection, on a file that exists, is private, in WAL mode and of the newest schema."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        # Made here, because SQLite would make it with the process's umask.
        os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600))
        path.chmod(0o600)
    except OSError as exc:
        raise ParleyError(f"The store's file cannot be opened for writing: {exc.strerror}.") from exc
    deadline = time.monotonic() + BUSY_MS / 1000
    while True:
        try:
            return _open(path)
        except sqlite3.OperationalError as exc:
            # Two processes make one new file: who turns WAL on needs it alone, and SQLite does not wait for that.
            if exc.sqlite_errorcode & 0xFF not in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED):
                raise _unusable(exc) from exc
            if time.monotonic() > deadline:
                raise _unusable(exc) from exc
            time.sleep(0.02)
        except sqlite3.Error as exc:
            raise _unusable(exc) from exc


def _unusable(error: sqlite3.Error) -> ParleyError:
    return ParleyError(f"The store's file is no usable SQLite database ({error}).")


def _open(path: Path) -> sqlite3.Connection:
    db = _connect(path)
    try:
        _set_up(db, writes=True)
        if db.execute("PRAGMA journal_mode = WAL").fetchone()[0] != "wal":
            raise ParleyError("The store needs a local disk: SQLite's WAL mode does not work on this file system.")
        migrate(db)
    except BaseException:
        db.close()
        raise
    return db


def migrate(db: sqlite3.Connection) -> None:
    """Apply what is missing. Two processes may start at once: the version is read again under the lock."""
    if _version(db) == len(MIGRATIONS):
        return
    db.execute("BEGIN IMMEDIATE")
    try:
        for number in range(_version(db), len(MIGRATIONS)):
            for statement in MIGRATIONS[number].split(";"):
                db.execute(statement)
            db.execute(f"PRAGMA user_version = {number + 1}")
        db.execute("COMMIT")
    except BaseException:
        db.execute("ROLLBACK")
        raise


def prove_writable(db: sqlite3.Connection, path: Path) -> None:
    """Within a transaction: its COMMIT fails when the file cannot be written. Raises StoreUnavailable when there is
    hardly any room left, because SQLite itself only notices that its log must grow and cannot.

    Writing the version that stands there already writes a page all the same, and changes nothing.
    """
    if shutil.disk_usage(path).free < ROOM_BYTES:
        raise disk_full()
    (version,) = db.execute("PRAGMA user_version").fetchone()
    db.execute(f"PRAGMA user_version = {version}")


def _version(db: sqlite3.Connection) -> int:
    version = int(db.execute("PRAGMA user_version").fetchone()[0])
    if version > len(MIGRATIONS):
        raise ParleyError(
            f"The store's file was written by a newer Parley (schema {version}, this one knows {len(MIGRATIONS)}). "
            "Upgrade Parley, or point PARLEY_STORE_URL at another file."
        )
    return version
