"""The deployment changed in place: what goes live, each way in, and what a destroy leaves."""

import json
import shutil
import zipfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import pytest
from support.deployments import ARCHITECTURE, Site, Version
from support.e2e_clients import person, script, text
from support.pages import Page
from websockets.exceptions import InvalidStatus
from websockets.sync.client import connect
from websockets.typing import Subprotocol

from deploy import package
from local.aws.account import ACCOUNT
from local.deployment.deployed import client
from local.gateway.api import TERRAFORM, Integration
from local.page import FOLDER

pytestmark = pytest.mark.timeout(300)  # the first to come waits for the deployment

EM_AARCH64 = 183  # the machine in an ELF header: what arm64 runs

HELLO = '{"type": "hello"}'


@pytest.fixture(scope="module")
def updated(site: Site) -> Version:
    """Another route, another template, another function, other settings; open to anybody."""
    table = json.loads((TERRAFORM / "routes.json").read_text())
    table["routes"]["hello"] = {"integration": "mock", "response": HELLO}
    template = (TERRAFORM / "event.json.vtl").read_text()
    source = site.folder / "src"
    shutil.copytree(package.SRC, source)
    formats = source / "formats.py"
    formats.write_text(formats.read_text().replace('"__pong__"', '"__pong, once more__"'))
    page = site.folder / "web"
    shutil.copytree(FOLDER, page)
    (page / "new.txt").write_text("new")
    (site.folder / "changed").mkdir()
    code, _ = package.build("lambda", site.folder / "changed", ARCHITECTURE, source)
    return Version(
        "updated",
        {
            "auth": "none",
            "system_prompt": "Be brief.",
            "reserved_concurrency": 3,
            "web_folder": str(page),
        },
        {
            "routes.json": json.dumps(table),
            "event.json.vtl": template.replace(
                '"isBase64Encoded": true', '"isBase64Encoded": true, "made": "by another template"'
            ),
        },
        lambda_zip=code,
    )


@pytest.fixture(scope="module")
def with_tokens(site: Site) -> Version:
    """For whoever has a token; chat by proxy integrations."""
    authorizer, _ = package.build("authorizer", site.folder, ARCHITECTURE)
    return Version(
        "with tokens",
        {
            "auth": "jwt",
            "jwt_issuer": "https://id.example.com",
            "jwt_audience": ["chat"],
            "authorizer_zip": str(authorizer),
            "chat_integration": "proxy",
            "web_client_id": "chat",
        },
        {name: (TERRAFORM / name).read_text() for name in ("routes.json", "event.json.vtl")},
    )


def test_a_change_goes_live(site: Site, updated: Version) -> None:
    """Routes, template, code, settings, the page, who may talk: there after the next apply."""
    with connect(site.serving(updated)) as socket:  # without a signature
        socket.send('{"action":"hello"}')
        hello = socket.recv()
    with connect(site.serving(updated) + "?format=seed") as socket:
        socket.send("__ping__")
        pong = socket.recv()
    with person(site.serving(updated)) as one:
        body = text(one.say(script(echo=True)))
    new = Page(site.url, site.outputs["page_url"]).file("new.txt")
    messages = [e for e in site.events if e["requestContext"]["eventType"] == "MESSAGE"]

    assert HELLO == hello
    assert '"__pong, once more__"' == pong
    assert "Be brief." in body
    assert "by another template" == messages[-1]["made"]
    assert 3 == site.read().function.concurrency
    assert b"new" == new.content


def test_a_token_lets_in(site: Site, with_tokens: Version) -> None:
    """With `auth = "jwt"` the deployed authorizer is asked, and its word is the principal."""
    url = site.serving(with_tokens)
    protocols = [Subprotocol("chat.v1"), Subprotocol(f"bearer.{site.token('ann')}")]
    with connect(url, subprotocols=protocols) as socket:
        chosen = socket.subprotocol
        socket.send("hello")
        start = json.loads(socket.recv())
    with pytest.raises(InvalidStatus) as refused, connect(url):
        pass
    principals = {
        e["requestContext"].get("authorizer", {}).get("principalId") for e in site.events[-3:]
    }

    assert "chat.v1" == chosen
    assert "start" == start["type"]
    assert 403 == refused.value.response.status_code
    assert {f"{site.issuer.url}#ann"} == principals
    assert (site.outputs["api_id"], "live") == (
        site.events[-1]["requestContext"]["apiId"],
        site.events[-1]["requestContext"]["stage"],
    )


def test_chat_by_proxy_integrations(site: Site, with_tokens: Version) -> None:
    """`chat_integration = "proxy"` leaves no asynchronous route, and chat works."""
    url = f"{site.serving(with_tokens)}?token={site.token('ann')}"
    kinds = {key: route.integration for key, route in site.read().api.routes.items()}
    with connect(url) as socket:
        socket.send("hello")
        frames = [json.loads(socket.recv())]
        while frames[-1]["type"] not in {"done", "error"}:
            frames.append(json.loads(socket.recv()))

    assert "You said: hello" == text(frames)
    assert {Integration.PROXY} == {kind for key, kind in kinds.items() if key != "ping"}


def test_the_authorizers_zip_is_for_where_it_runs(site: Site, with_tokens: Version) -> None:
    """Its machine code is the deployed architecture's; here it was replaced by this machine's."""
    site.serving(with_tokens)
    authorizer = site.read().authorizer
    assert authorizer is not None
    with zipfile.ZipFile(str(with_tokens.variables["authorizer_zip"])) as packed:
        libraries = [name for name in packed.namelist() if name.endswith(".so")]
        machines = {int.from_bytes(packed.read(name)[18:20], "little") for name in libraries}

    assert libraries
    assert {EM_AARCH64} == machines
    assert (ARCHITECTURE, "python3.13") == (authorizer.architecture, authorizer.runtime)


# -- the end ---------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Listing:
    """How to see what a service has."""

    service: str
    look: Callable[[Any], list[Any]]


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


def left(site: Site) -> dict[str, int]:
    return {
        name: len(listing.look(client(site.url, listing.service)))
        for name, listing in LISTINGS.items()
    }


def test_destroy_leaves_nothing(site: Site, with_tokens: Version) -> None:
    """All of it is gone, whatever the version before had, and what is optional."""
    site.serving(with_tokens)
    before = left(site)
    site.destroy()

    assert all(before.values()), before
    assert dict.fromkeys(LISTINGS, 0) == left(site)
