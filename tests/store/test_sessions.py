import time
from collections.abc import Callable
from typing import Any

import pytest

from errors import ChatError
from families.types import TextDelta
from memory import Turn
from store import leases as leases_module
from store import sessions as sessions_module
from store.budget import Budget
from store.conversations import Conversations, session_pk
from store.leases import Claim, Leases, Listener
from store.sessions import Sessions
from store.table import Table
from store.transcript import dump
from wire.events import Done, Failed, Item, Start

TOLD: tuple[Item, ...] = (Start("s", "m"), TextDelta("ab"), Done("end_turn"))


@pytest.fixture
def memory(table: Table) -> Conversations:
    return Conversations(table, session_days=30)


@pytest.fixture
def leases(table: Table, memory: Conversations) -> Leases:
    return Leases(table, memory, Budget(0, 0))


@pytest.fixture
def sessions(
    table: Table, memory: Conversations, leases: Leases, monkeypatch: pytest.MonkeyPatch
) -> Sessions:
    for module, name, seconds in (
        (sessions_module, "ARRIVAL_SECONDS", 0.2),
        (sessions_module, "ARRIVAL_PAUSE_SECONDS", 0.01),
        (sessions_module, "POLL_SECONDS", 0.01),
    ):
        monkeypatch.setattr(module, name, seconds)
    return Sessions(table, memory, leases)


def claim(number: int = 1, principal: str = "me") -> Claim:
    return Claim(
        session_id="s",
        principal=principal,
        quota_subject=principal,
        request_id=f"r{number}",
        event_id=f"e{number}",
        requested_at=1000 * number,
        question="q",
    )


def turn(number: int = 1) -> Turn:
    return Turn(
        number=number,
        request_id=f"r{number}",
        user="q",
        assistant="ab",
        state="complete",
        tokens=3,
        created_at=1,
    )


def save(leases: Leases, lease: leases_module.Lease, heard: str = "") -> Listener | None:
    return leases.save(lease, turn(), dump(TOLD), heard, time.monotonic() + 60)


def listener(event_id: str = "e9", since: int = 9000) -> Listener:
    return Listener(event_id, since, "c9=", "events", 0)


def soon() -> float:
    return time.monotonic() + 0.3


def refusal(attempt: Callable[[], object]) -> str:
    with pytest.raises(ChatError) as refused:
        attempt()
    return refused.value.code


def crashed(leases: Leases) -> None:
    lease = leases_module.Lease("s", "r1", "token")
    assert leases._claim(claim(), lease) is None


def expire(monkeypatch: pytest.MonkeyPatch) -> None:
    real = leases_module._now_ms
    monkeypatch.setattr(leases_module, "_now_ms", lambda: real() + 60_000)


# stop


def test_stop(sessions: Sessions, leases: Leases) -> None:
    """The running answer finds it, by name and without; another's name is not its own."""
    with leases.acquire(claim()) as lease:
        assert "invalid_request" == refusal(lambda: sessions.stop("s", "me", "r2", 2000, soon()))
        assert not leases.poll(lease).stop
        sessions.stop("s", "me", None, 2000, soon())
        assert leases.poll(lease).stop
        save(leases, lease)
    assert "invalid_request" == refusal(lambda: sessions.stop("s", "me", "r1", 2000, soon()))


def test_a_stop_from_before_the_question(sessions: Sessions, leases: Leases) -> None:
    """It was meant for the answer before; this one goes on."""
    with leases.acquire(claim()) as lease:
        assert "invalid_request" == refusal(lambda: sessions.stop("s", "me", None, 999, soon()))
        assert not leases.poll(lease).stop
        save(leases, lease)


def test_a_stop_that_overtakes_its_question(
    sessions: Sessions, leases: Leases, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A request that is named is waited for."""
    lease = leases_module.Lease("s", "r1", "token")

    def arrive(_: float) -> None:
        monkeypatch.undo()
        assert leases._claim(claim(), lease) is None

    monkeypatch.setattr(time, "sleep", arrive)
    sessions.stop("s", "me", "r1", 2000, time.monotonic() + 5)

    assert leases.poll(lease).stop


def test_stopping_what_crashed(
    sessions: Sessions, leases: Leases, memory: Conversations, monkeypatch: pytest.MonkeyPatch
) -> None:
    """There is nothing to stop any more, and the session is free."""
    crashed(leases)
    expire(monkeypatch)

    assert "invalid_request" == refusal(lambda: sessions.stop("s", "me", None, 2000, soon()))
    assert ["unfinished"] == [turn.state for turn in memory.recent("s", 5).newest_first]


# resume


def test_the_running_answer_is_asked(sessions: Sessions, leases: Leases) -> None:
    """Whoever resumes waits until the running answer took notice."""
    with leases.acquire(claim()) as lease:
        assert sessions.attach_listener(
            "s", "me", "r1", listener(), soon()
        )  # nobody looked: time is up
        assert listener() == leases.poll(lease).listener
        leases.renew(lease, "e9", "", "", dump(TOLD[:1]))
        assert sessions.attach_listener("s", "me", "r1", listener(), time.monotonic() + 60)
        save(leases, lease, "e9")


def test_after_the_end(sessions: Sessions, leases: Leases) -> None:
    """What was told is told again, unless the running answer has just told it here."""
    with leases.acquire(claim()) as lease:
        save(leases, lease)

    assert not sessions.attach_listener("s", "me", "r1", listener(), soon())
    assert TOLD == sessions.replay("s", "r1")


def test_two_who_resume(sessions: Sessions, leases: Leases) -> None:
    """The newest is served; the other says nothing."""
    with leases.acquire(claim()) as lease:
        sessions._ask_to_turn("s", "me", "r1", listener("old", 8000))
        sessions._ask_to_turn("s", "me", "r1", listener("new", 9000))
        assert sessions.attach_listener(
            "s", "me", "r1", listener("old", 8000), time.monotonic() + 60
        )
        assert listener("new") == leases.poll(lease).listener
        save(leases, lease, "new")


def test_overtaken_as_the_answer_ends(
    sessions: Sessions, leases: Leases, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Who waited, and was overtaken before the end, says nothing: the newest was served."""
    with leases.acquire(claim()) as lease:

        def overtake(_: float) -> None:
            sessions._ask_to_turn("s", "me", "r1", listener("new", 9000))
            assert save(leases, lease, "new") is None

        monkeypatch.setattr(time, "sleep", overtake)
        assert sessions.attach_listener(
            "s", "me", "r1", listener("old", 8000), time.monotonic() + 60
        )


def test_a_resume_as_the_answer_begins(
    sessions: Sessions, leases: Leases, table: Table, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It began between two looks: that is no answer that was cut off."""
    held: list[leases_module.Lease] = []
    update = table.update

    def begin_behind(asking: Any) -> Any:
        asked = update(asking)
        if not held:
            held.append(leases_module.Lease("s", "r1", "token"))
            assert leases._claim(claim(), held[0]) is None
        return asked

    monkeypatch.setattr(table, "update", begin_behind)
    assert sessions.attach_listener("s", "me", "r1", listener(), soon())
    assert listener() == leases.poll(held[0]).listener


def test_resuming_what_crashed(
    sessions: Sessions, leases: Leases, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It ends in one error, for it will never end by itself."""
    crashed(leases)
    expire(monkeypatch)

    assert not sessions.attach_listener("s", "me", "r1", listener(), time.monotonic() + 60)
    (end,) = sessions.replay("s", "r1")
    assert isinstance(end, Failed)
    assert "internal" == end.error.code


def test_a_look_that_fails_ends_nothing(
    sessions: Sessions, leases: Leases, table: Table, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The running answer tells its own end: an error from here would be a second."""

    def fail(_: Any) -> Any:
        raise ChatError("throttled", "The memory is busy.")

    with leases.acquire(claim()) as lease:
        with monkeypatch.context() as patch:
            patch.setattr(table, "get", fail)
            assert sessions.attach_listener("s", "me", "r1", listener(), soon())
        save(leases, lease, "e9")


def test_what_is_not_known(sessions: Sessions, leases: Leases, table: Table) -> None:
    """Never taken, or forgotten meanwhile: it is said, and nothing else is made of it."""
    assert not sessions.attach_listener("s", "me", "never", listener(), soon())
    assert "invalid_request" == refusal(lambda: sessions.replay("s", "never"))
    with leases.acquire(claim()) as lease:
        save(leases, lease)
    table.delete_all(session_pk("s"), "turn#")
    assert "invalid_request" == refusal(lambda: sessions.replay("s", "r1"))


def test_another_turn_of_the_same_number(
    sessions: Sessions, leases: Leases, memory: Conversations, table: Table
) -> None:
    """After a clear the numbers begin again; words of another answer are not told for it."""
    with leases.acquire(claim()) as lease:
        save(leases, lease)
    with leases.acquire(claim(2)) as lease:
        assert 1 == sessions.clear(lease)
    other = memory.turn_item("s", turn())
    table.put({**other, "request_id": "r3"})

    assert "invalid_request" == refusal(lambda: sessions.replay("s", "r1"))


# history and whose it is


def test_history(sessions: Sessions, leases: Leases, monkeypatch: pytest.MonkeyPatch) -> None:
    """Oldest first, with what runs; what crashed is a turn like the others."""
    with leases.acquire(claim()) as lease:
        save(leases, lease)
    lease = leases_module.Lease("s", "r2", "token")
    assert leases._claim(claim(2), lease) is None

    assert ((turn(),), "r2") == sessions.history("s", "me", 5)
    expire(monkeypatch)
    turns, running = sessions.history("s", "me", 5)
    assert (["complete", "unfinished"], None) == ([turn.state for turn in turns], running)
    assert 1 == len(sessions.history("s", "me", 1)[0])


def test_of_another_principal(sessions: Sessions, leases: Leases) -> None:
    """Nothing of it is read, stopped or resumed, while it runs and after."""
    attempts: list[Callable[[], object]] = [
        lambda: sessions.history("s", "you", 5),
        lambda: sessions.stop("s", "you", "r1", 2000, soon()),
        lambda: sessions.stop("s", "you", None, 2000, soon()),
        lambda: sessions.attach_listener("s", "you", "r1", listener(), soon()),
    ]
    with leases.acquire(claim()) as lease:
        assert {"unauthorized"} == {refusal(attempt) for attempt in attempts}
        save(leases, lease)
    assert {"unauthorized"} == {refusal(attempt) for attempt in attempts}
