"""Bedrock's model families, as one table: how a model is known, asked and read. Pure.

Rules
- A family is one row of `FAMILIES`. Nothing outside this file asks which family a model is of.
- To add one: a row here, its two functions in `family_shapes` (or those of another row), its
  template in `prompt_templates` if it takes a prompt, a line in docs/families.md with sources.
- Any stop reason is an end. A stream that ends without one was cut: the caller must notice.

Does not know how chunks arrive, in what pieces they are relayed, or what failed.
"""

import re
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from msgspec import Struct, field
from msgspec.structs import replace

from families import shapes
from families.chunks import Json, added_by_bedrock
from families.control_tokens import neutralize, neutralize_lines, unchanged
from families.reasoning import ReasoningSplitter
from families.types import (
    Event,
    Message,
    Prompt,
    ReasoningDelta,
    Stopped,
    TextDelta,
    Usage,
    alternating,
)

__all__ = [  # the types too: whoever speaks with a model needs no other module
    "FAMILIES",
    "Decoder",
    "Event",
    "Family",
    "Message",
    "Prompt",
    "ReasoningDelta",
    "Stopped",
    "TextDelta",
    "UnknownModelError",
    "Usage",
    "bare_model_id",
    "body",
    "family_of",
]


class Family(Struct, frozen=True, kw_only=True):
    """One row of the table.

    `matches`: the beginnings of its model ids, without a Region prefix.
    `request`, `events`: the JSON body for a prompt, and the events of one decoded chunk.
    `ceilings`: the most output tokens that the service takes, by the beginning of the id; the first
    that fits counts, and "" fits all. Left out where it is beyond what the settings allow.
    `safe`: takes the force out of control tokens in every text of a prompt.
    `tags`: what its reasoning stands in, before the answer; `begun`: the prompt opens the first.
    """

    name: str
    matches: tuple[str, ...]
    request: Callable[[Prompt], dict[str, Any]]
    events: Callable[[Json], Iterator[Event]]
    ceilings: Mapping[str, int] = field(default_factory=dict)
    safe: Callable[[str], str] = neutralize
    tags: tuple[str, ...] = ()
    begun: bool = False


class UnknownModelError(Exception):
    """The model id tells no family that we speak. The message names the settings to change."""


# -- the table: sources and what is unconfirmed are in docs/families.md ----------------------------

FAMILIES: tuple[Family, ...] = (
    Family(
        name="claude",
        matches=("anthropic.claude",),
        request=shapes.claude_request,
        events=shapes.claude_events,
        ceilings={
            "anthropic.claude-3-5": 8192,
            "anthropic.claude-3-7": 64_000,
            "anthropic.claude-3": 4096,
            "anthropic.claude-v2": 4096,
            "anthropic.claude-instant": 4096,
            "anthropic.claude-opus-4-2": 32_000,  # claude-opus-4-20250514
            "anthropic.claude-opus-4-1": 32_000,
        },
        safe=unchanged,
    ),
    Family(
        name="nova",
        # Bedrock also lists Nova models that do not answer in text (canvas, reel, sonic).
        matches=(
            "amazon.nova-micro",
            "amazon.nova-lite",
            "amazon.nova-pro",
            "amazon.nova-premier",
            "amazon.nova-2-lite",
            "amazon.nova-2-pro",
        ),
        request=shapes.nova_request,
        events=shapes.nova_events,
        ceilings={"amazon.nova-2": 64_000, "amazon.nova": 10_000},
        safe=unchanged,
    ),
    Family(
        name="titan",
        matches=("amazon.titan-text", "amazon.titan-tg1"),
        request=shapes.titan_request,
        events=shapes.titan_events,
        ceilings={"amazon.titan-text-express": 8192, "amazon.titan-text-lite": 4096, "": 3072},
        safe=neutralize_lines,
    ),
    Family(
        name="llama2",
        matches=("meta.llama2",),
        request=shapes.llama2_request,
        events=shapes.llama_events,
        ceilings={"": 2048},
    ),
    Family(
        name="llama3",
        matches=("meta.llama3",),
        request=shapes.llama3_request,
        events=shapes.llama_events,
        ceilings={"": 2048},
        tags=("think",),  # R1's distillates on Llama, imported
    ),
    Family(
        name="llama4",
        matches=("meta.llama4",),
        request=shapes.llama4_request,
        events=shapes.llama_events,
        ceilings={"": 2048},
    ),
    Family(
        name="mistral-text",
        matches=(
            "mistral.mistral-7b",
            "mistral.mixtral",
            "mistral.mistral-large-2402",
            "mistral.mistral-small-2402",
        ),
        request=shapes.mistral_text_request,
        events=shapes.mistral_text_events,
        ceilings={"mistral.mixtral": 4096, "": 8192},
    ),
    Family(
        name="mistral-chat",
        matches=(
            "mistral.mistral-large",
            "mistral.pixtral",
            "mistral.magistral",
            "mistral.ministral",
            "mistral.devstral",
        ),
        request=shapes.chat_request_without_stop,
        events=shapes.choice_events,
        ceilings={"mistral.mistral-large-24": 8192},
        tags=("think",),
    ),
    Family(
        name="command-r",
        matches=("cohere.command-r",),
        request=shapes.command_r_request,
        events=shapes.command_r_events,
        ceilings={"": 4000},
    ),
    Family(
        name="jamba",
        matches=("ai21.jamba",),
        request=shapes.chat_request,
        events=shapes.choice_events,
        ceilings={"": 4096},
    ),
    Family(
        name="deepseek-r1",
        matches=("deepseek.r1",),
        request=shapes.deepseek_r1_request,
        events=shapes.choice_events,
        ceilings={"": 32_768},
        tags=("think",),
        begun=True,
    ),
    Family(
        name="openai-chat",
        matches=(
            "openai.gpt-oss",
            "qwen.",
            "deepseek.v3",
            "moonshot.",
            "moonshotai.",
            "zai.",
            "minimax.",
            "google.gemma",
            "nvidia.",
        ),
        request=shapes.chat_request,
        events=shapes.choice_events,
        tags=("reasoning", "think"),
    ),
    Family(
        name="palmyra",
        matches=("writer.palmyra-x",),
        request=shapes.chat_request,
        events=shapes.choice_events,
        ceilings={"": 8192},
    ),
)


# -- finding a row, asking, reading ----------------------------------------------------------------

# The Region prefix of an inference profile: us., eu., apac., global., us-gov., jp., au., ...
_PROFILE_PREFIX = re.compile(r"^(?:global|apac|[a-z]{2}(?:-gov)?)\.")


def bare_model_id(model_id: str) -> str:
    """Without ARN and Region prefix: "us.amazon.nova-lite-v1:0" is "amazon.nova-lite-v1:0"."""
    if model_id.startswith("arn:"):
        model_id = model_id.rpartition("/")[2]
    return _PROFILE_PREFIX.sub("", model_id)


def family_of(model_id: str, family: str = "") -> Family:
    """The row for `model_id`, or for the `family` named.

    Raises:
        UnknownModelError: no row fits.
    """
    if family:
        for row in FAMILIES:
            if row.name == family:
                return row
        known = ", ".join(row.name for row in FAMILIES)
        raise UnknownModelError(f"MODEL_FAMILY={family} is not one of {known}")
    bare = bare_model_id(model_id)
    for row in FAMILIES:
        if bare.startswith(row.matches):
            return row
    known = ", ".join(sorted(prefix for row in FAMILIES for prefix in row.matches))
    raise UnknownModelError(
        f"MODEL_ID={model_id} tells no model family that is spoken here ({known}); "
        "for an imported model or an application inference profile set MODEL_FAMILY"
    )


def body(family: Family, model_id: str, prompt: Prompt) -> dict[str, Any]:
    """The request's JSON body: the prompt put in order, then in the family's shape."""
    bare = bare_model_id(model_id)
    ceiling = next(
        (most for start, most in family.ceilings.items() if bare.startswith(start)),
        prompt.max_tokens,
    )
    return family.request(
        replace(
            prompt,
            system=family.safe(prompt.system),
            messages=tuple(
                Message(message.role, family.safe(message.text))
                for message in alternating(prompt.messages)
            ),
            max_tokens=min(prompt.max_tokens, ceiling),
        )
    )


class Decoder:
    """One stream's chunks as events.

    It remembers open reasoning, and that a guardrail stepped in: the model may go on to an end of
    its own then, but what is told is the guardrail.
    """

    def __init__(self, family: Family) -> None:
        self._family = family
        self._splitter = ReasoningSplitter(family.tags, begun=family.begun) if family.tags else None
        self._guarded = False

    def events(self, chunk: Json) -> Iterator[Event]:
        """The family's own events, then what Bedrock adds; unknown chunks give none."""
        for event in self._family.events(chunk):
            yield from self._one(event)
        for event in added_by_bedrock(chunk):
            yield from self._one(event)

    def _one(self, event: Event) -> Iterator[Event]:
        if isinstance(event, Stopped):
            self._guarded = self._guarded or event.reason == "guardrail"
            if self._splitter:
                yield from self._splitter.end(whole=event.reason == "end_turn")
            yield Stopped("guardrail") if self._guarded else event
        elif self._splitter and isinstance(event, TextDelta):
            yield from self._splitter.split(event.text)
        else:
            yield event
