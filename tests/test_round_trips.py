"""Counts the calls of a turn: no change may add one, and docs/capacity.md may not assume others."""

import json
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import pytest
from msgspec.structs import replace
from support.endpoints import ConnectionsEndpoint
from support.functions import Function, connected_function
from support.lambda_environments import PATIENCE

import relay
from bench import capacity
from store.budget import Budget
from store.leases import Leases
from store.table import Table


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


@pytest.fixture
def function(
    table: Table, bedrock: str, connections: ConnectionsEndpoint, monkeypatch: pytest.MonkeyPatch
) -> Function:
    """With a budget, as in a deployment; its turns are shorter than the poll interval."""
    monkeypatch.setattr(relay, "POLL_SECONDS", PATIENCE)
    function = connected_function(table, bedrock, connections)
    leases = Leases(table, function.app.conversations, Budget(500, 1_000_000))
    function.app = replace(function.app, leases=leases)
    return function


@pytest.fixture
def calls(function: Function, table: Table) -> Iterator[Calls]:
    """The calls from now on."""
    calls = Calls()
    emitters = [client.meta.events for client in (table._client, function.app.model.client)]
    for emitter in emitters:
        emitter.register("before-call", calls.record)
    yield calls
    for emitter in emitters:
        emitter.unregister("before-call", calls.record)


def test_three_round_trips_before_bedrock_is_called(function: Function, calls: Calls) -> None:
    """The connection, the claim and the history, then the model: in every turn."""
    expected = ["GetItem", "TransactWriteItems", "Query", "InvokeModelWithResponseStream"]
    for _ in range(3):
        calls.names.clear()
        function.message("hello")
        assert expected == calls.names[:4]


def test_four_round_trips_in_a_turn(function: Function, calls: Calls) -> None:
    """A turn shorter than the poll interval adds one, the save, as docs/capacity.md assumes."""
    function.message("hello")
    dynamodb = Counter(name for name in calls.names if not name.startswith("Invoke"))

    assert dict(capacity.DYNAMODB_CALLS) == dict(dynamodb)


def test_the_claim_writes_three_items_and_the_save_four(function: Function, calls: Calls) -> None:
    """Each at double cost: these are the units of docs/capacity.md."""
    function.message("hello")

    assert [3, 4] == calls.writes
    assert capacity.writes(5, 5) == 2 * sum(calls.writes)


def test_deltas_that_arrive_together_are_one_post(
    function: Function, connections: ConnectionsEndpoint
) -> None:
    """A short answer is posted as `start`, at most one frame per delta, and `done`."""
    function.message("hello")
    kinds = [json.loads(frame)["type"] for frame in connections.frames]

    assert "start" == kinds[0]
    assert "done" == kinds[-1]
    assert len(kinds) <= 2 + len(["You", "said:", "hello"])
