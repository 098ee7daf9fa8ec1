"""Sequences that nobody would write down: a person, two tabs, and everything that can go wrong.

Hypothesis makes them of rules: ask (at once, in parts, to continue; delivered once or three times
at once), stop, reconnect, resume from anywhere, deliver any earlier event again, send a request
again, clear, look at the history, let time pass, kill the Lambda at a named step, or freeze it for
longer than its lease. The handler, boto3, the event stream and moto are real; how far an answer has
got is the test's to say (`gated`).

After each rule the memory is what the test's own model of the conversation (`talks`) says. At the
end every request is resumed, and what clients were told is held against what was kept.

`SEQUENCES=1000 make test ARGS=tests/test_sequences.py` tries so many; CI tries a few, the same ones
every time. Not here: failures of DynamoDB, Bedrock's refusals, and posts that fail but for clients
that are gone (tests/e2e has those), two days' budgets, expiry of items.
"""

import os
from collections.abc import Iterator
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
from support.controlled_bedrock import Gated, gated
from support.lambda_environments import Frame, Step, World, wait_until
from support.session_model import DEATHS, ENDINGS, Request, Talk

import relay
from store import leases, sessions
from turn import CONTINUE

SEQUENCES = int(os.environ.get("SEQUENCES", "20"))
RULES = 14  # in a sequence, at the most

TABS = st.integers(0, 1)
COPIES = st.sampled_from([1, 1, 1, 2, 3])
ANY = st.integers(0, 99)
DIES = st.sampled_from([None, None, None, None, *DEATHS])


class Sequence(RuleBasedStateMachine):
    """What may happen in one session, in any order."""

    world: ClassVar[World]
    talk: Talk

    @initialize(requests=st.sampled_from([0, 0, 4]), tokens=st.sampled_from([0, 0, 3000]))
    def begin(self, requests: int, tokens: int) -> None:
        """Some have an allowance."""
        self.talk = Talk(self.world, requests, tokens)

    def teardown(self) -> None:
        """Everybody comes back to hear what became of it; and no thread is left."""
        try:
            if hasattr(self, "talk"):
                self.talk.come_back()
                self.memory_is_as_it_should_be()
        finally:
            self.world.end()

    @rule(tab=TABS, told=st.booleans())
    def reconnect(self, tab: int, told: bool) -> None:
        """Whether API Gateway tells that a client is gone makes no difference."""
        gone = self.talk.tabs[tab]
        self.world.open.discard(gone)
        if told:
            self.talk.run(self.talk.event("DISCONNECT", gone))
        self.talk.tabs[tab] = self.talk.connect()

    @rule(
        tab=TABS,
        words=st.integers(0, 4),
        allowed=st.integers(0, 9),
        ending=st.sampled_from(["whole", "whole", *ENDINGS]),
        kind=st.sampled_from(["plain", "plain", "parts", "continue"]),
        copies=COPIES,
        dies=DIES,
    )
    def ask(  # noqa: PLR0917 - by name
        self,
        tab: int,
        words: int,
        allowed: int,
        ending: str,
        kind: str,
        copies: int,
        dies: Step | None,
    ) -> None:
        request = self.talk.request(words, ending)
        frame: Frame = {"action": "chat", "request_id": request.id}
        if kind == "continue":
            request.question = CONTINUE
            frame |= {"continue": True}
        elif kind == "parts":
            thirds = [request.question[:3], request.question[3:5], request.question[5:]]
            for n in (3, 1):
                part = {**frame, "body": thirds[n - 1], "part": n, "parts": 3}
                self.talk.silent(self.talk.message(tab, part))
            frame |= {"body": thirds[1], "part": 2, "parts": 3}
        else:
            frame |= {"body": request.question}
        event = self.talk.message(tab, frame, request)
        self.talk.deliver(request, event, allowed, copies, dies)

    @precondition(lambda self: self.talk.holder is None and self.world.limits == (0, 0))
    @rule(tab=TABS, other=TABS)
    def ask_twice_at_once(self, tab: int, other: int) -> None:
        """One is answered; the other hears that the session is busy."""
        rivals = [(self.talk.request(2, "whole"), where) for where in (tab, other)]
        for request, where in rivals:
            frame = {"request_id": request.id, "body": request.question}
            event = self.talk.message(where, frame, request)
            request.listening = self.talk.tabs[where]
            self.talk.stories[request.listening, request.id] += 1
            request.answering = self.talk.environment(event, request, 0)
        for request, _ in rivals:
            request.lamb.start()
        wait_until(lambda: any(request.lamb.over() for request, _ in rivals))
        for request, _ in rivals:
            if request.lamb.over():
                self.talk.refused([request.lamb], request.listening, "busy")
                request.became = "refused"
            else:
                self.talk.holder, request.became = request, "running"
                self.talk.follow(request)

    @precondition(lambda self: self.runs)
    @rule(more=st.integers(1, 9), dies=DIES)
    def say_more(self, more: int, dies: Step | None) -> None:
        """The model says more, perhaps all; the Lambda may die of it."""
        assert self.talk.holder
        lamb = self.talk.holder.lamb
        if lamb.speech.allowed + more >= lamb.speech.all:
            lamb.dies = dies if dies in DEATHS and "save" in dies else None
        lamb.speech.allow(lamb.speech.allowed + more)
        self.talk.follow(self.talk.holder)

    @precondition(lambda self: self.runs)
    @rule()
    def kill(self) -> None:
        """The Lambda dies at whatever it does next."""
        assert self.talk.holder
        self.talk.holder.lamb.kill()
        wait_until(self.talk.holder.lamb.over)
        self.talk.crashed(self.talk.holder)

    @precondition(lambda self: self.runs and not self.talk.frozen)
    @rule(step=st.sampled_from([None, ("save", "before")]))
    def freeze(self, step: Step | None) -> None:
        """The Lambda stands still for longer than its lease."""
        assert self.talk.holder
        self.talk.freeze(self.talk.holder, step)

    @precondition(lambda self: self.talk.frozen)
    @rule()
    def thaw(self) -> None:
        """It goes on, as if nothing had happened."""
        self.talk.thaw()

    @rule(tab=TABS, named=st.sampled_from(["", "this", "another"]), copies=COPIES)
    def stop(self, tab: int, named: str, copies: int) -> None:
        """What runs ends; where nothing does, that is said."""
        request, ran = self.talk.holder, self.runs
        frame = {"action": "stop"}
        if named:
            frame["request_id"] = request.id if request and named == "this" else "no-such-request"
        event = self.talk.message(tab, frame)
        met = request is not None and named != "another"
        if met and not self.talk.expired():
            self.talk.silent(event, copies)
            if ran and request:
                wait_until(request.lamb.over)
                self.talk.ended(request, "stopped", more=True)
            return
        lambdas = self.talk.run(event, copies)
        self.talk.refused(lambdas, self.talk.tabs[tab], "invalid_request")
        if met:
            self.talk.buried()

    @rule(tab=TABS, which=ANY, from_seq=st.integers(0, 7))
    def resume(self, tab: int, which: int, from_seq: int) -> None:
        """Every frame from there on, while it runs and after."""
        if self.talk.requests:
            self.talk.resume(self.pick(which), tab, from_seq)

    @rule(which=ANY, copies=st.integers(1, 3))
    def deliver_again(self, which: int, copies: int) -> None:
        """Nothing is done and nothing said, unless the first delivery died before it was taken."""
        if not self.talk.delivered:
            return
        event, request = self.talk.delivered[which % len(self.talk.delivered)]
        if request is None or request.became != "lost":
            self.talk.silent(event, copies)
        elif (
            event["requestContext"]["connectionId"] in self.talk.tabs
            and "part" not in (event["body"])
        ):
            self.talk.deliver(request, event, 9, copies, None)

    @rule(tab=TABS, which=ANY, allowed=st.integers(0, 9))
    def send_again(self, tab: int, which: int, allowed: int) -> None:
        """A request that was taken is never answered twice; one that was lost is answered."""
        if not self.talk.requests or self.pick(which).question == CONTINUE:
            return
        request = self.pick(which)
        frame = {"request_id": request.id, "body": request.question}
        event = self.talk.message(tab, frame, request)
        if request.became == "lost":
            self.talk.deliver(request, event, allowed, 1, None)
        else:
            self.talk.stories[self.talk.tabs[tab], request.id] += 1
            self.talk.refused(self.talk.run(event), self.talk.tabs[tab], "duplicate")

    @rule(tab=TABS, dies=st.sampled_from([None, None, ("end", "before"), ("end", "after")]))
    def clear(self, tab: int, dies: Step | None) -> None:
        """What was said is forgotten, but not while an answer runs."""
        event = self.talk.message(tab, {"action": "clear"})
        if self.talk.holder and not self.talk.expired():
            self.talk.refused(self.talk.run(event), self.talk.tabs[tab], "busy")
            return
        if self.talk.holder:
            self.history(tab)
        count = len(self.talk.turns)
        (done,) = self.talk.run(event, dies=dies)
        self.talk.turns.clear()
        for request in self.talk.requests:
            request.forgotten = True
        if dies is None:
            (frame,) = done.frames(self.talk.tabs[tab])
            assert count == frame["cleared"]
        elif dies == ("end", "before"):
            cleared = Request(self.talk.holding(), "", (), "whole", answering=done)
            self.talk.crashed(cleared)

    @rule(tab=TABS)
    def history(self, tab: int) -> None:
        """Every turn, and what runs."""
        event = self.talk.message(tab, {"action": "history", "limit": 100})
        (done,) = self.talk.run(event)
        if self.talk.expired():
            self.talk.buried()
        *pages, end = done.frames(self.talk.tabs[tab])
        told = [turn for page in pages for turn in page["turns"]]
        assert [past.kept for past in self.talk.turns] == [
            (turn["request_id"], turn["user"], turn["state"], turn["assistant"]) for turn in told
        ]
        assert (self.talk.holder.id if self.talk.holder else None) == end.get("running")

    @rule(tens=st.sampled_from([1, 2, 4]))
    def pass_time(self, tens: int) -> None:
        """A Lambda that lives renews its lease in time."""
        for _ in range(tens):
            self.world.clock += 10_000
            if self.runs:
                wait_until(
                    lambda: self.talk.head()["lease_expires_at"] >= self.world.clock + 30_000
                )

    @invariant()
    def memory_is_as_it_should_be(self) -> None:
        """Every turn is there, once, in order, with all its words; and Bedrock was asked once."""
        kept = reversed(self.talk.app.conversations.recent(self.talk.session, 100).newest_first)
        assert [past.kept for past in self.talk.turns] == [
            (turn.request_id, turn.user, turn.state, turn.assistant) for turn in kept
        ]
        assert all(len(speech.asked) <= 1 for speech in self.world.model.speeches.values())

    @property
    def runs(self) -> bool:
        """Whether an answer is under way."""
        return self.talk.holder is not None and self.talk.holder.became == "running"

    def pick(self, which: int) -> Request:
        """One of the requests so far."""
        return self.talk.requests[which % len(self.talk.requests)]


@pytest.fixture
def world(monkeypatch: pytest.MonkeyPatch) -> Iterator[World]:
    """Lambdas that look every few milliseconds, and a clock that stands still."""
    for module in (relay, sessions):
        monkeypatch.setattr(module, "POLL_SECONDS", 0.01)
    monkeypatch.setattr(relay, "RENEW_SECONDS", 0.03)
    monkeypatch.setattr(sessions, "ARRIVAL_SECONDS", 0.02)
    monkeypatch.setattr(sessions, "ARRIVAL_PAUSE_SECONDS", 0.01)
    model = Gated()
    with mock_aws(), gated(model) as url:
        made = World(url, model)
        monkeypatch.setattr(leases, "_now_ms", lambda: made.clock)
        yield made


@pytest.mark.timeout(120 + 5 * SEQUENCES)
def test_sequences(world: World) -> None:
    """Whatever happens, in whatever order: nothing is lost, doubled, or paid for twice."""
    machine = type("OfWorld", (Sequence,), {"world": world})
    settings = hypothesis.settings(
        max_examples=SEQUENCES,
        stateful_step_count=RULES,
        suppress_health_check=list(hypothesis.HealthCheck),
        print_blob=True,
    )
    run_state_machine_as_test(machine, settings=settings)
