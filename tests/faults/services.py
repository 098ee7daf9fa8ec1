"""The rows of the services that the function calls: Bedrock, DynamoDB and `@connections`."""

from dataclasses import replace
from typing import Any

from faults.proxy import FOREVER, Fault
from faults.rows import Expected, Row

AT_THE_START, IN_THE_MIDDLE = 0, 12


# -- Bedrock ---------------------------------------------------------------------------------------

# Each error, what a client is told of it, and whether a call that it turned away is made again.
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
    for error, (code, again) in ERRORS.items():
        order = {"fault": {"before": f"{error}Exception"}}
        rows += _once_and_lasting(f"{error} instead of a stream", order, code, again=again)
    in_stream: dict[str, tuple[dict[str, Any], str, bool]] = {
        f"{name}Exception as {kind}": (
            {"type": f"{name}Exception", "event": kind == "event"},
            *told,
        )
        for name in IN_STREAM
        for kind in ("exception", "event")
        for told in [ERRORS[name[0].upper() + name[1:]]]
    }
    broken: dict[str, tuple[dict[str, Any], str, bool]] = {
        kind: ({"type": kind}, *told) for kind, told in BREAKS.items()
    }
    for name, (fault, code, again) in {**in_stream, **broken}.items():
        start = {"fault": {**fault, "at": AT_THE_START}}
        rows += _once_and_lasting(f"{name} at the start", start, code, again=again)
        middle = {"fault": {**fault, "at": IN_THE_MIDDLE, "times": 1}}
        expected = Expected(f"error {code}", "error", 1)
        rows.append(
            Row(group="Bedrock", name=f"{name} in the middle", order=middle, expected=expected)
        )
    return rows


def _once_and_lasting(
    name: str, order: dict[str, dict[str, Any]], code: str, *, again: bool
) -> list[Row]:
    once = {"fault": {**order["fault"], "times": 1}}
    failed = Expected(f"error {code}", "error", 0)
    return [
        Row(
            group="Bedrock",
            name=f"{name}, once",
            order=once,
            expected=Expected() if again else failed,
        ),
        Row(group="Bedrock", name=f"{name}, always", order=order, expected=failed),
    ]


# -- DynamoDB --------------------------------------------------------------------------------------

# The calls of a turn, in their order, and what comes of one that fails for good: the terminal
# frame, the turn, and whether Bedrock was charged. Of `%s`, throttling makes `throttled`.
CALLS = {
    "connection": Expected("error %s", "-", 0),
    "claim": Expected("error %s", "-", 0),
    "history": Expected("error %s", "-", 0),
    "look": Expected(),
    "renew": Expected(),
    "note": Expected(),
    "save": Expected("error %s", "unfinished", 1),
}
WRITES = ("claim", "renew", "note", "save")
WHILE_IT_RUNS = ("look", "renew", "note")


def dynamodb() -> list[Row]:
    """Each call of a turn, failing once and for good; slow, silent, cut, done but not told."""
    rows = []
    for call, failed in CALLS.items():
        ways = {"throttled": "throttled", "broken": "internal", "cut": "internal"}
        conflicts = {"conflicting": "throttled"} if call in WRITES else {}
        for way, code in {**ways, **conflicts}.items():
            expected = replace(failed, heard=failed.heard.replace("%s", code))
            rows += [
                _on(call, way),
                _on(call, way, times=FOREVER, expected=expected),
            ]
        rows += [_on(call, way) for way in ("lost", "slow", "silent")]
    away = Expected("error internal", "unfinished", 1)
    return [
        *rows,
        _on("claim", "lost", times=3, expected=Expected("error internal", "-", 0)),
        _on("save", "lost", times=3),
        _on("memory", "cut", nth=5, times=6, paced=True),
        _on("memory", "broken", nth=5, times=FOREVER, paced=True, expected=away),
    ]


def _on(
    call: str,
    way: str,
    *,
    nth: int = 1,
    times: int = 1,
    expected: Expected = Expected(),  # noqa: B008 - it is frozen
    paced: bool = False,
) -> Row:
    often = {1: "once", FOREVER: "always"}.get(times, f"{times} times")
    place = call if nth == 1 else f"{call} from call {nth} on"
    return Row(
        group="DynamoDB",
        name=f"{place} {way} {often}",
        faults=(Fault(way, call, nth, times),),
        paced=paced or call in WHILE_IT_RUNS,
        expected=expected,
    )


# -- @connections ----------------------------------------------------------------------------------

PLACES = {"the first frame": ("start", 1), "a middle frame": ("delta", 3), "the end": ("end", 1)}
FINAL = ("Gone", "Forbidden", "PayloadTooLarge")
OFTEN = {"once": 1, "5 times": 5, "always": FOREVER}
PASSING = (
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
    """Each refusal of a post, at the first frame, in the middle and at the end."""
    kinds = [*((way, "once") for way in FINAL), *PASSING]
    return [
        Row(
            group="Post",
            name=f"{place} {way} {often}",
            faults=(Fault(way, at, nth, OFTEN[often]),),
            quiet=10 if often == "always" else 75,
            paced=True,
        )
        for way, often in kinds
        for place, (at, nth) in PLACES.items()
    ]
