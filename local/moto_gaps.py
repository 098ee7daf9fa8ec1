"""What moto's server gets wrong about the services that `terraform/` uses, put right.

Rules: one function a gap, and its first line says what moto (5.2.5) does. A gap that moto closes by
itself is to be removed here: the tests of this module fail where stock moto does as it should.
moto's classes are changed in place, so this is imported only by a process that is nothing but
moto (local/control_plane.py).

What it does not know: DynamoDB, which is left as it is, and whatever `terraform/` does not use.
"""

import json
import uuid
from collections.abc import Callable
from typing import Any
from urllib.parse import unquote

from moto.apigatewayv2.responses import ApiGatewayV2Response
from moto.awslambda.models import LambdaBackend, LambdaFunction
from moto.budgets.responses import BudgetsResponse
from moto.logs.responses import LogsResponse

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


GAPS: tuple[Callable[[], None], ...] = (
    lambda_forgets_settings,
    lambda_keeps_the_first_event_invoke_config,
    api_gateway_has_no_update_stage,
    api_gateway_does_not_list,
    budgets_do_not_tell_subscribers,
    budgets_have_no_tags,
    logs_have_no_query_definitions,
)


def close() -> None:
    """Closes all of them; to be called once, before the first request."""
    for gap in GAPS:
        gap()


def _give(owner: type, *methods: Callable[..., Any]) -> None:
    for method in methods:
        setattr(owner, method.__name__, method)


def _items(kept: dict[str, Any]) -> Answer:
    return 200, {}, json.dumps({"items": [each.to_json() for each in kept.values()]})
