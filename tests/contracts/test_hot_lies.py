"""A shared cache that lies, hangs, is dead or comes back: whatever it does, what is read is what the store has."""

import asyncio
import random
import subprocess
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from valkey.asyncio import Valkey

from functions.adapters.sqlite import SqliteStore
from functions.chat.messages import Chat, Feedback, new_id
from functions.inference.breaker import FAULTS, OPEN_SECONDS
from tests.contracts.hot import Hot, hot
from tests.contracts.makers import T0, Store, a_chat, a_message, a_turn, claimed, ended, the_answer, the_end
from tests.contracts.test_hot import same
from tests.valkey_server import valkey_server

Fields = dict[bytes, bytes]


@pytest.fixture
async def store(tmp_path: Path) -> AsyncIterator[Store]:
    opened: Any = await SqliteStore.open(tmp_path / "parley.db")
    yield opened
    await opened.close()


@pytest.fixture
async def raw(valkey_url: str) -> AsyncIterator[Any]:
    client = Valkey.from_url(valkey_url)
    yield client
    await client.aclose()


@asynccontextmanager
async def process(store: Store, url: str, **options: Any) -> AsyncIterator[Hot]:
    made = hot(store, url, **options)
    yield made
    assert made.cache is not None
    await made.cache.close()


async def talk(store: Store, owner: str, chat: Chat, ids: Sequence[str], said: str) -> str:
    """Turns with these ids; the last answer's."""
    await store.create_chat(owner, chat)
    parent = None
    for question, answer in zip(ids[::2], ids[1::2], strict=True):
        message = a_message(chat.id, parent, id=question, content=f"{said} asks")
        run, _ = await store.begin_turn(
            owner, a_turn(owner, chat.id, message=message, key=new_id(), run={"assistant_message_id": answer})
        )
        run = await claimed(store, owner, run)
        await store.finish_run(owner, ended(run), [the_end(2)], the_answer(run, f"{said} answers"))
        parent = answer
    assert parent is not None
    return parent


def place_of(made: Hot, owner: str, chat_id: str) -> str:
    assert made._shared is not None
    return made._shared[1].place(owner, chat_id)


def flip(data: bytes, at: int) -> bytes:
    return data[:at] + bytes((data[at] ^ 1,)) + data[at + 1 :]


def swapped(fields: Fields) -> Fields:
    names = list(fields)
    return dict(zip(names, [fields[name] for name in names[1:] + names[:1]], strict=True))


LIES: dict[str, Callable[[Fields], Fields]] = {
    "a bit of the seal is another": lambda fields: {name: flip(data, 9) for name, data in fields.items()},
    "a bit of the edition is another": lambda fields: {name: flip(data, 36) for name, data in fields.items()},
    "a bit of the text is another": lambda fields: {name: flip(data, -40) for name, data in fields.items()},
    "the length of the edition is another": lambda fields: {name: flip(data, 33) for name, data in fields.items()},
    "the form is another": lambda fields: {name: b"2" + data[1:] for name, data in fields.items()},
    "the end is missing": lambda fields: {name: data[:-7] for name, data in fields.items()},
    "only the seal is there": lambda fields: {name: data[:33] for name, data in fields.items()},
    "nothing but the form is there": lambda fields: {name: data[:1] for name, data in fields.items()},
    "values are empty": lambda fields: dict.fromkeys(fields, b""),
    "values are of other messages": swapped,
    "messages are missing": lambda fields: dict(list(fields.items())[1:]),
    "it is no longer a seal but JSON": lambda fields: {name: data[50:] for name, data in fields.items()},
}


@pytest.mark.parametrize("lie", LIES)
async def test_what_was_tampered_with_is_not_read(
    store: Store, owner: str, valkey_url: str, raw: Any, lie: str, caplog: pytest.LogCaptureFixture
) -> None:
    chat, ids = a_chat(), [f"m{n}" for n in range(4)]
    leaf = await talk(store, owner, chat, ids, "somebody")
    async with process(store, valkey_url) as one, process(store, valkey_url) as other:
        await same(one, store, owner, chat.id, leaf)
        await one.written()
        place = place_of(one, owner, chat.id)
        fields = await raw.hgetall(place)
        assert len(fields) == 4
        await raw.delete(place)
        await raw.hset(place, mapping=LIES[lie](fields))

        await same(other, store, owner, chat.id, leaf)
        await other.written()

        assert other.watched.spared == 0
        assert "asks" not in caplog.text
        assert set(await raw.hgetall(place)) == set(fields)  # and it is whole again
        other.forget_all()
        await same(other, store, owner, chat.id, leaf)
        assert other.watched.spared == 1


async def test_what_was_sealed_for_another_is_not_read(store: Store, owner: str, valkey_url: str, raw: Any) -> None:
    # The same ids everywhere: only the seal knows whose it is.
    chat, ids, elsewhere = a_chat(), ["question", "answer"], a_chat()
    for who, what in ((owner, chat), ("thief", chat), (owner, elsewhere)):
        await talk(store, who, what, ids, f"{who} in {what.id}")
    async with process(store, valkey_url) as one, process(store, valkey_url, key=b"another") as stranger:
        await same(one, store, owner, chat.id, "answer")
        await one.written()
        mine = await raw.hgetall(place_of(one, owner, chat.id))
        for made, who, what in ((one, "thief", chat), (one, owner, elsewhere), (stranger, owner, chat)):
            place = place_of(made, who, what.id)
            await raw.delete(place)
            await raw.hset(place, mapping=mine)
            made.forget_all()

            path = await same(made, store, who, what.id, "answer")

            assert path[0].content == f"{who} in {what.id} asks"
        assert one.watched.spared == stranger.watched.spared == 0


async def test_old_values_that_come_back_are_not_read(store: Store, owner: str, valkey_url: str, raw: Any) -> None:
    chat = a_chat()
    leaf = await talk(store, owner, chat, ["question", "answer"], "somebody")
    async with process(store, valkey_url) as made:
        await same(made, store, owner, chat.id, leaf)
        await made.written()
        old = await raw.hgetall(place_of(made, owner, chat.id))
        await store.put_feedback(owner, chat.id, leaf, Feedback(rating=1, at=T0))
        for _ in range(2):
            await made.written()
            await raw.hset(place_of(made, owner, chat.id), mapping=old)
            made.forget_all()
            path = await same(made, store, owner, chat.id, leaf)
            assert path[-1].feedback == Feedback(rating=1, at=T0)
        assert made.watched.spared == 0


async def test_a_value_of_another_kind_is_no_value(store: Store, owner: str, valkey_url: str, raw: Any) -> None:
    chat = a_chat()
    leaf = await talk(store, owner, chat, ["question", "answer"], "somebody")
    async with process(store, valkey_url) as made:
        await raw.set(place_of(made, owner, chat.id), b"a text")

        await same(made, store, owner, chat.id, leaf)
        await made.written()
        made.forget_all()
        await same(made, store, owner, chat.id, leaf)

        assert (made.watched.paths, made.watched.spared) == (1, 1)  # it was replaced


@pytest.mark.parametrize("seed", range(4))
async def test_whatever_happens_everybody_reads_what_the_store_has(
    stores: tuple[Store, Store], adapter: str, owner: str, valkey_url: str, raw: Any, seed: int
) -> None:
    """Two processes and one that knows no cache do what they like in one chat, while the cache is tampered with."""
    chance, plain = random.Random(seed), stores[0]
    chat, feedback = a_chat(), [None, *(Feedback(rating=1, comment=f"{n}", at=T0) for n in range(3))]
    async with process(stores[0], valkey_url) as one, process(stores[1], valkey_url) as other:
        await plain.create_chat(owner, chat)
        leaves: list[str] = []

        async def add(store: Any) -> None:
            found = await store.get_chat(owner, chat.id)
            answer = chance.choice([f"answer {len(leaves)}", *leaves])
            parents = [None] if answer in leaves else [found.active_leaf, *leaves]  # what is replaced leads nowhere
            message = a_message(chat.id, chance.choice(parents), content=f"{chance.random()}")
            run, _ = await store.begin_turn(
                owner, a_turn(owner, chat.id, message=message, run={"assistant_message_id": answer})
            )
            leaves.append(message.id)
            run = await claimed(store, owner, run)
            await store.finish_run(owner, ended(run), [the_end(2)], the_answer(run, f"{chance.random()}"))
            leaves.append(answer)

        async def rate(store: Any) -> None:
            if leaves:
                await store.put_feedback(owner, chat.id, chance.choice(leaves), chance.choice(feedback))

        async def make_again(store: Any) -> None:
            await store.delete_chat(owner, chat.id)
            await store.create_chat(owner, chat)
            leaves.clear()

        async def tamper(_: Any) -> None:
            place = place_of(one, owner, chat.id)
            if fields := await raw.hgetall(place):
                await raw.hset(place, mapping=chance.choice(list(LIES.values()))(fields))

        async def begin_again(_: Any) -> None:
            chance.choice((one, other)).forget_all()

        steps = [add] * 6 + [rate] * 3 + [tamper, begin_again] + [make_again]
        for _ in range(60 if adapter == "sqlite" else 15):
            await chance.choice(steps)(chance.choice((one, other, plain)))
            for leaf in chance.sample(leaves, min(2, len(leaves))):
                for made in (one, other):
                    await same(made, plain, owner, chat.id, leaf)

        assert one.watched.spared + other.watched.spared > 0


# -- dead, hanging, talking nonsense --------------------------------------------------------------------------------
class Clock:
    def __init__(self) -> None:
        self.seconds = 0.0

    def __call__(self) -> float:
        return self.seconds


async def test_a_cache_that_dies_and_comes_back_is_used_again(store: Store, owner: str, tmp_path: Path) -> None:
    chat, clock = a_chat(), Clock()
    leaf = await talk(store, owner, chat, ["question", "answer"], "somebody")

    async def read(made: Hot) -> None:
        made.forget_all()
        await same(made, store, owner, chat.id, leaf)
        await made.written()

    with valkey_server(tmp_path) as server:
        async with process(store, server.url, now=clock) as made:
            await read(made)
            await read(made)
            assert (made.watched.paths, made.watched.spared) == (1, 1)
            server.stop()
            for _ in range(4):
                await read(made)
            assert made.cache is not None
            assert made.cache.is_left_alone
            assert (made.watched.paths, made.watched.spared) == (5, 1)
            with valkey_server(tmp_path, port=server.port):
                await read(made)
                assert made.cache.is_left_alone  # not yet: nobody asks
                clock.seconds += OPEN_SECONDS + 1
                await read(made)
                await read(made)
                assert not made.cache.is_left_alone
                assert (made.watched.paths, made.watched.spared) == (7, 2)


async def test_a_cache_that_hangs_is_soon_left_alone(store: Store, owner: str, tmp_path: Path) -> None:
    chat = a_chat()
    leaf = await talk(store, owner, chat, ["question", "answer"], "somebody")
    with valkey_server(tmp_path) as server:
        async with process(store, server.url, call_seconds=0.05) as made:
            server.hang()
            async with asyncio.timeout(30):
                for _ in range(FAULTS):
                    made.forget_all()
                    await same(made, store, owner, chat.id, leaf)
                assert made.cache is not None
                assert made.cache.is_left_alone
                await made.delete_chat(owner, chat.id)  # nor does a delete wait for it
            server.go_on()


Talk = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


@asynccontextmanager
async def speaking(says: bytes) -> AsyncIterator[tuple[str, list[int]]]:
    """A server that answers everything with these bytes, and hangs up when there are none. (URL, its connections)"""
    connections: list[int] = []

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        connections.append(1)
        try:
            while says and await reader.read(65536):
                writer.write(says)
                await writer.drain()
        except ConnectionError:
            pass
        finally:
            writer.close()

    server = await asyncio.start_server(answer, "127.0.0.1", 0)
    try:
        yield f"redis://127.0.0.1:{server.sockets[0].getsockname()[1]}", connections
    finally:
        server.close()


NONSENSE = {
    "it hangs up": b"",
    "no protocol": b"HTTP/1.1 400 Bad Request\r\n\r\n",
    "an error": b"-NOAUTH Authentication required.\r\n",
    "a nil": b"$-1\r\n",
    "a number": b":7\r\n",
    "a simple string": b"+OK\r\n",
    "half of a pair": b"*1\r\n$8\r\nquestion\r\n",
    "pairs of numbers": b"*2\r\n:1\r\n:2\r\n",
    "lists in lists": b"*2\r\n*1\r\n:1\r\n*1\r\n:2\r\n",
    "very deep": b"*1\r\n" * 5000 + b":1\r\n",
    "a length that is none": b"*2\r\n$x\r\na\r\n$1\r\nb\r\n",
    "a negative length": b"*-7\r\n",
    "not UTF-8": b"*2\r\n$2\r\n\xff\xfe\r\n$2\r\n\x00\xff\r\n",
    "two answers": b"*0\r\n*2\r\n$8\r\nquestion\r\n$3\r\nlie\r\n",
    "an answer without an end": b"$900000\r\nabc",
}


@pytest.mark.parametrize("nonsense", NONSENSE)
async def test_a_cache_that_talks_nonsense_costs_a_read(store: Store, owner: str, nonsense: str) -> None:
    chat = a_chat()
    leaf = await talk(store, owner, chat, ["question", "answer"], "somebody")
    async with speaking(NONSENSE[nonsense]) as (url, connections), process(store, url, call_seconds=0.05) as made:
        for _ in range(3):
            made.forget_all()
            await same(made, store, owner, chat.id, leaf)
            await made.written()

        assert connections
        assert (made.watched.paths, made.watched.spared) == (3, 0)
        await made.delete_chat(owner, chat.id)
        await made.erase_owner(owner, now_ms=1)


async def test_a_cache_that_fails_is_not_asked_again_and_again(store: Store, owner: str) -> None:
    chat = a_chat()
    leaf = await talk(store, owner, chat, ["question", "answer"], "somebody")
    async with speaking(b"") as (url, connections), process(store, url) as made:
        for _ in range(20):
            made.forget_all()
            await same(made, store, owner, chat.id, leaf)
            await made.written()

        assert 1 <= len(connections) <= 2 * FAULTS


# -- TLS ----------------------------------------------------------------------------------------------------------
def certificate(folder: Path, name: str) -> tuple[Path, Path]:
    key, cert = folder / "key.pem", folder / "cert.pem"
    subject = ["-subj", f"/CN={name}", "-addext", f"subjectAltName=DNS:{name}"]
    making = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"]
    subprocess.run([*making, "-keyout", key, "-out", cert, "-days", "2", *subject], check=True, capture_output=True)
    return key, cert


@pytest.mark.parametrize(("name", "is_trusted", "is_used"), [
    ("localhost", True, True),
    ("localhost", False, False),
    ("elsewhere", True, False),
])  # fmt: skip
async def test_only_the_server_that_was_meant_is_told_anything(
    store: Store, owner: str, tmp_path: Path, name: str, is_trusted: bool, is_used: bool
) -> None:
    chat = a_chat()
    leaf = await talk(store, owner, chat, ["question", "answer"], "somebody")
    key, cert = certificate(tmp_path, name)
    port = 0
    with valkey_server(tmp_path) as plain:
        port = plain.port  # free again in a moment
    tls = ["--tls-port", str(port), "--tls-cert-file", str(cert), "--tls-key-file", str(key)]
    options = [*tls, "--tls-auth-clients", "no", "--requirepass", "open sesame", "--port", "0"]
    with valkey_server(tmp_path, *options, port=port) as server:
        url = f"rediss://:open%20sesame@localhost:{server.port}/0"
        url += f"?ssl_ca_certs={cert}" if is_trusted else ""
        async with process(store, url) as made:
            for _ in range(2):
                made.forget_all()
                await same(made, store, owner, chat.id, leaf)
                await made.written()

            assert made.watched.spared == int(is_used)
