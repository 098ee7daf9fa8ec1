"""`make smoke`: tests a deployment as a client would, and reports each step with its time.

Rules
- The steps use only the protocol: they see what a client sees. Afterwards the access log is read,
  where that is allowed, for what a client cannot see: whether the invocation was asynchronous.
- It sends one short message, in a session of its own that it clears, so a run costs very little.
- Every wait is bounded.
- What cannot be tested from here (no token, no permission to connect) is said at once, with another
  exit status, 2, than a failure, which is 1.
- `--else-live` moves the function's alias back if a step failed.

Does not know how the deployment was made; `python -m deploy.smoke --url ws://127.0.0.1:3001` tests
the local stack.
"""

import argparse
import os
import sys
import time
from collections.abc import Callable

import boto3
from websockets.exceptions import InvalidHandshake, InvalidStatus
from websockets.sync.client import ClientConnection, connect
from websockets.typing import Subprotocol

from deploy import access_log, alias, terraform
from deploy.conversation import Conversation, Say, SmokeError, Target, UntestedError
from deploy.terraform import TOKENS
from deploy.url import UrlError, own_credentials, presigned

# Longer than a cold start, and than a stall at Bedrock (stall_seconds, 60 by default).
PATIENCE_SECONDS = 75.0
# With what a template or an encoding on the way could damage.
QUESTION = """Answer with the one word: ready ("quoted", 'quoted', \\, äöü ß €, 🙂)"""
EXPIRES_SECONDS = 60  # of the presigned URL, which is used immediately
# How much older than this machine's time the log's may be.
CLOCK_SECONDS = 60


class RefusedError(UntestedError):
    """The caller may not connect, or not yet: a new stage refuses everybody for a while."""


class StoppedError(UntestedError):
    """The deployment accepts nothing, as its variables say."""


def deployed() -> Target:
    """What Terraform deployed.

    Raises:
        StoppedError: it is stopped.
        SmokeError: nothing is deployed, or Terraform cannot read its outputs.
    """
    try:
        outputs = terraform.outputs()
    except terraform.TerraformMissingError as error:
        raise SmokeError(str(error)) from None
    if "websocket_url" not in outputs:
        raise SmokeError("Nothing is deployed: run `make deploy` first.")
    if outputs.get("reserved_concurrency") == 0:
        raise StoppedError("The deployment is stopped: reserved_concurrency is 0.")
    return Target(
        url=outputs["websocket_url"],
        auth=outputs["auth"],
        region=outputs["region"],
        function=outputs["function_name"],
        page=outputs.get("page_url") or "",
        integration=outputs.get("chat_integration") or "async",
    )


def opened(target: Target, patience: float) -> ClientConnection:
    """An authenticated connection."""
    url, protocols = target.url, []
    if target.auth == "iam":
        try:
            url = presigned(url, own_credentials(), target.region, expires=EXPIRES_SECONDS)
        except UrlError as error:
            raise UntestedError(str(error)) from None
    elif target.auth in TOKENS:
        token = os.environ.get("TOKEN")
        if not token:
            raise UntestedError(
                f"auth is {target.auth}: set the environment variable TOKEN to a token."
            )
        protocols = [Subprotocol("chat.v1"), Subprotocol(f"bearer.{token}")]
    try:
        return connect(
            url, subprotocols=protocols or None, open_timeout=patience, close_timeout=patience
        )
    except InvalidStatus as error:
        status = error.response.status_code
        refused = status == 429 or (status in (401, 403) and target.auth != "none")
        raise (RefusedError if refused else SmokeError)(
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
            "cognito": "The authorizer rejected the token: it may have expired, or be of another "
            "pool. The authorizer's log group has the reason.",
            "none": "auth is none, so the stage or the origin is wrong: check allowed_origins.",
        }[target.auth]
    if status == 429:
        return "API Gateway throttled it: wait, or raise throttle_rate and throttle_burst."
    if status >= 500:
        return f"The function failed at $connect: check {target.logs}."
    return "This system does not send that status: check the URL."


def chat(conversation: Conversation) -> str:
    """Sends one message: start, deltas, and one terminal frame have to come."""
    frames = conversation.request("chat", numbered=False, body=QUESTION)
    deltas = [frame for frame in frames if frame["type"] == "delta"]
    if frames[0]["type"] != "start" or not deltas:
        raise SmokeError(f"chat: received no answer, but {[frame['type'] for frame in frames]}.")
    end = frames[-1]
    text = "".join(delta["text"] for delta in deltas)
    conversation.answered = (end["request_id"], end["latency_ms"]["total"])
    return (
        f"{end['model']} answered {text[:40]!r} in {len(deltas)} deltas; first after "
        f"{end['latency_ms']['first_token']} ms, all after {end['latency_ms']['total']} ms"
    )


def history(conversation: Conversation) -> str:
    """Reads the history, which has to contain the message, every character of it."""
    turns = [turn for frame in conversation.request("history") for turn in frame.get("turns", ())]
    questions = [turn.get("user") for turn in turns]
    if not questions:
        raise SmokeError(f"The message is not in the history: check {conversation.target.logs}.")
    if questions != [QUESTION]:
        raise SmokeError(
            f"The history has {questions[-1]!r} for the message {QUESTION!r}: characters were "
            "changed on the way, which the template event.json.vtl has to prevent."
        )
    return "contains the message, every character of it"


def empty(conversation: Conversation) -> str:
    """Sends an empty frame, which the function refuses.

    Whether API Gateway passes one on is unconfirmed: nothing, and a message of its own, are said
    and are no failure.
    """
    frame = conversation.empty()
    if frame is None or "type" not in frame:
        return f"warning: API Gateway does not pass it on; received {frame}"
    if (frame["type"], frame.get("code")) != ("error", "invalid_request"):
        raise SmokeError(f"empty frame: received {frame} and not the error invalid_request.")
    return f"{frame['code']}: {frame['message']}"


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
    ("empty frame", empty),
    ("clear", clear),
)


def connected(target: Target, patience: float, retry_seconds: float) -> ClientConnection:
    """A connection, retried for `retry_seconds`: a new deployment takes a while to respond."""
    deadline = time.monotonic() + retry_seconds
    while True:
        try:
            return opened(target, patience)
        except SmokeError as error:
            hopeless = isinstance(error, UntestedError) and not isinstance(error, RefusedError)
            if hopeless or time.monotonic() >= deadline:
                raise
            time.sleep(1)


def smoke(
    target: Target,
    patience: float = PATIENCE_SECONDS,
    say: Say = print,
    retry_seconds: float = 0,
    log_seconds: float = access_log.WAIT_SECONDS,
) -> None:
    """Runs all steps, and reports each with its duration.

    Raises:
        UntestedError: the deployment cannot be tested from here.
        SmokeError: a step failed.
    """
    started = time.time() - CLOCK_SECONDS
    began = time.monotonic()
    with connected(target, patience, retry_seconds) as socket:
        say(f"{time.monotonic() - began:6.2f} s  connect: {target.url}, auth {target.auth}")
        conversation = Conversation(target, socket, patience)
        for name, step in STEPS:
            began = time.monotonic()
            try:
                result = step(conversation)
            except SmokeError as error:
                if name != "chat" or not target.function:
                    raise
                seen = logged(target, access_log.of_route("chat"), started, log_seconds)
                raise SmokeError(f"{error} The access log's newest line: {seen}.") from None
            say(f"{time.monotonic() - began:6.2f} s  {name}: {result}")
    if target.function and conversation.answered:
        request_id, answer_ms = conversation.answered
        began = time.monotonic()
        found = logged(target, access_log.of_request(request_id), started, log_seconds)
        result = (
            access_log.verdict(found, answer_ms, target.integration)
            if isinstance(found, access_log.Line)
            else found
        )
        say(f"{time.monotonic() - began:6.2f} s  invocation: {result}")
    say("it works")
    if target.page:
        say(f"web page (a new one is available after some minutes): {target.page}")


def logged(target: Target, pattern: str, since: float, wait: float) -> access_log.Line | str:
    """The line of the access log, or why there is none."""
    client = boto3.Session().client("logs", region_name=target.region)
    try:
        return access_log.find(client, f"/aws/apigateway/{target.function}", pattern, since, wait)
    except access_log.UnreadableError as error:
        return f"unknown: {error}"


def main(arguments: list[str] | None = None) -> int:
    """Returns the exit status."""
    parser = argparse.ArgumentParser(prog="python -m deploy.smoke")
    parser.add_argument("--url", help="instead of the deployment of Terraform")
    parser.add_argument(
        "--auth", choices=("cognito", "iam", "jwt", "none"), default="none", help="of --url"
    )
    parser.add_argument("--region", default="us-east-1", help="of --url")
    parser.add_argument("--patience", type=float, default=PATIENCE_SECONDS, help="seconds")
    parser.add_argument(
        "--retry-seconds", type=float, default=0, help="seconds in which to retry the connection"
    )
    parser.add_argument(
        "--else-live", metavar="VERSION", help="the version to which a failure moves the alias"
    )
    options = parser.parse_args(arguments)
    try:
        if options.url:
            target = Target(url=options.url, auth=options.auth, region=options.region)
        else:
            target = deployed()
        smoke(target, options.patience, retry_seconds=options.retry_seconds)
    except StoppedError as error:
        print(f"not tested: {error}")
        return 0
    except UntestedError as error:
        print(f"not tested: {error}", file=sys.stderr)
        return 2
    except SmokeError as error:
        print(f"failed: {error}", file=sys.stderr)
        if options.else_live is not None:
            print(moved_back(options.else_live), file=sys.stderr)
        return 1
    return 0


def moved_back(version: str) -> str:
    """Moves the alias back to the version. Returns what was done."""
    try:
        outputs = terraform.outputs()
    except terraform.TerraformMissingError as error:
        return f"The alias could not be moved back: {error}"
    return alias.move_back(alias.client_of(outputs), outputs, version)


if __name__ == "__main__":
    sys.exit(main())
