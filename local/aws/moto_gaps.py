"""Corrections to moto's server, for the services that `terraform/` uses.

Rules: one function per gap, and its docstring states what moto (5.2.5) does wrong. A gap that moto
fixes must be removed here: the tests of this module fail if stock moto behaves correctly.
moto's classes are patched in place, so this module is imported only in a process that runs nothing
but moto (local/aws/control_plane.py).

What it does not know: DynamoDB, which is not changed, and services that `terraform/` does not use.
"""

import json
import uuid
from collections.abc import Callable
from typing import Any
from urllib.parse import unquote

from moto.apigatewayv2.exceptions import APIGatewayV2Error
from moto.apigatewayv2.models import Api, DomainName
from moto.apigatewayv2.responses import ApiGatewayV2Response
from moto.awslambda.models import LambdaBackend, LambdaFunction
from moto.awslambda.responses import LambdaResponse
from moto.budgets.responses import BudgetsResponse
from moto.cloudfront import urls as cloudfront_urls
from moto.cloudfront.exceptions import CloudFrontException
from moto.cloudfront.models import DefaultCacheBehaviour, Origin, ViewerCertificate
from moto.cloudfront.responses import CloudFrontResponse
from moto.core.responses import ActionResult, EmptyResult
from moto.iam.access_control import PermissionResult
from moto.logs.responses import LogsResponse
from moto.s3.models import FakeBucket

from local.aws import invocation

Response = tuple[int, dict[str, str], str]

# Settings of CreateFunction and UpdateFunctionConfiguration that GetFunction must return.
_DROPPED = ("LoggingConfig", "SnapStart", "DeadLetterConfig")

# The members of UpdateStage, and the attributes of moto's Stage that hold them.
_STAGE_ATTRIBUTES = {
    "accessLogSettings": "access_log_settings",
    "autoDeploy": "auto_deploy",
    "clientCertificateId": "client_certificate_id",
    "defaultRouteSettings": "default_route_settings",
    "description": "description",
    "routeSettings": "route_settings",
    "stageVariables": "stage_variables",
}


def lambda_drops_settings() -> None:
    """Lambda drops LoggingConfig, SnapStart and DeadLetterConfig, and never updates tracing."""
    init, get, update = (
        LambdaFunction.__init__,
        LambdaFunction.get_configuration,
        LambdaFunction.update_configuration,
    )

    def __init__(self: Any, account_id: str, spec: Any, region: str, version: Any = 1) -> None:  # noqa: N807
        init(self, account_id, spec, region, version)
        self.dropped = {name: spec[name] for name in _DROPPED if spec.get(name)}

    def get_configuration(self: Any, *, on_create: bool = False) -> dict[str, Any]:
        configuration: dict[str, Any] = get(self, on_create)
        dropped = dict(self.dropped)
        if snap := dropped.get("SnapStart"):
            published = str(self.version) != "$LATEST" and snap["ApplyOn"] == "PublishedVersions"
            dropped["SnapStart"] = {**snap, "OptimizationStatus": "On" if published else "Off"}
        return configuration | dropped

    def update_configuration(self: Any, updates: dict[str, Any]) -> Any:
        # A new dict: a published version, which is a copy of the function, refers to the old one.
        self.dropped = self.dropped | {name: updates[name] for name in _DROPPED if name in updates}
        self.tracing_config = updates.get("TracingConfig", self.tracing_config)
        if "EphemeralStorage" in updates:
            self.ephemeral_storage = updates["EphemeralStorage"]["Size"]
        return update(self, updates)

    _patch(LambdaFunction, __init__, get_configuration, update_configuration)


def lambda_ignores_later_event_invoke_configs() -> None:
    """Lambda appends each PutFunctionEventInvokeConfig, and always returns the first one."""
    put = LambdaBackend.put_function_event_invoke_config

    def put_function_event_invoke_config(self: Any, function_name: str, config: Any) -> Any:
        self.get_function(function_name).event_invoke_config.clear()
        return put(self, function_name, config)

    _patch(LambdaBackend, put_function_event_invoke_config)


def lambda_needs_docker_to_invoke() -> None:
    """Lambda runs functions in Docker, and $LATEST whatever version was asked for."""

    def _invoke_lambda(self: Any, event: Any = None) -> tuple[str, bool, str]:
        code = invocation.Code(
            packed=self.code_bytes,
            handler=self.handler,
            runtime=self.run_time,
            architecture=self.architectures[0],
            environment=self.environment_vars,
        )
        result, failed = invocation.invoke(code, event)
        return json.dumps(result), failed, ""

    def invoke(self: Any) -> Any:
        self.querystring["qualifier"] = self.querystring.get("Qualifier", [None])
        return stock(self)

    stock = LambdaResponse.invoke
    _patch(LambdaResponse, invoke)
    _patch(LambdaFunction, _invoke_lambda)


def api_gateway_lacks_update_stage() -> None:
    """API Gateway responds to UpdateStage with 500."""

    def update_stage(self: Any) -> Response:
        *_, api_id, _, name = self.path.split("/")
        stage = self.apigatewayv2_backend.get_stage(api_id, unquote(name))
        for member, value in json.loads(self.body).items():
            setattr(stage, _STAGE_ATTRIBUTES[member], value)
        return 200, {}, json.dumps(stage.to_json())

    _patch(ApiGatewayV2Response, update_stage)


def api_gateway_cannot_list() -> None:
    """API Gateway responds to GetAuthorizers and GetRouteResponses with 500."""

    def get_authorizers(self: Any) -> Response:
        *_, api_id, _ = self.path.split("/")
        return _items(self.apigatewayv2_backend.get_api(api_id).authorizers)

    def get_route_responses(self: Any) -> Response:
        *_, api_id, _, route_id, _ = self.path.split("/")
        return _items(self.apigatewayv2_backend.get_route(api_id, route_id).route_responses)

    _patch(ApiGatewayV2Response, get_authorizers, get_route_responses)


def api_gateway_returns_https_endpoints() -> None:
    """API Gateway returns https:// where a WebSocket API's endpoint is wss://."""
    stock = Api.to_json

    def to_json(self: Any) -> dict[str, Any]:
        scheme = "wss" if self.protocol_type == "WEBSOCKET" else "https"
        host = self.api_endpoint.removeprefix("https://")
        return stock(self) | {"apiEndpoint": f"{scheme}://{host}"}

    _patch(Api, to_json)


def api_gateway_domain_names_are_never_available() -> None:
    """API Gateway returns a domain name without its status and without what a record points to."""
    stock = DomainName.to_json

    def to_json(self: Any) -> dict[str, Any]:
        found = stock(self)
        made = {
            "apiGatewayDomainName": "d-local.execute-api.us-east-1.amazonaws.com",
            "domainNameStatus": "AVAILABLE",
            "hostedZoneId": "Z1LOCAL",
        }
        configurations = [each | made for each in self.domain_name_configurations]
        if not self.mutual_tls_authentication:
            del found["mutualTlsAuthentication"]
        return found | {"domainNameConfigurations": configurations}

    _patch(DomainName, to_json)


def api_gateway_deletes_what_a_route_uses() -> None:
    """API Gateway deletes an integration or an authorizer to which a route refers."""

    class InUseError(APIGatewayV2Error):
        code = 409

        def __init__(self, kind: str, route: Any) -> None:
            super().__init__("ConflictException", f"The {kind} is used by {route.route_key}.")

    stock_integration, stock_authorizer = Api.delete_integration, Api.delete_authorizer

    def delete_integration(self: Any, integration_id: str) -> None:
        for route in self.routes.values():
            if route.target == f"integrations/{integration_id}":
                raise InUseError("integration", route)
        stock_integration(self, integration_id)

    def delete_authorizer(self: Any, authorizer_id: str) -> None:
        for route in self.routes.values():
            if route.authorizer_id == authorizer_id:
                raise InUseError("authorizer", route)
        stock_authorizer(self, authorizer_id)

    _patch(Api, delete_integration, delete_authorizer)


def budgets_cannot_describe_subscribers() -> None:
    """Budgets responds to DescribeSubscribersForNotification with 500."""

    def describe_subscribers_for_notification(self: Any) -> str:
        notification = self._get_param("Notification")
        budget = self.backend.budgets[self._get_param("AccountId")][self._get_param("BudgetName")]
        found = (each.subscribers for each in budget.notifications if each.details == notification)
        return json.dumps({"Subscribers": next(found, [])})

    _patch(BudgetsResponse, describe_subscribers_for_notification)


def budgets_drop_tags() -> None:
    """Budgets drops the tags of CreateBudget, and responds to ListTagsForResource with 500."""
    create = BudgetsResponse.create_budget
    tags: dict[str, Any] = {}  # by the budget's name, with which its ARN ends

    def create_budget(self: Any) -> str:
        tags[self._get_param("Budget")["BudgetName"]] = self._get_param("ResourceTags", [])
        return create(self)

    def list_tags_for_resource(self: Any) -> str:
        name = self._get_param("ResourceARN").rpartition("/")[2]
        return json.dumps({"ResourceTags": tags.get(name, [])})

    _patch(BudgetsResponse, create_budget, list_tags_for_resource)


def logs_lack_query_definitions() -> None:
    """CloudWatch Logs responds to all requests about query definitions with 500."""
    definitions: dict[str, Any] = {}  # by id

    def put_query_definition(self: Any) -> str:
        definition = json.loads(self.body)
        definition.setdefault("queryDefinitionId", str(uuid.uuid4()))
        definitions[definition["queryDefinitionId"]] = definition
        return json.dumps({"queryDefinitionId": definition["queryDefinitionId"]})

    def describe_query_definitions(self: Any) -> str:
        prefix = self._get_param("queryDefinitionNamePrefix", "")
        found = [each for each in definitions.values() if each["name"].startswith(prefix)]
        return json.dumps({"queryDefinitions": found})

    def delete_query_definition(self: Any) -> str:
        removed = definitions.pop(self._get_param("queryDefinitionId"), None)
        return json.dumps({"success": bool(removed)})

    _patch(LogsResponse, put_query_definition, describe_query_definitions, delete_query_definition)


def cloudfront_lacks_response_headers_policies() -> None:
    """CloudFront responds to all requests about response headers policies with 404."""
    policies: dict[str, Any] = {}  # by id

    def result(policy_id: str) -> ActionResult:
        if policy_id not in policies:
            raise CloudFrontException("NoSuchResponseHeadersPolicy", "It does not exist.")
        policy = {"Id": policy_id, "ResponseHeadersPolicyConfig": policies[policy_id]}
        return ActionResult({"ResponseHeadersPolicy": policy, "ETag": policy_id})

    def create_response_headers_policy(self: Any) -> ActionResult:
        policy_id = str(uuid.uuid4())
        policies[policy_id] = self._get_param("ResponseHeadersPolicyConfig")
        return result(policy_id)

    def get_response_headers_policy(self: Any) -> ActionResult:
        return result(self._get_param("Id"))

    def update_response_headers_policy(self: Any) -> ActionResult:
        policies[self._get_param("Id")] = self._get_param("ResponseHeadersPolicyConfig")
        return result(self._get_param("Id"))

    def delete_response_headers_policy(self: Any) -> ActionResult:
        del policies[self._get_param("Id")]
        return EmptyResult()

    _patch(
        CloudFrontResponse,
        create_response_headers_policy,
        get_response_headers_policy,
        update_response_headers_policy,
        delete_response_headers_policy,
    )
    url = "{0}/2020-05-31/response-headers-policy"
    for path in (f"{url}$", f"{url}/(?P<policy_id>[^/]+)$"):
        cloudfront_urls.url_paths[path] = CloudFrontResponse.dispatch


def cloudfront_returns_wrong_distribution_settings() -> None:
    """CloudFront drops an origin's access control, and returns settings that were not set.

    These are forwarded values where there is a cache policy, and empty ARNs of a certificate.
    """

    def fix_origin(self: Any, config: dict[str, Any]) -> None:
        self.origin_access_control_id = config.get("OriginAccessControlId", "")

    def fix_behaviour(self: Any, _: dict[str, Any]) -> None:
        if self.cache_policy_id:
            self.forwarded_values = None

    def fix_certificate(self: Any, _: dict[str, Any]) -> None:
        self.iam_certificate_id = self.iam_certificate_id or None
        self.acm_certificate_arn = self.acm_certificate_arn or None

    _after_init(Origin, fix_origin)
    _after_init(DefaultCacheBehaviour, fix_behaviour)
    _after_init(ViewerCertificate, fix_certificate)


def s3_ignores_policy_conditions() -> None:
    """S3 applies a conditional denial in a bucket policy to every request."""

    def get_permission(_self: Any, _action: str, _resource: str) -> PermissionResult:
        return PermissionResult.NEUTRAL

    _patch(FakeBucket, get_permission)


GAPS: tuple[Callable[[], None], ...] = (
    lambda_drops_settings,
    lambda_ignores_later_event_invoke_configs,
    lambda_needs_docker_to_invoke,
    api_gateway_lacks_update_stage,
    api_gateway_cannot_list,
    api_gateway_returns_https_endpoints,
    api_gateway_domain_names_are_never_available,
    api_gateway_deletes_what_a_route_uses,
    budgets_cannot_describe_subscribers,
    budgets_drop_tags,
    logs_lack_query_definitions,
    cloudfront_lacks_response_headers_policies,
    cloudfront_returns_wrong_distribution_settings,
    s3_ignores_policy_conditions,
)


def apply() -> None:
    """Applies all corrections; to be called once, before the first request."""
    for gap in GAPS:
        gap()


def _patch(owner: type, *methods: Callable[..., Any]) -> None:
    for method in methods:
        setattr(owner, method.__name__, method)


def _after_init(owner: Any, fix: Callable[[Any, dict[str, Any]], None]) -> None:
    init = owner.__init__

    def __init__(self: Any, config: dict[str, Any]) -> None:  # noqa: N807
        init(self, config)
        fix(self, config)

    _patch(owner, __init__)


def _items(resources: dict[str, Any]) -> Response:
    return 200, {}, json.dumps({"items": [each.to_json() for each in resources.values()]})
