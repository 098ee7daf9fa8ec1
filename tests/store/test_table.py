import time
from typing import Any

import boto3
import pytest
from botocore.exceptions import ClientError, EndpointConnectionError
from msgspec.structs import replace

from errors import ChatError
from store import table as table_module
from store.table import Put, Table, Update, Updated

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


def test_put_get(table: Table) -> None:
    """Texts and whole numbers come back as they went in."""
    item = {**KEY, "text": 'é 🙂 "\x00', "number": -5, "empty": ""}

    assert table.get(KEY) is None
    table.put(item)
    assert item == table.get(KEY)


def test_last(table: Table) -> None:
    """The last items of that beginning, last first."""
    for sk in ("turn#1", "turn#2", "turn#3", "head", "zzz"):
        table.put({"pk": "a", "sk": sk})
    table.put({"pk": "b", "sk": "turn#9"})

    assert ["turn#3", "turn#2"] == [item["sk"] for item in table.last("a", "turn#", 2)]
    assert [] == table.last("c", "turn#", 2)


def test_delete_all(table: Table) -> None:
    """More than one batch and one beginning only; the count is what was there."""
    for n in range(57):
        table.put({"pk": "a", "sk": f"turn#{n:03d}"})
    table.put({"pk": "a", "sk": "head"})

    assert 57 == table.delete_all("a", "turn#")
    assert [] == table.last("a", "turn#", 5)
    assert table.get({"pk": "a", "sk": "head"}) is not None
    assert 0 == table.delete_all("a", "turn#")


def test_delete_all_again_what_was_left(table: Table, monkeypatch: pytest.MonkeyPatch) -> None:
    """What DynamoDB leaves undone is sent again, and in the end refused in words."""
    table.put({"pk": "a", "sk": "turn#1"})
    batches: list[Any] = []

    def unprocessed(**kwargs: Any) -> Any:
        batches.append(kwargs["RequestItems"])
        return {"UnprocessedItems": kwargs["RequestItems"]}

    monkeypatch.setattr(table._client, "batch_write_item", unprocessed)
    monkeypatch.setattr(time, "sleep", lambda _: None)

    with pytest.raises(ChatError, match="ask again") as refused:
        table.delete_all("a", "turn#")
    assert "throttled" == refused.value.code
    assert 1 + len(table_module.UNPROCESSED_PAUSES) == len(batches)


def test_transact(table: Table) -> None:
    """Both writes or neither; a refusal shows what stood against each."""
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


def test_put_new(table: Table) -> None:
    """Written once; what stands is left alone."""
    assert table.put_new({**KEY, "n": 1})
    assert not table.put_new({**KEY, "n": 2})
    assert {**KEY, "n": 1} == table.get(KEY)


def test_update(table: Table) -> None:
    """One item, changed or not: either way it is told how it stands."""
    change = Update(KEY, "SET live = :c ADD n :one", {":c": "x", ":one": 1})
    only_new = replace(change, condition="attribute_not_exists(pk)")

    assert Updated(done=True, item={**KEY, "live": "x", "n": 1}) == table.update(only_new)
    assert Updated(done=False, item={**KEY, "live": "x", "n": 1}) == table.update(only_new)
    assert Updated(done=True, item={**KEY, "live": "x", "n": 2}) == table.update(change)
    missing = replace(change, key={"pk": "x", "sk": "x"}, condition="attribute_exists(pk)")
    assert Updated(done=False, item=None) == table.update(missing)


def test_update_again_after_a_conflict(table: Table, monkeypatch: pytest.MonkeyPatch) -> None:
    """A transaction that holds the item is waited for; one without end is throttling."""
    conflict = client_error("TransactionConflictException")
    change = Update(KEY, "SET live = :c", {":c": "x"})

    with monkeypatch.context() as patch:
        calls = failing(table, patch, conflict, conflict)
        assert table.update(change).done
    assert 3 == len(calls)
    failing(table, monkeypatch, *[conflict] * 20)
    with pytest.raises(ChatError) as failed:
        table.update(change)
    assert "throttled" == failed.value.code


def test_transact_again_after_a_conflict(table: Table, monkeypatch: pytest.MonkeyPatch) -> None:
    """Two transactions that met are no refusal: the next try tells."""
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
def test_failures(
    table: Table, monkeypatch: pytest.MonkeyPatch, error: Exception, code: str
) -> None:
    """Every failure is one error of ours, which names no ARN."""
    failing(table, monkeypatch, error)

    with pytest.raises(ChatError) as failed:
        table.transact(put("new"))
    assert code == failed.value.code
    assert failed.value.retryable
    assert "arn:" not in f"{failed.value.message} {failed.value.cause}"


def test_conflict_without_end(table: Table, monkeypatch: pytest.MonkeyPatch) -> None:
    """A conflict that never ends is told as throttling, after a bounded number of tries."""
    conflict = client_error("TransactionCanceledException", "TransactionConflict")
    calls = failing(table, monkeypatch, *[conflict] * 20)

    with pytest.raises(ChatError) as failed:
        table.transact(put("new"))
    assert "throttled" == failed.value.code
    assert 1 + len(table_module.CONFLICT_PAUSES) == len(calls)


def test_client_config_bounds_every_call() -> None:
    """No call to DynamoDB waits for long or is tried without end."""
    config: Any = boto3.client("dynamodb", config=table_module.client_config()).meta.config

    assert (1.0, 2.0) == (config.connect_timeout, config.read_timeout)
    assert 3 == config.retries["total_max_attempts"]
