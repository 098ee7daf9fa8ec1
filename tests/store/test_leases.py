import time
from collections.abc import Callable
from typing import Any

import pytest
from support.store_fixtures import Clock, acquire_without_release, claim, code_of, in_seconds, turn

from errors import ChatError
from families.types import TextDelta
from memory import Turn, estimate_tokens
from store import leases as leases_module
from store.budget import DAY_SECONDS, RETENTION_DAYS, Budget
from store.connections import RedeliveredError
from store.conversations import Conversations, session_key
from store.items import Request, SessionHead, StoredTranscript, load
from store.leases import Lease, Leases, LeaseStatus, Listener
from store.table import Table, Update, UpdateResult
from store.transcript import dump
from wire.events import Done, Failed, Start

STORED = dump([Start("s", "m"), TextDelta("a"), Done("end_turn")])
EXPIRY_SECONDS = leases_module.LEASE_SECONDS + leases_module.CLOCK_SKEW_SECONDS
UNREACHABLE = ChatError("internal", "The conversation store cannot be reached.")


@pytest.fixture
def conversations(table: Table) -> Conversations:
    return Conversations(table, session_days=30)


@pytest.fixture
def leases(table: Table, conversations: Conversations) -> Leases:
    return Leases(table, conversations, Budget(0, 0))


def head_of(table: Table) -> SessionHead:
    return load(SessionHead, table.get(session_key("s", "head")) or {})


def request_of(table: Table, request_id: str = "r1") -> Request:
    item = table.get(session_key("s", f"request#{request_id}"))
    assert item is not None
    return load(Request, item)


def attempt(leases: Leases, number: int = 1, **more: Any) -> Callable[[], None]:
    def acquire() -> None:
        with leases.acquire(claim(number, **more)):
            pytest.fail("the lease was acquired")

    return acquire


def answer(leases: Leases, number: int = 1, **more: Any) -> None:
    with leases.acquire(claim(number, **more)) as lease:
        assert save(leases, lease, turn(number)) is None


def save(leases: Leases, lease: Lease, turn: Turn, acked: str | None = "") -> Listener | None:
    return leases.save(lease, turn, STORED, acked, in_seconds(60))


def listen(table: Table, event_id: str) -> Listener:
    """Stores a listener in the head, as `sessions` does."""
    values = {":e": event_id, ":s": 9, ":c": "c5=", ":f": "text", ":n": 7}
    expression = (
        "SET listener = :e, listener_requested_at_ms = :s, listener_connection_id = :c, "
        "listener_format = :f, listener_from_seq = :n"
    )
    table.update(Update(session_key("s", "head"), expression, values))
    return Listener(event_id, 9, "c5=", "text", 7)


@pytest.fixture
def later(monkeypatch: pytest.MonkeyPatch) -> Callable[[float], None]:
    """Sets the leases' clock forward, from when the test began."""
    start = leases_module._now_ms()
    monkeypatch.setattr(leases_module, "_now_ms", lambda: start)

    def move(seconds: float) -> None:
        monkeypatch.setattr(leases_module, "_now_ms", lambda: start + int(seconds * 1000))

    return move


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    return Clock(monkeypatch)


# one request at a time, each id once


def test_a_session_answers_one_request_at_a_time(leases: Leases) -> None:
    """Another request is refused as busy until the first has ended."""
    with leases.acquire(claim()) as lease:
        assert "busy" == code_of(attempt(leases, 2))
        save(leases, lease, turn(1))
    answer(leases, 3)


def test_a_request_id_is_accepted_once(leases: Leases) -> None:
    """From another event it is a duplicate, while the request runs and for good."""
    with leases.acquire(claim()) as lease:
        assert "duplicate" == code_of(attempt(leases, event_id="e2"))
        save(leases, lease, turn(1))
    assert "duplicate" == code_of(attempt(leases, event_id="e3"))


def test_a_second_delivery_of_an_event_is_distinguished_from_a_duplicate(leases: Leases) -> None:
    """It is no error of the client: nothing is sent."""
    with leases.acquire(claim()) as lease:
        with pytest.raises(RedeliveredError), leases.acquire(claim()):
            pytest.fail("the lease was acquired")
        save(leases, lease, turn(1))
    with pytest.raises(RedeliveredError), leases.acquire(claim()):
        pytest.fail("the lease was acquired")


def test_a_refused_event_stays_refused(leases: Leases, table: Table) -> None:
    """It is not answered when it is delivered again and the session is free; nor is it stored."""
    with leases.acquire(claim()) as lease:
        assert "busy" == code_of(attempt(leases, 2))
        save(leases, lease, turn(1))

    assert "" == request_of(table, "r2").question
    with pytest.raises(RedeliveredError), leases.acquire(claim(2)):
        pytest.fail("the lease was acquired")
    assert "duplicate" == code_of(attempt(leases, 2, event_id="e3"))


def test_of_two_deliveries_refused_at_once_one_is_answered(
    leases: Leases, table: Table, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The other delivery stored its refusal between this one's two writes."""
    put_new = table.put_new

    def put_twice(item: Any) -> bool:
        assert put_new(item)
        return put_new(item)

    with leases.acquire(claim()) as lease:
        monkeypatch.setattr(table, "put_new", put_twice)
        with pytest.raises(RedeliveredError), leases.acquire(claim(2)):
            pytest.fail("the lease was acquired")
        save(leases, lease, turn(1))


def test_a_session_belongs_to_its_principal(leases: Leases) -> None:
    """Another principal cannot continue it, nor learn which requests there were."""
    with leases.acquire(claim()) as lease:
        assert "unauthorized" == code_of(attempt(leases, 9, principal="you"))
        save(leases, lease, turn(1))

    assert "unauthorized" == code_of(attempt(leases, 9, principal="you"))
    assert "unauthorized" == code_of(attempt(leases, 1, principal="you"))


def test_every_item_of_a_session_expires_with_it(
    leases: Leases,
    conversations: Conversations,
    table: Table,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The head's time to live is extended by each request; the others keep theirs."""

    def expires_at(sk: str) -> int:
        return int((table.get(session_key("s", sk)) or {})["expires_at"])

    monkeypatch.setattr(conversations, "expires_at", lambda: 1000)
    with leases.acquire(claim()) as lease:
        assert (1000, 1000) == (expires_at("head"), expires_at("request#r1"))
        assert "busy" == code_of(attempt(leases, 2))
        assert 1000 == expires_at("request#r2")
        monkeypatch.setattr(conversations, "expires_at", lambda: 2000)
        save(leases, lease, turn(1))
    assert (2000, 2000) == (expires_at("head"), expires_at("turn#00000001"))


# crashes


def test_a_crash_frees_the_session_after_the_lease_and_the_clocks_difference(
    leases: Leases, conversations: Conversations, later: Callable[[float], None]
) -> None:
    """Not a millisecond before; the next request finds an unfinished turn."""
    acquire_without_release(leases)

    later(EXPIRY_SECONDS)
    assert "busy" == code_of(attempt(leases, 2))
    later(EXPIRY_SECONDS + 0.001)
    with leases.acquire(claim(3)) as lease:
        save(leases, lease, turn(2, request_id="r3"))

    last, first = conversations.recent("s", 5).newest_first
    assert (1, "unfinished", "q", "") == (first.number, first.state, first.user, first.assistant)
    assert (2, "complete") == (last.number, last.state)


def test_a_crash_keeps_the_partial_answer_of_the_last_renewal(
    leases: Leases, conversations: Conversations, table: Table, later: Callable[[float], None]
) -> None:
    """The unfinished turn has all of it, with its size for later prompts; its frames are stored."""
    lease = acquire_without_release(leases, question="What is it?")
    created_at = request_of(table).created_at
    partial = StoredTranscript(model="m", delta_lengths="2 4 r6")
    leases.renew(lease, "", "It is so far", "reason", partial)

    later(60)
    leases.recover_abandoned("s", head_of(table))

    (unfinished,) = conversations.recent("s", 5).newest_first
    expected = Turn(
        number=1,
        request_id="r1",
        user="What is it?",
        assistant="It is so far",
        state="unfinished",
        tokens=estimate_tokens("What is it?") + estimate_tokens("It is so far"),
        created_at=created_at,
        reasoning="reason",
    )
    assert expected == unfinished
    assert abs(time.time() - created_at) < 60
    request = request_of(table)
    assert ("m", "2 4 r6", 1) == (request.model, request.delta_lengths, request.turn_number)
    assert "internal" in request.terminal_event
    assert ("", "", "") == (request.question, request.partial_answer, request.partial_reasoning)
    head = head_of(table)
    assert ("", "", 0) == (head.active_request_id, head.lease_token, head.lease_expires_at_ms)


def test_a_crash_is_recovered_once(
    leases: Leases, conversations: Conversations, table: Table
) -> None:
    """Of two Lambdas that found the same head, one saves the turn."""
    acquire_without_release(leases)
    found = head_of(table)

    leases.recover_abandoned("s", found)
    leases.recover_abandoned("s", found)

    assert 1 == len(conversations.recent("s", 5).newest_first)


def test_a_lease_renewed_after_its_expiry_is_not_recovered(
    leases: Leases, conversations: Conversations, table: Table, later: Callable[[float], None]
) -> None:
    """Between the look at an expired head and the recovery, its holder proved to be running."""
    lease = acquire_without_release(leases)
    found = head_of(table)
    later(EXPIRY_SECONDS + 1)
    assert leases_module.lease_expired(found)
    assert LeaseStatus() == leases.renew(lease, "", "", "", StoredTranscript())

    leases.recover_abandoned("s", found)

    assert () == conversations.recent("s", 5).newest_first
    assert lease.token == head_of(table).lease_token
    assert LeaseStatus() == leases.poll(lease)
    assert "busy" == code_of(attempt(leases, 2))
    assert save(leases, lease, turn(1)) is None
    assert (turn(1),) == conversations.recent("s", 5).newest_first


def test_a_crash_in_clear_leaves_no_turn(
    leases: Leases, conversations: Conversations, table: Table
) -> None:
    """Without a question, freeing the session and ending the request is all."""
    acquire_without_release(leases, question="")

    leases.recover_abandoned("s", head_of(table))

    assert () == conversations.recent("s", 5).newest_first
    assert 0 == request_of(table).turn_number
    answer(leases, 2)


def test_a_renewed_lease_lasts_as_long_again(
    leases: Leases, later: Callable[[float], None]
) -> None:
    """Counted from the renewal."""
    with leases.acquire(claim()) as lease:
        later(leases_module.LEASE_SECONDS)
        leases.renew(lease, "", "", "", STORED)
        later(leases_module.LEASE_SECONDS + EXPIRY_SECONDS)
        assert "busy" == code_of(attempt(leases, 2))
        save(leases, lease, turn(1))


def test_a_partial_answer_that_cannot_be_stored_does_not_fail_the_renewal(
    leases: Leases, table: Table, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The lease has been extended, and the answer can continue."""
    lease = acquire_without_release(leases)
    update = table.update

    def fail_for_requests(write: Update) -> UpdateResult:
        if write.key["sk"] != "head":
            raise UNREACHABLE
        return update(write)

    monkeypatch.setattr(table, "update", fail_for_requests)

    assert LeaseStatus() == leases.renew(lease, "", "so far", "", STORED)
    assert "" == request_of(table).partial_answer


def test_a_renewal_that_fails_is_reported(
    leases: Leases, table: Table, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The caller decides what to do without it."""
    lease = acquire_without_release(leases)

    def fail(_: Update) -> UpdateResult:
        raise UNREACHABLE

    monkeypatch.setattr(table, "update", fail)

    assert "internal" == code_of(lambda: leases.renew(lease, "", "so far", "", STORED))


def test_a_renewal_stores_nothing_while_there_is_no_delta_or_no_lease(
    leases: Leases, table: Table, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One write, not two."""
    lease = acquire_without_release(leases)
    keys: list[str] = []
    update = table.update

    def count(write: Update) -> UpdateResult:
        keys.append(write.key["sk"])
        return update(write)

    monkeypatch.setattr(table, "update", count)
    leases.renew(lease, "e7", "", "", dump([Start("s", "m")]))
    lost = Lease("s", "r1", "another token")
    assert LeaseStatus(lost=True) == leases.renew(lost, "e8", "late", "", STORED)

    assert ["head", "head"] == keys
    assert "e7" == head_of(table).listener_acked
    assert "" == request_of(table).model


def test_a_late_renewal_does_not_change_a_request_that_has_ended(
    leases: Leases, table: Table, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Between the two writes of a renewal the lease may be recovered."""
    lease = acquire_without_release(leases)
    update = table.update

    def recover_in_between(write: Update) -> UpdateResult:
        result = update(write)
        if write.key["sk"] == "head":
            leases.recover_abandoned("s", head_of(table))
        return result

    monkeypatch.setattr(table, "update", recover_in_between)
    leases.renew(lease, "", "late", "", STORED)

    assert "" == request_of(table).partial_answer
    assert "" == request_of(table).delta_lengths


# how a lease ends


def test_leaving_the_body_without_saving_releases_the_lease(leases: Leases, table: Table) -> None:
    """The request has ended with an error, and the session is free at once."""
    with leases.acquire(claim()):
        pass

    assert "internal" in request_of(table).terminal_event
    assert "" == head_of(table).active_request_id
    answer(leases, 2)
    assert "duplicate" == code_of(attempt(leases, event_id="e9"))


def test_returning_from_the_body_releases_the_lease(leases: Leases) -> None:
    """As leaving it at its end does."""

    def hold() -> str:
        with leases.acquire(claim()) as lease:
            return lease.request_id

    assert "r1" == hold()
    answer(leases, 2)


@pytest.mark.parametrize("error", [ZeroDivisionError, KeyboardInterrupt, GeneratorExit])
def test_an_exception_in_the_body_releases_the_lease(
    leases: Leases, table: Table, error: type[BaseException]
) -> None:
    """Whatever its kind; the request id stays used, and the request has ended with an error."""
    with pytest.raises(error), leases.acquire(claim()):
        raise error

    request = request_of(table)
    assert "internal" in request.terminal_event
    assert "" == request.question
    answer(leases, 2)
    assert "duplicate" == code_of(attempt(leases, event_id="e9"))


def test_an_error_of_the_body_is_stored_as_the_requests_end(leases: Leases, table: Table) -> None:
    """A `ChatError` with its code, its message and the time to try again."""
    error = ChatError("model_error", "The model failed.", retryable=False, retry_at=7)
    with pytest.raises(ChatError), leases.acquire(claim()):
        raise error

    assert dump([Failed(error)]).terminal_event == request_of(table).terminal_event


def test_an_error_of_the_body_is_raised_also_where_the_release_fails(
    leases: Leases, table: Table, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The first failure is the one to report; the lease ends at its expiry."""

    def fail(*_: Any) -> Any:
        raise UNREACHABLE

    def hold() -> None:
        with leases.acquire(claim()):
            monkeypatch.setattr(table, "transact", fail)
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        hold()


def test_leaving_after_a_refused_save_releases_the_lease(
    leases: Leases, conversations: Conversations, table: Table
) -> None:
    """A late listener was returned and the save not tried again: nothing holds the session."""
    with leases.acquire(claim()) as lease:
        late = listen(table, "e5")
        assert late == save(leases, lease, turn(1))

    assert () == conversations.recent("s", 5).newest_first
    answer(leases, 2)


def test_a_lease_is_released_once(
    leases: Leases, table: Table, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Leaving the body after `save` or `release` writes nothing more, also with an exception."""
    sizes: list[int] = []
    transact = table.transact

    def count(*writes: Any) -> Any:
        sizes.append(len(writes))
        return transact(*writes)

    monkeypatch.setattr(table, "transact", count)
    answer(leases, 1)
    with leases.acquire(claim(2)) as lease:
        leases.release(lease, Done(cleared=0))

    def release_and_fail() -> None:
        with leases.acquire(claim(3)) as lease:
            leases.release(lease, Done(cleared=0))
            raise ChatError("internal", "Sorry.")

    assert "internal" == code_of(release_and_fail)
    assert [2, 3, 2, 2, 2, 2] == sizes


def test_a_release_that_fails_is_tried_again_on_leaving(
    leases: Leases, table: Table, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The first failure is raised; the session is free."""
    transact = table.transact

    def hold() -> None:
        with leases.acquire(claim()) as lease:

            def fail_once(*_: Any) -> Any:
                monkeypatch.setattr(table, "transact", transact)
                raise ChatError("throttled", "The conversation store is busy; try again.")

            monkeypatch.setattr(table, "transact", fail_once)
            leases.release(lease, Done(cleared=0))

    assert "throttled" == code_of(hold)
    answer(leases, 2)


def test_a_lost_lease_changes_nothing(
    leases: Leases, conversations: Conversations, later: Callable[[float], None]
) -> None:
    """Its former holder can neither save a turn, nor renew, nor release the new one."""
    lost = acquire_without_release(leases)
    later(60)
    with leases.acquire(claim(2)) as lease:
        assert LeaseStatus(lost=True) == leases.poll(lost)
        assert LeaseStatus(lost=True) == leases.renew(lost, "", "late", "", STORED)
        assert "internal" == code_of(lambda: save(leases, lost, turn(1, assistant="late")))
        leases.release(lost, Failed(ChatError("internal", "Sorry.")))
        assert "busy" == code_of(attempt(leases, 3))
        save(leases, lease, turn(2))

    assert [2, 1] == [turn.number for turn in conversations.recent("s", 5).newest_first]


def test_a_lost_lease_does_not_return_the_listener_of_the_next_request(
    leases: Leases, conversations: Conversations, table: Table, later: Callable[[float], None]
) -> None:
    """The listener is served by the request that holds the lease now."""
    lost = acquire_without_release(leases)
    later(60)
    with leases.acquire(claim(2)) as lease:
        listen(table, "e5")
        late = turn(7, request_id="r1")
        assert "internal" == code_of(lambda: save(leases, lost, late))
        assert save(leases, lease, turn(2), "e5") is None
    assert [2, 1] == [turn.number for turn in conversations.recent("s", 5).newest_first]


def test_a_claim_whose_response_was_lost_is_released(
    leases: Leases, table: Table, monkeypatch: pytest.MonkeyPatch
) -> None:
    """DynamoDB wrote the claim, and the call failed: the session does not stay busy."""
    transact = table.transact

    def lose_the_response(*writes: Any) -> Any:
        transact(*writes)
        monkeypatch.undo()
        raise UNREACHABLE

    monkeypatch.setattr(table, "transact", lose_the_response)
    assert "internal" == code_of(attempt(leases))
    answer(leases, 2)


def test_a_save_whose_response_was_lost_succeeds(
    leases: Leases,
    conversations: Conversations,
    table: Table,
    monkeypatch: pytest.MonkeyPatch,
    clock: Clock,
) -> None:
    """DynamoDB wrote the turn, and the call failed: the next attempt finds it."""
    transact = table.transact

    with leases.acquire(claim()) as lease:

        def lose_the_response(*writes: Any) -> Any:
            transact(*writes)
            monkeypatch.setattr(table, "transact", transact)
            raise UNREACHABLE

        monkeypatch.setattr(table, "transact", lose_the_response)
        assert save(leases, lease, turn(1)) is None

    assert (turn(1),) == conversations.recent("s", 5).newest_first
    assert [leases_module.SAVE_PAUSE_SECONDS] == clock.slept


@pytest.mark.parametrize("change", [{"request_id": "r7"}, {"state": "unfinished"}])
def test_another_turn_of_that_number_is_no_earlier_attempt(
    leases: Leases, conversations: Conversations, table: Table, change: dict[str, str]
) -> None:
    """It is of another request, or of a recovery: the lease was lost."""
    lease = acquire_without_release(leases)
    table.put(conversations.turn_item("s", turn(1, **change)))

    assert "internal" == code_of(lambda: save(leases, lease, turn(1)))


def save_that_fails(
    leases: Leases, lease: Lease, table: Table, monkeypatch: pytest.MonkeyPatch, seconds: float
) -> int:
    """The attempts that `save` makes until `seconds` from now, where each fails."""
    attempts: list[float] = []

    def fail(*_: Any) -> Any:
        attempts.append(time.monotonic())
        raise ChatError("throttled", "The conversation store is busy; try again.")

    with monkeypatch.context() as patch:
        patch.setattr(table, "transact", fail)
        deadline = in_seconds(seconds)
        assert "throttled" == code_of(lambda: leases.save(lease, turn(1), STORED, "", deadline))
    return len(attempts)


@pytest.mark.parametrize(
    ("seconds", "attempts"),
    [(0.0, 1), (0.24, 1), (0.25, 2), (0.74, 2), (0.75, 3), (60.0, 5)],  # 6 s at the most
)
def test_a_save_is_tried_again_with_growing_pauses_until_its_deadline(
    leases: Leases,
    table: Table,
    monkeypatch: pytest.MonkeyPatch,
    seconds: float,
    attempts: int,
) -> None:
    """No attempt begins after the deadline, which is that of Lambda or SAVE_SECONDS."""
    clock = Clock(monkeypatch)
    monkeypatch.setattr(leases_module, "SAVE_PAUSE_SECONDS", 0.25)  # in binary exact
    lease = acquire_without_release(leases)

    assert attempts == save_that_fails(leases, lease, table, monkeypatch, seconds)
    assert [0.25, 0.5, 1.0, 2.0][: attempts - 1] == clock.slept


def test_a_save_that_fails_for_good_becomes_an_unfinished_turn(
    leases: Leases,
    conversations: Conversations,
    table: Table,
    monkeypatch: pytest.MonkeyPatch,
    later: Callable[[float], None],
) -> None:
    """The lease is not released: what was stored of the answer is recovered at its expiry."""

    def hold() -> None:
        with leases.acquire(claim()) as lease:
            leases.renew(lease, "", "so far", "", STORED)
            save_that_fails(leases, lease, table, monkeypatch, 0.0)
            raise ChatError("throttled", "The conversation store is busy; try again.")

    assert "throttled" == code_of(hold)
    assert "busy" == code_of(attempt(leases, 2))
    later(60)
    leases.recover_abandoned("s", head_of(table))
    assert ["so far"] == [turn.assistant for turn in conversations.recent("s", 5).newest_first]


def test_a_save_that_failed_and_was_caught_is_not_released_either(
    leases: Leases, table: Table, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As the handler does, which sends an error frame after it."""
    with leases.acquire(claim()) as lease:
        leases.renew(lease, "", "so far", "", STORED)
        save_that_fails(leases, lease, table, monkeypatch, 0.0)

    assert "busy" == code_of(attempt(leases, 2))
    assert "so far" == request_of(table).partial_answer


# signals to a running answer


def test_poll_and_renew_return_the_stop_and_the_newest_listener(
    leases: Leases, table: Table
) -> None:
    """A stop is for one request; a listener has all its fields."""
    with leases.acquire(claim()) as lease:
        assert LeaseStatus() == leases.poll(lease)
        stop = Update(session_key("s", "head"), "SET stop_requested = :r", {":r": "r9"})
        table.update(stop)
        assert LeaseStatus() == leases.poll(lease)
        table.update(Update(stop.key, stop.expression, {":r": "r1"}))
        assert LeaseStatus(stop=True) == leases.poll(lease)
        status = LeaseStatus(stop=True, listener=listen(table, "e5"))
        assert status == leases.poll(lease)
        assert status == leases.renew(lease, "", "", "", STORED)
        save(leases, lease, turn(1), "e5")


def test_a_save_waits_for_a_listener_that_was_not_served(leases: Leases, table: Table) -> None:
    """It writes nothing and returns the listener, unless that is ignored (None)."""
    with leases.acquire(claim()) as lease:
        late = listen(table, "e5")
        assert late == save(leases, lease, turn(1), "e4")
        assert late == save(leases, lease, turn(1), "")
        assert save(leases, lease, turn(1), "e5") is None
    assert "e5" == request_of(table).listener_acked
    with leases.acquire(claim(2)) as lease:
        listen(table, "e6")
        assert save(leases, lease, turn(2), None) is None
    assert "" == request_of(table, "r2").listener_acked


def test_a_new_request_begins_without_signals(leases: Leases, table: Table) -> None:
    """Those of the request before are removed, acknowledged or not."""
    with leases.acquire(claim()) as lease:
        listen(table, "e5")
        leases.renew(lease, "e5", "", "", STORED)
        table.update(Update(session_key("s", "head"), "SET stop_requested = :r", {":r": "r2"}))
        save(leases, lease, turn(1), None)
    with leases.acquire(claim(2)) as lease:
        assert LeaseStatus() == leases.poll(lease)
        assert "" == head_of(table).listener_acked
        assert 2000 == head_of(table).requested_at_ms
        save(leases, lease, turn(2))


# the daily quota


def used_today(table: Table, quota_subject: str = "me") -> Any:
    (day,) = table.last(f"budget#{quota_subject}", "day#", 1)
    return day


def test_the_most_that_a_request_can_cost_is_reserved_and_the_rest_returned(
    table: Table, conversations: Conversations
) -> None:
    """After a save, and after a failure, which cost nothing here."""
    leases = Leases(table, conversations, Budget(0, 250))
    with leases.acquire(claim()) as lease:
        assert (1, 100) == (used_today(table)["requests"], used_today(table)["tokens"])
        lease.used = 30
        save(leases, lease, turn(1))
    assert (1, 30) == (used_today(table)["requests"], used_today(table)["tokens"])

    with pytest.raises(ZeroDivisionError), leases.acquire(claim(2)):
        raise ZeroDivisionError
    with leases.acquire(claim(3)):
        pass
    assert (3, 30) == (used_today(table)["requests"], used_today(table)["tokens"])
    day = int(used_today(table)["sk"].removeprefix("day#"))
    assert (day + RETENTION_DAYS) * DAY_SECONDS == used_today(table)["expires_at"]


def test_a_crashed_request_is_charged_its_reservation(
    table: Table, conversations: Conversations, later: Callable[[float], None]
) -> None:
    """What it used is unknown."""
    leases = Leases(table, conversations, Budget(0, 250))
    lease = Lease("s", "r1", "token", leases._budget.reservation("me", 100))
    assert leases._try_acquire(claim(), lease) is None
    later(60)
    leases.recover_abandoned("s", head_of(table))

    assert 100 == used_today(table)["tokens"]


def test_a_request_without_a_question_needs_no_quota(
    table: Table, conversations: Conversations
) -> None:
    """`clear` costs nothing, and is possible when the quota is used up."""
    leases = Leases(table, conversations, Budget(1, 0))
    answer(leases, 1)
    with leases.acquire(claim(2, question="")) as lease:
        leases.release(lease, Done(cleared=1))

    assert 1 == used_today(table)["requests"]


@pytest.mark.parametrize(("requests", "tokens"), [(2, 0), (0, 250), (2, 250)])
def test_the_quota_is_not_exceeded_whatever_the_session(
    table: Table, conversations: Conversations, requests: int, tokens: int
) -> None:
    """The refusal states when the next day begins, and is final for its event."""
    leases = Leases(table, conversations, Budget(requests, tokens))
    for number in (1, 2):
        with leases.acquire(claim(number, session_id=f"s{number}")) as lease:
            lease.used = 100
            save(leases, lease, turn(number))

    with pytest.raises(ChatError) as refused, leases.acquire(claim(3)):
        pytest.fail("the lease was acquired")

    assert "over_budget" == refused.value.code
    assert 0 == (refused.value.retry_at or 1) % DAY_SECONDS
    assert (refused.value.retry_at or 0) > time.time()
    with pytest.raises(RedeliveredError), leases.acquire(claim(3)):
        pytest.fail("the lease was acquired")
    answer(leases, 4, quota_subject="you")
