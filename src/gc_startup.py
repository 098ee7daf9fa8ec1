"""Python's garbage collector is off while the function starts.

Imports create some hundred thousand objects, and all of them stay. The collector, which runs as
their number grows, would scan them again and again: a tenth of a cold start's CPU
(docs/decisions/0012-cold-start.md).

`handler` imports this module first, and ends the start with `done`.
"""

import gc

gc.disable()


def done() -> None:
    """Turns the collector on; it never scans the objects that exist by now."""
    gc.freeze()
    gc.enable()
