from dataclasses import fields
from typing import Any

import pytest

from settings import DEFAULT_MODEL_ID, Settings, SettingsError, load


def test_defaults() -> None:
    """Only the table must be named; all else has a default."""
    settings = load({"TABLE_NAME": "chat"})

    assert ("chat", DEFAULT_MODEL_ID) == (settings.table_name, settings.model_id)
    assert settings.temperature is None
    assert settings.show_reasoning is False


def test_every_setting_is_read() -> None:
    """Each field takes its value from its own variable, as its own type."""
    examples: dict[Any, str] = {
        str: "words",
        int: "7",
        float: "0.5",
        float | None: "0.5",
        bool: "on",
        tuple[str, ...]: '["END", "\\n\\n"]',
    }
    chosen = {
        f.name: f.metadata["choices"][-1] for f in fields(Settings) if "choices" in f.metadata
    }
    environment = {
        f.metadata["env"]: chosen.get(f.name, examples[f.type]) for f in fields(Settings)
    }

    settings = load(environment)

    values: dict[Any, Any] = {
        str: "words",
        int: 7,
        float: 0.5,
        float | None: 0.5,
        bool: True,
        tuple[str, ...]: ("END", "\n\n"),
    }
    for f in fields(Settings):
        assert chosen.get(f.name, values[f.type]) == getattr(settings, f.name), f.name


def test_missing_table() -> None:
    """A setting that has no default is asked for by its name."""
    with pytest.raises(SettingsError, match="TABLE_NAME is not set"):
        load({})


@pytest.mark.parametrize(
    ("name", "value", "words"),
    [
        ("MAX_OUTPUT_TOKENS", "many", "a whole number, not 'many'"),
        ("MAX_OUTPUT_TOKENS", "0", "between 1 and 64000, not 0"),
        ("MAX_INPUT_BYTES", "131073", "between 1 and 131072"),
        ("TEMPERATURE", "1.5", "between 0.0 and 1.0"),
        ("TEMPERATURE", "nan", "between 0.0 and 1.0"),
        ("STALL_SECONDS", "inf", "between 0.1 and 900.0"),
        ("SHOW_REASONING", "perhaps", "true or false, not 'perhaps'"),
        ("STOP_SEQUENCES", "END", "a JSON list of texts"),
        ("STOP_SEQUENCES", '["END", 5]', "a JSON list of texts"),
        ("STOP_SEQUENCES", '[""]', "a JSON list of texts"),
        ("STOP_SEQUENCES", '"END"', "a JSON list of texts"),
        ("REQUESTS_PER_DAY", "-1", "at least 0, not -1"),
        ("ON_DISCONNECT", "ignore", "one of finish, cancel, not 'ignore'"),
    ],
)
def test_bad_values(name: str, value: str, words: str) -> None:
    """A bad value is refused by name, with what would be good."""
    with pytest.raises(SettingsError, match=f"{name} must be .*{words}"):
        load({"TABLE_NAME": "chat", name: value})


def test_empty_is_unset() -> None:
    """Terraform writes an unset variable as an empty one."""
    assert load({"TABLE_NAME": "chat", "TEMPERATURE": " "}).temperature is None


def test_model_name_hides_the_account() -> None:
    """Clients are told an ARN's last part only: the rest names the AWS account."""
    arn = "arn:aws:bedrock:us-east-1:123456789012:application-inference-profile/abc123"

    assert "abc123" == load({"TABLE_NAME": "chat", "MODEL_ID": arn}).model_name
