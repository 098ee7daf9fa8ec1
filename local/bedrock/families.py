"""Which family a model belongs to: a table with one row for each.

Rules:
- Written from the services' documentation and recorded traffic, not from `src/`, so that a
  misreading there does not repeat itself here.
- A further family is a row of `FAMILIES`, and a module like `local/bedrock/nova.py` if its shape is new.

Does not know: how a family speaks (its module), the binary envelope (`local/bedrock/eventstream.py`).
The ARNs of application inference profiles and imported models do not tell the family; where no
family is given for them, they are refused.
"""

import json
import re
from collections.abc import Callable
from dataclasses import dataclass

from local.bedrock import chat, claude, cohere, nova, templated, titan
from local.bedrock.native import Document, Speech, typed
from local.bedrock.pieces import Failure, Prompt


@dataclass(frozen=True, slots=True)
class Family:
    """One row: the bare model ids, those of them that need a profile, how to read, how to speak.

    `read` takes the parsed request and its text and raises Failure; `speak` takes the bare model id
    and the prompt that was read.
    """

    name: str
    ids: re.Pattern[str]
    profile_only: re.Pattern[str]
    read: Callable[[Document, str], Prompt]
    speak: Callable[[str, Prompt], Speech]


_NONE = re.compile(r"(?!)")  # matches nothing

# Ids and which of them need a profile: Bedrock user guide, "Supported foundation models".
FAMILIES = (
    Family(
        name="claude",
        ids=re.compile(r"anthropic\.claude-[a-z0-9.:-]+"),
        profile_only=re.compile(r"anthropic\.claude-(3-7-|[a-z]+-[4-9])"),
        read=claude.read,
        speak=lambda model_id, prompt: claude.Speech(model_id, prompt.estimated_tokens),
    ),
    Family(
        name="nova",
        ids=re.compile(r"amazon\.nova-(2-)?(micro|lite|pro|premier)[a-z0-9.:-]*"),
        profile_only=re.compile(r"amazon\.nova-(2-|premier)"),
        read=nova.read,
        speak=lambda model_id, prompt: nova.Speech(model_id, prompt.estimated_tokens),
    ),
    Family(
        name="titan",
        ids=re.compile(r"amazon\.titan-(text-(lite|express|premier)|tg1-large)[a-z0-9.:-]*"),
        profile_only=_NONE,
        read=titan.read,
        speak=titan.Speech,
    ),
    Family(
        name="llama2",
        ids=re.compile(r"meta\.llama2-[a-z0-9.:-]+"),
        profile_only=_NONE,
        read=templated.read_llama2,
        speak=templated.LlamaSpeech,
    ),
    Family(
        name="llama3",
        ids=re.compile(r"meta\.llama3-[a-z0-9.:-]+"),
        profile_only=re.compile(r"meta\.llama3-2-"),
        read=templated.read_llama3,
        speak=templated.LlamaSpeech,
    ),
    Family(
        name="llama4",
        ids=re.compile(r"meta\.llama4-[a-z0-9.:-]+"),
        profile_only=re.compile(r"meta\.llama4-"),
        read=templated.read_llama4,
        speak=templated.LlamaSpeech,
    ),
    Family(
        name="mistral-text",
        ids=re.compile(
            r"mistral\.(mistral-7b-instruct|mixtral-8x7b-instruct|mistral-(small|large)-2402)"
            r"[a-z0-9.:-]*"
        ),
        profile_only=_NONE,
        read=templated.read_mistral,
        speak=templated.MistralSpeech,
    ),
    Family(
        name="mistral-chat",
        ids=re.compile(r"mistral\.(mistral-large-2407|pixtral-large-2502)[a-z0-9.:-]*"),
        profile_only=re.compile(r"mistral\.pixtral-"),
        read=chat.read_mistral,
        speak=chat.speak_mistral,
    ),
    Family(
        name="command-r",
        ids=re.compile(r"cohere\.command-r-[a-z0-9.:-]+"),
        profile_only=_NONE,
        read=cohere.read,
        speak=cohere.Speech,
    ),
    Family(
        name="jamba",
        ids=re.compile(r"ai21\.jamba-[a-z0-9.:-]+"),
        profile_only=_NONE,
        read=chat.read_jamba,
        speak=chat.speak_jamba,
    ),
    Family(
        name="deepseek-r1",
        ids=re.compile(r"deepseek\.r1-[a-z0-9.:-]+"),
        profile_only=re.compile(r"deepseek\.r1-"),
        read=templated.read_deepseek,
        speak=templated.DeepSeekSpeech,
    ),
    Family(
        name="openai-chat",
        ids=re.compile(
            r"(openai\.gpt-oss-|qwen\.qwen3-|deepseek\.v3|moonshot(ai)?\.kimi-|zai\.glm-|minimax\."
            r"|google\.gemma-|nvidia\.nemotron-|mistral\.(devstral|ministral|magistral|mistral-large-3)-)"
            r"[a-z0-9.:-]+"
        ),
        profile_only=_NONE,
        read=chat.read_openai,
        speak=chat.speak_openai,
    ),
    Family(
        name="palmyra",
        ids=re.compile(r"writer\.palmyra-[a-z0-9.:-]+"),
        profile_only=re.compile(r"writer\.palmyra-x"),
        read=chat.read_palmyra,
        speak=chat.speak_palmyra,
    ),
)

# Bedrock user guide, "Supported Regions and models for inference profiles".
_REGION_PREFIX = re.compile(r"(us|us-gov|eu|apac|jp|au|ca|sa|global)\.(?=[a-z0-9-]+\.)")
_ARN = re.compile(
    r"arn:aws[a-z-]*:bedrock:[a-z0-9-]*:[0-9]*:(?P<kind>inference-profile|foundation-model)/(?P<id>.+)"
)
# What an account makes for itself.
_OWN_ARN = re.compile(
    r"arn:aws[a-z-]*:bedrock:[a-z0-9-]+:[0-9]+:"
    r"(application-inference-profile|imported-model|provisioned-model|custom-model-deployment)/"
    r"(?P<id>[a-z0-9]+)"
)


def resolve(model_id: str, own: Family | None = None) -> tuple[Family, str]:
    """The family of a model id, profile id or ARN, and the bare model id.

    `own` is the family of the account's own profiles and models, whose ARN does not tell.
    Raises Failure (ValidationException) for one that Bedrock does not know, or does not serve
    without an inference profile.
    """
    mine = _OWN_ARN.fullmatch(model_id)
    if own and mine:
        return own, mine["id"]
    arn = _ARN.fullmatch(model_id)
    named = arn["id"] if arn else model_id
    bare = _REGION_PREFIX.sub("", named, count=1) if not arn or "profile" in arn["kind"] else named
    family = next((family for family in FAMILIES if family.ids.fullmatch(bare)), None)
    if family is None:
        raise Failure("ValidationException", "The provided model identifier is invalid.")
    if bare == named and family.profile_only.match(bare):
        raise Failure(
            "ValidationException",
            f"Invocation of model ID {model_id} with on-demand throughput "
            "isn\N{RIGHT SINGLE QUOTATION MARK}t supported. Retry your request with the ID or ARN "
            "of an inference profile that contains this model.",
        )
    return family, bare


def read(family: Family, body: bytes) -> Prompt:
    """The prompt in a request's body. Raises Failure (ValidationException)."""
    try:
        text = body.decode()
        document = json.loads(text)
        json.dumps(document, ensure_ascii=False).encode()  # an escaped half of a surrogate pair
    except ValueError:
        raise Failure("ValidationException") from None
    return family.read(typed(document, dict, "#"), text)
