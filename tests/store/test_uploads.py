import itertools
import time
from typing import Any

import pytest
from msgspec.structs import replace

from errors import ChatError
from store.connections import RedeliveredError
from store.table import Table, Update, UpdateResult
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


def test_the_last_part_to_arrive_completes_the_message(uploads: Uploads) -> None:
    """Whatever the order of arrival, the parts are joined in the order of their numbers."""
    for order in itertools.permutations((1, 2, 3)):
        request_id = f"r{order}".replace(" ", "")
        first, second, last = (add(uploads, n, request_id=request_id) for n in order)
        assert (None, None, "one three") == (first, second, last)


def test_a_part_sent_twice_is_stored_once(uploads: Uploads) -> None:
    """A redelivered event is distinguished from a client that sends a part again, at any time."""
    assert add(uploads, 1) is None
    with pytest.raises(RedeliveredError):
        add(uploads, 1)
    assert add(uploads, 1, "e9", body="another") is None
    assert add(uploads, 2) is None
    assert "one three" == add(uploads, 3)
    with pytest.raises(RedeliveredError):
        add(uploads, 2)
    assert "one three" == add(uploads, 1, "e10")


def test_an_upload_is_refused_once(uploads: Uploads) -> None:
    """For its size or for differing counts; whatever part follows is not answered."""
    assert "too_large" == refusal(uploads, 1, body="é" * 51, request_id="r0")
    assert add(uploads, 1, request_id="r1") is None
    assert "too_large" == refusal(uploads, 2, body="x" * 97, request_id="r1")
    assert add(uploads, 1, request_id="r2") is None
    assert "invalid_request" == refusal(uploads, 2, count=4, request_id="r2")
    for request_id in ("r0", "r1", "r2"):
        for number in (1, 2, 3):
            with pytest.raises(RedeliveredError):
                add(uploads, number, "e9", request_id=request_id)


def test_the_parts_of_two_principals_are_never_joined(uploads: Uploads) -> None:
    """Even with the same session and request id."""
    assert add(uploads, 1) is None
    assert add(uploads, 2, principal="you") is None
    assert add(uploads, 3, principal="you") is None
    assert add(uploads, 2) is None
    assert "one three" == add(uploads, 3)


def test_a_write_repeated_by_botocore_counts_once(
    uploads: Uploads, monkeypatch: pytest.MonkeyPatch
) -> None:
    """After a lost response its condition fails, but it is no redelivery of the event."""
    add(uploads, 1)
    add(uploads, 2)
    update = Table.update

    def twice(table: Table, write: Update) -> UpdateResult:
        update(table, write)
        return update(table, write)

    monkeypatch.setattr(Table, "update", twice)
    assert "one three" == add(uploads, 3)
    assert add(uploads, 1, request_id="r1") is None
    assert "too_large" == refusal(uploads, 2, body="x" * 97, request_id="r1")


@pytest.mark.parametrize(("seconds", "late"), [(UPLOAD_SECONDS - 1, False), (UPLOAD_SECONDS, True)])
def test_the_parts_must_arrive_within_the_upload_seconds(
    uploads: Uploads, monkeypatch: pytest.MonkeyPatch, seconds: int, late: bool
) -> None:
    """Counted from the first, whether DynamoDB has deleted it or not; a new request is free."""
    now = 1_000_000
    monkeypatch.setattr(time, "time", lambda: now)
    add(uploads, 1)
    now += UPLOAD_SECONDS - 2
    add(uploads, 3)
    now = 1_000_000 + seconds

    if late:
        assert "invalid_request" == refusal(uploads, 2)
        assert add(uploads, 2, request_id="r2") is None
    else:
        assert "one three" == add(uploads, 2)


def test_an_upload_expires_when_its_time_is_over(
    uploads: Uploads, table: Table, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Later parts do not extend it."""
    now = 1_000_000.5
    monkeypatch.setattr(time, "time", lambda: now)
    add(uploads, 1)
    now += 100
    add(uploads, 2)

    (item,) = table.last("session#s", "upload#", 1)
    assert 1_000_000 + UPLOAD_SECONDS == item["expires_at"]
    assert (3, 4) == (item["part_count"], item["received_bytes"])


@pytest.mark.parametrize(("size", "refused"), [(96, False), (97, True)])
def test_a_message_may_have_exactly_the_maximum_size(
    uploads: Uploads, size: int, refused: bool
) -> None:
    """Its parts together, in bytes of UTF-8."""
    add(uploads, 1, body="é" * 2, count=2)
    if refused:
        assert "too_large" == refusal(uploads, 2, body="x" * size, count=2)
    else:
        assert "éé" + "x" * size == add(uploads, 2, body="x" * size, count=2)


def test_a_single_part_may_have_exactly_the_maximum_size(uploads: Uploads) -> None:
    """The first part has no other to be compared with."""
    assert "x" * 100 == add(uploads, 1, body="x" * 100, count=1)
    assert "too_large" == refusal(uploads, 1, body="x" * 101, count=1, request_id="r2")


def test_of_two_refusals_at_once_one_is_sent(
    uploads: Uploads, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Both parts found that they do not fit; the other recorded its refusal first."""
    add(uploads, 1)
    update = Table.update

    def refuse_first(table: Table, write: Update) -> UpdateResult:
        if write.expression.startswith("SET refused_event_id"):
            update(table, replace(write, values={":event_id": "e of the other part"}))
        return update(table, write)

    monkeypatch.setattr(Table, "update", refuse_first)
    with pytest.raises(RedeliveredError):
        add(uploads, 2, count=4)


def test_a_refusal_does_not_bring_back_a_deleted_upload(uploads: Uploads, table: Table) -> None:
    """DynamoDB may delete it between the part and the refusal."""
    with pytest.raises(RedeliveredError):
        uploads._record_refusal({"pk": "session#s", "sk": "upload#gone"}, "e1")
    assert [] == table.last("session#s", "upload#", 1)
