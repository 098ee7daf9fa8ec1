"""The families that the endpoint implements: a table with one row for each.

Rules:
- Shapes and templates are written from the services' documentation and recorded traffic, not from
  `src/`: a misreading there must not repeat itself here.
- Which model id belongs to which family is read from `src/families/registry.py`, the only copy.
  Nothing else is imported from there.
- A new family is a row of `FAMILIES`; if its shape is new, also a module like `nova.py`.

Does not know: how a family writes chunks (its module), the binary envelope (`eventstream.py`).
The ARNs of application inference profiles and imported models do not reveal the family; without a
default family they are refused.
"""

import json
import re
from collections.abc import Callable
from dataclasses import dataclass

from families import registry
from local.bedrock import chat, claude, cohere, nova, templated, titan
from local.bedrock.native import ChunkWriter, Document, expect_type
from local.bedrock.pieces import Prompt, ServiceError


@dataclass(frozen=True, slots=True)
class Family:
    """One row: how to read a request, how to write an answer, which models need a profile.

    `read` takes the parsed request and its text and raises ServiceError; `writer` takes the bare
    model id and the prompt. `profile_only` matches the beginning of the ids that can be invoked
    through an inference profile only.
    """

    name: str
    read: Callable[[Document, str], Prompt]
    writer: Callable[[str, Prompt], ChunkWriter]
    profile_only: re.Pattern[str] | None = None


# Which models need a profile: Bedrock user guide, "Supported foundation models".
FAMILIES = (
    Family(
        name="claude",
        read=claude.read,
        writer=claude.ChunkWriter,
        profile_only=re.compile(r"anthropic\.claude-(3-7-|[a-z]+-[4-9])"),
    ),
    Family(
        name="nova",
        read=nova.read,
        writer=nova.ChunkWriter,
        profile_only=re.compile(r"amazon\.nova-(2-|premier)"),
    ),
    Family(name="titan", read=titan.read, writer=titan.ChunkWriter),
    Family(name="llama2", read=templated.read_llama2, writer=templated.LlamaWriter),
    Family(
        name="llama3",
        read=templated.read_llama3,
        writer=templated.LlamaWriter,
        profile_only=re.compile(r"meta\.llama3-2-"),
    ),
    Family(
        name="llama4",
        read=templated.read_llama4,
        writer=templated.LlamaWriter,
        profile_only=re.compile(r"meta\.llama4-"),
    ),
    Family(name="mistral-text", read=templated.read_mistral, writer=templated.MistralWriter),
    Family(
        name="mistral-chat",
        read=chat.read_mistral,
        writer=chat.write_mistral,
        profile_only=re.compile(r"mistral\.pixtral-"),
    ),
    Family(name="command-r", read=cohere.read, writer=cohere.ChunkWriter),
    Family(name="jamba", read=chat.read_jamba, writer=chat.write_jamba),
    Family(
        name="deepseek-r1",
        read=templated.read_deepseek,
        writer=templated.DeepSeekWriter,
        profile_only=re.compile(r"deepseek\.r1-"),
    ),
    Family(name="openai-chat", read=chat.read_openai, writer=chat.write_openai),
    Family(
        name="palmyra",
        read=chat.read_palmyra,
        writer=chat.write_palmyra,
        profile_only=re.compile(r"writer\.palmyra-x"),
    ),
)
_BY_NAME = {family.name: family for family in FAMILIES}

_MODEL_ID = re.compile(r"[a-z0-9-]+\.[a-z0-9.:-]+")
# Bedrock user guide, "Supported Regions and models for inference profiles".
_REGION_PREFIX = re.compile(r"(us|us-gov|eu|apac|jp|au|ca|sa|global)\.(?=[a-z0-9-]+\.)")
_ARN = re.compile(
    r"arn:aws[a-z-]*:bedrock:[a-z0-9-]*:[0-9]*:(?P<kind>inference-profile|foundation-model)/(?P<id>.+)"
)
# Resources that an account creates itself.
_ACCOUNT_ARN = re.compile(
    r"arn:aws[a-z-]*:bedrock:[a-z0-9-]+:[0-9]+:"
    r"(application-inference-profile|imported-model|provisioned-model|custom-model-deployment)/"
    r"(?P<id>[a-z0-9]+)"
)


def resolve(model_id: str, default: Family | None = None) -> tuple[Family, str]:
    """Returns the family of a model id, profile id or ARN, and the bare model id.

    `default` is the family of the account's own profiles and models, whose ARN does not reveal it.
    Raises ServiceError (ValidationException) for an unknown model, and for one that can be invoked
    through an inference profile only.
    """
    account_arn = _ACCOUNT_ARN.fullmatch(model_id)
    if default and account_arn:
        return default, account_arn["id"]
    arn = _ARN.fullmatch(model_id)
    named = arn["id"] if arn else model_id
    bare = _REGION_PREFIX.sub("", named, count=1) if not arn or "profile" in arn["kind"] else named
    family = _family(bare)
    if family is None:
        raise ServiceError("ValidationException", "The provided model identifier is invalid.")
    if bare == named and family.profile_only and family.profile_only.match(bare):
        raise ServiceError(
            "ValidationException",
            f"Invocation of model ID {model_id} with on-demand throughput "
            "isn\N{RIGHT SINGLE QUOTATION MARK}t supported. Retry your request with the ID or ARN "
            "of an inference profile that contains this model.",
        )
    return family, bare


def _family(bare: str) -> Family | None:
    """Returns the row whose family has the model, if there is one."""
    if not _MODEL_ID.fullmatch(bare):
        return None
    for row in registry.FAMILIES:
        if bare.startswith(row.id_prefixes):
            return _BY_NAME.get(row.name)
    return None


def read(family: Family, body: bytes) -> Prompt:
    """Returns the prompt in a request's body. Raises ServiceError (ValidationException)."""
    try:
        text = body.decode()
        document = json.loads(text)
        json.dumps(document, ensure_ascii=False).encode()  # fails for half of a surrogate pair
    except ValueError:
        raise ServiceError("ValidationException") from None
    return family.read(expect_type(document, dict, "#"), text)
