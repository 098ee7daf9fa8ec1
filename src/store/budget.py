"""What one person may use in a day: requests and tokens. Pure.

Rules
- What a request may cost at the most is reserved before Bedrock is called, and settled with what it
  did cost: no number of requests at once uses more than the day's allowance, but for what a guess
  at the question's tokens was too low. An allowance below one reservation lets one in at a time.
- Whoever crashes has used what it reserved: nobody knows better.
- A day is one of UTC, by the clock of the Lambda that reserves.
"""

import time

from msgspec import Struct

from errors import ChatError
from store.table import Update

DAY_SECONDS = 86_400
KEPT_DAYS = 2  # a day's count is of no use on the next; one more for clocks and for looking at it


class Reservation(Struct, frozen=True):
    """`tokens` of a person's `day` (the number of it since 1970)."""

    quota_subject: str
    day: int
    tokens: int


class Budget(Struct, frozen=True):
    """The allowance of each person and day; 0 is none to keep."""

    requests: int
    tokens: int

    def reservation(self, quota_subject: str, tokens: int) -> Reservation | None:
        """What is to be reserved now, if anything is counted at all."""
        counted = self.requests or self.tokens
        return (
            Reservation(quota_subject, int(time.time()) // DAY_SECONDS, tokens) if counted else None
        )

    def reserve(self, reservation: Reservation) -> Update:
        """Takes the reservation, where the allowance has room for it."""
        room = {
            "requests": self.requests and self.requests - 1,
            "tokens": self.tokens and max(0, self.tokens - reservation.tokens),
        }
        limits = {name: most for name, most in room.items() if getattr(self, name)}
        return Update(
            key=_key(reservation),
            expression="SET expires_at = :expires ADD requests :one, tokens :tokens",
            condition=" AND ".join(
                f"(attribute_not_exists({name}) OR {name} <= :{name}_room)" for name in limits
            ),
            values={
                ":expires": _expiry(reservation),
                ":one": 1,
                ":tokens": reservation.tokens,
                **{f":{name}_room": most for name, most in limits.items()},
            },
        )


def reconcile(reservation: Reservation, used: int) -> Update:
    """Gives back what was not used of the reservation, or adds what was used beyond it."""
    return Update(
        key=_key(reservation),
        expression="SET expires_at = :expires ADD tokens :difference",
        values={
            ":expires": _expiry(reservation),
            ":difference": used - reservation.tokens,
        },
    )


def over_budget(reservation: Reservation) -> ChatError:
    """The refusal, with the time when the next day begins."""
    return ChatError(
        "over_budget",
        "Today's allowance is used up, or held by answers that still run; a new day begins at "
        "00:00 UTC.",
        retry_at=(reservation.day + 1) * DAY_SECONDS,
    )


def _expiry(reservation: Reservation) -> int:
    return (reservation.day + KEPT_DAYS) * DAY_SECONDS


def _key(reservation: Reservation) -> dict[str, str]:
    return {"pk": f"budget#{reservation.quota_subject}", "sk": f"day#{reservation.day}"}
