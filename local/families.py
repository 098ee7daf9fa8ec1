"""Which family a model belongs to: a table with one row for each.

Rules:
- Written from the services' documentation and recorded traffic, not from `src/`, so that a
  misreading there does not repeat itself here.
- A further family is a module like `local/nova.py` and a row of `FAMILIES`.

Does not know: how a family speaks (its module), the binary envelope (`local/eventstream.py`).
Application inference profiles and imported models cannot be told apart by their ARN, so they are
refused.
"""

import json
import re
from collections.abc import Callable
from dataclasses import dataclass

from local import claude, nova
from local.native import Document, Speech, typed
from local.pieces import Failure, Prompt


@dataclass(frozen=True, slots=True)
class Family:
    """One row: the bare model ids, those of them that need a profile, how to read, how to speak.

    `read` takes the parsed request and its text and raises Failure; `speak` takes the bare model id
    and the number of input tokens.
    """

    name: str
    ids: re.Pattern[str]
    profile_only: re.Pattern[str]
    read: Callable[[Document, str], Prompt]
    speak: Callable[[str, int], Speech]


FAMILIES = (
    Family(
        name="claude",
        ids=re.compile(r"anthropic\.claude-[a-z0-9.:-]+"),
        profile_only=re.compile(r"anthropic\.claude-(3-7-|[a-z]+-[4-9])"),
        read=claude.read,
        speak=claude.Speech,
    ),
    Family(
        name="nova",
        ids=re.compile(r"amazon\.nova-(2-)?(micro|lite|pro|premier)[a-z0-9.:-]*"),
        profile_only=re.compile(r"amazon\.nova-(2-|premier)"),
        read=nova.read,
        speak=nova.Speech,
    ),
)

# Bedrock user guide, "Supported Regions and models for inference profiles".
_REGION_PREFIX = re.compile(r"(us|us-gov|eu|apac|jp|au|ca|sa|global)\.(?=[a-z0-9-]+\.)")
_ARN = re.compile(
    r"arn:aws[a-z-]*:bedrock:[a-z0-9-]*:[0-9]*:(?P<kind>inference-profile|foundation-model)/(?P<id>.+)"
)


def resolve(model_id: str) -> tuple[Family, str]:
    """The family of a model id, profile id or ARN, and the bare model id.

    Raises Failure (ValidationException) for one that Bedrock does not know, or does not serve
    without an inference profile.
    """
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
