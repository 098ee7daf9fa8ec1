"""The environment, read once into one frozen dataclass; and every limit that is not a setting.

Rules
- A setting is a field of `Settings`: its environment variable, bounds and meaning stand beside it.
- A bad value is refused at start, by name, never corrected in silence.
- A limit that AWS sets is a constant with its source; no other file names such a number.

Knows nothing about models: whether `MODEL_ID` is one that we speak is `model_families`' to say.
"""

import json
from collections.abc import Mapping
from dataclasses import MISSING, field, fields
from typing import Any

from records import dataclass

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


class SettingsError(Exception):
    """A setting is missing or unusable. The message names the environment variable."""


def _setting(env: str, meaning: str, default: Any = MISSING, **bounds: Any) -> Any:
    return field(default=default, metadata={"env": env, "meaning": meaning, **bounds})


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """What a deployment may choose. Fields with no default must be set."""

    table_name: str = _setting("TABLE_NAME", "the DynamoDB table that holds the conversations")
    model_id: str = _setting(
        "MODEL_ID",
        "a Bedrock model id, inference profile id, or the ARN of either",
        DEFAULT_MODEL_ID,
    )
    model_family: str = _setting(
        "MODEL_FAMILY",
        "the family whose native shape to speak, where the model id does not tell",
        "",
    )
    auth: str = _setting(
        "AUTH",
        "who may connect: whom IAM lets in, whom the authorizer lets in by a JWT, or anybody",
        "iam",
        choices=("iam", "jwt", "none"),
    )
    allowed_origins: tuple[str, ...] = _setting(
        "ALLOWED_ORIGINS",
        "web origins from which browsers may connect, as a JSON list; all when empty",
        (),
    )
    requests_per_day: int = _setting(
        "REQUESTS_PER_DAY", "questions a person may ask in a UTC day; 0: any number", 0, least=0
    )
    tokens_per_day: int = _setting(
        "TOKENS_PER_DAY",
        "tokens, in and out, that a person may use in a UTC day; 0: any number",
        0,
        least=0,
    )
    callback_url: str = _setting(
        "CALLBACK_URL",
        "where to post to connections; derived from each event's domain and stage when empty",
        "",
    )
    system_prompt: str = _setting(
        "SYSTEM_PROMPT", "what the model is told before the conversation", DEFAULT_SYSTEM_PROMPT
    )
    max_output_tokens: int = _setting(
        "MAX_OUTPUT_TOKENS", "the longest answer, in tokens", 4096, least=1, most=64_000
    )
    temperature: float | None = _setting(
        "TEMPERATURE",
        "sampling temperature; the model's own default when empty",
        None,
        least=0.0,
        most=1.0,
    )
    top_p: float | None = _setting(
        "TOP_P", "nucleus sampling; the model's own default when empty", None, least=0.0, most=1.0
    )
    stop_sequences: tuple[str, ...] = _setting(
        "STOP_SEQUENCES", "texts that end an answer, as a JSON list; not every family has them", ()
    )
    max_input_bytes: int = _setting(
        "MAX_INPUT_BYTES",
        "the longest question, in UTF-8 bytes",
        MAX_MESSAGE_BYTES,
        least=1,
        most=MAX_MESSAGE_BYTES,
    )
    history_tokens: int = _setting(
        "HISTORY_TOKENS",
        "how much of the conversation the model sees again, in tokens",
        16_000,
        least=0,
        most=1_000_000,
    )
    history_turns: int = _setting(
        "HISTORY_TURNS", "the same, in turns: whichever is reached first", 50, least=1, most=200
    )
    session_days: int = _setting(
        "SESSION_DAYS", "days after which a turn is forgotten", 30, least=1, most=3650
    )
    on_disconnect: str = _setting(
        "ON_DISCONNECT",
        "when the client is gone: finish the answer and save it, or cancel it",
        "finish",
        choices=("finish", "cancel"),
    )
    show_reasoning: bool = _setting(
        "SHOW_REASONING", "send the model's reasoning to the client", default=False
    )
    prompt_cache: bool = _setting(
        "PROMPT_CACHE",
        "put cache points behind the system prompt and the history, for Claude",
        default=False,
    )
    guardrail_id: str = _setting("GUARDRAIL_ID", "a Bedrock guardrail's id or ARN", "")
    guardrail_version: str = _setting(
        "GUARDRAIL_VERSION", "which version of the guardrail: a number, or DRAFT", "DRAFT"
    )
    # Values of the next two: botocore's model of InvokeModelWithResponseStream.
    service_tier: str = _setting(
        "SERVICE_TIER",
        "Bedrock's service tier; its own default when empty",
        "",
        choices=("priority", "default", "flex", "reserved"),
    )
    performance_latency: str = _setting(
        "PERFORMANCE_LATENCY",
        "Bedrock's latency setting; its own default when empty",
        "",
        choices=("standard", "optimized"),
    )
    retry_seconds: float = _setting(
        "RETRY_SECONDS",
        "how long a call that Bedrock turned away may be tried again, before the first delta",
        15.0,
        least=0.0,
        most=300.0,
    )
    stall_seconds: float = _setting(
        "STALL_SECONDS",
        "how long Bedrock may be silent, before its first chunk and between two",
        60.0,
        least=0.1,
        most=900.0,
    )
    deadline_seconds: float = _setting(
        "DEADLINE_SECONDS",
        "how long before Lambda's timeout a stream is ended, to be saved and told",
        10.0,
        least=0.1,
        most=300.0,
    )

    @property
    def model_name(self) -> str:
        """The model as clients are told it: an ARN's last part, for an ARN names the account."""
        return self.model_id.rpartition("/")[2]


def load(environment: Mapping[str, str]) -> Settings:
    """Reads `Settings` from environment variables; an empty one counts as unset.

    Raises:
        SettingsError: a variable is missing, is not of its type, or is out of its bounds.
    """
    values: dict[str, Any] = {}
    for f in fields(Settings):
        text = environment.get(f.metadata["env"], "").strip()
        if text:
            values[f.name] = _read(text, f.type, f.metadata)
        elif f.default is MISSING:
            raise SettingsError(f"{f.metadata['env']} is not set: {f.metadata['meaning']}")
    return Settings(**values)


def _boolean(text: str) -> bool:
    return {"true": True, "1": True, "on": True, "false": False, "0": False, "off": False}[
        text.lower()
    ]


def _texts(text: str) -> tuple[str, ...]:
    texts = json.loads(text)
    if not isinstance(texts, list) or not all(isinstance(each, str) and each for each in texts):
        raise ValueError
    return tuple(texts)


_READERS: Mapping[Any, tuple[Any, str]] = {
    str: (str, "text"),
    int: (int, "a whole number"),
    float: (float, "a number"),
    float | None: (float, "a number"),
    bool: (_boolean, "true or false"),
    tuple[str, ...]: (_texts, 'a JSON list of texts, such as ["END"]'),
}


def _read(text: str, kind: Any, metadata: Mapping[str, Any]) -> Any:
    name = metadata["env"]
    read, called = _READERS[kind]
    try:
        value = read(text)
    except (KeyError, ValueError):
        raise SettingsError(f"{name} must be {called}, not {text!r}") from None
    choices = metadata.get("choices")
    if choices and value not in choices:
        raise SettingsError(f"{name} must be one of {', '.join(choices)}, not {text!r}")
    least, most = metadata.get("least", value), metadata.get("most", value)
    if not least <= value <= most:
        bounds = f"between {least} and {most}" if "most" in metadata else f"at least {least}"
        raise SettingsError(f"{name} must be {bounds}, not {text}")
    return value
