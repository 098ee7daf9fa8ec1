"""The API: which route a frame selects, and which event the function receives. Pure; no sockets.

Routes and the template of their asynchronous integration are read from the same two files as in
Terraform. Event shapes follow recorded API Gateway traffic.
"""

import json
import re
import secrets
from base64 import urlsafe_b64encode
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from enum import StrEnum
from pathlib import Path
from typing import Any, Literal, Self
from urllib.parse import parse_qsl

from deploy.terraform import MODULE
from local.gateway.vtl import Template

CONNECT, DISCONNECT, DEFAULT = "$connect", "$disconnect", "$default"
_RESERVED = frozenset({CONNECT, DISCONNECT, DEFAULT})
_SELECTION = re.compile(r"\$(\{)?request\.body\.([\w.]+)(?(1)\})")
_DISCONNECT_HEADERS = ("x-api-key", "X-Forwarded-For", "x-restapi")
# API Gateway handles the first two itself, and sets the others itself.
_NOT_FORWARDED = frozenset(
    {"connection", "upgrade", "x-forwarded-for", "x-forwarded-port", "x-forwarded-proto"}
)

Headers = Iterable[tuple[str, str]]


class Integration(StrEnum):
    """The integration of a route."""

    PROXY = "proxy"  # the function is invoked and waited for, at most 29 s
    ASYNC = "async"  # the function is invoked with an event made by a template, and not waited for
    MOCK = "mock"  # API Gateway responds by itself


@dataclass(frozen=True, slots=True)
class Route:
    """One row of routes.json. `template` makes the event (async) or the response (mock).

    `replies`: the route has a route response, so what its integration returns is sent to the
    client. Without one it is dropped. A mock always replies, or it would have no effect.
    """

    key: str
    integration: Integration
    template: Template | None = None
    replies: bool = False


@dataclass(frozen=True, slots=True)
class Stage:
    """The stage that serves the API. Never taken from a header, which a client could forge."""

    domain_name: str
    name: str = "local"
    api_id: str = "local"


@dataclass(frozen=True, slots=True)
class Principal:
    """What an authorizer adds to a connection's events: `identity` fields and `authorizer`."""

    identity: Mapping[str, str] = field(default_factory=dict)
    authorizer: Mapping[str, Any] = field(default_factory=dict)


ANONYMOUS = Principal()


@dataclass(frozen=True, slots=True)
class ConnectionInfo:
    """A connection, as events describe it. `connected_at` in ms since the epoch."""

    connection_id: str
    connected_at: int
    source_ip: str
    user_agent: str | None
    principal: Principal = ANONYMOUS


@dataclass(frozen=True, slots=True)
class Event:
    """One event: its request id (which error frames name) and the JSON that the function gets."""

    request_id: str
    content: Mapping[str, Any]

    def encode(self) -> bytes:
        """Return the event as JSON bytes."""
        return json.dumps(self.content, separators=(",", ":")).encode()

    def with_principal(self, principal: Principal) -> "Event":
        """Return the same event with the principal added."""
        context = _add_principal(self.content["requestContext"], principal)
        return Event(self.request_id, {**self.content, "requestContext": context})


def new_id() -> str:
    """Generate an id that looks like API Gateway's (`L0SM9cOFvHcCIhw=`), `=` included."""
    return urlsafe_b64encode(secrets.token_bytes(11)).decode("ascii")


def iso_time(milliseconds: int) -> str:
    """Format a time as `2026-01-31T12:00:00.000Z`, as GetConnection returns it."""
    moment = datetime.fromtimestamp(milliseconds / 1000, UTC)
    return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")


@dataclass(frozen=True, slots=True)
class Api:
    """The routes by key, and the path in a message body to the key of its route."""

    routes: Mapping[str, Route]
    selection: tuple[str, ...] = ("action",)

    @classmethod
    def load(
        cls, folder: Path = MODULE, chat_integration: Literal["async", "proxy"] = "async"
    ) -> Self:
        """Read `routes.json` and `event.json.vtl` of `folder`.

        `chat_integration="proxy"` serves every asynchronous route as a proxy integration: the
        switch that Terraform has too. Raises ValueError for a table that API Gateway would
        refuse, and OSError or KeyError for files that are missing or incomplete.
        """
        table = json.loads((folder / "routes.json").read_text("utf-8"))
        event = Template((folder / "event.json.vtl").read_text("utf-8"))
        routes = {}
        for key, row in table["routes"].items():
            integration = Integration(row["integration"])
            if integration is Integration.ASYNC:
                integration = Integration(chat_integration)
            mock = integration is Integration.MOCK
            asynchronous = integration is Integration.ASYNC
            template = Template(row["response"]) if mock else event if asynchronous else None
            replies = mock or bool(row.get("route_response", False))
            routes[key] = Route(key, integration, template, replies)
        return cls(routes, selection_path(table["routeSelectionExpression"]))

    def select(self, body: str) -> Route | None:
        """Find the route of a frame; None if none matches and there is no `$default`.

        `$connect`, `$disconnect` and `$default` cannot be selected by name (what API Gateway does
        with such a frame is unconfirmed; only `$default` is safe).
        """
        try:
            value = json.loads(body)
            for name in self.selection:
                value = value[name]
        except (ValueError, TypeError, LookupError, RecursionError):
            value = None
        if isinstance(value, str) and value not in _RESERVED and value in self.routes:
            return self.routes[value]
        return self.routes.get(DEFAULT)


def selection_path(expression: str) -> tuple[str, ...]:
    """Parse a route selection expression: `$request.body.action` gives `("action",)`."""
    match = _SELECTION.fullmatch(expression)
    if match is None:
        raise ValueError(f"unsupported route selection expression: {expression}")
    return tuple(match[2].split("."))


def connect_event(
    stage: Stage, info: ConnectionInfo, target: str, headers: Headers, now: int
) -> Event:
    """Build the event of a handshake. `target` is the request target, `now` in ms."""
    forwarded = [(name, value) for name, value in headers if name.lower() not in _NOT_FORWARDED]
    forwarded += [
        ("X-Forwarded-For", info.source_ip),
        ("X-Forwarded-Port", stage.domain_name.rpartition(":")[2]),
        ("X-Forwarded-Proto", "http"),
    ]
    content: dict[str, Any] = {
        "headers": dict(forwarded),
        "multiValueHeaders": _grouped(forwarded),
    }
    query = parse_qsl(target.partition("?")[2], keep_blank_values=True)
    if query:
        content["queryStringParameters"] = dict(query)
        content["multiValueQueryStringParameters"] = _grouped(query)
    context = _context(stage, info, CONNECT, "CONNECT", now)
    return _event(context, content)


def message_event(stage: Stage, info: ConnectionInfo, route: Route, body: str, now: int) -> Event:
    """Build the event of a frame; that of an asynchronous route is made by its template.

    Raises ValueError if the template does not produce JSON, which Lambda would refuse.
    """
    context = _context(stage, info, route.key, "MESSAGE", now) | {"messageId": new_id()}
    if route.integration is not Integration.ASYNC or route.template is None:
        content = {"requestContext": context, "body": body, "isBase64Encoded": False}
        return Event(context["requestId"], content)
    return Event(context["requestId"], json.loads(route.template.render(context, body)))


def disconnect_event(stage: Stage, info: ConnectionInfo, code: int, reason: str, now: int) -> Event:
    """Build the event of a closed connection, with the headers that API Gateway generates."""
    headers = [("Host", stage.domain_name), *((name, "") for name in _DISCONNECT_HEADERS)]
    context = _context(stage, info, DISCONNECT, "DISCONNECT", now)
    context |= {"disconnectStatusCode": code, "disconnectReason": reason}
    return _event(context, {"headers": dict(headers), "multiValueHeaders": _grouped(headers)})


def _event(context: dict[str, Any], content: dict[str, Any]) -> Event:
    content |= {"requestContext": context, "isBase64Encoded": False}
    return Event(context["requestId"], content)


def _context(stage: Stage, info: ConnectionInfo, key: str, kind: str, now: int) -> dict[str, Any]:
    request_id = new_id()
    identity = {"sourceIp": info.source_ip}
    if info.user_agent is not None:
        identity["userAgent"] = info.user_agent
    context = {
        "routeKey": key,
        "eventType": kind,
        # The two are equal in recorded WebSocket events.
        "extendedRequestId": request_id,
        "requestId": request_id,
        "requestTime": datetime.fromtimestamp(now / 1000, UTC).strftime("%d/%b/%Y:%H:%M:%S +0000"),
        "requestTimeEpoch": now,
        "connectedAt": info.connected_at,
        "messageDirection": "IN",
        "stage": stage.name,
        "identity": identity,
        "domainName": stage.domain_name,
        "connectionId": info.connection_id,
        "apiId": stage.api_id,
    }
    return _add_principal(context, info.principal)


def _add_principal(context: Mapping[str, Any], principal: Principal) -> dict[str, Any]:
    """Add the fields of the principal."""
    identity = {**context["identity"], **principal.identity}
    authorizer = {"authorizer": dict(principal.authorizer)} if principal.authorizer else {}
    return {**context, "identity": identity, **authorizer}


def _grouped(pairs: Headers) -> dict[str, list[str]]:
    groups: dict[str, list[str]] = {}
    for name, value in pairs:
        groups.setdefault(name, []).append(value)
    return groups
