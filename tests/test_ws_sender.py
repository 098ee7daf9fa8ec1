import json
import time
from typing import Any

import pytest
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


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Makes the pauses short; how many there are stays the same."""
    for name in ("PATIENCE_SECONDS", "FIRST_PAUSE_SECONDS", "LONGEST_PAUSE_SECONDS"):
        monkeypatch.setattr(ws_sender, name, getattr(ws_sender, name) / 100)


def kinds(connections: ConnectionsEndpoint) -> list[tuple[str, int]]:
    return [(frame["type"], frame["seq"]) for frame in map(json.loads, connections.frames)]


def test_frames_arrive_in_order(sender: Sender, connections: ConnectionsEndpoint) -> None:
    """Each call posts its frames in turn, to the connection whose id it bears."""
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
    """What is too long for one frame takes several posts."""
    sender.send([TextDelta("x" * 70_000)])

    assert 3 == sender.delivery.posts
    assert 70_000 == sum(len(json.loads(frame)["text"]) for frame in connections.frames)


@pytest.mark.parametrize("end", [Done("end_turn"), Failed(ChatError("internal", "Sorry."))])
def test_nothing_follows_the_terminal_frame(
    sender: Sender, connections: ConnectionsEndpoint, end: Done | Failed
) -> None:
    """A second end, or a delta after the end, is a fault in the caller and is not posted."""
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
def test_final_refusals(
    sender: Sender, connections: ConnectionsEndpoint, status: int, delivery: str
) -> None:
    """What no retry can mend is tried once, is no exception, and ends the posting."""
    connections.answers = [200, status]
    sender.send([Start("s", "m")])
    sender.send([TextDelta("a"), Done("end_turn")])

    assert (delivery, True) == (sender.delivery.outcome, sender.is_undeliverable)
    assert 2 == sender.delivery.posts
    assert [("start", 0)] == kinds(connections)


@pytest.mark.usefixtures("quick")
@pytest.mark.parametrize("status", [429, 500, 502, 503, 0])
def test_passing_trouble(sender: Sender, connections: ConnectionsEndpoint, status: int) -> None:
    """Back-pressure and passing failures are waited out; the frame goes again, in its place."""
    connections.answers = [200, status, status, 200]
    sender.send([Start("s", "m")])
    sender.send([TextDelta("a"), Done("end_turn")])

    assert [("start", 0), ("delta", 1), ("done", 2)] == kinds(connections)
    assert (5, "ok") == (sender.delivery.posts, sender.delivery.outcome)


@pytest.mark.usefixtures("quick")
def test_patience_ends(sender: Sender, connections: ConnectionsEndpoint) -> None:
    """Who takes nothing for too long counts as gone, and is waited for once more at the end."""
    connections.answers = [429] * 1000
    sender.send([TextDelta("a")])
    tries = sender.delivery.posts
    sender.send([TextDelta("b")])

    assert ("status 429", True) == (sender.delivery.outcome, sender.is_undeliverable)
    assert 5 < tries < 30
    assert tries == sender.delivery.posts
    sender.send([Done("end_turn")])
    assert tries < sender.delivery.posts < 60
    assert [] == connections.frames


@pytest.mark.usefixtures("quick")
def test_back_pressure_that_passes_in_the_end(
    sender: Sender, connections: ConnectionsEndpoint, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What could not be posted for long is posted in its order, with what gathered behind it."""
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


@pytest.mark.usefixtures("quick")
def test_no_endpoint() -> None:
    """An endpoint that cannot be reached is no exception either."""
    nowhere = ConnectionsEndpoint(url="http://127.0.0.1:9")
    unreached = Sender(nowhere.poster(), "abc=", TextEncoder("r"), time.monotonic() + 60)
    unreached.post("a")

    assert ("EndpointConnectionError", True) == (
        unreached.delivery.outcome,
        unreached.is_undeliverable,
    )


def test_pauses_grow(
    sender: Sender, connections: ConnectionsEndpoint, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The pauses double with jitter, up to a bound, and stay within the patience."""
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


def test_a_format_for_people_has_pauses(
    connections: ConnectionsEndpoint, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Text leaves at once, and is given time to be read; nothing waits where nothing was posted."""
    slept: list[float] = []
    monkeypatch.setattr(time, "sleep", slept.append)
    reader = Sender(connections.poster(), "abc=", TextEncoder("r"), time.monotonic() + 60)
    reader.send([Start("s", "m")])
    reader.send([TextDelta("a")])
    reader.send([])
    reader.send([TextDelta("b")])
    reader.send([Done("end_turn")])

    assert ["a", "b"] == connections.frames
    assert [0.25, 0.25] == slept


def test_when_the_time_is_over_only_the_end_is_told(
    sender: Sender, connections: ConnectionsEndpoint
) -> None:
    """Posts that are too slow cost deltas, not the terminal frame, and leave no gap in `seq`."""
    connections.delay = 0.2
    sender._deadline = time.monotonic() + 0.3
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


def test_the_end_is_told_in_any_case(sender: Sender, connections: ConnectionsEndpoint) -> None:
    """Where Lambda's time is nearly over, the end goes before what is still to be told."""
    sender.log = EventLog([Start("s", "m"), TextDelta("a"), TextDelta("b")])
    sender._deadline = sender._backlog_deadline = time.monotonic()
    sender.attach("new=", EventsEncoder("r"), 0)
    sender.send([Done("deadline")])

    assert [("done", 3)] == kinds(connections)


def test_tries_do_not_outlast_the_time(sender: Sender, connections: ConnectionsEndpoint) -> None:
    """Waiting out back-pressure ends when the turn has to be saved."""
    connections.answers = [429] * 1000
    sender._deadline = time.monotonic() + 0.2
    sender.send([TextDelta("a")])

    assert "status 429" == sender.delivery.outcome
    assert sender.delivery.posts < 6


@pytest.mark.parametrize(
    ("post_ms", "posts"), [(1, 1001), (5, 1001), (15, 335), (50, 101), (150, 35)]
)
def test_posts_grow_fewer_as_they_grow_slower(post_ms: int, posts: int) -> None:
    """1,000 chunks, 5 ms apart: as many posts as fit in their time, each with all that gathered."""
    now = made = 0

    class Slow:
        def post(self, _connection_id: str, _body: bytes) -> int:
            nonlocal now, made
            now, made = now + post_ms, made + 1
            return 200

    slow: Any = Slow()
    reply = Sender(slow, "c=", EventsEncoder("r"), time.monotonic() + 60)
    arrivals = [5 * at for at in range(1000)]
    while arrivals:
        now = max(now, arrivals[0])
        batch = [at for at in arrivals if at <= now]
        del arrivals[: len(batch)]
        reply.send(TextDelta("w ") for _ in batch)
    reply.send([Done("end_turn")])

    assert posts - 1 <= made <= posts + 1
    assert made == reply.delivery.posts
    assert "w " * 1000 == "".join(i.text for i in reply.log.events if isinstance(i, TextDelta))


# another connection


def test_listening_elsewhere(sender: Sender, connections: ConnectionsEndpoint) -> None:
    """Whoever comes hears what is missing, in its places, and then what is new."""
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

    heard = [json.loads(frame) for frame in connections.frames]
    assert [1, 2, 3, 4] == [frame["seq"] for frame in heard]
    assert ["a", "b", "cde"] == [frame["text"] for frame in heard[:-1]]
    assert connections.paths[-1].endswith("/new=")


def test_what_nobody_heard_has_its_place(sender: Sender, connections: ConnectionsEndpoint) -> None:
    """What gathered for nobody is one frame, and counts before the turn is saved."""
    connections.answers = [410]
    sender.send([Start("s", "m")])
    for text in "abc":
        sender.send([TextDelta(text)])
    sender.assign_sequence()
    sender.send([Done("end_turn")])

    assert [Start("s", "m"), TextDelta("abc"), Done("end_turn")] == sender.log.events
    assert [] == connections.frames


@pytest.mark.parametrize(
    ("from_seq", "heard"), [(0, [0, 1, 2]), (1, [1, 2]), (2, [2]), (3, [3]), (9, [9])]
)
def test_an_answer_that_ended(
    sender: Sender, connections: ConnectionsEndpoint, from_seq: int, heard: list[int]
) -> None:
    """The rest of it; whoever has heard all of it, or more, hears the end again, in its place."""
    sender.log = EventLog([Start("s", "m"), TextDelta("a"), Done("end_turn")])
    sender.attach("new=", EventsEncoder("r"), from_seq)
    sender.send([])

    assert heard == [seq for _, seq in kinds(connections)]
    assert "done" == kinds(connections)[-1][0]


def test_formats_that_add_up(sender: Sender, connections: ConnectionsEndpoint) -> None:
    """The seed's frames hold all the text so far, also where the first of it is not told again."""
    sender.log = EventLog([Start("s", "m"), TextDelta("a"), TextDelta("b"), Done("end_turn")])
    sender.attach("new=", SeedEncoder("r"), 2)
    sender.send([])

    assert ["ab", "ab"] == [json.loads(frame)["msg"] for frame in connections.frames]


def test_much_to_tell_again(
    sender: Sender, connections: ConnectionsEndpoint, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A long answer is told again a piece at a time; what is new follows, and nothing is lost."""
    monkeypatch.setattr(ws_sender, "CATCH_UP_SECONDS", 0.05)
    connections.delay = 0.02
    sender.log = EventLog([Start("s", "m"), *(TextDelta(str(n)) for n in range(20))])
    sender.attach("new=", EventsEncoder("r"), 0)
    calls = 0
    while len(connections.frames) < 21:
        sender.send([TextDelta("x")] if calls < 2 else [])
        calls += 1

    assert calls > 3
    sender.send([Done("end_turn")])
    heard = [json.loads(frame) for frame in connections.frames]
    assert list(range(23)) == [frame["seq"] for frame in heard]
    assert "".join(str(n) for n in range(20)) + "xx" == "".join(f.get("text", "") for f in heard)


def test_nothing_is_told_again_when_the_time_is_over(
    sender: Sender, connections: ConnectionsEndpoint
) -> None:
    """There is a turn to be saved first; then the rest is told, with the end."""
    sender.log = EventLog([Start("s", "m"), TextDelta("a")])
    sender._deadline, sender._backlog_deadline = time.monotonic(), time.monotonic() + 60
    sender.attach("new=", EventsEncoder("r"), 0)
    sender.send([TextDelta("too late")])
    assert [] == connections.frames
    assert sender.truncated
    sender.send([Done("deadline")])

    assert [("start", 0), ("delta", 1), ("done", 2)] == kinds(connections)
