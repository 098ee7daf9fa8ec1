"""What so many users a day need of AWS, and cost: `python -m bench.capacity` writes the tables.

A simulation of one turn (what it calls, posts, reads and writes) times the turns of a day; its peak
against AWS's quotas. Pure and the same each time: `docs/capacity.md` holds the tables between its
marks, and a test holds the two together. What a turn calls is no guess: `tests/test_round_trips.py`
counts it and compares it with `DYNAMODB_CALLS` and `writes`.

Does not know: free tiers, data transfer, alarms, dashboards, authorizers, tools' retries, what a
cold start is billed, discounts (flex tiers, prompt caching, savings plans), or how users spread
over a day beyond one factor.
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

# What a turn calls where it is shorter than a look (a second): the connection, the claim, the
# history, the save.
DYNAMODB_CALLS: Mapping[str, int] = {"GetItem": 1, "TransactWriteItems": 2, "Query": 1}
POLL_SECONDS, RENEW_SECONDS = 1.0, 8.0  # src/store/leases.py


@dataclass(frozen=True, slots=True)
class Load:
    """What is assumed of the people and the model."""

    turns_a_user: int = 5
    turns_a_connection: int = 5
    connection_minutes: float = 10.0
    peak: float = 4.0  # the busiest second in relation to the mean of the day
    tokens_in: int = 2_000
    tokens_out: int = 300
    tokens_a_second: float = 50.0
    first_token_seconds: float = 1.0
    tokens_a_chunk: float = 3.0
    bytes_a_token: float = 4.0
    post_seconds: float = 0.015  # within a Region
    other_seconds: float = 0.05  # of Lambda's time: DynamoDB, before and after the stream
    memory_gb: float = 1.0
    interval: float = 0.0  # how far apart posts are kept


@dataclass(frozen=True, slots=True)
class Turn:
    """What one turn takes of AWS."""

    posts: int
    lambda_seconds: float
    read_units: float
    write_units: float
    tokens_in: int
    tokens_out: int
    connections: float
    log_kb: float = 2.0

    @property
    def requests(self) -> float:
        """What counts against API Gateway's requests: the frame, the posts, and the connection."""
        return 1 + self.posts + self.connections

    @property
    def invocations(self) -> float:
        """One, and what `$connect` and `$disconnect` add."""
        return 1 + 2 * self.connections

    @property
    def quota_tokens(self) -> float:
        """What Bedrock counts: five for each token that newer Claude models say.

        Bedrock User Guide, "How tokens are counted in Amazon Bedrock".
        """
        return self.tokens_in + 5 * self.tokens_out


def posts(chunks: int, gap: float, post_seconds: float, interval: float) -> int:
    """How many posts carry so many chunks that arrive so far apart.

    The relay's own rule: the first leaves at once; while a post is under way, and until `interval`
    after it, what arrives gathers and leaves together.
    """
    made, arrived, free = 0, 0, 0.0
    while arrived < chunks:
        now = max(free, arrived * gap)
        arrived = max(arrived + 1, min(chunks, int(now / gap + 1e-9) + 1 if gap else chunks))
        free = now + post_seconds + interval
        made += 1
    return made


def units(size: float, unit: int) -> int:
    """DynamoDB charges whole units: 4 KB a read, 1 KB a write."""
    return max(1, math.ceil(size / unit))


def turn(load: Load) -> Turn:
    """One turn, simulated."""
    chunks = math.ceil(load.tokens_out / load.tokens_a_chunk)
    stream = load.tokens_out / load.tokens_a_second
    seconds = load.first_token_seconds + stream + load.other_seconds
    looks, renewals = int(stream / POLL_SECONDS), int(stream / RENEW_SECONDS)
    history = load.tokens_in * load.bytes_a_token
    answer = load.tokens_out * load.bytes_a_token
    question = 200.0
    a_connection = 1 / load.turns_a_connection
    return Turn(
        # `start`, the deltas, `done`.
        posts=2 + posts(chunks, stream / chunks, load.post_seconds, load.interval),
        lambda_seconds=seconds + 2 * a_connection * 0.02,
        # The connection, the history and the looks, all strongly consistent.
        read_units=1 + units(history, 4096) + (looks - renewals),
        write_units=writes(question, answer)
        # A renewal writes the head and what was said so far.
        + renewals * (1 + units(question + answer, 1024))
        + 2 * a_connection,
        tokens_in=load.tokens_in,
        tokens_out=load.tokens_out,
        connections=a_connection,
    )


def writes(question: float, answer: float) -> int:
    """Write units of the claim (head, request, allowance) and the save (those, and the turn).

    A transaction's writes cost double. An update is charged by the larger of the two versions, so
    the request's, which held the question, and the turn, which holds both, go by their sizes.
    """
    overhead = 300.0  # names, keys and numbers
    claim = 1 + units(question + overhead, 1024) + 1
    save = 1 + units(question + overhead, 1024) + 1 + units(question + answer + overhead, 1024)
    return 2 * (claim + save)


# -- money -----------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Price:
    """Dollars for `per` of something, as quoted where `source` says."""

    what: str
    dollars: float
    per: float
    of: str
    source: str = "docs/deploy.md"


# us-east-1, as docs/deploy.md quotes them: third parties' words of 2025 and 2026, not AWS's own.
PRICES = (
    Price("Bedrock, tokens in", 3.00, 1e6, "tokens (Claude Sonnet 4.6)"),
    Price("Bedrock, tokens out", 15.00, 1e6, "tokens (Claude Sonnet 4.6)"),
    Price("Lambda, time", 0.0000133334, 1, "GB-second, arm64"),
    Price("Lambda, requests", 0.20, 1e6, "requests"),
    Price("API Gateway, messages", 1.00, 1e6, "messages of 32 KB"),
    Price("API Gateway, connections", 0.25, 1e6, "minutes", "from memory"),
    Price("DynamoDB, writes", 0.625, 1e6, "units"),
    Price("DynamoDB, reads", 0.125, 1e6, "units"),
    Price("CloudWatch, logs", 0.50, 1, "GB", "from memory"),
)


def day(users: int, load: Load) -> dict[str, float]:
    """Dollars a day, by what is charged."""
    one, turns = turn(load), users * load.turns_a_user
    used = {
        "Bedrock, tokens in": one.tokens_in,
        "Bedrock, tokens out": one.tokens_out,
        "Lambda, time": one.lambda_seconds * load.memory_gb,
        "Lambda, requests": one.invocations,
        "API Gateway, messages": 1 + one.posts,
        "API Gateway, connections": one.connections * load.connection_minutes,
        "DynamoDB, writes": one.write_units,
        "DynamoDB, reads": one.read_units,
        "CloudWatch, logs": one.log_kb / 1e6,
    }
    return {price.what: turns * used[price.what] * price.dollars / price.per for price in PRICES}


# -- quotas ----------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Quota:
    """What an account has of something in a Region before it asks for more."""

    what: str
    most: float
    source: str
    answer: str


QUOTAS = (
    Quota(
        "Bedrock, tokens a minute (weighted)",
        1_000_000,
        "by model and account; this figure is assumed",
        "ask for more; spread over Regions and accounts; a smaller model",
    ),
    Quota(
        "Lambda, events at once",
        1_000,
        "Lambda Developer Guide, quotas: default, can be raised",
        "ask for more, early: it is what a stream holds while it runs",
    ),
    Quota(
        "API Gateway, requests a second",
        10_000,
        "API Gateway quotas: of an account and Region, callbacks and messages together; can be "
        "raised",
        "a coalescing interval; then shards over Regions and accounts",
    ),
    Quota(
        "API Gateway, new connections a second",
        500,
        "API Gateway quotas, WebSocket: default, can be raised",
        "ask for more; longer connections",
    ),
    Quota(
        "DynamoDB, write units a second",
        40_000,
        "DynamoDB quotas: of an on-demand table by default, can be raised",
        "ask for more; a table for each shard, for sessions share nothing",
    ),
    Quota(
        "DynamoDB, read units a second",
        40_000,
        "as above",
        "as above",
    ),
)


def peak(users: int, load: Load) -> dict[str, float]:
    """What the busiest second (of Bedrock: minute) needs, by quota."""
    one = turn(load)
    rate = users * load.turns_a_user / 86_400 * load.peak
    needs = (
        rate * 60 * one.quota_tokens,
        rate * one.lambda_seconds,
        rate * one.requests,
        rate * one.connections,
        rate * one.write_units,
        rate * one.read_units,
    )
    return {quota.what: need for quota, need in zip(QUOTAS, needs, strict=True)}


def shards(users: int, load: Load, among: Iterable[Quota] = QUOTAS) -> int:
    """How many accounts or Regions with default quotas it takes."""
    needs = peak(users, load)
    return max(1, *(math.ceil(needs[quota.what] / quota.most) for quota in among))


# -- the page --------------------------------------------------------------------------------------


def _n(value: float) -> str:
    """A figure with as many digits as it deserves."""
    if value >= 100:
        return f"{float(f'{value:.3g}'):,.0f}"
    return f"{value:.2g}" if value < 10 else f"{value:.0f}"


def _row(*cells: str) -> str:
    return "| " + " | ".join(cells) + " |\n"


def _head(*cells: str) -> str:
    return _row(*cells) + "|" + "---|" * len(cells) + "\n"


def a_turn(load: Load) -> str:
    """The table of one turn."""
    one = turn(load)
    return _head("one turn takes", "") + "".join(
        _row(name, value)
        for name, value in (
            ("posts to the connection", f"{one.posts}"),
            ("Lambda, seconds", f"{one.lambda_seconds:.2f}"),
            ("DynamoDB, write units", f"{one.write_units:.1f}"),
            ("DynamoDB, read units", f"{one.read_units:.0f}"),
            ("Bedrock, tokens in and out", f"{one.tokens_in:,} and {one.tokens_out:,}"),
            ("Bedrock, tokens as its quota counts", f"{one.quota_tokens:,.0f}"),
        )
    )


def _users() -> tuple[str, ...]:
    return tuple(f"{users:,} users" for users in USERS)


def costs(load: Load) -> str:
    """The table of what a day costs."""
    days = [day(users, load) for users in USERS]
    lines = [_row(price.what, *(_n(each[price.what]) for each in days)) for price in PRICES]
    together = [sum(each.values()) for each in days]
    model = sum(days[0][what] for what in days[0] if what.startswith("Bedrock")) / together[0]
    return (
        _head("dollars a day", *_users())
        + "".join(lines)
        + _row("**together**", *(f"**{_n(each)}**" for each in together))
        + f"\nThe model is {model:.1%} of it.\n"
    )


def quotas(load: Load) -> str:
    """The table of what the peak needs, in relation to each quota."""
    peaks = [peak(users, load) for users in USERS]
    lines = []
    for quota in QUOTAS:
        needs = [each[quota.what] for each in peaks]
        cells = [
            f"{_n(need)}{f' (**{_n(need / quota.most)} times**)' if need > quota.most else ''}"
            for need in needs
        ]
        lines.append(_row(quota.what, _n(quota.most), *cells))
    first = [max(QUOTAS, key=lambda quota: each[quota.what] / quota.most) for each in peaks]
    share = [each[quota.what] / quota.most for each, quota in zip(peaks, first, strict=True)]
    met = ", ".join(
        f"{quota.what.partition(' (')[0]} ({_n(part)} times it)"
        for quota, part in zip(first, share, strict=True)
    )
    return (
        _head("at the peak", "default quota", *_users())
        + "".join(lines)
        + f"\nNearest to its quota, in each column: {met}.\n\n"
        + _head("quota", "source", "what answers it")
        + "".join(_row(quota.what, quota.source, quota.answer) for quota in QUOTAS)
    )


def intervals(load: Load) -> str:
    """The table of what a coalescing interval answers."""
    users = USERS[-1]
    api = [quota for quota in QUOTAS if quota.what.startswith("API Gateway, requests")]
    lines = []
    for interval in INTERVALS:
        there = replace(load, interval=interval)
        lines.append(
            _row(
                f"{interval:g} s" if interval else "none",
                f"{turn(there).posts}",
                _n(peak(users, there)[api[0].what]),
                f"{shards(users, there, api)}",
                _n(day(users, there)["API Gateway, messages"]),
            )
        )
    return _head(
        "interval",
        "posts a turn",
        f"requests a second at the peak of {users:,} users",
        "accounts or Regions, at 10,000 each",
        "dollars a day for messages",
    ) + "".join(lines)


def prices() -> str:
    """The table of prices."""
    return _head("price", "dollars", "source") + "".join(
        _row(
            price.what,
            f"{price.dollars:g} {'for a million' if price.per > 1 else 'for one'}: {price.of}",
            price.source,
        )
        for price in PRICES
    )


def assumptions(load: Load) -> str:
    """The table of what is assumed."""
    return _head("assumed", "") + "".join(
        _row(name, value)
        for name, value in (
            ("turns a user and day", f"{load.turns_a_user}"),
            (
                "turns a connection, and its minutes",
                f"{load.turns_a_connection}, {load.connection_minutes:g}",
            ),
            ("the busiest second, in relation to the day's mean", f"{load.peak:g}"),
            ("tokens in and out", f"{load.tokens_in:,} and {load.tokens_out:,}"),
            (
                "the model: seconds to its first token, tokens a second, tokens a chunk",
                f"{load.first_token_seconds:g}, {load.tokens_a_second:g}, {load.tokens_a_chunk:g}",
            ),
            ("a post, within a Region", f"{load.post_seconds * 1000:g} ms"),
            ("the function's memory", f"{load.memory_gb:g} GB"),
        )
    )


def tables(load: Load | None = None) -> str:
    """All of the tables, as the page has them."""
    load = load or Load()
    parts = (
        ("What is assumed", assumptions(load)),
        ("One turn", a_turn(load)),
        ("What a day costs", costs(load)),
        ("Which quota is met first", quotas(load)),
        ("What a coalescing interval answers", intervals(load)),
        ("Prices", prices()),
    )
    return "".join(f"\n## {title}\n\n{text}" for title, text in parts) + "\n"


def page(text: str) -> str:
    """The page with its tables replaced."""
    before, begin, rest = text.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not (begin and end):
        raise ValueError(f"{PAGE.name} lacks {BEGIN} or {END}")
    return f"{before}{BEGIN}\n{tables()}{END}{after}"


def main() -> None:
    """Writes the tables into the page, and prints them."""
    PAGE.write_text(page(PAGE.read_text()))
    sys.stdout.write(tables())


if __name__ == "__main__":
    main()
