"""Covers deploy/alias.py, with moto: reading the live version, and moving the alias back."""

from collections.abc import Iterator
from typing import Any

import boto3
import pytest
from botocore.exceptions import EndpointConnectionError
from botocore.stub import Stubber
from moto import mock_aws

from deploy import alias, terraform

OUTPUTS = {"function_name": "chat", "function_alias": "live", "region": "eu-west-1"}


@pytest.fixture
def client() -> Iterator[Any]:
    """A function with two versions, of which the second one is live."""
    with mock_aws():
        iam = boto3.client("iam")
        role = iam.create_role(RoleName="f", AssumeRolePolicyDocument="{}")["Role"]["Arn"]
        made = boto3.client("lambda", region_name="eu-west-1")
        made.create_function(
            FunctionName="chat",
            Role=role,
            Code={"ZipFile": b"1"},
            Handler="h",
            Runtime="python3.13",
            Publish=True,
        )
        made.update_function_code(FunctionName="chat", ZipFile=b"2", Publish=True)
        made.create_alias(FunctionName="chat", Name="live", FunctionVersion="2")
        yield made


def test_the_live_version_is_the_aliases(client: Any) -> None:
    """Nothing, if nothing is deployed, or only a part of it."""
    assert "2" == alias.live(client, OUTPUTS)
    assert "" == alias.live(client, {})
    assert "" == alias.live(client, {**OUTPUTS, "function_name": "other"})


def test_the_alias_is_moved_back_to_the_version_before(client: Any) -> None:
    """And what is not moved back is said."""
    text = alias.move_back(client, OUTPUTS, "1")

    assert text.startswith("The alias is moved back from version 2 to 1. Routes")
    assert "1" == alias.live(client, OUTPUTS)


def test_an_alias_that_has_not_moved_stays(client: Any) -> None:
    """A deployment of the same version, and the first one."""
    assert "the alias stays" in alias.move_back(client, OUTPUTS, "2")
    assert "no earlier version" in alias.move_back(client, OUTPUTS, "")
    assert "2" == alias.live(client, OUTPUTS)


@pytest.mark.parametrize("operation", ["get_alias", "update_alias"])
def test_an_alias_that_cannot_be_moved_is_reported(operation: str) -> None:
    """With what AWS says."""
    client = boto3.client("lambda", region_name="eu-west-1")
    answers = Stubber(client)
    if operation == "update_alias":
        answers.add_response("get_alias", {"FunctionVersion": "2"})
    answers.add_client_error(operation, "AccessDeniedException")
    with answers:
        assert "could not be moved back to version 1: " in alias.move_back(client, OUTPUTS, "1")


def test_the_command_prints_the_live_version(
    client: Any, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Alone; nothing if there is none; and an error as a sentence."""
    monkeypatch.setattr(terraform, "outputs", lambda: OUTPUTS)
    assert 0 == alias.main()
    monkeypatch.setattr(terraform, "outputs", dict)
    assert 0 == alias.main()
    assert "2\n" == capsys.readouterr().out

    def unreachable(*_: Any) -> None:
        raise EndpointConnectionError(endpoint_url="https://lambda")

    monkeypatch.setattr(terraform, "outputs", lambda: OUTPUTS)
    monkeypatch.setattr(client, "_make_api_call", unreachable)
    monkeypatch.setattr(alias, "client_of", lambda _: client)
    assert 1 == alias.main()
    assert "https://lambda" in capsys.readouterr().err
