"""What only a file can do: its mode, its schema, other processes, and kill -9."""

import asyncio
import hashlib
import os
import shutil
import signal
import sqlite3
import stat
import subprocess
import sys
from pathlib import Path
from typing import Any

import msgspec
import pytest

from functions.adapters import sqlite_chats, sqlite_jobs, sqlite_ledger, sqlite_retention, sqlite_runs, sqlite_sweep
from functions.adapters.sqlite import SqliteStore
from functions.adapters.sqlite_schema import MIGRATIONS, open_file
from functions.chat.messages import Chat, new_id
from functions.errors import Conflict, Fenced, ParleyError
from functions.ports import NewTurn
from tests.contracts.makers import (
    a_chat,
    a_message,
    a_node,
    a_turn,
    a_use,
    begun_chat,
    claimed,
    deltas,
    finished_chat,
)

REPOSITORY = Path(__file__).parents[2]


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def run_python(code: str, *arguments: str) -> "subprocess.Popen[str]":
    return subprocess.Popen(
        [sys.executable, "-c", code, *arguments], stdout=subprocess.PIPE, text=True, cwd=REPOSITORY
    )  # fmt: skip


async def test_the_file_and_its_companions_are_private(tmp_path: Path, owner: str) -> None:
    path = tmp_path / "new" / "parley.db"
    store = await SqliteStore.open(path)
    await store.create_chat(owner, a_chat())

    files = sorted(file.name for file in path.parent.iterdir())
    assert files == ["parley.db", "parley.db-shm", "parley.db-wal"]
    assert {mode(path.parent / name) for name in files} == {0o600}
    assert mode(path.parent) == 0o700
    await store.close()


async def test_an_existing_file_is_made_private(tmp_path: Path) -> None:
    path = tmp_path / "parley.db"
    path.touch(mode=0o644)

    await (await SqliteStore.open(path)).close()

    assert mode(path) == 0o600


async def test_what_was_stored_is_there_after_reopening(tmp_path: Path, owner: str) -> None:
    first = await SqliteStore.open(tmp_path / "parley.db")
    chat, run = await finished_chat(first, owner)
    await first.close()

    second = await SqliteStore.open(tmp_path / "parley.db")

    assert await second.get_run(owner, run.id) == run
    assert len((await second.list_messages(owner, chat.id)).data) == 2
    await second.close()


async def test_a_file_of_a_newer_parley_is_refused_and_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "parley.db"
    await (await SqliteStore.open(path)).close()
    with sqlite3.connect(path) as db:
        db.execute(f"PRAGMA user_version = {len(MIGRATIONS) + 1}")
    db.close()

    with pytest.raises(ParleyError, match="newer Parley"):
        await SqliteStore.open(path)

    db = sqlite3.connect(path)
    assert db.execute("PRAGMA user_version").fetchone() == (len(MIGRATIONS) + 1,)
    db.close()


def write_as_release_one(db: sqlite3.Connection, owner: str, chat: Chat, turn: NewTurn) -> None:
    """A chat with a turn begun in it, by the statements of that release."""
    asked, run, encode = turn.user_message, turn.run, msgspec.json.encode
    assert asked is not None
    rows = {
        "chats (n, owner, id, updated_us, archived, data)": (1, owner, chat.id, 5, 0, encode(chat)),
        "messages (chat, id, parent_id, data)": (1, asked.id, None, encode(asked)),
        "runs (n, owner, id, chat, status, epoch, lease_until_ms, last_seq, stop_requested)": (
            *(1, owner, run.id, 1, run.status, 0, 0, 1, 0),
        ),
        "run_bodies (run, data)": (1, encode(run)),
        "events (run, seq, data)": (1, 1, turn.events[0].data),
        "jobs (id, due_ms, attempts, receipt, data)": (run.id, 5_000, 0, None, encode(turn.job)),
    }
    for into, row in rows.items():
        db.execute(f"INSERT INTO {into} VALUES ({', '.join('?' * len(row))})", row)


@pytest.mark.parametrize("version", range(1, len(MIGRATIONS) + 1))
async def test_a_file_of_each_schema_is_brought_forward_with_all_it_holds(
    version: int, tmp_path: Path, owner: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    path, chat = tmp_path / "parley.db", a_chat(title="of the first release")
    turn = a_turn(owner, chat.id)

    def release_one() -> None:
        with monkeypatch.context() as released:
            released.setattr("functions.adapters.sqlite_schema.MIGRATIONS", MIGRATIONS[:1])
            db = open_file(path)
        write_as_release_one(db, owner, chat, turn)
        tables = {name for (name,) in db.execute("SELECT name FROM sqlite_schema WHERE type = 'table'")}
        assert db.execute("PRAGMA user_version").fetchone() == (1,)
        assert tables.isdisjoint({"nodes", "sightings", "wakes", "uses"})
        db.close()
        with monkeypatch.context() as released:  # and has been opened by a later one since
            released.setattr("functions.adapters.sqlite_schema.MIGRATIONS", MIGRATIONS[:version])
            db = open_file(path)
        assert db.execute("PRAGMA user_version").fetchone() == (version,)
        db.close()

    await asyncio.to_thread(release_one)

    for _ in range(2):  # brought forward, and then as it is
        store = await SqliteStore.open(path)
        assert (await store.get_chat(owner, chat.id)).title == "of the first release"
        assert (await store.list_messages(owner, chat.id)).data == (turn.user_message,)
        assert len(await store.read_events(owner, turn.run.id)) == 1
        await store.put_node(a_node())
        await store.record_use(use := a_use(1_000, id="once"))
        assert await store.list_nodes(now_ms=2_000) == (a_node(),)
        assert [kept.id for kept in await store.read_uses(from_ms=0, to_ms=2_000)] == [use.id]
        job = await store.take_job(now_ms=5_000, hidden_ms=0)
        assert (job and job.id, job and job.job) == (turn.run.id, turn.job)
        await store.close()


def test_what_has_been_released_of_the_schema_stays_as_it_is() -> None:
    digests = [hashlib.sha256(migration.encode()).hexdigest() for migration in MIGRATIONS]

    assert digests[0] == "a4d5ba54d52332bf884b02cef92703da78f7914c139c788043ede97c6d30887d"


async def test_a_file_that_is_no_database_is_refused_and_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "parley.db"
    path.write_text("These are my notes, and no database at all.\n" * 100)

    with pytest.raises(ParleyError, match="no usable SQLite database"):
        await SqliteStore.open(path)

    assert path.read_text().startswith("These are my notes")


async def test_a_folder_is_no_file(tmp_path: Path) -> None:
    with pytest.raises(ParleyError, match="cannot be opened"):
        await SqliteStore.open(tmp_path)


async def test_four_processes_may_make_the_file_at_once(tmp_path: Path) -> None:
    code = "import asyncio, sys; from functions.adapters.sqlite import SqliteStore as S\n"
    code += "async def main():\n  await (await S.open(sys.argv[1])).close()\nasyncio.run(main())"

    processes = [run_python(code, str(tmp_path / "parley.db")) for _ in range(4)]

    assert [await asyncio.to_thread(process.wait) for process in processes] == [0] * 4
    for process in processes:
        process.stdout.close()  # type: ignore[union-attr]


ADD_AND_BEGIN = """
import asyncio, sys
from functions.adapters.sqlite import SqliteStore
from functions.errors import Conflict
from tests.contracts.makers import a_message, a_turn

async def main(path, owner, chat_id, message_id):
    store = await SqliteStore.open(path)
    print("ready", flush=True)
    sys.stdin.readline()
    turn = a_turn(owner, chat_id, message=a_message(chat_id, id=message_id))
    begun, *added = await asyncio.gather(
        store.begin_turn(owner, turn), *(store.add(owner, "k", 1, limit=150) for _ in range(100)))
    print(begun[1], sum(total is not None for total in added), begun[0].id)
    await store.close()

asyncio.run(main(*sys.argv[1:]))
"""


async def test_conditions_hold_between_processes(tmp_path: Path, owner: str) -> None:
    path = tmp_path / "parley.db"
    store = await SqliteStore.open(path)
    chat = a_chat()
    await store.create_chat(owner, chat)
    arguments = [sys.executable, "-c", ADD_AND_BEGIN, str(path), owner, chat.id, new_id()]
    processes = [
        await asyncio.create_subprocess_exec(
            *arguments, stdin=subprocess.PIPE, stdout=subprocess.PIPE, cwd=REPOSITORY
        )
        for _ in range(2)
    ]  # fmt: skip
    for process in processes:
        assert await process.stdout.readline() == b"ready\n"  # type: ignore[union-attr]

    outputs = await asyncio.gather(*(process.communicate(b"go\n") for process in processes))

    lines = [output.decode().split() for output, _ in outputs]
    assert sorted(line[0] for line in lines) == ["False", "True"]
    assert sum(int(line[1]) for line in lines) == 150
    assert len({line[2] for line in lines}) == 1
    assert await store.add(owner, "k", 0) == 150
    await store.close()


WRITE_FOREVER = """
import asyncio, sys
from functions.adapters.sqlite import SqliteStore
from tests.contracts.makers import a_turn, claimed, deltas

async def main(path, owner):
    store = await SqliteStore.open(path)
    run, _ = await store.begin_turn(owner, a_turn(owner, None))
    run = await claimed(store, owner, run)
    print(run.id, flush=True)
    seq = 2
    while True:
        await store.append_events(owner, run.id, run.epoch, deltas(seq, "x" * 200), lease_until_ms=9)
        print(seq, flush=True)
        seq += 1

asyncio.run(main(*sys.argv[1:]))
"""


@pytest.mark.parametrize("acknowledged", [1, 60, 300])
async def test_an_acknowledged_write_survives_kill_9(tmp_path: Path, owner: str, acknowledged: int) -> None:
    path = tmp_path / "parley.db"
    process = run_python(WRITE_FOREVER, str(path), owner)
    assert process.stdout is not None

    def read_and_kill() -> list[str]:
        assert process.stdout is not None
        lines = [process.stdout.readline() for _ in range(acknowledged + 1)]
        os.kill(process.pid, signal.SIGKILL)
        process.wait()
        return [*lines, *process.stdout]

    run_id, *seqs = (line.strip() for line in await asyncio.to_thread(read_and_kill))
    process.stdout.close()

    store = await SqliteStore.open(path)
    stored = [event.seq for event in await store.read_events(owner, run_id)]
    run = await store.get_run(owner, run_id)
    await store.close()
    assert process.returncode == -signal.SIGKILL
    # Written at most one more than acknowledged, and never half.
    assert len(stored) - 1 - len(seqs) in (0, 1)
    assert stored == list(range(1, run.last_seq + 1))


async def test_a_deleted_chat_is_overwritten_in_the_file(tmp_path: Path, owner: str) -> None:
    store = await SqliteStore.open(tmp_path / "parley.db")
    chat = a_chat(title="a-secret-title")
    await store.create_chat(owner, chat)
    await store.begin_turn(owner, a_turn(owner, chat.id, message=a_message(chat.id, content="a-secret-text" * 1000)))
    await store.delete_chat(owner, chat.id)
    await store.close()  # moves the write-ahead log into the file

    content = (tmp_path / "parley.db").read_bytes()

    assert b"a-secret" not in content


async def test_one_failure_in_a_mixed_batch_hurts_nobody(tmp_path: Path, owner: str) -> None:
    store = await SqliteStore.open(tmp_path / "parley.db")
    chat, run = await begun_chat(store, owner)
    run = await claimed(store, owner, run)
    other = a_chat()
    await store.create_chat(owner, other)
    calls: list[Any] = []
    for seq in range(2, 12):
        calls += [
            store.append_events(owner, run.id, run.epoch, deltas(seq, "x"), lease_until_ms=9),
            store.create_chat(owner, a_chat(id=chat.id)),
            store.append_events(owner, run.id, 77, deltas(seq, "x"), lease_until_ms=9),
            store.add(owner, "k", 1),
            # Fails at its run, when its message is already written.
            store.begin_turn(owner, a_turn(owner, other.id, run={"id": run.id})),
        ]

    results = await asyncio.gather(*calls, return_exceptions=True)

    assert results[0::5] == [False] * 10
    assert all(isinstance(result, Conflict) for result in results[1::5] + results[4::5])
    assert all(isinstance(result, Fenced) for result in results[2::5])
    assert results[3::5] == list(range(1, 11))
    assert (await store.list_messages(owner, other.id)).data == ()
    assert await store.get_chat(owner, other.id) == other
    assert (await store.get_run(owner, run.id)).last_seq == 11
    await store.close()


async def test_checkpoints_of_one_run_are_made_in_the_order_they_were_queued(tmp_path: Path, owner: str) -> None:
    store = await SqliteStore.open(tmp_path / "parley.db")
    _, run = await begun_chat(store, owner)
    run = await claimed(store, owner, run)

    appends = [
        store.append_events(owner, run.id, run.epoch, deltas(seq, str(seq)), lease_until_ms=9) for seq in range(2, 99)
    ]
    assert await asyncio.gather(*appends) == [False] * 97

    assert (await store.get_run(owner, run.id)).last_seq == 98
    await store.close()


async def test_a_locked_file_gives_a_clear_error_and_works_again(
    tmp_path: Path, owner: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("functions.adapters.sqlite_schema.BUSY_MS", 10)
    store = await SqliteStore.open(tmp_path / "parley.db")
    other = sqlite3.connect(tmp_path / "parley.db", isolation_level=None, check_same_thread=False)
    await asyncio.to_thread(other.execute, "BEGIN IMMEDIATE")

    with pytest.raises(ParleyError, match="could not answer") as caught:
        await store.create_chat(owner, a_chat())
    with pytest.raises(ParleyError, match="could not answer"):
        await store.ready()
    await asyncio.to_thread(other.execute, "ROLLBACK")
    other.close()
    await store.create_chat(owner, a_chat())

    assert caught.value.code == "store_unavailable"
    await store.close()


async def test_the_frequent_statements_go_through_indexes(tmp_path: Path) -> None:
    await (await SqliteStore.open(tmp_path / "parley.db")).close()
    db = sqlite3.connect(tmp_path / "parley.db")

    def plan(statement: str, arguments: list[Any] | dict[str, Any]) -> str:
        return " ".join(row[3] for row in db.execute(f"EXPLAIN QUERY PLAN {statement}", arguments))

    assert "chats_recent" in plan(sqlite_chats._ALL_RECENT, ["o", 0, 1, "", 2])
    assert "TEMP B-TREE" not in plan(sqlite_chats._ALL_RECENT, ["o", 0, 1, "", 2])
    overdue = plan(sqlite_retention._OVERDUE, {"now_us": 1, "since_us": 1, "after": 0, "limit": 2})
    assert ("chats_expire" in overdue, "chats_by_age" in overdue) == (True, True)
    for template, width in ((sqlite_runs._ADVANCE, 6), (sqlite_runs._INSERT, 4), (sqlite_runs._STOP_REQUESTED, 2)):
        statement, values = sqlite_runs._filled(template, width, [(None,) * width] * 64)
        assert "SCAN runs" not in plan(statement, values)
    assert plan(sqlite_ledger.READ_USES, [1, 2]) == "SEARCH uses USING INDEX uses_by_time (asked_ms>? AND asked_ms<?)"
    wakes = plan("SELECT took_ms FROM wakes WHERE node = ? ORDER BY at_ms DESC, n DESC LIMIT ?", ["a", 1])
    assert wakes == "SEARCH wakes USING INDEX wakes_of_node (node=?)"
    assert "SCAN runs" not in plan(sqlite_sweep.OLD_LOGS, ["", 1])
    assert "SCAN events" not in plan(sqlite_sweep.OLD_LOGS, ["", 1])
    assert "SCAN jobs" not in plan(sqlite_jobs.NEXT, ["runs", 1])
    assert "TEMP B-TREE" not in plan(sqlite_jobs.NEXT, ["runs", 1])
    db.close()


def test_processes_that_make_one_new_file_at_the_same_moment_all_get_it(tmp_path: Path) -> None:
    """Turning WAL on needs the file alone, and SQLite's busy timeout does not cover it."""
    opens = (
        "import sys; from pathlib import Path; from functions.adapters.sqlite_schema import open_file; "
        "print(flush=True); sys.stdin.readline(); open_file(Path(sys.argv[1])).close()"
    )
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    for n in range(10):
        command = [sys.executable, "-c", opens, str(tmp_path / f"{n}.db")]
        racers = [subprocess.Popen(command, **pipes) for _ in range(6)]
        for racer in racers:
            assert racer.stdout
            racer.stdout.readline()  # it has imported everything
        for racer in racers:
            assert racer.stdin
            racer.stdin.write(b"go\n")
            racer.stdin.flush()

        said = [racer.communicate(timeout=30)[1] for racer in racers]

        assert [racer.returncode for racer in racers] == [0] * 6, said


async def said(process: asyncio.subprocess.Process) -> list[str]:
    output, _ = await process.communicate()
    assert process.returncode == 0
    return output.decode().splitlines()


READY_TO_WRITE = """
import asyncio, os, resource, sys
from pathlib import Path
from functions.adapters.sqlite import SqliteStore
from functions.errors import ParleyError
from tests.contracts.makers import a_chat

async def tell(call):
    try:
        await call
        print("ok")
    except ParleyError as error:
        print(error.code, error)

async def both(store):
    await tell(store.ready())
    await tell(store.create_chat("ana", a_chat(title="a title" * 20_000)))
"""

FULL_DISK = """
async def main(folder):
    store, filler = await SqliteStore.open(folder / "parley.db"), folder / "filler"
    await both(store)
    with filler.open("wb", buffering=0) as file:
        try:
            while file.write(bytes(4096)):
                pass
        except OSError:
            pass
    await both(store)
    filler.unlink()
    await both(store)
    print(len((await store.list_chats("ana", limit=9)).data))
    await store.close()

asyncio.run(main(Path(sys.argv[1])))
"""


async def test_a_full_disk_is_not_ready_until_there_is_room_again(tmp_path: Path) -> None:
    unshare = ["unshare", "--user", "--map-root-user", "--mount"]
    if not shutil.which("unshare"):
        pytest.skip("a small disk of one's own needs Linux")
    if subprocess.run([*unshare, "true"], check=False, stderr=subprocess.DEVNULL).returncode:
        pytest.skip("a small disk of one's own needs user namespaces, which are off here")
    mount = 'mount -t tmpfs -o size=4m tmpfs "$1" && exec "$2" -c "$3" "$1"'
    arguments = ["sh", "-c", mount, "sh", str(tmp_path), sys.executable, READY_TO_WRITE + FULL_DISK]

    process = await asyncio.create_subprocess_exec(*unshare, *arguments, stdout=subprocess.PIPE, cwd=REPOSITORY)

    full = "store_unavailable The disk that the store is on is full. Free some space on it, then try again."
    assert await said(process) == ["ok", "ok", full, full, "ok", "ok", "2"]


NO_WRITES = """
async def main(folder):
    store = await SqliteStore.open(folder / "parley.db")
    await both(store)
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, hard))  # the system takes no more bytes for any file
    await both(store)
    resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    await both(store)
    await store.close()

asyncio.run(main(Path(sys.argv[1])))
"""


async def test_a_file_that_takes_no_writes_is_not_ready_until_it_does(tmp_path: Path) -> None:
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-c", READY_TO_WRITE + NO_WRITES, str(tmp_path), stdout=subprocess.PIPE, cwd=REPOSITORY
    )  # fmt: skip

    refused = "store_unavailable The store could not answer: SQLITE_IOERR_WRITE. Try again in a moment."
    assert await said(process) == ["ok", "ok", refused, refused, "ok", "ok"]
