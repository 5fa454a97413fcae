"""A house of one's own, with a door: the first admin gets in by the command that it names itself."""

import re
import subprocess
import sys
from pathlib import Path

import httpx

from tests.e2e.parley_process import ParleyProcess


def test_the_first_admin_comes_in_by_the_link_that_the_house_asks_for(tmp_path: Path) -> None:
    parley = ParleyProcess(tmp_path, auth="token")
    try:
        parley.ready()
        said = " ".join("".join(parley.said).split())
        (command,) = re.findall(r"Nobody can sign in yet: `parley (users invite NAME --role admin)`", said)
        invite = [sys.executable, "-W", "ignore", "-m", "functions.cli", *command.replace("NAME", "ada").split()]
        made = subprocess.run([*invite, "--data", str(tmp_path)], capture_output=True, text=True, check=True)
        secret = made.stdout.rpartition("/#/join/")[2].strip()

        with httpx.Client(base_url=parley.url) as browser:
            assert browser.get("/me").status_code == 401
            joined = browser.post("/join", json={"token": secret})
            assert joined.status_code == 200, joined.text
            assert browser.post("/join", json={"token": secret}).status_code == 404
            assert browser.get("/me").json()["role"] == "admin"
            assert browser.get("/admin/users").json()["data"][0]["id"] == "ada"
    finally:
        parley.close()
