"""API Gateway's mapping templates: Velocity by a library, plus the variables that AWS adds.

A template sees `$context` (a request context), `$input.body` (the frame as text) and, of `$util`,
the functions below: those that are safe for any text.
Values are inserted as they are and never evaluated as Velocity, so `$` and `#` in a body are
preserved. An undefined reference renders as the empty string, as on AWS (but the library treats it
as true in an `#if`: do not rely on either).
This module does not know what a template is for, nor that its output should be JSON.
"""

import base64
import re
from collections.abc import Callable, Mapping
from typing import Any

import airspeed

_SHORT_ESCAPES = {
    "'": r"\'",  # AWS documents this one, and that JSON does not accept it
    '"': r"\"",
    "\\": r"\\",
    "/": r"\/",
    "\b": r"\b",
    "\f": r"\f",
    "\n": r"\n",
    "\r": r"\r",
    "\t": r"\t",
}
_TO_ESCAPE = re.compile(r"""['"\\/]|[^\x20-\x7f]""")


def _escape(match: re.Match[str]) -> str:
    char = match[0]
    if short := _SHORT_ESCAPES.get(char):
        return short
    # Java's strings are UTF-16: a character outside the basic plane is two escapes.
    units = char.encode("utf-16-be")
    return "".join(f"\\u{units[i]:02X}{units[i + 1]:02X}" for i in range(0, len(units), 2))


def escape_javascript(text: str) -> str:
    r"""Escape for a JavaScript string, as `$util.escapeJavaScript` does: `'` becomes `\'`."""
    return _TO_ESCAPE.sub(_escape, text)


def base64_encode(text: str) -> str:
    """Encode the text's UTF-8 bytes."""
    return base64.b64encode(text.encode()).decode("ascii")


def base64_decode(text: str) -> str:
    """Decode base64 that holds UTF-8 text."""
    return base64.b64decode(text).decode()


_UTIL: Mapping[str, Callable[[str], str]] = {
    "base64Encode": base64_encode,
    "base64Decode": base64_decode,
    "escapeJavaScript": escape_javascript,
}


class Template:
    """One mapping template, parsed once. Raises ValueError if it is not Velocity."""

    __slots__ = ("_template",)

    def __init__(self, source: str) -> None:
        self._template = airspeed.Template(source)
        try:
            self._template.ensure_compiled()
        except airspeed.TemplateError as error:
            raise ValueError(f"mapping template: {error}") from error

    def render(self, context: Mapping[str, Any], body: str) -> str:
        """Render the template: `context` as `$context`, `body` as `$input.body`.

        Raises ValueError if evaluation fails, e.g. `base64Decode` of invalid base64.
        """
        names = {"context": context, "input": {"body": body}, "util": _UTIL}
        try:
            text: str = self._template.merge(names)
        except airspeed.TemplateError as error:
            raise ValueError(f"mapping template: {error}") from error
        return text
