import time
from collections.abc import Callable
from typing import Any

import pytest
from support.store_fixtures import (
    Clock,
    acquire_without_release,
    claim,
    code_of,
    in_seconds,
    listener,
    turn,
)

from errors import ChatError
from families.types import TextDelta
from store import leases as leases_module
from store import sessions as sessions_module
from store.budget import Budget
from store.conversations import Conversations, session_key, session_pk
from store.leases import Lease, Leases, Listener
from store.sessions import Sessions
from store.table import Table
from store.transcript import dump
from wire.events import Done, Failed, ResponseEvent, Start

ITEMS: tuple[ResponseEvent, ...] = (Start("s", "m"), TextDelta("ab"), Done("end_turn"))
POLL_SECONDS = leases_module.POLL_SECONDS
ARRIVAL_PAUSE_SECONDS = 0.25  # in binary exact, so that pauses add up to a deadline
ARRIVAL_PAUSES = int(sessions_module.ARRIVAL_SECONDS / ARRIVAL_PAUSE_SECONDS)


@pytest.fixture
def conversations(table: Table) -> Conversations:
    return Conversations(table, session_days=30)


@pytest.fixture
def leases(table: Table, conversations: Conversations) -> Leases:
    return Leases(table, conversations, Budget(0, 0))


@pytest.fixture(autouse=True)
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    monkeypatch.setattr(sessions_module, "ARRIVAL_PAUSE_SECONDS", ARRIVAL_PAUSE_SECONDS)
    return Clock(monkeypatch)


@pytest.fixture
def sessions(table: Table, conversations: Conversations, leases: Leases) -> Sessions:
    return Sessions(table, conversations, leases)


def save(leases: Leases, lease: Lease, acked: str = "") -> Listener | None:
    saved = turn(1, assistant="ab", request_id=lease.request_id)
    return leases.save(lease, saved, dump(ITEMS), acked, in_seconds(60))


def expire(monkeypatch: pytest.MonkeyPatch) -> None:
    real = leases_module._now_ms
    monkeypatch.setattr(leases_module, "_now_ms", lambda: real() + 60_000)


def on_sleep(monkeypatch: pytest.MonkeyPatch, clock: Clock, *actions: Callable[[], object]) -> None:
    """Does one action in each of the next pauses."""
    left = list(actions)

    def sleep(seconds: float) -> None:
        clock.sleep(seconds)
        if left:
            left.pop(0)()

    monkeypatch.setattr(time, "sleep", sleep)


# stop


def test_a_stop_reaches_the_running_answer_with_and_without_its_id(
    sessions: Sessions, leases: Leases
) -> None:
    """Another id is not its own; once it has ended there is nothing to stop."""
    with leases.acquire(claim()) as lease:
        assert "invalid_request" == code_of(
            lambda: sessions.stop("s", "me", "r2", 2000, in_seconds(9))
        )
        assert not leases.poll(lease).stop
        sessions.stop("s", "me", None, 2000, in_seconds(9))
        assert leases.poll(lease).stop
        save(leases, lease)
    with leases.acquire(claim(2)) as lease:
        sessions.stop("s", "me", "r2", 0, in_seconds(9))
        assert leases.poll(lease).stop


@pytest.mark.parametrize(("sent_at", "stops"), [(999, False), (1000, True), (1001, True)])
def test_a_stop_without_an_id_is_for_the_answer_that_ran_when_it_was_sent(
    sessions: Sessions, leases: Leases, clock: Clock, sent_at: int, stops: bool
) -> None:
    """Sent before this request, it was meant for the answer before; nothing is waited for."""
    with leases.acquire(claim()) as lease:
        if stops:
            sessions.stop("s", "me", None, sent_at, in_seconds(9))
        else:
            assert "invalid_request" == code_of(
                lambda: sessions.stop("s", "me", None, sent_at, in_seconds(9))
            )
        assert stops == leases.poll(lease).stop
    assert [] == clock.slept


def test_a_stop_waits_for_a_request_that_has_not_arrived(
    sessions: Sessions, leases: Leases, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It overtook the request that it names."""
    lease = Lease("s", "r1", "token")

    def arrive() -> None:
        assert leases._try_acquire(claim(), lease) is None

    on_sleep(monkeypatch, clock, lambda: None, arrive)
    sessions.stop("s", "me", "r1", 2000, in_seconds(60))

    assert leases.poll(lease).stop
    assert [ARRIVAL_PAUSE_SECONDS] * 2 == clock.slept


@pytest.mark.parametrize(
    ("seconds", "pauses"), [(60, ARRIVAL_PAUSES), (ARRIVAL_PAUSE_SECONDS * 2, 2), (0, 0)]
)
def test_a_stop_waits_no_longer_than_a_request_may_take_to_arrive(
    sessions: Sessions, clock: Clock, seconds: float, pauses: int
) -> None:
    """Nor longer than its own deadline."""
    assert "invalid_request" == code_of(
        lambda: sessions.stop("s", "me", "never", 2000, in_seconds(seconds))
    )
    assert pauses == len(clock.slept)


def test_a_stop_does_not_wait_for_a_request_that_has_ended(
    sessions: Sessions, leases: Leases, clock: Clock
) -> None:
    """There is nothing to stop, and the refusal is immediate."""
    with leases.acquire(claim()) as lease:
        save(leases, lease)

    assert "invalid_request" == code_of(
        lambda: sessions.stop("s", "me", "r1", 2000, in_seconds(60))
    )
    assert [] == clock.slept


def test_stopping_a_crashed_request_recovers_it(
    sessions: Sessions,
    leases: Leases,
    conversations: Conversations,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """There is nothing to stop, and the session is free."""
    acquire_without_release(leases)
    expire(monkeypatch)

    assert "invalid_request" == code_of(lambda: sessions.stop("s", "me", None, 2000, in_seconds(9)))
    assert ["unfinished"] == [turn.state for turn in conversations.recent("s", 5).newest_first]


# resume


def test_attach_listener_waits_until_the_running_answer_has_switched(
    sessions: Sessions, leases: Leases, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It reads the head once in each poll interval, and returns at the acknowledgement."""
    with leases.acquire(claim()) as lease:

        def switch() -> None:
            assert listener() == leases.poll(lease).listener
            leases.renew(lease, "e9", "", "", dump(ITEMS[:1]))

        on_sleep(monkeypatch, clock, lambda: None, switch)
        assert sessions.attach_listener("s", "me", "r1", listener(), in_seconds(60))
        assert [POLL_SECONDS] * 2 == clock.slept
        save(leases, lease, "e9")


def test_attach_listener_leaves_a_silent_answer_at_its_deadline(
    sessions: Sessions, leases: Leases, clock: Clock
) -> None:
    """Nothing shows that it has crashed, so it will send the frames."""
    with leases.acquire(claim()) as lease:
        assert sessions.attach_listener("s", "me", "r1", listener(), in_seconds(POLL_SECONDS * 3))
        assert [POLL_SECONDS] * 3 == clock.slept
        assert listener() == leases.poll(lease).listener


def test_a_request_that_has_ended_is_replayed(
    sessions: Sessions, leases: Leases, clock: Clock
) -> None:
    """Its frames as they were sent, and at once."""
    with leases.acquire(claim()) as lease:
        save(leases, lease)

    assert not sessions.attach_listener("s", "me", "r1", listener(), in_seconds(60))
    assert ITEMS == sessions.replay("s", "r1")
    assert [] == clock.slept


def test_an_answer_that_ends_without_switching_is_replayed(
    sessions: Sessions, leases: Leases, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It was saved whatever listeners there were: this one has received nothing."""
    with leases.acquire(claim()) as lease:

        def end() -> None:
            saved = turn(1, assistant="ab")
            assert leases.save(lease, saved, dump(ITEMS), None, in_seconds(60)) is None

        on_sleep(monkeypatch, clock, end)
        assert not sessions.attach_listener("s", "me", "r1", listener(), in_seconds(60))
    assert ITEMS == sessions.replay("s", "r1")


def test_the_newest_of_two_listeners_is_served(
    sessions: Sessions, leases: Leases, clock: Clock
) -> None:
    """Whatever the order in which they arrive, and the other does not wait."""
    with leases.acquire(claim()) as lease:
        sessions._signal_listener("s", "me", "r1", listener("old", 8000))
        sessions._signal_listener("s", "me", "r1", listener("new", 9000))
        old = listener("old", 8000)
        assert sessions.attach_listener("s", "me", "r1", old, in_seconds(60))
        assert listener("new") == leases.poll(lease).listener
        assert [] == clock.slept
        newer = listener("newer", 9000)  # of the same millisecond
        sessions._signal_listener("s", "me", "r1", newer)
        assert newer == leases.poll(lease).listener
        save(leases, lease, "newer")


def test_a_listener_that_is_replaced_while_it_waits_is_not_replayed(
    sessions: Sessions, leases: Leases, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """While the answer runs, and when it ends at the same time."""
    with leases.acquire(claim()) as lease:
        on_sleep(
            monkeypatch,
            clock,
            lambda: sessions._signal_listener("s", "me", "r1", listener("new", 9000)),
        )
        old = listener("old", 8000)
        assert sessions.attach_listener("s", "me", "r1", old, in_seconds(60))
        assert [POLL_SECONDS] == clock.slept

        def replace_and_end() -> None:
            sessions._signal_listener("s", "me", "r1", listener("newest", 9500))
            assert save(leases, lease, "newest") is None

        on_sleep(monkeypatch, clock, replace_and_end)
        assert sessions.attach_listener("s", "me", "r1", listener("new", 9000), in_seconds(60))


def test_a_resume_waits_for_a_request_that_has_not_arrived(
    sessions: Sessions, leases: Leases, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It overtook the request that it names, which then sends the frames."""
    lease = Lease("s", "r1", "token")

    def arrive() -> None:
        assert leases._try_acquire(claim(), lease) is None

    def switch() -> None:
        assert listener() == leases.poll(lease).listener
        leases.renew(lease, "e9", "", "", dump(ITEMS[:1]))

    on_sleep(monkeypatch, clock, arrive, switch)
    assert sessions.attach_listener("s", "me", "r1", listener(), in_seconds(60))
    assert [ARRIVAL_PAUSE_SECONDS, POLL_SECONDS] == clock.slept


@pytest.mark.parametrize(
    ("seconds", "pauses"), [(60, ARRIVAL_PAUSES), (ARRIVAL_PAUSE_SECONDS * 2, 2), (0, 0)]
)
def test_a_resume_waits_no_longer_than_a_request_may_take_to_arrive(
    sessions: Sessions, clock: Clock, seconds: float, pauses: int
) -> None:
    """Nor longer than its own deadline."""
    assert not sessions.attach_listener("s", "me", "never", listener(), in_seconds(seconds))
    assert pauses == len(clock.slept)


def test_a_request_that_starts_between_two_reads_is_running(
    sessions: Sessions, leases: Leases, table: Table, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The head had no request and the request no end: it has not been interrupted."""
    held: list[Lease] = []
    update = table.update

    def start_after(write: Any) -> Any:
        result = update(write)
        if not held:
            held.append(Lease("s", "r1", "token"))
            assert leases._try_acquire(claim(), held[0]) is None
        return result

    monkeypatch.setattr(table, "update", start_after)
    assert sessions.attach_listener("s", "me", "r1", listener(), in_seconds(1))
    assert listener() == leases.poll(held[0]).listener


@pytest.mark.parametrize("pauses", [0, 1])
def test_resuming_a_crashed_request_ends_in_one_error(
    sessions: Sessions,
    leases: Leases,
    clock: Clock,
    monkeypatch: pytest.MonkeyPatch,
    pauses: int,
) -> None:
    """It is saved as an unfinished turn, before the resume or while that waits."""
    acquire_without_release(leases)
    if pauses:
        on_sleep(monkeypatch, clock, lambda: expire(monkeypatch))
    else:
        expire(monkeypatch)

    assert not sessions.attach_listener("s", "me", "r1", listener(), in_seconds(60))
    assert pauses == len(clock.slept)
    (end,) = sessions.replay("s", "r1")
    assert isinstance(end, Failed)
    assert "internal" == end.error.code
    assert ["unfinished"] == [turn.state for turn in sessions.history("s", "me", 5)[0]]


def test_a_failed_read_while_waiting_is_tried_again(
    sessions: Sessions,
    leases: Leases,
    table: Table,
    clock: Clock,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The running answer sends its own end: an error from here would be a second one."""
    get = table.get
    failures: list[Any] = []

    def fail_twice(key: Any) -> Any:
        if len(failures) < 2:
            failures.append(key)
            raise ChatError("throttled", "The conversation store is busy; try again.")
        return get(key)

    with leases.acquire(claim()) as lease:
        monkeypatch.setattr(table, "get", fail_twice)
        deadline = in_seconds(POLL_SECONDS * 5)
        assert sessions.attach_listener("s", "me", "r1", listener(), deadline)
        assert [POLL_SECONDS] * 5 == clock.slept
        save(leases, lease, "e9")


def test_an_unknown_or_deleted_request_is_refused(
    sessions: Sessions, leases: Leases, table: Table
) -> None:
    """Nothing is replayed for it."""
    assert "invalid_request" == code_of(lambda: sessions.replay("s", "never"))
    with leases.acquire(claim()) as lease:
        save(leases, lease)
    table.delete_all(session_pk("s"), "turn#")
    assert "invalid_request" == code_of(lambda: sessions.replay("s", "r1"))


def test_a_request_without_a_record_of_its_end_was_interrupted(
    sessions: Sessions, leases: Leases, table: Table
) -> None:
    """Its lease was lost otherwise than by a recovery; what it had renewed is not replayed."""
    lease = acquire_without_release(leases)
    leases.renew(lease, "", "ab", "", dump(ITEMS[:2]))
    table.put({**session_key("s", "head"), "principal": "me"})

    (end,) = sessions.replay("s", "r1")
    assert isinstance(end, Failed)
    assert "internal" == end.error.code


def test_a_turn_of_the_same_number_is_not_replayed_for_another_request(
    sessions: Sessions, leases: Leases, conversations: Conversations, table: Table
) -> None:
    """After `clear` the numbers begin again."""
    with leases.acquire(claim()) as lease:
        save(leases, lease)
    with leases.acquire(claim(2)) as lease:
        sessions.clear(lease)
    table.put(conversations.turn_item("s", turn(1, request_id="r3")))

    assert "invalid_request" == code_of(lambda: sessions.replay("s", "r1"))


# history, clear and ownership


def test_history_returns_the_newest_turns_and_the_running_request(
    sessions: Sessions, leases: Leases, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Oldest first; a crashed request is an unfinished turn, and no longer running."""
    assert ((), None) == sessions.history("s", "me", 5)
    with leases.acquire(claim()) as lease:
        save(leases, lease)
    assert ((turn(1, assistant="ab"),), None) == sessions.history("s", "me", 5)
    acquire_without_release(leases, 2)

    assert ((turn(1, assistant="ab"),), "r2") == sessions.history("s", "me", 5)
    expire(monkeypatch)
    turns, running = sessions.history("s", "me", 5)
    assert (["complete", "unfinished"], None) == ([turn.state for turn in turns], running)
    assert ["unfinished"] == [turn.state for turn in sessions.history("s", "me", 1)[0]]


def test_clear_deletes_the_turns_and_ends_as_a_request(sessions: Sessions, leases: Leases) -> None:
    """The count is returned, and replayed to a client that resumes it; the session is free."""
    for number in (1, 2, 3):
        with leases.acquire(claim(number)) as lease:
            saved = turn(number)
            assert leases.save(lease, saved, dump(ITEMS), "", in_seconds(60)) is None
    with leases.acquire(claim(4, question="")) as lease:
        assert 3 == sessions.clear(lease)

    assert ((), None) == sessions.history("s", "me", 5)
    assert (Done(cleared=3),) == sessions.replay("s", "r4")


def test_another_principal_is_refused_everything(sessions: Sessions, leases: Leases) -> None:
    """Nothing is read, stopped or resumed, while a request runs and after."""
    attempts: list[Callable[[], object]] = [
        lambda: sessions.history("s", "you", 5),
        lambda: sessions.stop("s", "you", "r1", 2000, in_seconds(9)),
        lambda: sessions.stop("s", "you", None, 2000, in_seconds(9)),
        lambda: sessions.attach_listener("s", "you", "r1", listener(), in_seconds(9)),
    ]
    with leases.acquire(claim()) as lease:
        assert {"unauthorized"} == {code_of(attempt) for attempt in attempts}
        assert leases_module.LeaseStatus() == leases.poll(lease)
        save(leases, lease)
    assert {"unauthorized"} == {code_of(attempt) for attempt in attempts}


def test_a_session_without_an_owner_is_refused_to_everybody(
    sessions: Sessions, leases: Leases, table: Table
) -> None:
    """A missing attribute never opens a session."""
    table.put({**session_key("s", "head"), "requested_at_ms": 1})

    assert "unauthorized" == code_of(lambda: sessions.history("s", "me", 5))
    assert "unauthorized" == code_of(lambda: leases.acquire(claim()).__enter__())
