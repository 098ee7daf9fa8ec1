"""What a model is asked and what it says, in no family's shape. Pure.

Rules
- Values only, frozen: nothing here knows a field name of any model.
- A conversation given to a family alternates, and begins and ends with the user: `alternating`
  makes it so, whatever was saved.

Does not know families (`model_families`), or how a conversation is kept (`memory`).
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
    """What is asked. `cache` asks for cache points, where the family has them."""

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
        """These counts, overwritten by those that `later` says."""
        return Usage(
            **{
                name: new if (new := getattr(later, name)) is not None else getattr(self, name)
                for name in self.__struct_fields__
            }
        )

    @property
    def prompt_tokens(self) -> int | None:
        """The whole prompt: what was read afresh, and what a cache served or took in."""
        if self.input_tokens is None:
            return None
        return self.input_tokens + (self.cache_read_tokens or 0) + (self.cache_write_tokens or 0)


class Stopped(Struct, frozen=True):
    """The model's own end. `reason` is one of `native.STOP_REASONS`' values, or "other"."""

    reason: str


Event = TextDelta | ReasoningDelta | Usage | Stopped


def alternating(messages: Iterable[Message]) -> tuple[Message, ...]:
    """The conversation as every family takes it: user and assistant in turn, the user at both ends.

    Messages of white space only are left out (an answer that failed before its first word; Claude
    refuses them). Neighbours of one role become one message, with a blank line between.
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
