"""The rows, and what is expected of each; what is expected of all of them is checked in `scene`."""

import re
from dataclasses import replace

from faults.client_scripts import (
    another_tab_asks,
    away_when_it_crashes,
    comes_back_to_life,
    event_comes_again_after_a_crash,
    event_comes_again_at_the_end,
    leaves_after,
    restless,
    resumes_beside,
    resumes_everywhere,
    sends_again,
    stops,
)
from faults.proxy import FOREVER, Fault
from faults.rows import Expected, Row
from faults.scenario import Scene
from faults.services import CALLS, ERRORS, bedrock, dynamodb, posts
from faults.watch import MID_STREAM

# -- the Lambda is killed --------------------------------------------------------------------------

LEFT_EMPTY = Expected("error internal", "unfinished", 0)
LEFT = Expected("error internal", "unfinished", 1)
LEFT_RACING = Expected("error internal", "unfinished", None)
KILLED = {
    ("before", "connection"): Expected(),  # never taken: it is sent again
    ("before", "claim"): Expected(),
    ("after", "claim"): LEFT_EMPTY,
    ("after", "history"): LEFT_EMPTY,
    ("before", "start"): LEFT_RACING,
    ("after", "start"): LEFT_RACING,
    ("before", "delta"): LEFT,
    ("after", "delta"): LEFT,
    ("before", "look"): LEFT,
    ("before", "renew"): LEFT,
    ("after", "renew"): LEFT,
    ("after", "note"): LEFT,
    ("before", "save"): LEFT,
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
            paced=True,
            expected=expected,
        )
        for (when, call), expected in KILLED.items()
    ]
    late = Fault("killed before", MID_STREAM)
    return [
        *steps,
        Row(
            group="Killed", name="mid-stream", faults=(late,), paced=True, stretch=2, expected=LEFT
        ),
        *(
            Row(
                group="Killed",
                name=f"mid-stream, and whoever then resumes, {when} making the turn",
                faults=(late,),
                stretch=2,
                later=(Fault(f"killed {when}", "bury"),),
                paced=True,
                expected=LEFT,
            )
            for when in ("before", "after")
        ),
        Row(
            group="Killed",
            name="mid-stream, and the event comes again",
            faults=(late,),
            stretch=2,
            paced=True,
            expected=LEFT,
            story=event_comes_again_after_a_crash,
        ),
        Row(
            group="Killed",
            name="mid-stream, while the client is away",
            faults=(late,),
            paced=True,
            stretch=2,
            expected=LEFT,
            story=away_when_it_crashes,
        ),
        Row(
            group="Killed",
            name="not: frozen mid-stream, and back when all is over",
            faults=(Fault("frozen", MID_STREAM),),
            paced=True,
            stretch=2,
            expected=LEFT,
            story=comes_back_to_life,
        ),
    ]


# -- events ----------------------------------------------------------------------------------------


def _events() -> list[Row]:
    middle = (Fault("meanwhile", "delta", 3),)
    return [
        Row(group="Event", name="delivered twice at once", deliveries=2, paced=True),
        Row(group="Event", name="delivered three times at once", deliveries=3, paced=True),
        Row(
            group="Event",
            name="delivered again mid-stream",
            faults=middle,
            meanwhile=Scene.again,
            paced=True,
        ),
        Row(
            group="Event", name="delivered again after the end", story=event_comes_again_at_the_end
        ),
        Row(
            group="Event",
            name="sent again by a client that reconnected",
            paced=True,
            story=sends_again,
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

EVERYWHERE = (*list(CALLS)[:3], "start", "delta", *list(CALLS)[3:], "end")


def _clients() -> list[Row]:
    gone = [
        Row(group="Client", name=f"gone at {call}", faults=(Fault("meanwhile", call),), paced=True)
        for call in EVERYWHERE
    ]
    left = [
        Row(
            group="Client",
            name=f"left after {n} frames",
            paced=True,
            stretch=2,
            story=leaves_after(n),
        )
        for n in range(6)
    ]
    return [
        *gone,
        *left,
        Row(group="Client", name="reconnects after every frame", paced=True, story=restless),
        Row(group="Client", name="resumes at every seq after the end", story=resumes_everywhere),
        Row(
            group="Client",
            name="resumes while its old connection is open",
            paced=True,
            overlaps=True,
            story=resumes_beside,
        ),
        *(
            Row(
                group="Client",
                name=f"left, and the first resume fails at {call}",
                later=(Fault("broken", call, 1, 3),),
                paced=True,
                story=leaves_after(3),
            )
            for call in ("connection", "once", "renew")
        ),
        Row(
            group="Client",
            name="left, and $disconnect is never delivered",
            paced=True,
            goodbye=False,
            story=leaves_after(4),
        ),
    ]


# -- clocks, and other tabs ------------------------------------------------------------------------


def _clocks() -> list[Row]:
    looks = Fault("meanwhile", "look", 3)
    crash = Fault("killed before", MID_STREAM)
    away = Row(group="Clock", name="resumed while it runs", paced=True, story=leaves_after(4))
    asked = Row(
        group="Clock",
        name="another tab asks",
        faults=(looks,),
        meanwhile=another_tab_asks,
        paced=True,
        stretch=4,
    )
    killed = Row(
        group="Clock",
        name="killed mid-stream",
        faults=(crash,),
        paced=True,
        stretch=2,
        expected=LEFT,
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
                group="Tab",
                name=f"stops at {call}",
                faults=(Fault("meanwhile", call),),
                meanwhile=stops,
                paced=True,
                stretch=4,
                expected=expected,
            )
            for call, expected in {
                "claim": stopped,  # it may arrive before its question: it is waited for
                "history": stopped,
                "start": stopped,
                "delta": stopped,
                "renew": stopped,
                "save": Expected(),  # too late
                "end": Expected(),
            }.items()
        ),
        Row(
            group="Tab",
            name="asks, clears and looks mid-stream",
            faults=(Fault("meanwhile", "delta", 3),),
            meanwhile=another_tab_asks,
            paced=True,
            stretch=4,
        ),
    ]


# What is left out where time is short: another row of the same table goes the same way.
NEVER_AGAIN = "|".join(name for name, (_, again) in ERRORS.items() if not again)
LONGER = re.compile(
    "|".join(
        (
            rf"Bedrock: ({NEVER_AGAIN}) .*always",
            r"Bedrock: (?!throttling).* as event .*",
            r"Bedrock: .* at the start, always",
            r"DynamoDB: \w+ broken .*",
            r"DynamoDB: \w+ cut once",
            r"DynamoDB: (?!claim|save)\w+ slow once",
            r"DynamoDB: (?!look|save)\w+ silent once",
            r"DynamoDB: \w+ conflicting once",
            r"Post: (?!the first).* Forbidden .*",
            r"Post: (?!a middle).* (PayloadTooLarge|failed|cut) .*",
            r"Post: (?!a middle).* LimitExceeded (once|always)",
            r"Post: (?!the end).* (LimitExceeded 5 times|silent once)",
            r"Post: .* (silent always|failed always|slow once)",
            r"Client: left after [135] frames",
        )
    )
)

PLAIN = Row(group="Nothing", name="goes wrong", paced=True)
TABLES = (bedrock, dynamodb, posts, _kills, _events, _clients, _clocks, _tabs)
ROWS: tuple[Row, ...] = (
    PLAIN,
    *(replace(row, longer=bool(LONGER.fullmatch(row.id))) for table in TABLES for row in table()),
)
