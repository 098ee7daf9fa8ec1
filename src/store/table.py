"""DynamoDB: the operations on one table that the store needs, and the translation of failures.

Rules
- An item is a plain dict of strings and integers. Attributes of other types, which a later version
  may have written, are ignored.
- Every read is strongly consistent: a turn that was just saved is part of the conversation.
- A condition check failure is a result, not an exception. Every other failure is raised as a
  `ChatError`, translated in `_translate_errors`.

Knows the key attributes `pk` and `sk`, and nothing of the items.
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

# DynamoDB responds within milliseconds. botocore may send a call twice: a transaction has an
# idempotency token, a plain put is idempotent, and the caller of a conditional update must expect
# its condition to fail because the update was already applied.
CONNECT_SECONDS = 1.0
READ_SECONDS = 2.0
MAX_ATTEMPTS = 3

# A write to an item that is part of a running transaction fails with TransactionConflict, and is
# tried again after these pauses (s); they are short, as a transaction takes milliseconds.
CONFLICT_PAUSES = (0.02, 0.05, 0.1, 0.2)

ITEM_NOT_EXISTS = "attribute_not_exists(pk)"

# The pauses (s) before BatchWriteItem is called again with the unprocessed items of the last call.
UNPROCESSED_PAUSES = (0.05, 0.1, 0.2, 0.4, 0.8)


def client_config() -> Config:
    """Returns the configuration of the DynamoDB client."""
    return Config(
        connect_timeout=CONNECT_SECONDS,
        read_timeout=READ_SECONDS,
        retries={"mode": "standard", "total_max_attempts": MAX_ATTEMPTS},
        tcp_keepalive=True,
    )


class Put(Struct, frozen=True):
    """Writes `item` if no item has its key."""

    item: Item


class Update(Struct, frozen=True):
    """Applies `expression` to the item at `key`, which is created if missing, if `condition` holds.

    `values` are those of both expressions. An empty condition always holds.
    """

    key: Item
    expression: str
    values: Item
    condition: str = ""


class UpdateResult(Struct, frozen=True):
    """Whether an update was applied, and the item as it is now, if there is one."""

    applied: bool
    item: Item | None


class Table:
    """One table.

    Raises, in every method:
        ChatError: `throttled` or `internal`, a failure of DynamoDB.
    """

    def __init__(self, client: "DynamoDBClient", name: str) -> None:
        self._client = client
        self._name = name

    def get(self, key: Item) -> Item | None:
        """Returns the item at `key`, if there is one."""
        with _translate_errors():
            found = self._client.get_item(
                TableName=self._name, Key=_to_attribute_values(key), ConsistentRead=True
            )
        return _from_attribute_values(found["Item"]) if "Item" in found else None

    def put(self, item: Item) -> None:
        """Writes the item, in place of any other with its key."""
        with _translate_errors():
            self._client.put_item(TableName=self._name, Item=_to_attribute_values(item))

    def put_new(self, item: Item) -> bool:
        """Writes the item if no item has its key; returns whether it did.

        A transaction of one write: its idempotency token makes a repetition by botocore, after a
        lost response, count once.
        """
        return self.transact(Put(item)) is None

    def update(self, update: Update) -> UpdateResult:
        """Updates one item if the condition holds, in one round trip."""
        for pause in (*CONFLICT_PAUSES, None):
            try:
                with _translate_errors():
                    response = self._client.update_item(
                        **self._update_params(update), ReturnValues="ALL_NEW"
                    )
                attributes = _from_attribute_values(response["Attributes"])
                return UpdateResult(applied=True, item=attributes)
            except _ConditionFailedError as failure:
                return UpdateResult(applied=False, item=failure.item)
            except _TransactionConflictError:
                if pause is None:
                    raise
                _sleep_with_jitter(pause)
        raise AssertionError("the last pause is None")

    def last(self, pk: str, sk_prefix: str, limit: int) -> list[Item]:
        """Returns the last `limit` items, last first, in one round trip, so at most 1 MB."""
        with _translate_errors():
            page = self._client.query(
                TableName=self._name,
                KeyConditionExpression="pk = :pk AND begins_with(sk, :sk)",
                ExpressionAttributeValues=_to_attribute_values({":pk": pk, ":sk": sk_prefix}),
                ScanIndexForward=False,
                Limit=limit,
                ConsistentRead=True,
            )
        return [_from_attribute_values(item) for item in page["Items"]]

    def delete_all(self, pk: str, sk_prefix: str) -> int:
        """Deletes every item whose sort key has the prefix; returns their number."""
        with _translate_errors():
            pages = self._client.get_paginator("query").paginate(
                TableName=self._name,
                KeyConditionExpression="pk = :pk AND begins_with(sk, :sk)",
                ExpressionAttributeValues=_to_attribute_values({":pk": pk, ":sk": sk_prefix}),
                ProjectionExpression="pk, sk",
                ConsistentRead=True,
            )
            keys = [key for page in pages for key in page["Items"]]
            for start in range(0, len(keys), MAX_BATCH_WRITE):
                self._delete_batch(keys[start : start + MAX_BATCH_WRITE])
        return len(keys)

    def _delete_batch(self, keys: list[Any]) -> None:
        remaining: Any = {self._name: [{"DeleteRequest": {"Key": key}} for key in keys]}
        for pause in (*UNPROCESSED_PAUSES, None):
            response = self._client.batch_write_item(RequestItems=remaining)
            remaining = response.get("UnprocessedItems")
            if not remaining:
                return
            if pause is not None:
                time.sleep(pause)
        raise ChatError("throttled", "Not everything could be deleted yet; try again.")

    def transact(self, *writes: Put | Update) -> list[Item | None] | None:
        """Does all the writes or none, in one round trip.

        Returns None if they were done. Otherwise, for each write, the item for which its condition
        check failed (empty if there is no such item), or None if its condition held.
        """
        transact_items: Any = [self._transact_item(write) for write in writes]
        for pause in (*CONFLICT_PAUSES, None):
            try:
                with _translate_errors():
                    self._client.transact_write_items(TransactItems=transact_items)
            except _TransactionCanceledError as canceled:
                if "ConditionalCheckFailed" in canceled.codes:
                    return canceled.items
                if canceled.codes != {"TransactionConflict"}:
                    cause = f"dynamodb {' '.join(sorted(canceled.codes))}"
                    if canceled.codes <= _THROTTLED | {"TransactionConflict"}:
                        raise ChatError("throttled", _BUSY, cause=cause) from None
                    raise ChatError("internal", _UNREACHABLE, cause=cause) from None
            else:
                return None
            if pause is not None:
                _sleep_with_jitter(pause)
        raise _TransactionConflictError

    def _transact_item(self, write: Put | Update) -> dict[str, Any]:
        match write:
            case Put():
                put = {
                    "TableName": self._name,
                    "Item": _to_attribute_values(write.item),
                    "ConditionExpression": ITEM_NOT_EXISTS,
                    "ReturnValuesOnConditionCheckFailure": "ALL_OLD",
                }
                return {"Put": put}
            case Update():
                return {"Update": self._update_params(write)}

    def _update_params(self, update: Update) -> dict[str, Any]:
        condition = {
            "ConditionExpression": update.condition,
            "ReturnValuesOnConditionCheckFailure": "ALL_OLD",
        }
        return {
            "TableName": self._name,
            "Key": _to_attribute_values(update.key),
            "UpdateExpression": update.expression,
            "ExpressionAttributeValues": _to_attribute_values(update.values),
            **(condition if update.condition else {}),
        }


def _sleep_with_jitter(pause: float) -> None:
    """Sleeps for about `pause` seconds, so that two writers do not conflict again."""
    time.sleep(pause * random.uniform(0.5, 1.5))  # noqa: S311 - jitter, no secret


# -- failures --------------------------------------------------------------------------------------

_BUSY = "The conversation store is busy; try again."
_UNREACHABLE = "The conversation store cannot be reached."

# The codes of throttling. DynamoDB Developer Guide, "Error messages and codes"; API Reference,
# "TransactWriteItems".
_THROTTLED = {
    "LimitExceededException",
    "ProvisionedThroughputExceeded",
    "ProvisionedThroughputExceededException",
    "RequestLimitExceeded",
    "ThrottlingError",
    "ThrottlingException",
}


class _TransactionCanceledError(Exception):
    """A transaction was canceled: the codes of its cancellation reasons, and their items.

    For each write, the item for which its condition check failed, or None if that held.
    """

    def __init__(self, reasons: list[dict[str, Any]]) -> None:
        super().__init__()
        self.codes = {reason["Code"] for reason in reasons} - {"None"}
        self.items: list[Item | None] = [
            _from_attribute_values(reason.get("Item", {}))
            if reason["Code"] == "ConditionalCheckFailed"
            else None
            for reason in reasons
        ]


class _ConditionFailedError(Exception):
    """The condition check of a single write failed, for this item, if there is one."""

    def __init__(self, item: Item | None) -> None:
        super().__init__()
        self.item = item


class _TransactionConflictError(ChatError):
    """The item is part of a running transaction."""

    def __init__(self) -> None:
        super().__init__("throttled", _BUSY, cause="dynamodb TransactionConflict")


@contextmanager
def _translate_errors() -> Iterator[None]:
    try:
        yield
    except ClientError as error:
        response: Any = error.response
        code = response["Error"]["Code"]
        if code == "TransactionCanceledException":
            raise _TransactionCanceledError(response["CancellationReasons"]) from error
        if code == "ConditionalCheckFailedException":
            item = response.get("Item")
            raise _ConditionFailedError(item and _from_attribute_values(item)) from error
        if code == "TransactionConflictException":
            raise _TransactionConflictError from error
        if code in _THROTTLED:
            raise ChatError("throttled", _BUSY, cause=f"dynamodb {code}") from error
        raise ChatError("internal", _UNREACHABLE, cause=f"dynamodb {code}") from error
    except BotoCoreError as error:
        cause = f"dynamodb {type(error).__name__}"
        raise ChatError("internal", _UNREACHABLE, cause=cause) from error


# -- attribute values ------------------------------------------------------------------------------


def _to_attribute_values(item: Item) -> dict[str, Any]:
    return {
        name: {"S": value} if isinstance(value, str) else {"N": str(value)}
        for name, value in item.items()
    }


def _from_attribute_values(item: Mapping[str, Any]) -> dict[str, Any]:
    """Returns the strings and integers; attributes of other types are of no version known here."""
    return {
        name: value["S"] if "S" in value else int(value["N"])
        for name, value in item.items()
        if "S" in value or value.get("N", "").removeprefix("-").isdigit()
    }
