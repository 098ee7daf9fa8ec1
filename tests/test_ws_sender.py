import json
import time
from dataclasses import dataclass
from typing import Any

import pytest
from support.clocks import ShiftedClock
from support.closed_port import closed_port
from support.endpoints import ConnectionsEndpoint

import ws_sender
from errors import ChatError
from families.types import TextDelta
from wire.events import Done, Failed, Start
from wire.formats import EventsEncoder, SeedEncoder, TextEncoder
from ws_sender import EventLog, Sender


@pytest.fixture
def sender(connections: ConnectionsEndpoint) -> Sender:
    return Sender(connections.poster(), "abc=", EventsEncoder("r"), time.monotonic() + 60)


@dataclass
class SleepingClock:
    """A clock on which time passes only during a sleep."""

    now: float

    def monotonic(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.now += seconds


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> SleepingClock:
    """The sender's clock."""
    clock = SleepingClock(time.monotonic())
    monkeypatch.setattr(ws_sender, "time", clock)
    return clock


def kinds(connections: ConnectionsEndpoint) -> list[tuple[str, int]]:
    return [(frame["type"], frame["seq"]) for frame in map(json.loads, connections.frames)]


def test_frames_arrive_in_order(sender: Sender, connections: ConnectionsEndpoint) -> None:
    """Each call posts its frames in order, to the path of its connection."""
    sender.send([Start("s", "m")])
    sender.send([TextDelta("a"), TextDelta("b")])
    sender.send([])
    sender.send([TextDelta("c"), Done("end_turn")])

    assert [("start", 0), ("delta", 1), ("delta", 2), ("done", 3)] == kinds(connections)
    assert "ab" == json.loads(connections.frames[1])["text"]
    assert {"/prod/@connections/abc="} == set(connections.paths)
    assert (4, "ok", False) == (
        sender.delivery.posts,
        sender.delivery.outcome,
        sender.is_undeliverable,
    )


def test_long_text_is_split(sender: Sender, connections: ConnectionsEndpoint) -> None:
    """Text that exceeds one frame takes several posts."""
    sender.send([TextDelta("x" * 70_000)])

    assert 3 == sender.delivery.posts
    assert 70_000 == sum(len(json.loads(frame)["text"]) for frame in connections.frames)


@pytest.mark.parametrize("end", [Done("end_turn"), Failed(ChatError("internal", "Sorry."))])
def test_an_event_after_the_terminal_frame_raises(
    sender: Sender, connections: ConnectionsEndpoint, end: Done | Failed
) -> None:
    """A second terminal event, or a later delta, is a defect of the caller and is not posted."""
    sender.send([end])

    assert sender.log.ended
    with pytest.raises(RuntimeError):
        sender.send([TextDelta("late")])
    with pytest.raises(RuntimeError):
        sender.send([end])
    assert 1 == len(connections.frames)


@pytest.mark.parametrize(
    ("status", "delivery"),
    [(410, "gone"), (403, "forbidden"), (413, "too large"), (400, "refused")],
)
def test_a_final_status_ends_the_posting_without_a_retry(
    sender: Sender, connections: ConnectionsEndpoint, status: int, delivery: str
) -> None:
    """A status that no retry can change is a delivery state, not an exception."""
    connections.answers = [200, status]
    sender.send([Start("s", "m")])
    sender.send([TextDelta("a"), Done("end_turn")])

    assert (delivery, True) == (sender.delivery.outcome, sender.is_undeliverable)
    assert 2 == sender.delivery.posts
    assert [("start", 0)] == kinds(connections)


@pytest.mark.usefixtures("clock")
@pytest.mark.parametrize("status", [429, 500, 502, 503, 0])
def test_a_temporary_failure_is_retried_in_order(
    sender: Sender, connections: ConnectionsEndpoint, status: int
) -> None:
    """After back-pressure or a temporary failure, the same frame is posted before any other."""
    connections.answers = [200, status, status, 200]
    sender.send([Start("s", "m")])
    sender.send([TextDelta("a"), Done("end_turn")])

    assert [("start", 0), ("delta", 1), ("done", 2)] == kinds(connections)
    assert (5, "ok") == (sender.delivery.posts, sender.delivery.outcome)


@pytest.mark.usefixtures("clock")
def test_a_connection_that_fails_for_long_is_unreachable(
    sender: Sender, connections: ConnectionsEndpoint
) -> None:
    """Retries stop after `PATIENCE_SECONDS`, and are resumed once for the terminal frame."""
    connections.answers = [429] * 1000
    sender.send([TextDelta("a")])
    attempts = sender.delivery.posts
    sender.send([TextDelta("b")])

    assert ("status 429", True) == (sender.delivery.outcome, sender.is_undeliverable)
    assert 5 < attempts < 30
    assert attempts == sender.delivery.posts
    sender.send([Done("end_turn")])
    assert attempts < sender.delivery.posts < 60
    assert [] == connections.frames


@pytest.mark.usefixtures("clock")
def test_frames_are_posted_in_order_once_back_pressure_ends(
    sender: Sender, connections: ConnectionsEndpoint, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The delayed frame comes first, then the deltas that arrived meanwhile, as one frame."""
    connections.answers = [200] + [429] * 1000
    sender.send([Start("s", "m")])
    sender.send([TextDelta("a")])
    for text in "bcd":
        sender.send([TextDelta(text)])
    assert sender.is_undeliverable
    connections.answers = []
    monkeypatch.setattr(ws_sender, "RETRY_UNREACHABLE_SECONDS", 0.0)
    sender.delivery._retry_at = 0.0
    sender.send([])
    sender.send([Done("end_turn")])

    assert [("start", 0), ("delta", 1), ("delta", 2), ("done", 3)] == kinds(connections)
    assert "bcd" == json.loads(connections.frames[2])["text"]


@pytest.mark.usefixtures("clock")
def test_an_unreachable_endpoint_is_a_state_and_no_exception() -> None:
    with closed_port() as port:
        endpoint = ConnectionsEndpoint(url=f"http://127.0.0.1:{port}")
        sender = Sender(endpoint.poster(), "abc=", TextEncoder("r"), time.monotonic() + 60)
        sender.post("a")

    assert ("EndpointConnectionError", True) == (
        sender.delivery.outcome,
        sender.is_undeliverable,
    )


def test_pauses_double_up_to_a_bound(
    sender: Sender, connections: ConnectionsEndpoint, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With jitter; their sum stays within `PATIENCE_SECONDS`."""
    pauses: list[float] = []
    now = [0.0]

    def sleep(seconds: float) -> None:
        pauses.append(seconds)
        now[0] += seconds

    monkeypatch.setattr(time, "sleep", sleep)
    monkeypatch.setattr(time, "monotonic", lambda: now[0])
    connections.answers = [429] * 1000
    sender.post("a")

    expected = [0.05, 0.1, 0.2, 0.4, 0.8, 1.0]
    assert all(0.5 * e <= p <= e for e, p in zip(expected, pauses, strict=False))
    assert max(pauses) <= 1.0
    assert 3.0 < sum(pauses) <= 5.0


def test_the_text_format_pauses_after_each_post(
    connections: ConnectionsEndpoint, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Text is posted at once, followed by a pause for the reader; without a post there is none."""
    slept: list[float] = []
    monkeypatch.setattr(time, "sleep", slept.append)
    sender = Sender(connections.poster(), "abc=", TextEncoder("r"), time.monotonic() + 60)
    sender.send([Start("s", "m")])
    sender.send([TextDelta("a")])
    sender.send([])
    sender.send([TextDelta("b")])
    sender.send([Done("end_turn")])

    assert ["a", "b"] == connections.frames
    assert [0.25, 0.25] == slept


def test_after_the_deadline_only_the_terminal_frame_is_posted(
    sender: Sender, connections: ConnectionsEndpoint, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Slow posts cause the loss of deltas, never of the terminal frame, and no gap in `seq`."""
    clock = ShiftedClock(monkeypatch)
    connections.on_post = lambda _: clock.advance(20.0)
    sender._deadline = time.monotonic() + 30.0
    sender.send([Start("s", "m")])
    sender.send([TextDelta("a" * 40_000)])
    assert sender.truncated
    posts = sender.delivery.posts
    sender.send([TextDelta("b")])
    assert posts == sender.delivery.posts
    sender.send([Done("deadline")])

    assert "ok" == sender.delivery.outcome
    assert "done" == json.loads(connections.frames[-1])["type"]
    assert list(range(posts + 1)) == [seq for _, seq in kinds(connections)]
    assert sum(len(json.loads(f).get("text", "")) for f in connections.frames) < 40_000


def test_the_terminal_frame_precedes_a_replay_when_lambda_is_about_to_end(
    sender: Sender, connections: ConnectionsEndpoint
) -> None:
    """The terminal frame is posted in any case; the replay is omitted."""
    sender.log = EventLog([Start("s", "m"), TextDelta("a"), TextDelta("b")])
    sender._deadline = sender._backlog_deadline = time.monotonic()
    sender.attach("new=", EventsEncoder("r"), 0)
    sender.send([Done("deadline")])

    assert [("done", 3)] == kinds(connections)


def test_retries_end_at_the_deadline(
    sender: Sender, connections: ConnectionsEndpoint, clock: SleepingClock
) -> None:
    """The turn has to be saved then."""
    connections.answers = [429] * 1000
    sender._deadline = clock.now + 0.2
    sender.send([TextDelta("a")])

    assert "status 429" == sender.delivery.outcome
    assert 2 < sender.delivery.posts < 6


@pytest.mark.parametrize(
    ("post_ms", "posts"), [(1, 1001), (5, 1001), (15, 335), (50, 101), (150, 35)]
)
def test_slower_posts_carry_more_deltas(post_ms: int, posts: int) -> None:
    """1,000 chunks, 5 ms apart: a post carries all that arrived during the last one."""
    now = made = 0

    class SlowPoster:
        def post(self, _connection_id: str, _body: bytes) -> int:
            nonlocal now, made
            now, made = now + post_ms, made + 1
            return 200

    poster: Any = SlowPoster()
    sender = Sender(poster, "c=", EventsEncoder("r"), time.monotonic() + 60)
    arrivals = [5 * at for at in range(1000)]
    while arrivals:
        now = max(now, arrivals[0])
        batch = [at for at in arrivals if at <= now]
        del arrivals[: len(batch)]
        sender.send(TextDelta("w ") for _ in batch)
    sender.send([Done("end_turn")])

    assert posts - 1 <= made <= posts + 1
    assert made == sender.delivery.posts
    assert "w " * 1000 == "".join(i.text for i in sender.log.events if isinstance(i, TextDelta))


# -- another connection ---------------------------------------------------------------------------


def test_an_attached_connection_gets_the_missing_frames_and_the_next(
    sender: Sender, connections: ConnectionsEndpoint
) -> None:
    """The frames that it lacks keep their `seq`."""
    connections.answers = [200, 200, 410]
    sender.send([Start("s", "m")])
    sender.send([TextDelta("a")])
    sender.send([TextDelta("b")])
    for text in "cde":
        sender.send([TextDelta(text)])
    assert sender.is_undeliverable
    connections.frames.clear()

    sender.attach("new=", EventsEncoder("r"), 1)
    sender.send([Done("end_turn")])

    frames = [json.loads(frame) for frame in connections.frames]
    assert [1, 2, 3, 4] == [frame["seq"] for frame in frames]
    assert ["a", "b", "cde"] == [frame["text"] for frame in frames[:-1]]
    assert connections.paths[-1].endswith("/new=")


def test_undelivered_events_get_a_sequence_number(
    sender: Sender, connections: ConnectionsEndpoint
) -> None:
    """Deltas that gathered without a client are one event, numbered before the turn is saved."""
    connections.answers = [410]
    sender.send([Start("s", "m")])
    for text in "abc":
        sender.send([TextDelta(text)])
    sender.assign_sequence()
    sender.send([Done("end_turn")])

    assert [Start("s", "m"), TextDelta("abc"), Done("end_turn")] == sender.log.events
    assert [] == connections.frames


@pytest.mark.parametrize(
    ("from_seq", "expected"), [(0, [0, 1, 2]), (1, [1, 2]), (2, [2]), (3, [3]), (9, [9])]
)
def test_an_ended_answer_is_replayed_from_the_requested_seq(
    sender: Sender, connections: ConnectionsEndpoint, from_seq: int, expected: list[int]
) -> None:
    """A client that has all frames gets the terminal frame again, with the requested `seq`."""
    sender.log = EventLog([Start("s", "m"), TextDelta("a"), Done("end_turn")])
    sender.attach("new=", EventsEncoder("r"), from_seq)
    sender.send([])

    assert expected == [seq for _, seq in kinds(connections)]
    assert "done" == kinds(connections)[-1][0]


def test_a_cumulative_format_includes_the_text_before_the_replay(
    sender: Sender, connections: ConnectionsEndpoint
) -> None:
    """The seed's frames have all the text so far, even if its first frames are not replayed."""
    sender.log = EventLog([Start("s", "m"), TextDelta("a"), TextDelta("b"), Done("end_turn")])
    sender.attach("new=", SeedEncoder("r"), 2)
    sender.send([])

    assert ["ab", "ab"] == [json.loads(frame)["msg"] for frame in connections.frames]


def test_a_long_replay_is_interrupted_and_completed(
    sender: Sender, connections: ConnectionsEndpoint, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each call replays for `CATCH_UP_SECONDS`; new events follow, and none is lost."""
    clock = ShiftedClock(monkeypatch)
    connections.on_post = lambda _: clock.advance(0.25)  # four of them in each call
    sender.log = EventLog([Start("s", "m"), *(TextDelta(str(n)) for n in range(20))])
    sender.attach("new=", EventsEncoder("r"), 0)
    calls = 0
    while len(connections.frames) < 21:
        sender.send([TextDelta("x")] if calls < 2 else [])
        calls += 1

    assert 6 <= calls
    sender.send([Done("end_turn")])
    frames = [json.loads(frame) for frame in connections.frames]
    assert list(range(23)) == [frame["seq"] for frame in frames]
    assert "".join(str(n) for n in range(20)) + "xx" == "".join(f.get("text", "") for f in frames)


def test_nothing_is_replayed_between_the_deadline_and_the_terminal_frame(
    sender: Sender, connections: ConnectionsEndpoint
) -> None:
    """The turn is saved first; then the missing frames are posted, with the terminal one."""
    sender.log = EventLog([Start("s", "m"), TextDelta("a")])
    sender._deadline, sender._backlog_deadline = time.monotonic(), time.monotonic() + 60
    sender.attach("new=", EventsEncoder("r"), 0)
    sender.send([TextDelta("too late")])
    assert [] == connections.frames
    assert sender.truncated
    sender.send([Done("deadline")])

    assert [("start", 0), ("delta", 1), ("done", 2)] == kinds(connections)
