"""Counts the calls of a turn: no change may add one, and docs/capacity.md may not assume others."""

import json
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import boto3
import pytest
from moto import mock_aws
from support.endpoints import ConnectionsEndpoint

import handler
from bedrock_stream import Model, client_config
from bench import capacity
from families.registry import family_of
from local.aws.moto_server import create_table
from services import Services
from settings import load
from store.budget import Budget
from store.connections import Connections
from store.conversations import Conversations
from store.leases import Leases
from store.sessions import Sessions
from store.table import Table
from store.table import client_config as table_config
from store.uploads import Uploads


@dataclass
class Calls:
    """The calls to DynamoDB and Bedrock in order, and the number of writes of each transaction."""

    names: list[str] = field(default_factory=list)
    writes: list[int] = field(default_factory=list)

    def record(self, model: Any, params: Any, **_: Any) -> None:
        self.names.append(model.name)
        body = json.loads(params["body"]) if model.name == "TransactWriteItems" else {}
        if body:
            self.writes.append(len(body["TransactItems"]))


class Clock:
    def get_remaining_time_in_millis(self) -> int:
        return 60_000


@dataclass
class Function:
    """The handler, with a budget as in a deployment, and its recorded calls."""

    app: Services
    calls: Calls

    def event(self, kind: str, number: int, **event: Any) -> None:
        meta = {
            "eventType": kind,
            "connectionId": "c=",
            "requestId": f"event-{number}",
            "domainName": "example.com",
            "stage": "prod",
        }
        assert handler.OK == handler.handle(self.app, {"requestContext": meta, **event}, Clock())


@pytest.fixture
def function(bedrock: str, connections: ConnectionsEndpoint) -> Iterator[Function]:
    calls = Calls()
    with mock_aws():
        create_table("https://dynamodb.us-east-1.amazonaws.com", "chat")
        dynamodb = boto3.client("dynamodb", config=table_config())
        model = boto3.client("bedrock-runtime", endpoint_url=bedrock, config=client_config(5.0))
        for client in (dynamodb, model):
            client.meta.events.register("before-call", calls.record)
        settings = load({"TABLE_NAME": "chat", "CALLBACK_URL": connections.url, "AUTH": "none"})
        table = Table(dynamodb, "chat")
        conversations = Conversations(table, 30)
        leases = Leases(table, conversations, Budget(500, 1_000_000))
        poster = connections.poster()
        app = Services(
            settings=settings,
            model=Model(model, settings.model_id, family_of(settings.model_id)),
            connections=Connections(table),
            conversations=conversations,
            leases=leases,
            sessions=Sessions(table, conversations, leases),
            uploads=Uploads(table, settings.max_input_bytes),
            poster_for=lambda _: poster,
        )
        function = Function(app, calls)
        function.event("CONNECT", 0)
        calls.names.clear()
        yield function


def test_three_round_trips_before_bedrock_is_called(function: Function) -> None:
    """The connection, the claim and the history, then the model: in every turn."""
    expected = ["GetItem", "TransactWriteItems", "Query", "InvokeModelWithResponseStream"]
    for number in (1, 2, 3):
        function.calls.names.clear()
        function.event("MESSAGE", number, body="hello")
        assert expected == function.calls.names[:4]


def test_four_round_trips_in_a_turn(function: Function) -> None:
    """A turn shorter than the poll interval adds one, the save, as docs/capacity.md assumes."""
    function.event("MESSAGE", 1, body="hello")
    dynamodb = Counter(name for name in function.calls.names if not name.startswith("Invoke"))

    assert dict(capacity.DYNAMODB_CALLS) == dict(dynamodb)


def test_the_claim_writes_three_items_and_the_save_four(function: Function) -> None:
    """Each at double cost: these are the units of docs/capacity.md."""
    function.event("MESSAGE", 1, body="hello")

    assert [3, 4] == function.calls.writes
    assert capacity.writes(5, 5) == 2 * sum(function.calls.writes)


def test_deltas_that_arrive_together_are_one_post(
    function: Function, connections: ConnectionsEndpoint
) -> None:
    """A short answer is posted as `start`, at most one frame per delta, and `done`."""
    function.event("MESSAGE", 1, body="hello")
    kinds = [json.loads(frame)["type"] for frame in connections.frames]

    assert "start" == kinds[0]
    assert "done" == kinds[-1]
    assert len(kinds) <= 2 + len(["You", "said:", "hello"])
