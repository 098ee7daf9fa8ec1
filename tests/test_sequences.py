"""Random sequences of everything that can happen in one session with two connections.

Hypothesis makes them of rules: ask (at once, in parts, to continue; delivered once or three times
at once), stop, reconnect, resume from anywhere, deliver any earlier event again, send a request
again, clear, read the history, let time pass, kill the Lambda at a named step, or freeze it for
longer than its lease. The handler, boto3, the event stream and moto are real; the test controls how
far an answer has got (`support.controlled_bedrock`).

After each rule the table must hold what the test's own model of the session says
(`support.session_model`). At the end every request is resumed, and the frames that were delivered
are compared with what is stored.

`SEQUENCES=1000 make test ARGS='tests/test_sequences.py --hypothesis-profile explore'` tries so many
new ones; without the profile they are the same ones every time. Not here: failures of DynamoDB,
Bedrock's errors, and posts that fail for another reason than a closed connection (tests/faults has
those), budgets over two days, expiry of items.
"""

import os
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from types import SimpleNamespace
from typing import ClassVar

import hypothesis
import pytest
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)
from moto import mock_aws
from support.controlled_bedrock import ControlledModel, serving
from support.lambda_environments import Frame, Step, World, wait_until
from support.session_model import ENDINGS, KILL_STEPS, Request, SessionModel

import relay
from store import leases, sessions
from turn import CONTINUE

SEQUENCES = int(os.environ.get("SEQUENCES", "20"))
FIRST_ACTIONS = 5  # in mid-answer: of 12, so that in 20 sequences each is among them several times
RULES = 8  # after them in a sequence, at most

TABS = st.integers(0, 1)
COPIES = st.sampled_from([1, 1, 1, 2, 3])
INDEX = st.integers(0, 99)
ALLOWED = st.sampled_from([1, 2, 3, 1, 2, 9])  # words that an answer may send; 9: all of them
KILL_AT = st.sampled_from([None] * 2 * len(KILL_STEPS) + [*KILL_STEPS])


class Sequence(RuleBasedStateMachine):
    """The rules. `in_mid_answer` counts those that were applied while an answer was streaming."""

    world: ClassVar[World]
    in_mid_answer: ClassVar[Counter[str]] = Counter()
    model: SessionModel

    @initialize(
        requests=st.sampled_from([0, 0, 9]),
        tokens=st.sampled_from([0, 0, 5000]),
        actions=st.deferred(lambda: st.permutations(sorted(MID_ANSWER))),
    )
    def begin(self, requests: int, tokens: int, actions: list[str]) -> None:
        """Some sessions have a budget; all begin with some actions in mid-answer."""
        self.model = SessionModel(self.world, requests, tokens)
        for action in actions[:FIRST_ACTIONS]:
            if self.model.holder and not self.model.running:
                self.pass_time()  # the lease of a Lambda that was killed expires
            if self.model.running is None and self.model.expected_refusal() == "":
                self.ask(0, allowed=2)
            if self.model.running:
                MID_ANSWER[action](self)

    def teardown(self) -> None:
        """Every request is resumed; and no thread is left."""
        try:
            if hasattr(self, "model"):
                self.model.resume_all()
                self.table_is_as_expected()
        finally:
            self.world.finish()

    @rule(tab=TABS, reported=st.booleans())
    def reconnect(self, tab: int, reported: bool) -> None:
        """Replaces a connection, whether API Gateway reports its end or not."""
        self.count("reconnect")
        old = self.model.connections[tab]
        self.world.open_connections.discard(old)
        if reported:
            self.model.run(self.model.event("DISCONNECT", old))
        self.model.connections[tab] = self.model.connect()

    @rule(
        tab=TABS,
        words=st.integers(0, 4),
        allowed=ALLOWED,
        ending=st.sampled_from(["complete", "complete", *ENDINGS]),
        kind=st.sampled_from(["plain", "plain", "parts", "continue"]),
        copies=COPIES,
        kill_at=KILL_AT,
    )
    def ask(  # noqa: PLR0917 - by name
        self,
        tab: int,
        words: int = 4,
        allowed: int = 9,
        ending: str = "complete",
        kind: str = "plain",
        copies: int = 1,
        kill_at: Step | None = None,
    ) -> None:
        """A question, in one of three forms; refused while an answer is streaming."""
        self.count("ask")
        request = self.model.request(words, ending)
        frame: Frame = {"action": "chat", "request_id": request.id}
        if kind == "continue":
            request.question = CONTINUE
            frame |= {"continue": True}
        elif kind == "parts":
            thirds = [request.question[:3], request.question[3:5], request.question[5:]]
            for n in (3, 1):
                part = {**frame, "body": thirds[n - 1], "part": n, "parts": 3}
                self.model.run_silently(self.model.message(tab, part))
            frame |= {"body": thirds[1], "part": 2, "parts": 3}
        else:
            frame |= {"body": request.question}
        event = self.model.message(tab, frame, request)
        self.model.deliver(request, event, allowed, copies, kill_at)

    @precondition(lambda self: self.model.holder is None and self.world.limits == (0, 0))
    @rule(tab=TABS, other=TABS)
    def ask_twice_at_once(self, tab: int, other: int) -> None:
        """One question is answered; the other is refused as `busy`."""
        rivals = [(self.model.request(2, "complete"), where) for where in (tab, other)]
        for request, where in rivals:
            frame = {"request_id": request.id, "body": request.question}
            event = self.model.message(where, frame, request)
            request.listener = self.model.connections[where]
            self.model.subscriptions[request.listener, request.id] += 1
            request.environment = self.model.environment(event, request, 0)
        for request, _ in rivals:
            request.running_in.start()
        wait_until(lambda: any(request.running_in.finished() for request, _ in rivals))
        for request, _ in rivals:
            if request.running_in.finished():
                self.model.assert_refused([request.running_in], request.listener, "busy")
                request.status = "refused"
            else:
                self.model.holder, request.status = request, "running"
                self.model.follow(request)

    @precondition(lambda self: self.model.running)
    @rule(more=st.integers(1, 9), kill_at=KILL_AT)
    def allow_more(self, more: int, kill_at: Step | None = None) -> None:
        """The model sends more words, perhaps all; the Lambda may be killed around its save."""
        self.count("allow more")
        running = self.model.running
        assert running
        environment, answer = running.running_in, running.running_in.answer
        if answer.allowed + more >= answer.total:
            environment.kill_at = kill_at if kill_at and kill_at[0] == "save" else None
        answer.allow(answer.allowed + more)
        self.model.follow(running)

    @precondition(lambda self: self.model.running)
    @rule(freeze=st.booleans(), step=st.sampled_from([None, ("save", "before")]))
    def interrupt(self, freeze: bool, step: Step | None = None) -> None:
        """Kills the Lambda at its next call, or stops it for longer than its lease."""
        running = self.model.running
        assert running
        if freeze and not self.model.frozen:
            self.count("freeze")
            self.model.freeze(running, step)
        else:
            self.count("kill")
            running.running_in.kill()
            wait_until(running.running_in.finished)
            self.model.crashed(running)

    @precondition(lambda self: self.model.frozen)
    @rule()
    def thaw(self) -> None:
        """Lets the frozen Lambda continue."""
        self.model.thaw()

    @rule(tab=TABS, named=st.sampled_from(["", "this", "another"]), copies=COPIES)
    def stop(self, tab: int, named: str = "", copies: int = 1) -> None:
        """Ends the running answer; where none runs, that is an error."""
        self.count("stop")
        request, running = self.model.holder, self.model.running
        frame = {"action": "stop"}
        if named:
            frame["request_id"] = request.id if request and named == "this" else "no-such-request"
        event = self.model.message(tab, frame)
        matches = request is not None and named != "another"
        if matches and not self.model.lease_expired():
            self.model.run_silently(event, copies)
            if running:
                wait_until(running.running_in.finished)
                self.model.ended(running, "stopped", incomplete=True)
            return
        environments = self.model.run(event, copies)
        self.model.assert_refused(environments, self.model.connections[tab], "invalid_request")
        if matches:
            self.model.recovered()

    @precondition(lambda self: self.model.requests)
    @rule(tab=TABS, which=INDEX, from_seq=st.integers(0, 7))
    def resume(self, tab: int, which: int, from_seq: int) -> None:
        """Resumes any request, from any frame on."""
        self.model.resume(self.pick(which), tab, from_seq)

    @precondition(lambda self: self.model.running)
    @rule(tab=TABS, from_seq=st.integers(0, 4))
    def resume_running(self, tab: int, from_seq: int = 0) -> None:
        """Moves the running answer to a connection, from any frame on."""
        self.count("resume")
        running = self.model.running
        assert running
        self.model.resume(running, tab, from_seq)

    @precondition(lambda self: self.model.delivered)
    @rule(which=INDEX, copies=st.integers(1, 3))
    def redeliver(self, which: int = -1, copies: int = 1) -> None:
        """Has no effect, unless the first delivery was killed before it acquired the lease."""
        self.count("redeliver")
        event, request = self.model.delivered[which % len(self.model.delivered)]
        if request is None or request.status != "lost":
            self.model.run_silently(event, copies)
        elif (
            event["requestContext"]["connectionId"] in self.model.connections
            and "part" not in event["body"]
        ):
            self.model.deliver(request, event, 9, copies, None)

    @precondition(lambda self: self.model.requests)
    @rule(tab=TABS, which=INDEX, allowed=ALLOWED)
    def send_again(self, tab: int, which: int = -1, allowed: int = 9) -> None:
        """A request that was acquired is a duplicate; one that was lost is answered."""
        self.count("send again")
        request = self.pick(which)
        if request.question == CONTINUE:
            return
        frame = {"request_id": request.id, "body": request.question}
        event = self.model.message(tab, frame, request)
        if request.status == "lost":
            self.model.deliver(request, event, allowed, 1, None)
        else:
            connection_id = self.model.connections[tab]
            self.model.subscriptions[connection_id, request.id] += 1
            self.model.assert_refused(self.model.run(event), connection_id, "duplicate")

    @rule(
        tab=TABS, kill_at=st.sampled_from([None, None, ("release", "before"), ("release", "after")])
    )
    def clear(self, tab: int, kill_at: Step | None = None) -> None:
        """Deletes the turns; refused while an answer is streaming."""
        self.count("clear")
        event = self.model.message(tab, {"action": "clear"})
        connection_id = self.model.connections[tab]
        if self.model.holder and not self.model.lease_expired():
            self.model.assert_refused(self.model.run(event), connection_id, "busy")
            return
        if self.model.holder:
            self.history(tab)
        count = len(self.model.turns)
        (environment,) = self.model.run(event, kill_at=kill_at)
        self.model.turns.clear()
        for request in self.model.requests:
            request.cleared = True
        if kill_at is None:
            (frame,) = environment.frames(connection_id)
            assert count == frame["cleared"]
        elif kill_at == ("release", "before"):
            holder_id = self.model.lease_holder_id()
            self.model.crashed(Request(holder_id, "", (), "complete", environment=environment))

    @rule(tab=TABS)
    def history(self, tab: int) -> None:
        """Lists every turn, and the running request."""
        self.count("history")
        event = self.model.message(tab, {"action": "history", "limit": 100})
        (environment,) = self.model.run(event)
        if self.model.lease_expired():
            self.model.recovered()
        *pages, end = environment.frames(self.model.connections[tab])
        turns = [turn for page in pages for turn in page["turns"]]
        assert [expected.row for expected in self.model.turns] == [
            (turn["request_id"], turn["user"], turn["state"], turn["assistant"]) for turn in turns
        ]
        assert (self.model.holder.id if self.model.holder else None) == end.get("running")

    @rule(tens=st.sampled_from([1, 2, 4]))
    def pass_time(self, tens: int = 4) -> None:
        """A running Lambda renews its lease in time."""
        self.count("pass time")
        for _ in range(tens):
            self.world.clock += 10_000
            if self.model.running:
                wait_until(
                    lambda: self.model.head()["lease_expires_at_ms"] >= self.world.clock + 30_000
                )

    @invariant()
    def table_is_as_expected(self) -> None:
        """Every turn is stored, once, in order, with all its words; Bedrock was called once."""
        stored = reversed(self.model.app.conversations.recent(self.model.session, 100).newest_first)
        assert [expected.row for expected in self.model.turns] == [
            (turn.request_id, turn.user, turn.state, turn.assistant) for turn in stored
        ]
        assert all(len(answer.requests) <= 1 for answer in self.world.model.answers.values())

    def count(self, action: str) -> None:
        """Notes that an action happens while an answer is streaming, if one is."""
        self.in_mid_answer[action] += self.model.running is not None

    def pick(self, which: int) -> Request:
        """One of the requests so far."""
        return self.model.requests[which % len(self.model.requests)]


# Each action in mid-answer: of four words, at least two were sent.
MID_ANSWER: Mapping[str, Callable[[Sequence], None]] = {
    "ask": lambda each: each.ask(1),
    "allow more": lambda each: each.allow_more(9),
    "clear": lambda each: each.clear(1),
    "freeze": lambda each: each.interrupt(freeze=True),
    "history": lambda each: each.history(1),
    "kill": lambda each: each.interrupt(freeze=False),
    "pass time": lambda each: each.pass_time(),
    "reconnect": lambda each: each.reconnect(0, reported=True),
    "redeliver": lambda each: each.redeliver(),
    "resume": lambda each: each.resume_running(1),
    "send again": lambda each: each.send_again(1),
    "stop": lambda each: each.stop(1),
}


@pytest.fixture
def machine(monkeypatch: pytest.MonkeyPatch) -> Iterator[type[Sequence]]:
    """The rules with a world of their own: Lambdas that poll every few milliseconds."""
    for module in (relay, sessions):
        monkeypatch.setattr(module, "POLL_SECONDS", 0.01)
    monkeypatch.setattr(relay, "RENEW_SECONDS", 0.3)
    monkeypatch.setattr(sessions, "ARRIVAL_SECONDS", 0.02)
    monkeypatch.setattr(sessions, "ARRIVAL_PAUSE_SECONDS", 0.01)
    model = ControlledModel()
    with mock_aws(), serving(model) as url:
        world = World(url, model)
        monkeypatch.setattr(leases, "_now_ms", lambda: world.clock)
        # A running Lambda renews its lease when the world's clock has advanced, too.
        both = SimpleNamespace(monotonic=lambda: time.monotonic() + world.clock / 1000)
        monkeypatch.setattr(relay, "time", both)
        yield type("SequenceInWorld", (Sequence,), {"world": world, "in_mid_answer": Counter()})


@pytest.mark.usefixtures("without_coverage")
@pytest.mark.timeout(120 + 10 * SEQUENCES)
def test_no_sequence_of_events_loses_doubles_or_charges_twice(machine: type[Sequence]) -> None:
    """And the sequences reach every action in mid-answer."""
    settings = hypothesis.settings(
        max_examples=SEQUENCES,
        stateful_step_count=RULES,
        suppress_health_check=list(hypothesis.HealthCheck),
        print_blob=True,
    )
    run_state_machine_as_test(machine, settings=settings)

    assert {*MID_ANSWER} == {action for action, count in machine.in_mid_answer.items() if count}


@pytest.mark.parametrize("action", MID_ANSWER)
def test_each_action_in_mid_answer(machine: type[Sequence], action: str) -> None:
    """Whatever the search happens to find: this one is tried."""
    sequence = machine()
    sequence.begin(0, 0, [action])
    sequence.teardown()

    assert 1 == machine.in_mid_answer[action]
