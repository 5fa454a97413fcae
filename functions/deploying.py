"""`parley deploy aws|modal` and `parley destroy aws|modal`: the real tools (sam, modal), told what to do, after saying
what there will be and what it costs while nobody chats.

They run with whatever credentials the tools find; no key passes through here but the one that is made for the stack.
"""

import json
import mimetypes
import secrets
import shutil
import subprocess
from pathlib import Path
from typing import Any

import click
from rich.console import Console
from rich.table import Table

from functions import webbuild
from functions.settings import Settings

ROOT = Path(__file__).parent.parent
TEMPLATE = ROOT / "infra" / "template.yaml"
BUILT = ROOT / ".aws-sam" / "build" / "template.yaml"
MODAL_APP = ROOT / "modal_app.py"
FOR_EVER, ASK_AGAIN = "public, max-age=31536000, immutable", "no-cache"  # names with a hash in them, and all others

# What stands there while nobody chats, and what that is a month. Prices of us-east-1, 2026-11; docs/operations.md.
AWS_IDLE = (
    ("CloudFront, API Gateway, Lambda, Cognito", "0.00", "paid by use"),
    ("DynamoDB tables, on demand", "0.00", "0.25 a GB stored beyond the first 25; with backups 0.20 more"),
    (
        "SQS, two queues that Lambda listens to",
        "0.13–0.58",
        "some 1.3 million polls a month; the first million is free",
    ),
    ("EventBridge Scheduler, 25 calls a day", "0.00", "a second of Lambda each"),
    ("CloudWatch: ten alarms, one dashboard", "0.00–4.00", "so many are free in an account; then 0.10 and 3.00 each"),
    ("Container images in ECR, two a release", "0.10", "0.10 a GB; old releases' are deleted by hand"),
    ("Logs", "0.00", "0.50 a GB written"),
)
MODAL_IDLE = (
    ("GPU servers", "0.00", "start when somebody asks, stop when nobody does"),
    ("Web endpoint and jobs", "0.00", "paid by the second they run"),
    ("Volumes (weights, compiled kernels, chats)", "0.00", "free within Modal's allowance"),
)

console = Console(stderr=True, highlight=False)


@click.group()
def deploy() -> None:
    """Put Parley into the cloud. Says what that makes and costs, and asks first."""


@click.group()
def destroy() -> None:
    """Take Parley out of the cloud. Says what stays, and asks first."""


# -- AWS ---------------------------------------------------------------------------------------------------------


@deploy.command("aws")
@click.option("--name", default="parley", show_default=True, help="Of the stack, and the beginning of all names in it.")
@click.option("--region", required=True, help="For example eu-central-1.")
@click.option("--admin", required=True, help="E-mail address of the first admin, who also hears the alarms.")
@click.option("--nodes", default="[]", help="Model servers, as PARLEY_NODES (JSON), without keys.")
@click.option("--parameter", "-p", "parameters", multiple=True, metavar="NAME=VALUE", help="Of infra/template.yaml.")
@click.option("--template", type=click.Path(exists=True, path_type=Path), help="Built already (sam build).")
@click.option("--sam", "sam_options", multiple=True, metavar="OPTION", help="Passed on to `sam deploy`.")
@click.option("--yes", is_flag=True, help="Do not ask.")
def deploy_aws(
    name: str,
    region: str,
    admin: str,
    nodes: str,
    parameters: tuple[str, ...],
    template: Path | None,
    sam_options: tuple[str, ...],
    yes: bool,
) -> None:
    """The HTTP side on AWS: Lambda, DynamoDB, SQS, CloudFront, Cognito (infra/template.yaml)."""
    try:
        json.loads(nodes)
    except ValueError:
        raise click.BadParameter("must be a JSON list of model servers", param_hint="--nodes") from None
    sam = _program("sam", "pipx install aws-sam-cli")
    if template is None:
        _program("docker", "SAM builds the two images with it")
    _say(f"This makes, or updates, the stack [bold]{name}[/] in {region}:", AWS_IDLE)
    _ask("Deploy it?", yes)
    aws = _Aws(region)
    aws.make_secret(name)
    if template is None:
        _run([sam, "build", "--template-file", str(TEMPLATE), "--build-dir", str(BUILT.parent), "--parallel"])
    given = (f"AdminEmail={admin}", f"Nodes={json.dumps(nodes)}", *parameters)
    _run([
        *(sam, "deploy", "--template-file", str(template or BUILT), "--stack-name", name, "--region", region),
        *("--capabilities", "CAPABILITY_IAM", "--no-confirm-changeset", "--no-fail-on-empty-changeset"),
        *(sam_options or ("--resolve-s3", "--resolve-image-repos")),
        *("--parameter-overrides", *given),
    ])  # fmt: skip
    outputs = aws.outputs(name)
    web = Settings().web or webbuild.ready(console)
    if web is not None:
        with console.status("Uploading the web client…"):
            number = aws.upload(web, outputs["ClientBucketName"], outputs["DistributionId"])
        console.print(f"Web client: {number} files.", style="dim")
    console.print(f"Parley is at [bold]{outputs['Url']}[/]", soft_wrap=True)
    if "FirstAdmin" in outputs:
        console.print("The first admin gets in by:", style="dim")
        click.echo(outputs["FirstAdmin"])
    console.print("A first look:", style="dim")
    click.echo(outputs["FirstCurl"])


@destroy.command("aws")
@click.option("--name", default="parley", show_default=True)
@click.option("--region", required=True)
@click.option("--yes", is_flag=True, help="Do not ask.")
def destroy_aws(name: str, region: str, yes: bool) -> None:
    """Delete the stack. Tables and the user pool stay: what people wrote is deleted by hand, on purpose."""
    sam = _program("sam", "pipx install aws-sam-cli")
    aws = _Aws(region)
    outputs = aws.outputs(name)
    kept = aws.kept(name)
    console.print(f"This deletes the stack [bold]{name}[/] in {region}, its web client and its secret. It keeps:")
    for one in kept:
        console.print(f"  {one}", markup=False)
    _ask("Delete the rest?", yes)
    aws.empty(outputs["ClientBucketName"])
    _run([sam, "delete", "--stack-name", name, "--region", region, "--no-prompts"])
    aws.delete_secret(name)
    console.print(f"Gone. Export first (`parley export --all`), then delete by hand: {', '.join(kept)}.", markup=False)


class _Aws:
    """boto3, for what sam does not do."""

    def __init__(self, region: str) -> None:
        import boto3  # noqa: PLC0415  # half a second, for these commands only

        self._session = boto3.Session(region_name=region)

    def _client(self, service: str) -> Any:  # boto3 has no types
        return self._session.client(service)

    def make_secret(self, name: str) -> None:
        """Once: signatures and hashes that were made with the old one would count no more."""
        ssm = self._client("ssm")
        value = json.dumps({"secret_key": secrets.token_urlsafe(48)})
        try:
            ssm.put_parameter(Name=_secret_of(name), Type="SecureString", Value=value)
        except ssm.exceptions.ParameterAlreadyExists:
            return
        console.print(f"Made the encrypted parameter {_secret_of(name)}; node keys belong into it too.", style="dim")

    def delete_secret(self, name: str) -> None:
        ssm = self._client("ssm")
        try:
            ssm.delete_parameter(Name=_secret_of(name))
        except ssm.exceptions.ParameterNotFound:
            return

    def outputs(self, name: str) -> dict[str, str]:
        """Raises ClickException where there is no such stack."""
        cloudformation = self._client("cloudformation")
        try:
            stacks = cloudformation.describe_stacks(StackName=name)["Stacks"]
        except cloudformation.exceptions.ClientError:
            raise click.ClickException(f"There is no stack {name!r} in this region and account.") from None
        return {each["OutputKey"]: each["OutputValue"] for each in stacks[0].get("Outputs", ())}

    def kept(self, name: str) -> list[str]:
        """What outlives its stack."""
        resources = self._client("cloudformation").describe_stack_resources(StackName=name)["StackResources"]
        kinds = ("AWS::DynamoDB::Table", "AWS::Cognito::UserPool")
        return [each["PhysicalResourceId"] for each in resources if each["ResourceType"] in kinds]

    def upload(self, web: Path, bucket: str, distribution: str) -> int:
        """index.html last: it names files that must be there by then. Old ones stay for pages that are still open."""
        s3 = self._client("s3")
        files = [path for path in web.rglob("*") if path.is_file() and not path.name.startswith(".")]
        for path in sorted(files, key=lambda path: path.name == "index.html"):
            name = path.relative_to(web).as_posix()
            kind = mimetypes.guess_type(name)[0] or "application/octet-stream"
            headers = {"ContentType": kind, "CacheControl": FOR_EVER if name.startswith("assets/") else ASK_AGAIN}
            s3.upload_file(str(path), bucket, name, ExtraArgs=headers)
        self._client("cloudfront").create_invalidation(
            DistributionId=distribution,
            InvalidationBatch={"Paths": {"Quantity": 1, "Items": ["/*"]}, "CallerReference": secrets.token_hex(8)},
        )
        return len(files)

    def empty(self, bucket: str) -> None:
        s3 = self._client("s3")
        for page in s3.get_paginator("list_objects_v2").paginate(Bucket=bucket):
            keys = [{"Key": each["Key"]} for each in page.get("Contents", ())]
            if keys:
                s3.delete_objects(Bucket=bucket, Delete={"Objects": keys})


def _secret_of(name: str) -> str:
    return f"/parley/{name}/secret"


# -- Modal -------------------------------------------------------------------------------------------------------


@deploy.command("modal")
@click.option("--yes", is_flag=True, help="Do not ask.")
def deploy_modal(yes: bool) -> None:
    """Everything on Modal: GPU servers, API, web client, jobs (modal_app.py)."""
    modal = _program("modal", "uv sync --extra modal, then `modal setup`")
    _say("This makes, or updates, the Modal app of modal_app.py:", MODAL_IDLE)
    _ask("Deploy it?", yes)
    webbuild.ready(console)
    _run([modal, "deploy", str(MODAL_APP)])


@destroy.command("modal")
@click.option("--app", default="parley", show_default=True, help="Its name on Modal.")
@click.option("--yes", is_flag=True, help="Do not ask.")
def destroy_modal(app: str, yes: bool) -> None:
    """Stop the Modal app. Its volumes and secrets stay: what people wrote is deleted by hand, on purpose."""
    modal = _program("modal", "uv sync --extra modal, then `modal setup`")
    console.print(f"This stops the app [bold]{app}[/]. Volumes and secrets stay (`modal volume list`).")
    _ask("Stop it?", yes)
    _run([modal, "app", "stop", app, "--yes"])


# -- both --------------------------------------------------------------------------------------------------------


def _program(name: str, advice: str) -> str:
    path = shutil.which(name)
    if path is None:
        raise click.ClickException(f"`{name}` is not installed here: {advice}.")
    return path


def _say(what: str, idle: tuple[tuple[str, str, str], ...]) -> None:
    console.print(what)
    table = Table("there will be", "idle, USD a month", "", box=None, header_style="dim")
    for row in idle:
        table.add_row(*row)
    console.print(table)


def _ask(question: str, yes: bool) -> None:
    if not yes:
        click.confirm(question, abort=True, err=True)


def _run(command: list[str]) -> None:
    """Its output is the user's to see. Raises ClickException with its exit status."""
    done = subprocess.run(command, check=False, cwd=ROOT)  # noqa: S603  # our own argv
    if done.returncode:
        raise click.ClickException(f"`{Path(command[0]).name} {command[1]}` failed; its words are above.")
