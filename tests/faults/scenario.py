"""One run of one row: a client that follows the protocol, the faults, and the checks at the end.

The client's rules, which any client can follow: it orders frames by `seq` and ignores those that it
has; when no more frames arrive it reconnects and resumes; a request that was never taken it sends
again. Everything that must not happen to it goes into `problems`.
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

from faults.harness import Harness
from faults.monitor import POSTS, CallMonitor
from faults.proxy import Fault
from faults.rows import Outcome, Row, leave
from support.e2e_clients import SERVER
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, WebSocketException

PATIENCE = 180.0  # seconds after which a missing frame is a failure: two leases, a slow machine
HISTORY_PAUSE = 0.5  # between two requests for the history while the session is busy
MOST_RESUMES = 50
ENDS = ("done", "error")
# After these kinds of fault no more frames arrive on this connection.
SILENCING = {"killed before", "killed after", "frozen", "Gone", "Forbidden", "PayloadTooLarge"}
REPEATING = {"lost", "silent"}  # a post that was repeated may arrive twice
ECHO = '/script {"echo": true}'

Frame = dict[str, Any]


@dataclass
class Scenario:
    """One run. `request_id` is the request that the row is about."""

    harness: Harness
    row: Row
    name: str = field(default_factory=lambda: secrets.token_hex(6))
    frames: list[Frame] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)
    events: list[bytes] = field(default_factory=list)
    trace: list[str] = field(default_factory=list)
    began: float = field(default_factory=time.monotonic)
    duplicates: int = 0
    resumes: int = 0
    fault_happened: asyncio.Event = field(default_factory=asyncio.Event)
    fault_at: float | None = None
    ended_at: float | None = None
    _socket: ClientConnection | None = None
    _readers: list[asyncio.Task[None]] = field(default_factory=list)
    _inboxes: dict[str, asyncio.Queue[Frame | None]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.monitors = {
            self.name: CallMonitor(
                self.row.faults,
                self._on_fault,
                self.row.holds_until,
                holds_for_client=self.row.held_by_client,
            ),
            self.resume_run: CallMonitor(self.row.resume_faults, self._on_fault),
        }

    @property
    def resume_run(self) -> str:
        """The run name of calls that serve a resume."""
        return f"{self.name}/resume"

    @property
    def session_id(self) -> str:
        return f"session-{self.name}"

    @property
    def request_id(self) -> str:
        return f"request-{self.name}"

    @property
    def word(self) -> str:
        """The text of each of the model's chunks; unique to this run."""
        return f"é{self.name} "

    @property
    def question(self) -> str:
        return self.row.question(self.word)

    @property
    def text(self) -> str:
        """The text received so far."""
        return "".join(frame["text"] for frame in self.frames if frame["type"] == "delta")

    @property
    def ended(self) -> bool:
        return bool(self.frames) and self.frames[-1]["type"] in ENDS

    def _note(self, what: str, *details: object) -> None:
        """For a row that fails."""
        self.trace.append(
            " ".join([f"{time.monotonic() - self.began:8.3f} {what}", *map(str, details)])
        )

    async def _on_fault(self, fault: Fault) -> None:
        self._note("fault", fault)
        self.fault_at = self.fault_at or time.monotonic()
        self.fault_happened.set()
        if fault.kind == "meanwhile" and self.row.meanwhile is leave:
            await self.leave()  # before the call continues
        elif fault.kind == "meanwhile":  # while it continues; the answer is held until this is done
            reactions = self.monitors[self.name].reactions
            reactions.append(asyncio.ensure_future(self.row.meanwhile(self)))
        elif fault.kind in SILENCING:
            self._no_more_frames()

    def _no_more_frames(self) -> None:
        """Sends the client what it would otherwise notice after `quiet` seconds."""
        self._inbox(self.request_id).put_nowait(None)

    def release(self) -> None:
        """Lets an answer that is `held_by_client` end."""
        self.monitors[self.name].release()

    # -- connections

    async def connect(self) -> None:
        """Opens a connection, beside any that is open."""
        url = f"{self.harness.url}?session_id={self.session_id}"
        self._socket = await connect(url, max_size=None, open_timeout=PATIENCE)
        self._readers.append(asyncio.create_task(self._read(self._socket)))
        self._note("connected")

    async def _read(self, socket: ClientConnection) -> None:
        with contextlib.suppress(ConnectionClosed):
            async for text in socket:
                frame = json.loads(text)
                self._note("received", text)
                if "request_id" not in frame:
                    self.problems.append(f"a frame without a request_id: {text!r}")
                    continue
                SERVER.validate(frame)
                if frame["request_id"] not in self._inboxes and frame.get("retryable"):
                    self._no_more_frames()  # the resume failed: send it again
                self._inbox(frame["request_id"]).put_nowait(frame)

    def _inbox(self, request_id: str) -> "asyncio.Queue[Frame | None]":
        return self._inboxes.setdefault(request_id, asyncio.Queue())

    async def send(self, **frame: Any) -> None:
        assert self._socket is not None
        self._note("sends", frame)
        await self._socket.send(json.dumps(frame))

    async def leave(self) -> None:
        """Aborts the connection; returns when the gateway knows."""
        socket, reader = self._socket, self._readers[-1]
        assert socket is not None
        socket.transport.abort()
        self._note("leaves")
        await reader
        await self.harness.disconnected(self)
        self._no_more_frames()

    async def ask(self, **more: Any) -> None:
        """Sends the question."""
        frame = {"action": "chat", "request_id": self.request_id, "body": self.question}
        pace = self.harness.pace
        lease = pace.lease if self.row.recovers else pace.long_lease
        members = {"run": self.name, "lease": lease, "held": self.row.holds}
        await self.send(**frame, **members, **self.row.frame, **more)

    async def resume(self, **more: Any) -> None:
        """Requests the missing frames."""
        self.resumes += 1
        if self.resumes > MOST_RESUMES:
            raise RuntimeError(f"no end after {self.resumes} resumes")
        await self.send(
            action="resume", request_id=self.request_id, from_seq=len(self.frames),
            run=self.resume_run, **more,
        )  # fmt: skip

    async def reconnect(self) -> None:
        """Resumes on a new connection."""
        assert self._socket is not None
        await self._socket.close()
        await self._readers[-1]
        for frame in received(self._inbox(self.request_id)):
            await self._take(frame)
        if not self.ended:
            await self.connect()
            await self.resume()

    async def send_and_wait(self, **frame: Any) -> None:
        """Sends a frame; returns when the function has handled it."""
        token = secrets.token_hex(8)
        await self.send(**frame, token=token)
        await self.harness.handled(token)

    async def redeliver(self) -> None:
        """Delivers the question's event again; returns when the function has handled it."""
        await self.harness.deliver(self.events[0])

    # -- receiving

    async def listen(self, count: int | None = None) -> None:
        """Receives the request's frames to its end, or until there are `count`."""
        while not self.ended and (count is None or len(self.frames) < count):
            frame = await self._next(self.request_id, self.row.quiet)
            if frame is None:
                await self.reconnect()
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
        if never_taken and self.resumes and not self.frames:
            await self.ask()
        elif seq == len(self.frames):
            self.frames.append(frame)
        elif seq > len(self.frames):
            raise RuntimeError(f"seq {seq} after {len(self.frames)} frames")
        else:
            self.duplicates += 1
            if frame != self.frames[seq]:
                self.problems.append(f"seq {seq} differs from the first time")

    def thaw(self) -> None:
        """Continues the frozen Lambda."""
        os.kill(self.monitors[self.name].process, signal.SIGCONT)

    async def crashed(self) -> None:
        """Returns when no more frames can arrive; takes those before."""
        while (frame := await self._next(self.request_id, PATIENCE)) is not None:
            await self._take(frame)
        self._no_more_frames()

    async def expect_refusal(self, code: str) -> None:
        """Sends the question again, which must be refused with this code."""
        received(self._inbox(self.request_id))
        await self.ask()
        frame = await self._next(self.request_id, PATIENCE)
        if frame is None or frame.get("code") != code:
            self.problems.append(f"not {code}: {frame}")

    async def expect_busy(self) -> None:
        """Asks and clears while an answer is streaming: both are refused; history lists it."""
        for frame in ({"action": "chat", "body": "hi"}, {"action": "clear"}):
            end = (await self.answer(**frame))[-1]
            if end.get("code") != "busy":
                self.problems.append(f"{frame} was not refused as busy: {end}")
        done = (await self.answer(action="history"))[-1]
        if done.get("running") != self.request_id:
            self.problems.append(f"history does not list the running request: {done}")

    async def compare_resumes(self) -> None:
        """Resumes from every seq; the frames must be the same."""
        all_frames = self.frames
        for seq in range(len(all_frames)):
            self.frames = all_frames[:seq]
            await self.resume()
            while not self.ended:
                frame = await self._next(self.request_id, PATIENCE)
                if frame is None:
                    raise RuntimeError(f"no frame from seq {seq} on")
                await self._take(frame)
            if self.frames != all_frames:
                self.problems.append(f"from seq {seq} on the frames differ")

    async def answer(self, **frame: Any) -> list[Frame]:
        """Sends another request on the newest connection; returns its frames."""
        request_id = secrets.token_hex(8)
        await self.send(request_id=request_id, **frame)
        frames: list[Frame] = []
        while not frames or frames[-1]["type"] not in ENDS:
            received_frame = await self._next(request_id, PATIENCE)
            if received_frame is None:
                raise RuntimeError(f"no answer to {frame.get('action')}")
            if received_frame not in frames:  # a post that took too long is repeated
                frames.append(received_frame)
        return frames

    # -- at the end

    async def history(self) -> list[Frame]:
        """The session's turns, once no request runs in it."""
        deadline = time.monotonic() + PATIENCE
        while True:
            *pages, done = await self.answer(action="history")
            if "running" not in done:
                return [turn for page in pages for turn in page["turns"]]
            if time.monotonic() > deadline:
                raise RuntimeError("the session was never released")
            await asyncio.sleep(HISTORY_PAUSE)

    async def prompt_of_next_turn(self) -> Mapping[str, Any]:
        """The request body that the model receives for the next question."""
        frames = await self.answer(action="chat", body=ECHO)
        if frames[-1]["type"] != "done":
            raise RuntimeError(f"the next turn ended with {frames[-1]['code']}")
        prompt: Mapping[str, Any] = json.loads(
            "".join(frame["text"] for frame in frames if frame["type"] == "delta")
        )
        return prompt

    async def run(self) -> Outcome:
        """Runs the row; returns its outcome."""
        self.harness.enter(self)
        try:
            async with asyncio.timeout(2 * PATIENCE):
                await self.connect()
                await self.row.client(self)
                return await self._judge()
        except (RuntimeError, ValueError, OSError, WebSocketException) as error:
            self.problems.append(f"{type(error).__name__}: {error}")
            return self._outcome("?", 0)
        finally:
            self.harness.leave(self)
            if self._socket is not None:
                await self._socket.close()
            for reader in self._readers:
                reader.cancel()
            await asyncio.gather(*self._readers, return_exceptions=True)

    async def _judge(self) -> Outcome:
        for monitor in self.monitors.values():
            await asyncio.gather(*monitor.reactions)
        turns = await self.history()
        prompt = await self.prompt_of_next_turn()
        ours = [turn for turn in turns if turn["request_id"] == self.request_id]
        charged = await self.harness.charged(self.question)
        self._check_turn(ours)
        self._check_prompt(turns, prompt)
        self._check_frames()
        if charged > 1:
            self.problems.append(f"charged {charged} times")
        return self._outcome(ours[0]["state"] if ours else "-", charged)

    def _check_turn(self, ours: list[Frame]) -> None:
        """The stored answer is the one received; after a crash, as far as it was stored."""
        if len(ours) > 1:
            self.problems.append(f"{len(ours)} turns of one request")
        stored = ours[0]["assistant"] if ours else ""
        crashed = bool(ours) and ours[0]["state"] == "unfinished"
        answer = self.row.answer(self.word)
        if not (answer.startswith(self.text) and answer.startswith(stored)):
            self.problems.append("not the text of the model")
        if stored != self.text and not (crashed and self.text.startswith(stored)):
            self.problems.append(f"received {len(self.text)} characters, stored {len(stored)}")
        if ours and ours[0]["state"] == "complete" and stored != answer:
            self.problems.append("the state is complete, the answer is not")
        if ours and ours[0]["user"] != self.question:
            self.problems.append("another question was stored")

    def _check_prompt(self, turns: list[Frame], prompt: Mapping[str, Any]) -> None:
        """User and assistant alternate: the turns of the history, and the new question."""
        stored = [
            (role, turn[role])
            for turn in turns
            if turn["assistant"]
            for role in ("user", "assistant")
        ]
        messages = [(message["role"], message["content"]) for message in prompt["messages"]]
        if messages != [*stored, ("user", ECHO)]:
            self.problems.append(
                f"roles {[role for role, _ in messages]}, {len(stored)} texts stored"
            )

    def _check_frames(self) -> None:
        """One end, nothing after it, and no frame twice that was not posted twice."""
        inbox = self._inbox(self.request_id)
        late = received(inbox)
        abandoned = any(monitor.abandoned for monitor in self.monitors.values())
        repeating = any(fault.kind in REPEATING for fault in self.row.faults)
        repeated = self.row.overlaps or repeating or abandoned
        if [frame for frame in late if not (repeated and frame in self.frames)]:
            self.problems.append(f"{len(late)} frames after the end: {late}")
        if self.duplicates and not repeated:
            self.problems.append(f"{self.duplicates} frames twice")

    def _outcome(self, turn: str, charged: int) -> Outcome:
        for name, monitor in self.monitors.items():
            self._note("calls of", name, dict(monitor.calls))
        end = self.frames[-1] if self.ended else {"type": "nothing"}
        detail = {"done": end.get("stop_reason"), "error": end.get("code")}.get(end["type"], "")
        waited = self.ended_at and self.fault_at and self.ended_at - self.fault_at
        return Outcome(
            end=f"{end['type']} {detail}".strip(),
            turn=turn,
            charged=charged,
            ends=sum(frame["type"] in ENDS for frame in self.frames),
            posts=sum(self.monitors[self.name].calls[call] for call in POSTS),
            resumes=self.resumes,
            seconds=waited or None,
            calls=frozenset(self.monitors[self.name].calls),
            missed=any(monitor.missed for monitor in self.monitors.values()),
            problems=tuple(self.problems),
            trace=tuple(self.trace),
        )


def received(queue: "asyncio.Queue[Frame | None]") -> list[Frame]:
    """The frames that have arrived by now."""
    arrived = [queue.get_nowait() for _ in range(queue.qsize())]
    return [frame for frame in arrived if frame is not None]
