"""What a client may rely on, as the smallest server that keeps the protocol: one request's frames.

The frames are there at once; what a connection makes of them is the tests' business.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

Frame = Mapping[str, Any]


@dataclass
class Server:
    """Answers one chat with these words, under whatever id it is asked."""

    words: Sequence[str]
    end: Frame
    request_id: str = ""
    taken: int = 0
    stopped: bool = False

    @property
    def frames(self) -> list[Frame]:
        told = [
            {"type": "start", "session_id": "s", "model": "m"},
            *({"type": "delta", "text": word} for word in self.words),
            self.end,
        ]
        return [{**each, "request_id": self.request_id, "seq": n} for n, each in enumerate(told)]

    def answer(self, asked: Frame) -> list[Frame]:
        """The frames that this client's frame is answered with."""
        if asked["action"] == "stop":
            self.stopped = True
            return []
        if asked["action"] == "ping":
            return [{"type": "pong"}]
        if asked["action"] == "resume":
            return self._told_again(asked["request_id"], asked.get("from_seq", 0))
        if self.request_id == asked["request_id"]:
            return [self._error("duplicate", "It was taken before.")]
        self.request_id = asked["request_id"]
        self.taken += 1
        return self.frames

    def _told_again(self, request_id: str, from_seq: int) -> list[Frame]:
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
