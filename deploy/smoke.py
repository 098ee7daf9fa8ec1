"""`make smoke`: tests a deployment as a client would, and reports each step with its time.

Rules
- It uses only the protocol: it sees what a client sees.
- It sends one short message, in a session of its own that it clears, so a run costs very little.
- Every wait is bounded by `patience`.
- A failure message names what to check, for readers who do not know the system.

Does not know how the deployment was made; `python -m deploy.smoke --url ws://127.0.0.1:3001` tests
the local stack.
"""

import argparse
import json
import os
import secrets
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from websockets.exceptions import ConnectionClosed, InvalidHandshake, InvalidStatus
from websockets.sync.client import ClientConnection, connect
from websockets.typing import Subprotocol

from deploy import terraform
from deploy.url import UrlError, own_credentials, presigned

# Longer than a cold start, and than a stall at Bedrock (stall_seconds, 60 by default).
PATIENCE_SECONDS = 75.0
QUESTION = "Answer with the one word: ready"
EXPIRES_SECONDS = 60  # of the presigned URL, which is used immediately

Frame = dict[str, Any]
Say = Callable[[str], None]


class SmokeError(Exception):
    """A step failed. The message says what was received, and what to check."""


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

    @property
    def logs(self) -> str:
        """Where the function's log is."""
        if not self.function:
            return "the output of `make run`"
        return f"the log group /aws/lambda/{self.function} in {self.region}"


def deployed() -> Target:
    """What Terraform deployed.

    Raises:
        SmokeError: nothing is deployed, or Terraform cannot read its outputs.
    """
    try:
        outputs = terraform.outputs()
    except terraform.TerraformMissingError as error:
        raise SmokeError(str(error)) from None
    if "websocket_url" not in outputs:
        raise SmokeError("Nothing is deployed: run `make deploy` first.")
    return Target(
        url=outputs["websocket_url"],
        auth=outputs["auth"],
        region=outputs["region"],
        function=outputs["function_name"],
        page=outputs.get("page_url") or "",
    )


def opened(target: Target, patience: float) -> ClientConnection:
    """An authenticated connection."""
    url, protocols = target.url, []
    if target.auth == "iam":
        try:
            url = presigned(url, own_credentials(), target.region, expires=EXPIRES_SECONDS)
        except UrlError as error:
            raise SmokeError(str(error)) from None
    elif target.auth == "jwt":
        token = os.environ.get("TOKEN")
        if not token:
            raise SmokeError("auth is jwt: set the environment variable TOKEN to a token.")
        protocols = [Subprotocol("chat.v1"), Subprotocol(f"bearer.{token}")]
    try:
        return connect(
            url, subprotocols=protocols or None, open_timeout=patience, close_timeout=patience
        )
    except InvalidStatus as error:
        status = error.response.status_code
        raise SmokeError(
            f"The handshake failed with status {status}. {_why(target, status)}"
        ) from None
    except (OSError, InvalidHandshake, TimeoutError) as error:
        raise SmokeError(f"Cannot connect to {target.url}: {error}. Is it deployed?") from None


def _why(target: Target, status: int) -> str:
    """The meaning of a handshake's status, and what to check."""
    if status in (401, 403):
        return {
            "iam": "Your AWS identity may not connect: it needs execute-api:Invoke on this API. "
            "A wrong clock, or a stage that does not exist, gives 403, too.",
            "jwt": "The authorizer rejected the token: check its issuer, audience and expiry. The "
            "authorizer's log group has the reason.",
            "none": "auth is none, so the stage or the origin is wrong: check allowed_origins.",
        }[target.auth]
    if status == 429:
        return "API Gateway throttled it: wait, or raise throttle_rate and throttle_burst."
    if status >= 500:
        return f"The function failed at $connect: check {target.logs}."
    return "This system does not send that status: check the URL."


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
    """One connection, with the checks that apply to every frame."""

    target: Target
    socket: ClientConnection
    patience: float

    def request(self, action: str, **fields: str) -> list[Frame]:
        """Sends a request; returns its frames, in order, up to the terminal one."""
        request_id = f"smoke-{secrets.token_hex(8)}"
        self._send({"action": action, "request_id": request_id, **fields})
        frames: list[Frame] = []
        while not frames or frames[-1]["type"] not in ("done", "error"):
            frame = self._receive(action, frames)
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

    def _send(self, message: Frame) -> None:
        try:
            self.socket.send(json.dumps(message))
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
        if "type" not in frame:  # sent by API Gateway when an integration fails
            raise SmokeError(
                f"{action}: received from API Gateway: {frame.get('message', frame)}. It may lack "
                f"permission to invoke the function, or that fails: check {self.target.logs}."
            )
        return dict(frame)


def chat(conversation: Conversation) -> str:
    """Sends one message: start, deltas, and one terminal frame have to come."""
    frames = conversation.request("chat", body=QUESTION)
    deltas = [frame for frame in frames if frame["type"] == "delta"]
    if frames[0]["type"] != "start" or not deltas:
        raise SmokeError(f"chat: received no answer, but {[frame['type'] for frame in frames]}.")
    end = frames[-1]
    text = "".join(delta["text"] for delta in deltas)
    return (
        f"{end['model']} answered {text[:40]!r} in {len(deltas)} deltas; first after "
        f"{end['latency_ms']['first_token']} ms, all after {end['latency_ms']['total']} ms"
    )


def history(conversation: Conversation) -> str:
    """Reads the history, which has to contain the message."""
    turns = [turn for frame in conversation.request("history") for turn in frame.get("turns", ())]
    if not any(QUESTION in str(turn) for turn in turns):
        raise SmokeError(f"The message is not in the history: check {conversation.target.logs}.")
    return "contains the message"


def clear(conversation: Conversation) -> str:
    """Deletes the session's turn."""
    return f"{conversation.request('clear')[-1]['cleared']} turn deleted"


def ping(conversation: Conversation) -> str:
    """Checks that API Gateway answers by itself."""
    conversation.ping()
    return "pong"


STEPS: tuple[tuple[str, Callable[[Conversation], str]], ...] = (
    ("ping", ping),
    ("chat", chat),
    ("history", history),
    ("clear", clear),
)


def connected(target: Target, patience: float, retry_seconds: float) -> ClientConnection:
    """A connection, retried for `retry_seconds`: a new deployment takes a while to respond."""
    deadline = time.monotonic() + retry_seconds
    while True:
        try:
            return opened(target, patience)
        except SmokeError:
            if time.monotonic() >= deadline:
                raise
            time.sleep(1)


def smoke(
    target: Target, patience: float = PATIENCE_SECONDS, say: Say = print, retry_seconds: float = 0
) -> None:
    """Runs all steps, and reports each with its duration.

    Raises:
        SmokeError: a step failed.
    """
    began = time.monotonic()
    with connected(target, patience, retry_seconds) as socket:
        say(f"{time.monotonic() - began:6.2f} s  connect: {target.url}, auth {target.auth}")
        conversation = Conversation(target, socket, patience)
        for name, step in STEPS:
            began = time.monotonic()
            result = step(conversation)
            say(f"{time.monotonic() - began:6.2f} s  {name}: {result}")
    say("it works")
    if target.page:
        say(f"web page (a new one is available after some minutes): {target.page}")


def main(arguments: list[str] | None = None) -> int:
    """Returns the exit status."""
    parser = argparse.ArgumentParser(prog="python -m deploy.smoke")
    parser.add_argument("--url", help="instead of the deployment of Terraform")
    parser.add_argument("--auth", choices=("iam", "jwt", "none"), default="none", help="of --url")
    parser.add_argument("--region", default="us-east-1", help="of --url")
    parser.add_argument("--patience", type=float, default=PATIENCE_SECONDS, help="seconds")
    parser.add_argument(
        "--retry-seconds", type=float, default=0, help="seconds in which to retry the connection"
    )
    options = parser.parse_args(arguments)
    try:
        if options.url:
            target = Target(url=options.url, auth=options.auth, region=options.region)
        else:
            target = deployed()
        smoke(target, options.patience, retry_seconds=options.retry_seconds)
    except SmokeError as error:
        print(f"failed: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
