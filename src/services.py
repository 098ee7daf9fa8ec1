"""What one Lambda environment keeps from event to event: settings and clients, never user data.

Built once, at init: what is built there does not delay a question, unless it is the first one of
its environment. AWS bills init time like any other since 2025-08-01.
"""

import functools
from collections.abc import Callable, Mapping

from msgspec import Struct
from msgspec.structs import replace

import bedrock_stream
import clients
import posting
from families.registry import family_of
from settings import Settings, load
from store import table
from store.budget import Budget
from store.connections import Connections
from store.conversations import Conversations
from store.leases import Leases
from store.sessions import Sessions
from store.uploads import Uploads


class Services(Struct, frozen=True):
    """`poster_for` returns the poster to the connections of an API's stage, by both their ids."""

    settings: Settings
    model: bedrock_stream.Model
    connections: Connections
    conversations: Conversations
    leases: Leases
    sessions: Sessions
    uploads: Uploads
    poster_for: Callable[[str, str], posting.Poster]


def build_services(environment: Mapping[str, str]) -> Services:
    """Reads the settings and makes the clients.

    Raises:
        SettingsError: a setting is missing or unusable, or the system prompt cannot be read.
        UnknownModelError: the model id belongs to no known family.
    """
    settings = load(environment)
    family = family_of(settings.model_id, settings.model_family)
    session = clients.session()
    if settings.system_prompt_object:
        import prompt_object  # noqa: PLC0415 - most deployments have none

        prompt = prompt_object.read(settings.system_prompt_object, session)
        settings = replace(settings, system_prompt=prompt)
    bedrock = session.client(
        "bedrock-runtime", config=bedrock_stream.client_config(settings.stall_seconds)
    )
    dynamodb = session.client("dynamodb", config=table.client_config())

    @functools.cache
    def poster_to(url: str) -> posting.Poster:
        return posting.poster(
            session.client(
                "apigatewaymanagementapi", endpoint_url=url, config=posting.client_config()
            )
        )

    def poster_for(api_id: str, stage: str) -> posting.Poster:
        url = settings.callback_url or posting.callback_url(api_id, stage, session.region_name)
        return poster_to(url)

    if settings.callback_url:
        poster_to(settings.callback_url)
    chat_table = table.Table(dynamodb, settings.table_name)
    conversations = Conversations(chat_table, settings.session_days)
    budget = Budget(settings.requests_per_day, settings.tokens_per_day)
    leases = Leases(chat_table, conversations, budget)
    return Services(
        settings=settings,
        model=bedrock_stream.Model(
            bedrock, settings.model_id, family, call_options(settings), settings.retry_seconds
        ),
        connections=Connections(chat_table),
        conversations=conversations,
        leases=leases,
        sessions=Sessions(chat_table, conversations, leases),
        uploads=Uploads(chat_table, settings.max_input_bytes),
        poster_for=poster_for,
    )


def call_options(settings: Settings) -> dict[str, str]:
    """The arguments of the Bedrock call beside the prompt; those that are not set are left out."""
    has_guardrail = bool(settings.guardrail_id)
    options = {
        "guardrailIdentifier": settings.guardrail_id,
        "guardrailVersion": settings.guardrail_version if has_guardrail else "",
        "serviceTier": settings.service_tier,
        "performanceConfigLatency": settings.performance_latency,
    }
    return {name: value for name, value in options.items() if value}
