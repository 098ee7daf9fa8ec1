"""What moto's server gets wrong about the services that `terraform/` uses, put right.

Rules: one function a gap, and its first line says what moto (5.2.5) does. A gap that moto closes by
itself is to be removed here: the tests of this module fail where stock moto does as it should.
moto's classes are changed in place, so this is imported only by a process that is nothing but
moto (local/aws/control_plane.py).

What it does not know: DynamoDB, which is left as it is, and whatever `terraform/` does not use.
"""

import json
import uuid
from collections.abc import Callable
from typing import Any
from urllib.parse import unquote

from moto.apigatewayv2.models import Api
from moto.apigatewayv2.responses import ApiGatewayV2Response
from moto.awslambda.models import LambdaBackend, LambdaFunction
from moto.budgets.responses import BudgetsResponse
from moto.cloudfront import urls as cloudfront_urls
from moto.cloudfront.exceptions import CloudFrontException
from moto.cloudfront.models import DefaultCacheBehaviour, Origin, ViewerCertificate
from moto.cloudfront.responses import CloudFrontResponse
from moto.core.responses import ActionResult, EmptyResult
from moto.iam.access_control import PermissionResult
from moto.logs.responses import LogsResponse
from moto.s3.models import FakeBucket

Answer = tuple[int, dict[str, str], str]

# What CreateFunction and UpdateFunctionConfiguration take, and GetFunction has to give back.
_KEPT = ("LoggingConfig", "SnapStart", "DeadLetterConfig")

# UpdateStage's members, and the attributes of moto's Stage that hold them.
_OF_STAGE = {
    "accessLogSettings": "access_log_settings",
    "autoDeploy": "auto_deploy",
    "clientCertificateId": "client_certificate_id",
    "defaultRouteSettings": "default_route_settings",
    "description": "description",
    "routeSettings": "route_settings",
    "stageVariables": "stage_variables",
}


def lambda_forgets_settings() -> None:
    """Lambda drops LoggingConfig, SnapStart and DeadLetterConfig, and never updates tracing."""
    made, told, updated = (
        LambdaFunction.__init__,
        LambdaFunction.get_configuration,
        LambdaFunction.update_configuration,
    )

    def __init__(self: Any, account_id: str, spec: Any, region: str, version: Any = 1) -> None:  # noqa: N807
        made(self, account_id, spec, region, version)
        self.kept = {name: spec[name] for name in _KEPT if spec.get(name)}

    def get_configuration(self: Any, *, on_create: bool = False) -> dict[str, Any]:
        told_so_far: dict[str, Any] = told(self, on_create)
        kept = dict(self.kept)
        if snap := kept.get("SnapStart"):
            published = str(self.version) != "$LATEST" and snap["ApplyOn"] == "PublishedVersions"
            kept["SnapStart"] = {**snap, "OptimizationStatus": "On" if published else "Off"}
        return told_so_far | kept

    def update_configuration(self: Any, updates: dict[str, Any]) -> Any:
        # A new dict: a published version, which is a copy of the function, keeps the old one.
        self.kept = self.kept | {name: updates[name] for name in _KEPT if name in updates}
        self.tracing_config = updates.get("TracingConfig", self.tracing_config)
        if "EphemeralStorage" in updates:
            self.ephemeral_storage = updates["EphemeralStorage"]["Size"]
        return updated(self, updates)

    _give(LambdaFunction, __init__, get_configuration, update_configuration)


def lambda_keeps_the_first_event_invoke_config() -> None:
    """Lambda appends what PutFunctionEventInvokeConfig says, and reads the first one for ever."""
    put = LambdaBackend.put_function_event_invoke_config

    def put_function_event_invoke_config(self: Any, function_name: str, config: Any) -> Any:
        self.get_function(function_name).event_invoke_config.clear()
        return put(self, function_name, config)

    _give(LambdaBackend, put_function_event_invoke_config)


def api_gateway_has_no_update_stage() -> None:
    """API Gateway answers UpdateStage with 500."""

    def update_stage(self: Any) -> Answer:
        *_, api_id, _, name = self.path.split("/")
        stage = self.apigatewayv2_backend.get_stage(api_id, unquote(name))
        for member, value in json.loads(self.body).items():
            setattr(stage, _OF_STAGE[member], value)
        return 200, {}, json.dumps(stage.to_json())

    _give(ApiGatewayV2Response, update_stage)


def api_gateway_does_not_list() -> None:
    """API Gateway answers GetAuthorizers and GetRouteResponses with 500."""

    def get_authorizers(self: Any) -> Answer:
        *_, api_id, _ = self.path.split("/")
        return _items(self.apigatewayv2_backend.get_api(api_id).authorizers)

    def get_route_responses(self: Any) -> Answer:
        *_, api_id, _, route_id, _ = self.path.split("/")
        return _items(self.apigatewayv2_backend.get_route(api_id, route_id).route_responses)

    _give(ApiGatewayV2Response, get_authorizers, get_route_responses)


def api_gateway_calls_every_endpoint_https() -> None:
    """API Gateway says https:// where a WebSocket API's endpoint is wss://."""
    told = Api.to_json

    def to_json(self: Any) -> dict[str, Any]:
        scheme = "wss" if self.protocol_type == "WEBSOCKET" else "https"
        host = self.api_endpoint.removeprefix("https://")
        return told(self) | {"apiEndpoint": f"{scheme}://{host}"}

    _give(Api, to_json)


def budgets_do_not_tell_subscribers() -> None:
    """Budgets answers DescribeSubscribersForNotification with 500."""

    def describe_subscribers_for_notification(self: Any) -> str:
        asked = self._get_param("Notification")
        budget = self.backend.budgets[self._get_param("AccountId")][self._get_param("BudgetName")]
        found = (each.subscribers for each in budget.notifications if each.details == asked)
        return json.dumps({"Subscribers": next(found, [])})

    _give(BudgetsResponse, describe_subscribers_for_notification)


def budgets_have_no_tags() -> None:
    """Budgets drops the tags of CreateBudget, and answers ListTagsForResource with 500."""
    create = BudgetsResponse.create_budget
    kept: dict[str, Any] = {}  # by the budget's name, which its ARN ends in

    def create_budget(self: Any) -> str:
        kept[self._get_param("Budget")["BudgetName"]] = self._get_param("ResourceTags", [])
        return create(self)

    def list_tags_for_resource(self: Any) -> str:
        name = self._get_param("ResourceARN").rpartition("/")[2]
        return json.dumps({"ResourceTags": kept.get(name, [])})

    _give(BudgetsResponse, create_budget, list_tags_for_resource)


def logs_have_no_query_definitions() -> None:
    """CloudWatch Logs answers whatever is about query definitions with 500."""
    kept: dict[str, Any] = {}  # by the id

    def put_query_definition(self: Any) -> str:
        definition = json.loads(self.body)
        definition.setdefault("queryDefinitionId", str(uuid.uuid4()))
        kept[definition["queryDefinitionId"]] = definition
        return json.dumps({"queryDefinitionId": definition["queryDefinitionId"]})

    def describe_query_definitions(self: Any) -> str:
        prefix = self._get_param("queryDefinitionNamePrefix", "")
        found = [each for each in kept.values() if each["name"].startswith(prefix)]
        return json.dumps({"queryDefinitions": found})

    def delete_query_definition(self: Any) -> str:
        return json.dumps({"success": bool(kept.pop(self._get_param("queryDefinitionId"), None))})

    _give(LogsResponse, put_query_definition, describe_query_definitions, delete_query_definition)


def cloudfront_knows_no_headers_policies() -> None:
    """CloudFront answers CreateResponseHeadersPolicy and its like with 404."""
    kept: dict[str, Any] = {}  # by id

    def found(policy_id: str) -> ActionResult:
        if policy_id not in kept:
            raise CloudFrontException("NoSuchResponseHeadersPolicy", "It does not exist.")
        policy = {"Id": policy_id, "ResponseHeadersPolicyConfig": kept[policy_id]}
        return ActionResult({"ResponseHeadersPolicy": policy, "ETag": policy_id})

    def create_response_headers_policy(self: Any) -> ActionResult:
        policy_id = str(uuid.uuid4())
        kept[policy_id] = self._get_param("ResponseHeadersPolicyConfig")
        return found(policy_id)

    def get_response_headers_policy(self: Any) -> ActionResult:
        return found(self._get_param("Id"))

    def update_response_headers_policy(self: Any) -> ActionResult:
        kept[self._get_param("Id")] = self._get_param("ResponseHeadersPolicyConfig")
        return found(self._get_param("Id"))

    def delete_response_headers_policy(self: Any) -> ActionResult:
        del kept[self._get_param("Id")]
        return EmptyResult()

    _give(
        CloudFrontResponse,
        create_response_headers_policy,
        get_response_headers_policy,
        update_response_headers_policy,
        delete_response_headers_policy,
    )
    place = "{0}/2020-05-31/response-headers-policy"
    for path in (f"{place}$", f"{place}/(?P<policy_id>[^/]+)$"):
        cloudfront_urls.url_paths[path] = CloudFrontResponse.dispatch


def cloudfront_reads_back_another_distribution() -> None:
    """CloudFront forgets an origin's access control, and tells of more than was said.

    Forwarded values where there is a cache policy, and of a certificate empty ARNs.
    """

    def of_origin(self: Any, config: dict[str, Any]) -> None:
        self.origin_access_control_id = config.get("OriginAccessControlId", "")

    def of_behaviour(self: Any, _: dict[str, Any]) -> None:
        if self.cache_policy_id:
            self.forwarded_values = None

    def of_certificate(self: Any, _: dict[str, Any]) -> None:
        self.iam_certificate_id = self.iam_certificate_id or None
        self.acm_certificate_arn = self.acm_certificate_arn or None

    _after_init(Origin, of_origin)
    _after_init(DefaultCacheBehaviour, of_behaviour)
    _after_init(ViewerCertificate, of_certificate)


def s3_denies_by_conditions() -> None:
    """S3 denies everybody everything that a bucket's policy says with a condition."""

    def get_permission(_self: Any, _action: str, _resource: str) -> PermissionResult:
        return PermissionResult.NEUTRAL

    _give(FakeBucket, get_permission)


GAPS: tuple[Callable[[], None], ...] = (
    lambda_forgets_settings,
    lambda_keeps_the_first_event_invoke_config,
    api_gateway_has_no_update_stage,
    api_gateway_does_not_list,
    api_gateway_calls_every_endpoint_https,
    budgets_do_not_tell_subscribers,
    budgets_have_no_tags,
    logs_have_no_query_definitions,
    cloudfront_knows_no_headers_policies,
    cloudfront_reads_back_another_distribution,
    s3_denies_by_conditions,
)


def close() -> None:
    """Closes all of them; to be called once, before the first request."""
    for gap in GAPS:
        gap()


def _give(owner: type, *methods: Callable[..., Any]) -> None:
    for method in methods:
        setattr(owner, method.__name__, method)


def _after_init(owner: Any, then: Callable[[Any, dict[str, Any]], None]) -> None:
    made = owner.__init__

    def __init__(self: Any, config: dict[str, Any]) -> None:  # noqa: N807
        made(self, config)
        then(self, config)

    _give(owner, __init__)


def _items(kept: dict[str, Any]) -> Answer:
    return 200, {}, json.dumps({"items": [each.to_json() for each in kept.values()]})
