"""The whole of infra/template.yaml, deployed by the real `sam deploy` into ministack, with its functions under AWS's
Runtime Interface Emulator.

What is left out is Docker: images are named but not built, and a call of a function goes to a process of this machine
that gets the environment that the deployed function has.
"""

import json
import re
import shutil
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import boto3

from tests.aws.lambdas import LambdaFunction
from tests.aws.tools import TEMPLATE, call
from tests.ministack import ministack

NAME = "parley"
REGION = "eu-central-1"
ACCOUNT = "000000000000"
HANDLERS = {
    "stream": "functions.workers.stream.handler",
    "worker": "functions.workers.sqs.handler",
    "clock": "functions.workers.schedule.handler",
}
KEYS = {"AWS_ACCESS_KEY_ID": "local", "AWS_SECRET_ACCESS_KEY": "local", "AWS_DEFAULT_REGION": REGION}
IMAGES = f"{ACCOUNT}.dkr.ecr.{REGION}.amazonaws.com/{NAME}"
SECRET = {"secret_key": "a key of the tests' own, and long enough"}


class Stack:
    """`functions` by their short name, `outputs` of the stack."""

    def __init__(self, url: str, functions: dict[str, LambdaFunction]) -> None:
        self.url, self.functions = url, functions
        self.outputs: dict[str, str] = {}

    def client(self, service: str) -> Any:  # boto3 has no types
        return boto3.client(
            service,
            endpoint_url=self.url,
            region_name=REGION,
            aws_access_key_id="local",
            aws_secret_access_key="local",
        )

    def environment_of(self, function: str) -> dict[str, str]:
        """What the deployed function runs in; but without titles, which would come between what a test counts,
        and with leases that a test can wait for."""
        deployed = self.client("lambda").get_function_configuration(FunctionName=f"{NAME}-{function}")
        here = {
            "AWS_ENDPOINT_URL": self.url,
            "AWS_REGION": REGION,
            "PARLEY_TITLES": "false",
            "PARLEY_LEASE_SECONDS": "3",
        }
        return dict(deployed["Environment"]["Variables"]) | KEYS | here

    def resources(self) -> dict[str, str]:
        """Physical id by logical id."""
        listed = self.client("cloudformation").describe_stack_resources(StackName=NAME)["StackResources"]
        return {each["LogicalResourceId"]: each["PhysicalResourceId"] for each in listed}


def built(folder: Path, *, to_delete: bool = False) -> Path:
    """The template as `sam build` leaves it: with the images' names instead of the recipes for them. `sam delete` reads
    where a nested template is only from an address of AWS's own S3: a stack that it is `to_delete` has none."""
    text = TEMPLATE.read_text()
    text = text.replace("      PackageType: Image\n", f"      PackageType: Image\n      ImageUri: {IMAGES}:1\n")
    text = re.sub(r"    Metadata: \{Dockerfile:.*\n", "", text)
    text = re.sub(r"  Budget:\n(    .*\n)+", "", text)  # the one kind of resource that ministack does not know
    text = text.replace("{MaximumConcurrency: !Ref RunsAtOnce}", "{MaximumConcurrency: 20}")  # ministack: text
    # nor does it look for what is absent below a name that is; the handler does
    text = text.replace(', "receipt": {"S": [{"exists": false}]}', "")
    if to_delete:
        text = re.sub(r"  Watch:\n(    .*\n)+", "", text)
    path = folder / "template.yaml"
    path.write_text(text)
    shutil.copy(TEMPLATE.with_name("watch.yaml"), folder)
    return path


@contextmanager
def deployed(folder: Path, nodes: list[dict[str, Any]], **parameters: str) -> Iterator[Stack]:
    with ExitStack() as stack:
        functions = {
            name: stack.enter_context(LambdaFunction(handler, KEYS, folder, environments=2 if name == "worker" else 1))
            for name, handler in HANDLERS.items()
        }
        proxies = {f"MINISTACK_LAMBDA_PROXY_{NAME}-{name}": each.url for name, each in functions.items()}
        url = stack.enter_context(ministack(folder, "", proxies | {"MINISTACK_REGION": REGION}))
        there = Stack(url, functions)
        there.client("s3").create_bucket(Bucket="artifacts", CreateBucketConfiguration={"LocationConstraint": REGION})
        there.client("ssm").put_parameter(Name=f"/parley/{NAME}/secret", Type="SecureString", Value=json.dumps(SECRET))
        values = {"AdminEmail": "ada@example.org", "Nodes": json.dumps(nodes)} | parameters
        call(
            "sam",
            "deploy",
            *("--template-file", str(built(folder)), "--stack-name", NAME, "--region", REGION),
            *("--s3-bucket", "artifacts", "--image-repository", IMAGES),
            *("--capabilities", "CAPABILITY_IAM", "--no-confirm-changeset"),
            *("--parameter-overrides", *(f"{key}={json.dumps(value)}" for key, value in values.items())),
            environment=KEYS | {"AWS_ENDPOINT_URL": url},
        )
        described = there.client("cloudformation").describe_stacks(StackName=NAME)["Stacks"][0]
        there.outputs = {each["OutputKey"]: each["OutputValue"] for each in described["Outputs"]}
        for name, function in functions.items():
            function.start(there.environment_of(name))
        yield there
