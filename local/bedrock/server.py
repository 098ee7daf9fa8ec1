"""Bedrock Runtime on loopback, `python -m local.bedrock`: InvokeModelWithResponseStream alone.

Rules:
- The real binary stream: unmodified SDKs talk to it. Each message leaves by itself, as it is made.
- A client that hangs up ends its stream: nothing is generated for nobody.
- Prompts and answers are never logged, and neither are requests.
- It prints one line, `listening: http://127.0.0.1:<port>`, once it serves, and ends on SIGTERM or
  when its standard input ends.
- `GET /_calls` counts (see `Calls`), `DELETE /_calls` starts again at 0. `GET /_calls?said=TEXT`
  counts alone those whose last user message is that text. Bedrock has no such thing.

Does not know: who may call. A request must carry a signature (`AWS4-HMAC-SHA256`) or a bearer
token, as on AWS, but neither is verified. No quotas, no guardrails, no other operation. Claude's
first chunk tells the input tokens before the model behind has counted: there, four characters are
one token. The metrics of the last chunk have the model's own count.
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
from local.bedrock.native import Chunk, Speech
from local.bedrock.pieces import End, Failure, Fault, Piece, Reasoning, Text, Unknown
from local.processes import on_end_of_input

HOST = "127.0.0.1"
MAX_BODY_BYTES = 25_000_000  # Bedrock Runtime API reference, InvokeModelWithResponseStream: body
STALL_SECONDS = 300  # ours: a stall outlasts any read timeout, and yet ends
SHUTDOWN_SECONDS = 0.1  # ours: streams still open at the end are cut

_AUTHORIZATIONS = ("AWS4-HMAC-SHA256 ", "Bearer ")
_ERROR_NAMESPACE = "http://internal.amazon.com/coral/com.amazon.bedrock/"


@dataclass(frozen=True, slots=True)
class Calls:
    """What happened since the start or the last reset.

    Every request is one of `calls` and ends as one of `refused` (an HTTP error), `finished` (to the
    last chunk), `faulted` (broken by a fault or failure inside the stream) or `abandoned` (the
    client hung up). `chunks` of text or reasoning were sent, in `charged` calls: an answer that was
    never begun costs nothing.
    """

    calls: int = 0
    refused: int = 0
    finished: int = 0
    faulted: int = 0
    abandoned: int = 0
    chunks: int = 0
    charged: int = 0


class Endpoint:
    """The operation, with a model behind it."""

    def __init__(self, model: Model, own: families.Family | None = None) -> None:
        """`own`: the family of ARNs that do not tell theirs."""
        self._model = model
        self._own = own
        self._calls: dict[int | None, Calls] = {}  # by the hash of what was said; None: of all

    def application(self) -> web.Application:
        """The routes."""
        app = web.Application(client_max_size=MAX_BODY_BYTES)
        # A model id may be an ARN, whose slash some clients send as it is.
        app.router.add_post("/model/{id:.+}/invoke-with-response-stream", self._invoke)
        app.router.add_get("/_calls", self._tell)
        app.router.add_delete("/_calls", self._reset)
        return app

    async def _tell(self, request: web.Request) -> web.Response:
        said = request.query.get("said")
        counts = self._calls.get(None if said is None else hash(said), Calls())
        return web.json_response(asdict(counts))

    async def _reset(self, _request: web.Request) -> web.Response:
        self._calls.clear()
        return web.Response(status=204)

    def _count(self, outcome: str, *among: int | None) -> None:
        for key in among:
            calls = self._calls.get(key, Calls())
            self._calls[key] = replace(calls, **{outcome: getattr(calls, outcome) + 1})

    async def _invoke(self, request: web.Request) -> web.StreamResponse:
        self._count("calls", None)
        among: list[int | None] = [None]
        try:
            _authorize(request)
            family, model_id = families.resolve(request.match_info["id"], self._own)
            prompt = families.read(family, await _body(request))
            among.append(hash(prompt.last_words))
            self._count("calls", among[-1])
            speech = family.speak(model_id, prompt)
            async with contextlib.aclosing(self._model.answer(prompt)) as pieces:
                clock = _Clock()
                first = await anext(pieces)  # a failure up to here is an HTTP error
                clock.first_byte()
                stream = _Stream(request, speech, clock)
                self._count(await self._relay(stream, first, pieces, among), *among)
                return stream.response
        except Failure as failure:
            self._count("refused", *among)
            return _refusal(failure)
        except (asyncio.CancelledError, ConnectionError):
            self._count("abandoned", *among)
            raise

    async def _relay(
        self,
        stream: "_Stream",
        first: Piece,
        rest: AsyncGenerator[Piece, None],
        among: Sequence[int | None],
    ) -> str:
        """Sends the answer; returns how it ended, as a name in `Calls`."""
        await stream.begin()
        outcome, charged = "faulted", False
        try:
            async for piece in _chain(first, rest):
                if isinstance(piece, Fault):
                    await stream.break_by(piece)
                    return outcome
                await stream.say(piece)
                if isinstance(piece, Text | Reasoning):
                    self._count("chunks", *among)
                    if not charged:
                        self._count("charged", *among)
                    charged = True
                elif isinstance(piece, End):
                    outcome = "finished"
        except Failure as failure:
            await stream.fail(failure)
        await stream.response.write_eof()
        return outcome


def _authorize(request: web.Request) -> None:
    if not request.headers.get("Authorization", "").startswith(_AUTHORIZATIONS):
        raise Failure("MissingAuthenticationTokenException")


async def _body(request: web.Request) -> bytes:
    try:
        return await request.read()
    except web.HTTPRequestEntityTooLarge:
        raise Failure("ValidationException", "Input is too long for requested model.") from None


async def _chain(first: Piece, rest: AsyncGenerator[Piece, None]) -> AsyncIterator[Piece]:
    yield first
    async for piece in rest:
        yield piece


def _refusal(failure: Failure) -> web.Response:
    response = web.json_response(failure.document, status=failure.error.status)
    response.headers["x-amzn-RequestId"] = str(uuid.uuid4())
    response.headers["x-amzn-ErrorType"] = f"{failure.code}:{_ERROR_NAMESPACE}"
    return response


class _Clock:
    """What the metrics say of time, in milliseconds."""

    def __init__(self) -> None:
        self._begun = self._first = time.monotonic()

    def first_byte(self) -> None:
        self._first = time.monotonic()

    def metrics(self, end: End) -> dict[str, int]:
        return {
            "inputTokenCount": end.input_tokens,
            "outputTokenCount": end.output_tokens,
            "invocationLatency": round(1000 * (time.monotonic() - self._begun)),
            "firstByteLatency": round(1000 * (self._first - self._begun)),
        }


class _Stream:
    """One response: pieces in, messages of the event stream out."""

    def __init__(self, request: web.Request, speech: Speech, clock: _Clock) -> None:
        self._request = request
        self._speech = speech
        self._clock = clock
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
        await self._send(self._speech.begin())

    async def say(self, piece: Piece) -> None:
        match piece:
            case Text(text):
                await self._send(self._speech.text(text))
            case Reasoning(text):
                await self._send(self._speech.reasoning(text))
            case End():
                await self._send(self._speech.end(piece, self._clock.metrics(piece)))
            case Unknown():
                await self.response.write(
                    eventstream.event("somethingNew", {"text": "not for you"})
                )
                await self._send(self._speech.unknown())

    async def fail(self, failure: Failure) -> None:
        await self.response.write(eventstream.exception(failure.member, failure.document))

    async def break_by(self, fault: Fault) -> None:
        """Ends the stream the way that the order asks for."""
        failure = Failure(fault.kind, fault.message)
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
                [*_, chunk] = self._speech.text("spoilt")
                await self.response.write(eventstream.with_bad_checksum(eventstream.chunk(chunk)))
            case "error":
                message = fault.message or "An internal failure."
                await self.response.write(eventstream.error("InternalFailure", message))
            case _ if fault.as_event:
                await self.response.write(eventstream.event(failure.member, failure.document))
            case _:
                await self.fail(failure)
        await self.response.write_eof()

    async def _send(self, chunks: Iterable[Chunk]) -> None:
        for chunk in chunks:
            await self.response.write(eventstream.chunk(chunk))


async def serve(model: Model, port: int, own: families.Family | None = None) -> None:
    """Serves on loopback until the process is told to stop. Raises ModelUnavailableError."""
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)

    def abandoned() -> None:
        with contextlib.suppress(RuntimeError):  # the loop is closed: it ends by itself
            loop.call_soon_threadsafe(stop.set)

    if not sys.stdin.isatty():
        on_end_of_input(abandoned)
    await model.start()
    runner = web.AppRunner(
        Endpoint(model, own).application(),
        access_log=None,
        handler_cancellation=True,  # how a handler learns that its client hung up
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
    """Serves until it is told to stop."""
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
        help="of ARNs that do not tell it: application inference profiles, imported models",
    )
    asked = parser.parse_args()
    own = next((family for family in families.FAMILIES if family.name == asked.family), None)
    try:
        asyncio.run(serve(open_model(asked.model, asked.remote_model), asked.port, own))
    except ModelUnavailableError as error:
        sys.exit(str(error))


if __name__ == "__main__":
    main()
