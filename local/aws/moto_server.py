"""AWS without an account: moto's server in a process of its own, `python -m local.aws`.

Rules: loopback only; everything is in memory and gone when the process ends, which it does on
SIGTERM or when its standard input ends. It prints one line, `listening: http://127.0.0.1:<port>`,
once it serves.

moto's transactions are not safe from each other: two threads inside it have been seen to take one
lease, both. So it answers one request at a time, which costs nothing, for it is all Python. Nor
does it know a transaction that it sees twice; DynamoDB does, by its token, and so does this. moto
copies a whole table, item by item, for each write of a transaction; here only the partitions that
are written to are copied, or a thousand turns would take it seconds each.

What it does not know: who may do what (no credentials are checked), throughput limits, and deletion
by TTL: an item past its time stays until somebody deletes it, so readers must look at the time
themselves, as they must on AWS, where deletion may take days. A query costs more the longer its
partition is; on AWS it does not.
"""

import argparse
import copy
import io
import json
import logging
import os
import signal
import threading
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any

from local.processes import on_end_of_input

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIApplication, WSGIEnvironment
    from werkzeug.serving import BaseWSGIServer

REGION = "us-east-1"
# moto takes any; real ones must never be needed, nor used by mistake.
CREDENTIALS = {
    "AWS_ACCESS_KEY_ID": "local",
    "AWS_SECRET_ACCESS_KEY": "local",
    "AWS_SESSION_TOKEN": "local",
}
# Keeps the files in a developer's ~/.aws out of a process.
NO_CONFIGURATION = {
    "AWS_CONFIG_FILE": os.devnull,
    "AWS_SHARED_CREDENTIALS_FILE": os.devnull,
}


def create_table(endpoint: str, name: str) -> None:
    """Makes the table that src/ expects: `pk` and `sk` strings, TTL on `expires_at`.

    Raises botocore's ClientError if there is one of that name. Reads the caller's AWS settings, as
    boto3 always does: a profile that does not exist is an error.
    """
    import boto3  # noqa: PLC0415 - slow to import, and whoever imports this module may not need it

    client = boto3.Session(
        CREDENTIALS["AWS_ACCESS_KEY_ID"],
        CREDENTIALS["AWS_SECRET_ACCESS_KEY"],
        CREDENTIALS["AWS_SESSION_TOKEN"],
        region_name=REGION,
    ).client("dynamodb", endpoint_url=endpoint)
    try:
        client.create_table(
            TableName=name,
            KeySchema=[
                {"AttributeName": "pk", "KeyType": "HASH"},
                {"AttributeName": "sk", "KeyType": "RANGE"},
            ],
            AttributeDefinitions=[
                {"AttributeName": "pk", "AttributeType": "S"},
                {"AttributeName": "sk", "AttributeType": "S"},
            ],
            BillingMode="PAY_PER_REQUEST",
        )
        client.update_time_to_live(
            TableName=name,
            TimeToLiveSpecification={"Enabled": True, "AttributeName": "expires_at"},
        )
    finally:
        client.close()


def main() -> None:
    """Serves until it is told to stop."""
    parser = argparse.ArgumentParser(prog="python -m local.aws", description="moto on loopback")
    parser.add_argument("--port", type=int, default=0, help="0 (default): any free port")
    parser.add_argument("--table", help="a DynamoDB table to make before it listens")
    asked = parser.parse_args()

    def prepare(url: str) -> None:
        if asked.table:
            create_table(url, asked.table)

    serve(asked.port, prepare)


def serve(port: int, prepare: Callable[[str], None] = lambda _url: None) -> None:
    """Serves moto until it is told to stop; `prepare` gets its URL before anybody else does."""
    stop = threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: stop.set())
    on_end_of_input(stop.set)

    server = _server(port)
    threading.Thread(target=server.serve_forever, name="moto", daemon=True).start()
    url = f"http://127.0.0.1:{server.server_port}"
    prepare(url)
    print(f"listening: {url}", flush=True)
    stop.wait()  # moto's thread is a daemon, and there is nothing to save


def _server(port: int) -> "BaseWSGIServer":
    """Serves moto as it serves itself, but behind a lock."""
    from moto.moto_server.werkzeug_app import (  # noqa: PLC0415 - importing it changes the process
        DomainDispatcherApplication,
        create_backend_app,
    )
    from werkzeug.serving import make_server  # noqa: PLC0415 - as above

    logging.getLogger("werkzeug").setLevel(logging.ERROR)  # no line per request
    return make_server(
        "127.0.0.1",
        port,
        _OneAtATime(DomainDispatcherApplication(create_backend_app)),
        threaded=True,
    )


class _OneAtATime:
    """moto behind a lock, with transactions as DynamoDB has them."""

    def __init__(self, moto: "WSGIApplication") -> None:
        from moto.dynamodb.models.table import Table  # noqa: PLC0415 - as in `_server`

        self._moto = moto
        self._lock = threading.Lock()
        self._done: set[str] = set()  # the tokens of transactions that went through
        self._partitions: set[str] = set()  # those that the one under way writes to

        def put_aside(table: Any, memo: dict[int, Any]) -> Any:
            return self._copy(table, memo)

        Table.__deepcopy__ = put_aside  # type: ignore[attr-defined]

    def __call__(
        self, environ: "WSGIEnvironment", start_response: "StartResponse"
    ) -> "Iterable[bytes]":
        transaction = _transaction(environ)
        token = transaction.get("ClientRequestToken", "")
        with self._lock:
            if token in self._done:
                start_response("200 OK", [("Content-Type", "application/x-amz-json-1.0")])
                return [b"{}"]

            def started(status: str, *rest: Any) -> Any:
                if token and status.startswith("200"):
                    self._done.add(token)
                return start_response(status, *rest)

            writes = [next(iter(write.values())) for write in transaction.get("TransactItems", [])]
            self._partitions = {(w.get("Key") or w["Item"])["pk"]["S"] for w in writes}
            return self._moto(environ, started)

    def _copy(self, table: Any, memo: dict[int, Any]) -> Any:
        """A table as moto puts it aside, to come back to where a transaction fails."""
        aside = copy.copy(table)
        aside.items = table.items.copy()
        for key, partition in table.items.items():
            if key.value in self._partitions:
                aside.items[key] = copy.deepcopy(partition, memo)
        return aside


def _transaction(environ: "WSGIEnvironment") -> dict[str, Any]:
    """What a transaction says; empty for all else."""
    if not environ.get("HTTP_X_AMZ_TARGET", "").endswith(".TransactWriteItems"):
        return {}
    body = environ["wsgi.input"].read(int(environ["CONTENT_LENGTH"]))
    environ["wsgi.input"] = io.BytesIO(body)
    said: dict[str, Any] = json.loads(body)
    return said


if __name__ == "__main__":
    main()
