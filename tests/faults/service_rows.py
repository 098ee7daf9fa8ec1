"""The rows of the services that the function calls: Bedrock, DynamoDB and `@connections`."""

from dataclasses import replace
from typing import Any

from faults.monitor import ANY_DYNAMODB
from faults.proxy import FOREVER, Fault
from faults.rows import Expected, Row

AT_THE_START, IN_THE_MIDDLE = 0, 12
# For rows that end when Bedrock was called again, or was silent, for so many seconds.
RETRY, STALL = {"retry": 2.0}, {"stall": 5.0}


# -- Bedrock ---------------------------------------------------------------------------------------

# Each error, the code that a client gets for it, and whether a call that it refused is retried.
ERRORS = {
    "AccessDenied": ("model_unavailable", False),
    "ExpiredToken": ("model_unavailable", False),
    "InternalServer": ("model_error", True),
    "MissingAuthenticationToken": ("model_unavailable", False),
    "ModelError": ("model_error", False),
    "ModelNotReady": ("model_unavailable", True),
    "ModelStreamError": ("model_error", False),
    "ModelTimeout": ("model_error", False),
    "ResourceNotFound": ("model_unavailable", False),
    "ServiceQuotaExceeded": ("throttled", False),
    "ServiceUnavailable": ("model_unavailable", True),
    "Throttling": ("throttled", True),
    "UnrecognizedClient": ("model_unavailable", False),
    "Validation": ("model_error", False),
}
IN_STREAM = ("internalServer", "modelStreamError", "modelTimeout", "serviceUnavailable",
             "throttling", "validation")  # fmt: skip
BREAKS = {
    "cut": ("model_error", True),
    "stall": ("model_error", False),
    "truncate": ("model_error", False),
    "bad_crc": ("model_error", False),
    "error": ("model_error", False),
}


def bedrock() -> list[Row]:
    """Each error before the stream, and each way to break it, at the start and in the middle."""
    rows = []
    for error, (code, retried) in ERRORS.items():
        order = {"fault": {"before": f"{error}Exception"}}
        rows += _once_and_lasting(f"{error} instead of a stream", order, code, retried=retried)
    in_stream: dict[str, tuple[dict[str, Any], str, bool]] = {
        f"{name}Exception as {kind}": (
            {"type": f"{name}Exception", "event": kind == "event"},
            *outcome,
        )
        for name in IN_STREAM
        for kind in ("exception", "event")
        for outcome in [ERRORS[name[0].upper() + name[1:]]]
    }
    broken: dict[str, tuple[dict[str, Any], str, bool]] = {
        kind: ({"type": kind}, *outcome) for kind, outcome in BREAKS.items()
    }
    for name, (fault, code, retried) in {**in_stream, **broken}.items():
        start = {"fault": {**fault, "at": AT_THE_START}}
        rows += _once_and_lasting(f"{name} at the start", start, code, retried=retried)
        middle = {"fault": {**fault, "at": IN_THE_MIDDLE, "times": 1}}
        expected = Expected(f"error {code}", "error", 1)
        rows.append(
            Row(
                group="Bedrock",
                name=f"{name} in the middle",
                order=middle,
                frame=STALL if name == "stall" else {},
                expected=expected,
            )
        )
    return rows


def _once_and_lasting(
    name: str, order: dict[str, dict[str, Any]], code: str, *, retried: bool
) -> list[Row]:
    once = {"fault": {**order["fault"], "times": 1}}
    frame = STALL if order["fault"].get("type") == "stall" else {}
    failed = Expected(f"error {code}", "error", 0)
    return [
        Row(
            group="Bedrock",
            name=f"{name}, once",
            order=once,
            frame=frame,
            expected=Expected() if retried else failed,
        ),
        Row(
            group="Bedrock",
            name=f"{name}, always",
            order=order,
            frame={**frame, **RETRY},
            expected=failed,
        ),
    ]


# -- DynamoDB --------------------------------------------------------------------------------------

# The calls of a turn, in their order, and the outcome where one always fails: the terminal frame,
# the turn, and the calls charged. `%s` is the error code of the kind of failure.
CALLS = {
    "connection": Expected("error %s", "-", 0),
    "acquire": Expected("error %s", "-", 0),
    "history": Expected("error %s", "-", 0),
    "poll": Expected(),
    "renew": Expected(),
    "checkpoint": Expected(),
    "save": Expected("error %s", "unfinished", 1),
}
WRITES = ("acquire", "renew", "checkpoint", "save")


def dynamodb() -> list[Row]:
    """Each call of a turn, failing once and always; slow, silent, cut, done with no response."""
    rows = []
    for call, failed in CALLS.items():
        kinds = {"throttled": "throttled", "broken": "internal", "cut": "internal"}
        conflicts = {"conflicting": "throttled"} if call in WRITES else {}
        for kind, code in {**kinds, **conflicts}.items():
            expected = replace(failed, end=failed.end.replace("%s", code))
            rows += [
                _on(call, kind),
                _on(call, kind, times=FOREVER, expected=expected),
            ]
        rows += [_on(call, kind) for kind in ("lost", "slow", "silent")]
    unreachable = Expected("error internal", "unfinished", 1)
    return [
        *rows,
        _on("acquire", "lost", times=3, expected=Expected("error internal", "-", 0)),
        _on("save", "lost", times=3),
        _on(ANY_DYNAMODB, "cut", nth=5, times=6),
        _on(ANY_DYNAMODB, "broken", nth=5, times=FOREVER, expected=unreachable),
    ]


def _on(
    call: str,
    kind: str,
    *,
    nth: int = 1,
    times: int = 1,
    expected: Expected = Expected(),  # noqa: B008 - it is frozen
) -> Row:
    frequency = {1: "once", FOREVER: "always"}.get(times, f"{times} times")
    place = call if nth == 1 else f"{call} from call {nth} on"
    return Row(
        group="DynamoDB",
        name=f"{place} {kind} {frequency}",
        faults=(Fault(kind, call, nth, times),),
        expected=expected,
    )


# -- @connections ----------------------------------------------------------------------------------

PLACES = {"the first frame": ("start", 1), "a middle frame": ("delta", 3), "the end": ("end", 1)}
FINAL = ("Gone", "Forbidden", "PayloadTooLarge")
TIMES = {"once": 1, "5 times": 5, "always": FOREVER}
TRANSIENT = (
    ("LimitExceeded", "once"),
    ("LimitExceeded", "5 times"),
    ("LimitExceeded", "always"),
    ("failed", "once"),
    ("failed", "always"),
    ("silent", "once"),
    ("silent", "always"),
    ("cut", "once"),
    ("lost", "once"),
    ("slow", "once"),
)


def posts() -> list[Row]:
    """Each failure of a post, at the first frame, in the middle and at the end."""
    kinds = [*((kind, "once") for kind in FINAL), *TRANSIENT]
    return [
        Row(
            group="Post",
            name=f"{place} {kind} {frequency}",
            faults=(Fault(kind, at, nth, TIMES[frequency]),),
            quiet=10 if frequency == "always" else 75,
        )
        for kind, frequency in kinds
        for place, (at, nth) in PLACES.items()
    ]
