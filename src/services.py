"""What one Lambda environment keeps from event to event: settings and clients, nobody's words.

Made once, at init, where Lambda gives CPU for free and the first person does not wait for it.
"""

import functools
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

import boto3

import bedrock_stream
import table
import ws_sender
from memory import Memory
from model_families import family_of
from settings import Settings, load

if TYPE_CHECKING:
    from types_boto3_apigatewaymanagementapi import ApiGatewayManagementApiClient


@dataclass(frozen=True, slots=True)
class Services:
    """`connections_at` gives the client for an `@connections` endpoint, made once for each URL."""

    settings: Settings
    model: bedrock_stream.Model
    memory: Memory
    connections_at: "Callable[[str], ApiGatewayManagementApiClient]"


def connect(environment: Mapping[str, str]) -> Services:
    """Reads the settings and makes the clients.

    Raises:
        SettingsError: a setting is missing or unusable.
        UnknownModelError: the model id tells no family.
    """
    settings = load(environment)
    family = family_of(settings.model_id, settings.model_family)
    bedrock = boto3.client(
        "bedrock-runtime", config=bedrock_stream.client_config(settings.stall_seconds)
    )
    dynamodb = boto3.client("dynamodb", config=table.client_config())

    @functools.cache
    def connections_at(url: str) -> "ApiGatewayManagementApiClient":
        return boto3.client(
            "apigatewaymanagementapi", endpoint_url=url, config=ws_sender.client_config()
        )

    if settings.callback_url:
        connections_at(settings.callback_url)
    return Services(
        settings=settings,
        model=bedrock_stream.Model(bedrock, settings.model_id, family),
        memory=Memory(table.Table(dynamodb, settings.table_name), settings.session_days),
        connections_at=connections_at,
    )
