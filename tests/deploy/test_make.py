"""Covers the Makefile's targets for deployments: their steps, in order, and where they stop.

Terraform is a script that records its arguments, and whose outputs name a real local stack; AWS is
moto. tests/terraform applies the real Terraform.
"""

import json
import os
import select
import subprocess
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from support.e2e_clients import PATIENCE, ROOT
from support.threads import in_a_thread

from local.stack import Child, Stack

# Variables that `make test` sets for its child processes.
OF_MAKE = ("ARGS", "MAKEFLAGS", "MAKELEVEL", "MAKEOVERRIDES", "MFLAGS")

TERRAFORM = """#!/bin/sh
test "$1" = version && {{ echo '{{"terraform_version": "1.11.4"}}'; exit; }}
echo "$@" >> {calls}
test "$1" = "$FAILS" && exit 1
test "$1" = output && echo '{outputs}'
test "$1" = console && echo '{variables}'
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
        "region": "us-east-1",
        "model_id": "m",
        "account_logging": True,
        "architecture": "arm64",
        "auth": "none",
    }
    fake = tmp_path / "terraform"
    fake.write_text(
        TERRAFORM.format(
            outputs=json.dumps({name: {"value": value} for name, value in outputs.items()}),
            calls=tmp_path / "calls",
            variables=json.dumps(json.dumps(variables)),
        )
    )
    fake.chmod(0o755)
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
    """Terraform's arguments, without the calls that read variables and outputs."""
    lines = (folder / "calls").read_text().splitlines()
    return [line for line in lines if "-no-color" not in line and "-json" not in line]


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
    """ARGS is passed to Terraform."""
    assert 0 == make("plan", "ARGS=-var-file=x", **environment).returncode
    assert ["init -input=false", "plan -input=false -var-file=x"] == terraform_calls(tmp_path)


def test_make_destroy_builds_the_package_and_asks(
    environment: dict[str, str], tmp_path: Path
) -> None:
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
