"""The numbers of docs/security.md, read from the sources.

Rules
- A limit is a constant of the code or a default of the deployment.
- A cost is the product of the factors beside it. Prices and assumptions about a turn are those of
  bench/capacity.py, quoted by third parties and not confirmed with AWS.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass

import authorizer
import settings
from bench import capacity
from store import leases
from store.budget import DAY_SECONDS
from tools import deployment
from tools.markdown import code, size, table

# DynamoDB API, Query: one read returns at most 1 MB. That is what a `history` reads and sends.
READ_BYTES = 1024 * 1024
HISTORY_SECONDS = 0.5  # assumed: a read of 1 MB, and its posts
PART_SECONDS = 0.05  # assumed: one write
AUTHORIZER_SECONDS = 0.02  # assumed: one signature verified, with cached keys
AUTHORIZER_GB = 0.5  # terraform/modules/chat/authorizer.tf

_PRICE: Mapping[str, float] = {each.name: each.dollars / each.per for each in capacity.PRICES}
_QUOTA: Mapping[str, float] = {each.name: each.limit for each in capacity.QUOTAS}


def bounds() -> str:
    """Returns the table of limits."""
    chosen = {name: each.default for name, each in deployment.variables().items()}

    def default(name: str) -> str:
        return "none" if chosen[name] is None else f"{chosen[name]:,}"

    return table(
        ("limit", "value", "set by"),
        (
            (
                "connections per second, and frames per second of each action, all clients",
                f"{default('throttle_rate')}, bursts of {default('throttle_burst')}",
                f"{code('throttle_rate')}, {code('throttle_burst')}: a target, according to AWS",
            ),
            (
                "concurrent answers",
                default("reserved_concurrency"),
                code("reserved_concurrency"),
            ),
            ("a frame", size(settings.MAX_FRAME_BYTES), "API Gateway"),
            ("a question", size(chosen["max_input_bytes"]), code("max_input_bytes")),
            (
                "an answer",
                f"{default('max_output_tokens')} tokens, {size(settings.MAX_ANSWER_BYTES)}",
                f"{code('max_output_tokens')}; `src/settings.py`",
            ),
            (
                "history sent to the model",
                f"{default('history_tokens')} tokens, {default('history_turns')} turns",
                f"{code('history_tokens')}, {code('history_turns')}",
            ),
            (
                "questions per principal and UTC day",
                default("requests_per_day"),
                code("requests_per_day"),
            ),
            ("tokens per principal and UTC day", default("tokens_per_day"), code("tokens_per_day")),
            ("one invocation", f"{default('timeout_seconds')} s", code("timeout_seconds")),
            ("concurrent answers in a session", "1", "the lease"),
            (
                "time a session is busy after a crash",
                f"{leases.LEASE_SECONDS + leases.CLOCK_SKEW_SECONDS:.0f} s",
                "`src/store/leases.py`",
            ),
            ("retention of turns", f"{default('session_days')} days", code("session_days")),
            (
                "retention of logs",
                f"{default('log_retention_days')} days",
                code("log_retention_days"),
            ),
            (
                "retention of unhandled events",
                "14 days",
                "`terraform/modules/chat/function.tf`; SQS's limit",
            ),
            ("a connection", f"{settings.CONNECTION_SECONDS // 3600} h", "API Gateway"),
            ("a token", size(authorizer.MAX_TOKEN_BYTES), "`src/authorizer.py`"),
            (
                "time a withdrawn key of the issuer is trusted",
                f"{authorizer.KEEP_SECONDS} s",
                "`src/authorizer.py`",
            ),
            (
                "tolerated difference of the issuer's clock",
                f"{authorizer.LEEWAY_SECONDS} s",
                "`src/authorizer.py`",
            ),
        ),
    )


# -- maximum cost ----------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class WorstCase:
    """A cost in dollars a day. `factors` maps the name of each factor to its value."""

    who: str
    action: str
    factors: Mapping[str, float]

    @property
    def dollars(self) -> float:
        """Returns the product of the factors."""
        return math.prod(self.factors.values())


def worst_cases() -> tuple[WorstCase, ...]:
    """Returns the highest cost per day that each kind of client can cause, with the defaults."""
    chosen = {name: each.default for name, each in deployment.variables().items()}
    rate = {"frames a second": chosen["throttle_rate"], "seconds": DAY_SECONDS}
    handshake = _PRICE["API Gateway, messages"]
    authorizer_cost = (
        _PRICE["Lambda, requests"] + AUTHORIZER_SECONDS * AUTHORIZER_GB * _PRICE["Lambda, time"]
    )
    history = (
        (1 + math.ceil(READ_BYTES / settings.MAX_FRAME_BYTES)) * _PRICE["API Gateway, messages"]
        + READ_BYTES / 4096 * _PRICE["DynamoDB, reads"]
        + _PRICE["DynamoDB, writes"]  # the marker that the event was answered
        + _PRICE["Lambda, requests"]
        + HISTORY_SECONDS * chosen["memory_size"] / 1024 * _PRICE["Lambda, time"]
    )
    part = (
        _PRICE["API Gateway, messages"]
        # DynamoDB charges the size of the whole item, even if the part is small or refused.
        + (1 + settings.MAX_MESSAGE_BYTES / 1024) * _PRICE["DynamoDB, writes"]
        + _PRICE["Lambda, requests"]
        + PART_SECONDS * chosen["memory_size"] / 1024 * _PRICE["Lambda, time"]
    )
    token = max(_PRICE["Bedrock, input tokens"], _PRICE["Bedrock, output tokens"])
    return (
        WorstCase(
            "unauthenticated client, `iam`",
            "handshakes",
            {**rate, "$ a refused handshake": handshake},
        ),
        WorstCase(
            "unauthenticated client, `jwt`",
            "handshakes",
            {**rate, "$ with the authorizer": handshake + authorizer_cost},
        ),
        WorstCase(
            "one authenticated user; with `none`, one address",
            "questions",
            {"tokens_per_day": chosen["tokens_per_day"], "$ a token, all output": token},
        ),
        WorstCase(
            "the same",
            "`history` all day",
            {**rate, "$ a `history` of 1 MB": history},
        ),
        WorstCase(
            "the same",
            "parts of a question that is never complete",
            {**rate, "$ a part of an item of 128 KB": part},
        ),
        WorstCase(
            "clients with many addresses, `none`",
            "questions",
            {
                "Bedrock's tokens a minute": _QUOTA["Bedrock, tokens a minute (weighted)"],
                "minutes": DAY_SECONDS / 60,
                "$ a weighted token": _PRICE["Bedrock, input tokens"],
            },
        ),
    )


def worst_cost() -> str:
    """Returns the table of maximum costs."""
    return table(
        ("client", "action", "calculation", "dollars a day, at most"),
        (
            (each.who, each.action, _product(each.factors), f"{each.dollars:,.2f}")
            for each in worst_cases()
        ),
    )


def _product(factors: Mapping[str, float]) -> str:
    return " × ".join(f"{_plain(value)} {name}" for name, value in factors.items())


def _plain(value: float) -> str:
    if value >= 1:
        return f"{value:,.0f}"
    return f"{value:.9f}".rstrip("0")
