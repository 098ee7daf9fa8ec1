"""boto3 without what other services need: a session whose clients are made fast.

Rules
- The clients are boto3's own, and behave as boto3's do; left out is only what cannot concern these
  services: event handlers of other services, and listing the folders of all 440 services.
- It works with botocore's whole data, as installed, and with the part of it that
  `deploy/package.py` puts into the zip.

Does not know what the clients are for, or how each is configured. What it saves of a cold start is
in docs/decisions/0012-cold-start.md.
"""

from typing import Any

import boto3
import botocore.session
import msgspec
from botocore.handlers import BUILTIN_HANDLERS, REGISTER_FIRST, REGISTER_LAST
from botocore.hooks import EventAliaser, HierarchicalEmitter
from botocore.loaders import JSONFileLoader, Loader

# The services that clients can be made for. None of them has been renamed (botocore.utils,
# EVENT_ALIASES).
SERVICES = ("apigatewaymanagementapi", "bedrock-runtime", "dynamodb")


def session() -> boto3.Session:
    """A session for `SERVICES`, with Region and credentials from the environment."""
    emitter = EventAliaser(HierarchicalEmitter(), {})
    register = {REGISTER_FIRST: emitter.register_first, REGISTER_LAST: emitter.register_last}
    for event, handler, *order in BUILTIN_HANDLERS:
        if concerns(event):
            register.get(order[0] if order else None, emitter.register)(event, handler)
    lean = botocore.session.Session(include_builtin_handlers=False)
    lean.register_component("event_emitter", emitter)
    lean.register_component("data_loader", _Data())
    return boto3.Session(botocore_session=lean)


def concerns(event: str) -> bool:
    """Whether an event of that name can happen to `SERVICES`: `<what>.<service>.<operation>`.

    Documentation is generated for people at a terminal only.
    """
    what, *rest = event.split(".")
    return what != "docs" and (not rest or rest[0] in SERVICES or "*" in rest[0])


class _JsonFiles(JSONFileLoader):
    """The same files, decoded by msgspec: in plain dicts, which keep their order."""

    def _load_file(self, full_path: str, open_method: Any) -> Any:
        try:
            with open_method(full_path, "rb") as file:
                return msgspec.json.decode(file.read())
        except FileNotFoundError:
            return None


class _Data(Loader):
    """botocore's data on services, of which `SERVICES` are known to exist."""

    def __init__(self) -> None:
        super().__init__(
            file_loader=_JsonFiles(),
            extra_search_paths=[self.BUILTIN_DATA_PATH],
            include_default_search_paths=False,
        )

    def list_available_services(self, type_name: str) -> list[str]:  # noqa: ARG002 - as botocore's
        """The names, without a look at the folders."""
        return list(SERVICES)
