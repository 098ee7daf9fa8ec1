"""The smallest server that implements the protocol, for one request, without a connection.

All frames exist at once; the tests decide which of them arrive, and when.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

Frame = Mapping[str, Any]


@dataclass
class Server:
    """Answers one chat request, whatever its id, with these words."""

    words: Sequence[str]
    end: Frame
    request_id: str = ""
    accepted: int = 0
    stopped: bool = False

    @property
    def frames(self) -> list[Frame]:
        frames = [
            {"type": "start", "session_id": "s", "model": "m"},
            *({"type": "delta", "text": word} for word in self.words),
            self.end,
        ]
        return [{**each, "request_id": self.request_id, "seq": n} for n, each in enumerate(frames)]

    def answer(self, request: Frame) -> list[Frame]:
        """Return the frames that answer a client's frame."""
        if request["action"] == "stop":
            self.stopped = True
            return []
        if request["action"] == "ping":
            return [{"type": "pong"}]
        if request["action"] == "resume":
            return self._resumed(request["request_id"], request.get("from_seq", 0))
        if self.request_id == request["request_id"]:
            return [self._error("duplicate", "This request was already accepted.")]
        self.request_id = request["request_id"]
        self.accepted += 1
        return self.frames

    def _resumed(self, request_id: str, from_seq: int) -> list[Frame]:
        if request_id != self.request_id:
            return [{**self._error("invalid_request", "Unknown."), "request_id": request_id}]
        return self.frames[from_seq:] or [{**self.frames[-1], "seq": from_seq}]

    def _error(self, code: str, message: str) -> Frame:
        return {
            "type": "error",
            "request_id": self.request_id,
            "seq": 0,
            "code": code,
            "message": message,
            "retryable": False,
        }
