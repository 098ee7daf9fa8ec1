"""The daily quota of requests and tokens of each subject.

Rules
- The most that a request can cost is reserved before Bedrock is called, and reconciled with its
  actual cost afterwards: however many requests run at once, the quota is not exceeded, except by
  the error of the estimate of the prompt's tokens. A quota below one reservation admits one request
  at a time.
- A request whose Lambda crashed is charged its full reservation: its actual cost is unknown.
- A day is a UTC day, by the clock of the Lambda that reserves.

Builds the writes; the transactions that contain them are those of `leases`.
"""

import time

from msgspec import Struct

from errors import ChatError
from store.table import Update

DAY_SECONDS = 86_400
RETENTION_DAYS = 2  # the day itself, and one more for differences of clocks and for operators


class Reservation(Struct, frozen=True):
    """`tokens` reserved on a subject's `day` (days since 1970)."""

    quota_subject: str
    day: int
    tokens: int


class Budget(Struct, frozen=True):
    """The daily quota of each subject; 0 is no limit."""

    requests: int
    tokens: int

    def reservation(self, quota_subject: str, tokens: int) -> Reservation | None:
        """Returns what a request has to reserve now, or None where there is no quota."""
        limited = self.requests or self.tokens
        return (
            Reservation(quota_subject, int(time.time()) // DAY_SECONDS, tokens) if limited else None
        )

    def reserve(self, reservation: Reservation) -> Update:
        """Returns the write that reserves; its condition fails where the quota is used up."""
        before = {  # the most that may have been used before this request
            "requests": self.requests and self.requests - 1,
            "tokens": self.tokens and max(0, self.tokens - reservation.tokens),
        }
        limits = {name: most for name, most in before.items() if getattr(self, name)}
        return Update(
            key=_key(reservation),
            expression="SET expires_at = :expires_at ADD requests :one, tokens :tokens",
            condition=" AND ".join(
                f"(attribute_not_exists({name}) OR {name} <= :max_{name})" for name in limits
            ),
            values={
                ":expires_at": _expires_at(reservation),
                ":one": 1,
                ":tokens": reservation.tokens,
                **{f":max_{name}": most for name, most in limits.items()},
            },
        )


def reconcile(reservation: Reservation, used: int) -> Update:
    """Returns the write that replaces the reserved tokens by those `used`."""
    return Update(
        key=_key(reservation),
        expression="SET expires_at = :expires_at ADD tokens :difference",
        values={
            ":expires_at": _expires_at(reservation),
            ":difference": used - reservation.tokens,
        },
    )


def over_budget(reservation: Reservation) -> ChatError:
    """Returns the refusal, with the time when the next day begins."""
    return ChatError(
        "over_budget",
        "The daily quota is used up or reserved by running requests; it resets at 00:00 UTC.",
        retry_at=(reservation.day + 1) * DAY_SECONDS,
    )


def _expires_at(reservation: Reservation) -> int:
    return (reservation.day + RETENTION_DAYS) * DAY_SECONDS


def _key(reservation: Reservation) -> dict[str, str]:
    return {"pk": f"budget#{reservation.quota_subject}", "sk": f"day#{reservation.day}"}
