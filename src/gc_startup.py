"""While the function starts nothing becomes garbage, so nobody looks for any.

Importing makes some hundred thousand objects that all stay. Python's collector, which runs as they
grow in number, would look through them again and again, at a tenth of a cold start's CPU.

`handler` imports this first, and ends it with `done`.
"""

import gc

gc.disable()


def done() -> None:
    """From here on garbage is collected, and never looked for among what is there already."""
    gc.freeze()
    gc.enable()
