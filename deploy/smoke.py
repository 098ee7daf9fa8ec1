"""`make smoke`: talks to what was deployed as any client would, and says what works and how fast.

Rules
- It knows only the protocol: what it sees is what a client sees.
- It asks one short question, in a session of its own that it clears: a run costs next to nothing.
- It ends: no wait is longer than the patience that it is given.
- Where something fails it says what to look at, for a person who sees this system break for the
  first time.

Does not know how the deployment is made; `python -m deploy.smoke --url ws://127.0.0.1:3001` talks
to the local stack.
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

# A cold start, the model's first words, or a long stall at Bedrock: 60 s by default.
PATIENCE_SECONDS = 75.0
QUESTION = "Answer with the one word: ready"
EXPIRES_SECONDS = 60  # of the presigned URL, which is used at once

Frame = dict[str, Any]
Say = Callable[[str], None]


class SmokeError(Exception):
    """Something does not work. The message says what was seen, and what to look at."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """What is talked to, as Terraform's outputs tell it; `function` is empty for a local stack.

    `page` is told and not looked at: a new one takes some minutes to be there.
    """

    url: str
    auth: str = "none"
    region: str = ""
    function: str = ""
    page: str = ""

    @property
    def logs(self) -> str:
        """Where the function's own account of it stands."""
        if not self.function:
            return "what `make run` printed"
        return f"the log group /aws/lambda/{self.function} in {self.region}"


def deployed() -> Target:
    """What Terraform deployed.

    Raises:
        SmokeError: nothing is deployed, or nobody can tell.
    """
    try:
        outputs = terraform.outputs()
    except terraform.TerraformMissingError as error:
        raise SmokeError(str(error)) from None
    if "websocket_url" not in outputs:
        raise SmokeError("Nothing is deployed: `make deploy` comes first.")
    return Target(
        url=outputs["websocket_url"],
        auth=outputs["auth"],
        region=outputs["region"],
        function=outputs["function_name"],
        page=outputs.get("page_url") or "",
    )


def opened(target: Target, patience: float) -> ClientConnection:
    """A connection, let in as the deployment wants it."""
    url, protocols = target.url, []
    if target.auth == "iam":
        try:
            url = presigned(url, own_credentials(), target.region, expires=EXPIRES_SECONDS)
        except UrlError as error:
            raise SmokeError(str(error)) from None
    elif target.auth == "jwt":
        token = os.environ.get("TOKEN")
        if not token:
            raise SmokeError("auth is jwt: put a token of your issuer's into the variable TOKEN.")
        protocols = [Subprotocol("chat.v1"), Subprotocol(f"bearer.{token}")]
    try:
        return connect(
            url, subprotocols=protocols or None, open_timeout=patience, close_timeout=patience
        )
    except InvalidStatus as error:
        status = error.response.status_code
        raise SmokeError(
            f"The handshake was answered with {status}. {_why(target, status)}"
        ) from None
    except (OSError, InvalidHandshake, TimeoutError) as error:
        raise SmokeError(f"{target.url} cannot be reached: {error}. Is it deployed?") from None


def _why(target: Target, status: int) -> str:
    """What a status of the handshake means, and what to look at."""
    if status in (401, 403):
        return {
            "iam": "Your AWS identity may not connect: it needs execute-api:Invoke on this API, "
            "and a clock that is right. A stage that does not exist answers 403, too.",
            "jwt": "The authorizer did not take the token: is it of the issuer and for the "
            "audience that were deployed, and not over? Its log group tells the reason.",
            "none": "auth is none, so it is the stage or the origin: is allowed_origins set?",
        }[target.auth]
    if status == 429:
        return "API Gateway throttles: wait, or raise throttle_rate and throttle_burst."
    if status >= 500:
        return f"The function failed at $connect: look at {target.logs}."
    return "That is no answer of this system's: is the URL right?"


# What silence means, by what was asked.
SILENCE = {
    "ping": "API Gateway itself answers a ping, without the function: the stage does not serve the "
    "routes as they are in routes.json. Run `make deploy` again, and look at the stage in the "
    "console.",
    "chat": "Look at {logs}. If it shows no event for the question, API Gateway did not invoke the "
    'function asynchronously: set the Terraform variable chat_integration = "proxy" and deploy '
    "again. (Asynchronous invocation from a WebSocket route is built of documented parts, but AWS "
    "documents no example of the pair.) If it shows one, its errors say why nothing was posted.",
    "history": "Look at {logs}.",
    "clear": "Look at {logs}.",
}

# What an error frame's code means for whoever deployed it; the others speak for themselves.
CODES = {
    "model_unavailable": "May this account use the model, in this Region? `make preflight` looks.",
    "over_budget": "This person's requests_per_day or tokens_per_day is used up.",
    "throttled": "Bedrock or DynamoDB asks to be called less often: try again, or raise the quota.",
    "model_error": "The model failed: try again; then look at {logs}.",
    "internal": "The function failed: look at {logs}.",
}


@dataclass(slots=True)
class Conversation:
    """One connection, and what must hold for all that arrives on it."""

    target: Target
    socket: ClientConnection
    patience: float

    def ask(self, action: str, **fields: str) -> list[Frame]:
        """Sends a request; its frames, in order, up to its terminal one."""
        request_id = f"smoke-{secrets.token_hex(8)}"
        self._send({"action": action, "request_id": request_id, **fields})
        frames: list[Frame] = []
        while not frames or frames[-1]["type"] not in ("done", "error"):
            frame = self._receive(action, frames)
            if (request_id, len(frames)) != (frame.get("request_id"), frame.get("seq")):
                raise SmokeError(
                    f"To {action} came a frame that does not belong there: {frame}, "
                    f"after {len(frames)} that did."
                )
            frames.append(frame)
        end = frames[-1]
        if end["type"] == "error":
            hint = CODES.get(end["code"], "").format(logs=self.target.logs)
            raise SmokeError(f"To {action} came the error {end['code']}: {end['message']} {hint}")
        return frames

    def ping(self) -> None:
        """Asks API Gateway whether it is there."""
        self._send({"action": "ping"})
        frame = self._receive("ping", [])
        if frame != {"type": "pong"}:
            raise SmokeError(f"To ping came {frame}. {SILENCE['ping']}")

    def _send(self, message: Frame) -> None:
        try:
            self.socket.send(json.dumps(message))
        except ConnectionClosed as error:
            raise SmokeError(
                f"To {message['action']} the connection was closed: {error}."
            ) from None

    def _receive(self, action: str, before: list[Frame]) -> Frame:
        try:
            text = self.socket.recv(timeout=self.patience)
        except TimeoutError:
            hint = SILENCE[action] if not before else "Look at {logs}."
            after = f" after {len(before)} frames" if before else ""
            raise SmokeError(
                f"To {action} nothing came{after} for {self.patience:.0f} s. "
                + hint.format(logs=self.target.logs)
            ) from None
        except ConnectionClosed as error:
            raise SmokeError(f"To {action} the connection was closed: {error}.") from None
        frame = json.loads(text)
        if "type" not in frame:  # API Gateway's own, when an integration fails
            raise SmokeError(
                f"To {action} API Gateway itself answered: {frame.get('message', frame)}. "
                f"May it invoke the function, and does that start? Look at {self.target.logs}."
            )
        return dict(frame)


def chat(conversation: Conversation) -> str:
    """One question: start, deltas, and one terminal frame."""
    frames = conversation.ask("chat", body=QUESTION)
    deltas = [frame for frame in frames if frame["type"] == "delta"]
    if frames[0]["type"] != "start" or not deltas:
        raise SmokeError(f"To chat came no answer, but {[frame['type'] for frame in frames]}.")
    end = frames[-1]
    said = "".join(delta["text"] for delta in deltas)
    return (
        f"{end['model']} said {said[:40]!r} in {len(deltas)} deltas; first after "
        f"{end['latency_ms']['first_token']} ms, all after {end['latency_ms']['total']} ms"
    )


def history(conversation: Conversation) -> str:
    """The turn that was just had is remembered."""
    turns = [turn for frame in conversation.ask("history") for turn in frame.get("turns", ())]
    if not any(QUESTION in str(turn) for turn in turns):
        raise SmokeError(f"The question is not in the history: look at {conversation.target.logs}.")
    return "the question is remembered"


def clear(conversation: Conversation) -> str:
    """It is forgotten again."""
    return f"{conversation.ask('clear')[-1]['cleared']} turn forgotten"


def ping(conversation: Conversation) -> str:
    """API Gateway answers by itself."""
    conversation.ping()
    return "pong"


STEPS: tuple[tuple[str, Callable[[Conversation], str]], ...] = (
    ("ping", ping),
    ("chat", chat),
    ("history", history),
    ("clear", clear),
)


def settled(target: Target, patience: float, settle: float) -> ClientConnection:
    """A connection, once there is one: what was just deployed is not everywhere at once."""
    until = time.monotonic() + settle
    while True:
        try:
            return opened(target, patience)
        except SmokeError:
            if time.monotonic() >= until:
                raise
            time.sleep(1)


def smoke(
    target: Target, patience: float = PATIENCE_SECONDS, say: Say = print, settle: float = 0
) -> None:
    """Goes through all steps, and says of each how long it took.

    Raises:
        SmokeError: one does not work.
    """
    began = time.monotonic()
    with settled(target, patience, settle) as socket:
        say(f"{time.monotonic() - began:6.2f} s  connect: {target.url}, auth {target.auth}")
        conversation = Conversation(target, socket, patience)
        for name, step in STEPS:
            began = time.monotonic()
            told = step(conversation)
            say(f"{time.monotonic() - began:6.2f} s  {name}: {told}")
    say("it works")
    if target.page:
        say(f"the page, which takes some minutes when it is new: {target.page}")


def main(arguments: list[str] | None = None) -> int:
    """Returns the exit status."""
    parser = argparse.ArgumentParser(prog="python -m deploy.smoke")
    parser.add_argument("--url", help="instead of what Terraform deployed")
    parser.add_argument("--auth", choices=("iam", "jwt", "none"), default="none", help="at --url")
    parser.add_argument("--region", default="us-east-1", help="of --url")
    parser.add_argument("--patience", type=float, default=PATIENCE_SECONDS, help="seconds")
    parser.add_argument("--settle", type=float, default=0, help="seconds for it to be there")
    asked = parser.parse_args(arguments)
    try:
        if asked.url:
            target = Target(url=asked.url, auth=asked.auth, region=asked.region)
        else:
            target = deployed()
        smoke(target, asked.patience, settle=asked.settle)
    except SmokeError as error:
        print(f"failed: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
