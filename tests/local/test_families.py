"""Which model belongs to which family, and what is wrong with a body before a family reads it."""

import json
from typing import Any

import pytest

from local import families
from local.pieces import Failure

PROFILE = "inference-profile/us.anthropic.claude-sonnet-4-5-20250929-v1:0"


@pytest.mark.parametrize(
    ("model_id", "family", "bare"),
    [
        ("amazon.nova-lite-v1:0", "nova", "amazon.nova-lite-v1:0"),
        ("us.amazon.nova-2-lite-v1:0", "nova", "amazon.nova-2-lite-v1:0"),
        ("us-gov.amazon.nova-pro-v1:0", "nova", "amazon.nova-pro-v1:0"),
        ("anthropic.claude-3-haiku-20240307-v1:0", "claude", None),
        ("global.anthropic.claude-opus-4-6-v1", "claude", "anthropic.claude-opus-4-6-v1"),
        ("jp.anthropic.claude-haiku-4-5-20251001-v1:0", "claude", None),
        (
            f"arn:aws:bedrock:us-east-1:123456789012:{PROFILE}",
            "claude",
            "anthropic.claude-sonnet-4-5-20250929-v1:0",
        ),
        (
            "arn:aws-us-gov:bedrock:us-gov-west-1::foundation-model/amazon.nova-micro-v1:0",
            "nova",
            "amazon.nova-micro-v1:0",
        ),
    ],
)
def test_a_model_is_known_by_id_profile_and_arn(
    model_id: str, family: str, bare: str | None
) -> None:
    """The Region prefix and the ARN around an id say nothing of the family."""
    found, found_bare = families.resolve(model_id)

    assert found.name == family
    assert found_bare == bare or (bare is None and model_id.endswith(found_bare))


@pytest.mark.parametrize(
    "model_id",
    [
        "claude",
        "mars.anthropic.claude-3-haiku-20240307-v1:0",
        "us.us.amazon.nova-lite-v1:0",
        "amazon.nova-canvas-v1:0",
        "amazon.titan-text-express-v1",
        "arn:aws:bedrock:us-east-1:123456789012:application-inference-profile/abc123",
        "arn:aws:bedrock:us-east-1::foundation-model/us.amazon.nova-lite-v1:0",
    ],
)
def test_an_unknown_model_is_refused(model_id: str) -> None:
    """In the service's words."""
    with pytest.raises(Failure) as caught:
        families.resolve(model_id)

    assert caught.value.code == "ValidationException"
    assert caught.value.message == "The provided model identifier is invalid."


@pytest.mark.parametrize(
    "model_id",
    [
        "anthropic.claude-sonnet-4-20250514-v1:0",
        "anthropic.claude-3-7-sonnet-20250219-v1:0",
        "amazon.nova-premier-v1:0",
        "arn:aws:bedrock:us-east-1::foundation-model/anthropic.claude-opus-4-6-v1",
    ],
)
def test_a_newer_model_needs_a_profile(model_id: str) -> None:
    """Its bare id is refused, and the words name the id and the way out."""
    with pytest.raises(Failure) as caught:
        families.resolve(model_id)

    assert f"model ID {model_id} with on-demand throughput isn’t supp" in caught.value.message  # noqa: RUF001 - AWS writes it so
    assert "inference profile" in caught.value.message


@pytest.mark.parametrize(
    ("body", "words"),
    [
        (b"", "Malformed input request, please"),
        (b"{", "Malformed input request, please"),
        (b"\xff", "Malformed input request, please"),
        (b'{"messages": "\\ud83d"}', "Malformed input request, please"),
        (b"[]", "#: expected type: JSONObject, found: JSONArray"),
        (b"null", "#: expected type: JSONObject, found: Null"),
    ],
)
def test_a_body_that_is_no_json_object_is_refused(body: bytes, words: str) -> None:
    """Broken JSON, broken text and JSON of another kind are all the caller's fault."""
    for family in families.FAMILIES:
        with pytest.raises(Failure) as caught:
            families.read(family, body)

        assert caught.value.code == "ValidationException"
        assert words in caught.value.message


def test_the_prompt_keeps_the_body_as_it_came() -> None:
    """Spaces, escapes and all."""
    request: dict[str, Any] = {"messages": [{"role": "user", "content": [{"text": "größer"}]}]}
    body = json.dumps(request, indent=3)
    family, _ = families.resolve("amazon.nova-lite-v1:0")

    prompt = families.read(family, body.encode())

    assert prompt.body == body
    assert prompt.last_words == "größer"
    assert prompt.estimated_tokens == len(body) // 4
