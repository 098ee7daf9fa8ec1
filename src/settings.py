"""The environment, read once into one frozen value; and every limit that is not a setting.

Rules
- A setting is a field of `Settings`; its type has the bounds and the meaning. The environment
  variable is the field's name in capitals.
- An invalid value is refused at start, by name, never corrected in silence.
- A limit that AWS sets is a constant with its source; no other file has such a number.

Does not know models: `families.registry` decides whether `MODEL_ID` is supported.
"""

from collections.abc import Mapping
from contextlib import suppress
from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta, Struct, ValidationError

from validation import explain

# API Gateway quotas, "WebSocket API": frame size 32 KB (it binds what is posted to a connection
# too), message payload 128 KB, connection duration 2 hours.
MAX_FRAME_BYTES = 32 * 1024
MAX_MESSAGE_BYTES = 128 * 1024
CONNECTION_SECONDS = 2 * 60 * 60

# DynamoDB quota: an item is at most 400 KB, names included. One item holds a question (at most one
# message, 128 KB) and its answer, which leaves 256 KB for the answer and 16 KB for everything else.
MAX_ANSWER_BYTES = 256 * 1024

# DynamoDB API: BatchWriteItem takes at most 25 requests.
MAX_BATCH_WRITE = 25

DEFAULT_MODEL_ID = "global.anthropic.claude-sonnet-4-6"
DEFAULT_SYSTEM_PROMPT = "You are a helpful assistant."


Texts = Annotated[
    tuple[Annotated[str, Meta(min_length=1)], ...],
    Meta(extra={"expected": 'a JSON list of texts, such as ["END"]'}),
]


class SettingsError(Exception):
    """A setting is missing or unusable. The message names the environment variable."""


class Settings(Struct, frozen=True, kw_only=True, rename="upper"):
    """What a deployment may choose. Fields with no default must be set."""

    table_name: Annotated[str, Meta(description="the DynamoDB table that holds the conversations")]
    model_id: Annotated[
        str, Meta(description="a Bedrock model id, inference profile id, or the ARN of either")
    ] = DEFAULT_MODEL_ID
    model_family: Annotated[
        str,
        Meta(description="the model family, where the model id does not identify it"),
    ] = ""
    auth: Annotated[
        Literal["iam", "jwt", "none"],
        Meta(description="how clients authenticate: by IAM (SigV4), by a JWT, or not at all"),
    ] = "iam"
    allowed_origins: Annotated[
        Texts,
        Meta(
            description="web origins from which browsers may connect, as a JSON list; all "
            "when empty"
        ),
    ] = ()
    requests_per_day: Annotated[
        int, Meta(ge=0, description="questions a person may ask in a UTC day; 0: any number")
    ] = 0
    tokens_per_day: Annotated[
        int,
        Meta(
            ge=0,
            description="tokens, in and out, that a person may use in a UTC day; 0: any number",
        ),
    ] = 0
    callback_url: Annotated[
        str,
        Meta(
            description="where to post to connections; derived from each event's domain and "
            "stage when empty"
        ),
    ] = ""
    system_prompt: Annotated[
        str, Meta(description="the system prompt, sent before the conversation")
    ] = DEFAULT_SYSTEM_PROMPT
    max_output_tokens: Annotated[
        int, Meta(ge=1, le=64_000, description="the longest answer, in tokens")
    ] = 4096
    temperature: Annotated[
        Annotated[float, Meta(ge=0.0, le=1.0)] | None,
        Meta(description="sampling temperature; the model's own default when empty"),
    ] = None
    top_p: Annotated[
        Annotated[float, Meta(ge=0.0, le=1.0)] | None,
        Meta(description="nucleus sampling; the model's own default when empty"),
    ] = None
    stop_sequences: Annotated[
        Texts,
        Meta(description="texts that end an answer, as a JSON list; not every family has them"),
    ] = ()
    max_input_bytes: Annotated[
        int, Meta(ge=1, le=MAX_MESSAGE_BYTES, description="the longest question, in UTF-8 bytes")
    ] = MAX_MESSAGE_BYTES
    history_tokens: Annotated[
        int,
        Meta(
            ge=0,
            le=1_000_000,
            description="how much of the conversation is sent to the model again, in tokens",
        ),
    ] = 16_000
    history_turns: Annotated[
        int, Meta(ge=1, le=200, description="the same, in turns: whichever is reached first")
    ] = 50
    session_days: Annotated[
        int, Meta(ge=1, le=3650, description="days after which a turn is deleted")
    ] = 30
    on_disconnect: Annotated[
        Literal["finish", "cancel"],
        Meta(
            description="when the client has disconnected: finish the answer and save it, or "
            "cancel it"
        ),
    ] = "finish"
    show_reasoning: Annotated[
        bool, Meta(description="send the model's reasoning to the client")
    ] = False
    prompt_cache: Annotated[
        bool,
        Meta(description="put cache points behind the system prompt and the history, for Claude"),
    ] = False
    guardrail_id: Annotated[str, Meta(description="the id or ARN of a Bedrock guardrail")] = ""
    guardrail_version: Annotated[
        str, Meta(description="which version of the guardrail: a number, or DRAFT")
    ] = "DRAFT"
    # Values of the next two: botocore's model of InvokeModelWithResponseStream.
    service_tier: Annotated[
        Literal["", "priority", "default", "flex", "reserved"],
        Meta(description="Bedrock's service tier; its own default when empty"),
    ] = ""
    performance_latency: Annotated[
        Literal["", "standard", "optimized"],
        Meta(description="Bedrock's latency setting; its own default when empty"),
    ] = ""
    retry_seconds: Annotated[
        float,
        Meta(
            ge=0.0,
            le=300.0,
            description="how long a call that Bedrock rejected is retried, before the first "
            "delta, in seconds",
        ),
    ] = 15.0
    stall_seconds: Annotated[
        float,
        Meta(
            ge=0.1,
            le=900.0,
            description="how long Bedrock may send nothing, before its first chunk and "
            "between two, in seconds",
        ),
    ] = 60.0
    deadline_seconds: Annotated[
        float,
        Meta(
            ge=0.1,
            le=300.0,
            description="how long before Lambda's timeout a stream is ended, to save it and "
            "to send its end, in seconds",
        ),
    ] = 10.0

    @property
    def model_name(self) -> str:
        """The model's name for clients: an ARN's last part, for an ARN has the account's id."""
        return self.model_id.rpartition("/")[2]


_LISTS = frozenset({"ALLOWED_ORIGINS", "STOP_SEQUENCES"})  # written as JSON
_BOOLEANS = frozenset({"PROMPT_CACHE", "SHOW_REASONING"})
_SWITCHES = {"on": "true", "off": "false"}  # accepted beside true, false, 1 and 0


def load(environment: Mapping[str, str]) -> Settings:
    """Reads `Settings` from environment variables; an empty one counts as unset.

    Raises:
        SettingsError: a variable is missing, is not of its type, or is out of its bounds.
    """
    texts = {
        name: text
        for name in Settings.__struct_encode_fields__
        if (text := environment.get(name, "").strip())
    }
    try:
        values = {name: _parsed(name, text) for name, text in texts.items()}
        return msgspec.convert(values, Settings, strict=False)
    except ValidationError as error:
        name, _, rest = explain(error, Settings).partition(" ")
        if name not in texts:
            raise SettingsError(f"{name} is not set") from None
        raise SettingsError(f"{name} {rest}, not {texts[name]!r}") from None


def _parsed(name: str, text: str) -> Any:
    """The text as msgspec takes it; text that is no JSON stays text, and is refused there."""
    if name in _LISTS:
        with suppress(msgspec.DecodeError):
            return msgspec.json.decode(text)
    return _SWITCHES.get(text.lower(), text) if name in _BOOLEANS else text
