"""What one Lambda environment keeps from event to event: settings and clients, nobody's words.

Made once, at init, where Lambda gives CPU for free and the first person does not wait for it.
"""

import functools
from collections.abc import Callable, Mapping

import bedrock_stream
import clients
import posting
import table
from budget import Budget
from leases import Leases
from memory import Memory
from model_families import family_of
from records import dataclass
from sessions import Sessions
from settings import Settings, load
from uploads import Uploads


@dataclass(frozen=True, slots=True)
class Services:
    """`connections_at` gives what posts to an `@connections` endpoint, made once for each URL."""

    settings: Settings
    model: bedrock_stream.Model
    memory: Memory
    leases: Leases
    sessions: Sessions
    uploads: Uploads
    connections_at: Callable[[str], posting.Poster]


def connect(environment: Mapping[str, str]) -> Services:
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
    def connections_at(url: str) -> posting.Poster:
        return posting.Poster(
            session.client(
                "apigatewaymanagementapi", endpoint_url=url, config=posting.client_config()
            )
        )

    if settings.callback_url:
        connections_at(settings.callback_url)
    kept = table.Table(dynamodb, settings.table_name)
    memory = Memory(kept, settings.session_days)
    leases = Leases(kept, memory, Budget(settings.requests_per_day, settings.tokens_per_day))
    return Services(
        settings=settings,
        model=bedrock_stream.Model(
            bedrock, settings.model_id, family, options(settings), settings.retry_seconds
        ),
        memory=memory,
        leases=leases,
        sessions=Sessions(kept, memory, leases),
        uploads=Uploads(kept, settings.max_input_bytes),
        connections_at=connections_at,
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
