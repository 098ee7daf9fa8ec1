"""What was deployed, read back through the control plane and turned into what the gateway serves.

Rules
- Read as API Gateway and Lambda would read it: what they refuse, or would never send anywhere, is
  a NotServableError that names it. So is what is valid on AWS but not imitated here.
- Nothing is taken from the repository: the routes, the template and the settings are the deployed.

Does not know how any of it is run, nor who may call: that is IAM's.
"""

import functools
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

import boto3

from local.aws.moto_server import CREDENTIALS, REGION
from local.gateway.api import CONNECT, Api, Integration, Route, selection_path
from local.gateway.limits import AWS_QUOTAS
from local.gateway.vtl import Template

if TYPE_CHECKING:
    from types_boto3_apigatewayv2 import ApiGatewayV2Client
    from types_boto3_lambda import LambdaClient

Auth = Literal["iam", "jwt", "none"]

# A route's authorization type, and what our `auth` calls it.
_AUTH: Mapping[str, Auth] = {"AWS_IAM": "iam", "CUSTOM": "jwt", "NONE": "none"}
# The path by which API Gateway invokes a function, and the function's own ARN in it.
_INVOKE = re.compile(
    r"arn:aws:apigateway:[^:]+:lambda:path/2015-03-31/functions/(?P<arn>arn:aws:lambda:.+)"
    r"/invocations"
)
# Chooses the template `$default`; without the backslash it would be a variable.
_DEFAULT_TEMPLATE = r"\$default"
_DEFAULT = "$default"
_INVOCATION_TYPE = "integration.request.header.X-Amz-Invocation-Type"


class NotServableError(Exception):
    """The deployment is not one that AWS would serve, or not one that is imitated here."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DeployedFunction:
    """One function, as the version says that the API invokes. Times in seconds.

    `max_event_age` is None where nothing says how an asynchronous event is treated.
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
    """The API with all that stands behind it. `authorizer`: where `auth` is "jwt"."""

    api: Api
    api_id: str
    stage: str
    auth: Auth
    function: DeployedFunction
    authorizer: DeployedFunction | None = None
    authorizer_id: str = ""


@functools.cache
def _session() -> boto3.Session:
    """One for all: it keeps the models of the services, which are slow to load."""
    return boto3.Session(
        CREDENTIALS["AWS_ACCESS_KEY_ID"],
        CREDENTIALS["AWS_SECRET_ACCESS_KEY"],
        CREDENTIALS["AWS_SESSION_TOKEN"],
        region_name=REGION,
    )


def client(control_plane: str, service: Any) -> Any:
    """A boto3 client for the control plane, which takes nobody's credentials."""
    return _session().client(service, endpoint_url=control_plane)


def read(control_plane: str, api_id: str, stage: str) -> Deployed:
    """Reads the API's stage back.

    Raises:
        NotServableError: see the rules.
        ClientError: (botocore's) it is not there.
    """
    gateway: ApiGatewayV2Client = client(control_plane, "apigatewayv2")
    functions: LambdaClient = client(control_plane, "lambda")
    try:
        return _Reading(gateway, functions, api_id).all(stage)
    finally:
        gateway.close()
        functions.close()


class _Reading:
    """One look at an API. Each integration and function is read once."""

    def __init__(
        self, gateway: "ApiGatewayV2Client", functions: "LambdaClient", api_id: str
    ) -> None:
        self._gateway = gateway
        self._functions = functions
        self._api_id = api_id
        self._invoked: set[str] = set()  # ARNs of what integrations invoke

    def all(self, stage: str) -> Deployed:
        api = self._gateway.get_api(ApiId=self._api_id)
        _require(api["ProtocolType"] == "WEBSOCKET", "The API is not a WebSocket API.")
        deployed = self._gateway.get_stage(ApiId=self._api_id, StageName=stage)
        _require(deployed.get("AutoDeploy", False), f"Stage {stage} does not deploy by itself.")
        routes = {
            route["RouteKey"]: route
            for route in self._gateway.get_routes(ApiId=self._api_id)["Items"]
        }
        for key, route in routes.items():
            _require(
                key == CONNECT or _AUTH[route.get("AuthorizationType") or "NONE"] == "none",
                f"Route {key} is authorized, which API Gateway does on {CONNECT} alone.",
            )
        served = {key: self._route(key, route) for key, route in routes.items()}
        _require(len(self._invoked) == 1, f"Not one function is invoked, but {self._invoked}.")
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
            f"Route {key} waits for longer than API Gateway does.",
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
                    f"Route {key} waits for what its template makes: not imitated here.",
                )
                template = _template(key, integration, "RequestTemplates")
                return Route(key, Integration.ASYNC, template, replies)
            case "MOCK":
                _require(replies, f"Route {key} drops its answer: it has no route response.")
                return Route(key, Integration.MOCK, self._mock(key, integration), replies)
            case other:
                raise NotServableError(f"Route {key} has an integration {other}: not imitated.")

    def _replies(self, key: str, route: Mapping[str, Any]) -> bool:
        """Whether what the integration returns reaches the client."""
        found = self._gateway.get_route_responses(ApiId=self._api_id, RouteId=route["RouteId"])
        responses = [each["RouteResponseKey"] for each in found["Items"]]
        chosen = route.get("RouteResponseSelectionExpression")
        _require(
            responses == ([_DEFAULT] if chosen else []) and chosen in {None, "", _DEFAULT},
            f"Route {key} selects {chosen} among the route responses {responses}.",
        )
        return bool(responses)

    def _mock(self, key: str, integration: Mapping[str, Any]) -> Template:
        request = _template(key, integration, "RequestTemplates").render({}, "")
        _require('"statusCode":200' in request.replace(" ", ""), f"Route {key} mocks {request}.")
        [response] = self._gateway.get_integration_responses(
            ApiId=self._api_id, IntegrationId=integration["IntegrationId"]
        )["Items"]
        _require(
            response["IntegrationResponseKey"] in {_DEFAULT, "/200/"},
            f"Route {key} has no answer for 200.",
        )
        return _template(key, response, "ResponseTemplates")

    def _invoke(self, key: str, integration: Mapping[str, Any]) -> None:
        self._invoked.add(_function_arn(f"Route {key}", integration.get("IntegrationUri", "")))
        _require(integration["IntegrationMethod"] == "POST", f"Route {key} does not POST.")

    def _authorizer(self, authorizer_id: str) -> DeployedFunction:
        found = self._gateway.get_authorizer(ApiId=self._api_id, AuthorizerId=authorizer_id)
        _require(found["AuthorizerType"] == "REQUEST", "WebSocket APIs take REQUEST authorizers.")
        _require(
            not found.get("IdentitySource"),
            "The authorizer names identity sources: not imitated here.",
        )
        return self._function(_function_arn("The authorizer", found.get("AuthorizerUri", "")))

    def _function(self, arn: str) -> DeployedFunction:
        """The version behind an alias, or the function itself."""
        parts = arn.split(":")
        name, qualifier = parts[6], parts[7] if len(parts) > 7 else None
        found = self._functions.get_function(
            FunctionName=name, **({"Qualifier": qualifier} if qualifier else {})
        )
        made = found["Configuration"]
        return DeployedFunction(
            arn=arn,
            name=name,
            handler=made["Handler"],
            runtime=made["Runtime"],
            architecture=made["Architectures"][0],
            code_sha256=made["CodeSha256"],
            role=made["Role"],
            timeout=made["Timeout"],
            environment=made.get("Environment", {}).get("Variables", {}),
            concurrency=self._functions.get_function_concurrency(FunctionName=name).get(
                "ReservedConcurrentExecutions"
            ),
            max_event_age=self._max_event_age(name, qualifier),
        )

    def _max_event_age(self, name: str, qualifier: str | None) -> float | None:
        which = {"FunctionName": name, **({"Qualifier": qualifier} if qualifier else {})}
        try:
            found = self._functions.get_function_event_invoke_config(**which)
        except self._functions.exceptions.ResourceNotFoundException:
            return None
        _require(found["MaximumRetryAttempts"] == 0, "A failed event would be tried again.")
        return float(found["MaximumEventAgeInSeconds"])


def _function_arn(what: str, uri: str) -> str:
    match = _INVOKE.fullmatch(uri)
    _require(match is not None, f"{what} invokes no function: {uri}")
    assert match is not None  # noqa: S101 - required just now
    return match["arn"]


def _template(key: str, holder: Mapping[str, Any], kind: str) -> Template:
    chosen = holder.get("TemplateSelectionExpression")
    templates = holder.get(kind, {})
    _require(
        chosen == _DEFAULT_TEMPLATE and _DEFAULT in templates,
        f"Route {key} selects {chosen} among the {kind} {sorted(templates)}.",
    )
    return Template(templates[_DEFAULT])


def _require(holds: object, otherwise: str) -> None:
    if not holds:
        raise NotServableError(otherwise)
