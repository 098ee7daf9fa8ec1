"""Covers the Makefile's targets for deployments: their steps, in order, and where they stop.

Terraform is a script that records its arguments, and whose outputs name a real local stack; AWS is
moto. tests/terraform applies the real Terraform.
"""

import json
import os
import select
import subprocess
import sys
import threading
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path

import boto3
import pytest
from support.e2e_clients import PATIENCE, ROOT
from support.threads import in_a_thread
from websockets.sync.server import serve

from local.stack import Child, Stack

# Variables that `make test` sets for its child processes.
OF_MAKE = ("ARGS", "MAKEFLAGS", "MAKELEVEL", "MAKEOVERRIDES", "MFLAGS")

TERRAFORM = """#!/bin/sh
test "$1" = version && {{ echo '{{"terraform_version": "1.11.4"}}'; exit; }}
echo "$@" >> {calls}
echo "$1 $TF_WORKSPACE" >> {workspaces}
test "$1" = "$FAILS" && exit 1
for each in "$@"; do case $each in -out=*) echo plan > "${{each#-out=}}" ;; esac; done
test "$1" = output && cat {outputs}
test "$1" = apply && eval "$ON_APPLY"
test "$1" = console && echo '{variables}'
test "$1" = state && echo "$STATE"
test "$1" = show && echo '{plan}'
true
"""


@asynccontextmanager
async def running() -> AsyncIterator[dict[str, str]]:
    """The URLs of moto and of a local stack."""
    moto = Child("moto", "local.aws", log=lambda _: None)
    async with Stack(say=lambda _: None, log=lambda _: None) as stack:
        try:
            await moto.start()
            yield {"aws": moto.url, "chat": stack.url}
        finally:
            await moto.close()


@pytest.fixture(scope="module")
def account() -> Iterator[dict[str, str]]:
    """Both, for all tests of this module."""
    with in_a_thread(running()) as found:
        yield found


@pytest.fixture
def environment(account: dict[str, str], tmp_path: Path) -> dict[str, str]:
    """Environment variables with that account and that Terraform."""
    outputs = {
        "websocket_url": account["chat"],
        "auth": "none",
        "region": "us-east-1",
        "function_name": "chat",
    }
    variables = {
        "account_logging": True,
        "architecture": "arm64",
        "auth": "none",
        "history_tokens": 16000,
        "max_output_tokens": 4096,
        "model_id": "m",
        "name": "chat",
        "region": "us-east-1",
        "reserved_concurrency": None,
        "throttle_rate": 50,
    }
    plan = {
        "variables": {name: {"value": value} for name, value in variables.items()},
        "planned_values": {"outputs": {"region": {"value": "us-east-1"}}},
    }
    fake = tmp_path / "terraform"
    fake.write_text(
        TERRAFORM.format(
            outputs=tmp_path / "outputs",
            calls=tmp_path / "calls",
            workspaces=tmp_path / "workspaces",
            plan=json.dumps(plan),
            variables=json.dumps(json.dumps(variables)),
        )
    )
    fake.chmod(0o755)
    (tmp_path / "outputs").write_text(
        json.dumps({name: {"value": value} for name, value in outputs.items()})
    )
    (tmp_path / "calls").touch()
    return {
        **{name: value for name, value in os.environ.items() if name not in OF_MAKE},
        "AWS_ENDPOINT_URL": account["aws"],
        "AWS_MAX_ATTEMPTS": "1",
        "PATH": f"{tmp_path}{os.pathsep}{os.environ['PATH']}",
    }


def make(*arguments: str, **environment: str) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        ["make", *arguments],
        cwd=ROOT,
        env=environment,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=4 * PATIENCE,
        check=False,
    )


def terraform_calls(folder: Path) -> list[str]:
    """Terraform's arguments, without the calls that read variables, outputs and state."""
    lines = (folder / "calls").read_text().splitlines()
    reading = ("-no-color", "-json", "state pull")
    return [line for line in lines if not any(each in line for each in reading)]


def state_of(name: str) -> str:
    """A state with the table of a deployment."""
    attributes = {"name": name, "arn": f"arn:aws:dynamodb:us-east-1:123456789012:table/{name}"}
    table = {
        "mode": "managed",
        "type": "aws_dynamodb_table",
        "instances": [{"attributes": attributes}],
    }
    return json.dumps({"resources": [table]})


def test_make_deploy_checks_builds_applies_and_tests(
    environment: dict[str, str], tmp_path: Path
) -> None:
    """In this order; ARGS is passed to Terraform."""
    done = make("deploy", "YES=1", "ARGS=-var name=mine", **environment)

    assert 0 == done.returncode, done.stdout + done.stderr
    assert ["init -input=false", "apply -auto-approve -input=false -var name=mine"] == (
        terraform_calls(tmp_path)
    )
    consoles = (tmp_path / "calls").read_text().splitlines()
    assert 2 == consoles.count("console -no-color -var=name=mine")  # preflight, and package
    stages = ["ok       credentials: ", "lambda.zip: ", "chat: global.anthropic", "it works"]
    places = [done.stdout.index(stage) for stage in stages]
    assert sorted(places) == places


def test_without_yes_terraform_asks(environment: dict[str, str], tmp_path: Path) -> None:
    """If it is not confirmed, the smoke test does not run."""
    done = make("deploy", **environment, FAILS="apply")

    assert 2 == done.returncode
    assert ["init -input=false", "apply"] == terraform_calls(tmp_path)
    assert "connect:" not in done.stdout


@pytest.mark.parametrize("value", ["", "0", "no"])
def test_only_1_confirms_and_selects_the_deployment(value: str) -> None:
    """Otherwise Terraform asks, and clients use the local stack."""
    targets = ("deploy", "destroy", "chat", "wscat")
    done = make("--dry-run", *targets, f"YES={value}", f"DEPLOYED={value}", PATH=os.environ["PATH"])

    assert "destroy" in done.stdout, done.stderr
    assert "-auto-approve" not in done.stdout
    assert "deploy.url" not in done.stdout


def test_make_clean_keeps_a_lock_file() -> None:
    """It may be committed: docs/decisions/0006-no-lock-file.md."""
    done = make("--dry-run", "clean", PATH=os.environ["PATH"])

    assert "terraform/.terraform" in done.stdout.split(), done.stderr
    assert ".terraform.lock.hcl" not in done.stdout


def test_make_deploy_stops_if_a_requirement_is_missing(
    environment: dict[str, str], tmp_path: Path
) -> None:
    """Nothing is built and nothing applied."""
    del environment["AWS_ACCESS_KEY_ID"]
    done = make("deploy", "YES=1", **{**environment, "AWS_SHARED_CREDENTIALS_FILE": os.devnull})

    assert 2 == done.returncode
    assert "missing  credentials" in done.stdout
    assert [] == terraform_calls(tmp_path)


def test_make_plan_changes_nothing(environment: dict[str, str], tmp_path: Path) -> None:
    """ARGS is passed to Terraform. The plan is saved."""
    assert 0 == make("plan", "ARGS=-var-file=x", **environment).returncode
    saved = ROOT / "build" / "default.tfplan"
    assert ["init -input=false", f"plan -input=false -out={saved} -var-file=x"] == (
        terraform_calls(tmp_path)
    )


def test_make_deploy_applies_the_plan_that_was_reviewed(
    environment: dict[str, str], tmp_path: Path
) -> None:
    """And nothing else: neither a new plan, nor a new package, nor another environment's state."""
    planned = make("plan", "ENV=reviewed", **environment)
    assert "make deploy ENV=reviewed PLAN=build/reviewed.tfplan" in planned.stdout, planned.stderr
    (tmp_path / "calls").write_text("")
    refused = make("deploy", "PLAN=build/reviewed.tfplan", **environment)
    done = make("deploy", "ENV=reviewed", "PLAN=build/reviewed.tfplan", **environment)

    assert "refused  plan: " in refused.stdout
    assert 0 == done.returncode, done.stdout + done.stderr
    assert "lambda.zip" not in done.stdout
    saved = ROOT / "build" / "reviewed.tfplan"
    assert ["init -input=false", f"apply -input=false {saved}"] == terraform_calls(tmp_path)


def test_env_selects_the_state_of_every_command(
    environment: dict[str, str], tmp_path: Path
) -> None:
    """Those that read outputs included. `init` needs a workspace that exists."""
    for target in ("plan", "deploy", "smoke", "url", "destroy"):
        (tmp_path / "workspaces").write_text("")
        done = make(target, "ENV=prod", "YES=1", **environment)

        assert 0 == done.returncode, done.stdout + done.stderr
        used = set((tmp_path / "workspaces").read_text().splitlines())
        assert {"prod"} == {line.split()[1] for line in used if not line.startswith("init ")}
        assert {"init default"} >= {line for line in used if line.startswith("init ")}


@pytest.mark.parametrize("target", ["plan", "deploy", "destroy"])
def test_the_state_of_another_deployment_is_refused(
    environment: dict[str, str], tmp_path: Path, target: str
) -> None:
    """Before Terraform plans anything, also with YES=1; only its name overrides it."""
    refused = make(target, "YES=1", **environment, STATE=state_of("other"))

    assert 2 == refused.returncode
    assert "refused  state: " in refused.stdout
    assert [] == terraform_calls(tmp_path)
    assert (
        0 == make(target, "YES=1", "FORCE=other", **environment, STATE=state_of("other")).returncode
    )


def test_nothing_is_destroyed_while_the_table_is_protected(
    environment: dict[str, str], account: dict[str, str], tmp_path: Path
) -> None:
    """Terraform would destroy everything else first. What to do is said."""
    dynamodb = boto3.client("dynamodb", "us-east-1", endpoint_url=account["aws"])
    dynamodb.create_table(
        TableName="chat",
        KeySchema=[{"AttributeName": "pk", "KeyType": "HASH"}],
        AttributeDefinitions=[{"AttributeName": "pk", "AttributeType": "S"}],
        BillingMode="PAY_PER_REQUEST",
        DeletionProtectionEnabled=True,
    )
    refused = make("destroy", "YES=1", **environment, STATE=state_of("chat"))
    dynamodb.update_table(TableName="chat", DeletionProtectionEnabled=False)
    done = make("destroy", "YES=1", **environment, STATE=state_of("chat"))
    dynamodb.delete_table(TableName="chat")

    assert 2 == refused.returncode
    assert "aws dynamodb update-table --table-name chat" in refused.stdout
    assert 0 == done.returncode, done.stdout + done.stderr
    assert ["destroy -auto-approve -input=false"] == terraform_calls(tmp_path)[1:]


def test_a_failed_smoke_test_moves_the_alias_back(
    environment: dict[str, str], account: dict[str, str], tmp_path: Path
) -> None:
    """To the version that was live when the run began; Terraform moves it in between."""
    functions = boto3.client("lambda", "us-east-1", endpoint_url=account["aws"])
    iam = boto3.client("iam", "us-east-1", endpoint_url=account["aws"])
    functions.create_function(
        FunctionName="chat",
        Role=iam.create_role(RoleName="f", AssumeRolePolicyDocument="{}")["Role"]["Arn"],
        Code={"ZipFile": b"zip"},
        Handler="h",
        Runtime="python3.13",
        Publish=True,
    )
    functions.create_alias(FunctionName="chat", Name="live", FunctionVersion="1")
    functions.update_function_code(FunctionName="chat", ZipFile=b"zip 2", Publish=True)
    move = "client.update_alias(FunctionName='chat', Name='live', FunctionVersion='2')"
    moves = f"import boto3; client = boto3.client('lambda', 'us-east-1'); {move}"
    with serve(lambda _: None, "127.0.0.1", 0) as server:  # it closes each connection
        threading.Thread(target=server.serve_forever).start()
        url = f"ws://127.0.0.1:{server.socket.getsockname()[1]}"
        outputs = (tmp_path / "outputs").read_text().replace(account["chat"], url)
        (tmp_path / "outputs").write_text(outputs)
        environment["ON_APPLY"] = f'{sys.executable} -c "{moves}"'
        done = make("deploy", "YES=1", "FORCE=chat", **environment)
        server.shutdown()
    live = functions.get_alias(FunctionName="chat", Name="live")["FunctionVersion"]
    functions.delete_function(FunctionName="chat")

    assert 2 == done.returncode
    assert "moved back from version 2 to 1" in done.stderr, done.stdout + done.stderr
    assert "1" == live


def test_make_destroy_has_a_package_and_asks(environment: dict[str, str], tmp_path: Path) -> None:
    """Terraform reads the zips even to destroy."""
    done = make("destroy", **environment)

    assert 0 == done.returncode
    assert "lambda.zip: " in done.stdout
    assert ["init -input=false", "destroy"] == terraform_calls(tmp_path)


def test_make_smoke_reports_success_or_what_failed(environment: dict[str, str]) -> None:
    """With exit status 0, or make's 2."""
    done = make("smoke", **environment)
    assert (0, "it works") == (done.returncode, done.stdout.splitlines()[-1])

    failed = make("smoke", **environment, FAILS="output")
    assert 2 == failed.returncode
    assert "failed: Terraform cannot read its outputs" in failed.stderr


def test_make_url_prints_the_url_alone(
    environment: dict[str, str], account: dict[str, str]
) -> None:
    """So that its output can be passed to a client."""
    assert f"{account['chat']}\n" == make("-s", "url", **environment).stdout


def test_make_chat_uses_the_deployment(environment: dict[str, str]) -> None:
    """With DEPLOYED=1; it prints the answer alone."""
    done = make("-s", "chat", "DEPLOYED=1", "ARGS=-m hello", **environment)
    assert (0, "You said: hello\n") == (done.returncode, done.stdout)


def test_make_wscat_uses_the_deployment(environment: dict[str, str]) -> None:
    """With DEPLOYED=1, in the text format."""
    with subprocess.Popen(
        ["make", "wscat", "DEPLOYED=1"],
        cwd=ROOT,
        env=environment,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    ) as terminal:
        assert terminal.stdin is not None
        assert terminal.stdout is not None
        seen = b""
        while b"You said: hello\n" not in seen:  # input before the connection is open is lost
            terminal.stdin.write(b"hello\n")
            terminal.stdin.flush()
            if select.select([terminal.stdout], [], [], 1)[0]:
                seen += os.read(terminal.stdout.fileno(), 1000)
        terminal.stdin.close()
