"""One request's state in the wire protocol: what to send, and which frames count. Pure.

Rules
- Frames are delivered in the order of their `seq`, each once, whatever breaks or arrives twice.
- A question that got no frame is sent again under the same `request_id`: the server never answers
  one twice. `duplicate` means that the server has it, and a `resume` then returns its frames.
- A request ends with one `done` or `error`; frames after it are ignored.

Does not know sockets or time: the caller reports a new connection or a long silence by asking for
`frames_to_send` again.
"""

import json
import secrets
from collections.abc import Mapping
from typing import Any

Frame = Mapping[str, Any]

# API Gateway quotas for WebSocket APIs: message payload size 128 KB, in frames of up to 32 KB.
MESSAGE_BYTES = 128 * 1024
FRAME_BYTES = 32 * 1024
MAX_UTF8_BYTES = 4  # of one character

ID_BYTES = 24  # as the server's session ids: 192 bits, which cannot be guessed

PING: Frame = {"action": "ping"}

# As in src/turn.py: how the history shows a turn that continues the answer before it.
CONTINUE = "Continue exactly where your last answer ended."


class QuestionTooLongError(Exception):
    """The question does not fit one message. The message is a sentence for the user."""


def new_id() -> str:
    """Return an unguessable id, for a session or a request."""
    return secrets.token_urlsafe(ID_BYTES)


def chat(body: str, session_id: str) -> Frame:
    """Return a request for an answer. Raises QuestionTooLongError."""
    # Text from a shell or a terminal may contain lone surrogates, which JSON cannot.
    request = _request("chat", session_id, body=body.encode("utf-8", "replace").decode())
    size = len(encode(request).encode())
    if size > MESSAGE_BYTES:
        raise QuestionTooLongError(
            f"The question has {size:,} bytes; the limit of API Gateway is {MESSAGE_BYTES:,}. "
            "Nothing was sent. Shorten it, or split it into several questions."
        )
    return request


def continue_answer(session_id: str) -> Frame:
    """Return a request for the rest of the last answer."""
    return {**_request("chat", session_id), "continue": True}


def is_continuation(turn: Mapping[str, Any]) -> bool:
    """Whether this turn continues the answer before it, so that its question was not typed."""
    return str(turn["user"]).startswith(CONTINUE)


def history(session_id: str, limit: int) -> Frame:
    """Return a request for the newest turns."""
    return _request("history", session_id, limit=limit)


def clear(session_id: str) -> Frame:
    """Return a request to delete the session's turns."""
    return _request("clear", session_id)


def resume(session_id: str, request_id: str) -> Frame:
    """Return a request for the frames of a request that another client sent."""
    return {"action": "resume", "session_id": session_id, "request_id": request_id}


def _request(action: str, session_id: str, **fields: object) -> Frame:
    return {"action": action, "session_id": session_id, "request_id": new_id(), **fields}


def encode(frame: Frame) -> str:
    """Return the frame as it is sent."""
    return json.dumps(frame, ensure_ascii=False, separators=(",", ":"))


def fragments(text: str) -> list[str]:
    """Split a message into WebSocket frames within API Gateway's limit, whatever its characters."""
    size = FRAME_BYTES // MAX_UTF8_BYTES
    return [text[at : at + size] for at in range(0, len(text), size)]


def decode(text: str | bytes) -> Frame:
    """Return the frame that the server sent; empty if it is not a JSON object."""
    try:
        frame = json.loads(text)
    except ValueError:
        return {}
    return frame if isinstance(frame, dict) else {}


class Exchange:
    """One request, from the first time it is sent until `last_frame`, its `done` or `error`."""

    def __init__(self, request: Frame) -> None:
        self.last_frame: Frame | None = None
        self._request = request
        self._id = request["request_id"]
        # The server stores the frames of these actions; `history` is simply sent again.
        self._resumable = request["action"] in ("chat", "clear", "resume")
        self._accepted = request["action"] == "resume"
        self._stopping = False
        self._next_seq = 0
        self._early: dict[int, Frame] = {}

    @property
    def finished(self) -> bool:
        """Whether the last frame was delivered."""
        return self.last_frame is not None

    def frames_to_send(self) -> list[Frame]:
        """Return what to send on a new connection, or on one that was silent for too long."""
        first = self._resume() if self._accepted and self._resumable else self._request
        return [first, self._stop()] if self._stopping else [first]

    def stop(self) -> list[Frame]:
        """Return what to send to end the answer; `frames_to_send` repeats it from now on."""
        self._stopping = True
        return [self._stop()]

    def receive(self, frame: Frame) -> tuple[list[Frame], list[Frame]]:
        """Process one frame from the server; return the frames now due, and what to send."""
        seq = frame.get("seq")
        if self.finished or frame.get("request_id") != self._id or not isinstance(seq, int):
            return [], []
        if frame.get("code") == "duplicate":  # it was sent twice, and the first copy had arrived
            replies = [] if self._accepted else [self._resume()]
            self._accepted = True
            return [], replies
        if seq < self._next_seq and not _is_permanent_error(frame):
            return [], []
        self._accepted = True
        if seq < self._next_seq:  # no more frames will come
            self.last_frame = frame
            return [frame], []
        self._early[seq] = frame
        due = []
        while self._next_seq in self._early:
            due.append(self._early.pop(self._next_seq))
            self._next_seq += 1
            if due[-1].get("type") in ("done", "error"):
                self.last_frame = due[-1]
                break
        return due, []

    def _resume(self) -> Frame:
        return {**resume(self._request["session_id"], self._id), "from_seq": self._next_seq}

    def _stop(self) -> Frame:
        session_id = self._request["session_id"]
        return {"action": "stop", "session_id": session_id, "request_id": self._id}


def _is_permanent_error(frame: Frame) -> bool:
    """Whether the frame is an error that cannot be retried.

    With an old `seq`, a permanent error answers a `resume`: the rest will never come. A retryable
    one belongs to a question that was sent twice, whose other copy is still running.
    """
    return frame.get("type") == "error" and not frame.get("retryable")
