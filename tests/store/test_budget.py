"""The quota by itself; `test_leases` has it inside the transactions of a lease."""

import time

import pytest

from store.budget import DAY_SECONDS, Budget, Reservation, over_budget, reconcile
from store.table import Table

KEY = {"pk": "budget#me", "sk": "day#20000"}
RESERVATION = Reservation("me", 20_000, 100)


def reserve(table: Table, budget: Budget, tokens: int = 100) -> bool:
    return table.update(budget.reserve(Reservation("me", 20_000, tokens))).applied


def test_a_reservation_is_of_the_utc_day(monkeypatch: pytest.MonkeyPatch) -> None:
    """From the first second of a day to its last."""
    for seconds, day in ((0, 20_000), (DAY_SECONDS - 0.5, 20_000), (DAY_SECONDS, 20_001)):
        monkeypatch.setattr(time, "time", lambda: 20_000 * DAY_SECONDS + seconds)  # noqa: B023
        assert Reservation("me", day, 7) == Budget(1, 0).reservation("me", 7)
        assert Reservation("me", day, 7) == Budget(0, 1).reservation("me", 7)


def test_without_a_quota_nothing_is_reserved() -> None:
    """0 is no limit."""
    assert Budget(0, 0).reservation("me", 100) is None


@pytest.mark.parametrize("quota", [1, 2, 3])
def test_exactly_as_many_requests_as_the_quota_are_admitted(table: Table, quota: int) -> None:
    """The first as well as the last; tokens do not count."""
    budget = Budget(quota, 0)

    assert [True] * quota + [False, False] == [reserve(table, budget) for _ in range(quota + 2)]
    item = table.get(KEY)
    assert item is not None
    assert quota == item["requests"]


@pytest.mark.parametrize(("quota", "admitted"), [(299, 2), (300, 3), (301, 3)])
def test_tokens_are_admitted_up_to_the_quota(table: Table, quota: int, admitted: int) -> None:
    """A reservation is admitted if the sum stays within the quota; requests do not count."""
    budget = Budget(0, quota)

    assert [n < admitted for n in range(5)] == [reserve(table, budget) for _ in range(5)]
    item = table.get(KEY)
    assert item is not None
    assert (admitted, 100 * admitted) == (item["requests"], item["tokens"])


def test_a_quota_below_one_reservation_admits_one_request_at_a_time(table: Table) -> None:
    """The next is admitted once the first has been reconciled to nothing."""
    budget = Budget(0, 50)

    assert [True, False] == [reserve(table, budget) for _ in range(2)]
    table.update(reconcile(RESERVATION, 1))
    assert not reserve(table, budget)
    table.update(reconcile(Reservation("me", 20_000, 1), 0))
    assert reserve(table, budget)


def test_either_quota_refuses(table: Table) -> None:
    """With both, the one that is used up first decides."""
    assert [True, False] == [reserve(table, Budget(5, 150)) for _ in range(2)]
    assert [True, False] == [reserve(table, Budget(2, 10_000)) for _ in range(2)]


def test_reconcile_replaces_the_reserved_tokens_by_the_used_ones(table: Table) -> None:
    """Fewer or more; the number of requests stays."""
    reserve(table, Budget(9, 999))
    for used in (30, 170):
        table.update(reconcile(RESERVATION, used))
        item = table.get(KEY)
        assert item is not None
        assert (1, used) == (item["requests"], item["tokens"])
        table.update(reconcile(Reservation("me", 20_000, used), 100))


def test_a_day_is_stored_until_the_end_of_the_next(table: Table) -> None:
    """By the write that reserves, and by the one that reconciles."""
    expires_at = 20_002 * DAY_SECONDS
    reserve(table, Budget(9, 999))
    assert expires_at == (table.get(KEY) or {})["expires_at"]
    table.put({**KEY, "requests": 1, "tokens": 100, "expires_at": 5})
    table.update(reconcile(RESERVATION, 1))
    assert expires_at == (table.get(KEY) or {})["expires_at"]


def test_a_refusal_names_the_start_of_the_next_day() -> None:
    """When the same request can succeed."""
    refusal = over_budget(RESERVATION)

    assert ("over_budget", 20_001 * DAY_SECONDS) == (refusal.code, refusal.retry_at)
    assert not refusal.retryable
