"""Where tests leave lines to print when all is over."""

import pytest

TOLD = pytest.StashKey[list[str]]()
