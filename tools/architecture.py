"""docs/architecture.svg, drawn from two tables: the boxes, and what passes between them. Pure.

A box stands at a column and a row; an arrow goes from side to side, and its label beside it. The
colours follow the reader's scheme. Knows no more of the system than the tables say.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from xml.sax.saxutils import escape

PICTURE = Path(__file__).resolve().parents[1] / "docs" / "architecture.svg"


@dataclass(frozen=True, slots=True)
class Box:
    """A part. `resource`: what it is in terraform/, where it is ours to make."""

    column: int
    row: int
    title: str
    text: str
    resource: str = ""


@dataclass(frozen=True, slots=True)
class Arrow:
    """What passes from one part to another. `lane`: 1 and -1 are two ways beside each other."""

    start: str
    end: str
    label: str
    lane: int = 0


BOXES: Mapping[str, Box] = {
    "page": Box(0, 0, "CloudFront, S3", "the page, if wanted", "aws_cloudfront_distribution.web"),
    "authorizer": Box(1, 0, "Authorizer", "where auth is jwt", "aws_lambda_function.authorizer"),
    "client": Box(0, 1, "Client", "terminal, page, wscat"),
    "api": Box(1, 1, "API Gateway", "WebSocket API", "aws_apigatewayv2_api.chat"),
    "function": Box(2, 1, "Lambda", "src/handler.py", "aws_lambda_function.chat"),
    "bedrock": Box(3, 1, "Bedrock", "the model"),
    "dead": Box(1, 2, "SQS", "dead letters", "aws_sqs_queue.dead_letters"),
    "table": Box(2, 2, "DynamoDB", "one table", "aws_dynamodb_table.conversations"),
    "watch": Box(3, 2, "CloudWatch", "logs, alarms, dashboard", "aws_cloudwatch_dashboard.chat"),
}

ARROWS = (
    Arrow("page", "client", "its files"),
    Arrow("api", "authorizer", "$connect: whose token?"),
    Arrow("client", "api", "1  a frame", 1),
    Arrow("api", "client", "6  frames", -1),
    Arrow("api", "function", "2  an event, async", 1),
    Arrow("function", "api", "6  posts", -1),
    Arrow("function", "table", "3  claim, history\n7  save"),
    Arrow("function", "bedrock", "4  one request", 1),
    Arrow("bedrock", "function", "5  chunks", -1),
    Arrow("function", "dead", "events that failed"),
    Arrow("function", "watch", "a line a turn"),
)

LEFT, TOP = 20, 20
WIDE, TALL = 170, 64  # a box
PITCH_X, PITCH_Y = 312, 140
LANE = 13  # how far beside the middle

_STYLE = """
.b{fill:#f6f8fa;stroke:#8c959f}.t{font:600 15px system-ui,sans-serif;fill:#1f2328}
.s{font:12px system-ui,sans-serif;fill:#59636e}.l{font:12px system-ui,sans-serif;fill:#1f2328}
.a{stroke:#2f7d4f;stroke-width:1.6;fill:none}.h{fill:#2f7d4f}
@media(prefers-color-scheme:dark){.b{fill:#151b23;stroke:#656c76}.t,.l{fill:#e6edf3}
.s{fill:#9198a1}.a{stroke:#4fb37a}.h{fill:#4fb37a}}
""".strip()

_HEAD = (
    '<marker id="head" viewBox="0 0 8 8" refX="8" refY="4" markerWidth="8" markerHeight="8" '
    'orient="auto"><path class="h" d="M0 0 8 4 0 8z"/></marker>'
)


def drawn() -> str:
    """The picture."""
    columns, rows = (
        1 + max(getattr(b, side) for b in BOXES.values()) for side in ("column", "row")
    )
    width = 2 * LEFT + (columns - 1) * PITCH_X + WIDE
    height = 2 * TOP + (rows - 1) * PITCH_Y + TALL
    parts = [
        (
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" '
            f'width="{width}" height="{height}" role="img">'
        ),
        f"<title>{escape(_in_words())}</title>",
        f"<style>{_STYLE}</style><defs>{_HEAD}</defs>",
        *(_box(box) for box in BOXES.values()),
        *(_arrow(arrow) for arrow in ARROWS),
        "</svg>",
    ]
    return "\n".join(parts) + "\n"


def _in_words() -> str:
    """For whoever cannot see it."""
    return "; ".join(
        f"{BOXES[a.start].title} to {BOXES[a.end].title}: {' '.join(a.label.split())}"
        for a in ARROWS
    )


def _corner(box: Box) -> tuple[int, int]:
    return LEFT + box.column * PITCH_X, TOP + box.row * PITCH_Y


def _box(box: Box) -> str:
    x, y = _corner(box)
    middle = x + WIDE // 2
    return (
        f'<rect class="b" x="{x}" y="{y}" width="{WIDE}" height="{TALL}" rx="8"/>'
        f'<text class="t" x="{middle}" y="{y + 28}" text-anchor="middle">{escape(box.title)}</text>'
        f'<text class="s" x="{middle}" y="{y + 47}" text-anchor="middle">{escape(box.text)}</text>'
    )


def _arrow(arrow: Arrow) -> str:
    (x1, y1), (x2, y2), label = _ends(arrow)
    return f'<path class="a" marker-end="url(#head)" d="M{x1} {y1} {x2} {y2}"/>{label}'


def _ends(arrow: Arrow) -> tuple[tuple[int, int], tuple[int, int], str]:
    """Where it begins and ends, and its label."""
    start, end = BOXES[arrow.start], BOXES[arrow.end]
    (x1, y1), (x2, y2) = _corner(start), _corner(end)
    right, down = (end.column > start.column) - (end.column < start.column), end.row - start.row
    middle_x, middle_y = WIDE // 2, TALL // 2
    if right == 0:  # up or down, the label on the right
        near, far = (y1 + TALL, y2) if down > 0 else (y1, y2 + TALL)
        x = x1 + middle_x
        return (x, near), (x, far), _label(x + 8, (near + far) // 2, arrow.label, "start")
    if down == 0:  # sideways, the label above or below
        near, far = (x1 + WIDE, x2) if right > 0 else (x1, x2 + WIDE)
        y = y1 + middle_y - LANE * arrow.lane
        above = y - 8 if arrow.lane >= 0 else y + 18
        return (near, y), (far, y), _label((near + far) // 2, above, arrow.label, "middle")
    # Across: from a lower corner to an upper one.
    near, far = (x1 + WIDE - 12, x2 + 12) if right > 0 else (x1 + 12, x2 + WIDE - 12)
    at = (near + far) // 2 + 12 * right
    side = "start" if right > 0 else "end"
    return (near, y1 + TALL), (far, y2), _label(at, (y1 + TALL + y2) // 2, arrow.label, side)


def _label(x: int, y: int, text: str, anchor: str) -> str:
    lines = text.split("\n")
    first = y - 8 * (len(lines) - 1)
    return "".join(
        f'<text class="l" x="{x}" y="{first + 16 * at}" text-anchor="{anchor}" '
        f'xml:space="preserve">{escape(line)}</text>'
        for at, line in enumerate(lines)
    )
