"""Lambda environments that can be killed at any step: the real handler, a thread for each event.

Rules
- Every outside call of an environment passes `Environment._intercept`, under a name
  (`support.call_names`). An environment that was killed makes no more calls, not even from
  exception handlers.
- DynamoDB is moto in this process, one call at a time (`local.aws` explains why). A read that is
  repeated while nothing was written gets the same response again, without moto. Posts go to
  `World`, which records them and knows which connections are open. Bedrock is real HTTP.
- Time stands still until a test advances it: `World.clock`, which the leases read.

Does not know: cold starts, event queues, or what a client may expect (`session_model`).
"""

import copy
import itertools
import json
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, cast

from msgspec.structs import replace
from support.aws_clients import bedrock_at, dynamodb
from support.call_names import dynamodb_call, post_call
from support.controlled_bedrock import ControlledAnswer, ControlledModel

import handler
from bedrock_stream import Model
from families.registry import family_of
from local.aws.moto_server import define_table
from posting import Poster
from services import Services
from settings import load
from store import table
from store.budget import Budget
from store.connections import Connections
from store.conversations import Conversations
from store.leases import Leases
from store.sessions import Sessions
from store.uploads import Uploads

PATIENCE = 60.0  # seconds after which a condition that never holds is a failure
READS = ("GetItem", "Query")

Frame = dict[str, Any]
Step = tuple[str, str]  # the name of a call; "before" or "after" it
ANY_STEP: Step = ("", "")
Call = Callable[[], Any]
Intercept = Callable[[str, Call], Any]


class KilledError(BaseException):
    """The environment was killed. No exception handler of the function catches this."""


class Context:
    """Lambda's context, with ample time left."""

    def get_remaining_time_in_millis(self) -> int:
        return 600_000


def wait_until(condition: Callable[[], bool]) -> None:
    """Returns when the condition holds; fails if it does not within PATIENCE."""
    deadline = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < deadline, "the condition never held"
        time.sleep(0.001)


@dataclass(eq=False)
class World:
    """What all environments share: AWS, the connections, and the clock (ms).

    `limits` are the budget's requests and tokens. `posts` are all frames with their connections.
    """

    bedrock: str
    model: ControlledModel
    clock: int = 1_000_000
    open_connections: set[str] = field(default_factory=set)
    posts: list[tuple[str, Frame]] = field(default_factory=list)
    limits: tuple[int, int] = (0, 0)
    table: str = ""
    environments: list["Environment"] = field(default_factory=list)
    _number: Any = field(default_factory=itertools.count)
    _dynamodb_lock: Any = field(default_factory=threading.RLock)
    _read: dict[tuple[str, str], Any] = field(default_factory=dict)  # since the last write

    def __post_init__(self) -> None:
        self.dynamodb = dynamodb()
        self.runtime = bedrock_at(self.bedrock, 60)
        environment = {"TABLE_NAME": "chat", "AUTH": "none", "CALLBACK_URL": "https://a.example"}
        sizes = {"HISTORY_TOKENS": "1000", "MAX_OUTPUT_TOKENS": "100"}
        self.settings = load({**environment, **sizes})

    def reset(self, requests: int, tokens: int) -> None:
        """Starts again with an empty table."""
        if self.table:
            self.dynamodb.delete_table(TableName=self.table)
        self.table = f"chat-{self.unique('')}"
        define_table(self.dynamodb, self.table)
        self.limits = requests, tokens
        self.open_connections.clear()
        self.posts.clear()
        self.model.answers.clear()

    def finish(self) -> None:
        """Lets everything that still runs end, and waits for it."""
        for answer in self.model.answers.values():
            answer.allow(answer.total)
        for each in self.environments:
            each.thaw()
            if each.ident:
                each.join(PATIENCE)
        self.environments.clear()

    def unique(self, kind: str) -> str:
        """A name that nothing else has."""
        return f"{kind}{next(self._number)}"

    def services(
        self, intercept: Intercept, system_prompt: str, posts: list[tuple[str, Frame]]
    ) -> Services:
        """The function's services, of one environment alone; `posts` gets what it delivers."""
        store = table.Table(self._intercepted_dynamodb(intercept), self.table)
        conversations = Conversations(store, 30)
        leases = Leases(store, conversations, Budget(*self.limits))
        model_id, poster = self.settings.model_id, Recorder(self, intercept, posts)
        return Services(
            settings=replace(self.settings, system_prompt=system_prompt),
            model=Model(self.runtime, model_id, family_of(model_id)),
            connections=Connections(store),
            conversations=conversations,
            leases=leases,
            sessions=Sessions(store, conversations, leases),
            uploads=Uploads(store, self.settings.max_input_bytes),
            poster_for=lambda *_: cast("Poster", poster),
        )

    def _intercepted_dynamodb(self, intercept: Intercept) -> Any:
        """A copy of the client whose every call passes `intercept`."""

        def call(operation: str, request: Any) -> Any:
            name = dynamodb_call(operation, request)
            return intercept(name, lambda: self._call(operation, request))

        copied = object.__new__(type(self.dynamodb))
        vars(copied).update(vars(self.dynamodb))
        vars(copied)["_make_api_call"] = call
        return copied

    def _call(self, operation: str, request: Any) -> Any:
        key = operation, repr(request)
        with self._dynamodb_lock:
            if operation not in READS:
                self._read.clear()
                return self.dynamodb._make_api_call(operation, request)
            if key not in self._read:
                self._read[key] = self.dynamodb._make_api_call(operation, request)
            return copy.deepcopy(self._read[key])


@dataclass(frozen=True)
class Recorder:
    """A `Poster` that records what it delivers, in `world.posts` and in `posts`."""

    world: World
    intercept: Intercept
    posts: list[tuple[str, Frame]]

    def post(self, connection_id: str, body: bytes) -> int:
        return int(self.intercept(post_call(body), lambda: self._post(connection_id, body)))

    def _post(self, connection_id: str, body: bytes) -> int:
        if connection_id not in self.world.open_connections:
            return 410
        delivered = connection_id, json.loads(body)
        self.world.posts.append(delivered)
        self.posts.append(delivered)
        return 200


class Environment(threading.Thread):
    """A Lambda environment that handles one event.

    It is killed at the step `kill_at`, if given, and stops at `freeze_at` until a test thaws it.
    `posts` are the frames that it delivered, with their connections; `polls` counts its reads and
    renewals of the session's head; `acquired` says whether it took the session's lease.
    """

    def __init__(
        self, world: World, event: Any, answer: ControlledAnswer, kill_at: Step | None = None
    ) -> None:
        super().__init__(name="lambda", daemon=True)
        self._event = event
        self.kill_at = kill_at
        self.answer = answer
        self.posts: list[tuple[str, Frame]] = []
        self.acquired = False
        self.freeze_at: Step | None = None
        self.frozen = threading.Event()
        self._thawed = threading.Event()
        self.polls = 0
        self.killed = False
        self.failure: BaseException | None = None
        name = world.unique("lambda")
        world.environments.append(self)
        world.model.answers[name] = answer
        self._app = world.services(self._intercept, name, self.posts)

    def run(self) -> None:
        try:
            assert handler.OK == handler.handle(self._app, self._event, Context())
        except KilledError:
            pass
        except BaseException as error:  # noqa: BLE001 - raised again by `finished`
            self.failure = error

    def finished(self) -> bool:
        """Whether it ended or was killed. Raises the exception that it failed with, if any."""
        if self.failure:
            raise self.failure
        return not self.is_alive()

    def kill(self) -> None:
        """Kills it at its next call."""
        self.killed = True

    def thaw(self) -> None:
        """Lets it continue from `freeze_at`."""
        self._thawed.set()

    def frames(self, connection_id: str) -> list[Frame]:
        """The frames that it delivered to this connection."""
        return [frame for where, frame in self.posts if where == connection_id]

    def _intercept(self, name: str, call: Call) -> Any:
        self._reach((name, "before"))
        result = call()
        self.acquired = self.acquired or name == "acquire"
        self._reach((name, "after"))
        self.polls += name in ("poll", "renew")
        return result

    def _reach(self, step: Step) -> None:
        self.killed = self.killed or self.kill_at == step
        if self.killed:
            raise KilledError
        if self.freeze_at in (step, ANY_STEP):
            self.freeze_at = None
            self.frozen.set()
            self._thawed.wait()
