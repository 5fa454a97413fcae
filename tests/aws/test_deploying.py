"""`parley deploy aws` and `parley destroy aws`: the real sam, against AWS's APIs on loopback."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import boto3
import pytest

from tests.aws.stack import IMAGES, KEYS, REGION, built
from tests.aws.tools import HOME, ROOT, tool
from tests.ministack import ministack


@pytest.fixture(scope="module")
def aws(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    tool("sam")
    with ministack(tmp_path_factory.mktemp("aws"), "", {"MINISTACK_REGION": REGION}) as url:
        client(url, "s3").create_bucket(Bucket="artifacts", CreateBucketConfiguration={"LocationConstraint": REGION})
        yield url


def client(url: str, service: str) -> Any:
    keys = {"aws_access_key_id": "local", "aws_secret_access_key": "local"}
    return boto3.client(service, endpoint_url=url, region_name=REGION, **keys)


def parley(aws: str, *arguments: str, answer: str = "", web: Path | None = None) -> "subprocess.CompletedProcess[str]":
    kept = {key: os.environ[key] for key in ("HOME", "LANG") if key in os.environ}
    path = os.pathsep.join([str(HOME / "bin"), os.environ["PATH"]])
    return subprocess.run(
        [sys.executable, "-W", "ignore", "-m", "functions.cli", *arguments],
        env=kept
        | KEYS
        | {"AWS_ENDPOINT_URL": aws, "PATH": path, "SAM_CLI_TELEMETRY": "0", "COLUMNS": "120", "PARLEY_WEB": str(web)},
        cwd=ROOT,
        input=answer,
        capture_output=True,
        text=True,
        check=False,
        timeout=180,
    )


DEPLOY = ("deploy", "aws", "--region", REGION, "--admin", "ada@example.org")


def test_nothing_is_made_before_somebody_has_said_yes_to_what_it_costs(aws: str, tmp_path: Path) -> None:
    done = parley(aws, *DEPLOY, "--template", str(built(tmp_path)), answer="n\n")

    assert done.returncode == 1
    assert "DynamoDB tables" in done.stderr
    assert client(aws, "cloudformation").list_stacks()["StackSummaries"] == []
    assert client(aws, "ssm").describe_parameters()["Parameters"] == []


def test_nodes_that_are_no_list_are_refused_before_anything_is_asked(aws: str) -> None:
    done = parley(aws, *DEPLOY, "--nodes", "http://10.0.0.1")

    assert done.returncode == 2
    assert "JSON list" in done.stderr


def test_a_stack_is_deployed_with_its_client_deployed_again_and_destroyed(aws: str, tmp_path: Path) -> None:
    where = ("--template", str(built(tmp_path, to_delete=True)))
    sam = [part for each in ("--s3-bucket=artifacts", f"--image-repository={IMAGES}") for part in ("--sam", each)]
    web = tmp_path / "dist"
    for name in ("index.html", "sw.js", "assets/index-B3x9.js", ".sources"):
        (web / name).parent.mkdir(parents=True, exist_ok=True)
        (web / name).write_text(name)
    first = parley(aws, *DEPLOY, *where, *sam, "--yes", "-p", "Protected=false", web=web)
    assert first.returncode == 0, first.stdout + first.stderr
    ssm = client(aws, "ssm")
    secret = ssm.get_parameter(Name="/parley/parley/secret", WithDecryption=True)["Parameter"]["Value"]
    stack = client(aws, "cloudformation").describe_stacks(StackName="parley")["Stacks"][0]
    outputs = {each["OutputKey"]: each["OutputValue"] for each in stack["Outputs"]}
    s3, bucket = client(aws, "s3"), outputs["ClientBucketName"]
    headers = {
        each["Key"]: s3.head_object(Bucket=bucket, Key=each["Key"])
        for each in s3.list_objects_v2(Bucket=bucket)["Contents"]
    }

    assert outputs["Url"] in first.stderr
    assert "--username ada@example.org" in first.stdout
    assert (headers["index.html"]["CacheControl"], headers["index.html"]["ContentType"]) == ("no-cache", "text/html")
    assert headers["assets/index-B3x9.js"]["CacheControl"] == "public, max-age=31536000, immutable"
    assert sorted(headers) == ["assets/index-B3x9.js", "index.html", "sw.js"]
    assert len(json.loads(secret)["secret_key"]) >= 48

    second = parley(aws, *DEPLOY, *where, *sam, "--yes", "-p", "Protected=false", web=web)
    assert second.returncode == 0, second.stdout + second.stderr
    assert ssm.get_parameter(Name="/parley/parley/secret", WithDecryption=True)["Parameter"]["Value"] == secret

    gone = parley(aws, "destroy", "aws", "--region", REGION, "--yes")
    assert gone.returncode == 0, gone.stdout + gone.stderr
    assert "parley-chat" in gone.stderr  # and says how to get rid of what it keeps
    assert ssm.describe_parameters()["Parameters"] == []
    assert parley(aws, "destroy", "aws", "--region", REGION, "--yes").returncode == 1
