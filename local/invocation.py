"""What the gateway and the Lambda runtime say to each other. Knows neither of them."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Result:
    """What one synchronous invocation came to.

    `payload` is the function's JSON response, or Lambda's JSON description of the error.
    `error` is None, or the kind of failure: "Unhandled" (the handler raised), "Runtime.ExitError"
    (the process died), "Sandbox.Timedout", or "TooManyRequests" (no environment was free).
    """

    payload: bytes
    error: str | None = None


Invocation = Callable[[bytes], Awaitable[Result]]
"""Runs the function on an event (JSON bytes) and waits for it: Lambda's `RequestResponse`."""

AsyncInvocation = Callable[[bytes], None]
"""Hands an event over and returns at once: Lambda's `Event` invocation type."""
