"""Stored items of every version, in files, are read by this version; so are items of later ones.

tests/store/items/v<n>/<kind>-<variation>.json are items as that version writes them. They are never
changed: an attribute that is added later goes into the files of a new version.
"""

import json
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from moto.dynamodb.parsing.reserved_keywords import ReservedKeywords
from msgspec import Struct
from msgspec.structs import replace
from support.store_fixtures import acquire_without_release, claim, code_of, in_seconds, turn

from errors import ChatError
from families.types import ReasoningDelta, TextDelta, Usage
from memory import Turn
from store import leases as leases_module
from store.budget import Budget, reconcile
from store.connections import Connections
from store.conversations import Conversations, session_key
from store.items import (
    Connection,
    Request,
    SessionHead,
    StoredTranscript,
    Upload,
    UploadPart,
    is_expired,
    load,
    load_part,
)
from store.leases import Leases
from store.sessions import Sessions
from store.table import Table
from store.transcript import load as load_transcript
from store.uploads import Uploads
from wire.events import Done, Failed, Latency, ResponseEvent, Start
from wire.requests import Part

FOLDER = Path(__file__).parent / "items"
FILES = {
    f"{file.parent.name}/{file.stem}": json.loads(file.read_text())
    for file in sorted(FOLDER.glob("*/*.json"))
}


class EventItem(Struct):
    """The item of a handled event; the function only writes it."""


class BudgetItem(Struct):
    """The item of a subject's day; the function only writes it."""

    requests: int = 0
    tokens: int = 0


KINDS: Mapping[str, type[Struct]] = {
    "connection": Connection,
    "event": EventItem,
    "head": SessionHead,
    "request": Request,
    "turn": Turn,
    "upload": Upload,
    "budget": BudgetItem,
}
LAYOUT = {"pk", "sk", "expires_at"}

# Attributes that repeat a part of the key; where they are missing, they are taken from the key.
FROM_THE_KEY = {"connection_id", "number"}


def kind_of(name: str) -> type[Struct]:
    return KINDS[name.partition("/")[2].partition("-")[0]]


def with_unknown(item: Mapping[str, Any]) -> dict[str, Any]:
    """The item as a later version may write it."""
    later = {**item, "later": "text", "later_count": 7}
    if text := item.get("terminal_event"):
        end = json.loads(text)
        for fields in end.values():
            fields["later"] = {"any": ["thing", None]}
            for nested in (fields.get("usage"), fields.get("latency_ms")):
                if nested is not None:
                    nested["later"] = 3
        later["terminal_event"] = json.dumps({**end, "later": 1})
    return later


def with_unknown_values(item: Mapping[str, Any]) -> dict[str, Any]:
    """The item with values that only a later version knows, and a later kind of delta."""
    later = dict(item)
    for name in {"format", "listener_format", "state", "stop_reason"} & item.keys():
        later[name] = "later"
    if lengths := item.get("delta_lengths"):
        later["delta_lengths"] = f"i4 {lengths}"
    if text := item.get("terminal_event"):
        end = json.loads(text)
        for fields in end.values():
            for name in {"stop_reason", "code"} & fields.keys():
                fields[name] = "later"
        later["terminal_event"] = json.dumps(end)
    return later


def frames_of(item: Mapping[str, Any]) -> tuple[object, ...]:
    """The frames' items of an ended request, with errors as tuples: exceptions are never equal."""
    frames = load_transcript(load(Request, item), "s", "Hello, wörld", "hm")
    return tuple(
        (f.error.code, f.error.message, f.error.retryable, f.error.retry_at)
        if isinstance(f, Failed)
        else f
        for f in frames
    )


def ended(name: str) -> bool:
    return "terminal_event" in FILES[name]


@pytest.mark.parametrize("name", FILES)
def test_items_of_every_version_are_read_attribute_by_attribute(name: str) -> None:
    """Every attribute of an item in the files is the field of that name."""
    item = load(kind_of(name), FILES[name])
    known = set(FILES[name]) - LAYOUT
    if kind_of(name) is Upload:
        known -= {attribute for attribute in known if attribute.startswith("part_")}
        known.add("part_count")

    assert {attribute: FILES[name][attribute] for attribute in known} == {
        attribute: getattr(item, attribute) for attribute in known
    }


@pytest.mark.parametrize("name", FILES)
def test_unknown_attributes_are_ignored(name: str) -> None:
    """What a later version adds changes nothing for this one, in the terminal event, too."""
    later = with_unknown(FILES[name])
    fields = set(kind_of(name).__struct_fields__) - {"terminal_event"}
    now, then = load(kind_of(name), FILES[name]), load(kind_of(name), later)

    assert [getattr(now, field) for field in fields] == [getattr(then, field) for field in fields]
    if ended(name):
        assert frames_of(FILES[name]) == frames_of(later)


@pytest.mark.parametrize(
    ("name", "missing"),
    [
        (name, attribute)
        for name in FILES
        for attribute in FILES[name]
        if attribute not in {"pk", "sk"} | FROM_THE_KEY
    ],
)
def test_a_missing_attribute_has_its_default(name: str, missing: str) -> None:
    """The others are read as before."""
    item = {attribute: FILES[name][attribute] for attribute in FILES[name] if attribute != missing}
    full, partial = load(kind_of(name), FILES[name]), load(kind_of(name), item)

    for field in kind_of(name).__struct_fields__:
        if field != missing:
            assert getattr(full, field) == getattr(partial, field)
    if ended(name):
        assert isinstance(frames_of(item)[-1], Done | tuple)


@pytest.mark.parametrize("name", FILES)
def test_unknown_values_are_read_as_they_are(name: str) -> None:
    """A format, state, stop reason, code or kind of delta of a later version is no error."""
    later = with_unknown_values(FILES[name])
    item = load(kind_of(name), later)

    assert [later[field] for field in item.__struct_fields__ if field in later] == [
        getattr(item, field) for field in item.__struct_fields__ if field in later
    ]
    if ended(name):
        *before, end = frames_of(FILES[name])
        *after, later_end = frames_of(later)
        unknown = [ReasoningDelta("")] if before else []
        assert [*before[:1], *unknown, *before[1:]] == after
        assert with_later_value(end) == later_end


def with_later_value(end: Any) -> object:
    """The terminal event, its `stop_reason` or `code` replaced."""
    if isinstance(end, Done):
        return replace(end, stop_reason=end.stop_reason and "later")
    return ("later", *end[1:])


def test_defaults_are_those_of_the_first_version() -> None:
    """A later default would change the meaning of items that are stored."""
    assert ("complete", 0) == (load(Turn, {"number": 1}).state, load(Turn, {"number": 1}).tokens)
    assert "events" == load(Connection, {"connection_id": "c="}).format
    assert "events" == load(SessionHead, {}).listener_format


ENDED = sorted(name for name in FILES if ended(name))


def test_there_are_files_of_every_kind_and_ending() -> None:
    """Each kind of item, each state of a turn, and each kind of end of a request."""
    v1 = {name for name in FILES if name.startswith("v1/")}
    states = {FILES[name]["state"] for name in v1 if kind_of(name) is Turn}

    assert set(KINDS.values()) == {kind_of(name) for name in v1}
    assert states == {"complete", "stopped", "deadline", "error", "disconnected", "unfinished"}
    assert set(ENDS) == set(ENDED)


ENDS: Mapping[str, object] = {
    "v1/request-complete": Done(
        "end_turn",
        Usage(input_tokens=12, output_tokens=4, cache_read_tokens=0, cache_write_tokens=7),
        Latency(first_token=350, total=900),
        "claude-sonnet-4-6",
    ),
    "v1/request-stopped": Done("stopped", Usage(), Latency(total=900), "claude-sonnet-4-6"),
    "v1/request-deadline": Done(
        "deadline", Usage(input_tokens=12), Latency(first_token=350, total=900), "claude-sonnet-4-6"
    ),
    "v1/request-disconnected": Done(
        "disconnected", Usage(), Latency(first_token=350, total=900), "claude-sonnet-4-6"
    ),
    "v1/request-cleared": Done(cleared=3),
    "v1/request-error": ("model_error", "The model failed.", False, None),
    "v1/request-unfinished": ("internal", "The answer was interrupted.", True, None),
    "v1/request-busy": ("busy", "This session is answering another request.", True, None),
    "v1/request-over_budget": ("over_budget", "The daily quota is used up.", False, 1795392000),
}


@pytest.mark.parametrize("name", ENDED)
def test_each_ending_is_replayed_as_it_was_sent(name: str) -> None:
    """The terminal event, and before it `start` and the deltas, where there were any."""
    *before, end = frames_of(FILES[name])
    deltas: list[ResponseEvent] = [TextDelta("Hello"), ReasoningDelta("hm"), TextDelta(", wörld")]
    started = "model" in FILES[name] and FILES[name]["model"]

    assert ENDS[name] == end
    assert before == ([Start("s", "claude-sonnet-4-6"), *deltas] if started else [])


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("{}", ("internal", True)),
        ('{"later":{}}', ("internal", True)),
        ('{"error":{}}', ("internal", True)),
        ('{"error":{"code":"busy"}}', ("busy", True)),
        ('{"error":{"code":"duplicate"}}', ("duplicate", False)),
        ('{"error":{"code":"of_a_later_version"}}', ("of_a_later_version", True)),
        (
            '{"error":{"code":"of_a_later_version","retryable":false}}',
            ("of_a_later_version", False),
        ),
        ('{"done":{}}', Done()),
        ('{"done":{"usage":{},"latency_ms":{}}}', Done(usage=Usage(), latency_ms=Latency(total=0))),
    ],
)
def test_a_terminal_event_with_nothing_in_it_is_still_one(text: str, expected: object) -> None:
    """Whatever is missing, the request ends in one terminal event."""
    (end,) = load_transcript(Request(terminal_event=text), "s", "", "")

    found = (end.error.code, end.error.retryable) if isinstance(end, Failed) else end
    assert expected == found


@pytest.mark.parametrize("kind", [SessionHead, Request, Upload, BudgetItem])
def test_attributes_in_expressions_are_not_reserved(kind: type[Struct]) -> None:
    """DynamoDB rejects an expression with a reserved word in it; moto has the list."""
    reserved = {word.lower() for word in ReservedKeywords.get_reserved_keywords()}

    assert "state" in reserved
    assert reserved.isdisjoint({*kind.__struct_fields__, *LAYOUT})


def test_the_parts_of_an_upload_are_read_one_by_one() -> None:
    """A part that has not arrived has no body; an empty one has."""
    item = FILES["v1/upload-incomplete"]

    assert UploadPart(body="Hello", event_id="e1", write_id="0123456789abcdef") == load_part(
        item, 1
    )
    assert UploadPart() == load_part(item, 2)
    assert "" == load_part(item, 3).body
    assert UploadPart(body="x") == load_part({"part_1_body": "x", "part_12_body": "y"}, 1)


@pytest.mark.parametrize(("expires_at", "expired"), [(99, True), (100, True), (101, False)])
def test_an_item_expires_at_its_second(expires_at: int, expired: bool) -> None:
    """From that second on it is treated as deleted; one without a time to live never is."""
    assert expired == is_expired({"expires_at": expires_at}, 100)
    assert not is_expired({}, 100)


# through the operations


def put_all(table: Table, change: Any = dict) -> None:
    for name, item in FILES.items():
        if name.startswith("v1/"):
            table.put(change(item))


@pytest.fixture
def conversations(table: Table) -> Conversations:
    return Conversations(table, session_days=30)


@pytest.fixture
def leases(table: Table, conversations: Conversations) -> Leases:
    return Leases(table, conversations, Budget(1000, 100_000))


@pytest.fixture
def sessions(table: Table, conversations: Conversations, leases: Leases) -> Sessions:
    return Sessions(table, conversations, leases)


CHANGES = {
    "as they are": dict,
    "with unknown attributes": with_unknown,
    "with unknown values": with_unknown_values,
}


@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES)
def test_operations_read_version_1(
    table: Table,
    sessions: Sessions,
    leases: Leases,
    change: Any,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Connections, turns, transcripts, leases and uploads of version 1 work as if written now."""
    put_all(table, change)
    assert "arn:aws:iam::1:user/me" == Connections(table).get("c=").principal
    assert not Connections(table).is_first_delivery("e1")

    turns, running = sessions.history("idle", "me", 20)
    assert [1, 2, 3, 4, 5, 6, 7] == [turn.number for turn in turns]
    assert running is None
    for name in ENDED:
        request_id = name.partition("-")[2]
        assert ENDS[name] == frames_of(FILES[name])[-1]
        assert len(frames_of(change(FILES[name]))) == len(sessions.replay("idle", request_id))
    with leases.acquire(claim(8, session_id="idle")) as lease:
        leases.save(lease, turn(8), StoredTranscript(), None, in_seconds(5))

    monkeypatch.setattr(leases_module, "_now_ms", lambda: 1_795_305_631_000)
    assert "busy" == code_of(lambda: leases.acquire(claim(9, session_id="running")).__enter__())
    assert "running" == sessions.history("running", "me", 20)[1]
    monkeypatch.setattr(leases_module, "_now_ms", lambda: 1_795_305_700_000)
    (unfinished,) = sessions.history("running", "me", 20)[0]
    assert ("unfinished", "Hello?", "Hel", "h") == (
        unfinished.state,
        unfinished.user,
        unfinished.assistant,
        unfinished.reasoning,
    )

    monkeypatch.setattr(time, "time", lambda: 1_795_305_600)
    part = Part(request_id="incomplete", body=", ", number=2, count=3)
    assert "Hello, " == Uploads(table, 1000).add("idle", "me", "e2", part)


def without_layout(item: Mapping[str, Any]) -> dict[str, type]:
    return {name: type(item[name]) for name in item if name not in LAYOUT}


def test_this_version_writes_the_attributes_that_are_in_the_files(
    table: Table, leases: Leases, sessions: Sessions
) -> None:
    """Each kind of item has exactly the attributes of its file; a new one needs new files."""
    written: dict[str, Any] = {}

    def keep(name: str, key: Mapping[str, Any]) -> None:
        written[name] = table.get(key)

    Connections(table).put(load(Connection, FILES["v1/connection"]))
    keep("connection", {"pk": "connection#c=", "sk": "connection"})
    Connections(table).is_first_delivery("e1")
    keep("event", {"pk": "event#e1", "sk": "event"})
    stored = load(StoredTranscript, FILES["v1/request-complete"])
    with leases.acquire(claim(1)) as lease:
        sessions.stop("s", "me", None, 2000, in_seconds(5))
        listener = leases_module.Listener("e2", 2000, "c2=", "text", 3)
        sessions._signal_listener("s", "me", "r1", listener)
        leases.renew(lease, "e2", "Hel", "h", stored)
        keep("head-running", session_key("s", "head"))
        keep("request-running", session_key("s", "request#r1"))
        leases.save(lease, turn(1), stored, "e2", in_seconds(5))
        keep("budget-day", reconcile(lease.reserved, 0).key if lease.reserved else {})
    with leases.acquire(claim(2)) as lease:
        leases.release(lease, Done(cleared=1))
    with pytest.raises(ZeroDivisionError), leases.acquire(claim(3)):
        raise ZeroDivisionError
    keep("head-idle", session_key("s", "head"))
    keep("request-complete", session_key("s", "request#r1"))
    keep("request-cleared", session_key("s", "request#r2"))
    keep("request-error", session_key("s", "request#r3"))
    keep("turn-complete", session_key("s", "turn#00000001"))
    acquire_without_release(leases, 4)
    with pytest.raises(ChatError):
        leases.acquire(claim(5)).__enter__()
    keep("request-busy", session_key("s", "request#r5"))
    for number, body in ((1, "Hello"), (3, "")):
        part = Part(request_id="u", body=body, number=number, count=3)
        Uploads(table, 1000).add("s", "me", f"e{number}", part)
    (upload,) = table.last("session#s", "upload#", 1)
    written["upload-incomplete"] = upload

    assert {name: without_layout(item) for name, item in written.items()} == {
        name: without_layout(FILES[f"v1/{name}"]) for name in written
    }
    assert {*written} <= {name.partition("/")[2] for name in FILES}
    for name, item in written.items():
        assert LAYOUT == set(item) & LAYOUT, name
