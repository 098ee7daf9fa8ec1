"""A model of one session: its requests, the turns that must be stored, and the frames delivered.

`SessionModel` delivers events and checks each outcome; `test_sequences` chooses the events. The
checks are exact wherever the outcome is determined. Only how much of an answer was stored before
its Lambda crashed is read from the table, and must be a beginning of the model's words.
"""

import json
from collections import Counter
from dataclasses import dataclass, field
from typing import Any

from support.controlled_bedrock import INPUT_TOKENS, ControlledAnswer
from support.e2e_clients import text
from support.lambda_environments import ANY_STEP, Environment, Frame, Step, World, wait_until

from local.bedrock.pieces import Fault
from store import leases
from store.conversations import session_key
from turn import CONTINUE

EXPIRY_MS = int((leases.LEASE_SECONDS + leases.CLOCK_SKEW_SECONDS) * 1000)

# Where a Lambda can be killed while it answers, and the status of the request after that: it was
# never acquired, an unfinished turn will be made of it, or its turn was saved.
KILL_STEPS: dict[Step, str] = {
    ("acquire", "before"): "lost",
    ("acquire", "after"): "crashed",
    ("history", "before"): "crashed",
    ("start", "before"): "crashed",
    ("start", "after"): "crashed",
    ("delta", "before"): "crashed",
    ("delta", "after"): "crashed",
    ("save", "before"): "crashed",
    ("save", "after"): "ended",
    ("end", "before"): "ended",
    ("end", "after"): "ended",
}
# How an answer ends: what the model does, the turn's state, and whether it can be continued.
ENDINGS: dict[str, tuple[dict[str, Any], str, bool]] = {
    "complete": ({}, "complete", False),
    "length": ({"stop_reason": "length"}, "complete", True),
    "truncated": ({"fault": Fault("truncate")}, "error", True),
    "failed": ({"fault": Fault("modelStreamErrorException")}, "error", True),
}


@dataclass(eq=False)
class Request:
    """One question. `status`: new, lost, running, crashed, refused or ended.

    `environment` is the Lambda that acquired it, `listener` the connection that gets its frames
    now, beginning with `from_seq`; `frames` are all its frames, once all were delivered.
    `cleared`: its turn was deleted. `used_before`: the tokens used of the budget before it was
    acquired.
    """

    id: str
    question: str
    words: tuple[str, ...]
    ending: str
    listener: str = ""
    from_seq: int = 0
    status: str = "new"
    environment: Environment | None = None
    frames: list[Frame] = field(default_factory=list)
    cleared: bool = False
    used_before: int = 0

    @property
    def running_in(self) -> Environment:
        assert self.environment is not None
        return self.environment


@dataclass(frozen=True)
class ExpectedTurn:
    """A turn that must be stored. `incomplete`: it can be continued."""

    request_id: str
    question: str
    state: str
    text: str
    incomplete: bool

    @property
    def row(self) -> tuple[str, ...]:
        return self.request_id, self.question, self.state, self.text


def is_terminal(frame: Frame) -> bool:
    return frame["type"] in ("done", "error")


def assert_consecutive(frames: list[Frame], from_seq: int = 0) -> None:
    """From `from_seq` without a gap, and nothing after a terminal frame."""
    assert list(range(from_seq, from_seq + len(frames))) == [frame["seq"] for frame in frames]
    assert not any(is_terminal(frame) for frame in frames[:-1])


class SessionModel:
    """One session of one client with two connections.

    `holder` is the request that has the session's lease, running or crashed (`crashed_at`, ms);
    `frozen` is one whose Lambda was stopped for longer than its lease.
    `delivered` are all events with the requests that they ask. `subscriptions` counts how often
    each connection asked for the frames of each request.
    """

    def __init__(self, world: World, requests: int, tokens: int) -> None:
        world.reset(requests, tokens)
        self.world = world
        self.app = world.services(lambda _name, call: call(), "test", [])
        self.session = world.unique("session")
        self.requests: list[Request] = []
        self.turns: list[ExpectedTurn] = []
        self.holder: Request | None = None
        self.crashed_at = 0
        self.frozen: Request | None = None
        self.acquired_count = 0
        self.delivered: list[tuple[Any, Request | None]] = []
        self.subscriptions: Counter[tuple[str, str]] = Counter()
        self.connections = [self.connect(), self.connect()]

    @property
    def running(self) -> Request | None:
        """The request whose answer is streaming, if any."""
        return self.holder if self.holder and self.holder.status == "running" else None

    # -- events

    def connect(self) -> str:
        connection_id = self.world.unique("c")
        query = {"session_id": self.session}
        self.run(self.event("CONNECT", connection_id, queryStringParameters=query))
        self.world.open_connections.add(connection_id)
        return connection_id

    def event(self, kind: str, connection_id: str, **more: Any) -> Any:
        context = {
            "eventType": kind,
            "connectionId": connection_id,
            "requestId": self.world.unique("event"),
            "domainName": "example.com",
            "apiId": "a",
            "stage": "prod",
            "identity": {"sourceIp": "192.0.2.1"},
        }
        return {"requestContext": context, **more}

    def message(self, tab: int, frame: Frame, asks: Request | None = None) -> Any:
        event = self.event("MESSAGE", self.connections[tab], body=json.dumps(frame))
        self.delivered.append((event, asks))
        return event

    def environment(
        self, event: Any, request: Request | None = None, allowed: int = 0
    ) -> Environment:
        """A Lambda for the event. If it answers `request`, it may send so many words."""
        if request is None:
            return Environment(self.world, event, ControlledAnswer((), 0))
        behaviour, _, _ = ENDINGS[request.ending]
        return Environment(self.world, event, ControlledAnswer(request.words, allowed, **behaviour))

    def run(self, event: Any, copies: int = 1, kill_at: Step | None = None) -> list[Environment]:
        """Delivers an event that needs no model, `copies` times at once, and waits for the end."""
        environments = [self.environment(event) for _ in range(copies)]
        for each in environments:
            each.kill_at = kill_at
            each.start()
        wait_until(lambda: all(each.finished() for each in environments))
        assert not any(each.answer.requests for each in environments)
        return environments

    def run_silently(self, event: Any, copies: int = 1) -> None:
        """Delivers an event that must post nothing."""
        assert [] == [post for each in self.run(event, copies) for post in each.posts]

    def assert_refused(
        self, environments: list[Environment], connection_id: str, code: str
    ) -> None:
        """One error with that code, however often the event was delivered."""
        (frame,) = [frame for each in environments for frame in each.frames(connection_id)]
        assert ("error", code, 0) == (frame["type"], frame["code"], frame["seq"])

    # -- questions

    def request(self, words: int, ending: str) -> Request:
        name = self.world.unique("r")
        answer = tuple(f"{name}.{n} " for n in range(words))
        request = Request(name, f"what of {name}?", answer, ending)
        self.requests.append(request)
        return request

    def expected_refusal(self) -> str:
        """The error code of a question that is asked now; "" if it is answered."""
        if self.holder and not self.lease_expired():
            return "busy"
        requests, tokens = self.world.limits
        if requests and self.acquired_count >= requests:
            return "over_budget"
        if tokens and self.used() > tokens - self.world.settings.history_tokens - 300:
            return "over_budget"
        return ""

    def deliver(
        self, request: Request, event: Any, allowed: int, copies: int, kill_at: Step | None
    ) -> None:
        """Delivers a question, `copies` times at once; each delivery is killed at that step."""
        request.listener = event["requestContext"]["connectionId"]
        self.subscriptions[request.listener, request.id] += 1
        refusal, used_before = self.expected_refusal(), self.used()
        if refusal or (request.question == CONTINUE and not self.can_continue()):
            kill_at = None
        recovers = self.holder is not None and self.lease_expired() and refusal != "busy"
        if recovers and kill_at == ("history", "before"):
            kill_at = None  # its first query is part of the recovery
        allowed = len(request.words) + 1 if kill_at else allowed  # else it never reaches the step
        environments = [self.environment(event, request, allowed) for _ in range(copies)]
        for each in environments:
            each.kill_at = kill_at
            each.start()
        if refusal:
            wait_until(lambda: all(each.finished() for each in environments))
            if refusal == "over_budget" and self.holder:
                self.recovered()
            self.assert_refused(environments, request.listener, refusal)
            request.status = "refused"
            assert used_before == self.used()
            return
        wait_until(lambda: all(each.finished() or each.acquired for each in environments))
        if kill_at == ("acquire", "before"):
            wait_until(lambda: all(each.finished() for each in environments))
            assert [] == [post for each in environments for post in each.posts]
            request.status = "lost"
            return
        if self.holder:
            previous = self.holder.id
            wait_until(lambda: self.lease_holder_id() != previous)
            self.recovered()
        self.acquired_count += 1
        request.used_before = used_before
        if request.question == CONTINUE and not self.can_continue():
            wait_until(lambda: all(each.finished() for each in environments))
            self.assert_refused(environments, request.listener, "invalid_request")
            request.status = "refused"
            assert used_before == self.used()
            return
        (request.environment,) = [each for each in environments if each.acquired]
        self.holder, request.status = request, "running"
        self.follow(request)

    def can_continue(self) -> bool:
        answered = [turn for turn in self.turns if turn.text.strip()]
        return bool(answered) and answered[-1].incomplete

    # -- while it runs, and after

    def follow(self, request: Request) -> None:
        """Waits until the running answer has sent all that it may, or ended; checks an end."""
        environment, answer = request.running_in, request.running_in.answer
        due = "".join(answer.words[: answer.allowed])
        polls = environment.polls

        def delivered() -> bool:
            sent_all = answer.sent >= min(answer.allowed, len(answer.words))
            if request.listener not in self.world.open_connections:
                return bool(answer.requests) and sent_all
            if request.from_seq:  # the first words may be below it: it polls after it has sent all
                return sent_all and environment.polls >= polls + 2
            frames = environment.frames(request.listener)
            return bool(answer.requests and frames) and text(frames).endswith(due)

        waits = answer.allowed < answer.total
        wait_until(
            lambda: (
                environment.finished() or (waits and environment.kill_at is None and delivered())
            )
        )
        if not environment.finished():
            return
        if environment.killed and KILL_STEPS[environment.kill_at or ("", "")] == "crashed":
            self.crashed(request)
        else:
            _, state, incomplete = ENDINGS[request.ending]
            self.ended(request, state, incomplete)

    def ended(self, request: Request, state: str, incomplete: bool) -> None:
        """Its turn must be stored, and its listener must have its terminal frame."""
        environment, answer = request.running_in, request.running_in.answer
        self.holder, request.status = None, "ended"
        if self.world.limits != (0, 0):
            cost = self.used() - request.used_before
            known = state == "complete"
            assert cost == INPUT_TOKENS + len(answer.words) if known else 0 <= cost
        sent = "".join(answer.words[: answer.sent])
        turn = self.app.conversations.recent(self.session, 1).newest_first[0]
        if state == "stopped":
            assert sent.startswith(turn.assistant)
        else:
            assert "".join(answer.words) == turn.assistant
        self.turns.append(
            ExpectedTurn(request.id, request.question, state, turn.assistant, incomplete)
        )
        self.assert_prompt(request)
        if environment.killed or request.listener not in self.world.open_connections:
            return
        frames = environment.frames(request.listener)
        assert is_terminal(frames[-1])
        if len(frames) == 1 + frames[-1]["seq"]:
            request.frames = frames
        expected = {"complete": "done", "stopped": "done", "error": "error"}[state]
        assert expected == frames[-1]["type"]
        if state == "stopped":
            assert "stopped" == frames[-1]["stop_reason"]

    def crashed(self, request: Request) -> None:
        """No client is informed; the session is held until the lease expires."""
        request.status, self.holder, self.crashed_at = "crashed", request, self.world.clock
        assert not any(is_terminal(frame) for _, frame in request.running_in.posts)

    def freeze(self, request: Request, step: Step | None) -> None:
        """Stops its Lambda until the lease has expired: other requests take it for crashed."""
        environment = request.running_in
        environment.freeze_at = step or ANY_STEP
        if step:
            environment.answer.allow(environment.answer.total)
        wait_until(lambda: environment.frozen.is_set() or environment.finished())
        self.crashed(request)
        self.world.clock += EXPIRY_MS + 1
        self.frozen = request

    def thaw(self) -> None:
        """Continues the frozen Lambda; if it lost its lease, it may change nothing."""
        request, self.frozen = self.frozen, None
        assert request is not None
        request.running_in.thaw()
        if self.holder is request:
            request.status = "running"
            self.follow(request)
            return
        wait_until(request.running_in.finished)
        _, last = request.running_in.posts[-1]
        if request.listener in self.world.open_connections:
            assert ("error", "internal") == (last["type"], last["code"])

    def lease_expired(self) -> bool:
        """Whether the holder crashed and its lease expired: the next request recovers its turn."""
        dead = self.holder is not None and self.holder.status == "crashed"
        return dead and self.world.clock > self.crashed_at + EXPIRY_MS

    def recovered(self) -> None:
        """An unfinished turn was made of the holder's request."""
        request, self.holder = self.holder, None
        assert request is not None
        request.status = "ended"
        if not request.question:  # a `clear` leaves no turn
            return
        turn = next(
            turn
            for turn in self.app.conversations.recent(self.session, 2).newest_first
            if turn.request_id == request.id
        )
        assert "".join(request.words).startswith(turn.assistant)
        self.turns.append(
            ExpectedTurn(request.id, request.question, "unfinished", turn.assistant, True)
        )

    def assert_prompt(self, request: Request) -> None:
        """Bedrock was called once, with the stored conversation and the question."""
        (body,) = request.running_in.answer.requests
        messages = [
            (role, content)
            for turn in self.turns
            if turn.request_id != request.id and turn.text.strip()
            for role, content in (("user", turn.question), ("assistant", turn.text))
        ]
        expected = [*messages, ("user", request.question)]
        assert expected == [(each["role"], each["content"]) for each in body["messages"]]

    # -- the table

    def head(self) -> Any:
        return self.app.conversations._table.get(session_key(self.session, "head")) or {}

    def lease_holder_id(self) -> str:
        return str(self.head().get("active_request_id", ""))

    def used(self) -> int:
        """Tokens of the budget that are reserved or used; must be within the limit."""
        connection = self.app.connections.get(self.connections[0])
        days = self.app.conversations._table.last(f"budget#{connection.quota_subject}", "day#", 1)
        used = int(days[0]["tokens"]) if days else 0
        _, limit = self.world.limits
        assert 0 <= used <= (limit or used)
        return used

    # -- resuming

    def resume(self, request: Request, tab: int, from_seq: int) -> list[Frame]:
        """Resumes a request; returns its frames, or none if the running answer sends them."""
        connection_id = self.connections[tab]
        frame = {"action": "resume", "request_id": request.id, "from_seq": from_seq}
        environment = self.environment(self.message(tab, frame))
        posts_before = len(self.world.posts)
        self.subscriptions[connection_id, request.id] += 1
        environment.start()
        if request.status == "crashed" and not self.lease_expired():
            event_id = self.delivered[-1][0]["requestContext"]["requestId"]
            wait_until(lambda: self.head().get("listener") == event_id)
            self.world.clock += EXPIRY_MS + 1
        wait_until(environment.finished)
        if request.status == "crashed":
            self.recovered()
        if request.status == "running":
            self._assert_attached(request, connection_id, from_seq, posts_before)
            return []
        assert {connection_id} == {where for where, _ in environment.posts}
        frames = environment.frames(connection_id)
        assert is_terminal(frames[-1])
        if request.cleared or request.status == "lost":
            assert not text(frames)
            return frames
        assert_consecutive(frames, from_seq)
        if from_seq == 0:
            request.frames = request.frames or frames
        if request.frames:
            missed = request.frames[from_seq:] or [{**request.frames[-1], "seq": from_seq}]
            assert missed == frames
        return frames

    def _assert_attached(
        self, request: Request, connection_id: str, from_seq: int, posts_before: int
    ) -> None:
        """The running answer sends its frames to this connection, from `from_seq` on."""
        environment = request.running_in
        request.listener, request.from_seq = connection_id, from_seq
        polls = environment.polls
        wait_until(lambda: environment.polls >= polls + 2)  # it polls again after it has sent all
        frames = [
            frame for where, frame in self.world.posts[posts_before:] if where == connection_id
        ]
        assert_consecutive(frames, from_seq)
        if from_seq == 0:
            self.follow(request)

    def resume_all(self) -> None:
        """Lets what runs end, resumes every request from 0, and checks each end."""
        if self.frozen:
            self.thaw()
        if running := self.running:
            running.running_in.kill_at = None
            running.running_in.answer.allow(running.running_in.answer.total)
            self.follow(running)
        for request in self.requests:
            self._assert_replayed(request)
        for (connection_id, request_id), subscriptions in self.subscriptions.items():
            ends = [
                frame
                for where, frame in self.world.posts
                if (where, frame.get("request_id")) == (connection_id, request_id)
                and is_terminal(frame)
            ]
            assert len(ends) <= subscriptions, "an end was sent twice"
        self._assert_same_deltas()

    def _assert_same_deltas(self) -> None:
        """However often a delta was sent, and wherever to: `seq` and text are the same."""
        texts: dict[tuple[str, int], set[str]] = {}
        for _, frame in self.world.posts:
            if frame["type"] == "delta":
                texts.setdefault((frame["request_id"], frame["seq"]), set()).add(frame["text"])
        assert [] == [key for key, values in texts.items() if len(values) > 1]

    def _assert_replayed(self, request: Request) -> None:
        frames = self.resume(request, 0, 0)
        turn = next((turn for turn in self.turns if turn.request_id == request.id), None)
        if not frames:
            return
        if turn:
            assert turn.text == text(frames)
            ends = {"complete": "done", "stopped": "done"}
            assert ends.get(turn.state, "error") == frames[-1]["type"]
        elif request.status == "lost" or request.cleared:
            assert "error" == frames[-1]["type"] or not text(frames)
        else:
            assert "error" == frames[-1]["type"]
