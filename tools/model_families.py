"""modules/chat/families.json: the model families as Terraform validates `model_id` by them."""

import json

from families.registry import FAMILIES, REGION_PREFIX
from tools.deployment import MODULE

FILE = MODULE / "families.json"


def text() -> str:
    """Returns the file: the families by name with their id prefixes, and the Region prefix."""
    families = {family.name: family.id_prefixes for family in FAMILIES}
    content = {"families": families, "region_prefix": REGION_PREFIX.pattern}
    return json.dumps(content, indent=2) + "\n"
