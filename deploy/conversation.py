"""What `make smoke` tests, and a conversation with it.

Rules
- Every frame is checked as a client would: its request, its number, and that it comes in time.
- A failure message names what to check, for readers who do not know the system.

Does not know the steps of the test.
"""

import json
import secrets
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from websockets.exceptions import ConnectionClosed
from websockets.sync.client import ClientConnection

Frame = dict[str, Any]
Say = Callable[[str], None]

EMPTY_SECONDS = 10.0  # for the answer to an empty frame, which no model writes
# API Gateway's message after 29 s, where it waits for the function.
TIMED_OUT = "Endpoint request timed out"


class SmokeError(Exception):
    """A step failed. The message says what was received, and what to check."""


class UntestedError(SmokeError):
    """The deployment cannot be tested from here, which says nothing about it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """The deployment to test, from Terraform's outputs; `function` is empty for a local stack.

    `page` is printed and not tested: a new page is available only after some minutes.
    """

    url: str
    auth: str = "none"
    region: str = ""
    function: str = ""
    page: str = ""
    integration: str = "async"

    @property
    def logs(self) -> str:
        """Where the function's log is."""
        if not self.function:
            return "the output of `make run`"
        return f"the log group /aws/lambda/{self.function} in {self.region}"


# What to check if no answer comes, by action.
NO_ANSWER = {
    "ping": "API Gateway answers a ping without the function: the stage does not serve the "
    "routes of routes.json. Run `make deploy` again, and check the stage in the console.",
    "chat": "Check {logs}. If it has no event for the message, API Gateway did not invoke the "
    'function asynchronously: set the Terraform variable chat_integration = "proxy" and deploy '
    "again. (Each part of asynchronous invocation from a WebSocket route is documented, but AWS "
    "shows no example of the combination.) Otherwise its errors say why nothing was posted.",
    "history": "Check {logs}.",
    "clear": "Check {logs}.",
}

# What to do about an error frame, by its code; the messages of other codes suffice.
REMEDIES = {
    "model_unavailable": "Run `make preflight`: it checks access to the model in this Region.",
    "over_budget": "This user's requests_per_day or tokens_per_day is used up.",
    "throttled": "Bedrock or DynamoDB throttled the request: try again, or raise the quota.",
    "model_error": "The model failed: try again, then check {logs}.",
    "internal": "The function failed: check {logs}.",
}


@dataclass(slots=True)
class Conversation:
    """One connection, with the checks that apply to every frame.

    `answered` is the answer that the steps have received: its request, and its time in ms.
    """

    target: Target
    socket: ClientConnection
    patience: float
    answered: tuple[str, int] | None = None

    def request(self, action: str, *, numbered: bool = True, **fields: str) -> list[Frame]:
        """Sends a request; returns its frames, in order, up to the terminal one.

        Without a number of its own the request has API Gateway's id, which is also in its log.
        """
        request_id = f"smoke-{secrets.token_hex(8)}" if numbered else None
        self._send(
            {"action": action, **({"request_id": request_id} if request_id else {}), **fields}
        )
        frames: list[Frame] = []
        while not frames or frames[-1]["type"] not in ("done", "error"):
            frame = self._receive(action, frames)
            request_id = request_id or frame.get("request_id")
            if (request_id, len(frames)) != (frame.get("request_id"), frame.get("seq")):
                raise SmokeError(
                    f"{action}: received an unexpected frame after {len(frames)} others: {frame}"
                )
            frames.append(frame)
        end = frames[-1]
        if end["type"] == "error":
            remedy = REMEDIES.get(end["code"], "").format(logs=self.target.logs)
            raise SmokeError(f"{action}: received {end['code']}: {end['message']} {remedy}")
        return frames

    def ping(self) -> None:
        """Sends a ping, which API Gateway answers."""
        self._send({"action": "ping"})
        frame = self._receive("ping", [])
        if frame != {"type": "pong"}:
            raise SmokeError(f"ping: received {frame}. {NO_ANSWER['ping']}")

    def empty(self) -> Frame | None:
        """Sends an empty frame; returns what comes of it, None if nothing does."""
        self.socket.send("")
        try:
            return dict(json.loads(self.socket.recv(timeout=min(self.patience, EMPTY_SECONDS))))
        except TimeoutError:
            return None
        except ConnectionClosed as error:
            raise SmokeError(f"empty frame: the connection was closed: {error}.") from None

    def _send(self, message: Frame) -> None:
        try:
            # As text, and not as escape sequences, which would spare the template the characters.
            self.socket.send(json.dumps(message, ensure_ascii=False))
        except ConnectionClosed as error:
            raise SmokeError(f"{message['action']}: the connection was closed: {error}.") from None

    def _receive(self, action: str, before: list[Frame]) -> Frame:
        try:
            text = self.socket.recv(timeout=self.patience)
        except TimeoutError:
            remedy = NO_ANSWER[action] if not before else "Check {logs}."
            after = f" after {len(before)} frames" if before else ""
            raise SmokeError(
                f"{action}: received nothing{after} for {self.patience:.0f} s. "
                + remedy.format(logs=self.target.logs)
            ) from None
        except ConnectionClosed as error:
            raise SmokeError(f"{action}: the connection was closed: {error}.") from None
        frame = json.loads(text)
        if frame.get("message") == TIMED_OUT:
            raise SmokeError(
                f"{action}: received from API Gateway: {TIMED_OUT}. It waited for the function, so "
                "it ignored the header that asks for asynchronous invocation, or chat_integration "
                'is "proxy". Answers of more than 29 s have this frame in them: clients ignore it.'
            )
        if "type" not in frame:  # sent by API Gateway when an integration fails
            raise SmokeError(
                f"{action}: received from API Gateway: {frame.get('message', frame)}. It may lack "
                f"permission to invoke the function, or that fails: check {self.target.logs}."
            )
        return dict(frame)
