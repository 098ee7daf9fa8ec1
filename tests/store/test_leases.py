import time
from collections.abc import Callable
from typing import Any

import pytest

from errors import ChatError
from families.types import TextDelta
from memory import Turn
from store import leases as leases_module
from store.budget import DAY_SECONDS, Budget
from store.connections import RedeliveredError
from store.conversations import Conversations, session_key
from store.leases import Claim, Lease, Leases, LeaseStatus, Listener
from store.table import Table, Update
from store.transcript import dump
from wire.events import Done, Failed, Start

KEPT = dump([Start("s", "m"), TextDelta("a"), Done("end_turn")])


def turn(number: int = 1, user: str = "q", assistant: str = "a", **more: Any) -> Turn:
    values = {"request_id": f"r{number}", "state": "complete", "tokens": 10, "created_at": 1}
    return Turn(number=number, user=user, assistant=assistant, **{**values, **more})


def claim(number: int = 1, **more: Any) -> Claim:
    values = {
        "session_id": "s",
        "principal": "me",
        "quota_subject": "me",
        "request_id": f"r{number}",
        "event_id": f"e{number}",
        "requested_at": number,
        "question": "q",
        "tokens": 100,
    }
    return Claim(**{**values, **more})


@pytest.fixture
def memory(table: Table) -> Conversations:
    return Conversations(table, session_days=30)


@pytest.fixture
def leases(table: Table, memory: Conversations) -> Leases:
    return Leases(table, memory, Budget(0, 0))


def head(table: Table) -> Any:
    return table.get(session_key("s", "head"))


def request(table: Table, request_id: str = "r1") -> Any:
    return table.get(session_key("s", f"request#{request_id}"))


def refusal(attempt: Callable[[], object]) -> str:
    with pytest.raises(ChatError) as refused:
        attempt()
    return refused.value.code


def attempt(leases: Leases, number: int = 1, **more: Any) -> Callable[[], None]:
    def hold() -> None:
        with leases.acquire(claim(number, **more)):
            pytest.fail("the lease was given")

    return hold


def answer(leases: Leases, number: int = 1, **more: Any) -> None:
    with leases.acquire(claim(number, **more)) as lease:
        assert save(leases, lease, turn(number), "") is None


def save(leases: Leases, lease: Lease, turn: Turn, heard: str | None = "") -> Listener | None:
    return leases.save(lease, turn, KEPT, heard, time.monotonic() + 60)


def crashed(leases: Leases, number: int = 1, **more: Any) -> Lease:
    """What a Lambda leaves that was killed right after its claim."""
    lease = Lease("s", f"r{number}", f"token of r{number}")
    assert leases._claim(claim(number, **more), lease) is None
    return lease


@pytest.fixture
def later(monkeypatch: pytest.MonkeyPatch) -> Callable[[float], None]:
    """Sets the clock of leases forward."""
    real = leases_module._now_ms

    def move(seconds: float) -> None:
        monkeypatch.setattr(leases_module, "_now_ms", lambda: real() + int(seconds * 1000))

    return move


# one at a time, each once


def test_one_request_at_a_time(leases: Leases) -> None:
    """While one request holds the session, another is told so; afterwards it is free."""
    with leases.acquire(claim()) as lease:
        assert "busy" == refusal(attempt(leases, 2))
        save(leases, lease, turn(1), "")
    answer(leases, 3)


def test_a_request_is_taken_once(leases: Leases) -> None:
    """The same request_id again is a duplicate, while it runs and for good."""
    with leases.acquire(claim()) as lease:
        assert "duplicate" == refusal(attempt(leases, event_id="e2"))
        save(leases, lease, turn(1), "")
    assert "duplicate" == refusal(attempt(leases, event_id="e3"))


def test_a_redelivered_event_is_told_apart(leases: Leases) -> None:
    """The same event again is nobody's mistake, and nothing is to be said."""
    with leases.acquire(claim()) as lease:
        with pytest.raises(RedeliveredError), leases.acquire(claim()):
            pytest.fail("the lease was given")
        save(leases, lease, turn(1), "")
    with pytest.raises(RedeliveredError), leases.acquire(claim()):
        pytest.fail("the lease was given")


def test_a_refused_event_stays_refused(leases: Leases) -> None:
    """Who was told busy is not answered when the event comes again and the session is free."""
    with leases.acquire(claim()) as lease:
        assert "busy" == refusal(attempt(leases, 2))
        save(leases, lease, turn(1), "")

    with pytest.raises(RedeliveredError), leases.acquire(claim(2)):
        pytest.fail("the lease was given")
    assert "duplicate" == refusal(attempt(leases, 2, event_id="e3"))


def test_a_session_belongs_to_its_principal(leases: Leases) -> None:
    """Nobody else continues it, while it is answered and after, nor learns what was asked."""
    with leases.acquire(claim()) as lease:
        assert "unauthorized" == refusal(attempt(leases, 9, principal="you"))
        save(leases, lease, turn(1), "")

    assert "unauthorized" == refusal(attempt(leases, 9, principal="you"))
    assert "unauthorized" == refusal(attempt(leases, 1, principal="you"))


# its time


def test_a_crash_frees_the_session(
    leases: Leases, memory: Conversations, later: Callable[[float], None]
) -> None:
    """A Lambda that died holds the session for the lease and the clocks' difference, no longer."""
    crashed(leases)

    later(leases_module.LEASE_SECONDS + leases_module.CLOCK_SKEW_SECONDS - 1)
    assert "busy" == refusal(attempt(leases, 2))
    later(leases_module.LEASE_SECONDS + leases_module.CLOCK_SKEW_SECONDS + 1)
    with leases.acquire(claim(3)) as lease:
        save(leases, lease, turn(2, request_id="r3"), "")

    last, first = memory.recent("s", 5).newest_first
    assert (1, "unfinished", "q", "") == (first.number, first.state, first.user, first.assistant)
    assert (2, "complete") == (last.number, last.state)


def test_a_crash_keeps_what_was_written_down(
    leases: Leases, memory: Conversations, table: Table, later: Callable[[float], None]
) -> None:
    """The unfinished turn has the answer up to the last renewal, and how it was told."""
    lease = crashed(leases)
    leases.renew(lease, "", "so far", "", {"model": "m", "cuts": "2 4"})

    later(60)
    leases.recover_abandoned("s", head(table))

    (turn,) = memory.recent("s", 5).newest_first
    assert ("unfinished", "so far", "q") == (turn.state, turn.assistant, turn.user)
    kept = request(table)
    assert ("m", "2 4", 1) == (kept["model"], kept["cuts"], kept["turn_number"])
    assert "internal" in kept["ending"]
    assert {"question", "answer"}.isdisjoint(kept)


def test_two_who_bury_at_once(leases: Leases, memory: Conversations, table: Table) -> None:
    """Only one of them makes the turn."""
    crashed(leases)
    found = head(table)

    leases.recover_abandoned("s", found)
    leases.recover_abandoned("s", found)

    assert 1 == len(memory.recent("s", 5).newest_first)


def test_a_crash_in_clear_leaves_no_turn(
    leases: Leases, memory: Conversations, table: Table
) -> None:
    """Where nothing was asked of the model, freeing the session is all."""
    crashed(leases, question="")

    leases.recover_abandoned("s", head(table))

    assert () == memory.recent("s", 5).newest_first
    answer(leases, 2)


def test_renewing(leases: Leases, later: Callable[[float], None]) -> None:
    """A lease that is renewed outlasts its first time."""
    with leases.acquire(claim()) as lease:
        later(leases_module.LEASE_SECONDS)
        leases.renew(lease, "", "", "", KEPT)
        later(leases_module.LEASE_SECONDS * 2)
        assert "busy" == refusal(attempt(leases, 2))
        save(leases, lease, turn(1), "")


# how it ends


def test_a_failure_gives_the_lease_back(leases: Leases, table: Table) -> None:
    """What fails in between does not leave the session busy; the request stays taken, and told."""
    with pytest.raises(ZeroDivisionError), leases.acquire(claim()):
        raise ZeroDivisionError

    assert "internal" in request(table)["ending"]
    assert "question" not in request(table)
    answer(leases, 2)
    assert "duplicate" == refusal(attempt(leases, event_id="e9"))


def test_a_lost_lease_overwrites_nothing(
    leases: Leases, memory: Conversations, later: Callable[[float], None]
) -> None:
    """Who lost the lease meanwhile cannot save over the other's turn, nor end its lease."""
    lost = crashed(leases)
    later(60)
    with leases.acquire(claim(2)) as lease:
        assert (
            leases.poll(lost) == LeaseStatus(lost=True) == leases.renew(lost, "", "late", "", KEPT)
        )
        assert "internal" == refusal(lambda: save(leases, lost, turn(1, assistant="late"), ""))
        leases.release(lost, Failed(ChatError("internal", "Sorry.")))
        assert "busy" == refusal(attempt(leases, 3))
        save(leases, lease, turn(2), "")

    assert [2, 1] == [turn.number for turn in memory.recent("s", 5).newest_first]


def test_a_claim_whose_answer_was_lost(
    leases: Leases, table: Table, monkeypatch: pytest.MonkeyPatch
) -> None:
    """DynamoDB took the claim and its word of it never came: the session does not stay busy."""
    transact = table.transact

    def lose_the_answer(*writes: Any) -> Any:
        transact(*writes)
        monkeypatch.undo()
        raise ChatError("internal", "The memory cannot be reached.")

    monkeypatch.setattr(table, "transact", lose_the_answer)
    assert "internal" == refusal(attempt(leases))
    answer(leases, 2)


def test_a_save_whose_answer_was_lost(
    leases: Leases, memory: Conversations, table: Table, monkeypatch: pytest.MonkeyPatch
) -> None:
    """DynamoDB took the turn and its word of it never came: trying again finds it saved."""
    transact = table.transact

    with leases.acquire(claim()) as lease:

        def lose_the_answer(*writes: Any) -> Any:
            transact(*writes)
            monkeypatch.undo()
            raise ChatError("internal", "The memory cannot be reached.")

        monkeypatch.setattr(table, "transact", lose_the_answer)
        monkeypatch.setattr(leases_module, "SAVE_PAUSE_SECONDS", 0.0)
        assert save(leases, lease, turn(1), "") is None

    assert (turn(1),) == memory.recent("s", 5).newest_first


def test_a_save_that_fails_for_good(
    leases: Leases,
    memory: Conversations,
    table: Table,
    monkeypatch: pytest.MonkeyPatch,
    later: Callable[[float], None],
) -> None:
    """What was dump down by then becomes an unfinished turn: it is not thrown away."""

    def fail(*_: Any) -> Any:
        raise ChatError("throttled", "The memory is busy.")

    def hold() -> None:
        with leases.acquire(claim()) as lease, monkeypatch.context() as patch:
            leases.renew(lease, "", "so far", "", KEPT)
            patch.setattr(table, "transact", fail)
            patch.setattr(leases_module, "SAVE_SECONDS", 0.0)
            save(leases, lease, turn(1), "")

    assert "throttled" == refusal(hold)
    assert "busy" == refusal(attempt(leases, 2))
    later(60)
    leases.recover_abandoned("s", head(table))
    assert ["so far"] == [turn.assistant for turn in memory.recent("s", 5).newest_first]


# what is heard while an answer runs


def test_news(leases: Leases, table: Table) -> None:
    """A stop is meant for one request; a listener is told with all that it asked for."""
    asked = {":r": "r1", ":e": "e5", ":s": 9, ":c": "c5=", ":f": "text", ":n": 7}
    expression = (
        "listener = :e, listener_since = :s, listener_connection_id = :c, "
        "listener_format = :f, listener_from_seq = :n"
    )
    with leases.acquire(claim()) as lease:
        assert LeaseStatus() == leases.poll(lease)
        table.update(
            Update(session_key("s", "head"), f"SET stop_requested = :r, {expression}", asked)
        )
        news = LeaseStatus(stop=True, listener=Listener("e5", 9, "c5=", "text", 7))
        assert news == leases.poll(lease)
        assert news == leases.renew(lease, "", "", "", KEPT)

        # Nobody is passed over: who came while the turn was about to be saved is told first.
        assert news.listener == save(leases, lease, turn(1), "e4")
        assert save(leases, lease, turn(1), "e5") is None
    with leases.acquire(claim(2)) as lease:
        assert LeaseStatus() == leases.poll(lease)
        save(leases, lease, turn(2), "")


# the allowance


def spent(table: Table, quota_subject: str = "me") -> Any:
    day = int(time.time()) // DAY_SECONDS
    return table.get({"pk": f"budget#{quota_subject}", "sk": f"day#{day}"})


def test_reserved_and_settled(table: Table, memory: Conversations) -> None:
    """The most that it may cost is taken first, and what it did cost stays."""
    leases = Leases(table, memory, Budget(0, 250))
    with leases.acquire(claim()) as lease:
        assert (1, 100) == (spent(table)["requests"], spent(table)["tokens"])
        lease.used = 30
        save(leases, lease, turn(1), "")
    assert (1, 30) == (spent(table)["requests"], spent(table)["tokens"])

    with pytest.raises(ZeroDivisionError), leases.acquire(claim(2)):
        raise ZeroDivisionError
    assert (2, 30) == (spent(table)["requests"], spent(table)["tokens"])


@pytest.mark.parametrize(("requests", "tokens"), [(2, 0), (0, 250), (2, 250)])
def test_over_budget(table: Table, memory: Conversations, requests: int, tokens: int) -> None:
    """The allowance is never passed, however many sessions ask; it says when a new day begins."""
    leases = Leases(table, memory, Budget(requests, tokens))
    for number in (1, 2):
        with leases.acquire(claim(number, session_id=f"s{number}")) as lease:
            lease.used = 100
            save(leases, lease, turn(number), "")

    with pytest.raises(ChatError) as refused, leases.acquire(claim(3)):
        pytest.fail("the lease was given")

    assert "over_budget" == refused.value.code
    assert 0 == (refused.value.retry_at or 1) % DAY_SECONDS
    assert (refused.value.retry_at or 0) > time.time()
    with pytest.raises(RedeliveredError), leases.acquire(claim(3)):
        pytest.fail("the lease was given")
    answer(leases, 4, quota_subject="you")
