"""Makes text from elsewhere safe to write to a terminal. Pure.

An answer is data: it must not move the cursor, set the title, fill the clipboard or hide part of
itself. Escape sequences begin with a control character, so every control character is replaced: by
its Unicode control picture (U+2400 and on), which also shows that one was there, or by U+FFFD.
"""

_PICTURES = {code: chr(0x2400 + code) for code in range(0x20)} | {0x7F: "\u2421"}
_C1 = dict.fromkeys(range(0x80, 0xA0), "\ufffd")  # one-character forms of ESC [ and the like
# These reorder the text around them ("Trojan Source", CVE-2021-42574). Unicode's implicit marks for
# mixed-direction text (U+200E, U+200F) are harmless and stay.
_BIDI = dict.fromkeys((*range(0x202A, 0x202F), *range(0x2066, 0x206A)), "\ufffd")
_LINE_SEPARATORS = {0x2028: "\n", 0x2029: "\n"}
# A carriage return would let a line overwrite itself; before a line feed it has no meaning.
_WHITE_SPACE = {0x09: "\t", 0x0A: "\n", 0x0D: ""}

_TABLE = {**_PICTURES, **_C1, **_BIDI, **_LINE_SEPARATORS, **_WHITE_SPACE}
_JSON_ESCAPES = {code: f"\\u{code:04x}" for code in _TABLE}


def sanitize(text: str) -> str:
    """Return the text without control characters other than line feed and tab."""
    return text.translate(_TABLE)


def escape_json(line: str) -> str:
    """Return an equivalent line of JSON with every control character as a JSON escape."""
    return line.translate(_JSON_ESCAPES)
