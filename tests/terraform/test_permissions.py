"""Least privilege: the calls that the function makes, compared with the policies that were applied.

The calls are those of the deployed zip in the conversations below. The calls that Lambda makes with
the function's role are in a table of their own, with the documentation that lists them.
"""

import json
import re
import secrets
from collections.abc import Callable, Mapping
from dataclasses import replace

import pytest
from support.deployments import FIRST, Site, ann
from support.e2e_clients import Client, Frame, script
from support.iam_policies import Case, Decision, Policy, Question, decide, less

from local.aws.account import ACCOUNT, REGION
from local.aws.permissions import Permission
from local.deployment.deployed import Deployed, client

pytestmark = pytest.mark.timeout(300)  # the first test waits for the deployment

LAMBDA, API_GATEWAY = "lambda.amazonaws.com", "apigateway.amazonaws.com"


# -- conversations ---------------------------------------------------------------------------------


def nothing(url: str) -> None:
    with ann(url):
        pass


def chat(url: str) -> None:
    with ann(url) as person:
        assert "done" == person.say("hello")[-1]["type"]
        assert "done" == person.say("and again")[-1]["type"]


def stop(url: str) -> None:
    with ann(url) as person:
        stopped(person, script(chunks=2000, rate=50))


def stopped(person: Client, *messages: str | Frame) -> None:
    """Sends the messages, and stops the answer."""
    for message in messages:
        person.send(message)
    person.receive()
    person.send({"action": "stop"})
    while (frame := person.receive())["type"] != "done":
        pass
    assert "stopped" == frame["stop_reason"]


def resume(url: str) -> None:
    """A running answer, from another connection, where it is stopped; and one that has ended."""
    session = {"session_id": secrets.token_hex(8)}
    again = {"action": "resume", "request_id": "one"}
    with ann(url, **session) as person:
        person.send({"request_id": "one", "body": script(chunks=2000, rate=50)})
        person.receive()
    with ann(url, **session) as person:
        stopped(person, again)
        person.send(again)
        assert "done" == person.answer()[-1]["type"]


def parts(url: str) -> None:
    """A message in two frames, and the continuation of an answer that was stopped."""
    order = script(chunks=2000, rate=50)
    halves = [order[:9], order[9:]]
    with ann(url) as person:
        stopped(
            person,
            *(
                {"request_id": "one", "part": number, "parts": len(halves), "body": half}
                for number, half in enumerate(halves, 1)
            ),
        )
        assert "done" == person.say({"continue": True})[-1]["type"]


def history(url: str) -> None:
    with ann(url) as person:
        person.say("hello")
        assert 2 == len(person.say({"action": "history"}))


def clear(url: str) -> None:
    with ann(url) as person:
        person.say("hello")
        assert 1 == person.say({"action": "clear"})[-1]["cleared"]


def refused(url: str) -> None:
    """By the protocol, for a request id that was used before, and by the model, early and late."""
    early = script(fault={"before": "AccessDeniedException"})
    late = script(fault={"at": 1, "type": "cut"})
    with ann(url) as person:
        person.say({"body": "hello", "request_id": "one"})
        codes = {
            "invalid_request": person.say({"action": "nope"}),
            "duplicate": person.say({"body": "hello", "request_id": "one"}),
            "model_unavailable": person.say(early),
            "model_error": person.say(late),
        }
    assert list(codes) == [frames[-1]["code"] for frames in codes.values()]


def ping(url: str) -> None:
    with ann(url) as person:
        person.send({"action": "ping"})
        assert '{"type": "pong"}' == person.socket.recv()


def disconnect(url: str) -> None:
    """In the middle of an answer, which is completed and saved nevertheless."""
    with ann(url) as person:
        person.send(script(chunks=20, rate=40))
        person.receive()


# A new action needs an entry of its own.
CONVERSATIONS: Mapping[str, Callable[[str], None]] = {
    "connect and disconnect": nothing,
    "chat": chat,
    "stop": stop,
    "resume": resume,
    "parts": parts,
    "history": history,
    "clear": clear,
    "refused": refused,
    "ping": ping,
    "disconnect": disconnect,
}

Calls = Mapping[str, list[Permission]]


@pytest.fixture(scope="module")
def calls(site: Site) -> Calls:
    """The permissions that each conversation, and Lambda itself, needed; each once."""
    url, found = site.serving(FIRST), {}
    for name, converse in CONVERSATIONS.items():
        before = len(site.permissions)
        converse(url)
        site.wait()
        found[name] = list(dict.fromkeys(site.permissions[before:]))
    return {**found, **by_lambda(site)}


# -- calls by Lambda -------------------------------------------------------------------------------


def by_lambda(site: Site) -> Calls:
    """The calls that the Lambda service makes with the function's role, by their occasion.

    Lambda Developer Guide: "Sending Lambda function logs to CloudWatch Logs" (the resource is a
    stream for both actions, as denials name it), "Visualize Lambda function invocations using AWS
    X-Ray", "Capturing records of Lambda asynchronous invocations".
    """
    deployed = site.read()
    functions = client(site.url, "lambda")
    made = functions.get_function(FunctionName=deployed.function.arn)["Configuration"]
    config = functions.get_function_event_invoke_config(
        FunctionName=deployed.function.name, Qualifier=site.outputs["function_alias"]
    )
    group = f"arn:aws:logs:{REGION}:{ACCOUNT}:log-group:{made['LoggingConfig']['LogGroup']}"
    stream = f"{group}:log-stream:2026/11/22/{deployed.function.name}[1]0123456789abcdef"
    assert "Active" == made["TracingConfig"]["Mode"]
    table = {
        "Lambda: a line is logged": [
            ("logs:CreateLogStream", stream),
            ("logs:PutLogEvents", stream),
        ],
        "Lambda: an invocation is traced": [
            ("xray:PutTelemetryRecords", "*"),
            ("xray:PutTraceSegments", "*"),
        ],
        "Lambda: an event failed": [
            ("sqs:SendMessage", config["DestinationConfig"]["OnFailure"]["Destination"]),
        ],
    }
    return {
        name: [
            Permission(operation=action.partition(":")[2], action=action, resource=resource)
            for action, resource in rows
        ]
        for name, rows in table.items()
    }


# -- policies --------------------------------------------------------------------------------------


def role_of(site: Site, arn: str) -> tuple[list[Policy], Policy]:
    """The role's policies, inline and attached, and its trust policy."""
    iam, name = client(site.url, "iam"), arn.rpartition("/")[2]
    inline = [
        iam.get_role_policy(RoleName=name, PolicyName=each)["PolicyDocument"]
        for each in iam.list_role_policies(RoleName=name)["PolicyNames"]
    ]
    attached = [
        iam.get_policy_version(
            PolicyArn=each["PolicyArn"],
            VersionId=iam.get_policy(PolicyArn=each["PolicyArn"])["Policy"]["DefaultVersionId"],
        )["PolicyVersion"]["Document"]
        for each in iam.list_attached_role_policies(RoleName=name)["AttachedPolicies"]
    ]
    trust = iam.get_role(RoleName=name)["Role"]["AssumeRolePolicyDocument"]
    return inline + attached, trust


def question(deployed: Deployed, call: Permission) -> Question:
    """IAM's question when the function makes this call; connection ids are made equal."""
    role = deployed.function.role.rpartition("/")[2]
    return Question(
        principal=f"arn:aws:sts::{ACCOUNT}:assumed-role/{role}/{deployed.function.name}",
        account=ACCOUNT,
        action=call.action,
        resource=re.sub("@connections/.+", "@connections/abc=", call.resource),
        context=call.context,
    )


# -- tests -----------------------------------------------------------------------------------------


def test_the_role_allows_every_call(site: Site, calls: Calls) -> None:
    """Of all conversations; each is an action that AWS has."""
    deployed = site.read()
    policies, _ = role_of(site, deployed.function.role)
    made = [call for each in calls.values() for call in each]
    [decisions] = decide(Case([question(deployed, call) for call in made], policies))

    refused = [(c, d.problem) for c, d in zip(made, decisions, strict=True) if not d.allowed]
    assert [] == refused


def test_no_permission_is_superfluous(site: Site, calls: Calls, report_lines: list[str]) -> None:
    """Without any one statement, action or resource, at least one call is refused."""
    deployed = site.read()
    [policy], _ = role_of(site, deployed.function.role)
    made = [(name, call) for name, each in calls.items() for call in each]
    questions = [question(deployed, call) for _, call in made]
    rests = list(less(policy))
    whole, *answers = decide(*(Case(questions, [each]) for each in (policy, *dict(rests).values())))

    for (removed, _), decisions in zip(rests, answers, strict=True):
        needing = [
            f"{name} ({call.operation})"
            for (name, call), before, after in zip(made, whole, decisions, strict=True)
            if before.allowed and not after.allowed
        ]
        assert needing, f"granted, and not used: {removed}"
        report_lines.append(f"needed: {removed} <- {', '.join(list(dict.fromkeys(needing))[:3])}")


NOT_GRANTED = [
    ("dynamodb:Scan", "table/{table}"),
    ("dynamodb:DeleteTable", "table/{table}"),
    ("dynamodb:GetItem", "table/another"),
    ("execute-api:ManageConnections", "{api}/live/DELETE/@connections/abc="),
    ("execute-api:ManageConnections", "{api}/live/GET/@connections/abc="),
    ("execute-api:ManageConnections", "{api}/other/POST/@connections/abc="),
    ("execute-api:ManageConnections", "another/live/POST/@connections/abc="),
    ("bedrock:InvokeModel", "inference-profile/global.anthropic.claude-sonnet-4-6"),
    (
        "bedrock:InvokeModelWithResponseStream",
        "inference-profile/global.anthropic.claude-opus-4-6-v1",
    ),
]


def test_the_role_allows_nothing_else(site: Site) -> None:
    """Other actions, tables, stages, APIs and models are refused."""
    site.serving(FIRST)
    deployed = site.read()
    policies, _ = role_of(site, deployed.function.role)
    questions = []
    for action, resource in NOT_GRANTED:
        name = resource.format(table=site.outputs["table_name"], api=deployed.api_id)
        arn = f"arn:aws:{action.partition(':')[0]}:{REGION}:{ACCOUNT}:{name}"
        questions.append(question(deployed, Permission(operation="", action=action, resource=arn)))
    [decisions] = decide(Case(questions, policies))

    assert [Decision(allowed=False, problem=None)] * len(NOT_GRANTED) == decisions


def test_the_model_is_invoked_only_through_the_profile(site: Site, calls: Calls) -> None:
    """The profile's models may not be invoked directly."""
    deployed = site.read()
    policies, _ = role_of(site, deployed.function.role)
    models = [call for call in calls["chat"] if "::foundation-model/" in call.resource]
    direct = [question(deployed, replace(call, context={})) for call in models]
    [decisions] = decide(Case(direct, policies))

    assert len(models) == 2
    assert not any(decision.allowed for decision in decisions)


def test_only_lambda_has_the_role_and_only_the_routes_invoke_the_function(site: Site) -> None:
    """No other service, API, stage or route."""
    site.serving(FIRST)
    deployed = site.read()
    _, trust = role_of(site, deployed.function.role)
    text = client(site.url, "lambda").get_policy(
        FunctionName=deployed.function.name, Qualifier=site.outputs["function_alias"]
    )["Policy"]
    at = f"arn:aws:execute-api:{REGION}:{ACCOUNT}"
    invoking = [key for key, route in deployed.api.routes.items() if route.integration != "mock"]
    sources = {f"{at}:{deployed.api_id}/{deployed.stage}/{key}": True for key in invoking} | {
        f"{at}:{deployed.api_id}/{deployed.stage}/ping": False,
        f"{at}:{deployed.api_id}/other/chat": False,
        f"{at}:another/{deployed.stage}/chat": False,
    }
    invoked = [
        Question(
            API_GATEWAY,
            ACCOUNT,
            "lambda:InvokeFunction",
            deployed.function.arn,
            {"aws:SourceArn": source},
        )
        for source in sources
    ]
    assumed = [
        Question(who, ACCOUNT, "sts:AssumeRole", deployed.function.role)
        for who in (LAMBDA, API_GATEWAY, "ec2.amazonaws.com")
    ]
    by_route, by_service = decide(
        Case(invoked, resource=json.loads(text)), Case(assumed, resource=trust)
    )

    assert list(sources.values()) == [decision.allowed for decision in by_route]
    assert [True, False, False] == [decision.allowed for decision in by_service]
