"""Text that people read uses standard technical terms.

Each expression below was used in this repository and made readers guess; beside it is what to write
instead. Messages, comments and docstrings count, since all of them are read.
"""

import re
from pathlib import Path

import pytest

from tools.__main__ import ROOT

# Regular expression: what to write instead. Only expressions without a use as a standard term.
AVOIDED = {
    r"(?:to|can|could|cannot) be had": "available; can be obtained",
    r"mend(?:s|ed|ing)?": "fix",
    r"the door": "authentication; access",
    r"(?:let|lets) (?:you |them |people |anybody |nobody )?in": "authenticated; allowed to connect",
    r"nobody|somebody|anybody|whoever|whomever": "the client, caller, user or process",
    r"tell(?! .*\bapart)|tells|told|telling": "send, report, state, return",
    r"hear|hears|heard": "receive",
    r"knocks?": "attempts to connect",
    r"bury|buried": "recover; mark as abandoned",
    r"by and by": "later",
    r"(?:go|goes|went|gone|going) on": "continue",
    r"(?:break|breaks|broke|broken) off": "incomplete; interrupted",
    r"dearest|dearer": "largest; more expensive",
    r"forgets?|forgotten": "delete; expire",
    r"slip of the pen": "typing error",
    r"talks?|talking": "connect, send, communicate",
}
PATTERN = re.compile(rf"\b(?:{'|'.join(AVOIDED)})\b", re.IGNORECASE)

SOURCES = (
    "*.md",
    "docs/**/*.md",
    "docs/protocol.schema.json",
    "events/*.md",
    "src/**/*.py",
    "bedrock_chat/*.py",
    "deploy/*.py",
    "local/**/*.py",
    "tools/*.py",
    "terraform/**/*.tf",
    "terraform/**/*.md",
    "web/*.html",
    "web/*.js",
    "Makefile",
)
# Texts that stay, by file.
EXCEPTIONS = {
    "local/auth/modes.py": "tokens for anybody",  # programs search for this line of the output
    "src/authorizer.py": '"nobody"',  # the principal of a policy that denies
}
FILES = sorted(path.relative_to(ROOT) for pattern in SOURCES for path in ROOT.glob(pattern))


@pytest.mark.parametrize("path", FILES, ids=str)
def test_standard_terms_are_used(path: Path) -> None:
    """No line uses an expression of the list."""
    text = (ROOT / path).read_text().replace(EXCEPTIONS.get(str(path), "\0"), "")
    found = [
        f"{path}:{number}: {match[0]!r} in {line.strip()}"
        for number, line in enumerate(text.splitlines(), 1)
        for match in PATTERN.finditer(line)
    ]

    assert "" == "\n".join(found)


def test_the_pattern_matches() -> None:
    """Each expression is found, in any letter case, and not inside other words."""
    assert PATTERN.search("The model is not to be had right now.")
    assert PATTERN.search("Nobody has let you in.")
    assert not PATTERN.search("Enough digits to tell two ids apart.")
    assert not PATTERN.search("Amending, stalking and foretelling are other words.")
