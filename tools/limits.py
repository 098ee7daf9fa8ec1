"""The numbers of docs/security.md, made of the sources. Pure, but for reading them.

Rules
- A limit is the constant or the default that the code or the deployment has.
- A cost is one product, whose factors stand beside it. Prices, and what is assumed of a turn, are
  bench/capacity.py's: quoted by third parties, and by AWS unconfirmed.
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

# DynamoDB API, Query: one read gives at most 1 MB. It is what a `history` reads, and tells.
READ_BYTES = 1024 * 1024
HISTORY_SECONDS = 0.5  # assumed: a read of 1 MB, and its posts
PART_SECONDS = 0.05  # assumed: one write
AUTHORIZER_SECONDS = 0.02  # assumed: a signature verified, the keys at hand
AUTHORIZER_GB = 0.5  # terraform/authorizer.tf

_PRICE: Mapping[str, float] = {each.what: each.dollars / each.per for each in capacity.PRICES}
_QUOTA: Mapping[str, float] = {each.what: each.most for each in capacity.QUOTAS}


def bounds() -> str:
    """What stands between a stranger and the bill, or the memory."""
    chosen = {name: each.default for name, each in deployment.variables().items()}

    def default(name: str) -> str:
        return "none" if chosen[name] is None else f"{chosen[name]:,}"

    return table(
        ("what", "at most", "where it is set"),
        (
            (
                "frames and connections a second, all people's",
                f"{default('throttle_rate')}, {default('throttle_burst')} at once",
                f"{code('throttle_rate')}, {code('throttle_burst')}: a target, by AWS's own words",
            ),
            (
                "answers at once",
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
                "what the model sees again",
                f"{default('history_tokens')} tokens, {default('history_turns')} turns",
                f"{code('history_tokens')}, {code('history_turns')}",
            ),
            (
                "questions a person and UTC day",
                default("requests_per_day"),
                code("requests_per_day"),
            ),
            ("tokens a person and UTC day", default("tokens_per_day"), code("tokens_per_day")),
            ("one invocation", f"{default('timeout_seconds')} s", code("timeout_seconds")),
            ("answers at once in a session", "1", "the lease"),
            (
                "how long a crash keeps a session busy",
                f"{leases.LEASE_SECONDS + leases.CLOCK_SKEW_SECONDS:.0f} s",
                "`src/store/leases.py`",
            ),
            ("how long a turn is kept", f"{default('session_days')} days", code("session_days")),
            (
                "how long logs are kept",
                f"{default('log_retention_days')} days",
                code("log_retention_days"),
            ),
            (
                "how long an event that nobody handled is kept",
                "14 days",
                "`terraform/function.tf`; SQS's limit",
            ),
            ("a connection", f"{settings.CONNECTION_SECONDS // 3600} h", "API Gateway"),
            ("a token", size(authorizer.MAX_TOKEN_BYTES), "`src/authorizer.py`"),
            (
                "how long a withdrawn key of the issuer is trusted",
                f"{authorizer.KEEP_SECONDS} s",
                "`src/authorizer.py`",
            ),
            (
                "how far the issuer's clock may be off",
                f"{authorizer.LEEWAY_SECONDS} s",
                "`src/authorizer.py`",
            ),
        ),
    )


# -- what it may cost ------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Worst:
    """A product: `factors` by what they are. It comes to dollars a day."""

    who: str
    does: str
    factors: Mapping[str, float]

    @property
    def dollars(self) -> float:
        """The product."""
        return math.prod(self.factors.values())


def worst() -> tuple[Worst, ...]:
    """The most that each kind of person can make the owner pay in a day, with the defaults."""
    chosen = {name: each.default for name, each in deployment.variables().items()}
    rate = {"frames a second": chosen["throttle_rate"], "seconds": DAY_SECONDS}
    handshake = _PRICE["API Gateway, messages"]
    asked = _PRICE["Lambda, requests"] + AUTHORIZER_SECONDS * AUTHORIZER_GB * _PRICE["Lambda, time"]
    history = (
        (1 + math.ceil(READ_BYTES / settings.MAX_FRAME_BYTES)) * _PRICE["API Gateway, messages"]
        + READ_BYTES / 4096 * _PRICE["DynamoDB, reads"]
        + _PRICE["DynamoDB, writes"]  # the marker that it was answered
        + _PRICE["Lambda, requests"]
        + HISTORY_SECONDS * chosen["memory_size"] / 1024 * _PRICE["Lambda, time"]
    )
    part = (
        _PRICE["API Gateway, messages"]
        # Of the whole item, however small the part, and also where it is refused.
        + (1 + settings.MAX_MESSAGE_BYTES / 1024) * _PRICE["DynamoDB, writes"]
        + _PRICE["Lambda, requests"]
        + PART_SECONDS * chosen["memory_size"] / 1024 * _PRICE["Lambda, time"]
    )
    dearest = max(_PRICE["Bedrock, tokens in"], _PRICE["Bedrock, tokens out"])
    return (
        Worst("a stranger, `iam`", "knocks", {**rate, "$ a refused handshake": handshake}),
        Worst("a stranger, `jwt`", "knocks", {**rate, "$ with the authorizer": handshake + asked}),
        Worst(
            "one person who is let in; with `none`, one address",
            "asks",
            {"tokens_per_day": chosen["tokens_per_day"], "$ a token, all of them out": dearest},
        ),
        Worst(
            "the same",
            "asks for `history` all day",
            {**rate, "$ a `history` of 1 MB": history},
        ),
        Worst(
            "the same",
            "sends parts of a question that is never whole",
            {**rate, "$ a part, beside 128 KB": part},
        ),
        Worst(
            "strangers with many addresses, `none`",
            "ask",
            {
                "Bedrock's tokens a minute": _QUOTA["Bedrock, tokens a minute (weighted)"],
                "minutes": DAY_SECONDS / 60,
                "$ a weighted token": _PRICE["Bedrock, tokens in"],
            },
        ),
    )


def worst_cost() -> str:
    """The same as a table."""
    return table(
        ("who", "what they do", "the product", "dollars a day, at most"),
        ((each.who, each.does, _product(each.factors), f"{each.dollars:,.2f}") for each in worst()),
    )


def _product(factors: Mapping[str, float]) -> str:
    return " × ".join(f"{_plain(value)} {name}" for name, value in factors.items())


def _plain(value: float) -> str:
    if value >= 1:
        return f"{value:,.0f}"
    return f"{value:.9f}".rstrip("0")
