"""What Modal is told of modal_app.py: GPUs, autoscalers, images, volumes, secrets, schedules."""

import modal_app
from functions.inference.vllm import VllmModel
from tests.deploy.deployment import EACH, NEEDS_CONTROL_PLANE, ROOT, Deployment, class_of

pytestmark = NEEDS_CONTROL_PLANE


@EACH
def test_a_model_has_a_gpu_that_sleeps_behind_a_proxy_token(deployment: Deployment, model: VllmModel) -> None:
    server, scaling = deployment.report["functions"][class_of(model)], modal_app.SCALING[model.id]

    assert (server["kind"], server["gpu"]) == ("server", [model.gpu])
    assert server["server"]["proxy_auth"] is True
    assert server["server"]["port"] == modal_app.PORTS[model.id]
    assert server["autoscaler"] == {
        "min_containers": 0,
        "buffer_containers": 0,
        "max_containers": scaling.max,
        "scaledown_window": scaling.idle_s,
        "target_concurrency_float": float(scaling.target),
    }
    assert server["concurrency"]["max"] == model.max_num_seqs  # Modal refuses exactly where vLLM's batch is full
    assert server["startup_timeout"] == 15 * 60
    assert server["memory_mb"] > model.weights_gb * 1000  # which lie there while it sleeps for its snapshot
    assert (server["memory_snapshot"], server["experimental_options"]) == (True, {"enable_gpu_snapshot": "True"})
    assert {path: mount["volume"] for path, mount in server["volumes"].items()} == {
        "/root/.cache/huggingface": "parley-huggingface-cache",
        "/root/.cache/vllm": "parley-vllm-cache",
    }
    assert server["secrets"] == []  # a model server knows none of ours
    assert {name for name in server["mounted"] if name != "/root/modal_app.py"} == {
        f"/root/functions/{name}" for name in modal_app.WHAT_RUNS_THERE
    }


def test_the_download_needs_no_gpu_and_no_secret(deployment: Deployment) -> None:
    download = deployment.report["functions"]["download"]

    assert (download["gpu"], download["secrets"], download["timeout"]) == ([], [], 2 * 60 * 60)
    assert list(download["volumes"]) == ["/root/.cache/huggingface"]


def test_the_warm_schedule_is_off_unless_somebody_sets_a_cap(deployment: Deployment) -> None:
    assert deployment.report["functions"]["keep_warm"]["schedule"] is None


def test_the_sweeper_costs_little_and_the_web_function_takes_many(deployment: Deployment) -> None:
    functions = deployment.report["functions"]

    assert functions["sweep"]["schedule"] == {"period": {"minutes": 5}}
    assert functions["sweep"]["autoscaler"] == {"scaledown_window": 2}
    assert functions["web"]["concurrency"] == {"max": 100, "target": 80}
    assert functions["web"]["secrets"] == functions["sweep"]["secrets"] == ["parley"]
    assert not any(function["autoscaler"].get("min_containers") for function in functions.values())
    assert deployment.report["warnings"] == []


def test_the_night_is_a_cron_of_the_working_hours_place(deployment: Deployment) -> None:
    night = deployment.report["functions"]["summarise_chats"]

    assert night["schedule"] == {"cron": {"cron_string": "17 3 * * *", "timezone": "Europe/Berlin"}}
    assert (night["gpu"], night["secrets"]) == ([], ["parley"])


def test_the_images_are_pinned(deployment: Deployment) -> None:
    images, functions = deployment.report["images"], deployment.report["functions"]
    gpu = images[functions["Everyday"]["image"]]["dockerfile"]
    hub = images[functions["download"]["image"]]["dockerfile"]
    web = images[functions["web"]["image"]]["dockerfile"]

    assert any("vllm==0.32.0" in line for line in gpu)
    assert any("huggingface-hub==2.4.0" in line for line in hub)
    assert "ENTRYPOINT []" in gpu
    assert any("uv sync" in line and "--frozen" in line and "--no-dev" in line for line in web)
    assert "ENV PARLEY_AUTH=token" in web
    assert not any(":latest" in line for line in (*gpu, *hub, *web))


def test_every_data_file_of_the_package_is_in_the_web_image(deployment: Deployment) -> None:
    """Only the embedded model stays out: nobody runs it there."""
    wanted = {
        f"/root/functions/{path.relative_to(ROOT / 'functions')}"
        for path in (ROOT / "functions").rglob("*")
        if path.is_file() and path.suffix not in (".pyc", ".gguf")
    }
    mounted = set(deployment.report["functions"]["web"]["mounted"])

    assert wanted <= mounted
    assert "/assets/index.html" in mounted
