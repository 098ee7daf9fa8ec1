"""The deployment changed in place, and destroyed."""

import json
import shutil
import zipfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import pytest
from support import zips
from support.deployments import ARCHITECTURE, Site, Version
from support.e2e_clients import Frame, script, text
from support.pages import Page
from websockets.exceptions import InvalidStatus
from websockets.sync.client import ClientConnection, connect
from websockets.typing import Subprotocol

from deploy import package
from deploy.terraform import MODULE
from local.aws.account import ACCOUNT
from local.deployment.deployed import client
from local.gateway.api import Integration
from local.page import FOLDER

pytestmark = pytest.mark.timeout(300)  # the first test waits for the deployment

HELLO = '{"type": "hello"}'
# Resources that others refer to, and those with fixed names, of which no second one can be created.
REPLACED = (
    'aws_apigatewayv2_integration.function["async"]',
    'aws_apigatewayv2_integration.function["proxy"]',
    'aws_apigatewayv2_integration.mock["ping"]',
    "aws_cloudwatch_log_group.function",
    "aws_dynamodb_table.conversations",
    "aws_iam_role.function",
    "aws_lambda_alias.live",
    "aws_lambda_function.chat",
)


@pytest.fixture(scope="module")
def updated(site: Site, request: pytest.FixtureRequest) -> Version:
    """Another route, another function, other settings, another page; JWTs, and proxy integrations.

    All in one update: each run of Terraform takes half a minute.
    """
    table = json.loads((MODULE / "routes.json").read_text())
    table["routes"]["hello"] = {"integration": "mock", "response": HELLO}
    source = site.folder / "src"
    shutil.copytree(package.SRC, source)
    formats = source / "wire" / "formats.py"
    formats.write_text(formats.read_text().replace('"__pong__"', '"__pong, updated__"'))
    page = site.folder / "web"
    shutil.copytree(FOLDER, page)
    (page / "new.txt").write_text("new")
    changed = site.folder / "changed"
    code, _ = package.build("lambda", changed, ARCHITECTURE, source)
    authorizer = zips.built(zips.shared(request.config), "authorizer")
    return Version(
        "updated",
        {
            "auth": "jwt",
            "jwt": {"issuer": "https://id.example.com", "audience": ["chat"]},
            "chat_integration": "proxy",
            "system_prompt": "Be brief.",
            "reserved_concurrency": 3,
            "web": {"client_id": "chat", "folder": str(page)},
        },
        {"routes.json": json.dumps(table)},
        lambda_zip=code,
        authorizer_zip=authorizer,
        replaced=REPLACED,
    )


def connected(site: Site, version: Version, query: str = "") -> ClientConnection:
    """A connection of Ann's, by a token in the subprotocol."""
    protocols = [Subprotocol("chat.v1"), Subprotocol(f"bearer.{site.token('ann')}")]
    return connect(site.serving(version) + query, subprotocols=protocols)


def answer(socket: ClientConnection) -> list[Frame]:
    frames = [json.loads(socket.recv())]
    while frames[-1]["type"] not in {"done", "error"}:
        frames.append(json.loads(socket.recv()))
    return frames


def test_a_change_of_routes_code_settings_and_page_takes_effect(
    site: Site, updated: Version
) -> None:
    """After the next apply, without further steps."""
    with connected(site, updated) as socket:
        socket.send('{"action":"hello"}')
        hello = socket.recv()
        socket.send(script(echo=True))
        body = text(answer(socket))
    with connected(site, updated, "?format=seed") as socket:
        socket.send("__ping__")
        pong = socket.recv()
    new = Page(site.url, site.outputs["page_url"]).file("new.txt")

    assert HELLO == hello
    assert "Be brief." in body
    assert '"__pong, updated__"' == pong
    assert 3 == site.read().function.concurrency
    assert b"new" == new.content


def test_a_token_is_required_and_names_the_principal(site: Site, updated: Version) -> None:
    """With `auth = "jwt"` the deployed authorizer decides, and issuer and subject are the name."""
    site.serving(updated)
    site.wait()  # the events of earlier tests have arrived
    with connected(site, updated) as socket:
        chosen = socket.subprotocol
        socket.send("hello")
        start = json.loads(socket.recv())
    with pytest.raises(InvalidStatus) as refused, connect(site.serving(updated)):
        pass
    site.wait()
    principals = {
        event["requestContext"].get("authorizer", {}).get("principalId")
        for event in site.events[-3:]
    }

    assert "chat.v1" == chosen
    assert "start" == start["type"]
    assert 403 == refused.value.response.status_code
    assert {f"{site.issuer.url}#ann"} == principals
    assert (site.outputs["api_id"], "live") == (
        site.events[-1]["requestContext"]["apiId"],
        site.events[-1]["requestContext"]["stage"],
    )


def test_a_token_in_the_query_string_is_accepted(site: Site, updated: Version) -> None:
    """For clients that cannot set a subprotocol; and chat works by proxy integrations alone."""
    kinds = {key: route.integration for key, route in site.read().api.routes.items()}
    with connect(f"{site.serving(updated)}?token={site.token('ann')}") as socket:
        socket.send("hello")
        frames = answer(socket)

    assert "You said: hello" == text(frames)
    assert {Integration.PROXY} == {
        kind for key, kind in kinds.items() if key not in ("hello", "ping")
    }


def test_the_authorizer_is_deployed_for_the_zips_architecture(site: Site, updated: Version) -> None:
    """Both functions have the architecture and the runtime for which the zips were built."""
    site.serving(updated)
    deployed = site.read()
    assert deployed.authorizer is not None
    with zipfile.ZipFile(str(updated.authorizer_zip)) as packed:
        libraries = [name for name in packed.namelist() if name.endswith(".so")]

    assert libraries
    assert {(ARCHITECTURE, "python3.13")} == {
        (each.architecture, each.runtime) for each in (deployed.authorizer, deployed.function)
    }


# -- the end ---------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Listing:
    """How to list a service's resources."""

    service: str
    resources: Callable[[Any], list[Any]]


LISTINGS: Mapping[str, Listing] = {
    "APIs": Listing("apigatewayv2", lambda c: c.get_apis()["Items"]),
    "functions": Listing("lambda", lambda c: c.list_functions()["Functions"]),
    "tables": Listing("dynamodb", lambda c: c.list_tables()["TableNames"]),
    "roles": Listing("iam", lambda c: c.list_roles()["Roles"]),
    "queues": Listing("sqs", lambda c: c.list_queues().get("QueueUrls", [])),
    "topics": Listing("sns", lambda c: c.list_topics()["Topics"]),
    "subscriptions": Listing("sns", lambda c: c.list_subscriptions()["Subscriptions"]),
    "log groups": Listing("logs", lambda c: c.describe_log_groups()["logGroups"]),
    "queries": Listing("logs", lambda c: c.describe_query_definitions()["queryDefinitions"]),
    "alarms": Listing("cloudwatch", lambda c: c.describe_alarms()["MetricAlarms"]),
    "dashboards": Listing("cloudwatch", lambda c: c.list_dashboards()["DashboardEntries"]),
    "buckets": Listing("s3", lambda c: c.list_buckets()["Buckets"]),
    "distributions": Listing(
        "cloudfront", lambda c: c.list_distributions()["DistributionList"].get("Items", [])
    ),
    "budgets": Listing("budgets", lambda c: c.describe_budgets(AccountId=ACCOUNT)["Budgets"]),
}


def counts(site: Site) -> dict[str, int]:
    return {
        name: len(listing.resources(client(site.url, listing.service)))
        for name, listing in LISTINGS.items()
    }


def test_destroy_leaves_nothing(site: Site, updated: Version) -> None:
    """All resources are deleted: of the first version, of the update, and the optional ones."""
    site.serving(updated)
    before = counts(site)
    site.destroy()

    assert all(before.values()), before
    assert dict.fromkeys(LISTINGS, 0) == counts(site)
