import itertools
import time
from typing import Any

import pytest

from errors import ChatError
from store.connections import RedeliveredError
from store.table import Table, Update, Updated
from store.uploads import UPLOAD_SECONDS, Uploads
from wire.requests import Part

PARTS = ("one ", "", "three")


@pytest.fixture
def uploads(table: Table) -> Uploads:
    return Uploads(table, max_bytes=100)


def add(uploads: Uploads, number: int, event_id: str = "", **more: Any) -> str | None:
    values = {"body": PARTS[number - 1], "count": len(PARTS), "request_id": "r", **more}
    who = values.pop("principal", "me")
    return uploads.add("s", who, event_id or f"e{number}", Part(number=number, **values))


def refusal(uploads: Uploads, number: int, **more: Any) -> str:
    with pytest.raises(ChatError) as refused:
        add(uploads, number, **more)
    return refused.value.code


def test_in_any_order(uploads: Uploads) -> None:
    """Whoever brings the last has the whole, in the order of the numbers."""
    for order in itertools.permutations((1, 2, 3)):
        request_id = f"r{order}".replace(" ", "")
        first, second, last = (add(uploads, n, request_id=request_id) for n in order)
        assert (None, None, "one three") == (first, second, last)


def test_the_same_part_again(uploads: Uploads) -> None:
    """A second delivery is silent; a client that sends again gets on, before the end and after."""
    assert add(uploads, 1) is None
    with pytest.raises(RedeliveredError):
        add(uploads, 1)
    assert add(uploads, 1, "e9", body="another") is None
    assert add(uploads, 2) is None
    assert "one three" == add(uploads, 3)
    with pytest.raises(RedeliveredError):
        add(uploads, 2)
    assert "one three" == add(uploads, 1, "e10")


def test_parts_that_do_not_fit(uploads: Uploads) -> None:
    """Too many bytes, or another count: it is told once, and the rest says nothing more."""
    assert "too_large" == refusal(uploads, 1, body="é" * 51, request_id="r0")
    assert add(uploads, 1, request_id="r1") is None
    assert "too_large" == refusal(uploads, 2, body="x" * 97, request_id="r1")
    assert add(uploads, 1, request_id="r2") is None
    assert "invalid_request" == refusal(uploads, 2, count=4, request_id="r2")
    for request_id in ("r0", "r1", "r2"):
        for number in (1, 2, 3):
            with pytest.raises(RedeliveredError):
                add(uploads, number, "e9", request_id=request_id)


def test_another_persons_parts(uploads: Uploads) -> None:
    """Two people's questions never mix, whatever they call them."""
    assert add(uploads, 1) is None
    assert add(uploads, 2, principal="you") is None
    assert add(uploads, 3, principal="you") is None
    assert add(uploads, 2) is None
    assert "one three" == add(uploads, 3)


def test_a_write_that_is_sent_twice(uploads: Uploads, monkeypatch: pytest.MonkeyPatch) -> None:
    """Botocore sent it again, for DynamoDB's answer was lost: no redelivery."""
    add(uploads, 1)
    add(uploads, 2)
    update = Table.update

    def twice(table: Table, asked: Update) -> Updated:
        update(table, asked)
        return update(table, asked)

    monkeypatch.setattr(Table, "update", twice)
    assert "one three" == add(uploads, 3)
    assert add(uploads, 1, request_id="r1") is None
    assert "too_large" == refusal(uploads, 2, body="x" * 97, request_id="r1")


def test_parts_that_come_too_late(uploads: Uploads, monkeypatch: pytest.MonkeyPatch) -> None:
    """Half a question is not kept for ever; a new request begins afresh."""
    add(uploads, 1)
    real = time.time
    monkeypatch.setattr(time, "time", lambda: real() + UPLOAD_SECONDS + 1)

    assert "invalid_request" == refusal(uploads, 2)
    assert add(uploads, 2, request_id="r2") is None
