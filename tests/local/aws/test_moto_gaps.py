"""Covers local/aws/moto_gaps.py and control_plane.py: each correction, and that moto needs it."""

import contextlib
import json
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import pytest
from botocore.exceptions import BotoCoreError, ClientError
from support.control_planes import client, code, function, serving

from local.aws import moto_gaps

ACCOUNT = "123456789012"
BUDGET = {
    "BudgetName": "b",
    "BudgetType": "COST",
    "TimeUnit": "MONTHLY",
    "BudgetLimit": {"Amount": "1", "Unit": "USD"},
}


@pytest.fixture(scope="module")
def stock() -> Iterator[str]:
    """The URL of stock moto."""
    with serving("local.aws") as url:
        yield url


def settings_of_a_function(url: str) -> bool:
    """Returned after creation and after an update; a published version does not change."""
    json_logs, text_logs = {"LogFormat": "JSON"}, {"LogFormat": "Text"}
    snap = {"ApplyOn": "PublishedVersions"}
    functions = function(
        url, "settings", LoggingConfig=json_logs, SnapStart=snap, TracingConfig={"Mode": "Active"}
    )
    version = functions.publish_version(FunctionName="settings")["Version"]
    functions.update_function_configuration(
        FunctionName="settings",
        LoggingConfig=text_logs,
        TracingConfig={"Mode": "PassThrough"},
        EphemeralStorage={"Size": 1024},
    )
    new = functions.get_function_configuration(FunctionName="settings")
    old = functions.get_function_configuration(FunctionName="settings", Qualifier=version)
    return bool(
        (new["LoggingConfig"], new["TracingConfig"]) == (text_logs, {"Mode": "PassThrough"})
        and new["EphemeralStorage"] == {"Size": 1024}
        and new["SnapStart"] == {**snap, "OptimizationStatus": "Off"}
        and old["SnapStart"] == {**snap, "OptimizationStatus": "On"}
        and old["LoggingConfig"] == json_logs
    )


def second_event_invoke_config(url: str) -> bool:
    functions = function(url, "invoked")
    for age in (60, 90):
        functions.put_function_event_invoke_config(
            FunctionName="invoked", MaximumEventAgeInSeconds=age
        )
    found = functions.get_function_event_invoke_config(FunctionName="invoked")
    return bool(90 == found["MaximumEventAgeInSeconds"])


def api(url: str) -> tuple[Any, str]:
    gateway = client(url, "apigatewayv2")
    created = gateway.create_api(
        Name="a", ProtocolType="WEBSOCKET", RouteSelectionExpression="$request.body.action"
    )
    return gateway, created["ApiId"]


def updated_stage(url: str) -> bool:
    gateway, api_id = api(url)
    gateway.create_stage(ApiId=api_id, StageName="live", AutoDeploy=False)
    gateway.update_stage(
        ApiId=api_id,
        StageName="live",
        AutoDeploy=True,
        DefaultRouteSettings={"ThrottlingBurstLimit": 5},
    )
    stage = gateway.get_stage(ApiId=api_id, StageName="live")
    return bool(
        stage["AutoDeploy"] and stage["DefaultRouteSettings"] == {"ThrottlingBurstLimit": 5}
    )


def listed_authorizers_and_route_responses(url: str) -> bool:
    gateway, api_id = api(url)
    gateway.create_authorizer(ApiId=api_id, Name="jwt", AuthorizerType="REQUEST", IdentitySource=[])
    route = gateway.create_route(ApiId=api_id, RouteKey="ping")["RouteId"]
    gateway.create_route_response(ApiId=api_id, RouteId=route, RouteResponseKey="$default")
    authorizers = gateway.get_authorizers(ApiId=api_id)["Items"]
    responses = gateway.get_route_responses(ApiId=api_id, RouteId=route)["Items"]
    return ["jwt"] == [each["Name"] for each in authorizers] and ["$default"] == [
        each["RouteResponseKey"] for each in responses
    ]


def domain_name(url: str) -> bool:
    """Has a status, and a target for a DNS record."""
    made = client(url, "apigatewayv2").create_domain_name(
        DomainName="ws.example.com",
        DomainNameConfigurations=[{"CertificateArn": "arn:aws:acm:c", "EndpointType": "REGIONAL"}],
    )
    [found] = made["DomainNameConfigurations"]
    return bool("AVAILABLE" == found["DomainNameStatus"] and found["ApiGatewayDomainName"])


def endpoint_of_an_api(url: str) -> bool:
    gateway, api_id = api(url)
    return bool(gateway.get_api(ApiId=api_id)["ApiEndpoint"].startswith("wss://"))


def deletions_of_what_is_used(url: str) -> bool:
    """Refused while a route refers to it, and not afterwards."""
    gateway, api_id = api(url)
    authorizer = gateway.create_authorizer(
        ApiId=api_id, AuthorizerType="REQUEST", Name="a", IdentitySource=[]
    )["AuthorizerId"]
    integration = gateway.create_integration(ApiId=api_id, IntegrationType="MOCK")["IntegrationId"]
    route = gateway.create_route(
        ApiId=api_id,
        RouteKey="r",
        Target=f"integrations/{integration}",
        AuthorizationType="CUSTOM",
        AuthorizerId=authorizer,
    )["RouteId"]
    deletions: list[Callable[[], object]] = [
        lambda: gateway.delete_integration(ApiId=api_id, IntegrationId=integration),
        lambda: gateway.delete_authorizer(ApiId=api_id, AuthorizerId=authorizer),
    ]
    refused = []
    for delete in deletions:
        try:
            delete()
        except ClientError as error:
            refused.append(error.response["Error"]["Code"])
    gateway.delete_route(ApiId=api_id, RouteId=route)
    for delete in deletions:
        delete()
    return refused == ["ConflictException"] * 2


def budget(url: str, name: str) -> Any:
    budgets = client(url, "budgets")
    notification = {
        "NotificationType": "ACTUAL",
        "ComparisonOperator": "GREATER_THAN",
        "Threshold": 80.0,
    }
    subscribers = [{"SubscriptionType": "EMAIL", "Address": "a@example.com"}]
    other = {
        "Notification": {**notification, "Threshold": 50.0},
        "Subscribers": [{"SubscriptionType": "EMAIL", "Address": "b@example.com"}],
    }
    budgets.create_budget(
        AccountId=ACCOUNT,
        Budget={**BUDGET, "BudgetName": name},
        NotificationsWithSubscribers=[
            other,
            {"Notification": notification, "Subscribers": subscribers},
        ],
        ResourceTags=[{"Key": "project", "Value": "chat"}],
    )
    return budgets, notification, subscribers


def subscribers_of_a_budget(url: str) -> bool:
    budgets, notification, subscribers = budget(url, "subscribed")
    found = budgets.describe_subscribers_for_notification(
        AccountId=ACCOUNT, BudgetName="subscribed", Notification=notification
    )
    return bool(subscribers == found["Subscribers"])


def tags_of_a_budget(url: str) -> bool:
    budgets, *_ = budget(url, "tagged")
    arn = f"arn:aws:budgets::{ACCOUNT}:budget/tagged"
    found = budgets.list_tags_for_resource(ResourceARN=arn)
    return bool([{"Key": "project", "Value": "chat"}] == found["ResourceTags"])


def query_definitions(url: str) -> bool:
    logs = client(url, "logs")
    first = {"name": "chat/one", "queryString": "limit 1", "logGroupNames": ["g"]}
    first_id = logs.put_query_definition(**first)["queryDefinitionId"]
    other_id = logs.put_query_definition(name="b", queryString="limit 2")["queryDefinitionId"]
    changed = {**first, "queryString": "limit 3", "queryDefinitionId": first_id}
    logs.put_query_definition(**changed)
    found = logs.describe_query_definitions(queryDefinitionNamePrefix="chat/")["queryDefinitions"]
    ids = (first_id, other_id, first_id)
    deleted = [logs.delete_query_definition(queryDefinitionId=each) for each in ids]
    left = logs.describe_query_definitions()["queryDefinitions"]
    return bool(
        [changed] == found
        and [True, True, False] == [each["success"] for each in deleted]
        and not left
    )


def headers_policy(url: str) -> bool:
    """Created, updated and deleted."""
    cloudfront = client(url, "cloudfront")
    config = {
        "Name": "created",
        "CustomHeadersConfig": {
            "Quantity": 1,
            "Items": [{"Header": "X-A", "Value": "b", "Override": True}],
        },
    }
    changed = {**config, "Comment": "changed"}
    created = cloudfront.create_response_headers_policy(ResponseHeadersPolicyConfig=config)
    policy = {"Id": created["ResponseHeadersPolicy"]["Id"]}
    cloudfront.update_response_headers_policy(
        **policy, IfMatch=created["ETag"], ResponseHeadersPolicyConfig=changed
    )
    found = cloudfront.get_response_headers_policy(**policy)
    cloudfront.delete_response_headers_policy(**policy, IfMatch=found["ETag"])
    with pytest.raises(ClientError, match="NoSuchResponseHeadersPolicy"):
        cloudfront.get_response_headers_policy(**policy)
    return bool(changed == found["ResponseHeadersPolicy"]["ResponseHeadersPolicyConfig"])


def distribution(url: str) -> bool:
    """With an access control, a cache policy and CloudFront's certificate, and nothing else."""
    cloudfront = client(url, "cloudfront")
    origin = {
        "Id": "bucket",
        "DomainName": "b.s3.us-east-1.amazonaws.com",
        "S3OriginConfig": {"OriginAccessIdentity": ""},
        "OriginAccessControlId": "E1",
    }
    created = cloudfront.create_distribution(
        DistributionConfig={
            "CallerReference": "once",
            "Comment": "",
            "Enabled": True,
            "Origins": {"Quantity": 1, "Items": [origin]},
            "DefaultCacheBehavior": {
                "TargetOriginId": "bucket",
                "ViewerProtocolPolicy": "https-only",
                "CachePolicyId": "p",
            },
            "ViewerCertificate": {"CloudFrontDefaultCertificate": True},
        }
    )
    config = created["Distribution"]["DistributionConfig"]
    return bool(
        "E1" == config["Origins"]["Items"][0].get("OriginAccessControlId")
        and "ForwardedValues" not in config["DefaultCacheBehavior"]
        and "ACMCertificateArn" not in config["ViewerCertificate"]
        and "IAMCertificateId" not in config["ViewerCertificate"]
    )


def bucket_policy(url: str) -> bool:
    """A denial under a condition does not apply to other requests."""
    s3 = client(url, "s3")
    s3.create_bucket(Bucket="conditions")
    statement = {
        "Effect": "Deny",
        "Principal": "*",
        "Action": "s3:*",
        "Resource": "arn:aws:s3:::conditions/*",
        "Condition": {"IpAddress": {"aws:SourceIp": "192.0.2.1"}},
    }
    policy = {"Version": "2012-10-17", "Statement": [statement]}
    s3.put_bucket_policy(Bucket="conditions", Policy=json.dumps(policy))
    s3.put_object(Bucket="conditions", Key="k", Body=b"")
    return True


def invoked_version(url: str) -> bool:
    """Of the version that was asked for, with its result, or its error."""
    functions = function(url, "tried")
    for source in ("return 1", "raise ValueError"):
        zipped = code(f"def x(event, context): {source}")
        functions.update_function_code(FunctionName="tried", ZipFile=zipped)
        functions.publish_version(FunctionName="tried")
    first, second = (
        functions.invoke(FunctionName="tried", Qualifier=version, Payload=b"{}")
        for version in ("1", "2")
    )
    return bool(
        b"1" == first["Payload"].read()
        and "FunctionError" not in first
        and "ValueError" == json.load(second["Payload"])["errorType"]
        and "FunctionError" in second
    )


PROBES: Mapping[Callable[[], None], Callable[[str], bool]] = {
    moto_gaps.lambda_drops_settings: settings_of_a_function,
    moto_gaps.lambda_ignores_later_event_invoke_configs: second_event_invoke_config,
    moto_gaps.lambda_needs_docker_to_invoke: invoked_version,
    moto_gaps.api_gateway_lacks_update_stage: updated_stage,
    moto_gaps.api_gateway_cannot_list: listed_authorizers_and_route_responses,
    moto_gaps.api_gateway_returns_https_endpoints: endpoint_of_an_api,
    moto_gaps.api_gateway_domain_names_are_never_available: domain_name,
    moto_gaps.api_gateway_deletes_what_a_route_uses: deletions_of_what_is_used,
    moto_gaps.budgets_cannot_describe_subscribers: subscribers_of_a_budget,
    moto_gaps.budgets_drop_tags: tags_of_a_budget,
    moto_gaps.logs_lack_query_definitions: query_definitions,
    moto_gaps.cloudfront_lacks_response_headers_policies: headers_policy,
    moto_gaps.cloudfront_returns_wrong_distribution_settings: distribution,
    moto_gaps.s3_ignores_policy_conditions: bucket_policy,
}


@pytest.mark.parametrize("gap", moto_gaps.GAPS, ids=lambda gap: str(gap.__name__))
def test_a_correction_works_and_is_still_needed(
    gap: Callable[[], None], control_plane: str, stock: str
) -> None:
    """Correct with it, wrong in stock moto; otherwise it must be removed from the table."""
    correct_in_stock_moto = False
    with contextlib.suppress(ClientError, BotoCoreError, KeyError):
        correct_in_stock_moto = PROBES[gap](stock)

    assert PROBES[gap](control_plane)
    assert not correct_in_stock_moto


def test_managed_policies_can_be_attached(control_plane: str) -> None:
    """AWS's own policies exist, as in an account."""
    name = "AmazonAPIGatewayPushToCloudWatchLogs"
    found = client(control_plane, "iam").get_policy(
        PolicyArn=f"arn:aws:iam::aws:policy/service-role/{name}"
    )

    assert name == found["Policy"]["PolicyName"]
