"""infra/template.yaml against itself and against the code that it hosts."""

import re

import pytest

from functions.app import CSP, SECURITY_HEADERS
from functions.settings import LambdaSettings, Settings
from tests.aws.tools import ROOT, TEMPLATE, call

TEXT = TEMPLATE.read_text()


def test_the_linter_finds_nothing() -> None:
    templates = [str(path) for path in sorted(TEMPLATE.parent.glob("*.yaml"))]

    assert len(templates) == 3
    assert call("cfn-lint", "-t", *templates) == ""


def test_the_client_has_the_same_headers_from_the_bucket_as_from_the_app() -> None:
    found = re.search(r"ContentSecurityPolicy: >-\n((?: {14}.*\n)+)", TEXT)
    assert found is not None

    assert " ".join(found[1].split()) == CSP
    named = {name.decode(): value.decode() for name, value in SECURITY_HEADERS}
    for name in ("cross-origin-opener-policy", "cross-origin-resource-policy", "permissions-policy"):
        assert re.search(rf'Header: {name}, Value: "?{re.escape(named[name])}"?,', TEXT)
    assert f"ReferrerPolicy: {named['referrer-policy']}" in TEXT


def test_every_setting_of_the_template_is_one() -> None:
    known = {f"PARLEY_{name.upper()}" for settings in (Settings, LambdaSettings) for name in settings.model_fields}

    assert set(re.findall(r"\bPARLEY_[A-Z_]+\b", TEXT)) - known - {"PARLEY_NODES"} == set()


def test_every_handler_of_the_template_can_be_imported() -> None:
    handlers = re.findall(r"Command: \[([\w.]+)\]", TEXT)

    assert handlers
    for handler in handlers:
        module = ROOT / (handler.rpartition(".")[0].replace(".", "/") + ".py")
        assert "\ndef handler(" in module.read_text()


def test_nothing_may_be_done_to_everything() -> None:
    resources = re.findall(r'Resource: "?\*"?', TEXT)

    assert resources == []
    assert set(re.findall(r"Action: \"?(\w+:\*)", TEXT)) == {"s3:*"}  # in what is denied


@pytest.mark.parametrize("file", [path.name for path in (ROOT / "web" / "public").iterdir() if path.is_file()])
def test_every_file_of_the_client_is_served_from_the_bucket(file: str) -> None:
    patterns = re.findall(r"PathPattern: (/\S*)", TEXT)

    assert any(re.fullmatch(pattern.replace(".", r"\.").replace("*", ".*"), f"/{file}") for pattern in patterns)


def test_github_gets_a_role_only_for_the_environment_that_releases() -> None:
    role = (TEMPLATE.parent / "deployer.yaml").read_text()
    workflow = (ROOT / ".github" / "workflows" / "release.yml").read_text()

    assert "sub: !Sub repo:${Repository}:environment:${Environment}" in role
    assert re.search(r"  Environment:\n    Type: String\n    Default: (\w+)", role)[1] == "production"  # type: ignore[index]
    assert "    environment: production" in workflow
    assert "id-token: write" in workflow
