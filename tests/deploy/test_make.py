"""Covers the Makefile's deploying targets: what they do, in which order, and where they stop.

Terraform is a script here that notes what it is asked for, and whose outputs name the real local
stack; AWS is moto. The real Terraform is applied in tests/terraform.
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

# What `make test` hands down to those that it starts.
OF_MAKE = ("ARGS", "MAKEFLAGS", "MAKELEVEL", "MAKEOVERRIDES", "MFLAGS")

TERRAFORM = """#!/bin/sh
test "$1" = version && {{ echo '{{"terraform_version": "1.11.4"}}'; exit; }}
echo "$@" >> {noted}
test "$1" = "$FAILS" && exit 1
test "$1" = output && echo '{outputs}'
test "$1" = console && echo '{variables}'
true
"""


@asynccontextmanager
async def running() -> AsyncIterator[dict[str, str]]:
    """Moto and the local stack: where they are."""
    moto = Child("moto", "local.aws", log=lambda _: None)
    async with Stack(say=lambda _: None, log=lambda _: None) as stack:
        try:
            await moto.start()
            yield {"aws": moto.url, "chat": stack.url}
        finally:
            await moto.close()


@pytest.fixture(scope="module")
def account() -> Iterator[dict[str, str]]:
    """Both, until the tests here are over."""
    with in_a_thread(running()) as found:
        yield found


@pytest.fixture
def given(account: dict[str, str], tmp_path: Path) -> dict[str, str]:
    """An environment with that account, and with that Terraform."""
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
            noted=tmp_path / "noted",
            variables=json.dumps(json.dumps(variables)),
        )
    )
    fake.chmod(0o755)
    (tmp_path / "noted").touch()
    return {
        **{name: value for name, value in os.environ.items() if name not in OF_MAKE},
        "AWS_ENDPOINT_URL": account["aws"],
        "AWS_MAX_ATTEMPTS": "1",
        "PATH": f"{tmp_path}{os.pathsep}{os.environ['PATH']}",
    }


def make(*arguments: str, **given: str) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        ["make", *arguments],
        cwd=ROOT,
        env=given,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=4 * PATIENCE,
        check=False,
    )


def noted(folder: Path) -> list[str]:
    """What Terraform was asked to do, but for what its variables and outputs are."""
    lines = (folder / "noted").read_text().splitlines()
    return [line for line in lines if "-no-color" not in line and "-json" not in line]


def test_deploy(given: dict[str, str], tmp_path: Path) -> None:
    """`make deploy` looks, packs, applies what it is told, and talks to what came of it."""
    done = make("deploy", "YES=1", "ARGS=-var name=mine", **given)

    assert 0 == done.returncode, done.stdout + done.stderr
    assert ["init -input=false", "apply -auto-approve -input=false -var name=mine"] == (
        noted(tmp_path)
    )
    consoles = (tmp_path / "noted").read_text().splitlines()
    assert 2 == consoles.count("console -no-color -var=name=mine")  # to look, and to pack
    stages = ["ok       credentials: ", "lambda.zip: ", "chat: global.anthropic", "it works"]
    places = [done.stdout.index(stage) for stage in stages]
    assert sorted(places) == places


def test_deploy_asks(given: dict[str, str], tmp_path: Path) -> None:
    """Without YES=1 Terraform asks; where the answer is no, nothing is talked to."""
    done = make("deploy", **given, FAILS="apply")

    assert 2 == done.returncode
    assert ["init -input=false", "apply"] == noted(tmp_path)
    assert "connect:" not in done.stdout


@pytest.mark.parametrize("said", ["", "0", "no"])
def test_only_1_is_yes(said: str) -> None:
    """Whoever says no is asked, and talks to their own machine."""
    targets = ("deploy", "destroy", "chat", "wscat")
    told = make("--dry-run", *targets, f"YES={said}", f"DEPLOYED={said}", PATH=os.environ["PATH"])
    assert "destroy" in told.stdout, told.stderr
    assert "-auto-approve" not in told.stdout
    assert "deploy.url" not in told.stdout


def test_clean_keeps_a_lock_file() -> None:
    """It was not made here: docs/decisions/0006-no-lock-file.md has people commit it."""
    told = make("--dry-run", "clean", PATH=os.environ["PATH"])
    assert "terraform/.terraform" in told.stdout.split(), told.stderr
    assert ".terraform.lock.hcl" not in told.stdout


def test_deploy_stops_where_something_is_missing(given: dict[str, str], tmp_path: Path) -> None:
    """Nothing is packed and nothing applied."""
    del given["AWS_ACCESS_KEY_ID"]
    done = make("deploy", "YES=1", **{**given, "AWS_SHARED_CREDENTIALS_FILE": os.devnull})

    assert 2 == done.returncode
    assert "missing  credentials" in done.stdout
    assert [] == noted(tmp_path)


def test_plan(given: dict[str, str], tmp_path: Path) -> None:
    """`make plan` shows, and changes nothing."""
    assert 0 == make("plan", "ARGS=-var-file=x", **given).returncode
    assert ["init -input=false", "plan -input=false -var-file=x"] == noted(tmp_path)


def test_destroy(given: dict[str, str], tmp_path: Path) -> None:
    """`make destroy` asks; the zips are there, for Terraform reads them even then."""
    done = make("destroy", **given)

    assert 0 == done.returncode
    assert "lambda.zip: " in done.stdout
    assert ["init -input=false", "destroy"] == noted(tmp_path)


def test_smoke(given: dict[str, str]) -> None:
    """`make smoke` ends with 0 where all works, and else with what to look at."""
    done = make("smoke", **given)
    assert (0, "it works") == (done.returncode, done.stdout.splitlines()[-1])

    failed = make("smoke", **given, FAILS="output")
    assert 2 == failed.returncode
    assert "failed: Terraform cannot tell" in failed.stderr


def test_url(given: dict[str, str], account: dict[str, str]) -> None:
    """`make url` prints the URL and nothing else."""
    assert f"{account['chat']}\n" == make("-s", "url", **given).stdout


def test_chat(given: dict[str, str]) -> None:
    """`make chat DEPLOYED=1` asks what was deployed; the answer is all that it prints."""
    done = make("-s", "chat", "DEPLOYED=1", "ARGS=-m hello", **given)
    assert (0, "You said: hello\n") == (done.returncode, done.stdout)


def test_wscat(given: dict[str, str]) -> None:
    """`make wscat DEPLOYED=1` talks to what was deployed, in bare text."""
    with subprocess.Popen(
        ["make", "wscat", "DEPLOYED=1"],
        cwd=ROOT,
        env=given,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    ) as terminal:
        assert terminal.stdin is not None
        assert terminal.stdout is not None
        seen = b""
        while b"You said: hello\n" not in seen:  # what is typed before it is connected is lost
            terminal.stdin.write(b"hello\n")
            terminal.stdin.flush()
            if select.select([terminal.stdout], [], [], 1)[0]:
                seen += os.read(terminal.stdout.fileno(), 1000)
        terminal.stdin.close()
