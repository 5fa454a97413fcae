"""Deployments with another constant, or with a fault, in a checkout of their own."""

import re
import socket
import tempfile
from pathlib import Path

from tests.deploy.deployment import NEEDS_CONTROL_PLANE, deploy, install_fake_vllm, make_checkout

pytestmark = NEEDS_CONTROL_PLANE


def test_the_warm_schedule_keeps_a_replica_awake_when_there_is_money_for_it(tmp_path: Path) -> None:
    source = make_checkout(tmp_path / "checkout")
    text = (source / "modal_app.py").read_text()
    hours = 'WorkingHours(time_zone="UTC", opens=0, closes=24, days=(0, 1, 2, 3, 4, 5, 6))'
    text, switched = re.subn(r"^WARM_USD_PER_DAY = .*$", "WARM_USD_PER_DAY = 1000.0", text, flags=re.M)
    text, opened = re.subn(r"^WARM_HOURS = .*$", f"WARM_HOURS = {hours}", text, flags=re.M)
    (source / "modal_app.py").write_text(text)
    assert (switched, opened) == (1, 1)

    status, report, log = deploy(source, "--call", "keep_warm")

    assert status == 0, log
    assert report["functions"]["keep_warm"]["schedule"] == {"cron": {"cron_string": "*/5 * * * *", "timezone": "UTC"}}
    assert report["calls"][0]["result"] == 1  # what Modal's autoscaler has answered


def test_a_module_that_an_image_leaves_out_fails_in_its_container(tmp_path: Path) -> None:
    """Or the tests above would prove nothing: a container has only what the app uploaded."""
    source = make_checkout(tmp_path / "checkout")
    text = (source / "modal_app.py").read_text()
    whole = 'ignore=["**/*.gguf"]'
    assert text.count(whole) == 1
    without = 'ignore=["**/*.gguf", "**/pricing.py"]'
    (source / "modal_app.py").write_text(text.replace(whole, without))

    status, report, _ = deploy(source, "--call", "keep_warm")

    assert status == 2
    assert "functions.inference.pricing" in "".join(report["calls"][0]["error"])


def test_without_snapshots_a_server_starts_plainly_and_cannot_sleep(tmp_path: Path) -> None:
    source = make_checkout(tmp_path / "checkout")
    text = (source / "modal_app.py").read_text()
    text, switched = re.subn(r"^SNAPSHOTS = True$", "SNAPSHOTS = False", text, flags=re.M)
    with socket.socket() as probe:  # containers here share the network, and the port may be in use
        probe.bind(("127.0.0.1", 0))
        text, moved = re.subn(r"MODERATE\.id: \d+", f"MODERATE.id: {probe.getsockname()[1]}", text)
    (source / "modal_app.py").write_text(text)
    assert (switched, moved) == (1, 1)
    with tempfile.TemporaryDirectory(dir="/var/tmp") as programs:
        install_fake_vllm(Path(programs))
        request = ("--request", "Moderator", "GET", "/v1/models")

        status, report, log = deploy(source, *request, programs=programs)

    assert status == 0, log
    assert report["requests"][0]["status"] == 200
    moderator = report["functions"]["Moderator"]
    assert (moderator["memory_snapshot"], moderator["experimental_options"]) == (False, {})
    assert "--enable-sleep-mode" not in log
    assert '"VLLM_SERVER_DEV_MODE": "0"' in log
