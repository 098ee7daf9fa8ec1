"""The function with local endpoints: the real handler, DynamoDB in moto, Bedrock and posts by HTTP.

Where a test is about time, `Function.reading` and `ShiftedClock` replace waiting.
"""

import json
import threading
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import pytest
from msgspec.structs import replace
from support.aws_clients import bedrock_at
from support.endpoints import ConnectionsEndpoint
from support.reading import Reading

import handler
from bedrock_stream import Model
from errors import ChatError
from families.registry import family_of
from memory import Turn
from posting import Poster
from services import Services
from settings import load
from store.budget import Budget
from store.connections import Connections
from store.conversations import Conversations
from store.leases import Leases
from store.sessions import Sessions
from store.table import Table
from store.uploads import Uploads


@dataclass
class LambdaContext:
    """Lambda's context, with `remaining_ms` until the timeout."""

    remaining_ms: int = 60_000

    def get_remaining_time_in_millis(self) -> int:
        return self.remaining_ms


@dataclass
class Function:
    """The handler with local AWS endpoints, called with events as API Gateway sends them."""

    app: Services
    endpoint: ConnectionsEndpoint
    count: int = 0
    context: LambdaContext = field(default_factory=LambdaContext)

    def send(self, event_type: str, connection_id: str = "c=", **event: Any) -> dict[str, Any]:
        """Sends an event; returns the response."""
        self.count += 1
        meta = {
            "eventType": event_type,
            "connectionId": connection_id,
            "requestId": f"event-{self.count}",
            "domainName": "example.com",
            "apiId": "a",
            "stage": "prod",
            **event.pop("meta", {}),
        }
        return handler.handle(self.app, {"requestContext": meta, **event}, self.context)

    def connect(
        self, connection_id: str = "c=", principal: str = "", **query: str
    ) -> dict[str, Any]:
        """Connects, as `principal` or without authentication; returns the response."""
        meta = {"authorizer": {"principalId": principal}} if principal else {}
        self.change(auth="jwt" if principal else "none")
        return self.send("CONNECT", connection_id, queryStringParameters=query or None, meta=meta)

    def message(self, body: Any, connection_id: str = "c=", **meta: str) -> list[dict[str, Any]]:
        """Sends a message and returns the frames posted for it."""
        before = len(self.endpoint.frames)
        text = body if isinstance(body, str) else json.dumps(body)
        assert handler.OK == self.send("MESSAGE", connection_id, body=text, meta=meta)
        return [json.loads(frame) for frame in self.endpoint.frames[before:]]

    def script(self, **order: Any) -> list[dict[str, Any]]:
        """Sends an order to the scripted model and returns the frames posted for it."""
        return self.message("/script " + json.dumps(order))

    def change(self, **settings: Any) -> None:
        """Changes settings."""
        self.app = replace(self.app, settings=replace(self.app.settings, **settings))

    def turns(self, session_id: str = "s") -> tuple[Turn, ...]:
        """The stored turns."""
        return self.app.sessions.history(session_id, "anonymous", 100)[0]

    def reading(self) -> Reading:
        """Watches how far the following answer is read."""
        reading = Reading(self.app.model.client)
        client: Any = reading
        self.app = replace(self.app, model=replace(self.app.model, client=client))
        return reading


def connected_function(table: Table, bedrock: str, connections: ConnectionsEndpoint) -> Function:
    """The function, with connection `c=` of session `s`."""
    settings = load({"TABLE_NAME": "chat", "CALLBACK_URL": connections.url, "AUTH": "none"})
    # A poster serves one event at a time, as in Lambda; some tests have two at once.
    posters: defaultdict[int, Poster] = defaultdict(connections.poster)
    conversations = Conversations(table, 30)
    leases = Leases(table, conversations, Budget(0, 0))
    app = Services(
        settings=settings,
        model=Model(bedrock_at(bedrock), settings.model_id, family_of(settings.model_id)),
        connections=Connections(table),
        conversations=conversations,
        leases=leases,
        sessions=Sessions(table, conversations, leases),
        uploads=Uploads(table, settings.max_input_bytes),
        poster_for=lambda *_: posters[threading.get_ident()],
    )
    function = Function(app, connections)
    function.connect(session_id="s")
    return function


def text(frames: list[dict[str, Any]]) -> str:
    """The answer's text in these frames."""
    return "".join(frame["text"] for frame in frames if frame["type"] == "delta")


def assert_well_formed(frames: list[dict[str, Any]]) -> None:
    """One request's frames, numbered from 0, the last of them terminal."""
    assert 1 == len({frame["request_id"] for frame in frames})
    assert list(range(len(frames))) == [frame["seq"] for frame in frames]
    ends = [frame["type"] in ("done", "error") for frame in frames]
    assert [False] * (len(frames) - 1) + [True] == ends


@contextmanager
def failing(table: Table, operation: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """The table's `operation` fails."""

    def fail(*_: object, **__: object) -> Any:
        raise ChatError("internal", "The conversation store is unavailable.", cause="test")

    with monkeypatch.context() as patch:
        patch.setattr(table, operation, fail)
        yield
