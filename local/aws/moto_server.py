"""AWS without an account: moto's server in a process of its own, `python -m local.aws`.

Rules: loopback only; everything is in memory and lost when the process ends, which it does on
SIGTERM or when its standard input closes. It prints one line, `listening: http://127.0.0.1:<port>`,
once it serves.

moto's transactions are not isolated: two threads inside it have both acquired one lease. So
requests are handled one at a time, which costs nothing, since moto is pure Python. moto also
ignores the ClientRequestToken that makes a DynamoDB transaction idempotent; it is honoured here.
And moto copies a complete table, item by item, for each write of a transaction; here only the
partitions that are written to are copied, or a transaction would take seconds after a thousand
turns. For each query, moto sorts all items of a table; here only those of the partition.

What it does not know: permissions (no credentials are checked), throughput limits, and deletion by
TTL: an expired item stays until it is deleted, so readers must check the time themselves, as on
AWS, where deletion may take days. The cost of a query grows with its partition; on AWS it does not.
"""

import argparse
import copy
import io
import json
import logging
import signal
import threading
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any

from local.aws.account import session
from local.loopback import HOST
from local.processes import on_end_of_input

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIApplication, WSGIEnvironment
    from types_boto3_dynamodb import DynamoDBClient
    from werkzeug.serving import BaseWSGIServer


def create_table(endpoint: str, name: str) -> None:
    """Creates the table that src/ expects: `pk` and `sk` strings, TTL on `expires_at`.

    Raises botocore's ClientError if a table of that name exists.
    """
    client = session().client("dynamodb", endpoint_url=endpoint)
    try:
        define_table(client, name)
    finally:
        client.close()


def define_table(client: "DynamoDBClient", name: str) -> None:
    """The same, with a client of the caller's."""
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


def main() -> None:
    """Serves until SIGTERM or the end of standard input."""
    parser = argparse.ArgumentParser(
        prog="python -m local.aws", description="Serves moto on loopback."
    )
    parser.add_argument("--port", type=int, default=0, help="0 (default): any free port")
    parser.add_argument("--table", help="a DynamoDB table to create before it is ready")
    options = parser.parse_args()

    def prepare(url: str) -> None:
        if options.table:
            create_table(url, options.table)

    serve(options.port, prepare)


def serve(port: int, prepare: Callable[[str], None] = lambda _url: None) -> None:
    """Serves moto until SIGTERM or the end of standard input.

    `prepare` is called with the URL before it is printed.
    """
    stop = threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: stop.set())
    on_end_of_input(stop.set)

    server = _server(port)
    threading.Thread(target=server.serve_forever, name="moto", daemon=True).start()
    url = f"http://{HOST}:{server.server_port}"
    prepare(url)
    print(f"listening: {url}", flush=True)
    stop.wait()  # moto's thread is a daemon, and there is nothing to save


def _server(port: int) -> "BaseWSGIServer":
    """Creates moto's own server, with `_SerializedMoto` as its application."""
    from moto.moto_server.werkzeug_app import (  # noqa: PLC0415 - importing it changes the process
        DomainDispatcherApplication,
        create_backend_app,
    )
    from werkzeug.serving import make_server  # noqa: PLC0415 - as above

    logging.getLogger("werkzeug").setLevel(logging.ERROR)  # no line per request
    return make_server(
        HOST,
        port,
        _SerializedMoto(DomainDispatcherApplication(create_backend_app)),
        threaded=True,
    )


class _SerializedMoto:
    """moto behind a lock, with idempotent transactions."""

    def __init__(self, moto: "WSGIApplication") -> None:
        from moto.dynamodb.models.table import Table  # noqa: PLC0415 - as in `_server`

        self._moto = moto
        self._lock = threading.Lock()
        self._completed: set[str] = set()  # the tokens of transactions that succeeded
        self._partitions: set[str] = set()  # those that the current transaction writes to

        def snapshot(table: Any, memo: dict[int, Any]) -> Any:
            return self._snapshot(table, memo)

        Table.__deepcopy__ = snapshot  # type: ignore[attr-defined]
        query = Table.query

        def query_partition(table: Any, hash_key: Any, *rest: Any, **more: Any) -> Any:
            everything = table.items
            if not table.all_indexes():
                table.items = {hash_key: everything[hash_key]} if hash_key in everything else {}
            try:
                return query(table, hash_key, *rest, **more)
            finally:
                table.items = everything

        Table.query = query_partition  # type: ignore[assignment,method-assign]

    def __call__(
        self, environ: "WSGIEnvironment", start_response: "StartResponse"
    ) -> "Iterable[bytes]":
        transaction = _transaction(environ)
        token = transaction.get("ClientRequestToken", "")
        with self._lock:
            if token in self._completed:
                start_response("200 OK", [("Content-Type", "application/x-amz-json-1.0")])
                return [b"{}"]

            def started(status: str, *rest: Any) -> Any:
                if token and status.startswith("200"):
                    self._completed.add(token)
                return start_response(status, *rest)

            writes = [next(iter(write.values())) for write in transaction.get("TransactItems", [])]
            self._partitions = {(w.get("Key") or w["Item"])["pk"]["S"] for w in writes}
            return self._moto(environ, started)

    def _snapshot(self, table: Any, memo: dict[int, Any]) -> Any:
        """The copy of a table that moto restores if a transaction fails."""
        snapshot = copy.copy(table)
        snapshot.items = table.items.copy()
        for key, partition in table.items.items():
            if key.value in self._partitions:
                snapshot.items[key] = copy.deepcopy(partition, memo)
        return snapshot


def _transaction(environ: "WSGIEnvironment") -> dict[str, Any]:
    """Parses a TransactWriteItems request; empty for any other request."""
    if not environ.get("HTTP_X_AMZ_TARGET", "").endswith(".TransactWriteItems"):
        return {}
    body = environ["wsgi.input"].read(int(environ["CONTENT_LENGTH"]))
    environ["wsgi.input"] = io.BytesIO(body)
    transaction: dict[str, Any] = json.loads(body)
    return transaction
