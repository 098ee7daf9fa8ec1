"""Covers src/clients.py: clients that do as boto3's own, made with less."""

from typing import Any

import boto3
import botocore.session
import pytest
from botocore.handlers import BUILTIN_HANDLERS
from botocore.utils import EVENT_ALIASES

import clients

URL = "https://a.execute-api.eu-central-1.amazonaws.com/p"


@pytest.mark.parametrize("service", clients.SERVICES)
def test_a_client_is_as_boto3_makes_it(service: Any) -> None:
    """The same endpoint, signing, methods, user agent and exceptions."""
    url = URL if service == "apigatewaymanagementapi" else None

    def seen(session: Any) -> Any:
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

    assert seen(boto3.Session()) == seen(clients.session())


@pytest.mark.parametrize("service", clients.SERVICES)
def test_no_handler_is_missing_that_could_be_called(service: Any) -> None:
    """For every event of a call, a client has the handlers that botocore's own has, in order."""
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


def test_what_is_left_out_is_of_other_services() -> None:
    """Most handlers; and no old name of an event is one of ours."""
    kept = [event for event, *_ in BUILTIN_HANDLERS if clients.concerns(event)]

    assert len(kept) < 20
    assert {"choose-service-name", "before-parameter-build", "choose-signer"} <= set(kept)
    assert not set(clients.SERVICES) & {*EVENT_ALIASES, *EVENT_ALIASES.values()}
