"""One session as a test knows it: what was asked, what must be in memory, and who has been told.

`Talk` delivers events and judges each by what must come of it; `test_sequences` decides which. The
judgement is exact wherever the story is: only how far an answer was written down before its Lambda
died is read from memory, and held to be a beginning of what the model said.
"""

import json
from collections import Counter
from dataclasses import dataclass, field
from typing import Any

from support.controlled_bedrock import INPUT_TOKENS, Speech
from support.e2e_clients import text
from support.lambda_environments import ANYWHERE, Frame, Lambda, Step, World, wait_until

from local.bedrock.pieces import Fault
from store import leases
from store.conversations import session_key
from turn import CONTINUE

EXPIRY_MS = int((leases.LEASE_SECONDS + leases.CLOCK_SKEW_SECONDS) * 1000)

# Where a Lambda may die while it answers, and what becomes of the request: it was never taken, an
# unfinished turn is found, or all was saved.
DEATHS: dict[Step, str] = {
    ("claim", "before"): "lost",
    ("claim", "after"): "crashed",
    ("Query", "before"): "crashed",
    ("post start", "before"): "crashed",
    ("post start", "after"): "crashed",
    ("post delta", "before"): "crashed",
    ("post delta", "after"): "crashed",
    ("save", "before"): "crashed",
    ("save", "after"): "ended",
    ("post done", "before"): "ended",
    ("post done", "after"): "ended",
}
# How an answer ends: what the model does, the turn's state, and whether more of it is to come.
ENDINGS: dict[str, tuple[dict[str, Any], str, bool]] = {
    "whole": ({}, "complete", False),
    "short": ({"stop_reason": "length"}, "complete", True),
    "cut": ({"fault": Fault("truncate")}, "error", True),
    "failed": ({"fault": Fault("modelStreamErrorException")}, "error", True),
}


@dataclass(eq=False)
class Request:
    """A question as the test knows it. `became`: new, lost, running, crashed, refused or ended.

    `answering` is the Lambda that took it, `listening` the connection that hears it now, `told` all
    its frames, once they were told. `forgotten`: its turn was cleared. `before`: what was
    used of the allowance before it was taken.
    """

    id: str
    question: str
    words: tuple[str, ...]
    ending: str
    listening: str = ""
    became: str = "new"
    answering: Lambda | None = None
    told: list[Frame] = field(default_factory=list)
    forgotten: bool = False
    before: int = 0

    @property
    def lamb(self) -> Lambda:
        assert self.answering is not None
        return self.answering


@dataclass(frozen=True)
class Past:
    """A turn that must be in memory."""

    request_id: str
    question: str
    state: str
    text: str
    more: bool

    @property
    def kept(self) -> tuple[str, ...]:
        return self.request_id, self.question, self.state, self.text


def terminal(frame: Frame) -> bool:
    return frame["type"] in ("done", "error")


def counted(frames: list[Frame], from_seq: int = 0) -> None:
    """From `from_seq` without a gap, and nothing after a terminal frame."""
    assert list(range(from_seq, from_seq + len(frames))) == [frame["seq"] for frame in frames]
    assert not any(terminal(frame) for frame in frames[:-1])


class Talk:
    """One session of one person with two tabs.

    `holder` is the request that has the session's lease, running or crashed (`died_at`, ms);
    `frozen` one whose Lambda only seemed to have crashed.
    `delivered` are all events with the requests that they asked. `stories` counts how often each
    connection asked to hear each request.
    """

    def __init__(self, world: World, requests: int, tokens: int) -> None:
        world.begin(requests, tokens)
        self.world = world
        self.app = world.services(lambda _operation, _request, call: call(), "test")
        self.session = world.name("session")
        self.requests: list[Request] = []
        self.turns: list[Past] = []
        self.holder: Request | None = None
        self.died_at = 0
        self.frozen: Request | None = None
        self.taken = 0
        self.delivered: list[tuple[Any, Request | None]] = []
        self.stories: Counter[tuple[str, str]] = Counter()
        self.tabs = [self.connect(), self.connect()]

    # -- events

    def connect(self) -> str:
        connection_id = self.world.name("c")
        query = {"session_id": self.session}
        self.run(self.event("CONNECT", connection_id, queryStringParameters=query))
        self.world.open.add(connection_id)
        return connection_id

    def event(self, kind: str, connection_id: str, **more: Any) -> Any:
        meta = {
            "eventType": kind,
            "connectionId": connection_id,
            "requestId": self.world.name("event"),
            "domainName": "example.com",
            "stage": "prod",
            "identity": {"sourceIp": "192.0.2.1"},
        }
        return {"requestContext": meta, **more}

    def message(self, tab: int, frame: Frame, asks: Request | None = None) -> Any:
        event = self.event("MESSAGE", self.tabs[tab], body=json.dumps(frame))
        self.delivered.append((event, asks))
        return event

    def environment(self, event: Any, request: Request | None = None, allowed: int = 0) -> Lambda:
        """A Lambda for the event. Where it answers `request`, it may say so many words."""
        if request is None:
            return Lambda(self.world, event, Speech((), 0))
        behaviour, _, _ = ENDINGS[request.ending]
        return Lambda(self.world, event, Speech(request.words, allowed, **behaviour))

    def run(self, event: Any, copies: int = 1, dies: Step | None = None) -> list[Lambda]:
        """Delivers an event that asks the model nothing, so many times at once."""
        lambdas = [self.environment(event) for _ in range(copies)]
        for each in lambdas:
            each.dies = dies
            each.start()
        wait_until(lambda: all(each.over() for each in lambdas))
        assert not any(each.speech.asked for each in lambdas)
        return lambdas

    def silent(self, event: Any, copies: int = 1) -> None:
        """It is delivered, and says nothing."""
        assert [] == [post for each in self.run(event, copies) for post in each.posts]

    def refused(self, lambdas: list[Lambda], connection_id: str, code: str) -> None:
        """One error with that code, however often it was delivered."""
        (frame,) = [frame for each in lambdas for frame in each.frames(connection_id)]
        assert ("error", code, 0) == (frame["type"], frame["code"], frame["seq"])

    # -- asking

    def request(self, words: int, ending: str) -> Request:
        name = self.world.name("r")
        said = tuple(f"{name}.{n} " for n in range(words))
        request = Request(name, f"what of {name}?", said, ending)
        self.requests.append(request)
        return request

    def verdict(self) -> str:
        """What becomes of a question that is asked now: a code, or "" where it is answered."""
        if self.holder and not self.expired():
            return "busy"
        requests, tokens = self.world.limits
        if requests and self.taken >= requests:
            return "over_budget"
        if tokens and self.used() > tokens - self.world.settings.history_tokens - 300:
            return "over_budget"
        return ""

    def deliver(
        self, request: Request, event: Any, allowed: int, copies: int, dies: Step | None
    ) -> None:
        """Delivers a question, so many times at once; each delivery would die at that step."""
        request.listening = event["requestContext"]["connectionId"]
        self.stories[request.listening, request.id] += 1
        refusal, before = self.verdict(), self.used()
        if refusal or (request.question == CONTINUE and not self.continuable()):
            dies = None
        if self.holder and self.expired() and refusal != "busy" and dies == ("Query", "before"):
            dies = None  # it would die while it buries, which is another story
        allowed = len(request.words) + 1 if dies else allowed  # or it would not come so far
        lambdas = [self.environment(event, request, allowed) for _ in range(copies)]
        for each in lambdas:
            each.dies = dies
            each.start()
        if refusal:
            wait_until(lambda: all(each.over() for each in lambdas))
            if refusal == "over_budget" and self.holder:
                self.buried()
            self.refused(lambdas, request.listening, refusal)
            request.became = "refused"
            assert before == self.used()
            return
        wait_until(lambda: all(each.over() or each.claimed for each in lambdas))
        if dies == ("claim", "before"):
            wait_until(lambda: all(each.over() for each in lambdas))
            assert [] == [post for each in lambdas for post in each.posts]
            request.became = "lost"
            return
        if self.holder:
            wait_until(lambda: self.holding() != self.holder.id)  # type: ignore[union-attr]
            self.buried()
        self.taken += 1
        request.before = before
        if request.question == CONTINUE and not self.continuable():
            wait_until(lambda: all(each.over() for each in lambdas))
            self.refused(lambdas, request.listening, "invalid_request")
            request.became = "refused"
            assert before == self.used()
            return
        (request.answering,) = [each for each in lambdas if each.claimed]
        self.holder, request.became = request, "running"
        self.follow(request)

    def continuable(self) -> bool:
        answered = [past for past in self.turns if past.text.strip()]
        return bool(answered) and answered[-1].more

    # -- while it runs, and after

    def follow(self, request: Request) -> None:
        """Waits until the running answer has told what it may, or is over; and judges that."""
        lamb, speech = request.lamb, request.lamb.speech
        due = "".join(speech.words[: speech.allowed])

        def told() -> bool:
            if request.listening not in self.world.open:
                return bool(speech.asked) and speech.said >= min(speech.allowed, len(speech.words))
            frames = lamb.frames(request.listening)
            return bool(speech.asked and frames) and text(frames).endswith(due)

        waits = speech.allowed < speech.all
        wait_until(lambda: lamb.over() or (waits and lamb.dies is None and told()))
        if not lamb.over():
            return
        if lamb.killed and DEATHS[lamb.dies or ("", "")] == "crashed":
            self.crashed(request)
        else:
            _, state, more = ENDINGS[request.ending]
            self.ended(request, state, more)

    def ended(self, request: Request, state: str, more: bool) -> None:
        """Its turn must be in memory, and whoever listened must have heard the end."""
        lamb, speech = request.lamb, request.lamb.speech
        self.holder, request.became = None, "ended"
        if self.world.limits != (0, 0):
            cost = self.used() - request.before
            known = state == "complete"
            assert cost == INPUT_TOKENS + len(speech.words) if known else 0 <= cost
        said = "".join(speech.words[: speech.said])
        turn = self.app.conversations.recent(self.session, 1).newest_first[0]
        if state == "stopped":
            assert said.startswith(turn.assistant)
        else:
            assert "".join(speech.words) == turn.assistant
        self.turns.append(Past(request.id, request.question, state, turn.assistant, more))
        self.asked_well(request)
        if lamb.killed or request.listening not in self.world.open:
            return
        frames = lamb.frames(request.listening)
        assert terminal(frames[-1])
        if len(frames) == 1 + frames[-1]["seq"]:
            request.told = frames
        expected = {"complete": "done", "stopped": "done", "error": "error"}[state]
        assert expected == frames[-1]["type"]
        if state == "stopped":
            assert "stopped" == frames[-1]["stop_reason"]

    def crashed(self, request: Request) -> None:
        """Nobody hears of it; the session is held until the lease is over."""
        request.became, self.holder, self.died_at = "crashed", request, self.world.clock
        assert not any(terminal(frame) for _, frame in request.lamb.posts)

    def freeze(self, request: Request, step: Step | None) -> None:
        """Its Lambda stands still until its lease is over: whoever comes takes it for dead."""
        lamb = request.lamb
        lamb.freezes = step or ANYWHERE
        if step:
            lamb.speech.allow(lamb.speech.all)
        wait_until(lambda: lamb.frozen.is_set() or lamb.over())
        self.crashed(request)
        self.world.clock += EXPIRY_MS + 1
        self.frozen = request

    def thaw(self) -> None:
        """It goes on; where its session was taken from it, it may change nothing."""
        request, self.frozen = self.frozen, None
        assert request is not None
        request.lamb.thaw()
        if self.holder is request:
            request.became = "running"
            self.follow(request)
            return
        wait_until(request.lamb.over)
        _, last = request.lamb.posts[-1]
        if request.listening in self.world.open:
            assert ("error", "internal") == (last["type"], last["code"])

    def expired(self) -> bool:
        """Whether the holder's lease is over, so that whoever comes makes a turn of it."""
        dead = self.holder is not None and self.holder.became == "crashed"
        return dead and self.world.clock > self.died_at + EXPIRY_MS

    def buried(self) -> None:
        """An unfinished turn was made of the holder's request."""
        request, self.holder = self.holder, None
        assert request is not None
        request.became = "ended"
        if not request.question:  # a `clear` leaves nothing
            return
        turn = next(
            turn
            for turn in self.app.conversations.recent(self.session, 2).newest_first
            if turn.request_id == request.id
        )
        assert "".join(request.words).startswith(turn.assistant)
        self.turns.append(Past(request.id, request.question, "unfinished", turn.assistant, True))

    def asked_well(self, request: Request) -> None:
        """Bedrock was asked once, with the conversation as it stands and the question."""
        (body,) = request.lamb.speech.asked
        before = [
            past for past in self.turns if past.request_id != request.id and past.text.strip()
        ]
        said = [
            (role, words)
            for past in before
            for role, words in (("user", past.question), ("assistant", past.text))
        ]
        expected = [*said, ("user", request.question)]
        assert expected == [(each["role"], each["content"]) for each in body["messages"]]

    # -- what stands in the table

    def head(self) -> Any:
        return self.app.conversations._table.get(session_key(self.session, "head")) or {}

    def holding(self) -> str:
        return str(self.head().get("active_request_id", ""))

    def used(self) -> int:
        """Tokens of the allowance, reserved or used; held to be within it."""
        connection = self.app.connections.get(self.tabs[0])
        days = self.app.conversations._table.last(f"budget#{connection.quota_subject}", "day#", 1)
        used = int(days[0]["tokens"]) if days else 0
        _, limit = self.world.limits
        assert 0 <= used <= (limit or used)
        return used

    # -- resuming

    def resume(self, request: Request, tab: int, from_seq: int) -> list[Frame]:
        """Asks for the frames there; what came of it by the time that it is told or under way."""
        here = self.tabs[tab]
        frame = {"action": "resume", "request_id": request.id, "from_seq": from_seq}
        lamb = self.environment(self.message(tab, frame))
        before = len(self.world.posts)
        self.stories[here, request.id] += 1
        lamb.start()
        if request.became == "crashed" and not self.expired():
            event_id = self.delivered[-1][0]["requestContext"]["requestId"]
            wait_until(lambda: self.head().get("listener") == event_id)
            self.world.clock += EXPIRY_MS + 1
        wait_until(lamb.over)
        if request.became == "crashed":
            self.buried()
        if request.became == "running":
            self._heard_from(request, here, from_seq, before)
            return []
        assert {here} == {where for where, _ in lamb.posts}
        frames = lamb.frames(here)
        assert terminal(frames[-1])
        if request.forgotten or request.became == "lost":
            assert not text(frames)
            return frames
        counted(frames, from_seq)
        if from_seq == 0:
            request.told = request.told or frames
        if request.told:
            missed = request.told[from_seq:] or [{**request.told[-1], "seq": from_seq}]
            assert missed == frames
        return frames

    def _heard_from(self, request: Request, here: str, from_seq: int, before: int) -> None:
        """The running answer is told there from now on, from that frame on."""
        lamb = request.lamb
        request.listening = here
        looks = lamb.looks
        wait_until(lambda: lamb.looks >= looks + 2)  # it looks again once all was told
        frames = [frame for where, frame in self.world.posts[before:] if where == here]
        counted(frames, from_seq)
        if from_seq == 0:
            self.follow(request)

    def come_back(self) -> None:
        """Whoever asked for anything asks to hear it, from the beginning."""
        if self.frozen:
            self.thaw()
        if self.holder and self.holder.became == "running":
            self.holder.lamb.dies = None
            self.holder.lamb.speech.allow(self.holder.lamb.speech.all)
            self.follow(self.holder)
        for request in self.requests:
            self._hear_all(request)
        for (where, name), stories in self.stories.items():
            ends = [
                frame
                for connection, frame in self.world.posts
                if (connection, frame.get("request_id")) == (where, name) and terminal(frame)
            ]
            assert len(ends) <= stories, "an end was told twice"

    def _hear_all(self, request: Request) -> None:
        frames = self.resume(request, 0, 0)
        turn = next((past for past in self.turns if past.request_id == request.id), None)
        if not frames:
            return
        if turn:
            assert turn.text == text(frames)
            ends = {"complete": "done", "stopped": "done"}
            assert ends.get(turn.state, "error") == frames[-1]["type"]
        elif request.became == "lost" or request.forgotten:
            assert "error" == frames[-1]["type"] or not text(frames)
        else:
            assert "error" == frames[-1]["type"]
