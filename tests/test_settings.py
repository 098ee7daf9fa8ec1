from typing import Any

import msgspec
import pytest

from settings import DEFAULT_MODEL_ID, Settings, SettingsError, load


def test_every_setting_but_the_table_has_a_default() -> None:
    settings = load({"TABLE_NAME": "chat"})

    assert ("chat", DEFAULT_MODEL_ID) == (settings.table_name, settings.model_id)
    assert settings.temperature is None
    assert settings.show_reasoning is False


def test_every_setting_is_read_from_its_variable_as_its_type() -> None:
    examples: dict[str, tuple[str, Any]] = {
        "StrType": ("text", "text"),
        "IntType": ("7", 7),
        "FloatType": ("0.5", 0.5),
        "BoolType": ("on", True),
        "VarTupleType": ('["END", "\\n\\n"]', ("END", "\n\n")),
    }
    environment, expected = {}, {}
    for field in msgspec.inspect.type_info(Settings).fields:  # type: ignore[attr-defined]
        kind = _bare(field.type)
        if type(kind).__name__ == "LiteralType":
            environment[field.encode_name] = expected[field.name] = kind.values[-1]
        else:
            example = examples[type(kind).__name__]
            environment[field.encode_name], expected[field.name] = example

    assert expected == msgspec.structs.asdict(load(environment))


def _bare(kind: Any) -> Any:
    """Returns the type without its metadata and without None."""
    while True:
        if hasattr(kind, "types"):
            kind = next(each for each in kind.types if type(each).__name__ != "NoneType")
        elif type(kind).__name__ == "Metadata":
            kind = kind.type
        else:
            return kind


def test_a_missing_setting_without_a_default_is_reported_by_name() -> None:
    """With what it is."""
    with pytest.raises(
        SettingsError,
        match=r"TABLE_NAME is not set: the DynamoDB table that holds the conversations$",
    ):
        load({})


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("MAX_OUTPUT_TOKENS", "many", "a whole number from 1 to 64000, not 'many'"),
        ("MAX_OUTPUT_TOKENS", "0", "from 1 to 64000, not '0'"),
        ("MAX_INPUT_BYTES", "131073", "from 1 to 131072"),
        ("TEMPERATURE", "1.5", "from 0.0 to 1.0"),
        ("TEMPERATURE", "nan", "from 0.0 to 1.0"),
        ("TEMPERATURE", "null", "from 0.0 to 1.0, not 'null'"),
        ("TOP_P", "None", "from 0.0 to 1.0, not 'None'"),
        ("MAX_OUTPUT_TOKENS", "1e3", "a whole number from 1 to 64000, not '1e3'"),
        ("MAX_OUTPUT_TOKENS", "5.0", "a whole number from 1 to 64000, not '5.0'"),
        ("MAX_OUTPUT_TOKENS", "1_000", "a whole number from 1 to 64000, not '1_000'"),
        ("MAX_OUTPUT_TOKENS", "\u0665", "a whole number from 1 to 64000"),
        ("MAX_OUTPUT_TOKENS", "9" * 5000, "a whole number from 1 to 64000"),
        ("MAX_OUTPUT_TOKENS", "true", "a whole number from 1 to 64000, not 'true'"),
        ("SERVICE_TIER", "fast", "one of default, flex, priority, reserved, not 'fast'"),
        ("STOP_SEQUENCES", "[" * 100_000, "a JSON list of texts"),
        ("STOP_SEQUENCES", "null", "a JSON list of texts"),
        ("STALL_SECONDS", "inf", "from 0.1 to 900.0"),
        ("SHOW_REASONING", "perhaps", "true or false, not 'perhaps'"),
        ("STOP_SEQUENCES", "END", "a JSON list of texts"),
        ("STOP_SEQUENCES", '["END", 5]', "a JSON list of texts"),
        ("STOP_SEQUENCES", '[""]', "a JSON list of texts"),
        ("STOP_SEQUENCES", '"END"', "a JSON list of texts"),
        ("REQUESTS_PER_DAY", "-1", "at least 0, not '-1'"),
        ("ON_DISCONNECT", "ignore", "one of cancel, finish, not 'ignore'"),
    ],
)
def test_an_invalid_value_is_rejected_with_what_is_allowed(
    name: str, value: str, message: str
) -> None:
    with pytest.raises(SettingsError, match=f"{name} must be .*{message}"):
        load({"TABLE_NAME": "chat", name: value})


@pytest.mark.parametrize(
    ("name", "text", "value"),
    [
        ("MAX_OUTPUT_TOKENS", " +5 ", 5),
        ("REQUESTS_PER_DAY", "0", 0),
        ("DEADLINE_SECONDS", ".5", 0.5),
        ("DEADLINE_SECONDS", "5", 5.0),
        ("DEADLINE_SECONDS", "1e1", 10.0),
        ("TEMPERATURE", "1", 1.0),
        ("SHOW_REASONING", "True", True),
        ("SHOW_REASONING", "0", False),
        ("SYSTEM_PROMPT", "null", "null"),
        ("SYSTEM_PROMPT", "5", "5"),
    ],
)
def test_each_form_that_is_accepted_has_its_value(name: str, text: str, value: Any) -> None:
    """Numbers in each usual form; a text setting is the text, whatever it looks like."""
    settings = load({"TABLE_NAME": "chat", name: text})

    assert value == getattr(settings, name.lower())
    assert type(value) is type(getattr(settings, name.lower()))


def test_an_empty_variable_counts_as_unset() -> None:
    """Terraform writes an unset variable as an empty one."""
    assert load({"TABLE_NAME": "chat", "TEMPERATURE": " "}).temperature is None


def test_model_name_hides_the_account() -> None:
    """Clients receive only the last part of an ARN: the rest contains the AWS account."""
    arn = "arn:aws:bedrock:us-east-1:123456789012:application-inference-profile/abc123"

    assert "abc123" == load({"TABLE_NAME": "chat", "MODEL_ID": arn}).model_name
