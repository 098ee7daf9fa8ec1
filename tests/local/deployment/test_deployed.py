"""Covers local/deployment/deployed.py: what is read back, and which deployments are refused."""

import secrets
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import pytest
from support.control_planes import ROLE, client, function

from local.deployment.deployed import NotServableError, read
from local.gateway.api import Integration

INVOKE = "arn:aws:apigateway:us-east-1:lambda:path/2015-03-31/functions/{}/invocations"
EVENT = {"integration.request.header.X-Amz-Invocation-Type": "'Event'"}
DEFAULT = r"\$default"


@dataclass
class Deployment:
    """An API like ours, created by API calls: `$connect`, an asynchronous `chat`, and `ping`."""

    url: str
    gateway: Any = None
    functions: Any = None
    name: str = field(default_factory=lambda: f"f{secrets.token_hex(4)}")
    api: str = ""
    routes: dict[str, str] = field(default_factory=dict)
    integrations: dict[str, str] = field(default_factory=dict)
    response: str = ""
    route_response: str = ""

    def __post_init__(self) -> None:
        self.gateway = client(self.url, "apigatewayv2")
        self.functions = function(
            self.url, self.name, Timeout=30, Environment={"Variables": {"A": "1"}}, Publish=True
        )
        self.functions.create_alias(FunctionName=self.name, Name="live", FunctionVersion="1")
        self.invokes = INVOKE.format(self.arn("live"))
        self.event_config(0)
        self.api = self.gateway.create_api(
            Name="chat", ProtocolType="WEBSOCKET", RouteSelectionExpression="$request.body.action"
        )["ApiId"]
        self.gateway.create_stage(ApiId=self.api, StageName="live", AutoDeploy=True)
        self.add("$connect", IntegrationType="AWS_PROXY")
        self.add(
            "chat",
            IntegrationType="AWS",
            RequestParameters=EVENT,
            TemplateSelectionExpression=DEFAULT,
            RequestTemplates={"$default": '{"body": "$input.body"}'},
        )
        self.add(
            "ping",
            IntegrationType="MOCK",
            TemplateSelectionExpression=DEFAULT,
            RequestTemplates={"$default": '{"statusCode": 200}'},
        )
        self.response = self.gateway.create_integration_response(
            ApiId=self.api,
            IntegrationId=self.integrations["ping"],
            IntegrationResponseKey="$default",
            TemplateSelectionExpression=DEFAULT,
            ResponseTemplates={"$default": "pong"},
        )["IntegrationResponseId"]
        self.route("ping", RouteResponseSelectionExpression="$default")
        self.route_response = self.gateway.create_route_response(
            ApiId=self.api, RouteId=self.routes["ping"], RouteResponseKey="$default"
        )["RouteResponseId"]

    def arn(self, qualifier: str) -> str:
        return f"arn:aws:lambda:us-east-1:123456789012:function:{self.name}:{qualifier}"

    def add(self, key: str, **integration: Any) -> None:
        integration_id = self.gateway.create_integration(
            ApiId=self.api,
            IntegrationMethod="POST",
            IntegrationUri=self.invokes,
            TimeoutInMillis=29000,
            **integration,
        )["IntegrationId"]
        route = self.gateway.create_route(
            ApiId=self.api, RouteKey=key, Target=f"integrations/{integration_id}"
        )
        self.integrations[key], self.routes[key] = integration_id, route["RouteId"]

    def route(self, key: str, **changed: Any) -> None:
        self.gateway.update_route(ApiId=self.api, RouteId=self.routes[key], **changed)

    def integration(self, key: str, **changed: Any) -> None:
        self.gateway.update_integration(
            ApiId=self.api, IntegrationId=self.integrations[key], **changed
        )

    def integration_response(self, **changed: Any) -> None:
        self.gateway.update_integration_response(
            ApiId=self.api,
            IntegrationId=self.integrations["ping"],
            IntegrationResponseId=self.response,
            **changed,
        )

    def event_config(self, attempts: int) -> None:
        self.functions.put_function_event_invoke_config(
            FunctionName=self.name,
            Qualifier="live",
            MaximumRetryAttempts=attempts,
            MaximumEventAgeInSeconds=90,
        )

    def authorize(self, **authorizer: Any) -> None:
        created = self.gateway.create_authorizer(
            ApiId=self.api,
            Name="jwt",
            **{
                "AuthorizerType": "REQUEST",
                "AuthorizerUri": self.invokes,
                "IdentitySource": [],
                **authorizer,
            },
        )
        self.route("$connect", AuthorizationType="CUSTOM", AuthorizerId=created["AuthorizerId"])


@pytest.fixture
def deployment(control_plane: str) -> Deployment:
    return Deployment(control_plane)


def test_a_deployment_is_read_back(deployment: Deployment) -> None:
    """Routes with their integrations and templates, and the version behind the alias."""
    deployed = read(deployment.url, deployment.api, "live")
    chat, ping = deployed.api.routes["chat"], deployed.api.routes["ping"]

    assert Integration.PROXY is deployed.api.routes["$connect"].integration
    assert (Integration.ASYNC, False) == (chat.integration, chat.replies)
    assert (Integration.MOCK, True) == (ping.integration, ping.replies)
    assert chat.template is not None
    assert '{"body": "hello"}' == chat.template.render({}, "hello")
    assert ping.template is not None
    assert "pong" == ping.template.render({}, "")
    assert ("none", None, ("action",)) == (
        deployed.auth,
        deployed.authorizer,
        deployed.api.selection,
    )
    assert (deployment.arn("live"), ROLE, 30, 90.0) == (
        deployed.function.arn,
        deployed.function.role,
        deployed.function.timeout,
        deployed.function.max_event_age,
    )
    assert {"A": "1"} == deployed.function.environment


def test_the_aliass_version_is_read_and_not_the_latest(deployment: Deployment) -> None:
    """A later change to the function's settings has no effect."""
    deployment.functions.update_function_configuration(FunctionName=deployment.name, Timeout=60)

    assert 30 == read(deployment.url, deployment.api, "live").function.timeout


def test_an_authorizer_is_read_with_its_function(deployment: Deployment) -> None:
    """Without a qualifier it is the latest version; the event invoke configuration is optional."""
    plain = Deployment(deployment.url)
    plain.functions.delete_function_event_invoke_config(FunctionName=plain.name)
    deployment.authorize(AuthorizerUri=INVOKE.format(plain.arn("live").removesuffix(":live")))
    deployed = read(deployment.url, deployment.api, "live")

    assert "jwt" == deployed.auth
    assert deployed.authorizer is not None
    assert (plain.name, None) == (deployed.authorizer.name, deployed.authorizer.max_event_age)


def test_iam_authorization_is_read_as_iam(deployment: Deployment) -> None:
    """AWS_IAM on `$connect` is the value `iam` of our setting."""
    deployment.route("$connect", AuthorizationType="AWS_IAM")

    assert "iam" == read(deployment.url, deployment.api, "live").auth


def _another_function(deployment: Deployment) -> None:
    deployment.integration("chat", IntegrationUri=INVOKE.format(deployment.arn("other")))


def _http(deployment: Deployment) -> None:
    deployment.api = deployment.gateway.create_api(Name="h", ProtocolType="HTTP")["ApiId"]


def _no_route_response(deployment: Deployment) -> None:
    deployment.gateway.delete_route_response(
        ApiId=deployment.api,
        RouteId=deployment.routes["ping"],
        RouteResponseId=deployment.route_response,
    )


def _response_unselected(deployment: Deployment) -> None:
    deployment.route("ping", RouteResponseSelectionExpression="")


def _unselected_mock(deployment: Deployment) -> None:
    _no_route_response(deployment)
    _response_unselected(deployment)


SELECT_NOTHING = {"TemplateSelectionExpression": "$default"}
REFUSED: Mapping[str, Callable[[Deployment], Any]] = {
    "not a WebSocket API": _http,
    "has no automatic deployment": lambda m: m.gateway.update_stage(
        ApiId=m.api, StageName="live", AutoDeploy=False
    ),
    "Route chat has an authorizer": lambda m: m.route("chat", AuthorizationType="AWS_IAM"),
    "must invoke one function, not 2": _another_function,
    "Route chat has no integration": lambda m: m.route("chat", Target="functions/x"),
    "Route chat has a timeout longer": lambda m: m.integration("chat", TimeoutInMillis=30000),
    "Route chat invokes synchronously with a template": lambda m: m.integration(
        "chat", RequestParameters={"integration.request.header.X-Amz-Invocation-Type": "'x'"}
    ),
    "an integration HTTP_PROXY": lambda m: m.integration("chat", IntegrationType="HTTP_PROXY"),
    "Route ping drops its response": _unselected_mock,
    r"Route ping selects \$default among the route responses \[\]": _no_route_response,
    r"Route ping selects  among the route responses": _response_unselected,
    "Route ping has a mock that does not select status 200": lambda m: m.integration(
        "ping", RequestTemplates={"$default": '{"statusCode": 500}'}
    ),
    "Route ping has no integration response for 200": lambda m: m.integration_response(
        IntegrationResponseKey="/500/"
    ),
    "Route ping selects .* ResponseTemplates": lambda m: m.integration_response(**SELECT_NOTHING),
    "Route chat selects .* RequestTemplates": lambda m: m.integration("chat", **SELECT_NOTHING),
    "Route chat invokes no function": lambda m: m.integration("chat", IntegrationUri="x"),
    "Route chat does not invoke by POST": lambda m: m.integration("chat", IntegrationMethod="GET"),
    "must be of type REQUEST": lambda m: m.authorize(AuthorizerType="JWT"),
    "has identity sources": lambda m: m.authorize(IdentitySource=["route.request.querystring.t"]),
    "The authorizer invokes no function": lambda m: m.authorize(AuthorizerUri="x"),
    "would be retried": lambda m: m.event_config(2),
}


@pytest.mark.parametrize("message", REFUSED)
def test_a_deployment_that_aws_would_not_serve_is_refused(
    deployment: Deployment, message: str
) -> None:
    """The error names configuration that is invalid, without effect, or not imitated."""
    REFUSED[message](deployment)

    with pytest.raises(NotServableError, match=message):
        read(deployment.url, deployment.api, "live")
