import random
import time
from typing import Any

import boto3
import pytest
from botocore.exceptions import ClientError, EndpointConnectionError
from msgspec.structs import replace

from errors import ChatError
from store import table as table_module
from store.table import Put, Table, Update, UpdateResult

KEY = {"pk": "a", "sk": "b"}


def put(sk: str, **more: Any) -> Put:
    return Put({"pk": "a", "sk": sk, **more})


def failing(table: Table, monkeypatch: pytest.MonkeyPatch, *errors: Exception | None) -> list[str]:
    """Makes the table's next calls fail with these errors, in turn; None lets one through."""
    calls: list[str] = []
    left = list(errors)

    def call(operation: str, kwargs: Any) -> Any:
        calls.append(operation)
        error = left.pop(0) if left else None
        if error:
            raise error
        return through(operation, kwargs)

    through = table._client._make_api_call  # type: ignore[attr-defined]
    monkeypatch.setattr(table._client, "_make_api_call", call)
    monkeypatch.setattr(time, "sleep", lambda _: None)
    return calls


def client_error(code: str, *reasons: str) -> ClientError:
    response: Any = {
        "Error": {"Code": code, "Message": "table arn:aws:dynamodb:eu-west-1:1:table/chat"},
        "CancellationReasons": [{"Code": reason} for reason in reasons],
    }
    return ClientError(response, "TransactWriteItems")


def test_strings_and_integers_are_returned_as_they_were_stored(table: Table) -> None:
    """Whatever the characters and the sign."""
    item = {**KEY, "text": 'é 🙂 "\x00', "number": -5, "empty": ""}

    assert table.get(KEY) is None
    table.put(item)
    assert item == table.get(KEY)


def test_last_returns_the_last_items_with_the_prefix(table: Table) -> None:
    """Last first, of that partition only."""
    for sk in ("turn#1", "turn#2", "turn#3", "head", "zzz"):
        table.put({"pk": "a", "sk": sk})
    table.put({"pk": "b", "sk": "turn#9"})

    assert ["turn#3", "turn#2"] == [item["sk"] for item in table.last("a", "turn#", 2)]
    assert [] == table.last("c", "turn#", 2)


def test_every_read_is_strongly_consistent(table: Table) -> None:
    """A turn that was just saved is read by the next request; moto does not tell them apart."""
    reads: dict[str, list[bool]] = {"GetItem": [], "Query": []}

    def note(params: Any, model: Any, **_: Any) -> None:
        if model.name in reads:
            reads[model.name].append(params.get("ConsistentRead", False))

    table._client.meta.events.register("before-parameter-build", note)
    table.get(KEY)
    table.last("a", "turn#", 2)
    table.delete_all("a", "turn#")

    assert {"GetItem": [True], "Query": [True, True]} == reads


def test_delete_all_deletes_every_item_with_the_prefix(table: Table) -> None:
    """More than a batch takes, and nothing else; the count is what there was."""
    for n in range(57):
        table.put({"pk": "a", "sk": f"turn#{n:03d}"})
    table.put({"pk": "a", "sk": "head"})

    assert 57 == table.delete_all("a", "turn#")
    assert [] == table.last("a", "turn#", 5)
    assert table.get({"pk": "a", "sk": "head"}) is not None
    assert 0 == table.delete_all("a", "turn#")


def test_unprocessed_deletes_are_sent_again_a_few_times(
    table: Table, monkeypatch: pytest.MonkeyPatch
) -> None:
    """After the last pause the call fails as throttled."""
    table.put({"pk": "a", "sk": "turn#1"})
    batches: list[Any] = []

    def unprocessed(**kwargs: Any) -> Any:
        batches.append(kwargs["RequestItems"])
        return {"UnprocessedItems": kwargs["RequestItems"]}

    monkeypatch.setattr(table._client, "batch_write_item", unprocessed)
    monkeypatch.setattr(time, "sleep", lambda _: None)

    with pytest.raises(ChatError, match="try again") as refused:
        table.delete_all("a", "turn#")
    assert "throttled" == refused.value.code
    assert 1 + len(table_module.UNPROCESSED_PAUSES) == len(batches)


def test_transact_does_all_writes_or_none(table: Table) -> None:
    """If a condition check fails, its item is returned: empty if there is none."""
    table.put({**KEY, "count": 1})
    update = Update(KEY, "SET live = :c", {":c": 2}, "attribute_exists(pk)")

    assert table.transact(update, put("new")) is None
    assert 2 == (table.get(KEY) or {})["live"]
    assert [None, {"pk": "a", "sk": "new"}] == table.transact(
        Update(KEY, "SET live = :c", {":c": 3}, "attribute_exists(pk)"), put("new")
    )
    assert 2 == (table.get(KEY) or {})["live"]
    assert [{}] == table.transact(
        Update({"pk": "x", "sk": "x"}, "SET live = :c", {":c": 3}, "attribute_exists(pk)")
    )


def test_put_new_does_not_replace_an_item(table: Table) -> None:
    """It is written once."""
    assert table.put_new({**KEY, "n": 1})
    assert not table.put_new({**KEY, "n": 2})
    assert {**KEY, "n": 1} == table.get(KEY)


def test_update_returns_the_item_whether_it_was_applied_or_not(table: Table) -> None:
    """As it is after the update; None if there is no such item."""
    change = Update(KEY, "SET live = :c ADD n :one", {":c": "x", ":one": 1})
    only_new = replace(change, condition="attribute_not_exists(pk)")

    assert UpdateResult(applied=True, item={**KEY, "live": "x", "n": 1}) == table.update(only_new)
    assert UpdateResult(applied=False, item={**KEY, "live": "x", "n": 1}) == table.update(only_new)
    assert UpdateResult(applied=True, item={**KEY, "live": "x", "n": 2}) == table.update(change)
    missing = replace(change, key={"pk": "x", "sk": "x"}, condition="attribute_exists(pk)")
    assert UpdateResult(applied=False, item=None) == table.update(missing)


def test_an_update_that_conflicts_with_a_transaction_is_tried_again(
    table: Table, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A few times, then it is throttled."""
    conflict = client_error("TransactionConflictException")
    change = Update(KEY, "SET live = :c", {":c": "x"})

    with monkeypatch.context() as patch:
        calls = failing(table, patch, conflict, conflict)
        assert table.update(change).applied
    assert 3 == len(calls)
    calls = failing(table, monkeypatch, *[conflict] * 20)
    with pytest.raises(ChatError) as failed:
        table.update(change)
    assert "throttled" == failed.value.code
    assert 1 + len(table_module.CONFLICT_PAUSES) == len(calls)


def test_a_transaction_that_conflicts_with_another_is_tried_again(
    table: Table, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A conflict does not mean that a condition has failed."""
    conflict = client_error("TransactionCanceledException", "TransactionConflict", "None")
    calls = failing(table, monkeypatch, conflict, conflict)

    assert table.transact(put("new")) is None
    assert 3 == len(calls)


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (client_error("ThrottlingException"), "throttled"),
        (client_error("ProvisionedThroughputExceededException"), "throttled"),
        (client_error("AccessDeniedException"), "internal"),
        (client_error("ResourceNotFoundException"), "internal"),
        (EndpointConnectionError(endpoint_url="https://dynamodb"), "internal"),
        (client_error("TransactionCanceledException", "ThrottlingError"), "throttled"),
        (client_error("TransactionCanceledException", "ValidationError", "None"), "internal"),
    ],
)
def test_a_failure_is_translated_into_one_error(
    table: Table, monkeypatch: pytest.MonkeyPatch, error: Exception, code: str
) -> None:
    """Its message and its cause name no ARN; it can be tried again."""
    failing(table, monkeypatch, error)

    with pytest.raises(ChatError) as failed:
        table.transact(put("new"))
    assert code == failed.value.code
    assert failed.value.retryable
    assert "arn:" not in f"{failed.value.message} {failed.value.cause}"


def test_a_conflict_that_does_not_end_is_throttling(
    table: Table, monkeypatch: pytest.MonkeyPatch
) -> None:
    """After a bounded number of attempts, with a pause before each but the first."""
    conflict = client_error("TransactionCanceledException", "TransactionConflict")
    calls = failing(table, monkeypatch, *[conflict] * 20)
    pauses: list[float] = []
    monkeypatch.setattr(random, "uniform", lambda low, high: (low + high) / 2)
    monkeypatch.setattr(time, "sleep", pauses.append)

    with pytest.raises(ChatError) as failed:
        table.transact(put("new"))
    assert "throttled" == failed.value.code
    assert 1 + len(table_module.CONFLICT_PAUSES) == len(calls)
    assert table_module.CONFLICT_PAUSES == tuple(pauses)


def test_a_pause_after_a_conflict_varies_by_half(
    table: Table, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two writers that conflicted do not meet again."""
    conflict = client_error("TransactionConflictException")
    pauses: list[float] = []
    for _ in range(20):
        with monkeypatch.context() as patch:
            failing(table, patch, conflict)
            patch.setattr(time, "sleep", pauses.append)
            table.update(Update(KEY, "SET live = :c", {":c": "x"}))

    first = table_module.CONFLICT_PAUSES[0]
    assert all(first / 2 <= pause <= first * 1.5 for pause in pauses)
    assert 20 == len(set(pauses))


@pytest.mark.parametrize("code", sorted(table_module._THROTTLED))
def test_every_code_of_throttling_is_throttled(
    table: Table, monkeypatch: pytest.MonkeyPatch, code: str
) -> None:
    """As the error of a call, and as a cancellation reason, with a conflict beside it or not."""
    for error in (
        client_error(code),
        client_error("TransactionCanceledException", code, "None"),
        client_error("TransactionCanceledException", code, "TransactionConflict"),
    ):
        with monkeypatch.context() as patch:
            calls = failing(table, patch, error)
            with pytest.raises(ChatError) as failed:
                table.transact(put("new"))
        assert "throttled" == failed.value.code
        assert "The conversation store is busy; try again." == failed.value.message
        assert code in failed.value.cause
        assert 1 == len(calls)


def test_the_codes_of_throttling_are_those_of_dynamodb() -> None:
    """The Developer Guide's retryable ones, and those of a transaction's reasons."""
    expected = {
        "LimitExceededException",
        "ProvisionedThroughputExceeded",
        "ProvisionedThroughputExceededException",
        "RequestLimitExceeded",
        "ThrottlingError",
        "ThrottlingException",
    }

    assert expected == table_module._THROTTLED


def test_a_failed_condition_outweighs_a_conflict(
    table: Table, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The transaction would fail when tried again, so it is not."""
    error = client_error(
        "TransactionCanceledException", "TransactionConflict", "ConditionalCheckFailed"
    )
    calls = failing(table, monkeypatch, error)

    assert [None, {}] == table.transact(put("one"), put("two"))
    assert 1 == len(calls)


def test_attributes_of_other_types_are_ignored(table: Table) -> None:
    """A later version may store them; this one reads the rest of the item."""
    key = {name: {"S": value} for name, value in KEY.items()}
    later: Any = {
        "flag": {"BOOL": True},
        "nothing": {"NULL": True},
        "list": {"L": [{"S": "x"}]},
        "map": {"M": {"a": {"N": "1"}}},
        "bytes": {"B": b"x"},
        "fraction": {"N": "1.5"},
        "set": {"SS": ["x"]},
    }
    table._client.put_item(TableName="chat", Item={**key, **later, "n": {"N": "-7"}})

    assert {**KEY, "n": -7} == table.get(KEY)
    assert [{**KEY, "n": -7}] == table.last("a", "b", 1)
    assert [{**KEY, "n": -7}] == table.transact(put("b"))


def test_client_config_bounds_every_call() -> None:
    """Connecting, reading and repeating all have a limit."""
    config: Any = boto3.client("dynamodb", config=table_module.client_config()).meta.config

    assert (1.0, 2.0) == (config.connect_timeout, config.read_timeout)
    assert 3 == config.retries["total_max_attempts"]
