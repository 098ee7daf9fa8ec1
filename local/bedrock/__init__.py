"""A stand-in for Bedrock Runtime on loopback, and the models behind it.

It reads requests and writes answers by the services' documentation, independently of `src/`: a
misreading there must not repeat itself here. One table is shared, because two copies of it came to
disagree: `families.registry` says which model id belongs to which family. Its root, `src/`, is
therefore appended to the module search path.
"""

import sys
from pathlib import Path

sys.path.append(str(Path(__file__).resolve().parents[2] / "src"))
