"""Our handler, and after each event a line that says what CPU it took, in all its threads."""

import json
import sys
import time
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "src"))

from handler import lambda_handler as measured
from wire.websocket_event import Context


def lambda_handler(event: Any, context: Context) -> dict[str, Any]:
    """One event."""
    began = time.process_time()
    response = measured(event, context)
    took = (time.process_time() - began) * 1000
    sys.stdout.write(json.dumps({"cpu_ms": took}) + "\n")
    sys.stdout.flush()
    return response
