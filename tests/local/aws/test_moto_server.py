"""Covers local/aws/moto_server.py with the real server in a process of its own."""

import contextlib
import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import boto3
import pytest
from botocore.exceptions import ClientError
from support.pids import PATIENCE
from types_boto3_dynamodb import DynamoDBClient

from local.aws.account import CREDENTIALS, REGION
from local.aws.moto_server import create_table

ROOT = Path(__file__).resolve().parents[3]


@contextlib.contextmanager
def server(*arguments: str) -> Iterator[tuple["subprocess.Popen[str]", str]]:
    child = subprocess.Popen(
        [sys.executable, "-m", "local.aws", *arguments],
        cwd=ROOT,
        env={**os.environ, **CREDENTIALS},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    try:
        assert child.stdout is not None
        found = re.fullmatch(r"listening: (http://127\.0\.0\.1:\d+)\n", child.stdout.readline())
        assert found
        yield child, found[1]
    finally:
        child.kill()
        child.communicate()


@pytest.fixture(scope="module")
def serving() -> Iterator[str]:
    """A server whose tests make tables of their own."""
    with server() as (_, url):
        yield url


@contextlib.contextmanager
def dynamodb(url: str) -> Iterator[DynamoDBClient]:
    session = boto3.Session("local", "local", "local", region_name=REGION)
    with contextlib.closing(session.client("dynamodb", endpoint_url=url)) as client:
        yield client


def test_the_table_is_what_the_handler_expects() -> None:
    """Keys, billing and TTL; a second table of that name is an error; requests are not logged."""
    with server("--table", "chat") as (child, url):
        with dynamodb(url) as client:
            table = client.describe_table(TableName="chat")["Table"]
            ttl = client.describe_time_to_live(TableName="chat")["TimeToLiveDescription"]
            client.put_item(TableName="chat", Item={"pk": {"S": "a"}, "sk": {"S": "b"}})
            item = client.get_item(TableName="chat", Key={"pk": {"S": "a"}, "sk": {"S": "b"}})
        with pytest.raises(ClientError, match="ResourceInUse"):
            create_table(url, "chat")
        child.terminate()
        rest, errors = child.communicate(timeout=PATIENCE)

    assert table["KeySchema"] == [
        {"AttributeName": "pk", "KeyType": "HASH"},
        {"AttributeName": "sk", "KeyType": "RANGE"},
    ]
    assert {row["AttributeType"] for row in table["AttributeDefinitions"]} == {"S"}
    assert table["BillingModeSummary"]["BillingMode"] == "PAY_PER_REQUEST"
    assert ttl == {"TimeToLiveStatus": "ENABLED", "AttributeName": "expires_at"}
    assert item["Item"]["sk"] == {"S": "b"}
    assert (rest, errors) == ("", "")


@pytest.mark.parametrize("cause", ["SIGTERM", "end of input"])
def test_it_ends_on_sigterm_and_at_the_end_of_input(cause: str) -> None:
    """At once and without output, also when its parent process is gone."""
    with server() as (child, _):
        if cause == "SIGTERM":
            child.send_signal(signal.SIGTERM)
        else:
            assert child.stdin is not None
            child.stdin.close()
            child.stdin = None
        _, errors = child.communicate(timeout=PATIENCE)

        # under coverage, its own SIGTERM handler ends the process by the signal
        assert (
            child.returncode in {0, -signal.SIGTERM}
            if cause == "SIGTERM"
            else child.returncode == 0
        )
        assert errors == ""


def test_a_repeated_transaction_succeeds_without_writing_again(serving: str) -> None:
    """A second request with the same token succeeds, though its condition no longer holds.

    A failed transaction may be retried.
    """
    item = {"pk": {"S": "a"}, "sk": {"S": "b"}}
    new = {"TableName": "repeated", "Item": item, "ConditionExpression": "attribute_not_exists(pk)"}
    create_table(serving, "repeated")
    with dynamodb(serving) as client:
        for _ in range(2):
            client.transact_write_items(TransactItems=[{"Put": new}], ClientRequestToken="first")  # type: ignore[typeddict-item]
        with pytest.raises(ClientError, match="ConditionalCheckFailed"):
            client.transact_write_items(TransactItems=[{"Put": new}], ClientRequestToken="other")  # type: ignore[typeddict-item]
        client.delete_item(TableName="repeated", Key=item)
        client.transact_write_items(TransactItems=[{"Put": new}], ClientRequestToken="other")  # type: ignore[typeddict-item]

        assert item == client.get_item(TableName="repeated", Key=item)["Item"]


def test_a_failed_transaction_changes_nothing(serving: str) -> None:
    """What it wrote before the failing condition is restored, item by item."""
    existing, absent, other = ({"pk": {"S": name}, "sk": {"S": "b"}} for name in ("a", "c", "d"))
    new = {"TableName": "failed", "ConditionExpression": "attribute_not_exists(pk)"}
    change = {
        "TableName": "failed",
        "Key": existing,
        "UpdateExpression": "SET x = :x",
        "ExpressionAttributeValues": {":x": {"S": "changed"}},
    }
    create_table(serving, "failed")
    with dynamodb(serving) as client:
        for item in (existing, other):
            client.put_item(TableName="failed", Item=item)
        with pytest.raises(ClientError, match="ConditionalCheckFailed"):
            client.transact_write_items(
                TransactItems=[
                    {"Update": change},  # type: ignore[typeddict-item]
                    {"Put": {**new, "Item": absent}},  # type: ignore[typeddict-item]
                    {"Put": {**new, "Item": other}},  # type: ignore[typeddict-item]
                ]
            )
        found = client.scan(TableName="failed")["Items"]

    assert [existing, other] == sorted(found, key=lambda item: item["pk"]["S"])


def test_a_query_returns_the_items_of_its_partition_in_order() -> None:
    """Also after a query of a partition that does not exist."""
    items = [{"pk": {"S": pk}, "sk": {"S": sk}} for pk in ("a", "b") for sk in ("2", "1")]
    with server("--table", "chat") as (_, url), dynamodb(url) as client:
        for item in items:
            client.put_item(TableName="chat", Item=item)

        def found(pk: str) -> list[str]:
            response = client.query(
                TableName="chat",
                KeyConditionExpression="pk = :pk",
                ExpressionAttributeValues={":pk": {"S": pk}},
            )
            return [item["pk"]["S"] + item["sk"]["S"] for item in response["Items"]]

        assert [[], ["a1", "a2"], ["b1", "b2"]] == [found("c"), found("a"), found("b")]
        assert 4 == len(client.scan(TableName="chat")["Items"])
