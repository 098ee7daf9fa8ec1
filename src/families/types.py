"""Prompts and stream events, independent of any model family. Pure.

Rules
- Frozen values only. No field name of any model's API appears here.
- Every family receives a conversation that alternates between user and assistant and begins and
  ends with the user. `alternating` makes one from any list of messages.

Does not know families (`families.registry`) or how a conversation is stored (`memory`).
"""

from collections.abc import Iterable
from typing import Annotated

from msgspec import Meta, Struct

Count = Annotated[int, Meta(ge=0)]


class Message(Struct, frozen=True):
    """One message of a conversation. `role` is "user" or "assistant"."""

    role: str
    text: str


class Prompt(Struct, frozen=True, kw_only=True):
    """One request to a model. `cache` adds cache points where the family supports them."""

    system: str
    messages: tuple[Message, ...]
    max_tokens: int
    temperature: float | None = None
    top_p: float | None = None
    stop_sequences: tuple[str, ...] = ()
    cache: bool = False


class TextDelta(Struct, frozen=True):
    """New text of the answer."""

    text: str


class ReasoningDelta(Struct, frozen=True):
    """New text of the model's reasoning, which is not part of the answer."""

    text: str


class Usage(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Token counts as reported; None means not reported. `input_tokens` excludes cached tokens."""

    input_tokens: Annotated[Count | None, Meta(description="Input tokens that are not cached.")] = (
        None
    )
    output_tokens: Annotated[Count | None, Meta(description="Output tokens.")] = None
    cache_read_tokens: Annotated[
        Count | None, Meta(description="Input tokens read from the prompt cache.")
    ] = None
    cache_write_tokens: Annotated[
        Count | None, Meta(description="Input tokens written to the prompt cache.")
    ] = None

    def updated(self, later: "Usage") -> "Usage":
        """Returns these counts, replaced by those that `later` reports."""
        return Usage(
            **{
                name: new if (new := getattr(later, name)) is not None else getattr(self, name)
                for name in self.__struct_fields__
            }
        )

    @property
    def prompt_tokens(self) -> int | None:
        """Tokens of the whole prompt: uncached, read from the cache and written to the cache."""
        if self.input_tokens is None:
            return None
        return self.input_tokens + (self.cache_read_tokens or 0) + (self.cache_write_tokens or 0)


class Stopped(Struct, frozen=True):
    """The model ended its answer. `reason` is a value of `chunks.STOP_REASONS`, or "other"."""

    reason: str


ModelEvent = TextDelta | ReasoningDelta | Usage | Stopped


def alternating(messages: Iterable[Message]) -> tuple[Message, ...]:
    """Returns the conversation with strictly alternating roles, the user's first and last.

    Blank messages are dropped (an answer that failed before its first token is stored empty, and
    Claude refuses blank content). Consecutive messages of one role are joined by a blank line.
    """
    turns: list[Message] = []
    for message in messages:
        if not message.text.strip() or (not turns and message.role != "user"):
            continue
        if turns and turns[-1].role == message.role:
            turns[-1] = Message(message.role, f"{turns[-1].text}\n\n{message.text}")
        else:
            turns.append(message)
    if turns and turns[-1].role != "user":
        turns.pop()
    return tuple(turns)
