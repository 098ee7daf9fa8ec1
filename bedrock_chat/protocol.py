"""One request's life on the wire, without the wire: what to send, and which frames count. Pure.

Rules
- Frames are told in the order of their `seq`, each once, whatever breaks or comes twice.
- A question of which nothing was heard is sent again under its own `request_id`: the server never
  answers one twice. `duplicate` says that it was taken, and `resume` then tells what was missed.
- A request ends with one `done` or `error`, and nothing counts after it.

Does not know sockets or time: whoever has them says when a connection is new, or silent for long.
"""

import json
import secrets
from collections.abc import Mapping
from typing import Any

Frame = Mapping[str, Any]

# API Gateway quotas for WebSocket APIs: message payload size 128 KB, in frames of up to 32 KB.
MESSAGE_BYTES = 128 * 1024
FRAME_BYTES = 32 * 1024
UTF8_MOST_BYTES = 4  # of one character

ID_BYTES = 24  # as the server's own ids of sessions: 192 bits, which nobody guesses

PING: Frame = {"action": "ping"}

# As src/handler.py: how a turn that only goes on with an answer begins in the history.
CONTINUE = "Continue exactly where your last answer ended."


class TooLongError(Exception):
    """The question does not fit one message. The message says so to a person."""


def new_id() -> str:
    """An id that nobody guesses, for a session or a request."""
    return secrets.token_urlsafe(ID_BYTES)


def chat(body: str, session_id: str) -> Frame:
    """Asks the model. Raises TooLongError."""
    # What came from a shell or a terminal may hold bytes that are no text; JSON cannot.
    asked = _request("chat", session_id, body=body.encode("utf-8", "replace").decode())
    size = len(written(asked).encode())
    if size > MESSAGE_BYTES:
        raise TooLongError(
            f"The question takes {size:,} bytes, and API Gateway takes {MESSAGE_BYTES:,}. "
            "Nothing was sent: shorten it, or ask in several questions."
        )
    return asked


def go_on(session_id: str) -> Frame:
    """Asks the model for the rest of its last answer."""
    return {**_request("chat", session_id), "continue": True}


def goes_on(turn: Mapping[str, Any]) -> bool:
    """Whether nobody typed this turn's question: it is the rest of the answer before."""
    return str(turn["user"]).startswith(CONTINUE)


def history(session_id: str, limit: int) -> Frame:
    """Asks for the newest turns."""
    return _request("history", session_id, limit=limit)


def clear(session_id: str) -> Frame:
    """Asks to forget the session's turns."""
    return _request("clear", session_id)


def resume(session_id: str, request_id: str) -> Frame:
    """Asks for the frames of a request that somebody else sent."""
    return {"action": "resume", "session_id": session_id, "request_id": request_id}


def _request(action: str, session_id: str, **fields: object) -> Frame:
    return {"action": action, "session_id": session_id, "request_id": new_id(), **fields}


def written(frame: Frame) -> str:
    """The frame as it is sent."""
    return json.dumps(frame, ensure_ascii=False, separators=(",", ":"))


def fragments(text: str) -> list[str]:
    """The message in WebSocket frames that API Gateway takes, however its characters are coded."""
    size = FRAME_BYTES // UTF8_MOST_BYTES
    return [text[at : at + size] for at in range(0, len(text), size)]


def read(text: str | bytes) -> Frame:
    """What the server sent; empty where it is no JSON object."""
    try:
        frame = json.loads(text)
    except ValueError:
        return {}
    return frame if isinstance(frame, dict) else {}


class Exchange:
    """One request, from the first time that it is sent to `end`, its last frame."""

    def __init__(self, request: Frame) -> None:
        self.end: Frame | None = None
        self._request = request
        self._id = request["request_id"]
        self._resumable = request["action"] in ("chat", "clear", "resume")  # these are taken once
        self._taken = request["action"] == "resume"
        self._stopping = False
        self._next = 0
        self._ahead: dict[int, Frame] = {}

    @property
    def over(self) -> bool:
        """Whether all of it was told."""
        return self.end is not None

    def ask(self) -> list[Frame]:
        """What to send on a connection that is new, or has been silent for long."""
        asked = self._resume() if self._taken and self._resumable else self._request
        return [asked, self._stop()] if self._stopping else [asked]

    def stop(self) -> list[Frame]:
        """What to send so that the answer ends; `ask` repeats it."""
        self._stopping = True
        return [self._stop()]

    def hear(self, frame: Frame) -> tuple[list[Frame], list[Frame]]:
        """Takes one frame from the server: the frames that are now due, and what to send."""
        seq = frame.get("seq")
        if self.over or frame.get("request_id") != self._id or not isinstance(seq, int):
            return [], []
        if frame.get("code") == "duplicate":  # it was sent again, and had arrived the first time
            asked = [] if self._taken else [self._resume()]
            self._taken = True
            return [], asked
        if seq < self._next and not _refuses(frame):
            return [], []
        self._taken = True
        if seq < self._next:  # there is nothing more to be told
            self.end = frame
            return [frame], []
        self._ahead[seq] = frame
        due = []
        while self._next in self._ahead:
            due.append(self._ahead.pop(self._next))
            self._next += 1
            if due[-1].get("type") in ("done", "error"):
                self.end = due[-1]
                break
        return due, []

    def _resume(self) -> Frame:
        return {**resume(self._request["session_id"], self._id), "from_seq": self._next}

    def _stop(self) -> Frame:
        session_id = self._request["session_id"]
        return {"action": "stop", "session_id": session_id, "request_id": self._id}


def _refuses(frame: Frame) -> bool:
    """Whether the frame says that the rest will never be told: to a `resume`, with a `seq` of 0.

    A retryable error with an old `seq` is of a question that was sent twice; the other copy runs.
    """
    return frame.get("type") == "error" and not frame.get("retryable")
