"""boto3 without what other services need: a session whose clients are made fast.

Rules
- The clients are boto3's own, and do as boto3's do; only what cannot concern these services is left
  out: event handlers and old names of other services' events, and looking through the folders of
  all 440 services for these.
- It is the same with botocore's whole data, as it is installed, and with the data that
  `deploy/package.py` puts into the zip.

Does not know what the clients are for, or how each is configured.
"""

import boto3
import botocore.session
from botocore.handlers import BUILTIN_HANDLERS, REGISTER_FIRST, REGISTER_LAST
from botocore.hooks import EventAliaser, HierarchicalEmitter
from botocore.loaders import Loader

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

    Documentation is made for people at a terminal.
    """
    what, *rest = event.split(".")
    return what != "docs" and (not rest or rest[0] in SERVICES or "*" in rest[0])


class _Data(Loader):
    """botocore's data on services, of which `SERVICES` are known to be there."""

    def __init__(self) -> None:
        super().__init__(
            extra_search_paths=[self.BUILTIN_DATA_PATH], include_default_search_paths=False
        )

    def list_available_services(self, type_name: str) -> list[str]:
        """The names, without a look at the folders."""
        del type_name
        return list(SERVICES)
