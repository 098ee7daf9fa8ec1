"""How the gateway invokes a function. Knows neither the gateway nor the Lambda runtime."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Result:
    """The result of one synchronous invocation.

    `payload` is the function's JSON response, or Lambda's JSON description of the error.
    `error` is None, or the kind of failure: "Unhandled" (the handler raised), "Runtime.ExitError"
    (the process died), "Sandbox.Timedout", or "TooManyRequests" (no environment was free).
    """

    payload: bytes
    error: str | None = None


Invoke = Callable[[bytes], Awaitable[Result]]
"""Runs the function on an event (JSON bytes) and waits for it: Lambda's `RequestResponse`."""

InvokeAsync = Callable[[bytes], None]
"""Hands an event over and returns at once: Lambda's `Event` invocation type."""
