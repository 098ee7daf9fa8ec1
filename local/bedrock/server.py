"""Bedrock Runtime on loopback, `python -m local.bedrock`: InvokeModelWithResponseStream only.

Rules:
- The binary stream is Bedrock's: unmodified SDKs work. Each message is sent as soon as it exists.
- When a client disconnects, generation stops.
- Prompts, answers and requests are never logged.
- It prints one line, `listening: http://127.0.0.1:<port>`, when it is ready, and ends on SIGTERM or
  when its standard input ends.
- `GET /_calls` returns counters (see `Calls`); with `?text=TEXT`, of the calls whose last user text
  is TEXT. `DELETE /_calls` resets them. Bedrock has no such routes.

Does not know: authorization. A request must carry a signature (`AWS4-HMAC-SHA256`) or a bearer
token, as on AWS, but neither is verified. No quotas, no guardrails, no other operation. Claude's
first chunk has the input tokens before the model has counted them: there they are estimated. The
metrics of the last chunk have the model's own count.
"""

import argparse
import asyncio
import contextlib
import signal
import sys
import time
import uuid
from collections.abc import AsyncGenerator, AsyncIterator, Iterable, Sequence
from dataclasses import asdict, dataclass, replace

from aiohttp import web

from local.bedrock import eventstream, families
from local.bedrock.models import Model, ModelUnavailableError, open_model
from local.bedrock.native import Chunk, ChunkWriter
from local.bedrock.pieces import End, Fault, Piece, Reasoning, ServiceError, Text, Unknown
from local.processes import on_end_of_input

HOST = "127.0.0.1"
MAX_BODY_BYTES = 25_000_000  # Bedrock Runtime API reference, InvokeModelWithResponseStream: body
STALL_SECONDS = 300  # ours: longer than any read timeout, and finite
SHUTDOWN_SECONDS = 0.1  # ours: streams that are still open then are aborted

_AUTHORIZATIONS = ("AWS4-HMAC-SHA256 ", "Bearer ")
_ERROR_NAMESPACE = "http://internal.amazon.com/coral/com.amazon.bedrock/"


@dataclass(frozen=True, slots=True)
class Calls:
    """Counters since the start or the last reset.

    Each of `calls` ends as one of `refused` (an HTTP error), `finished` (with the last chunk),
    `faulted` (a fault or error inside the stream) or `abandoned` (the client disconnected).
    `chunks` of text or reasoning have been sent in `charged` calls: an answer without any costs
    nothing.
    """

    calls: int = 0
    refused: int = 0
    finished: int = 0
    faulted: int = 0
    abandoned: int = 0
    chunks: int = 0
    charged: int = 0


class Endpoint:
    """The HTTP routes, with a model behind them."""

    def __init__(self, model: Model, default: families.Family | None = None) -> None:
        """`default`: the family of ARNs that do not reveal theirs."""
        self._model = model
        self._default = default
        self._calls: dict[int | None, Calls] = {}  # by the hash of the last user text; None: all

    def application(self) -> web.Application:
        """Returns the application with its routes."""
        app = web.Application(client_max_size=MAX_BODY_BYTES)
        # A model id may be an ARN, whose slash some clients send as it is.
        app.router.add_post("/model/{id:.+}/invoke-with-response-stream", self._invoke)
        app.router.add_get("/_calls", self._get_calls)
        app.router.add_delete("/_calls", self._reset_calls)
        return app

    async def _get_calls(self, request: web.Request) -> web.Response:
        text = request.query.get("text")
        calls = self._calls.get(None if text is None else hash(text), Calls())
        return web.json_response(asdict(calls))

    async def _reset_calls(self, _request: web.Request) -> web.Response:
        self._calls.clear()
        return web.Response(status=204)

    def _count(self, counter: str, *keys: int | None) -> None:
        for key in keys:
            calls = self._calls.get(key, Calls())
            self._calls[key] = replace(calls, **{counter: getattr(calls, counter) + 1})

    async def _invoke(self, request: web.Request) -> web.StreamResponse:
        self._count("calls", None)
        keys: list[int | None] = [None]
        try:
            _authorize(request)
            family, model_id = families.resolve(request.match_info["id"], self._default)
            prompt = families.read(family, await _body(request))
            keys.append(hash(prompt.last_user_text))
            self._count("calls", keys[-1])
            writer = family.writer(model_id, prompt)
            async with contextlib.aclosing(self._model.answer(prompt)) as pieces:
                timer = _Timer()
                first = await anext(pieces)  # an error up to here is an HTTP error
                timer.first_byte()
                stream = _Stream(request, writer, timer)
                self._count(await self._relay(stream, first, pieces, keys), *keys)
                return stream.response
        except ServiceError as error:
            self._count("refused", *keys)
            return _error_response(error)
        except (asyncio.CancelledError, ConnectionError):
            self._count("abandoned", *keys)
            raise

    async def _relay(
        self,
        stream: "_Stream",
        first: Piece,
        rest: AsyncGenerator[Piece, None],
        keys: Sequence[int | None],
    ) -> str:
        """Sends the answer and returns its outcome, the name of a counter."""
        await stream.begin()
        outcome, charged = "faulted", False
        try:
            async for piece in _chain(first, rest):
                if isinstance(piece, Fault):
                    await stream.apply_fault(piece)
                    return outcome
                await stream.write(piece)
                if isinstance(piece, Text | Reasoning):
                    self._count("chunks", *keys)
                    if not charged:
                        self._count("charged", *keys)
                    charged = True
                elif isinstance(piece, End):
                    outcome = "finished"
        except ServiceError as error:
            await stream.write_exception(error)
        await stream.response.write_eof()
        return outcome


def _authorize(request: web.Request) -> None:
    if not request.headers.get("Authorization", "").startswith(_AUTHORIZATIONS):
        raise ServiceError("MissingAuthenticationTokenException")


async def _body(request: web.Request) -> bytes:
    try:
        return await request.read()
    except web.HTTPRequestEntityTooLarge:
        raise ServiceError(
            "ValidationException", "Input is too long for requested model."
        ) from None


async def _chain(first: Piece, rest: AsyncGenerator[Piece, None]) -> AsyncIterator[Piece]:
    yield first
    async for piece in rest:
        yield piece


def _error_response(error: ServiceError) -> web.Response:
    response = web.json_response(error.body, status=error.spec.status)
    response.headers["x-amzn-RequestId"] = str(uuid.uuid4())
    response.headers["x-amzn-ErrorType"] = f"{error.code}:{_ERROR_NAMESPACE}"
    return response


class _Timer:
    """Measures the latencies of one call, in milliseconds."""

    def __init__(self) -> None:
        self._start = self._first = time.monotonic()

    def first_byte(self) -> None:
        self._first = time.monotonic()

    def metrics(self, end: End) -> dict[str, int]:
        return {
            "inputTokenCount": end.input_tokens,
            "outputTokenCount": end.output_tokens,
            "invocationLatency": round(1000 * (time.monotonic() - self._start)),
            "firstByteLatency": round(1000 * (self._first - self._start)),
        }


class _Stream:
    """One response: writes pieces as messages of the event stream."""

    def __init__(self, request: web.Request, writer: ChunkWriter, timer: _Timer) -> None:
        self._request = request
        self._writer = writer
        self._timer = timer
        self.response = web.StreamResponse(
            headers={
                "Content-Type": eventstream.CONTENT_TYPE,
                "x-amzn-RequestId": str(uuid.uuid4()),
                "X-Amzn-Bedrock-Content-Type": "application/json",
            }
        )

    async def begin(self) -> None:
        self.response.enable_chunked_encoding()
        await self.response.prepare(self._request)
        await self._send(self._writer.begin())

    async def write(self, piece: Piece) -> None:
        match piece:
            case Text(text):
                await self._send(self._writer.text(text))
            case Reasoning(text):
                await self._send(self._writer.reasoning(text))
            case End():
                await self._send(self._writer.end(piece, self._timer.metrics(piece)))
            case Unknown():
                await self.response.write(
                    eventstream.event("somethingNew", {"text": "not for you"})
                )
                await self._send(self._writer.unknown())

    async def write_exception(self, error: ServiceError) -> None:
        await self.response.write(eventstream.exception(error.exception_type, error.body))

    async def apply_fault(self, fault: Fault) -> None:
        """Ends the stream as the fault prescribes."""
        error = ServiceError(fault.kind, fault.message)
        match fault.kind:
            case "cut":
                if self._request.transport:
                    self._request.transport.abort()
                return
            case "stall":
                await asyncio.sleep(STALL_SECONDS)
            case "truncate":
                pass
            case "bad_crc":
                [*_, chunk] = self._writer.text("corrupt")
                await self.response.write(eventstream.with_bad_checksum(eventstream.chunk(chunk)))
            case "error":
                message = fault.message or "An internal failure."
                await self.response.write(eventstream.error("InternalFailure", message))
            case _ if fault.as_event:
                await self.response.write(eventstream.event(error.exception_type, error.body))
            case _:
                await self.write_exception(error)
        await self.response.write_eof()

    async def _send(self, chunks: Iterable[Chunk]) -> None:
        for chunk in chunks:
            await self.response.write(eventstream.chunk(chunk))


async def serve(model: Model, port: int, default: families.Family | None = None) -> None:
    """Serves on loopback until a signal or the end of input. Raises ModelUnavailableError."""
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)

    def input_ended() -> None:
        with contextlib.suppress(RuntimeError):  # the loop is closed already
            loop.call_soon_threadsafe(stop.set)

    if not sys.stdin.isatty():
        on_end_of_input(input_ended)
    await model.start()
    runner = web.AppRunner(
        Endpoint(model, default).application(),
        access_log=None,
        handler_cancellation=True,  # cancels a handler whose client has disconnected
        shutdown_timeout=SHUTDOWN_SECONDS,
    )
    try:
        await runner.setup()
        await web.TCPSite(runner, HOST, port).start()
        print(f"listening: http://{HOST}:{runner.addresses[0][1]}", flush=True)
        await stop.wait()
    finally:
        await runner.cleanup()
        await model.close()


def main() -> None:
    """Parses the arguments and serves."""
    parser = argparse.ArgumentParser(
        prog="python -m local.bedrock", description=__doc__.split("\n")[0]
    )
    parser.add_argument(
        "--model", default="smollm2", help="smollm2, scripted or http://host:port/v1"
    )
    parser.add_argument(
        "--remote-model", default="", help="the model's name at that URL (default: its first)"
    )
    parser.add_argument("--port", type=int, default=0, help="0 (default): any free port")
    parser.add_argument(
        "--family",
        choices=[family.name for family in families.FAMILIES],
        help="of ARNs that do not reveal it: application inference profiles, imported models",
    )
    options = parser.parse_args()
    default = next((row for row in families.FAMILIES if row.name == options.family), None)
    try:
        asyncio.run(serve(open_model(options.model, options.remote_model), options.port, default))
    except ModelUnavailableError as error:
        sys.exit(str(error))


if __name__ == "__main__":
    main()
