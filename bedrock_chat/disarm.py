"""Text from elsewhere, made safe for a terminal. Pure.

An answer is data: it must not move the cursor, set the title, fill the clipboard, or hide what it
says. Escape sequences begin with a control character, so none of these is let through: each is
shown as its picture (U+2400 and on), which also shows that somebody tried.
"""

_PICTURES = {code: chr(0x2400 + code) for code in range(0x20)} | {0x7F: "\u2421"}
_C1 = dict.fromkeys(range(0x80, 0xA0), "\ufffd")  # ESC [ and the like as one character
# They reorder what stands around them ("Trojan Source", CVE-2021-42574); Unicode's own marks for
# mixed text (U+200E, U+200F) stay.
_BIDI = dict.fromkeys((*range(0x202A, 0x202F), *range(0x2066, 0x206A)), "\ufffd")
_LINES = {0x2028: "\n", 0x2029: "\n"}
# A carriage return would let a line overwrite itself; before a line feed it means nothing.
_KEPT = {0x09: "\t", 0x0A: "\n", 0x0D: ""}

_TABLE = {**_PICTURES, **_C1, **_BIDI, **_LINES, **_KEPT}
_ESCAPES = {code: f"\\u{code:04x}" for code in _TABLE}


def disarm(text: str) -> str:
    """The text, with nothing in it that a terminal obeys but line feeds and tabs."""
    return text.translate(_TABLE)


def escaped(line: str) -> str:
    """A line of JSON that means the same, with nothing in it that a terminal obeys."""
    return line.translate(_ESCAPES)
