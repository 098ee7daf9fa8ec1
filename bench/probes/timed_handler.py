"""Our handler, with a log line of the CPU time of each event, of all threads."""

import json
import sys
import time
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "src"))

from handler import lambda_handler as measured_handler
from wire.websocket_event import Context


def lambda_handler(event: Any, context: Context) -> dict[str, Any]:
    """Handles one event."""
    start = time.process_time()
    response = measured_handler(event, context)
    cpu_ms = (time.process_time() - start) * 1000
    sys.stdout.write(json.dumps({"cpu_ms": cpu_ms}) + "\n")
    sys.stdout.flush()
    return response
