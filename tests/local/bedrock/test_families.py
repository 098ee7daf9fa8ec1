"""Resolving model ids to families, and the checks of a body before a family reads it."""

import ast
import json
from pathlib import Path
from typing import Any

import pytest
from support.family_examples import EXAMPLES

from families import registry
from local.bedrock import families
from local.bedrock.pieces import ServiceError

ROOT = Path(__file__).parents[3]
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
        ("amazon.titan-text-express-v1", "titan", None),
        ("meta.llama2-13b-chat-v1", "llama2", None),
        ("meta.llama3-8b-instruct-v1:0", "llama3", None),
        ("us.meta.llama3-1-8b-instruct-v1:0", "llama3", None),
        ("us.meta.llama4-scout-17b-instruct-v1:0", "llama4", None),
        ("mistral.mistral-7b-instruct-v0:2", "mistral-text", None),
        ("mistral.mixtral-8x7b-instruct-v0:1", "mistral-text", None),
        ("mistral.mistral-large-2402-v1:0", "mistral-text", None),
        ("mistral.mistral-large-2407-v1:0", "mistral-chat", None),
        ("us.mistral.pixtral-large-2502-v1:0", "mistral-chat", None),
        ("cohere.command-r-plus-v1:0", "command-r", None),
        ("ai21.jamba-1-5-large-v1:0", "jamba", None),
        ("us.deepseek.r1-v1:0", "deepseek-r1", None),
        ("deepseek.v3-v1:0", "openai-chat", None),
        ("openai.gpt-oss-120b-1:0", "openai-chat", None),
        ("qwen.qwen3-32b-v1:0", "openai-chat", None),
        ("moonshot.kimi-k2-thinking", "openai-chat", None),
        ("moonshotai.kimi-k2.5", "openai-chat", None),
        ("zai.glm-4.7", "openai-chat", None),
        ("minimax.minimax-m2", "openai-chat", None),
        ("google.gemma-3-27b-it", "openai-chat", None),
        ("nvidia.nemotron-nano-9b-v2", "openai-chat", None),
        ("mistral.ministral-3-8b-instruct", "mistral-chat", None),
        ("us.writer.palmyra-x5-v1:0", "palmyra", None),
    ],
)
def test_ids_profiles_and_arns_resolve_to_a_family(
    model_id: str, family: str, bare: str | None
) -> None:
    """The family depends on the bare model id alone."""
    found, found_bare = families.resolve(model_id)

    assert found.name == family
    assert found_bare == bare or (bare is None and model_id.endswith(found_bare))


def test_the_endpoint_implements_the_functions_families() -> None:
    """Both tables have the same families, and every documented example resolves alike in both."""
    assert [row.name for row in registry.FAMILIES] == [row.name for row in families.FAMILIES]
    for name, model_id in EXAMPLES.items():
        assert name == registry.family_of(model_id).name == families.resolve(model_id)[0].name


def test_the_endpoint_shares_nothing_but_model_ids() -> None:
    """Of `src`, only `families.registry` is imported, and of its rows only names and prefixes."""
    own = {path.relative_to(ROOT / "src").parts[0] for path in (ROOT / "src").rglob("*.py")}
    tops = {name.removesuffix(".py") for name in own}
    shared: set[str] = set()
    attributes: set[str] = set()
    for path in (ROOT / "local" / "bedrock").glob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.ImportFrom) and (node.module or "").split(".")[0] in tops:
                shared |= {f"{node.module}.{alias.name}" for alias in node.names}
            elif isinstance(node, ast.Import):
                shared |= {a.name for a in node.names if a.name.split(".")[0] in tops}
            elif isinstance(node, ast.Attribute) and ast.unparse(node.value) == "row":
                attributes.add(node.attr)

    assert {"families.registry"} == shared
    assert {"name", "id_prefixes"} == attributes


@pytest.mark.parametrize(
    "model_id",
    [
        "claude",
        "mars.anthropic.claude-3-haiku-20240307-v1:0",
        "us.us.amazon.nova-lite-v1:0",
        "amazon.nova-canvas-v1:0",
        "amazon.titan-embed-text-v2:0",
        "mistral.voxtral-mini-3b-2507",
        "arn:aws:bedrock:us-east-1:123456789012:application-inference-profile/abc123",
        "arn:aws:bedrock:us-east-1::foundation-model/us.amazon.nova-lite-v1:0",
    ],
)
def test_an_unknown_model_is_rejected(model_id: str) -> None:
    """The error is the service's own."""
    with pytest.raises(ServiceError) as caught:
        families.resolve(model_id)

    assert caught.value.code == "ValidationException"
    assert caught.value.message == "The provided model identifier is invalid."


@pytest.mark.parametrize(
    "model_id",
    [
        "anthropic.claude-sonnet-4-20250514-v1:0",
        "anthropic.claude-3-7-sonnet-20250219-v1:0",
        "amazon.nova-premier-v1:0",
        "meta.llama3-2-3b-instruct-v1:0",
        "meta.llama4-scout-17b-instruct-v1:0",
        "deepseek.r1-v1:0",
        "mistral.pixtral-large-2502-v1:0",
        "writer.palmyra-x5-v1:0",
        "arn:aws:bedrock:us-east-1::foundation-model/anthropic.claude-opus-4-6-v1",
    ],
)
def test_a_newer_model_requires_a_profile(model_id: str) -> None:
    """Its bare id is rejected, with an error that names the id and the alternative."""
    with pytest.raises(ServiceError) as caught:
        families.resolve(model_id)

    assert f"model ID {model_id} with on-demand throughput isn’t supp" in caught.value.message  # noqa: RUF001 - AWS writes it so
    assert "inference profile" in caught.value.message


@pytest.mark.parametrize(
    "arn",
    [
        "arn:aws:bedrock:us-east-1:123456789012:application-inference-profile/abc123",
        "arn:aws:bedrock:us-east-1:123456789012:imported-model/abc123",
        "arn:aws:bedrock:us-east-1:123456789012:provisioned-model/abc123",
        "arn:aws:bedrock:us-east-1:123456789012:custom-model-deployment/abc123",
    ],
)
def test_an_accounts_own_arn_has_the_default_family(arn: str) -> None:
    """The default applies to ARNs that do not reveal their family, and to no other id."""
    [llama] = [family for family in families.FAMILIES if family.name == "llama3"]

    assert (llama, "abc123") == families.resolve(arn, llama)
    assert "nova" == families.resolve("amazon.nova-lite-v1:0", llama)[0].name


@pytest.mark.parametrize(
    ("body", "error"),
    [
        (b"", "Malformed input request, please"),
        (b"{", "Malformed input request, please"),
        (b"\xff", "Malformed input request, please"),
        (b'{"messages": "\\ud83d"}', "Malformed input request, please"),
        (b"[]", "#: expected type: JSONObject, found: JSONArray"),
        (b"null", "#: expected type: JSONObject, found: Null"),
    ],
)
def test_a_body_that_is_not_a_json_object_is_rejected(body: bytes, error: str) -> None:
    """Invalid JSON, invalid UTF-8 and other JSON types are ValidationExceptions."""
    for family in families.FAMILIES:
        with pytest.raises(ServiceError) as caught:
            families.read(family, body)

        assert caught.value.code == "ValidationException"
        assert error in caught.value.message


def test_the_prompt_has_the_body_as_received() -> None:
    """White space and escapes included."""
    request: dict[str, Any] = {"messages": [{"role": "user", "content": [{"text": "größer"}]}]}
    body = json.dumps(request, indent=3)
    family, _ = families.resolve("amazon.nova-lite-v1:0")

    prompt = families.read(family, body.encode())

    assert prompt.body == body
    assert prompt.last_user_text == "größer"
    assert prompt.estimated_tokens == len(body) // 4
