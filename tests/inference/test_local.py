"""The embedded engine, the real one: llama.cpp in a child process, and the choice of its model."""

import asyncio
import os
import signal
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import AsyncIterator, Callable
from contextlib import aclosing
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from functions.chat.messages import Sampling
from functions.errors import BadInput, ContextTooLong, UpstreamError
from functions.inference import local
from functions.inference.engine import EMBED_TOKENS, SLOTS
from functions.inference.gateway import Gateway, Token
from functions.inference.local import DEMO_NOTICE, TINY_MODEL, Choice, LocalEngine, choose_embedder, choose_model
from functions.inference.nodes import ServedModel
from functions.settings import Settings
from tests.inference import random_model as random_gguf
from tests.inference.conftest import HELLO, QUICK, OpenGateway, listen
from tests.inference.test_download import CONTENT, FILE, running_hub

GREEDY = Sampling(temperature=0.0, max_tokens=24)


def choice(path: Path) -> Choice:
    return Choice(path=path, model=ServedModel(id="random", name="Random"), why="")


@pytest.fixture
async def engine(random_model: Path) -> AsyncIterator[LocalEngine]:
    started = LocalEngine(choice(random_model))
    await started.start()
    await started.ready()
    yield started
    await started.stop()


# -- the engine ----------------------------------------------------------------------------------------------------


async def test_the_engine_answers_and_says_what_it_is(engine: LocalEngine, open_gateway: OpenGateway) -> None:
    gateway = await open_gateway(engine.node)
    first, again = await listen(gateway, "random", sampling=GREEDY), await listen(gateway, "random", sampling=GREEDY)
    model = gateway.models()[0]

    assert first.text == again.text
    assert first.count == 24
    assert first.end is not None and again.end is not None
    assert first.end.finish_reason == "length"
    assert again.end.usage is not None
    assert again.end.usage.cached_tokens == again.end.usage.prompt_tokens - 1  # the prompt cache is on
    assert (model.name, model.context_tokens, model.state) == ("Random", random_gguf.CONTEXT, "warm")


async def test_the_engine_continues_a_half_written_answer_to_the_letter(
    engine: LocalEngine, open_gateway: OpenGateway
) -> None:
    gateway = await open_gateway(engine.node)
    whole = (await listen(gateway, "random", sampling=GREEDY)).text

    for cut in range(1, len(whole)):
        heard = await listen(gateway, "random", sampling=GREEDY, prefix=whole[:cut])
        assert (whole[:cut] + heard.text).startswith(whole)


@pytest.mark.parametrize("prefix", ["a", "a\n", "a\n\n", " a", "世界", "🙂", "e\u0301", "the", "a\t", "<|x|>"])
async def test_no_byte_of_a_half_written_answer_is_lost_on_the_way(
    prefix: str, engine: LocalEngine, open_gateway: OpenGateway
) -> None:
    gateway = await open_gateway(engine.node)
    plain, continued = (
        await listen(gateway, "random", sampling=GREEDY),
        await listen(gateway, "random", sampling=GREEDY, prefix=prefix),
    )

    assert plain.end and plain.end.usage and continued.end and continued.end.usage
    (added,) = await gateway.count_tokens("random", [prefix])
    assert continued.end.usage.prompt_tokens == plain.end.usage.prompt_tokens + added


async def test_the_spaces_at_a_half_written_answers_end_are_left_to_the_engine_to_say(
    engine: LocalEngine, open_gateway: OpenGateway
) -> None:
    """After a space alone a model goes on with another word than it was about to say."""
    gateway = await open_gateway(engine.node)
    bare, spaced = [await listen(gateway, "random", sampling=GREEDY, prefix=prefix) for prefix in ("a", "a  ")]

    assert bare.end and bare.end.usage and spaced.end and spaced.end.usage
    assert spaced.end.usage.prompt_tokens == bare.end.usage.prompt_tokens
    assert spaced.text == bare.text.lstrip(" ")


async def test_answers_and_counts_one_after_the_other_meet_no_closed_connection(
    engine: LocalEngine, open_gateway: OpenGateway
) -> None:
    gateway = await open_gateway(engine.node)
    for index in range(50):
        heard = await listen(gateway, "random", sampling=Sampling(max_tokens=1))
        assert heard.waits == []
        assert await gateway.count_tokens("random", [f"the {index:02}"]) == (4,)


async def test_tokens_are_counted_as_the_engine_counts_them(engine: LocalEngine, open_gateway: OpenGateway) -> None:
    gateway = await open_gateway(engine.node)
    texts = ["", "x", "the cat", "你好", "🙂", "the the"]
    by_hand = [0, 1, 5, 6, 4, 3]  # a byte each, but "the" and " the" are known: 1 and 2

    assert list(await gateway.count_tokens("random", texts)) == by_hand


async def test_a_conversation_beyond_the_engines_context_is_named_so(
    engine: LocalEngine, open_gateway: OpenGateway
) -> None:
    long = [{"role": "user", "content": "x" * (random_gguf.CONTEXT + 1)}]
    gateway = await open_gateway(engine.node)
    with pytest.raises(ContextTooLong):
        await listen(gateway, "random", messages=long)


async def test_leaving_frees_the_engines_slot(engine: LocalEngine, open_gateway: OpenGateway) -> None:
    gateway: Gateway = await open_gateway(engine.node)
    endless = Sampling(temperature=0.0, extra={"ignore_eos": True})
    for _ in range(2 * 4):  # twice as many as there are slots: each must be given back
        async with aclosing(gateway.stream("random", HELLO, endless, session_id="s")) as stream:
            assert isinstance(await anext(stream), Token)

    assert (await listen(gateway, "random", sampling=GREEDY)).count == 24


async def test_a_full_engine_still_counts_tokens(engine: LocalEngine, open_gateway: OpenGateway) -> None:
    gateway: Gateway = await open_gateway(engine.node)
    endless = Sampling(temperature=0.0, extra={"ignore_eos": True})
    tasks = [asyncio.create_task(listen(gateway, "random", sampling=endless)) for _ in range(40)]
    while (engine.node.outstanding, gateway.models()[0].queued) != (SLOTS, 40 - SLOTS):
        await asyncio.sleep(0)
    try:
        assert await gateway.count_tokens("random", ["the cat"]) == (5,)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def test_nobody_else_on_this_machine_can_use_the_engine(engine: LocalEngine) -> None:
    def ask(path: str) -> int:
        try:
            with urllib.request.urlopen(f"{engine.node.root}{path}", timeout=5) as response:
                return int(response.status)
        except urllib.error.HTTPError as error:
            return error.code

    for path in ("/v1/models", "/props", "/slots", "/tokenize"):
        assert await asyncio.to_thread(ask, path) == 401
    arguments = Path(f"/proc/{engine.pid}/cmdline")
    if arguments.exists():
        key = engine.node.headers["Authorization"].removeprefix("Bearer ")
        assert key not in await asyncio.to_thread(arguments.read_text)


async def test_an_engine_that_dies_is_started_again(engine: LocalEngine, open_gateway: OpenGateway) -> None:
    gateway = await open_gateway(engine.node)
    before = await listen(gateway, "random", sampling=GREEDY)
    pid, key = engine.pid, engine.node.headers["Authorization"]
    assert pid is not None
    os.kill(pid, signal.SIGKILL)
    after = await listen(gateway, "random", sampling=GREEDY)

    assert after.text == before.text
    assert engine.pid != pid
    assert engine.node.headers["Authorization"] != key


async def test_an_engine_that_dies_in_the_middle_of_an_answer_is_an_error_of_that_answer(
    engine: LocalEngine, open_gateway: OpenGateway
) -> None:
    gateway: Gateway = await open_gateway(engine.node)
    endless = Sampling(temperature=0.0, extra={"ignore_eos": True})
    doomed = engine.pid
    with pytest.raises(UpstreamError) as caught:
        async for event in gateway.stream("random", HELLO, endless, session_id="s"):
            if isinstance(event, Token) and doomed is not None:
                os.kill(doomed, signal.SIGKILL)
                doomed = None  # text that was already on its way may still come

    assert caught.value.code == "model_error"


async def test_an_engine_that_was_stopped_is_gone(random_model: Path, open_gateway: OpenGateway) -> None:
    engine = LocalEngine(choice(random_model))
    await engine.start()
    await engine.ready()
    pid = engine.pid
    assert pid is not None
    await engine.stop()

    assert not _is_alive(pid)
    assert engine.node.state == "unreachable"


async def test_an_engine_can_be_stopped_before_it_is_up(random_model: Path) -> None:
    engine = LocalEngine(choice(random_model))
    await engine.start()
    await engine.stop()

    assert engine.pid is None


async def test_a_model_that_cannot_be_loaded_is_said(tmp_path: Path) -> None:
    broken = tmp_path / "broken.gguf"
    broken.write_bytes(b"GGUF" + b"\0" * 100)
    engine = LocalEngine(choice(broken))
    await engine.start()
    with pytest.raises(UpstreamError, match=r"broken\.gguf"):
        await engine.ready()
    await engine.stop()

    assert engine.node.state == "unreachable"


PARENT = """
import asyncio, sys
from pathlib import Path
from functions.inference.local import Choice, LocalEngine
from functions.inference.nodes import ServedModel

async def main():
    engine = LocalEngine(Choice(path=Path(sys.argv[1]), model=ServedModel(id="m"), why=""))
    await engine.start()
    await engine.ready()
    print(engine.pid, flush=True)
    await asyncio.Event().wait()

asyncio.run(main())
"""


def test_a_parent_that_is_killed_leaves_no_engine(random_model: Path) -> None:
    command = [sys.executable, "-c", PARENT, str(random_model)]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as parent:
        assert parent.stdout is not None
        pid = int(parent.stdout.readline())
        assert _is_alive(pid)
        parent.kill()
    with subprocess.Popen(["tail", f"--pid={pid}", "-s0.05", "-f", "/dev/null"]) as watch:  # ends when that process has
        assert watch.wait(10) == 0


def _is_alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


# -- which model ---------------------------------------------------------------------------------------------------


@pytest.fixture
def choose(tmp_path: Path) -> Callable[..., Choice]:
    """`choose(model=…, hub=…)`, with a hub that is not there unless one is given."""

    def choose_one(*, hub: str = "http://127.0.0.1:9", console: Console | None = None, **fields: Any) -> Choice:
        settings = Settings(data=tmp_path, **fields)
        return choose_model(settings, console=console, hub=hub, small=FILE)

    return choose_one


def gguf(path: Path) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(b"GGUF\3\0\0\0")
    return path


def test_a_servers_url_needs_no_engine(choose: Callable[..., Choice]) -> None:
    assert choose(model_url="http://127.0.0.1:8000/v1", model="x.gguf").path is None


def test_a_named_file_is_used(choose: Callable[..., Choice], tmp_path: Path) -> None:
    path = gguf(tmp_path / "my-model.gguf")
    chosen = choose(model=str(path))

    assert chosen.path == path
    assert chosen.model is not None
    assert (chosen.model.id, chosen.model.demo) == ("my-model", False)


def test_a_named_file_that_is_not_there_is_an_error(choose: Callable[..., Choice]) -> None:
    with pytest.raises(BadInput, match="PARLEY_MODEL"):
        choose(model="/nowhere/x.gguf")


def test_a_named_file_that_is_no_model_is_an_error(choose: Callable[..., Choice], tmp_path: Path) -> None:
    (tmp_path / "page.gguf").write_text("<html>")
    with pytest.raises(BadInput, match="GGUF"):
        choose(model=str(tmp_path / "page.gguf"))


def test_a_file_in_the_data_folder_is_used_and_the_newest_of_several(
    choose: Callable[..., Choice], tmp_path: Path
) -> None:
    models = tmp_path / "models"
    for age, name in enumerate(["new.gguf", "old.gguf", FILE.name, "mmproj-x.gguf", "big-00002-of-00002.gguf"]):
        os.utime(gguf(models / name), (1e9 - age * (1 if "-" not in name else -100),) * 2)
    (models / "broken.gguf").write_text("<html>")

    assert choose().path == models / "new.gguf"


def test_a_model_that_was_downloaded_before_needs_no_network(choose: Callable[..., Choice], tmp_path: Path) -> None:
    path = gguf(tmp_path / "models" / FILE.name)
    chosen = choose()

    assert chosen.path == path
    assert chosen.model is not None
    assert chosen.model.name == local.SMALL_MODEL_NAME


def test_the_small_model_is_downloaded_when_there_is_none(choose: Callable[..., Choice], tmp_path: Path) -> None:
    console = Console(force_terminal=True, width=100, record=True, file=Path(os.devnull).open("w"))  # noqa: SIM115
    with running_hub() as hub:
        chosen = choose(hub=hub.url, console=console)
    shown = console.export_text()
    console.file.close()

    assert chosen.path == tmp_path / "models" / FILE.name
    assert chosen.path.read_bytes() == CONTENT
    assert chosen.model is not None
    assert (chosen.model.demo, chosen.model.notice) == (False, None)
    assert "Downloading" in shown


def test_without_a_network_the_tiny_model_answers_and_says_what_it_is(choose: Callable[..., Choice]) -> None:
    chosen = choose()

    assert chosen.path == TINY_MODEL
    assert chosen.model is not None
    assert (chosen.model.demo, chosen.model.notice) == (True, DEMO_NOTICE)
    assert "cannot be reached" in chosen.why
    assert "PARLEY_MODEL" in chosen.why


def test_ctrl_c_ends_the_download_and_not_parley(
    choose: Callable[..., Choice], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted(*_: object, **__: object) -> Path:
        raise KeyboardInterrupt

    monkeypatch.setattr(local, "fetch", interrupted)
    chosen = choose()

    assert chosen.path == TINY_MODEL
    assert "stopped" in chosen.why


def test_a_download_that_is_not_the_expected_file_leaves_the_tiny_model(
    choose: Callable[..., Choice], tmp_path: Path
) -> None:
    with running_hub() as hub:
        hub.content = b"GGUF" + b"?" * (len(CONTENT) - 4)
        chosen = choose(hub=hub.url)

    assert chosen.path == TINY_MODEL
    assert list((tmp_path / "models").iterdir()) == []


def test_a_folder_that_cannot_be_written_leaves_the_tiny_model(choose: Callable[..., Choice], tmp_path: Path) -> None:
    (tmp_path / "models").write_text("a file, not a folder")
    with running_hub() as hub:
        chosen = choose(hub=hub.url)

    assert chosen.path == TINY_MODEL


def test_what_ships_is_pinned() -> None:
    assert len(local.SMALL_MODEL.revision) == 40
    assert len(local.SMALL_MODEL.sha256) == 64
    assert local.SMALL_MODEL.size < 700_000_000


# -- what ships ----------------------------------------------------------------------------------------------------


async def test_the_tiny_model_answers(open_gateway: OpenGateway) -> None:
    engine = LocalEngine(Choice(path=TINY_MODEL, model=ServedModel(id="parley-tiny", demo=True), why=""))
    await engine.start()
    await engine.ready()
    try:
        heard = await listen(await open_gateway(engine.node, limits=QUICK), "parley-tiny", sampling=GREEDY)
        assert heard.text
    finally:
        await engine.stop()


# -- vectors -------------------------------------------------------------------------------------------------------


def embedder(path: Path) -> Choice:
    chosen = choose_embedder(Settings(embed_model=str(path)))
    assert chosen is not None
    return chosen


async def test_an_embedding_model_makes_vectors_beside_the_one_that_chats(
    tmp_path: Path, engine: LocalEngine, open_gateway: OpenGateway
) -> None:
    path = random_gguf.write_model(tmp_path / "vectors.gguf", embeds=True)
    second = LocalEngine(await asyncio.to_thread(embedder, path))
    await second.start()
    try:
        await second.ready()
        gateway = await open_gateway(engine.node, second.node)
        embedded = await gateway.embed(["the cat", "你好", "the cat "])
        again = await gateway.embed(["the cat"], fresh=True)

        assert (embedded.model, embedded.is_lexical) == ("vectors", False)
        assert [len(vector) for vector in embedded.vectors] == [random_gguf.WIDTH] * 3
        assert len(set(embedded.vectors)) == 3
        assert again.vectors[0] == pytest.approx(embedded.vectors[0], abs=1e-4)
        assert again.prompt_tokens > 0
        assert [model.id for model in gateway.models()] == ["random"]
        assert (await listen(gateway, "random", sampling=GREEDY)).count == 24
        with pytest.raises(ContextTooLong):
            await gateway.embed(["x" * (EMBED_TOKENS + 1)])
    finally:
        await second.stop()


async def test_a_model_that_chats_is_refused_as_one_for_vectors() -> None:
    engine = LocalEngine(await asyncio.to_thread(embedder, TINY_MODEL))
    await engine.start()
    try:
        with pytest.raises(UpstreamError) as caught:
            await engine.ready()
        assert "no vectors" in " ".join(caught.value.__notes__)
    finally:
        await engine.stop()


def test_the_model_for_vectors_is_named_by_the_settings_and_must_be_one(tmp_path: Path) -> None:
    assert choose_embedder(Settings()) is None
    (tmp_path / "text.gguf").write_text("hello")
    for path in (tmp_path / "text.gguf", tmp_path / "absent.gguf"):
        with pytest.raises(BadInput) as caught:
            choose_embedder(Settings(embed_model=str(path)))
        assert caught.value.param == "embed_model"


def test_the_model_for_vectors_is_not_taken_to_chat(tmp_path: Path, random_model: Path) -> None:
    models = tmp_path / "models"
    models.mkdir()
    vectors, chats = models / "vectors.gguf", models / "chats.gguf"
    for name, age_s in ((vectors, 0), (chats, 60)):
        name.write_bytes(random_model.read_bytes())
        os.utime(name, (1_000_000 - age_s, 1_000_000 - age_s))

    assert choose_model(Settings(data=tmp_path)).path == vectors  # the newest
    assert choose_model(Settings(data=tmp_path, embed_model=str(vectors))).path == chats
