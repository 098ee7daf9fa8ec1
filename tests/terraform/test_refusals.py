"""Values that are refused at plan, each by a sentence.

All of them are planned at once, with AWS mocked, in one run of `terraform test`, which reports
every error with the module call that it belongs to. A call has several values, of inputs that do
not refer to each other: Terraform does not evaluate what refers to a refused value.
"""

import json
from collections.abc import Iterable, Mapping
from typing import Any

import pytest
from support.terraform_copies import TerraformCopy

ISSUER = "https://issuer.example.com"
JWT = {"auth": "jwt", "jwt": {"issuer": ISSUER, "audience": ["web"]}}
ARN = "arn:aws:bedrock:us-east-1:123456789012"
CERTIFICATE = "arn:aws:acm:us-east-1:123456789012:certificate/01234567"
DOMAIN = {"name": "chat.example.com", "certificate_arn": CERTIFICATE}
PACKAGE = {"s3": {"bucket": "packages", "key": "lambda.zip"}}
TOPIC = "arn:aws:sns:us-east-1:123456789012:on-call"
WEB_ACL = "arn:aws:wafv2:us-east-1:123456789012:global/webacl/page/01234567"
NO_ZIP = {"path": "modules/chat/routes.json"}


def web(**inputs: Any) -> Mapping[str, Any]:
    return {**JWT, "web": {"client_id": "web", **inputs}}


def domain(name: str, certificate_arn: str) -> Mapping[str, Any]:
    return web(domain={"name": name, "certificate_arn": certificate_arn})


# By the beginning of the sentence: inputs, each of which alone is refused by it.
CASES: Mapping[str, list[Mapping[str, Any]]] = {
    # -- the deployment
    "name must be 2 to 36": [{"name": "My_Chat"}, {"name": "a" * 37}],
    "stage must be": [{"stage": "a/b"}],
    "tags must not contain keys that differ only in case": [
        {"tags": {"Project": "chat"}},
        {"tags": {"team": "chat", "Team": "chat"}},
    ],
    "tags must not contain keys that begin with aws:": [
        {"tags": {"aws:owner": "me"}},
        {"tags": {"AWS:owner": "me"}},
    ],
    "tags must be at most 49": [
        {"tags": {"a?b": ""}},
        {"tags": {"a": "x" * 257}},
        {"tags": {f"key{number}": "" for number in range(50)}},
    ],
    "iam.permissions_boundary must be": [{"iam": {"permissions_boundary": "boundary"}}],
    "iam.path must": [
        {"iam": {"path": path}} for path in ("chat/", "/chat", "/a b/", "//", f"/{'x' * 511}/")
    ],
    "kms_key_arn must be": [
        {"kms_key_arn": arn}
        for arn in ("alias/chat", "arn:aws:kms:us-east-1:123456789012:alias/chat")
    ],
    # -- packages
    "package must be a path or an object": [{"package": {"path": "a.zip", **PACKAGE}}],
    "authorizer_package must be a path or an object": [
        {"authorizer_package": {"path": "a.zip", **PACKAGE}}
    ],
    "package.s3.hash must be": [{"package": {"s3": {**PACKAGE["s3"], "hash": "0123"}}}],
    "authorizer_package.s3.hash must be": [
        {"authorizer_package": {"s3": {**PACKAGE["s3"], "hash": "0123"}}}
    ],
    "architecture must be": [{"architecture": "riscv"}],
    # -- access
    "auth must be": [{"auth": "basic"}],
    "jwt is required with auth": [{"auth": "jwt"}, {"jwt": JWT["jwt"]}],
    "jwt.issuer must be": [
        {"auth": "jwt", "jwt": {"issuer": url, "audience": ["web"]}}
        for url in ("http://issuer.example.com", f"{ISSUER}?x", f"{ISSUER}/{'x' * 512}")
    ],
    "jwt.audience needs": [
        {"auth": "jwt", "jwt": {"issuer": ISSUER, "audience": audience}} for audience in ([], [""])
    ],
    "allowed_origins must be": [
        {"allowed_origins": [origin]}
        for origin in (
            "https://chat.example.com/",
            "https://*.example.com",
            "*",
            "https://Chat.example.com",
            "chat.example.com",
        )
    ],
    "requests_per_day must be": [{"requests_per_day": -1}, {"requests_per_day": 1.5}],
    "tokens_per_day must be": [{"tokens_per_day": -1}, {"tokens_per_day": 1.5}],
    # -- the web page
    "web.client_id is required": [{**JWT, "web": {"token": "access_token"}}],
    "web.client_id must not be set": [{"web": {"client_id": "web"}}],
    "jwt.audience must contain web.client_id": [web(client_id="other")],
    "web.scope must contain openid": [web(scope="email")],
    "web.token must be": [web(token="refresh_token")],
    "web.connect_origins must be": [
        web(connect_origins=[origin])
        for origin in ("https://*.example.com", "http://a.example.com", "https://a.example.com/")
    ],
    "web.domain.name must be": [domain("https://chat.example.com", CERTIFICATE)],
    "web.web_acl_arn must be": [
        web(web_acl_arn=arn)
        for arn in (
            WEB_ACL.replace("us-east-1", "eu-west-1"),
            WEB_ACL.replace("global", "regional"),
        )
    ],
    # CloudFront requires certificates in us-east-1.
    "web.domain.certificate_arn must be": [
        domain("chat.example.com", CERTIFICATE.replace("us-east-1", "eu-west-1"))
    ],
    "web.domain.zone_id must be": [
        web(domain={**DOMAIN, "zone_id": "/hostedzone/Z1"}),
    ],
    # -- the API's domain
    "domain.name must be a domain": [{"domain": {**DOMAIN, "name": "wss://ws.example.com"}}],
    "domain.certificate_arn must be": [
        {"domain": {**DOMAIN, "certificate_arn": CERTIFICATE.replace("us-east-1", "eu-west-1")}}
    ],
    "domain.zone_id must be": [{"domain": {**DOMAIN, "zone_id": "example.com"}}],
    "domain.name must differ": [{**web(domain=DOMAIN), "domain": DOMAIN}],
    # -- the model
    "model_id must be a model id": [
        {"model_id": "arn:aws:s3:::bucket/key", "model_family": "claude"}
    ],
    "model_id belongs to no supported model family": [
        {"model_id": "global.unknown.model-v1:0"},
        {"model_id": f"{ARN}:imported-model/abc123"},
    ],
    "model_family must be one of": [{"model_family": "gpt"}],
    "foundation_model_arns must be ARNs": [
        # A wildcard would allow every model.
        {"foundation_model_arns": ["arn:aws:bedrock:us-east-1::foundation-model/*"]}
    ],
    "foundation_model_arns must be empty": [
        {
            "model_id": f"{ARN}:imported-model/abc123",
            "model_family": "llama3",
            "foundation_model_arns": ["arn:aws:bedrock:us-east-1::foundation-model/meta.llama3"],
        }
    ],
    "foundation_model_arns is required": [
        {"model_id": f"{ARN}:application-inference-profile/abc123", "model_family": "claude"}
    ],
    # 65,537 bytes; in the second, of 21,846 characters
    "system_prompt must be": [
        {"system_prompt": "x" * 65537},
        {"system_prompt": "語" * 21845 + "xx"},
    ],
    "max_output_tokens must be": [{"max_output_tokens": value} for value in (0, 64001, 1.5)],
    "temperature must be": [{"temperature": -0.1}, {"temperature": 1.1}],
    "top_p must be": [{"top_p": -0.1}, {"top_p": 1.1}],
    "stop_sequences must not": [{"stop_sequences": [""]}],
    "guardrail_id must be": [{"guardrail_id": f"{ARN}:guardrail/*"}],
    "guardrail_version must be": [{"guardrail_version": "0"}],
    "guardrail_profile_arns must be": [{"guardrail_profile_arns": [f"{ARN}:guardrail/abc"]}],
    "service_tier must be": [{"service_tier": "gold"}],
    "performance_latency must be": [{"performance_latency": "fast"}],
    # -- timing
    "retry_seconds must be": [{"retry_seconds": -1}, {"retry_seconds": 301}],
    "stall_seconds must be": [{"stall_seconds": 0}, {"stall_seconds": 901}],
    "deadline_seconds must be": [{"deadline_seconds": 0}, {"deadline_seconds": 301}],
    "timeout_seconds must be a whole number": [
        {"timeout_seconds": 1801},
        {"timeout_seconds": 100.5},
    ],
    "timeout_seconds must be greater": [{"timeout_seconds": 10, "deadline_seconds": 10}],
    # -- the conversation
    "max_input_bytes must be": [{"max_input_bytes": value} for value in (0, 131073, 1.5)],
    "history_tokens must be": [{"history_tokens": value} for value in (-1, 1000001, 1.5)],
    "history_turns must be": [{"history_turns": value} for value in (0, 201, 1.5)],
    "session_days must be": [{"session_days": value} for value in (0, 3651, 1.5)],
    "on_disconnect must be": [{"on_disconnect": "wait"}],
    # -- the function and the API
    "chat_integration must be": [{"chat_integration": "queue"}],
    "memory_size must be": [{"memory_size": value} for value in (128, 10241, 1024.5)],
    "reserved_concurrency must be": [{"reserved_concurrency": -1}, {"reserved_concurrency": 1.5}],
    "on_demand_throughput needs": [
        {"on_demand_throughput": {"max_write_request_units": units}} for units in (0, -2, 1.5, None)
    ],
    "throttle_rate must be": [{"throttle_rate": 0}, {"throttle_rate": 10001}],
    "throttle_burst must be": [{"throttle_burst": value} for value in (0, 5001, 1.5)],
    # -- monitoring
    "log_retention_days must be": [{"log_retention_days": 0}, {"log_retention_days": 31}],
    "alarms.topic_arns must be ARNs": [
        {"alarms": {"topic_arns": [arn]}} for arn in ("on-call", TOPIC.replace("sns", "sqs"))
    ],
    "alarms.topic_arns must be at most 4": [
        {"alarms": {"topic_arns": [f"{TOPIC}-{number}" for number in range(5)]}}
    ],
    "alarms.email must be": [{"alarms": {"email": "me"}}],
    "alarms.monthly_budget_usd must be": [
        {"alarms": {"email": "me@example.com", "monthly_budget_usd": 0}}
    ],
    "alarms.monthly_budget_usd requires": [{"alarms": {"monthly_budget_usd": 50}}],
}
# Inputs whose validations refer to each other.
LINKED = (
    {"auth", "jwt", "web", "domain", "allowed_origins"},
    {"model_id", "model_family", "foundation_model_arns"},
    {"timeout_seconds", "deadline_seconds"},
    {"package"},
    {"alarms"},
)
# Conditions of resources, each of which is evaluated only where all inputs are accepted.
PRECONDITIONS: Mapping[str, Mapping[str, Any]] = {
    "routes.json: run make package, or set package.": {"package": NO_ZIP},
    "none.zip: run make package, or set package.": {"package": {"path": "none.zip"}},
    "routes.json: run make package, or set authorizer_package.": {
        **JWT,
        "authorizer_package": NO_ZIP,
    },
    "tests is not the web page's folder": {"web": {"folder": "tests"}},
    # 1,024 characters of three bytes each
    "The settings exceed the 4 KB": {
        "system_prompt": "語" * 1024,
        "stop_sequences": ["ab" * 512],
    },
}
DEFAULTS: Mapping[str, Any] = {
    "package": PACKAGE,
    "authorizer_package": PACKAGE,
    "jwt": None,
    "foundation_model_arns": [],
    "timeout_seconds": 900,
}
ROOT = """
terraform {
  required_providers {
    aws = { source = "hashicorp/aws" }
  }
}

provider "aws" {}

# Unknown to `terraform validate`, which would stop at the first errors.
variable "calls" {
  type = any
}
"""
TEST = """
mock_provider "aws" {
  source = "./tests"
}

run "refused" {
  command = plan
}
"""


def packed() -> list[tuple[dict[str, Any], list[str]]]:
    """The inputs of each module call, with the sentences that refuse them."""
    calls: list[tuple[dict[str, Any], list[str]]] = []
    for sentence, cases in CASES.items():
        for inputs in cases:
            taken = set(inputs).union(*(each for each in LINKED if each & inputs.keys()))
            free = (each for each in calls if not taken & each[0].keys())
            call = next(free, None)
            if call is None:
                calls.append(call := ({}, []))
            call[0].update({**dict.fromkeys(taken), **inputs})
            call[1].append(sentence)
    alone = [({**inputs}, [sentence]) for sentence, inputs in PRECONDITIONS.items()]
    return [*calls, *alone]


def written(name: str, inputs: Iterable[str]) -> str:
    lines = "".join(f"  {each} = var.calls.{name}.{each}\n" for each in sorted(inputs))
    return f'module "{name}" {{\n  source = "./modules/chat"\n{lines}}}\n'


@pytest.fixture(scope="module")
def refusals(tmp_path_factory: pytest.TempPathFactory) -> list[tuple[str, str]]:
    """Each error that Terraform reports: the module call, if it names one, and the sentence."""
    working = TerraformCopy(tmp_path_factory.mktemp("refusals"))
    for path in [*working.folder.glob("*.tf"), *working.folder.glob("tests/*.tftest.hcl")]:
        path.unlink()
    calls = {f"call{number}": {**DEFAULTS, **inputs} for number, (inputs, _) in enumerate(packed())}
    root = ROOT + "".join(written(name, inputs) for name, inputs in calls.items())
    (working.folder / "main.tf").write_text(root)
    (working.folder / "terraform.tfvars.json").write_text(json.dumps({"calls": calls}))
    (working.folder / "tests" / "refused.tftest.hcl").write_text(TEST)
    working.init()
    events = map(json.loads, working.run("test", "-json").stdout.splitlines())
    found = [event["diagnostic"] for event in events if event["type"] == "diagnostic"]
    return [
        (each.get("snippet", {}).get("context") or "", each["detail"])
        for each in found
        if each["severity"] == "error"
    ]


@pytest.mark.timeout(300)
def test_each_value_is_refused_by_its_sentence(refusals: list[tuple[str, str]]) -> None:
    """Of each call: as many sentences as it has refused values, and each of those expected."""
    expected = {
        f'module "call{number}"': sentences
        for number, (_, sentences) in enumerate(packed())
        if not PRECONDITIONS.keys() & set(sentences)
    }
    found = {
        call: [
            next((each for each in sentences if detail.startswith(each)), detail)
            for name, detail in refusals
            if name == call
        ]
        for call, sentences in expected.items()
    }

    differing = {
        call: each for call, each in expected.items() if sorted(each) != sorted(found[call])
    }
    assert {} == {call: set(each) ^ set(found[call]) for call, each in differing.items()}


@pytest.mark.parametrize("sentence", PRECONDITIONS)
def test_what_only_a_resource_can_check_is_refused(
    refusals: list[tuple[str, str]], sentence: str
) -> None:
    """By a precondition, before anything is created."""
    assert 1 == len([detail for _, detail in refusals if sentence in detail])


def test_nothing_else_is_an_error(refusals: list[tuple[str, str]]) -> None:
    """No error has another cause, such as a value of the wrong type."""
    sentences = (*CASES, *PRECONDITIONS)

    assert [] == [each for each in refusals if not any(known in each[1] for known in sentences)]
