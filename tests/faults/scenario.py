"""One run of one row: a client that behaves, what befalls it, and what it finds at the end.

Rules of the client, which any client can keep: it counts what it hears by `seq` and passes over
what it has; where it hears nothing more, it connects again and resumes; what was never taken, it
sends again. Everything that it should not have to bear goes into `troubles`.
"""

import asyncio
import contextlib
import json
import os
import secrets
import signal
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from faults.harness import Stage
from faults.proxy import Fault
from faults.rows import Outcome, Row
from faults.watch import POSTS, Watch
from support.e2e_clients import SERVER
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, WebSocketException

PATIENCE = 90.0  # seconds until what never comes counts as missing: two leases, and a slow machine
AFTER_A_LEASE = 0.5  # between two looks at whether the session is free
MOST_RESUMES = 50
ENDS = ("done", "error")
# What ends in nobody hearing anything more, on this connection.
DEAFENING = {"killed before", "killed after", "frozen", "Gone", "Forbidden", "PayloadTooLarge"}
REPEATED = {"lost", "silent"}  # a post that was repeated may arrive twice
ECHO = '/script {"echo": true}'

Frame = dict[str, Any]


@dataclass
class Scene:
    """One run. `request_id` is the request that the row is about."""

    stage: Stage
    row: Row
    name: str = field(default_factory=lambda: secrets.token_hex(6))
    heard: list[Frame] = field(default_factory=list)
    troubles: list[str] = field(default_factory=list)
    events: list[bytes] = field(default_factory=list)
    doubled: int = 0
    resumes: int = 0
    struck: asyncio.Event = field(default_factory=asyncio.Event)
    struck_at: float | None = None
    ended_at: float | None = None
    _line: ClientConnection | None = None
    _reading: list[asyncio.Task[None]] = field(default_factory=list)
    _inboxes: dict[str, asyncio.Queue[Frame | None]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.watches = {
            self.name: Watch(self.row.faults, self._struck),
            self.resumed: Watch(self.row.later, self._struck),
        }

    @property
    def resumed(self) -> str:
        """The name that the calls of those bear who serve a resume."""
        return f"{self.name}/resume"

    @property
    def session_id(self) -> str:
        return f"session-{self.name}"

    @property
    def request_id(self) -> str:
        return f"request-{self.name}"

    @property
    def word(self) -> str:
        """What the model says again and again; of this run alone."""
        return f"é{self.name} "

    @property
    def question(self) -> str:
        return self.row.question(self.word, self.stage.pace.span)

    @property
    def text(self) -> str:
        """What was heard of the answer."""
        return "".join(frame["text"] for frame in self.heard if frame["type"] == "delta")

    @property
    def ended(self) -> bool:
        return bool(self.heard) and self.heard[-1]["type"] in ENDS

    async def _struck(self, fault: Fault) -> None:
        self.struck_at = self.struck_at or time.monotonic()
        self.struck.set()
        if fault.way == "meanwhile":
            await self.row.meanwhile(self)
        elif fault.way in DEAFENING:
            self._hears_nothing()

    def _hears_nothing(self) -> None:
        """Lets the client know, who else would have to wait to find out."""
        self._inbox(self.request_id).put_nowait(None)

    # -- connections

    async def connect(self) -> None:
        """Opens a connection, beside any that is open."""
        url = f"{self.stage.url}?session_id={self.session_id}"
        self._line = await connect(url, max_size=None, open_timeout=PATIENCE)
        self._reading.append(asyncio.create_task(self._read(self._line)))

    async def _read(self, line: ClientConnection) -> None:
        with contextlib.suppress(ConnectionClosed):
            async for text in line:
                frame = json.loads(text)
                if "request_id" not in frame:
                    self.troubles.append(f"a frame of no request: {text!r}")
                    continue
                SERVER.validate(frame)
                if frame["request_id"] not in self._inboxes and frame.get("retryable"):
                    self._hears_nothing()  # it was the resume that failed: to be sent again
                self._inbox(frame["request_id"]).put_nowait(frame)

    def _inbox(self, request_id: str) -> "asyncio.Queue[Frame | None]":
        return self._inboxes.setdefault(request_id, asyncio.Queue())

    async def send(self, **frame: Any) -> None:
        assert self._line is not None
        await self._line.send(json.dumps(frame))

    async def leave(self) -> None:
        """Is gone, without a word; returns when the gateway knows."""
        line, reading = self._line, self._reading[-1]
        assert line is not None
        line.transport.abort()
        await reading
        await self.stage.gone(self)
        self._hears_nothing()

    async def ask(self, **more: Any) -> None:
        """Sends the question."""
        frame = {"action": "chat", "request_id": self.request_id, "body": self.question}
        await self.send(**frame, run=self.name, **self.row.frame, **more)

    async def resume(self, **more: Any) -> None:
        """Asks for what is missing."""
        self.resumes += 1
        if self.resumes > MOST_RESUMES:
            raise RuntimeError(f"{self.resumes} times resumed, and no end")
        await self.send(
            action="resume", request_id=self.request_id, from_seq=len(self.heard),
            run=self.resumed, **more,
        )  # fmt: skip

    async def come_back(self) -> None:
        """On a new connection, and asks for what is missing."""
        assert self._line is not None
        await self._line.close()
        await self._reading[-1]
        for frame in in_hand(self._inbox(self.request_id)):
            await self._take(frame)
        if not self.ended:
            await self.connect()
            await self.resume()

    async def aside(self, **frame: Any) -> None:
        """Sends a frame, and returns when the function is done with it."""
        token = secrets.token_hex(8)
        await self.send(**frame, aside=token)
        await self.stage.done_with(token)

    async def again(self) -> None:
        """The event of the question is delivered once more; returns when that is over."""
        await self.stage.deliver(self.events[0])

    # -- listening

    async def listen(self, until: int | None = None) -> None:
        """Hears the request to its end, or until so many frames of it are there."""
        while not self.ended and (until is None or len(self.heard) < until):
            frame = await self._next(self.request_id, self.row.quiet)
            if frame is None:
                await self.come_back()
            else:
                await self._take(frame)
        if self.ended and self.ended_at is None:
            self.ended_at = time.monotonic()

    async def _next(self, request_id: str, within: float) -> Frame | None:
        try:
            return await asyncio.wait_for(self._inbox(request_id).get(), within)
        except TimeoutError:
            return None

    async def _take(self, frame: Frame) -> None:
        seq = frame["seq"]
        never_taken = (frame["type"], frame.get("code")) == ("error", "invalid_request")
        if never_taken and self.resumes and not self.heard:
            await self.ask()
        elif seq == len(self.heard):
            self.heard.append(frame)
        elif seq > len(self.heard):
            raise RuntimeError(f"seq {seq} after {len(self.heard)} frames")
        else:
            self.doubled += 1
            if frame != self.heard[seq]:
                self.troubles.append(f"seq {seq} was told otherwise before")

    def thaw(self) -> None:
        """The frozen Lambda goes on, as if nothing had been."""
        os.kill(self.watches[self.name].process, signal.SIGCONT)

    async def crashed(self) -> None:
        """Returns when nothing can be heard any more; the frames before are taken."""
        while (frame := await self._next(self.request_id, PATIENCE)) is not None:
            await self._take(frame)
        self._hears_nothing()

    async def refused(self, code: str) -> None:
        """Sends the question once more, and is refused."""
        in_hand(self._inbox(self.request_id))
        await self.ask()
        frame = await self._next(self.request_id, PATIENCE)
        if frame is None or frame.get("code") != code:
            self.troubles.append(f"not {code}: {frame}")

    async def finds_it_busy(self) -> None:
        """Asks and clears while an answer runs, and sees that it does."""
        for frame in ({"action": "chat", "body": "hi"}, {"action": "clear"}):
            end = (await self.answer(**frame))[-1]
            if end.get("code") != "busy":
                self.troubles.append(f"{frame} met no other request: {end}")
        done = (await self.answer(action="history"))[-1]
        if done.get("running") != self.request_id:
            self.troubles.append(f"history does not know what runs: {done}")

    async def compare_resumes(self) -> None:
        """Resumes from every place; hears the same again."""
        told = self.heard
        for seq in range(len(told)):
            self.heard = told[:seq]
            await self.resume()
            while not self.ended:
                frame = await self._next(self.request_id, PATIENCE)
                if frame is None:
                    raise RuntimeError(f"nothing from seq {seq} on")
                await self._take(frame)
            if self.heard != told:
                self.troubles.append(f"from seq {seq} on it is told otherwise")

    async def answer(self, **frame: Any) -> list[Frame]:
        """Asks something else on the newest connection, and gives its frames."""
        request_id = secrets.token_hex(8)
        await self.send(request_id=request_id, **frame)
        frames: list[Frame] = []
        while not frames or frames[-1]["type"] not in ENDS:
            heard = await self._next(request_id, PATIENCE)
            if heard is None:
                raise RuntimeError(f"no answer to {frame.get('action')}")
            frames.append(heard)
        return frames

    # -- at the end

    async def history(self) -> list[Frame]:
        """The session's turns, once nothing runs in it."""
        until = time.monotonic() + PATIENCE
        while True:
            *pages, done = await self.answer(action="history")
            if "running" not in done:
                return [turn for page in pages for turn in page["turns"]]
            if time.monotonic() > until:
                raise RuntimeError("the session never came free")
            await asyncio.sleep(AFTER_A_LEASE)

    async def prompt_of_next_turn(self) -> Mapping[str, Any]:
        """What the model is asked after all this."""
        frames = await self.answer(action="chat", body=ECHO)
        if frames[-1]["type"] != "done":
            raise RuntimeError(f"the next turn ended with {frames[-1]['code']}")
        prompt: Mapping[str, Any] = json.loads(
            "".join(frame["text"] for frame in frames if frame["type"] == "delta")
        )
        return prompt

    async def play(self) -> Outcome:
        """The whole run, and its outcome."""
        self.stage.enter(self)
        try:
            async with asyncio.timeout(2 * PATIENCE):
                await self.connect()
                await self.row.story(self)
                return await self._judged()
        except (RuntimeError, ValueError, OSError, WebSocketException) as error:
            self.troubles.append(f"{type(error).__name__}: {error}")
            return self._outcome("?", 0)
        finally:
            self.stage.leave(self)
            if self._line is not None:
                await self._line.close()
            for reading in self._reading:
                reading.cancel()
            await asyncio.gather(*self._reading, return_exceptions=True)

    async def _judged(self) -> Outcome:
        for watch in self.watches.values():
            await asyncio.gather(*watch.happening)
        turns = await self.history()
        prompt = await self.prompt_of_next_turn()
        ours = [turn for turn in turns if turn["request_id"] == self.request_id]
        charged = await self.stage.charged(self.question)
        self._check_memory(ours)
        self._check_prompt(turns, prompt)
        self._check_frames()
        if charged > 1:
            self.troubles.append(f"charged {charged} times")
        return self._outcome(ours[0]["state"] if ours else "-", charged)

    def _check_memory(self, ours: list[Frame]) -> None:
        """What is kept is what was told; after a crash, as far as it had been written down."""
        if len(ours) > 1:
            self.troubles.append(f"{len(ours)} turns of one request")
        kept = ours[0]["assistant"] if ours else ""
        crashed = bool(ours) and ours[0]["state"] == "unfinished"
        said = self.row.said(self.word)
        if not (said.startswith(self.text) and said.startswith(kept)):
            self.troubles.append("not what the model said")
        if kept != self.text and not (crashed and self.text.startswith(kept)):
            self.troubles.append(f"heard {len(self.text)} characters, kept {len(kept)}")
        if ours and ours[0]["state"] == "complete" and kept != said:
            self.troubles.append("called complete, and is not")
        if ours and ours[0]["user"] != self.question:
            self.troubles.append("another question was kept")

    def _check_prompt(self, turns: list[Frame], prompt: Mapping[str, Any]) -> None:
        """User and assistant in turn: what history shows, and the new question."""
        said = [
            (role, turn[role])
            for turn in turns
            if turn["assistant"]
            for role in ("user", "assistant")
        ]
        asked = [(message["role"], message["content"]) for message in prompt["messages"]]
        if asked != [*said, ("user", ECHO)]:
            self.troubles.append(f"roles {[role for role, _ in asked]}, {len(said)} texts kept")

    def _check_frames(self) -> None:
        """One end, nothing after it, and nothing twice that was not sent twice."""
        inbox = self._inbox(self.request_id)
        late = in_hand(inbox)
        repeated = self.row.overlaps or any(fault.way in REPEATED for fault in self.row.faults)
        if [frame for frame in late if not (repeated and frame in self.heard)]:
            self.troubles.append(f"{len(late)} frames after the end: {late}")
        if self.doubled and not repeated:
            self.troubles.append(f"{self.doubled} frames twice")

    def _outcome(self, kept: str, charged: int) -> Outcome:
        end = self.heard[-1] if self.ended else {"type": "nothing"}
        told = {"done": end.get("stop_reason"), "error": end.get("code")}.get(end["type"], "")
        waited = self.ended_at and self.struck_at and self.ended_at - self.struck_at
        return Outcome(
            heard=f"{end['type']} {told}".strip(),
            kept=kept,
            charged=charged,
            ends=sum(frame["type"] in ENDS for frame in self.heard),
            posts=sum(self.watches[self.name].calls[call] for call in POSTS),
            resumes=self.resumes,
            seconds=waited or None,
            calls=frozenset(self.watches[self.name].calls),
            missed=any(watch.missed for watch in self.watches.values()),
            troubles=tuple(self.troubles),
        )


def in_hand(queue: "asyncio.Queue[Frame | None]") -> list[Frame]:
    """The frames that have arrived by now."""
    arrived = [queue.get_nowait() for _ in range(queue.qsize())]
    return [frame for frame in arrived if frame is not None]
