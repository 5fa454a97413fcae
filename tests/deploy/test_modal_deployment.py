"""modal_app.py at work: chats, jobs, model servers and the download, in Modal's real containers on this machine."""

import asyncio
import hashlib
import json
import subprocess
import time
from importlib.util import find_spec

import httpx
import pytest
from fastapi.testclient import TestClient

import modal_app
from functions.app import create_app
from functions.chat.messages import SummariseJob, new_id
from functions.inference.nodes import Node, ServedModel
from functions.inference.vllm import VllmModel, serve_command
from functions.services import open_services, open_store
from functions.settings import Settings
from tests.deploy.deployment import AWS, BEARER, EACH, NEEDS_CONTROL_PLANE, TOKEN, Deployment, class_of
from tests.house import parse_events, text_of

pytestmark = NEEDS_CONTROL_PLANE


def call(deployment: Deployment, function: str, *arguments: str) -> "subprocess.CompletedProcess[str]":
    """As somebody with the workspace's token does; its result is printed."""
    program = f"import modal; print(modal.Function.from_name('parley', {function!r}).remote(*{arguments!r}))"
    return deployment.run("-c", program)


def test_the_sweeper_ends_a_run_whose_container_died(deployment: Deployment, monkeypatch: pytest.MonkeyPatch) -> None:
    """Before any request has started a web container: its own worker would be quicker."""
    for name, value in AWS.items():
        monkeypatch.setenv(name, value)
    hashed = hashlib.sha256(TOKEN.encode()).hexdigest()
    settings = Settings(store_url=deployment.store_url, auth="token", access_tokens=f"alice={hashed}", secret_key="k")
    node = Node("http://127.0.0.1:9/v1", models=[ServedModel(id=modal_app.EVERYDAY.id)], serverless=True)
    with TestClient(create_app(lambda: open_services(settings, [node])), headers=BEARER) as dying:
        chat_id = dying.post("/chat", json={}).json()["id"]
        body = {"message": {"id": new_id(), "content": "Is anybody there?"}, "mode": "async"}
        assert dying.post(f"/chat/{chat_id}/completion", json=body).status_code == 202

    swept = call(deployment, "sweep")

    assert swept.stdout == "1\n", swept.stderr + deployment.log.read_text()
    with deployment.http(**BEARER) as http:
        question, answer = http.get(f"/chat/{chat_id}").json()["messages"]
    assert question["content"] == "Is anybody there?"
    assert answer["status"] == "complete"


def test_the_night_takes_what_waited_for_it_once(deployment: Deployment, monkeypatch: pytest.MonkeyPatch) -> None:
    """What comes of such a job is tested elsewhere; here, that its cron finds it through secret, store and image."""
    for name, value in AWS.items():
        monkeypatch.setenv(name, value)

    async def wait_for_the_night() -> None:
        store = await open_store(deployment.store_url)
        never = 10**15  # for a web container that is awake
        await store.put_job("night", SummariseJob(owner="alice", chat_id=new_id()), at_ms=never)
        queued = await store.take_job(now_ms=never, hidden_ms=0, lane="work")
        assert queued is not None
        await store.delay_job(queued, at_ms=0, attempts=0, lane="night")
        await store.close()

    asyncio.run(wait_for_the_night())

    nights = [call(deployment, "summarise_chats") for _ in range(2)]

    assert [night.stdout for night in nights] == ["1\n", "0\n"], nights[0].stderr + deployment.log.read_text()


def test_a_stranger_gets_the_page_and_nothing_else(deployment: Deployment) -> None:
    with deployment.http() as stranger:
        assert stranger.get("/livez").json() == {"status": "ok"}
        assert stranger.post("/chat", json={}).status_code == 401
        assert stranger.get("/status").status_code == 401
        assert "Parley" in stranger.get("/").text


@pytest.mark.parametrize("model", [modal_app.EVERYDAY, modal_app.CAPABLE], ids=lambda model: model.id)
def test_a_chat_goes_through_web_function_proxy_and_the_model_it_names(
    deployment: Deployment, model: VllmModel
) -> None:
    with deployment.http(**BEARER) as http:
        assert http.get("/readyz").status_code == 200
        chat_id = http.post("/chat", json={"model": model.id}).json()["id"]
        body = {"message": {"id": new_id(), "content": "Who is there?"}}
        arrivals: list[float] = []
        text = ""
        with http.stream("POST", f"/chat/{chat_id}/completion", json=body) as stream:
            for chunk in stream.iter_text():
                arrivals.append(time.monotonic())
                text += chunk

        events = parse_events(text)
        assert [events[0].name, events[-1].name] == ["run", "done"]
        assert len(arrivals) > 1  # it streamed
        answer = text_of(events)
        assert answer
        stored = http.get(f"/chat/{chat_id}").json()
        assert [(message["role"], message["content"]) for message in stored["messages"]] == [
            ("user", "Who is there?"),
            ("assistant", answer),
        ]
    (started,) = deployment.lines(class_of(model), "ARGV")
    assert json.loads(started) == serve_command(model, modal_app.PORTS[model.id])[1:]


def test_people_choose_among_the_models_that_chat(deployment: Deployment) -> None:
    with deployment.http(**BEARER) as http:
        listed = http.get("/v1/models").json()["data"]

    assert [model["id"] for model in listed] == ["qwen3-4b-instruct", "qwen3-30b-a3b-instruct"]


def test_a_server_is_warmed_up_put_to_sleep_and_woken_before_anybody_is_let_in(deployment: Deployment) -> None:
    question = {"model": modal_app.MODERATE.id, "messages": [{"role": "user", "content": "Is this safe?"}]}

    answer = deployment.ask("Moderator", "POST", "/v1/chat/completions", json=question)

    assert answer.json()["choices"][0]["message"]["content"]
    chat = "/v1/chat/completions"
    assert deployment.lines("Moderator", "HEARD") == [chat, chat, chat, "/sleep level=1", "/wake_up", chat]
    (switches,) = deployment.lines("Moderator", "SWITCHES")
    assert json.loads(switches)["VLLM_SERVER_DEV_MODE"] == "1"


def test_an_embedder_answers_with_vectors_and_was_warmed_up_with_them(deployment: Deployment) -> None:
    answer = deployment.ask(
        "Embedder", "POST", "/v1/embeddings", json={"model": modal_app.EMBED.id, "input": ["a", "b"]}
    )

    assert sorted(row["index"] for row in answer.json()["data"]) == [0, 1]
    assert deployment.lines("Embedder", "HEARD")[:5] == [*["/v1/embeddings"] * 3, "/sleep level=1", "/wake_up"]


@EACH
def test_a_model_server_lets_no_stranger_in_and_nobody_behind_the_door(
    deployment: Deployment, model: VllmModel
) -> None:
    name = class_of(model)
    assert httpx.get(deployment.urls[f"{name}:http"] + "/v1/models").status_code == 401

    assert deployment.ask(name, "GET", "/v1/models").json()["data"][0]["id"] == model.id
    for path in ("/sleep", "/collective_rpc", "/v1/load_lora_adapter"):  # the proxy comes from 127.0.0.1
        assert deployment.ask(name, "POST", path).status_code == 404


# -- download -----------------------------------------------------------------------------------------------------

has_hub = pytest.mark.skipif(find_spec("huggingface_hub") is None, reason="huggingface_hub is not installed here")


def test_a_download_of_a_model_that_is_not_ours_says_which_are(deployment: Deployment) -> None:
    failed = call(deployment, "download", "gpt")

    assert failed.returncode == 1
    assert "No model is called 'gpt'. There are: qwen3-4b-instruct, qwen3-30b-a3b-instruct" in failed.stderr


@has_hub
def test_a_download_fetches_each_file_once_and_says_so(deployment: Deployment) -> None:
    first = call(deployment, "download", modal_app.EVERYDAY.id)
    again = call(deployment, "download", modal_app.EVERYDAY.id)

    assert (first.stdout, again.stdout) == ("2\n", "0\n"), first.stderr + again.stderr
    said = [line for line in deployment.log.read_text().splitlines() if line.startswith("[download]")]
    what = f"{modal_app.EVERYDAY.repo} at {modal_app.EVERYDAY.revision}"
    assert f"[download] {what}: 2 of 2 files to fetch, 3.0 MB" in said
    assert f"[download] {what}: 0 of 2 files to fetch, 0.0 MB" in said
    assert any(line.startswith("[download]   2/2 model.safetensors: 3.0 MB, ") for line in said)


@has_hub
def test_a_revision_that_does_not_exist_is_named(deployment: Deployment) -> None:
    failed = call(deployment, "download", modal_app.CAPABLE.id)

    assert failed.returncode == 1
    what = f"{modal_app.CAPABLE.repo} at {modal_app.CAPABLE.revision}"
    assert f"The hub does not have {what}: check the models in modal_app.py." in failed.stderr


@has_hub
def test_a_download_that_the_hub_refuses_says_that_it_goes_on(deployment: Deployment) -> None:
    failed = call(deployment, "download", modal_app.EMBED.id)

    assert failed.returncode == 1
    assert f"{modal_app.EMBED.repo} at {modal_app.EMBED.revision} could not be fetched" in failed.stderr
    assert "Run it again: it goes on there." in failed.stderr


def test_the_warm_schedule_that_is_off_keeps_nothing_awake(deployment: Deployment) -> None:
    assert call(deployment, "keep_warm").stdout == "0\n", deployment.log.read_text()


# -- last: `modal run` takes the deployed functions' place at this control plane -----------------------------------


def test_the_smoke_test_passes_and_fails_by_its_status(deployment: Deployment) -> None:
    smoke = ("-m", "modal", "run", "--quiet", "modal_app.py", "--url", deployment.web, "--token")

    good = deployment.run(*smoke, TOKEN)
    bad = deployment.run(*smoke, "wrong")

    assert good.returncode == 0, good.stdout + good.stderr
    assert "first token" in good.stdout
    assert bad.returncode == 1
    assert "401" in bad.stdout + bad.stderr
