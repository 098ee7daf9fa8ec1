"""DynamoDB as `memory` uses it: a handful of operations on one table, and its failures translated.

Rules
- Items are plain dicts of texts and whole numbers; nothing else is stored.
- Every read is strongly consistent: a turn saved a moment ago is part of the conversation.
- A condition that does not hold is an answer, not an exception. Whatever else fails leaves as one
  `ChatError`, from `_translated`.

Knows keys `pk` and `sk` and nothing of what is kept under them.
"""

import random
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError
from msgspec import Struct

from errors import ChatError
from settings import MAX_BATCH_WRITE

if TYPE_CHECKING:
    from types_boto3_dynamodb import DynamoDBClient

Item = Mapping[str, Any]

# DynamoDB answers within milliseconds. botocore may send a call twice: a transaction carries an
# idempotency token, a plain put says the same again, and whoever makes a conditional
# update has to bear that it was done already.
CONNECT_SECONDS = 1.0
READ_SECONDS = 2.0
MAX_ATTEMPTS = 3

# Two transactions that meet on one item cancel with TransactionConflict; one more try tells who was
# first. The pauses are short because the other's transaction takes milliseconds.
CONFLICT_PAUSES = (0.02, 0.05, 0.1, 0.2)

NOT_THERE = "attribute_not_exists(pk)"

# How often what BatchWriteItem left undone is sent again, and how long to wait before.
UNPROCESSED_PAUSES = (0.05, 0.1, 0.2, 0.4, 0.8)


def client_config() -> Config:
    """How the DynamoDB client is to be made."""
    return Config(
        connect_timeout=CONNECT_SECONDS,
        read_timeout=READ_SECONDS,
        retries={"mode": "standard", "total_max_attempts": MAX_ATTEMPTS},
        tcp_keepalive=True,
    )


class Put(Struct, frozen=True):
    """Writes `item` where nothing stands yet."""

    item: Item


class Update(Struct, frozen=True):
    """Applies `expression` to the item at `key`, there or not, where `condition` holds of it.

    `values` fill both. An empty condition always holds.
    """

    key: Item
    expression: str
    values: Item
    condition: str = ""


class Updated(Struct, frozen=True):
    """What became of an update: whether it was `done`, and the item as it stands now, if any."""

    done: bool
    item: Item | None


class Table:
    """One table.

    Raises, in every method:
        ChatError: `throttled` or `internal`, DynamoDB's failure.
    """

    def __init__(self, client: "DynamoDBClient", name: str) -> None:
        self._client = client
        self._name = name

    def get(self, key: Item) -> Item | None:
        """The item at `key`, if there is one."""
        with _translated():
            found = self._client.get_item(
                TableName=self._name, Key=_written(key), ConsistentRead=True
            )
        return _read(found["Item"]) if "Item" in found else None

    def put(self, item: Item) -> None:
        """Writes the item, whatever stood there."""
        with _translated():
            self._client.put_item(TableName=self._name, Item=_written(item))

    def put_new(self, item: Item) -> bool:
        """Writes the item where nothing stands yet, and says whether it was so.

        A transaction of one: what botocore sends twice, for its answer was lost, is done once.
        """
        return self.transact(Put(item)) is None

    def update(self, update: Update) -> Updated:
        """Changes one item where its condition holds, in one round trip."""
        for pause in (*CONFLICT_PAUSES, None):
            try:
                with _translated():
                    changed = self._client.update_item(
                        **self._updating(update), ReturnValues="ALL_NEW"
                    )
                return Updated(done=True, item=_read(changed["Attributes"]))
            except _RefusedError as refused:
                return Updated(done=False, item=refused.standing)
            except _ConflictError:
                if pause is None:
                    raise
                _wait(pause)
        raise AssertionError("the last pause is None")

    def last(self, pk: str, sk_prefix: str, limit: int) -> list[Item]:
        """The last `limit` items, last first, in one round trip (so at most 1 MB, a page)."""
        with _translated():
            page = self._client.query(
                TableName=self._name,
                KeyConditionExpression="pk = :pk AND begins_with(sk, :sk)",
                ExpressionAttributeValues=_written({":pk": pk, ":sk": sk_prefix}),
                ScanIndexForward=False,
                Limit=limit,
                ConsistentRead=True,
            )
        return [_read(item) for item in page["Items"]]

    def delete_all(self, pk: str, sk_prefix: str) -> int:
        """Deletes every item with that beginning, and says how many there were."""
        with _translated():
            pages = self._client.get_paginator("query").paginate(
                TableName=self._name,
                KeyConditionExpression="pk = :pk AND begins_with(sk, :sk)",
                ExpressionAttributeValues=_written({":pk": pk, ":sk": sk_prefix}),
                ProjectionExpression="pk, sk",
                ConsistentRead=True,
            )
            keys = [key for page in pages for key in page["Items"]]
            for start in range(0, len(keys), MAX_BATCH_WRITE):
                self._delete_batch(keys[start : start + MAX_BATCH_WRITE])
        return len(keys)

    def _delete_batch(self, keys: list[Any]) -> None:
        left: Any = {self._name: [{"DeleteRequest": {"Key": key}} for key in keys]}
        for pause in (*UNPROCESSED_PAUSES, None):
            left = self._client.batch_write_item(RequestItems=left).get("UnprocessedItems")
            if not left:
                return
            if pause is not None:
                time.sleep(pause)
        raise ChatError("throttled", "Not everything could be forgotten yet; please ask again.")

    def transact(self, *writes: Put | Update) -> list[Item | None] | None:
        """Does all the writes or none, in one round trip.

        None: they went through. Else one entry for each write: the item that stood against its
        condition (empty where there was no item), or None where its condition held.
        """
        items: Any = [self._write(write) for write in writes]
        for pause in (*CONFLICT_PAUSES, None):
            try:
                with _translated():
                    self._client.transact_write_items(TransactItems=items)
            except _CancelledError as cancelled:
                if "ConditionalCheckFailed" in cancelled.codes:
                    return cancelled.standing
                if cancelled.codes != {"TransactionConflict"}:
                    cause = f"dynamodb {' '.join(sorted(cancelled.codes))}"
                    if cancelled.codes <= _THROTTLED | {"TransactionConflict"}:
                        raise ChatError("throttled", _BUSY, cause=cause) from None
                    raise ChatError("internal", _UNREACHABLE, cause=cause) from None
            else:
                return None
            if pause is not None:
                _wait(pause)
        raise _ConflictError

    def _write(self, write: Put | Update) -> dict[str, Any]:
        match write:
            case Put():
                put = {
                    "TableName": self._name,
                    "Item": _written(write.item),
                    "ConditionExpression": NOT_THERE,
                    "ReturnValuesOnConditionCheckFailure": "ALL_OLD",
                }
                return {"Put": put}
            case Update():
                return {"Update": self._updating(write)}

    def _updating(self, update: Update) -> dict[str, Any]:
        condition = {
            "ConditionExpression": update.condition,
            "ReturnValuesOnConditionCheckFailure": "ALL_OLD",
        }
        return {
            "TableName": self._name,
            "Key": _written(update.key),
            "UpdateExpression": update.expression,
            "ExpressionAttributeValues": _written(update.values),
            **(condition if update.condition else {}),
        }


def _wait(pause: float) -> None:
    """About so long: those who met once should not meet again."""
    time.sleep(pause * random.uniform(0.5, 1.5))  # noqa: S311 - jitter, no secret


# -- failures --------------------------------------------------------------------------------------

_BUSY = "The memory is busy; please try again."
_UNREACHABLE = "The memory cannot be reached."

# Those that ask to be called less often. DynamoDB Developer Guide, "Error messages and codes"; API
# Reference, "TransactWriteItems".
_THROTTLED = {
    "LimitExceededException",
    "ProvisionedThroughputExceeded",
    "ProvisionedThroughputExceededException",
    "RequestLimitExceeded",
    "ThrottlingError",
    "ThrottlingException",
}


class _CancelledError(Exception):
    """A transaction was cancelled, for the reason that DynamoDB gives for each of its entries."""

    def __init__(self, reasons: list[dict[str, Any]]) -> None:
        super().__init__()
        self.codes = {reason["Code"] for reason in reasons} - {"None"}
        self.standing: list[Item | None] = [
            _read(reason.get("Item", {})) if reason["Code"] == "ConditionalCheckFailed" else None
            for reason in reasons
        ]


class _RefusedError(Exception):
    """The condition of a single write did not hold; `standing` is the item that stood there."""

    def __init__(self, standing: Item | None) -> None:
        super().__init__()
        self.standing = standing


class _ConflictError(ChatError):
    """A transaction holds the item for a moment."""

    def __init__(self) -> None:
        super().__init__("throttled", _BUSY, cause="dynamodb TransactionConflict")


@contextmanager
def _translated() -> Iterator[None]:
    try:
        yield
    except ClientError as error:
        response: Any = error.response
        code = response["Error"]["Code"]
        if code == "TransactionCanceledException":
            raise _CancelledError(response["CancellationReasons"]) from error
        if code == "ConditionalCheckFailedException":
            standing = response.get("Item")
            raise _RefusedError(None if standing is None else _read(standing)) from error
        if code == "TransactionConflictException":
            raise _ConflictError from error
        if code in _THROTTLED:
            raise ChatError("throttled", _BUSY, cause=f"dynamodb {code}") from error
        raise ChatError("internal", _UNREACHABLE, cause=f"dynamodb {code}") from error
    except BotoCoreError as error:
        cause = f"dynamodb {type(error).__name__}"
        raise ChatError("internal", _UNREACHABLE, cause=cause) from error


# -- items -----------------------------------------------------------------------------------------


def _written(item: Item) -> dict[str, Any]:
    return {
        name: {"S": value} if isinstance(value, str) else {"N": str(value)}
        for name, value in item.items()
    }


def _read(item: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value["S"] if "S" in value else int(value["N"]) for name, value in item.items()}
