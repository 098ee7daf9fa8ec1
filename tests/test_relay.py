"""`relay` and `TurnSession`, with a scripted stream, scripted leases and a clock set by hand."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import pytest

import bedrock_stream
import relay as relay_module
from bedrock_stream import RetryNotice
from errors import ChatError
from families.types import Message, Prompt, ReasoningDelta, Stopped, TextDelta, Usage
from memory import Turn
from relay import Answer, StreamOptions, TurnSession, relay
from store.leases import POLL_SECONDS, RENEW_SECONDS, Lease, LeaseStatus, Listener
from wire.events import Done, Failed, Latency, Start
from wire.formats import EventsEncoder
from ws_sender import DeliveryState, Sender

PROMPT = Prompt(system="", messages=(Message("user", "q"),), max_tokens=10)
LEASE = Lease("s", "r", "token")
TURN = Turn(
    number=1, request_id="r", user="q", assistant="a", state="complete", tokens=1, created_at=1
)
WHOLE = [[TextDelta("a")], [Usage(output_tokens=1), Stopped("end_turn")]]


def listener(number: int = 1, from_seq: int = 0) -> Listener:
    return Listener(f"resume{number}", number, f"tab{number}=", "events", from_seq)


@dataclass
class Clock:
    now: float = 1000.0

    def monotonic(self) -> float:
        return self.now


@dataclass
class PosterStub:
    """Keeps what is posted, by connection; `status` is the answer to each."""

    status: int = 200
    frames: list[tuple[str, dict[str, Any]]] = field(default_factory=list)

    def post(self, connection_id: str, body: bytes) -> int:
        self.frames.append((connection_id, json.loads(body)))
        return self.status

    def at(self, connection_id: str) -> list[tuple[str, int]]:
        return [(f["type"], f["seq"]) for where, f in self.frames if where == connection_id]


@dataclass
class LeasesStub:
    """Answers each read with the next status, then with an empty one; keeps every call."""

    statuses: list[LeaseStatus | ChatError] = field(default_factory=list)
    late: list[Listener] = field(default_factory=list)
    calls: list[str] = field(default_factory=list)
    renewals: list[tuple[str, str, str]] = field(default_factory=list)
    saves: list[str | None] = field(default_factory=list)

    def _status(self) -> LeaseStatus:
        status = self.statuses.pop(0) if self.statuses else LeaseStatus()
        if isinstance(status, ChatError):
            raise status
        return status

    def poll(self, _lease: Lease) -> LeaseStatus:
        self.calls.append("poll")
        return self._status()

    def renew(
        self, _lease: Lease, acked: str, answer: str, reasoning: str, _transcript: Any
    ) -> LeaseStatus:
        self.calls.append("renew")
        self.renewals.append((acked, answer, reasoning))
        return LeaseStatus() if self.calls[-2:-1] == ["poll"] else self._status()

    def save(
        self, _lease: Lease, _turn: Turn, _transcript: Any, acked: str | None, _deadline: float
    ) -> Listener | None:
        self.calls.append("save")
        self.saves.append(acked)
        return self.late.pop(0) if self.late and acked is not None else None


@dataclass
class Scene:
    """A turn that runs: its parts, and the stream that `batches` scripts."""

    clock: Clock
    poster: PosterStub
    leases: LeasesStub
    session: TurnSession
    batches: list[Any] = field(default_factory=list)
    closed: bool = False

    def run(self, *, show_reasoning: bool = False, cancel: bool = False) -> Answer:
        options = StreamOptions(self.clock.now + 600, show_reasoning, cancel)
        start = Start("s", "m")
        model: Any = None
        return relay(model, PROMPT, start, self.session, options)


@pytest.fixture
def scene(monkeypatch: pytest.MonkeyPatch) -> Scene:
    clock, poster, leases = Clock(), PosterStub(), LeasesStub()
    monkeypatch.setattr(relay_module, "time", clock)
    deadline = 10.0**9  # of the sender's own clock, which runs
    typed: Any = leases
    sender = Sender(poster, "c=", EventsEncoder("r"), deadline)
    scene = Scene(clock, poster, leases, TurnSession(sender, typed, LEASE, clock.now))

    @contextmanager
    def open_stream(*_: Any) -> Iterator[Iterator[list[Any]]]:
        def batches() -> Iterator[list[Any]]:
            for batch in scene.batches:
                if isinstance(batch, Exception):
                    raise batch
                if isinstance(batch, float):
                    clock.now += batch
                    continue
                yield batch

        yield batches()
        scene.closed = True

    monkeypatch.setattr(bedrock_stream, "open_stream", open_stream)
    return scene


# what comes of a stream


def test_an_answer_that_ends_by_itself(scene: Scene) -> None:
    """Text, usage, reason and times are those of the stream; every event was posted in order."""
    scene.batches = [
        0.1,
        [TextDelta("a"), TextDelta("b")],
        0.2,
        [Usage(input_tokens=3, output_tokens=2), Stopped("end_turn")],
    ]

    answer = scene.run()

    usage = Usage(input_tokens=3, output_tokens=2)
    latency = Latency(first_token=100, total=300)
    assert Done("end_turn", usage, latency, "m") == answer.end
    assert ("ab", "complete", 100, 2, 0) == (
        answer.text,
        answer.state,
        answer.wait_ms,
        answer.deltas,
        answer.retries,
    )
    assert ("end_turn", False) == (answer.stop_reason, answer.was_rejected)
    assert [("start", 0), ("delta", 1)] == scene.poster.at("c=")


def test_the_wait_for_bedrock_is_counted_from_the_call(scene: Scene) -> None:
    """`first_token` counts from the event's arrival, `wait_ms` from the call to the model."""
    scene.clock.now += 2.0
    scene.batches = [0.5, *WHOLE]

    answer = scene.run()

    assert Latency(first_token=2500, total=2500) == answer.latency_ms
    assert 500 == answer.wait_ms


def test_first_token_is_the_first_and_stays(scene: Scene) -> None:
    """Later deltas do not move it, reasoning is not text."""
    scene.batches = [0.1, [ReasoningDelta("x")], 0.1, [TextDelta("a")], 0.1, [TextDelta("b")]]

    assert 200 == scene.run().latency_ms.first_token


def test_reasoning_is_kept_and_posted_only_where_it_is_shown(scene: Scene) -> None:
    """Hidden reasoning is part of the `Answer`, and no delta."""
    scene.batches = [[ReasoningDelta("x"), TextDelta("a")], *WHOLE]

    answer = scene.run()

    assert ("x", 2) == (answer.reasoning, answer.deltas)
    assert "reasoning" not in [kind for kind, _ in scene.poster.at("c=")]


def test_shown_reasoning_is_posted(scene: Scene) -> None:
    scene.batches = [[ReasoningDelta("x")], *WHOLE]

    assert 2 == scene.run(show_reasoning=True).deltas
    assert [("start", 0), ("reasoning", 1), ("delta", 2)] == scene.poster.at("c=")


def test_usage_adds_up_over_the_stream(scene: Scene) -> None:
    """A later count replaces an earlier one of the same kind, and no other."""
    scene.batches = [[Usage(input_tokens=3)], [Usage(output_tokens=2), Stopped("end_turn")]]

    assert Usage(input_tokens=3, output_tokens=2) == scene.run().usage


def test_retries_are_counted_and_not_posted(scene: Scene) -> None:
    scene.batches = [[RetryNotice()], [RetryNotice()], *WHOLE]

    answer = scene.run()

    assert (2, 1) == (answer.retries, answer.deltas)


def test_a_failure_is_the_end_and_keeps_the_text(scene: Scene) -> None:
    """What came before it stays, and was paid for."""
    failure = ChatError("model_error", "Cut.")
    scene.batches = [[TextDelta("a")], failure]

    answer = scene.run()

    assert isinstance(answer.end, Failed)
    assert failure is answer.end.error
    assert ("a", "error", "", False) == (
        answer.text,
        answer.state,
        answer.stop_reason,
        answer.was_rejected,
    )


@pytest.mark.parametrize(
    ("batch", "rejected"),
    [
        ([], True),
        ([RetryNotice()], True),
        ([TextDelta("a")], False),
        ([ReasoningDelta("x")], False),
        ([Usage(input_tokens=1)], False),
    ],
)
def test_only_a_failure_before_any_output_is_free(
    scene: Scene, batch: list[Any], rejected: bool
) -> None:
    """A call that was refused is not charged; one that came to text, reasoning or usage is."""
    scene.batches = [batch, ChatError("model_error", "No.")]

    assert rejected == scene.run().was_rejected


def test_an_answer_without_output_that_ended_well_is_charged(scene: Scene) -> None:
    """Only a failure can be free: a model that says nothing was called."""
    scene.batches = [[Stopped("end_turn")]]

    answer = scene.run()

    assert ("complete", False) == (answer.state, answer.was_rejected)


def test_the_deadline_before_any_text_is_a_failure(scene: Scene) -> None:
    scene.batches = [[Stopped("deadline")]]

    answer = scene.run()

    assert isinstance(answer.end, Failed)
    assert ("deadline", "deadline") == (answer.end.error.code, answer.state)


def test_the_deadline_after_text_is_a_reason(scene: Scene) -> None:
    scene.batches = [[TextDelta("a")], [Stopped("deadline")]]

    answer = scene.run()

    assert ("deadline", "deadline", "a") == (answer.stop_reason, answer.state, answer.text)


def test_an_answer_that_was_not_all_sent_ends_in_deadline(scene: Scene) -> None:
    """The model's own end does not count where deltas were dropped."""
    scene.batches = WHOLE
    scene.session.sender.truncated = True

    assert "deadline" == scene.run().stop_reason


def test_a_failure_stays_one_where_deltas_were_dropped(scene: Scene) -> None:
    scene.batches = [[TextDelta("a")], ChatError("model_error", "Cut.")]
    scene.session.sender.truncated = True

    assert "error" == scene.run().state


# while it streams: reading the session's head


def test_a_stop_ends_the_stream_at_once(scene: Scene) -> None:
    """The rest is not waited for, and the call is cancelled."""
    scene.leases.statuses = [LeaseStatus(stop=True)]
    scene.batches = [[TextDelta("a")], POLL_SECONDS, [TextDelta("b")], [TextDelta("never")]]

    answer = scene.run()

    assert ("stopped", "stopped", "ab") == (answer.stop_reason, answer.state, answer.text)
    assert scene.closed


def test_a_stop_after_the_models_own_end_changes_nothing(scene: Scene) -> None:
    scene.leases.statuses = [LeaseStatus(stop=True)]
    scene.batches = [POLL_SECONDS, [TextDelta("a"), Stopped("end_turn")]]

    assert "end_turn" == scene.run().stop_reason
    assert [] == scene.leases.calls


def test_the_head_is_read_once_a_second_however_many_batches_come(scene: Scene) -> None:
    """A hundred batches in two and a half seconds cost two reads."""
    scene.batches = [each for _ in range(100) for each in (0.025, [TextDelta("a")])] + WHOLE

    scene.run()

    assert ["poll", "poll"] == scene.leases.calls


def test_the_lease_is_renewed_in_time_with_the_answer_so_far(scene: Scene) -> None:
    """After RENEW_SECONDS one read renews; those before and after it only read."""
    seconds = int(RENEW_SECONDS) + 2
    scene.batches = [
        [ReasoningDelta("x")],
        *(each for _ in range(seconds) for each in (POLL_SECONDS, [TextDelta("a")])),
        *WHOLE,
    ]

    scene.run(show_reasoning=True)

    expected = ["poll"] * (int(RENEW_SECONDS) - 1) + ["renew"] + ["poll"] * 2
    assert expected == scene.leases.calls
    assert [("", "a" * int(RENEW_SECONDS), "x")] == scene.leases.renewals


def test_a_lost_lease_ends_the_answer_as_a_failure(scene: Scene) -> None:
    """Another request has the session: nothing of this one may be saved."""
    scene.leases.statuses = [LeaseStatus(lost=True)]
    scene.batches = [[TextDelta("a")], POLL_SECONDS, [TextDelta("b")], [TextDelta("never")]]

    answer = scene.run()

    assert isinstance(answer.end, Failed)
    assert ("internal", "lease lost") == (answer.end.error.code, answer.end.error.cause)
    assert "ab" == answer.text


def test_a_failed_read_ends_nothing(scene: Scene, capsys: pytest.CaptureFixture[str]) -> None:
    """It is logged, and the next one counts."""
    scene.leases.statuses = [ChatError("throttled", "Busy."), LeaseStatus(stop=True)]
    scene.batches = [each for text in "abcd" for each in (POLL_SECONDS, [TextDelta(text)])] + WHOLE

    answer = scene.run()

    assert ("ab", "stopped") == (answer.text, answer.state)
    line = json.loads(capsys.readouterr().out)
    assert ("WARN", "session.poll_failed", "throttled") == tuple(
        line[name] for name in ("level", "event", "code")
    )


# while it streams: another connection listens


def test_a_resuming_connection_gets_what_it_lacks_and_all_that_follows(scene: Scene) -> None:
    """It is acknowledged first, then it is sent the frames from its `from_seq` on."""
    scene.leases.statuses = [LeaseStatus(listener=listener(from_seq=1))]
    scene.batches = [[TextDelta("a")], POLL_SECONDS, [TextDelta("b")], [TextDelta("c")], *WHOLE]

    scene.run()

    assert ["poll", "renew"] == scene.leases.calls
    assert [("resume1", "ab", "")] == scene.leases.renewals
    assert [("start", 0), ("delta", 1), ("delta", 2)] == scene.poster.at("c=")
    assert [("delta", 1), ("delta", 2), ("delta", 3), ("delta", 4)] == scene.poster.at("tab1=")


def test_a_listener_is_switched_to_once(scene: Scene) -> None:
    """The head names it until another comes; it is not sent everything again each second."""
    scene.leases.statuses = [LeaseStatus(listener=listener()), LeaseStatus(listener=listener())]
    scene.batches = [
        [TextDelta("a")], POLL_SECONDS, [TextDelta("b")], POLL_SECONDS, [TextDelta("c")], *WHOLE
    ]  # fmt: skip

    scene.run()

    assert ["poll", "renew", "poll"] == scene.leases.calls
    assert list(range(5)) == [seq for _, seq in scene.poster.at("tab1=")]


def test_a_renewal_names_the_listener_that_was_switched_to(scene: Scene) -> None:
    """Else the resuming request would wait for an acknowledgement that was overwritten."""
    scene.leases.statuses = [LeaseStatus(listener=listener())]
    seconds = int(RENEW_SECONDS) + 1
    scene.batches = [
        each for _ in range(seconds) for each in (POLL_SECONDS, [TextDelta("a")])
    ] + WHOLE

    scene.run()

    assert ["resume1", "resume1"] == [acked for acked, _, _ in scene.leases.renewals]


def test_a_client_that_is_gone_cancels_only_where_that_is_chosen(scene: Scene) -> None:
    """By default the answer is finished for the history."""
    scene.poster.status = 410
    scene.batches = [[TextDelta("a")], [TextDelta("b")], *WHOLE]

    answer = scene.run()

    assert ("complete", "aba") == (answer.state, answer.text)


def test_a_client_that_is_gone_can_cancel(scene: Scene) -> None:
    scene.poster.status = 410
    scene.batches = [[TextDelta("a")], [TextDelta("never")], *WHOLE]

    answer = scene.run(cancel=True)

    assert ("disconnected", "a") == (answer.state, answer.text)
    assert DeliveryState.GONE is scene.session.sender.delivery.state


# the save


def test_the_save_names_the_listener_that_is_served(scene: Scene) -> None:
    scene.session.switch_listener(listener())

    scene.session.save(TURN, Done("end_turn"), 1.0)

    assert ["resume1"] == scene.leases.saves


def test_a_listener_that_comes_before_the_save_gets_the_end(scene: Scene) -> None:
    """The save that found it wrote nothing; the next one is for it."""
    scene.batches = WHOLE
    answer = scene.run()
    scene.leases.late = [listener(1), listener(2)]

    scene.session.save(TURN, answer.end, 1.0)
    scene.session.sender.send([answer.end])

    assert ["", "resume1", "resume2"] == scene.leases.saves
    assert [("start", 0), ("delta", 1), ("done", 2)] == scene.poster.at("tab2=")


def test_listeners_that_never_cease_do_not_hold_up_the_save(scene: Scene) -> None:
    """After five of them the turn is saved for any."""
    scene.leases.late = [listener(number) for number in range(100)]

    scene.session.save(TURN, Done("end_turn"), 1.0)

    assert 5 + 1 == len(scene.leases.saves)
    assert scene.leases.saves[-1] is None


# what must not cost an answer


def test_a_fault_of_our_own_is_the_end_and_keeps_the_text(scene: Scene) -> None:
    """Whatever fails while it streams, what was received is saved with its turn."""
    scene.batches = [[TextDelta("a")], ZeroDivisionError()]

    answer = scene.run()

    assert isinstance(answer.end, Failed)
    assert ("a", "error", "internal") == (answer.text, answer.state, answer.end.error.code)
    assert answer.end.error.cause.startswith("ZeroDivisionError at ")


def test_a_listener_of_an_unknown_format_gets_the_default(scene: Scene) -> None:
    """During a rollout a newer version may have stored a format that this one does not have."""
    newer = Listener("resume1", 1, "tab1=", "markdown", 0)
    scene.leases.statuses = [LeaseStatus(listener=newer)]
    scene.batches = [[TextDelta("a")], POLL_SECONDS, [TextDelta("b")], *WHOLE]

    assert "complete" == scene.run().state
    assert [("start", 0), ("delta", 1), ("delta", 2), ("delta", 3)] == scene.poster.at("tab1=")
