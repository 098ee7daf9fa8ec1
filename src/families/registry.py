"""The table of model families: model ids, request bodies and stream decoders. No I/O.

Rules
- A family is one row of `FAMILIES`. No code outside this table depends on a family's name.
- `id_prefixes` is the only place that says which model belongs to which family: the local Bedrock
  endpoint reads it too.
- To add a family: a row here, with functions of `shapes` (new ones only for a new shape); the other
  steps are in CONTRIBUTING.md.
- Any stop reason ends the answer. A stream that ends without one was cut off: callers must check.

Does not know how chunks arrive, how they are relayed, or errors of the service.
"""

import re
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from msgspec import Struct, field
from msgspec.structs import replace

from families import shapes
from families.chunks import JsonObject, bedrock_events
from families.control_tokens import neutralize, neutralize_transcript, unchanged
from families.reasoning import ReasoningSplitter
from families.types import Message, ModelEvent, Prompt, Stopped, TextDelta, alternating


class Family(Struct, frozen=True, kw_only=True):
    """One row of the table.

    `id_prefixes`: the beginnings of its model ids, without a Region prefix.
    `request`, `events`: build the JSON body of a prompt; read the events of one decoded chunk.
    `output_limits`: the most output tokens that the service accepts, by the beginning of the model
    id. The first entry that matches applies; "" matches all. Omitted where it exceeds what the
    settings allow.
    `sanitize`: neutralizes control tokens in every text of a prompt.
    `reasoning_tags`: names of the tags around reasoning in the text, before the answer.
    `starts_in_reasoning`: the prompt ends with the first opening tag.
    """

    name: str
    id_prefixes: tuple[str, ...]
    request: Callable[[Prompt], dict[str, Any]]
    events: Callable[[JsonObject], Iterator[ModelEvent]]
    output_limits: Mapping[str, int] = field(default_factory=dict)
    sanitize: Callable[[str], str] = neutralize
    reasoning_tags: tuple[str, ...] = ()
    starts_in_reasoning: bool = False


class UnknownModelError(Exception):
    """No family matches the model id. The message names the settings to change."""


# -- the table: sources and what is unconfirmed are in docs/families.md ----------------------------

FAMILIES: tuple[Family, ...] = (
    Family(
        name="claude",
        id_prefixes=("anthropic.claude",),
        request=shapes.claude_request,
        events=shapes.claude_events,
        output_limits={
            "anthropic.claude-3-5": 8192,
            "anthropic.claude-3-7": 64_000,
            "anthropic.claude-3": 4096,
            "anthropic.claude-v2": 4096,
            "anthropic.claude-instant": 4096,
            "anthropic.claude-opus-4-2": 32_000,  # claude-opus-4-20250514
            "anthropic.claude-opus-4-1": 32_000,
        },
        sanitize=unchanged,
    ),
    Family(
        name="nova",
        # Listed one by one: other Nova models do not answer in text (canvas, reel, sonic).
        id_prefixes=(
            "amazon.nova-micro",
            "amazon.nova-lite",
            "amazon.nova-pro",
            "amazon.nova-premier",
            "amazon.nova-2-lite",
            "amazon.nova-2-pro",
        ),
        request=shapes.nova_request,
        events=shapes.nova_events,
        output_limits={"amazon.nova-2": 64_000, "amazon.nova": 10_000},
        sanitize=unchanged,
    ),
    Family(
        name="titan",
        id_prefixes=("amazon.titan-text", "amazon.titan-tg1"),
        request=shapes.titan_request,
        events=shapes.titan_events,
        output_limits={"amazon.titan-text-express": 8192, "amazon.titan-text-lite": 4096, "": 3072},
        sanitize=neutralize_transcript,
    ),
    Family(
        name="llama2",
        id_prefixes=("meta.llama2",),
        request=shapes.llama2_request,
        events=shapes.llama_events,
        output_limits={"": 2048},
    ),
    Family(
        name="llama3",
        id_prefixes=("meta.llama3",),
        request=shapes.llama3_request,
        events=shapes.llama_events,
        output_limits={"": 2048},
        reasoning_tags=("think",),  # imported R1 distillations of Llama
    ),
    Family(
        name="llama4",
        id_prefixes=("meta.llama4",),
        request=shapes.llama4_request,
        events=shapes.llama_events,
        output_limits={"": 2048},
    ),
    Family(
        name="mistral-text",
        id_prefixes=(
            "mistral.mistral-7b",
            "mistral.mixtral",
            "mistral.mistral-large-2402",
            "mistral.mistral-small-2402",
        ),
        request=shapes.mistral_text_request,
        events=shapes.mistral_text_events,
        output_limits={"mistral.mixtral": 4096, "": 8192},
    ),
    Family(
        name="mistral-chat",
        id_prefixes=(
            "mistral.mistral-large",
            "mistral.pixtral",
            "mistral.magistral",
            "mistral.ministral",
            "mistral.devstral",
        ),
        request=shapes.chat_request_without_stop,
        events=shapes.choice_events,
        output_limits={"mistral.mistral-large-24": 8192},
        reasoning_tags=("think",),
    ),
    Family(
        name="command-r",
        id_prefixes=("cohere.command-r",),
        request=shapes.command_r_request,
        events=shapes.command_r_events,
        output_limits={"": 4000},
    ),
    Family(
        name="jamba",
        id_prefixes=("ai21.jamba",),
        request=shapes.chat_request,
        events=shapes.choice_events,
        output_limits={"": 4096},
    ),
    Family(
        name="deepseek-r1",
        id_prefixes=("deepseek.r1",),
        request=shapes.deepseek_r1_request,
        events=shapes.choice_events,
        output_limits={"": 32_768},
        reasoning_tags=("think",),
        starts_in_reasoning=True,
    ),
    Family(
        name="openai-chat",
        id_prefixes=(
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
        reasoning_tags=("reasoning", "think"),
    ),
    Family(
        name="palmyra",
        id_prefixes=("writer.palmyra-x",),
        request=shapes.chat_request,
        events=shapes.choice_events,
        output_limits={"": 8192},
    ),
)


# -- lookup, request, stream -----------------------------------------------------------------------

# The Region prefix of an inference profile: us., eu., apac., global., us-gov., jp., au., ...
REGION_PREFIX = re.compile(r"^(?:global|apac|[a-z]{2}(?:-gov)?)\.")


def bare_model_id(model_id: str) -> str:
    """Returns the id without ARN and Region prefix: "amazon.nova-lite-v1:0"."""
    if model_id.startswith("arn:"):
        model_id = model_id.rpartition("/")[2]
    return REGION_PREFIX.sub("", model_id)


def family_of(model_id: str, family: str = "") -> Family:
    """Returns the row for `model_id`, or the row named `family` if that is given.

    Raises:
        UnknownModelError: no row matches.
    """
    if family:
        for row in FAMILIES:
            if row.name == family:
                return row
        known = ", ".join(row.name for row in FAMILIES)
        raise UnknownModelError(f"MODEL_FAMILY={family} is not one of {known}")
    bare = bare_model_id(model_id)
    for row in FAMILIES:
        if bare.startswith(row.id_prefixes):
            return row
    known = ", ".join(sorted(prefix for row in FAMILIES for prefix in row.id_prefixes))
    raise UnknownModelError(
        f"MODEL_ID={model_id} does not belong to a supported model family ({known}); "
        "for an imported model or an application inference profile set MODEL_FAMILY"
    )


def request_body(family: Family, model_id: str, prompt: Prompt) -> dict[str, Any]:
    """Returns the request's JSON body: the prompt, prepared for and in the family's shape.

    Messages are made to alternate, texts are sanitized, `max_tokens` is limited.
    """
    bare = bare_model_id(model_id)
    limit = next(
        (most for prefix, most in family.output_limits.items() if bare.startswith(prefix)),
        prompt.max_tokens,
    )
    return family.request(
        replace(
            prompt,
            system=family.sanitize(prompt.system),
            messages=tuple(
                Message(message.role, family.sanitize(message.text))
                for message in alternating(prompt.messages)
            ),
            max_tokens=min(prompt.max_tokens, limit),
        )
    )


class Decoder:
    """Decodes the chunks of one stream into events.

    It keeps the state of open reasoning, and whether a guardrail intervened: the model may then
    still report a stop reason of its own, and the guardrail replaces it.
    """

    def __init__(self, family: Family) -> None:
        self._family = family
        self._splitter = (
            ReasoningSplitter(family.reasoning_tags, starts_in_reasoning=family.starts_in_reasoning)
            if family.reasoning_tags
            else None
        )
        self._intervened = False

    def events(self, chunk: JsonObject) -> Iterator[ModelEvent]:
        """Returns the family's own events, then Bedrock's; none for an unknown chunk."""
        for event in self._family.events(chunk):
            yield from self._processed(event)
        for event in bedrock_events(chunk):
            yield from self._processed(event)

    def _processed(self, event: ModelEvent) -> Iterator[ModelEvent]:
        if isinstance(event, Stopped):
            self._intervened = self._intervened or event.reason == "guardrail"
            if self._splitter:
                yield from self._splitter.end(finished=event.reason == "end_turn")
            yield Stopped("guardrail") if self._intervened else event
        elif self._splitter and isinstance(event, TextDelta):
            yield from self._splitter.split(event.text)
        else:
            yield event
