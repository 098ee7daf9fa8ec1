"""IAM's decisions, by an evaluator that is not ours (tests/e2e/iam_simulate.mjs)."""

import json
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

PROGRAM = Path(__file__).parents[1] / "e2e" / "iam_simulate.mjs"

Policy = Mapping[str, Any]


@dataclass(frozen=True)
class Question:
    """Whether `principal` may do `action` to `resource`, which is of `account`."""

    principal: str
    account: str
    action: str
    resource: str
    context: Mapping[str, str] = field(default_factory=dict, compare=False, hash=False)


@dataclass(frozen=True)
class Decision:
    """`problem`: the question makes no sense, for there is no such action, or not on that."""

    allowed: bool
    problem: str | None


@dataclass(frozen=True)
class Case:
    """Questions, with the policies of who asks and the one of what is asked for."""

    questions: Sequence[Question]
    identity: Sequence[Policy] = ()
    resource: Policy | None = None


def decide(*cases: Case) -> list[list[Decision]]:
    """A decision for each question of each case. The same question has the same decision."""
    texts = [[json.dumps(asdict(each), sort_keys=True) for each in c.questions] for c in cases]
    asked = [
        {
            "identity": case.identity,
            "resource": case.resource,
            "questions": [json.loads(text) for text in dict.fromkeys(questions)],
        }
        for case, questions in zip(cases, texts, strict=True)
    ]
    done = subprocess.run(
        ["node", str(PROGRAM)],
        input=json.dumps(asked),
        capture_output=True,
        text=True,
        check=True,
    )
    decided = (
        dict(zip(dict.fromkeys(questions), map(_decision, answers), strict=True))
        for questions, answers in zip(texts, json.loads(done.stdout), strict=True)
    )
    return [[by[t] for t in questions] for questions, by in zip(texts, decided, strict=True)]


def _decision(answer: Mapping[str, Any]) -> Decision:
    return Decision(**answer)


def less(policy: Policy) -> Iterator[tuple[str, Policy]]:
    """The policy with less in it, and what was taken out: a statement, an action, a resource."""
    statements = policy["Statement"]
    for at, statement in enumerate(statements):
        before, after = statements[:at], statements[at + 1 :]
        name = statement.get("Sid", f"statement {at}")
        yield name, {**policy, "Statement": [*before, *after]}
        for part in ("Action", "Resource"):
            values = _several(statement[part])
            for value in values if len(values) > 1 else ():
                rest = {**statement, part: [each for each in values if each != value]}
                yield f"{name}, {value}", {**policy, "Statement": [*before, rest, *after]}


def _several(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [value]
