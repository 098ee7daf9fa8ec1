"""Lambda environments that may be killed at any step: the real handler, a thread for each event.

Rules
- Whatever an environment does in the world passes `Lambda.through`, by a name (`name_of`). One that
  was killed does nothing more; not even what an exception's handler would do.
- DynamoDB is moto in this process, one call at a time (`local.aws` says why). Posts go to `World`,
  which keeps them and knows who is gone. Bedrock is real HTTP.
- Time stands still until somebody moves it: `World.clock`, which the leases read.

Does not know: cold starts, event queues, and what is promised to whom (`test_sequences`).
"""

import itertools
import json
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, cast

import boto3
from msgspec.structs import replace
from support.controlled_bedrock import Gated, Speech

import bedrock_stream
import handler
from bedrock_stream import Model
from families.registry import family_of
from local.aws.moto_server import create_table
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

PATIENCE = 30.0  # seconds until something that never comes counts as missing
DYNAMODB = "https://dynamodb.us-east-1.amazonaws.com"

Frame = dict[str, Any]
Step = tuple[str, str]  # the name of a call; "before" or "after" it
ANYWHERE: Step = ("", "")


class KilledError(BaseException):
    """The environment is no more. No handler of the function's catches it."""


class Context:
    """Lambda's context: there is time enough."""

    def get_remaining_time_in_millis(self) -> int:
        return 600_000


def wait_until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < deadline, "it never came"
        time.sleep(0.001)


def name_of(operation: str, request: Any) -> str:
    """What a call is for, in a word."""
    match operation:
        case "PostToConnection":
            return f"post {json.loads(request['Data'])['type']}"
        case "TransactWriteItems":
            return _transaction(request["TransactItems"][0])
        case "UpdateItem" if "lease_expires_at = :lease_expires_at" in request["UpdateExpression"]:
            return "renew"
        case "GetItem" if request["Key"]["sk"] == {"S": "head"}:
            return "look"
    return operation


def _transaction(first: Any) -> str:
    if "Put" in first:
        return "mark"
    if "SET active_request_id" in first["Update"]["UpdateExpression"]:
        return "claim"
    return "save" if ":listener_acked" in first["Update"]["ExpressionAttributeValues"] else "end"


def tapped(client: Any, through: Callable[[str, Any, Callable[[], Any]], Any]) -> Any:
    """The same client, whose every call passes `through`."""
    twin = object.__new__(type(client))
    vars(twin).update(vars(client))
    vars(twin)["_make_api_call"] = lambda operation, request: through(
        operation, request, lambda: client._make_api_call(operation, request)
    )
    return twin


@dataclass(eq=False)
class World:
    """What all environments share: AWS, the connections, and the clock (ms)."""

    bedrock: str
    model: Gated
    clock: int = 1_000_000
    open: set[str] = field(default_factory=set)
    posts: list[tuple[str, Frame]] = field(default_factory=list)
    limits: tuple[int, int] = (0, 0)  # the budget: requests, tokens
    table: str = ""
    lambdas: list["Lambda"] = field(default_factory=list)
    _number: Any = field(default_factory=itertools.count)
    _turn: Any = field(default_factory=threading.RLock)

    def __post_init__(self) -> None:
        self.dynamodb = boto3.client("dynamodb", config=table.client_config())
        self.runtime = boto3.client(
            "bedrock-runtime", endpoint_url=self.bedrock, config=bedrock_stream.client_config(60)
        )
        environment = {"TABLE_NAME": "chat", "AUTH": "none", "CALLBACK_URL": "https://a.example"}
        sizes = {"HISTORY_TOKENS": "1000", "MAX_OUTPUT_TOKENS": "100"}
        self.settings = load({**environment, **sizes})

    def begin(self, requests: int, tokens: int) -> None:
        """Makes an empty world."""
        if self.table:
            self.dynamodb.delete_table(TableName=self.table)
        self.table = f"chat-{self.name('')}"
        create_table(DYNAMODB, self.table)
        self.limits = requests, tokens
        self.open.clear()
        self.posts.clear()
        self.model.speeches.clear()

    def end(self) -> None:
        """Lets everything that still runs come to its end."""
        for speech in self.model.speeches.values():
            speech.allow(speech.all)
        for each in self.lambdas:
            each.thaw()
            if each.ident:
                each.join(PATIENCE)
        self.lambdas.clear()

    def name(self, kind: str) -> str:
        """A name that nothing else has."""
        return f"{kind}{next(self._number)}"

    def services(
        self, through: Callable[[str, Any, Callable[[], Any]], Any], name: str
    ) -> Services:
        """The function's services, of one environment alone."""

        def guarded(operation: str, request: Any, call: Callable[[], Any]) -> Any:
            def one_at_a_time() -> Any:
                with self._turn:
                    return call()

            return through(operation, request, one_at_a_time)

        kept = table.Table(tapped(self.dynamodb, guarded), self.table)
        memory = Conversations(kept, 30)
        leases = Leases(kept, memory, Budget(*self.limits))
        model_id, poster = self.settings.model_id, Recorder(self, through)
        return Services(
            settings=replace(self.settings, system_prompt=name),
            model=Model(self.runtime, model_id, family_of(model_id)),
            connections=Connections(kept),
            conversations=memory,
            leases=leases,
            sessions=Sessions(kept, memory, leases),
            uploads=Uploads(kept, self.settings.max_input_bytes),
            poster_for=lambda _: cast("Poster", poster),
        )


@dataclass(frozen=True)
class Recorder:
    """Posts into the world's record, through whatever watches the calls."""

    world: World
    through: Callable[[str, Any, Callable[[], Any]], Any]

    def post(self, connection_id: str, body: bytes) -> int:
        request = {"ConnectionId": connection_id, "Data": body}
        return int(self.through("PostToConnection", request, lambda: self._post(request)))

    def _post(self, request: Any) -> int:
        where = request["ConnectionId"]
        if where not in self.world.open:
            return 410
        self.world.posts.append((where, json.loads(request["Data"])))
        return 200


class Lambda(threading.Thread):
    """One event in an environment of its own.

    It `dies` at a step, where that is given, or `freezes` there for as long as the test likes.
    `posts` are the frames that arrived, with their connections; `looks` counts how often it looked
    into the session's head; `claimed` says whether it took its request.
    """

    def __init__(self, world: World, event: Any, speech: Speech, dies: Step | None = None) -> None:
        super().__init__(name="lambda", daemon=True)
        self._world = world
        self._event = event
        self.dies = dies
        self.speech = speech
        self.posts: list[tuple[str, Frame]] = []
        self.claimed = False
        self.freezes: Step | None = None
        self.frozen = threading.Event()
        self._thawed = threading.Event()
        self.looks = 0
        self.killed = False
        self.failure: BaseException | None = None
        name = world.name("lambda")
        world.lambdas.append(self)
        world.model.speeches[name] = speech
        self._app = world.services(self._through, name)

    def run(self) -> None:
        try:
            assert handler.OK == handler.handle(self._app, self._event, Context())
        except KilledError:
            pass
        except BaseException as error:  # noqa: BLE001 - told by whoever joins
            self.failure = error

    def over(self) -> bool:
        """Whether it ended; by itself or not, but not by a failure of its own."""
        if self.failure:
            raise self.failure
        return not self.is_alive()

    def kill(self) -> None:
        """Ends it at whatever it does next."""
        self.killed = True

    def thaw(self) -> None:
        """Lets it go on where it `freezes`."""
        self._thawed.set()

    def frames(self, connection_id: str) -> list[Frame]:
        """What it told there."""
        return [frame for where, frame in self.posts if where == connection_id]

    def _through(self, operation: str, request: Any, call: Callable[[], Any]) -> Any:
        name = name_of(operation, request)
        self._meet((name, "before"))
        done = call()
        if operation == "PostToConnection" and done == 200:
            self.posts.append((request["ConnectionId"], json.loads(request["Data"])))
        self.claimed = self.claimed or name == "claim"
        self._meet((name, "after"))
        self.looks += name in ("look", "renew")
        return done

    def _meet(self, step: Step) -> None:
        self.killed = self.killed or self.dies == step
        if self.killed:
            raise KilledError
        if self.freezes in (step, ANYWHERE):
            self.freezes = None
            self.frozen.set()
            self._thawed.wait()
