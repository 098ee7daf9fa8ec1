"""Covers src/clients.py: clients that behave as boto3's own, with less of botocore loaded."""

from typing import Any

import boto3
import botocore.session
import pytest
from botocore.handlers import BUILTIN_HANDLERS
from botocore.utils import EVENT_ALIASES

import clients

URL = "https://a.execute-api.eu-central-1.amazonaws.com/p"


@pytest.mark.parametrize("service", clients.SERVICES)
def test_a_client_equals_one_made_by_boto3(service: Any) -> None:
    """The same endpoint, signing, methods, user agent and exceptions."""
    url = URL if service == "apigatewaymanagementapi" else None

    def properties(session: Any) -> Any:
        client = session.client(service, region_name="eu-central-1", endpoint_url=url)
        return (
            client.meta.endpoint_url,
            client.meta.config.user_agent.partition(" ")[0],
            client.meta.service_model.api_version,
            client._request_signer.signing_name,
            client._request_signer.signature_version,
            sorted(name for name in dir(client) if not name.startswith("_")),
            sorted(name for name in dir(client.exceptions) if not name.startswith("_")),
        )

    assert properties(boto3.Session()) == properties(clients.session())


@pytest.mark.parametrize("service", clients.SERVICES)
def test_a_client_has_every_handler_of_a_call(service: Any) -> None:
    """For each event of a call, a client has the handlers of botocore's own client, in order."""
    url = URL if service == "apigatewaymanagementapi" else None
    events = (
        *("before-parameter-build", "before-endpoint-resolution", "before-call", "request-created"),
        *("choose-signer", "before-sign", "before-send", "before-parse", "needs-retry"),
        *("after-call", "provide-client-params", "response-received", "getattr"),
    )

    def handlers(session: Any) -> Any:
        client = session.create_client(service, region_name="eu-central-1", endpoint_url=url)
        trie = client.meta.events._emitter._handlers
        return [
            [
                getattr(each, "__qualname__", type(each).__qualname__)
                for each in trie.prefix_search(
                    f"{event}.{client.meta.service_model.service_id.hyphenize()}.{operation}"
                )
            ]
            for event in events
            for operation in client.meta.service_model.operation_names
        ]

    assert handlers(botocore.session.Session()) == handlers(clients.session()._session)


def test_only_handlers_of_other_services_are_left_out() -> None:
    """Most handlers are; and no alias of an event belongs to our services."""
    concerned = [event for event, *_ in BUILTIN_HANDLERS if clients.concerns(event)]

    assert len(concerned) < 20
    assert {"choose-service-name", "before-parameter-build", "choose-signer"} <= set(concerned)
    assert not set(clients.SERVICES) & {*EVENT_ALIASES, *EVENT_ALIASES.values()}
