"""What one Lambda environment keeps from event to event: settings and clients, nobody's words.

Made once, at init, where Lambda gives CPU for free and the first person does not wait for it.
"""

import functools
from collections.abc import Callable, Mapping

from msgspec import Struct

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
    """`poster_for` gives what posts to an `@connections` endpoint, made once for each URL."""

    settings: Settings
    model: bedrock_stream.Model
    connections: Connections
    conversations: Conversations
    leases: Leases
    sessions: Sessions
    uploads: Uploads
    poster_for: Callable[[str], posting.Poster]


def build_services(environment: Mapping[str, str]) -> Services:
    """Reads the settings and makes the clients.

    Raises:
        SettingsError: a setting is missing or unusable.
        UnknownModelError: the model id tells no family.
    """
    settings = load(environment)
    family = family_of(settings.model_id, settings.model_family)
    session = clients.session()
    bedrock = session.client(
        "bedrock-runtime", config=bedrock_stream.client_config(settings.stall_seconds)
    )
    dynamodb = session.client("dynamodb", config=table.client_config())

    @functools.cache
    def poster_for(url: str) -> posting.Poster:
        return posting.Poster(
            session.client(
                "apigatewaymanagementapi", endpoint_url=url, config=posting.client_config()
            )
        )

    if settings.callback_url:
        poster_for(settings.callback_url)
    kept = table.Table(dynamodb, settings.table_name)
    conversations = Conversations(kept, settings.session_days)
    leases = Leases(kept, conversations, Budget(settings.requests_per_day, settings.tokens_per_day))
    return Services(
        settings=settings,
        model=bedrock_stream.Model(
            bedrock, settings.model_id, family, options(settings), settings.retry_seconds
        ),
        connections=Connections(kept),
        conversations=conversations,
        leases=leases,
        sessions=Sessions(kept, conversations, leases),
        uploads=Uploads(kept, settings.max_input_bytes),
        poster_for=poster_for,
    )


def options(settings: Settings) -> dict[str, str]:
    """What Bedrock is told beside the prompt; what is not set is left out."""
    guarded = bool(settings.guardrail_id)
    chosen = {
        "guardrailIdentifier": settings.guardrail_id,
        "guardrailVersion": settings.guardrail_version if guarded else "",
        "serviceTier": settings.service_tier,
        "performanceConfigLatency": settings.performance_latency,
    }
    return {name: value for name, value in chosen.items() if value}
