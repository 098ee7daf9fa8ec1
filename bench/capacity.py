"""Cost, and use of AWS quotas, by users a day: `python -m bench.capacity` writes the tables.

One simulated turn (its calls, posts, reads and writes) is multiplied by the turns of a day, and the
peak is compared with AWS's quotas. The calculation is pure and deterministic. `docs/capacity.md`
has the tables between its markers, and a test compares them. `tests/test_round_trips.py` counts the
calls of a real turn and compares them with `DYNAMODB_CALLS` and `writes`.

Not included: free tiers, data transfer, alarms, dashboards, authorizers, retries, the billed time
of cold starts, and discounts (flex tiers, prompt caching, savings plans). The distribution of users
over the day is one factor.
"""

import math
import sys
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

PAGE = Path(__file__).resolve().parents[1] / "docs" / "capacity.md"
BEGIN, END = "<!-- capacity: begin -->", "<!-- capacity: end -->"

USERS = (1_000, 100_000, 10_000_000)
INTERVALS = (0.0, 0.1, 0.25, 0.5, 1.0)

# The calls of a turn that is shorter than the poll interval (a second): the connection, the claim,
# the history, the save.
DYNAMODB_CALLS: Mapping[str, int] = {"GetItem": 1, "TransactWriteItems": 2, "Query": 1}
POLL_SECONDS, RENEW_SECONDS = 1.0, 8.0  # src/store/leases.py


@dataclass(frozen=True, slots=True)
class Load:
    """The assumptions about users and the model."""

    turns_per_user: int = 5
    turns_per_connection: int = 5
    connection_minutes: float = 10.0
    peak: float = 4.0  # the busiest second, relative to the day's mean
    input_tokens: int = 2_000
    output_tokens: int = 300
    tokens_per_second: float = 50.0
    first_token_seconds: float = 1.0
    tokens_per_chunk: float = 3.0
    bytes_per_token: float = 4.0
    post_seconds: float = 0.015  # within a Region
    other_seconds: float = 0.05  # Lambda's time before and after the stream: DynamoDB
    memory_gb: float = 1.0
    interval: float = 0.0  # the minimum seconds between posts


@dataclass(frozen=True, slots=True)
class Turn:
    """The AWS resources that one turn uses."""

    posts: int
    lambda_seconds: float
    read_units: float
    write_units: float
    input_tokens: int
    output_tokens: int
    connections: float
    log_kb: float = 2.0

    @property
    def requests(self) -> float:
        """The requests that API Gateway's quota counts: the frame, the posts and the connection."""
        return 1 + self.posts + self.connections

    @property
    def invocations(self) -> float:
        """One, and the share of `$connect` and `$disconnect`."""
        return 1 + 2 * self.connections

    @property
    def quota_tokens(self) -> float:
        """The tokens that Bedrock's quota counts: five per output token of newer Claude models.

        Bedrock User Guide, "How tokens are counted in Amazon Bedrock".
        """
        return self.input_tokens + 5 * self.output_tokens


def posts(chunks: int, gap: float, post_seconds: float, interval: float) -> int:
    """Returns the number of posts for so many chunks that arrive `gap` seconds apart.

    The relay's rule: the first chunk is posted at once. Chunks that arrive during a post, or within
    `interval` after it, are posted together.
    """
    made, arrived, free = 0, 0, 0.0
    while arrived < chunks:
        now = max(free, arrived * gap)
        arrived = max(arrived + 1, min(chunks, int(now / gap + 1e-9) + 1 if gap else chunks))
        free = now + post_seconds + interval
        made += 1
    return made


def units(size: float, unit: int) -> int:
    """Returns the units that DynamoDB charges: whole ones, 4 KB per read and 1 KB per write."""
    return max(1, math.ceil(size / unit))


def turn(load: Load) -> Turn:
    """Simulates one turn."""
    chunks = math.ceil(load.output_tokens / load.tokens_per_chunk)
    stream = load.output_tokens / load.tokens_per_second
    seconds = load.first_token_seconds + stream + load.other_seconds
    polls, renewals = int(stream / POLL_SECONDS), int(stream / RENEW_SECONDS)
    history = load.input_tokens * load.bytes_per_token
    answer = load.output_tokens * load.bytes_per_token
    question = 200.0
    connections = 1 / load.turns_per_connection
    return Turn(
        # `start`, the deltas, `done`.
        posts=2 + posts(chunks, stream / chunks, load.post_seconds, load.interval),
        lambda_seconds=seconds + 2 * connections * 0.02,
        # The connection, the history and the polls, all strongly consistent.
        read_units=1 + units(history, 4096) + (polls - renewals),
        write_units=writes(question, answer)
        # A renewal writes the head and the answer so far.
        + renewals * (1 + units(question + answer, 1024))
        + 2 * connections,
        input_tokens=load.input_tokens,
        output_tokens=load.output_tokens,
        connections=connections,
    )


def writes(question: float, answer: float) -> int:
    """Returns the write units of the claim (head, request, budget) and the save (and the turn).

    Writes in a transaction cost double. An update is charged by the larger of the item's two
    versions: the request has the question, the turn has both texts.
    """
    overhead = 300.0  # names, keys and numbers
    claim = 1 + units(question + overhead, 1024) + 1
    save = 1 + units(question + overhead, 1024) + 1 + units(question + answer + overhead, 1024)
    return 2 * (claim + save)


# -- cost ------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Price:
    """A price: dollars for `per` units, as quoted in `source`."""

    name: str
    dollars: float
    per: float
    unit: str
    source: str = "docs/deploy.md"


# us-east-1, as in docs/deploy.md: quoted by third parties in 2025 and 2026, not by AWS.
PRICES = (
    Price("Bedrock, input tokens", 3.00, 1e6, "tokens (Claude Sonnet 4.6)"),
    Price("Bedrock, output tokens", 15.00, 1e6, "tokens (Claude Sonnet 4.6)"),
    Price("Lambda, time", 0.0000133334, 1, "GB-second, arm64"),
    Price("Lambda, requests", 0.20, 1e6, "requests"),
    Price("API Gateway, messages", 1.00, 1e6, "messages of 32 KB"),
    Price("API Gateway, connections", 0.25, 1e6, "minutes", "assumed"),
    Price("DynamoDB, writes", 0.625, 1e6, "units"),
    Price("DynamoDB, reads", 0.125, 1e6, "units"),
    Price("CloudWatch, logs", 0.50, 1, "GB", "assumed"),
)


def day(users: int, load: Load) -> dict[str, float]:
    """Returns dollars a day, by price."""
    one, turns = turn(load), users * load.turns_per_user
    used = {
        "Bedrock, input tokens": one.input_tokens,
        "Bedrock, output tokens": one.output_tokens,
        "Lambda, time": one.lambda_seconds * load.memory_gb,
        "Lambda, requests": one.invocations,
        "API Gateway, messages": 1 + one.posts,
        "API Gateway, connections": one.connections * load.connection_minutes,
        "DynamoDB, writes": one.write_units,
        "DynamoDB, reads": one.read_units,
        "CloudWatch, logs": one.log_kb / 1e6,
    }
    return {price.name: turns * used[price.name] * price.dollars / price.per for price in PRICES}


# -- quotas ----------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Quota:
    """A default quota of an account in a Region, and how to stay within it."""

    name: str
    limit: float
    source: str
    remedy: str


QUOTAS = (
    Quota(
        "Bedrock, tokens a minute (weighted)",
        1_000_000,
        "by model and account; this figure is assumed",
        "request an increase; spread over Regions and accounts; a smaller model",
    ),
    Quota(
        "Lambda, concurrent executions",
        1_000,
        "Lambda Developer Guide, quotas: default, can be raised",
        "request an increase early: a stream occupies one until it ends",
    ),
    Quota(
        "API Gateway, requests a second",
        10_000,
        "API Gateway quotas: per account and Region, callbacks and messages together; can be "
        "raised",
        "a coalescing interval; then shards over Regions and accounts",
    ),
    Quota(
        "API Gateway, new connections a second",
        500,
        "API Gateway quotas, WebSocket: default, can be raised",
        "request an increase; longer connections",
    ),
    Quota(
        "DynamoDB, write units a second",
        40_000,
        "DynamoDB quotas: default of an on-demand table, can be raised",
        "request an increase; a table for each shard, since sessions share nothing",
    ),
    Quota(
        "DynamoDB, read units a second",
        40_000,
        "as above",
        "as above",
    ),
)


def peak(users: int, load: Load) -> dict[str, float]:
    """Returns the use in the busiest second (for Bedrock, minute), by quota."""
    one = turn(load)
    rate = users * load.turns_per_user / 86_400 * load.peak
    uses = (
        rate * 60 * one.quota_tokens,
        rate * one.lambda_seconds,
        rate * one.requests,
        rate * one.connections,
        rate * one.write_units,
        rate * one.read_units,
    )
    return {quota.name: use for quota, use in zip(QUOTAS, uses, strict=True)}


def shards(users: int, load: Load, quotas: Iterable[Quota] = QUOTAS) -> int:
    """Returns the number of accounts or Regions with default quotas that the peak requires."""
    uses = peak(users, load)
    return max(1, *(math.ceil(uses[quota.name] / quota.limit) for quota in quotas))


# -- the page --------------------------------------------------------------------------------------


def _n(value: float) -> str:
    """Formats a value with two or three significant digits."""
    if value >= 100:
        return f"{float(f'{value:.3g}'):,.0f}"
    return f"{value:.2g}" if value < 10 else f"{value:.0f}"


def _row(*cells: str) -> str:
    return "| " + " | ".join(cells) + " |\n"


def _head(*cells: str) -> str:
    return _row(*cells) + "|" + "---|" * len(cells) + "\n"


def turn_table(load: Load) -> str:
    """Returns the table of one turn."""
    one = turn(load)
    return _head("resource", "one turn") + "".join(
        _row(name, value)
        for name, value in (
            ("posts to the connection", f"{one.posts}"),
            ("Lambda, seconds", f"{one.lambda_seconds:.2f}"),
            ("DynamoDB, write units", f"{one.write_units:.1f}"),
            ("DynamoDB, read units", f"{one.read_units:.0f}"),
            ("Bedrock, input and output tokens", f"{one.input_tokens:,} and {one.output_tokens:,}"),
            ("Bedrock, tokens counted by its quota", f"{one.quota_tokens:,.0f}"),
        )
    )


def _users() -> tuple[str, ...]:
    return tuple(f"{users:,} users" for users in USERS)


def cost_table(load: Load) -> str:
    """Returns the table of the cost of a day."""
    days = [day(users, load) for users in USERS]
    lines = [_row(price.name, *(_n(each[price.name]) for each in days)) for price in PRICES]
    totals = [sum(each.values()) for each in days]
    model = sum(days[0][name] for name in days[0] if name.startswith("Bedrock")) / totals[0]
    return (
        _head("dollars a day", *_users())
        + "".join(lines)
        + _row("**total**", *(f"**{_n(each)}**" for each in totals))
        + f"\nThe model is {model:.1%} of the total.\n"
    )


def quota_table(load: Load) -> str:
    """Returns the table of the use of each quota at the peak."""
    peaks = [peak(users, load) for users in USERS]
    lines = []
    for quota in QUOTAS:
        uses = [each[quota.name] for each in peaks]
        cells = [
            f"{_n(use)}{f' (**{_n(use / quota.limit)} times**)' if use > quota.limit else ''}"
            for use in uses
        ]
        lines.append(_row(quota.name, _n(quota.limit), *cells))
    nearest = [max(QUOTAS, key=lambda quota: each[quota.name] / quota.limit) for each in peaks]
    ratios = [each[quota.name] / quota.limit for each, quota in zip(peaks, nearest, strict=True)]
    listed = ", ".join(
        f"{quota.name.partition(' (')[0]} ({_n(ratio)} times)"
        for quota, ratio in zip(nearest, ratios, strict=True)
    )
    return (
        _head("at the peak", "default quota", *_users())
        + "".join(lines)
        + f"\nThe highest use relative to its quota, in each column: {listed}.\n\n"
        + _head("quota", "source", "remedy")
        + "".join(_row(quota.name, quota.source, quota.remedy) for quota in QUOTAS)
    )


def interval_table(load: Load) -> str:
    """Returns the table of the effect of a coalescing interval."""
    users = USERS[-1]
    api = [quota for quota in QUOTAS if quota.name.startswith("API Gateway, requests")]
    lines = []
    for interval in INTERVALS:
        with_interval = replace(load, interval=interval)
        lines.append(
            _row(
                f"{interval:g} s" if interval else "none",
                f"{turn(with_interval).posts}",
                _n(peak(users, with_interval)[api[0].name]),
                f"{shards(users, with_interval, api)}",
                _n(day(users, with_interval)["API Gateway, messages"]),
            )
        )
    return _head(
        "interval",
        "posts per turn",
        f"requests a second at the peak of {users:,} users",
        "accounts or Regions, at 10,000 each",
        "dollars a day for messages",
    ) + "".join(lines)


def price_table() -> str:
    """Returns the table of prices."""
    return _head("price", "dollars", "source") + "".join(
        _row(
            price.name,
            f"{price.dollars:g} per {'million ' if price.per > 1 else ''}{price.unit}",
            price.source,
        )
        for price in PRICES
    )


def assumption_table(load: Load) -> str:
    """Returns the table of assumptions."""
    return _head("assumption", "value") + "".join(
        _row(name, value)
        for name, value in (
            ("turns per user and day", f"{load.turns_per_user}"),
            (
                "turns per connection, and its minutes",
                f"{load.turns_per_connection}, {load.connection_minutes:g}",
            ),
            ("the busiest second, relative to the day's mean", f"{load.peak:g}"),
            (
                "input and output tokens per turn",
                f"{load.input_tokens:,} and {load.output_tokens:,}",
            ),
            (
                "the model: seconds to its first token, tokens a second, tokens per chunk",
                ", ".join(
                    f"{value:g}"
                    for value in (
                        load.first_token_seconds,
                        load.tokens_per_second,
                        load.tokens_per_chunk,
                    )
                ),
            ),
            ("a post, within a Region", f"{load.post_seconds * 1000:g} ms"),
            ("the function's memory", f"{load.memory_gb:g} GB"),
        )
    )


def tables(load: Load | None = None) -> str:
    """Returns all tables, as on the page."""
    load = load or Load()
    parts = (
        ("Assumptions", assumption_table(load)),
        ("One turn", turn_table(load)),
        ("Cost of a day", cost_table(load)),
        ("Quotas", quota_table(load)),
        ("Effect of a coalescing interval", interval_table(load)),
        ("Prices", price_table()),
    )
    return "".join(f"\n## {title}\n\n{text}" for title, text in parts) + "\n"


def page(text: str) -> str:
    """Returns the page with its tables replaced."""
    before, begin, rest = text.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not (begin and end):
        raise ValueError(f"{PAGE.name} lacks {BEGIN} or {END}")
    return f"{before}{BEGIN}\n{tables()}{END}{after}"


def main() -> None:
    """Writes the tables to the page and prints them."""
    PAGE.write_text(page(PAGE.read_text()))
    sys.stdout.write(tables())


if __name__ == "__main__":
    main()
