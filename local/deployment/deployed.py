"""Reads a deployment back through the control plane, as an API that the gateway can serve.

Rules
- The deployment is interpreted as API Gateway and Lambda would: configuration that they refuse, or
  that has no effect, raises a NotServableError that names it. So does configuration that is valid
  on AWS but not imitated here.
- Nothing is read from the repository: routes, templates and settings are the deployed ones.

Does not know how the functions are run, nor the permissions of callers.
"""

import functools
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from local.auth.authorizers import Auth
from local.aws.account import session
from local.gateway.api import CONNECT, Api, Integration, Route, selection_path
from local.gateway.limits import AWS_QUOTAS
from local.gateway.vtl import Template

if TYPE_CHECKING:
    from types_boto3_apigatewayv2 import ApiGatewayV2Client
    from types_boto3_lambda import LambdaClient

# The authorization types of a route, and the values of our setting AUTH.
_AUTH: Mapping[str, Auth] = {"AWS_IAM": "iam", "CUSTOM": "jwt", "NONE": "none"}
# The ARN by which API Gateway invokes a function, which contains the function's own ARN.
_INVOKE = re.compile(
    r"arn:aws:apigateway:[^:]+:lambda:path/2015-03-31/functions/(?P<arn>arn:aws:lambda:.+)"
    r"/invocations"
)
# Selects the template `$default`; without the backslash it would be a variable.
_DEFAULT_TEMPLATE = r"\$default"
_DEFAULT = "$default"
_INVOCATION_TYPE = "integration.request.header.X-Amz-Invocation-Type"


class NotServableError(Exception):
    """AWS would not serve the deployment, or it has a feature that is not imitated here."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DeployedFunction:
    """The version of a function that the API invokes. Times in seconds.

    `max_event_age` is None if the function has no event invoke configuration.
    """

    arn: str
    name: str
    handler: str
    runtime: str
    architecture: str
    code_sha256: str
    role: str
    timeout: float
    environment: Mapping[str, str] = field(repr=False)
    concurrency: int | None = None
    max_event_age: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Deployed:
    """A deployed API with its functions. `authorizer` is set if `auth` is "jwt"."""

    api: Api
    api_id: str
    stage: str
    auth: Auth
    function: DeployedFunction
    authorizer: DeployedFunction | None = None
    authorizer_id: str = ""


@functools.cache
def client(control_plane: str, service: Any) -> Any:
    """Returns the boto3 client for the control plane, with dummy credentials."""
    return session().client(service, endpoint_url=control_plane)


def read(control_plane: str, api_id: str, stage: str) -> Deployed:
    """Reads a stage of the API back.

    Raises:
        NotServableError: see the rules above.
        ClientError: (botocore's) the API or the stage does not exist.
    """
    gateway: ApiGatewayV2Client = client(control_plane, "apigatewayv2")
    functions: LambdaClient = client(control_plane, "lambda")
    return _Reader(gateway, functions, api_id).read(stage)


class _Reader:
    """Reads one API. Each integration and function is read once."""

    def __init__(
        self, gateway: "ApiGatewayV2Client", functions: "LambdaClient", api_id: str
    ) -> None:
        self._gateway = gateway
        self._functions = functions
        self._api_id = api_id
        self._invoked: set[str] = set()  # ARNs of the functions of the integrations

    def read(self, stage: str) -> Deployed:
        api = self._gateway.get_api(ApiId=self._api_id)
        _require(api["ProtocolType"] == "WEBSOCKET", "The API is not a WebSocket API.")
        deployed = self._gateway.get_stage(ApiId=self._api_id, StageName=stage)
        _require(deployed.get("AutoDeploy", False), f"Stage {stage} has no automatic deployment.")
        routes = {
            route["RouteKey"]: route
            for route in self._gateway.get_routes(ApiId=self._api_id)["Items"]
        }
        for key, route in routes.items():
            _require(
                key == CONNECT or _AUTH[route.get("AuthorizationType") or "NONE"] == "none",
                f"Route {key} has an authorizer, which API Gateway supports for {CONNECT} only.",
            )
        served = {key: self._route(key, route) for key, route in routes.items()}
        _require(
            len(self._invoked) == 1,
            f"The API must invoke one function, not {len(self._invoked)}: {self._invoked}.",
        )
        connect: Mapping[str, Any] = routes.get(CONNECT, {})
        auth = _AUTH[connect.get("AuthorizationType") or "NONE"]
        authorizer_id = connect.get("AuthorizerId", "") if auth == "jwt" else ""
        return Deployed(
            api=Api(served, selection_path(api["RouteSelectionExpression"])),
            api_id=self._api_id,
            stage=stage,
            auth=auth,
            function=self._function(self._invoked.pop()),
            authorizer=self._authorizer(authorizer_id) if auth == "jwt" else None,
            authorizer_id=authorizer_id,
        )

    def _route(self, key: str, route: Mapping[str, Any]) -> Route:
        kind, _, integration_id = route.get("Target", "").partition("/")
        _require(kind == "integrations", f"Route {key} has no integration.")
        integration: Mapping[str, Any] = self._gateway.get_integration(
            ApiId=self._api_id, IntegrationId=integration_id
        )
        _require(
            integration.get("TimeoutInMillis", 0) <= AWS_QUOTAS.integration * 1000,
            f"Route {key} has a timeout longer than API Gateway's.",
        )
        replies = self._replies(key, route)
        match integration["IntegrationType"]:
            case "AWS_PROXY":
                self._invoke(key, integration)
                return Route(key, Integration.PROXY, replies=replies)
            case "AWS":
                self._invoke(key, integration)
                _require(
                    integration.get("RequestParameters", {}).get(_INVOCATION_TYPE) == "'Event'",
                    f"Route {key} invokes synchronously with a template: not imitated here.",
                )
                template = _template(key, integration, "RequestTemplates")
                return Route(key, Integration.ASYNC, template, replies)
            case "MOCK":
                _require(replies, f"Route {key} drops its response: it has no route response.")
                return Route(key, Integration.MOCK, self._mock(key, integration), replies)
            case other:
                raise NotServableError(
                    f"Route {key} has an integration {other}: not imitated here."
                )

    def _replies(self, key: str, route: Mapping[str, Any]) -> bool:
        """Whether the response of the integration is sent to the client."""
        found = self._gateway.get_route_responses(ApiId=self._api_id, RouteId=route["RouteId"])
        responses = [each["RouteResponseKey"] for each in found["Items"]]
        selected = route.get("RouteResponseSelectionExpression")
        _require(
            responses == ([_DEFAULT] if selected else []) and selected in {None, "", _DEFAULT},
            f"Route {key} selects {selected} among the route responses {responses}.",
        )
        return bool(responses)

    def _mock(self, key: str, integration: Mapping[str, Any]) -> Template:
        request = _template(key, integration, "RequestTemplates").render({}, "")
        _require(
            '"statusCode":200' in request.replace(" ", ""),
            f"Route {key} has a mock that does not select status 200: {request}.",
        )
        [response] = self._gateway.get_integration_responses(
            ApiId=self._api_id, IntegrationId=integration["IntegrationId"]
        )["Items"]
        _require(
            response["IntegrationResponseKey"] in {_DEFAULT, "/200/"},
            f"Route {key} has no integration response for 200.",
        )
        return _template(key, response, "ResponseTemplates")

    def _invoke(self, key: str, integration: Mapping[str, Any]) -> None:
        self._invoked.add(_function_arn(f"Route {key}", integration.get("IntegrationUri", "")))
        _require(
            integration["IntegrationMethod"] == "POST", f"Route {key} does not invoke by POST."
        )

    def _authorizer(self, authorizer_id: str) -> DeployedFunction:
        found = self._gateway.get_authorizer(ApiId=self._api_id, AuthorizerId=authorizer_id)
        _require(
            found["AuthorizerType"] == "REQUEST",
            "The authorizer of a WebSocket API must be of type REQUEST.",
        )
        _require(
            not found.get("IdentitySource"),
            "The authorizer has identity sources: not imitated here.",
        )
        return self._function(_function_arn("The authorizer", found.get("AuthorizerUri", "")))

    def _function(self, arn: str) -> DeployedFunction:
        """The version behind an alias, or the function itself."""
        parts = arn.split(":")
        name, qualifier = parts[6], parts[7] if len(parts) > 7 else None
        found = self._functions.get_function(
            FunctionName=name, **({"Qualifier": qualifier} if qualifier else {})
        )
        settings = found["Configuration"]
        return DeployedFunction(
            arn=arn,
            name=name,
            handler=settings["Handler"],
            runtime=settings["Runtime"],
            architecture=settings["Architectures"][0],
            code_sha256=settings["CodeSha256"],
            role=settings["Role"],
            timeout=settings["Timeout"],
            environment=settings.get("Environment", {}).get("Variables", {}),
            concurrency=self._functions.get_function_concurrency(FunctionName=name).get(
                "ReservedConcurrentExecutions"
            ),
            max_event_age=self._max_event_age(name, qualifier),
        )

    def _max_event_age(self, name: str, qualifier: str | None) -> float | None:
        version = {"FunctionName": name, **({"Qualifier": qualifier} if qualifier else {})}
        try:
            found = self._functions.get_function_event_invoke_config(**version)
        except self._functions.exceptions.ResourceNotFoundException:
            return None
        _require(found["MaximumRetryAttempts"] == 0, "Failed events would be retried.")
        return float(found["MaximumEventAgeInSeconds"])


def _function_arn(resource: str, uri: str) -> str:
    match = _INVOKE.fullmatch(uri)
    if match is None:
        raise NotServableError(f"{resource} invokes no function: {uri}")
    return match["arn"]


def _template(key: str, holder: Mapping[str, Any], kind: str) -> Template:
    selected = holder.get("TemplateSelectionExpression")
    templates = holder.get(kind, {})
    _require(
        selected == _DEFAULT_TEMPLATE and _DEFAULT in templates,
        f"Route {key} selects {selected} among the {kind} {sorted(templates)}.",
    )
    return Template(templates[_DEFAULT])


def _require(condition: object, message: str) -> None:
    if not condition:
        raise NotServableError(message)
