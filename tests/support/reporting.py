"""Lines that tests add to the report at the end of the run, also from the workers of xdist."""

import pytest

REPORT_LINES = pytest.StashKey[list[str]]()
