"""The rows, and what is expected of each. `scenario` checks what is expected of all of them."""

import re
from dataclasses import replace

from faults.client_scripts import (
    away_during_crash,
    leave_after,
    reconnect_after_each_frame,
    redeliver_after_crash,
    redeliver_after_end,
    resume_from_each_seq,
    resume_on_second_connection,
    send_again_after_reconnect,
    stop,
    thaw_after_recovery,
    use_second_tab,
)
from faults.monitor import MID_STREAM
from faults.proxy import FOREVER, Fault
from faults.rows import Expected, Row
from faults.scenario import Scenario
from faults.service_rows import CALLS, ERRORS, bedrock, dynamodb, posts

# -- the Lambda is killed --------------------------------------------------------------------------

UNFINISHED_EMPTY = Expected("error internal", "unfinished", 0)
UNFINISHED = Expected("error internal", "unfinished", 1)
UNFINISHED_RACING = Expected("error internal", "unfinished", None)
KILLED = {
    ("before", "connection"): Expected(),  # never taken: the client sends it again
    ("before", "acquire"): Expected(),
    ("after", "acquire"): UNFINISHED_EMPTY,
    ("after", "history"): UNFINISHED_EMPTY,
    ("before", "start"): UNFINISHED_RACING,
    ("after", "start"): UNFINISHED_RACING,
    ("before", "delta"): UNFINISHED,
    ("after", "delta"): UNFINISHED,
    ("before", "poll"): UNFINISHED,
    ("before", "renew"): UNFINISHED,
    ("after", "renew"): UNFINISHED,
    ("after", "checkpoint"): UNFINISHED,
    ("before", "save"): UNFINISHED,
    ("after", "save"): Expected(),
    ("before", "end"): Expected(),
    ("after", "end"): Expected(),
}


def _kills() -> list[Row]:
    steps = [
        Row(
            group="Killed",
            name=f"{when} {call}",
            faults=(Fault(f"killed {when}", call),),
            expected=expected,
        )
        for (when, call), expected in KILLED.items()
    ]
    killed = Row(
        group="Killed",
        name=MID_STREAM,
        faults=(Fault("killed before", MID_STREAM),),
        expected=UNFINISHED,
    )
    return [
        *steps,
        killed,
        *(
            replace(
                killed,
                name=f"mid-stream, and so is the resume that recovers the turn, {when} its write",
                resume_faults=(Fault(f"killed {when}", "recover"),),
            )
            for when in ("before", "after")
        ),
        replace(
            killed, name="mid-stream, and the event is redelivered", client=redeliver_after_crash
        ),
        replace(killed, name="mid-stream, while the client is away", client=away_during_crash),
        replace(
            killed,
            name="frozen mid-stream instead of killed, continued after the recovery",
            faults=(Fault("frozen", MID_STREAM),),
            client=thaw_after_recovery,
        ),
    ]


# -- events ----------------------------------------------------------------------------------------


def _events() -> list[Row]:
    return [
        Row(group="Event", name="delivered twice at once", deliveries=2),
        Row(group="Event", name="delivered three times at once", deliveries=3),
        Row(
            group="Event",
            name="redelivered mid-stream",
            faults=(Fault("meanwhile", "delta", 3),),
            meanwhile=Scenario.redeliver,
        ),
        Row(group="Event", name="redelivered after the end", client=redeliver_after_end),
        Row(
            group="Event",
            name="sent again by a client that reconnected",
            client=send_again_after_reconnect,
        ),
        Row(
            group="Event",
            name="delivered twice at once, and refused",
            deliveries=2,
            faults=(Fault("broken", "history", 1, FOREVER),),
            expected=Expected("error internal", "-", 0),
        ),
    ]


# -- the client ------------------------------------------------------------------------------------

ALL_CALLS = (*list(CALLS)[:3], "start", "delta", *list(CALLS)[3:], "end")


def _clients() -> list[Row]:
    during_calls = [
        Row(group="Client", name=f"disconnects at {call}", faults=(Fault("meanwhile", call),))
        for call in ALL_CALLS
    ]
    after_frames = [
        Row(
            group="Client",
            name=f"disconnects after {n} frame{'' if n == 1 else 's'}",
            held_by_client=True,
            client=leave_after(n),
        )
        for n in range(6)
    ]
    return [
        *during_calls,
        *after_frames,
        Row(group="Client", name="reconnects after every frame", client=reconnect_after_each_frame),
        Row(group="Client", name="resumes at every seq after the end", client=resume_from_each_seq),
        Row(
            group="Client",
            name="resumes while its old connection is open",
            held_by_client=True,
            overlaps=True,
            client=resume_on_second_connection,
        ),
        *(
            Row(
                group="Client",
                name=f"disconnects, and the first resume fails at {call}",
                resume_faults=(Fault("broken", call, 1, 3),),
                held_by_client=True,
                client=leave_after(3),
            )
            for call in ("connection", "mark event", "renew")
        ),
        Row(
            group="Client",
            name="disconnects, and $disconnect is never delivered",
            held_by_client=True,
            reports_disconnect=False,
            client=leave_after(4),
        ),
    ]


# -- clocks, and other tabs ------------------------------------------------------------------------


def _clocks() -> list[Row]:
    away = Row(
        group="Clock", name="resumed while it runs", held_by_client=True, client=leave_after(4)
    )
    asked = Row(
        group="Clock",
        name="another tab asks",
        faults=(Fault("meanwhile", "poll", 3),),
        meanwhile=use_second_tab,
    )
    killed = Row(
        group="Clock",
        name="killed mid-stream",
        faults=(Fault("killed before", MID_STREAM),),
        expected=UNFINISHED,
    )
    return [
        replace(row, name=f"{seconds:+} s, {row.name}", frame={"clock": seconds})
        for seconds in (3, -3)
        for row in (away, asked, killed)
    ]


def _tabs() -> list[Row]:
    stopped = Expected("done stopped", "stopped", 1)
    return [
        *(
            Row(
                group="Second tab",
                name=f"stops at {call}",
                faults=(Fault("meanwhile", call),),
                meanwhile=stop,
                held_by_client=expected is stopped,  # and never released: the stop ends it
                expected=expected,
            )
            for call, expected in {
                "acquire": stopped,  # it may arrive before its question, and then waits for it
                "history": stopped,
                "start": stopped,
                "delta": stopped,
                "renew": stopped,
                "save": Expected(),  # too late
                "end": Expected(),
            }.items()
        ),
        Row(
            group="Second tab",
            name="asks, clears and reads the history mid-stream",
            faults=(Fault("meanwhile", "delta", 3),),
            meanwhile=use_second_tab,
        ),
    ]


# Left out where time is short: another row of the same table takes the same path.
NOT_RETRIED = "|".join(name for name, (_, retried) in ERRORS.items() if not retried)
EXTENDED = re.compile(
    "|".join(
        (
            rf"Bedrock: ({NOT_RETRIED}) .*always",
            r"Bedrock: (?!throttling).* as event .*",
            r"Bedrock: .* at the start, always",
            r"DynamoDB: \w+ broken .*",
            r"DynamoDB: \w+ cut once",
            r"DynamoDB: (?!acquire|save)\w+ slow once",
            r"DynamoDB: (?!poll|save)\w+ silent once",
            r"DynamoDB: \w+ conflicting once",
            r"Post: (?!the first).* Forbidden .*",
            r"Post: (?!a middle).* (PayloadTooLarge|failed|cut) .*",
            r"Post: (?!a middle).* LimitExceeded (once|always)",
            r"Post: (?!the end).* (LimitExceeded 5 times|silent once)",
            r"Post: .* (silent always|failed always|slow once)",
            r"Client: disconnects after [135] frames?",
        )
    )
)

PLAIN = Row(group="No fault", name="none", reaches=frozenset({"poll", "renew", "checkpoint"}))
TABLES = (bedrock, dynamodb, posts, _kills, _events, _clients, _clocks, _tabs)
ROWS: tuple[Row, ...] = (
    PLAIN,
    *(
        replace(row, extended=bool(EXTENDED.fullmatch(row.id)))
        for table in TABLES
        for row in table()
    ),
)
