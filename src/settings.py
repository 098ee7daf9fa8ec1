"""The environment, read once into one frozen value; and every limit that is not a setting.

Rules
- A setting is a field of `Settings`; its type has the bounds and the meaning. The environment
  variable is the field's name in capitals.
- An invalid value is refused at start, by name, never corrected in silence.
- A limit that AWS sets is a constant with its source; no other file has such a number.

Does not know models: `families.registry` decides whether `MODEL_ID` is supported.
"""

import math
import re
from collections.abc import Callable, Mapping
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


_Texts = tuple[Annotated[str, Meta(min_length=1)], ...]
Texts = Annotated[
    _Texts,
    Meta(extra={"expected": 'a JSON list of texts, such as ["END"]'}),
]

Fraction = Annotated[float, Meta(ge=0.0, le=1.0)] | None


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
        Meta(description="the model family, if `MODEL_ID` does not identify it"),
    ] = ""
    auth: Annotated[
        Literal["iam", "jwt", "none"],
        Meta(description="how clients authenticate: by IAM (SigV4), by a JWT, or not at all"),
    ] = "iam"
    allowed_origins: Annotated[
        Texts,
        Meta(
            description="web origins from which browsers may connect, as a JSON list; if empty, "
            "all may"
        ),
    ] = ()
    requests_per_day: Annotated[
        int,
        Meta(
            ge=0, description="requests to the model that a user may make per UTC day; 0: no limit"
        ),
    ] = 0
    tokens_per_day: Annotated[
        int,
        Meta(
            ge=0,
            description="input and output tokens that a user may consume per UTC day; 0: no limit",
        ),
    ] = 0
    callback_url: Annotated[
        str,
        Meta(
            description="where to post to connections; if empty, the API's default endpoint, by "
            "each event's API id and stage"
        ),
    ] = ""
    system_prompt: Annotated[
        str, Meta(description="the system prompt, sent to the model before the conversation")
    ] = DEFAULT_SYSTEM_PROMPT
    system_prompt_object: Annotated[
        str,
        Meta(
            description="the URL of a version of an object in S3 with the system prompt, which "
            "replaces `SYSTEM_PROMPT`"
        ),
    ] = ""
    max_output_tokens: Annotated[
        int, Meta(ge=1, le=64_000, description="the maximum length of an answer, in tokens")
    ] = 4096
    temperature: Annotated[
        Fraction,
        Meta(description="the sampling temperature; if empty, the model's default applies"),
    ] = None
    top_p: Annotated[
        Fraction,
        Meta(description="the nucleus sampling threshold; if empty, the model's default applies"),
    ] = None
    stop_sequences: Annotated[
        Texts,
        Meta(
            description="texts that end an answer when the model generates them, as a JSON list; "
            "not every model family supports them"
        ),
    ] = ()
    max_input_bytes: Annotated[
        int,
        Meta(
            ge=1,
            le=MAX_MESSAGE_BYTES,
            description="the maximum length of a message from a client, in UTF-8 bytes",
        ),
    ] = MAX_MESSAGE_BYTES
    history_tokens: Annotated[
        int,
        Meta(
            ge=0,
            le=1_000_000,
            description="how much of the conversation is sent to the model again, in tokens; "
            "`HISTORY_TURNS` also applies",
        ),
    ] = 16_000
    history_turns: Annotated[
        int,
        Meta(
            ge=1,
            le=200,
            description="how many turns of the conversation are sent to the model again; "
            "`HISTORY_TOKENS` also applies",
        ),
    ] = 50
    session_days: Annotated[
        int, Meta(ge=1, le=3650, description="days after which a turn is deleted")
    ] = 30
    on_disconnect: Annotated[
        Literal["finish", "cancel"],
        Meta(
            description="what happens to an answer when its client disconnects: `finish` completes "
            "and saves it, `cancel` ends it"
        ),
    ] = "finish"
    show_reasoning: Annotated[
        bool, Meta(description="whether to send the model's reasoning to the client")
    ] = False
    prompt_cache: Annotated[
        bool,
        Meta(
            description="whether to set cache points after the system prompt and the history; "
            "applies to Claude"
        ),
    ] = False
    guardrail_id: Annotated[
        str, Meta(description="the id or ARN of a Bedrock guardrail; if empty, none is applied")
    ] = ""
    guardrail_version: Annotated[
        str, Meta(description="the version of the guardrail: a number, or DRAFT")
    ] = "DRAFT"
    # Values of the next two: botocore's model of InvokeModelWithResponseStream.
    service_tier: Annotated[
        Literal["", "priority", "default", "flex", "reserved"],
        Meta(description="Bedrock's service tier; if empty, Bedrock's default applies"),
    ] = ""
    performance_latency: Annotated[
        Literal["", "standard", "optimized"],
        Meta(description="Bedrock's latency setting; if empty, Bedrock's default applies"),
    ] = ""
    retry_seconds: Annotated[
        float,
        Meta(
            ge=0.0,
            le=300.0,
            description="how long a call that Bedrock rejected is retried before the first "
            "delta, in seconds",
        ),
    ] = 15.0
    stall_seconds: Annotated[
        float,
        Meta(
            ge=0.1,
            le=900.0,
            description="how long to wait for the first chunk from Bedrock, and for each "
            "further one, in seconds",
        ),
    ] = 60.0
    deadline_seconds: Annotated[
        float,
        Meta(
            ge=0.1,
            le=300.0,
            description="how long before the function's timeout a stream is ended, so that the "
            "answer can be saved and its end sent, in seconds",
        ),
    ] = 10.0

    @property
    def model_name(self) -> str:
        """The model's name for clients: an ARN's last part, for an ARN has the account's id."""
        return self.model_id.rpartition("/")[2]


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
        return msgspec.convert(values, Settings)
    except ValidationError as error:
        name, _, rest = explain(error, Settings).partition(" ")
        if name not in texts:
            raise SettingsError(f"{name} is not set: {_description(name)}") from None
        raise SettingsError(f"{name} {rest}, not {texts[name]!r}") from None


def _integer(text: str) -> int:
    if not _INTEGER.fullmatch(text):
        raise ValueError
    return int(text)


def _number(text: str) -> float:
    number = float(text)
    if not math.isfinite(number):  # msgspec's bounds do not exclude NaN
        raise ValueError
    return number


def _switch(text: str) -> bool:
    return _SWITCHES[text.lower()]


_INTEGER = re.compile(r"[+-]?[0-9]+")  # `int` also takes 1_000, and digits of other scripts
_SWITCHES = {"true": True, "1": True, "on": True, "false": False, "0": False, "off": False}

# By the type of the field; any other field is the text itself.
_PARSERS: Mapping[Any, Callable[[str], Any]] = {
    int: _integer,
    float: _number,
    Fraction: _number,
    bool: _switch,
    _Texts: msgspec.json.decode,
}


def _parsed(name: str, text: str) -> Any:
    """The text as a value of its field's type. Other text stays text, which msgspec refuses."""
    parse = _PARSERS.get(_annotation(name).__origin__, str)
    with suppress(msgspec.DecodeError, KeyError, RecursionError, ValueError):
        return parse(text)
    return text


def _description(name: str) -> str:
    return str(_annotation(name).__metadata__[0].description)


def _annotation(name: str) -> Any:
    return Settings.__annotations__[name.lower()]  # a hundredth of `get_type_hints`
